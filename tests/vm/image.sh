#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds build/vm/base.cpio: a root file system for a guest, made of this machine's programs and
# the libraries they need. All of it lives in the guest's memory: no disk, no shared folder, no
# kernel module, no privilege. Built anew when a program has changed.
set -u
export LC_ALL=C

top=$(realpath "$(dirname "$0")/../..")
vm=$top/build/vm
python=$(realpath /usr/bin/python3)
lib=/usr/lib/${python##*/}
programs="/bin/bash /bin/busybox $python /usr/sbin/nginx /usr/bin/redis-server /usr/bin/redis-cli /usr/bin/curl"
# loaded by name at run time: the ELF headers do not tell
modules=$(ls /lib/*-linux-gnu/libnss_files.so.2 /lib/*-linux-gnu/libgcc_s.so.1 2>/dev/null)

for p in $programs; do
	[ -x "$p" ] || { echo "SKIP image: no $p" >&2; exit 77; }
done
mkdir -p "$vm" || exit 1
# Shared libraries, by what the loader would take.
libraries() { ldd "$@" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u; }

# shellcheck disable=SC2086
stamp=$({ stat -L -c '%n %Y %s' $programs "$0" "$(dirname "$0")/init"; libraries "$top/build/telltale"; } 2>/dev/null | cksum)
[ -s "$vm/base.cpio" ] && [ "$(cat "$vm/base.stamp" 2>/dev/null)" = "$stamp" ] && exit 0

root=$(mktemp -d -p "$vm") || exit 1
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

# A file, and each link on the way to it, at its own place.
add() {
	local f=$1 dir
	dir=$root$(realpath "$(dirname "$f")")
	mkdir -p "$dir"
	cp -a "$f" "$dir/"
	[ -L "$f" ] && add "$(realpath "$f")"
	return 0
}

mkdir -p "$root"/{proc,sys,dev,run,tmp,etc,root,test,usr/bin,usr/sbin,usr/lib,usr/lib64,var/log/nginx,var/lib/nginx}
for l in bin sbin lib lib64; do ln -s usr/$l "$root/$l"; done
# shellcheck disable=SC2086
# the program's libraries too: the program itself comes with each run
for f in $programs $modules $(libraries $programs "$lib"/lib-dynload/*.so "$top/build/telltale"); do add "$f"; done
ln -sf "${python##*/}" "$root/usr/bin/python3"
mkdir -p "$root$lib"
(cd "$lib" && find . -type f \( -name '*.py' -o -name '*.pyc' -o -name '*.so' \) \
	! -path './test/*' ! -path './idlelib/*' ! -path './tkinter/*' ! -path './lib2to3/*' \
	! -path './pydoc_data/*' ! -path './ensurepip/*' ! -path './unittest/*' ! -path './dist-packages/*' -print0 |
	cpio -0pdm --quiet "$root$lib")
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$root/etc/nsswitch.conf"
cp "$(dirname "$0")/init" "$root/init" && chmod 755 "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet --owner=0:0) >"$vm/base.cpio.new" || exit 1
mv "$vm/base.cpio.new" "$vm/base.cpio"
echo "$stamp" >"$vm/base.stamp"

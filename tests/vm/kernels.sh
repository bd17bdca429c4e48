#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches the newest kernel of each Debian suite into build/vm/NAME/ (vmlinuz, btf, version).
# Reads the mirrors and keys from this machine's apt configuration, with lists and caches of its
# own, so that the system's apt state is never touched. Prints `NAME VERSION` for each kernel that
# is there, `SKIP NAME: why` for each that is not. A kernel younger than a week is not looked up
# again.
#
#	kernels.sh [NAME...]		NAME: bullseye bookworm trixie sid
set -u
export LC_ALL=C

top=$(realpath "$(dirname "$0")/../..")
vm=$top/build/vm
mkdir -p "$vm" || exit 1

# suite, package name (extended regular expression)
rows='bullseye ^linux-image-5\.10\.0-[0-9]+-cloud-amd64-unsigned$
bookworm ^linux-image-6\.1\.0-[0-9]+-cloud-amd64-unsigned$
trixie ^linux-image-6\.12\.[0-9]+\+deb13-cloud-amd64-unsigned$
sid ^linux-binary-[0-9.]+\+deb[0-9]+-cloud-amd64$'

apt_state=$vm/apt
apt_opts=(-q -o Dir::Etc::SourceList="$apt_state/sources.list" -o Dir::Etc::SourceParts=/dev/null
	-o Dir::State::Lists="$apt_state/lists" -o Dir::Cache="$apt_state/cache"
	-o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o Acquire::Retries=2
	-o APT::Architecture=amd64 -o APT::Sandbox::User=root -o Debug::NoLocking=1)

# The sources of this machine, said again for the four suites: one line per mirror it uses.
write_sources() {
	local keys=/usr/share/keyrings/debian-archive-keyring.gpg uri opt=''
	[ -e "$keys" ] && opt="[signed-by=$keys] "
	while read -r uri; do
		case $uri in
		*-security*)
			printf 'deb %s%s %s-security main\n' "$opt" "$uri" bullseye "$opt" "$uri" bookworm \
				"$opt" "$uri" trixie ;;
		*)
			printf 'deb %s%s %s main\n' "$opt" "$uri" bullseye "$opt" "$uri" bookworm \
				"$opt" "$uri" trixie "$opt" "$uri" sid ;;
		esac
	done < <(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
		awk '$2 == "Debian" && !seen[$1]++ { print $1 }')
}

lists_fresh=0
update_lists() {
	[ $lists_fresh = 1 ] && return 0
	mkdir -p "$apt_state/lists/partial" "$apt_state/cache/archives/partial"
	write_sources >"$apt_state/sources.list"
	[ -s "$apt_state/sources.list" ] || { why='apt knows no Debian mirror'; return 1; }
	# one suite that has moved away must not stop the others
	apt-get "${apt_opts[@]}" update >"$apt_state/update.log" 2>&1
	lists_fresh=1
}

# Takes the compressed kernel out of a bzImage and its type information out of that.
extract_btf() {
	/usr/bin/python3 - "$1" "$2" <<'PY'
import lzma, subprocess, sys, struct, zlib

def run(*command):
    # these tools complain of the padding that follows, after having written all of it
    return subprocess.run(command, input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout

image = open(sys.argv[1], 'rb').read()
# Documentation/x86/boot.rst: setup_sects, payload_offset, payload_length
setup = (image[0x1f1] + 1) * 512
off, length = struct.unpack_from('<II', image, 0x248)
data = image[setup + off:setup + off + length]
if data[:6] == b'\xfd7zXZ\0':
    kernel = lzma.LZMADecompressor().decompress(data)
elif data[:4] == b'\x28\xb5\x2f\xfd':
    kernel = run('zstd', '-qdc')
elif data[:4] == b'\x02\x21\x4c\x18':
    kernel = run('lz4', '-qdc')
elif data[:2] == b'\x1f\x8b':
    kernel = zlib.decompressobj(31).decompress(data)
else:
    sys.exit('kernel compressed in an unknown way')
open(sys.argv[2], 'wb').write(kernel)
PY
	[ -s "$2" ] && objcopy --dump-section ".BTF=$3" "$2" /dev/null
	rm -f "$2"
}

# Downloads one package and keeps what a boot needs of it.
unpack() {
	local pkg=$1 dir=$2 work image rc=1
	work=$(mktemp -d -p "$vm") || return 1
	if (cd "$work" && apt-get "${apt_opts[@]}" download "$pkg" >log 2>&1 && dpkg -x ./*.deb x) &&
		image=$(find "$work/x" -name 'vmlinuz*' -type f | head -n 1) && [ -n "$image" ]; then
		rm -rf "$dir" && mkdir -p "$dir"
		cp "$image" "$dir/vmlinuz"
		extract_btf "$dir/vmlinuz" "$work/vmlinux" "$dir/btf"
		echo "$pkg" >"$dir/package"
		expr "$pkg" : 'linux-[a-z]*-\([0-9]*\.[0-9]*\)' >"$dir/version"
		rc=0
	fi
	rm -rf "$work"
	return $rc
}

# The newest that can be had: lists may name a package that its mirror no longer holds.
fetch() {
	local suite=$1 pattern=$2 dir=$vm/$1 pkg pkgs
	if [ -s "$dir/version" ] && [ -n "$(find "$dir/version" -mtime -7)" ]; then
		return 0
	fi
	if update_lists; then
		pkgs=$(apt-cache "${apt_opts[@]}" search --names-only "$pattern" | cut -d' ' -f1 |
			grep -E "$pattern" | sort -rV | head -n 6)
		why="no kernel package of $suite in the lists"
		for pkg in $pkgs; do
			[ "$(cat "$dir/package" 2>/dev/null)" = "$pkg" ] && touch "$dir/version" && break
			unpack "$pkg" "$dir" && break
			why="$pkg and what came before it cannot be downloaded"
		done
	fi
	# an older kernel in the cache is better than none
	[ -s "$dir/version" ]
}

[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || { echo "SKIP kernels: only x86-64 kernels are known here"; exit 0; }
while read -r suite pattern; do
	[ $# -gt 0 ] && [[ " $* " != *" $suite "* ]] && continue
	why=''
	if fetch "$suite" "$pattern"; then
		echo "$suite $(cat "$vm/$suite/version")"
	else
		echo "SKIP $suite: $why"
	fi
done <<<"$rows"

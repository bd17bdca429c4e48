#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The kernel matrix: boots the newest kernel of each Debian suite once and runs guest.py in it, with
# each capture backend that the kernel has. Two guests at a time.
#
#	matrix.sh [SUITE...]	bullseye bookworm trixie sid
set -u
cd "$(dirname "$0")/../.." || exit 1

lib=()
for f in base clients lib otlp process servers; do lib+=(-f "tests/e2e/$f.py"); done

vm=tests/vm
out=build/vm/results
command -v qemu-system-x86_64 >/dev/null || { echo "SKIP vm: no qemu-system-x86_64 (package qemu-system-x86)"; exit 0; }
[ -x build/telltale ] || { echo "FAIL vm: there is no build/telltale"; exit 1; }
$vm/image.sh || { [ $? = 77 ] && echo "SKIP vm: the guest's file system cannot be made here" && exit 0; echo "FAIL vm: image.sh"; exit 1; }
rm -rf $out
mkdir -p $out
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=localhost \
	-addext subjectAltName=DNS:localhost -keyout $out/key.pem -out $out/cert.pem 2>$out/openssl.log ||
	{ echo "FAIL vm: openssl: $(tail -n 1 $out/openssl.log)"; exit 1; }

# sock_send_length and sock_recv_length came with 6.3
backends() { # VERSION
	local major=${1%%.*} minor=${1#*.}
	if [ "$major" -gt 6 ] || { [ "$major" = 6 ] && [ "$minor" -ge 3 ]; }; then
		echo trampoline socktp syscall
	else
		echo trampoline syscall
	fi
}

one() { # SUITE VERSION
	local suite=$1 version=$2 rc
	# twice the limit, and a little, is what tests/run grants all four
	# shellcheck disable=SC2046
	$vm/vm.sh -t 560 -m 1536 -f build/telltale -f $vm/guest.py "${lib[@]}" -f tests/bpf/loaded.py \
		-f $out/cert.pem -f $out/key.pem "$suite" \
		/usr/bin/env E2E_SLOW=15 TELLTALE=/test/telltale PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -u /test/guest.py "$version" \
		$(backends "$version") >"$out/$suite.log" 2>&1
	rc=$?
	cat "$out/$suite.log"
	[ $rc = 0 ] || echo "FAIL vm/$version: the guest ended with status $rc"
	case $(backends "$version") in
	*socktp*) ;;
	*) echo "SKIP vm/$version/socktp: the kernel has no sock_send_length and sock_recv_length tracepoints (6.3)" ;;
	esac
}

while read -r suite version; do
	if [ "$suite" = SKIP ]; then
		echo "SKIP vm/${version%%:*}:${version#*:}"
		continue
	fi
	while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
	one "$suite" "$version" >"$out/$suite" &
done < <($vm/kernels.sh "$@") >$out/skips
wait
cat $out/skips
for suite in bullseye bookworm trixie sid; do [ -e $out/$suite ] && cat $out/$suite; done
! grep -q '^FAIL' $out/bullseye $out/bookworm $out/trixie $out/sid 2>/dev/null

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What tracing costs in instructions: one processor, one instruction a nanosecond of guest time, so
# that the kernel's count of a process's nanoseconds is its count of instructions.
#
#	vm.sh [SUITE...]	default: bookworm trixie (6.1 and 6.12)
set -u
cd "$(dirname "$0")/../.." || exit 1

lib=()
for f in base clients lib otlp process servers; do lib+=(-f "tests/e2e/$f.py"); done

for f in build/telltale build/tests/load; do
	[ -x $f ] || { echo "bench-vm: there is no $f" >&2; exit 1; }
done
tests/vm/image.sh || exit 1
[ $# -gt 0 ] || set -- bookworm trixie
tests/vm/kernels.sh "$@" | while read -r suite version; do
	[ "$suite" = SKIP ] && { echo "no kernel of $version"; continue; }
	case $version in
	6.1|5.*) backends='trampoline syscall' ;;
	*) backends='trampoline socktp syscall' ;;
	esac
	# shellcheck disable=SC2086
	tests/vm/vm.sh -i -m 1536 -t 3000 -f build/telltale -f build/tests/load \
		-f tests/bench/guest.py "${lib[@]}" "$suite" /usr/bin/env E2E_SLOW=15 TELLTALE=/test/telltale PYTHONDONTWRITEBYTECODE=1 \
		/usr/bin/python3 -u /test/guest.py "$version" $backends </dev/null
done

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The kernel side: the fields it reads exist in this kernel and in those of the matrix; every
# program loads here, or the program's own report says why not.
set -u
cd "$(dirname "$0")/../.." || exit 1

rc=0
kernels=()
while read -r name rest; do
	case $name in
	SKIP) echo "SKIP bpf/fields/${rest%%:*}:${rest#*:}" ;;
	*) [ -s "build/vm/$name/btf" ] && kernels+=("$name-$rest" "build/vm/$name/btf") ;;
	esac
done < <(tests/vm/kernels.sh)
if [ -e /sys/kernel/btf/vmlinux ]; then
	kernels+=("$(uname -r)" /sys/kernel/btf/vmlinux)
else
	echo "SKIP bpf/fields/$(uname -r): no /sys/kernel/btf/vmlinux"
fi
if [ ${#kernels[@]} -gt 0 ]; then tests/bpf/fields.py "${kernels[@]}" || rc=1; fi

if [ "$(id -u)" != 0 ]; then
	echo "SKIP bpf/load: not root"
elif [ ! -e /sys/kernel/btf/vmlinux ]; then
	echo "SKIP bpf/load: no /sys/kernel/btf/vmlinux"
else
	build/telltale doctor --json | /usr/bin/python3 tests/bpf/loaded.py "host" || rc=1
fi
exit $rc

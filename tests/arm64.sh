#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# arm64 must compile: the kernel side with that machine's registers, user space with the cross
# compiler and this machine's headers.
cd "$(dirname "$0")/.." || exit 1

cross=aarch64-linux-gnu-
command -v ${cross}gcc >/dev/null || { echo "SKIP arm64: no ${cross}gcc (package gcc-aarch64-linux-gnu)"; exit 0; }
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
if make -s -k -j2 CROSS=$cross objects >"$log" 2>&1; then
	echo "PASS arm64/compile"
else
	echo "FAIL arm64/compile: make CROSS=$cross objects"
	tail -n 40 "$log" | sed 's/^/  /'
	exit 1
fi

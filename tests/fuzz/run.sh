#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the fuzz targets tests/fuzz/NAME_fuzz.c and runs each for a short time, beginning with the
# corpus in tests/fuzz/corpus/NAME/. FUZZ_SECONDS: time for each (default 8).
set -u
cd "$(dirname "$0")/../.." || exit 1

seconds=${FUZZ_SECONDS:-8}
shopt -s nullglob
targets=(tests/fuzz/*_fuzz.c)
[ ${#targets[@]} -gt 0 ] || { echo "SKIP fuzz: there are no fuzz targets"; exit 0; }
if ! clang -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null <<<'int LLVMFuzzerTestOneInput(const char *p, long n) { return 0; }'; then
	echo "SKIP fuzz: clang cannot link -fsanitize=fuzzer (package libclang-rt-14-dev)"
	exit 0
fi
out=build/fuzz/out
mkdir -p $out
make -s -k -j2 FUZZ=1 fuzz-build >$out/build.log 2>&1

failed=0
one() {
	local name=$1 dir
	dir=$(mktemp -d) || return 1
	# -max_len: a connection's worth of bytes
	if build/fuzz/tests/"${name}"_fuzz -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=16384 \
		-artifact_prefix=$out/"$name"- "$dir" $([ -d tests/fuzz/corpus/"$name" ] && echo tests/fuzz/corpus/"$name") \
		>$out/"$name".log 2>&1; then
		echo "PASS fuzz/$name"
	else
		echo "FAIL fuzz/$name: see $out/$name.log"
		tail -n 40 $out/"$name".log | sed 's/^/  /'
	fi
	rm -rf "$dir"
}
for t in "${targets[@]}"; do
	name=$(basename "$t" _fuzz.c)
	if ! make -q FUZZ=1 build/fuzz/tests/"${name}"_fuzz 2>/dev/null; then
		echo "FAIL fuzz/$name: does not build"
		tail -n 20 $out/build.log | sed 's/^/  /'
		failed=1
		continue
	fi
	# two at a time: each is one thread
	while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
	one "$name" &
done >$out/results
wait
cat $out/results
! grep -q '^FAIL' $out/results && [ $failed = 0 ]

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Replays each recording tests/replay/NAME.rec twice, as an ordinary user, and compares the OTLP
# JSON with tests/replay/NAME.otlp.json byte for byte.
#
#	run.sh [--update]	--update writes the golden files anew; read the difference before commit
set -u
cd "$(dirname "$0")/../.." || exit 1

shopt -s nullglob
recs=(tests/replay/*.rec tests/replay/*.rec.zst)
[ ${#recs[@]} -gt 0 ] || { echo "SKIP replay: there are no recordings"; exit 0; }
[ -x build/telltale ] || { echo "FAIL replay: there is no build/telltale"; exit 1; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

replay() { # FILE OUT
	if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
		setpriv --reuid=65534 --regid=65534 --clear-groups build/telltale replay "$1" --format otlp-json -o - >"$2"
	else
		build/telltale replay "$1" --format otlp-json -o - >"$2"
	fi
}

rc=0
for rec in "${recs[@]}"; do
	name=$(basename "$rec"); name=${name%.zst}; name=${name%.rec}
	golden=tests/replay/$name.otlp.json
	case $rec in
	*.zst) zstd -qdc "$rec" >"$work/rec" ;;
	*) cp "$rec" "$work/rec" ;;
	esac
	chmod 644 "$work/rec"
	if ! replay "$work/rec" "$work/a" 2>"$work/err" || ! replay "$work/rec" "$work/b" 2>>"$work/err"; then
		echo "FAIL replay/$name: replay failed"
		sed 's/^/  /' "$work/err"
		rc=1
		continue
	fi
	if ! cmp -s "$work/a" "$work/b"; then
		echo "FAIL replay/$name: two replays differ"
		diff <(tr ',' '\n' <"$work/a") <(tr ',' '\n' <"$work/b") | head -n 20 | sed 's/^/  /'
		rc=1
		continue
	fi
	[ "${1:-}" = --update ] && cp "$work/a" "$golden"
	if [ ! -e "$golden" ]; then
		echo "FAIL replay/$name: no golden file $golden (run.sh --update)"
		rc=1
	elif ! cmp -s "$work/a" "$golden"; then
		echo "FAIL replay/$name: differs from $golden"
		diff <(tr ',' '\n' <"$golden") <(tr ',' '\n' <"$work/a") | head -n 30 | sed 's/^/  /'
		rc=1
	else
		echo "PASS replay/$name"
	fi
done
exit $rc

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the npm packages that tests use into build/npm, once; prints where. Exit 1 when they
# cannot be had, with why in the last line on standard error: the caller SKIPs.
set -eu
cd "$(dirname "$0")/.."
to=build/npm
limit_s=200
mkdir -p $to
# several tests may ask at once
exec 9>$to/.lock
flock 9
if ! cmp -s tests/npm/package.json $to/package.json; then
	refuse() { echo "npm: $1" | tee $to/refused >&2; exit 1; }
	command -v npm >/dev/null || { echo 'npm: no npm (package npm)' >&2; exit 1; }
	# who asks next need not wait as long for the same answer
	if [ -n "$(find $to/refused -mmin -10 2>/dev/null)" ]; then cat $to/refused >&2; exit 1; fi
	# what is half installed stays in new/; package.json arrives last and says that all is there
	rm -rf $to/new && mkdir $to/new && cp tests/npm/package.json $to/new
	(cd $to/new && timeout -k 5 $limit_s npm install --no-package-lock --no-audit --no-fund \
		--fetch-retries=1 --loglevel=error) >&2 9>&- || {
		[ $? = 124 ] && refuse "the registry did not deliver within $limit_s s"
		refuse 'npm install failed'
	}
	rm -rf $to/node_modules $to/package.json $to/refused
	mv $to/new/node_modules $to/new/package.json $to
	rm -rf $to/new
fi
echo "$PWD/$to"

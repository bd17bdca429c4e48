#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the npm packages that tests use into build/npm, once; prints where. Exit 1 when they
# cannot be had: the caller SKIPs.
set -eu
cd "$(dirname "$0")/.."
to=build/npm
mkdir -p $to
# several tests may ask at once
exec 9>$to/.lock
flock 9
if ! cmp -s tests/npm/package.json $to/package.json; then
	cp tests/npm/package.json $to/package.json.new
	rm -rf $to/node_modules
	(cd $to && cp package.json.new package.json &&
		npm install --no-package-lock --no-audit --no-fund --loglevel=error) >&2 ||
		{ rm -f $to/package.json; exit 1; }
fi
echo "$PWD/$to"

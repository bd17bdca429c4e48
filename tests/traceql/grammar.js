// SPDX-License-Identifier: Apache-2.0
// Tells what Grafana's grammar says of each line of a file: "ok" or "syntax". Run it where the npm
// packages are.
const { createRequire } = require('module');
const { parser } = createRequire(process.cwd() + '/')('@grafana/lezer-traceql');
const { readFileSync } = require('fs');

for (const line of readFileSync(process.argv[2], 'utf8').split('\n').slice(0, -1)) {
	let bad = false;
	parser.parse(line).iterate({ enter: (node) => { bad = bad || node.type.isError; } });
	console.log(bad ? 'syntax' : 'ok');
}

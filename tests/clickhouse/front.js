// SPDX-License-Identifier: Apache-2.0
//
// A ClickHouse for tests: the engine of the npm package chdb behind ClickHouse's HTTP interface, as
// far as the store uses it, on loopback.
//
//     node front.js PACKAGES PORT DIRECTORY [USER PASSWORD [CERTIFICATE KEY [CA]]]
//
// With a certificate and its key it speaks HTTPS, and with a CA to its clients alone.
// Prints one line once it listens. A request has the database and, with a body, the query in its
// parameters; parameters that are settings go to the query. POST /test/fail?status=N&count=N makes
// the next inserts fail with that status and /test/lose?count=N makes them succeed with an answer
// that never comes: both are of this front alone.
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');
const path = require('path');

const [packages, port, directory, user, password, certificate, key, ca] = process.argv.slice(2);
const {Session} = require(path.join(packages, 'node_modules/chdb'));
// the package's own insert takes text formats only
const native = require(path.join(packages, 'node_modules/chdb/dist/loader.js')).loadNative();

const session = new Session(directory);
const SETTINGS = /^(max_execution_time|async_insert|insert_deduplication_token|max_partitions_per_insert_block)$/;
const fault = {status: 0, fail: 0, lose: 0};
let last = Promise.resolve();

function status(message) {
  const code = Number((/^Code: (\d+)/.exec(message) || [])[1]);
  return {60: 404, 81: 404, 516: 403, 27: 400, 33: 400, 53: 400, 62: 400, 117: 400}[code] || 500;
}

function settings(params) {
  const list = [...params].filter(([name]) => SETTINGS.test(name));
  return list.map(([name, value]) => `${name} = '${value.replace(/[^\w.-]/g, '')}'`).join(', ');
}

function refused(request) {
  const said = /^Basic (.+)$/.exec(request.headers.authorization || '');
  const pair = said ? Buffer.from(said[1], 'base64').toString() : ':';
  return user && pair !== `${user}:${password}`;
}

// One query at a time: the session has one current database.
async function run(params, body) {
  const database = params.get('database');
  if (database !== null)
    await session.queryAsync('USE `' + database.replace(/[\\`]/g, '\\$&') + '`');
  const query = params.get('query');
  if (query === null)
    return Buffer.from((await session.queryAsync(body.toString(), {format: 'TabSeparated'})).bytes());
  const options = settings(params);
  const [, insert, format] = /^(.*) FORMAT (\w+)$/s.exec(query);
  await native.InsertRawAsyncConnection(session.connection,
    `${insert} ${options ? 'SETTINGS ' + options : ''} FORMAT ${format}`, body, false);
  return Buffer.alloc(0);
}

function answer(response, code, body) {
  response.writeHead(code, {'Content-Type': 'application/octet-stream', 'Content-Length': body.length});
  response.end(body);
}

async function serve(request, response, body) {
  const url = new URL(request.url, 'http://front');
  const count = Number(url.searchParams.get('count'));
  if (url.pathname === '/test/fail') {
    fault.status = Number(url.searchParams.get('status'));
    fault.fail = count;
    return answer(response, 200, Buffer.alloc(0));
  }
  if (url.pathname === '/test/lose') {
    fault.lose = count;
    return answer(response, 200, Buffer.alloc(0));
  }
  if (refused(request))
    return answer(response, 403, Buffer.from('Code: 516. DB::Exception: Authentication failed\n'));
  const insert = url.searchParams.has('query');
  if (insert && fault.fail > 0) {
    fault.fail--;
    return answer(response, fault.status, Buffer.from('Code: 999. DB::Exception: as the test wants it\n'));
  }
  try {
    const said = await run(url.searchParams, body);
    if (insert && fault.lose > 0) {
      fault.lose--;
      return request.socket.destroy();
    }
    answer(response, 200, said);
  } catch (e) {
    const text = e.message.replace(/^Query failed: /, '');
    answer(response, status(text), Buffer.from(text + '\n'));
  }
}

function take(request, response) {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    last = last.then(() => serve(request, response, Buffer.concat(parts))).catch(() => request.socket.destroy());
  });
}

const files = certificate && {cert: fs.readFileSync(certificate), key: fs.readFileSync(key),
                              ...(ca && {ca: fs.readFileSync(ca), requestCert: true})};
(files ? https.createServer(files, take) : http.createServer(take)).listen(Number(port), '127.0.0.1', function () {
  console.log(`listening on ${this.address().port}`);
});
process.on('SIGTERM', () => {
  session.close();
  process.exit(0);
});

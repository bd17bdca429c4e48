// SPDX-License-Identifier: Apache-2.0
// The same in node: --port N [--upstream PORT] [--redis PORT] [--pool N]
// /up/ID   GET /echo/ID from the upstream, over an agent of at most --pool sockets (default: no bound)
// /item/ID GET key:ID from Redis, on one connection that all requests share
// /wait/ID the upstream after a timer
// anything else answers at once
'use strict';
const http = require('http');
const net = require('net');

const opts = {};
for (let i = 2; i < process.argv.length; i += 2)
	opts[process.argv[i].slice(2)] = Number(process.argv[i + 1]);

const agent = new http.Agent({ keepAlive: true, maxSockets: opts.pool || Infinity });
const waiting = [];
let redis = null;

function redisGet(key, done) {
	if (!redis) {
		redis = net.connect(opts.redis, '127.0.0.1');
		redis.on('data', (data) => {
			// replies are null bulk strings: one line each
			for (let n = data.toString().split('\r\n').length - 1; n > 0; n--)
				waiting.shift()();
		});
	}
	waiting.push(done);
	redis.write(`*2\r\n$3\r\nGET\r\n$${key.length}\r\n${key}\r\n`);
}

function upstream(path, done) {
	http.get({ host: '127.0.0.1', port: opts.upstream, path, agent }, (res) => {
		res.resume();
		res.on('end', done);
	});
}

http.createServer((req, res) => {
	const [, what, id] = req.url.split('/');
	const done = () => res.end(`done ${id}\n`);
	if (what === 'up')
		upstream(`/echo/${id}`, done);
	else if (what === 'item')
		redisGet(`key:${id}`, done);
	else if (what === 'wait')
		setTimeout(() => upstream(`/echo/${id}`, done), 5);
	else
		done();
}).listen(opts.port, '127.0.0.1');

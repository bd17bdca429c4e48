// SPDX-License-Identifier: Apache-2.0
// An OTLP/gRPC receiver by grpc-js. One line on standard output: its port; then one JSON line for
// each call: metadata, and the request in base64.
//   grpc_sink.js NODE_MODULES [CERT KEY [CLIENT_CA]]
'use strict';
const fs = require('fs');
const [modules, cert, key, ca] = process.argv.slice(2);
const grpc = require(`${modules}/@grpc/grpc-js`);
const raw = (x) => x;
const service = {
	Export: {
		path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
		requestStream: false, responseStream: false,
		requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw,
	},
};

function credentials() {
	if (!cert)
		return grpc.ServerCredentials.createInsecure();
	return grpc.ServerCredentials.createSsl(ca ? fs.readFileSync(ca) : null,
		[{ cert_chain: fs.readFileSync(cert), private_key: fs.readFileSync(key) }], Boolean(ca));
}

const server = new grpc.Server({ 'grpc.max_receive_message_length': 16 << 20 });
server.addService(service, {
	Export: (call, done) => {
		console.log(JSON.stringify({ metadata: call.metadata.getMap(), body: call.request.toString('base64') }));
		done(null, Buffer.alloc(0));
	},
});
server.bindAsync('127.0.0.1:0', credentials(), (error, port) => {
	if (error)
		throw error;
	console.log(port);
});

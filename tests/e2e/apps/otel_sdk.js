// SPDX-License-Identifier: Apache-2.0
// Sends one trace of two spans by an exporter of the OpenTelemetry SDK, with everything a span can
// carry; prints its trace id when the exporter said that it was taken.
//   otel_sdk.js NODE_MODULES http|proto|grpc|zipkin URL
'use strict';
const [modules, kind, url] = process.argv.slice(2);
const load = (name) => require(`${modules}/${name}`);
const { NodeTracerProvider, BatchSpanProcessor } = load('@opentelemetry/sdk-trace-node');
const { resourceFromAttributes } = load('@opentelemetry/resources');
const { SpanKind, SpanStatusCode, trace, context } = load('@opentelemetry/api');

function makeExporter() {
	if (kind === 'zipkin')
		return new (load('@opentelemetry/exporter-zipkin').ZipkinExporter)({ url });
	const { OTLPTraceExporter } = load(`@opentelemetry/exporter-trace-otlp-${kind}`);
	return new OTLPTraceExporter({ url, compression: 'gzip' });
}

const exporter = makeExporter();
const send = exporter.export.bind(exporter);
let failure;
exporter.export = (spans, done) => send(spans, (result) => {
	if (result.code !== 0)
		failure = result.error || new Error('not taken');
	done(result);
});
const provider = new NodeTracerProvider({
	resource: resourceFromAttributes({ 'service.name': `sdk-${kind}`, 'host.cores': 2 }),
	spanProcessors: [new BatchSpanProcessor(exporter)],
});
const tracer = provider.getTracer('shop', '1.2.3');
const root = tracer.startSpan('GET /cart', { kind: SpanKind.SERVER });
const child = tracer.startSpan('SELECT', {
	kind: SpanKind.CLIENT,
	links: [{ context: root.spanContext(), attributes: { why: 'test' } }],
	attributes: { text: 'grüße 🧶', number: 42, part: 0.5, yes: true, list: ['a', 'b'] },
}, trace.setSpan(context.active(), root));
child.addEvent('retry', { count: 3 });
child.setStatus({ code: SpanStatusCode.ERROR, message: 'no such table' });
child.end();
root.end();
provider.shutdown().catch((e) => { failure = failure || e; }).then(() => {
	if (failure) {
		console.error(String(failure.message || failure));
		process.exit(1);
	}
	console.log(root.spanContext().traceId);
});

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans of others: OTLP over HTTP (protobuf, JSON) and gRPC, Zipkin v2 JSON. Foreign bytes become
 * struct span, one by one, pushed into the sink of the thread that read them.
 *
 *   HTTP   POST /v1/traces (application/x-protobuf, application/json), POST /api/v2/spans (Zipkin);
 *          identity, gzip, zstd
 *   gRPC   /opentelemetry.proto.collector.trace.v1.TraceService/Export over clear-text HTTP/2;
 *          identity, gzip
 *
 * An answer is sent when all that the request carried is durable: after a request's spans were
 * pushed, the producer's sync calls back. Refused by it (-ENOSPC, -EAGAIN, ...): 503 with
 * Retry-After, UNAVAILABLE over gRPC; the client sends it again.
 *
 * Spans that cannot be kept are rejected one by one; the others are kept and the answer is a
 * partial success that tells how many and why:
 *   bad_id     trace id not 16 bytes, span id not 8, or zero; parent id neither 8 bytes nor none
 *              (Zipkin: 1 to 32 and 1 to 16 hex digits; zeros are no parent)
 *   bad_time   start before the year 2000 (seconds or milliseconds sent as nanoseconds), or start
 *              or end more than a day ahead of this machine's clock
 *   too_large  a value above 1 MiB, a span above 4 MiB, a resource or scope above 256 KiB
 *   too_deep   values nested deeper than VALUE_DEPTH_MAX
 * and those that the producer says, when acknowledging, are too large for it.
 * Corrected and counted, not rejected: an end before the start becomes the start; text that is not
 * UTF-8 gets U+FFFD for each ill-formed run; kinds and status codes that OTLP does not know become
 * unspecified. Of one list at most 1,024 attributes (128 events, 128 links) are kept, the rest is
 * in the span's dropped counts; so are links with bad ids. A malformed request is 400
 * (INVALID_ARGUMENT); what came before the malformed place is kept.
 */
#ifndef RECEIVE_RECEIVE_H
#define RECEIVE_RECEIVE_H

#include "span/span.h"

#define RECEIVE_HTTP_DEFAULT "127.0.0.1:4318"
#define RECEIVE_GRPC_DEFAULT "127.0.0.1:4317"
#define RECEIVE_WHY_MAX	     256

/* Called once, from any thread or from within sync. result: 0; -errno, why it may be sent again;
 * above 0: so many spans are too large to be kept, the others are. */
struct receive_ack {
	void (*done)(void *ctx, int result);
	void *ctx;
};

/* Where the spans of one server thread go. */
struct receive_producer {
	struct span_sink out;
	/* Calls ack when all that was pushed before is durable. */
	void (*sync)(void *ctx, struct receive_ack ack);
	/* Would a push be taken now? 0 or -errno; NULL: always. */
	int (*admits)(void *ctx);
	void *ctx; /* for sync and admits */
};

struct receive_cfg {
	const char *http; /* ADDR:PORT or [ADDR]:PORT; port 0: any free; NULL: no such server */
	const char *grpc; /* the same */

	/* Makes a server thread's producer, before the thread starts; frees it after it has ended.
	 * 0 or -errno. */
	int (*make)(void *ctx, struct receive_producer *ret);
	void (*free)(void *ctx, struct receive_producer *p);
	void *ctx; /* for make and free */

	uint32_t http_threads;	  /* default 1 */
	uint32_t grpc_threads;	  /* default 1 */
	uint32_t connections_max; /* of each thread; default 2000, fewer when there are no
				     descriptors; past it the idlest is closed */
	uint32_t idle_s;	  /* silence that ends a connection, and as long again for a
				     request's headers; default 60 */
	uint32_t request_s;	  /* for sending one request, and for taking its answer; default
				     60, then 408 (DEADLINE_EXCEEDED) */
	size_t body_max;	  /* a request after decompression; default 64 MiB */
	size_t memory_max;	  /* of all requests being received; default 256 MiB */
	uint64_t requests_per_s;  /* of both servers; 0: no limit */
	uint64_t bytes_per_s;	  /* the same, after decompression */

	/* TLS: not offered yet, so that a cfg with any of these is refused and nothing is received
	 * in the clear by mistake. */
	const char *cert_file;
	const char *key_file;
	const char *client_ca_file;
};

struct receive;
/* 0; -EINVAL, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EOPNOTSUPP, -ENOMEM, ...; why: one line that
 * says what was tried and what to do. Raises the process's soft limit of open files to the hard
 * one: a thousand idle clients must not keep others out. */
int receive_new(const struct receive_cfg *cfg, struct receive **ret_receive,
		char why[RECEIVE_WHY_MAX]);
/* The ports they listen on; 0: no such server. */
uint16_t receive_http_port(const struct receive *r);
uint16_t receive_grpc_port(const struct receive *r);
/* Takes no new requests, waits for the acknowledgements that are under way, answers, closes. The
 * producers must work until then. NULL is fine. */
void receive_free(struct receive *r);

#endif

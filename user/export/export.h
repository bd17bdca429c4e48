/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans leave the process: OTLP/HTTP with protobuf to an endpoint, OTLP/JSON lines to a file.
 *
 * The HTTP exporter packs spans into a bounded queue (bytes); one thread of its own makes batches
 * and posts them. Full queue: the new span is dropped and counted (queue_full). Retried:
 * 429, 502, 503, 504, connection failures; Retry-After honoured; back-off with jitter from 1 s
 * to 30 s; given up after 5 minutes (counted). Other refusals are counted, never retried; partial
 * success is counted by its rejected_spans. (OTLP specification 1.x, OTLP/HTTP.)
 */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include "core/buf.h"
#include "span/span.h"

/* ---- encoding ----------------------------------------------------------------------------- */

/* One ExportTraceServiceRequest of these spans, grouped by resource and scope, appended to out.
 * 0, or -ENOBUFS past out's cap, -ENOMEM. */
int otlp_encode(const struct span *const *spans, size_t cnt, struct buf *out);
/* The same in OTLP/JSON encoding, on one line without a line end. Ids in hex, 64-bit integers as
 * strings, enums as numbers; byte-identical for equal spans. */
int otlp_encode_json(const struct span *const *spans, size_t cnt, struct buf *out);

/* ---- OTLP/HTTP ---------------------------------------------------------------------------- */

struct otlp_http_cfg {
	const char *url;      /* whole, with /v1/traces */
	const char *headers;  /* "k=v,k2=v2", percent-encoded (W3C baggage form); NULL: none */
	bool gzip;	      /* about 2 to 5 us of CPU a span: for endpoints across a network */
	uint32_t timeout_ms;  /* default 10000 */
	size_t queue_bytes;   /* default 64 MiB */
	uint32_t batch_spans; /* default 512 */
	uint32_t delay_ms;    /* a batch waits so long for more; default 1000 */
	const char *ca_file;  /* NULL: the system's */
	const char *cert_file, *key_file;
};

struct otlp_http;
/* -EINVAL for an address that cannot be, -EBADMSG for headers that cannot be, -ENOENT or -EACCES
 * for a certificate file, -ENOSPC, -ENOMEM; an endpoint that is down is no error. */
int otlp_http_new(const struct otlp_http_cfg *cfg, struct otlp_http **ret_exporter);
/* From one thread. */
void otlp_http_push(struct otlp_http *e, const struct span *s);
/* Sends what is queued, for at most timeout_ms in all, then ends; the rest is counted dropped. */
void otlp_http_free(struct otlp_http *e, uint32_t timeout_ms);

/* ---- OTLP/JSON file ----------------------------------------------------------------------- */

struct otlp_file;
/* path "-" is standard output. One line per batch of at most 64 spans; flushed at each tick. */
int otlp_file_open(const char *path, struct otlp_file **ret_file);
void otlp_file_push(struct otlp_file *f, const struct span *s);
/* Writes what is pending: 0 or the first error there was (-ENOSPC, -EPIPE, ...). */
int otlp_file_flush(struct otlp_file *f);
int otlp_file_close(struct otlp_file *f);

#endif

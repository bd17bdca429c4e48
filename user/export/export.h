/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans leave the process.
 *
 * An exporter packs pushed spans into a bounded queue; a thread of its own makes batches and
 * delivers them to its endpoints in turn. An endpoint that fails is put aside with back-off (1 s to
 * 30 s with jitter, or what it asked for) and the others take over. A batch is given up after
 * give_up_ms and counted; what an endpoint takes in part, or all that work refuse for good, is
 * counted and not sent again (OTLP specification 1.x). Each exporter has books of its own, stage
 * "export_NAME".
 */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include "core/buf.h"
#include "core/json.h"
#include "span/span.h"

/* ---- encoding ----------------------------------------------------------------------------- */

/* One ExportTraceServiceRequest of these spans, grouped by resource and scope, appended to out.
 * 0, or -ENOBUFS past out's cap, -ENOMEM. */
int otlp_encode(const struct span *const *spans, size_t cnt, struct buf *out);
/* The same in OTLP/JSON encoding, on one line without a line end. Ids in hex, 64-bit integers as
 * strings, enums as numbers; byte-identical for equal spans. */
int otlp_encode_json(const struct span *const *spans, size_t cnt, struct buf *out);
/* Their ResourceSpans alone, into a list that is open in j: requests of several traces, whose spans
 * stay apart. 0 or -ENOMEM; a full buffer is j's to tell. */
int otlp_add_json(const struct span *const *spans, size_t cnt, struct json *j);

/* ---- exporters ---------------------------------------------------------------------------- */

/* Strings are copied. Zero or NULL is the default, which is said where it is not "none". */
struct exporter_cfg {
	/* "otlp_http" (protobuf), "otlp_http_json", "otlp_grpc", "otlp_file", "zipkin", "kafka" */
	const char *kind;
	const char *name; /* [a-z0-9_], one exporter's alone; default: the kind's */
	/*
	 * HTTP: whole URLs, with path. gRPC: http://HOST:PORT, https://HOST:PORT or HOST:PORT.
	 * otlp_file: one path, "-" for standard output. kafka: brokers, HOST:PORT, used as one.
	 */
	const char *const *endpoints;
	size_t endpoint_cnt;

	const char *headers; /* "k=v,k2=v2", percent-encoded (W3C baggage form); not file, kafka */
	bool gzip;	     /* about 2 to 5 us of CPU a span: for endpoints across a network */
	bool insecure;	     /* gRPC: an endpoint without a scheme is spoken to without TLS */
	const char *ca_file; /* PEM; default: the system's */
	const char *cert_file, *key_file; /* ours, for mTLS; both or none */

	uint32_t timeout_ms;  /* one try; default 10000 */
	uint32_t give_up_ms;  /* one batch, from its first try on; default 300000 */
	uint32_t delay_ms;    /* a batch waits so long for more; default 1000 */
	uint32_t batch_spans; /* default 4096, and at most about 3 MiB */
	uint32_t queue_spans; /* default: as many as queue_bytes hold; two batches at least fit */
	size_t queue_bytes;   /* default 64 MiB */

	/*
	 * A folder, made 0700 when absent: batches wait there in order, on disk, and are resumed by
	 * the next process (after a crash the batch in flight may be sent twice, and what was not
	 * yet a batch is lost). Full: new batches are dropped and counted.
	 */
	const char *spool_dir;
	uint64_t spool_bytes; /* default 1 GiB */

	uint64_t rotate_bytes; /* otlp_file: PATH becomes PATH.1, .1 becomes .2, ...; 0: never */
	uint64_t rotate_age_s;
	uint32_t rotate_keep; /* rotated files that stay; default 5 */

	const char *topic;	    /* kafka; default "otlp_spans" */
	const char *kafka_settings; /* of librdkafka, "k=v,k2=v2" */
};

struct exporter;
#define EXPORTER_WHY_MAX 256
/* 0, or an error with one line for the user: what was wrong with the configuration, a file that
 * cannot be read, a spool that another process uses. An endpoint that is down is no error. */
int exporter_new(const struct exporter_cfg *cfg, struct exporter **ret_exporter,
		 char why[EXPORTER_WHY_MAX]);
/* From any thread; never waits for an endpoint or a disk. */
void exporter_push(struct exporter *e, const struct span *s);
/* Appends how it does, on one line: "ready", or which endpoint fails since when and why, and what
 * is full. Returns its stage's name. Any thread. */
const char *exporter_state(struct exporter *e, struct buf *text);
/* Announces the end, so that several exporters come to it at the same time; does not wait. */
void exporter_stop(struct exporter *e, uint32_t timeout_ms);
/* Delivers what is queued, for at most timeout_ms in all, then ends. The rest stays in the spool
 * or is lost. */
void exporter_free(struct exporter *e, uint32_t timeout_ms);

/* Where one of our own receivers listens. */
struct own_address {
	const char
		*host; /* numeric, without brackets; "0.0.0.0" and "::" are all of this machine */
	uint16_t port;
};
/* Whether a URL, or HOST:PORT, leads back to ourselves: 1, 0, -EINVAL when it is neither, or
 * -EHOSTUNREACH when its name cannot be resolved now. */
int exporter_is_own(const char *url, const struct own_address *own, size_t cnt);

/* ---- OTLP/JSON file, written by the caller's thread ----------------------------------------- */

struct otlp_file;
/* path "-" is standard output. One line per batch of at most 64 spans; flushed at each tick. */
int otlp_file_open(const char *path, struct otlp_file **ret_file);
void otlp_file_push(struct otlp_file *f, const struct span *s);
/* Writes what is pending: 0 or the first error there was (-ENOSPC, -EPIPE, ...). */
int otlp_file_flush(struct otlp_file *f);
int otlp_file_close(struct otlp_file *f);

#endif

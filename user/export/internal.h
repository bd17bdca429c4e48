/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share. A span passes: format (its bytes), queue (bounded, batches),
 * perhaps the spool (on disk), delivery (which endpoint, when again), kind (how it is sent).
 */
#ifndef EXPORT_INTERNAL_H
#define EXPORT_INTERNAL_H

#include <pthread.h>

#include "core/books.h"
#include "export/export.h"
#include "export/pack.h"

/* ---- batches ------------------------------------------------------------------------------ */

/* One span of a batch: the span itself, or where its packed bytes lie. */
struct item {
	struct resource *resource;
	const struct scope *scope;
	uint64_t rank; /* items_group: resource, then scope, by first appearance */
	union {
		const struct span *span;
		struct {
			size_t off;
			size_t len;
		};
	};
	struct trace_id trace_id;
	uint32_t seq; /* items_group: place in the batch before */
};

/*
 * Brings spans of one resource, and of one scope in it, together, in the order in which the batch
 * first names them. One resource is one pointer: equal ones of different producers stay apart.
 * 0 or -ENOMEM.
 */
int items_group(struct item *items, size_t cnt);
/* The grouped items of these spans; the caller frees them. 0 or -ENOMEM. */
int items_of(const struct span *const *spans, size_t cnt, struct item **ret_items);

/* Grouped items as one request. bytes: where off and len point to; NULL: items have spans. */
void pack_request(struct packer *w, const struct item *items, size_t cnt, const char *bytes);
/* One span as it stands in ScopeSpans.spans, tag and length included. */
void pack_span(struct packer *w, const struct span *s);

/* How spans become the bodies that are sent. 'scratch' is the caller's, for use again. */
struct format {
	const char *name; /* kept in a spool; at most 15 characters */
	/* Appends one span in the form that add_body takes. 0 or -ENOMEM. */
	int (*add_span)(struct packer *scratch, const struct span *s, struct buf *out);
	/* Appends the body of a batch, whose spans lie in 'bytes'; may reorder items. 0, -ENOMEM.
	 */
	int (*add_body)(struct packer *scratch, struct item *items, size_t cnt, const char *bytes,
			struct buf *out);
};
extern const struct format format_otlp_proto, format_otlp_json, format_zipkin, format_kafka;

/* ---- kinds -------------------------------------------------------------------------------- */

#define ANSWER_TEXT 200

struct verdict {
	enum { VERDICT_DONE, VERDICT_RETRY, VERDICT_REFUSED } what;
	uint64_t rejected;	/* VERDICT_DONE: spans that were not taken */
	uint64_t wait_ms;	/* VERDICT_RETRY: asked for by the endpoint; 0: ours to choose */
	char text[ANSWER_TEXT]; /* printable; why, or a warning that came with VERDICT_DONE */
};

/* A way to send bodies. One thread sends; wake is called from another. */
struct kind {
	const char *name;
	const struct format *format;
	bool whole; /* all endpoints, joined by commas, make one connection */
	/* Opens no connection yet. 0, or an error and why. */
	int (*open)(const struct exporter_cfg *cfg, const char *endpoint, void **ret_conn,
		    char why[EXPORTER_WHY_MAX]);
	/* Sends and waits for the answer: for the configured timeout, and not past *stop_ns
	 * (monotonic; 0: no end), which another thread may set meanwhile and then call wake. */
	void (*send)(void *conn, struct str body, const uint64_t *stop_ns, struct verdict *ret);
	void (*wake)(void *conn); /* NULL: send never waits long */
	void (*close)(void *conn);
};
extern const struct kind kind_otlp_http, kind_otlp_http_json, kind_otlp_grpc, kind_otlp_file,
	kind_zipkin, kind_kafka;
const struct kind *kind_find(const char *name);

/* Fills why. Returns err. */
int refuse(char why[EXPORTER_WHY_MAX], int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Calls add with each decoded pair of "k=v,k2=v2". 0, the first error of add, or -EBADMSG. */
int headers_each(const char *list, int (*add)(void *ctx, const char *name, const char *value),
		 void *ctx);

/* An address that may be shown: user, password, query and fragment are left out. The caller frees
 * it. 0, -EINVAL or -ENOMEM. */
int url_without_secrets(const char *url, char **ret_url);

/* ---- the answer --------------------------------------------------------------------------- */

/* OTLP specification: a response is at most 4 MiB. */
#define REPLY_BYTES_MAX (4u << 20)

struct answer {
	uint64_t rejected;	   /* spans; of a partial success */
	char message[ANSWER_TEXT]; /* printable; empty: none */
	uint64_t retry_ms;	   /* of a RetryInfo in an error's details; 0: none */
	bool retry;		   /* there is a RetryInfo, even of no delay */
};

/* ExportTraceResponse, the body of a success; never trusted: depth and memory are bounded. 0, or
 * -EBADMSG with *ret untouched. */
int answer_parse_success(struct str body, struct answer *ret);
/* google.rpc.Status, the body of an error. */
int answer_parse_error(struct str body, struct answer *ret);
/* Either of them in JSON encoding; fields that are not there stay unset. */
int answer_parse_json(struct str body, struct answer *ret);
/* Log lines go to terminals: nothing but printable ASCII. */
void answer_text(struct str from, char to[ANSWER_TEXT]);

/* ---- retry -------------------------------------------------------------------------------- */

struct retry_policy {
	uint32_t first_ms;
	uint32_t max_ms;
};
extern const struct retry_policy retry_default;

/* Milliseconds to wait after the tries-th try (from 1): doubling from first_ms to max_ms, half to
 * all of it by chance. */
uint64_t retry_delay_ms(const struct retry_policy *policy, uint32_t tries, uint32_t chance);
/* OTLP specification, "Retryable response codes"; 0, no reply at all, is retryable too. */
bool retry_status(long status);
/* The same of gRPC; with_info: the answer has a RetryInfo. */
bool retry_grpc(uint32_t code, bool with_info);

/* exporter_new() with other waiting times. */
int exporter_new_with(const struct exporter_cfg *cfg, const struct retry_policy *policy,
		      struct exporter **ret_exporter, char why[EXPORTER_WHY_MAX]);

#endif

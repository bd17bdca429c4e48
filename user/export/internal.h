/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: a batch's order, one span's bytes, one post and its reply. */
#ifndef EXPORT_INTERNAL_H
#define EXPORT_INTERNAL_H

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

/* One span as it stands in ScopeSpans.spans, tag and length included. */
void pack_span(struct packer *w, const struct span *s);
/* ExportTraceRequest of grouped items. bytes: where off and len point to; NULL: items have spans.
 */
void pack_request(struct packer *w, const struct item *items, size_t cnt, const char *bytes);

/* ---- the answer --------------------------------------------------------------------------- */

#define ANSWER_TEXT 200

struct answer {
	uint64_t rejected;	   /* spans; of a partial success */
	char message[ANSWER_TEXT]; /* printable; empty: none */
};

/* ExportTraceResponse, the body of a 200; never trusted: depth and memory are bounded. 0, or
 * -EBADMSG with *ret untouched. */
int answer_parse_success(struct str body, struct answer *ret);
/* google.rpc.Status, the body of an error. */
int answer_parse_error(struct str body, struct answer *ret);

/* ---- one post ----------------------------------------------------------------------------- */

/* OTLP specification: a response is at most 4 MiB. */
#define REPLY_BYTES_MAX (4u << 20)

struct reply {
	long status;	       /* HTTP; 0: none came, and error says why */
	int64_t retry_after_s; /* of Retry-After, seconds or HTTP-date; 0: absent or past */
	bool protobuf;	       /* by its Content-Type */
	struct str body;       /* the poster's, until its next post */
	char error[ANSWER_TEXT];
};

struct poster;
/* Errors as otlp_http_new(). */
int poster_new(const struct otlp_http_cfg *cfg, struct poster **ret_poster);
void poster_free(struct poster *p);
/* Posts and waits for the reply: for the configured timeout, and not past *stop_ns (monotonic; 0:
 * no end), which another thread may set meanwhile and then call poster_wake(). */
void poster_post(struct poster *p, struct str body, const uint64_t *stop_ns, struct reply *ret);
void poster_wake(struct poster *p);

/* An address that may be shown: user, password, query and fragment are left out. The caller frees
 * it. 0, -EINVAL or -ENOMEM. */
int url_without_secrets(const char *url, char **ret_url);

/* ---- retry -------------------------------------------------------------------------------- */

struct retry_policy {
	uint32_t first_ms;
	uint32_t max_ms;
	uint32_t give_up_ms; /* from the first try on */
};

/* Milliseconds to wait after the tries-th try (from 1): doubling from first_ms to max_ms, half to
 * all of it by chance; or what the server asked for. */
uint64_t retry_delay_ms(const struct retry_policy *policy, uint32_t tries, int64_t retry_after_s,
			uint32_t chance);
/* OTLP specification, "Retryable response codes"; 0, no reply at all, is retryable too. */
bool retry_status(long status);

/* otlp_http_new() with other waiting times. */
int otlp_http_new_with(const struct otlp_http_cfg *cfg, const struct retry_policy *policy,
		       struct otlp_http **ret_exporter);

#endif

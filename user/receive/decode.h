/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes to spans, without a server around them. Private to the room.
 *
 * Decoders stream: a span is read, judged, pushed and forgotten; its strings are borrowed from the
 * body, its arrays live in an arena that is emptied for the next one. Resources and scopes outlive
 * that: equal ones of all requests of a decoder are one pointer.
 */
#ifndef RECEIVE_DECODE_H
#define RECEIVE_DECODE_H

#include "core/books.h"
#include "core/buf.h"
#include "span/span.h"

#define TEXT_BYTES_MAX	 (1u << 20)
#define SPAN_BYTES_MAX	 (4u << 20)
#define ORIGIN_BYTES_MAX (256u << 10) /* of a resource or scope */
#define ATTRS_MAX	 1024u
#define EVENTS_MAX	 128u
#define LINKS_MAX	 128u
#define WHY_MAX		 512

/* Why a span is rejected, and what the sender is told of it. */
#define REJECTS(X)                                                                                 \
	X(bad_id, "a trace id is 16 bytes or 32 hex digits, a span id half of it, none is zero")   \
	X(bad_time, "from the year 2000 to a day ahead, in nanoseconds (Zipkin: microseconds)")    \
	X(too_large, "a value above 1 MiB, a span above 4 MiB, a resource or scope above 256 KiB") \
	X(too_deep, "values nested more than 64 deep")                                             \
	X(malformed, "what is in it is no span")
#define X(name, text) REJECT_##name,
enum reject { REJECTS(X) REJECT_CNT, REJECT_none = REJECT_CNT };
#undef X

/* What is being read: where its arrays go, and why it cannot be kept. */
struct reading {
	struct arena *mem;
	enum reject refused;
	bool corrected;
	struct attr spare; /* takes what a full list does not */
};

/* Text as a span may hold it: clean UTF-8. */
struct str reading_text(struct reading *r, struct str s);
/* Where the next attribute of a list goes; never NULL. */
struct attr *reading_attr(struct reading *r, struct attrs *a);
/* An array of cnt zeroed items; NULL, and refused, when there is no room. */
void *reading_array(struct reading *r, size_t cnt, size_t size);
void reading_refuse(struct reading *r, enum reject why);

/* How a format writes resources and scopes. What they are read from lives as long as r->mem. Each
 * returns false for malformed bytes. */
struct form {
	bool (*resource)(struct reading *r, struct str bytes, struct resource *to);
	bool (*scope)(struct reading *r, struct str bytes, struct scope *to);
};

/* One request's result. */
struct intake {
	uint64_t accepted;
	uint64_t rejected[REJECT_CNT];
	char why[WHY_MAX]; /* of -EBADMSG */
};

#define ORIGINS_MAX 256
struct origin;

struct decoder {
	struct span_sink out;
	uint64_t now_ns; /* Unix time; decoder_begin() sets it */
	struct intake intake;
	struct books books;
	uint64_t corrected; /* spans, ever */
	struct arena *mem;  /* of the span being read */
	struct arena *keys; /* of what was read ahead about spans to come */
	struct origin *origin[ORIGINS_MAX];
	size_t origin_bytes;
	struct buf merged_resource, merged_scope; /* of messages that came in parts */
};

/* The books are registered until decoder_free(). */
struct decoder *decoder_new(struct span_sink out);
void decoder_free(struct decoder *d); /* NULL is fine */

/* Each decodes one request. 0: d->intake tells what was kept; -EBADMSG: malformed, d->intake.why
 * says where, what came before is kept; -ENOMEM. */
int decode_otlp(struct decoder *d, struct str body);
int decode_otlp_json(struct decoder *d, struct str body);
int decode_zipkin(struct decoder *d, struct str body);

uint64_t intake_rejected(const struct intake *in);
/* "2 of 5 spans rejected: 1 bad_id (...), 1 too_large (...)"; empty when none were. */
void intake_why(const struct intake *in, char out[WHY_MAX]);

/* ---- for the decoders ---- */

void decoder_begin(struct decoder *d);
/* A reading of the next span; what the last one held is gone. */
struct reading decoder_reading(struct decoder *d);
/* Judges and pushes; resource and scope are set unless it is refused already. */
void decoder_push(struct decoder *d, struct reading *r, struct span *s);
/* Counts a span that was not read. */
void decoder_reject(struct decoder *d, enum reject why);

struct origin_key {
	const struct form *form;
	struct str resource, resource_schema;
	struct str scope, scope_schema;
};
/* Borrowed until the next call. 0; -E2BIG: spans of it are too large; -EBADMSG, -ENOMEM. */
int origin_find(struct decoder *d, const struct origin_key *key, struct resource **ret_resource,
		const struct scope **ret_scope);
void origins_clear(struct decoder *d);

#endif

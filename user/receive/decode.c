/* SPDX-License-Identifier: Apache-2.0 */
/* What all decoders share: text, lists, the judgement of a span, the books. */
#include "receive/decode.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/utf8.h"

/* A span's arrays: what small items on the wire may become. */
#define SPAN_MEMORY_MAX (16u << 20)
#define ATTRS_FIRST	16u
#define TIME_MIN_NS	946684800000000000ull /* 2000-01-01 */
#define TIME_AHEAD_NS	(24 * 3600 * NS_PER_S)

#define X(name, text) #name,
static const char *const reject_names[] = { REJECTS(X) };
#undef X
#define X(name, text) text,
static const char *const reject_texts[] = { REJECTS(X) };
#undef X

/* ---- a reading ---- */

void reading_refuse(struct reading *r, enum reject why)
{
	if (r->refused == REJECT_none)
		r->refused = why;
}

struct str reading_text(struct reading *r, struct str s)
{
	size_t len;
	char *clean;

	if (s.len > TEXT_BYTES_MAX) {
		reading_refuse(r, REJECT_too_large);
		return (struct str){ NULL, 0 };
	}
	if (utf8_valid(s))
		return s;
	len = utf8_clean_len(s);
	clean = reading_array(r, len, 1);
	if (!clean)
		return (struct str){ NULL, 0 };
	utf8_clean(s, clean);
	r->corrected = true;
	return (struct str){ clean, len };
}

struct attr *reading_attr(struct reading *r, struct attrs *a)
{
	if (a->cnt == ATTRS_MAX) {
		a->dropped++;
		return &r->spare;
	}
	if (a->cnt == a->size) {
		uint32_t size = a->size ? a->size * 2 : ATTRS_FIRST;
		struct attr *item = arena_alloc_raw(r->mem, size * sizeof(*item));

		if (!item) {
			reading_refuse(r, REJECT_too_large);
			return &r->spare;
		}
		if (a->cnt)
			memcpy(item, a->item, a->cnt * sizeof(*item));
		a->item = item;
		a->size = size;
	}
	return &a->item[a->cnt++];
}

void *reading_array(struct reading *r, size_t cnt, size_t size)
{
	void *p = cnt <= SPAN_MEMORY_MAX / size ? arena_alloc(r->mem, cnt * size) : NULL;

	if (!p)
		reading_refuse(r, REJECT_too_large);
	return p;
}

/* ---- a span ---- */

struct reading decoder_reading(struct decoder *d)
{
	arena_reset(d->mem);
	return (struct reading){ .mem = d->mem, .refused = REJECT_none };
}

void decoder_reject(struct decoder *d, enum reject why)
{
	d->intake.rejected[why]++;
	book_add(&d->books.in, 1);
	book_add(&d->books.dropped[why], 1);
}

static void check_time(const struct decoder *d, struct reading *r, struct span *s)
{
	uint64_t latest = d->now_ns + TIME_AHEAD_NS;

	if (s->start_ns < TIME_MIN_NS || s->start_ns > latest || s->end_ns > latest)
		reading_refuse(r, REJECT_bad_time);
	if (s->end_ns < s->start_ns) {
		s->end_ns = s->start_ns;
		r->corrected = true;
	}
}

void decoder_push(struct decoder *d, struct reading *r, struct span *s)
{
	if (!trace_id_is_set(&s->trace_id) || !span_id_is_set(&s->span_id))
		reading_refuse(r, REJECT_bad_id);
	check_time(d, r, s);
	if (r->refused != REJECT_none) {
		decoder_reject(d, r->refused);
		return;
	}
	d->intake.accepted++;
	if (r->corrected)
		book_add(&d->corrected, 1);
	book_add(&d->books.in, 1);
	d->out.push(d->out.ctx, s);
	book_add(&d->books.out, 1);
}

/* ---- a request ---- */

void decoder_begin(struct decoder *d)
{
	d->now_ns = clock_real_ns();
	d->intake = (struct intake){ 0 };
}

uint64_t intake_rejected(const struct intake *in)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < REJECT_CNT; i++)
		sum += in->rejected[i];
	return sum;
}

void intake_why(const struct intake *in, char out[WHY_MAX])
{
	uint64_t sum = intake_rejected(in);
	const char *sep = ": ";
	size_t len;

	out[0] = 0;
	if (!sum)
		return;
	len = (size_t)snprintf(out, WHY_MAX, "%llu of %llu spans rejected", (unsigned long long)sum,
			       (unsigned long long)(sum + in->accepted));
	for (size_t i = 0; i < REJECT_CNT && len < WHY_MAX; i++) {
		if (!in->rejected[i])
			continue;
		len += (size_t)snprintf(out + len, WHY_MAX - len, "%s%llu %s (%s)", sep,
					(unsigned long long)in->rejected[i], reject_names[i],
					reject_texts[i]);
		sep = ", ";
	}
}

struct decoder *decoder_new(struct span_sink out)
{
	struct decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->out = out;
	d->merged_resource.cap = d->merged_scope.cap = ORIGIN_BYTES_MAX;
	d->books = (struct books){ .stage = "receive", .unit = "span" };
	memcpy(d->books.reason, reject_names, sizeof(reject_names));
	d->mem = arena_new(SPAN_MEMORY_MAX);
	d->keys = arena_new(2 * ORIGIN_BYTES_MAX);
	if (!d->mem || !d->keys || books_register(&d->books)) {
		arena_free(d->mem);
		arena_free(d->keys);
		free(d);
		return NULL;
	}
	return d;
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	books_unregister(&d->books);
	origins_clear(d);
	buf_fini(&d->merged_resource);
	buf_fini(&d->merged_scope);
	arena_free(d->mem);
	arena_free(d->keys);
	free(d);
}

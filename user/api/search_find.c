/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces by their spans, newest first, in an order that is exact although blocks overlap: when a
 * scan has found as many as are wanted, it is known how far back it has to look for the rest. An
 * engine that is not told so ends there; a second scan looks at all that is newer.
 */
#include "api/search_parts.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

struct collector {
	struct place *item;
	uint32_t *slot; /* 1 + index into item, 0: free */
	uint32_t cnt, size, mask;
	uint32_t max;
	const struct place *from;
	uint64_t floor_ns; /* what started before is not among the first max; 0: not known yet */
	bool below;	   /* stopped there */
	bool more;	   /* there may be others, or some were let go */
};

bool place_after(const struct place *a, const struct place *b)
{
	if (a->key_ns != b->key_ns)
		return a->key_ns < b->key_ns;
	return memcmp(a->id.b, b->id.b, sizeof(a->id.b)) > 0;
}

static struct place place_of(const struct finder *f, const struct trace *t)
{
	struct place p = { 0, t->id };

	for (uint32_t i = 0; i < t->span_cnt; i++) {
		const struct span *s = t->spans[i];

		if (s->start_ns > p.key_ns && s->start_ns >= f->range.from_ns &&
		    (!f->range.to_ns || s->start_ns < f->range.to_ns) && cond_match(f->seek, s))
			p.key_ns = s->start_ns;
	}
	return p;
}

static int in_order(const void *a, const void *b)
{
	return place_after(a, b) ? 1 : place_after(b, a) ? -1 : 0;
}

static uint32_t *find_slot(struct collector *c, const struct trace_id *id)
{
	uint32_t at = (uint32_t)XXH3_64bits(id->b, sizeof(id->b)) & c->mask;

	while (c->slot[at] && memcmp(c->item[c->slot[at] - 1].id.b, id->b, sizeof(id->b)) != 0)
		at = (at + 1) & c->mask;
	return &c->slot[at];
}

/* Lets all but the first max go. What comes back later has a lower key still, and goes again. */
static void prune(struct collector *c)
{
	qsort(c->item, c->cnt, sizeof(*c->item), in_order);
	if (c->cnt >= c->max) {
		c->floor_ns = MAX(c->floor_ns, c->item[c->max - 1].key_ns);
		c->more = true;
	}
	c->cnt = MIN(c->cnt, c->max);
	memset(c->slot, 0, (c->mask + 1) * sizeof(*c->slot));
	for (uint32_t i = 0; i < c->cnt; i++)
		*find_slot(c, &c->item[i].id) = i + 1;
}

static bool collect_place(struct collector *c, struct place p)
{
	uint32_t *slot;

	if (c->from && !place_after(&p, c->from))
		return true;
	c->below = p.key_ns < c->floor_ns;
	if (c->below)
		return false;
	slot = find_slot(c, &p.id);
	if (*slot) {
		struct place *known = &c->item[*slot - 1];

		known->key_ns = MAX(known->key_ns, p.key_ns);
		return true;
	}
	if (c->cnt == c->size) {
		prune(c);
		slot = find_slot(c, &p.id);
	}
	c->item[c->cnt++] = p;
	*slot = c->cnt;
	if (c->cnt == c->max && !c->floor_ns)
		prune(c);
	return true;
}

static bool collect(void *ctx, const struct span *s)
{
	struct collector *c = ctx;

	return collect_place(c, (struct place){ s->start_ns, s->trace_id });
}

/* What is left of the range behind 'from'. */
static struct time_range range_behind(const struct finder *f, const struct place *from)
{
	struct time_range r = f->range;

	if (from && (!r.to_ns || from->key_ns < r.to_ns))
		r.to_ns = from->key_ns + 1;
	return r;
}

static int scan(struct finder *f, struct collector *c, uint64_t from_ns)
{
	struct time_range r = range_behind(f, c->from);
	struct scan q = { .where = f->seek,
			  .floor_ns = &c->floor_ns,
			  .sieve = f->sieve,
			  .deadline_ns = f->deadline_ns };
	int err;

	r.from_ns = MAX(r.from_ns, from_ns);
	if (r.to_ns && r.to_ns <= r.from_ns)
		return 0;
	q.range = r;
	err = store_scan(f->store, &q, collect, c);
	prune(c);
	return err;
}

static int collector_init(struct collector *c, const struct finder *f, const struct place *from,
			  uint32_t max)
{
	uint32_t slots = 64;

	*c = (struct collector){ .from = from, .max = max, .size = 4 * max };
	while (slots < 2 * c->size)
		slots *= 2;
	c->mask = slots - 1;
	c->item = calloc(c->size, sizeof(*c->item));
	c->slot = calloc(slots, sizeof(*c->slot));
	return c->item && c->slot ? 0 : -ENOMEM;
}

int finder_run(struct finder *f, const struct place *from, uint32_t max, bool *ret_all)
{
	struct collector c;
	int err = collector_init(&c, f, from, max);

	if (err)
		goto out;
	err = scan(f, &c, 0);
	if (!err && c.below) {
		c.cnt = 0;
		prune(&c);
		err = scan(f, &c, c.floor_ns);
	}
	if (err)
		goto out;
	free(f->item);
	f->item = c.item;
	f->cnt = c.cnt;
	c.item = NULL;
	*ret_all = !c.more;
out:
	free(c.item);
	free(c.slot);
	return err;
}

int finder_sift(struct finder *f)
{
	const struct need *need = f->need;
	int err;

	f->need = NULL; /* once is enough */
	if (!need || f->sieve)
		return 0;
	err = store_sieve_new(f->store, need, f->deadline_ns, &f->sieve);
	return err == -EOPNOTSUPP || err == -E2BIG ? 0 : err;
}

/* Spans that a store is asked to look at in one go. */
#define NARROW_AT_ONCE (256u << 10)

int finder_narrow(struct finder *f, uint64_t spans)
{
	int more = f->sieve && !f->narrow;

	while (more > 0 && spans) {
		uint32_t some = (uint32_t)MIN(spans, NARROW_AT_ONCE);

		more = store_sieve_narrow(f->store, f->sieve, some, f->deadline_ns);
		spans -= some;
	}
	f->narrow = !more;
	return MIN(more, 0);
}

void finder_fini(struct finder *f)
{
	store_sieve_free(f->sieve);
	free(f->item);
	f->item = NULL;
}

/* ---- their traces --------------------------------------------------------------------------- */

/* Traces of one look into the store: few at first, more while they are small, so that a block is
 * opened for many, and what is in memory at the same time stays near BATCH_BYTES. */
#define BATCH_FIRST 32u
#define BATCH_MAX   512u
#define BATCH_BYTES (8u << 20)

struct batch {
	const struct place *place;
	uint32_t cnt;
	uint32_t next; /* where the next one is expected */
	size_t bytes;
	struct trace *trace[BATCH_MAX];
};

/* They come in the order of their ids here, mostly, so the next is looked at first. */
static void take_trace(void *ctx, const struct trace *t)
{
	struct batch *b = ctx;

	b->bytes += trace_bytes(t);
	for (uint32_t n = 0; n < b->cnt; n++) {
		uint32_t i = b->next;

		b->next = (i + 1) % b->cnt;
		if (memcmp(b->place[i].id.b, t->id.b, sizeof(t->id.b)) != 0)
			continue;
		if (!b->trace[i])
			b->trace[i] = trace_get(t);
		return;
	}
}

static uint32_t next_batch(uint32_t cnt, size_t bytes)
{
	if (bytes < BATCH_BYTES / 2)
		return MIN(2 * cnt, BATCH_MAX);
	return bytes > BATCH_BYTES ? MAX(cnt / 4, 1u) : cnt;
}

static int visit_batch(const struct finder *f, const struct batch *b, const struct place *from,
		       int (*visit)(void *ctx, const struct place *p, const struct trace *t),
		       void *ctx)
{
	int err = 0;

	for (uint32_t i = 0; i < b->cnt && !err; i++) {
		const struct trace *t = b->trace[i];

		if (f->deadline_ns && clock_mono_ns() > f->deadline_ns)
			return -ETIMEDOUT;
		if (t && from) {
			struct place own = place_of(f, t);

			t = place_after(&own, from) ? t : NULL;
		}
		err = visit(ctx, &b->place[i], t);
	}
	return err;
}

static int load(const struct finder *f, const struct trace_id *ids, uint32_t cnt,
		struct trace_sink out)
{
	if (!f->fields)
		return store_traces(f->store, ids, cnt, out);
	return store_trace_fields(f->store, ids, cnt, f->fields, f->field_cnt, out);
}

int finder_each(struct finder *f, const struct place *from,
		int (*visit)(void *ctx, const struct place *p, const struct trace *t), void *ctx)
{
	int err = 0;

	if (!f->batch)
		f->batch = BATCH_FIRST;

	for (uint32_t at = 0, cnt; at < f->cnt && !err; at += cnt) {
		struct batch b = { .place = &f->item[at], .cnt = MIN(f->batch, f->cnt - at) };
		struct trace_id ids[BATCH_MAX];

		cnt = b.cnt;
		for (uint32_t i = 0; i < cnt; i++)
			ids[i] = b.place[i].id;
		err = load(f, ids, cnt, (struct trace_sink){ &b, take_trace });
		if (!err)
			err = visit_batch(f, &b, from, visit, ctx);
		for (uint32_t i = 0; i < cnt; i++)
			trace_put(b.trace[i]);
		f->batch = next_batch(f->batch, b.bytes);
	}
	return err;
}

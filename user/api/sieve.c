/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of traces, 16 bytes each: two that share a mark share a row, whose extent holds both. All
 * that is kept of a trace can only grow with what is added, as what is needed of it only asks for
 * more: so a shared row lets more through, never less.
 */
#include "api/need.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS_LOG_MIN 12u
#define SLOTS_LOG_MAX 21u /* 32 MB */
/* Starts are kept in microseconds, from 175 days before the first that comes to 28 after. */
#define START_BITS 44
#define AHEAD_US   (28 * 24 * 3600 * 1000000ull)
#define SPANS_BITS 14
#define SPANS_MAX  ((1u << SPANS_BITS) - 1) /* or more */
#define LENGTH_MAX UINT32_MAX		    /* or more: 71 minutes */

enum {
	ROW_LEAFY = 1,	 /* a part of it has no top span */
	ROW_OUTSIDE = 2, /* it has, or may have, spans outside the range */
	ROW_UNKNOWN = 4, /* its times do not fit */
	ROW_ROOT = 8,	 /* ... << i: a top span satisfies root i */
};

struct row {
	uint32_t mark;
	uint32_t length; /* microseconds from the start, both rounded outwards */
	uint64_t start : START_BITS;
	uint64_t spans : SPANS_BITS; /* 0: free */
	uint64_t flags : 64 - START_BITS - SPANS_BITS;
};
_Static_assert(sizeof(struct row) == 16, "32 MB at most");

struct sieve {
	const struct need *need;
	struct row *row;
	uint32_t slots_log;
	uint32_t cnt, max, passing;
	bool full; /* what is not here was not looked at */
	struct time_range range;
	bool based;
	uint64_t base_us;
	const struct need *root[NEED_ROOTS_MAX];
	uint32_t root_cnt;
	uint8_t root_at; /* being looked for */
	bool rooted;	 /* they were looked for */
};

static struct row *home(const struct sieve *s, uint32_t mark)
{
	return &s->row[mark >> (32 - s->slots_log)];
}

/* The row of the mark, or the free one where it would stand. */
static struct row *find(const struct sieve *s, uint32_t mark)
{
	struct row *row = home(s, mark), *end = s->row + (1u << s->slots_log);

	while (row->spans && row->mark != mark)
		row = row + 1 == end ? s->row : row + 1;
	return row;
}

/* ---- what is needed ------------------------------------------------------------------------- */

static bool satisfies(const struct sieve *s, const struct need *n, const struct row *r)
{
	bool unknown = r->flags & ROW_UNKNOWN || r->length == LENGTH_MAX;
	double ns = (double)r->length * NS_PER_US;

	switch (n->op) {
	case NEED_AND: return satisfies(s, n->left, r) && satisfies(s, n->right, r);
	case NEED_OR: return satisfies(s, n->left, r) || satisfies(s, n->right, r);
	case NEED_DURATION: return unknown || ns >= n->least;
	case NEED_SPANS: return r->spans == SPANS_MAX || (double)r->spans >= n->least;
	case NEED_PRODUCT:
		return unknown || r->spans == SPANS_MAX || ns * (double)r->spans >= n->least;
	case NEED_ROOT:
		return !s->rooted || r->flags & (ROW_LEAFY | ROW_OUTSIDE | ROW_ROOT << n->root_bit);
	}
	return true;
}

static bool has(const struct need *n, enum need_op op)
{
	return n->op == op || (n->left && (has(n->left, op) || has(n->right, op)));
}

static double least_duration(const struct need *n)
{
	return n->left ? MIN(least_duration(n->left), least_duration(n->right)) : n->least;
}

static void list_roots(struct sieve *s, const struct need *n)
{
	if (n->left) {
		list_roots(s, n->left);
		list_roots(s, n->right);
	} else if (n->op == NEED_ROOT) {
		s->root[s->root_cnt++] = n;
	}
}

/* ---- filling -------------------------------------------------------------------------------- */

static void set_base(struct sieve *s, uint64_t ns)
{
	/* not by a span that claims another century */
	uint64_t us = MIN(ns, clock_real_ns()) / NS_PER_US + AHEAD_US;

	s->base_us = us >> START_BITS ? us - (1ull << START_BITS) : 0;
	s->based = true;
}

static void extend(const struct sieve *s, struct row *row, const struct trace_extent *x)
{
	uint64_t from = x->start_ns / NS_PER_US, to = x->end_ns / NS_PER_US + 1;

	if (from < s->base_us || (from - s->base_us) >> START_BITS || to < from) {
		row->flags |= ROW_UNKNOWN;
		return;
	}
	from -= s->base_us;
	to -= s->base_us;
	if (row->spans) {
		to = MAX(to, row->start + (uint64_t)row->length);
		from = MIN(from, row->start);
	}
	row->start = from;
	row->length = (uint32_t)MIN(to - from, LENGTH_MAX);
}

static void add(struct sieve *s, const struct trace_extent *x, bool beyond)
{
	const struct time_range *r = &s->range;
	struct row *row = find(s, x->mark);

	if (!row->spans && s->cnt == s->max) {
		s->full = true;
		return;
	}
	s->cnt += !row->spans;
	extend(s, row, x);
	row->mark = x->mark;
	row->spans = MIN(row->spans + (uint64_t)MAX(x->spans, 1u), SPANS_MAX);
	row->flags |= x->top ? 0 : ROW_LEAFY;
	if (beyond || x->start_ns < r->from_ns || (r->to_ns && x->end_ns >= r->to_ns))
		row->flags |= ROW_OUTSIDE;
}

static bool take_extents(void *ctx, const struct trace_extent *x, uint32_t cnt, bool beyond)
{
	struct sieve *s = ctx;

	for (uint32_t i = 0; i < cnt; i++)
		__builtin_prefetch(home(s, x[i].mark), 1);
	if (!s->based)
		set_base(s, x->start_ns);
	for (uint32_t i = 0; i < cnt; i++)
		add(s, &x[i], beyond);
	return true;
}

/* Beyond the range only what is known of in it is of interest. */
static bool wants(void *ctx, uint32_t mark, bool beyond)
{
	return !beyond || find(ctx, mark)->spans;
}

static bool take_top(void *ctx, const struct span *sp)
{
	struct sieve *s = ctx;
	struct row *row = find(s, store_trace_mark(&sp->trace_id));

	if (row->spans)
		row->flags |= ROW_ROOT << s->root_at;
	return true;
}

static int find_tops(struct sieve *s, struct store *store, uint64_t deadline_ns)
{
	const struct cond child = { .op = COND_CMP,
				    .cmp = CMP_EXISTS,
				    .field = { .kind = FIELD_PARENT_ID } };
	const struct cond top = { .op = COND_NOT, .left = &child, .depth = 2 };
	int err = 0;

	for (uint32_t i = 0; i < s->root_cnt && !err; i++) {
		const struct need *n = s->root[i];
		const struct cond both = {
			.op = COND_AND, .left = n->root, .right = &top, .depth = 3
		};
		const struct scan q = { .range = s->range,
					.where = &both,
					.deadline_ns = deadline_ns };

		s->root_at = n->root_bit;
		err = store_scan(store, &q, take_top, s);
	}
	s->rooted = true;
	return err;
}

static void count_passing(struct sieve *s)
{
	s->passing = 0;
	for (uint32_t i = 0; i < 1u << s->slots_log; i++)
		s->passing += s->row[i].spans && satisfies(s, s->need, &s->row[i]);
}

/* Room for the traces that the store has, as far as that is allowed. */
static int make_rows(struct sieve *s, struct store *store)
{
	struct store_stats have;
	int err = store_stats(store, &have);

	if (err)
		return err;
	s->slots_log = SLOTS_LOG_MIN;
	while (s->slots_log < SLOTS_LOG_MAX && have.traces > 1ull << (s->slots_log - 1))
		s->slots_log++;
	s->max = (1u << s->slots_log) / 8 * 7;
	s->row = calloc(1u << s->slots_log, sizeof(*s->row));
	return s->row ? 0 : -ENOMEM;
}

/* ---- its life ------------------------------------------------------------------------------- */

int sieve_new(struct store *store, const struct need *need, struct time_range r,
	      uint64_t deadline_ns, struct sieve **ret_sieve)
{
	struct sieve *s = calloc(1, sizeof(*s));
	bool ranged = r.from_ns || r.to_ns, tops = has(need, NEED_ROOT);
	bool spans = has(need, NEED_SPANS) || has(need, NEED_PRODUCT);
	bool times = has(need, NEED_DURATION) || has(need, NEED_PRODUCT) || (tops && ranged);
	struct extents q = { .range = r,
			     .beyond = ranged,
			     .times = times,
			     .tops = tops,
			     .wants = ranged ? wants : NULL,
			     .deadline_ns = deadline_ns };
	int err = -ENOMEM;

	if (s)
		err = make_rows(s, store);
	if (err)
		goto out;
	s->need = need;
	s->range = r;
	if (!spans && !tops)
		q.loose_ns = (uint64_t)MIN(least_duration(need) / 4, 1e18);
	list_roots(s, need);
	err = store_extents(store, &q, take_extents, s);
	if (!err)
		count_passing(s);
	if (!err && s->passing && s->root_cnt) {
		err = find_tops(s, store, deadline_ns);
		count_passing(s);
	}
out:
	if (err)
		sieve_free(s);
	else
		*ret_sieve = s;
	return err;
}

bool sieve_passes(const struct sieve *s, uint32_t mark)
{
	const struct row *row = find(s, mark);

	return row->spans ? satisfies(s, s->need, row) : s->full;
}

uint32_t sieve_passing(const struct sieve *s)
{
	return s->full ? UINT32_MAX : s->passing;
}

void sieve_free(struct sieve *s)
{
	if (!s)
		return;
	free(s->row);
	free(s);
}

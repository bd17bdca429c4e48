/* SPDX-License-Identifier: Apache-2.0 */
/* A search: traces that may be meant are found by their spans, loaded, and looked at. */
#include "api/search_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LIMIT_DEFAULT 20u
#define SPANS_DEFAULT 3u
#define SETS_MAX      64u
/* Traces found at once. */
#define FIND_MIN 32u
#define FIND_MAX 4096u
/* Traces looked at before all are sifted, and before those in several places are too. */
#define SIFT_AFTER   FIND_MIN
#define NARROW_AFTER (3 * FIND_MIN)
/* Spans of the latter that are looked at for the first time, and how many times as many then. */
#define NARROW_FIRST (32u << 10)
#define NARROW_STEP  32u
/* What looking at one trace may take beside the trace. */
#define SCRATCH_MAX (256u << 20)

struct hunt {
	const struct search *q;
	struct finder finder;
	struct arena *mem;     /* of the search */
	struct arena *scratch; /* of the trace in hand */
	uint32_t limit, spans;
	const struct field *fields;
	uint32_t field_cnt;
	bool (*visit)(void *ctx, const struct search_trace *t);
	void *ctx;
	struct place last; /* looked at; pages go on behind it */
	bool any_last;
	uint32_t visited;
	bool ended; /* by the visitor */
	struct search_end *end;
};

/* ---- pages ---------------------------------------------------------------------------------- */

static void write_page(const struct place *p, char out[SEARCH_TOKEN_MAX])
{
	snprintf(out, 17, "%016" PRIx64, p->key_ns);
	trace_id_hex(&p->id, out + 16);
}

static bool read_hex(const char *s, size_t cnt, uint8_t *out)
{
	for (size_t i = 0; i < cnt; i++) {
		char pair[3] = { s[2 * i], s[2 * i] ? s[2 * i + 1] : 0, 0 };

		if (strspn(pair, "0123456789abcdef") != 2)
			return false;
		out[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

static bool read_page(const char *page, struct place *ret)
{
	uint8_t key[8];

	if (strlen(page) != SEARCH_TOKEN_MAX - 1 || !read_hex(page, sizeof(key), key) ||
	    !read_hex(page + 16, sizeof(ret->id.b), ret->id.b))
		return false;
	ret->key_ns = 0;
	for (size_t i = 0; i < sizeof(key); i++)
		ret->key_ns = ret->key_ns << 8 | key[i];
	return true;
}

/* ---- one trace ------------------------------------------------------------------------------ */

static uint8_t *mark(struct eval *e, const struct cond *c)
{
	const struct trace *t = e->tree->trace;
	uint8_t *set = arena_alloc(e->mem, t->span_cnt + 1);

	e->err = set ? e->err : -ENOMEM;
	for (uint32_t i = 0; i < t->span_cnt && eval_goes_on(e, i); i++)
		set[i] = cond_match(c, t->spans[i]);
	return e->err ? NULL : set;
}

/* The spans that where and calls mean; none: the trace is not meant. */
static struct groups match_conditions(struct eval *e, const struct search *q)
{
	enum op op = q->calls_directly ? OP_UNION_CHILD : OP_UNION_DESC;
	struct groups g = { .item = arena_alloc(e->mem, sizeof(*g.item)) };
	uint8_t *set = mark(e, q->where);

	if (q->calls && set) {
		uint8_t *callers = set, *called = mark(e, q->calls);

		set = arena_alloc(e->mem, e->tree->trace->span_cnt + 1);
		if (called && set)
			eval_related(e, op, callers, called, set);
	}
	if (!g.item || !set)
		e->err = e->err ? e->err : -ENOMEM;
	else
		g.cnt = eval_group(e, set, g.item);
	return g;
}

static bool duration_fits(const struct search *q, const struct search_trace *t)
{
	uint64_t ns = t->end_ns > t->start_ns ? t->end_ns - t->start_ns : 0;

	return ns >= q->duration_min_ns && (!q->duration_max_ns || ns <= q->duration_max_ns);
}

static bool fill_sets(struct hunt *h, const struct trace *t, const struct groups *g,
		      struct search_trace *ret)
{
	uint32_t cnt = MIN(g->cnt, SETS_MAX);
	struct search_set *sets = arena_alloc(h->scratch, cnt * sizeof(*sets));

	for (uint32_t i = 0; sets && i < cnt; i++) {
		const struct group *from = &g->item[i];
		const struct span **spans;

		sets[i].span_cnt = MIN(from->cnt, h->spans);
		spans = arena_alloc(h->scratch, sets[i].span_cnt * sizeof(*spans));
		if (!spans)
			return false;
		for (uint32_t k = 0; k < sets[i].span_cnt; k++)
			spans[k] = t->spans[from->span[k]];
		sets[i].spans = spans;
		sets[i].matched = from->cnt;
		sets[i].attrs = from->attrs;
	}
	ret->sets = sets;
	ret->set_cnt = cnt;
	return sets;
}

/* 1: it is meant, and ret filled; 0: it is not; -ENOMEM, -ETIMEDOUT. */
static int look(struct hunt *h, const struct trace *t, struct search_trace *ret)
{
	const struct search *q = h->q;
	struct spantree tree;
	struct eval e = { .tree = &tree, .mem = h->scratch, .deadline_ns = q->deadline_ns };
	struct groups g;

	memset(ret, 0, sizeof(*ret));
	arena_reset(h->scratch);
	if (!spantree_build(t, h->scratch, &tree) || !summarize(&tree, h->scratch, ret))
		return -ENOMEM;
	if (!duration_fits(q, ret))
		return 0;
	g = match_conditions(&e, q);
	if (g.cnt && q->query)
		g = eval_query(&e, q->query);
	if (e.err || !g.cnt)
		return e.err;
	ret->fields = h->fields;
	ret->field_cnt = h->field_cnt;
	return fill_sets(h, t, &g, ret) ? 1 : -ENOMEM;
}

/* ---- many ----------------------------------------------------------------------------------- */

static int show(void *ctx, const struct place *p, const struct trace *t)
{
	struct hunt *h = ctx;
	struct search_trace found;
	int meant = t ? look(h, t, &found) : 0;

	if (meant < 0)
		return meant; /* the next page begins with it */
	h->last = *p;
	h->any_last = true;
	h->end->traces += t != NULL;
	h->end->spans += t ? t->span_cnt : 0;
	if (!meant)
		return 0;
	h->visited++;
	h->ended = !h->visit(h->ctx, &found) || h->visited == h->limit;
	return h->ended;
}

/* Finds and shows, from a page on, until there is enough or no more. */
static int hunt_run(struct hunt *h, const struct place *page)
{
	uint32_t want = MIN(MAX(h->limit + 1, FIND_MIN), FIND_MAX);
	struct place cursor = page ? *page : (struct place){ 0 };
	uint64_t narrow = NARROW_FIRST;
	bool all = false;
	int err = 0;

	while (!err && !all && !h->ended) {
		const struct place *from = page || h->any_last ? &cursor : NULL;

		if (h->any_last)
			cursor = h->last;
		if (h->end->traces >= SIFT_AFTER)
			err = finder_sift(&h->finder);
		if (!err && h->end->traces >= NARROW_AFTER)
			err = finder_narrow(&h->finder, narrow);
		if (h->end->traces >= NARROW_AFTER)
			narrow = MIN(narrow * NARROW_STEP, UINT32_MAX);
		if (!err)
			err = finder_run(&h->finder, from, want, &all);
		if (!err)
			err = MIN(finder_each(&h->finder, from, show, h), 0);
		want = MIN(2 * want, FIND_MAX);
	}
	if (all && h->finder.cnt && place_after(&h->finder.item[h->finder.cnt - 1], &h->last))
		all = false; /* the limit came before the end */
	if (!all && h->any_last)
		write_page(&h->last, h->end->next);
	else if (err && page)
		write_page(page, h->end->next);
	return err;
}

/* ---- the question --------------------------------------------------------------------------- */

static const struct cond *choose_seek(struct hunt *h)
{
	static const struct cond every = { .op = COND_TRUE };
	const struct search *q = h->q;
	const struct cond *c = q->where ? q->where : &every;

	if (q->calls)
		c = cond_cheaper(c, q->calls);
	if (q->duration_max_ns) {
		const struct value v = { .type = VALUE_INT,
					 .i = (int64_t)MIN(q->duration_max_ns, INT64_MAX) };
		const struct cond *no_longer =
			cond_cmp(h->mem, (struct field){ .kind = FIELD_DURATION }, CMP_LE, v);

		c = no_longer ? cond_cheaper(c, no_longer) : c;
	}
	if (q->query) {
		struct lowered l = lower_query(h->mem, q->query);

		c = cond_cheaper(c, cond_cheaper(l.span, l.other));
	}
	return c;
}

int search_run(struct store *s, const struct search *q,
	       bool (*visit)(void *ctx, const struct search_trace *t), void *ctx,
	       struct search_end *ret_end)
{
	struct hunt h = { .q = q, .visit = visit, .ctx = ctx, .end = ret_end };
	struct needing needing = { 0 };
	struct place page = { 0 };
	int err = -EINVAL;

	memset(ret_end, 0, sizeof(*ret_end));
	if (q->limit > SEARCH_LIMIT_MAX || (q->page && !read_page(q->page, &page)) ||
	    (q->query && q->query->metric))
		return err;
	h.limit = q->limit ? q->limit : LIMIT_DEFAULT;
	h.spans = q->spans_per_set ? q->spans_per_set : SPANS_DEFAULT;
	h.mem = arena_new(0);
	h.scratch = arena_new(SCRATCH_MAX);
	err = -ENOMEM;
	if (!h.mem || !h.scratch)
		goto out;
	needing.mem = h.mem;
	h.field_cnt = search_fields(q, h.mem, &h.fields);
	h.finder = (struct finder){ .store = s,
				    .seek = choose_seek(&h),
				    .need = need_of_search(&needing, q),
				    .range = q->range,
				    .deadline_ns = q->deadline_ns };
	h.finder.fields = search_reads(q, h.mem, &h.finder.field_cnt);
	err = hunt_run(&h, q->page ? &page : NULL);
out:
	finder_fini(&h.finder);
	arena_free(h.scratch);
	arena_free(h.mem);
	return err;
}

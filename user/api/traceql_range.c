/* SPDX-License-Identifier: Apache-2.0 */
/* A metric over time: from spans alone where they tell, else from whole traces. */
#include "api/search_parts.h"
#include "api/traceql_range.h"

#include <errno.h>

/* What an answer may take in memory, and looking at one trace beside the trace. */
#define ANSWER_MAX  (64u << 20)
#define SCRATCH_MAX (256u << 20)
/* Traces found at once. */
#define FIND 4096u
/* Fields that a scan is told of. */
#define FIELDS_MAX (2 * TRACEQL_LIST_MAX)

struct run {
	struct figures f;
	struct store *store;
	struct arena *scratch;
	struct lowered lowered;
	struct scan scan;
	struct place last;
	int err;
};

/* ---- spans alone ---------------------------------------------------------------------------- */

static bool count_span(void *ctx, const struct span *s)
{
	struct run *r = ctx;
	struct span *one = (struct span *)(uintptr_t)s; /* it is only read */
	uint32_t parent = SPANTREE_NONE, first = 0;
	struct trace t = { .id = s->trace_id, .spans = &one, .span_cnt = 1, .root = -1 };
	struct spantree tree = { .trace = &t, .parent = &parent, .ordered = &first };
	struct eval e = { .tree = &tree, .mem = r->scratch };

	arena_reset(r->scratch);
	for (const struct stage *at = r->f.q->query->first; at != r->f.metric; at = at->next)
		if (!r->lowered.exact && !eval_true(&e, at->set->filter, 0))
			return true;
	figures_add(&r->f, &e, 0);
	r->err = e.err;
	return !e.err;
}

static void add_fields(const struct expr *e, struct field *fields, size_t *cnt)
{
	if (!e)
		return;
	if (e->kind == EXPR_FIELD && *cnt < FIELDS_MAX)
		fields[(*cnt)++] = e->field->field;
	add_fields(e->left, fields, cnt);
	add_fields(e->right, fields, cnt);
}

/* What figures_add() reads; anything else, or too much, asks for whole spans. */
static void choose_fields(struct run *r, struct field *fields)
{
	const struct stage *m = r->f.metric;
	size_t cnt = 0;

	add_fields(m->of, fields, &cnt);
	for (uint32_t i = 0; i < m->list.cnt; i++)
		add_fields(m->list.item[i], fields, &cnt);
	for (size_t i = 0; i < cnt; i++)
		if (fields[i].kind == FIELD_EVENT_ATTR || fields[i].kind == FIELD_LINK_ATTR)
			r->scan.whole = true;
	r->scan.whole = r->scan.whole || !r->lowered.exact || cnt == FIELDS_MAX;
	for (uint32_t i = 0; i < r->f.q->query->field_cnt; i++)
		if (r->f.q->query->fields[i]->ask != ASK_FIELD)
			r->scan.whole = true;
	r->scan.trace_state = m->metric == METRIC_RATE || m->metric == METRIC_COUNT;
	r->scan.fields = fields;
	r->scan.field_cnt = cnt;
}

static int count_spans(struct run *r)
{
	struct field fields[FIELDS_MAX];
	int err;

	choose_fields(r, fields);
	r->scan.where = r->lowered.span;
	err = store_scan(r->store, &r->scan, count_span, r);
	return err ? err : r->err;
}

/* ---- whole traces --------------------------------------------------------------------------- */

static int count_trace(void *ctx, const struct place *p, const struct trace *t)
{
	struct run *r = ctx;
	struct spantree tree;
	struct eval e = { .tree = &tree, .mem = r->scratch, .deadline_ns = r->scan.deadline_ns };
	struct groups g;

	r->last = *p;
	if (!t)
		return 0;
	arena_reset(r->scratch);
	if (!spantree_build(t, r->scratch, &tree))
		return -ENOMEM;
	g = eval_query(&e, r->f.q->query);
	for (uint32_t i = 0; i < g.cnt; i++)
		for (uint32_t k = 0; k < g.item[i].cnt; k++)
			figures_add(&r->f, &e, g.item[i].span[k]);
	return e.err;
}

static int count_traces(struct run *r)
{
	struct needing needing = { .mem = r->f.mem };
	struct finder f = { .store = r->store,
			    .seek = cond_cheaper(r->lowered.span, r->lowered.other),
			    .need = need_of_query(&needing, r->f.q->query),
			    .range = r->scan.range,
			    .deadline_ns = r->scan.deadline_ns };
	struct place from;
	bool all = false, first = true;
	int err = finder_sift(&f);

	if (!err)
		err = finder_narrow(&f, UINT64_MAX);
	while (!err && !all) {
		from = r->last;
		err = finder_run(&f, first ? NULL : &from, FIND, &all);
		if (!err)
			err = finder_each(&f, first ? NULL : &from, count_trace, r);
		first = false;
	}
	finder_fini(&f);
	return err;
}

/* ---- the question --------------------------------------------------------------------------- */

int traceql_range(struct store *s, const struct traceql_range *q,
		  void (*visit)(void *ctx, const struct traceql_series *series), void *ctx,
		  struct traceql_range_end *ret_end)
{
	struct run r = { .store = s, .f = { .q = q, .metric = q->query->metric, .end = ret_end } };
	uint64_t steps;
	int err = -ENOMEM;

	memset(ret_end, 0, sizeof(*ret_end));
	if (!q->query->metric || !q->step_ns || q->range.to_ns <= q->range.from_ns)
		return -EINVAL;
	r.f.first_ns = q->range.from_ns - (q->exact ? 0 : q->range.from_ns % q->step_ns);
	steps = (q->range.to_ns - r.f.first_ns - 1) / q->step_ns + 1;
	if (steps > TRACEQL_STEPS_MAX)
		return -EINVAL;
	r.f.steps = (uint32_t)steps;
	r.scan.range = (struct time_range){ r.f.first_ns, q->range.to_ns };
	r.scan.deadline_ns = q->deadline_ns;
	r.f.mem = arena_new(ANSWER_MAX);
	r.scratch = arena_new(SCRATCH_MAX);
	if (!r.f.mem || !r.scratch)
		goto out;
	r.lowered = lower_query(r.f.mem, q->query);
	err = figures_init(&r.f);
	if (!err)
		err = q->query->whole_trace ? count_traces(&r) : count_spans(&r);
	if (!err)
		err = figures_visit(&r.f, visit, ctx);
out:
	arena_free(r.scratch);
	arena_free(r.f.mem);
	return err;
}

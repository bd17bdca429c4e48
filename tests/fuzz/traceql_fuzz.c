/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a TraceQL query; what is accepted is lowered and evaluated on a small trace with a
 * circle in it. Where the lowered condition is said to be exact, it must agree with the filter.
 */
#include "api/traceql_ast.h"

#include <stdlib.h>

#define SPANS 6

static struct trace *trace;
static struct span span[SPANS];
static struct span_event event;
static struct span_link linked;

static void make_trace(void)
{
	struct resource *r = resource_new();
	static struct arena *mem; /* stays */

	mem = arena_new(0);
	attrs_add_str(&r->attrs, r->arena, "service.name", STR("shop"));
	resource_seal(r);
	event.name = STR("exception");
	attrs_add_str(&event.attrs, mem, "a", STR("b"));
	for (uint8_t i = 0; i < SPANS; i++) {
		/* 0 <- 1 <- 2, 1 <- 3; 4 and 5 are each other's parent */
		static const uint8_t parents[SPANS] = { 0, 1, 2, 2, 6, 5 };

		span[i] = (struct span){ .trace_id = { { 1 } },
					 .span_id = { { (uint8_t)(i + 1) } },
					 .parent_id = { { parents[i] } },
					 .name = i % 2 ? STR("GET /") : STR("a"),
					 .start_ns = 1000u + i,
					 .end_ns = 2000u + 1000000ull * i,
					 .kind = (enum span_kind)i,
					 .status = (enum span_status)(i % 3),
					 .events = &event,
					 .event_cnt = i % 2,
					 .links = &linked,
					 .link_cnt = i % 2,
					 .resource = r,
					 .scope = &scope_capture };
		attrs_add_int(&span[i].attrs, mem, "a", i);
		attrs_add_bool(&span[i].attrs, mem, "b", i % 2);
		attrs_add_str(&span[i].attrs, mem, "foo", STR("bar"));
	}
	trace = trace_new(&span[0].trace_id);
	for (size_t i = 0; i < SPANS; i++)
		trace_add(trace, &span[i]);
	trace->root = 0;
}

static void check_filter(struct eval *e, const struct expr *filter, struct arena *mem)
{
	struct lowered l = lower_expr(mem, filter);

	for (uint32_t i = 0; i < SPANS; i++) {
		bool is = eval_true(e, filter, i), may = cond_match(l.span, trace->spans[i]);

		if (!e->err && ((is && !may) || (l.exact && is != may)))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct traceql_error why;
	struct arena *mem = arena_new(64u << 20);
	struct traceql *q;
	struct spantree tree;
	struct eval e = { .tree = &tree, .mem = mem };
	struct lowered l;
	struct groups g;
	bool may = false;

	if (!trace)
		make_trace();
	if (traceql_parse((struct str){ (const char *)data, size }, &q, &why)) {
		if (!why.line || !why.text[0] || strchr(why.text, '\n'))
			abort();
		goto out;
	}
	if (!spantree_build(trace, mem, &tree))
		abort();
	l = lower_query(mem, q);
	g = eval_query(&e, q);
	for (const struct stage *s = q->first; s; s = s->next)
		if (s->kind == STAGE_SPANSET && s->set->filter)
			check_filter(&e, s->set->filter, mem);
	for (uint32_t i = 0; i < SPANS; i++)
		may = may || cond_match(cond_cheaper(l.span, l.other), trace->spans[i]);
	if (g.cnt && !may)
		abort();
	traceql_free(q);
out:
	arena_free(mem);
	return 0;
}

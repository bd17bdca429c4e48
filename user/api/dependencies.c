/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/dependencies: which service calls which, counted from the spans of the range: a span whose
 * parent is of another service is one call.
 */
#include <errno.h>
#include <stdlib.h>

#include "api/ask.h"
#include "core/clock.h"

#define SPANS_MAX    2000000u
#define SERVICES_MAX 1000u

struct node {
	uint64_t trace; /* half of its id: enough to tell traces apart */
	struct span_id id, parent;
	uint32_t service;
};

struct graph {
	struct arena *mem;
	struct str service[SERVICES_MAX];
	uint32_t services;
	struct node *node;
	uint32_t cnt, size;
	int err;
};

struct edge {
	uint32_t parent, child;
	uint64_t calls;
};

static int service_of(struct graph *g, struct str name, uint32_t *ret)
{
	for (uint32_t i = 0; i < g->services; i++)
		if (str_eq(g->service[i], name)) {
			*ret = i;
			return 0;
		}
	if (g->services == SERVICES_MAX)
		return -E2BIG;
	g->service[g->services] = arena_str(g->mem, name);
	*ret = g->services++;
	return g->service[*ret].p ? 0 : -ENOMEM;
}

static bool add_node(void *ctx, const struct span *s)
{
	struct graph *g = ctx;
	struct node *n = g->node;
	uint32_t service;

	g->err = service_of(g, s->resource->service, &service);
	if (g->cnt == g->size && !g->err) {
		g->size = g->size ? 2 * g->size : 1024;
		n = g->cnt < SPANS_MAX ? realloc(g->node, g->size * sizeof(*n)) : NULL;
		g->err = n ? 0 : g->cnt < SPANS_MAX ? -ENOMEM : -E2BIG;
		g->node = n ? n : g->node;
	}
	if (g->err)
		return false;
	n = &g->node[g->cnt++];
	*n = (struct node){ .id = s->span_id, .parent = s->parent_id, .service = service };
	memcpy(&n->trace, s->trace_id.b + 8, sizeof(n->trace));
	return true;
}

static int by_id(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	if (x->trace != y->trace)
		return x->trace < y->trace ? -1 : 1;
	return memcmp(&x->id, &y->id, sizeof(x->id));
}

static int by_services(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return (x->child > y->child) - (x->child < y->child);
}

/* One edge a call, then equal ones added up. In place of nothing: NULL without memory. */
static struct edge *edges_of(struct graph *g, uint32_t *ret_cnt)
{
	struct edge *edge = calloc((size_t)g->cnt + 1, sizeof(*edge));
	uint32_t cnt = 0, kept = 0;

	for (uint32_t i = 0; edge && i < g->cnt; i++) {
		const struct node want = { .trace = g->node[i].trace, .id = g->node[i].parent };
		const struct node *parent = NULL;

		if (span_id_is_set(&want.id))
			parent = bsearch(&want, g->node, g->cnt, sizeof(want), by_id);
		if (parent && parent->service != g->node[i].service)
			edge[cnt++] = (struct edge){ parent->service, g->node[i].service, 1 };
	}
	if (!edge)
		return NULL;
	qsort(edge, cnt, sizeof(*edge), by_services);
	for (uint32_t i = 0; i < cnt; i++) {
		if (kept && !by_services(&edge[kept - 1], &edge[i]))
			edge[kept - 1].calls++;
		else
			edge[kept++] = edge[i];
	}
	*ret_cnt = kept;
	return edge;
}

static void write_edges(struct call *c, const struct graph *g, const struct edge *edge,
			uint32_t cnt)
{
	struct json j = call_json(c);

	json_open(&j, '{');
	json_key(&j, "data");
	json_open(&j, '[');
	for (uint32_t i = 0; i < cnt; i++) {
		json_open(&j, '{');
		json_member_str(&j, "parent", g->service[edge[i].parent]);
		json_member_str(&j, "child", g->service[edge[i].child]);
		json_member_u64(&j, "callCount", edge[i].calls);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_member_u64(&j, "total", cnt);
	buf_add_str(&c->page, STR(",\"limit\":0,\"offset\":0,\"errors\":null}"));
}

static void get_dependencies(struct call *c)
{
	uint64_t end_ns = arg_number(c, "endTs", clock_real_ns());
	uint64_t lookback = arg_number(c, "lookback", 86400000) * NS_PER_MS;
	struct scan scan = { .range = { end_ns > lookback ? end_ns - lookback : 0, end_ns },
			     .deadline_ns = c->deadline_ns };
	struct graph *g = arena_alloc(c->mem, sizeof(*g));
	struct edge *edge = NULL;
	uint32_t cnt = 0;
	int err = -ENOMEM;

	if (g) {
		g->mem = c->mem;
		err = store_scan(c->cfg->store, &scan, add_node, g);
		err = err < 0 ? err : g->err;
	}
	if (!err) {
		if (g->cnt)
			qsort(g->node, g->cnt, sizeof(*g->node), by_id);
		edge = edges_of(g, &cnt);
		err = edge ? 0 : -ENOMEM;
	}
	if (err)
		call_failed(c, err, "dependencies");
	else
		write_edges(c, g, edge, cnt);
	free(edge);
	if (g)
		free(g->node);
}

static const struct param params[] = {
	{ "endTs", PARAM_TIME_MS, .required = false },
	{ "lookback", PARAM_UINT, .min = 1, .max = 366ull * 86400000 },
};

static const struct endpoint rows[] = {
	{ "GET", "/api/dependencies", get_dependencies, FAMILY_JAEGER, .slow = true, .stored = true,
	  PARAMS(params) },
};

const struct endpoints endpoints_dependencies = { rows, ARRAY_LEN(rows) };

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/dependencies: which service calls which, counted from the spans of the range: a span whose
 * parent is of another service is one call.
 *
 * However many spans there are, NODES_MAX are held: when they are, children that have found their
 * parents are counted, and of the rest those that wait for a parent stay, since spans come newest
 * first and parents are older. What is not counted (a limit, the deadline) is told in 'errors'.
 */
#include <errno.h>
#include <stdlib.h>

#include "api/ask.h"
#include "core/clock.h"

#define NODES_MAX    (512u << 10)
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
	uint64_t *calls; /* by parent's service, then child's */
	bool cut;	 /* spans of services past SERVICES_MAX, or waiting ones, were left out */
	int err;
};

/* SERVICES_MAX: there is no room for another. */
static uint32_t service_of(struct graph *g, struct str name)
{
	for (uint32_t i = 0; i < g->services; i++)
		if (str_eq(g->service[i], name))
			return i;
	if (g->services < SERVICES_MAX) {
		g->service[g->services] = arena_str(g->mem, name);
		if (g->service[g->services].p)
			return g->services++;
		g->err = -ENOMEM;
	}
	return SERVICES_MAX;
}

static int by_id(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	if (x->trace != y->trace)
		return x->trace < y->trace ? -1 : 1;
	return memcmp(&x->id, &y->id, sizeof(x->id));
}

static int by_all(const void *a, const void *b)
{
	const struct node *x = a, *y = b;
	int order = by_id(a, b);

	if (!order)
		order = memcmp(&x->parent, &y->parent, sizeof(x->parent));
	return order ? order : (x->service > y->service) - (x->service < y->service);
}

/* By id, each once: a batch that was sent again is stored twice. */
static void put_in_order(struct graph *g)
{
	uint32_t cnt = 0;

	if (g->cnt)
		qsort(g->node, g->cnt, sizeof(*g->node), by_all);
	for (uint32_t i = 0; i < g->cnt; i++)
		if (!i || by_all(&g->node[i], &g->node[cnt - 1]))
			g->node[cnt++] = g->node[i];
	g->cnt = cnt;
}

/* Counts who found a parent; who did not stays. */
static void settle(struct graph *g)
{
	uint32_t kept = 0;
	bool *waits = calloc((size_t)g->cnt + 1, sizeof(*waits));

	if (!waits) {
		g->err = -ENOMEM;
		return;
	}
	put_in_order(g);
	for (uint32_t i = 0; i < g->cnt; i++) {
		const struct node *n = &g->node[i], *parent;
		const struct node want = { .trace = n->trace, .id = n->parent };

		if (!span_id_is_set(&n->parent))
			continue;
		parent = bsearch(&want, g->node, g->cnt, sizeof(want), by_id);
		waits[i] = !parent;
		if (parent && parent->service != n->service)
			g->calls[parent->service * SERVICES_MAX + n->service]++;
	}
	for (uint32_t i = 0; i < g->cnt; i++)
		if (waits[i])
			g->node[kept++] = g->node[i];
	g->cnt = kept;
	free(waits);
}

static bool make_room(struct graph *g)
{
	uint32_t size = g->size ? 2 * g->size : 1024;
	struct node *n;

	if (g->size == NODES_MAX) {
		settle(g);
		if (g->cnt > NODES_MAX / 2) { /* whose parents are nowhere, by now */
			g->cut = true;
			g->cnt = 0;
		}
		return !g->err;
	}
	n = realloc(g->node, size * sizeof(*n));
	if (!n) {
		g->err = -ENOMEM;
		return false;
	}
	g->node = n;
	g->size = size;
	return true;
}

static bool add_node(void *ctx, const struct span *s)
{
	struct graph *g = ctx;
	uint32_t service = service_of(g, s->resource->service);
	struct node *n;

	if (service == SERVICES_MAX) {
		g->cut = true;
		return !g->err;
	}
	if (g->cnt == g->size && !make_room(g))
		return false;
	n = &g->node[g->cnt++];
	*n = (struct node){ .id = s->span_id, .parent = s->parent_id, .service = service };
	memcpy(&n->trace, s->trace_id.b + 8, sizeof(n->trace));
	return true;
}

/* Those of one service, or of all when it is empty; numbers as text where v3 wants them. */
static uint32_t write_calls(struct json *j, const struct graph *g, struct str service, bool v3)
{
	uint32_t cnt = 0;

	json_open(j, '[');
	for (uint32_t i = 0; i < g->services * SERVICES_MAX; i++) {
		struct str parent = g->service[i / SERVICES_MAX],
			   child = g->service[i % SERVICES_MAX];

		if (!g->calls[i] ||
		    (service.len && !str_eq(service, parent) && !str_eq(service, child)))
			continue;
		json_open(j, '{');
		json_member_str(j, "parent", parent);
		json_member_str(j, "child", child);
		if (v3)
			json_member_u64_str(j, "callCount", g->calls[i]);
		else
			json_member_u64(j, "callCount", g->calls[i]);
		json_close(j, '}');
		cnt++;
	}
	json_close(j, ']');
	return cnt;
}

static void write_graph(struct call *c, const struct graph *g, bool late)
{
	struct json j = call_json(c);
	uint32_t cnt;

	json_open(&j, '{');
	json_key(&j, "data");
	cnt = write_calls(&j, g, arg_text(c, "service"), false);
	json_key(&j, "total");
	json_u64(&j, cnt);
	buf_add_str(&c->page, STR(",\"limit\":0,\"offset\":0,\"errors\":"));
	if (late)
		buf_add_str(&c->page, STR("[{\"code\":206,\"msg\":\"only the newest spans are "
					  "counted: that took as long as one question may\"}]}"));
	else if (g->cut)
		buf_add_str(&c->page, STR("[{\"code\":206,\"msg\":\"not all is counted: too many "
					  "services, or parents that are not there\"}]}"));
	else
		buf_add_str(&c->page, STR("null}"));
}

static void write_graph_v3(struct call *c, const struct graph *g, bool late)
{
	struct json j = call_json(c);

	json_open(&j, '{');
	json_key(&j, "dependencies");
	write_calls(&j, g, (struct str){ NULL, 0 }, true);
	if (late || g->cut) {
		json_key(&j, "incomplete"); /* ours: Jaeger has no word for it */
		json_bool(&j, true);
	}
	json_close(&j, '}');
}

static void answer(struct call *c, struct time_range range,
		   void (*write)(struct call *c, const struct graph *g, bool late))
{
	struct scan scan = { .range = range, .deadline_ns = c->deadline_ns };
	struct graph *g = arena_alloc(c->mem, sizeof(*g));
	int err = -ENOMEM;

	if (g) {
		g->mem = c->mem;
		g->calls = calloc((size_t)SERVICES_MAX * SERVICES_MAX, sizeof(*g->calls));
	}
	if (g && g->calls) {
		err = store_scan(c->cfg->store, &scan, add_node, g);
		settle(g);
		err = err < 0 && err != -ETIMEDOUT ? err : g->err ? g->err : err;
	}
	if (err && err != -ETIMEDOUT)
		call_failed(c, err, "dependencies");
	else
		write(c, g, err == -ETIMEDOUT);
	if (g) {
		free(g->calls);
		free(g->node);
	}
}

static void get_dependencies(struct call *c)
{
	uint64_t end_ns = arg_number(c, "endTs", clock_real_ns());
	uint64_t lookback = arg_number(c, "lookback", 86400000) * NS_PER_MS;

	answer(c, (struct time_range){ end_ns > lookback ? end_ns - lookback : 0, end_ns },
	       write_graph);
}

static void get_dependencies_v3(struct call *c)
{
	struct time_range r;

	if (ask_range(c, "startTime", "endTime", 0, &r))
		answer(c, r, write_graph_v3);
}

static const struct param params[] = {
	{ "endTs", PARAM_TIME_MS, .required = false },
	{ "lookback", PARAM_UINT, .min = 1, .max = 366ull * 86400000 },
	{ "service", PARAM_TEXT, .min = 1, .max = 4096 },
};
static const struct param params_v3[] = {
	{ "startTime", PARAM_TIME, .required = true, .alias = "start_time" },
	{ "endTime", PARAM_TIME, .required = true, .alias = "end_time" },
};

static const struct endpoint rows[] = {
	{ "GET", "/api/dependencies", get_dependencies, FAMILY_JAEGER, .slow = true, .stored = true,
	  PARAMS(params) },
	{ "GET", "/api/v3/dependencies", get_dependencies_v3, FAMILY_JAEGER3, .slow = true,
	  .stored = true, PARAMS(params_v3) },
};

const struct endpoints endpoints_dependencies = { rows, ARRAY_LEN(rows) };

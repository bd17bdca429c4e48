/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's third API: OTLP traces, and the summaries that its page lists. */
#include <errno.h>

#include "api/jaeger_ask.h"
#include "export/export.h"

#define LIMIT_DEFAULT 100
#define SPANS_MAX     1000000u

static const struct jaeger_names names = {
	.service = "query.serviceName",
	.operation = "query.operationName",
	.start = "query.startTimeMin",
	.end = "query.startTimeMax",
	.duration_min = "query.durationMin",
	.duration_max = "query.durationMax",
	.limit = "query.searchDepth",
	.tags = "query.attributes",
};

/* ---- what can be asked ---- */

/* A search needs no service, and its conditions hold for one span together. */
static void get_capabilities(struct call *c)
{
	buf_add_str(&c->page, STR("{\"search\":{\"withoutServiceName\":true,"
				  "\"sameSpanConjunction\":true}}"));
}

/* ---- names ---- */

static void get_services(struct call *c)
{
	struct json j = call_json(c);
	uint32_t cnt;
	int err;

	json_open(&j, '{');
	json_key(&j, "services");
	err = ask_services(c, (struct time_range){ 0 }, &j, &cnt);
	json_close(&j, '}');
	if (err)
		call_failed(c, err, "services");
}

static void get_operations(struct call *c)
{
	struct json j = call_json(c);
	struct operations o;
	int err = ask_operations(c, arg_text(c, "service"), (struct time_range){ 0 }, &o);

	if (err) {
		call_failed(c, err, "operations");
		return;
	}
	json_open(&j, '{');
	json_key(&j, "operations");
	jaeger_operations(&j, &o, arg_text(c, "spanKind").p);
	json_close(&j, '}');
}

/* ---- traces ---- */

struct gathered {
	struct trace *traces[SEARCH_LIMIT_MAX];
	uint32_t cnt;
	uint32_t spans;
};

/* Each trace has resources of its own, as Jaeger sends them: Grafana lists one row for each. */
static void write_gathered(struct call *c, struct gathered *g)
{
	struct json j = call_json(c);
	int err = 0;

	j.strict = true;
	json_open(&j, '{');
	json_key(&j, "result");
	json_open(&j, '{');
	json_key(&j, "resourceSpans");
	json_open(&j, '[');
	for (uint32_t i = 0; i < g->cnt && !err; i++)
		err = otlp_add_json((const struct span *const *)g->traces[i]->spans,
				    g->traces[i]->span_cnt, &j);
	json_close(&j, ']');
	json_close(&j, '}');
	json_close(&j, '}');
	if (err)
		call_failed(c, err, "traces");
}

static void get_trace(struct call *c)
{
	struct gathered g = { .cnt = 1 };

	if (!ask_trace(c, "id", &g.traces[0]))
		return;
	write_gathered(c, &g);
	trace_put(g.traces[0]);
}

static bool gather(void *ctx, const struct search_trace *found)
{
	struct gathered *g = ctx;

	g->traces[g->cnt++] = trace_get(found->trace);
	g->spans += found->trace->span_cnt;
	return g->cnt < SEARCH_LIMIT_MAX && g->spans < SPANS_MAX;
}

/* As Jaeger has it, nothing found is a 404 here. */
static void get_traces(struct call *c)
{
	struct gathered *g = arena_alloc(c->mem, sizeof(*g));
	struct search_end end;
	struct search q;
	bool late;

	if (!g) {
		call_failed(c, -ENOMEM, "traces");
		return;
	}
	if (!jaeger_search(c, &names, 0, LIMIT_DEFAULT, &q))
		return;
	q.whole = true;
	if (ask_search(c, &q, gather, g, &end, &late)) {
		if (g->cnt)
			write_gathered(c, g);
		else
			call_error(c, 404, "No traces found");
	}
	for (uint32_t i = 0; i < g->cnt; i++)
		trace_put(g->traces[i]);
}

static bool add_summary(void *ctx, const struct search_trace *t)
{
	jaeger_summary(ctx, t);
	return true;
}

static void get_summaries(struct call *c)
{
	struct json j = call_json(c);
	struct search_end end;
	struct search q;
	bool late;

	if (!jaeger_search(c, &names, 0, LIMIT_DEFAULT, &q))
		return;
	json_open(&j, '{');
	json_key(&j, "summaries");
	json_open(&j, '[');
	if (!ask_search(c, &q, add_summary, &j, &end, &late))
		return;
	json_close(&j, ']');
	json_close(&j, '}');
}

/* ---- rows ---- */

#define NAME_BYTES 4096

static const struct param operations[] = {
	{ "service", PARAM_TEXT, .required = true, .min = 1, .max = NAME_BYTES },
	{ "spanKind", PARAM_TEXT, .min = 1, .max = 32, .alias = "span_kind" },
};
static const struct param trace[] = {
	{ "id", PARAM_TRACE_ID, .required = true },
	{ "startTime", PARAM_TIME, .alias = "start_time" },
	{ "endTime", PARAM_TIME, .alias = "end_time" },
	{ "rawTraces", PARAM_BOOL, .alias = "raw_traces" },
};
static const struct param query[] = {
	{ "query.serviceName", PARAM_TEXT, .max = NAME_BYTES, .alias = "query.service_name" },
	{ "query.operationName", PARAM_TEXT, .max = NAME_BYTES, .alias = "query.operation_name" },
	{ "query.spanName", PARAM_TEXT, .max = NAME_BYTES, .alias = "query.span_name" },
	{ "query.attributes", PARAM_TEXT, .max = 16384, .alias = NULL },
	{ "query.startTimeMin", PARAM_TIME, .required = true, .alias = "query.start_time_min" },
	{ "query.startTimeMax", PARAM_TIME, .required = true, .alias = "query.start_time_max" },
	{ "query.durationMin", PARAM_DURATION, .alias = "query.duration_min" },
	{ "query.durationMax", PARAM_DURATION, .alias = "query.duration_max" },
	{ "query.searchDepth", PARAM_UINT, .min = 1, .max = JAEGER_LIMIT_MAX,
	  .alias = "query.search_depth" },
	{ "query.numTraces", PARAM_UINT, .min = 1, .max = JAEGER_LIMIT_MAX,
	  .alias = "query.num_traces" },
	{ "query.rawTraces", PARAM_BOOL, .alias = "query.raw_traces" },
};

#define ROW(at, function, list)                                                                 \
	{                                                                                       \
		"GET", at, function, FAMILY_JAEGER3, .slow = true, .stored = true, PARAMS(list) \
	}

static const struct endpoint rows[] = {
	{ "GET", "/api/v3/services", get_services, FAMILY_JAEGER3, .slow = true, .stored = true },
	ROW("/api/v3/operations", get_operations, operations),
	{ .method = "GET",
	  .path = "/api/v3/capabilities",
	  .answer = get_capabilities,
	  .family = FAMILY_JAEGER3 },
	ROW("/api/v3/traces", get_traces, query),
	ROW("/api/v3/traces/{id}", get_trace, trace),
	ROW("/api/v3/trace-summaries", get_summaries, query),
};

const struct endpoints endpoints_jaeger3 = { rows, ARRAY_LEN(rows) };

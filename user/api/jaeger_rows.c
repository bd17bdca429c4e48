/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's classic API: what Grafana's data source and older pages call. */
#include <errno.h>
#include <stdlib.h>

#include "api/jaeger_ask.h"
#include "core/clock.h"

#define LIMIT_DEFAULT 100
#define LOOKBACK_NS   (2 * 86400 * NS_PER_S) /* Jaeger's */
#define TRACES_MAX    100		     /* of one question by ids */
#define KINDS	      "internal|server|client|producer|consumer"

/* {"data":...,"total":n,"limit":0,"offset":0,"errors":null} */
static struct json envelope_open(struct call *c)
{
	struct json j = call_json(c);

	json_open(&j, '{');
	json_key(&j, "data");
	return j;
}

static void envelope_close(struct json *j, uint64_t total)
{
	json_member_u64(j, "total", total);
	json_member_u64(j, "limit", 0);
	json_member_u64(j, "offset", 0);
	json_key(j, "errors");
	buf_add_str(j->out, STR("null}"));
}

/* The same where part of the answer is missing; id is NULL or the trace's. */
static void envelope_close_short(struct json *j, unsigned int code, const char *msg,
				 const struct arg *missing)
{
	json_member_u64(j, "total", 0);
	json_member_u64(j, "limit", 0);
	json_member_u64(j, "offset", 0);
	json_key(j, "errors");
	json_open(j, '[');
	json_open(j, '{');
	json_member_u64(j, "code", code);
	json_member_str(j, "msg", str_of(msg));
	if (missing)
		json_member_str(j, "traceID", missing->text);
	json_close(j, '}');
	json_close(j, ']');
	json_close(j, '}');
}

/* ---- names ---- */

static void get_services(struct call *c)
{
	struct json j = envelope_open(c);
	uint32_t cnt;
	int err = ask_services(c, (struct time_range){ 0 }, &j, &cnt);

	envelope_close(&j, cnt);
	if (err)
		call_failed(c, err, "services");
}

static bool load_operations(struct call *c, struct operations *o)
{
	int err = ask_operations(c, arg_text(c, "service"), (struct time_range){ 0 }, o);

	if (err)
		call_failed(c, err, "operations");
	return !err;
}

static void get_service_operations(struct call *c)
{
	struct operations o;
	struct json j;
	uint64_t cnt = 0;

	if (!load_operations(c, &o))
		return;
	j = envelope_open(c);
	json_open(&j, '[');
	for (size_t i = 0; i < o.cnt; i++) {
		if (i && str_eq(o.row[i].name, o.row[i - 1].name))
			continue;
		json_str(&j, o.row[i].name);
		cnt++;
	}
	json_close(&j, ']');
	envelope_close(&j, cnt);
}

static void get_operations(struct call *c)
{
	struct operations o;
	struct json j;

	if (!load_operations(c, &o))
		return;
	j = envelope_open(c);
	envelope_close(&j, jaeger_operations(&j, &o, arg_text(c, "spanKind").p));
}

/* ---- traces ---- */

static void get_trace(struct call *c)
{
	struct trace *t;
	struct json j;

	if (!ask_trace(c, "id", &t))
		return;
	j = envelope_open(c);
	json_open(&j, '[');
	jaeger_trace(&j, t, c->mem);
	json_close(&j, ']');
	envelope_close(&j, 0);
	trace_put(t);
}

/* By ids: those that are not there are told beside those that are. */
static void get_by_ids(struct call *c)
{
	struct json j = envelope_open(c);
	const struct arg *missing = NULL;
	uint32_t cnt = 0;

	json_open(&j, '[');
	for (const struct arg *a = arg_get(c, "traceID"); a && cnt < TRACES_MAX;
	     a = arg_next(c, a), cnt++) {
		struct trace *t;
		int err = api_trace_load(c, &a->id, &t);

		if (err == -ENOENT) {
			missing = a;
			continue;
		}
		if (err) {
			call_failed(c, err, "trace");
			return;
		}
		jaeger_trace(&j, t, c->mem);
		trace_put(t);
	}
	json_close(&j, ']');
	if (missing)
		envelope_close_short(&j, 404, "trace not found", missing);
	else
		envelope_close(&j, 0);
}

/* The page's button: its archive is ours. */
static void post_archive(struct call *c)
{
	int err = store_archive(c->cfg->store, &arg_get(c, "id")->id, true);
	struct json j;

	if (err == -ENOTSUP) {
		call_error(c, 501, "this store keeps no archive");
		return;
	}
	if (err) {
		call_failed(c, err, "trace");
		return;
	}
	j = envelope_open(c);
	json_open(&j, '[');
	json_close(&j, ']');
	envelope_close(&j, 0);
}

struct writing {
	struct call *call;
	struct json j;
};

static bool write_trace(void *ctx, const struct search_trace *found)
{
	struct writing *w = ctx;

	jaeger_trace(&w->j, found->trace, w->call->mem);
	return true;
}

static void get_traces(struct call *c)
{
	static const struct jaeger_names names = { "service", "operation",   "start",
						   "end",     "minDuration", "maxDuration",
						   "limit",   "tags",	     "tag" };
	struct writing w = { .call = c };
	struct search_end end;
	struct search q;
	bool late;

	if (arg_get(c, "traceID")) {
		get_by_ids(c);
		return;
	}
	if (!arg_get(c, "service")) {
		call_error(c, 400, "parameter service is required");
		return;
	}
	if (!jaeger_search(c, &names, arg_number(c, "lookback", LOOKBACK_NS), LIMIT_DEFAULT, &q))
		return;
	q.whole = true;
	w.j = envelope_open(c);
	json_open(&w.j, '[');
	if (!ask_search(c, &q, write_trace, &w, &end, &late))
		return;
	json_close(&w.j, ']');
	if (late)
		envelope_close_short(&w.j, 504, "the search took too long: there may be more",
				     NULL);
	else
		envelope_close(&w.j, 0);
}

/* ---- rows ---- */

#define NAME_MAX_BYTES 4096

static const struct param service_in_path[] = {
	{ "service", PARAM_TEXT, .required = true, .min = 1, .max = NAME_MAX_BYTES },
};
static const struct param operations[] = {
	{ "service", PARAM_TEXT, .required = true, .min = 1, .max = NAME_MAX_BYTES },
	{ "spanKind", PARAM_CHOICE, .choices = KINDS },
};
static const struct param archive[] = {
	{ "id", PARAM_TRACE_ID, .required = true },
};
static const struct param trace[] = {
	{ "id", PARAM_TRACE_ID, .required = true },
	{ .name = "raw", .type = PARAM_BOOL },
};
static const struct param traces[] = {
	{ "service", PARAM_TEXT, .min = 1, .max = NAME_MAX_BYTES },
	{ "operation", PARAM_TEXT, .min = 1, .max = NAME_MAX_BYTES },
	{ "tags", PARAM_TEXT, .min = 1, .max = 16384 },
	{ "tag", PARAM_TEXT, .min = 1, .max = NAME_MAX_BYTES, .repeated = true },
	{ .name = "minDuration", .type = PARAM_DURATION },
	{ .name = "maxDuration", .type = PARAM_DURATION },
	{ "limit", PARAM_UINT, .min = 1, .max = JAEGER_LIMIT_MAX },
	{ .name = "start", .type = PARAM_TIME_US },
	{ .name = "end", .type = PARAM_TIME_US },
	{ .name = "lookback", .type = PARAM_LOOKBACK },
	{ "traceID", PARAM_TRACE_ID, .repeated = true },
};

#define ROW(at, function, list)                                                                \
	{                                                                                      \
		"GET", at, function, FAMILY_JAEGER, .slow = true, .stored = true, PARAMS(list) \
	}

static const struct endpoint rows[] = {
	{ "GET", "/api/services", get_services, FAMILY_JAEGER, .slow = true, .stored = true },
	ROW("/api/services/{service}/operations", get_service_operations, service_in_path),
	ROW("/api/operations", get_operations, operations),
	ROW("/api/traces", get_traces, traces),
	ROW("/api/traces/{id}", get_trace, trace),
	{ "POST", "/api/archive/{id}", post_archive, FAMILY_JAEGER, .slow = true, .stored = true,
	  PARAMS(archive) },
};

const struct endpoints endpoints_jaeger = { rows, ARRAY_LEN(rows) };

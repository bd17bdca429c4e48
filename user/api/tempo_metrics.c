/* SPDX-License-Identifier: Apache-2.0 */
/* Tempo's metrics: TraceQL queries that end in rate() and the like, over time and as one value. */
#include <math.h>

#include "api/ask.h"
#include "core/clock.h"

#define SINCE_NS      (3600 * NS_PER_S)
#define POINTS_WANTED 120 /* when no step is asked for */
#define EXEMPLARS_MAX 16

static void write_label(struct json *j, struct str name, const struct value *v)
{
	static const struct value none = { .type = VALUE_STR, .str = { "nil", 3 } };

	json_open(j, '{');
	json_member_str(j, "key", name);
	json_key(j, "value");
	value_json_otlp(j, v->type == VALUE_EMPTY ? &none : v);
	json_close(j, '}');
}

static struct str label_text(const struct value *v, struct arena *mem)
{
	if (v->type == VALUE_STR)
		return v->str;
	return v->type == VALUE_EMPTY ? STR("<nil>") : value_json_text(v, mem);
}

/* {name="value", ...} as Prometheus writes labels, in a string. */
static void write_prom_labels(struct call *c, struct json *j, const struct traceql_series *s)
{
	struct buf text = { .cap = 65536 };
	struct json inner = { .out = &text };

	buf_add_char(&text, '{');
	for (uint32_t i = 0; i < s->label_cnt; i++) {
		if (i)
			buf_add_str(&text, STR(", "));
		buf_add_str(&text, s->labels[i].name);
		buf_add_char(&text, '=');
		inner.comma = false;
		json_str(&inner, label_text(&s->labels[i].value, c->mem));
	}
	buf_add_char(&text, '}');
	json_str(j, buf_str(&text));
	buf_fini(&text);
}

struct series_page {
	struct call *call;
	struct json j;
	uint64_t step_ns;
	bool instant;
};

static void write_labels(struct series_page *p, const struct traceql_series *s)
{
	json_key(&p->j, "labels");
	json_open(&p->j, '[');
	for (uint32_t i = 0; i < s->label_cnt; i++)
		write_label(&p->j, s->labels[i].name, &s->labels[i].value);
	json_close(&p->j, ']');
	if (p->instant)
		return; /* Grafana refuses one value that has more than labels beside it */
	json_key(&p->j, "promLabels");
	write_prom_labels(p->call, &p->j, s);
}

static void write_samples(struct series_page *p, const struct traceql_series *s)
{
	json_key(&p->j, "samples");
	json_open(&p->j, '[');
	for (uint32_t i = 0; i < s->value_cnt; i++) {
		if (isnan(s->values[i]))
			continue;
		json_open(&p->j, '{');
		json_member_u64_str(&p->j, "timestampMs",
				    (s->first_ns + i * p->step_ns) / NS_PER_MS);
		json_key(&p->j, "value");
		json_double(&p->j, s->values[i]);
		json_close(&p->j, '}');
	}
	json_close(&p->j, ']');
}

static void write_exemplars(struct series_page *p, const struct traceql_series *s)
{
	if (!s->exemplar_cnt)
		return;
	json_key(&p->j, "exemplars");
	json_open(&p->j, '[');
	for (uint32_t i = 0; i < s->exemplar_cnt; i++) {
		const struct traceql_exemplar *e = &s->exemplars[i];
		char hex[33];
		struct value v = { .type = VALUE_STR };

		trace_id_hex(&e->trace_id, hex);
		v.str = str_of(hex);
		json_open(&p->j, '{');
		json_key(&p->j, "labels");
		json_open(&p->j, '[');
		write_label(&p->j, STR("trace:id"), &v);
		json_close(&p->j, ']');
		json_key(&p->j, "value");
		json_double(&p->j, e->value);
		json_member_u64_str(&p->j, "timestampMs", e->time_ns / NS_PER_MS);
		json_close(&p->j, '}');
	}
	json_close(&p->j, ']');
}

/* The whole range was asked for as one step. */
static void write_value(struct series_page *p, const struct traceql_series *s)
{
	double last = NAN;

	for (uint32_t i = 0; i < s->value_cnt; i++)
		last = isnan(s->values[i]) ? last : s->values[i];
	json_key(&p->j, "value");
	json_double(&p->j, isnan(last) ? 0 : last);
}

static void visit_series(void *ctx, const struct traceql_series *s)
{
	struct series_page *p = ctx;

	json_open(&p->j, '{');
	write_labels(p, s);
	if (p->instant) {
		write_value(p, s);
	} else {
		write_samples(p, s);
		write_exemplars(p, s);
	}
	json_close(&p->j, '}');
}

static bool read_range(struct call *c, struct traceql_range *q, bool instant)
{
	uint64_t span;

	if (!ask_range(c, "start", "end", arg_number(c, "since", SINCE_NS), &q->range))
		return false;
	if (!q->range.to_ns)
		q->range.to_ns = clock_real_ns();
	if (q->range.to_ns <= q->range.from_ns) {
		call_error(c, 400, "start must be before end");
		return false;
	}
	span = q->range.to_ns - q->range.from_ns;
	q->step_ns = arg_number(c, "step", 0);
	if (!q->step_ns)
		q->step_ns = MAX(span / POINTS_WANTED / NS_PER_S, (uint64_t)1) * NS_PER_S;
	if (instant)
		q->step_ns = span;
	q->exact = instant;
	if (span / q->step_ns < TRACEQL_STEPS_MAX)
		return true;
	call_error(c, 400, "step is too short: more than %u points", TRACEQL_STEPS_MAX);
	return false;
}

/* 0 is Tempo's word for as many as it likes. */
static uint32_t exemplars_wanted(struct call *c)
{
	uint64_t n = arg_number(c, "exemplars", 0);

	return n && n < EXEMPLARS_MAX ? (uint32_t)n : EXEMPLARS_MAX;
}

static void answer(struct call *c, bool instant)
{
	struct traceql_range q = { .deadline_ns = c->deadline_ns };
	struct series_page p = { .call = c, .j = call_json(c), .instant = instant };
	struct traceql_range_end end;
	struct traceql *query = NULL;
	int err;

	if (!read_range(c, &q, instant) || !ask_traceql(c, true, &query)) {
		traceql_free(query);
		return;
	}
	q.query = query;
	q.exemplars = instant ? 0 : exemplars_wanted(c);
	p.step_ns = q.step_ns;
	json_open(&p.j, '{');
	json_key(&p.j, "series");
	json_open(&p.j, '[');
	err = traceql_range(c->cfg->store, &q, visit_series, &p, &end);
	json_close(&p.j, ']');
	json_key(&p.j, "metrics");
	json_open(&p.j, '{');
	if (!err)
		json_member_u64_str(&p.j, "inspectedSpans", end.spans);
	json_close(&p.j, '}');
	if (!err && end.truncated) {
		json_member_str(&p.j, "status", STR("PARTIAL"));
		json_member_str(&p.j, "message", STR("more series than one answer holds"));
	}
	json_close(&p.j, '}');
	if (err)
		call_failed(c, err, "metrics");
	traceql_free(query);
}

static void get_range(struct call *c)
{
	answer(c, false);
}

static void get_instant(struct call *c)
{
	answer(c, true);
}

#define COMMON                                              \
	{                                                   \
		"q",                                        \
		PARAM_TEXT,                                 \
		.required = true,                           \
		.min = 1,                                   \
		.max = TRACEQL_TEXT_MAX,                    \
		.alias = "query"                            \
	},                                                  \
		{ "start", PARAM_TIME, .required = false }, \
		{ "end", PARAM_TIME, .required = false },   \
	{                                                   \
		"since", PARAM_DURATION, .required = false  \
	}

static const struct param range[] = {
	COMMON,
	{ "step", PARAM_STEP, .required = false },
	{ "exemplars", PARAM_UINT, .min = 0, .max = 100000 },
};
static const struct param instant[] = { COMMON };

static const struct endpoint rows[] = {
	{ "GET", "/api/metrics/query_range", get_range, FAMILY_TEMPO, .slow = true, .stored = true,
	  PARAMS(range) },
	{ "GET", "/api/metrics/query", get_instant, FAMILY_TEMPO, .slow = true, .stored = true,
	  PARAMS(instant) },
};

const struct endpoints endpoints_tempo_metrics = { rows, ARRAY_LEN(rows) };

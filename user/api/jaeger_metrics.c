/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jaeger's monitoring page: latencies, calls and errors over time, and which service calls which.
 * All are counted from the spans of the range, in one scan, each for as many as sampling made it
 * stand for. Samples whose times no step or window
 * tells apart are one; when still more than SAMPLES_MAX are left, times are taken more roughly, so
 * that windows begin and end a little early. Series past SERIES_MAX are left out, and 'help' says
 * so.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/ask.h"
#include "core/clock.h"

#define SAMPLES_MAX (512u << 10)
#define SERIES_MAX  1000u
#define STEPS_MAX   11000u
#define BUCKETS	    512 /* of a histogram: eight for each doubling from 1 ns */

/* Whole numbers, so that what leaves a window leaves nothing behind. */
#define WEIGHT_ONE 1024u
#define WEIGHT_MAX ((double)(1ull << 40))

enum figure { LATENCIES, CALLS, ERRORS };

/* ---- samples ---- */

struct series {
	struct str service, operation;
};

struct sample {
	uint64_t start_ns; /* rounded down to units */
	uint64_t weight;   /* spans it stands for, times WEIGHT_ONE */
	uint32_t series;
	uint16_t bucket;
	bool error;
};

struct samples {
	struct arena *mem;
	bool by_operation;
	bool cut;	   /* there were more series */
	uint64_t begin_ns; /* of the units */
	uint64_t unit_ns;
	struct series series[SERIES_MAX];
	uint32_t series_cnt;
	struct sample *row;
	uint32_t cnt, size;
	int err;
};

static uint16_t bucket_of(uint64_t duration_ns)
{
	double at = duration_ns > 1 ? 8 * log2((double)duration_ns) : 0;

	return (uint16_t)MIN(at, (double)(BUCKETS - 1));
}

static double seconds_of(double bucket)
{
	return exp2(bucket / 8) / 1e9;
}

/* SERIES_MAX: there is no room for another. */
static uint32_t series_of(struct samples *s, const struct span *sp)
{
	struct str name = s->by_operation ? sp->name : (struct str){ "", 0 };
	struct series *new;

	for (uint32_t i = 0; i < s->series_cnt; i++)
		if (str_eq(s->series[i].service, sp->resource->service) &&
		    str_eq(s->series[i].operation, name))
			return i;
	if (s->series_cnt == SERIES_MAX)
		return SERIES_MAX;
	new = &s->series[s->series_cnt];
	*new = (struct series){ arena_str(s->mem, sp->resource->service), arena_str(s->mem, name) };
	if (new->service.p &&new->operation.p)
		return s->series_cnt++;
	s->err = -ENOMEM;
	return SERIES_MAX;
}

static int by_series_and_time(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	if (x->series != y->series)
		return x->series < y->series ? -1 : 1;
	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	if (x->bucket != y->bucket)
		return x->bucket < y->bucket ? -1 : 1;
	return x->error - y->error;
}

static uint64_t round_down(const struct samples *s, uint64_t ns)
{
	return ns - (ns - s->begin_ns) % s->unit_ns;
}

/* Puts them in order, those that are alike as one. */
static void merge(struct samples *s)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->cnt; i++)
		s->row[i].start_ns = round_down(s, s->row[i].start_ns);
	if (s->cnt)
		qsort(s->row, s->cnt, sizeof(*s->row), by_series_and_time);
	for (uint32_t i = 0; i < s->cnt; i++) {
		if (kept && !by_series_and_time(&s->row[kept - 1], &s->row[i]))
			s->row[kept - 1].weight += s->row[i].weight;
		else
			s->row[kept++] = s->row[i];
	}
	s->cnt = kept;
}

static bool make_room(struct samples *s)
{
	uint32_t size = s->size ? 2 * s->size : 1024;
	struct sample *row;

	if (s->size == SAMPLES_MAX) {
		merge(s);
		while (s->cnt > SAMPLES_MAX / 2 && s->unit_ns < UINT64_MAX / 2) {
			s->unit_ns *= 2;
			merge(s);
		}
		s->err = s->cnt == SAMPLES_MAX ? -E2BIG : 0;
		return !s->err;
	}
	row = realloc(s->row, size * sizeof(*row));
	if (!row) {
		s->err = -ENOMEM;
		return false;
	}
	s->row = row;
	s->size = size;
	return true;
}

static uint64_t weight_of(const struct span *sp)
{
	return (uint64_t)(MIN(span_adjusted_count(sp) * WEIGHT_ONE, WEIGHT_MAX) + 0.5);
}

static bool take_sample(void *ctx, const struct span *sp)
{
	struct samples *s = ctx;
	uint32_t series = series_of(s, sp);

	if (series == SERIES_MAX) {
		s->cut = true;
		return !s->err;
	}
	if (s->cnt == s->size && !make_room(s))
		return false;
	s->row[s->cnt++] = (struct sample){ .start_ns = round_down(s, sp->start_ns),
					    .weight = weight_of(sp),
					    .series = series,
					    .bucket = bucket_of(sp->end_ns - sp->start_ns),
					    .error = sp->status == STATUS_ERROR };
	return true;
}

/* ---- figures over time ---- */

struct question {
	enum figure figure;
	double quantile;
	uint64_t from_ns, to_ns, step_ns, window_ns;
};

/* What is in the window that ends at a step. */
struct window {
	uint64_t bucket[BUCKETS];
	uint64_t calls, errors;
};

static void window_add(struct window *w, const struct sample *s)
{
	w->bucket[s->bucket] += s->weight;
	w->calls += s->weight;
	w->errors += s->error ? s->weight : 0;
}

static void window_remove(struct window *w, const struct sample *s)
{
	w->bucket[s->bucket] -= s->weight;
	w->calls -= s->weight;
	w->errors -= s->error ? s->weight : 0;
}

static double quantile_of(const struct window *w, double q)
{
	double rank = q * (double)w->calls, seen = 0;

	for (int i = 0; i < BUCKETS; i++) {
		double in = (double)w->bucket[i];

		if (in > 0 && seen + in >= rank)
			return seconds_of(i + (rank - seen) / in) * 1e3;
		seen += in;
	}
	return 0;
}

static double value_of(const struct question *q, const struct window *w)
{
	switch (q->figure) {
	case LATENCIES: return quantile_of(w, q->quantile);
	case CALLS: return (double)w->calls / WEIGHT_ONE / ((double)q->window_ns / 1e9);
	case ERRORS: return (double)w->errors / (double)w->calls;
	}
	return 0;
}

static void add_point(struct json *j, uint64_t ns, double v)
{
	char when[32];

	rfc3339_write(ns, when);
	json_open(j, '{');
	json_key(j, "gaugeValue");
	json_open(j, '{');
	json_key(j, "doubleValue");
	json_double(j, v);
	json_close(j, '}');
	json_member_str(j, "timestamp", str_of(when));
	json_close(j, '}');
}

/* Windows without a call have no point, as a rate of nothing has none. */
static void add_points(struct json *j, const struct question *q, const struct sample *s,
		       uint32_t cnt)
{
	struct window w = { .calls = 0 };
	uint32_t first = 0, last = 0;

	for (uint64_t at = q->from_ns + q->step_ns; at <= q->to_ns; at += q->step_ns) {
		while (last < cnt && s[last].start_ns < at)
			window_add(&w, &s[last++]);
		while (first < last && s[first].start_ns + q->window_ns < at)
			window_remove(&w, &s[first++]);
		if (w.calls)
			add_point(j, at, value_of(q, &w));
	}
}

static void add_label(struct json *j, const char *name, struct str value)
{
	json_open(j, '{');
	json_member_str(j, "name", str_of(name));
	json_member_str(j, "value", value);
	json_close(j, '}');
}

static void add_series(struct json *j, const struct question *q, const struct samples *s)
{
	for (uint32_t i = 0, at = 0; i < s->series_cnt; i++) {
		uint32_t end = at;

		while (end < s->cnt && s->row[end].series == i)
			end++;
		json_open(j, '{');
		json_key(j, "labels");
		json_open(j, '[');
		if (s->by_operation)
			add_label(j, "operation", s->series[i].operation);
		add_label(j, "service_name", s->series[i].service);
		json_close(j, ']');
		json_key(j, "metricPoints");
		json_open(j, '[');
		add_points(j, q, s->row + at, end - at);
		json_close(j, ']');
		json_close(j, '}');
		at = end;
	}
}

static void add_family(struct json *j, const struct question *q, const struct samples *s)
{
	static const char *const names[] = { "latencies", "call_rate", "error_rate" };
	const char *group = s->by_operation ? "service & operation" : "service";
	char text[256];

	json_open(j, '{');
	json_key(j, "name");
	snprintf(text, sizeof(text), "service_%s%s", s->by_operation ? "operation_" : "",
		 names[q->figure]);
	json_str(j, str_of(text));
	json_member_str(j, "type", STR("GAUGE"));
	json_key(j, "help");
	if (q->figure == LATENCIES)
		snprintf(text, sizeof(text), "%.2fth quantile latency, grouped by %s", q->quantile,
			 group);
	else
		snprintf(text, sizeof(text), "%s, grouped by %s",
			 q->figure == CALLS ? "calls/sec"
					    : "error rate, computed as a fraction of errors/sec "
					      "over calls/sec",
			 group);
	if (s->cut)
		strcat(text, "; the first 1000 series, others are left out");
	json_str(j, str_of(text));
	json_key(j, "metrics");
	json_open(j, '[');
	add_series(j, q, s);
	json_close(j, ']');
	json_close(j, '}');
}

/* ---- what is asked ---- */

static const struct cond *asked_services(struct call *c)
{
	const struct field f = { .kind = FIELD_SERVICE };
	const struct cond *any = NULL;

	for (const struct arg *a = arg_get(c, "service"); a; a = arg_next(c, a)) {
		const struct value v = { .type = VALUE_STR, .str = a->text };
		const struct cond *one = cond_cmp(c->mem, f, CMP_EQ, v);

		any = any && one ? cond_or(c->mem, any, one) : one;
	}
	return any;
}

static const struct cond *asked_kinds(struct call *c)
{
	const struct field f = { .kind = FIELD_KIND };
	const struct cond *any = NULL;

	for (const struct arg *a = arg_get(c, "spanKind"); a; a = arg_next(c, a)) {
		enum span_kind kind = SPAN_SERVER;
		struct value v = { .type = VALUE_INT };
		const struct cond *one;

		span_kind_parse(a->text, &kind);
		v.i = kind;
		one = cond_cmp(c->mem, f, CMP_EQ, v);
		any = any && one ? cond_or(c->mem, any, one) : one;
	}
	return any ? any
		   : cond_cmp(c->mem, f, CMP_EQ,
			      (struct value){ .type = VALUE_INT, .i = SPAN_SERVER });
}

/* What all edges of steps and windows are a multiple of, counted from the first. */
static uint64_t common_ns(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static bool read_quantile(struct call *c, double *ret)
{
	struct str text = arg_text(c, "quantile");
	char *end;

	*ret = text.len ? strtod(text.p, &end) : 0.95;
	if (!text.len || (end == text.p + text.len && *ret > 0 && *ret <= 1))
		return true;
	call_error(c, 400, "quantile must be a number above 0, at most 1");
	return false;
}

static bool read_question(struct call *c, struct question *q)
{
	uint64_t lookback = arg_number(c, "lookback", 3600000) * NS_PER_MS;

	q->to_ns = arg_number(c, "endTs", clock_real_ns());
	q->step_ns = arg_number(c, "step", 5000) * NS_PER_MS;
	q->window_ns = arg_number(c, "ratePer", 600000) * NS_PER_MS;
	q->from_ns = q->to_ns > lookback ? q->to_ns - lookback : 0;
	if (q->from_ns < q->window_ns)
		q->from_ns = q->window_ns;
	if ((q->to_ns - q->from_ns) / q->step_ns <= STEPS_MAX && q->to_ns > q->from_ns)
		return true;
	call_error(c, 400, "lookback holds no step, or more than %u", STEPS_MAX);
	return false;
}

static void answer(struct call *c, enum figure figure)
{
	struct question q = { .figure = figure };
	struct asked a = { .mem = c->mem };
	struct samples *s = arena_alloc(c->mem, sizeof(*s));
	struct json j = call_json(c);
	struct scan scan = { .deadline_ns = c->deadline_ns, .trace_state = true };
	int err = -ENOMEM;

	if (!read_question(c, &q) || !read_quantile(c, &q.quantile))
		return;
	asked_and(&a, asked_services(c));
	asked_and(&a, asked_kinds(c));
	scan.where = a.where;
	scan.range = (struct time_range){ q.from_ns - q.window_ns, q.to_ns };
	if (s && !a.failed) {
		s->mem = c->mem;
		s->by_operation = arg_number(c, "groupByOperation", 0);
		s->begin_ns = scan.range.from_ns;
		s->unit_ns = common_ns(q.step_ns, q.window_ns);
		err = store_scan(c->cfg->store, &scan, take_sample, s);
		err = err < 0 ? err : s->err;
	}
	if (err) {
		call_failed(c, err, "metrics");
	} else {
		merge(s);
		add_family(&j, &q, s);
	}
	if (s)
		free(s->row);
}

static void get_latencies(struct call *c)
{
	answer(c, LATENCIES);
}

static void get_calls(struct call *c)
{
	answer(c, CALLS);
}

static void get_errors(struct call *c)
{
	answer(c, ERRORS);
}

/* ---- rows ---- */

#define DAYS_MS(n) ((n)*86400000ull)

static const struct param metrics[] = {
	{ "service", PARAM_TEXT, .required = true, .repeated = true, .min = 1, .max = 4096 },
	{ "quantile", PARAM_TEXT, .min = 1, .max = 16 },
	{ "groupByOperation", PARAM_BOOL, .required = false },
	{ "endTs", PARAM_TIME_MS, .required = false },
	{ "lookback", PARAM_UINT, .min = 1, .max = DAYS_MS(366) },
	{ "step", PARAM_UINT, .min = 1, .max = DAYS_MS(31) },
	{ "ratePer", PARAM_UINT, .min = 1, .max = DAYS_MS(31) },
	{ "spanKind", PARAM_CHOICE, .repeated = true,
	  .choices = "unspecified|internal|server|client|producer|consumer|"
		     "SPAN_KIND_UNSPECIFIED|SPAN_KIND_INTERNAL|SPAN_KIND_SERVER|"
		     "SPAN_KIND_CLIENT|SPAN_KIND_PRODUCER|SPAN_KIND_CONSUMER" },
};

#define ROW(at, function)                                                                         \
	{                                                                                         \
		"GET", at, function, FAMILY_JAEGER, .slow = true, .stored = true, PARAMS(metrics) \
	}

static const struct endpoint rows[] = {
	ROW("/api/metrics/latencies", get_latencies),
	ROW("/api/metrics/calls", get_calls),
	ROW("/api/metrics/errors", get_errors),
};

const struct endpoints endpoints_jaeger_metrics = { rows, ARRAY_LEN(rows) };

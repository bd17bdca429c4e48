/* SPDX-License-Identifier: Apache-2.0 */
/* What was counted as series: rates, quantiles, histograms, and the largest of them. */
#include "api/traceql_range.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define SERIES_BYTES_MAX (64u << 20)

struct series_list {
	struct figures *f;
	struct arena *mem;
	struct traceql_series *item;
	double **values; /* the same, to be changed */
	uint32_t cnt, size;
};

static double scale(const struct figures *f)
{
	return f->metric->of && f->metric->of->type == TYPE_DURATION ? 1e-9 : 1;
}

/* Adds a series of figure g with one label more; NULL without memory. */
static double *add_series(struct series_list *l, const struct figure *g,
			  const struct traceql_label *more)
{
	struct figures *f = l->f;
	uint32_t labels = f->metric->list.cnt;
	struct traceql_label *own = arena_alloc(l->mem, (labels + 1) * sizeof(*own));
	double *values = arena_alloc(l->mem, f->steps * sizeof(*values));

	if (!own || !values || l->cnt == l->size)
		return NULL;
	memcpy(own, g->labels, labels * sizeof(*own));
	if (more)
		own[labels++] = *more;
	l->values[l->cnt] = values;
	l->item[l->cnt++] = (struct traceql_series){ .labels = own,
						     .label_cnt = labels,
						     .first_ns = f->first_ns,
						     .values = values,
						     .value_cnt = f->steps,
						     .exemplars = g->exemplars,
						     .exemplar_cnt = g->exemplar_cnt };
	return values;
}

static double cell_value(const struct figures *f, const struct cell *c)
{
	switch (f->metric->metric) {
	case METRIC_RATE: return c->value * 1e9 / (double)f->q->step_ns;
	case METRIC_COUNT: return c->value;
	case METRIC_AVG: return c->cnt ? c->value / (double)c->cnt * scale(f) : NAN;
	default: return c->cnt ? c->value * scale(f) : NAN;
	}
}

/* One span has no rate: its exemplar is shown on the curve that it is part of. */
static void lift_exemplars(const struct figures *f, const struct figure *g, const double *values)
{
	for (uint32_t i = 0; i < g->exemplar_cnt; i++) {
		struct traceql_exemplar *e = &g->exemplars[i];

		e->value = values[(e->time_ns - f->first_ns) / f->q->step_ns];
	}
}

static int make_plain(struct series_list *l, const struct figure *g)
{
	static const char *const names[] = {
		"rate",		 "count_over_time", "min_over_time",
		"max_over_time", "sum_over_time",   "avg_over_time",
	};
	struct traceql_label name = { STR("__name__"), { .type = VALUE_STR } };
	double *values;

	name.value.str = str_of(names[l->f->metric->metric]);
	values = add_series(l, g, l->f->metric->list.cnt ? NULL : &name);
	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < l->f->steps; i++)
		values[i] = cell_value(l->f, &g->cells[i]);
	if (l->f->metric->metric == METRIC_RATE || l->f->metric->metric == METRIC_COUNT)
		lift_exemplars(l->f, g, values);
	return 0;
}

/* The value below which a share q lies, as if values lay evenly in each bucket's logarithm. */
static double quantile(const struct cell *c, double q)
{
	double rank = q * (double)c->cnt, before = 0;

	for (uint32_t b = 0; c->bucket && b < FIGURE_BUCKETS; b++) {
		double in = c->bucket[b];

		if (in > 0 && before + in >= rank) {
			double part = (rank - before) / in;

			return b ? ldexp(exp2(part), (int)b - 1) : part;
		}
		before += in;
	}
	return NAN;
}

static int make_quantiles(struct series_list *l, const struct figure *g)
{
	struct traceql_label p = { STR("p"), { .type = VALUE_DOUBLE } };

	for (uint32_t k = 0; k < l->f->metric->quantile_cnt; k++) {
		double *values;

		p.value.d = l->f->metric->quantile[k];
		values = add_series(l, g, &p);
		if (!values)
			return -ENOMEM;
		for (uint32_t i = 0; i < l->f->steps; i++)
			values[i] = quantile(&g->cells[i], p.value.d) * scale(l->f);
	}
	return 0;
}

static bool bucket_used(const struct figures *f, const struct figure *g, uint32_t b)
{
	for (uint32_t i = 0; i < f->steps; i++)
		if (g->cells[i].bucket && g->cells[i].bucket[b])
			return true;
	return false;
}

static int make_histogram(struct series_list *l, const struct figure *g)
{
	struct traceql_label bound = { STR("__bucket"), { .type = VALUE_DOUBLE } };

	for (uint32_t b = 0; b < FIGURE_BUCKETS; b++) {
		double *values;

		if (!bucket_used(l->f, g, b))
			continue;
		bound.value.d = ldexp(1, (int)b) * scale(l->f);
		values = add_series(l, g, &bound);
		if (!values)
			return -ENOMEM;
		for (uint32_t i = 0; i < l->f->steps; i++)
			values[i] = g->cells[i].bucket ? g->cells[i].bucket[b] : 0;
	}
	return 0;
}

static int make_all(struct series_list *l)
{
	struct figures *f = l->f;
	int err = 0;

	for (uint32_t i = 0; i < f->cnt && !err; i++) {
		if (f->metric->metric == METRIC_QUANTILE)
			err = make_quantiles(l, &f->item[i]);
		else if (f->metric->metric == METRIC_HISTOGRAM)
			err = make_histogram(l, &f->item[i]);
		else
			err = make_plain(l, &f->item[i]);
	}
	if (err) {
		f->end->truncated = true;
		err = l->cnt ? 0 : err;
	}
	return err;
}

/* ---- topk, bottomk -------------------------------------------------------------------------- */

struct ranked {
	double value;
	uint32_t series;
};

static int by_value(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return (x->series > y->series) - (x->series < y->series);
}

/* At each step the values of all but the first n go. */
static int keep_top(struct series_list *l, const struct stage *s)
{
	struct ranked *rank = calloc(l->cnt + 1, sizeof(*rank));

	if (!rank)
		return -ENOMEM;
	for (uint32_t step = 0; step < l->f->steps; step++) {
		uint32_t cnt = 0;

		for (uint32_t i = 0; i < l->cnt; i++) {
			double v = l->values[i][step];

			if (v == v)
				rank[cnt++] = (struct ranked){ s->kind == STAGE_TOPK ? v : -v, i };
		}
		qsort(rank, cnt, sizeof(*rank), by_value);
		for (uint32_t i = cnt; i-- > 0 && i >= s->top;)
			l->values[rank[i].series][step] = NAN;
	}
	free(rank);
	return 0;
}

static bool has_value(const struct traceql_series *s)
{
	for (uint32_t i = 0; i < s->value_cnt; i++)
		if (s->values[i] == s->values[i])
			return true;
	return false;
}

int figures_visit(struct figures *f, void (*visit)(void *ctx, const struct traceql_series *series),
		  void *ctx)
{
	struct series_list l = { .f = f,
				 .mem = arena_new(SERIES_BYTES_MAX),
				 .size = TRACEQL_SERIES_MAX };
	int err = -ENOMEM;

	l.item = calloc(l.size, sizeof(*l.item));
	l.values = calloc(l.size, sizeof(*l.values));
	if (l.mem && l.item && l.values)
		err = make_all(&l);
	for (const struct stage *s = f->metric->next; s && !err; s = s->next)
		err = keep_top(&l, s);
	for (uint32_t i = 0; i < l.cnt && !err; i++)
		if (has_value(&l.item[i]))
			visit(ctx, &l.item[i]);
	free(l.item);
	free(l.values);
	arena_free(l.mem);
	return err;
}

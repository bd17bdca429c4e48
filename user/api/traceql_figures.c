/* SPDX-License-Identifier: Apache-2.0 */
/* Counting spans into steps and series. What becomes of them: traceql_series.c. */
#include "api/traceql_range.h"

#include <errno.h>
#include <math.h>
#include <xxhash.h>

#define EXEMPLARS_MAX 16u

int figures_init(struct figures *f)
{
	f->item = arena_alloc(f->mem, TRACEQL_SERIES_MAX * sizeof(*f->item));
	return f->item ? 0 : -ENOMEM;
}

static uint64_t hash_value(const struct value *v, uint64_t seed)
{
	double d;

	switch (v->type) {
	case VALUE_STR:
		return XXH3_64bits_withSeed(v->str.len ? v->str.p : "", v->str.len, seed + 1);
	case VALUE_BOOL: return XXH3_64bits_withSeed(&v->b, sizeof(v->b), seed + 2);
	case VALUE_INT: return XXH3_64bits_withSeed(&v->i, sizeof(v->i), seed + 3);
	case VALUE_DOUBLE: /* all that is not a number is one */
		d = isnan(v->d) ? (double)NAN : v->d;
		return XXH3_64bits_withSeed(&d, sizeof(d), seed + 4);
	default: return XXH3_64bits_withSeed("", 0, seed + 5);
	}
}

static bool copy_labels(struct figures *f, const struct value *key, struct traceql_label *labels)
{
	const struct exprs *by = &f->metric->list;

	for (uint32_t i = 0; i < by->cnt; i++) {
		labels[i] = (struct traceql_label){ by->text[i], key[i] };
		if (key[i].type == VALUE_STR)
			labels[i].value.str = arena_str(f->mem, key[i].str);
		if (key[i].type == VALUE_STR && !labels[i].value.str.p)
			return false;
	}
	return true;
}

/* NULL past the caps: the answer says that it is truncated. Two keys with one hash of 64 bits are
 * taken for one. */
static struct figure *find_figure(struct figures *f, const struct value *key)
{
	uint32_t mask = ARRAY_LEN(f->slot) - 1, at;
	struct figure made = { .hash = 0 };

	for (uint32_t i = 0; i < f->metric->list.cnt; i++)
		made.hash = hash_value(&key[i], made.hash);
	for (at = (uint32_t)made.hash & mask; f->slot[at]; at = (at + 1) & mask)
		if (f->item[f->slot[at] - 1].hash == made.hash)
			return &f->item[f->slot[at] - 1];
	f->end->truncated = true; /* unless all of it goes well */
	if (f->cnt == TRACEQL_SERIES_MAX)
		return NULL;
	/* room for one more: a quantile or a bucket */
	made.labels = arena_alloc(f->mem, (f->metric->list.cnt + 1) * sizeof(*made.labels));
	made.cells = arena_alloc(f->mem, f->steps * sizeof(*made.cells));
	made.exemplars = arena_alloc(
		f->mem, MIN(f->q->exemplars, EXEMPLARS_MAX) * sizeof(*made.exemplars) + 1);
	if (!made.labels || !made.cells || !made.exemplars || !copy_labels(f, key, made.labels))
		return NULL;
	f->item[f->cnt++] = made;
	f->slot[at] = (uint16_t)f->cnt;
	f->end->truncated = false;
	return &f->item[f->cnt - 1];
}

static uint32_t bucket_of(double v)
{
	int exponent;
	double fraction = frexp(v, &exponent); /* v = fraction * 2^exponent, fraction in [0.5, 1) */

	if (!(v > 1))
		return 0;
	if (fraction == 0.5)
		exponent--;
	return MIN((uint32_t)exponent, FIGURE_BUCKETS - 1);
}

/* Rates and counts are of what was before sampling; the others are of the spans that are kept. */
static bool add_value(struct figures *f, struct cell *c, double v, const struct span *s)
{
	switch (f->metric->metric) {
	case METRIC_MIN: c->value = c->cnt ? fmin(c->value, v) : v; break;
	case METRIC_MAX: c->value = c->cnt ? fmax(c->value, v) : v; break;
	case METRIC_RATE:
	case METRIC_COUNT: c->value += span_adjusted_count(s); break;
	case METRIC_SUM:
	case METRIC_AVG: c->value += v; break;
	case METRIC_QUANTILE:
	case METRIC_HISTOGRAM:
		if (!c->bucket)
			c->bucket = arena_alloc(f->mem, FIGURE_BUCKETS * sizeof(*c->bucket));
		if (!c->bucket)
			return false;
		c->bucket[bucket_of(v)]++;
		break;
	default: break;
	}
	c->cnt++;
	return true;
}

/* The first of a step, so that they spread over the range. */
static void add_exemplar(struct figures *f, struct figure *g, const struct span *s, double v)
{
	if (g->exemplar_cnt == MIN(f->q->exemplars, EXEMPLARS_MAX))
		return;
	g->exemplars[g->exemplar_cnt++] = (struct traceql_exemplar){
		.trace_id = s->trace_id, .span_id = s->span_id, .time_ns = s->start_ns, .value = v
	};
}

void figures_add(struct figures *f, struct eval *e, uint32_t span)
{
	const struct span *s = e->tree->trace->spans[span];
	struct value key[TRACEQL_LIST_MAX];
	struct figure *g;
	struct cell *c;
	double v = (double)(s->end_ns - s->start_ns), shown;

	if (s->start_ns < f->first_ns || s->start_ns >= f->q->range.to_ns)
		return;
	if (f->metric->of && !eval_number(e, f->metric->of, span, &v))
		return;
	if (v != v)
		return;
	for (uint32_t i = 0; i < f->metric->list.cnt; i++)
		key[i] = eval_shown(e, f->metric->list.item[i], span);
	g = find_figure(f, key);
	if (!g)
		return;
	c = &g->cells[(s->start_ns - f->first_ns) / f->q->step_ns];
	shown = !f->metric->of || f->metric->of->type == TYPE_DURATION ? v / 1e9 : v;
	if (!c->cnt)
		add_exemplar(f, g, s, shown);
	if (add_value(f, c, v, s))
		f->end->spans++;
	else
		f->end->truncated = true;
}

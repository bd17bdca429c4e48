/* SPDX-License-Identifier: Apache-2.0 */
/* Operations counted; the tables that all counting rests on. */
#include "analyze/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#include "core/clock.h"

#define DEFAULT_SERIES	10000
#define DEFAULT_WAITING 65536
#define DEFAULT_WAIT_NS (5 * NS_PER_S)
#define UNPAIRED_MAX	1000
#define TARGETS_MAX	1000
#define NAME_BYTES_MAX	256

const double analyze_bounds[BOUNDS] = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
					0.5,   0.75, 1,	    2.5,  5,	 7.5, 10 };

/* ---- tables ---- */

int rows_init(struct table *t, uint32_t max)
{
	uint32_t slots = 16;

	while (slots < max * 2)
		slots *= 2;
	t->slot = calloc(slots, sizeof(struct row *));
	t->row = calloc(max, sizeof(struct row *));
	t->max = max;
	t->mask = slots - 1;
	return t->slot && t->row ? 0 : -ENOMEM;
}

struct row *rows_get(struct table *t, uint64_t hash, size_t size)
{
	uint32_t at = (uint32_t)hash & t->mask;

	for (; t->slot[at]; at = (at + 1) & t->mask) {
		if (t->slot[at]->hash == hash)
			return t->slot[at];
	}
	if (t->cnt == t->max)
		return NULL;
	t->slot[at] = calloc(1, size);
	if (!t->slot[at])
		return NULL;
	t->slot[at]->hash = hash;
	t->row[t->cnt++] = t->slot[at];
	return t->slot[at];
}

void rows_fini(struct table *t, void (*row_free)(struct row *r))
{
	for (uint32_t i = 0; i < t->cnt; i++)
		row_free(t->row[i]);
	free(t->slot);
	free(t->row);
}

char *analyze_strdup(struct str s)
{
	return strndup(s.len ? s.p : "", s.len);
}

struct str label_cut(struct str s, size_t max)
{
	const char *nul = s.len ? memchr(s.p, 0, s.len) : NULL;

	if (nul)
		s.len = (size_t)(nul - s.p);
	if (s.len <= max)
		return s;
	/* not within a character: one such label and all of a scrape is refused */
	while (max && (s.p[max] & 0xc0) == 0x80)
		max--;
	return (struct str){ s.p, max };
}

/* ---- operations ---- */

void histogram_add(struct histogram *h, const struct trace_id *trace, const struct span_id *span,
		   double value_s, double count, uint64_t time_ns)
{
	unsigned int at = 0;

	while (at < BOUNDS && value_s > analyze_bounds[at])
		at++;
	h->bucket[at] += count;
	h->sum_s += value_s * count;
	h->exemplar[at] = (struct exemplar){ *trace, *span, value_s, time_ns };
}

static struct series *series_of(struct analyze *a, const struct span *s)
{
	struct str service = label_cut(s->resource->service, NAME_BYTES_MAX);
	struct str name = label_cut(s->name, NAME_BYTES_MAX);
	uint64_t hash = XXH3_64bits(service.p, service.len);
	struct series *row;

	hash = XXH3_64bits_withSeed(name.p, name.len,
				    hash + (uint64_t)s->kind * 3 + (uint64_t)s->status);
	row = (struct series *)rows_get(&a->series, hash, sizeof(*row));
	if (!row)
		return a->other;
	if (!row->service) {
		row->service = analyze_strdup(service);
		row->name = analyze_strdup(name);
		row->kind = s->kind;
		row->status = s->status;
	}
	return row;
}

void analyze_push(struct analyze *a, const struct span *s)
{
	double seconds = (double)(s->end_ns - s->start_ns) / NS_PER_S;
	double count = span_adjusted_count(s), bytes = (double)analyze_size(s);
	struct series *row;

	pthread_mutex_lock(&a->lock);
	row = series_of(a, s);
	row->calls += count;
	row->bytes += bytes * count;
	histogram_add(&row->latency, &s->trace_id, &s->span_id, seconds, count, s->end_ns);
	target_push(a, s->resource);
	graph_push(a, s);
	pthread_mutex_unlock(&a->lock);
}

/* ---- public ---- */

static struct series *other_series(void)
{
	struct series *s = calloc(1, sizeof(*s));

	if (s) {
		s->service = strdup("(other)");
		s->name = strdup("(other)");
	}
	return s;
}

static struct edge *other_edge(void)
{
	struct edge *e = calloc(1, sizeof(*e));

	if (e) {
		e->client = strdup("(other)");
		e->server = strdup("(other)");
	}
	return e;
}

static void series_free(struct row *r)
{
	struct series *s = (struct series *)r;

	if (!s)
		return;
	free(s->service);
	free(s->name);
	free(s);
}

static void edge_free(struct row *r)
{
	struct edge *e = (struct edge *)r;

	if (!e)
		return;
	free(e->client);
	free(e->server);
	free(e);
}

static void unpaired_free(struct row *r)
{
	struct unpaired *u = (struct unpaired *)r;

	free(u->client);
	free(u->server);
	free(u);
}

struct analyze *analyze_new(const struct analyze_cfg *cfg)
{
	struct analyze *a = calloc(1, sizeof(*a));
	uint32_t slots = 1024;

	if (!a)
		return NULL;
	a->cfg = *cfg;
	if (!a->cfg.series_max)
		a->cfg.series_max = DEFAULT_SERIES;
	if (!a->cfg.waiting_max)
		a->cfg.waiting_max = DEFAULT_WAITING;
	if (!a->cfg.wait_ns)
		a->cfg.wait_ns = DEFAULT_WAIT_NS;
	while (slots < a->cfg.waiting_max)
		slots *= 2;
	pthread_mutex_init(&a->lock, NULL);
	a->slot_mask = slots - 1;
	a->slot = calloc(slots, sizeof(*a->slot));
	a->ring = calloc(a->cfg.waiting_max, sizeof(*a->ring));
	a->other = other_series();
	a->other_edge = other_edge();
	if (!a->slot || !a->ring || !a->other || !a->other_edge ||
	    rows_init(&a->series, a->cfg.series_max) || rows_init(&a->edges, a->cfg.series_max) ||
	    rows_init(&a->unpaired, UNPAIRED_MAX) || rows_init(&a->targets, TARGETS_MAX)) {
		analyze_free(a);
		return NULL;
	}
	return a;
}

void analyze_tick(struct analyze *a, uint64_t now_ns)
{
	pthread_mutex_lock(&a->lock);
	a->now_ns = now_ns;
	graph_tick(a);
	target_tick(a);
	pthread_mutex_unlock(&a->lock);
}

void analyze_free(struct analyze *a)
{
	if (!a)
		return;
	rows_fini(&a->series, series_free);
	rows_fini(&a->edges, edge_free);
	rows_fini(&a->unpaired, unpaired_free);
	rows_fini(&a->targets, target_free);
	series_free((struct row *)a->other);
	edge_free((struct row *)a->other_edge);
	free(a->ring);
	free(a->slot);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Traces put together from the parts that an engine finds, each once and in order. */
#include "store/internal.h"

#include <errno.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Spans of one id that are compared with each other: more differing ones are all kept. */
#define COMPARED_MAX 8

struct row {
	struct trace_id id;
	struct trace *trace; /* NULL until a span comes */
	bool cut;
	UT_hash_handle hh;
};

struct gather {
	struct row *by_id; /* in the order of ids */
};

void gather_free(struct gather *g)
{
	struct row *r, *next;

	if (!g)
		return;
	HASH_ITER (hh, g->by_id, r, next) {
		HASH_DEL(g->by_id, r);
		trace_put(r->trace);
		free(r);
	}
	free(g);
}

struct gather *gather_new(const struct trace_id *ids, size_t cnt)
{
	struct gather *g = calloc(1, sizeof(*g));
	struct row *r;

	if (!g)
		return NULL;
	for (size_t i = 0; i < cnt; i++) {
		HASH_FIND(hh, g->by_id, &ids[i], sizeof(ids[i]), r);
		if (r)
			continue;
		r = calloc(1, sizeof(*r));
		if (!r)
			goto fail;
		r->id = ids[i];
		HASH_ADD(hh, g->by_id, id, sizeof(r->id), r);
		if (!r->hh.tbl) {
			free(r);
			goto fail;
		}
	}
	return g;
fail:
	gather_free(g);
	return NULL;
}

int gather_add(struct gather *g, const struct span *s)
{
	struct row *r;

	HASH_FIND(hh, g->by_id, &s->trace_id, sizeof(s->trace_id), r);
	if (!r)
		return 0;
	if (!r->trace)
		r->trace = trace_new(&r->id);
	if (!r->trace)
		return -ENOMEM;
	if (r->trace->span_cnt >= GATHER_SPANS_MAX) {
		r->cut = true;
		return 0;
	}
	return trace_add(r->trace, s) ? 0 : -ENOMEM;
}

struct arrived {
	struct span *span;
	uint32_t at;
};

static int by_span_id(const void *a, const void *b)
{
	const struct arrived *x = a, *y = b;
	int order = memcmp(&x->span->span_id, &y->span->span_id, sizeof(struct span_id));

	return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Is the one at i the same as one before it that is kept? */
static bool came_before(const struct arrived *sorted, struct span *const *kept, uint32_t i)
{
	for (uint32_t j = i, tried = 0; j-- > 0 && tried < COMPARED_MAX; tried++) {
		if (memcmp(&sorted[j].span->span_id, &sorted[i].span->span_id,
			   sizeof(struct span_id)) != 0)
			break;
		if (kept[sorted[j].at] && span_same(sorted[j].span, sorted[i].span))
			return true;
	}
	return false;
}

static int drop_doubles(struct trace *t)
{
	struct arrived *sorted;
	uint32_t kept = 0;

	if (t->span_cnt < 2)
		return 0;
	sorted = calloc(t->span_cnt, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->span_cnt; i++)
		sorted[i] = (struct arrived){ t->spans[i], i };
	qsort(sorted, t->span_cnt, sizeof(*sorted), by_span_id);
	for (uint32_t i = 1; i < t->span_cnt; i++) {
		if (!came_before(sorted, t->spans, i))
			continue;
		span_release(sorted[i].span);
		t->spans[sorted[i].at] = NULL;
	}
	for (uint32_t i = 0; i < t->span_cnt; i++)
		if (t->spans[i])
			t->spans[kept++] = t->spans[i];
	t->span_cnt = kept;
	free(sorted);
	return 0;
}

int gather_finish(struct gather *g, struct trace_sink out)
{
	struct row *r, *next;
	uint32_t orphans = 0;
	int err;

	HASH_ITER (hh, g->by_id, r, next) {
		if (!r->trace)
			continue;
		err = drop_doubles(r->trace);
		if (!err)
			err = trace_order(r->trace, &orphans);
		if (err)
			return err;
		r->trace->complete = !r->cut && !orphans && r->trace->root >= 0;
		out.push(out.ctx, r->trace);
	}
	return 0;
}

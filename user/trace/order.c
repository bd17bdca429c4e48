/* SPDX-License-Identifier: Apache-2.0 */
/* The order of a trace's spans: by start; parents first where two start at the same moment. */
#include "trace/trace.h"

#include <errno.h>
#include <stdlib.h>

/* trace.proto: flags bits 8 and 9, "it is known whether the parent is remote" and "it is" */
#define FLAGS_PARENT_REMOTE 0x300u

#define DEPTH_UNKNOWN 0u
#define DEPTH_WALKING UINT32_MAX

struct item {
	struct span *span;
	uint32_t arrival;
	uint32_t parent; /* index by arrival; own index: none here */
	uint32_t depth;	 /* 1: a root */
};

static int by_id(const void *a, const void *b)
{
	const struct item *const *x = a, *const *y = b;
	int order = memcmp((*x)->span->span_id.b, (*y)->span->span_id.b, sizeof(struct span_id));

	return order ? order : ((*x)->arrival > (*y)->arrival) - ((*x)->arrival < (*y)->arrival);
}

static int by_start(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->span->start_ns != y->span->start_ns)
		return x->span->start_ns < y->span->start_ns ? -1 : 1;
	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	return (x->arrival > y->arrival) - (x->arrival < y->arrival);
}

/* The first that arrived of those with this id; NULL when there is none. */
static const struct item *find(struct item *const *sorted, uint32_t cnt, const struct span_id *id)
{
	uint32_t low = 0, high = cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (memcmp(sorted[mid]->span->span_id.b, id->b, sizeof(id->b)) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == cnt || memcmp(sorted[low]->span->span_id.b, id->b, sizeof(id->b)) != 0)
		return NULL;
	return sorted[low];
}

static void set_depths(struct item *item, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++) {
		uint32_t at = i, steps = 0, depth;

		/* up to a span whose depth is known; a circle ends where it closes */
		while (item[at].depth == DEPTH_UNKNOWN) {
			item[at].depth = DEPTH_WALKING;
			steps++;
			if (item[at].parent == at)
				break;
			at = item[at].parent;
		}
		depth = item[at].depth == DEPTH_WALKING ? steps : item[at].depth + steps;
		for (at = i; item[at].depth == DEPTH_WALKING; at = item[at].parent)
			item[at].depth = depth--;
	}
}

/* Numbers the parents, by a list sorted by id. */
static uint32_t set_parents(struct item *item, struct item **sorted, uint32_t cnt)
{
	uint32_t orphans = 0;

	qsort(sorted, cnt, sizeof(*sorted), by_id);
	for (uint32_t i = 0; i < cnt; i++) {
		const struct span *s = item[i].span;
		const struct item *parent;

		item[i].parent = i;
		if (!span_id_is_set(&s->parent_id))
			continue;
		parent = find(sorted, cnt, &s->parent_id);
		if (parent)
			item[i].parent = parent->arrival;
		else if ((s->flags & FLAGS_PARENT_REMOTE) != FLAGS_PARENT_REMOTE)
			orphans++;
	}
	return orphans;
}

/* Most traces of a machine whose services call each other little: nothing to sort. */
static void order_one(struct trace *t, uint32_t *ret_orphans)
{
	const struct span *s = t->spans[0];
	bool own = memcmp(&s->parent_id, &s->span_id, sizeof(s->span_id)) == 0;

	t->root = 0;
	*ret_orphans = span_id_is_set(&s->parent_id) && !own &&
		       (s->flags & FLAGS_PARENT_REMOTE) != FLAGS_PARENT_REMOTE;
}

int trace_order(struct trace *t, uint32_t *ret_orphans)
{
	uint32_t cnt = t->span_cnt;
	struct item *item, **sorted;
	int err = -ENOMEM;

	if (cnt == 1) {
		order_one(t, ret_orphans);
		return 0;
	}
	item = calloc(cnt, sizeof(*item));
	sorted = calloc(cnt, sizeof(*sorted));
	if (!item || !sorted)
		goto out;
	for (uint32_t i = 0; i < cnt; i++) {
		item[i] = (struct item){ .span = t->spans[i], .arrival = i };
		sorted[i] = &item[i];
	}
	*ret_orphans = set_parents(item, sorted, cnt);
	set_depths(item, cnt);
	for (uint32_t i = 0; i < cnt; i++) /* by_start moves the items: roots are told by depth */
		item[i].parent = item[i].parent == i;
	qsort(item, cnt, sizeof(*item), by_start);
	t->root = -1;
	for (uint32_t i = 0; i < cnt; i++) {
		bool without = !span_id_is_set(&item[i].span->parent_id);

		t->spans[i] = item[i].span;
		if (item[i].parent &&
		    (t->root < 0 || (without && span_id_is_set(&t->spans[t->root]->parent_id))))
			t->root = (int32_t)i;
	}
	err = 0;
out:
	free(item);
	free(sorted);
	return err;
}

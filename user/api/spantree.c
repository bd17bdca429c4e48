/* SPDX-License-Identifier: Apache-2.0 */
/* Parents by id: sorted once, found by halving; then an order in which parents come first. */
#include "api/spantree.h"

#include <stdlib.h>

/* trace.proto: flags bits 8 and 9, "it is known whether the parent is remote" and "it is" */
#define FLAGS_PARENT_REMOTE 0x300u

struct named {
	struct span_id id;
	uint32_t index;
};

static int by_id(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int order = memcmp(x->id.b, y->id.b, sizeof(x->id.b));

	return order ? order : (x->index > y->index) - (x->index < y->index);
}

static uint32_t find(const struct named *names, uint32_t cnt, const struct span_id *id)
{
	uint32_t low = 0, high = cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (memcmp(names[mid].id.b, id->b, sizeof(id->b)) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == cnt || memcmp(names[low].id.b, id->b, sizeof(id->b)) != 0)
		return SPANTREE_NONE;
	return names[low].index;
}

static void find_parents(struct spantree *t, struct named *names)
{
	const struct trace *trace = t->trace;

	for (uint32_t i = 0; i < trace->span_cnt; i++)
		names[i] = (struct named){ trace->spans[i]->span_id, i };
	qsort(names, trace->span_cnt, sizeof(*names), by_id);
	for (uint32_t i = 0; i < trace->span_cnt; i++) {
		const struct span *s = trace->spans[i];

		t->parent[i] = SPANTREE_NONE;
		if (!span_id_is_set(&s->parent_id))
			continue;
		t->parent[i] = find(names, trace->span_cnt, &s->parent_id);
		if (t->parent[i] == i)
			t->parent[i] = SPANTREE_NONE;
		else if (t->parent[i] == SPANTREE_NONE &&
			 (s->flags & FLAGS_PARENT_REMOTE) != FLAGS_PARENT_REMOTE)
			t->orphans++;
	}
}

enum { UNSEEN, ON_THE_WAY, PLACED };

/* Up from each span to one that has its place, then down again placing them. */
static void place_all(struct spantree *t, uint8_t *state, uint32_t *path)
{
	uint32_t placed = 0;

	for (uint32_t i = 0; i < t->trace->span_cnt; i++) {
		uint32_t at = i, len = 0;

		while (at != SPANTREE_NONE && state[at] == UNSEEN) {
			state[at] = ON_THE_WAY;
			path[len++] = at;
			at = t->parent[at];
		}
		if (at != SPANTREE_NONE && state[at] == ON_THE_WAY)
			t->parent[path[len - 1]] = SPANTREE_NONE; /* a circle closes here */
		while (len) {
			state[path[--len]] = PLACED;
			t->ordered[placed++] = path[len];
		}
	}
}

bool spantree_build(const struct trace *trace, struct arena *mem, struct spantree *ret_tree)
{
	uint32_t cnt = trace->span_cnt;
	struct spantree t = { .trace = trace };
	struct named *names = arena_alloc(mem, cnt * sizeof(*names) + 1);
	uint8_t *state = arena_alloc(mem, cnt + 1);
	uint32_t *path = arena_alloc(mem, cnt * sizeof(*path) + 1);

	t.parent = arena_alloc(mem, cnt * sizeof(*t.parent) + 1);
	t.ordered = arena_alloc(mem, cnt * sizeof(*t.ordered) + 1);
	if (!names || !state || !path || !t.parent || !t.ordered)
		return false;
	find_parents(&t, names);
	place_all(&t, state, path);
	*ret_tree = t;
	return true;
}

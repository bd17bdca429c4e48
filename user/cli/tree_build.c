/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From spans to a tree: who is whose child, self times, the critical path, repeated siblings.
 * Spans may come from anywhere, so cycles, doubles and chains of any depth are borne: nothing here
 * recurses.
 */
#include "cli/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

static int compare_id(const void *a, const void *b)
{
	const struct id_index *x = a, *y = b;
	int by_id = memcmp(&x->id, &y->id, sizeof(x->id));

	return by_id ? by_id : (x->node > y->node) - (x->node < y->node);
}

uint32_t tree_find(const struct tree *tree, const struct span_id *id)
{
	uint32_t low = 0, high = tree->cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (memcmp(&tree->ids[mid].id, id, sizeof(*id)) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == tree->cnt || memcmp(&tree->ids[low].id, id, sizeof(*id)) != 0)
		return tree->cnt;
	return tree->ids[low].node;
}

static void find_parents(struct tree *tree)
{
	for (uint32_t i = 0; i < tree->cnt; i++)
		tree->ids[i] = (struct id_index){ tree->node[i].span->span_id, i };
	qsort(tree->ids, tree->cnt, sizeof(*tree->ids), compare_id);
	for (uint32_t i = 0; i < tree->cnt; i++) {
		const struct span *s = tree->node[i].span;

		tree->node[i].parent =
			span_id_is_set(&s->parent_id) ? tree_find(tree, &s->parent_id) : tree->cnt;
	}
}

/* Follows parents upwards from each node; meeting this walk's own mark is a cycle: cut it there. */
static void cut_cycles(struct tree *tree)
{
	for (uint32_t i = 0; i < tree->cnt; i++) {
		uint32_t at = i;

		while (at != tree->cnt && !tree->node[at].mark) {
			tree->node[at].mark = i + 1;
			at = tree->node[at].parent;
		}
		if (at != tree->cnt && tree->node[at].mark == i + 1)
			tree->node[at].parent = tree->cnt;
	}
}

static void link_children(struct tree *tree)
{
	for (uint32_t i = 0; i < tree->cnt; i++) {
		struct node *parent = &tree->node[tree->node[i].parent];

		if (parent->last == NODE_NONE)
			parent->first = i;
		else
			tree->node[parent->last].next = i;
		parent->last = i;
	}
}

static void set_order(struct tree *tree)
{
	uint32_t at = tree->cnt, n = 0;

	for (;;) {
		tree->order[n++] = at;
		if (tree->node[at].first != NODE_NONE) {
			at = tree->node[at].first;
			continue;
		}
		while (at != tree->cnt && tree->node[at].next == NODE_NONE)
			at = tree->node[at].parent;
		if (at == tree->cnt)
			return;
		at = tree->node[at].next;
	}
}

/* Duration less the union of the children's, which are in order of their start. */
static void set_self(struct tree *tree, struct node *n)
{
	uint64_t covered = 0, reach = n->start_ns;

	for (uint32_t c = n->first; c != NODE_NONE; c = tree->node[c].next) {
		uint64_t from = MAX(tree->node[c].start_ns, reach);
		uint64_t to = MIN(tree->node[c].end_ns, n->end_ns);

		if (to <= from)
			continue;
		covered += to - from;
		reach = to;
	}
	n->self_ns = n->end_ns - n->start_ns - covered;
}

struct str span_code(const struct span *s, char buf[24])
{
	const struct attr *a = attrs_find(&s->attrs, STR("http.response.status_code"));

	if (a && a->value.type == VALUE_INT) {
		snprintf(buf, 24, "%lld", (long long)a->value.i);
		return str_of(buf);
	}
	return attrs_str(&s->attrs, "db.response.status_code");
}

static uint64_t mix(uint64_t h, struct str s)
{
	return XXH3_64bits_withSeed(s.p ? s.p : "", s.len, h);
}

static void set_shape(struct tree *tree, struct node *n)
{
	const struct span *s = n->span;
	char code[24];
	uint64_t h = mix((uint64_t)s->kind * 4 + s->status, s->resource->service);

	h = mix(h, s->name);
	h = mix(h, span_code(s, code));
	h = mix(h, attrs_str(&s->attrs, "error.type"));
	for (uint32_t c = n->first; c != NODE_NONE; c = tree->node[c].next)
		h = mix(h, (struct str){ (const char *)&tree->node[c].shape, sizeof(uint64_t) });
	n->shape = h;
}

/* ---- the critical path ---- */

static int compare_end_desc(const void *a, const void *b, void *ctx)
{
	const struct node *node = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (node[x].end_ns != node[y].end_ns)
		return node[x].end_ns < node[y].end_ns ? 1 : -1;
	return (x > y) - (x < y);
}

static uint32_t gather(const struct tree *tree, const struct node *n)
{
	uint32_t cnt = 0;

	for (uint32_t c = n->first; c != NODE_NONE; c = tree->node[c].next)
		tree->scratch[cnt++] = c;
	return cnt;
}

/*
 * The critical path: what the end of the trace waited for. The topmost span is on it. Below a span
 * that is, going back from its end: the child that finished last is on it; then, going back from
 * that child's start, the child that finished last before it; and so on. A child that outlives
 * its parent counts up to the parent's end; one that begins after it does not count.
 */
static void mark_critical(struct tree *tree)
{
	tree->node[tree->cnt].critical = true;
	for (uint32_t i = 0; i <= tree->cnt; i++) {
		struct node *n = &tree->node[tree->order[i]];
		uint64_t point = n->end_ns;
		uint32_t cnt;

		if (!n->critical)
			continue;
		cnt = gather(tree, n);
		qsort_r(tree->scratch, cnt, sizeof(*tree->scratch), compare_end_desc, tree->node);
		for (uint32_t k = 0; k < cnt; k++) {
			struct node *c = &tree->node[tree->scratch[k]];

			if (c->start_ns > n->end_ns || MIN(c->end_ns, n->end_ns) > point)
				continue;
			c->critical = true;
			point = c->start_ns;
		}
	}
}

/* ---- repeated siblings ---- */

static int compare_shape(const void *a, const void *b, void *ctx)
{
	const struct node *node = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (node[x].shape != node[y].shape)
		return node[x].shape < node[y].shape ? -1 : 1;
	return (x > y) - (x < y);
}

static int compare_duration(const void *a, const void *b, void *ctx)
{
	const struct node *node = ctx;
	const struct node *x = &node[*(const uint32_t *)a], *y = &node[*(const uint32_t *)b];
	uint64_t dx = x->end_ns - x->start_ns, dy = y->end_ns - y->start_ns;

	if (dx != dy)
		return dx < dy ? -1 : 1;
	return (x > y) - (x < y);
}

static void fold_group(struct tree *tree, uint32_t *member, uint32_t cnt)
{
	struct fold *f = &tree->folds[tree->fold_cnt];
	uint64_t reach = 0;

	*f = (struct fold){ .first = member[0], .cnt = cnt };
	for (uint32_t i = 0; i < cnt; i++) {
		struct node *n = &tree->node[member[i]];
		uint64_t from = MAX(n->start_ns, reach);

		n->fold = tree->fold_cnt;
		f->self_ns += n->self_ns;
		f->critical |= n->critical;
		f->wall_ns += n->end_ns > from ? n->end_ns - from : 0;
		reach = MAX(reach, n->end_ns);
	}
	qsort_r(member, cnt, sizeof(*member), compare_duration, tree->node);
	f->slowest = member[cnt - 1];
	f->max_ns = tree->node[f->slowest].end_ns - tree->node[f->slowest].start_ns;
	f->p50_ns = tree->node[member[(cnt - 1) / 2]].end_ns -
		    tree->node[member[(cnt - 1) / 2]].start_ns;
	tree->fold_cnt++;
}

static void fold_siblings(struct tree *tree)
{
	for (uint32_t i = 0; i < tree->cnt; i++) {
		uint32_t cnt = gather(tree, &tree->node[i]), from = 0;

		if (cnt < FOLD_MIN)
			continue;
		qsort_r(tree->scratch, cnt, sizeof(*tree->scratch), compare_shape, tree->node);
		for (uint32_t k = 1; k <= cnt; k++) {
			if (k < cnt && tree->node[tree->scratch[k]].shape ==
					       tree->node[tree->scratch[from]].shape)
				continue;
			if (k - from >= FOLD_MIN)
				fold_group(tree, tree->scratch + from, k - from);
			from = k;
		}
	}
}

/* ---- the whole ---- */

static void init_nodes(const struct trace *t, struct tree *tree)
{
	struct node *top = &tree->node[tree->cnt];
	const struct node none = { .parent = NODE_NONE,
				   .first = NODE_NONE,
				   .last = NODE_NONE,
				   .next = NODE_NONE,
				   .fold = NODE_NONE };

	*top = none;
	top->start_ns = UINT64_MAX;
	for (uint32_t i = 0; i < tree->cnt; i++) {
		struct node *n = &tree->node[i];

		*n = none;
		n->span = t->spans[i];
		n->start_ns = n->span->start_ns;
		n->end_ns = MAX(n->span->end_ns, n->start_ns);
		top->start_ns = MIN(top->start_ns, n->start_ns);
		top->end_ns = MAX(top->end_ns, n->end_ns);
	}
	top->start_ns = MIN(top->start_ns, top->end_ns);
}

int tree_build(const struct trace *t, struct tree *tree)
{
	*tree = (struct tree){ .cnt = t->span_cnt };
	tree->node = calloc(tree->cnt + 1u, sizeof(*tree->node));
	tree->folds = calloc(tree->cnt / FOLD_MIN + 1u, sizeof(*tree->folds));
	tree->ids = calloc(tree->cnt + 1u, sizeof(*tree->ids));
	tree->order = calloc(tree->cnt + 1u, sizeof(*tree->order));
	tree->scratch = calloc(tree->cnt + 1u, sizeof(*tree->scratch));
	if (!tree->node || !tree->folds || !tree->ids || !tree->order || !tree->scratch) {
		tree_fini(tree);
		return -ENOMEM;
	}
	init_nodes(t, tree);
	find_parents(tree);
	cut_cycles(tree);
	link_children(tree);
	set_order(tree);
	for (uint32_t i = tree->cnt; i > 0; i--) {
		set_self(tree, &tree->node[tree->order[i]]);
		set_shape(tree, &tree->node[tree->order[i]]);
	}
	mark_critical(tree);
	fold_siblings(tree);
	return 0;
}

void tree_fini(struct tree *tree)
{
	free(tree->node);
	free(tree->folds);
	free(tree->ids);
	free(tree->order);
	free(tree->scratch);
	*tree = (struct tree){ 0 };
}

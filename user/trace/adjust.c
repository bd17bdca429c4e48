/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks of several hosts brought together. */
#include "trace/internal.h"

#include <errno.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define NONE UINT32_MAX

struct node {
	const struct span_id *id;
	struct str host; /* empty: not known */
	uint32_t parent; /* index; NONE: a root */
	uint32_t next;	 /* sibling */
	uint32_t child;	 /* first */
	int64_t added_ns;
	UT_hash_handle hh;
};

static struct str host_of(const struct resource *r)
{
	struct str id = attrs_str(&r->attrs, "host.id");
	return id.len ? id : attrs_str(&r->attrs, "host.name");
}

/* Who hangs below whom; the first of equal ids counts. */
static int build_tree(const struct trace *t, struct node *nodes)
{
	struct node *by_id = NULL, *p;
	int err = 0;

	for (uint32_t i = 0; i < t->span_cnt && !err; i++) {
		nodes[i] = (struct node){ .id = &t->spans[i]->span_id,
					  .host = host_of(t->spans[i]->resource),
					  .parent = NONE,
					  .next = NONE,
					  .child = NONE };
		HASH_FIND(hh, by_id, nodes[i].id, sizeof(*nodes[i].id), p);
		if (p)
			continue;
		HASH_ADD_KEYPTR(hh, by_id, nodes[i].id, sizeof(*nodes[i].id), &nodes[i]);
		if (!nodes[i].hh.tbl)
			err = -ENOMEM;
	}
	for (uint32_t i = 0; i < t->span_cnt && !err; i++) {
		HASH_FIND(hh, by_id, &t->spans[i]->parent_id, sizeof(struct span_id), p);
		if (!p || p == &nodes[i] || !span_id_is_set(&t->spans[i]->parent_id))
			continue;
		nodes[i].parent = (uint32_t)(p - nodes);
		nodes[i].next = p->child;
		p->child = i;
	}
	HASH_CLEAR(hh, by_id);
	return err;
}

/* What must be added to the child's times, which have been moved already as its parent's were. */
static int64_t skew_of(const struct span *parent, int64_t parent_added, const struct span *child)
{
	int64_t from = (int64_t)parent->start_ns + parent_added;
	int64_t to = (int64_t)parent->end_ns + parent_added;
	int64_t start = (int64_t)child->start_ns, end = (int64_t)child->end_ns;
	bool waits = parent->kind == SPAN_CLIENT && child->kind == SPAN_SERVER;

	if (start >= from && (end <= to || !waits))
		return 0;
	if (!waits || end - start > to - from)
		return start < from ? from - start : 0;
	return from + ((to - from) - (end - start)) / 2 - start;
}

/* From the roots down; a cycle has no root and stays as it is. */
static uint32_t spread(const struct trace *t, struct node *nodes, uint32_t *stack)
{
	uint32_t depth = 0, moved = 0;

	for (uint32_t i = 0; i < t->span_cnt; i++)
		if (nodes[i].parent == NONE)
			stack[depth++] = i;
	while (depth) {
		uint32_t at = stack[--depth], up = nodes[at].parent;

		if (up != NONE && (str_eq(nodes[at].host, nodes[up].host) || !nodes[at].host.len ||
				   !nodes[up].host.len))
			nodes[at].added_ns = nodes[up].added_ns;
		else if (up != NONE)
			nodes[at].added_ns =
				skew_of(t->spans[up], nodes[up].added_ns, t->spans[at]);
		moved += nodes[at].added_ns != 0;
		for (uint32_t c = nodes[at].child; c != NONE; c = nodes[c].next)
			stack[depth++] = c;
	}
	return moved;
}

static void move(struct trace *t, struct span *s, int64_t add_ns)
{
	s->start_ns += (uint64_t)add_ns;
	s->end_ns += (uint64_t)add_ns;
	for (uint32_t i = 0; i < s->event_cnt; i++)
		if (s->events[i].time_ns > (uint64_t)llabs(add_ns)) /* not those that say none */
			s->events[i].time_ns += (uint64_t)add_ns;
	attrs_add_int(&s->attrs, t->arena, "telltale.clock_skew_ns", add_ns);
}

static int adjust_clocks(struct trace *t, uint32_t *ret_moved)
{
	struct node *nodes = calloc(t->span_cnt, sizeof(*nodes));
	uint32_t *stack = calloc(t->span_cnt, sizeof(*stack)), moved = 0, orphans;
	int err = -ENOMEM;

	if (nodes && stack)
		err = build_tree(t, nodes);
	if (!err)
		moved = spread(t, nodes, stack);
	for (uint32_t i = 0; i < t->span_cnt && moved; i++)
		if (nodes[i].added_ns)
			move(t, t->spans[i], nodes[i].added_ns);
	free(nodes);
	free(stack);
	*ret_moved = moved;
	return err || !moved ? err : trace_order(t, &orphans);
}

static bool has_hosts(const struct trace *t)
{
	for (uint32_t i = 1; i < t->span_cnt; i++)
		if (t->spans[i]->resource != t->spans[0]->resource &&
		    !str_eq(host_of(t->spans[i]->resource), host_of(t->spans[0]->resource)))
			return true;
	return false;
}

bool trace_adjustable(const struct trace *t)
{
	return has_hosts(t) || trace_has_both(t) || trace_has_shared(t);
}

int trace_adjust(struct trace *t, struct adjusted *ret)
{
	struct adjusted a = { .hung = trace_hang_shared(t) };
	uint32_t orphans;
	int err = a.hung ? trace_order(t, &orphans) : 0;

	if (!err && has_hosts(t))
		err = adjust_clocks(t, &a.moved);
	if (err)
		return err;
	a.duplicates = trace_mark_duplicates(t);
	*ret = a;
	return 0;
}

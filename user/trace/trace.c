/* SPDX-License-Identifier: Apache-2.0 */
/* A trace's memory: assembled once, then shared by all who keep it. */
#include "trace/trace.h"

#include <stdlib.h>

struct trace *trace_new(const struct trace_id *id)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->id = *id;
	t->root = -1;
	t->spans = t->few;
	t->size = ARRAY_LEN(t->few);
	t->refs = 1;
	t->arena = arena_new_exact(); /* a span is one piece */
	if (!t->arena) {
		free(t);
		return NULL;
	}
	return t;
}

static bool make_room(struct trace *t)
{
	struct span **before = t->spans == t->few ? NULL : t->spans;
	struct span **spans = realloc(before, 2 * t->size * sizeof(struct span *));

	if (!spans)
		return false;
	if (!before)
		memcpy(spans, t->few, sizeof(t->few));
	t->spans = spans;
	t->size *= 2;
	return true;
}

bool trace_add(struct trace *t, const struct span *s)
{
	struct span *copy;

	if (t->span_cnt == t->size && !make_room(t))
		return false;
	copy = span_copy(s, t->arena);
	if (!copy)
		return false;
	t->spans[t->span_cnt++] = copy;
	return true;
}

struct trace *trace_get(const struct trace *t)
{
	struct trace *mine = (struct trace *)t; /* its count alone changes */

	__atomic_add_fetch(&mine->refs, 1, __ATOMIC_RELAXED);
	return mine;
}

void trace_put(struct trace *t)
{
	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t i = 0; i < t->span_cnt; i++)
		span_release(t->spans[i]);
	if (t->spans != t->few)
		free(t->spans);
	arena_free(t->arena);
	free(t);
}

size_t trace_bytes(const struct trace *t)
{
	size_t spans = t->spans == t->few ? 0 : malloc_footprint(t->size * sizeof(*t->spans));

	return malloc_footprint(sizeof(*t)) + spans + arena_footprint(t->arena);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A trace's memory: assembled once, then shared by all who keep it. */
#include "trace/trace.h"

#include <stdlib.h>

#define FIRST_SIZE 4 /* most traces of one machine are short */

struct trace *trace_new(const struct trace_id *id)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->id = *id;
	t->root = -1;
	t->refs = 1;
	t->arena = arena_new(0);
	if (!t->arena) {
		free(t);
		return NULL;
	}
	return t;
}

bool trace_add(struct trace *t, const struct span *s)
{
	struct span *copy;

	if (t->span_cnt == t->size) {
		uint32_t size = t->size ? t->size * 2 : FIRST_SIZE;
		struct span **spans = realloc(t->spans, size * sizeof(struct span *));

		if (!spans)
			return false;
		t->spans = spans;
		t->size = size;
	}
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
	free(t->spans);
	arena_free(t->arena);
	free(t);
}

size_t trace_bytes(const struct trace *t)
{
	return sizeof(*t) + t->size * sizeof(struct span *) + arena_size(t->arena);
}

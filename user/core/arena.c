/* SPDX-License-Identifier: Apache-2.0 */
/* Bump allocation in a chain of blocks. */
#include "core/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK_MIN   1024
#define BLOCK_MAX   (64 * 1024)
#define RESET_KEEPS 4096

struct block {
	struct block *next;
	size_t used;
	size_t size; /* of data */
	_Alignas(8) char data[];
};

struct arena {
	struct block *head; /* the one being filled */
	size_t held;
	size_t footprint; /* of the blocks */
	size_t cap;
	bool exact;
};

struct arena *arena_new(size_t cap)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (a)
		a->cap = cap;
	return a;
}

struct arena *arena_new_exact(void)
{
	struct arena *a = arena_new(0);

	if (a)
		a->exact = true;
	return a;
}

size_t malloc_footprint(size_t size)
{
	return MAX((size + sizeof(size_t) + 15) & ~(size_t)15, (size_t)32);
}

static void free_blocks(struct block *b)
{
	while (b) {
		struct block *next = b->next;
		free(b);
		b = next;
	}
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	free_blocks(a->head);
	free(a);
}

static struct block *add_block(struct arena *a, size_t need)
{
	size_t size = a->head ? MIN(a->head->size * 2, (size_t)BLOCK_MAX) : BLOCK_MIN;
	struct block *b;

	size = a->exact ? need : MAX(size, need);
	if (a->cap && a->held + size > a->cap)
		size = need;
	if (a->cap && a->held + size > a->cap)
		return NULL;
	b = malloc(sizeof(*b) + size);
	if (!b)
		return NULL;
	b->next = a->head;
	b->used = 0;
	b->size = size;
	a->head = b;
	a->held += size;
	a->footprint += malloc_footprint(sizeof(*b) + size);
	return b;
}

void *arena_alloc_raw(struct arena *a, size_t size)
{
	size_t need = (size + 7) & ~(size_t)7;
	struct block *b = a->head;
	void *p;

	if (need < size)
		return NULL;
	if (!b || b->size - b->used < need) {
		b = add_block(a, need);
		if (!b)
			return NULL;
	}
	p = b->data + b->used;
	b->used += need;
	return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
	void *p = arena_alloc_raw(a, size);

	return p ? memset(p, 0, size) : NULL;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_alloc_raw(a, s.len + 1);

	if (!p)
		return (struct str){ NULL, 0 };
	if (s.len)
		memcpy(p, s.p, s.len);
	p[s.len] = 0;
	return (struct str){ p, s.len };
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	p = len < 0 ? NULL : arena_alloc_raw(a, (size_t)len + 1);
	if (!p)
		return (struct str){ NULL, 0 };
	va_start(ap, fmt);
	vsnprintf(p, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return (struct str){ p, (size_t)len };
}

void arena_reset(struct arena *a)
{
	struct block *kept = a->head;

	while (kept && kept->size > RESET_KEEPS) {
		struct block *next = kept->next;
		free(kept);
		kept = next;
	}
	a->head = kept;
	a->held = a->footprint = 0;
	if (!kept)
		return;
	free_blocks(kept->next);
	kept->next = NULL;
	kept->used = 0;
	a->held = kept->size;
	a->footprint = malloc_footprint(sizeof(*kept) + kept->size);
}

size_t arena_size(const struct arena *a)
{
	return a->held;
}

size_t arena_footprint(const struct arena *a)
{
	return a->footprint + malloc_footprint(sizeof(*a));
}

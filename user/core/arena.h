/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is freed all at once. Not thread-safe. A cap bounds what one arena may hold;
 * allocation returns NULL past it, and callers then drop and count.
 */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include "str.h"

struct arena;

/* cap: bytes in all, 0 for none. NULL without memory. */
struct arena *arena_new(size_t cap);
/* With blocks no larger than what is asked for: of few, large pieces that are kept long. */
struct arena *arena_new_exact(void);
void arena_free(struct arena *a);

/* Aligned to 8 and zeroed; NULL past the cap or without memory. */
void *arena_alloc(struct arena *a, size_t size);
/* The same, not zeroed: for what is written at once. */
void *arena_alloc_raw(struct arena *a, size_t size);

/* A copy, NUL-terminated after its len bytes; p is NULL when there was no room. */
struct str arena_str(struct arena *a, struct str s);
struct str arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Forgets every allocation; keeps the largest block that is at most 4 KiB, so that an arena that is
 * filled again and again soon stops allocating, and many kept ones stay small. */
void arena_reset(struct arena *a);

/* Bytes held, blocks included. */
size_t arena_size(const struct arena *a);
/* The memory that takes, with the blocks' heads, the arena itself and what malloc adds. */
size_t arena_footprint(const struct arena *a);
/* What malloc takes for so many bytes: a head of its own and what rounding leaves (glibc's). */
size_t malloc_footprint(size_t size);

#endif

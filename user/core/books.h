/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stage's books, in its own unit: in = out + held + dropped{reason}, at every moment that the
 * owner is between two pushes. One thread writes a book; any thread may read it. The registry is
 * what /metrics and `telltale status` show; books live as long as the process registers them.
 */
#ifndef CORE_BOOKS_H
#define CORE_BOOKS_H

#include <stdint.h>

#define BOOKS_REASONS 16

struct books {
	const char *stage;		   /* "ring", "stream", "proto", ... */
	const char *unit;		   /* "record", "chunk", "message", "span", "trace" */
	const char *reason[BOOKS_REASONS]; /* why something is dropped; NULL ends the list */
	uint64_t in;
	uint64_t out;
	uint64_t held;
	uint64_t dropped[BOOKS_REASONS];
};

static inline void book_add(uint64_t *field, uint64_t n)
{
	__atomic_store_n(field, __atomic_load_n(field, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline uint64_t book_read(const uint64_t *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

/* At most 64 books; -ENOSPC past that. The struct stays the caller's and must not move. */
int books_register(struct books *b);
void books_unregister(struct books *b);

/* Calls visit for each registered book, in order of registration. */
void books_each(void (*visit)(void *ctx, const struct books *b), void *ctx);

/* Other figures: a name without the telltale_ prefix, one line of help, a value read on demand. */
struct gauge {
	const char *name; /* "process_cpu_seconds_total" */
	const char *help;
	const char *type; /* "counter" or "gauge" */
	double (*read)(void *ctx);
	void *ctx;
};
int gauges_register(struct gauge *g);
void gauges_unregister(struct gauge *g);
/* Once for each name, in order of registration: values of one name, as of several receivers, are
 * added up. */
void gauges_each(void (*visit)(void *ctx, const struct gauge *g, double value), void *ctx);

#endif

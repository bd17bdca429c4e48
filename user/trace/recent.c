/* SPDX-License-Identifier: Apache-2.0 */
/* The newest traces, bounded by the memory they take. */
#include "trace/trace.h"

#include "core/books.h"

#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

enum { DROPPED_TOO_BIG, DROPPED_NO_MEMORY };

struct kept {
	struct trace *trace; /* counted */
	size_t bytes;
	struct kept *prev, *next;
};

struct recent {
	pthread_mutex_t lock;
	struct kept *list; /* newest first */
	size_t bytes;
	size_t max_bytes;
	struct books books;
	struct gauge bytes_gauge;
};

static void kept_free(struct kept *k)
{
	trace_put(k->trace);
	free(k);
}

static struct kept *kept_new(const struct trace *t)
{
	struct kept *k = malloc(sizeof(*k));

	if (!k)
		return NULL;
	k->trace = trace_get(t);
	k->bytes = sizeof(*k) + trace_bytes(t);
	return k;
}

static double read_bytes(void *ctx)
{
	return (double)__atomic_load_n((size_t *)ctx, __ATOMIC_RELAXED);
}

struct recent *recent_new(size_t max_bytes)
{
	struct recent *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	pthread_mutex_init(&r->lock, NULL);
	r->max_bytes = max_bytes;
	r->books = (struct books){
		.stage = "recent",
		.unit = "trace",
		.reason = { [DROPPED_TOO_BIG] = "too_big", [DROPPED_NO_MEMORY] = "no_memory" },
	};
	books_register(&r->books);
	r->bytes_gauge = (struct gauge){ .name = "recent_bytes",
					 .help = "memory of the traces that are kept",
					 .type = "gauge",
					 .read = read_bytes,
					 .ctx = &r->bytes };
	gauges_register(&r->bytes_gauge);
	return r;
}

static void add_bytes(struct recent *r, size_t bytes)
{
	__atomic_store_n(&r->bytes, r->bytes + bytes, __ATOMIC_RELAXED);
}

static void make_room(struct recent *r, size_t bytes)
{
	while (r->list && r->bytes + bytes > r->max_bytes) {
		struct kept *oldest = r->list->prev;

		DL_DELETE(r->list, oldest);
		add_bytes(r, -oldest->bytes);
		book_add(&r->books.held, -(uint64_t)1);
		book_add(&r->books.out, 1);
		kept_free(oldest);
	}
}

void recent_push(struct recent *r, const struct trace *t)
{
	struct kept *k = kept_new(t);

	pthread_mutex_lock(&r->lock);
	book_add(&r->books.in, 1);
	if (!k) {
		book_add(&r->books.dropped[DROPPED_NO_MEMORY], 1);
	} else if (k->bytes > r->max_bytes) {
		book_add(&r->books.dropped[DROPPED_TOO_BIG], 1);
		kept_free(k);
	} else {
		make_room(r, k->bytes);
		DL_PREPEND(r->list, k);
		add_bytes(r, k->bytes);
		book_add(&r->books.held, 1);
	}
	pthread_mutex_unlock(&r->lock);
}

void recent_each(struct recent *r, uint32_t limit, void (*visit)(void *ctx, const struct trace *t),
		 void *ctx)
{
	struct kept *k;

	pthread_mutex_lock(&r->lock);
	DL_FOREACH (r->list, k) {
		if (!limit--)
			break;
		visit(ctx, k->trace);
	}
	pthread_mutex_unlock(&r->lock);
}

void recent_free(struct recent *r)
{
	struct kept *k, *next;

	if (!r)
		return;
	DL_FOREACH_SAFE (r->list, k, next) {
		DL_DELETE(r->list, k);
		kept_free(k);
	}
	gauges_unregister(&r->bytes_gauge);
	books_unregister(&r->books);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/books.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define REGISTRY_MAX 256 /* an agent with every exporter has 90, each receiver more 11 of them */

struct registry {
	const void *item[REGISTRY_MAX];
	unsigned int cnt;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct registry all_books, all_gauges;

static int registry_add(struct registry *r, const void *item)
{
	int err = 0;

	pthread_mutex_lock(&lock);
	if (r->cnt == REGISTRY_MAX)
		err = -ENOSPC;
	else
		r->item[r->cnt++] = item;
	pthread_mutex_unlock(&lock);
	return err;
}

static void registry_remove(struct registry *r, const void *item)
{
	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < r->cnt; i++) {
		if (r->item[i] != item)
			continue;
		for (r->cnt--; i < r->cnt; i++)
			r->item[i] = r->item[i + 1];
	}
	pthread_mutex_unlock(&lock);
}

int books_register(struct books *b)
{
	return registry_add(&all_books, b);
}

void books_unregister(struct books *b)
{
	registry_remove(&all_books, b);
}

void books_each(void (*visit)(void *ctx, const struct books *b), void *ctx)
{
	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < all_books.cnt; i++)
		visit(ctx, all_books.item[i]);
	pthread_mutex_unlock(&lock);
}

int gauges_register(struct gauge *g)
{
	return registry_add(&all_gauges, g);
}

void gauges_unregister(struct gauge *g)
{
	registry_remove(&all_gauges, g);
}

static bool same_name(const struct gauge *a, unsigned int i)
{
	const struct gauge *b = all_gauges.item[i];

	return !strcmp(a->name, b->name);
}

void gauges_each(void (*visit)(void *ctx, const struct gauge *g, double value), void *ctx)
{
	pthread_mutex_lock(&lock);
	for (unsigned int i = 0, k; i < all_gauges.cnt; i++) {
		const struct gauge *g = all_gauges.item[i];
		double value = 0;

		for (k = 0; k < i && !same_name(g, k); k++)
			;
		if (k < i)
			continue;
		for (; k < all_gauges.cnt; k++) {
			const struct gauge *other = all_gauges.item[k];

			if (same_name(g, k))
				value += other->read(other->ctx);
		}
		visit(ctx, g, value);
	}
	pthread_mutex_unlock(&lock);
}

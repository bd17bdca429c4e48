/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters of blocks, the least lately used out first. Checked ones only.
 *
 * A search goes over all of them in one order: were each taken in when the cache is full, it would
 * always hold those that are needed last. So only one of many replaces another.
 */
#include "store/engine.h"

#include <stdlib.h>
#include <utlist.h>

#define REFUSED_PER_TAKEN 32u

static struct filter **slot_of(struct filter_cache *c, uint64_t part, uint64_t id)
{
	/* ids count up: neighbours get slots of their own */
	return &c->slot[(part * 2654435761u + id) % ARRAY_LEN(c->slot)];
}

struct filter *filter_new(uint64_t part, uint64_t id, struct str data)
{
	struct filter *f = malloc(sizeof(*f) + data.len);

	if (!f)
		return NULL;
	*f = (struct filter){ .part = part, .id = id, .len = data.len, .refs = 1 };
	if (data.len)
		memcpy(f->data, data.p, data.len);
	return f;
}

void filter_release(struct filter *f)
{
	if (f && !__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
		free(f);
}

void cache_init(struct filter_cache *c)
{
	pthread_mutex_init(&c->lock, NULL);
}

static void evict(struct filter_cache *c, struct filter *f)
{
	struct filter **at = slot_of(c, f->part, f->id);

	while (*at != f)
		at = &(*at)->chain;
	*at = f->chain;
	DL_DELETE(c->first, f);
	c->bytes -= sizeof(*f) + f->len;
	filter_release(f);
}

void cache_fini(struct filter_cache *c)
{
	while (c->first)
		evict(c, c->first);
	pthread_mutex_destroy(&c->lock);
}

static struct filter *find(struct filter_cache *c, uint64_t part, uint64_t id)
{
	struct filter *f = *slot_of(c, part, id);

	while (f && (f->part != part || f->id != id))
		f = f->chain;
	return f;
}

struct filter *cache_find(struct filter_cache *c, uint64_t part, uint64_t id)
{
	struct filter *f;

	pthread_mutex_lock(&c->lock);
	f = find(c, part, id);
	if (f) {
		DL_DELETE(c->first, f);
		DL_APPEND(c->first, f);
		__atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&c->lock);
	return f;
}

static bool admits(struct filter_cache *c, const struct filter *f)
{
	if (c->bytes + sizeof(*f) + f->len <= FILTER_CACHE_SIZE)
		return true;
	return ++c->refused % REFUSED_PER_TAKEN == 0;
}

void cache_put(struct filter_cache *c, struct filter *f)
{
	struct filter **at = slot_of(c, f->part, f->id);

	pthread_mutex_lock(&c->lock);
	if (!find(c, f->part, f->id) && admits(c, f)) {
		__atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
		f->chain = *at;
		*at = f;
		DL_APPEND(c->first, f);
		c->bytes += sizeof(*f) + f->len;
		while (c->bytes > FILTER_CACHE_SIZE)
			evict(c, c->first);
	}
	pthread_mutex_unlock(&c->lock);
}

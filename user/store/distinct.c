/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many traces there are among spans that come in any order. Two sets of hashes: when the young
 * one is full it becomes the old one. Exact as long as a trace's spans come within HALF others.
 */
#include "store/engine.h"

#include <stdlib.h>
#include <xxhash.h>

#define HALF  (1u << 17)
#define SLOTS (2 * HALF)

struct distinct {
	struct trace_id last;
	uint64_t *young, *old; /* 0: empty */
	uint32_t cnt;	       /* in 'young' */
};

struct distinct *distinct_new(void)
{
	struct distinct *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->young = calloc(SLOTS, sizeof(uint64_t));
	d->old = calloc(SLOTS, sizeof(uint64_t));
	if (!d->young || !d->old) {
		distinct_free(d);
		return NULL;
	}
	return d;
}

void distinct_free(struct distinct *d)
{
	if (!d)
		return;
	free(d->young);
	free(d->old);
	free(d);
}

void distinct_reset(struct distinct *d)
{
	memset(d->young, 0, SLOTS * sizeof(uint64_t));
	memset(d->old, 0, SLOTS * sizeof(uint64_t));
	memset(&d->last, 0, sizeof(d->last));
	d->cnt = 0;
}

/* The slot of this hash, or the empty one where it would be. */
static uint64_t *slot_of(uint64_t *set, uint64_t hash)
{
	uint32_t at = (uint32_t)hash % SLOTS;

	while (set[at] && set[at] != hash)
		at = (at + 1) % SLOTS;
	return &set[at];
}

bool distinct_add(struct distinct *d, const struct trace_id *id)
{
	uint64_t hash, *slot, *swap;
	bool known;

	/* spans of a trace mostly come together */
	if (memcmp(&d->last, id, sizeof(*id)) == 0)
		return false;
	d->last = *id;
	hash = XXH3_64bits(id->b, sizeof(id->b)) | 1;
	slot = slot_of(d->young, hash);
	if (*slot)
		return false;
	known = *slot_of(d->old, hash) != 0;
	*slot = hash;
	if (++d->cnt == HALF) {
		swap = d->old;
		d->old = d->young;
		d->young = swap;
		memset(d->young, 0, SLOTS * sizeof(uint64_t));
		d->cnt = 0;
	}
	return !known;
}

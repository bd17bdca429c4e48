/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that waited while the server was away. Their senders gave up waiting and send them again,
 * in batches of other rows, which no token of the server's can know: here they are known by their
 * bytes, and wait for the row that is queued, or was stored, already. Under the engine's lock.
 */
#include "store/clickhouse.h"

#include "core/clock.h"

#include <stdlib.h>

#define ROWS_MAX (1u << 19)	  /* remembered; 24 bytes each, at half load */
#define KEPT_NS	 (600 * NS_PER_S) /* senders give up sooner */

struct known_row {
	XXH128_hash_t hash;
	uint64_t batch; /* 0: a free slot; FORGOTTEN */
};
#define FORGOTTEN UINT64_MAX

static struct known_row *find_slot(const struct ch_again *a, XXH128_hash_t hash)
{
	size_t i = hash.low64 & (a->size - 1);

	while (a->slot[i].batch && !XXH128_isEqual(a->slot[i].hash, hash))
		i = (i + 1) & (a->size - 1);
	return &a->slot[i];
}

static bool make_room(struct ch_again *a)
{
	struct ch_again more = { .size = a->size ? 2 * a->size : 4096, .until_ns = a->until_ns };

	if (2 * (a->cnt + 1) <= a->size)
		return true;
	if (a->cnt >= ROWS_MAX)
		return false;
	more.slot = calloc(more.size, sizeof(*more.slot));
	if (!more.slot)
		return false;
	for (size_t i = 0; i < a->size; i++)
		if (a->slot[i].batch && a->slot[i].batch != FORGOTTEN) {
			*find_slot(&more, a->slot[i].hash) = a->slot[i];
			more.cnt++;
		}
	again_fini(a);
	*a = more;
	return true;
}

static void remember(struct ch_again *a, XXH128_hash_t hash, uint64_t batch)
{
	struct known_row *row;

	if (!make_room(a))
		return;
	row = find_slot(a, hash);
	a->cnt += !row->batch;
	*row = (struct known_row){ hash, batch };
}

static void remember_batch(struct ch_again *a, struct ch_batch *b)
{
	const char *end = b->hashes.p + b->hashes.len;
	XXH128_hash_t hash;

	for (const char *p = b->hashes.p + b->remembered; p < end; p += sizeof(hash)) {
		memcpy(&hash, p, sizeof(hash));
		remember(a, hash, b->seq);
	}
	b->remembered = b->hashes.len;
}

void again_failed(struct clickhouse *c)
{
	c->again.until_ns = clock_mono_ns() + KEPT_NS;
	for (struct ch_batch *b = c->first; b; b = b->next)
		remember_batch(&c->again, b);
	if (c->open)
		remember_batch(&c->again, c->open);
}

uint64_t again_find(struct clickhouse *c, XXH128_hash_t hash)
{
	struct ch_again *a = &c->again;
	const struct known_row *row;

	if (!a->size)
		return 0;
	if (clock_mono_ns() > a->until_ns) {
		again_fini(a);
		return 0;
	}
	row = find_slot(a, hash);
	return row->batch == FORGOTTEN ? 0 : row->batch;
}

void again_forget(struct clickhouse *c, uint64_t batch)
{
	for (size_t i = 0; i < c->again.size; i++)
		if (c->again.slot[i].batch == batch)
			c->again.slot[i].batch = FORGOTTEN;
}

void again_fini(struct ch_again *a)
{
	free(a->slot);
	*a = (struct ch_again){ 0 };
}

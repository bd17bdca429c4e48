/* SPDX-License-Identifier: Apache-2.0 */
/* The exchanges of a PostgreSQL connection that are under way. */
#include "proto/postgres_internal.h"

#include <stdlib.h>

static uint8_t *queue_at(const struct pg_state *st, uint32_t i)
{
	return &st->queue[(st->queue_head + i) % st->queue_size];
}

static bool queue_grow(struct pg_state *st)
{
	uint32_t size = st->queue_size ? st->queue_size * 2 : 16;
	uint8_t *queue;

	if (size > PG_QUEUE_MAX)
		return false;
	queue = malloc(size);
	if (!queue)
		return false;
	for (uint32_t i = 0; i < st->queue_cnt; i++)
		queue[i] = *queue_at(st, i);
	free(st->queue);
	st->queue = queue;
	st->queue_size = size;
	st->queue_head = 0;
	return true;
}

bool pg_queue_push(struct pg_state *st, uint8_t end)
{
	/* once something was lost, order is kept by losing all up to its ReadyForQuery */
	if (st->losing || st->lost_syncs || (st->queue_cnt == st->queue_size && !queue_grow(st))) {
		st->losing = !(end & PG_SYNC);
		if (end & PG_SYNC)
			st->lost_syncs++;
		return false;
	}
	*queue_at(st, st->queue_cnt++) = end;
	return true;
}

void pg_queue_sync(struct pg_state *st)
{
	uint8_t *tail = st->queue_cnt ? queue_at(st, st->queue_cnt - 1) : NULL;

	if (st->losing || st->lost_syncs || !tail || *tail & PG_SYNC)
		pg_queue_push(st, PG_END_SYNC | PG_SYNC);
	else
		*tail |= PG_SYNC;
}

int pg_queue_head(const struct pg_state *st)
{
	return st->queue_cnt ? *queue_at(st, 0) : -1;
}

void pg_queue_pop(struct pg_state *st)
{
	if (!st->queue_cnt)
		return;
	st->queue_head = (st->queue_head + 1) % st->queue_size;
	st->queue_cnt--;
}

void pg_queue_done(struct pg_state *st)
{
	uint8_t *head = st->queue_cnt ? queue_at(st, 0) : NULL;

	if (head && *head & PG_SYNC)
		*head = PG_END_SYNC | PG_SYNC;
	else
		pg_queue_pop(st);
}

bool pg_queue_single(const struct pg_state *st)
{
	uint32_t exchanges = 0, syncs = 0;

	for (uint32_t i = 0; i < st->queue_cnt; i++) {
		uint8_t end = *queue_at(st, i);
		exchanges += (end & PG_END_KIND) != PG_END_SYNC;
		syncs += !!(end & PG_SYNC);
		if (exchanges > 1 || syncs > 1)
			return false;
	}
	return true;
}

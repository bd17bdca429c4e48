/* SPDX-License-Identifier: Apache-2.0 */
/* The open connections: by id, by time of last use, and memory for the next ones. */
#include "stream/internal.h"

#include <stdlib.h>

/* Closed connections whose memory is kept: a burst's worth, not a peak's. */
#define SPARE_MAX 1024

struct entry *table_find(struct table *t, uint64_t id)
{
	struct entry *e = t->latest;

	if (e && e->conn.id == id)
		return e;
	HASH_FIND(hh, t->by_id, &id, sizeof(id), e);
	if (e)
		t->latest = e;
	return e;
}

struct entry *table_add(struct table *t, uint64_t id, enum idle_list list)
{
	struct entry *e = t->spare;

	if (e) {
		t->spare = e->next;
		t->spare_cnt--;
		memset(e, 0, sizeof(*e));
	} else {
		e = calloc(1, sizeof(*e));
		if (!e)
			return NULL;
	}
	e->conn.id = id;
	e->list = list;
	HASH_ADD(hh, t->by_id, conn.id, sizeof(e->conn.id), e);
	if (!e->hh.tbl) { /* the hash had no memory */
		free(e);
		return NULL;
	}
	DL_APPEND(t->idle[list], e);
	t->cnt++;
	return e;
}

void table_touch(struct table *t, struct entry *e, enum idle_list list, uint64_t now_ns)
{
	e->used_ns = now_ns;
	if (e->list == list && !e->next)
		return; /* the last one already */
	DL_DELETE(t->idle[e->list], e);
	e->list = list;
	DL_APPEND(t->idle[list], e);
}

struct entry *table_oldest(struct table *t)
{
	struct entry *oldest = NULL;

	for (int i = 0; i < IDLE_LISTS; i++) {
		struct entry *e = t->idle[i];

		if (e && (!oldest || e->used_ns < oldest->used_ns))
			oldest = e;
	}
	return oldest;
}

void table_remove(struct table *t, struct entry *e)
{
	HASH_DEL(t->by_id, e);
	DL_DELETE(t->idle[e->list], e);
	if (t->latest == e)
		t->latest = NULL;
	t->cnt--;
	if (t->spare_cnt == SPARE_MAX) {
		free(e);
		return;
	}
	e->next = t->spare;
	t->spare = e;
	t->spare_cnt++;
}

void table_fini(struct table *t)
{
	struct entry *e, *next;

	HASH_ITER (hh, t->by_id, e, next) {
		HASH_DEL(t->by_id, e);
		free(e);
	}
	while ((e = t->spare)) {
		t->spare = e->next;
		free(e);
	}
}

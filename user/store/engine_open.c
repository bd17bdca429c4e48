/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks that stay open between two looks. A search looks at the same few again and again: to find
 * traces, to put them in order, to load them. Kept are those that had what was looked for, the ones
 * used last; what a search without hits goes over drives nothing out.
 */
#include "store/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#define OPEN_BYTES (24u << 20)
#define EACH_BYTES (OPEN_BYTES / 4)

void open_cache_init(struct open_cache *c)
{
	pthread_mutex_init(&c->lock, NULL);
}

static void body_free(struct body *b)
{
	body_close(b);
	free(b);
}

void open_cache_fini(struct open_cache *c)
{
	struct body *b, *next;

	DL_FOREACH_SAFE (c->first, b, next)
		body_free(b);
	c->first = NULL;
	pthread_mutex_destroy(&c->lock);
}

static struct body *take(struct open_cache *c, uint64_t part, uint64_t id)
{
	struct body *b;

	pthread_mutex_lock(&c->lock);
	DL_FOREACH (c->first, b)
		if (b->part == part && b->id == id)
			break;
	if (b) {
		DL_DELETE(c->first, b);
		c->bytes -= b->bytes;
	}
	pthread_mutex_unlock(&c->lock);
	return b;
}

int view_borrow(struct view *v, const struct block_row *row, struct body **ret_body)
{
	struct body *b = take(&v->part->engine->open_blocks, v->part->seq, row->id);
	int err;

	if (b) {
		b->view = v;
		*ret_body = b;
		return 0;
	}
	b = malloc(sizeof(*b));
	if (!b)
		return -ENOMEM;
	err = view_body(v, row, b);
	if (err)
		free(b);
	else
		*ret_body = b;
	return err;
}

void view_give_back(struct view *v, struct body *b, bool keep)
{
	struct open_cache *c = &v->part->engine->open_blocks;
	struct body *last;

	sqlite3_blob_close(b->blob); /* of this view's snapshot */
	b->blob = NULL;
	b->view = NULL;
	b->bytes = block_held(b->block) + b->plain.size;
	if (!keep || b->bytes > EACH_BYTES) {
		body_free(b);
		return;
	}
	pthread_mutex_lock(&c->lock);
	DL_PREPEND(c->first, b);
	c->bytes += b->bytes;
	while (c->bytes > OPEN_BYTES) {
		last = c->first->prev;
		DL_DELETE(c->first, last);
		c->bytes -= last->bytes;
		body_free(last);
	}
	pthread_mutex_unlock(&c->lock);
}

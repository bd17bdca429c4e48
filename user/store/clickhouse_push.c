/* SPDX-License-Identifier: Apache-2.0 */
/* What producers call: spans become rows outside the lock and are appended to the open batch. */
#include "store/clickhouse.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#define BATCH_BYTES ((size_t)8 << 20) /* an insert has so many at most, or one row */

void batch_free(struct ch_batch *b)
{
	if (!b)
		return;
	buf_fini(&b->rows);
	buf_fini(&b->hashes);
	free(b->waiting);
	free(b);
}

struct store_writer *ch_writer_new(struct store *s)
{
	struct clickhouse *c = (struct clickhouse *)s;
	struct ch_writer *w = c->cfg.read_only ? NULL : calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->base.store = s;
	pthread_mutex_lock(&c->lock);
	DL_APPEND(c->writers, w);
	pthread_mutex_unlock(&c->lock);
	return &w->base;
}

void ch_writer_free(struct store_writer *sw)
{
	struct clickhouse *c = (struct clickhouse *)sw->store;
	struct ch_writer *w = (struct ch_writer *)sw;

	pthread_mutex_lock(&c->lock);
	DL_DELETE(c->writers, w);
	pthread_mutex_unlock(&c->lock);
	resource_put(w->resource);
	buf_fini(&w->resource_text);
	buf_fini(&w->row);
	free(w);
}

void ch_close_batch(struct clickhouse *c)
{
	LL_APPEND(c->first, c->open);
	c->open = NULL;
	pthread_cond_signal(&c->wake);
}

static int open_batch(struct clickhouse *c)
{
	c->open = calloc(1, sizeof(*c->open));
	if (!c->open)
		return -ENOMEM;
	c->open->seq = ++c->seq;
	c->open->since_ns = clock_mono_ns();
	pthread_cond_signal(&c->wake);
	return 0;
}

static int add(struct clickhouse *c, struct str row, XXH128_hash_t hash)
{
	int err = 0;

	if (c->refusing)
		return c->refusing;
	if (row.len > c->cfg.queue_bytes)
		return -E2BIG;
	if (c->queued + row.len > c->cfg.queue_bytes) {
		if (c->open) /* it waits for more no longer */
			ch_close_batch(c);
		return -EAGAIN;
	}
	if (c->open && c->open->rows.len + row.len > BATCH_BYTES)
		ch_close_batch(c);
	if (!c->open)
		err = open_batch(c);
	if (!err)
		err = buf_reserve(&c->open->hashes, sizeof(hash));
	if (!err)
		err = buf_add_str(&c->open->rows, row);
	if (err)
		return err;
	buf_add(&c->open->hashes, &hash, sizeof(hash));
	c->queued += row.len;
	c->open->spans++;
	return 0;
}

/* The sync waits for that batch too. */
static void note_batch(struct ch_writer *w, uint64_t seq)
{
	w->last = MAX(w->last, seq);
	w->first = w->first ? MIN(w->first, seq) : seq;
}

static void note_dropped(struct clickhouse *c, struct ch_writer *w, int err)
{
	enum ch_drop why = err == -EAGAIN   ? CH_QUEUE_FULL
			   : err == -ENOSPC ? CH_DISK_FULL
			   : err == -E2BIG  ? CH_TOO_LARGE
					    : CH_NO_MEMORY;

	book_add(&c->books.dropped[why], 1);
	/* sending a span again that is too large would end the same way */
	if (err == -E2BIG)
		w->too_large++;
	else
		w->err = err;
}

void ch_writer_push(struct store_writer *sw, const struct span *s)
{
	struct clickhouse *c = (struct clickhouse *)sw->store;
	struct ch_writer *w = (struct ch_writer *)sw;
	XXH128_hash_t hash;
	uint64_t before;
	int err;

	buf_clear(&w->row);
	err = row_write(w, s, &w->row);
	hash = XXH3_128bits(w->row.p, w->row.len);
	pthread_mutex_lock(&c->lock);
	book_add(&c->books.in, 1);
	before = err ? 0 : again_find(c, hash);
	if (!err && !before)
		err = add(c, buf_str(&w->row), hash);
	if (before) {
		book_add(&c->books.dropped[CH_SENT_AGAIN], 1);
		note_batch(w, before);
	} else if (err) {
		note_dropped(c, w, err);
	} else {
		book_add(&c->books.held, 1);
		note_batch(w, c->open->seq);
	}
	pthread_mutex_unlock(&c->lock);
}

static struct ch_batch *find_batch(struct clickhouse *c, uint64_t seq)
{
	struct ch_batch *b = c->first;

	while (b && b->seq != seq)
		b = b->next;
	return b ? b : c->open;
}

/* Puts the ack with the last batch that has spans of the writer: they are sent in order. */
static int wait_with(struct clickhouse *c, struct ch_writer *w, struct store_ack ack)
{
	struct ch_batch *b = find_batch(c, w->last);
	struct ch_waiting *more;
	size_t size;

	if (b->waiting_cnt == b->waiting_size) {
		size = b->waiting_size ? 2 * b->waiting_size : 64;
		more = realloc(b->waiting, size * sizeof(*more));
		if (!more)
			return -ENOMEM;
		b->waiting = more;
		b->waiting_size = size;
	}
	b->waiting[b->waiting_cnt++] = (struct ch_waiting){
		.ack = ack, .first = w->first, .err = w->too_large, .since_ns = clock_mono_ns()
	};
	pthread_cond_signal(&c->wake);
	return 0;
}

void ch_writer_sync(struct store_writer *sw, struct store_ack ack)
{
	struct clickhouse *c = (struct clickhouse *)sw->store;
	struct ch_writer *w = (struct ch_writer *)sw;
	bool now = true;
	int err;

	pthread_mutex_lock(&c->lock);
	err = w->err;
	if (!err && w->last > c->done_seq) {
		err = wait_with(c, w, ack);
		now = err != 0;
	}
	if (now && !err)
		err = w->too_large;
	w->err = w->too_large = 0;
	w->first = 0;
	pthread_mutex_unlock(&c->lock);
	if (now)
		ack.done(ack.ctx, err);
}

int ch_admits(struct store *s)
{
	struct clickhouse *c = (struct clickhouse *)s;
	int err;

	if (c->cfg.read_only)
		return -EROFS;
	pthread_mutex_lock(&c->lock);
	err = c->refusing;
	if (!err && c->queued >= c->cfg.queue_bytes)
		err = -EAGAIN;
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What producers call: spans into the open head, under one lock that nobody holds for long. */
#include "store/engine.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#define SPARE_MAX 2
/* A head of so many spans may end before it is full, and in this part of its time before it is due.
 */
#define NEARLY_FULL (BLOCK_SPANS_MAX / 4 * 3)
#define EARLY	    4

void head_free(struct head *h)
{
	struct head *next;

	for (; h; h = next) {
		next = h->next;
		block_builder_free(h->builder);
		free(h->waiting);
		free(h);
	}
}

size_t engine_queued(struct engine *e)
{
	return e->closed.bytes + e->flying.bytes + (e->open ? block_memory(e->open->builder) : 0);
}

struct store_writer *engine_writer_new(struct store *s)
{
	struct engine *e = (struct engine *)s;
	struct writer *w = e->cfg.read_only ? NULL : calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->base.store = s;
	pthread_mutex_lock(&e->lock);
	DL_APPEND(e->writers, w);
	pthread_mutex_unlock(&e->lock);
	return &w->base;
}

void engine_writer_free(struct store_writer *sw)
{
	struct engine *e = (struct engine *)sw->store;
	struct writer *w = (struct writer *)sw;

	pthread_mutex_lock(&e->lock);
	DL_DELETE(e->writers, w);
	pthread_mutex_unlock(&e->lock);
	free(w);
}

static int open_head(struct engine *e)
{
	struct head *h = e->spare;

	if (h) {
		e->spare = h->next;
		e->spare_cnt--;
	} else {
		h = calloc(1, sizeof(*h));
		if (!h)
			return -ENOMEM;
		h->builder = block_builder_new();
		if (!h->builder) {
			free(h);
			return -ENOMEM;
		}
	}
	h->next = NULL;
	h->epoch = ++e->epoch;
	h->since_ns = clock_mono_ns();
	h->traces = h->spans = 0;
	h->waiting_cnt = 0;
	h->full = false;
	e->open = h;
	pthread_cond_signal(&e->commit_wake);
	return 0;
}

void engine_close_head(struct engine *e)
{
	struct head *h = e->open;

	h->bytes = block_memory(h->builder);
	e->closed.bytes += h->bytes;
	*e->closed.end = h;
	e->closed.end = &h->next;
	e->open = NULL;
	pthread_cond_signal(&e->commit_wake);
}

void engine_recycle(struct engine *e, struct head *h)
{
	h->next = NULL;
	/* a builder that was not sealed still has its spans */
	if (e->spare_cnt >= SPARE_MAX || block_spans(h->builder)) {
		head_free(h);
		return;
	}
	h->next = e->spare;
	e->spare = h;
	e->spare_cnt++;
}

static int add(struct engine *e, const struct span *s)
{
	int err = 0;

	if (e->refusing)
		return e->refusing;
	if (engine_queued(e) >= e->cfg.queue_bytes)
		return -EAGAIN;
	if (!e->open)
		err = open_head(e);
	if (!err)
		err = block_add(e->open->builder, s);
	if (err == -ENOSPC && e->open->spans) {
		e->open->full = true;
		engine_close_head(e);
		err = open_head(e);
		if (!err)
			err = block_add(e->open->builder, s);
	}
	if (err)
		return err == -ENOSPC ? -E2BIG : err; /* too large for an empty one */
	e->open->spans++;
	e->open->traces += distinct_add(e->distinct, &s->trace_id);
	return 0;
}

static void note_dropped(struct engine *e, struct writer *w, int err)
{
	enum drop_reason why = err == -EAGAIN	? DROP_QUEUE_FULL
			       : err == -ENOSPC ? DROP_DISK_FULL
			       : err == -E2BIG	? DROP_TOO_LARGE
			       : err == -ENOMEM ? DROP_NO_MEMORY
						: DROP_IO_ERROR;

	book_add(&e->books.dropped[why], 1);
	/* sending a span again that is too large would end the same way */
	if (err == -E2BIG)
		w->too_large++;
	else
		w->err = err;
}

void engine_push(struct store_writer *sw, const struct span *s)
{
	struct engine *e = (struct engine *)sw->store;
	struct writer *w = (struct writer *)sw;
	int err;

	pthread_mutex_lock(&e->lock);
	book_add(&e->books.in, 1);
	err = add(e, s);
	if (err) {
		note_dropped(e, w, err);
	} else {
		book_add(&e->books.held, 1);
		w->last = e->open->epoch;
		w->pushed++;
		if (!w->first) {
			w->first = w->last;
			w->since_ns = clock_mono_ns();
		}
	}
	pthread_mutex_unlock(&e->lock);
}

static struct head *find_head(struct engine *e, uint64_t epoch)
{
	struct head *h;

	if (e->open && e->open->epoch == epoch)
		return e->open;
	for (h = e->closed.first; h; h = h->next)
		if (h->epoch == epoch)
			return h;
	for (h = e->flying.first; h; h = h->next)
		if (h->epoch == epoch)
			return h;
	return NULL;
}

bool engine_midway(const struct engine *e, const struct writer *but)
{
	for (const struct writer *w = e->writers; w; w = w->next)
		if (w != but && w->first)
			return true;
	return false;
}

/*
 * What a writer pushed between two syncs, a request mostly, has whole traces, which are searched
 * most quickly in one block. So a head ends with such a batch where it can: when another as large
 * might not fit, or would end about when the head is due.
 */
static bool ends_here(struct engine *e, const struct writer *w)
{
	const struct head *h = e->open;
	uint64_t wait_ns = e->cfg.commit_ms * NS_PER_MS, now = clock_mono_ns();

	e->batch_ns = MAX(now - w->since_ns, e->batch_ns - e->batch_ns / 8);
	if (engine_midway(e, w))
		return false; /* another's would be cut instead */
	if (h->spans >= NEARLY_FULL && h->spans + w->pushed > BLOCK_SPANS_MAX)
		return true;
	return h->waiting_cnt && now + MIN(e->batch_ns, wait_ns / EARLY) >= h->since_ns + wait_ns;
}

/* Puts the ack with the last head that has spans of the writer. */
static int wait_with(struct engine *e, struct writer *w, struct store_ack ack)
{
	struct head *h = find_head(e, w->last);
	struct waiting *more;
	size_t size;

	if (h->waiting_cnt == h->waiting_size) {
		size = h->waiting_size ? 2 * h->waiting_size : 64;
		more = realloc(h->waiting, size * sizeof(*more));
		if (!more)
			return -ENOMEM;
		h->waiting = more;
		h->waiting_size = size;
	}
	h->waiting[h->waiting_cnt++] =
		(struct waiting){ .ack = ack, .first = w->first, .err = w->too_large };
	if (h->waiting_cnt == 1)
		h->asked_ns = clock_mono_ns();
	if (h == e->open && h->waiting_cnt == 1)
		pthread_cond_signal(&e->commit_wake);
	return 0;
}

void engine_sync(struct store_writer *sw, struct store_ack ack)
{
	struct engine *e = (struct engine *)sw->store;
	struct writer *w = (struct writer *)sw;
	bool now = true;
	int err;

	pthread_mutex_lock(&e->lock);
	err = w->err;
	if (!err && w->last > e->done_epoch) {
		err = wait_with(e, w, ack);
		now = err != 0;
	}
	if (now && !err)
		err = w->too_large;
	if (e->open && w->pushed && ends_here(e, w))
		engine_close_head(e);
	w->err = w->too_large = 0;
	w->first = 0;
	w->pushed = 0;
	pthread_mutex_unlock(&e->lock);
	if (now)
		ack.done(ack.ctx, err);
}

int engine_admits(struct store *s)
{
	struct engine *e = (struct engine *)s;
	int err;

	if (e->cfg.read_only)
		return -EROFS;
	pthread_mutex_lock(&e->lock);
	err = e->refusing;
	if (!err && engine_queued(e) >= e->cfg.queue_bytes)
		err = -EAGAIN;
	pthread_mutex_unlock(&e->lock);
	return err;
}

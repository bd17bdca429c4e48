/* SPDX-License-Identifier: Apache-2.0 */
/* Spans as they come, to bounded buffers, as server-sent events (HTML standard, section 9.2). */
#include "api/live.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

#include "core/books.h"
#include "core/buf.h"
#include "core/clock.h"
#include "export/export.h"

#define HEARTBEAT_NS (15 * NS_PER_S)
#define EVENT_MAX    (64u << 10)

enum { DROPPED_SLOW, DROPPED_GONE, DROPPED_TOO_BIG, DROPPED_NO_MEMORY };

struct live_client {
	struct api_live *live;
	struct live_filter filter;
	struct buf buf;
	size_t read;	/* bytes of buf that were taken */
	uint64_t spans; /* in buf */
	uint64_t heard_ns;
	bool ended;
	bool paused;
	void (*pause)(void *ctx);
	void (*resume)(void *ctx);
	void *ctx;
	struct live_client *prev, *next;
};

struct api_live {
	pthread_mutex_t lock;
	struct live_client *list;
	uint32_t cnt; /* read without the lock, too */
	bool stopping;
	struct buf event;   /* being written */
	struct books books; /* one span to one follower */
};

struct api_live *live_new(void)
{
	struct api_live *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	l->event.cap = EVENT_MAX;
	l->books = (struct books){ .stage = "live",
				   .unit = "span",
				   .reason = { [DROPPED_SLOW] = "slow_client",
					       [DROPPED_GONE] = "client_gone",
					       [DROPPED_TOO_BIG] = "too_big",
					       [DROPPED_NO_MEMORY] = "no_memory" } };
	books_register(&l->books);
	return l;
}

void live_free(struct api_live *l)
{
	if (!l)
		return;
	books_unregister(&l->books);
	buf_fini(&l->event);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* ---- under the lock ---- */

static void wake(struct live_client *c)
{
	if (c->paused)
		c->resume(c->ctx);
	c->paused = false;
}

static void forget_spans(struct live_client *c, int reason)
{
	struct books *b = &c->live->books;

	book_add(&b->held, -c->spans);
	book_add(reason < 0 ? &b->out : &b->dropped[reason], c->spans);
	c->spans = 0;
}

static void end_client(struct live_client *c, int reason)
{
	c->ended = true;
	forget_spans(c, reason);
	wake(c);
}

/* False when there is no room, also after moving what is left to the front. */
static bool append(struct live_client *c, struct str s)
{
	if (c->read && c->buf.len + s.len > LIVE_BUFFER_MAX) {
		buf_consume(&c->buf, c->read);
		c->read = 0;
	}
	if (c->buf.len + s.len > LIVE_BUFFER_MAX || buf_add_str(&c->buf, s))
		return false;
	wake(c);
	return true;
}

static bool wants(const struct live_filter *f, const struct span *s)
{
	return (!f->service[0] || str_eq(str_of(f->service), s->resource->service)) &&
	       s->end_ns - s->start_ns >= f->min_duration_ns &&
	       (!f->errors || s->status == STATUS_ERROR);
}

static bool write_event(struct api_live *l, const struct span *s)
{
	buf_clear(&l->event);
	buf_add_str(&l->event, STR("event: span\ndata: "));
	if (otlp_encode_json(&s, 1, &l->event))
		return false;
	buf_add_str(&l->event, STR("\n\n"));
	return !l->event.failed;
}

static void offer(struct live_client *c, const struct span *s, bool *written, bool *failed)
{
	struct books *b = &c->live->books;

	if (c->ended || !wants(&c->filter, s))
		return;
	if (!*written && !*failed) {
		*failed = !write_event(c->live, s);
		*written = true;
	}
	book_add(&b->in, 1);
	if (*failed) {
		book_add(&b->dropped[DROPPED_TOO_BIG], 1);
		return;
	}
	book_add(&b->held, 1);
	c->spans++;
	if (!append(c, buf_str(&c->live->event)))
		end_client(c, DROPPED_SLOW);
}

/* ---- from any thread ---- */

void live_push(struct api_live *l, const struct span *s)
{
	struct live_client *c;
	bool written = false, failed = false;

	if (!__atomic_load_n(&l->cnt, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&l->lock);
	DL_FOREACH (l->list, c)
		offer(c, s, &written, &failed);
	pthread_mutex_unlock(&l->lock);
}

void live_tick(struct api_live *l, uint64_t now_ns)
{
	struct live_client *c;

	pthread_mutex_lock(&l->lock);
	DL_FOREACH (l->list, c) {
		if (!c->heard_ns)
			c->heard_ns = now_ns;
		if (c->ended || now_ns - c->heard_ns < HEARTBEAT_NS)
			continue;
		c->heard_ns = now_ns;
		if (c->paused)
			append(c, STR(": still here\n\n"));
	}
	pthread_mutex_unlock(&l->lock);
}

void live_stop(struct api_live *l)
{
	struct live_client *c;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	DL_FOREACH (l->list, c)
		end_client(c, DROPPED_GONE);
	pthread_mutex_unlock(&l->lock);
}

int live_join(struct api_live *l, const struct live_filter *f, struct live_client **ret_client)
{
	struct live_client *c = calloc(1, sizeof(*c));
	int err = c ? 0 : -ENOMEM;

	if (!c)
		return err;
	c->live = l;
	c->filter = *f;
	c->buf.cap = LIVE_BUFFER_MAX;
	buf_add_str(&c->buf, STR(": following\n\n"));
	pthread_mutex_lock(&l->lock);
	err = l->stopping ? -ESHUTDOWN : l->cnt == LIVE_CLIENTS_MAX ? -EAGAIN : 0;
	if (!err) {
		DL_APPEND(l->list, c);
		__atomic_store_n(&l->cnt, l->cnt + 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&l->lock);
	if (err) {
		buf_fini(&c->buf);
		free(c);
		return err;
	}
	*ret_client = c;
	return 0;
}

void live_attach(struct live_client *c, void (*pause)(void *ctx), void (*resume)(void *ctx),
		 void *ctx)
{
	pthread_mutex_lock(&c->live->lock);
	c->pause = pause;
	c->resume = resume;
	c->ctx = ctx;
	pthread_mutex_unlock(&c->live->lock);
}

ssize_t live_read(struct live_client *c, char *to, size_t size)
{
	ssize_t n = -1;

	pthread_mutex_lock(&c->live->lock);
	if (c->ended)
		goto out;
	n = (ssize_t)MIN(size, c->buf.len - c->read);
	if (n) {
		memcpy(to, c->buf.p + c->read, (size_t)n);
		c->read += (size_t)n;
	} else if (c->pause) {
		c->paused = true;
		c->pause(c->ctx);
	}
	if (n && c->read == c->buf.len) {
		buf_clear(&c->buf);
		c->read = 0;
		forget_spans(c, -1);
	}
out:
	pthread_mutex_unlock(&c->live->lock);
	return n;
}

void live_leave(struct live_client *c)
{
	struct api_live *l;

	if (!c)
		return;
	l = c->live;
	pthread_mutex_lock(&l->lock);
	forget_spans(c, DROPPED_GONE);
	DL_DELETE(l->list, c);
	__atomic_store_n(&l->cnt, l->cnt - 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&l->lock);
	buf_fini(&c->buf);
	free(c);
}

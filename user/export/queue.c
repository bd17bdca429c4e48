/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of an exporter, in memory. */
#include "export/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "core/clock.h"
#include "core/log.h"

#define BATCH_BYTES (3u << 20) /* gRPC servers commonly refuse messages of more than 4 MiB */

#define TELL_NS (60 * NS_PER_S) /* what is full is so again and again */

/* ---- batches ---- */

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	for (uint32_t i = 0; i < b->cnt; i++)
		resource_put(b->items[i].resource);
	free(b->items);
	buf_fini(&b->bytes);
	free(b);
}

static struct batch *batch_new(uint32_t spans)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b)
		b->items = calloc(spans, sizeof(*b->items));
	if (b && !b->items) {
		free(b);
		b = NULL;
	}
	return b;
}

/* Empties it and keeps its memory, unless it grew beyond a full one's. */
static void batch_recycle(struct queue *q, struct batch *b)
{
	for (uint32_t i = 0; i < b->cnt; i++)
		resource_put(b->items[i].resource);
	b->cnt = 0;
	buf_clear(&b->bytes);
	if (q->spare || b->bytes.size > 2 * BATCH_BYTES)
		batch_free(b);
	else
		q->spare = b;
}

static size_t batch_cost(const struct batch *b)
{
	return b->bytes.len + b->cnt * sizeof(*b->items);
}

static void seal(struct queue *q)
{
	DL_APPEND(q->sealed, q->open);
	q->open = NULL;
}

/* ---- pushing; lock held ---- */

static void tell_full(struct queue *q, const char *what)
{
	uint64_t now = clock_mono_ns();

	if (q->told_ns && now - q->told_ns < TELL_NS)
		return;
	q->told_ns = now;
	log_warn("%s: its %s is full and spans are dropped", q->books.stage, what);
}

static int open_batch(struct queue *q)
{
	if (q->open && q->open->bytes.len >= BATCH_BYTES)
		seal(q);
	if (q->open)
		return 0;
	q->open = q->spare ? q->spare : batch_new(q->batch_spans);
	q->spare = NULL;
	if (!q->open)
		return -ENOMEM;
	q->open_since_ns = clock_mono_ns();
	return 0;
}

/* Takes back the len bytes added last; an empty batch is not open. */
static void take_back(struct queue *q, size_t len)
{
	q->open->bytes.len -= len;
	q->open->bytes.failed = false;
	if (!q->open->cnt) {
		batch_recycle(q, q->open);
		q->open = NULL;
	}
}

/* The span of the len bytes added last goes into a batch of its own, since together with the others
 * it is more than servers take: they would be refused with it. */
static int begin_another(struct queue *q, size_t len)
{
	struct batch *full = q->open, *fresh = q->spare ? q->spare : batch_new(q->batch_spans);

	if (!fresh || buf_add(&fresh->bytes, full->bytes.p + full->bytes.len - len, len)) {
		if (fresh != q->spare)
			batch_free(fresh);
		return -ENOMEM;
	}
	q->spare = NULL;
	full->bytes.len -= len;
	seal(q);
	q->open = fresh;
	q->open_since_ns = clock_mono_ns();
	return 0;
}

/* 0, -ENOMEM, or -ENOBUFS when it does not fit into the queue. */
static int add_span(struct queue *q, const struct span *s)
{
	struct buf *bytes;
	size_t before, len;
	int err = q->spans_max && q->spans >= q->spans_max ? -ENOBUFS : open_batch(q);

	if (err)
		return err;
	bytes = &q->open->bytes;
	before = bytes->len;
	err = q->format->add_span(&q->scratch, s, bytes);
	len = bytes->len - before;
	if (!err && len + sizeof(struct item) > q->bytes_max - MIN(q->bytes, q->bytes_max))
		err = -ENOBUFS;
	if (!err && before && bytes->len > BATCH_BYTES)
		err = begin_another(q, len);
	if (err) {
		take_back(q, len);
		return err;
	}
	q->open->items[q->open->cnt++] = (struct item){ .resource = resource_get(s->resource),
							.scope = s->scope,
							.off = q->open->bytes.len - len,
							.len = len,
							.trace_id = s->trace_id };
	q->bytes += len + sizeof(struct item);
	q->spans++;
	return 0;
}

void queue_push(struct queue *q, const struct span *s)
{
	int err;

	pthread_mutex_lock(&q->lock);
	err = add_span(q, s);
	if (!err) {
		bool first = q->open->cnt == 1, full = q->open->cnt == q->batch_spans;

		if (full)
			seal(q);
		if (first || full)
			pthread_cond_broadcast(&q->wake);
	}
	q->full = err == -ENOBUFS;
	if (q->full)
		tell_full(q, "queue");
	book_add(&q->books.in, 1);
	book_add(!err		   ? &q->books.held
		 : err == -ENOBUFS ? &q->books.dropped[DROP_QUEUE_FULL]
				   : &q->books.dropped[DROP_NO_MEMORY],
		 1);
	pthread_mutex_unlock(&q->lock);
}

/* ---- taking ---- */

void queue_wait_until(struct queue *q, uint64_t mono_ns)
{
	struct timespec t = { (time_t)(mono_ns / NS_PER_S), (long)(mono_ns % NS_PER_S) };

	pthread_cond_timedwait(&q->wake, &q->lock, &t);
}

struct batch *queue_take(struct queue *q)
{
	struct batch *b = NULL;

	pthread_mutex_lock(&q->lock);
	while (!q->sealed) {
		if (q->open && (q->stop || clock_mono_ns() >= q->open_since_ns + q->delay_ns))
			seal(q);
		else if (q->stop)
			goto out;
		else if (q->open)
			queue_wait_until(q, q->open_since_ns + q->delay_ns);
		else
			pthread_cond_wait(&q->wake, &q->lock);
	}
	b = q->sealed;
	DL_DELETE(q->sealed, b);
out:
	pthread_mutex_unlock(&q->lock);
	return b;
}

void queue_give_back(struct queue *q, struct batch *b)
{
	pthread_mutex_lock(&q->lock);
	q->bytes -= batch_cost(b);
	q->spans -= b->cnt;
	q->full = false;
	batch_recycle(q, b);
	pthread_mutex_unlock(&q->lock);
}

void queue_settle(struct queue *q, uint64_t cnt, struct outcome o)
{
	pthread_mutex_lock(&q->lock);
	book_add(&q->books.held, 0 - cnt);
	book_add(&q->books.dropped[o.reason], o.lost);
	if (o.lost && o.reason == DROP_SPOOL_FULL)
		tell_full(q, "spool");
	book_add(&q->books.out, cnt - o.lost);
	pthread_mutex_unlock(&q->lock);
}

void queue_resume(struct queue *q, uint64_t cnt)
{
	pthread_mutex_lock(&q->lock);
	book_add(&q->books.in, cnt);
	book_add(&q->books.held, cnt);
	pthread_mutex_unlock(&q->lock);
}

/* ---- life ---- */

void queue_stop(struct queue *q, uint64_t stop_ns)
{
	pthread_mutex_lock(&q->lock);
	__atomic_store_n(&q->stop_ns, stop_ns, __ATOMIC_RELEASE);
	q->stop = true;
	pthread_cond_broadcast(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

bool queue_past_end(struct queue *q)
{
	uint64_t stop = __atomic_load_n(&q->stop_ns, __ATOMIC_ACQUIRE);

	return stop && clock_mono_ns() >= stop;
}

void queue_init(struct queue *q, const char *stage)
{
	static const char *const reason[] = {
		[DROP_QUEUE_FULL] = "queue_full",
		[DROP_NO_MEMORY] = "no_memory",
		[DROP_REFUSED] = "refused",
		[DROP_REJECTED] = "rejected",
		[DROP_GAVE_UP] = "gave_up",
		[DROP_END] = "shutdown",
		[DROP_SPOOL_FULL] = "spool_full",
		[DROP_SPOOL_ERROR] = "spool_error",
		[DROP_SPOOL_DAMAGED] = "spool_damaged",
	};
	pthread_condattr_t attr;

	q->books = (struct books){ .stage = stage, .unit = "span" };
	for (size_t i = 0; i < ARRAY_LEN(reason); i++)
		q->books.reason[i] = reason[i];
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->wake, &attr);
	pthread_condattr_destroy(&attr);
}

void queue_fini(struct queue *q)
{
	struct batch *b, *next;

	DL_FOREACH_SAFE (q->sealed, b, next)
		batch_free(b);
	batch_free(q->open);
	batch_free(q->spare);
	pack_fini(&q->scratch);
	pthread_cond_destroy(&q->wake);
	pthread_mutex_destroy(&q->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that inserts: one batch at a time, in order. A batch is sent again until the server
 * has it: only what it refuses for what is in it is dropped. Who waits is told after ACK_NS that it
 * did not work so far; what they send again comes once when a trace is asked for.
 */
#include "store/clickhouse.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define ACK_NS	     (10 * NS_PER_S)
#define RETRY_MIN_NS (100 * NS_PER_MS)
#define RETRY_MAX_NS (5 * NS_PER_S)
#define INSERT_NS    (30 * NS_PER_S)
#define CLOSE_NS     (5 * NS_PER_S) /* the end waits no longer for a server that is away */
#define FILL_MAX_NS  NS_PER_S
/* Servers want few inserts: the next waits this many times as long as the last one took. */
#define INSERT_FACTOR 4

/* ---- waiting ----------------------------------------------------------------------------------
 */

static uint64_t due_at(struct clickhouse *c)
{
	uint64_t wait_ns = c->cfg.commit_ms * NS_PER_MS;

	if (c->stop || c->first)
		return 0;
	if (!c->open)
		return UINT64_MAX;
	if (c->open->waiting_cnt)
		wait_ns = MAX(wait_ns, MIN(INSERT_FACTOR * c->insert_ns, FILL_MAX_NS));
	else
		wait_ns = MAX(wait_ns, FILL_MAX_NS);
	return c->open->since_ns + wait_ns;
}

static void wait_until(struct clickhouse *c, uint64_t ns)
{
	struct timespec t = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	if (ns == UINT64_MAX)
		pthread_cond_wait(&c->wake, &c->lock);
	else
		pthread_cond_timedwait(&c->wake, &c->lock, &t);
}

/* The oldest batch, which stays in the list; NULL: nothing is left and it is time to end. */
static struct ch_batch *take_due(struct clickhouse *c)
{
	struct ch_batch *b;
	uint64_t due;

	pthread_mutex_lock(&c->lock);
	while ((due = due_at(c)) > clock_mono_ns())
		wait_until(c, due);
	if (!c->first && c->open)
		ch_close_batch(c);
	b = c->first;
	pthread_mutex_unlock(&c->lock);
	return b;
}

/* ---- one batch --------------------------------------------------------------------------------
 */

static void insert(struct clickhouse *c, struct ch_batch *b, struct ch_result *ret)
{
	char settings[192];
	struct ch_request q = { .sql = str_of(ch_insert),
				.rows = buf_str(&b->rows),
				.settings = settings,
				.stop_ns = &c->stop_ns };
	uint64_t begin = clock_mono_ns();

	snprintf(settings, sizeof(settings),
		 "&async_insert=0&wait_end_of_query=1&max_partitions_per_insert_block=0"
		 "&insert_deduplication_token=%016llx-%llu",
		 (unsigned long long)c->run, (unsigned long long)b->seq);
	q.deadline_ns = begin + INSERT_NS;
	http_ask(c, &q, ret);
	c->insert_ns = clock_mono_ns() - begin;
}

static void log_change(struct clickhouse *c, const struct ch_result *r)
{
	if (r->err == c->write_err)
		return;
	if (r->err == -ENOSPC)
		log_error("store: %s: no space left there; new spans are refused until there is",
			  c->shown);
	else if (r->bad_request)
		log_error("store: %s: spans were refused and are lost to it: %s", c->shown,
			  r->text);
	else if (r->err)
		log_error("store: %s: writing failed and is tried again: %s", c->shown, r->text);
	else
		log_info("store: %s: writing goes on", c->shown);
	c->write_err = r->err;
}

static void tell(struct ch_waiting *w, size_t cnt, int err)
{
	for (size_t i = 0; i < cnt; i++)
		w[i].ack.done(w[i].ack.ctx, err ? err : w[i].err);
	free(w);
}

/* Moves those out of a batch who waited long enough, or everybody. */
static size_t take_late(struct ch_batch *b, struct ch_waiting *late, bool all)
{
	uint64_t now = clock_mono_ns();
	size_t cnt = 0, kept = 0;

	for (size_t i = 0; i < b->waiting_cnt; i++) {
		if (all || now - b->waiting[i].since_ns >= ACK_NS)
			late[cnt++] = b->waiting[i];
		else
			b->waiting[kept++] = b->waiting[i];
	}
	b->waiting_cnt = kept;
	return cnt;
}

static void tell_late(struct clickhouse *c, int err)
{
	struct ch_batch *lists[2], *b;
	struct ch_waiting *late;
	size_t size = 0, cnt = 0;

	pthread_mutex_lock(&c->lock);
	lists[0] = c->first;
	lists[1] = c->open;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (b = lists[l]; b; b = b->next)
			size += b->waiting_cnt;
	late = calloc(size + 1, sizeof(*late));
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (b = lists[l]; b && late; b = b->next)
			cnt += take_late(b, late + cnt, err == -ENOSPC);
	pthread_mutex_unlock(&c->lock);
	tell(late, cnt, err);
}

/* Whoever has spans in a batch that failed must hear of it, now or at the next sync. */
static void spread_error(struct clickhouse *c, uint64_t seq, int err)
{
	struct ch_batch *lists[] = { c->first, c->open };

	for (struct ch_writer *w = c->writers; w; w = w->next)
		if (w->first && w->first <= seq && w->last >= seq)
			w->err = err;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (struct ch_batch *b = lists[l]; b; b = b->next)
			for (size_t i = 0; i < b->waiting_cnt; i++)
				if (b->waiting[i].first <= seq)
					b->waiting[i].err = err;
}

/* It is stored, or never will be. */
static void finish(struct clickhouse *c, struct ch_batch *b, int err)
{
	enum ch_drop why = err == -ENOSPC ? CH_DISK_FULL : CH_IO_ERROR;

	pthread_mutex_lock(&c->lock);
	LL_DELETE(c->first, b);
	c->queued -= b->rows.len;
	c->done_seq = b->seq;
	book_add(&c->books.held, -(uint64_t)b->spans);
	book_add(err ? &c->books.dropped[why] : &c->books.out, b->spans);
	if (err) {
		spread_error(c, b->seq, err);
		again_forget(c, b->seq);
	}
	pthread_mutex_unlock(&c->lock);
	tell(b->waiting, b->waiting_cnt, err);
	b->waiting = NULL;
	batch_free(b);
}

/* False when the end came first. */
static bool pause_for(struct clickhouse *c, uint64_t ns)
{
	uint64_t until = clock_mono_ns() + ns;
	bool goes_on;

	pthread_mutex_lock(&c->lock);
	while (clock_mono_ns() < MIN(until, c->stop_ns ? c->stop_ns : UINT64_MAX))
		wait_until(c, MIN(until, c->stop_ns ? c->stop_ns : UINT64_MAX));
	goes_on = !c->stop_ns || clock_mono_ns() < c->stop_ns;
	pthread_mutex_unlock(&c->lock);
	return goes_on;
}

static void send_batch(struct clickhouse *c, struct ch_batch *b)
{
	uint64_t wait_ns = RETRY_MIN_NS;
	struct ch_result r;

	for (;;) {
		insert(c, b, &r);
		log_change(c, &r);
		pthread_mutex_lock(&c->lock);
		c->refusing = r.err == -ENOSPC ? r.err : 0;
		pthread_mutex_unlock(&c->lock);
		if (!r.err || r.bad_request)
			break;
		pthread_mutex_lock(&c->lock);
		again_failed(c);
		pthread_mutex_unlock(&c->lock);
		tell_late(c, r.err == -ENOSPC ? r.err : -EIO);
		if (!pause_for(c, wait_ns))
			break;
		wait_ns = MIN(2 * wait_ns, RETRY_MAX_NS);
	}
	finish(c, b, !r.err || r.err == -ENOSPC ? r.err : -EIO);
}

static void *insert_main(void *clickhouse)
{
	struct clickhouse *c = clickhouse;
	struct ch_batch *b;

	while ((b = take_due(c)))
		send_batch(c, b);
	return NULL;
}

/* ---- starting and stopping --------------------------------------------------------------------
 */

static double read_queued(void *ctx)
{
	struct clickhouse *c = ctx;
	size_t bytes;

	pthread_mutex_lock(&c->lock);
	bytes = c->queued;
	pthread_mutex_unlock(&c->lock);
	return (double)bytes;
}

int ch_start(struct clickhouse *c)
{
	c->gauge = (struct gauge){ "store_queue_bytes", "memory of spans that are not durable yet",
				   "gauge", read_queued, c };
	c->books = (struct books){ .stage = "store",
				   .unit = "span",
				   .reason = { [CH_QUEUE_FULL] = "queue_full",
					       [CH_DISK_FULL] = "disk_full",
					       [CH_TOO_LARGE] = "too_large",
					       [CH_IO_ERROR] = "io_error",
					       [CH_NO_MEMORY] = "no_memory",
					       [CH_SENT_AGAIN] = "sent_again" } };
	c->runs = !pthread_create(&c->thread, NULL, insert_main, c);
	if (!c->runs)
		return -EAGAIN;
	gauges_register(&c->gauge);
	books_register(&c->books);
	return 0;
}

void ch_stop(struct clickhouse *c)
{
	if (!c->runs)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	__atomic_store_n(&c->stop_ns, clock_mono_ns() + CLOSE_NS, __ATOMIC_RELAXED);
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	gauges_unregister(&c->gauge);
	books_unregister(&c->books);
}

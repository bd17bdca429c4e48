/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OTLP/HTTP exporter: spans in, posts out.
 *
 * A pushed span is packed to its final protobuf bytes at once (0.3 us for a captured one, where
 * span_copy() costs 0.7 us and packing would still follow), and appended to the open batch with a
 * counted reference to its resource: no deep copy, and the queue's bytes are what leaves. A batch
 * is sealed when it has batch_spans spans or BATCH_BYTES bytes, or when its first span has waited
 * delay_ms. The thread groups a batch by resource and scope, puts the frames around the packed
 * spans and posts it, one batch at a time; a batch that is tried again keeps the later ones
 * waiting, in bounds. Scopes live as long as the resources they come with.
 *
 * One thread pushes. The books are written under the lock.
 */
#include "export/internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <utlist.h>

#include "core/clock.h"
#include "core/log.h"

#define TIMEOUT_MS_DEFAULT  10000
#define QUEUE_BYTES_DEFAULT (64u << 20)
#define BATCH_SPANS_DEFAULT 512
#define BATCH_SPANS_MAX	    65536
#define DELAY_MS_DEFAULT    1000
#define BATCH_BYTES	    (4u << 20) /* receivers commonly refuse requests much longer */
#define LOG_EVERY_NS	    (60 * NS_PER_S)

enum drop { DROP_QUEUE_FULL, DROP_NO_MEMORY, DROP_REFUSED, DROP_REJECTED, DROP_GAVE_UP, DROP_END };

struct batch {
	struct batch *prev, *next;
	struct item *items;
	uint32_t cnt;
	struct buf bytes;
};

/* How a batch's delivery ended: lost spans for a reason, the rest delivered. */
struct outcome {
	uint64_t lost;
	enum drop reason;
};

struct otlp_http {
	char *url; /* for log lines: without user, password and query */
	size_t queue_bytes;
	uint32_t batch_spans;
	uint64_t delay_ns;
	struct retry_policy policy;
	struct poster *poster;
	pthread_t thread;
	struct packer one; /* the pushing thread's */

	pthread_mutex_t lock; /* all below but what says otherwise */
	pthread_cond_t wake;
	struct batch *open;	/* being filled; NULL or not empty */
	struct batch *sealed;	/* oldest first */
	struct batch *spare;	/* kept, so that its memory is used again */
	uint64_t open_since_ns; /* monotonic */
	size_t queued;		/* bytes of all spans held, their items included */
	bool stop;
	uint64_t stop_ns; /* monotonic; atomic */
	struct books books;

	struct gauge gauge[3];
	uint64_t posts, retries; /* the thread's; atomic */
	uint64_t logged_ns;	 /* the thread's: when a failure was last logged */
	bool failing;
};

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
static void batch_recycle(struct otlp_http *e, struct batch *b)
{
	for (uint32_t i = 0; i < b->cnt; i++)
		resource_put(b->items[i].resource);
	b->cnt = 0;
	buf_clear(&b->bytes);
	if (e->spare || b->bytes.size > 2 * BATCH_BYTES)
		batch_free(b);
	else
		e->spare = b;
}

static size_t batch_cost(const struct batch *b)
{
	return b->bytes.len + b->cnt * sizeof(*b->items);
}

static void seal(struct otlp_http *e)
{
	DL_APPEND(e->sealed, e->open);
	e->open = NULL;
}

/* Appends the packed span to the open batch. 0 or -ENOMEM. Lock held. */
static int queue_span(struct otlp_http *e, const struct span *s)
{
	size_t len = e->one.len;
	bool first;
	int err;

	if (e->open && e->open->bytes.len + len > BATCH_BYTES)
		seal(e);
	first = !e->open;
	if (first) {
		e->open = e->spare ? e->spare : batch_new(e->batch_spans);
		e->spare = NULL;
		if (!e->open)
			return -ENOMEM;
	}
	err = buf_add(&e->open->bytes, pack_start(&e->one), len);
	if (err) {
		if (first) {
			batch_free(e->open);
			e->open = NULL;
		}
		return err;
	}
	e->open->items[e->open->cnt++] = (struct item){ .resource = resource_get(s->resource),
							.scope = s->scope,
							.off = e->open->bytes.len - len,
							.len = len };
	e->queued += len + sizeof(struct item);
	if (first)
		e->open_since_ns = clock_mono_ns();
	if (e->open->cnt == e->batch_spans)
		seal(e);
	if (first || !e->open)
		pthread_cond_signal(&e->wake);
	return 0;
}

/* ---- waiting; lock held ---- */

static void wait_until(struct otlp_http *e, uint64_t ns)
{
	struct timespec t = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	pthread_cond_timedwait(&e->wake, &e->lock, &t);
}

/* The oldest batch that is due, taken out; NULL when stopping and there is none left. */
static struct batch *next_batch(struct otlp_http *e)
{
	struct batch *b;

	while (!e->sealed) {
		if (e->open && (e->stop || clock_mono_ns() >= e->open_since_ns + e->delay_ns))
			seal(e);
		else if (e->stop)
			return NULL;
		else if (e->open)
			wait_until(e, e->open_since_ns + e->delay_ns);
		else
			pthread_cond_wait(&e->wake, &e->lock);
	}
	b = e->sealed;
	DL_DELETE(e->sealed, b);
	return b;
}

/*
 * Waits before another try. False when that try would come after the end. A wait of our own
 * choosing is cut short when the end is announced; one that the server asked for is not.
 */
static bool wait_for_retry(struct otlp_http *e, uint64_t delay_ms, bool asked)
{
	uint64_t until = clock_mono_ns() + delay_ms * NS_PER_MS;
	bool ok = true, announced;

	pthread_mutex_lock(&e->lock);
	announced = e->stop;
	while (ok && clock_mono_ns() < until) {
		if (e->stop && !asked && !announced)
			break;
		ok = !e->stop || until < e->stop_ns;
		if (ok)
			wait_until(e, until);
	}
	pthread_mutex_unlock(&e->lock);
	return ok;
}

static bool past_end(struct otlp_http *e)
{
	uint64_t stop = __atomic_load_n(&e->stop_ns, __ATOMIC_ACQUIRE);

	return stop && clock_mono_ns() >= stop;
}

/* ---- delivery; the thread's, without the lock ---- */

/* One line a minute while it lasts, one when it is over. status 0: there was no reply. */
static void note_failure(struct otlp_http *e, const char *what, long status, const char *detail)
{
	uint64_t now = clock_mono_ns();
	char code[32] = "";

	if (e->failing && now - e->logged_ns < LOG_EVERY_NS)
		return;
	e->failing = true;
	e->logged_ns = now;
	if (status)
		snprintf(code, sizeof(code), "HTTP status %ld%s", status, detail[0] ? ", " : "");
	log_warn("export to %s: %s%s; %s", e->url, code, detail, what);
}

static void note_success(struct otlp_http *e)
{
	if (e->failing)
		log_info("export to %s: works again", e->url);
	e->failing = false;
}

/* A reply that ends the delivery, one way or the other. */
static struct outcome judge(struct otlp_http *e, const struct reply *r, uint32_t cnt)
{
	struct outcome o = { 0, DROP_REJECTED };
	struct answer a = { 0 };

	if (r->status < 200 || r->status > 299) {
		if (r->protobuf)
			answer_parse_error(r->body, &a);
		note_failure(e, "its spans are dropped", r->status, a.message);
		return (struct outcome){ cnt, DROP_REFUSED };
	}
	if (r->protobuf)
		answer_parse_success(r->body, &a);
	o.lost = MIN(a.rejected, cnt);
	if (o.lost || a.message[0])
		note_failure(e, "it took a part only, or warns", r->status, a.message);
	else
		note_success(e);
	return o;
}

static struct outcome deliver_body(struct otlp_http *e, struct str body, uint32_t cnt)
{
	uint64_t give_up = clock_mono_ns() + e->policy.give_up_ms * NS_PER_MS, now, delay;
	struct reply r;
	uint32_t chance = 0;

	for (uint32_t tries = 1;; tries++) {
		if (past_end(e))
			return (struct outcome){ cnt, DROP_END };
		__atomic_add_fetch(&e->posts, 1, __ATOMIC_RELAXED);
		poster_post(e->poster, body, &e->stop_ns, &r);
		if (!retry_status(r.status))
			return judge(e, &r, cnt);
		now = clock_mono_ns();
		if (now >= give_up) {
			note_failure(e, "given up, its spans are dropped", r.status, r.error);
			return (struct outcome){ cnt, DROP_GAVE_UP };
		}
		note_failure(e, "spans are held and sent again", r.status, r.error);
		if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
			chance = UINT32_MAX / 2;
		delay = retry_delay_ms(&e->policy, tries, r.retry_after_s, chance);
		delay = MIN(delay, (give_up - now) / NS_PER_MS + 1);
		if (!wait_for_retry(e, delay, r.retry_after_s > 0))
			return (struct outcome){ cnt, DROP_END };
		__atomic_add_fetch(&e->retries, 1, __ATOMIC_RELAXED);
	}
}

static struct outcome deliver(struct otlp_http *e, struct batch *b, struct packer *body)
{
	pack_clear(body);
	if (items_group(b->items, b->cnt))
		return (struct outcome){ b->cnt, DROP_NO_MEMORY };
	pack_request(body, b->items, b->cnt, b->bytes.p);
	if (body->failed)
		return (struct outcome){ b->cnt, DROP_NO_MEMORY };
	return deliver_body(e, (struct str){ (const char *)pack_start(body), body->len }, b->cnt);
}

static void *run(void *arg)
{
	struct otlp_http *e = arg;
	struct packer body = { 0 };
	struct batch *b;

	pthread_mutex_lock(&e->lock);
	while ((b = next_batch(e))) {
		pthread_mutex_unlock(&e->lock);
		struct outcome o = deliver(e, b, &body);
		pthread_mutex_lock(&e->lock);
		book_add(&e->books.held, 0 - (uint64_t)b->cnt);
		book_add(&e->books.dropped[o.reason], o.lost);
		book_add(&e->books.out, b->cnt - o.lost);
		e->queued -= batch_cost(b);
		batch_recycle(e, b);
	}
	pthread_mutex_unlock(&e->lock);
	pack_fini(&body);
	return NULL;
}

/* ---- books ---- */

static double read_queued(void *ctx)
{
	struct otlp_http *e = ctx;
	size_t queued;

	pthread_mutex_lock(&e->lock);
	queued = e->queued;
	pthread_mutex_unlock(&e->lock);
	return (double)queued;
}

static double read_count(void *ctx)
{
	return (double)__atomic_load_n((uint64_t *)ctx, __ATOMIC_RELAXED);
}

static int register_books(struct otlp_http *e)
{
	static const char *const reason[] = { "queue_full", "no_memory", "refused",
					      "rejected",   "gave_up",	 "shutdown" };
	int err;

	e->books = (struct books){ .stage = "export_otlp", .unit = "span" };
	for (size_t i = 0; i < ARRAY_LEN(reason); i++)
		e->books.reason[i] = reason[i];
	e->gauge[0] =
		(struct gauge){ "export_otlp_queue_bytes", "Bytes of spans that wait to be sent.",
				"gauge", read_queued, e };
	e->gauge[1] = (struct gauge){ "export_otlp_posts_total", "Requests sent to the endpoint.",
				      "counter", read_count, &e->posts };
	e->gauge[2] = (struct gauge){ "export_otlp_retries_total", "Requests that were sent again.",
				      "counter", read_count, &e->retries };
	err = books_register(&e->books);
	for (size_t i = 0; !err && i < ARRAY_LEN(e->gauge); i++)
		err = gauges_register(&e->gauge[i]);
	return err;
}

static void free_all(struct otlp_http *e)
{
	for (size_t i = 0; i < ARRAY_LEN(e->gauge); i++)
		gauges_unregister(&e->gauge[i]);
	books_unregister(&e->books);
	poster_free(e->poster);
	batch_free(e->spare);
	pack_fini(&e->one);
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->lock);
	free(e->url);
	free(e);
}

/* ---- public ---- */

static int start_thread(struct otlp_http *e)
{
	sigset_t all, was;
	int err;

	/* Signals are for the thread that runs the program. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = pthread_create(&e->thread, NULL, run, e);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return -err;
}

int otlp_http_new_with(const struct otlp_http_cfg *cfg, const struct retry_policy *policy,
		       struct otlp_http **ret_exporter)
{
	struct otlp_http *e = calloc(1, sizeof(*e));
	struct otlp_http_cfg full = *cfg;
	pthread_condattr_t attr;
	int err;

	if (!e)
		return -ENOMEM;
	full.timeout_ms = cfg->timeout_ms ? cfg->timeout_ms : TIMEOUT_MS_DEFAULT;
	e->queue_bytes = cfg->queue_bytes ? cfg->queue_bytes : QUEUE_BYTES_DEFAULT;
	e->batch_spans =
		cfg->batch_spans ? MIN(cfg->batch_spans, BATCH_SPANS_MAX) : BATCH_SPANS_DEFAULT;
	e->delay_ns = (cfg->delay_ms ? cfg->delay_ms : DELAY_MS_DEFAULT) * NS_PER_MS;
	e->policy = *policy;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->wake, &attr);
	pthread_condattr_destroy(&attr);
	err = poster_new(&full, &e->poster);
	if (!err)
		err = url_without_secrets(cfg->url, &e->url);
	if (!err)
		err = register_books(e);
	if (!err)
		err = start_thread(e);
	if (err) {
		free_all(e);
		return err;
	}
	*ret_exporter = e;
	return 0;
}

int otlp_http_new(const struct otlp_http_cfg *cfg, struct otlp_http **ret_exporter)
{
	static const struct retry_policy policy = { 1000, 30000, 300000 };

	return otlp_http_new_with(cfg, &policy, ret_exporter);
}

void otlp_http_push(struct otlp_http *e, const struct span *s)
{
	enum drop reason = DROP_NO_MEMORY;
	int err;

	pack_clear(&e->one);
	pack_span(&e->one, s);
	pthread_mutex_lock(&e->lock);
	err = e->one.failed ? -ENOMEM : 0;
	if (!err &&
	    e->one.len + sizeof(struct item) > e->queue_bytes - MIN(e->queued, e->queue_bytes)) {
		reason = DROP_QUEUE_FULL;
		err = -ENOBUFS;
	}
	if (!err)
		err = queue_span(e, s);
	book_add(&e->books.in, 1);
	book_add(err ? &e->books.dropped[reason] : &e->books.held, 1);
	pthread_mutex_unlock(&e->lock);
}

void otlp_http_free(struct otlp_http *e, uint32_t timeout_ms)
{
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	__atomic_store_n(&e->stop_ns, clock_mono_ns() + timeout_ms * NS_PER_MS, __ATOMIC_RELEASE);
	e->stop = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
	poster_wake(e->poster);
	pthread_join(e->thread, NULL);
	free_all(e);
}

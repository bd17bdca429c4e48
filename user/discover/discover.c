/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that answers: questions first, then second looks, then the walk over all processes. */
#include "discover/internal.h"
#include "core/books.h"
#include "core/clock.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <uthash.h>
#include <utlist.h>

#define QUEUE_DEFAULT 4096
#define AGAIN_MAX     16384 /* processes that wait for another look */
#define SCAN_MAX      65536 /* processes of one walk */

/*
 * A process is asked for at its exec, before its loader has mapped anything, and may load TLS or a
 * language runtime much later: it is looked at again after these times.
 */
static const uint64_t again_ns[] = { 100 * NS_PER_MS, 1500 * NS_PER_MS, 10 * NS_PER_S };
#define AGAIN_STEPS ARRAY_LEN(again_ns)

enum drop_reason { DROP_QUEUE_FULL, DROP_REPEATED, DROP_GONE, DROP_NO_MEMORY };

struct question {
	struct question *prev, *next;
	uint32_t tgid;
	struct event_exec *hint; /* owned; NULL: none */
	UT_hash_handle hh;	 /* by tgid */
};

struct later {
	struct later *prev, *next;
	uint32_t tgid;
	enum runtime runtime; /* as last told */
	uint64_t started;     /* of the process */
	uint64_t due_ns;
};

struct discover {
	struct discover_cfg cfg;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows, up to the thread's own */
	pthread_cond_t wake;
	struct question *asked; /* oldest first */
	struct question *by_tgid;
	bool scan, ending;
	struct books books;

	/* the thread's own */
	struct look *look;
	struct later *later[AGAIN_STEPS]; /* one delay each, so each is in order of due time */
	uint32_t later_cnt;
	uint64_t not_again; /* processes past AGAIN_MAX; read by the gauge */
	struct gauge not_again_gauge;
	uint32_t *scan_pids;
	size_t scan_cnt, scan_at;
	struct event_proc *out;
};

static void question_free(struct question *q)
{
	if (!q)
		return;
	free(q->hint);
	free(q);
}

/* ---- the caller's side ---- */

/* Under the lock. */
static struct question *question_take(struct discover *d)
{
	struct question *q = d->asked;

	if (!q)
		return NULL;
	DL_DELETE(d->asked, q);
	HASH_DELETE(hh, d->by_tgid, q);
	return q;
}

static struct event_exec *hint_copy(const struct event_exec *hint)
{
	struct event_exec *copy = hint ? malloc(sizeof(*copy)) : NULL;

	if (copy)
		memcpy(copy, hint, sizeof(*copy));
	return copy;
}

/* Under the lock. A newer exec of the same process replaces the older one's hint. */
static void question_put(struct discover *d, uint32_t tgid, struct event_exec *hint)
{
	struct question *q;

	book_add(&d->books.in, 1);
	HASH_FIND(hh, d->by_tgid, &tgid, sizeof(tgid), q);
	if (q) {
		if (hint) {
			free(q->hint);
			q->hint = hint;
		}
		book_add(&d->books.dropped[DROP_REPEATED], 1);
		return;
	}
	q = calloc(1, sizeof(*q));
	if (!q) {
		free(hint);
		book_add(&d->books.dropped[DROP_NO_MEMORY], 1);
		return;
	}
	if (HASH_CNT(hh, d->by_tgid) >= d->cfg.queue) {
		question_free(question_take(d));
		book_add(&d->books.dropped[DROP_QUEUE_FULL], 1);
		book_add(&d->books.held, (uint64_t)-1);
	}
	q->tgid = tgid;
	q->hint = hint;
	DL_APPEND(d->asked, q);
	HASH_ADD(hh, d->by_tgid, tgid, sizeof(q->tgid), q);
	book_add(&d->books.held, 1);
}

void discover_ask(struct discover *d, uint32_t tgid, const struct event_exec *hint)
{
	struct event_exec *copy = hint_copy(hint);

	pthread_mutex_lock(&d->lock);
	question_put(d, tgid, copy);
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
}

void discover_scan(struct discover *d)
{
	pthread_mutex_lock(&d->lock);
	d->scan = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
}

/* ---- second looks ---- */

static void later_put(struct discover *d, struct later *l, size_t step)
{
	if (step >= AGAIN_STEPS) {
		free(l);
		d->later_cnt--;
		return;
	}
	l->due_ns = clock_mono_ns() + again_ns[step];
	DL_APPEND(d->later[step], l);
}

static void later_new(struct discover *d, uint32_t tgid, enum runtime runtime, size_t step)
{
	uint64_t started = look_started(d->look);
	struct later *l;

	if (!started)
		return;
	l = d->later_cnt < AGAIN_MAX ? calloc(1, sizeof(*l)) : NULL;
	if (!l) {
		book_add(&d->not_again, 1);
		return;
	}
	l->tgid = tgid;
	l->runtime = runtime;
	l->started = started;
	d->later_cnt++;
	later_put(d, l, step);
}

static void tell(struct discover *d)
{
	if (d->cfg.found)
		d->cfg.found(d->cfg.ctx, d->out);
}

/* True when one was due. */
static bool look_later(struct discover *d)
{
	uint64_t now = clock_mono_ns();

	for (size_t step = 0; step < AGAIN_STEPS; step++) {
		struct later *l = d->later[step];
		enum runtime runtime;

		if (!l || l->due_ns > now)
			continue;
		DL_DELETE(d->later[step], l);
		runtime = l->runtime;
		if (look_again(d->look, l->tgid, l->started, &runtime) < 0) {
			later_put(d, l, AGAIN_STEPS);
			return true;
		}
		if (runtime != l->runtime && look_process(d->look, l->tgid, NULL, d->out,
							  sizeof(*d->out) + PROC_TEXT_MAX) == 0) {
			l->runtime = (enum runtime)d->out->runtime;
			tell(d);
		}
		later_put(d, l, step + 1);
		return true;
	}
	return false;
}

static uint64_t next_due(const struct discover *d)
{
	uint64_t due = UINT64_MAX;

	for (size_t step = 0; step < AGAIN_STEPS; step++) {
		if (d->later[step])
			due = MIN(due, d->later[step]->due_ns);
	}
	return due;
}

/* ---- the walk over all processes ---- */

static void scan_begin(struct discover *d)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;

	if (!d->scan_pids)
		d->scan_pids = malloc(SCAN_MAX * sizeof(*d->scan_pids));
	d->scan_cnt = d->scan_at = 0;
	while (dir && d->scan_pids && d->scan_cnt < SCAN_MAX && (e = readdir(dir))) {
		uint64_t pid;
		if (str_to_u64(str_of(e->d_name), &pid) && pid <= INT32_MAX)
			d->scan_pids[d->scan_cnt++] = (uint32_t)pid;
	}
	if (dir)
		closedir(dir);
}

static bool scan_step(struct discover *d)
{
	enum runtime runtime;

	if (d->scan_at < d->scan_cnt) {
		look_again(d->look, d->scan_pids[d->scan_at++], 0, &runtime);
		return true;
	}
	free(d->scan_pids);
	d->scan_pids = NULL;
	d->scan_cnt = d->scan_at = 0;
	return false;
}

/* ---- the thread ---- */

static void answer(struct discover *d, struct question *q)
{
	int err = look_process(d->look, q->tgid, q->hint, d->out, sizeof(*d->out) + PROC_TEXT_MAX);

	if (!err) {
		tell(d);
		/* what was running already has done most of its loading */
		later_new(d, q->tgid, (enum runtime)d->out->runtime, q->hint ? 0 : AGAIN_STEPS - 1);
	}
	pthread_mutex_lock(&d->lock);
	book_add(err ? &d->books.dropped[DROP_GONE] : &d->books.out, 1);
	book_add(&d->books.held, (uint64_t)-1);
	pthread_mutex_unlock(&d->lock);
	question_free(q);
}

/* Under the lock. Waits for a question, or until a second look is due. */
static void wait_for_work(struct discover *d)
{
	uint64_t due = next_due(d);
	struct timespec at = { (time_t)(due / NS_PER_S), (long)(due % NS_PER_S) };

	if (due == UINT64_MAX)
		pthread_cond_wait(&d->wake, &d->lock);
	else
		pthread_cond_timedwait(&d->wake, &d->lock, &at);
}

static void *work(void *arg)
{
	struct discover *d = arg;
	bool idle = false;

	pthread_mutex_lock(&d->lock);
	while (!d->ending) {
		struct question *q = question_take(d);
		bool scan = d->scan;

		if (!q && !scan && idle)
			wait_for_work(d);
		d->scan = false;
		pthread_mutex_unlock(&d->lock);
		if (scan)
			scan_begin(d);
		if (q)
			answer(d, q);
		idle = !q && !scan && !look_later(d) && !scan_step(d);
		pthread_mutex_lock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

static double read_not_again(void *ctx)
{
	return (double)book_read(ctx);
}

static int start_thread(struct discover *d)
{
	pthread_condattr_t attr;
	int err;

	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->wake, &attr);
	pthread_condattr_destroy(&attr);
	err = pthread_create(&d->thread, NULL, work, d);
	if (!err)
		return 0;
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	return -err;
}

int discover_new(const struct discover_cfg *cfg, struct discover **ret_discover)
{
	struct discover *d = calloc(1, sizeof(*d));
	struct namer *namer;
	int err = -ENOMEM;

	if (!d)
		return err;
	d->cfg = *cfg;
	d->cfg.queue = cfg->queue ? cfg->queue : QUEUE_DEFAULT;
	d->books = (struct books){ .stage = "discover",
				   .unit = "process",
				   .reason = { "queue_full", "repeated", "gone", "no_memory" } };
	d->not_again_gauge = (struct gauge){
		.name = "discover_not_again_total",
		.help = "Processes looked at only once because too many waited for a second look.",
		.type = "counter",
		.read = read_not_again,
		.ctx = &d->not_again,
	};
	namer = namer_new(cfg->host_root);
	d->look = look_new("/proc", namer, cfg->ctx, cfg->library);
	if (!d->look)
		namer_free(namer);
	d->out = calloc(1, sizeof(*d->out) + PROC_TEXT_MAX);
	if (!d->look || !d->out)
		goto fail;
	err = start_thread(d);
	if (err)
		goto fail;
	books_register(&d->books);
	gauges_register(&d->not_again_gauge);
	*ret_discover = d;
	return 0;
fail:
	look_free(d->look);
	free(d->out);
	free(d);
	return err;
}

void discover_free(struct discover *d)
{
	struct question *q;

	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->ending = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
	pthread_join(d->thread, NULL);
	gauges_unregister(&d->not_again_gauge);
	books_unregister(&d->books);
	while ((q = question_take(d)))
		question_free(q);
	for (size_t step = 0; step < AGAIN_STEPS; step++) {
		struct later *l, *tmp;
		DL_FOREACH_SAFE (d->later[step], l, tmp)
			free(l);
	}
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	look_free(d->look);
	free(d->scan_pids);
	free(d->out);
	free(d);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exporter and its threads. Without a spool one thread takes batches from the queue, makes
 * bodies of them and delivers these; with one, a second thread brings the bodies to the disk, so
 * that an endpoint that is slow does not keep them from being safe.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "export/delivery.h"
#include "export/spool.h"

#define TIMEOUT_MS_DEFAULT  10000
#define GIVE_UP_MS_DEFAULT  300000
#define DELAY_MS_DEFAULT    1000
#define QUEUE_BYTES_DEFAULT (64u << 20)
#define BATCH_SPANS_DEFAULT 4096 /* a store that syncs takes one batch, of any size, in 50 ms */
#define BATCH_SPANS_MAX	    65536
#define SPOOL_BYTES_DEFAULT (1ull << 30)
#define NAME_BYTES	    48
#define GAUGES		    5

struct exporter {
	char name[NAME_BYTES];
	char stage[NAME_BYTES + 8];
	struct queue queue;
	struct delivery delivery;
	struct spool *spool; /* NULL: none */
	pthread_t sender;
	pthread_t spooler;
	bool sender_runs, spooler_runs;
	uint64_t spooled; /* batches; the queue's lock */
	bool spooled_all; /* there will be no more; the queue's lock */
	bool spool_fails; /* atomic; written by the spooler: logged */
	bool spool_full;  /* atomic: the last batch had no room, and none has been made since */

	struct gauge gauge[GAUGES];
	char gauge_name[GAUGES][NAME_BYTES + 32];
};

int refuse(char why[EXPORTER_WHY_MAX], int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, EXPORTER_WHY_MAX, fmt, args);
	va_end(args);
	return err;
}

/* ---- threads ---- */

static int make_body(struct exporter *e, struct batch *b, struct packer *scratch, struct buf *body)
{
	buf_clear(body);
	return e->delivery.kind->format->add_body(scratch, b->items, b->cnt, b->bytes.p, body);
}

static void *run_queue(void *arg)
{
	struct exporter *e = arg;
	struct packer scratch = { 0 };
	struct buf body = { 0 };
	struct batch *b;

	while ((b = queue_take(&e->queue))) {
		struct outcome o = { b->cnt, DROP_NO_MEMORY };

		if (!make_body(e, b, &scratch, &body))
			o = deliver(&e->delivery, buf_str(&body), b->cnt);
		queue_settle(&e->queue, b->cnt, o);
		queue_give_back(&e->queue, b);
	}
	pack_fini(&scratch);
	buf_fini(&body);
	return NULL;
}

static void spool_batch(struct exporter *e, const struct batch *b, struct str body)
{
	int err = spool_add(e->spool, body, b->cnt);
	bool failed = err && err != -ENOBUFS;

	if (err)
		queue_settle(
			&e->queue, b->cnt,
			(struct outcome){ b->cnt, failed ? DROP_SPOOL_ERROR : DROP_SPOOL_FULL });
	if (failed && !e->spool_fails)
		log_warn("export %s: cannot write to its spool: %s; spans are dropped", e->name,
			 strerror(-err));
	if (!err && e->spool_fails)
		log_info("export %s: its spool can be written to again", e->name);
	__atomic_store_n(&e->spool_fails, failed || (err && e->spool_fails), __ATOMIC_RELAXED);
	__atomic_store_n(&e->spool_full, err == -ENOBUFS, __ATOMIC_RELAXED);
}

static void tell_sender(struct exporter *e, bool all)
{
	pthread_mutex_lock(&e->queue.lock);
	e->spooled++;
	e->spooled_all = all;
	pthread_cond_broadcast(&e->queue.wake);
	pthread_mutex_unlock(&e->queue.lock);
}

static void *run_spooler(void *arg)
{
	struct exporter *e = arg;
	struct packer scratch = { 0 };
	struct buf body = { 0 };
	struct batch *b;

	while ((b = queue_take(&e->queue))) {
		if (make_body(e, b, &scratch, &body))
			queue_settle(&e->queue, b->cnt, (struct outcome){ b->cnt, DROP_NO_MEMORY });
		else
			spool_batch(e, b, buf_str(&body));
		queue_give_back(&e->queue, b);
		tell_sender(e, false);
	}
	tell_sender(e, true);
	pack_fini(&scratch);
	buf_fini(&body);
	return NULL;
}

/* The oldest record; false when the end has come and there is none left. */
static bool next_record(struct exporter *e, struct spool_record *r)
{
	uint64_t seen = 0;
	bool all = false;

	while (spool_peek(e->spool, r)) {
		if (all)
			return false;
		pthread_mutex_lock(&e->queue.lock);
		while (e->spooled == seen)
			pthread_cond_wait(&e->queue.wake, &e->queue.lock);
		seen = e->spooled;
		all = e->spooled_all;
		pthread_mutex_unlock(&e->queue.lock);
	}
	return true;
}

static void *run_spool(void *arg)
{
	struct exporter *e = arg;
	struct spool_record r;

	while (next_record(e, &r)) {
		struct outcome o = { r.spans, DROP_SPOOL_DAMAGED };

		if (r.damaged)
			log_warn("export %s: a part of its spool is damaged and left out", e->name);
		else
			o = deliver(&e->delivery, r.body, r.spans);
		if (o.lost && o.reason == DROP_END)
			break; /* it stays for the next process */
		spool_done(e->spool);
		__atomic_store_n(&e->spool_full, false, __ATOMIC_RELAXED);
		queue_settle(&e->queue, r.spans, o);
	}
	return NULL;
}

static int start_thread(pthread_t *thread, void *(*run)(void *), struct exporter *e)
{
	sigset_t all, was;
	int err;

	/* Signals are for the thread that runs the program. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = pthread_create(thread, NULL, run, e);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return -err;
}

static int start_threads(struct exporter *e, char why[EXPORTER_WHY_MAX])
{
	int err = start_thread(&e->sender, e->spool ? run_spool : run_queue, e);

	e->sender_runs = !err;
	if (!err && e->spool) {
		err = start_thread(&e->spooler, run_spooler, e);
		e->spooler_runs = !err;
		if (err)
			tell_sender(e, true);
	}
	return err ? refuse(why, err, "no thread: %s", strerror(-err)) : 0;
}

/* ---- books ---- */

static double read_queued(void *ctx)
{
	struct exporter *e = ctx;
	size_t bytes;

	pthread_mutex_lock(&e->queue.lock);
	bytes = e->queue.bytes;
	pthread_mutex_unlock(&e->queue.lock);
	return (double)bytes;
}

static double read_spooled(void *ctx)
{
	return (double)spool_size(((struct exporter *)ctx)->spool);
}

static double read_count(void *ctx)
{
	return (double)__atomic_load_n((uint64_t *)ctx, __ATOMIC_RELAXED);
}

static int register_books(struct exporter *e)
{
	const struct gauge gauge[GAUGES] = {
		{ "queue_bytes", "Bytes of spans that wait in memory.", "gauge", read_queued, e },
		{ "tries_total", "Requests sent to its endpoints.", "counter", read_count,
		  &e->delivery.tries },
		{ "retries_total", "Requests that were sent again.", "counter", read_count,
		  &e->delivery.retries },
		{ "endpoints_down", "Endpoints that are put aside because they fail.", "gauge",
		  read_count, &e->delivery.down },
		{ "spool_bytes", "Bytes on disk, of spans that wait there.", "gauge", read_spooled,
		  e },
	};
	int err = books_register(&e->queue.books);

	for (size_t i = 0; !err && i < GAUGES - !e->spool; i++) {
		snprintf(e->gauge_name[i], sizeof(e->gauge_name[i]), "%s_%s", e->stage,
			 gauge[i].name);
		e->gauge[i] = gauge[i];
		e->gauge[i].name = e->gauge_name[i];
		err = gauges_register(&e->gauge[i]);
	}
	return err;
}

static void same_stage(void *ctx, const struct books *b)
{
	const char **stage = ctx;

	if (*stage && !strcmp(b->stage, *stage))
		*stage = NULL;
}

/* ---- setting up ---- */

static int check_name(struct exporter *e, const char *name, char why[EXPORTER_WHY_MAX])
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
	const char *stage = e->stage;

	if (!name[0] || strlen(name) >= NAME_BYTES || strspn(name, chars) != strlen(name))
		return refuse(why, -EINVAL, "name: expected at most %d of a-z, 0-9 and _",
			      NAME_BYTES - 1);
	snprintf(e->name, sizeof(e->name), "%s", name);
	snprintf(e->stage, sizeof(e->stage), "export_%s", name);
	books_each(same_stage, &stage);
	if (!stage)
		return refuse(why, -EEXIST, "there is an exporter named %s already", name);
	return 0;
}

static int check_files(const struct exporter_cfg *cfg, char why[EXPORTER_WHY_MAX])
{
	const char *const file[] = { cfg->ca_file, cfg->cert_file, cfg->key_file };

	if (!cfg->cert_file != !cfg->key_file)
		return refuse(why, -EINVAL,
			      "a certificate needs its key, and a key its "
			      "certificate");
	for (size_t i = 0; i < ARRAY_LEN(file); i++)
		if (file[i] && access(file[i], R_OK))
			return refuse(why, -errno, "%s: %s", file[i], strerror(errno));
	return 0;
}

static int open_spool(struct exporter *e, const struct exporter_cfg *cfg,
		      char why[EXPORTER_WHY_MAX])
{
	struct spool_resumed r;
	int err;

	if (!cfg->spool_dir)
		return 0;
	err = spool_open(cfg->spool_dir, e->delivery.kind->format->name,
			 cfg->spool_bytes ? cfg->spool_bytes : SPOOL_BYTES_DEFAULT, &e->spool, &r,
			 why);
	if (err)
		return err;
	queue_resume(&e->queue, r.spans + r.torn_spans);
	queue_settle(&e->queue, r.torn_spans, (struct outcome){ r.torn_spans, DROP_SPOOL_DAMAGED });
	if (r.torn_bytes)
		log_warn("export %s: %llu bytes at the end of its spool were not whole; cut off",
			 e->name, (unsigned long long)r.torn_bytes);
	if (r.spans)
		log_info("export %s: resumes %llu spans of its spool", e->name,
			 (unsigned long long)r.spans);
	return 0;
}

static void free_all(struct exporter *e)
{
	for (size_t i = 0; i < GAUGES; i++)
		gauges_unregister(&e->gauge[i]);
	books_unregister(&e->queue.books);
	delivery_fini(&e->delivery);
	spool_close(e->spool);
	queue_fini(&e->queue);
	free(e);
}

static struct exporter *exporter_alloc(const struct exporter_cfg *cfg, const struct kind *kind,
				       const struct retry_policy *policy)
{
	struct exporter *e = calloc(1, sizeof(*e));
	uint64_t give_up_ms = cfg->give_up_ms;

	if (!e)
		return NULL;
	/* What waits on disk is there for outages that are long. */
	if (!give_up_ms && !cfg->spool_dir)
		give_up_ms = GIVE_UP_MS_DEFAULT;
	e->delivery.kind = kind;
	e->delivery.queue = &e->queue;
	e->delivery.name = e->name;
	e->delivery.policy = *policy;
	e->delivery.give_up_ns = give_up_ms * NS_PER_MS;
	e->queue.format = kind->format;
	e->queue.bytes_max = cfg->queue_bytes ? cfg->queue_bytes : QUEUE_BYTES_DEFAULT;
	e->queue.spans_max = cfg->queue_spans;
	e->queue.batch_spans =
		cfg->batch_spans ? MIN(cfg->batch_spans, BATCH_SPANS_MAX) : BATCH_SPANS_DEFAULT;
	/* one is filled while one is sent */
	if (e->queue.spans_max)
		e->queue.batch_spans = MIN(e->queue.batch_spans, (e->queue.spans_max + 1) / 2);
	e->queue.delay_ns = (cfg->delay_ms ? cfg->delay_ms : DELAY_MS_DEFAULT) * NS_PER_MS;
	queue_init(&e->queue, e->stage);
	return e;
}

int exporter_new_with(const struct exporter_cfg *cfg, const struct retry_policy *policy,
		      struct exporter **ret_exporter, char why[EXPORTER_WHY_MAX])
{
	const struct kind *kind = kind_find(cfg->kind);
	struct exporter_cfg full = *cfg;
	struct exporter *e;
	int err;

	if (!kind)
		return refuse(why, -EINVAL, "no kind of exporter \"%s\"",
			      cfg->kind ? cfg->kind : "");
	e = exporter_alloc(cfg, kind, policy);
	if (!e)
		return refuse(why, -ENOMEM, "no memory");
	full.timeout_ms = cfg->timeout_ms ? cfg->timeout_ms : TIMEOUT_MS_DEFAULT;
	err = check_name(e, cfg->name ? cfg->name : kind->name, why);
	if (!err)
		err = check_files(&full, why);
	if (!err)
		err = delivery_init(&e->delivery, &full, why);
	if (!err)
		err = open_spool(e, cfg, why);
	if (!err) {
		err = register_books(e);
		if (err)
			refuse(why, err, "too many exporters");
	}
	if (!err)
		err = start_threads(e, why);
	if (err) {
		exporter_free(e, 0);
		return err;
	}
	*ret_exporter = e;
	return 0;
}

/* ---- public ---- */

int exporter_new(const struct exporter_cfg *cfg, struct exporter **ret_exporter,
		 char why[EXPORTER_WHY_MAX])
{
	return exporter_new_with(cfg, &retry_default, ret_exporter, why);
}

void exporter_push(struct exporter *e, const struct span *s)
{
	queue_push(&e->queue, s);
}

static bool queue_is_full(struct exporter *e)
{
	bool full;

	pthread_mutex_lock(&e->queue.lock);
	full = e->queue.full;
	pthread_mutex_unlock(&e->queue.lock);
	return full;
}

const char *exporter_state(struct exporter *e, struct buf *text)
{
	const struct {
		bool is_so;
		const char *text;
	} row[] = {
		{ queue_is_full(e), "its queue is full and spans are dropped" },
		{ __atomic_load_n(&e->spool_full, __ATOMIC_RELAXED),
		  "its spool is full and spans are dropped" },
		{ __atomic_load_n(&e->spool_fails, __ATOMIC_RELAXED),
		  "its spool cannot be written to and spans are dropped" },
	};
	size_t begin = text->len;

	delivery_tell(&e->delivery, text);
	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		if (row[i].is_so)
			buf_printf(text, "%s%s", text->len > begin ? "; " : "", row[i].text);
	if (text->len == begin)
		buf_add_str(text, STR("ready"));
	return e->stage;
}

void exporter_stop(struct exporter *e, uint32_t timeout_ms)
{
	queue_stop(&e->queue, clock_mono_ns() + timeout_ms * NS_PER_MS);
	delivery_wake(&e->delivery);
}

void exporter_free(struct exporter *e, uint32_t timeout_ms)
{
	uint64_t lost;

	if (!e)
		return;
	exporter_stop(e, timeout_ms);
	if (e->spooler_runs)
		pthread_join(e->spooler, NULL);
	if (e->sender_runs)
		pthread_join(e->sender, NULL);
	/* the books end here, too */
	lost = book_read(&e->queue.books.dropped[DROP_END]);
	if (lost)
		log_warn("export %s: %llu spans could not be sent before the end; they are lost",
			 e->name, (unsigned long long)lost);
	free_all(e);
}

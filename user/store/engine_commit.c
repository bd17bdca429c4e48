/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that makes heads durable: seals, writes one transaction, tells who waited. */
#include "store/engine.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADS_MAX      16 /* of one transaction */
#define ZSTD_LEVEL     1
#define PROBE_BYTES    (1 << 20)
#define PROBE_EVERY_NS NS_PER_S
/* With nobody waiting a commit may be later by this factor: fewer writes for the same spans. */
#define IDLE_FACTOR 10

static uint64_t due_at(struct engine *e)
{
	uint64_t wait_ns = e->cfg.commit_ms * NS_PER_MS;

	if (e->stop || e->closed.first)
		return 0;
	if (!e->open)
		return UINT64_MAX;
	if (!e->open->waiting_cnt)
		return e->open->since_ns + IDLE_FACTOR * wait_ns;
	/* what is being pushed may go on for as long as nobody waits too long for it */
	return (engine_midway(e, NULL) ? e->open->asked_ns : e->open->since_ns) + wait_ns;
}

/* Moves what is due into 'flying'. False: nothing is left and it is time to end. */
static bool take_due(struct engine *e, uint64_t wake_ns)
{
	uint64_t due, until, now;
	struct timespec t;

	pthread_mutex_lock(&e->lock);
	for (;;) {
		now = clock_mono_ns();
		due = due_at(e);
		until = MIN(due, wake_ns);
		if (until <= now)
			break;
		if (until == UINT64_MAX) {
			pthread_cond_wait(&e->commit_wake, &e->lock);
			continue;
		}
		t = (struct timespec){ (time_t)(until / NS_PER_S), (long)(until % NS_PER_S) };
		pthread_cond_timedwait(&e->commit_wake, &e->lock, &t);
	}
	if (e->open && due <= now && !e->closed.first)
		engine_close_head(e);
	for (int i = 0; i < HEADS_MAX && e->closed.first; i++) {
		struct head *h = e->closed.first;

		e->closed.first = h->next;
		if (!h->next)
			e->closed.end = &e->closed.first;
		h->next = NULL;
		*e->flying.end = h;
		e->flying.end = &h->next;
		e->closed.bytes -= h->bytes;
		e->flying.bytes += h->bytes;
	}
	pthread_mutex_unlock(&e->lock);
	return e->flying.first || !__atomic_load_n(&e->stop, __ATOMIC_RELAXED);
}

/* How often merging may still rewrite a block is told by its size. */
static uint32_t level_of(const struct head *h)
{
	if (h->full || h->spans >= BLOCK_SPANS_MAX / 4)
		return LEVEL_FULL;
	return h->spans < 16 ? 0 : h->spans < 256 ? 1 : 2;
}

static int seal_heads(struct engine *e, struct sealed *sealed, size_t *ret_cnt)
{
	uint64_t now = engine_now(e);
	int err = 0;

	for (struct head *h = e->flying.first; h && !err; h = h->next) {
		struct sealed *s = &sealed[*ret_cnt];

		err = seal_builder(h->builder, ZSTD_LEVEL, now, h->traces, s);
		if (err)
			break;
		s->row.level = level_of(h);
		++*ret_cnt;
	}
	return err;
}

static int write_heads(struct engine *e)
{
	struct sealed sealed[HEADS_MAX] = { 0 };
	struct part *p;
	size_t cnt = 0;
	int err = seal_heads(e, sealed, &cnt);
	bool again;

	for (int tries = 0; tries < 2 && !err; tries++) {
		err = engine_roll(e);
		if (err)
			break;
		p = engine_active(e);
		err = part_commit(p, sealed, cnt, NULL, 0);
		if (err == -EBADMSG)
			part_set_aside(p, err);
		/* the file is broken, or deleted: the next try begins another */
		again = err && part_is_aside(p);
		part_put(p);
		if (!again)
			break;
		err = tries ? err : 0;
	}
	for (size_t i = 0; i < cnt; i++)
		sealed_fini(&sealed[i]);
	return err;
}

static void log_change(struct engine *e, int err)
{
	if (err == e->commit_err)
		return;
	if (err == -ENOSPC)
		log_error("store: %s: no space left; new spans are refused until there is, reading "
			  "goes on",
			  e->dir);
	else if (err)
		log_error("store: %s: writing failed (%s); those spans are lost to it", e->dir,
			  strerror(-err));
	else
		log_info("store: %s: writing goes on", e->dir);
	e->commit_err = err;
}

void engine_refuse(struct engine *e, int err)
{
	e->refusing = err;
	log_change(e, err);
}

/* Whoever has spans in a head that failed must hear of it, now or at the next sync. */
static void spread_error(struct engine *e, uint64_t from, uint64_t to, int err)
{
	struct head *lists[] = { e->closed.first, e->open };

	for (struct writer *w = e->writers; w; w = w->next)
		if (w->first && w->first <= to && w->last >= from)
			w->err = err;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (struct head *h = lists[l]; h; h = h->next)
			for (size_t i = 0; i < h->waiting_cnt; i++)
				if (h->waiting[i].first <= to)
					h->waiting[i].err = err;
}

static void finish(struct engine *e, int err)
{
	enum drop_reason why = err == -ENOSPC	? DROP_DISK_FULL
			       : err == -ENOMEM ? DROP_NO_MEMORY
						: DROP_IO_ERROR;
	struct head *h, *done, *next;
	uint64_t from, to;

	pthread_mutex_lock(&e->lock);
	done = e->flying.first;
	from = to = done->epoch;
	for (h = done; h; h = h->next) {
		to = h->epoch;
		book_add(&e->books.held, -(uint64_t)h->spans);
		book_add(err ? &e->books.dropped[why] : &e->books.out, h->spans);
	}
	if (err)
		spread_error(e, from, to, err);
	e->refusing = err == -ENOSPC ? err : 0;
	e->done_epoch = to;
	e->flying = (struct head_list){ .end = &e->flying.first };
	pthread_mutex_unlock(&e->lock);
	log_change(e, err);
	for (h = done; h; h = h->next)
		for (size_t i = 0; i < h->waiting_cnt; i++) {
			struct waiting *w = &h->waiting[i];

			w->ack.done(w->ack.ctx, err ? err : w->err);
		}
	pthread_mutex_lock(&e->lock);
	for (h = done; h; h = next) {
		next = h->next;
		engine_recycle(e, h);
	}
	pthread_mutex_unlock(&e->lock);
}

/* Is there room again? A file is written, not statvfs asked: quotas do not show there. */
static void probe(struct engine *e)
{
	int fd = openat(e->dir_fd, "part-probe", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool room = fd >= 0 && posix_fallocate(fd, 0, PROBE_BYTES) == 0;

	if (fd >= 0)
		close(fd);
	unlinkat(e->dir_fd, "part-probe", 0);
	if (!room)
		return;
	pthread_mutex_lock(&e->lock);
	e->refusing = 0;
	pthread_mutex_unlock(&e->lock);
	log_change(e, 0);
}

void *commit_main(void *engine)
{
	struct engine *e = engine;
	uint64_t probe_ns = e->commit_err ? clock_mono_ns() : UINT64_MAX;
	struct part *p;

	while (take_due(e, probe_ns)) {
		if (e->flying.first) {
			finish(e, write_heads(e));
			p = engine_active(e);
			part_checkpoint(p, false);
			part_put(p);
		} else if (e->commit_err == -ENOSPC) {
			probe(e);
		}
		probe_ns = e->commit_err == -ENOSPC ? clock_mono_ns() + PROBE_EVERY_NS : UINT64_MAX;
	}
	return NULL;
}

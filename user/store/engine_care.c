/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of low priority: merges small blocks, lets old partitions go. */
#include "store/engine.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CARE_EVERY_NS NS_PER_S
#define NICE	      5
#define RESERVE_NAME  "part-reserve"
#define RESERVE_BYTES (128 << 10)
/* After the opening nothing goes for its age: a clock that is wrong at the start of a machine is
 * set right by then. */
#define SETTING_NS (600 * NS_PER_S)

static bool stopping(struct engine *e)
{
	return __atomic_load_n(&e->stop, __ATOMIC_RELAXED);
}

/* A partition that is written no more: everything merged, its log moved into it. */
static void settle(struct engine *e, struct part *p)
{
	int err;

	do
		err = part_compact(p, true);
	while (err == 1 && !stopping(e));
	if (err && err != -EBADMSG && err != -EIO)
		return; /* a full disk, say: later again */
	err = part_shrink(p);
	if (!err)
		err = part_checkpoint(p, true);
	pthread_mutex_lock(&p->write_lock);
	conn_close(p->writer);
	p->writer = NULL;
	pthread_mutex_unlock(&p->write_lock);
	p->settled = err != -EBUSY && err != -ENOSPC;
}

static bool is_full(struct engine *e)
{
	bool full;

	pthread_mutex_lock(&e->lock);
	full = e->refusing == -ENOSPC;
	pthread_mutex_unlock(&e->lock);
	return full;
}

static void thaw(struct engine *e, struct part **parts, size_t cnt)
{
	for (size_t i = 0; i < cnt && !is_full(e); i++)
		if (part_is_frozen(parts[i]))
			part_thaw(parts[i]);
}

static void compact(struct engine *e, struct part **parts, size_t cnt)
{
	for (size_t i = 0; i < cnt && !stopping(e) && !is_full(e); i++) {
		struct part *p = parts[i];

		if (!p->seq || p->settled || part_is_aside(p) || part_is_frozen(p))
			continue;
		if (i) {
			settle(e, p);
			continue;
		}
		while (!stopping(e) && part_compact(p, false) == 1)
			part_checkpoint(p, false);
	}
}

static bool is_too_old(struct engine *e, const struct part *p)
{
	uint64_t end = part_end_ns(p), now = engine_now_for_age(e);

	return e->cfg.retention_ns && now > end && now - end > e->cfg.retention_ns &&
	       engine_now(e) - e->clock_base_ns >= MIN(SETTING_NS, e->part_ns);
}

/* A little room is kept for what outlives a partition: where the store itself has filled the disk,
 * nothing could go otherwise, and nothing come again. */
static void keep_reserve(struct engine *e)
{
	int fd;

	if (e->reserved)
		return;
	fd = openat(e->dir_fd, RESERVE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	e->reserved = fd >= 0 && posix_fallocate(fd, 0, RESERVE_BYTES) == 0;
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && !e->reserved)
		unlinkat(e->dir_fd, RESERVE_NAME, 0);
}

static bool use_reserve(struct engine *e)
{
	bool had = e->reserved;

	e->reserved = false;
	return had && unlinkat(e->dir_fd, RESERVE_NAME, 0) == 0;
}

/* What outlives it is written first; without that it stays. */
static bool let_go(struct engine *e, struct part *p)
{
	int err = part_save(p);

	if (err == -ENOSPC && use_reserve(e))
		err = part_save(p);

	if (err) {
		if (!p->overdue)
			log_warn("store: %s should go, but what is to be kept of it cannot be "
				 "written: %s",
				 p->path, strerror(-err));
		p->overdue = true;
		return false;
	}
	log_debug("store: %s goes: past what is to be kept", p->path);
	engine_drop_part(e, p);
	return true;
}

static uint64_t spans_of(struct part *p)
{
	uint64_t spans = 0;
	struct view v;

	if (part_is_aside(p) || view_open(p, &v))
		return 0;
	for (uint32_t i = 0; i < v.list->cnt; i++)
		spans += v.list->row[i].spans;
	view_close(&v);
	return spans;
}

/* parts: newest first, store.db last. The first is being written and stays; when nothing comes any
 * more another takes its place. */
static void retain(struct engine *e, struct part **parts, size_t cnt)
{
	uint64_t bytes = 0;

	if (is_too_old(e, parts[0]) && __atomic_load_n(&parts[0]->used, __ATOMIC_RELAXED))
		engine_roll(e);
	for (size_t i = 0; i < cnt; i++)
		bytes += i ? part_bytes_settled(parts[i]) : part_bytes(parts[i]);
	for (size_t i = cnt; i-- > 1 && !stopping(e);) {
		struct part *p = parts[i];
		bool old = is_too_old(e, p);
		uint64_t size, spans;

		if (!p->seq)
			continue;
		if (!old && !(e->cfg.max_bytes && bytes > e->cfg.max_bytes))
			break;
		size = part_bytes_settled(p);
		spans = spans_of(p);
		/* one that cannot go yet stops no other: that may make the room it needs */
		if (!let_go(e, p))
			continue;
		bytes -= size;
		__atomic_add_fetch(old ? &e->aged : &e->crowded, spans, __ATOMIC_RELAXED);
	}
}

void *care_main(void *engine)
{
	struct engine *e = engine;
	struct part **parts;
	struct timespec t;
	uint64_t until;
	size_t cnt;

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	while (!stopping(e)) {
		if (!engine_parts(e, &parts, &cnt)) {
			keep_reserve(e);
			thaw(e, parts, cnt);
			retain(e, parts, cnt);
			compact(e, parts, cnt);
			engine_parts_put(parts, cnt);
		}
		until = clock_mono_ns() + CARE_EVERY_NS;
		t = (struct timespec){ (time_t)(until / NS_PER_S), (long)(until % NS_PER_S) };
		pthread_mutex_lock(&e->lock);
		if (!e->stop)
			pthread_cond_timedwait(&e->care_wake, &e->lock, &t);
		pthread_mutex_unlock(&e->lock);
	}
	return NULL;
}

/* ---- starting and stopping ----------------------------------------------------------------- */

static double read_figure(void *figure)
{
	return (double)__atomic_load_n((uint64_t *)figure, __ATOMIC_RELAXED);
}

static double read_queued(void *ctx)
{
	struct engine *e = ctx;
	size_t bytes;

	pthread_mutex_lock(&e->lock);
	bytes = engine_queued(e);
	pthread_mutex_unlock(&e->lock);
	return (double)bytes;
}

static double read_bytes(void *ctx)
{
	return (double)engine_bytes(ctx);
}

static void register_figures(struct engine *e)
{
	const struct gauge figures[] = {
		{ "store_bad_blocks_total", "corrupted blocks that were found and skipped",
		  "counter", read_figure, &e->bad_blocks },
		{ "store_spans_past_age_total", "spans of partitions that went for their age",
		  "counter", read_figure, &e->aged },
		{ "store_spans_past_bytes_total",
		  "spans of partitions that went, younger, because the store was too large",
		  "counter", read_figure, &e->crowded },
		{ "store_unsifted_searches_total",
		  "searches of whole traces, of which too many are apart to be told from the rest",
		  "counter", read_figure, &e->unsifted },
		{ "store_queue_bytes", "memory of spans that are not durable yet", "gauge",
		  read_queued, e },
		{ "store_bytes", "files of the store", "gauge", read_bytes, e },
	};

	_Static_assert(ARRAY_LEN(figures) == ARRAY_LEN(e->gauges), "one gauge each");
	for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
		e->gauges[i] = figures[i];
		gauges_register(&e->gauges[i]);
	}
	e->books = (struct books){
		.stage = "store",
		.unit = "span",
		.reason = { [DROP_QUEUE_FULL] = "queue_full",
			    [DROP_DISK_FULL] = "disk_full",
			    [DROP_TOO_LARGE] = "too_large",
			    [DROP_IO_ERROR] = "io_error",
			    [DROP_NO_MEMORY] = "no_memory" },
	};
	books_register(&e->books);
}

int engine_start(struct engine *e)
{
	register_figures(e);
	e->commit_runs = !pthread_create(&e->commit_thread, NULL, commit_main, e);
	e->care_runs = !pthread_create(&e->care_thread, NULL, care_main, e);
	return e->commit_runs && e->care_runs ? 0 : -EAGAIN;
}

void engine_stop(struct engine *e)
{
	pthread_mutex_lock(&e->lock);
	__atomic_store_n(&e->stop, true, __ATOMIC_RELAXED);
	pthread_cond_signal(&e->commit_wake);
	pthread_cond_signal(&e->care_wake);
	pthread_mutex_unlock(&e->lock);
	if (e->commit_runs)
		pthread_join(e->commit_thread, NULL);
	if (e->care_runs)
		pthread_join(e->care_thread, NULL);
	for (size_t i = 0; i < ARRAY_LEN(e->gauges); i++)
		gauges_unregister(&e->gauges[i]);
	books_unregister(&e->books);
}

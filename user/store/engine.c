/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded engine: opening its directory, its list of partitions, closing. */
#include "store/engine.h"

#include "core/clock.h"
#include "core/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_NS_FOREVER (7ull * 24 * 3600 * NS_PER_S) /* without retention */
#define PART_BYTES_MIN	(256u << 10)
/* of a store so small that a 24th of it would be filled by what each partition has */
#define PARTS_PER_SMALL_LIFE  8
#define PART_BYTES_MOST_SMALL (1u << 20)
#define WAL_BYTES	      (8u << 20)
#define MISSING_TOLD	      8
#define CLOCK_SET_NS	      (1577836800ull * NS_PER_S) /* 2020: before, no clock was right */

uint64_t engine_now(const struct engine *e)
{
	return e->clock_base_ns + (clock_read(CLOCK_BOOTTIME) - e->clock_boot_ns);
}

uint64_t engine_now_for_age(const struct engine *e)
{
	return MIN(engine_now(e), clock_real_ns());
}

/* ---- the list of partitions ---------------------------------------------------------------- */

static int by_seq(const void *a, const void *b)
{
	const struct part *const *x = a, *const *y = b;

	return ((*x)->seq > (*y)->seq) - ((*x)->seq < (*y)->seq);
}

int engine_add_part(struct engine *e, struct part *p)
{
	struct part **more;
	int err = 0;

	pthread_mutex_lock(&e->lock);
	if (e->part_cnt == e->part_size) {
		size_t size = e->part_size ? 2 * e->part_size : 32;

		more = realloc(e->parts, size * sizeof(struct part *));
		if (more) {
			e->parts = more;
			e->part_size = size;
		} else {
			err = -ENOMEM;
		}
	}
	if (!err) {
		e->parts[e->part_cnt++] = p;
		qsort(e->parts, e->part_cnt, sizeof(struct part *), by_seq);
	}
	pthread_mutex_unlock(&e->lock);
	return err;
}

void engine_drop_part(struct engine *e, struct part *p)
{
	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < e->part_cnt; i++) {
		if (e->parts[i] != p)
			continue;
		memmove(&e->parts[i], &e->parts[i + 1],
			(e->part_cnt - i - 1) * sizeof(struct part *));
		e->part_cnt--;
		p->gone = true;
		break;
	}
	pthread_mutex_unlock(&e->lock);
	part_put(p);
}

int engine_parts(struct engine *e, struct part ***ret_parts, size_t *ret_cnt)
{
	struct part **parts;
	size_t cnt;

	pthread_mutex_lock(&e->lock);
	cnt = e->part_cnt;
	parts = malloc((cnt + 1) * sizeof(struct part *));
	for (size_t i = 0; i < cnt && parts; i++)
		parts[i] = part_get(e->parts[cnt - 1 - i]);
	pthread_mutex_unlock(&e->lock);
	if (!parts)
		return -ENOMEM;
	*ret_parts = parts;
	*ret_cnt = cnt;
	return 0;
}

void engine_parts_put(struct part **parts, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		part_put(parts[i]);
	free(parts);
}

struct part *engine_active(struct engine *e)
{
	struct part *p;

	pthread_mutex_lock(&e->lock);
	p = part_get(e->parts[e->part_cnt - 1]);
	pthread_mutex_unlock(&e->lock);
	return p;
}

static bool roll_due(struct engine *e, struct part *last)
{
	return !last->seq || part_is_aside(last) || part_is_frozen(last) ||
	       engine_now(e) - last->begin_ns >= e->part_ns ||
	       (e->part_share &&
		__atomic_load_n(&last->live_bytes, __ATOMIC_RELAXED) >= e->part_share);
}

int engine_roll(struct engine *e)
{
	struct part *last, *p = NULL;
	int err = 0;

	pthread_mutex_lock(&e->roll_lock);
	last = engine_active(e);
	if (part_is_frozen(last))
		part_thaw(last);
	if (roll_due(e, last)) {
		err = part_create(e, MAX(last->seq, e->saved_seq) + 1, engine_now(e), &p);
		if (!err)
			err = engine_add_part(e, p);
		if (err) {
			part_put(p);
		} else {
			pthread_mutex_lock(&e->lock);
			distinct_reset(e->distinct);
			pthread_cond_signal(&e->care_wake);
			pthread_mutex_unlock(&e->lock);
		}
		/* where no other can be begun, the last is continued */
		if (err && last->seq && !part_is_aside(last) && !part_is_frozen(last)) {
			log_debug("store: %s: no new partition: %s", e->dir, strerror(-err));
			err = 0;
		}
	}
	part_put(last);
	pthread_mutex_unlock(&e->roll_lock);
	return err;
}

/* ---- opening ------------------------------------------------------------------------------- */

static int take_lock(struct engine *e, char why[STORE_WHY_MAX])
{
	char pid[32];
	ssize_t len;
	int err;

	e->lock_fd = openat(e->dir_fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (e->lock_fd < 0) {
		err = -errno;
		snprintf(why, STORE_WHY_MAX, "%s/LOCK: %s", e->dir, strerror(-err));
		return err;
	}
	if (flock(e->lock_fd, LOCK_EX | LOCK_NB)) {
		len = pread(e->lock_fd, pid, sizeof(pid), 0);
		snprintf(why, STORE_WHY_MAX,
			 "%s: process " STR_FMT
			 " writes to this store; stop it or name another directory",
			 e->dir, STR_ARG(str_trim((struct str){ pid, len > 0 ? (size_t)len : 0 })));
		return -EBUSY;
	}
	len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* for the message above alone: the lock is what counts */
	if (ftruncate(e->lock_fd, 0) || pwrite(e->lock_fd, pid, (size_t)len, 0) != len)
		log_debug("store: %s/LOCK: %s", e->dir, strerror(errno));
	return 0;
}

static int open_dir(struct engine *e, char why[STORE_WHY_MAX])
{
	int err = 0;

	if (!e->cfg.read_only && mkdir(e->dir, 0700) && errno != EEXIST)
		err = -errno;
	if (!err) {
		e->dir_fd = open(e->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (e->dir_fd < 0)
			err = -errno;
	}
	if (err)
		snprintf(why, STORE_WHY_MAX, "store %s: %s", e->dir, strerror(-err));
	return err;
}

struct found {
	uint64_t *seq;
	size_t cnt;
	bool keep; /* store.db */
	bool ours, others;
};

static int note_entry(struct found *f, const char *name)
{
	unsigned long long seq = 0;
	uint64_t *more;
	int end = 0;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0)
		return 0;
	if (sscanf(name, "part-%10llu.db%n", &seq, &end) == 1 && end && !name[end] && seq) {
		more = realloc(f->seq, (f->cnt + 1) * sizeof(uint64_t));
		if (!more)
			return -ENOMEM;
		f->seq = more;
		f->seq[f->cnt++] = seq;
		f->ours = true;
	} else if (strncmp(name, "store.db", 8) == 0 || strcmp(name, "LOCK") == 0 ||
		   strncmp(name, "part-", 5) == 0) {
		f->keep = f->keep || strcmp(name, "store.db") == 0;
		f->ours = true;
	} else {
		f->others = true;
	}
	return 0;
}

static int look_around(struct engine *e, struct found *f, char why[STORE_WHY_MAX])
{
	DIR *d = opendir(e->dir);
	struct dirent *entry;
	int err = d ? 0 : -errno;

	while (!err && (entry = readdir(d)))
		err = note_entry(f, entry->d_name);
	if (d)
		closedir(d);
	if (err)
		snprintf(why, STORE_WHY_MAX, "store %s: %s", e->dir, strerror(-err));
	if (!err && ((f->others && !f->ours) || (e->cfg.read_only && !f->keep && !f->cnt))) {
		err = -EBADMSG;
		snprintf(why, STORE_WHY_MAX, "%s is not a store%s", e->dir,
			 e->cfg.read_only ? "" : ": it holds other files; name an empty directory");
	}
	return err;
}

static int explain(struct engine *e, int err, char why[STORE_WHY_MAX])
{
	if (err == -EKEYREJECTED && e->crypt.on)
		snprintf(why, STORE_WHY_MAX,
			 "store %s: this key is not the one it was made with (or it was made "
			 "without one)",
			 e->dir);
	else if (err == -EKEYREJECTED)
		snprintf(why, STORE_WHY_MAX,
			 "store %s is encrypted: its key is needed (--store-key-file)", e->dir);
	else
		snprintf(why, STORE_WHY_MAX, "store %s: %s", e->dir, strerror(-err));
	return err;
}

/* Adds one that is there; what is corrupted is left out with a line in the log. */
static int adopt(struct engine *e, uint64_t seq)
{
	struct part *p = NULL;
	int err = part_open(e, seq, &p);

	if (err == -EBADMSG || err == -EIO || err == -EROFS || err == -ENOSPC) {
		part_set_aside(p, err);
		err = 0;
	} else if (err && err != -ENOENT && err != -EKEYREJECTED && p) {
		log_error("store: %s cannot be opened: %s", p->path, strerror(-err));
	}
	if (!err)
		err = engine_add_part(e, p);
	if (err)
		part_put(p);
	return err;
}

/* A store.db that cannot be read makes way for a new one: it holds the lesser part. */
static int adopt_keep(struct engine *e)
{
	struct part *p = NULL;
	char to[4096];
	int err = part_open(e, 0, &p);

	if (err == -EBADMSG && !e->cfg.read_only) {
		snprintf(to, sizeof(to), "%s.corrupted-%llu", p->path,
			 (unsigned long long)(clock_real_ns() / NS_PER_S));
		if (rename(p->path, to))
			return -errno;
		log_error("store: %s is corrupted; archive and summaries begin anew, it is kept as "
			  "%s",
			  p->path, to);
		err = -ENOENT;
	}
	if (err == -ENOENT && !e->cfg.read_only) {
		part_put(p);
		p = NULL;
		err = part_create(e, 0, clock_real_ns(), &p);
	} else if (err == -ENOENT || err == -EBADMSG) {
		part_set_aside(p, err);
		err = 0;
	}
	if (!err)
		err = engine_add_part(e, p);
	if (err)
		part_put(p);
	return err;
}

/* Times of receipt are what the machine's clock said, which may have been wrong. One that is still
 * to come, or of long before this program, tells nothing: the partition counts as received when the
 * next one began. And none is older than those before it. */
static void adopt_times(struct engine *e)
{
	uint64_t now = clock_real_ns(), next = now, before = 0;

	for (size_t i = e->part_cnt; i-- > 1;) {
		struct part *p = e->parts[i];

		if (p->end_ns > now || p->end_ns < CLOCK_SET_NS)
			p->begin_ns = p->end_ns = next;
		next = MIN(p->begin_ns, now);
	}
	for (size_t i = 1; i < e->part_cnt; i++)
		before = e->parts[i]->end_ns = MAX(e->parts[i]->end_ns, before);
	e->clock_boot_ns = clock_read(CLOCK_BOOTTIME);
	e->clock_base_ns = now;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Numbers without a file between those that have one: not by our doing. */
static void tell_missing(struct engine *e, struct found *f)
{
	uint64_t told = 0;

	if (f->cnt)
		qsort(f->seq, f->cnt, sizeof(f->seq[0]), by_number);
	for (size_t i = 1; i < f->cnt; i++)
		for (uint64_t seq = f->seq[i - 1] + 1; seq < f->seq[i] && told < MISSING_TOLD;
		     seq++) {
			if (part_was_saved(e->parts[0], seq))
				continue;
			log_warn("store: %s/part-%010llu.db is missing, with all that it held",
				 e->dir, (unsigned long long)seq);
			told++;
		}
}

static int adopt_all(struct engine *e, struct found *f, char why[STORE_WHY_MAX])
{
	int err = adopt_keep(e);

	if (!err)
		e->saved_seq = part_last_saved(e->parts[0]);
	for (size_t i = 0; i < f->cnt && !err; i++) {
		if (part_was_saved(e->parts[0], f->seq[i])) {
			if (!e->cfg.read_only)
				part_remove_files(e, f->seq[i]);
			continue;
		}
		err = adopt(e, f->seq[i]);
		if (err == -ENOENT)
			err = 0;
	}
	if (err)
		return explain(e, err, why);
	tell_missing(e, f);
	adopt_times(e);
	return 0;
}

static void engine_close(struct store *s)
{
	struct engine *e = (struct engine *)s;

	engine_stop(e);
	for (size_t i = 0; i < e->part_cnt; i++)
		part_put(e->parts[i]);
	free(e->parts);
	open_cache_fini(&e->open_blocks);
	cache_fini(&e->cache);
	apart_release(e->apart);
	pthread_mutex_destroy(&e->apart_lock);
	head_free(e->open);
	head_free(e->closed.first);
	head_free(e->flying.first);
	head_free(e->spare);
	distinct_free(e->distinct);
	if (e->lock_fd >= 0)
		close(e->lock_fd);
	if (e->dir_fd >= 0)
		close(e->dir_fd);
	pthread_mutex_destroy(&e->roll_lock);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->commit_wake);
	pthread_cond_destroy(&e->care_wake);
	sodium_memzero(&e->crypt, sizeof(e->crypt));
	free(e->dir);
	free(e);
}

/* A partition's own pages and shared memory are 100 kB: where that is much, fewer are made. */
static uint64_t share_of(uint64_t max_bytes)
{
	uint64_t fewer = MIN(max_bytes / PARTS_PER_SMALL_LIFE, PART_BYTES_MOST_SMALL);

	return MAX(MAX(max_bytes / PARTS_PER_LIFE, fewer), PART_BYTES_MIN);
}

static struct engine *engine_new(const struct store_cfg *cfg)
{
	struct engine *e = calloc(1, sizeof(*e));
	pthread_condattr_t attr;

	if (!e)
		return NULL;
	e->base.ops = &engine_embedded;
	e->cfg = *cfg;
	e->part_ns =
		cfg->retention_ns ? MAX(cfg->retention_ns / PARTS_PER_LIFE, 1) : PART_NS_FOREVER;
	e->part_share = cfg->max_bytes ? share_of(cfg->max_bytes) : 0;
	e->wal_pages =
		(int)((e->part_share ? MIN(e->part_share / 2, WAL_BYTES) : WAL_BYTES) / PAGE_BYTES);
	e->dir_fd = e->lock_fd = -1;
	e->closed.end = &e->closed.first;
	e->flying.end = &e->flying.first;
	cache_init(&e->cache);
	pthread_mutex_init(&e->apart_lock, NULL);
	open_cache_init(&e->open_blocks);
	pthread_mutex_init(&e->roll_lock, NULL);
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->commit_wake, &attr);
	pthread_cond_init(&e->care_wake, &attr);
	pthread_condattr_destroy(&attr);
	e->dir = strdup(cfg->where);
	e->distinct = distinct_new();
	if (!e->dir || !e->distinct) {
		engine_close(&e->base);
		return NULL;
	}
	/* borrowed for the call only */
	e->cfg.where = e->cfg.key_file = e->cfg.key = NULL;
	return e;
}

static int engine_open(const struct store_cfg *cfg, struct store **ret_store,
		       char why[STORE_WHY_MAX])
{
	struct engine *e = engine_new(cfg);
	struct found f = { 0 };
	int err;

	if (!e)
		return -ENOMEM;
	err = crypt_load(cfg, &e->crypt, why);
	if (!err)
		err = open_dir(e, why);
	if (!err)
		err = look_around(e, &f, why);
	if (!err && !cfg->read_only)
		err = take_lock(e, why);
	if (!err)
		err = adopt_all(e, &f, why);
	if (!err && !cfg->read_only) {
		err = engine_roll(e);
		if (err == -ENOSPC) { /* what is there is served */
			engine_refuse(e, err);
			err = 0;
		}
		if (!err)
			err = engine_start(e);
		if (err)
			explain(e, err, why);
	}
	free(f.seq);
	if (err) {
		engine_close(&e->base);
		return err;
	}
	*ret_store = &e->base;
	return 0;
}

const struct store_ops engine_embedded = {
	.open = engine_open,
	.close = engine_close,
	.writer_new = engine_writer_new,
	.writer_push = engine_push,
	.writer_sync = engine_sync,
	.writer_free = engine_writer_free,
	.admits = engine_admits,
	.traces = engine_traces,
	.trace_fields = engine_trace_fields,
	.scan = engine_scan,
	.sieve_new = engine_sieve_new,
	.sieve_narrow = engine_sieve_narrow,
	.services = engine_services,
	.operations = engine_operations,
	.tags = engine_tags,
	.values = engine_values,
	.stats = engine_stats,
	.archive = engine_archive,
	.archived = engine_archived,
	.check = engine_check,
	.rollups = engine_rollups,
};

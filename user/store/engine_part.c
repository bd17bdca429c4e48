/* SPDX-License-Identifier: Apache-2.0 */
/* A partition: one SQLite file, made whole or not at all. */
#include "store/engine.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x74656c6c /* "tell" */
#define USER_VERSION   1
#define SHM_BYTES      32768 /* of SQLite, beside each log */
#define TEXT_OF_(x)    #x
#define TEXT_OF(x)     TEXT_OF_(x)

static const char canary_text[] = "telltale store";

static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE block(id INTEGER PRIMARY KEY, received INTEGER, level INTEGER,"
	" spans INTEGER, traces INTEGER, errors INTEGER, start_min INTEGER, start_max INTEGER,"
	" duration_max INTEGER);"
	"CREATE TABLE data(id INTEGER PRIMARY KEY, filter BLOB, body BLOB);";

static const char schema_keep[] =
	"CREATE TABLE archived(trace BLOB PRIMARY KEY) WITHOUT ROWID;"
	"CREATE TABLE archive_block(trace BLOB, id INTEGER, PRIMARY KEY(trace, id)) WITHOUT ROWID;"
	"CREATE TABLE rollup(hour INTEGER PRIMARY KEY, data BLOB);"
	"CREATE TABLE gone(seq INTEGER PRIMARY KEY);";

static const char *const suffix[] = { "", "-wal", "-shm" };

static void remove_files(const char *path)
{
	char name[4096];

	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffix[i]);
		unlink(name);
	}
}

struct part *part_get(struct part *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void part_put(struct part *p)
{
	struct conn *c, *next;

	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (c = p->idle; c; c = next) {
		next = c->next;
		conn_close(c);
	}
	conn_close(p->writer);
	free(p->list);
	if (p->gone)
		remove_files(p->path);
	pthread_mutex_destroy(&p->write_lock);
	pthread_mutex_destroy(&p->lock);
	free(p->path);
	free(p);
}

static struct part *part_new(struct engine *e, uint64_t seq)
{
	struct part *p = calloc(1, sizeof(*p));
	int len;

	if (!p)
		return NULL;
	if (seq)
		len = asprintf(&p->path, "%s/part-%010llu.db", e->dir, (unsigned long long)seq);
	else
		len = asprintf(&p->path, "%s/store.db", e->dir);
	if (len < 0) {
		free(p);
		return NULL;
	}
	p->engine = e;
	p->seq = seq;
	p->refs = 1;
	pthread_mutex_init(&p->write_lock, NULL);
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

/* Is the key that of this file? */
static int check_canary(struct part *p, sqlite3 *db)
{
	const struct crypt *c = &p->engine->crypt;
	sqlite3_stmt *s = NULL;
	struct buf plain = { 0 };
	struct str value;
	int err = sql_prepare(db, "SELECT value FROM meta WHERE key='canary'", &s);

	if (err)
		return err;
	if (sqlite3_step(s) != SQLITE_ROW) {
		err = -EBADMSG;
		goto out;
	}
	value.p = sqlite3_column_blob(s, 0);
	value.len = (size_t)sqlite3_column_bytes(s, 0);
	err = crypt_open(c, (struct place){ p->seq, 0, PLACE_CANARY }, value, &plain);
	if (err != -ENOMEM && (err || !str_eq(buf_str(&plain), STR(canary_text))))
		err = -EKEYREJECTED;
out:
	sqlite3_finalize(s);
	buf_fini(&plain);
	return err;
}

static int check_file(struct part *p, sqlite3 *db)
{
	uint64_t id = 0, version = 0, tables = 0;
	int err = sql_number(db, "PRAGMA application_id", &id);

	if (!err)
		err = sql_number(db, "PRAGMA user_version", &version);
	if (!err)
		err = sql_number(db, "SELECT count(*) FROM sqlite_master", &tables);
	if (err)
		return err;
	if (!version && !tables)
		return -ENODATA; /* its first transaction never ended */
	if (id != APPLICATION_ID || version != USER_VERSION)
		return -EBADMSG;
	err = sql_number(db, "SELECT value FROM meta WHERE key='begin'", &p->begin_ns);
	if (!err)
		err = sql_live_bytes(db, &p->live_bytes);
	return err ? err : check_canary(p, db);
}

void part_remove_files(struct engine *e, uint64_t seq)
{
	struct part *p = part_new(e, seq);

	if (p)
		remove_files(p->path);
	part_put(p);
}

/* Where there is no room to read it through a log, it is read without: when its own is empty. Where
 * nothing may be written SQLite misses the file that it would share with others (-ENOENT). */
static bool freeze(struct part *p, int err)
{
	bool read_only = p->engine->cfg.read_only;
	char log[4096];
	struct stat st;

	if (err != -ENOSPC && !(read_only && (err == -EROFS || err == -EACCES || err == -ENOENT)))
		return false;
	snprintf(log, sizeof(log), "%s%s", p->path, suffix[1]);
	p->frozen = stat(log, &st) != 0 || st.st_size == 0;
	return p->frozen;
}

static int try_file(struct part *p, struct view *ret_view)
{
	int flags = p->engine->cfg.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
	struct conn *c = NULL;
	int err = p->frozen ? conn_open_frozen(p->path, &c) : conn_open(p->path, flags, &c);

	if (!err)
		err = check_file(p, c->db);
	conn_close(c);
	return err ? err : view_open(p, ret_view);
}

int part_open(struct engine *e, uint64_t seq, struct part **ret_part)
{
	struct part *p = part_new(e, seq);
	struct stat st;
	struct view v;
	int err;

	if (!p)
		return -ENOMEM;
	*ret_part = p;
	if (stat(p->path, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) /* opening a pipe would wait for its other end */
		return -EBADMSG;
	/* of a file that cannot be read it is the best there is: it must not seem ages old */
	p->begin_ns = p->end_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_S;
	err = try_file(p, &v);
	if (err && freeze(p, err))
		err = try_file(p, &v);
	if (err == -ENODATA && !e->cfg.read_only)
		remove_files(p->path);
	if (err) /* what is there and cannot be opened is not to be passed over */
		return err == -ENODATA ? -ENOENT : err == -ENOENT ? -EIO : err;
	p->end_ns = p->begin_ns;
	for (uint32_t i = 0; i < v.list->cnt; i++)
		p->end_ns = MAX(p->end_ns, v.list->row[i].received_ns);
	p->used = v.list->cnt > 0;
	view_close(&v);
	return 0;
}

static int write_meta(struct part *p, sqlite3 *db)
{
	struct place at = { p->seq, 0, PLACE_CANARY };
	struct buf canary = { 0 };
	sqlite3_stmt *s = NULL;
	int err = crypt_seal(&p->engine->crypt, at, STR(canary_text), &canary);

	if (!err)
		err = sql_prepare(db, "INSERT INTO meta VALUES('begin', ?), ('canary', ?)", &s);
	if (!err) {
		sqlite3_bind_int64(s, 1, (int64_t)p->begin_ns);
		sqlite3_bind_blob64(s, 2, canary.p, canary.len, SQLITE_STATIC);
		err = sql_run(s);
	}
	sqlite3_finalize(s);
	buf_fini(&canary);
	return err;
}

static int write_schema(struct part *p, sqlite3 *db)
{
	int err = sql_exec(
		db, "PRAGMA page_size=" TEXT_OF(
			    PAGE_BYTES) ";"
					"PRAGMA auto_vacuum=INCREMENTAL;"
					"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; BEGIN");

	if (!err)
		err = sql_exec(db, schema);
	if (!err && !p->seq)
		err = sql_exec(db, schema_keep);
	if (!err)
		err = write_meta(p, db);
	if (!err)
		err = sql_exec(db, "PRAGMA application_id=" TEXT_OF(
					   APPLICATION_ID) ";"
							   "PRAGMA user_version=" TEXT_OF(
								   USER_VERSION) "; COMMIT");
	return err;
}

int part_create(struct engine *e, uint64_t seq, uint64_t begin_ns, struct part **ret_part)
{
	struct part *p = part_new(e, seq);
	struct conn *c = NULL;
	struct view v;
	int err = 0, fd;

	if (!p)
		return -ENOMEM;
	p->begin_ns = p->end_ns = begin_ns;
	remove_files(p->path);
	/* SQLite would let others read it; its log takes the same mode */
	fd = open(p->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		err = -errno;
	else
		close(fd);
	if (!err)
		err = conn_open(p->path, SQLITE_OPEN_READWRITE, &c);
	if (!err)
		err = write_schema(p, c->db);
	/* its name must be as durable as what it will hold */
	if (!err && fsync(e->dir_fd))
		err = -errno;
	conn_close(c);
	/* while a connection stays open its files are there: on a full disk reading goes on */
	if (!err)
		err = view_open(p, &v);
	if (err) {
		remove_files(p->path);
		part_put(p);
		return err;
	}
	view_close(&v);
	*ret_part = p;
	return 0;
}

uint64_t part_bytes(const struct part *p)
{
	uint64_t bytes = 0;
	char name[4096];
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
		snprintf(name, sizeof(name), "%s%s", p->path, suffix[i]);
		if (stat(name, &st) == 0)
			bytes += (uint64_t)st.st_size;
	}
	return bytes;
}

uint64_t part_bytes_settled(const struct part *p)
{
	uint64_t bytes = part_bytes(p), live = __atomic_load_n(&p->live_bytes, __ATOMIC_RELAXED);

	return !p->seq || p->settled || !live ? bytes : MIN(bytes, live + SHM_BYTES);
}

uint64_t part_end_ns(const struct part *p)
{
	return __atomic_load_n(&p->end_ns, __ATOMIC_RELAXED);
}

bool part_is_aside(const struct part *p)
{
	return __atomic_load_n(&p->aside, __ATOMIC_RELAXED);
}

void part_set_aside(struct part *p, int err)
{
	if (__atomic_exchange_n(&p->aside, true, __ATOMIC_RELAXED))
		return;
	log_error("store: %s cannot be read (%s); it is left out, the rest is served", p->path,
		  strerror(-err));
}

bool part_has_moved(struct part *p, int err)
{
	int moved = err == -ENOENT;

	if (!err)
		sqlite3_file_control(p->writer->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
	if (moved)
		part_set_aside(p, -ENOENT);
	return moved;
}

bool part_is_bad(struct part *p, uint64_t id)
{
	bool bad = false;

	pthread_mutex_lock(&p->lock);
	for (unsigned int i = 0; i < p->bad_cnt && !bad; i++)
		bad = p->bad[i] == id;
	pthread_mutex_unlock(&p->lock);
	return bad;
}

bool part_note_bad(struct part *p, uint64_t id, int err)
{
	bool known = part_is_bad(p, id), noted = false;

	pthread_mutex_lock(&p->lock);
	if (!known && p->bad_cnt < BAD_MAX) {
		p->bad[p->bad_cnt++] = id;
		noted = true;
	}
	pthread_mutex_unlock(&p->lock);
	if (!noted)
		return known;
	__atomic_add_fetch(&p->engine->bad_blocks, 1, __ATOMIC_RELAXED);
	log_error("store: %s: block %llu is corrupted (%s); it is skipped, the rest is served",
		  p->path, (unsigned long long)id, strerror(-err));
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks in a partition: snapshots for reading, transactions for writing. */
#include "store/engine.h"

#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define IDLE_MAX    2 /* connections that a partition keeps */
#define LIST_CHUNK  256
#define TRUNCATE_MS 100 /* that the log waits for who reads it: it is tried again */

/* ---- reading ------------------------------------------------------------------------------- */

static int open_reader(struct part *p, bool frozen, struct conn **ret_conn)
{
	bool read_only = p->engine->cfg.read_only;
	struct conn *c = NULL;
	int err = frozen ? conn_open_frozen(p->path, &c)
			 : conn_open(p->path,
				     read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE, &c);

	if (err)
		return err;
	err = sql_exec(c->db, "PRAGMA query_only=1");
	if (!err)
		err = sql_prepare(c->db, "SELECT max(id) FROM block", &c->top);
	if (!err)
		err = sql_prepare(c->db,
				  "SELECT id, received, level, spans, traces, errors, start_min,"
				  " start_max, duration_max FROM block WHERE spans > 0",
				  &c->list);
	if (!err)
		err = sql_prepare(c->db, "SELECT filter FROM data WHERE id=?", &c->filter);
	if (err)
		conn_close(c);
	else
		*ret_conn = c;
	return err;
}

static int take_conn(struct part *p, struct conn **ret_conn)
{
	struct conn *c;
	bool frozen;
	int err;

	pthread_mutex_lock(&p->lock);
	c = p->idle;
	if (c) {
		p->idle = c->next;
		p->idle_cnt--;
	}
	frozen = p->frozen;
	p->iced_cnt += frozen;
	pthread_mutex_unlock(&p->lock);
	err = c ? 0 : open_reader(p, frozen, &c);
	if (!err) {
		*ret_conn = c;
	} else if (frozen) {
		pthread_mutex_lock(&p->lock);
		p->iced_cnt--;
		pthread_mutex_unlock(&p->lock);
	}
	return err;
}

static void give_conn(struct part *p, struct conn *c)
{
	bool again = !sql_exec(c->db, "COMMIT");

	pthread_mutex_lock(&p->lock);
	p->iced_cnt -= c->frozen;
	if (again && p->idle_cnt < IDLE_MAX) {
		c->next = p->idle;
		p->idle = c;
		p->idle_cnt++;
		c = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	conn_close(c);
}

static int newest_first(const void *a, const void *b)
{
	const struct block_row *x = a, *y = b;

	if (x->start_max_ns != y->start_max_ns)
		return x->start_max_ns > y->start_max_ns ? -1 : 1;
	return (x->id < y->id) - (x->id > y->id);
}

static struct block_row row_of(sqlite3_stmt *s)
{
	return (struct block_row){
		.id = (uint64_t)sqlite3_column_int64(s, 0),
		.received_ns = (uint64_t)sqlite3_column_int64(s, 1),
		.level = (uint32_t)sqlite3_column_int64(s, 2),
		.spans = (uint32_t)sqlite3_column_int64(s, 3),
		.traces = (uint32_t)sqlite3_column_int64(s, 4),
		.errors = (uint32_t)sqlite3_column_int64(s, 5),
		.start_min_ns = (uint64_t)sqlite3_column_int64(s, 6),
		.start_max_ns = (uint64_t)sqlite3_column_int64(s, 7),
		.duration_max_ns = (uint64_t)sqlite3_column_int64(s, 8),
	};
}

static int load_list(struct conn *c, uint64_t top, struct block_list **ret_list)
{
	struct block_list *l = malloc(sizeof(*l)), *more;
	uint32_t cnt = 0;
	int err = 0, rc;

	if (!l)
		return -ENOMEM;
	while ((rc = sqlite3_step(c->list)) == SQLITE_ROW) {
		if (cnt % LIST_CHUNK == 0) {
			more = realloc(l, sizeof(*l) + (cnt + LIST_CHUNK) * sizeof(l->row[0]));
			if (!more) {
				err = -ENOMEM;
				break;
			}
			l = more;
		}
		l->row[cnt++] = row_of(c->list);
	}
	if (!err)
		err = sql_error(c->db, rc);
	sqlite3_reset(c->list);
	if (err) {
		free(l);
		return err;
	}
	l->refs = 1;
	l->top = top;
	l->cnt = cnt;
	qsort(l->row, cnt, sizeof(l->row[0]), newest_first);
	*ret_list = l;
	return 0;
}

static void list_put(struct block_list *l)
{
	if (l && !__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL))
		free(l);
}

/* The cached list of this state, or the one that the snapshot holds. */
static int find_list(struct part *p, struct conn *c, struct block_list **ret_list)
{
	struct block_list *l = NULL, *before;
	int err = sql_error(c->db, sqlite3_step(c->top));
	uint64_t top = (uint64_t)sqlite3_column_int64(c->top, 0);

	sqlite3_reset(c->top);
	if (err)
		return err;
	pthread_mutex_lock(&p->lock);
	if (p->list && p->list->top == top) {
		l = p->list;
		__atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&p->lock);
	if (!l) {
		err = load_list(c, top, &l);
		if (err)
			return err;
		pthread_mutex_lock(&p->lock);
		before = p->list;
		if (!before || before->top < top) {
			p->list = l;
			__atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
		} else {
			before = NULL;
		}
		pthread_mutex_unlock(&p->lock);
		list_put(before);
	}
	*ret_list = l;
	return 0;
}

int view_open(struct part *p, struct view *ret_view)
{
	struct view v = { .part = p };
	int err = take_conn(p, &v.conn);

	if (err)
		return err;
	err = sql_exec(v.conn->db, "BEGIN");
	if (!err)
		err = find_list(p, v.conn, &v.list);
	if (err) {
		sqlite3_exec(v.conn->db, "ROLLBACK", NULL, NULL, NULL);
		give_conn(p, v.conn); /* without a transaction to end it is closed */
		return err;
	}
	*ret_view = v;
	return 0;
}

bool part_is_frozen(struct part *p)
{
	bool frozen;

	pthread_mutex_lock(&p->lock);
	frozen = p->frozen;
	pthread_mutex_unlock(&p->lock);
	return frozen;
}

void part_thaw(struct part *p)
{
	struct conn *idle = NULL, *c = NULL, *next;

	if (open_reader(p, false, &c) || sqlite3_step(c->top) != SQLITE_ROW) {
		conn_close(c);
		return;
	}
	sqlite3_reset(c->top);
	pthread_mutex_lock(&p->lock);
	/* a reader of the file alone must not see it written under its hands */
	if (p->frozen && !p->iced_cnt) {
		idle = p->idle;
		p->idle = c; /* keeps the files of its log there */
		p->idle_cnt = 1;
		p->frozen = false;
		c = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	conn_close(c);
	for (; idle; idle = next) {
		next = idle->next;
		conn_close(idle);
	}
}

void view_close(struct view *v)
{
	if (!v->conn)
		return;
	list_put(v->list);
	give_conn(v->part, v->conn);
	v->conn = NULL;
}

static int read_filter(struct view *v, uint64_t id, struct filter **ret_filter)
{
	struct part *p = v->part;
	sqlite3_stmt *s = v->conn->filter;
	struct place at = { p->seq, id, PLACE_FILTER };
	struct buf plain = { 0 };
	struct str data;
	int err, rc;

	sqlite3_bind_int64(s, 1, (int64_t)id);
	rc = sqlite3_step(s);
	err = sql_error(v->conn->db, rc);
	if (!err && rc != SQLITE_ROW)
		err = -EBADMSG;
	if (err)
		goto out;
	data.p = sqlite3_column_blob(s, 0);
	data.len = (size_t)sqlite3_column_bytes(s, 0);
	if (p->engine->crypt.on) {
		err = crypt_open(&p->engine->crypt, at, data, &plain);
		data = buf_str(&plain);
	}
	if (!err)
		err = block_filter_check(data);
	if (!err) {
		*ret_filter = filter_new(p->seq, id, data);
		err = *ret_filter ? 0 : -ENOMEM;
	}
out:
	sqlite3_reset(s);
	buf_fini(&plain);
	return err;
}

int view_filter(struct view *v, const struct block_row *row, struct filter **ret_filter)
{
	struct filter_cache *cache = &v->part->engine->cache;
	struct filter *f = cache_find(cache, v->part->seq, row->id);
	int err;

	if (!f) {
		err = read_filter(v, row->id, &f);
		if (err)
			return err;
		cache_put(cache, f);
	}
	*ret_filter = f;
	return 0;
}

static int open_blob(struct body *b)
{
	sqlite3 *db = b->view->conn->db;

	if (b->blob)
		return 0;
	return sql_error(
		db, sqlite3_blob_open(db, "main", "data", "body", (int64_t)b->id, 0, &b->blob));
}

static int read_blob(void *ctx, uint64_t off, void *to, size_t len)
{
	struct body *b = ctx;
	int err = open_blob(b);

	if (err || off > INT32_MAX || len > INT32_MAX)
		return err ? err : -EBADMSG;
	return sqlite3_blob_read(b->blob, to, (int)len, (int)off) ? -EBADMSG : 0;
}

static int read_plain(void *ctx, uint64_t off, void *to, size_t len)
{
	const struct buf *plain = ctx;

	if (off > plain->len || len > plain->len - off)
		return -EBADMSG;
	memcpy(to, plain->p + off, len);
	return 0;
}

static int decrypt_body(struct view *v, uint64_t id, struct body *b)
{
	struct place at = { v->part->seq, id, PLACE_BODY };
	struct buf box = { 0 };
	size_t len = (size_t)sqlite3_blob_bytes(b->blob);
	int err = buf_reserve(&box, len);

	if (!err)
		err = read_blob(b, 0, box.p, len);
	box.len = len;
	if (!err)
		err = crypt_open(&v->part->engine->crypt, at, buf_str(&box), &b->plain);
	buf_fini(&box);
	return err;
}

int view_body(struct view *v, const struct block_row *row, struct body *ret_body)
{
	struct body *b = ret_body;
	struct block_source from;
	int err;

	*b = (struct body){ .view = v, .part = v->part->seq, .id = row->id };
	err = open_blob(b);
	if (err)
		return err;
	if (v->part->engine->crypt.on) {
		err = decrypt_body(v, row->id, b);
		from = (struct block_source){ &b->plain, read_plain, b->plain.len };
	} else {
		from = (struct block_source){ b, read_blob, (uint64_t)sqlite3_blob_bytes(b->blob) };
	}
	if (!err)
		err = block_open(&from, &b->block);
	if (err)
		body_close(b);
	return err;
}

void body_close(struct body *b)
{
	block_close(b->block);
	sqlite3_blob_close(b->blob);
	buf_fini(&b->plain);
	*b = (struct body){ 0 };
}

/* ---- writing ------------------------------------------------------------------------------- */

int seal_builder(struct block_builder *b, int zstd_level, uint64_t received_ns, uint32_t traces,
		 struct sealed *ret)
{
	struct block_index x = { 0 };
	struct sealed s = { 0 };
	int err = block_seal(b, zstd_level, &s.body, &x);

	if (err) {
		buf_fini(&s.body);
		buf_fini(&x.filter);
		return err;
	}
	s.filter = x.filter;
	s.row = (struct block_row){
		.received_ns = received_ns,
		.spans = x.spans,
		.traces = traces,
		.errors = x.errors,
		.start_min_ns = x.start_min_ns,
		.start_max_ns = x.start_max_ns,
		.duration_max_ns = x.duration_max_ns,
	};
	*ret = s;
	return 0;
}

void sealed_fini(struct sealed *s)
{
	buf_fini(&s->filter);
	buf_fini(&s->body);
}

static int note_wal(void *ctx, sqlite3 *db, const char *name, int pages)
{
	struct part *p = ctx;

	p->wal_pages = pages;
	return SQLITE_OK;
}

static int limit_log(sqlite3 *db, int pages)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "PRAGMA journal_size_limit=%lld", (long long)pages * PAGE_BYTES);
	return sql_exec(db, sql);
}

static int open_writer(struct part *p)
{
	struct conn *c = NULL;
	int err;

	if (p->writer)
		return 0;
	if (part_is_frozen(p))
		return -ENOSPC;
	err = conn_open(p->path, SQLITE_OPEN_READWRITE, &c);
	if (err)
		return err;
	err = sql_exec(c->db, "PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF;"
			      "PRAGMA cache_size=-2048");
	if (!err)
		err = limit_log(c->db, p->engine->wal_pages);
	if (!err)
		err = sql_prepare(c->db, "INSERT INTO block VALUES(?,?,?,?,?,?,?,?,?)", &c->row);
	if (!err)
		err = sql_prepare(c->db, "INSERT INTO data VALUES(?,?,?)", &c->data);
	if (!err)
		err = sql_prepare(c->db, "DELETE FROM block WHERE id=?", &c->drop[0]);
	if (!err)
		err = sql_prepare(c->db, "DELETE FROM data WHERE id=?", &c->drop[1]);
	if (!err)
		err = sql_prepare(c->db, "SELECT max(id) FROM block", &c->top);
	if (!err)
		err = sql_error(c->db, sqlite3_step(c->top));
	if (err) {
		conn_close(c);
		return err;
	}
	p->next_id = (uint64_t)sqlite3_column_int64(c->top, 0) + 1;
	sqlite3_reset(c->top);
	sqlite3_wal_hook(c->db, note_wal, p);
	p->writer = c;
	return 0;
}

int part_begin(struct part *p)
{
	int err;

	pthread_mutex_lock(&p->write_lock);
	err = open_writer(p);
	if (part_has_moved(p, err))
		err = -EIO;
	if (!err)
		err = sql_exec(p->writer->db, "BEGIN IMMEDIATE");
	if (err)
		pthread_mutex_unlock(&p->write_lock);
	return err;
}

int part_end(struct part *p, int err)
{
	uint64_t live;

	if (!err)
		err = sql_exec(p->writer->db, "COMMIT");
	if (!err && !sql_live_bytes(p->writer->db, &live))
		__atomic_store_n(&p->live_bytes, live, __ATOMIC_RELAXED);
	if (err) {
		sqlite3_exec(p->writer->db, "ROLLBACK", NULL, NULL, NULL);
		/* what it knows of the file may be wrong now; ids are never given twice */
		conn_close(p->writer);
		p->writer = NULL;
	}
	pthread_mutex_unlock(&p->write_lock);
	return err;
}

static int insert_data(struct part *p, const struct sealed *s)
{
	const struct crypt *crypt = &p->engine->crypt;
	struct buf filter = { 0 }, body = { 0 };
	struct str f = buf_str(&s->filter), b = buf_str(&s->body);
	sqlite3_stmt *st = p->writer->data;
	int err = 0;

	if (crypt->on) {
		err = crypt_seal(crypt, (struct place){ p->seq, s->row.id, PLACE_FILTER }, f,
				 &filter);
		if (!err)
			err = crypt_seal(crypt, (struct place){ p->seq, s->row.id, PLACE_BODY }, b,
					 &body);
		f = buf_str(&filter);
		b = buf_str(&body);
	}
	if (!err) {
		sqlite3_bind_int64(st, 1, (int64_t)s->row.id);
		sqlite3_bind_blob64(st, 2, f.p, f.len, SQLITE_STATIC);
		sqlite3_bind_blob64(st, 3, b.p, b.len, SQLITE_STATIC);
		err = sql_run(st);
	}
	buf_fini(&filter);
	buf_fini(&body);
	return err;
}

int part_insert(struct part *p, struct sealed *s)
{
	sqlite3_stmt *st = p->writer->row;

	s->row.id = p->next_id++;
	sqlite3_bind_int64(st, 1, (int64_t)s->row.id);
	sqlite3_bind_int64(st, 2, (int64_t)s->row.received_ns);
	sqlite3_bind_int64(st, 3, s->row.level);
	sqlite3_bind_int64(st, 4, s->row.spans);
	sqlite3_bind_int64(st, 5, s->row.traces);
	sqlite3_bind_int64(st, 6, s->row.errors);
	sqlite3_bind_int64(st, 7, (int64_t)s->row.start_min_ns);
	sqlite3_bind_int64(st, 8, (int64_t)s->row.start_max_ns);
	sqlite3_bind_int64(st, 9, (int64_t)s->row.duration_max_ns);
	return sql_run(st) ?: insert_data(p, s);
}

int part_remove(struct part *p, uint64_t id)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(p->writer->drop) && !err; i++) {
		sqlite3_bind_int64(p->writer->drop[i], 1, (int64_t)id);
		err = sql_run(p->writer->drop[i]);
	}
	return err;
}

int part_commit(struct part *p, struct sealed *add, size_t add_cnt, const uint64_t *drop,
		size_t drop_cnt)
{
	int err = part_begin(p);

	if (err)
		return err;
	for (size_t i = 0; i < add_cnt && !err; i++)
		err = part_insert(p, &add[i]);
	for (size_t i = 0; i < drop_cnt && !err; i++)
		err = part_remove(p, drop[i]);
	err = part_end(p, err);
	if (!err)
		__atomic_store_n(&p->used, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < add_cnt && !err; i++)
		__atomic_store_n(&p->end_ns, MAX(p->end_ns, add[i].row.received_ns),
				 __ATOMIC_RELAXED);
	return err;
}

int part_checkpoint(struct part *p, bool always)
{
	int err = 0;

	pthread_mutex_lock(&p->write_lock);
	if (always) {
		err = open_writer(p);
		if (!err) {
			sqlite3_busy_timeout(p->writer->db, TRUNCATE_MS);
			err = sql_error(p->writer->db,
					sqlite3_wal_checkpoint_v2(p->writer->db, NULL,
								  SQLITE_CHECKPOINT_TRUNCATE, NULL,
								  NULL));
		}
	} else if (p->writer && p->wal_pages > p->engine->wal_pages) {
		err = sql_error(p->writer->db,
				sqlite3_wal_checkpoint_v2(p->writer->db, NULL,
							  SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
		p->wal_pages = 0;
	}
	pthread_mutex_unlock(&p->write_lock);
	if (err && err != -EBUSY)
		log_debug("store: %s: its log stays for now: %s", p->path, strerror(-err));
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Summaries of partitions that go: per hour, service, operation and kind. One blob an hour, zstd,
 * encrypted when the store is; a later partition of the same hour is added to it.
 */
#include "store/engine.h"

#include "core/clock.h"
#include "core/cursor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define HOUR_NS	     (3600 * NS_PER_S)
#define ROWS_MAX     100000u	 /* of one partition; past it names are left out */
#define HOUR_RAW_MAX (64u << 20) /* hostile blobs unpack to no more */
#define ZSTD_LEVEL   3

struct rollup {
	struct store_rollup row; /* strings in 'key' */
	UT_hash_handle hh;
	size_t key_len;
	char key[]; /* hour, kind, length of service; service, name */
};

struct rollups {
	struct rollup *set; /* sorted by hour at the end */
	struct arena *mem;
	struct buf key;
	uint64_t late_ns; /* the hour of what finds no row of its own */
	int err;
};

static struct rollup *find_row(struct rollups *r, const struct store_rollup *like)
{
	uint64_t head[3] = { like->hour_ns, (uint64_t)like->kind, like->service.len };
	struct rollup *row;

	buf_clear(&r->key);
	buf_add(&r->key, head, sizeof(head));
	buf_add_str(&r->key, like->service);
	buf_add_str(&r->key, like->name);
	if (r->key.failed)
		return NULL;
	HASH_FIND(hh, r->set, r->key.p, r->key.len, row);
	if (row)
		return row;
	row = arena_alloc(r->mem, sizeof(*row) + r->key.len);
	if (!row)
		return NULL;
	memcpy(row->key, r->key.p, r->key.len);
	row->key_len = r->key.len;
	row->row.hour_ns = like->hour_ns;
	row->row.kind = like->kind;
	row->row.service = (struct str){ row->key + sizeof(head), like->service.len };
	row->row.name = (struct str){ row->row.service.p + like->service.len, like->name.len };
	HASH_ADD_KEYPTR(hh, r->set, row->key, row->key_len, row);
	return row->hh.tbl ? row : NULL;
}

static void add_row(struct rollups *r, const struct store_rollup *more)
{
	struct rollup *row = find_row(r, more);

	if (!row) {
		r->err = -ENOMEM;
		return;
	}
	row->row.spans += more->spans;
	row->row.errors += more->errors;
	row->row.duration_sum_ns += more->duration_sum_ns;
	row->row.duration_max_ns = MAX(row->row.duration_max_ns, more->duration_max_ns);
	for (size_t i = 0; i < ARRAY_LEN(row->row.bucket); i++)
		row->row.bucket[i] += more->bucket[i];
}

static bool add_span(void *ctx, const struct span *s)
{
	struct rollups *r = ctx;
	bool room = HASH_COUNT(r->set) < ROWS_MAX;
	uint64_t duration = s->end_ns - s->start_ns, us = duration / NS_PER_US;
	struct store_rollup one = {
		.hour_ns = room ? s->start_ns - s->start_ns % HOUR_NS : r->late_ns,
		.service = room ? s->resource->service : STR(""),
		.name = room ? s->name : STR(""),
		.kind = s->kind,
		.spans = 1,
		.errors = s->status == STATUS_ERROR,
		.duration_sum_ns = duration,
		.duration_max_ns = duration,
	};

	one.bucket[us ? MIN(63 - __builtin_clzll(us), 31) : 0] = 1;
	add_row(r, &one);
	return !r->err;
}

static int add_block(void *ctx, struct view *v, const struct block_row *row)
{
	const struct scan all = { 0 };
	struct rollups *r = ctx;
	struct body b;
	int err = view_body(v, row, &b);

	if (err)
		return err;
	err = MIN(block_scan(b.block, &all, add_span, r), 0);
	body_close(&b);
	return r->err ? r->err : err;
}

/* ---- an hour's blob ------------------------------------------------------------------------ */

static void put_u64(struct buf *b, uint64_t v)
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	buf_add(b, bytes, sizeof(bytes));
}

static void put_row(struct buf *b, const struct store_rollup *row)
{
	put_u64(b, row->service.len);
	put_u64(b, row->name.len);
	put_u64(b, (uint64_t)row->kind);
	put_u64(b, row->spans);
	put_u64(b, row->errors);
	put_u64(b, row->duration_sum_ns);
	put_u64(b, row->duration_max_ns);
	for (size_t i = 0; i < ARRAY_LEN(row->bucket); i++)
		put_u64(b, row->bucket[i]);
	buf_add_str(b, row->service);
	buf_add_str(b, row->name);
}

static bool take_row(struct cursor *c, struct store_rollup *row)
{
	size_t service = take_u64le(c), name = take_u64le(c);

	row->kind = (enum span_kind)take_u64le(c);
	row->spans = take_u64le(c);
	row->errors = take_u64le(c);
	row->duration_sum_ns = take_u64le(c);
	row->duration_max_ns = take_u64le(c);
	for (size_t i = 0; i < ARRAY_LEN(row->bucket); i++)
		row->bucket[i] = (uint32_t)take_u64le(c);
	row->service = take_str(c, service);
	row->name = take_str(c, name);
	return !c->bad;
}

/* Each row of an hour's blob; 0, -EBADMSG, -ENOMEM. */
static int read_hour(const struct crypt *crypt, uint64_t hour, struct str box,
		     void (*visit)(void *ctx, const struct store_rollup *row), void *ctx)
{
	struct buf packed = { 0 };
	struct store_rollup row = { .hour_ns = hour * HOUR_NS };
	unsigned long long len;
	struct cursor c;
	char *raw = NULL;
	int err = crypt_open(crypt, (struct place){ 0, hour, PLACE_ROLLUP }, box, &packed);

	if (err)
		goto out;
	len = ZSTD_getFrameContentSize(packed.p, packed.len);
	err = -EBADMSG;
	if (len > HOUR_RAW_MAX)
		goto out;
	raw = malloc(len + 1);
	if (!raw || ZSTD_decompress(raw, len, packed.p, packed.len) != len)
		goto out;
	for (c = cursor_of(raw, len); cursor_left(&c) && take_row(&c, &row);)
		visit(ctx, &row);
	err = c.bad ? -EBADMSG : 0;
out:
	free(raw);
	buf_fini(&packed);
	return err;
}

static int write_hour(struct part *keep, uint64_t hour, struct str raw)
{
	struct buf packed = { 0 }, box = { 0 };
	sqlite3_stmt *s = NULL;
	int err = buf_reserve(&packed, ZSTD_compressBound(raw.len));

	if (err)
		return err;
	packed.len = ZSTD_compress(packed.p, packed.size, raw.p, raw.len, ZSTD_LEVEL);
	if (ZSTD_isError(packed.len))
		err = -ENOMEM;
	else
		err = crypt_seal(&keep->engine->crypt, (struct place){ 0, hour, PLACE_ROLLUP },
				 buf_str(&packed), &box);
	if (!err)
		err = sql_prepare(keep->writer->db, "INSERT OR REPLACE INTO rollup VALUES(?, ?)",
				  &s);
	if (!err) {
		sqlite3_bind_int64(s, 1, (int64_t)hour);
		sqlite3_bind_blob64(s, 2, box.p, box.len, SQLITE_STATIC);
		err = sql_run(s);
	}
	sqlite3_finalize(s);
	buf_fini(&packed);
	buf_fini(&box);
	return err;
}

static void add_old(void *ctx, const struct store_rollup *row)
{
	add_row(ctx, row);
}

/* What the hour has already; a blob that is corrupted is replaced. */
static int add_hour(struct rollups *r, struct part *keep, uint64_t hour)
{
	sqlite3_stmt *s = NULL;
	struct str box;
	int err = sql_prepare(keep->writer->db, "SELECT data FROM rollup WHERE hour=?", &s);

	if (!err) {
		sqlite3_bind_int64(s, 1, (int64_t)hour);
		if (sqlite3_step(s) == SQLITE_ROW) {
			box.p = sqlite3_column_blob(s, 0);
			box.len = (size_t)sqlite3_column_bytes(s, 0);
			err = read_hour(&keep->engine->crypt, hour, box, add_old, r);
		}
	}
	sqlite3_finalize(s);
	if (err == -EBADMSG)
		__atomic_add_fetch(&keep->engine->bad_blocks, 1, __ATOMIC_RELAXED);
	return err == -EBADMSG ? r->err : err ? err : r->err;
}

static int by_hour(const struct rollup *a, const struct rollup *b)
{
	return (a->row.hour_ns > b->row.hour_ns) - (a->row.hour_ns < b->row.hour_ns);
}

/* Adds what the store has of the hours that are about to be written. */
static int add_hours(struct rollups *r, struct part *keep)
{
	uint64_t *hours = malloc((HASH_COUNT(r->set) + 1) * sizeof(*hours));
	size_t cnt = 0;
	int err = hours ? 0 : -ENOMEM;

	for (struct rollup *row = r->set; row && hours; row = row->hh.next)
		if (!cnt || hours[cnt - 1] != row->row.hour_ns)
			hours[cnt++] = row->row.hour_ns;
	for (size_t i = 0; i < cnt && !err; i++)
		err = add_hour(r, keep, hours[i] / HOUR_NS);
	free(hours);
	return err;
}

static int write_hours(struct rollups *r, struct part *keep)
{
	struct buf raw = { 0 };
	struct rollup *row, *next;
	int err;

	HASH_SORT(r->set, by_hour);
	err = add_hours(r, keep);
	HASH_SORT(r->set, by_hour);
	for (row = r->set; row && !err; row = next) {
		next = row->hh.next;
		put_row(&raw, &row->row);
		if (raw.failed) {
			err = -ENOMEM;
		} else if (!next || next->row.hour_ns != row->row.hour_ns) {
			err = write_hour(keep, row->row.hour_ns / HOUR_NS, buf_str(&raw));
			buf_clear(&raw);
		}
	}
	buf_fini(&raw);
	return err;
}

int rollup_part(struct view *v, struct part *keep)
{
	struct rollups r = {
		.mem = arena_new(0),
		.late_ns = v->part->end_ns - v->part->end_ns % HOUR_NS,
	};
	int err = r.mem ? view_each(v, (struct time_range){ 0 }, add_block, &r) : -ENOMEM;

	if (!err)
		err = write_hours(&r, keep);
	HASH_CLEAR(hh, r.set);
	arena_free(r.mem);
	buf_fini(&r.key);
	return err;
}

int rollup_expire(struct part *keep, uint64_t before_ns)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "DELETE FROM rollup WHERE hour < %llu",
		 (unsigned long long)(before_ns / HOUR_NS));
	return sql_exec(keep->writer->db, sql);
}

/* ---- reading ------------------------------------------------------------------------------- */

static int each_hour(struct view *v, struct time_range r,
		     void (*visit)(void *ctx, const struct store_rollup *row), void *ctx)
{
	uint64_t to = r.to_ns ? (r.to_ns + HOUR_NS - 1) / HOUR_NS : INT64_MAX;
	sqlite3_stmt *s = NULL;
	int err = sql_prepare(v->conn->db,
			      "SELECT hour, data FROM rollup WHERE hour >= ? AND hour < ?"
			      " ORDER BY hour",
			      &s);

	if (!err) {
		sqlite3_bind_int64(s, 1, (int64_t)(r.from_ns / HOUR_NS));
		sqlite3_bind_int64(s, 2, (int64_t)to);
	}
	while (!err && sqlite3_step(s) == SQLITE_ROW) {
		uint64_t hour = (uint64_t)sqlite3_column_int64(s, 0);
		struct str box = { sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1) };

		err = read_hour(&v->part->engine->crypt, hour, box, visit, ctx);
		if (err == -EBADMSG) {
			part_note_bad(v->part, hour, err);
			err = 0;
		}
	}
	sqlite3_finalize(s);
	return err;
}

int engine_rollups(struct store *s, struct time_range r,
		   void (*visit)(void *ctx, const struct store_rollup *row), void *ctx)
{
	struct engine *e = (struct engine *)s;
	struct part **parts;
	struct view v;
	size_t cnt;
	int err = engine_parts(e, &parts, &cnt);

	if (err)
		return err;
	if (!part_is_aside(parts[cnt - 1])) {
		err = view_open(parts[cnt - 1], &v);
		if (!err) {
			err = each_hour(&v, r, visit, ctx);
			view_close(&v);
		}
	}
	engine_parts_put(parts, cnt);
	return err;
}

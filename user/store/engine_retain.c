/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives a partition: archived traces and summaries, written before it goes. */
#include "store/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ARCHIVED_MAX 10000u
#define GONE_KEPT    1000 /* partitions whose going is remembered */
#define ZSTD_LEVEL   3

static struct part *keep_of(struct engine *e)
{
	struct part *p;

	pthread_mutex_lock(&e->lock);
	p = part_get(e->parts[0]);
	pthread_mutex_unlock(&e->lock);
	return p;
}

static int run_with_id(struct part *keep, const char *sql, const struct trace_id *id, uint64_t n)
{
	sqlite3_stmt *s = NULL;
	int err = sql_prepare(keep->writer->db, sql, &s);

	if (!err) {
		sqlite3_bind_blob(s, 1, id->b, sizeof(id->b), SQLITE_STATIC);
		if (sqlite3_bind_parameter_count(s) > 1)
			sqlite3_bind_int64(s, 2, (int64_t)n);
		err = sql_run(s);
	}
	sqlite3_finalize(s);
	return err;
}

/* The ids that are kept, in memory of the caller's. */
static int list_archived(struct part *keep, struct trace_id **ret_ids, size_t *ret_cnt)
{
	struct trace_id *ids = calloc(ARCHIVED_MAX, sizeof(*ids));
	sqlite3_stmt *s = NULL;
	size_t cnt = 0;
	int err = ids ? sql_prepare(keep->writer->db, "SELECT trace FROM archived", &s) : -ENOMEM;

	while (!err && cnt < ARCHIVED_MAX && sqlite3_step(s) == SQLITE_ROW)
		if (sqlite3_column_bytes(s, 0) == sizeof(*ids))
			memcpy(&ids[cnt++], sqlite3_column_blob(s, 0), sizeof(*ids));
	sqlite3_finalize(s);
	if (err) {
		free(ids);
		return err;
	}
	*ret_ids = ids;
	*ret_cnt = cnt;
	return 0;
}

/* ---- saving -------------------------------------------------------------------------------- */

struct saving {
	const struct trace_id *ids;
	size_t cnt;
	struct trace_id *some;
	struct gather *gather;
	struct part *keep;
	uint64_t received_ns;
	int err;
};

static bool save_span(void *ctx, const struct span *s)
{
	struct saving *a = ctx;

	a->err = gather_add(a->gather, s);
	return !a->err;
}

static int save_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct saving *a = ctx;
	struct filter *f;
	struct body b;
	size_t cnt = 0;
	int err = view_filter(v, row, &f);

	if (err)
		return err;
	for (size_t i = 0; i < a->cnt; i++)
		if (block_may_have_trace((struct str){ f->data, f->len }, &a->ids[i]))
			a->some[cnt++] = a->ids[i];
	filter_release(f);
	if (!cnt)
		return 0;
	err = view_body(v, row, &b);
	if (err)
		return err;
	err = block_traces(b.block, a->some, cnt, save_span, a);
	body_close(&b);
	return a->err ? a->err : MIN(err, 0);
}

static int insert_builder(struct saving *a, struct block_builder *b, const struct trace *t)
{
	struct sealed sealed;
	int err = seal_builder(b, ZSTD_LEVEL, a->received_ns, 1, &sealed);

	if (err)
		return err;
	sealed.row.level = LEVEL_FULL;
	err = part_insert(a->keep, &sealed);
	if (!err)
		err = run_with_id(a->keep, "INSERT INTO archive_block VALUES(?, ?)", &t->id,
				  sealed.row.id);
	sealed_fini(&sealed);
	return err;
}

/* A block of its own: it goes when the trace is let go. */
static void save_trace(void *ctx, const struct trace *t)
{
	struct saving *a = ctx;
	struct block_builder *b = a->err ? NULL : block_builder_new();

	if (!b && !a->err)
		a->err = -ENOMEM;
	for (uint32_t i = 0; i < t->span_cnt && !a->err; i++) {
		a->err = block_add(b, t->spans[i]);
		if (a->err == -ENOSPC && block_spans(b)) {
			a->err = insert_builder(a, b, t);
			if (!a->err)
				a->err = block_add(b, t->spans[i]);
		}
	}
	if (!a->err && block_spans(b))
		a->err = insert_builder(a, b, t);
	block_builder_free(b);
}

/* Of a partition what belongs to a->ids. */
static int each_archived(struct view *v, struct saving *a, struct trace_sink out)
{
	int err;

	if (!a->cnt)
		return 0;
	a->some = malloc(a->cnt * sizeof(*a->ids));
	a->gather = gather_new(a->ids, a->cnt);
	err = a->some && a->gather ? view_each(v, (struct time_range){ 0 }, save_block, a)
				   : -ENOMEM;
	if (!err)
		err = gather_finish(a->gather, out);
	gather_free(a->gather);
	free(a->some);
	return err ? err : a->err;
}

static int save_archived(struct view *v, struct part *keep)
{
	struct saving a = { .keep = keep, .received_ns = v->part->end_ns };
	struct trace_id *ids = NULL;
	int err = list_archived(keep, &ids, &a.cnt);

	a.ids = ids;
	if (!err)
		err = each_archived(v, &a, (struct trace_sink){ &a, save_trace });
	free(ids);
	return err;
}

/* ---- going without saving -------------------------------------------------------------------- */

struct id_list {
	struct trace_id *ids;
	size_t cnt;
};

static void list_id(void *ctx, const struct trace_id *id)
{
	struct id_list *l = ctx;

	if (l->cnt < ARCHIVED_MAX)
		l->ids[l->cnt++] = *id;
}

static void note_trace(void *ctx, const struct trace *t)
{
	*(bool *)ctx = true;
}

/* Is there anything in it that must outlive it? Nothing is written. */
static bool holds_kept(struct view *v)
{
	struct engine *e = v->part->engine;
	struct id_list list = { calloc(ARCHIVED_MAX, sizeof(*list.ids)), 0 };
	struct saving a = { 0 };
	bool held = e->cfg.rollup_ns || !list.ids || engine_archived(&e->base, list_id, &list);

	a.ids = list.ids;
	a.cnt = list.cnt;
	if (!held && each_archived(v, &a, (struct trace_sink){ &held, note_trace }))
		held = true;
	free(list.ids);
	return held;
}

/* ---- a partition goes ------------------------------------------------------------------------ */

static int note_gone(struct part *keep, uint64_t seq)
{
	char sql[160];

	snprintf(sql, sizeof(sql),
		 "INSERT OR IGNORE INTO gone VALUES(%llu); DELETE FROM gone WHERE seq < %lld",
		 (unsigned long long)seq, (long long)seq - GONE_KEPT);
	return sql_exec(keep->writer->db, sql);
}

static int save(struct view *v, struct part *keep)
{
	const struct engine *e = keep->engine;
	uint64_t now = engine_now_for_age(e);
	int err = part_begin(keep);

	if (err)
		return err;
	err = save_archived(v, keep);
	if (!err && e->cfg.rollup_ns)
		err = rollup_part(v, keep);
	if (!err && now > e->cfg.rollup_ns)
		err = rollup_expire(keep, now - e->cfg.rollup_ns);
	if (!err)
		err = note_gone(keep, v->part->seq);
	err = part_end(keep, err);
	part_checkpoint(keep, false);
	return err;
}

/* Of one that cannot be read nothing is kept but that it went. */
static void save_number(struct part *keep, uint64_t seq)
{
	if (!part_is_aside(keep) && !part_begin(keep))
		part_end(keep, note_gone(keep, seq));
}

int part_save(struct part *p)
{
	struct part *keep = keep_of(p->engine);
	struct view v;
	int err = part_is_aside(keep) || part_is_aside(p) ? -ENOENT : view_open(p, &v);

	if (err) { /* nothing can be saved, or nowhere */
		if (err != -ENOMEM)
			save_number(keep, p->seq);
		part_put(keep);
		return err == -ENOMEM ? err : 0;
	}
	err = save(&v, keep);
	/* on a full disk it must be able to go, for that makes room: when nothing is kept of it */
	if (err == -ENOSPC && !holds_kept(&v))
		err = 0;
	view_close(&v);
	part_put(keep);
	return err;
}

bool part_was_saved(struct part *keep, uint64_t seq)
{
	struct conn *c = NULL;
	sqlite3_stmt *s = NULL;
	bool gone = false;
	struct view v;

	if (part_is_aside(keep) || view_open(keep, &v))
		return false;
	c = v.conn;
	if (!sql_prepare(c->db, "SELECT 1 FROM gone WHERE seq=?", &s)) {
		sqlite3_bind_int64(s, 1, (int64_t)seq);
		gone = sqlite3_step(s) == SQLITE_ROW;
	}
	sqlite3_finalize(s);
	view_close(&v);
	return gone;
}

uint64_t part_last_saved(struct part *keep)
{
	uint64_t seq = 0;
	struct view v;

	if (part_is_aside(keep) || view_open(keep, &v))
		return 0;
	if (sql_number(v.conn->db, "SELECT max(seq) FROM gone", &seq))
		seq = 0;
	view_close(&v);
	return seq;
}

/* ---- keeping a trace, letting it go -----------------------------------------------------------
 */

static int archive_id(struct part *keep, const struct trace_id *id)
{
	sqlite3_stmt *s = NULL;
	int err = sql_prepare(keep->writer->db, "SELECT count(*) FROM archived", &s);

	if (!err && sqlite3_step(s) == SQLITE_ROW && sqlite3_column_int64(s, 0) >= ARCHIVED_MAX)
		err = -EDQUOT;
	sqlite3_finalize(s);
	return err ? err : run_with_id(keep, "INSERT OR IGNORE INTO archived VALUES(?)", id, 0);
}

/* A row without spans tells readers that something changed. */
static int mark_change(struct part *keep)
{
	unsigned long long id = keep->next_id++;
	char sql[160];

	snprintf(sql, sizeof(sql),
		 "INSERT INTO block(id, spans) VALUES(%llu, 0);"
		 "DELETE FROM block WHERE spans = 0 AND id < %llu",
		 id, id);
	return sql_exec(keep->writer->db, sql);
}

static int release_id(struct part *keep, const struct trace_id *id)
{
	sqlite3_stmt *s = NULL;
	int err = run_with_id(keep, "DELETE FROM archived WHERE trace=?", id, 0);

	if (!err && !sqlite3_changes(keep->writer->db))
		return -ENOENT;
	if (!err)
		err = sql_prepare(keep->writer->db, "SELECT id FROM archive_block WHERE trace=?",
				  &s);
	if (!err)
		sqlite3_bind_blob(s, 1, id->b, sizeof(id->b), SQLITE_STATIC);
	while (!err && sqlite3_step(s) == SQLITE_ROW)
		err = part_remove(keep, (uint64_t)sqlite3_column_int64(s, 0));
	sqlite3_finalize(s);
	if (!err)
		err = run_with_id(keep, "DELETE FROM archive_block WHERE trace=?", id, 0);
	return err ? err : mark_change(keep);
}

static void note_found(void *ctx, const struct trace *t)
{
	*(bool *)ctx = true;
}

int engine_archive(struct store *s, const struct trace_id *id, bool keep)
{
	struct engine *e = (struct engine *)s;
	struct part *to;
	bool found = false;
	int err = e->cfg.read_only ? -EROFS : 0;

	if (!err && keep) {
		err = engine_traces(s, id, 1, (struct trace_sink){ &found, note_found });
		if (!err && !found)
			err = -ENOENT;
	}
	if (err)
		return err;
	to = keep_of(e);
	err = part_begin(to);
	if (!err)
		err = part_end(to, keep ? archive_id(to, id) : release_id(to, id));
	part_put(to);
	return err;
}

int engine_archived(struct store *s, void (*visit)(void *ctx, const struct trace_id *id), void *ctx)
{
	struct part *keep = keep_of((struct engine *)s);
	sqlite3_stmt *st = NULL;
	struct view v;
	int err = part_is_aside(keep) ? -EIO : view_open(keep, &v);

	if (err) {
		part_put(keep);
		return err;
	}
	err = sql_prepare(v.conn->db, "SELECT trace FROM archived", &st);
	while (!err && sqlite3_step(st) == SQLITE_ROW)
		if (sqlite3_column_bytes(st, 0) == sizeof(struct trace_id))
			visit(ctx, sqlite3_column_blob(st, 0));
	sqlite3_finalize(st);
	view_close(&v);
	part_put(keep);
	return err;
}

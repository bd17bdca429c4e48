/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: traces by id, scans, values. Filters say which blocks; each is opened once. */
#include "store/engine.h"

#include <errno.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

bool row_touches(const struct block_row *row, struct time_range r)
{
	return row->start_max_ns >= r.from_ns && (!r.to_ns || row->start_min_ns < r.to_ns);
}

int view_each(struct view *v, struct time_range r,
	      int (*visit)(void *ctx, struct view *v, const struct block_row *row), void *ctx)
{
	int err = 0;

	for (uint32_t i = 0; i < v->list->cnt && !err; i++) {
		const struct block_row *row = &v->list->row[i];

		if (!row_touches(row, r) || part_is_bad(v->part, row->id))
			continue;
		err = visit(ctx, v, row);
		if (err == -EBADMSG || err == -EIO) {
			part_note_bad(v->part, row->id, err);
			err = 0;
		}
	}
	return err;
}

int engine_views(struct engine *e, int (*look)(void *ctx, struct view *v), void *ctx)
{
	struct part **parts;
	struct view v;
	size_t cnt;
	int err = engine_parts(e, &parts, &cnt);

	if (err)
		return err;
	for (size_t i = 0; i < cnt && !err; i++) {
		if (part_is_aside(parts[i]))
			continue;
		err = view_open(parts[i], &v);
		if (err == -EBADMSG || err == -EIO || err == -ENOENT) {
			part_set_aside(parts[i], err);
			err = 0;
			continue;
		}
		if (err)
			break;
		err = look(ctx, &v);
		view_close(&v);
	}
	engine_parts_put(parts, cnt);
	return err;
}

struct each {
	struct time_range range;
	int (*visit)(void *ctx, struct view *v, const struct block_row *row);
	void *ctx;
};

static int look_at_each(void *ctx, struct view *v)
{
	struct each *each = ctx;

	return view_each(v, each->range, each->visit, each->ctx);
}

int engine_each(struct engine *e, struct time_range r,
		int (*visit)(void *ctx, struct view *v, const struct block_row *row), void *ctx)
{
	struct each each = { r, visit, ctx };

	return engine_views(e, look_at_each, &each);
}

struct block_index row_index(const struct block_row *row)
{
	return (struct block_index){
		.spans = row->spans,
		.traces = row->traces,
		.errors = row->errors,
		.start_min_ns = row->start_min_ns,
		.start_max_ns = row->start_max_ns,
		.duration_max_ns = row->duration_max_ns,
	};
}

int row_may_match(struct view *v, const struct block_row *row, const struct cond *c, bool *ret_may)
{
	struct block_index x = row_index(row);
	struct filter *f;
	int err;

	*ret_may = true;
	if (!c)
		return 0;
	err = view_filter(v, row, &f);
	if (err)
		return err;
	*ret_may = block_may_match(&x, (struct str){ f->data, f->len }, c);
	filter_release(f);
	return 0;
}

/* ---- traces by id -------------------------------------------------------------------------- */

/* So many are looked for one by one; more are looked up, each mark of a block. */
#define FEW 8u

struct wanted {
	const struct trace_id *ids;
	size_t cnt;
	const struct field *fields;
	size_t field_cnt;
	bool whole;
	struct trace_id *some; /* those that a block may have */
	struct trace_set set;  /* of more than a few */
	uint32_t *place;       /* scratch */
	struct gather *gather;
	bool any; /* the block in hand had some */
	int err;
};

static bool gather_span(void *ctx, const struct span *s)
{
	struct wanted *w = ctx;

	w->any = true;
	w->err = gather_add(w->gather, s);
	return !w->err;
}

static size_t choose(struct wanted *w, struct str filter)
{
	size_t cnt = 0;

	if (w->cnt > FEW) {
		cnt = block_may_have_traces(filter, &w->set, w->place);
		for (size_t i = 0; i < cnt; i++)
			w->some[i] = w->ids[w->place[i]];
		return cnt;
	}
	for (size_t i = 0; i < w->cnt; i++)
		if (block_may_have_trace(filter, &w->ids[i]))
			w->some[cnt++] = w->ids[i];
	return cnt;
}

static int gather_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct wanted *w = ctx;
	struct filter *f;
	struct body *b;
	size_t cnt = 0;
	int err = view_filter(v, row, &f);

	if (err)
		return err;
	cnt = choose(w, (struct str){ f->data, f->len });
	filter_release(f);
	if (!cnt)
		return 0;
	err = view_borrow(v, row, &b);
	if (err)
		return err;
	w->any = false;
	if (w->whole)
		err = block_traces(b->block, w->some, cnt, gather_span, w);
	else
		err = block_trace_fields(b->block, w->some, cnt, w->fields, w->field_cnt,
					 gather_span, w);
	view_give_back(v, b, w->any && err >= 0);
	return w->err ? w->err : MIN(err, 0);
}

static int gather_all(struct store *s, struct wanted *w, struct trace_sink out)
{
	int err = -ENOMEM;

	w->some = malloc(w->cnt * sizeof(*w->ids));
	w->gather = gather_new(w->ids, w->cnt);
	w->place = malloc(w->cnt * sizeof(*w->place));
	if (w->some && w->gather && w->place)
		err = w->cnt > FEW ? trace_set_init(&w->set, w->ids, w->cnt) : 0;
	if (!err)
		err = engine_each((struct engine *)s, (struct time_range){ 0 }, gather_block, w);
	if (!err)
		err = gather_finish(w->gather, out);
	free(w->some);
	free(w->place);
	trace_set_fini(&w->set);
	gather_free(w->gather);
	return err;
}

int engine_traces(struct store *s, const struct trace_id *ids, size_t cnt, struct trace_sink out)
{
	struct wanted w = { .ids = ids, .cnt = cnt, .whole = true };

	return gather_all(s, &w, out);
}

int engine_trace_fields(struct store *s, const struct trace_id *ids, size_t cnt,
			const struct field *fields, size_t field_cnt, struct trace_sink out)
{
	struct wanted w = { .ids = ids, .cnt = cnt, .fields = fields, .field_cnt = field_cnt };

	return gather_all(s, &w, out);
}

/* ---- values -------------------------------------------------------------------------------- */

struct seen {
	UT_hash_handle hh;
	size_t len;
	char key[];
};

struct valuing {
	const struct field *f;
	const struct cond *where;
	struct cond exists;
	struct time_range range;
	uint32_t left;
	struct seen *seen;
	int err;
	void (*visit)(void *ctx, const struct value *v);
	void *ctx;
};

/* Scalars as bytes, equal for equal values. False for others: they are no values to choose from. */
static bool key_of(const struct value *v, struct buf *key)
{
	char type = (char)v->type;

	buf_clear(key);
	buf_add(key, &type, 1);
	switch (v->type) {
	case VALUE_STR:
	case VALUE_BYTES: buf_add_str(key, v->str); break;
	case VALUE_BOOL: buf_add(key, &v->b, sizeof(v->b)); break;
	case VALUE_INT: buf_add(key, &v->i, sizeof(v->i)); break;
	case VALUE_DOUBLE: buf_add(key, &v->d, sizeof(v->d)); break;
	default: return false;
	}
	return !key->failed;
}

static bool note_scalar(struct valuing *s, const struct value *v)
{
	struct buf key = { 0 };
	struct seen *row;
	bool more = true;

	if (!key_of(v, &key)) {
		s->err = key.failed ? -ENOMEM : 0;
		goto out;
	}
	HASH_FIND(hh, s->seen, key.p, key.len, row);
	if (row)
		goto out;
	row = malloc(sizeof(*row) + key.len);
	if (!row) {
		s->err = -ENOMEM;
		goto out;
	}
	row->len = key.len;
	memcpy(row->key, key.p, key.len);
	HASH_ADD_KEYPTR(hh, s->seen, row->key, row->len, row);
	if (!row->hh.tbl) {
		free(row);
		s->err = -ENOMEM;
		goto out;
	}
	s->visit(s->ctx, v);
	more = --s->left > 0;
out:
	buf_fini(&key);
	return more && !s->err;
}

/* A condition is true of an array when it is of one element: those are its values. */
static bool note_value(void *ctx, const struct value *v)
{
	bool more = true;

	if (v->type != VALUE_ARRAY)
		return note_scalar(ctx, v);
	for (size_t i = 0; i < v->array.cnt && more; i++)
		more = note_scalar(ctx, &v->array.item[i]);
	return more;
}

static int value_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct valuing *s = ctx;
	struct body b;
	bool may;
	int err = row_may_match(v, row, s->where, &may);

	if (!err && may)
		err = row_may_match(v, row, &s->exists, &may);
	if (err || !may)
		return err;
	err = view_body(v, row, &b);
	if (err)
		return err;
	err = block_values(b.block, s->f, s->where, s->range, note_value, s);
	body_close(&b);
	return s->err ? s->err : err ? err : !s->left;
}

int engine_values(struct store *st, const struct field *f, const struct cond *where,
		  struct time_range r, uint32_t limit,
		  void (*visit)(void *ctx, const struct value *v), void *ctx)
{
	struct valuing s = {
		.f = f,
		.where = where,
		.exists = { .op = COND_CMP, .field = *f, .cmp = CMP_EXISTS },
		.range = r,
		.left = limit,
		.visit = visit,
		.ctx = ctx,
	};
	struct seen *row, *next;
	int err = engine_each((struct engine *)st, r, value_block, &s);

	HASH_ITER (hh, s.seen, row, next) {
		HASH_DEL(s.seen, row);
		free(row);
	}
	return MIN(err, 0);
}

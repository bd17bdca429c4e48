/* SPDX-License-Identifier: Apache-2.0 */
/* From columns back to spans. */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

#define CHECKPOINT_ROWS 256u
/* No further than this a walk is the shorter way. */
#define WALK_ROWS 32u

/* ---- tables ---- */

static int table(struct block *b, enum body_bytes which, uint32_t cnt, struct cursor *ret)
{
	uint32_t section = b->bytes[which];
	const uint8_t *data;
	int err = load_section(b, section, &data);

	if (err)
		return err;
	*ret = cursor_of(data, b->section[section].raw);
	return cnt <= b->section[section].raw ? 0 : -EBADMSG;
}

/* A resource outlives the block where copies of its spans do, so its bytes move into its arena. */
static int read_resource(struct block *b, struct cursor *c, struct resource **ret)
{
	const char *from = (const char *)c->p;
	struct resource skipped = { 0 }, *r;
	struct cursor own;
	struct str text;

	take_resource(c, b->line, &skipped);
	arena_reset(b->line);
	if (c->bad)
		return -EBADMSG;
	r = resource_new();
	if (!r)
		return -ENOMEM;
	*ret = r;
	text = arena_str(r->arena, (struct str){ from, (size_t)((const char *)c->p - from) });
	own = cursor_of(text.p, text.p ? text.len : 0);
	take_resource(&own, r->arena, r);
	return own.bad ? -ENOMEM : 0;
}

int load_resources(struct block *b)
{
	struct cursor c;
	int err;

	if (b->resource)
		return 0;
	err = table(b, BYTES_RESOURCES, b->resource_cnt, &c);
	if (err)
		return err;
	b->resource = arena_alloc(b->mem, ((size_t)b->resource_cnt + 1) * sizeof(*b->resource));
	if (!b->resource)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->resource_cnt && !err; i++)
		err = read_resource(b, &c, &b->resource[i]);
	if (!err)
		err = load_ints(b, &b->ints[INTS_RESOURCE]);
	for (uint32_t i = 0; i < b->rows && !err; i++)
		if (ints_at(&b->ints[INTS_RESOURCE], i) >= b->resource_cnt)
			err = -EBADMSG;
	if (err) {
		for (uint32_t i = 0; i < b->resource_cnt; i++)
			resource_put(b->resource[i]);
		b->resource = NULL;
	}
	return err;
}

int load_scopes(struct block *b)
{
	struct scope *scope;
	struct cursor c;
	int err;

	if (b->scope)
		return 0;
	err = table(b, BYTES_SCOPES, b->scope_cnt, &c);
	if (!err)
		err = load_ints(b, &b->ints[INTS_SCOPE]);
	if (err)
		return err;
	scope = arena_alloc(b->mem, ((size_t)b->scope_cnt + 1) * sizeof(*scope));
	if (!scope)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->scope_cnt; i++)
		take_scope(&c, b->mem, &scope[i]);
	for (uint32_t i = 0; i < b->rows && !c.bad; i++)
		c.bad = ints_at(&b->ints[INTS_SCOPE], i) >= b->scope_cnt;
	if (c.bad)
		return -EBADMSG;
	b->scope = scope;
	return 0;
}

/* Every row has a shape that is there, and the shapes' columns hold as many values as they use. */
static int check_shapes(struct block *b, const struct read_shape *shape, const uint32_t *columns)
{
	uint32_t *rows = calloc((size_t)b->shape_cnt + 1, sizeof(*rows));
	uint64_t *values = calloc((size_t)b->column_cnt + 1, sizeof(*values));
	const struct ints *of = &b->ints[INTS_SHAPE];
	int err = rows && values ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < b->rows && !err; i++) {
		uint64_t s = ints_at(of, i);

		if (s < b->shape_cnt)
			rows[s]++;
		else
			err = -EBADMSG;
	}
	for (uint32_t i = 0; i < b->shape_cnt && !err; i++)
		for (uint32_t k = 0; k < shape[i].cnt; k++)
			values[columns[shape[i].first + k]] += rows[i];
	for (uint32_t i = 0; i < b->column_cnt && !err; i++)
		if (values[i] != b->column[i].cnt)
			err = -EBADMSG;
	free(rows);
	free(values);
	return err;
}

int load_shapes(struct block *b)
{
	struct read_shape *shape;
	uint32_t *columns, at = 0;
	struct cursor c;
	int err;

	if (b->shape)
		return 0;
	err = table(b, BYTES_SHAPES, b->shape_cnt, &c);
	if (!err)
		err = load_ints(b, &b->ints[INTS_SHAPE]);
	if (err)
		return err;
	shape = arena_alloc(b->mem, ((size_t)b->shape_cnt + 1) * sizeof(*shape));
	columns = arena_alloc(b->mem, (cursor_left(&c) + 1) * sizeof(*columns));
	if (!shape || !columns)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->shape_cnt && !c.bad; i++) {
		uint64_t cnt = take_varint(&c);

		if (c.bad || cnt > cursor_left(&c))
			return -EBADMSG;
		shape[i] = (struct read_shape){ at, (uint32_t)cnt };
		b->shape_most = MAX(b->shape_most, shape[i].cnt);
		for (uint64_t k = 0; k < cnt; k++, at++) {
			uint64_t column = take_varint(&c);

			c.bad |= column >= b->column_cnt;
			columns[at] = (uint32_t)column;
		}
	}
	err = c.bad ? -EBADMSG : check_shapes(b, shape, columns);
	if (err)
		return err;
	b->shape_column = columns;
	b->shape = shape;
	return 0;
}

/* ---- by row ---- */

int load_traces(struct block *b)
{
	uint32_t *first;
	uint64_t at = 0;
	int err;

	if (b->trace_first)
		return 0;
	err = load_ints(b, &b->ints[INTS_TRACE_ROWS]);
	if (err)
		return err;
	first = arena_alloc_raw(b->mem, ((size_t)b->traces + 1) * sizeof(*first));
	if (!first)
		return -ENOMEM;
	for (uint32_t t = 0; t < b->traces; t++) {
		uint64_t rows = ints_at(&b->ints[INTS_TRACE_ROWS], t);

		first[t] = (uint32_t)at;
		if (rows > b->rows - at)
			return -EBADMSG;
		at += rows;
	}
	first[b->traces] = b->rows;
	if (at != b->rows)
		return -EBADMSG;
	b->trace_first = first;
	return 0;
}

int load_row_traces(struct block *b)
{
	int err = b->row_trace ? 0 : load_traces(b);
	uint32_t *of;

	if (b->row_trace || err)
		return err;
	of = arena_alloc_raw(b->mem, ((size_t)b->rows + 1) * sizeof(*of));
	if (!of)
		return -ENOMEM;
	for (uint32_t t = 0; t < b->traces; t++)
		for (uint32_t i = b->trace_first[t]; i < b->trace_first[t + 1]; i++)
			of[i] = t;
	b->row_trace = of;
	return 0;
}

int load_starts(struct block *b)
{
	const struct ints *base = &b->ints[INTS_TRACE_START], *after = &b->ints[INTS_START];
	uint64_t *start;
	int err = b->start ? 0 : load_traces(b);

	if (b->start)
		return 0;
	if (!err)
		err = load_ints(b, &b->ints[INTS_TRACE_START]);
	if (!err)
		err = load_ints(b, &b->ints[INTS_START]);
	if (err)
		return err;
	start = arena_alloc_raw(b->mem, ((size_t)b->rows + 1) * sizeof(*start));
	if (!start)
		return -ENOMEM;
	for (uint32_t t = 0; t < b->traces; t++) {
		uint64_t from = ints_at(base, t);

		for (uint32_t i = b->trace_first[t]; i < b->trace_first[t + 1]; i++)
			start[i] = from + ints_at(after, i);
	}
	b->start = start;
	return 0;
}

int load_details(struct block *b)
{
	uint32_t section = b->bytes[BYTES_DETAILS], *off;
	const uint8_t *data;
	uint64_t at = 0;
	int err;

	if (b->detail_off)
		return 0;
	err = load_ints(b, &b->ints[INTS_DETAIL]);
	if (!err)
		err = load_section(b, section, &data);
	if (err)
		return err;
	off = arena_alloc_raw(b->mem, ((size_t)b->rows + 1) * sizeof(*off));
	if (!off)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->rows; i++) {
		uint64_t len = ints_at(&b->ints[INTS_DETAIL], i);

		off[i] = (uint32_t)at;
		if (len > b->section[section].raw - at)
			return -EBADMSG;
		at += len;
	}
	off[b->rows] = (uint32_t)at;
	b->detail_off = off;
	return 0;
}

struct str row_details(const struct block *b, uint32_t row)
{
	const char *p = (const char *)b->section[b->bytes[BYTES_DETAILS]].data;

	return (struct str){ p + b->detail_off[row], b->detail_off[row + 1] - b->detail_off[row] };
}

/* How many parents outside the block stand before each row; all parents are where they are said
 * to be. */
static int load_parents(struct block *b)
{
	uint64_t have = b->section[b->bytes[BYTES_PARENTS]].raw / sizeof(struct span_id);
	uint32_t cnt = 0, *outside;
	const uint8_t *data;
	int err;

	if (b->outside)
		return 0;
	err = load_ints(b, &b->ints[INTS_PARENT]);
	if (!err)
		err = load_section(b, b->bytes[BYTES_PARENTS], &data);
	if (!err)
		err = load_section(b, b->bytes[BYTES_SPAN_IDS], &data);
	if (err)
		return err;
	outside = arena_alloc_raw(b->mem, ((size_t)b->rows + 1) * sizeof(*outside));
	if (!outside)
		return -ENOMEM;
	for (uint32_t t = 0; t < b->traces; t++) {
		uint32_t first = b->trace_first[t], end = b->trace_first[t + 1];

		for (uint32_t i = first; i < end; i++) {
			uint64_t code = ints_at(&b->ints[INTS_PARENT], i);

			outside[i] = cnt;
			cnt += code == 1;
			if (code >= 2 && code - 2 >= end - first)
				return -EBADMSG;
		}
	}
	if (cnt > have)
		return -EBADMSG;
	b->outside = outside;
	return 0;
}

/* ---- where a row's values are ---- */

static inline const struct read_shape *row_shape(const struct block *b, uint32_t row)
{
	return &b->shape[ints_at(&b->ints[INTS_SHAPE], row)];
}

static void pass_shape(struct block *b, const struct read_shape *s, uint32_t rows)
{
	for (uint32_t k = 0; k < s->cnt; k++)
		b->ordinal[b->shape_column[s->first + k]] += rows;
}

/* How many rows of each shape stand before every CHECKPOINT_ROWS'th row. */
static int make_checkpoints(struct block *b)
{
	size_t cnt = b->rows / CHECKPOINT_ROWS + 1, shapes = b->shape_cnt;
	uint32_t *now = arena_alloc(b->mem, (shapes + 1) * sizeof(*now));
	uint32_t *to = arena_alloc_raw(b->mem, (cnt * shapes + 1) * sizeof(*to));

	b->ordinal = arena_alloc(b->mem, ((size_t)b->column_cnt + 1) * sizeof(*b->ordinal));
	b->attr = arena_alloc(b->mem, ((size_t)b->shape_most + 1) * sizeof(*b->attr));
	if (!now || !to || !b->ordinal || !b->attr)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->rows; i++) {
		if (i % CHECKPOINT_ROWS == 0)
			memcpy(to + i / CHECKPOINT_ROWS * shapes, now, shapes * sizeof(*now));
		now[ints_at(&b->ints[INTS_SHAPE], i)]++;
	}
	b->passed = now;
	b->checkpoint = to;
	return 0;
}

/* Near by it walks, up or down; further it begins at a checkpoint. */
static void seek_row(struct block *b, uint32_t row)
{
	size_t shapes = b->shape_cnt;
	uint32_t near = row / CHECKPOINT_ROWS;

	if (row - b->at + WALK_ROWS <= 2 * WALK_ROWS) {
		for (; b->at < row; b->at++)
			pass_shape(b, row_shape(b, b->at), 1);
		/* adding the largest takes one away */
		while (b->at > row)
			pass_shape(b, row_shape(b, --b->at), UINT32_MAX);
		return;
	}
	memcpy(b->passed, b->checkpoint + near * shapes, shapes * sizeof(*b->passed));
	for (b->at = near * CHECKPOINT_ROWS; b->at < row; b->at++)
		b->passed[ints_at(&b->ints[INTS_SHAPE], b->at)]++;
	memset(b->ordinal, 0, b->column_cnt * sizeof(*b->ordinal));
	for (uint32_t i = 0; i < b->shape_cnt; i++)
		if (b->passed[i])
			pass_shape(b, &b->shape[i], b->passed[i]);
}

/* ---- a row ---- */

int load_ids(struct block *b)
{
	const uint8_t *data;
	int err = load_row_traces(b);

	if (!err)
		err = load_section(b, b->bytes[BYTES_TRACE_IDS], &data);
	return err ? err : load_parents(b);
}

int load_wanted(struct block *b, const struct want *w)
{
	static const enum body_ints ints[] = { INTS_DURATION, INTS_KIND, INTS_STATUS, INTS_FLAGS };
	int err = load_ids(b);

	for (size_t i = 0; i < ARRAY_LEN(ints) && !err; i++)
		err = load_ints(b, &b->ints[ints[i]]);
	if (!err)
		err = load_starts(b);
	if (!err)
		err = load_resources(b);
	if (!err)
		err = load_scopes(b);
	if (!err)
		err = load_texts(b, &b->names, b->rows);
	if (!err)
		err = load_shapes(b);
	if (!err && w->details)
		err = load_details(b);
	for (uint32_t i = 0; i < b->column_cnt && !err; i++)
		if (!w->column || w->column[i])
			err = load_column(b, &b->column[i]);
	return err || b->checkpoint ? err : make_checkpoints(b);
}

int read_value(struct block *b, const struct read_column *c, uint32_t i, struct value *ret_value)
{
	struct value *v = ret_value;
	struct cursor list;
	struct str s;

	*v = (struct value){ .type = c->type };
	if (c->type == VALUE_BOOL) {
		v->b = ints_at(&c->ints, i) != 0;
		return 0;
	}
	if (type_is_int(c->type)) {
		v->i = (int64_t)ints_at(&c->ints, i);
		return 0;
	}
	if (!type_is_text(c->type))
		return 0;
	s = texts_str(&c->texts, texts_id(&c->texts, i));
	if (c->type == VALUE_STR || c->type == VALUE_BYTES) {
		v->str = s;
		return 0;
	}
	list = cursor_of(s.p, s.len);
	take_list(&list, b->line, c->type, v);
	return list.bad ? -EBADMSG : 0;
}

static int read_attrs(struct block *b, const struct want *w, uint32_t row, struct attrs *a)
{
	const struct read_shape *s = row_shape(b, row);
	uint32_t cnt = 0;
	int err = 0;

	seek_row(b, row);
	for (uint32_t k = 0; k < s->cnt; k++) {
		uint32_t column = b->shape_column[s->first + k], i = b->ordinal[column]++;

		if (err || (w->column && !w->column[column]))
			continue;
		b->attr[cnt].key = b->column[column].key;
		err = read_value(b, &b->column[column], i, &b->attr[cnt++].value);
	}
	b->at++;
	a->item = cnt ? b->attr : NULL;
	a->cnt = a->size = cnt;
	return err;
}

static bool make_owned(struct block *b)
{
	uint64_t pairs = (uint64_t)b->resource_cnt * b->scope_cnt;
	uint32_t slots = 16;

	while (slots < 2 * MIN(pairs, b->rows))
		slots *= 2;
	b->owned = arena_alloc(b->mem, slots * sizeof(*b->owned));
	b->owned_slots = slots;
	return b->owned;
}

/* The scope in the resource's memory. */
static int own_scope(struct block *b, uint32_t resource, uint32_t scope, const struct scope **ret)
{
	struct arena *mem = b->resource[resource]->arena;
	const struct scope *from = &b->scope[scope];
	struct owned_scope *o;
	uint32_t at = resource * 31 + scope;

	if (!b->owned && !make_owned(b))
		return -ENOMEM;
	for (;; at++) {
		o = &b->owned[at & (b->owned_slots - 1)];
		if (!o->at || (o->resource == resource && o->scope == scope))
			break;
	}
	if (!o->at) {
		struct scope *s = arena_alloc(mem, sizeof(*s));

		if (!s || !attrs_copy(&from->attrs, mem, &s->attrs))
			return -ENOMEM;
		s->name = arena_str(mem, from->name);
		s->version = arena_str(mem, from->version);
		s->schema_url = arena_str(mem, from->schema_url);
		if (!s->name.p || !s->version.p || !s->schema_url.p)
			return -ENOMEM;
		*o = (struct owned_scope){ resource, scope, s };
	}
	*ret = o->at;
	return 0;
}

void read_ids(const struct block *b, uint32_t row, struct span *s)
{
	uint32_t trace = b->row_trace[row];
	const uint8_t *ids = b->section[b->bytes[BYTES_SPAN_IDS]].data;
	const uint8_t *outside = b->section[b->bytes[BYTES_PARENTS]].data;
	uint64_t code = ints_at(&b->ints[INTS_PARENT], row);

	memcpy(s->trace_id.b,
	       b->section[b->bytes[BYTES_TRACE_IDS]].data + (size_t)trace * sizeof(s->trace_id),
	       sizeof(s->trace_id));
	memcpy(s->span_id.b, ids + (size_t)row * sizeof(s->span_id), sizeof(s->span_id));
	if (code == 1)
		memcpy(s->parent_id.b, outside + (size_t)b->outside[row] * sizeof(s->parent_id),
		       sizeof(s->parent_id));
	else if (code)
		memcpy(s->parent_id.b,
		       ids + (b->trace_first[trace] + (code - 2)) * sizeof(s->parent_id),
		       sizeof(s->parent_id));
}

int read_row(struct block *b, const struct want *w, uint32_t row, struct span *ret_span)
{
	uint32_t resource = (uint32_t)ints_at(&b->ints[INTS_RESOURCE], row);
	struct span *s = ret_span;
	int err;

	*s = (struct span){ .flags = (uint32_t)ints_at(&b->ints[INTS_FLAGS], row),
			    .kind = (enum span_kind)ints_at(&b->ints[INTS_KIND], row),
			    .status = (enum span_status)ints_at(&b->ints[INTS_STATUS], row),
			    .name = texts_str(&b->names, texts_id(&b->names, row)),
			    .start_ns = b->start[row],
			    .resource = b->resource[resource] };
	s->end_ns = s->start_ns + ints_at(&b->ints[INTS_DURATION], row);
	arena_reset(b->line);
	read_ids(b, row, s);
	err = own_scope(b, resource, (uint32_t)ints_at(&b->ints[INTS_SCOPE], row), &s->scope);
	if (!err)
		err = read_attrs(b, w, row, &s->attrs);
	if (!err && w->details && row_details(b, row).len &&
	    !take_details(row_details(b, row), b->line, s))
		err = -EBADMSG;
	return err;
}

/* ---- whole traces ---- */

static int by_id(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct trace_id));
}

static int visit_rows(struct block *b, const struct want *w, uint32_t from, uint32_t to,
		      bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	int err = load_wanted(b, w);

	for (uint32_t row = from; row < to && !err; row++) {
		struct span s;

		err = read_row(b, w, row, &s);
		if (!err && !visit(ctx, &s))
			err = 1;
	}
	return err;
}

int block_traces(struct block *b, const struct trace_id *ids, size_t cnt,
		 bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	const struct want whole = { .details = true };
	struct trace_id *sorted;
	const uint8_t *have;
	int err = load_section(b, b->bytes[BYTES_TRACE_IDS], &have);

	if (!err)
		err = load_traces(b);
	if (err || !cnt)
		return err;
	sorted = malloc(cnt * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, ids, cnt * sizeof(*sorted));
	qsort(sorted, cnt, sizeof(*sorted), by_id);
	for (uint32_t t = 0; t < b->traces && !err; t++)
		if (bsearch(have + (size_t)t * sizeof(*ids), sorted, cnt, sizeof(*sorted), by_id))
			err = visit_rows(b, &whole, b->trace_first[t], b->trace_first[t + 1], visit,
					 ctx);
	free(sorted);
	return err;
}

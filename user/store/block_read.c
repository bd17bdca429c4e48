/* SPDX-License-Identifier: Apache-2.0 */
/* From columns back to spans. */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

#define CHECKPOINT_ROWS 256u
/* No further than this a walk is the shorter way. */
#define WALK_ROWS 32u

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

void want_field(struct block *b, const struct field *f, struct want *w)
{
	struct attr_field at;

	switch (f->kind) {
	case FIELD_ATTR:
	case FIELD_SPAN_ATTR:
		field_columns(b, f->key, &at);
		for (uint32_t i = 0; w->column && i < at.cnt; i++)
			w->column[at.column[i] - b->column] = true;
		break;
	case FIELD_EVENT_ATTR:
	case FIELD_EVENT_NAME:
	case FIELD_LINK_ATTR:
	case FIELD_STATUS_MESSAGE: w->details = true; break;
	default: break; /* always there */
	}
}

int load_wanted(struct block *b, const struct want *w)
{
	static const enum body_ints ints[] = { INTS_TRACE_START, INTS_START,  INTS_DURATION,
					       INTS_KIND,	 INTS_STATUS, INTS_FLAGS,
					       INTS_RESOURCE };
	int err = load_ids(b);

	for (size_t i = 0; i < ARRAY_LEN(ints) && !err; i++)
		err = load_ints(b, &b->ints[ints[i]]);
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
	uint32_t id;

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
	id = texts_id(&c->texts, i);
	if (id >= c->texts.lens.cnt)
		return -EBADMSG;
	s = texts_str(&c->texts, id);
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

/* ---- what spans share ---- */

/* A resource outlives the block where copies of its spans do: its bytes move into its arena. */
static int own_resource(struct block *b, uint64_t i, struct resource **ret)
{
	struct resource *r;
	struct cursor own;
	struct str text;

	if (i >= b->resource_cnt)
		return -EBADMSG;
	if (!b->owner[i]) {
		r = resource_new();
		if (!r)
			return -ENOMEM;
		text = arena_str(r->arena, b->resource_text[i]);
		own = cursor_of(text.p, text.p ? text.len : 0);
		take_resource(&own, r->arena, r);
		if (own.bad) {
			resource_put(r);
			return -ENOMEM;
		}
		b->owner[i] = r;
	}
	*ret = b->owner[i];
	return 0;
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
static int own_scope(struct block *b, struct arena *mem, uint64_t resource, uint64_t scope,
		     const struct scope **ret)
{
	uint64_t at = resource * 31 + scope;
	const struct scope *from;
	struct owned_scope *o;

	if (scope >= b->scope_cnt)
		return -EBADMSG;
	if (!b->owned && !make_owned(b))
		return -ENOMEM;
	for (;; at++) {
		o = &b->owned[at & (b->owned_slots - 1)];
		if (!o->at || (o->resource == resource && o->scope == scope))
			break;
	}
	if (!o->at) {
		struct scope *s = arena_alloc(mem, sizeof(*s));

		from = &b->scope[scope];
		if (!s || !attrs_copy(&from->attrs, mem, &s->attrs))
			return -ENOMEM;
		s->name = arena_str(mem, from->name);
		s->version = arena_str(mem, from->version);
		s->schema_url = arena_str(mem, from->schema_url);
		if (!s->name.p || !s->version.p || !s->schema_url.p)
			return -ENOMEM;
		*o = (struct owned_scope){ (uint32_t)resource, (uint32_t)scope, s };
	}
	*ret = o->at;
	return 0;
}

/* The trace that a row is of: mostly that of the row before, or one near it. */
static uint32_t row_trace(struct block *b, uint32_t row)
{
	uint32_t low = 0, high = b->traces;

	if (b->trace_first[b->trace_at] <= row && row < b->trace_first[b->trace_at + 1])
		return b->trace_at;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (b->trace_first[middle] <= row)
			low = middle;
		else
			high = middle;
	}
	b->trace_at = low;
	return low;
}

int read_ids(struct block *b, uint32_t row, struct span *ret_span)
{
	uint32_t trace = row_trace(b, row), first = b->trace_first[trace];
	const uint8_t *ids = b->section[b->bytes[BYTES_SPAN_IDS]].data;
	const struct section *outside = &b->section[b->bytes[BYTES_PARENTS]];
	uint64_t code = ints_at(&b->ints[INTS_PARENT], row);
	struct span *s = ret_span;

	memcpy(s->trace_id.b,
	       b->section[b->bytes[BYTES_TRACE_IDS]].data + (size_t)trace * sizeof(s->trace_id),
	       sizeof(s->trace_id));
	memcpy(s->span_id.b, ids + (size_t)row * sizeof(s->span_id), sizeof(s->span_id));
	if (!code)
		return 0;
	if (code == 1) {
		size_t at = b->outside ? (size_t)b->outside[row] * sizeof(s->parent_id) : SIZE_MAX;

		if (!b->outside || at + sizeof(s->parent_id) > outside->raw)
			return -EBADMSG;
		memcpy(s->parent_id.b, outside->data + at, sizeof(s->parent_id));
		return 0;
	}
	if (code - 2 >= b->trace_first[trace + 1] - first)
		return -EBADMSG;
	memcpy(s->parent_id.b, ids + (first + (code - 2)) * sizeof(s->parent_id),
	       sizeof(s->parent_id));
	return 0;
}

int read_row(struct block *b, const struct want *w, uint32_t row, struct span *ret_span)
{
	uint64_t resource = ints_at(&b->ints[INTS_RESOURCE], row);
	uint32_t name = texts_id(&b->names, row);
	struct span *s = ret_span;
	int err = name < b->names.lens.cnt ? 0 : -EBADMSG;

	*s = (struct span){ .flags = (uint32_t)ints_at(&b->ints[INTS_FLAGS], row),
			    .kind = (enum span_kind)ints_at(&b->ints[INTS_KIND], row),
			    .status = (enum span_status)ints_at(&b->ints[INTS_STATUS], row),
			    .start_ns = ints_at(&b->ints[INTS_TRACE_START], row_trace(b, row)) +
					ints_at(&b->ints[INTS_START], row) };
	s->end_ns = s->start_ns + ints_at(&b->ints[INTS_DURATION], row);
	arena_reset(b->line);
	if (!err)
		err = own_resource(b, resource, &s->resource);
	if (!err)
		err = own_scope(b, s->resource->arena, resource, ints_at(&b->ints[INTS_SCOPE], row),
				&s->scope);
	if (!err)
		err = read_ids(b, row, s);
	if (!err)
		err = read_attrs(b, w, row, &s->attrs);
	if (err)
		return err;
	s->name = texts_str(&b->names, name);
	if (w->details && row_details(b, row).len && !take_details(row_details(b, row), b->line, s))
		return -EBADMSG;
	return 0;
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

static int visit_traces(struct block *b, const struct want *w, const struct trace_id *ids,
			size_t cnt, bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
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
			err = visit_rows(b, w, b->trace_first[t], b->trace_first[t + 1], visit,
					 ctx);
	free(sorted);
	return err;
}

int block_traces(struct block *b, const struct trace_id *ids, size_t cnt,
		 bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	return visit_traces(b, &(struct want){ .details = true }, ids, cnt, visit, ctx);
}

int block_trace_fields(struct block *b, const struct trace_id *ids, size_t cnt,
		       const struct field *fields, size_t field_cnt,
		       bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	struct want w = { .column = calloc((size_t)b->column_cnt + 1, sizeof(*w.column)) };
	int err = w.column ? 0 : -ENOMEM;

	for (size_t i = 0; i < field_cnt && !err; i++)
		want_field(b, &fields[i], &w);
	if (!err)
		err = visit_traces(b, &w, ids, cnt, visit, ctx);
	free(w.column);
	return err;
}

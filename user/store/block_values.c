/* SPDX-License-Identifier: Apache-2.0 */
/* The values of a field: each string once; numbers may come again when many lie between. */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

/* Numbers seen lately; a power of two. */
#define RECENT 1024u

struct values {
	struct block *b;
	const struct field *f;
	const uint8_t *mask;
	bool (*visit)(void *ctx, const struct value *v);
	void *ctx;
	bool ended;
	struct recent {
		bool set;
		enum value_type type;
		int64_t i;
	} * recent;
};

static void emit(struct values *x, const struct value *v)
{
	if (!x->ended && v->type != VALUE_EMPTY)
		x->ended = !x->visit(x->ctx, v);
}

static void emit_number(struct values *x, const struct value *v)
{
	int64_t i = v->type == VALUE_BOOL ? v->b : v->i;
	uint64_t mix = (uint64_t)i * 0x9e3779b97f4a7c15u;
	struct recent *r = &x->recent[mix >> 32 & (RECENT - 1)];

	if (r->set && r->type == v->type && r->i == i)
		return;
	*r = (struct recent){ true, v->type, i };
	emit(x, v);
}

/* Strings are marked when they were given. */
static void emit_value(struct values *x, const struct read_column *c, uint8_t *given, uint32_t i)
{
	struct value v;

	if (type_is_text(c->type)) {
		uint32_t id = texts_id(&c->texts, i);

		if (given[id])
			return;
		given[id] = 1;
	}
	arena_reset(x->b->line);
	if (read_value(x->b, c, i, &v))
		return;
	if (type_is_int(v.type))
		emit_number(x, &v);
	else
		emit(x, &v);
}

/* Of each of the things that rows share, if one of the rows has it. */
static int shared_values(struct values *x, const struct ints *of, uint32_t cnt,
			 struct value (*get)(struct values *x, uint32_t i))
{
	uint8_t *given = calloc((size_t)cnt + 1, 1);

	if (!given)
		return -ENOMEM;
	for (uint32_t row = 0; row < x->b->rows && !x->ended; row++) {
		uint64_t i = ints_at(of, row);
		struct value v;

		if (!x->mask[row] || i >= cnt || given[i])
			continue;
		given[i] = 1;
		v = get(x, (uint32_t)i);
		emit(x, &v);
	}
	free(given);
	return 0;
}

static struct value of_resource(struct values *x, uint32_t i)
{
	const struct span probe = { .resource = &x->b->resource[i], .scope = &scope_capture };

	return field_value(x->f, &probe);
}

static struct value of_scope(struct values *x, uint32_t i)
{
	const struct span probe = { .scope = &x->b->scope[i] };

	return field_value(x->f, &probe);
}

static int resource_values(struct values *x)
{
	int err = load_resources(x->b);

	if (!err)
		err = load_ints(x->b, &x->b->ints[INTS_RESOURCE]);
	return err ? err
		   : shared_values(x, &x->b->ints[INTS_RESOURCE], x->b->resource_cnt, of_resource);
}

static int scope_values(struct values *x)
{
	int err = load_scopes(x->b);

	return err ? err : shared_values(x, &x->b->ints[INTS_SCOPE], x->b->scope_cnt, of_scope);
}

static int attr_values(struct values *x)
{
	struct block *b = x->b;
	uint8_t *given[FIELD_TYPES_MAX] = { NULL };
	struct attr_field f;
	int err = field_locate(b, x->f->key, &f);

	for (uint32_t i = 0; i < f.cnt && !err; i++) {
		err = load_column(b, f.column[i]);
		given[i] = calloc((size_t)f.column[i]->texts.lens.cnt + 1, 1);
		if (!given[i])
			err = -ENOMEM;
	}
	for (uint32_t row = 0; row < b->rows && !err && !x->ended; row++)
		if (x->mask[row] && f.which[row] < FIELD_TYPES_MAX)
			emit_value(x, f.column[f.which[row]], given[f.which[row]], f.at[row]);
	for (uint32_t i = 0; i < FIELD_TYPES_MAX; i++)
		free(given[i]);
	field_fini(&f);
	if (!err && !x->ended && x->f->kind == FIELD_ATTR)
		err = resource_values(x);
	return err;
}

static int name_values(struct values *x)
{
	struct block *b = x->b;
	struct read_column c = { .type = VALUE_STR };
	uint8_t *given;
	int err = load_texts(b, &b->names, b->rows);

	if (err)
		return err;
	c.texts = b->names;
	given = calloc((size_t)b->names.lens.cnt + 1, 1);
	if (!given)
		return -ENOMEM;
	for (uint32_t row = 0; row < b->rows && !x->ended; row++)
		if (x->mask[row])
			emit_value(x, &c, given, row);
	free(given);
	return 0;
}

/* Every event's and link's: one at a time as a span's only one. */
static void detail_values(struct values *x, const struct span *s)
{
	bool event = x->f->kind == FIELD_EVENT_ATTR || x->f->kind == FIELD_EVENT_NAME;
	uint32_t cnt = event ? s->event_cnt : s->link_cnt;
	struct value v;

	if (x->f->kind == FIELD_STATUS_MESSAGE) {
		v = field_value(x->f, s);
		emit(x, &v);
		return;
	}
	for (uint32_t i = 0; i < cnt; i++) {
		const struct span one = { .events = event ? &s->events[i] : NULL,
					  .event_cnt = event,
					  .links = event ? NULL : &s->links[i],
					  .link_cnt = !event };

		v = field_value(x->f, &one);
		emit(x, &v);
	}
}

/* Row by row: whatever is in no column of its own. */
static int row_values(struct values *x)
{
	bool *none = calloc((size_t)x->b->column_cnt + 1, sizeof(*none));
	const struct want w = { .details = x->f->kind == FIELD_EVENT_ATTR ||
					   x->f->kind == FIELD_EVENT_NAME ||
					   x->f->kind == FIELD_LINK_ATTR ||
					   x->f->kind == FIELD_STATUS_MESSAGE,
				.column = none };
	int err = none ? load_wanted(x->b, &w) : -ENOMEM;

	for (uint32_t row = 0; row < x->b->rows && !err && !x->ended; row++) {
		struct value v;
		struct span s;

		if (!x->mask[row])
			continue;
		err = read_row(x->b, &w, row, &s);
		if (!err && w.details) {
			detail_values(x, &s);
		} else if (!err) {
			v = field_value(x->f, &s);
			if (v.type == VALUE_INT)
				emit_number(x, &v);
			else
				emit(x, &v);
		}
	}
	free(none);
	return err;
}

int block_values(struct block *b, const struct field *f, const struct cond *where,
		 struct time_range r, bool (*visit)(void *ctx, const struct value *v), void *ctx)
{
	uint8_t *mask = malloc((size_t)b->rows + 1);
	struct values x = { .b = b, .f = f, .mask = mask, .visit = visit, .ctx = ctx };
	int err = -ENOMEM;

	x.recent = calloc(RECENT, sizeof(*x.recent));
	if (mask && x.recent)
		err = match_rows(b, where, r, 0, mask);
	if (err)
		goto out;
	switch (f->kind) {
	case FIELD_ATTR:
	case FIELD_SPAN_ATTR: err = attr_values(&x); break;
	case FIELD_RESOURCE_ATTR:
	case FIELD_SERVICE: err = resource_values(&x); break;
	case FIELD_SCOPE_ATTR:
	case FIELD_SCOPE_NAME:
	case FIELD_SCOPE_VERSION: err = scope_values(&x); break;
	case FIELD_NAME: err = name_values(&x); break;
	default: err = row_values(&x); break;
	}
out:
	free(mask);
	free(x.recent);
	return err ? err : x.ended;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the filter beside a body tells without reading the body. */
#include "store/block_filter.h"

#include <errno.h>
#include <stdlib.h>

struct topless topless_of(const struct filter_view *f)
{
	return (struct topless){ .c = cursor_of(f->topless.p, f->topless.len) };
}

bool topless_next(struct topless *t, size_t traces)
{
	uint64_t step;

	if (!cursor_left(&t->c) || t->c.bad)
		return false;
	step = take_varint(&t->c);
	t->c.bad |= step >= traces || (t->begun && !step);
	t->at += t->c.bad ? 0 : step;
	t->c.bad |= t->at >= traces;
	t->begun = true;
	return !t->c.bad;
}

static void parse_whole(struct cursor c, struct filter_view *f)
{
	f->longest_ns = take_varint(&c);
	f->heaviest_ns = take_varint(&c);
	f->whole_flags = take_varint(&c);
	f->marks_more = take_str(&c, f->traces.len / 4);
	f->spans = take_str(&c, f->traces.len / 4);
	f->topless = take_str(&c, cursor_left(&c));
	f->old = c.bad;
}

bool filter_parse(struct str from, struct filter_view *ret)
{
	struct cursor c = cursor_of(from.p, from.len);
	uint32_t len[FILTER_PARTS] = { 0 }, magic = take_u32le(&c);
	bool old = magic == FILTER_MAGIC_OLD, ok = old || magic == FILTER_MAGIC;
	struct str whole;

	*ret = (struct filter_view){ .old = old };
	take_u32le(&c); /* the checksum is looked at once */
	for (size_t i = 0; i < (old ? FILTER_PARTS_OLD : FILTER_PARTS); i++)
		len[i] = take_u32le(&c);
	ret->operations = take_str(&c, len[0]);
	ret->tags = take_str(&c, len[1]);
	ret->traces = take_str(&c, len[2]);
	ret->pairs = take_str(&c, len[3]);
	whole = take_str(&c, len[4]);
	ok = ok && !c.bad && c.p == c.end;
	if (ok && !old) {
		parse_whole(cursor_of(whole.p, whole.len), ret);
		ok = !ret->old;
	}
	if (!ok)
		*ret = (struct filter_view){ .old = true };
	return ok;
}

static bool bloom_has(struct str bloom, uint64_t h)
{
	for (uint32_t i = 0; i < BLOOM_HASHES && bloom.len; i++) {
		uint32_t bit = bloom_bit(h, i, (uint32_t)bloom.len);

		if (!(bloom.p[bit / 8] & 1 << bit % 8))
			return false;
	}
	return bloom.len != 0;
}

static uint32_t mark_at(struct str marks, size_t i)
{
	struct cursor c = cursor_of(marks.p + i * 4, 4);
	return take_u32le(&c);
}

static bool marks_have(struct str marks, uint64_t hash)
{
	size_t low = 0, high = marks.len / 4;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (mark_at(marks, mid) < trace_mark(hash))
			low = mid + 1;
		else
			high = mid;
	}
	return low < marks.len / 4 && mark_at(marks, low) == trace_mark(hash);
}

bool block_may_have_trace(struct str filter, const struct trace_id *id)
{
	struct filter_view f;

	if (!filter_parse(filter, &f))
		return true;
	return marks_have(f.traces, text_hash((struct str){ (const char *)id->b, sizeof(id->b) }));
}

static int by_trace_mark(const void *a, const void *b)
{
	const struct trace_place *x = a, *y = b;

	if (x->mark != y->mark)
		return x->mark < y->mark ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

int trace_set_init(struct trace_set *s, const struct trace_id *ids, size_t cnt)
{
	int err;

	*s = (struct trace_set){ .cnt = (uint32_t)cnt };
	err = mark_set_init(&s->set, cnt);
	s->item = calloc(cnt + 1, sizeof(*s->item));
	if (err || !s->item) {
		trace_set_fini(s);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < cnt; i++) {
		struct str id = { (const char *)ids[i].b, sizeof(ids[i].b) };
		uint64_t hash = text_hash(id);

		s->item[i] = (struct trace_place){ trace_mark(hash), i };
		mark_set_add(&s->set, trace_long_mark(hash));
	}
	qsort(s->item, cnt, sizeof(*s->item), by_trace_mark);
	return 0;
}

void trace_set_fini(struct trace_set *s)
{
	free(s->set.word);
	free(s->item);
	*s = (struct trace_set){ 0 };
}

/* The first that is not below the mark. */
static uint32_t trace_set_find(const struct trace_set *s, uint32_t mark)
{
	uint32_t low = 0, high = s->cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (s->item[mid].mark < mark)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t block_may_have_traces(struct str filter, const struct trace_set *s, uint32_t *ret)
{
	struct filter_view f;
	uint32_t found = 0, at = 0;

	if (!filter_parse(filter, &f)) {
		for (; found < s->cnt; found++)
			ret[found] = found;
		return found;
	}
	for (size_t i = 0; i < f.traces.len / 4; i++) {
		uint32_t mark = mark_at(f.traces, i);

		if (!mark_set_has(&s->set, (uint64_t)mark << 8))
			continue;
		/* marks stand in order: what was found is not found again */
		at = MAX(at, trace_set_find(s, mark));
		for (; at < s->cnt && s->item[at].mark == mark; at++)
			ret[found++] = s->item[at].place;
	}
	return found;
}

uint64_t filter_mark(const struct filter_view *f, size_t i)
{
	return (uint64_t)mark_at(f->traces, i) << 8 | (f->old ? 0 : (uint8_t)f->marks_more.p[i]);
}

bool block_marks(struct str filter, uint64_t *ret_marks, uint32_t *ret_cnt, uint32_t max)
{
	struct filter_view f;
	uint32_t cnt;

	filter_parse(filter, &f);
	cnt = (uint32_t)MIN(f.traces.len / 4, max);
	for (uint32_t i = 0; i < cnt; i++)
		ret_marks[i] = filter_mark(&f, i);
	*ret_cnt = cnt;
	return !f.old;
}

/* ---- lists ---- */

void operations_begin(struct operations *o, const struct filter_view *f)
{
	struct cursor c = cursor_of(f->operations.p, f->operations.len);
	uint64_t cnt = take_varint(&c);

	*o = (struct operations){ .services = c, .old = f->old };
	for (uint64_t i = 0; i < cnt && !c.bad; i++)
		take_text(&c);
	o->services.end = c.p;
	o->left = take_varint(&c);
	o->at = c;
}

bool operations_next(struct operations *o, struct operation *ret)
{
	uint64_t service;

	if (!o->left || o->at.bad)
		return false;
	o->left--;
	service = take_varint(&o->at);
	ret->kind = (uint32_t)take_varint(&o->at);
	ret->top = o->old || ret->kind & 1;
	ret->kind >>= !o->old;
	ret->name = take_text(&o->at);
	o->at.bad |= service + 1 < o->passed;
	for (; o->passed <= service && !o->services.bad; o->passed++)
		o->service = take_text(&o->services);
	o->at.bad |= o->services.bad;
	ret->service = o->service;
	return !o->at.bad;
}

void block_operations(struct str filter,
		      void (*visit)(void *ctx, struct str service, struct str name,
				    enum span_kind kind),
		      void *ctx)
{
	struct operations o;
	struct operation op;
	struct filter_view f;

	filter_parse(filter, &f);
	operations_begin(&o, &f);
	while (operations_next(&o, &op))
		visit(ctx, op.service, op.name, (enum span_kind)op.kind);
}

struct tag {
	uint8_t kind, types, indexed;
	struct str key;
};

static bool take_tag(struct cursor *c, struct tag *ret)
{
	ret->kind = take_u8(c);
	ret->types = take_u8(c);
	ret->indexed = take_u8(c);
	ret->key = take_text(c);
	return !c->bad;
}

void block_tags(struct str filter, void (*visit)(void *ctx, enum field_kind kind, struct str key),
		void *ctx)
{
	struct filter_view f;
	struct cursor c;
	struct tag t;
	uint64_t cnt;

	filter_parse(filter, &f);
	c = cursor_of(f.tags.p, f.tags.len);
	cnt = take_varint(&c);
	for (uint64_t i = 0; i < cnt && take_tag(&c, &t); i++)
		visit(ctx, t.kind, t.key);
}

static bool lists_are_good(const struct filter_view *f)
{
	struct cursor c = cursor_of(f->tags.p, f->tags.len);
	struct topless topless = topless_of(f);
	uint64_t cnt = take_varint(&c);
	struct operations o;
	struct operation op;
	struct tag t;

	for (uint64_t i = 0; i < cnt && !c.bad; i++)
		c.bad |= !take_tag(&c, &t) || t.kind > FIELD_LINK_ATTR;
	while (topless_next(&topless, f->traces.len / 4))
		;
	if (c.bad || c.p != c.end || topless.c.bad)
		return false;
	operations_begin(&o, f);
	while (operations_next(&o, &op))
		;
	return !o.at.bad && !o.left && o.at.p == o.at.end;
}

int block_filter_check(struct str filter)
{
	struct cursor c = cursor_of(filter.p, filter.len);
	struct filter_view f;

	if (!filter_parse(filter, &f))
		return -EBADMSG;
	take_u32le(&c);
	if (take_u32le(&c) != body_check(filter.p + 8, filter.len - 8))
		return -EBADMSG;
	return lists_are_good(&f) ? 0 : -EBADMSG;
}

/* ---- may a span satisfy a condition? ---- */

/* Some span may satisfy it; some span may fail it. */
struct truth {
	bool yes, no;
};

static const struct truth unknown = { true, true };

struct question {
	const struct block_index *index;
	struct filter_view f;
	const struct operation *op; /* spans of this one; NULL: of any */
	bool asked_op;		    /* some answer depends on it */
};

/* A whole number that a double of the same value may stand for; else false. */
static bool as_whole(const struct value *v, int64_t *ret)
{
	if (v->type == VALUE_INT)
		*ret = v->i;
	else if (v->type == VALUE_DOUBLE && v->d > -9e15 && v->d < 9e15)
		*ret = (int64_t)v->d;
	else
		return false;
	return v->type == VALUE_INT || (double)*ret == v->d;
}

/* May an attribute with this key equal v? */
static bool tag_may_equal(const struct filter_view *f, const struct tag *t, const struct value *v)
{
	struct value as = *v;
	bool number = v->type == VALUE_INT || v->type == VALUE_DOUBLE;
	uint64_t h;

	if (t->types & 1u << VALUE_ARRAY)
		return true;
	/* doubles are not indexed, and from 2^53 on integers are compared to them inexactly */
	if (number && t->types & 1u << VALUE_DOUBLE)
		return true;
	if (v->type == VALUE_DOUBLE) {
		if (!(v->d > -9e15 && v->d < 9e15))
			return true;
		if (!as_whole(v, &as.i))
			return false;
		as.type = VALUE_INT;
	}
	if (!(t->types & 1u << as.type))
		return false;
	if (!(t->indexed & 1u << as.type) || !value_pair(t->kind, t->key, &as, &h))
		return true;
	return bloom_has(f->pairs, h);
}

static bool attr_may(const struct filter_view *f, const struct cond *c)
{
	enum field_kind kind = c->field.kind;
	struct cursor at = cursor_of(f->tags.p, f->tags.len);
	uint64_t cnt = take_varint(&at);
	struct tag t;

	for (uint64_t i = 0; i < cnt && take_tag(&at, &t); i++) {
		bool is_kind = t.kind == kind ||
			       (kind == FIELD_ATTR &&
				(t.kind == FIELD_SPAN_ATTR || t.kind == FIELD_RESOURCE_ATTR));

		if (!is_kind || !str_eq(t.key, c->field.key))
			continue;
		if (c->cmp != CMP_EQ || tag_may_equal(f, &t, &c->value))
			return true;
	}
	return false;
}

static struct truth exactly(bool yes)
{
	return (struct truth){ yes, !yes };
}

/* CMP_EQ and CMP_NE: certain where the value is outside. */
static struct truth inside_may(const struct cond *c, const struct value *low,
			       const struct value *high)
{
	struct cond below = *c, above = *c;

	below.cmp = CMP_LE;
	above.cmp = CMP_GE;
	if (cond_compare(&below, low) && cond_compare(&above, high))
		return unknown;
	return exactly(c->cmp == CMP_NE);
}

/* A number known to lie in [low, high]. */
static struct truth range_may(const struct cond *c, int64_t low, int64_t high)
{
	const struct value *v = &c->value;
	struct value l = { .type = VALUE_INT, .i = low }, h = { .type = VALUE_INT, .i = high };
	bool at_low = cond_compare(c, &l), at_high = cond_compare(c, &h);

	if (v->type != VALUE_INT && v->type != VALUE_DOUBLE)
		return exactly(at_low);
	if (low < 0 || low > high) /* as unsigned numbers they were too large */
		return unknown;
	switch (c->cmp) {
	case CMP_LT:
	case CMP_LE:
	case CMP_GT:
	case CMP_GE: return (struct truth){ at_low || at_high, !at_low || !at_high };
	case CMP_EQ:
	case CMP_NE: return inside_may(c, &l, &h);
	default: return exactly(at_low);
	}
}

static struct truth op_may(struct question *q, const struct cond *c)
{
	struct value v = { .type = VALUE_STR };

	q->asked_op = true;
	if (!q->op)
		return unknown;
	if (c->field.kind == FIELD_KIND)
		v = (struct value){ .type = VALUE_INT, .i = q->op->kind };
	else
		v.str = c->field.kind == FIELD_NAME ? q->op->name : q->op->service;
	return exactly(cond_compare(c, &v));
}

static struct truth status_may(const struct block_index *x, const struct cond *c)
{
	struct value error = { .type = VALUE_INT, .i = STATUS_ERROR };
	bool yes = cond_compare(c, &error);

	if (x->errors == x->spans)
		return exactly(yes);
	/* without errors, what only an error satisfies is not there */
	if (!x->errors && c->cmp == CMP_EQ && yes)
		return exactly(false);
	return unknown;
}

static struct truth leaf_may(struct question *q, const struct cond *c)
{
	switch (c->field.kind) {
	case FIELD_ATTR:
	case FIELD_SPAN_ATTR:
	case FIELD_RESOURCE_ATTR:
	case FIELD_SCOPE_ATTR:
	case FIELD_EVENT_ATTR:
	case FIELD_LINK_ATTR: return (struct truth){ attr_may(&q->f, c), true };
	case FIELD_NAME:
	case FIELD_SERVICE:
	case FIELD_KIND: return op_may(q, c);
	case FIELD_STATUS: return status_may(q->index, c);
	case FIELD_DURATION: return range_may(c, 0, (int64_t)q->index->duration_max_ns);
	case FIELD_START:
		return range_may(c, (int64_t)q->index->start_min_ns,
				 (int64_t)q->index->start_max_ns);
	case FIELD_TRACE_ID:
		if (c->cmp == CMP_EQ && c->value.type == VALUE_BYTES)
			return (struct truth){ marks_have(q->f.traces, text_hash(c->value.str)),
					       true };
		return unknown;
	default: return unknown;
	}
}

static struct truth cond_may(struct question *q, const struct cond *c)
{
	struct truth a, b;

	if (!c)
		return exactly(true);
	switch (c->op) {
	case COND_TRUE: return exactly(true);
	case COND_FALSE: return exactly(false);
	case COND_NOT: a = cond_may(q, c->left); return (struct truth){ a.no, a.yes };
	case COND_AND:
		a = cond_may(q, c->left);
		if (!a.yes)
			return a;
		b = cond_may(q, c->right);
		return (struct truth){ a.yes && b.yes, a.no || b.no };
	case COND_OR:
		a = cond_may(q, c->left);
		b = cond_may(q, c->right);
		return (struct truth){ a.yes || b.yes, a.no && b.no };
	case COND_CMP: return leaf_may(q, c);
	}
	return unknown;
}

bool block_may_match(const struct block_index *x, struct str filter, const struct cond *c)
{
	struct question q = { .index = x };
	struct operations o;
	struct operation op;

	if (!filter_parse(filter, &q.f))
		return true;
	if (!cond_may(&q, c).yes)
		return false;
	if (!q.asked_op)
		return true;
	/* service, name and kind are tried together: both may be there, but not on one span */
	operations_begin(&o, &q.f);
	q.op = &op;
	while (operations_next(&o, &op))
		if (cond_may(&q, c).yes)
			return true;
	return false;
}

bool operation_may(const struct block_index *x, const struct filter_view *f,
		   const struct operation *op, const struct cond *c)
{
	struct question q = { .index = x, .f = *f, .op = op };

	return cond_may(&q, c).yes;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A TraceQL expression's value on one span of a trace. */
#include "api/traceql_ast.h"

#include "core/clock.h"

#include <errno.h>
#include <math.h>

static const struct value nothing = { .type = VALUE_EMPTY };

static struct value int_value(int64_t i)
{
	return (struct value){ .type = VALUE_INT, .i = i };
}

static struct value str_value(struct str s)
{
	return (struct value){ .type = VALUE_STR, .str = s };
}

static const struct span *span_at(const struct eval *e, uint32_t i)
{
	return e->tree->trace->spans[i];
}

bool eval_goes_on(struct eval *e, uint32_t span)
{
	if (span % 64 == 0 && e->deadline_ns && clock_mono_ns() > e->deadline_ns)
		e->err = -ETIMEDOUT;
	return !e->err;
}

/* ---- fields --------------------------------------------------------------------------------- */

static struct value hex_value(struct eval *e, const uint8_t *id, size_t size)
{
	char *hex = arena_alloc(e->mem, 2 * size + 1);

	if (!hex) {
		e->err = -ENOMEM;
		return nothing;
	}
	for (size_t i = 0; i < size; i++) {
		hex[2 * i] = "0123456789abcdef"[id[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
	}
	return str_value((struct str){ hex, 2 * size });
}

static bool count_children(struct eval *e)
{
	const struct spantree *t = e->tree;

	if (e->children)
		return true;
	e->children = arena_alloc(e->mem, t->trace->span_cnt * sizeof(uint32_t) + 1);
	for (uint32_t i = 0; e->children && i < t->trace->span_cnt; i++)
		if (t->parent[i] != SPANTREE_NONE)
			e->children[t->parent[i]]++;
	e->err = e->children ? e->err : -ENOMEM;
	return e->children;
}

/* Nested sets, numbered from 1: a span's numbers enclose those of all below it. */
static bool number_sets(struct eval *e)
{
	const struct spantree *t = e->tree;
	uint32_t cnt = t->trace->span_cnt, next = 1, *below, *at;

	if (e->left)
		return true;
	below = arena_alloc(e->mem, cnt * sizeof(*below) + 1);
	at = arena_alloc(e->mem, cnt * sizeof(*at) + 1);
	e->right = arena_alloc(e->mem, cnt * sizeof(uint32_t) + 1);
	e->left = arena_alloc(e->mem, cnt * sizeof(uint32_t) + 1);
	if (!below || !at || !e->right || !e->left) {
		e->err = -ENOMEM;
		return false;
	}
	for (uint32_t n = cnt; n-- > 0;) {
		uint32_t i = t->ordered[n], parent = t->parent[i];

		if (parent != SPANTREE_NONE)
			below[parent] += below[i] + 1;
	}
	for (uint32_t n = 0; n < cnt; n++) {
		uint32_t i = t->ordered[n], parent = t->parent[i];
		uint32_t *from = parent == SPANTREE_NONE ? &next : &at[parent];

		e->left[i] = *from;
		at[i] = *from + 1;
		*from += 2 * (below[i] + 1);
		e->right[i] = *from - 1;
	}
	return true;
}

static struct value ask_root(const struct eval *e, enum ask ask)
{
	const struct trace *t = e->tree->trace;
	const struct span *root = t->root >= 0 ? t->spans[t->root] : NULL;

	if (!root)
		return nothing;
	return str_value(ask == ASK_ROOT_NAME ? root->name : root->resource->service);
}

static struct value ask_duration(struct eval *e)
{
	const struct trace *t = e->tree->trace;
	uint64_t start = UINT64_MAX, end = 0;

	for (uint32_t i = 0; !e->timed && i < t->span_cnt; i++) {
		start = MIN(start, t->spans[i]->start_ns);
		end = MAX(end, t->spans[i]->end_ns);
	}
	if (!e->timed)
		e->duration_ns = end > start ? (int64_t)(end - start) : 0;
	e->timed = true;
	return int_value(e->duration_ns);
}

static struct value ask_set(struct eval *e, enum ask ask, uint32_t i)
{
	uint32_t parent = e->tree->parent[i];

	if (!number_sets(e))
		return nothing;
	if (ask == ASK_SET_LEFT)
		return int_value(e->left[i]);
	if (ask == ASK_SET_RIGHT)
		return int_value(e->right[i]);
	if (parent != SPANTREE_NONE)
		return int_value(e->left[parent]);
	return int_value(span_id_is_set(&span_at(e, i)->parent_id) ? 0 : -1);
}

static struct value ask_field(struct eval *e, const struct field *f, const struct span *s,
			      uint32_t nth)
{
	struct value v = field_value_at(f, s, nth);

	if (v.type == VALUE_BYTES &&
	    (f->kind == FIELD_TRACE_ID || f->kind == FIELD_SPAN_ID || f->kind == FIELD_PARENT_ID))
		return hex_value(e, (const uint8_t *)v.str.p, v.str.len);
	return v;
}

/* How many values a field has; any of them may be nothing. */
static uint32_t value_cnt(const struct eval *e, const struct tql_field *f, uint32_t i)
{
	if (f->of_parent)
		i = e->tree->parent[i];
	if (i == SPANTREE_NONE)
		return 0;
	switch (f->ask) {
	case ASK_FIELD: return field_values(&f->field, span_at(e, i));
	case ASK_EVENT_SINCE_START: return span_at(e, i)->event_cnt;
	case ASK_LINK_TRACE_ID:
	case ASK_LINK_SPAN_ID: return span_at(e, i)->link_cnt;
	default: return 1;
	}
}

static struct value field_nth(struct eval *e, const struct tql_field *f, uint32_t i, uint32_t nth)
{
	const struct span *s;

	if (f->of_parent)
		i = e->tree->parent[i];
	s = span_at(e, i);
	switch (f->ask) {
	case ASK_FIELD: return ask_field(e, &f->field, s, nth);
	case ASK_EVENT_SINCE_START:
		return int_value((int64_t)(s->events[nth].time_ns - s->start_ns));
	case ASK_LINK_TRACE_ID: return hex_value(e, s->links[nth].trace_id.b, 16);
	case ASK_LINK_SPAN_ID: return hex_value(e, s->links[nth].span_id.b, 8);
	case ASK_PARENT:
		i = e->tree->parent[i];
		return i == SPANTREE_NONE ? nothing : hex_value(e, span_at(e, i)->span_id.b, 8);
	case ASK_CHILDREN: return count_children(e) ? int_value(e->children[i]) : nothing;
	case ASK_ROOT_NAME:
	case ASK_ROOT_SERVICE: return ask_root(e, f->ask);
	case ASK_TRACE_DURATION: return ask_duration(e);
	default: return ask_set(e, f->ask, i);
	}
}

static struct value first_value(struct eval *e, const struct tql_field *f, uint32_t span)
{
	struct value v = nothing;

	for (uint32_t i = 0; v.type == VALUE_EMPTY && i < value_cnt(e, f, span); i++)
		v = field_nth(e, f, span, i);
	return v;
}

/* ---- expressions ---------------------------------------------------------------------------- */

static bool as_number(const struct value *v, double *ret)
{
	if (v->type != VALUE_INT && v->type != VALUE_DOUBLE)
		return false;
	*ret = v->type == VALUE_INT ? (double)v->i : v->d;
	return true;
}

bool eval_number(struct eval *e, const struct expr *x, uint32_t span, double *ret)
{
	struct value v = eval_value(e, x, span);

	return as_number(&v, ret);
}

static struct value calculate(struct eval *e, const struct expr *x, uint32_t span)
{
	struct value v = { .type = VALUE_DOUBLE };
	double a, b = 0;

	if (!eval_number(e, x->left, span, &a) ||
	    (x->kind == EXPR_MATH && !eval_number(e, x->right, span, &b)))
		return nothing;
	switch (x->kind == EXPR_NEG ? OP_SUB : x->op) {
	case OP_ADD: v.d = a + b; break;
	case OP_SUB: v.d = x->kind == EXPR_NEG ? -a : a - b; break;
	case OP_MUL: v.d = a * b; break;
	case OP_DIV: v.d = a / b; break;
	case OP_MOD: v.d = fmod(a, b); break;
	default: v.d = pow(a, b); break;
	}
	return v;
}

static enum cmp cmp_of(enum op op)
{
	switch (op) {
	case OP_NE: return CMP_NE;
	case OP_LT: return CMP_LT;
	case OP_LE: return CMP_LE;
	case OP_GT: return CMP_GT;
	case OP_GE: return CMP_GE;
	default: return CMP_EQ;
	}
}

/* With the sides turned: what is on the right is an array, of which conditions know on the left. */
static bool compare_turned(enum op op, const struct value *left, const struct value *right)
{
	static const enum cmp turned[] = { [OP_EQ] = CMP_EQ, [OP_NE] = CMP_NE, [OP_LT] = CMP_GT,
					   [OP_LE] = CMP_GE, [OP_GT] = CMP_LT, [OP_GE] = CMP_LE };
	const struct cond c = { .op = COND_CMP, .cmp = turned[op], .value = *left };

	return cond_compare(&c, right);
}

/* One value of the left side is enough, as with a span's events in a store. */
static bool compare(struct eval *e, const struct expr *x, uint32_t span)
{
	const struct tql_field *f = x->left->kind == EXPR_FIELD ? x->left->field : NULL;
	uint32_t cnt = f ? value_cnt(e, f, span) : 1;
	struct cond with = { .op = COND_CMP, .cmp = cmp_of(x->op) };
	const struct cond *c = x->cond ? x->cond : &with;
	bool nil = x->right->type == TYPE_NIL;

	if (x->of_span)
		return cond_match(x->cond, span_at(e, span));
	if (!x->cond)
		with.value = eval_value(e, x->right, span);
	for (uint32_t i = 0; i < cnt; i++) {
		struct value v = f ? field_nth(e, f, span, i) : eval_value(e, x->left, span);

		if (nil ? v.type != VALUE_EMPTY
		    : c == &with && with.value.type == VALUE_ARRAY
			    ? compare_turned(x->op, &v, &with.value)
			    : cond_compare(c, &v))
			return !x->absent;
	}
	return x->absent;
}

/* A field alone says that it is true, as a store has it: one of its values is. */
static bool field_holds(struct eval *e, const struct tql_field *f, uint32_t span)
{
	const struct cond c = { .op = COND_CMP, .value = { .type = VALUE_BOOL, .b = true } };

	for (uint32_t i = 0; i < value_cnt(e, f, span); i++) {
		struct value v = field_nth(e, f, span, i);

		if (cond_compare(&c, &v))
			return true;
	}
	return false;
}

bool eval_true(struct eval *e, const struct expr *x, uint32_t span)
{
	struct value v;

	switch (x->kind) {
	case EXPR_FIELD: return field_holds(e, x->field, span);
	case EXPR_NOT: return !eval_true(e, x->left, span);
	case EXPR_LOGIC:
		return x->op == OP_AND
			       ? eval_true(e, x->left, span) && eval_true(e, x->right, span)
			       : eval_true(e, x->left, span) || eval_true(e, x->right, span);
	case EXPR_CMP: return compare(e, x, span);
	default: v = eval_value(e, x, span); return v.type == VALUE_BOOL && v.b;
	}
}

struct value eval_value(struct eval *e, const struct expr *x, uint32_t span)
{
	switch (x->kind) {
	case EXPR_CONST: return x->value;
	case EXPR_FIELD: return first_value(e, x->field, span);
	case EXPR_NEG:
	case EXPR_MATH: return calculate(e, x, span);
	default: return (struct value){ .type = VALUE_BOOL, .b = eval_true(e, x, span) };
	}
}

/* ---- shown ---------------------------------------------------------------------------------- */

struct value eval_shown(struct eval *e, const struct expr *x, uint32_t span)
{
	struct value v = eval_value(e, x, span);
	double ns;

	if (x->type == TYPE_STATUS && v.type == VALUE_INT)
		return str_value(str_of(span_status_name((enum span_status)v.i)));
	if (x->type == TYPE_KIND && v.type == VALUE_INT)
		return str_value(str_of(span_kind_name((enum span_kind)v.i)));
	if (x->type == TYPE_DURATION && as_number(&v, &ns))
		return (struct value){ .type = VALUE_DOUBLE, .d = ns / 1e9 };
	if (v.type == VALUE_DOUBLE && v.d == 0)
		v.d = 0; /* not -0 */
	return v.type > VALUE_DOUBLE ? nothing : v;
}

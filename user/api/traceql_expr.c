/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between the braces of a filter: expressions over one span, and their types. */
#include "api/traceql_ast.h"

#include <errno.h>
#include <math.h>

static const struct {
	const char *name;
	enum type type;
	int64_t value;
} constants[] = {
	{ "true", TYPE_BOOL, 1 },
	{ "false", TYPE_BOOL, 0 },
	{ "nil", TYPE_NIL, 0 },
	{ "ok", TYPE_STATUS, STATUS_OK },
	{ "error", TYPE_STATUS, STATUS_ERROR },
	{ "unset", TYPE_STATUS, STATUS_UNSET },
	{ "unspecified", TYPE_KIND, SPAN_UNSPECIFIED },
	{ "internal", TYPE_KIND, SPAN_INTERNAL },
	{ "server", TYPE_KIND, SPAN_SERVER },
	{ "client", TYPE_KIND, SPAN_CLIENT },
	{ "producer", TYPE_KIND, SPAN_PRODUCER },
	{ "consumer", TYPE_KIND, SPAN_CONSUMER },
};

/* How tightly operators bind; && and || alike, as in Tempo. */
enum { BIND_LOGIC = 1, BIND_COMPARE, BIND_ADD, BIND_NOT, BIND_MUL, BIND_POW };

static int binds(enum op op)
{
	switch (op) {
	case OP_OR:
	case OP_AND: return BIND_LOGIC;
	case OP_EQ:
	case OP_NE:
	case OP_LT:
	case OP_LE:
	case OP_GT:
	case OP_GE:
	case OP_RE:
	case OP_NRE: return BIND_COMPARE;
	case OP_ADD:
	case OP_SUB: return BIND_ADD;
	case OP_MUL:
	case OP_DIV:
	case OP_MOD: return BIND_MUL;
	case OP_POW: return BIND_POW;
	default: return 0;
	}
}

static bool is_number(enum type t)
{
	return t == TYPE_ANY || t == TYPE_NUMBER || t == TYPE_DURATION;
}

static bool is_truth(enum type t)
{
	return t == TYPE_ANY || t == TYPE_BOOL;
}

static bool comparable(enum type a, enum type b)
{
	return a == b || a == TYPE_ANY || b == TYPE_ANY || a == TYPE_NIL || b == TYPE_NIL ||
	       (is_number(a) && is_number(b));
}

static bool is_const(const struct expr *e)
{
	return e->kind == EXPR_CONST;
}

static struct expr *expr_new(struct parser *p, enum expr_kind kind, enum type type, uint32_t at)
{
	struct expr *e = parser_alloc(p, sizeof(*e));

	if (e)
		*e = (struct expr){ .kind = kind, .type = type, .at = at };
	return e;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static enum cmp cmp_of(enum op op)
{
	switch (op) {
	case OP_NE: return CMP_NE;
	case OP_LT: return CMP_LT;
	case OP_LE: return CMP_LE;
	case OP_GT: return CMP_GT;
	case OP_GE: return CMP_GE;
	case OP_RE: return CMP_RE;
	case OP_NRE: return CMP_NRE;
	default: return CMP_EQ;
	}
}

static enum op mirrored(enum op op)
{
	switch (op) {
	case OP_LT: return OP_GT;
	case OP_LE: return OP_GE;
	case OP_GT: return OP_LT;
	case OP_GE: return OP_LE;
	default: return op;
	}
}

/* An id written in hex, with or without leading zeros; what is none becomes bytes that no id is. */
static struct value id_value(struct parser *p, struct str hex, size_t size)
{
	struct value none = { .type = VALUE_BYTES };
	uint8_t *id = parser_alloc(p, size);

	if (!id || !hex.len || hex.len > 2 * size)
		return none;
	for (size_t i = 0; i < hex.len; i++) {
		size_t nibble = 2 * size - hex.len + i;
		int digit = char_hex(hex.p[i]);

		if (digit < 0)
			return none;
		id[nibble / 2] |= (uint8_t)(nibble % 2 ? digit : digit << 4);
	}
	return (struct value){ .type = VALUE_BYTES, .str = { (char *)id, size } };
}

static bool is_id(const struct tql_field *f)
{
	return f->ask == ASK_FIELD &&
	       (f->field.kind == FIELD_TRACE_ID || f->field.kind == FIELD_SPAN_ID ||
		f->field.kind == FIELD_PARENT_ID);
}

/* "Is it a root": nestedSetParent is -1 there and never less. 1: yes, 0: no, -1: another thing. */
static int asks_root(enum op op, const struct value *v)
{
	bool zero = v->type == VALUE_INT && v->i == 0;
	bool minus = v->type == VALUE_INT && v->i == -1;

	if ((zero && op == OP_LT) || (minus && (op == OP_EQ || op == OP_LE)))
		return 1;
	return (zero && op == OP_GE) || (minus && (op == OP_NE || op == OP_GT)) ? 0 : -1;
}

static bool finish_root(struct parser *p, struct expr *e, bool root)
{
	e->cond = cond_cmp(p->mem, (struct field){ .kind = FIELD_PARENT_ID }, CMP_EXISTS,
			   (struct value){ .type = VALUE_EMPTY });
	if (root)
		e->cond = cond_not(p->mem, e->cond);
	e->of_span = true;
	return e->cond;
}

static bool finish_pattern(struct parser *p, struct expr *e, struct field f)
{
	char why[128];
	int err;

	if (!is_const(e->right) || e->right->type != TYPE_STRING)
		return parser_fail(p, TRACEQL_MEANING, e->right->at,
				   "a regular expression must be a string");
	err = cond_regex(p->mem, &p->q->patterns, f, e->op == OP_NRE, e->right->value.str, &e->cond,
			 why);
	if (err == -EINVAL)
		return parser_fail(p, TRACEQL_MEANING, e->right->at, "%s", why);
	if (err)
		p->err = err;
	return !err;
}

/* A comparison with a constant, on the right: the condition that says it. */
static bool finish_cond(struct parser *p, struct expr *e)
{
	const struct tql_field *f = e->left->kind == EXPR_FIELD ? e->left->field : NULL;
	struct field field = f ? f->field : (struct field){ .kind = FIELD_NAME };
	struct value v = e->right->value;
	int root = f && f->ask == ASK_SET_PARENT && !f->of_parent ? asks_root(e->op, &v) : -1;

	e->of_span = f && f->ask == ASK_FIELD && !f->of_parent;
	if (e->right->type == TYPE_NIL) {
		e->absent = e->op == OP_EQ;
		e->cond = cond_cmp(p->mem, field, CMP_EXISTS, v);
		if (e->absent)
			e->cond = cond_not(p->mem, e->cond);
		return e->cond;
	}
	if (root >= 0)
		return finish_root(p, e, root);
	if (f && is_id(f) && e->op != OP_EQ && e->op != OP_NE)
		e->of_span = false;
	if (e->op == OP_RE || e->op == OP_NRE)
		return finish_pattern(p, e, field);
	if (e->of_span && is_id(f))
		v = id_value(p, v.str, field.kind == FIELD_TRACE_ID ? 16 : 8);
	else if (e->left->type == TYPE_ANY &&
		 (e->right->type == TYPE_STATUS || e->right->type == TYPE_KIND))
		v = (struct value){ .type = VALUE_BYTES }; /* no attribute is a status */
	e->cond = cond_cmp(p->mem, field, cmp_of(e->op), v);
	return e->cond;
}

static bool check_compare(struct parser *p, enum op op, const struct expr *l, const struct expr *r,
			  uint32_t at)
{
	bool ordered = op == OP_LT || op == OP_LE || op == OP_GT || op == OP_GE;
	enum type t = l->type == TYPE_ANY ? r->type : l->type;

	if (!comparable(l->type, r->type))
		return parser_fail(p, TRACEQL_MEANING, at, "these two cannot be compared");
	if (ordered && t >= TYPE_BOOL)
		return parser_fail(p, TRACEQL_MEANING, at, "only = and != can compare these");
	if ((op == OP_RE || op == OP_NRE) && l->type != TYPE_ANY && l->type != TYPE_STRING)
		return parser_fail(p, TRACEQL_MEANING, at, "=~ and !~ are for strings");
	if (t == TYPE_NIL && op != OP_EQ && op != OP_NE)
		return parser_fail(p, TRACEQL_MEANING, at, "only = and != can compare with nil");
	return true;
}

static const struct expr *make_compare(struct parser *p, enum op op, const struct expr *l,
				       const struct expr *r, uint32_t at)
{
	struct expr *e = expr_new(p, EXPR_CMP, TYPE_BOOL, at);
	bool turn = is_const(l) && !is_const(r) && op != OP_RE && op != OP_NRE;

	if (!e || !check_compare(p, op, l, r, at))
		return NULL;
	e->op = turn ? mirrored(op) : op;
	e->left = turn ? r : l;
	e->right = turn ? l : r;
	if ((is_const(e->right) || op == OP_RE || op == OP_NRE) && !finish_cond(p, e)) {
		p->err = p->err ? p->err : -ENOMEM;
		return NULL;
	}
	return e;
}

/* ---- building ------------------------------------------------------------------------------- */

static double number_of(const struct value *v)
{
	return v->type == VALUE_INT ? (double)v->i : v->d;
}

static double calculate(enum op op, double a, double b)
{
	switch (op) {
	case OP_ADD: return a + b;
	case OP_SUB: return a - b;
	case OP_MUL: return a * b;
	case OP_DIV: return a / b;
	case OP_MOD: return fmod(a, b);
	default: return pow(a, b);
	}
}

static const struct expr *make_math(struct parser *p, enum op op, const struct expr *l,
				    const struct expr *r, uint32_t at)
{
	bool duration = l->type == TYPE_DURATION || r->type == TYPE_DURATION;
	struct expr *e;

	if (!is_number(l->type) || !is_number(r->type))
		return parser_fail(p, TRACEQL_MEANING, at, "only numbers can be calculated with");
	e = expr_new(p, EXPR_MATH, duration ? TYPE_DURATION : TYPE_NUMBER, at);
	if (!e)
		return NULL;
	e->op = op;
	e->left = l;
	e->right = r;
	if (is_const(l) && is_const(r)) {
		e->kind = EXPR_CONST;
		e->value.type = VALUE_DOUBLE;
		e->value.d = calculate(op, number_of(&l->value), number_of(&r->value));
	}
	return e;
}

static const struct expr *make_binary(struct parser *p, enum op op, const struct expr *l,
				      const struct expr *r, uint32_t at)
{
	struct expr *e;

	if (binds(op) == BIND_COMPARE)
		return make_compare(p, op, l, r, at);
	if (binds(op) >= BIND_ADD)
		return make_math(p, op, l, r, at);
	if (!is_truth(l->type) || !is_truth(r->type))
		return parser_fail(p, TRACEQL_MEANING, at,
				   "both sides of && and || must be true or false");
	e = expr_new(p, EXPR_LOGIC, TYPE_BOOL, at);
	if (!e)
		return NULL;
	e->op = op;
	e->left = l;
	e->right = r;
	return e;
}

static const struct expr *make_unary(struct parser *p, enum op op, const struct expr *of,
				     uint32_t at)
{
	struct expr *e;

	if (op == OP_NOT && !is_truth(of->type))
		return parser_fail(p, TRACEQL_MEANING, at, "! is for what is true or false");
	if (op == OP_SUB && !is_number(of->type))
		return parser_fail(p, TRACEQL_MEANING, at, "- is for numbers");
	e = expr_new(p, op == OP_NOT ? EXPR_NOT : EXPR_NEG, op == OP_NOT ? TYPE_BOOL : of->type,
		     at);
	if (!e)
		return NULL;
	e->left = of;
	if (op == OP_SUB && is_const(of)) {
		e->kind = EXPR_CONST;
		e->value = of->value;
		if (e->value.type == VALUE_INT)
			e->value.i = -e->value.i; /* a literal is never INT64_MIN */
		else
			e->value.d = -e->value.d;
	}
	return e;
}

/* ---- parsing -------------------------------------------------------------------------------- */

static const struct expr *parse_binary(struct parser *p, int least);

static const struct expr *parse_constant(struct parser *p)
{
	const struct word *w = word_now(p);
	struct expr *e;

	for (size_t i = 0; w->type == WORD_NAME && i < ARRAY_LEN(constants); i++) {
		if (!word_is_name(w, constants[i].name))
			continue;
		e = expr_new(p, EXPR_CONST, constants[i].type, w->at);
		if (!e)
			return NULL;
		e->value = (struct value){ .type = VALUE_INT, .i = constants[i].value };
		if (e->type == TYPE_BOOL)
			e->value = (struct value){ .type = VALUE_BOOL, .b = constants[i].value };
		else if (e->type == TYPE_NIL)
			e->value.type = VALUE_EMPTY;
		p->at++;
		return e;
	}
	return parser_expected(p, "a value, a field (name, duration, .attribute, "
				  "span.attribute, ...) or (");
}

static const struct expr *parse_primary(struct parser *p)
{
	const struct word *w = word_now(p);
	struct expr *e;

	switch (w->type) {
	case WORD_STR:
		e = expr_new(p, EXPR_CONST, TYPE_STRING, w->at);
		if (e)
			e->value = (struct value){ .type = VALUE_STR, .str = w->str };
		break;
	case WORD_NUMBER:
	case WORD_DURATION:
		e = expr_new(p, EXPR_CONST, w->type == WORD_NUMBER ? TYPE_NUMBER : TYPE_DURATION,
			     w->at);
		if (e)
			e->value = w->number;
		break;
	case WORD_FIELD:
		e = expr_new(p, EXPR_FIELD, w->field->type, w->at);
		if (e)
			e->field = w->field;
		break;
	default: return parse_constant(p);
	}
	p->at++;
	return e;
}

static const struct expr *parse_unary(struct parser *p)
{
	const struct word *w = word_now(p);
	const struct expr *e;

	if (!parser_enter(p))
		return NULL;
	if (w->type == WORD_OP && (w->op == OP_NOT || w->op == OP_SUB)) {
		p->at++;
		e = parse_binary(p, w->op == OP_NOT ? BIND_MUL : BIND_NOT);
		e = e ? make_unary(p, w->op, e, w->at) : NULL;
	} else if (word_is_mark(w, '(')) {
		p->at++;
		e = parse_binary(p, BIND_LOGIC);
		e = e && parse_mark(p, ')') ? e : NULL;
	} else {
		e = parse_primary(p);
	}
	p->depth--;
	return e;
}

/* Operators that bind at least so tightly. */
static const struct expr *parse_binary(struct parser *p, int least)
{
	const struct expr *left = parse_unary(p), *right;

	while (left && word_now(p)->type == WORD_OP) {
		const struct word *w = word_now(p);
		int b = binds(w->op);

		if (!b || b < least)
			break;
		p->at++;
		if (!parser_enter(p))
			return NULL;
		right = parse_binary(p, b == BIND_POW ? b : b + 1);
		p->depth--;
		left = right ? make_binary(p, w->op, left, right, w->at) : NULL;
	}
	return left;
}

const struct expr *parse_expr(struct parser *p)
{
	return parse_binary(p, BIND_LOGIC);
}

bool expr_needs_trace(const struct expr *e)
{
	if (!e || e->kind == EXPR_CONST || (e->kind == EXPR_CMP && e->of_span))
		return false;
	if (e->kind == EXPR_FIELD)
		return e->field->of_parent || e->field->ask >= ASK_PARENT;
	return expr_needs_trace(e->left) || expr_needs_trace(e->right);
}

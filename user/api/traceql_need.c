/* SPDX-License-Identifier: Apache-2.0 */
/* What of a TraceQL query the extent of a trace can answer with no. */
#include "api/need.h"
#include "api/traceql_ast.h"

#include <math.h>

/* Logical operators one in another; past it nothing is said. */
#define DEPTH_MAX (2 * TRACEQL_DEPTH_MAX)

struct needing {
	struct arena *mem;
	uint32_t roots, depth;
};

static const struct need *need_of_pipeline(struct needing *n, const struct stage *first);

static const struct need *pair(struct arena *mem, enum need_op op, const struct need *a,
			       const struct need *b)
{
	struct need *n = arena_alloc(mem, sizeof(*n));

	if (n)
		*n = (struct need){ .op = op, .left = a, .right = b };
	return n;
}

const struct need *need_and(struct arena *mem, const struct need *a, const struct need *b)
{
	return a && b ? pair(mem, NEED_AND, a, b) : a ? a : b;
}

static const struct need *need_or(struct arena *mem, const struct need *a, const struct need *b)
{
	return a && b ? pair(mem, NEED_OR, a, b) : NULL;
}

/* Every trace has a span, and none lasts less than no time. */
const struct need *need_least(struct arena *mem, enum need_op op, double least)
{
	struct need *n = least > (op == NEED_SPANS) ? arena_alloc(mem, sizeof(*n)) : NULL;

	if (n)
		*n = (struct need){ .op = op, .least = least };
	return n;
}

/* Of a number of spans, which is whole. */
static double least_whole(enum op op, double v)
{
	return op == OP_GT ? floor(v) + 1 : v;
}

static bool at_least(enum op op)
{
	return op == OP_EQ || op == OP_GT || op == OP_GE;
}

/* ---- expressions ---------------------------------------------------------------------------- */

static const struct need *need_of_root(struct needing *n, const struct expr *e, bool service)
{
	struct need *need = arena_alloc(n->mem, sizeof(*need));
	struct cond *c = arena_alloc(n->mem, sizeof(*c));

	if (!need || !c || e->cond->op != COND_CMP || e->cond->cmp == CMP_EXISTS ||
	    n->roots == NEED_ROOTS_MAX)
		return NULL;
	*c = *e->cond;
	c->field.kind = service ? FIELD_SERVICE : FIELD_NAME;
	*need = (struct need){ .op = NEED_ROOT, .root = c, .root_bit = (uint8_t)n->roots++ };
	return need;
}

static const struct need *need_of_compare(struct needing *n, const struct expr *e)
{
	const struct tql_field *f = e->left->kind == EXPR_FIELD ? e->left->field : NULL;
	const struct value *v = &e->right->value;
	double least;

	if (!f || !e->cond)
		return NULL;
	if (f->ask == ASK_ROOT_NAME || f->ask == ASK_ROOT_SERVICE)
		return need_of_root(n, e, f->ask == ASK_ROOT_SERVICE);
	if (f->ask != ASK_TRACE_DURATION && f->ask != ASK_CHILDREN)
		return NULL;
	if (!at_least(e->op) || (v->type != VALUE_INT && v->type != VALUE_DOUBLE))
		return NULL;
	least = v->type == VALUE_INT ? (double)v->i : v->d;
	if (f->ask == ASK_TRACE_DURATION)
		return need_least(n->mem, NEED_DURATION, least);
	return need_least(n->mem, NEED_SPANS, least_whole(e->op, least) + 1); /* and itself */
}

/* The trace of a span that satisfies the expression needs this. */
static const struct need *need_of_expr(struct needing *n, const struct expr *e)
{
	const struct need *l, *r;

	if (e->kind == EXPR_CMP)
		return need_of_compare(n, e);
	if (e->kind != EXPR_LOGIC || n->depth == DEPTH_MAX)
		return NULL;
	n->depth++;
	l = need_of_expr(n, e->left);
	r = need_of_expr(n, e->right);
	n->depth--;
	return e->op == OP_AND ? need_and(n->mem, l, r) : need_or(n->mem, l, r);
}

/* ---- spansets and stages -------------------------------------------------------------------- */

static const struct need *need_of_set(struct needing *n, const struct spanset *s)
{
	const struct need *l, *r;

	if (s->filter)
		return need_of_expr(n, s->filter);
	if (s->pipe)
		return need_of_pipeline(n, s->pipe);
	r = need_of_set(n, s->right);
	if (s->op == OP_NRE || (s->op >= OP_NOT_CHILD && s->op <= OP_NOT_ANCE))
		return r;
	l = need_of_set(n, s->left);
	return s->op == OP_OR ? need_or(n->mem, l, r) : need_and(n->mem, l, r);
}

static bool is_duration(const struct expr *e)
{
	return e->kind == EXPR_FIELD && !e->field->of_parent &&
	       (e->field->ask == ASK_TRACE_DURATION ||
		(e->field->ask == ASK_FIELD && e->field->field.kind == FIELD_DURATION));
}

static const struct need *need_of_scalar(struct needing *n, const struct stage *s)
{
	struct folded f = fold_scalar(s);

	if (!f.agg || !at_least(f.cmp))
		return NULL;
	if (f.agg->agg == AGG_COUNT)
		return need_least(n->mem, NEED_SPANS, least_whole(f.cmp, f.value));
	if (!is_duration(f.agg->of))
		return NULL;
	/* rounding of a sum and of an average is far below this */
	return need_least(n->mem, f.agg->agg == AGG_SUM ? NEED_PRODUCT : NEED_DURATION,
			  f.value * (1 - 1e-6));
}

static const struct need *need_of_pipeline(struct needing *n, const struct stage *first)
{
	const struct need *all = NULL;

	for (const struct stage *s = first; s && s->kind != STAGE_METRIC; s = s->next) {
		if (s->kind == STAGE_SPANSET)
			all = need_and(n->mem, all, need_of_set(n, s->set));
		else if (s->kind == STAGE_SCALAR)
			all = need_and(n->mem, all, need_of_scalar(n, s));
	}
	return all;
}

const struct need *need_of_query(struct arena *mem, const struct traceql *q)
{
	struct needing n = { .mem = mem };

	return need_of_pipeline(&n, q->first);
}

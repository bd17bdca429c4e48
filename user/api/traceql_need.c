/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a search needs of a trace. Each set of spans that evaluation makes becomes one that holds
 * it: what cannot be said is left out, which makes it larger. Where it is taken away from another
 * ("not child of") nothing of it is said.
 */
#include "api/need.h"
#include "api/search.h"
#include "api/traceql_ast.h"

#include <math.h>

/* Sets one in another; past it nothing is said. */
#define DEPTH_MAX (2 * TRACEQL_DEPTH_MAX)

static const struct need every = { .op = NEED_SPANS, .bit = NEED_BIT_OF_ALL };

static const struct need *need_of_pipeline(struct needing *n, const struct stage *first);

/* ---- building ------------------------------------------------------------------------------- */

static const struct need *make(struct needing *n, struct need as)
{
	struct need *need = arena_alloc(n->mem, sizeof(*need));

	if (need)
		*need = as;
	return need;
}

static const struct need *spans(struct needing *n, enum need_op op, const struct cond *c)
{
	if (c->op == COND_TRUE || n->bits == NEED_BITS_MAX)
		return NULL;
	return make(n, (struct need){ .op = op, .where = c, .bit = (uint8_t)n->bits++ });
}

static const struct need *pair(struct needing *n, enum need_op op, const struct need *l,
			       const struct need *r)
{
	return make(n, (struct need){ .op = op, .left = l ? l : &every, .right = r ? r : &every });
}

static const struct need *both(struct needing *n, const struct need *l, const struct need *r)
{
	bool swap = l && r && (l->op == NEED_TOPS || l->op >= NEED_CHILD);

	if (swap) /* what asks for less comes first: the other is asked of its traces alone */
		return pair(n, NEED_BOTH, r, l);
	return l && r ? pair(n, NEED_BOTH, l, r) : l ? l : r;
}

static const struct need *any(struct needing *n, const struct need *l, const struct need *r)
{
	return l && r ? pair(n, NEED_ANY, l, r) : NULL;
}

/* Every trace has a span, and none lasts less than no time. */
static const struct need *least(struct needing *n, enum need_op op, const struct need *of,
				double at_least)
{
	if (at_least <= (op == NEED_COUNT))
		return of;
	return make(n, (struct need){ .op = op, .left = of ? of : &every, .least = at_least });
}

static const struct need *lasts(struct needing *n, double at_least)
{
	return at_least > 0 ? make(n, (struct need){ .op = NEED_DURATION, .least = at_least })
			    : NULL;
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
	struct cond *c = arena_alloc(n->mem, sizeof(*c));

	if (!c || e->cond->op != COND_CMP || e->cond->cmp == CMP_EXISTS)
		return NULL;
	*c = *e->cond;
	c->field.kind = service ? FIELD_SERVICE : FIELD_NAME;
	return spans(n, NEED_ROOT, c);
}

static const struct need *need_of_number(struct needing *n, const struct expr *e, enum ask ask)
{
	const struct value *v = &e->right->value;
	double low;

	if (!at_least(e->op) || (v->type != VALUE_INT && v->type != VALUE_DOUBLE))
		return NULL;
	low = v->type == VALUE_INT ? (double)v->i : v->d;
	if (ask == ASK_TRACE_DURATION)
		return lasts(n, low);
	return least(n, NEED_COUNT, NULL, least_whole(e->op, low) + 1); /* and itself */
}

static const struct need *need_of_compare(struct needing *n, const struct expr *e)
{
	const struct tql_field *f = e->left->kind == EXPR_FIELD ? e->left->field : NULL;

	if (!f || !e->cond)
		return NULL;
	if (f->ask == ASK_PARENT && !f->of_parent && e->right->type == TYPE_NIL && e->absent)
		return make(n, (struct need){ .op = NEED_TOPS });
	if (f->ask == ASK_FIELD && f->of_parent && e->cond->op == COND_CMP &&
	    e->cond->cmp != CMP_EXISTS)
		return pair(n, NEED_CHILD, spans(n, NEED_SPANS, e->cond), NULL);
	if (f->ask == ASK_ROOT_NAME || f->ask == ASK_ROOT_SERVICE)
		return need_of_root(n, e, f->ask == ASK_ROOT_SERVICE);
	if (f->ask == ASK_TRACE_DURATION || f->ask == ASK_CHILDREN)
		return need_of_number(n, e, f->ask);
	return NULL;
}

/* The spans that satisfy the expression. */
static const struct need *need_of_expr(struct needing *n, const struct expr *e)
{
	struct lowered lowered = lower_expr(n->mem, e);
	const struct need *l, *r;

	if (lowered.exact)
		return spans(n, NEED_SPANS, lowered.span);
	if (e->kind == EXPR_CMP)
		return need_of_compare(n, e);
	if (e->kind != EXPR_LOGIC || n->depth == DEPTH_MAX)
		return NULL;
	n->depth++;
	l = need_of_expr(n, e->left);
	r = need_of_expr(n, e->right);
	n->depth--;
	return e->op == OP_AND ? both(n, l, r) : any(n, l, r);
}

/* ---- spansets and stages -------------------------------------------------------------------- */

static const struct need *need_of_relation(struct needing *n, enum op op, const struct need *l,
					   const struct need *r)
{
	switch (op) {
	case OP_GT: return pair(n, NEED_CHILD, l, r);
	case OP_LT: return pair(n, NEED_PARENT, l, r);
	case OP_DESC: return pair(n, NEED_BELOW, l, r);
	case OP_ANCE: return pair(n, NEED_ABOVE, l, r);
	case OP_SIBLING: return pair(n, NEED_BESIDE, l, r);
	case OP_UNION_CHILD: return any(n, pair(n, NEED_CHILD, l, r), pair(n, NEED_PARENT, r, l));
	case OP_UNION_PARENT: return any(n, pair(n, NEED_PARENT, l, r), pair(n, NEED_CHILD, r, l));
	case OP_UNION_DESC: return any(n, pair(n, NEED_BELOW, l, r), pair(n, NEED_ABOVE, r, l));
	case OP_UNION_ANCE: return any(n, pair(n, NEED_ABOVE, l, r), pair(n, NEED_BELOW, r, l));
	case OP_UNION_SIBLING:
		return any(n, pair(n, NEED_BESIDE, l, r), pair(n, NEED_BESIDE, r, l));
	case OP_OR: return any(n, l, r);
	case OP_AND: return pair(n, NEED_EACH, l, r);
	default: return r; /* the spans of it that do not stand so */
	}
}

static const struct need *need_of_set(struct needing *n, const struct spanset *s)
{
	const struct need *l, *r;

	if (s->filter)
		return need_of_expr(n, s->filter);
	if (s->pipe)
		return need_of_pipeline(n, s->pipe);
	l = need_of_set(n, s->left);
	r = need_of_set(n, s->right);
	return need_of_relation(n, s->op, l, r);
}

static bool is_field(const struct expr *e, enum ask ask, enum field_kind kind)
{
	return e->kind == EXPR_FIELD && !e->field->of_parent && e->field->ask == ask &&
	       (ask != ASK_FIELD || e->field->field.kind == kind);
}

/* What a group of these spans must be that the stage lets through. */
static const struct need *need_of_scalar(struct needing *n, const struct stage *s,
					 const struct need *of)
{
	struct folded f = fold_scalar(s);
	const struct cond *some = lower_scalar(n->mem, s);

	if (some->op != COND_TRUE)
		of = pair(n, NEED_HAS, of, spans(n, NEED_SPANS, some));
	if (!f.agg || !at_least(f.cmp))
		return of;
	if (f.agg->agg == AGG_COUNT)
		return least(n, NEED_COUNT, of, least_whole(f.cmp, f.value));
	/* rounding of a sum and of an average is far below this */
	if (f.agg->agg == AGG_SUM && is_field(f.agg->of, ASK_FIELD, FIELD_DURATION))
		return least(n, NEED_SUM, of, f.value * (1 - 1e-6));
	if (f.agg->agg != AGG_SUM && is_field(f.agg->of, ASK_TRACE_DURATION, FIELD_DURATION))
		return both(n, of, lasts(n, f.value * (1 - 1e-6)));
	return of;
}

static const struct need *need_of_pipeline(struct needing *n, const struct stage *first)
{
	const struct need *all = NULL;

	for (const struct stage *s = first; s && s->kind != STAGE_METRIC; s = s->next) {
		if (s->kind == STAGE_SPANSET)
			all = both(n, all, need_of_set(n, s->set));
		else if (s->kind == STAGE_SCALAR)
			all = need_of_scalar(n, s, all);
	}
	return all;
}

const struct need *need_of_query(struct needing *n, const struct traceql *q)
{
	return need_of_pipeline(n, q->first);
}

const struct need *need_of_search(struct needing *n, const struct search *q)
{
	const struct need *all = lasts(n, (double)q->duration_min_ns), *calls, *query;

	if (q->calls) {
		calls = q->where ? spans(n, NEED_SPANS, q->where) : NULL;
		calls = pair(n, q->calls_directly ? NEED_CHILD : NEED_BELOW, calls,
			     spans(n, NEED_SPANS, q->calls));
		all = both(n, all, calls);
	}
	query = q->query ? need_of_query(n, q->query) : NULL;
	return all && query ? pair(n, NEED_EACH, all, query) : all ? all : query;
}

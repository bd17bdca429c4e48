/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a TraceQL query a store can look for: a condition that some span of each trace that the
 * query finds satisfies. It may let more through, never less.
 */
#include "api/traceql_ast.h"

#include <math.h>

/* Terms of one chain of && or || that are told apart; past it nothing is said. */
#define CHAIN_MAX 256u

static const struct cond cond_all = { .op = COND_TRUE };
static const struct cond cond_none = { .op = COND_FALSE };
static const struct lowered unknown = { .span = &cond_all, .other = &cond_all };

/* ---- which is cheaper ----------------------------------------------------------------------- */

static uint32_t cmp_cost(const struct cond *c)
{
	enum field_kind k = c->field.kind;

	switch (c->cmp) {
	case CMP_EQ:
		if (k == FIELD_TRACE_ID || k == FIELD_SPAN_ID || k == FIELD_PARENT_ID)
			return 1;
		if (k == FIELD_KIND)
			return 40;
		return k == FIELD_STATUS ? (c->value.i == STATUS_ERROR ? 15 : 60) : 10;
	case CMP_RE: return 30;
	case CMP_EXISTS: return k == FIELD_PARENT_ID ? 70 : 50;
	case CMP_NE:
	case CMP_NRE: return 70;
	default: return 40;
	}
}

static uint32_t cond_cost(const struct cond *c)
{
	uint32_t l, r;

	switch (c->op) {
	case COND_FALSE: return 0;
	case COND_CMP: return cmp_cost(c);
	case COND_NOT: return 60;
	case COND_AND:
		l = cond_cost(c->left);
		r = cond_cost(c->right);
		return MIN(l, r);
	case COND_OR:
		l = cond_cost(c->left);
		r = cond_cost(c->right);
		return MIN(MAX(l, r) + 1, 90u);
	default: return 100;
	}
}

const struct cond *cond_cheaper(const struct cond *a, const struct cond *b)
{
	return cond_cost(b) < cond_cost(a) ? b : a;
}

static const struct cond *best_of(struct lowered l)
{
	return cond_cheaper(l.span, l.other);
}

/* ---- expressions ---------------------------------------------------------------------------- */

/* Without memory, or too deep: nothing is said. */
static const struct cond *or_all(const struct cond *c, bool *exact)
{
	*exact = *exact && c;
	return c ? c : &cond_all;
}

/* A chain as a tree that is as shallow as can be. */
static const struct cond *fold(struct arena *mem, enum op op, const struct cond **item,
			       uint32_t cnt, bool *exact)
{
	const struct cond *l, *r;

	if (cnt == 1)
		return item[0];
	l = fold(mem, op, item, cnt / 2, exact);
	r = fold(mem, op, item + cnt / 2, cnt - cnt / 2, exact);
	return or_all(op == OP_AND ? cond_and(mem, l, r) : cond_or(mem, l, r), exact);
}

struct chain {
	const struct expr *item[CHAIN_MAX];
	uint32_t cnt;
};

static void flatten(struct chain *c, enum op op, const struct expr *e)
{
	while (e->kind == EXPR_LOGIC && e->op == op) { /* chains grow to the left */
		flatten(c, op, e->right);
		e = e->left;
	}
	if (c->cnt < CHAIN_MAX)
		c->item[c->cnt] = e;
	c->cnt++;
}

static struct lowered lower_chain(struct arena *mem, const struct expr *e)
{
	struct chain c = { .cnt = 0 };
	const struct cond *span[CHAIN_MAX], *best[CHAIN_MAX];
	struct lowered l = { .other = &cond_all, .exact = true };
	bool ignored = true;

	flatten(&c, e->op, e);
	if (c.cnt > CHAIN_MAX)
		return unknown;
	for (uint32_t i = 0; i < c.cnt; i++) {
		struct lowered one = lower_expr(mem, c.item[i]);

		span[i] = one.span;
		best[i] = best_of(one);
		l.exact = l.exact && one.exact;
		if (e->op == OP_AND)
			l.other = cond_cheaper(l.other, one.other);
	}
	l.span = fold(mem, e->op, span, c.cnt, &l.exact);
	if (e->op == OP_OR)
		l.other = fold(mem, OP_OR, best, c.cnt, &ignored);
	return l;
}

/* A comparison of a parent's field or the root's: some span of the trace satisfies it. */
static const struct cond *lower_other(struct arena *mem, const struct expr *e)
{
	const struct tql_field *f = e->left->kind == EXPR_FIELD ? e->left->field : NULL;
	bool ignored = true;
	struct cond *c;

	if (!f || !e->cond || e->cond->op != COND_CMP || e->cond->cmp == CMP_EXISTS)
		return &cond_all;
	if (f->ask == ASK_FIELD && f->of_parent) /* only attributes have a parent's form */
		return e->cond;
	if (f->ask == ASK_TRACE_DURATION && (e->op == OP_LT || e->op == OP_LE))
		return or_all(cond_cmp(mem, (struct field){ .kind = FIELD_DURATION }, e->cond->cmp,
				       e->cond->value),
			      &ignored); /* no span lasts longer than its trace */
	if (f->ask != ASK_ROOT_NAME && f->ask != ASK_ROOT_SERVICE)
		return &cond_all;
	c = arena_alloc(mem, sizeof(*c));
	if (!c)
		return &cond_all;
	*c = *e->cond;
	c->field.kind = f->ask == ASK_ROOT_NAME ? FIELD_NAME : FIELD_SERVICE;
	return c;
}

static struct lowered lower_not(struct arena *mem, const struct expr *e)
{
	struct lowered l = lower_expr(mem, e->left);
	const struct cond *c = l.exact ? cond_not(mem, l.span) : NULL;

	return c ? (struct lowered){ c, &cond_all, true } : unknown;
}

struct lowered lower_expr(struct arena *mem, const struct expr *e)
{
	struct lowered l = unknown;
	const struct cond *c;

	switch (e->kind) {
	case EXPR_CONST:
		return (struct lowered){ e->value.b ? &cond_all : &cond_none, &cond_all, true };
	case EXPR_FIELD:
		if (e->field->ask != ASK_FIELD || e->field->of_parent)
			return l;
		c = cond_cmp(mem, e->field->field, CMP_EQ,
			     (struct value){ .type = VALUE_BOOL, .b = true });
		return c ? (struct lowered){ c, &cond_all, true } : l;
	case EXPR_NOT: return lower_not(mem, e);
	case EXPR_LOGIC: return lower_chain(mem, e);
	case EXPR_CMP:
		if (e->of_span)
			return (struct lowered){ e->cond, &cond_all, true };
		l.other = lower_other(mem, e);
		return l;
	default: return l;
	}
}

/* ---- spansets ------------------------------------------------------------------------------- */

static struct lowered lower_pipeline(struct arena *mem, const struct stage *first);

static const struct cond *lower_set(struct arena *mem, const struct spanset *s)
{
	const struct cond *l, *r;
	bool ignored = true;

	if (s->filter)
		return best_of(lower_expr(mem, s->filter));
	if (s->pipe)
		return best_of(lower_pipeline(mem, s->pipe));
	r = lower_set(mem, s->right);
	if (s->op == OP_NRE || (s->op >= OP_NOT_CHILD && s->op <= OP_NOT_ANCE))
		return r;
	l = lower_set(mem, s->left);
	return s->op == OP_OR ? or_all(cond_or(mem, l, r), &ignored) : cond_cheaper(l, r);
}

struct folded fold_scalar(const struct stage *s)
{
	static const enum op mirrored[] = { [OP_EQ] = OP_EQ, [OP_NE] = OP_NE, [OP_LT] = OP_GT,
					    [OP_LE] = OP_GE, [OP_GT] = OP_LT, [OP_GE] = OP_LE };
	const struct scalar *l = s->left, *r = s->right;

	if (l->agg && !r->agg && !r->op)
		return (struct folded){ l, s->cmp, r->value };
	if (r->agg && !l->agg && !l->op)
		return (struct folded){ r, mirrored[s->cmp], l->value };
	return (struct folded){ .agg = NULL };
}

/* Not all spans lie on the other side of a number that their least, greatest or mean is on this
 * side of. */
const struct cond *lower_scalar(struct arena *mem, const struct stage *s)
{
	struct folded f = fold_scalar(s);
	const struct expr *of = f.agg ? f.agg->of : NULL;
	bool ignored = true, more = f.cmp == OP_GT || f.cmp == OP_GE;
	struct value v = { .type = VALUE_DOUBLE, .d = f.value };

	if (!of || f.agg->agg == AGG_SUM || of->kind != EXPR_FIELD || of->field->ask != ASK_FIELD ||
	    of->field->of_parent || (!more && f.cmp != OP_LT && f.cmp != OP_LE))
		return &cond_all;
	if (f.agg->agg == AGG_AVG) /* of which rounding is a part */
		v.d += fabs(v.d) * (more ? -1e-6 : 1e-6);
	return or_all(cond_cmp(mem, of->field->field, more ? CMP_GE : CMP_LE, v), &ignored);
}

/* Filters one after the other select spans that pass each; behind another stage, the trace still
 * has spans that pass. */
static struct lowered lower_pipeline(struct arena *mem, const struct stage *first)
{
	struct lowered all = { &cond_all, &cond_all, true };
	bool plain = true;

	for (const struct stage *s = first; s && s->kind != STAGE_METRIC; s = s->next) {
		struct lowered l;

		if (s->kind != STAGE_SPANSET || !s->set->filter)
			plain = all.exact = false;
		if (s->kind == STAGE_SCALAR)
			all.other = cond_cheaper(all.other, lower_scalar(mem, s));
		if (s->kind != STAGE_SPANSET)
			continue;
		if (!plain) {
			all.other = cond_cheaper(all.other, lower_set(mem, s->set));
			continue;
		}
		l = lower_expr(mem, s->set->filter);
		all.exact = all.exact && l.exact;
		all.span = or_all(cond_and(mem, all.span, l.span), &all.exact);
		all.other = cond_cheaper(all.other, l.other);
	}
	return all;
}

struct lowered lower_query(struct arena *mem, const struct traceql *q)
{
	return lower_pipeline(mem, q->first);
}

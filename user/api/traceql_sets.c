/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TraceQL pipeline on one trace: groups of spans go in, each stage lets some through, splits them
 * or puts them together. A set of spans is one byte a span of the trace.
 */
#include "api/traceql_ast.h"

#include <errno.h>
#include <math.h>

static struct groups run_pipeline(struct eval *e, const struct stage *first, const uint8_t *in);

static void *eval_alloc(struct eval *e, size_t size)
{
	void *p = arena_alloc(e->mem, size + 1); /* never of nothing */

	e->err = p ? e->err : -ENOMEM;
	return p;
}

static uint32_t span_cnt(const struct eval *e)
{
	return e->tree->trace->span_cnt;
}

/* ---- between sets --------------------------------------------------------------------------- */

static bool any(const uint8_t *set, uint32_t cnt)
{
	return memchr(set, 1, cnt);
}

/* Which spans have a parent, or with 'far' any ancestor, in the set. */
static void mark_below(const struct eval *e, const uint8_t *set, bool far, uint8_t *out)
{
	const struct spantree *t = e->tree;

	for (uint32_t n = 0; n < span_cnt(e); n++) {
		uint32_t i = t->ordered[n], parent = t->parent[i];

		out[i] = parent != SPANTREE_NONE && (set[parent] || (far && out[parent]));
	}
}

/* Which spans have a child, or with 'far' any descendant, in the set. */
static void mark_above(const struct eval *e, const uint8_t *set, bool far, uint8_t *out)
{
	const struct spantree *t = e->tree;

	for (uint32_t n = span_cnt(e); n-- > 0;) {
		uint32_t i = t->ordered[n], parent = t->parent[i];

		if (parent != SPANTREE_NONE && (set[i] || (far && out[i])))
			out[parent] = 1;
	}
}

static void mark_beside(struct eval *e, const uint8_t *set, uint8_t *out)
{
	const struct spantree *t = e->tree;
	uint32_t *cnt = eval_alloc(e, span_cnt(e) * sizeof(*cnt));

	for (uint32_t i = 0; cnt && i < span_cnt(e); i++)
		if (set[i] && t->parent[i] != SPANTREE_NONE)
			cnt[t->parent[i]]++;
	for (uint32_t i = 0; cnt && i < span_cnt(e); i++)
		out[i] = t->parent[i] != SPANTREE_NONE && cnt[t->parent[i]] > set[i];
}

struct relation {
	enum op op;
	enum op plain; /* the same without "not" or "both sides" */
	bool negated, both;
};

static struct relation relation_of(enum op op)
{
	static const struct relation all[] = {
		{ OP_NOT_CHILD, OP_GT, true, false },
		{ OP_NOT_PARENT, OP_LT, true, false },
		{ OP_NOT_DESC, OP_DESC, true, false },
		{ OP_NOT_ANCE, OP_ANCE, true, false },
		{ OP_NRE, OP_SIBLING, true, false },
		{ OP_UNION_CHILD, OP_GT, false, true },
		{ OP_UNION_PARENT, OP_LT, false, true },
		{ OP_UNION_DESC, OP_DESC, false, true },
		{ OP_UNION_ANCE, OP_ANCE, false, true },
		{ OP_UNION_SIBLING, OP_SIBLING, false, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].op == op)
			return all[i];
	return (struct relation){ op, op, false, false };
}

/* Which spans stand to one of the set as the right side of op stands to the left. */
static void mark_related(struct eval *e, enum op op, const uint8_t *set, uint8_t *out)
{
	switch (op) {
	case OP_GT: mark_below(e, set, false, out); break;
	case OP_DESC: mark_below(e, set, true, out); break;
	case OP_LT: mark_above(e, set, false, out); break;
	case OP_ANCE: mark_above(e, set, true, out); break;
	default: mark_beside(e, set, out); break;
	}
}

static enum op inverse(enum op op)
{
	switch (op) {
	case OP_GT: return OP_LT;
	case OP_LT: return OP_GT;
	case OP_DESC: return OP_ANCE;
	case OP_ANCE: return OP_DESC;
	default: return op;
	}
}

void eval_related(struct eval *e, enum op op, const uint8_t *l, const uint8_t *r, uint8_t *out)
{
	struct relation rel = relation_of(op);
	uint8_t *back = rel.both ? eval_alloc(e, span_cnt(e)) : NULL;

	mark_related(e, rel.plain, l, out);
	for (uint32_t i = 0; i < span_cnt(e); i++)
		out[i] = r[i] && out[i] != rel.negated;
	if (!back)
		return;
	mark_related(e, inverse(rel.plain), r, back);
	for (uint32_t i = 0; i < span_cnt(e); i++)
		out[i] |= l[i] && back[i];
}

/* ---- spansets ------------------------------------------------------------------------------- */

static void eval_filter(struct eval *e, const struct expr *x, const uint8_t *in, uint8_t *out)
{
	for (uint32_t i = 0; i < span_cnt(e) && eval_goes_on(e, i); i++)
		out[i] = in[i] && eval_true(e, x, i);
}

static void eval_inner(struct eval *e, const struct stage *pipe, const uint8_t *in, uint8_t *out)
{
	struct groups g = run_pipeline(e, pipe, in);

	for (uint32_t i = 0; i < g.cnt; i++)
		for (uint32_t k = 0; k < g.item[i].cnt; k++)
			out[g.item[i].span[k]] = 1;
}

/* The spans of 'in' that it selects; NULL without memory. */
static const uint8_t *eval_set(struct eval *e, const struct spanset *s, const uint8_t *in)
{
	uint8_t *out = eval_alloc(e, span_cnt(e));
	const uint8_t *l, *r;

	if (!out)
		return NULL;
	if (s->filter) {
		eval_filter(e, s->filter, in, out);
		return out;
	}
	if (s->pipe) {
		eval_inner(e, s->pipe, in, out);
		return out;
	}
	l = eval_set(e, s->left, in);
	r = l ? eval_set(e, s->right, in) : NULL;
	if (!r)
		return NULL;
	if (s->op != OP_AND && s->op != OP_OR) {
		eval_related(e, s->op, l, r, out);
		return out;
	}
	if (s->op == OP_AND && (!any(l, span_cnt(e)) || !any(r, span_cnt(e))))
		return out;
	for (uint32_t i = 0; i < span_cnt(e); i++)
		out[i] = l[i] | r[i];
	return out;
}

/* ---- scalars -------------------------------------------------------------------------------- */

static double aggregate(struct eval *e, const struct scalar *s, const struct group *g)
{
	double sum = 0, least = INFINITY, most = -INFINITY, v;
	uint32_t cnt = 0;

	if (s->agg == AGG_COUNT)
		return g->cnt;
	for (uint32_t i = 0; i < g->cnt; i++) {
		if (!eval_number(e, s->of, g->span[i], &v) || isnan(v))
			continue;
		cnt++;
		sum += v;
		least = fmin(least, v);
		most = fmax(most, v);
	}
	if (!cnt)
		return NAN;
	switch (s->agg) {
	case AGG_MIN: return least;
	case AGG_MAX: return most;
	case AGG_SUM: return sum;
	default: return sum / cnt;
	}
}

/* An aggregate's figure goes with the group that it let through. */
static void note(struct eval *e, const struct scalar *s, struct group *g, double v)
{
	struct value shown = { .type = VALUE_DOUBLE, .d = v };

	if (s->agg == AGG_COUNT)
		shown = (struct value){ .type = VALUE_INT, .i = g->cnt };
	else if (s->of->type == TYPE_DURATION)
		shown.d = v / 1e9;
	attrs_add(&g->attrs, e->mem, s->text, shown);
}

static double eval_scalar(struct eval *e, const struct scalar *s, struct group *g)
{
	double l, r;

	if (s->agg) {
		l = aggregate(e, s, g);
		if (!isnan(l))
			note(e, s, g, l);
		return l;
	}
	if (!s->op)
		return s->value;
	l = eval_scalar(e, s->left, g);
	r = eval_scalar(e, s->right, g);
	switch (s->op) {
	case OP_ADD: return l + r;
	case OP_SUB: return l - r;
	case OP_MUL: return l * r;
	case OP_DIV: return l / r;
	case OP_MOD: return fmod(l, r);
	default: return pow(l, r);
	}
}

static bool scalar_holds(struct eval *e, const struct stage *s, struct group *g)
{
	double l = eval_scalar(e, s->left, g), r = eval_scalar(e, s->right, g);

	if (isnan(l) || isnan(r))
		return false;
	switch (s->cmp) {
	case OP_EQ: return l == r;
	case OP_NE: return l != r;
	case OP_LT: return l < r;
	case OP_LE: return l <= r;
	case OP_GT: return l > r;
	default: return l >= r;
	}
}

/* ---- groups --------------------------------------------------------------------------------- */

static uint8_t *set_of(struct eval *e, const struct group *g)
{
	uint8_t *set = eval_alloc(e, span_cnt(e));

	for (uint32_t i = 0; set && i < g->cnt; i++)
		set[g->span[i]] = 1;
	return set;
}

bool eval_group(struct eval *e, const uint8_t *set, struct group *g)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < span_cnt(e); i++)
		cnt += set[i];
	g->span = eval_alloc(e, cnt * sizeof(*g->span));
	if (!g->span)
		return false;
	g->cnt = 0;
	for (uint32_t i = 0; i < span_cnt(e); i++)
		if (set[i])
			g->span[g->cnt++] = i;
	return g->cnt;
}

static bool same_value(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case VALUE_STR: return str_eq(a->str, b->str);
	case VALUE_BOOL: return a->b == b->b;
	case VALUE_INT: return a->i == b->i;
	case VALUE_DOUBLE: return a->d == b->d || (isnan(a->d) && isnan(b->d));
	default: return true;
	}
}

/* The group of those from 'first' on that the span belongs to; a new one when there is none; NULL
 * past GROUPS_MAX. */
static struct group *find_group(struct eval *e, struct groups *all, uint32_t first,
				const struct group *from, const struct stage *s, uint32_t span)
{
	struct value key[TRACEQL_LIST_MAX];
	struct group *g;

	for (uint32_t k = 0; k < s->list.cnt; k++)
		key[k] = eval_shown(e, s->list.item[k], span);
	for (uint32_t i = first; i < all->cnt; i++) {
		const struct attr *own = &all->item[i].attrs.item[from->attrs.cnt];
		bool same = true;

		for (uint32_t k = 0; same && k < s->list.cnt; k++)
			same = same_value(&own[k].value, &key[k]);
		if (same)
			return &all->item[i];
	}
	if (all->cnt == GROUPS_MAX || from->attrs.cnt + s->list.cnt > SPAN_ATTRS_MAX)
		return NULL;
	g = &all->item[all->cnt];
	*g = (struct group){ .span = eval_alloc(e, from->cnt * sizeof(*g->span)) };
	for (uint32_t k = 0; k < from->attrs.cnt; k++)
		attrs_add(&g->attrs, e->mem, from->attrs.item[k].key, from->attrs.item[k].value);
	for (uint32_t k = 0; k < s->list.cnt; k++)
		attrs_add(&g->attrs, e->mem,
			  arena_printf(e->mem, "by(" STR_FMT ")", STR_ARG(s->list.text[k])),
			  key[k]);
	if (!g->span || g->attrs.dropped) {
		e->err = -ENOMEM;
		return NULL;
	}
	all->cnt++;
	return g;
}

static struct groups split(struct eval *e, const struct stage *s, const struct groups *in)
{
	struct groups out = { .item = eval_alloc(e, GROUPS_MAX * sizeof(*out.item)) };

	for (uint32_t i = 0; out.item && i < in->cnt; i++) {
		const struct group *from = &in->item[i];
		uint32_t first = out.cnt;

		for (uint32_t k = 0; k < from->cnt && eval_goes_on(e, k); k++) {
			struct group *g = find_group(e, &out, first, from, s, from->span[k]);

			if (g)
				g->span[g->cnt++] = from->span[k];
		}
	}
	return out;
}

/* All in one again; what grouped them is forgotten. */
static struct groups merge(struct eval *e, const struct groups *in)
{
	struct groups out = { .item = eval_alloc(e, sizeof(*out.item)) };
	uint8_t *set = eval_alloc(e, span_cnt(e));

	for (uint32_t i = 0; set && i < in->cnt; i++)
		for (uint32_t k = 0; k < in->item[i].cnt; k++)
			set[in->item[i].span[k]] = 1;
	if (out.item && set && eval_group(e, set, out.item))
		out.cnt = 1;
	return out;
}

/* A stage on each group apart; those with nothing left go. */
static void filter_groups(struct eval *e, const struct stage *s, struct groups *all)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < all->cnt && !e->err; i++) {
		struct group g = all->item[i];
		bool keep;

		if (s->kind == STAGE_SCALAR) {
			keep = scalar_holds(e, s, &g);
		} else {
			uint8_t *in = set_of(e, &g);
			const uint8_t *set = in ? eval_set(e, s->set, in) : NULL;

			keep = set && eval_group(e, set, &g);
		}
		if (keep)
			all->item[kept++] = g;
	}
	all->cnt = kept;
}

static struct groups run_pipeline(struct eval *e, const struct stage *first, const uint8_t *in)
{
	struct groups all = { .item = eval_alloc(e, sizeof(*all.item)) };

	if (all.item && eval_group(e, in, all.item))
		all.cnt = 1;
	for (const struct stage *s = first; s && all.cnt && !e->err; s = s->next) {
		if (s->kind == STAGE_METRIC)
			break;
		if (s->kind == STAGE_SPANSET || s->kind == STAGE_SCALAR)
			filter_groups(e, s, &all);
		else if (s->kind == STAGE_BY)
			all = split(e, s, &all);
		else if (s->kind == STAGE_COALESCE)
			all = merge(e, &all);
	}
	if (e->err)
		all.cnt = 0;
	return all;
}

struct groups eval_query(struct eval *e, const struct traceql *q)
{
	uint8_t *every = eval_alloc(e, span_cnt(e));

	if (!every)
		return (struct groups){ .cnt = 0 };
	memset(every, 1, span_cnt(e));
	return run_pipeline(e, q->first, every);
}

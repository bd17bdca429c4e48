/* SPDX-License-Identifier: Apache-2.0 */
/* TraceQL's pipelines: what stands around the filters. Expressions: traceql_expr.c. */
#include "api/traceql_ast.h"

#include <errno.h>

enum { BIND_LOGIC = 1, BIND_STRUCTURE, BIND_ADD, BIND_MUL, BIND_POW };

static int spanset_binds(enum op op)
{
	if (op == OP_AND || op == OP_OR)
		return BIND_LOGIC;
	return op == OP_GT || op == OP_LT || op == OP_NRE ||
			       (op >= OP_DESC && op <= OP_UNION_SIBLING)
		       ? BIND_STRUCTURE
		       : 0;
}

static int scalar_binds(enum op op)
{
	switch (op) {
	case OP_ADD:
	case OP_SUB: return BIND_ADD;
	case OP_MUL:
	case OP_DIV:
	case OP_MOD: return BIND_MUL;
	case OP_POW: return BIND_POW;
	default: return 0;
	}
}

static enum aggregate aggregate_of(const struct word *w)
{
	static const char *const names[] = { "", "count", "min", "max", "sum", "avg" };

	for (enum aggregate a = AGG_COUNT; a <= AGG_AVG; a++)
		if (word_is_name(w, names[a]))
			return a;
	return AGG_NONE;
}

static int metric_of(const struct word *w)
{
	static const char *const names[] = {
		"rate",		 "count_over_time", "min_over_time",	  "max_over_time",
		"sum_over_time", "avg_over_time",   "quantile_over_time", "histogram_over_time",
	};

	for (int m = METRIC_RATE; m <= METRIC_HISTOGRAM; m++)
		if (word_is_name(w, names[m]))
			return m;
	return -1;
}

/* The text of the words from 'from' to the one before the next. */
static struct str text_since(const struct parser *p, uint32_t from)
{
	uint32_t begin = p->word[from].at;

	return (struct str){ p->text.p + begin, p->word[p->at - 1].end - begin };
}

static struct stage *stage_new(struct parser *p, enum stage_kind kind)
{
	struct stage *s = parser_alloc(p, sizeof(*s));

	if (s) {
		s->kind = kind;
		s->at = word_now(p)->at;
	}
	return s;
}

/* ---- scalars -------------------------------------------------------------------------------- */

static const struct scalar *parse_scalar(struct parser *p, int least);

static bool parse_aggregate(struct parser *p, struct scalar *s)
{
	uint32_t from = p->at++;

	if (!parse_mark(p, '('))
		return false;
	if (s->agg != AGG_COUNT) {
		s->of = parse_expr(p);
		if (!s->of)
			return false;
		if (s->of->type > TYPE_DURATION || s->of->type == TYPE_STRING)
			return parser_fail(p, TRACEQL_MEANING, s->of->at,
					   "min, max, sum and avg are of numbers");
	}
	if (!parse_mark(p, ')'))
		return false;
	s->text = text_since(p, from);
	return true;
}

static const struct scalar *parse_scalar_primary(struct parser *p)
{
	const struct word *w = word_now(p);
	struct scalar *s = parser_alloc(p, sizeof(*s));
	const struct scalar *inner;
	double sign = 1;

	if (!s)
		return NULL;
	if (word_is_mark(w, '(')) {
		p->at++;
		inner = parse_scalar(p, BIND_ADD);
		return inner && parse_mark(p, ')') ? inner : NULL;
	}
	s->agg = aggregate_of(w);
	if (s->agg)
		return parse_aggregate(p, s) ? s : NULL;
	if (w->type == WORD_OP && w->op == OP_SUB) {
		sign = -1;
		p->at++;
		w = word_now(p);
	}
	if (w->type != WORD_NUMBER && w->type != WORD_DURATION)
		return parser_expected(p, "a number, a duration or count(), min(), max(), sum(), "
					  "avg()");
	s->value = sign * (w->number.type == VALUE_INT ? (double)w->number.i : w->number.d);
	p->at++;
	return s;
}

static const struct scalar *parse_scalar(struct parser *p, int least)
{
	const struct scalar *left = NULL, *right;

	if (!parser_enter(p))
		return NULL;
	left = parse_scalar_primary(p);
	while (left && word_now(p)->type == WORD_OP) {
		enum op op = word_now(p)->op;
		int b = scalar_binds(op);
		struct scalar *s;

		if (!b || b < least)
			break;
		p->at++;
		right = parse_scalar(p, b == BIND_POW ? b : b + 1);
		s = right ? parser_alloc(p, sizeof(*s)) : NULL;
		if (s)
			*s = (struct scalar){ .op = op, .left = left, .right = right };
		left = s;
	}
	p->depth--;
	return left;
}

static struct stage *parse_scalar_filter(struct parser *p)
{
	struct stage *s = stage_new(p, STAGE_SCALAR);
	const struct word *w;

	if (!s)
		return NULL;
	s->left = parse_scalar(p, BIND_ADD);
	if (!s->left)
		return NULL;
	w = word_now(p);
	if (w->type != WORD_OP || w->op < OP_EQ || w->op > OP_GE)
		return parser_expected(p, "a comparison");
	s->cmp = w->op;
	p->at++;
	s->right = parse_scalar(p, BIND_ADD);
	return s->right ? s : NULL;
}

/* ---- spansets ------------------------------------------------------------------------------- */

static const struct stage *parse_pipeline(struct parser *p);

static const struct spanset *parse_filter(struct parser *p)
{
	struct spanset *s = parser_alloc(p, sizeof(*s));
	static const struct expr all = { .kind = EXPR_CONST,
					 .type = TYPE_BOOL,
					 .value = { .type = VALUE_BOOL, .b = true } };

	if (!s)
		return NULL;
	p->at++;
	s->filter = word_is_mark(word_now(p), '}') ? &all : parse_expr(p);
	if (!s->filter || !parse_mark(p, '}'))
		return NULL;
	if (s->filter->type != TYPE_BOOL && s->filter->type != TYPE_ANY)
		return parser_fail(p, TRACEQL_MEANING, s->filter->at,
				   "what is between { and } must be true or false");
	return s;
}

static const struct spanset *parse_spanset_primary(struct parser *p)
{
	struct spanset *s;

	if (word_is_mark(word_now(p), '{'))
		return parse_filter(p);
	s = parser_alloc(p, sizeof(*s));
	if (!s || !parse_mark(p, '('))
		return NULL;
	s->pipe = parse_pipeline(p);
	return s->pipe && parse_mark(p, ')') ? s : NULL;
}

static const struct spanset *parse_spanset(struct parser *p, int least)
{
	const struct spanset *left = NULL, *right;

	if (!parser_enter(p))
		return NULL;
	left = parse_spanset_primary(p);
	while (left && word_now(p)->type == WORD_OP) {
		enum op op = word_now(p)->op;
		int b = spanset_binds(op);
		struct spanset *s;

		if (!b || b < least)
			break;
		p->at++;
		right = parse_spanset(p, b + 1);
		s = right ? parser_alloc(p, sizeof(*s)) : NULL;
		if (s)
			*s = (struct spanset){ .op = op, .left = left, .right = right };
		left = s;
	}
	p->depth--;
	return left;
}

/* Whether the parenthesis that opens here holds a number: no spanset, pipe or comparison in it. */
static bool holds_scalar(const struct parser *p)
{
	uint32_t depth = 0;

	for (uint32_t i = p->at; p->word[i].type != WORD_END; i++) {
		const struct word *w = &p->word[i];

		if (word_is_mark(w, '('))
			depth++;
		else if (word_is_mark(w, ')') && !--depth)
			return true;
		else if (word_is_mark(w, '{') || word_is_mark(w, '|') || word_is_name(w, "by") ||
			 word_is_name(w, "select") || word_is_name(w, "coalesce") ||
			 (w->type == WORD_OP && w->op >= OP_EQ && w->op <= OP_GE && depth == 1))
			return false;
	}
	return false;
}

/* ---- the other stages ----------------------------------------------------------------------- */

/* ( expression, ... ) */
static bool parse_list(struct parser *p, struct exprs *list)
{
	if (!parse_mark(p, '('))
		return false;
	do {
		uint32_t from = p->at;

		if (list->cnt == TRACEQL_LIST_MAX)
			return parser_fail(p, TRACEQL_MEANING, word_now(p)->at,
					   "at most %u can be listed", TRACEQL_LIST_MAX);
		list->item[list->cnt] = parse_expr(p);
		if (!list->item[list->cnt])
			return false;
		list->text[list->cnt++] = text_since(p, from);
	} while (word_is_mark(word_now(p), ',') && p->at++ < p->word_cnt);
	return parse_mark(p, ')');
}

static struct stage *parse_listing(struct parser *p, enum stage_kind kind)
{
	struct stage *s = stage_new(p, kind);

	p->at++;
	if (!s || !parse_list(p, &s->list))
		return NULL;
	for (uint32_t i = 0; kind == STAGE_SELECT && i < s->list.cnt; i++)
		if (s->list.item[i]->kind != EXPR_FIELD)
			return parser_fail(p, TRACEQL_MEANING, s->list.item[i]->at,
					   "select() takes fields alone");
	return s;
}

static struct stage *parse_coalesce(struct parser *p)
{
	struct stage *s = stage_new(p, STAGE_COALESCE);

	p->at++;
	return s && parse_mark(p, '(') && parse_mark(p, ')') ? s : NULL;
}

static bool parse_quantiles(struct parser *p, struct stage *s)
{
	do {
		const struct word *w;

		if (!parse_mark(p, ','))
			return false;
		w = word_now(p);
		if (w->type != WORD_NUMBER)
			return parser_expected(p, "a number from 0 to 1");
		if (s->quantile_cnt == TRACEQL_LIST_MAX)
			return parser_fail(p, TRACEQL_MEANING, w->at, "at most %u can be listed",
					   TRACEQL_LIST_MAX);
		s->quantile[s->quantile_cnt] =
			w->number.type == VALUE_INT ? (double)w->number.i : w->number.d;
		if (s->quantile[s->quantile_cnt++] > 1)
			return parser_fail(p, TRACEQL_MEANING, w->at, "a quantile is from 0 to 1");
		p->at++;
	} while (word_is_mark(word_now(p), ','));
	return true;
}

static struct stage *parse_metric(struct parser *p, enum metric metric)
{
	struct stage *s = stage_new(p, STAGE_METRIC);

	p->at++;
	if (!s || !parse_mark(p, '('))
		return NULL;
	s->metric = metric;
	if (metric != METRIC_RATE && metric != METRIC_COUNT) {
		if (word_now(p)->type != WORD_FIELD)
			return parser_expected(p, "a field (duration, span.attribute, ...)");
		s->of = parse_expr(p);
		if (!s->of)
			return NULL;
		if (s->of->kind != EXPR_FIELD || s->of->type == TYPE_STRING ||
		    s->of->type > TYPE_DURATION)
			return parser_fail(p, TRACEQL_MEANING, s->of->at,
					   "this is not a field "
					   "with numbers");
	}
	if (metric == METRIC_QUANTILE && !parse_quantiles(p, s))
		return NULL;
	if (!parse_mark(p, ')'))
		return NULL;
	if (word_is_name(word_now(p), "by")) {
		p->at++;
		if (!parse_list(p, &s->list))
			return NULL;
	}
	return s;
}

static struct stage *parse_top(struct parser *p, enum stage_kind kind)
{
	struct stage *s = stage_new(p, kind);

	p->at++;
	if (!s || !parse_mark(p, '('))
		return NULL;
	if (word_now(p)->type != WORD_NUMBER || word_now(p)->number.type != VALUE_INT)
		return parser_expected(p, "a whole number");
	s->top = (uint64_t)word_now(p)->number.i;
	p->at++;
	return parse_mark(p, ')') ? s : NULL;
}

/* compare({...}[, n[, from, to]]): read, to tell what is wrong from what is not evaluated. */
static struct stage *parse_compare(struct parser *p)
{
	uint32_t at = word_now(p)->at;

	p->at++;
	if (!parse_mark(p, '('))
		return NULL;
	if (!word_is_mark(word_now(p), '{'))
		return parser_expected(p, "{");
	if (!parse_filter(p))
		return NULL;
	while (word_is_mark(word_now(p), ',')) {
		p->at++;
		if (word_now(p)->type != WORD_NUMBER)
			return parser_expected(p, "a whole number");
		p->at++;
	}
	return parse_mark(p, ')')
		       ? parser_fail(p, TRACEQL_UNSUPPORTED, at, "not supported: compare()")
		       : NULL;
}

static struct stage *parse_named_stage(struct parser *p)
{
	const struct word *w = word_now(p);
	int metric = metric_of(w);

	if (metric >= 0)
		return parse_metric(p, (enum metric)metric);
	if (word_is_name(w, "by"))
		return parse_listing(p, STAGE_BY);
	if (word_is_name(w, "select"))
		return parse_listing(p, STAGE_SELECT);
	if (word_is_name(w, "coalesce"))
		return parse_coalesce(p);
	if (word_is_name(w, "topk"))
		return parse_top(p, STAGE_TOPK);
	if (word_is_name(w, "bottomk"))
		return parse_top(p, STAGE_BOTTOMK);
	if (word_is_name(w, "compare"))
		return parse_compare(p);
	return parser_expected(p, "{, ( or the name of a function");
}

static struct stage *parse_stage(struct parser *p)
{
	const struct word *w = word_now(p);
	struct stage *s;

	if (w->type == WORD_NUMBER || w->type == WORD_DURATION || aggregate_of(w) ||
	    (w->type == WORD_OP && w->op == OP_SUB) || (word_is_mark(w, '(') && holds_scalar(p)))
		return parse_scalar_filter(p);
	if (!word_is_mark(w, '{') && !word_is_mark(w, '('))
		return parse_named_stage(p);
	s = stage_new(p, STAGE_SPANSET);
	if (!s)
		return NULL;
	s->set = parse_spanset(p, BIND_LOGIC);
	return s->set ? s : NULL;
}

static const struct stage *parse_pipeline(struct parser *p)
{
	struct stage *first = NULL, *last = NULL;

	do {
		struct stage *s = parse_stage(p);

		if (!s)
			return NULL;
		if (last)
			last->next = s;
		else
			first = s;
		last = s;
	} while (word_is_mark(word_now(p), '|') && p->at++ < p->word_cnt);
	return first;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* with(name=value, ...): hints, of which none changes an answer here. */
static bool parse_hints(struct parser *p)
{
	p->at++;
	if (!parse_mark(p, '('))
		return false;
	for (;;) {
		if (word_now(p)->type != WORD_NAME)
			return parser_expected(p, "the name of a hint");
		p->at++;
		if (word_now(p)->type != WORD_OP || word_now(p)->op != OP_EQ)
			return parser_expected(p, "=");
		p->at++;
		if (word_now(p)->type < WORD_STR || word_now(p)->type > WORD_NAME)
			return parser_expected(p, "a value");
		p->at++;
		if (!word_is_mark(word_now(p), ','))
			return parse_mark(p, ')');
		p->at++;
	}
}

static bool list_needs_trace(const struct exprs *list)
{
	for (uint32_t i = 0; i < list->cnt; i++)
		if (expr_needs_trace(list->item[i]))
			return true;
	return false;
}

/* Metrics stand at the end, with topk() and bottomk() alone behind; nowhere in parentheses. */
static bool check_order(struct parser *p)
{
	struct traceql *q = p->q;

	for (const struct stage *s = q->first; s; s = s->next) {
		bool plain = s->kind == STAGE_SPANSET && s->set->filter;
		bool top = s->kind == STAGE_TOPK || s->kind == STAGE_BOTTOMK;

		if (top != (q->metric != NULL))
			return parser_fail(
				p, TRACEQL_MEANING, s->at,
				top ? "topk() and bottomk() are of a metric: rate(), ..."
				    : "after a metric only topk() and bottomk() can come");
		if (s->kind == STAGE_METRIC)
			q->metric = s;
		else if (!top && (!plain || expr_needs_trace(s->set->filter)))
			q->whole_trace = true;
	}
	if (q->metric && (expr_needs_trace(q->metric->of) || list_needs_trace(&q->metric->list)))
		q->whole_trace = true;
	return true;
}

static bool check_inner(struct parser *p, const struct spanset *s)
{
	if (s->op)
		return check_inner(p, s->left) && check_inner(p, s->right);
	for (const struct stage *at = s->pipe; at; at = at->next) {
		if (at->kind >= STAGE_METRIC)
			return parser_fail(p, TRACEQL_UNSUPPORTED, at->at,
					   "not supported: a metric in parentheses");
		if (at->kind == STAGE_SPANSET && !check_inner(p, at->set))
			return false;
	}
	return true;
}

bool parse_query(struct parser *p)
{
	p->q->first = parse_pipeline(p);
	if (!p->q->first)
		return false;
	if (word_is_name(word_now(p), "with") && !parse_hints(p))
		return false;
	if (word_now(p)->type != WORD_END)
		return parser_expected(p, "| or the end");
	for (const struct stage *s = p->q->first; s; s = s->next)
		if (s->kind == STAGE_SPANSET && !check_inner(p, s->set))
			return false;
	return check_order(p);
}

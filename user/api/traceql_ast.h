/* SPDX-License-Identifier: Apache-2.0 */
/* What a TraceQL text becomes; between the files of this room that parse and evaluate it. */
#ifndef API_TRACEQL_AST_H
#define API_TRACEQL_AST_H

#include "api/spantree.h"
#include "api/traceql.h"

#define TRACEQL_WORDS_MAX 2048u
#define TRACEQL_DEPTH_MAX 64u
#define TRACEQL_LIST_MAX  16u /* fields of by() and select(), quantiles */

/* ---- words -------------------------------------------------------------------------------- */

enum word_type {
	WORD_END,
	WORD_MARK, /* { } ( ) , | */
	WORD_OP,
	WORD_STR,
	WORD_NUMBER,
	WORD_DURATION,
	WORD_FIELD,
	WORD_NAME, /* a keyword, or what should have been one */
	WORD_VARIABLE,
};

enum op {
	OP_NONE,
	OP_OR,
	OP_AND,
	/* comparisons; between spansets > is "child of", < "parent of", !~ "not sibling of" */
	OP_EQ,
	OP_NE,
	OP_LT,
	OP_LE,
	OP_GT,
	OP_GE,
	OP_RE,
	OP_NRE,
	/* between spansets alone */
	OP_DESC,
	OP_ANCE,
	OP_SIBLING,
	OP_NOT_CHILD,
	OP_NOT_PARENT,
	OP_NOT_DESC,
	OP_NOT_ANCE,
	OP_UNION_CHILD,
	OP_UNION_PARENT,
	OP_UNION_DESC,
	OP_UNION_ANCE,
	OP_UNION_SIBLING,
	OP_ADD,
	OP_SUB,
	OP_MUL,
	OP_DIV,
	OP_MOD,
	OP_POW,
	OP_NOT,
};

enum type {
	TYPE_ANY, /* an attribute: known when it is read */
	TYPE_STRING,
	TYPE_NUMBER,
	TYPE_DURATION, /* a number too; nanoseconds */
	TYPE_BOOL,
	TYPE_STATUS,
	TYPE_KIND,
	TYPE_NIL,
};

/* What a span is asked for. */
enum ask {
	ASK_FIELD, /* tql_field.field */
	ASK_EVENT_SINCE_START,
	ASK_LINK_TRACE_ID,
	ASK_LINK_SPAN_ID,
	/* from here on of the span's place in its trace */
	ASK_PARENT, /* its id, where it is in the trace */
	ASK_CHILDREN,
	ASK_SET_LEFT,
	ASK_SET_RIGHT,
	ASK_SET_PARENT,
	ASK_ROOT_NAME,
	ASK_ROOT_SERVICE,
	ASK_TRACE_DURATION,
};

struct tql_field {
	enum ask ask;
	struct field field;
	bool of_parent;
	enum type type;
	struct str text; /* as written */
};

struct word {
	enum word_type type;
	enum op op;
	char mark;
	uint32_t at, end; /* bytes of the text */
	struct str str;	  /* WORD_STR: unescaped; WORD_NAME */
	struct value number;
	struct tql_field *field;
};

/* ---- the query ------------------------------------------------------------------------------ */

enum expr_kind { EXPR_CONST, EXPR_FIELD, EXPR_NOT, EXPR_NEG, EXPR_LOGIC, EXPR_MATH, EXPR_CMP };

struct expr {
	enum expr_kind kind;
	enum op op;
	enum type type;
	uint32_t at;
	const struct expr *left, *right;
	struct value value;
	const struct tql_field *field;
	/* EXPR_CMP with a constant: what the left side's values are compared by. */
	const struct cond *cond;
	bool of_span; /* ... which says the same of a span, so that a store can answer it */
	bool absent;  /* EXPR_CMP: = nil (else != nil) where the right side is nil */
};

struct exprs {
	const struct expr *item[TRACEQL_LIST_MAX];
	struct str text[TRACEQL_LIST_MAX];
	uint32_t cnt;
};

struct stage;

struct spanset {
	enum op op; /* OP_NONE: a filter or a pipeline in parentheses */
	const struct spanset *left, *right;
	const struct expr *filter;
	const struct stage *pipe;
};

enum aggregate { AGG_NONE, AGG_COUNT, AGG_MIN, AGG_MAX, AGG_SUM, AGG_AVG };

struct scalar {
	enum aggregate agg;
	const struct expr *of;
	struct str text;
	enum op op; /* OP_NONE: value, or the aggregate */
	const struct scalar *left, *right;
	double value;
};

enum metric {
	METRIC_RATE,
	METRIC_COUNT,
	METRIC_MIN,
	METRIC_MAX,
	METRIC_SUM,
	METRIC_AVG,
	METRIC_QUANTILE,
	METRIC_HISTOGRAM,
};

enum stage_kind {
	STAGE_SPANSET,
	STAGE_SCALAR,
	STAGE_BY,
	STAGE_COALESCE,
	STAGE_SELECT,
	STAGE_METRIC,
	STAGE_TOPK,
	STAGE_BOTTOMK,
};

struct stage {
	enum stage_kind kind;
	uint32_t at;
	const struct stage *next;
	const struct spanset *set;
	enum op cmp;
	const struct scalar *left, *right;
	struct exprs list; /* STAGE_BY, STAGE_SELECT; what a metric is grouped by */
	enum metric metric;
	const struct expr *of;
	double quantile[TRACEQL_LIST_MAX];
	uint32_t quantile_cnt;
	uint64_t top;
};

struct traceql {
	struct arena *mem;
	struct patterns patterns;
	const struct stage *first;
	const struct stage *metric; /* NULL: a search */
	bool whole_trace; /* a span alone does not tell, for a metric; a search asks for traces */
	struct tql_field *fields[64]; /* what it names; those past the end are not shown */
	uint32_t field_cnt;
};

struct parser {
	struct traceql *q;
	struct arena *mem;
	struct str text;
	struct word *word;
	uint32_t word_cnt, at;
	uint32_t depth;
	struct traceql_error *error;
	int err; /* 0; else what parsing ends with */
};

/* All that fail return NULL or false and have said why. */
void *parser_fail(struct parser *p, enum traceql_fault fault, uint32_t at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void *parser_expected(struct parser *p, const char *what);
void *parser_alloc(struct parser *p, size_t size);
bool parser_enter(struct parser *p); /* one deeper; parser->depth-- on the way out */

bool lex(struct parser *p);
/* The intrinsic of that name in a scope ("" for those without); NULL: there is none. */
const struct tql_field *intrinsic_find(struct str scope, struct str name);

static inline const struct word *word_now(const struct parser *p)
{
	return &p->word[p->at];
}

static inline bool word_is_mark(const struct word *w, char mark)
{
	return w->type == WORD_MARK && w->mark == mark;
}

static inline bool word_is_name(const struct word *w, const char *name)
{
	return w->type == WORD_NAME && str_eq(w->str, str_of(name));
}

bool parse_mark(struct parser *p, char mark);
const struct expr *parse_expr(struct parser *p);
bool expr_needs_trace(const struct expr *e);
bool parse_query(struct parser *p);

/* ---- asking a store ------------------------------------------------------------------------- */

/* What must be true of some span of a trace that the query finds. Never NULL: COND_TRUE where
 * nothing can be said. */
struct lowered {
	const struct cond *span;  /* of each span that is selected */
	const struct cond *other; /* of another one: a parent, the root */
	bool exact;		  /* 'span' says all of it */
};

struct lowered lower_expr(struct arena *mem, const struct expr *e);
struct lowered lower_query(struct arena *mem, const struct traceql *q);
/* A stage that compares one aggregate with a number, that on its left; agg is NULL for others. */
struct folded {
	const struct scalar *agg;
	enum op cmp;
	double value;
};
struct folded fold_scalar(const struct stage *s);
/* What some span of a group satisfies that the stage lets through. */
const struct cond *lower_scalar(struct arena *mem, const struct stage *s);
/* Of two that must both be true of a trace the one that fewer spans satisfy, as far as can be told
 * without looking. */
const struct cond *cond_cheaper(const struct cond *a, const struct cond *b);

/* ---- evaluating ----------------------------------------------------------------------------- */

/* One trace in hand; zeroed but for the first three. */
struct eval {
	const struct spantree *tree;
	struct arena *mem;    /* scratch: forgotten with the trace */
	uint64_t deadline_ns; /* monotonic; 0: none */
	int err;	      /* -ENOMEM, -ETIMEDOUT: what was said is wrong */
	uint32_t *children;   /* of each span, once somebody asked */
	uint32_t *left, *right;
	bool timed; /* duration_ns is known */
	int64_t duration_ns;
};

struct value eval_value(struct eval *e, const struct expr *x, uint32_t span);
bool eval_true(struct eval *e, const struct expr *x, uint32_t span);
/* As it is shown: status and kind by name, ids in hex, durations in seconds. */
struct value eval_shown(struct eval *e, const struct expr *x, uint32_t span);
/* False, and *ret untouched, for what is no number. */
bool eval_number(struct eval *e, const struct expr *x, uint32_t span, double *ret);

/* Spans of the trace by index, ascending. */
struct group {
	uint32_t *span;
	uint32_t cnt;
	struct attrs attrs;
};

struct groups {
	struct group *item;
	uint32_t cnt;
};

/* To be called for each span by what may take long; false past the deadline. */
bool eval_goes_on(struct eval *e, uint32_t span);

#define GROUPS_MAX 1024u /* by() puts what is past it nowhere */

/* out, zeroed, one byte a span: the spans of r that stand to one of l as op says, and those of l
 * too for OP_UNION_*. */
void eval_related(struct eval *e, enum op op, const uint8_t *l, const uint8_t *r, uint8_t *out);
bool eval_group(struct eval *e, const uint8_t *set, struct group *ret_group); /* false: empty */

/* The query's spansets on a trace; stops before a metric. None: it finds nothing here. */
struct groups eval_query(struct eval *e, const struct traceql *q);

#endif

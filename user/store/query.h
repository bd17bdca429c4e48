/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of a store: a condition over one span, as a tree. Every query language of the API
 * (TraceQL, Jaeger's parameters, our own JSON) is lowered to it; an engine either evaluates it on
 * its own columns, translates it, or calls cond_match(). Questions about several spans of a trace
 * (A calls B, counts) are the caller's, on the traces that a scan finds; what they need of a trace
 * (struct need) spares it most of those that are not meant.
 *
 * Trees live in an arena of who builds them and are not changed once built; any thread may read.
 */
#ifndef STORE_QUERY_H
#define STORE_QUERY_H

#include "span/span.h"

enum field_kind {
	FIELD_ATTR, /* of the span, else of its resource */
	FIELD_SPAN_ATTR,
	FIELD_RESOURCE_ATTR,
	FIELD_SCOPE_ATTR,
	FIELD_EVENT_ATTR, /* any event of the span */
	FIELD_LINK_ATTR,  /* any link of the span */
	FIELD_NAME,
	FIELD_SERVICE, /* resource.service, never empty */
	FIELD_KIND,    /* VALUE_INT, enum span_kind */
	FIELD_STATUS,  /* VALUE_INT, enum span_status */
	FIELD_STATUS_MESSAGE,
	FIELD_DURATION,	 /* VALUE_INT, nanoseconds */
	FIELD_START,	 /* VALUE_INT, Unix time in nanoseconds */
	FIELD_TRACE_ID,	 /* VALUE_BYTES, 16 */
	FIELD_SPAN_ID,	 /* VALUE_BYTES, 8 */
	FIELD_PARENT_ID, /* VALUE_BYTES, 8; VALUE_EMPTY for a root */
	FIELD_SCOPE_NAME,
	FIELD_SCOPE_VERSION,
	FIELD_EVENT_NAME, /* any event of the span */
};

struct field {
	enum field_kind kind;
	struct str key; /* of FIELD_*_ATTR */
};

enum cmp {
	CMP_EQ,
	CMP_NE, /* the field is there and differs, as TraceQL has it */
	CMP_LT,
	CMP_LE,
	CMP_GT,
	CMP_GE,
	CMP_RE,	    /* the whole string matches the pattern (anchored, as TraceQL and Prometheus) */
	CMP_NRE,    /* the field is a string and does not match */
	CMP_EXISTS, /* value is not looked at */
};

enum cond_op { COND_TRUE, COND_FALSE, COND_AND, COND_OR, COND_NOT, COND_CMP };

struct pattern; /* a compiled regular expression */

struct cond {
	enum cond_op op;
	const struct cond *left, *right; /* COND_AND, COND_OR; COND_NOT has left */
	struct field field;		 /* COND_CMP */
	enum cmp cmp;
	/* a scalar; numbers compare as numbers, an int with a double too; the text of a pattern */
	struct value value;
	const struct pattern *pattern; /* CMP_RE, CMP_NRE */
	uint32_t depth;		       /* of this tree: set by the builders */
};

/* Deepest tree that is built or evaluated; builders refuse deeper ones. */
#define COND_DEPTH_MAX 64
/* Longest regular expression, bytes. */
#define PATTERN_MAX 1024

/* Does the span satisfy it? NULL and COND_TRUE: yes. A comparison of unlike types is false. */
bool cond_match(const struct cond *c, const struct span *s);
/* The field's value(s) compared: for what evaluates a field that has several (events). Of an array
 * one element must satisfy it, for CMP_NE and CMP_NRE all. */
bool cond_compare(const struct cond *c, const struct value *v);
/* A field's value; VALUE_EMPTY when absent. Events and links: the first that has it. Strings are
 * borrowed from s. */
struct value field_value(const struct field *f, const struct span *s);
/* How many values it may have, 1 but for events and links, and the i-th, which may be VALUE_EMPTY.
 */
uint32_t field_values(const struct field *f, const struct span *s);
struct value field_value_at(const struct field *f, const struct span *s, uint32_t i);

/* Builders; all but the last return NULL without memory, past COND_DEPTH_MAX, or when given NULL.
 * COND_TRUE and COND_FALSE are folded away. */
const struct cond *cond_and(struct arena *mem, const struct cond *a, const struct cond *b);
const struct cond *cond_or(struct arena *mem, const struct cond *a, const struct cond *b);
const struct cond *cond_not(struct arena *mem, const struct cond *a);
/* cmp is not CMP_RE or CMP_NRE; strings are not copied. */
const struct cond *cond_cmp(struct arena *mem, struct field f, enum cmp cmp, struct value v);
/* PCRE2, UTF-8, with limits on matching (backtracking bombs become "no match"). 0, -EINVAL with one
 * line in why, -ENOMEM. text is not copied. patterns_free() frees what all of p's conditions
 * compiled; a zeroed struct is an empty list. */
struct patterns {
	struct pattern *first;
};
int cond_regex(struct arena *mem, struct patterns *p, struct field f, bool negate, struct str text,
	       const struct cond **ret_cond, char why[128]);
void patterns_free(struct patterns *p);

/*
 * What must be true of a whole trace, as a tree of sets of its spans: the set at the top is not
 * empty. For each an engine may take a larger set, never a smaller one.
 */
enum need_op {
	NEED_SPANS,    /* that satisfy 'where' */
	NEED_TOPS,     /* whose parent is not in the trace */
	NEED_DURATION, /* all, if first start to last end is at least 'least' ns; else none */
	NEED_ROOT,     /* all, if the trace's root satisfies 'where' (service, name); else none */
	NEED_COUNT,    /* left, if it has at least 'least' */
	NEED_SUM,      /* left, if it lasts at least 'least' ns, durations added */
	NEED_HAS,      /* left, if some of it is in right */
	NEED_BOTH,     /* what is in left and in right */
	NEED_ANY,      /* what is in left or in right */
	NEED_EACH,     /* the same, if neither is empty; else none */
	NEED_CHILD,    /* of right what has its parent in left */
	NEED_BELOW,    /* ... an ancestor */
	NEED_PARENT,   /* ... a child */
	NEED_ABOVE,    /* ... a descendant */
	NEED_BESIDE,   /* ... a sibling */
};

struct need {
	enum need_op op;
	uint8_t bit; /* NEED_SPANS, NEED_ROOT: its own, below NEED_BITS_MAX */
	const struct need *left, *right;
	const struct cond *where; /* NULL: all */
	double least;
};
#define NEED_BITS_MAX	15u
#define NEED_BIT_OF_ALL NEED_BITS_MAX /* where it is NULL */

#endif

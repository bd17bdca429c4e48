/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces found in a store, newest first, with a summary of each: what Tempo's /api/search, both of
 * Jaeger's and our own search answer from.
 *
 * A trace is found when it has a span that started in the range and satisfies what is asked; what
 * is asked of several spans (query, calls, durations) is looked for in all of the trace, also in
 * its spans outside the range. The order is by a trace's newest span that satisfies the condition
 * it was found by, then by trace id: it holds between pages while new traces come in.
 */
#ifndef API_SEARCH_H
#define API_SEARCH_H

#include "api/traceql.h"
#include "core/buf.h"

#define SEARCH_LIMIT_MAX 1000u
#define SEARCH_TOKEN_MAX 49u

struct search {
	struct time_range range;
	const struct cond *where;    /* one span satisfies it; NULL: any */
	const struct cond *calls;    /* ... and has below it a span that satisfies this; NULL: no */
	bool calls_directly;	     /* ... as its child */
	const struct traceql *query; /* and this, which is not of metrics; NULL: none */
	uint64_t duration_min_ns;    /* of the trace: first start to last end */
	uint64_t duration_max_ns;    /* 0: no limit */
	uint32_t limit;		     /* traces; 0: 20; at most SEARCH_LIMIT_MAX */
	uint32_t spans_per_set;	     /* matched spans handed out; 0: 3 */
	uint64_t deadline_ns;	     /* monotonic; 0: none */
	const char *page;	     /* 'next' of the page before, same question; NULL: first */
	bool whole; /* the visitor reads everything of the traces, not just what is named */
};

struct search_service {
	struct str name;
	uint32_t spans;
	uint32_t errors;
};

/* Matched spans: one set, or one for each group that by() made. */
struct search_set {
	const struct span *const *spans; /* the first spans_per_set of them */
	uint32_t span_cnt;
	uint32_t matched;   /* all */
	struct attrs attrs; /* what grouped it and was counted: "by(name)", "count()" */
};

struct search_trace {
	const struct trace *trace; /* every span, as much of each as store_trace_fields() says */
	struct str root_service;   /* empty: no root came */
	struct str root_name;
	uint64_t start_ns; /* of the first span */
	uint64_t end_ns;   /* of the last to end */
	uint32_t errors;   /* spans with status error */
	uint32_t orphans;  /* spans whose parent is neither here nor said to be remote */
	const struct search_service *services; /* by name */
	uint32_t service_cnt;
	const struct search_set *sets; /* at least one; at most 64 */
	uint32_t set_cnt;
	/* What select() and the conditions name: to be shown of each matched span. */
	const struct field *fields;
	uint32_t field_cnt;
};

struct search_end {
	char next[SEARCH_TOKEN_MAX]; /* for search.page; empty: there are no more */
	uint32_t traces;	     /* looked at as a whole */
	uint64_t spans;		     /* of those */
};

/*
 * Each trace borrowed for the call; the visitor returns false to end. 0; -EINVAL: limit or page is
 * none; -ETIMEDOUT: what was visited until then is right, ret_end->next goes on; -EIO, -ENOMEM.
 */
int search_run(struct store *s, const struct search *q,
	       bool (*visit)(void *ctx, const struct search_trace *t), void *ctx,
	       struct search_end *ret_end);

/* A field as TraceQL writes it: "resource.host.name", "name", "span:id". */
void search_field_name(const struct field *f, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TraceQL: text to a query, and a query's answer as series over time. Searching with one: search.h.
 *
 * Accepted is what Grafana's grammar accepts. A query is refused as not TraceQL, as TraceQL that
 * means nothing (types that cannot be compared, a bad regular expression), or as TraceQL that is
 * not evaluated here: compare(), and variables ($x), which a dashboard is to fill in. As in Tempo,
 * && and || bind alike, and so do all comparisons; hints in with() are read and change nothing.
 *
 * Queries are foreign: at most TRACEQL_TEXT_MAX bytes, 2048 words, nested 64 deep.
 */
#ifndef API_TRACEQL_H
#define API_TRACEQL_H

#include "store/store.h"

#define TRACEQL_TEXT_MAX 16384u

struct traceql; /* never changed once parsed; any thread may read */

enum traceql_fault { TRACEQL_SYNTAX, TRACEQL_MEANING, TRACEQL_UNSUPPORTED };

struct traceql_error {
	enum traceql_fault fault;
	uint32_t line, column; /* from 1; columns count characters */
	char text[256];	       /* one line: "line 1, column 7: expected ..." */
};

/* 0; -EINVAL or, for TRACEQL_UNSUPPORTED, -EOPNOTSUPP with ret_error; -ENOMEM. */
int traceql_parse(struct str text, struct traceql **ret_query, struct traceql_error *ret_error);
void traceql_free(struct traceql *q); /* NULL is fine */
/* Whether it ends in rate() or the like: for traceql_range(), not for a search. */
bool traceql_is_metrics(const struct traceql *q);

/* ---- series over time -------------------------------------------------------------------------
 */

#define TRACEQL_STEPS_MAX  11000u
#define TRACEQL_SERIES_MAX 1000u

struct traceql_range {
	const struct traceql *query; /* of metrics */
	struct time_range range;     /* to_ns is needed; from_ns is rounded down to a step */
	bool exact;		     /* ... is not rounded */
	uint64_t step_ns;
	uint64_t deadline_ns; /* monotonic; 0: none */
	uint32_t exemplars;   /* of one series, at most 16; 0: none */
};

struct traceql_label {
	struct str name;    /* as written: "resource.service.name"; "p", "__bucket", "__name__" */
	struct value value; /* scalar; VALUE_EMPTY where a span had none. Status and kind are words,
			       durations are seconds */
};

struct traceql_exemplar {
	struct trace_id trace_id;
	struct span_id span_id;
	uint64_t time_ns;
	double value;
};

struct traceql_series {
	const struct traceql_label *labels;
	uint32_t label_cnt;
	uint64_t first_ns;    /* value i is of spans that started in [first + i * step, + step) */
	const double *values; /* NaN: none. Durations in seconds */
	uint32_t value_cnt;
	const struct traceql_exemplar *exemplars;
	uint32_t exemplar_cnt;
};

struct traceql_range_end {
	bool truncated; /* past TRACEQL_SERIES_MAX, or of memory: what came later is not in it */
	uint64_t spans; /* counted */
};

/*
 * Quantiles come from buckets that double (powers of two), interpolated exponentially, as Tempo's.
 * Each series once, borrowed for the call. 0; -EINVAL: no metrics query, no step, more than
 * TRACEQL_STEPS_MAX; -ETIMEDOUT, -EIO, -ENOMEM: nothing was visited.
 */
int traceql_range(struct store *s, const struct traceql_range *q,
		  void (*visit)(void *ctx, const struct traceql_series *series), void *ctx,
		  struct traceql_range_end *ret_end);

#endif

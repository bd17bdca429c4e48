/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of a metric while spans come in; between the files of this room. */
#ifndef API_TRACEQL_RANGE_H
#define API_TRACEQL_RANGE_H

#include "api/traceql_ast.h"

/* Buckets of powers of two: bucket b holds values in (2^(b-1), 2^b]. */
#define FIGURE_BUCKETS 64u

struct cell {
	uint64_t cnt;
	union {
		double value;	  /* sum, min or max; of rate and count what spans stand for */
		uint32_t *bucket; /* NULL: nothing came */
	};
};

struct figure {
	uint64_t hash;
	struct traceql_label *labels;
	struct cell *cells; /* one a step */
	struct traceql_exemplar *exemplars;
	uint32_t exemplar_cnt;
};

struct figures {
	const struct traceql_range *q;
	const struct stage *metric;
	struct arena *mem; /* its cap is what an answer may take */
	uint64_t first_ns;
	uint32_t steps;
	struct figure *item; /* TRACEQL_SERIES_MAX */
	uint32_t cnt;
	uint16_t slot[2048]; /* 1 + index into item, 0: free */
	struct traceql_range_end *end;
};

/* 0 or -ENOMEM. */
int figures_init(struct figures *f);
void figures_add(struct figures *f, struct eval *e, uint32_t span);
/* Makes series of it, with topk() and bottomk() done, and visits them. 0 or -ENOMEM. */
int figures_visit(struct figures *f, void (*visit)(void *ctx, const struct traceql_series *series),
		  void *ctx);

#endif

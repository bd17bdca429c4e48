/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true of a trace as a whole, as far as its extent tells (first start, last end,
 * spans, its top span), for a search to find it; and a sieve that holds back the traces of a store
 * of which it is not. Both may let more through, never less.
 */
#ifndef API_NEED_H
#define API_NEED_H

#include "store/store.h"

struct traceql;

enum need_op {
	NEED_AND,
	NEED_OR,
	NEED_DURATION, /* at least 'least' ns from first start to last end */
	NEED_SPANS,    /* at least so many */
	NEED_PRODUCT,  /* of both: what the spans' durations cannot exceed together */
	NEED_ROOT,     /* satisfies 'root' */
};

struct need {
	enum need_op op;
	const struct need *left, *right; /* NEED_AND, NEED_OR */
	double least;
	const struct cond *root;
	uint8_t root_bit; /* of NEED_ROOTS_MAX */
};
#define NEED_ROOTS_MAX 3u

/* NULL: nothing. In mem; without memory nothing is needed, too. */
const struct need *need_and(struct arena *mem, const struct need *a, const struct need *b);
const struct need *need_least(struct arena *mem, enum need_op op, double least);
const struct need *need_of_query(struct arena *mem, const struct traceql *q);

struct sieve;

/*
 * One look at the extents of all traces in the range. Those past 1.8 million, the oldest, are let
 * through. 0, -EOPNOTSUPP (the store tells no extents), -ETIMEDOUT, -EIO, -ENOMEM.
 */
int sieve_new(struct store *s, const struct need *need, struct time_range r, uint64_t deadline_ns,
	      struct sieve **ret_sieve);
/* By store_trace_mark(). */
bool sieve_passes(const struct sieve *s, uint32_t mark);
uint32_t sieve_passing(const struct sieve *s); /* how many; UINT32_MAX: not known */
void sieve_free(struct sieve *s);	       /* NULL is fine */

#endif

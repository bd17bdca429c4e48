/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of a search: finding traces by their spans, and a trace's summary. */
#ifndef API_SEARCH_PARTS_H
#define API_SEARCH_PARTS_H

#include "api/need.h"
#include "api/search.h"
#include "api/traceql_ast.h"

/* A trace's place among all that are found: newest first, then by id. */
struct place {
	uint64_t key_ns; /* start of its newest span that satisfies the condition */
	struct trace_id id;
};

/* Whether a comes behind b. */
bool place_after(const struct place *a, const struct place *b);

/* What finds traces: the condition on their spans. */
struct finder {
	struct store *store;
	const struct cond *seek;
	struct time_range range;
	uint64_t deadline_ns;
	/* What is read of spans; NULL: everything. */
	const struct field *fields;
	uint32_t field_cnt;
	const struct need *need; /* of their traces; NULL: nothing */
	struct sieve *sieve;	 /* owned; NULL: all pass */
	bool narrow;		 /* as far as the sieve can be */
	uint32_t batch;		 /* traces that are loaded at once; 0: not known yet */
	struct place *item;	 /* owned: found, in order */
	uint32_t cnt;
};

/* From now on traces that lack what is needed are not found, unless their parts lie in several
 * places of the store; after the second not even those, as far as so many spans go, the newest
 * first. Each is worth its while once so many were found in vain that looking at as many again
 * takes longer. 0, -ETIMEDOUT, -EIO, -ENOMEM. */
int finder_sift(struct finder *f);
int finder_narrow(struct finder *f, uint64_t spans);
/* The first max traces behind 'from' (NULL: of all), in order, in f->item; ret_all: there are no
 * more. A trace may be among them that has a newer span before 'from'. 0, -ETIMEDOUT, -EIO,
 * -ENOMEM. */
int finder_run(struct finder *f, const struct place *from, uint32_t max, bool *ret_all);
void finder_fini(struct finder *f);

/*
 * Loads what was found and visits it in order. t is NULL when the trace is gone, or was found by an
 * older span and has its place before 'from'. The visitor returns 0, 1 to end, or -errno, which is
 * the result then. Past the deadline it is -ETIMEDOUT.
 */
int finder_each(struct finder *f, const struct place *from,
		int (*visit)(void *ctx, const struct place *p, const struct trace *t), void *ctx);

/* Fills root, times, counts and services; false without memory. */
bool summarize(const struct spantree *tree, struct arena *mem, struct search_trace *ret);

/* Fields that conditions and the query name and a span alone has, each once; in mem. */
uint32_t search_fields(const struct search *q, struct arena *mem, const struct field **ret_fields);

/* All that looking at a trace reads of its spans, in mem; NULL: that is not known. */
const struct field *search_reads(const struct search *q, struct arena *mem, uint32_t *ret_cnt);

#endif

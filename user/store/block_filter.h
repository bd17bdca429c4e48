/* SPDX-License-Identifier: Apache-2.0 */
/* The filter beside a body, taken apart: what the files block_filter*.c share. */
#ifndef STORE_BLOCK_FILTER_H
#define STORE_BLOCK_FILTER_H

#include "store/block_format.h"

/* The parts of a filter; empty where it is malformed. */
struct filter_view {
	struct str operations, tags, traces, pairs;
	bool old; /* the others are not known */
	uint64_t longest_ns, heaviest_ns, whole_flags;
	struct str marks_more, spans; /* a byte for each of traces */
	struct str topless;
};

/* False: malformed. */
bool filter_parse(struct str from, struct filter_view *ret);
/* Of trace i, which is below traces.len / 4. */
uint64_t filter_mark(const struct filter_view *f, size_t i);

/* Traces without a span that has no parent, by their places: the next one. */
struct topless {
	struct cursor c;
	uint64_t at;
	bool begun;
};

struct topless topless_of(const struct filter_view *f);
/* False at the end, and where a place is not above the one before it or is no trace's. */
bool topless_next(struct topless *t, size_t traces);

struct operation {
	struct str service, name;
	uint32_t kind;
	bool top; /* a span of it has no parent, or may have none */
};

/* Walks them: operations stand in the order of their services. */
struct operations {
	struct cursor services, at;
	uint64_t left;
	uint64_t passed; /* services, the current one too */
	struct str service;
	bool old;
};

void operations_begin(struct operations *o, const struct filter_view *f);
bool operations_next(struct operations *o, struct operation *ret);
/* May a span of this operation satisfy it? */
bool operation_may(const struct block_index *x, const struct filter_view *f,
		   const struct operation *op, const struct cond *c);

#endif

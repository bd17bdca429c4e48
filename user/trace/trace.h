/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans to traces. A trace is complete when its root has ended and nothing more of it came for
 * cfg.quiet_ns, or when its root, or without one its oldest span, has waited cfg.max_wait_ns. Late
 * spans make a further trace of the same id, marked 'late'.
 *
 * Spans of the same id pushed before the first tick wait from that tick on. The books count spans;
 * traces, incomplete and late ones and spans whose parent never came are figures beside them.
 *
 * Full: past cfg.max_bytes the oldest trace is pushed early, marked incomplete, and counted. Bytes
 * are all that would be free without what waits: spans as malloc gives them, this room's own
 * tables, and each resource with its scopes once, however many spans share it and whoever else
 * does.
 */
#ifndef TRACE_TRACE_H
#define TRACE_TRACE_H

#include "span/span.h"

/* Counted; never changed once it was pushed. */
struct trace {
	struct trace_id id;
	/* by start time; a parent is before its children where times are equal */
	struct span **spans;
	uint32_t span_cnt;
	int32_t root; /* index of the span without a parent (or whose parent is elsewhere); -1: none
		       */
	bool complete;
	bool late;
	uint32_t refs;
	uint32_t size;	     /* spans there is room for */
	struct arena *arena; /* owns what the spans point to */
	struct span *few[4]; /* 'spans' at first: most traces of one machine are short */
};

/* refs is 1. NULL without memory. */
struct trace *trace_new(const struct trace_id *id);
/* Appends a copy, in order of arrival until the trace is pushed. False without memory. */
bool trace_add(struct trace *t, const struct span *s);
/*
 * Puts the spans, which are in order of arrival, in theirs, and finds the root.
 * ret_orphans: spans whose parent is neither here nor said to be remote. 0 or -ENOMEM.
 */
int trace_order(struct trace *t, uint32_t *ret_orphans);
struct trace *trace_get(const struct trace *t);
void trace_put(struct trace *t); /* NULL is fine; frees with the last */
/* The memory it takes, but for what its spans share with others: resources, and their scopes. */
size_t trace_bytes(const struct trace *t);

/* Borrowed for the call; who keeps it takes a reference. */
struct trace_sink {
	void *ctx;
	void (*push)(void *ctx, const struct trace *t);
};

struct assemble_cfg {
	uint64_t quiet_ns;    /* default 300 ms */
	uint64_t max_wait_ns; /* default 5 s */
	size_t max_bytes;     /* default 32 MiB */
};

struct assemble;
struct assemble *assemble_new(const struct assemble_cfg *cfg, struct trace_sink out);
void assemble_push(struct assemble *a, const struct span *s);
/* now_ns: the clock that also drives the chain (monotonic, or record time on replay). */
void assemble_tick(struct assemble *a, uint64_t now_ns);
void assemble_flush(struct assemble *a);
/* The memory of all that waits; 0 when nothing does. Any thread. */
size_t assemble_bytes(const struct assemble *a);
void assemble_free(struct assemble *a);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which traces are kept, and for how many a kept one stands.
 *
 * At the head each span is decided alone, by its trace id and so alike on every host: always,
 * never, a ratio, or as many traces a second as are wanted (a ratio that follows the traffic, and
 * a hard limit). A kept span says in its tracestate how much was rejected (span.h), so that
 * rates stay true. A span of a service that a rule names is decided by that rule instead: a trace
 * that several rules touch is whole where the strictest of them keeps it.
 *
 * Without the tail this room keeps nothing of a trace but, for SAMPLE_RATE, its decision: 16 bytes
 * in a table of fixed size. Spans go on at once.
 *
 * At the tail whole traces wait in a buffer until they are complete (trace.h), then are kept if
 *   error   a span has failed
 *   slow    its root, or the entry of a service, took longer than 99 % of that operation's
 *   new     it has something never seen: a service, operation, status or kind of error
 *   share   of the rest each operation gets a fair part of traces_per_s, the rare ones in full
 * Spans that come after the decision follow it at once; of a rejected trace a failed one is kept,
 * with what comes after it. 262,144 decisions are remembered. Waiting spans are not durable: their
 * acknowledgement says only that they have arrived.
 *
 * Full: past tail_bytes (trace.h says what is counted) the oldest trace is decided early. Beside
 * that decisions take 4 MiB, operations and kinds 5 MiB at most. Operations past 4,096 share one
 * row; past 65,536 kinds of span nothing counts as new. Both are counted. Any thread may push.
 */
#ifndef TRACE_SAMPLE_H
#define TRACE_SAMPLE_H

#include "trace/trace.h"

enum sample_how { SAMPLE_ALWAYS, SAMPLE_NEVER, SAMPLE_RATIO, SAMPLE_RATE, SAMPLE_TAIL };

struct sample_rule {
	const char *service; /* glob; borrowed for the sampler's life */
	double ratio;
};

struct sample_cfg {
	enum sample_how how;
	double ratio;	     /* SAMPLE_RATIO: 0 to 1 */
	double traces_per_s; /* SAMPLE_RATE, and the share of SAMPLE_TAIL; default 100 */
	bool follow_parent;  /* a remote caller's sampled flag of 0 is a no, of captured spans */
	const struct sample_rule *rules; /* the first that fits decides; before 'how' */
	uint32_t rule_cnt;
	size_t tail_bytes;    /* default 256 MiB */
	uint64_t quiet_ns;    /* after the root's end; default half of max_wait_ns */
	uint64_t max_wait_ns; /* after the root, or the first span without one; default 4 s, so that
				 a trace is visible within 5; senders that hold spans for longer
				 (an SDK's batch: 5 s) need more */
};

struct sampler;
/* tail: where SAMPLE_TAIL puts what it kept, from the thread that ticks or pushes. NULL without
 * memory. */
struct sampler *sampler_new(const struct sample_cfg *cfg, struct span_sink tail);
/* Passes the span on to out, now, or keeps a copy until its trace is decided, or drops it. */
void sampler_push(struct sampler *s, const struct span *sp, struct span_sink out);
/* now_ns: monotonic; about ten times a second. */
void sampler_tick(struct sampler *s, uint64_t now_ns);
/* Decides all that waits. */
void sampler_flush(struct sampler *s);
void sampler_free(struct sampler *s);

#endif

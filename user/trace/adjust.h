/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is corrected and marked when a trace is shown; what is stored stays as it came.
 *
 * Clocks: a span that a call from another host made cannot begin before that call, nor end after
 * it when the caller waits. Where it does, it and what hangs below it on its host are moved into
 * the middle of the call, and each moved span gets telltale.clock_skew_ns, what was added.
 *
 * Calls seen twice: a program with an SDK of its own tells of the same call that capture saw. Ours
 * gets telltale.duplicate_of, the SDK's span id in hex, when both are of one process and kind and
 * either the same context was on the wire, or the peer and the operation are the same, 95 % of the
 * longer one's time is shared, and there is one candidate only.
 *
 * Zipkin's shared spans: what a server did names the id that its half of the call shares with the
 * client's. Below the server it is hung where its service is the server's, not the client's, and
 * says so by telltale.parent.method "zipkin-shared".
 */
#ifndef TRACE_ADJUST_H
#define TRACE_ADJUST_H

#include "trace/trace.h"

struct adjusted {
	uint32_t hung;
	uint32_t moved;
	uint32_t duplicates;
};

/* Whether there is anything to look for: spans of several hosts, of capture and of an SDK, or
 * Zipkin's shared ones. */
bool trace_adjustable(const struct trace *t);
/* On a trace of the caller's own (one reference); it is in order afterwards. Traces of more than
 * 10,000 spans are looked through for clocks only. 0, or -ENOMEM: it is not to be shown. */
int trace_adjust(struct trace *t, struct adjusted *ret);

#endif

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
 */
#ifndef TRACE_ADJUST_H
#define TRACE_ADJUST_H

#include "trace/trace.h"

struct adjusted {
	uint32_t moved;
	uint32_t duplicates;
};

/* Whether there is anything to look for: spans of several hosts, or of capture and of an SDK. */
bool trace_adjustable(const struct trace *t);
/* On a trace of the caller's own (one reference); it is in order afterwards. Traces of more than
 * 10,000 spans are looked through for clocks only. 0, or -ENOMEM: nothing was changed. */
int trace_adjust(struct trace *t, struct adjusted *ret);

#endif

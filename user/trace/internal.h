/* SPDX-License-Identifier: Apache-2.0 */
/* Putting a trace's spans in order, private to the room. */
#ifndef TRACE_INTERNAL_H
#define TRACE_INTERNAL_H

#include "trace/trace.h"

/*
 * Fills spans, span_cnt and root of a trace from spans in order of arrival; the array is in mem
 * and shares what the spans point to. ret_orphans: spans whose parent is neither here nor said to
 * be remote. 0 or -ENOMEM.
 */
int trace_order(struct arena *mem, struct span *const *spans, uint32_t cnt, struct trace *ret_trace,
		uint32_t *ret_orphans);

#endif

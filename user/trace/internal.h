/* SPDX-License-Identifier: Apache-2.0 */
/* Putting a trace's spans in order, private to the room. */
#ifndef TRACE_INTERNAL_H
#define TRACE_INTERNAL_H

#include "trace/trace.h"

/*
 * Puts the spans of a trace, which are in order of arrival, in theirs, and finds its root.
 * ret_orphans: spans whose parent is neither here nor said to be remote. 0 or -ENOMEM.
 */
int trace_order(struct trace *t, uint32_t *ret_orphans);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the room. */
#ifndef TRACE_INTERNAL_H
#define TRACE_INTERNAL_H

#include "trace/adjust.h"

#define COMPARED_MAX 10000u /* spans of a trace in which every pair is compared */

/* Spans of capture beside those of an SDK, few enough to compare. */
bool trace_has_both(const struct trace *t);
/* Gives our spans that an SDK tells of too their attribute; how many there are. */
uint32_t trace_mark_duplicates(struct trace *t);
/* Server's halves of Zipkin's shared spans, few enough to compare. */
bool trace_has_shared(const struct trace *t);
/* Hangs what such a server did below it; how many spans have another parent now. */
uint32_t trace_hang_shared(struct trace *t);

#endif

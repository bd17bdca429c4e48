/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the room. */
#ifndef TRACE_INTERNAL_H
#define TRACE_INTERNAL_H

#include "trace/adjust.h"

/* Spans of capture beside those of an SDK, few enough to compare. */
bool trace_has_both(const struct trace *t);
/* Gives our spans that an SDK tells of too their attribute; how many there are. */
uint32_t trace_mark_duplicates(struct trace *t);

#endif

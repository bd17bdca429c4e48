/* SPDX-License-Identifier: Apache-2.0 */
/* The decision on a whole trace, and what it rests on. Private to the room; one thread. */
#ifndef TRACE_TAIL_H
#define TRACE_TAIL_H

#include "trace/trace.h"

enum tail_why { TAIL_REJECTED, TAIL_ERROR, TAIL_SLOW, TAIL_NEW, TAIL_SHARE, TAIL_WHYS };

struct tail;
struct tail *tail_new(double traces_per_s);
/* Learns from the trace, then decides. ret_threshold: by which it was kept, 0 but for TAIL_SHARE.
 */
enum tail_why tail_decide(struct tail *t, const struct trace *tr, uint64_t *ret_threshold);
/* Once a second: shares follow the traffic, old durations fade. */
void tail_tick(struct tail *t, uint64_t now_ns);
/* What did not fit: operations without a row of their own, kinds of span not remembered. */
uint64_t tail_crowded(const struct tail *t);
void tail_free(struct tail *t);

#endif

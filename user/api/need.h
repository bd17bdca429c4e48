/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a search needs of a trace: built from what is asked of its spans. NULL is any set, all spans
 * of the trace at most. It may let more traces through, never less.
 */
#ifndef API_NEED_H
#define API_NEED_H

#include "store/store.h"

struct traceql;
struct search;

struct needing {
	struct arena *mem;
	uint32_t bits, depth;
};

const struct need *need_of_query(struct needing *n, const struct traceql *q);
const struct need *need_of_search(struct needing *n, const struct search *q);

#endif

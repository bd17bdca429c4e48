/* SPDX-License-Identifier: Apache-2.0 */
/* Who is whose child in one trace. Circles, which only a broken tracer makes, are cut. */
#ifndef API_SPANTREE_H
#define API_SPANTREE_H

#include "trace/trace.h"

#define SPANTREE_NONE UINT32_MAX

struct spantree {
	const struct trace *trace;
	uint32_t *parent;  /* index; SPANTREE_NONE: a root or an orphan */
	uint32_t *ordered; /* every index, parents before their children */
	uint32_t orphans;  /* whose parent is neither here nor said to be remote */
};

/* In mem; false without memory. */
bool spantree_build(const struct trace *t, struct arena *mem, struct spantree *ret_tree);

#endif

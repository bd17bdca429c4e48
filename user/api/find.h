/* SPDX-License-Identifier: Apache-2.0 */
/* POST /traces/search: what its body asks for; private to the room. */
#ifndef API_FIND_H
#define API_FIND_H

#include "api/ask.h"
#include "api/body.h"

struct find {
	struct search search;
	struct asked asked;    /* of one span */
	struct traceql *query; /* the caller's to free; NULL: none */
};

/* Reads into *ret, whose asked.mem is set. 0; -EINVAL with one line in why; -ENOMEM. */
int find_read(struct call *c, const json_t *root, struct find *ret, char why[BODY_WHY_MAX]);
/* One member of what describes a span; 0 with *ret_known false when it is none. */
int find_read_member(struct call *c, const char *key, const json_t *v, struct asked *a,
		     bool *ret_known, char why[BODY_WHY_MAX]);

#endif

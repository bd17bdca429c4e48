/* SPDX-License-Identifier: Apache-2.0 */
/* What Jaeger's two APIs ask in the same way; private to the room. */
#ifndef API_JAEGER_ASK_H
#define API_JAEGER_ASK_H

#include "api/ask.h"

#define JAEGER_LIMIT_MAX 1500 /* what its page asks for at most */

/* Names of one API's parameters. */
struct jaeger_names {
	const char *service, *operation, *start, *end, *duration_min, *duration_max, *limit;
	const char *tags; /* a JSON object of strings */
	const char *tag;  /* key:value, repeated; NULL */
};

/* A search from the parameters. False: answered with an error. */
bool jaeger_search(struct call *c, const struct jaeger_names *names, uint64_t lookback_ns,
		   uint32_t limit, struct search *ret);
/* Each (name, kind) of a service, or those of one kind; kinds and names as Jaeger has them. Returns
 * how many. */
uint64_t jaeger_operations(struct json *j, const struct operations *o, const char *kind);

#endif

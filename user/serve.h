/* SPDX-License-Identifier: Apache-2.0 */
/* What run and gateway serve over HTTP: the store's traces, and how they are themselves. */
#ifndef TELLTALE_SERVE_H
#define TELLTALE_SERVE_H

#include "agent.h"
#include "backend.h"
#include "sourcing.h"

struct serve;
/* Listens. captures: not ready until serve_attached(). 0, or -errno after a line on standard
 * error. */
int serve_new(const char *listen, struct backend *backend, const struct sourcing *sourcing,
	      bool captures, struct serve **ret_serve);
/* The agent is attached. It must stay until serve_free(). */
void serve_attached(struct serve *s, const struct agent *a);
/* The loop of who has no agent turns. */
void serve_beat(struct serve *s, uint64_t now_ns);
/* Before the backend closes. NULL is fine. */
void serve_free(struct serve *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent serves about itself over HTTP while it runs. */
#ifndef TELLTALE_SERVE_H
#define TELLTALE_SERVE_H

#include "agent.h"

struct serve;
/* Listens; not ready until serve_attached(). 0, or -errno after a line on standard error. */
int serve_new(const char *listen, struct recent *recent, struct serve **ret_serve);
/* The agent is attached. It must stay until serve_free(). */
void serve_attached(struct serve *s, const struct agent *a);
void serve_free(struct serve *s);

#endif

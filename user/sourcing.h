/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is traced beyond the options, changed through /traces/sources while it runs: filters of
 * processes, by which the agent attaches anew, and further receivers. Kept in sources.json, every
 * change told in audit.jsonl, both in the store's directory unless --sources names another.
 *
 * A filter has one of pid, name and cgroup, or a port alone; without any (and none among the
 * options) all processes are traced. Excluding is not possible.
 */
#ifndef TELLTALE_SOURCING_H
#define TELLTALE_SOURCING_H

#include "api/sources.h"
#include "backend.h"
#include "probe/probe.h"

struct sourcing;
/* captures: filters are possible. 0, or -errno after a line on standard error. */
int sourcing_open(const struct config *c, struct backend *b, bool captures,
		  struct sourcing **ret_sourcing);
const struct api_sources *sourcing_api(const struct sourcing *s);
/* Adds what is enabled to a filter of the options; valid until the next call. -ENOMEM. */
int sourcing_filter(struct sourcing *s, struct probe_filter *filter);
/* Have filters changed since the last sourcing_filter()? */
bool sourcing_changed(const struct sourcing *s);
/* Before the backend closes. NULL is fine. */
void sourcing_close(struct sourcing *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is traced beyond the options, changed through /traces/sources while it runs: filters of
 * processes, which take effect in the attached agent at once, and further receivers. Kept in
 * sources.json, every change told in audit.jsonl, both in the store's directory unless --sources
 * names another.
 *
 * A filter has one of pid, name and cgroup, or a port alone; without any (and none among the
 * options) all processes are traced. Excluding is not possible.
 */
#ifndef TELLTALE_SOURCING_H
#define TELLTALE_SOURCING_H

#include "agent.h"
#include "api/sources.h"
#include "backend.h"
#include "probe/probe.h"

struct sourcing;
/* captures: filters are possible. 0, or -errno after a line on standard error. */
int sourcing_open(const struct config *c, struct backend *b, bool captures,
		  struct sourcing **ret_sourcing);
const struct api_sources *sourcing_api(const struct sourcing *s);
/* Adds what is enabled to the options' filter, whose lists are borrowed from now on; valid until
 * sourcing_attach(). -ENOMEM. */
int sourcing_filter(struct sourcing *s, struct probe_filter *filter);
/* The agent that was attached with that filter: changes go to it from now on. NULL: it ends. */
void sourcing_attach(struct sourcing *s, struct agent *agent);
/* The options' filter is another one, whose lists are borrowed from now on; its pids stay those of
 * sourcing_filter(). 0, or -errno with a line in why: then nothing has changed. */
int sourcing_options(struct sourcing *s, const struct probe_filter *filter,
		     char why[SOURCE_WHY_MAX]);
/* Before the backend closes. NULL is fine. */
void sourcing_close(struct sourcing *s);

#endif

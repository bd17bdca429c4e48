/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP: the configuration is read anew. What can change while it runs does: process, cgroup, port
 * and log-level. Of what else has changed a warning tells that it needs a restart; a configuration
 * that is refused changes nothing.
 */
#ifndef TELLTALE_RELOAD_H
#define TELLTALE_RELOAD_H

#include "config/config.h"
#include "sourcing.h"

struct reload {
	const struct config *start; /* borrowed */
	struct config *now;	    /* the one read last; NULL: start */
	struct sourcing *sourcing;  /* with an agent attached, unless it captures nothing */
};

void reload_hangup(struct reload *r);
/* After sourcing_close(), which borrows from it. */
void reload_fini(struct reload *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes records speak of: asks discover about each when it first has a connection (most
 * never have one) and again after exec, with the exec's record as a hint, since a short-lived
 * process may be gone by then. Takes the answers over from discover's thread in a bounded queue.
 */
#ifndef TELLTALE_PROCS_H
#define TELLTALE_PROCS_H

#include "discover/discover.h"

struct procs_cfg {
	uint32_t max; /* processes remembered; default 65536; past it the oldest is forgotten */
	uint32_t max_hints; /* exec records kept; default 1024; the oldest goes first */
	size_t queue_bytes; /* of answers; default 4 MiB */
	/* A TLS library in a process; on discover's thread. May be NULL. */
	void (*library)(void *ctx, const struct library *lib);
	void *ctx;
};

struct procs;
/* 0 or -errno of discover. */
int procs_new(const struct procs_cfg *cfg, struct procs **ret_procs);
/* Asks about a process that no record has named yet. */
void procs_ask(struct procs *p, uint32_t tgid);
/* As event_sink: every record that passed the gate. */
void procs_record(void *ctx, const struct event_hdr *rec);
/* Hands on the answers that have come. The same thread as procs_record(). */
void procs_drain(struct procs *p, void (*push)(void *ctx, const void *rec, size_t len), void *ctx);
/* Questions without an answer so far; those about processes that have gone never get one. */
uint32_t procs_outstanding(const struct procs *p);
void procs_free(struct procs *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The exporters that the options name: each takes every span, none waits for another. */
#ifndef TELLTALE_EXPORTERS_H
#define TELLTALE_EXPORTERS_H

#include "config/config.h"
#include "span/span.h"

/*
 * Exporters go by spans. Trees on standard output alone need whole traces: with --export-stdout
 * they wait as in trace.h, in at most 32 MiB; nothing else keeps anything of a trace.
 */
struct exporters;
/* 0, or -errno after a line on standard error. */
int exporters_open(const struct config *c, struct exporters **ret_exporters);
/* Is no endpoint one of our own receivers, which listen at these addresses (NULL: not) and ports?
 * 0, or -ELOOP after a line on standard error. */
int exporters_check_loop(const struct config *c, const char *http, uint16_t http_port,
			 const char *grpc, uint16_t grpc_port);
void exporters_push(struct exporters *e, const struct span *s);
void exporters_tick(struct exporters *e, uint64_t now_ns);
/* Calls each with the name of every exporter and how it does, as exporter_state(). */
void exporters_states(struct exporters *e,
		      void (*each)(void *ctx, const char *name, const char *text), void *ctx);
/* Sends what is queued, for a few seconds in all. NULL is fine. */
void exporters_free(struct exporters *e);

#endif

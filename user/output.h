/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where trace and replay write: trees or OTLP/JSON lines, to a file, standard output or standard
 * error, of all traces or of those that have a span the options ask for.
 */
#ifndef TELLTALE_OUTPUT_H
#define TELLTALE_OUTPUT_H

#include "config/config.h"
#include "pipe.h"

struct output;
/* path: NULL is standard error. 0, or -errno after a line on standard error. */
int output_open(const struct config *c, const char *path, struct output **ret_output);
/* Sets the sinks of a pipe to be built. */
void output_connect(struct output *o, struct pipe_cfg *cfg);
/* The first error of writing, 0: none. As agent_cfg.health and setup_run.close. */
int output_error(void *output);
/* Writes out what is pending: 0 or the first error there was. */
int output_flush(void *output);
void output_free(struct output *o);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The commands: each takes the options and gives the exit status. */
#ifndef TELLTALE_COMMAND_H
#define TELLTALE_COMMAND_H

#include "config/config.h"

/* What main() ends with for these: usage errors, and failures of commands that run no other. */
#define EXIT_FAILED 1
#define EXIT_USAGE  2

int command_run(const struct config *c);
int command_gateway(const struct config *c);
int command_store(const struct config *c);
int command_trace(const struct config *c);
int command_record(const struct config *c);
int command_replay(const struct config *c);
int command_doctor(const struct config *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* From the options to what the rooms and the commands want. */
#ifndef TELLTALE_SETUP_H
#define TELLTALE_SETUP_H

#include "agent.h"
#include "config/config.h"
#include "pipe.h"

/* Our own failures, as env(1) and timeout(1) have them, so that they are not taken for CMD's. */
#define EXIT_OURS 125

/* pids: room for c->pid.cnt + 1; filled with those and the child's. All borrowed. */
void setup_probe(const struct config *c, const struct child *child, uint32_t *pids,
		 struct probe_cfg *ret_cfg);
void setup_pipe(const struct config *c, struct pipe_cfg *ret_cfg);

/* What was lost so far: records at the beginning of the chain, spans at its end. */
uint64_t setup_dropped(void);
/* "telltale: 12 spans, 0 dropped, 0.8 % of one CPU" to standard error. */
/* Warns of program runs that the kernel skipped, if any. */
void setup_warn_missed(void);
void setup_summary(uint64_t spans, const struct agent_result *result);

/*
 * Runs an agent for trace or record: the child if the options name one, attach, loop, the child's
 * end. 'before' holds the signal mask from before agent_block_signals(). Returns the exit status
 * unless the child ended by a signal: then *ret_status has its wait status, else it is 0.
 */
struct setup_run {
	const struct config *config;
	struct pipe *pipe;
	int (*health)(void *ctx);
	void *ctx;
	/* Called when nothing more will come; 0 or an error that was not yet reported. */
	int (*close)(void *ctx);
	const char *what; /* "tracing", said on a terminal; NULL: say nothing */
};
int setup_run(const struct setup_run *run, const sigset_t *before, struct agent_result *ret_result,
	      int *ret_status);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live side of trace, run and record: attaches, drains the kernel's records into the pipe
 * together with what user space adds to them (key, host, clock, ticks, processes, counters), and
 * ends neatly.
 */
#ifndef TELLTALE_AGENT_H
#define TELLTALE_AGENT_H

#include "child.h"
#include "pipe.h"
#include "probe/probe.h"

struct agent_cfg {
	struct probe_cfg probe; /* its filter has the child's pid and 'pids' already */
	struct child *child;	/* held; released when attached. NULL or with pid 0: none */
	const uint32_t *pids;	/* the agent ends when all of these have gone */
	uint32_t pid_cnt;
	uint64_t duration_ns;	     /* 0: no limit */
	void (*hangup)(void *ctx);   /* SIGHUP calls it; NULL: it ends the agent */
	int (*health)(void *ctx);    /* asked often; an error ends the agent. May be NULL */
	void (*attached)(void *ctx); /* called once, before the child runs. May be NULL */
	void *ctx;
};

enum agent_end { END_CHILD, END_PIDS, END_DURATION, END_SIGNAL, END_ERROR };

struct agent_result {
	enum agent_end end;
	int signal;	    /* with END_SIGNAL */
	int err;	    /* with END_ERROR: of health, of draining, of the child's exec */
	bool exec_failed;   /* with END_ERROR: the child could not become the program */
	double cpu_percent; /* of one CPU, while it was attached */
};

struct agent;
#define AGENT_WHY_MAX 512

/* Blocks the signals that the agent handles; before any thread and any child. What was before is
 * for the child. */
void agent_block_signals(sigset_t *ret_before);

/* Attaches. 0, or -errno with one line in why. */
int agent_new(const struct agent_cfg *cfg, struct pipe *pipe, struct agent **ret_agent,
	      char why[AGENT_WHY_MAX]);
/* Until the end; everything is flushed out of the pipe then. why: one line with END_ERROR. */
void agent_loop(struct agent *a, struct agent_result *ret, char why[AGENT_WHY_MAX]);
const struct probe *agent_probe(const struct agent *a);
/* As probe_set_filter(). */
int agent_set_filter(struct agent *a, const struct probe_filter *f, char why[PROBE_WHY_MAX]);
/* When the loop last turned, monotonic. Any thread. */
uint64_t agent_last_pass_ns(const struct agent *a);
/* Detaches. NULL is fine. */
void agent_free(struct agent *a);

#endif

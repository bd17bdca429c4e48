/* SPDX-License-Identifier: Apache-2.0 */
/* What trace, record and run share: options to room settings, the child, the exit status. */
#include "notify.h"
#include "setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/books.h"
#include "core/clock.h"
#include "core/log.h"

/* What traces under assembly may hold, of the whole memory limit. */
#define ASSEMBLE_SHARE 8

#define TERM_GRACE_MS 2000

void setup_probe(const struct config *c, const struct child *child, uint32_t *pids,
		 struct probe_cfg *ret_cfg)
{
	uint32_t cnt = c->pid.cnt;

	if (cnt)
		memcpy(pids, c->pid.v, cnt * sizeof(*pids));
	if (child && child->pid)
		pids[cnt++] = (uint32_t)child->pid;
	*ret_cfg = (struct probe_cfg){
		.capture = (enum capture)c->capture,
		.filter = {
			.pids = pids,
			.pid_cnt = cnt,
			.names = c->process.v,
			.name_cnt = c->process.cnt,
			.cgroups = c->cgroup.v,
			.cgroup_cnt = c->cgroup.cnt,
			.ports = c->port.v,
			.port_cnt = c->port.cnt,
		},
		.capture_bytes = c->capture_bytes,
		.ring_bytes = c->ring_size,
		.max_conns = c->max_connections,
		.tls = c->tls,
	};
}

void setup_pipe(const struct config *c, struct pipe_cfg *ret_cfg)
{
	*ret_cfg = (struct pipe_cfg){
		.stream.max_conns = c->max_connections,
		.proto.only = c->protocol,
		.redact.raw_queries = c->raw_queries,
		.assemble.max_bytes = (size_t)c->memory_limit / ASSEMBLE_SHARE,
	};
}

static void add_dropped(void *ctx, const struct books *b)
{
	uint64_t *sum = ctx;
	bool begins = !strcmp(b->stage, "kernel") || !strcmp(b->stage, "ring");
	/* what sampling leaves out was asked for */
	bool ends = !strcmp(b->unit, "span") && strcmp(b->stage, "span") != 0 &&
		    strncmp(b->stage, "sample", 6) != 0;

	/* stages between drop mostly what nobody asked for: other protocols, repeats, set-up */
	if (!begins && !ends)
		return;
	for (int i = 0; i < BOOKS_REASONS && b->reason[i]; i++)
		*sum += book_read(&b->dropped[i]);
}

uint64_t setup_dropped(void)
{
	uint64_t sum = 0;

	books_each(add_dropped, &sum);
	return sum;
}

static void add_missed(void *ctx, const struct gauge *g, double value)
{
	double *missed = ctx;

	if (!strcmp(g->name, "kernel_missed_runs_total"))
		*missed = value;
}

/* A kernel does not run a program twice at a time on one processor: where it may be interrupted,
 * calls are missed. Said even where nothing else is: nothing is lost silently. */
void setup_warn_missed(void)
{
	double missed = 0;

	gauges_each(add_missed, &missed);
	if (missed > 0)
		log_warn("the kernel skipped %.0f of our program runs; as many calls were not seen",
			 missed);
}

void setup_summary(uint64_t spans, const struct agent_result *result)
{
	fprintf(stderr, "telltale: %llu span%s, %llu dropped, %.1f %% of one CPU\n",
		(unsigned long long)spans, spans == 1 ? "" : "s",
		(unsigned long long)setup_dropped(), result->cpu_percent);
}

/* ---- the agent with a child, from start to end ---- */

/* Tracing is over and the program is not: passes signals on until it ends, at most timeout_ms. */
static void wait_child(struct child *c, int timeout_ms)
{
	uint64_t until_ns = clock_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	const struct timespec step = { .tv_nsec = 20 * NS_PER_MS };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	while (!child_poll(c) && (timeout_ms < 0 || clock_mono_ns() < until_ns)) {
		siginfo_t info;
		int sig = sigtimedwait(&set, &info, &step);

		if (sig <= 0)
			continue;
		if (info.si_code != SI_KERNEL)
			kill(c->pid, sig);
		if (timeout_ms < 0) {
			timeout_ms = TERM_GRACE_MS;
			until_ns = clock_mono_ns() + TERM_GRACE_MS * NS_PER_MS;
		}
	}
}

static void say_attached(void *ctx)
{
	const struct setup_run *run = ctx;
	const struct config *c = run->config;
	bool filtered = c->process.cnt || c->cgroup.cnt || c->port.cnt;

	notify_manager("READY=1");
	if (!run->what || c->quiet || !isatty(STDERR_FILENO))
		return;
	if (c->argc)
		fprintf(stderr, "telltale: %s %s\n", run->what, c->argv[0]);
	else
		fprintf(stderr, "telltale: %s %s; Ctrl-C ends it\n", run->what,
			c->pid.cnt ? "the processes named"
			: filtered ? "what the options select"
				   : "every process");
}

static int ask_health(void *ctx)
{
	const struct setup_run *run = ctx;

	return run->health ? run->health(run->ctx) : 0;
}

static int start_child(const struct setup_run *run, const sigset_t *before, struct child *ret_child)
{
	const struct config *c = run->config;
	const struct child_cfg cfg = { .argv = c->argv, .user = c->user, .sigmask = before };
	char why[CHILD_WHY_MAX];
	int err = 0;

	if (c->argc) {
		err = child_start(&cfg, ret_child, why);
		if (err)
			fprintf(stderr, "telltale: %s\n", why);
	}
	return err;
}

/* The exit status when the loop has ended and nothing failed since. */
static int end_status(const struct config *c, struct child *child,
		      const struct agent_result *result, const char *why, int *ret_status)
{
	switch (result->end) {
	case END_ERROR:
		if (result->exec_failed) {
			fprintf(stderr, "telltale: %s: %s\n", c->argv[0], why);
			return result->err == -ENOENT ? 127 : 126;
		}
		if (result->err != -EPIPE)
			fprintf(stderr, "telltale: %s%s: %s; tracing has ended\n",
				c->output ? "writing to " : "", c->output ? c->output : "output",
				why);
		if (child->pid)
			wait_child(child, -1);
		return EXIT_OURS;
	case END_CHILD: *ret_status = child->status; return child_exit_status(child->status);
	case END_DURATION:
		if (child->pid && !child->ended) {
			kill(child->pid, SIGTERM);
			wait_child(child, TERM_GRACE_MS);
		}
		return 0;
	case END_SIGNAL: return child->pid ? 128 + result->signal : 0;
	case END_PIDS: return 0;
	}
	return 0;
}

int setup_run(const struct setup_run *run, const sigset_t *before, struct agent_result *ret_result,
	      int *ret_status)
{
	const struct config *c = run->config;
	struct agent_cfg cfg = { .pids = c->pid.v,
				 .pid_cnt = c->pid.cnt,
				 .duration_ns = c->duration_ns,
				 .health = ask_health,
				 .attached = say_attached,
				 .ctx = (void *)run };
	struct child child = { .pidfd = -1, .go_fd = -1, .exec_fd = -1 };
	struct agent_result result = { .end = END_ERROR };
	struct agent *agent = NULL;
	char why[AGENT_WHY_MAX];
	int exit_status = EXIT_OURS, err;
	uint32_t *pids = calloc(c->pid.cnt + 1u, sizeof(*pids));

	*ret_status = 0;
	if (!pids || start_child(run, before, &child))
		goto out;
	setup_probe(c, &child, pids, &cfg.probe);
	cfg.child = &child;
	err = agent_new(&cfg, run->pipe, &agent, why);
	if (err) {
		fprintf(stderr, "telltale: %s\n", why);
		goto out;
	}
	agent_loop(agent, &result, why);
	agent_free(agent);
	err = run->close(run->ctx);
	if (err && result.end != END_ERROR) {
		result.end = END_ERROR;
		result.err = err;
		snprintf(why, sizeof(why), "%s", strerror(-err));
	}
	exit_status = end_status(c, &child, &result, why, ret_status);
out:
	*ret_result = result;
	child_fini(&child);
	free(pids);
	return exit_status;
}

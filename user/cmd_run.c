/* SPDX-License-Identifier: Apache-2.0 */
/* run: the agent. Traces this machine until it is ended; keeps, exports and serves what it saw. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "command.h"
#include "core/clock.h"
#include "core/log.h"
#include "notify.h"
#include "serve.h"
#include "setup.h"

struct run {
	const struct config *config;
	struct backend *backend;
	struct producer *producer; /* of the thread that drains the kernel's records */
	struct serve *serve;
	struct pipe *pipe;
};

/* The drain thread's ticks are record time; what waits behind it goes by the clock. */
static void tick(void *ctx, uint64_t now_ns)
{
	backend_tick(((struct run *)ctx)->backend, clock_mono_ns());
}

static int open_all(struct run *r)
{
	const struct config *c = r->config;
	struct pipe_cfg cfg;
	int err = backend_open(c, &r->backend);

	if (err)
		return err;
	r->producer = producer_new(r->backend);
	if (!r->producer)
		return -ENOMEM;
	err = serve_new(c->listen, r->backend, true, &r->serve);
	if (!err)
		err = backend_receive(r->backend);
	if (err)
		return err;
	setup_pipe(c, &cfg);
	cfg.redact.rules = backend_rules(r->backend);
	cfg.spans[0] = (struct span_sink){ r->producer, producer_push };
	cfg.tick = tick;
	cfg.tick_ctx = r;
	return pipe_new(&cfg, &r->pipe);
}

static void close_all(struct run *r)
{
	/* the sinks are the last to go */
	pipe_free(r->pipe);
	serve_free(r->serve);
	producer_free(r->producer);
	backend_close(r->backend);
}

static void tell_ready(struct run *r, const struct agent *agent)
{
	const struct config *c = r->config;

	serve_attached(r->serve, agent);
	log_info("capturing by %s; traces in %s, served on http://%s%s%s",
		 capture_names[probe_capture(agent_probe(agent))], c->store ? c->store : "no store",
		 c->listen, c->otlp_urls.cnt ? ", exported to " : "",
		 c->otlp_urls.cnt ? c->otlp_urls.v[0] : "");
	notify_manager("READY=1");
}

static int loop(struct run *r, uint32_t *pids)
{
	const struct config *c = r->config;
	struct agent_cfg cfg = { .pids = c->pid.v, .pid_cnt = c->pid.cnt, .ignore_hangup = true };
	struct agent_result result;
	struct agent *agent = NULL;
	char why[AGENT_WHY_MAX];
	int err;

	setup_probe(c, NULL, pids, &cfg.probe);
	err = agent_new(&cfg, r->pipe, &agent, why);
	if (err) {
		fprintf(stderr, "telltale: %s\n", why);
		return EXIT_FAILED;
	}
	tell_ready(r, agent);
	agent_loop(agent, &result, why);
	notify_manager("STOPPING=1");
	serve_free(r->serve); /* it asks the agent */
	r->serve = NULL;
	agent_free(agent);
	if (result.end == END_ERROR) {
		fprintf(stderr, "telltale: %s; the agent has ended\n", why);
		return EXIT_FAILED;
	}
	if (log_level() >= LOG_INFO)
		setup_summary(pipe_spans(r->pipe), &result);
	setup_warn_missed();
	return 0;
}

int command_run(const struct config *c)
{
	struct run r = { .config = c };
	uint32_t *pids = calloc(c->pid.cnt + 1u, sizeof(*pids));
	sigset_t before;
	int status = EXIT_FAILED;

	/* before any thread, so that signals come to the loop alone */
	agent_block_signals(&before);
	if (pids && !open_all(&r))
		status = loop(&r, pids);
	close_all(&r);
	free(pids);
	return status;
}

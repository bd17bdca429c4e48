/* SPDX-License-Identifier: Apache-2.0 */
/* run: the agent. Traces this machine until it is ended; keeps, exports and serves what it saw. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "command.h"
#include "core/clock.h"
#include "core/listen.h"
#include "core/log.h"
#include "notify.h"
#include "reload.h"
#include "serve.h"
#include "setup.h"

#define SHOWN_MAX 256 /* bytes of an address in the log */

struct run {
	const struct config *config;
	struct backend *backend;
	struct producer *producer; /* of the thread that drains the kernel's records */
	struct sourcing *sourcing;
	struct reload reload;
	struct serve *serve;
	struct pipe *pipe; /* of the agent that is attached */
	uint64_t spans;
};

/* The drain thread's ticks are record time; what waits behind it goes by the clock. */
static void tick(void *ctx, uint64_t now_ns)
{
	backend_tick(((struct run *)ctx)->backend, clock_mono_ns());
}

static int open_all(struct run *r)
{
	const struct config *c = r->config;
	int err = backend_open(c, &r->backend);

	if (err)
		return err;
	r->producer = producer_new(r->backend);
	err = r->producer ? backend_receive(r->backend) : -ENOMEM;
	if (!err)
		err = sourcing_open(c, r->backend, true, &r->sourcing);
	if (!err)
		err = serve_new(c->listen, r->backend, r->sourcing, true, &r->serve);
	return err;
}

static void close_all(struct run *r)
{
	backend_quiet(r->backend);
	serve_free(r->serve);
	sourcing_close(r->sourcing);
	reload_fini(&r->reload);
	/* the sinks are the last to go */
	producer_free(r->producer);
	backend_close(r->backend);
}

static int open_pipe(struct run *r)
{
	struct pipe_cfg cfg;

	setup_pipe(r->config, &cfg);
	cfg.redact.rules = backend_rules(r->backend);
	cfg.spans[0] = (struct span_sink){ r->producer, producer_push };
	cfg.tick = tick;
	cfg.tick_ctx = r;
	return pipe_new(&cfg, &r->pipe);
}

static void tell_ready(struct run *r, const struct agent *agent)
{
	const struct config *c = r->config;
	char store[SHOWN_MAX], to[SHOWN_MAX] = "";

	serve_attached(r->serve, agent);
	config_show_urls(str_of(c->store ? c->store : "no store"), store, sizeof(store));
	if (c->otlp_urls.cnt)
		config_show_urls(str_of(c->otlp_urls.v[0]), to, sizeof(to));
	log_info("capturing by %s; traces in %s, served on http://%s%s%s%s",
		 capture_names[probe_capture(agent_probe(agent))], store, c->listen,
		 listen_reach(c->listen), to[0] ? ", exported to " : "", to);
	notify_manager("READY=1");
}

static void hangup(void *ctx)
{
	reload_hangup(&((struct run *)ctx)->reload);
}

/* The agent, from attaching to its end. */
static int trace(struct run *r, uint32_t *pids, struct agent_result *ret, char why[AGENT_WHY_MAX])
{
	const struct config *c = r->config;
	struct agent_cfg cfg = {
		.pids = c->pid.v, .pid_cnt = c->pid.cnt, .hangup = hangup, .ctx = r
	};
	struct agent *agent = NULL;
	int err;

	setup_probe(c, NULL, pids, &cfg.probe);
	err = sourcing_filter(r->sourcing, &cfg.probe.filter);
	if (!err)
		err = open_pipe(r);
	if (!err)
		err = agent_new(&cfg, r->pipe, &agent, why);
	if (err)
		return err;
	sourcing_attach(r->sourcing, agent);
	r->reload = (struct reload){ .start = c, .sourcing = r->sourcing };
	tell_ready(r, agent);
	agent_loop(agent, ret, why);
	r->spans += pipe_spans(r->pipe);
	serve_attached(r->serve, NULL); /* it asks the agent */
	sourcing_attach(r->sourcing, NULL);
	agent_free(agent);
	return ret->end == END_ERROR ? ret->err : 0;
}

static int trace_and_tell(struct run *r, uint32_t *pids)
{
	struct agent_result result;
	char why[AGENT_WHY_MAX] = "out of memory";
	int err;

	err = trace(r, pids, &result, why);
	pipe_free(r->pipe);
	notify_manager("STOPPING=1");
	if (err) {
		fprintf(stderr, "telltale: %s; the agent has ended\n", why);
		return EXIT_FAILED;
	}
	if (log_level() >= LOG_INFO)
		setup_summary(r->spans, &result);
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
		status = trace_and_tell(&r, pids);
	close_all(&r);
	free(pids);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* run: the agent. Traces this machine until it is ended; exports spans, serves what it knows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "core/clock.h"
#include "core/log.h"
#include "export/export.h"
#include "notify.h"
#include "serve.h"
#include "setup.h"

/* For what is queued for export when the agent ends. */
#define EXPORT_END_MS 5000

struct run {
	const struct config *config;
	struct recent *recent;
	struct exporter *exporter; /* NULL: no endpoint */
	struct serve *serve;
	struct pipe *pipe;
};

static void push_trace(void *ctx, const struct trace *t)
{
	recent_push(((struct run *)ctx)->recent, t);
}

static void push_span(void *ctx, const struct span *s)
{
	exporter_push(((struct run *)ctx)->exporter, s);
}

static int open_exporter(struct run *r)
{
	const struct config *c = r->config;
	const struct exporter_cfg cfg = {
		.kind = "otlp_http",
		.endpoints = &c->otlp_url,
		.endpoint_cnt = 1,
		.headers = c->otlp_headers,
		.gzip = c->otlp_compression == CONFIG_COMPRESSION_GZIP,
		.timeout_ms = (uint32_t)(c->otlp_timeout_ns / NS_PER_MS),
		.queue_bytes = (size_t)c->queue_size,
		.ca_file = c->otlp_certificate,
		.cert_file = c->otlp_client_certificate,
		.key_file = c->otlp_client_key,
	};
	char why[EXPORTER_WHY_MAX];
	int err = c->otlp_url ? exporter_new(&cfg, &r->exporter, why) : 0;

	if (err)
		fprintf(stderr, "telltale: cannot export to %s: %s\n", c->otlp_url, why);
	return err;
}

static int open_all(struct run *r)
{
	const struct config *c = r->config;
	struct pipe_cfg cfg;

	setup_pipe(c, &cfg);
	r->recent = recent_new((size_t)c->recent_traces);
	if (!r->recent)
		return -ENOMEM;
	if (open_exporter(r) || serve_new(c->listen, r->recent, &r->serve))
		return -EIO;
	cfg.traces = (struct trace_sink){ r, push_trace };
	if (r->exporter)
		cfg.spans[0] = (struct span_sink){ r, push_span };
	return pipe_new(&cfg, &r->pipe);
}

static void close_all(struct run *r)
{
	/* the sinks are the last to go */
	pipe_free(r->pipe);
	serve_free(r->serve);
	exporter_free(r->exporter, EXPORT_END_MS);
	recent_free(r->recent);
}

static void tell_ready(struct run *r, const struct agent *agent)
{
	const struct config *c = r->config;

	serve_attached(r->serve, agent);
	log_info("capturing by %s; metrics and status on http://%s; %s%s",
		 capture_names[probe_capture(agent_probe(agent))], c->listen,
		 c->otlp_url ? "spans go to " : "no endpoint for spans: the newest are kept",
		 c->otlp_url ? c->otlp_url : "");
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

/* SPDX-License-Identifier: Apache-2.0 */
/* The callbacks through which the HTTP server looks into the agent and the backend. */
#include "serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "core/clock.h"
#include "core/listen.h"

/* A loop that has not turned for so long hangs; it turns every 10 ms. */
#define STUCK_NS (10 * NS_PER_S)

struct serve {
	struct api *api;
	struct backend *backend;
	bool captures;
	const struct agent *agent; /* NULL until attached; read by the server's threads */
	uint64_t beat_ns;	   /* of a loop without an agent */
};

static const struct agent *attached_agent(void *ctx)
{
	return __atomic_load_n(&((struct serve *)ctx)->agent, __ATOMIC_ACQUIRE);
}

static const char *backend(void *ctx)
{
	const struct agent *a = attached_agent(ctx);

	return a ? capture_names[probe_capture(agent_probe(a))] : NULL;
}

static void probes(void *ctx, void (*row)(void *row_ctx, const struct api_probe *p), void *row_ctx)
{
	const struct agent *a = attached_agent(ctx);
	size_t cnt = 0;
	const struct probe_row *r = a ? probe_rows(agent_probe(a), &cnt) : NULL;

	for (size_t i = 0; i < cnt; i++)
		row(row_ctx, &(struct api_probe){ .program = r[i].program,
						  .group = r[i].group,
						  .loaded = r[i].loaded,
						  .attached = r[i].attached,
						  .reason = r[i].reason });
}

static void health(void *ctx, enum api_health kind,
		   void (*part)(void *part_ctx, const struct api_part *p), void *part_ctx)
{
	struct serve *s = ctx;
	const struct agent *a = attached_agent(ctx);
	uint64_t last_ns =
		a ? agent_last_pass_ns(a) : __atomic_load_n(&s->beat_ns, __ATOMIC_RELAXED);
	bool turns = !last_ns || clock_mono_ns() < last_ns + STUCK_NS;

	part(part_ctx,
	     &(struct api_part){ "loop", turns, turns ? "turns" : "has not turned in 10 s" });
	if (kind != API_READY)
		return;
	if (s->captures)
		part(part_ctx,
		     &(struct api_part){ "capture", a != NULL, a ? backend(ctx) : "attaching" });
	backend_health(s->backend, part, part_ctx);
}

static void metrics(void *ctx, bool openmetrics, struct buf *out)
{
	backend_metrics(((struct serve *)ctx)->backend, openmetrics, out);
}

/* ---- public ---- */

int serve_new(const char *listen, struct backend *b, const struct sourcing *sourcing, bool captures,
	      struct serve **ret_serve)
{
	struct serve *s = calloc(1, sizeof(*s));
	const struct api_cfg cfg = { .listen = listen,
				     .ctx = s,
				     .backend = captures ? backend : NULL,
				     .probes = captures ? probes : NULL,
				     .health = health,
				     .metrics = metrics,
				     .store = backend_store(b),
				     .sources = sourcing_api(sourcing),
				     .no_store = "nothing is kept: --store none" };
	int err = -ENOMEM;

	if (s) {
		s->backend = b;
		s->captures = captures;
		err = api_new(&cfg, &s->api);
	}
	if (err) {
		fprintf(stderr, "telltale: cannot listen on %s: %s%s\n", listen, strerror(-err),
			err == -EADDRINUSE ? "; is another one running? See --listen"
					   : listen_advice(err));
		free(s);
		return err;
	}
	backend_set_live(b, s->api);
	*ret_serve = s;
	return 0;
}

void serve_attached(struct serve *s, const struct agent *a)
{
	__atomic_store_n(&s->agent, a, __ATOMIC_RELEASE);
}

void serve_beat(struct serve *s, uint64_t now_ns)
{
	__atomic_store_n(&s->beat_ns, now_ns, __ATOMIC_RELAXED);
}

void serve_free(struct serve *s)
{
	if (!s)
		return;
	backend_set_live(s->backend, NULL);
	api_free(s->api);
	free(s);
}

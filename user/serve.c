/* SPDX-License-Identifier: Apache-2.0 */
/* The callbacks through which the HTTP server looks into the agent. */
#include "serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "core/clock.h"
#include "export/export.h"

/* Of copies of traces for one answer. */
#define RECENT_BYTES (64u << 20)
/* A loop that has not turned for so long hangs; it turns every 10 ms. */
#define STUCK_NS (10 * NS_PER_S)

struct serve {
	struct api *api;
	struct recent *recent;
	const struct agent *agent; /* NULL until attached; read by the server's thread */
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
	const struct agent *a = attached_agent(ctx);
	uint64_t last_ns = a ? agent_last_pass_ns(a) : 0;
	bool turns = !a || clock_mono_ns() < last_ns + STUCK_NS;

	part(part_ctx,
	     &(struct api_part){ "loop", turns, turns ? NULL : "has not turned in 10 s" });
	if (kind == API_READY)
		part(part_ctx,
		     &(struct api_part){ "capture", a != NULL, a ? backend(ctx) : "attaching" });
}

/* ---- the newest traces ---- */

struct copies {
	struct arena *mem;
	struct span **span;
	size_t cnt, size;
	bool full;
};

static bool grow(struct copies *c, size_t more)
{
	size_t size = MAX(c->size * 2, c->cnt + more);
	struct span **span;

	if (c->cnt + more <= c->size)
		return true;
	span = realloc(c->span, size * sizeof(struct span *));
	if (!span)
		return false;
	c->span = span;
	c->size = size;
	return true;
}

static void copy_trace(void *ctx, const struct trace *t)
{
	struct copies *c = ctx;

	if (!grow(c, t->span_cnt))
		c->full = true;
	for (uint32_t i = 0; i < t->span_cnt && !c->full; i++) {
		struct span *copy = span_copy(t->spans[i], c->mem);

		if (copy)
			c->span[c->cnt++] = copy;
		else
			c->full = true;
	}
}

/* Encoding is slow beside copying, so it is done outside of the room's lock. */
static int recent(void *ctx, uint32_t limit, struct buf *out)
{
	struct serve *s = ctx;
	struct copies c = { .mem = arena_new(RECENT_BYTES) };
	int err = -ENOMEM;

	if (!c.mem)
		return err;
	recent_each(s->recent, limit, copy_trace, &c);
	if (!c.full)
		err = otlp_encode_json((const struct span *const *)c.span, c.cnt, out);
	for (size_t i = 0; i < c.cnt; i++)
		span_release(c.span[i]);
	free(c.span);
	arena_free(c.mem);
	return err;
}

/* ---- public ---- */

int serve_new(const char *listen, struct recent *newest, struct serve **ret_serve)
{
	struct serve *s = calloc(1, sizeof(*s));
	const struct api_cfg cfg = { .listen = listen,
				     .ctx = s,
				     .backend = backend,
				     .probes = probes,
				     .health = health,
				     .recent = recent };
	int err = -ENOMEM;

	if (s) {
		s->recent = newest;
		err = api_new(&cfg, &s->api);
	}
	if (err) {
		fprintf(stderr, "telltale: cannot listen on %s: %s%s\n", listen, strerror(-err),
			err == -EADDRINUSE ? "; is another agent running? See --listen" : "");
		free(s);
		return err;
	}
	*ret_serve = s;
	return 0;
}

void serve_attached(struct serve *s, const struct agent *a)
{
	__atomic_store_n(&s->agent, a, __ATOMIC_RELEASE);
}

void serve_free(struct serve *s)
{
	if (!s)
		return;
	api_free(s->api);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /status and /health, in JSON. */
#include "api/internal.h"

#include "core/clock.h"
#include "core/json.h"

static void add_text(struct json *j, const char *key, const char *text)
{
	if (!text)
		return;
	json_member_str(j, key, str_of(text));
}

static void add_flag(struct json *j, const char *key, bool v)
{
	json_key(j, key);
	json_bool(j, v);
}

static void add_stages(struct json *j)
{
	struct ledger l;

	ledger_read(&l);
	json_key(j, "stages");
	json_open(j, '[');
	for (size_t i = 0; i < l.cnt; i++) {
		const struct books *b = &l.stage[i];

		json_open(j, '{');
		add_text(j, "stage", b->stage);
		add_text(j, "unit", b->unit);
		json_member_u64(j, "in", b->in);
		json_member_u64(j, "out", b->out);
		json_member_u64(j, "held", b->held);
		json_key(j, "dropped");
		json_open(j, '{');
		for (int k = 0; k < BOOKS_REASONS && b->reason[k]; k++)
			json_member_u64(j, b->reason[k], b->dropped[k]);
		json_close(j, '}');
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void add_gauge(void *ctx, const struct gauge *g, double value)
{
	struct json *j = ctx;

	json_key(j, g->name);
	json_double(j, value);
}

static void add_probe(void *ctx, const struct api_probe *p)
{
	struct json *j = ctx;

	json_open(j, '{');
	add_text(j, "program", p->program);
	add_text(j, "group", p->group);
	add_flag(j, "loaded", p->loaded);
	add_flag(j, "attached", p->attached);
	add_text(j, "reason", p->reason);
	json_close(j, '}');
}

void page_status(const struct api_cfg *cfg, struct buf *out)
{
	struct json j = { .out = out };
	struct self s;

	self_read(&s);
	json_open(&j, '{');
	add_text(&j, "version", TELLTALE_VERSION);
	json_key(&j, "uptime_seconds");
	json_double(&j, MAX(0.0, (double)(int64_t)((double)clock_real_ns() / NS_PER_MS -
						   s.start_s * 1e3) /
					 1e3));
	json_key(&j, "capture");
	json_open(&j, '{');
	add_text(&j, "backend", cfg->backend ? cfg->backend(cfg->ctx) : NULL);
	json_close(&j, '}');
	add_stages(&j);
	json_key(&j, "gauges");
	json_open(&j, '{');
	gauges_each(add_gauge, &j);
	json_close(&j, '}');
	json_key(&j, "probes");
	json_open(&j, '[');
	if (cfg->probes)
		cfg->probes(cfg->ctx, add_probe, &j);
	json_close(&j, ']');
	json_close(&j, '}');
	buf_add_char(out, '\n');
}

struct health {
	struct json j;
	bool ok;
};

static void add_part(void *ctx, const struct api_part *p)
{
	struct health *h = ctx;

	h->ok = h->ok && p->ok;
	json_open(&h->j, '{');
	add_text(&h->j, "name", p->name);
	add_flag(&h->j, "ok", p->ok);
	add_text(&h->j, "reason", p->reason);
	json_close(&h->j, '}');
}

bool page_health(const struct api_cfg *cfg, enum api_health kind, struct buf *out)
{
	struct health h = { .j = { .out = out }, .ok = true };

	json_open(&h.j, '{');
	json_key(&h.j, "parts");
	json_open(&h.j, '[');
	if (cfg->health)
		cfg->health(cfg->ctx, kind, add_part, &h);
	json_close(&h.j, ']');
	add_flag(&h.j, "ok", h.ok);
	json_close(&h.j, '}');
	buf_add_char(out, '\n');
	return h.ok;
}

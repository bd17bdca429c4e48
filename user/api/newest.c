/* SPDX-License-Identifier: Apache-2.0 */
/* What came last: /traces/recent, and /traces/live for what comes next. */
#include <errno.h>

#include "api/ask.h"
#include "api/live.h"
#include "export/export.h"

#define RECENT_DEFAULT 20
#define RECENT_MAX     SEARCH_LIMIT_MAX
#define SPANS_MAX      200000u

/* The newest traces' spans, for one request in OTLP. */
struct newest {
	struct trace *trace[RECENT_MAX];
	uint32_t cnt;
	size_t spans;
};

static bool keep_trace(void *ctx, const struct search_trace *found)
{
	struct newest *n = ctx;

	n->trace[n->cnt++] = trace_get(found->trace);
	n->spans += found->trace->span_cnt;
	return n->cnt < RECENT_MAX && n->spans < SPANS_MAX;
}

static int write_newest(struct call *c, const struct newest *n)
{
	const struct span **all = arena_alloc_raw(c->mem, (n->spans + 1) * sizeof(*all));
	size_t cnt = 0;

	if (!all)
		return -ENOMEM;
	for (uint32_t i = 0; i < n->cnt; i++)
		for (uint32_t k = 0; k < n->trace[i]->span_cnt; k++)
			all[cnt++] = n->trace[i]->spans[k];
	return otlp_encode_json(all, cnt, &c->page);
}

static void get_recent(struct call *c)
{
	struct newest *n = arena_alloc(c->mem, sizeof(*n));
	struct search q = { .limit = (uint32_t)arg_number(c, "limit", RECENT_DEFAULT),
			    .whole = true };
	struct search_end end;
	bool late;
	int err = n ? 0 : -ENOMEM;

	if (!err && !ask_search(c, &q, keep_trace, n, &end, &late))
		goto out;
	if (!err)
		err = write_newest(c, n);
	if (err)
		call_failed(c, err, "recent traces");
out:
	for (uint32_t i = 0; n && i < n->cnt; i++)
		trace_put(n->trace[i]);
}

static void get_live(struct call *c)
{
	struct live_filter f = { .min_duration_ns = arg_number(c, "min_duration", 0),
				 .errors = arg_number(c, "errors", 0) };
	struct str service = arg_text(c, "service");
	int err;

	if (!c->live) {
		call_error(c, 503, "nothing comes live here");
		return;
	}
	memcpy(f.service, service.p ? service.p : "", service.len);
	err = live_join(c->live, &f, &c->follow);
	if (err == -EAGAIN)
		call_error(c, 503, "%d follow already", LIVE_CLIENTS_MAX);
	else if (err)
		call_failed(c, err, "live traces");
	else
		c->type = "text/event-stream";
}

static const struct param recent_params[] = {
	{ "limit", PARAM_UINT, .min = 1, .max = RECENT_MAX },
};

static const struct param live_params[] = {
	{ "service", PARAM_TEXT, .min = 1, .max = 255 },
	{ .name = "min_duration", .type = PARAM_DURATION },
	{ .name = "errors", .type = PARAM_BOOL },
};

static const struct endpoint rows[] = {
	{ "GET", "/traces/recent", get_recent, .slow = true, .stored = true,
	  PARAMS(recent_params) },
	{ "GET", "/traces/live", get_live, PARAMS(live_params) },
};

const struct endpoints endpoints_newest = { rows, ARRAY_LEN(rows) };

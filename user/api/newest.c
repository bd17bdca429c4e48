/* SPDX-License-Identifier: Apache-2.0 */
/* What came last: /traces/recent, and /traces/live for what comes next. */
#include <errno.h>

#include "api/call.h"
#include "api/live.h"

static void get_recent(struct call *c)
{
	int err;

	if (!c->cfg->recent) {
		call_error(c, 503, "no traces are kept here");
		return;
	}
	err = c->cfg->recent(c->cfg->ctx, (uint32_t)arg_number(c, "limit", 20), &c->page);
	if (err)
		call_failed(c, err, "recent traces");
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
	{ "limit", PARAM_UINT, .min = 1, .max = 1000 },
};

static const struct param live_params[] = {
	{ "service", PARAM_TEXT, .min = 1, .max = 255 },
	{ .name = "min_duration", .type = PARAM_DURATION },
	{ .name = "errors", .type = PARAM_BOOL },
};

static const struct endpoint rows[] = {
	{ "GET", "/traces/recent", get_recent, .slow = true, PARAMS(recent_params) },
	{ "GET", "/traces/live", get_live, PARAMS(live_params) },
};

const struct endpoints endpoints_newest = { rows, ARRAY_LEN(rows) };

/* SPDX-License-Identifier: Apache-2.0 */
/* Pages about this process: /metrics, /status, /health, and /openapi.json about the server. */
#include "api/call.h"
#include "api/internal.h"

#define TYPE_METRICS	 "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* The file beside this one, in the program. */
__asm__(".pushsection .rodata\n"
	".global openapi_text\n"
	"openapi_text:\n"
	".incbin \"user/api/openapi.json\"\n"
	"openapi_text_end:\n"
	".balign 8\n"
	".global openapi_size\n"
	"openapi_size:\n"
	".quad openapi_text_end - openapi_text\n"
	".popsection\n");
extern const char openapi_text[];
extern const uint64_t openapi_size;

static void get_metrics(struct call *c)
{
	bool openmetrics = accept_openmetrics(c->req.accept);

	c->type = openmetrics ? TYPE_OPENMETRICS : TYPE_METRICS;
	page_metrics(c->cfg, &c->page, openmetrics);
}

static void get_status(struct call *c)
{
	page_status(c->cfg, &c->page);
}

static void get_live(struct call *c)
{
	if (!page_health(c->cfg, API_LIVE, &c->page))
		c->status = 503;
}

static void get_ready(struct call *c)
{
	if (!page_health(c->cfg, API_READY, &c->page))
		c->status = 503;
}

static void get_openapi(struct call *c)
{
	buf_add(&c->page, openapi_text, openapi_size);
}

#define PAGE(at, function)                                          \
	{                                                           \
		.method = "GET", .path = (at), .answer = (function) \
	}

static const struct endpoint rows[] = {
	PAGE("/metrics", get_metrics),	    PAGE("/status", get_status),
	PAGE("/health/live", get_live),	    PAGE("/health/ready", get_ready),
	PAGE("/openapi.json", get_openapi),
};

const struct endpoints endpoints_self = { rows, ARRAY_LEN(rows) };

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics: the Prometheus text format 0.0.4, or OpenMetrics 1.0, where a counter's family is
 * named without its _total and the page ends with # EOF.
 */
#include "api/internal.h"

#include <math.h>
#include <stdlib.h>

#include "core/json.h"

#define NAMES_MAX 256

struct page {
	struct buf *out;
	bool openmetrics;
	const char *name[NAMES_MAX]; /* a family may stand on a page only once */
	size_t names;
};

static const struct str total = { "_total", 6 };

/* Label values and help lines have the same escapes, but for the quote. */
static void add_escaped(struct buf *out, const char *s, bool quote)
{
	for (; *s; s++) {
		if (*s == '\\' || (quote && *s == '"'))
			buf_add_char(out, '\\');
		if (*s == '\n')
			buf_add(out, "\\n", 2);
		else
			buf_add_char(out, *s);
	}
}

/* False when that family is on the page already. */
static bool open_family(struct page *p, const char *name, const char *type, const char *help)
{
	struct str family = str_of(name);

	for (size_t i = 0; i < p->names; i++)
		if (!strcmp(p->name[i], name))
			return false;
	if (p->names == NAMES_MAX)
		return false;
	p->name[p->names++] = name;
	/* OpenMetrics wants every counter's sample to end in _total. */
	if (p->openmetrics && !strcmp(type, "counter")) {
		if (str_ends(family, total))
			family.len -= total.len;
		else
			type = "unknown";
	}
	buf_printf(p->out, "# HELP telltale_" STR_FMT " ", STR_ARG(family));
	add_escaped(p->out, help, false);
	buf_printf(p->out, "\n# TYPE telltale_" STR_FMT " %s\n", STR_ARG(family), type);
	return true;
}

static void add_number(struct buf *out, double v)
{
	struct json j = { .out = out };

	if (isnan(v))
		buf_add_str(out, STR("NaN"));
	else if (isinf(v))
		buf_add_str(out, v > 0 ? STR("+Inf") : STR("-Inf"));
	else
		json_double(&j, v);
}

static void add_single(struct page *p, const char *name, const char *type, const char *help,
		       double v)
{
	if (!open_family(p, name, type, help))
		return;
	buf_printf(p->out, "telltale_%s ", name);
	add_number(p->out, v);
	buf_add_char(p->out, '\n');
}

static void add_gauge(void *ctx, const struct gauge *g, double value)
{
	add_single(ctx, g->name, g->type, g->help, value);
}

static void add_record(struct buf *out, const struct books *b, const char *prefix,
		       const char *outcome, uint64_t v)
{
	buf_add_str(out, STR("telltale_records_total{stage=\""));
	add_escaped(out, b->stage, true);
	buf_add_str(out, STR("\",unit=\""));
	add_escaped(out, b->unit, true);
	buf_printf(out, "\",outcome=\"%s", prefix);
	add_escaped(out, outcome, true);
	buf_printf(out, "\"} %llu\n", (unsigned long long)v);
}

static void add_books(struct page *p)
{
	struct ledger l;

	open_family(p, "records_total", "counter",
		    "What came into each stage and became of it: in = out + held + dropped.");
	ledger_read(&l);
	for (size_t i = 0; i < l.cnt; i++) {
		const struct books *b = &l.stage[i];

		add_record(p->out, b, "", "in", b->in);
		add_record(p->out, b, "", "out", b->out);
		add_record(p->out, b, "", "held", b->held);
		for (int k = 0; k < BOOKS_REASONS && b->reason[k]; k++)
			add_record(p->out, b, "dropped_", b->reason[k], b->dropped[k]);
	}
}

static void add_self(struct page *p)
{
	struct self s;

	self_read(&s);
	add_single(p, "process_cpu_seconds_total", "counter",
		   "Processor time of the agent, user and system.", s.cpu_s);
	add_single(p, "process_resident_memory_bytes", "gauge",
		   "Memory of the agent that is resident.", s.rss_bytes);
	add_single(p, "process_start_time_seconds", "gauge", "When the agent started, Unix time.",
		   s.start_s);
	add_single(p, "process_open_fds", "gauge", "File descriptors the agent has open.",
		   s.open_fds);
}

void page_metrics(const struct api_cfg *cfg, struct buf *out, bool openmetrics)
{
	struct page p = { .out = out, .openmetrics = openmetrics };

	if (open_family(&p, openmetrics ? "build" : "build_info", openmetrics ? "info" : "gauge",
			"The version that runs."))
		buf_add_str(out, STR("telltale_build_info{version=\"" TELLTALE_VERSION "\"} 1\n"));
	add_books(&p);
	gauges_each(add_gauge, &p);
	add_self(&p);
	if (cfg->metrics)
		cfg->metrics(cfg->ctx, openmetrics, out);
	if (openmetrics)
		buf_add_str(out, STR("# EOF\n"));
}

/* ---- content negotiation (RFC 9110, section 12.5.1) ---- */

/* The weight of one element of Accept; 1 where there is none. */
static double weight_of(struct str element)
{
	while (element.len) {
		ptrdiff_t semicolon = str_find(element, ';');
		struct str param = { element.p, semicolon < 0 ? element.len : (size_t)semicolon };

		element = str_from(element, param.len + 1);
		param = str_trim(param);
		if (param.len > 2 && param.len < 8 &&
		    str_eq_nocase((struct str){ param.p, 2 }, STR("q="))) {
			char text[8] = "";
			memcpy(text, param.p + 2, param.len - 2);
			return strtod(text, NULL);
		}
	}
	return 1;
}

bool accept_openmetrics(struct str left)
{
	double open = 0, text = 0;

	while (left.len) {
		ptrdiff_t comma = str_find(left, ',');
		struct str element = { left.p, comma < 0 ? left.len : (size_t)comma };
		ptrdiff_t semicolon = str_find(element, ';');
		struct str type = str_trim(
			(struct str){ element.p, semicolon < 0 ? element.len : (size_t)semicolon });

		left = str_from(left, element.len + 1);
		if (str_eq_nocase(type, STR("application/openmetrics-text")))
			open = MAX(open, weight_of(element));
		else if (str_eq_nocase(type, STR("text/plain")))
			text = MAX(text, weight_of(element));
	}
	return open > 0 && open >= text;
}

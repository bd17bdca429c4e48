/* SPDX-License-Identifier: Apache-2.0 */
/* The figures as Prometheus text (exposition format 0.0.4) or OpenMetrics 1.0. */
#include "analyze/internal.h"

static const char *const connections[] = { "", "virtual_node", "database", "messaging_system" };

struct text {
	struct buf *out;
	bool openmetrics;
};

static void family(const struct text *t, const char *name, const char *type, const char *help)
{
	size_t len = strlen(name);
	bool total = t->openmetrics && len > 6 && !strcmp(name + len - 6, "_total");
	/* OpenMetrics names a counter's family without the ending */
	int shown = (int)(total ? len - 6 : len);

	buf_printf(t->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", shown, name, help, shown, name,
		   type);
}

void label_write(struct buf *out, const char *name, struct str value, const char *before)
{
	buf_printf(out, "%s%s=\"", before, name);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.p[i];

		if (c == '\\' || c == '"')
			buf_add_char(out, '\\');
		if (c == '\n')
			buf_add_str(out, STR("\\n"));
		else
			buf_add_char(out, c);
	}
	buf_add_char(out, '"');
}

static void label(const struct text *t, const char *name, const char *value, const char *before)
{
	label_write(t->out, name, str_of(value), before);
}

static void operation_labels(const struct text *t, const void *row)
{
	const struct series *s = row;

	label(t, "service", s->service, "{");
	label(t, "span_name", s->name, ",");
	label(t, "span_kind", span_kind_otlp(s->kind), ",");
	label(t, "status_code", span_status_otlp(s->status), ",");
}

static void edge_labels(const struct text *t, const void *row)
{
	const struct edge *e = row;

	label(t, "client", e->client, "{");
	label(t, "server", e->server, ",");
	label(t, "connection_type", connections[e->connection], ",");
}

typedef void (*labels_fn)(const struct text *t, const void *row);

static void counter(const struct text *t, const char *name, labels_fn labels, const void *row,
		    double value)
{
	buf_add_str(t->out, str_of(name));
	labels(t, row);
	buf_printf(t->out, "} %.15g\n", value);
}

static void exemplar(const struct text *t, const struct exemplar *e)
{
	char trace[33], span[17];

	if (!t->openmetrics || !trace_id_is_set(&e->trace_id))
		return;
	trace_id_hex(&e->trace_id, trace);
	span_id_hex(&e->span_id, span);
	buf_printf(t->out, " # {trace_id=\"%s\"", trace);
	if (span_id_is_set(&e->span_id))
		buf_printf(t->out, ",span_id=\"%s\"", span);
	buf_printf(t->out, "} %.9g", e->value);
	if (e->time_ns)
		buf_printf(t->out, " %.3f", (double)e->time_ns / 1e9);
}

static void histogram(const struct text *t, const char *name, labels_fn labels, const void *row,
		      const struct histogram *h)
{
	double sum = 0;

	for (int i = 0; i < BUCKETS; i++)
		sum += h->bucket[i];
	if (sum == 0)
		return;
	sum = 0;
	for (int i = 0; i < BUCKETS; i++) {
		sum += h->bucket[i];
		buf_printf(t->out, "%s_bucket", name);
		labels(t, row);
		if (i < BOUNDS)
			buf_printf(t->out, ",le=\"%g\"} %.15g", analyze_bounds[i], sum);
		else
			buf_printf(t->out, ",le=\"+Inf\"} %.15g", sum);
		exemplar(t, &h->exemplar[i]);
		buf_add_char(t->out, '\n');
	}
	buf_printf(t->out, "%s_sum", name);
	labels(t, row);
	buf_printf(t->out, "} %.15g\n%s_count", h->sum_s, name);
	labels(t, row);
	buf_printf(t->out, "} %.15g\n", sum);
}

static void write_operations(const struct analyze *a, const struct text *t)
{
	static const char calls[] = "traces_spanmetrics_calls_total";
	static const char size[] = "traces_spanmetrics_size_total";
	static const char latency[] = "traces_spanmetrics_latency";

	family(t, calls, "counter", "Spans of an operation.");
	for (uint32_t i = 0; i < a->series.cnt; i++)
		counter(t, calls, operation_labels, a->series.row[i],
			((struct series *)a->series.row[i])->calls);
	if (a->other->calls > 0)
		counter(t, calls, operation_labels, a->other, a->other->calls);
	family(t, size, "counter", "Bytes of an operation's spans as OTLP.");
	for (uint32_t i = 0; i < a->series.cnt; i++)
		counter(t, size, operation_labels, a->series.row[i],
			((struct series *)a->series.row[i])->bytes);
	if (a->other->calls > 0)
		counter(t, size, operation_labels, a->other, a->other->bytes);
	family(t, latency, "histogram", "Durations of an operation's spans, seconds.");
	for (uint32_t i = 0; i < a->series.cnt; i++)
		histogram(t, latency, operation_labels, a->series.row[i],
			  &((struct series *)a->series.row[i])->latency);
	histogram(t, latency, operation_labels, a->other, &a->other->latency);
}

/* A figure of every pair of services. */
static void write_pairs(const struct analyze *a, const struct text *t, const char *name,
			const char *help, double (*value)(const struct edge *e))
{
	family(t, name, "counter", help);
	for (uint32_t i = 0; i < a->edges.cnt; i++)
		counter(t, name, edge_labels, a->edges.row[i],
			value((struct edge *)a->edges.row[i]));
	if (a->other_edge->calls > 0)
		counter(t, name, edge_labels, a->other_edge, value(a->other_edge));
}

static double calls_of(const struct edge *e)
{
	return e->calls;
}

static double failed_of(const struct edge *e)
{
	return e->failed;
}

static void write_durations(const struct analyze *a, const struct text *t, const char *name,
			    const char *help, size_t offset)
{
	family(t, name, "histogram", help);
	for (uint32_t i = 0; i <= a->edges.cnt; i++) {
		const char *row =
			(const char *)(i < a->edges.cnt ? a->edges.row[i] : &a->other_edge->row);

		histogram(t, name, edge_labels, row, (const struct histogram *)(row + offset));
	}
}

static void write_graph(const struct analyze *a, const struct text *t)
{
	static const char unpaired[] = "traces_service_graph_unpaired_spans_total";
	static const char dropped[] = "traces_service_graph_dropped_spans_total";

	write_pairs(a, t, "traces_service_graph_request_total", "Calls of one service to another.",
		    calls_of);
	write_pairs(a, t, "traces_service_graph_request_failed_total", "Those that failed.",
		    failed_of);
	write_durations(a, t, "traces_service_graph_request_server_seconds",
			"Their durations as the server saw them.",
			offsetof(struct edge, seen_by_server));
	write_durations(a, t, "traces_service_graph_request_client_seconds",
			"Their durations as the client saw them.",
			offsetof(struct edge, seen_by_client));
	family(t, unpaired, "counter", "Spans whose other end never came.");
	for (uint32_t i = 0; i < a->unpaired.cnt; i++) {
		const struct unpaired *u = (const struct unpaired *)a->unpaired.row[i];

		buf_add_str(t->out, str_of(unpaired));
		label(t, "client", u->client, "{");
		label(t, "server", u->server, ",");
		buf_printf(t->out, "} %.15g\n", u->spans);
	}
	family(t, dropped, "counter", "Spans that could not wait for their other end.");
	buf_printf(t->out, "%s %.15g\n", dropped, a->dropped);
}

static void write_targets(const struct analyze *a, const struct text *t)
{
	/* OpenMetrics names an info's family without the ending */
	const char *name = t->openmetrics ? "traces_target" : "traces_target_info";

	family(t, name, t->openmetrics ? "info" : "gauge", "Attributes of those who send spans.");
	for (uint32_t i = 0; i < a->targets.cnt; i++) {
		const struct target *target = (const struct target *)a->targets.row[i];

		if (!target->twin && target->labels)
			buf_printf(t->out, "traces_target_info%s 1\n", target->labels);
	}
}

void analyze_write(struct analyze *a, bool openmetrics, struct buf *out)
{
	const struct text t = { out, openmetrics };

	pthread_mutex_lock(&a->lock);
	write_operations(a, &t);
	write_graph(a, &t);
	write_targets(a, &t);
	pthread_mutex_unlock(&a->lock);
}

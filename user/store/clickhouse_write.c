/* SPDX-License-Identifier: Apache-2.0 */
/* Spans as rows of otel_traces, in the format RowBinary. */
#include "store/clickhouse.h"

#include <errno.h>

/* In the order of row_write(). Rows begin and end with a word: where data stands inline in a query
 * white space at its ends may go. */
const char ch_insert[] =
	"INSERT INTO otel_traces (StatusCode, Timestamp, TraceId, SpanId, ParentSpanId, TraceState,"
	" SpanName, ServiceName, ResourceAttributes, ScopeName, ScopeVersion, SpanAttributes,"
	" Duration, StatusMessage, Events.Timestamp, Events.Name, Events.Attributes, Links.TraceId,"
	" Links.SpanId, Links.TraceState, Links.Attributes, SpanKind) FORMAT RowBinary";

static const char *const kind_names[] = { "Unspecified", "Internal", "Server",
					  "Client",	 "Producer", "Consumer" };
static const char *const status_names[] = { "Unset", "Ok", "Error" };

/* ---- parts of the format; failures stay in out->failed
 * ------------------------------------------- */

/* DateTime64(9) ends in the year 2262. */
static void write_time(struct buf *out, uint64_t ns)
{
	put_u64(out, MIN(ns, (uint64_t)INT64_MAX));
}

static void write_trace_id(struct buf *out, const struct trace_id *id)
{
	char hex[33];

	trace_id_hex(id, hex);
	put_text(out, trace_id_is_set(id) ? (struct str){ hex, 32 } : STR(""));
}

static void write_span_id(struct buf *out, const struct span_id *id)
{
	char hex[17];

	span_id_hex(id, hex);
	put_text(out, span_id_is_set(id) ? (struct str){ hex, 16 } : STR(""));
}

/* ---- attributes -------------------------------------------------------------------------------
 */

/* Does reading have to be told the type? */
static bool is_odd(const struct attr *a, struct str text)
{
	return value_guess(a->key, text) != a->value.type;
}

static bool is_ours(struct str key)
{
	return str_eq(key, STR(CH_TYPES_KEY));
}

/* A Map; keys that come twice do there, too. */
static void write_attrs(struct buf *out, const struct attrs *a)
{
	struct buf text = { 0 }, types = { 0 };
	uint32_t cnt = 0, odd = 0;

	for (uint32_t i = 0; i < a->cnt; i++)
		cnt += !is_ours(a->item[i].key);
	for (uint32_t i = 0; i < a->cnt; i++) {
		const struct attr *at = &a->item[i];

		if (is_ours(at->key))
			continue;
		buf_clear(&text);
		out->failed |= value_write(&text, &at->value) != 0;
		if (is_odd(at, buf_str(&text))) {
			buf_printf(&types, "%c%zu:", type_letter(at->value.type), at->key.len);
			buf_add_str(&types, at->key);
			odd++;
		}
	}
	put_varint(out, cnt + (odd > 0));
	for (uint32_t i = 0; i < a->cnt; i++) {
		if (is_ours(a->item[i].key))
			continue;
		buf_clear(&text);
		value_write(&text, &a->item[i].value);
		put_text(out, a->item[i].key);
		put_text(out, buf_str(&text));
	}
	if (odd) {
		put_text(out, STR(CH_TYPES_KEY));
		put_text(out, buf_str(&types));
	}
	out->failed |= types.failed;
	buf_fini(&text);
	buf_fini(&types);
}

static void write_resource(struct ch_writer *w, struct resource *r, struct buf *out)
{
	if (w->resource != r) {
		resource_put(w->resource);
		w->resource = resource_get(r);
		buf_clear(&w->resource_text);
		write_attrs(&w->resource_text, &r->attrs);
	}
	buf_add_str(out, buf_str(&w->resource_text));
	out->failed |= w->resource_text.failed;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static void write_events(struct buf *out, const struct span *s)
{
	put_varint(out, s->event_cnt);
	for (uint32_t i = 0; i < s->event_cnt; i++)
		write_time(out, s->events[i].time_ns);
	put_varint(out, s->event_cnt);
	for (uint32_t i = 0; i < s->event_cnt; i++)
		put_text(out, s->events[i].name);
	put_varint(out, s->event_cnt);
	for (uint32_t i = 0; i < s->event_cnt; i++)
		write_attrs(out, &s->events[i].attrs);
}

static void write_links(struct buf *out, const struct span *s)
{
	put_varint(out, s->link_cnt);
	for (uint32_t i = 0; i < s->link_cnt; i++)
		write_trace_id(out, &s->links[i].trace_id);
	put_varint(out, s->link_cnt);
	for (uint32_t i = 0; i < s->link_cnt; i++)
		write_span_id(out, &s->links[i].span_id);
	put_varint(out, s->link_cnt);
	for (uint32_t i = 0; i < s->link_cnt; i++)
		put_text(out, s->links[i].trace_state);
	put_varint(out, s->link_cnt);
	for (uint32_t i = 0; i < s->link_cnt; i++)
		write_attrs(out, &s->links[i].attrs);
}

int row_write(struct ch_writer *w, const struct span *s, struct buf *out)
{
	unsigned int kind = s->kind, status = s->status;

	put_text(out, str_of(status_names[status < ARRAY_LEN(status_names) ? status : 0]));
	write_time(out, s->start_ns);
	write_trace_id(out, &s->trace_id);
	write_span_id(out, &s->span_id);
	write_span_id(out, &s->parent_id);
	put_text(out, s->trace_state);
	put_text(out, s->name);
	put_text(out, s->resource->service);
	write_resource(w, s->resource, out);
	put_text(out, s->scope->name);
	put_text(out, s->scope->version);
	write_attrs(out, &s->attrs);
	write_time(out, s->end_ns - s->start_ns);
	put_text(out, s->status_message);
	write_events(out, s);
	write_links(out, s);
	put_text(out, str_of(kind_names[kind < ARRAY_LEN(kind_names) ? kind : 0]));
	return out->failed ? -ENOMEM : 0;
}

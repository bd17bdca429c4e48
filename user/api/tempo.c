/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace as Tempo gives it in JSON: OTLP by protobuf's own JSON mapping, so ids are base64 and
 * enums are names, unlike OTLP/JSON. What is zero or empty is left out.
 */
#include "api/shape.h"

static void add_id(struct json *j, const char *key, const uint8_t *id, size_t len)
{
	json_key(j, key);
	json_base64(j, (struct str){ (const char *)id, len });
}

static void add_events(struct json *j, const struct span *s)
{
	if (s->event_cnt) {
		json_key(j, "events");
		json_open(j, '[');
		for (uint32_t i = 0; i < s->event_cnt; i++) {
			json_open(j, '{');
			json_member_u64_str(j, "timeUnixNano", s->events[i].time_ns);
			json_opt_str(j, "name", s->events[i].name);
			attrs_json_otlp(j, &s->events[i].attrs);
			json_close(j, '}');
		}
		json_close(j, ']');
	}
	json_opt_u64(j, "droppedEventsCount", s->dropped_events);
}

static void add_links(struct json *j, const struct span *s)
{
	if (s->link_cnt) {
		json_key(j, "links");
		json_open(j, '[');
		for (uint32_t i = 0; i < s->link_cnt; i++) {
			const struct span_link *l = &s->links[i];

			json_open(j, '{');
			add_id(j, "traceId", l->trace_id.b, sizeof(l->trace_id.b));
			add_id(j, "spanId", l->span_id.b, sizeof(l->span_id.b));
			json_opt_str(j, "traceState", l->trace_state);
			attrs_json_otlp(j, &l->attrs);
			json_opt_u64(j, "flags", l->flags);
			json_close(j, '}');
		}
		json_close(j, ']');
	}
	json_opt_u64(j, "droppedLinksCount", s->dropped_links);
}

static void add_span(struct json *j, const struct span *s)
{
	json_open(j, '{');
	add_id(j, "traceId", s->trace_id.b, sizeof(s->trace_id.b));
	add_id(j, "spanId", s->span_id.b, sizeof(s->span_id.b));
	json_opt_str(j, "traceState", s->trace_state);
	if (span_id_is_set(&s->parent_id))
		add_id(j, "parentSpanId", s->parent_id.b, sizeof(s->parent_id.b));
	json_opt_str(j, "name", s->name);
	if (s->kind)
		json_opt_str(j, "kind", str_of(span_kind_otlp(s->kind)));
	json_member_u64_str(j, "startTimeUnixNano", s->start_ns);
	json_member_u64_str(j, "endTimeUnixNano", s->end_ns);
	attrs_json_otlp(j, &s->attrs);
	add_events(j, s);
	add_links(j, s);
	json_key(j, "status");
	json_open(j, '{');
	json_opt_str(j, "message", s->status_message);
	if (s->status)
		json_opt_str(j, "code", str_of(span_status_otlp(s->status)));
	json_close(j, '}');
	json_opt_u64(j, "flags", s->flags);
	json_close(j, '}');
}

/* The spans from 'at' that share resource and scope. Returns where they end. */
static uint32_t add_scope(struct json *j, const struct trace *t, uint32_t at)
{
	const struct span *first = t->spans[at];

	json_open(j, '{');
	json_key(j, "scope");
	json_open(j, '{');
	json_opt_str(j, "name", first->scope->name);
	json_opt_str(j, "version", first->scope->version);
	attrs_json_otlp(j, &first->scope->attrs);
	json_close(j, '}');
	json_key(j, "spans");
	json_open(j, '[');
	for (; at < t->span_cnt && t->spans[at]->resource == first->resource &&
	       t->spans[at]->scope == first->scope;
	     at++)
		add_span(j, t->spans[at]);
	json_close(j, ']');
	json_opt_str(j, "schemaUrl", first->scope->schema_url);
	json_close(j, '}');
	return at;
}

void tempo_trace(struct json *j, const char *key, const struct trace *t)
{
	uint32_t at = 0;

	json_open(j, '{');
	json_key(j, key);
	json_open(j, '[');
	while (at < t->span_cnt) {
		const struct resource *r = t->spans[at]->resource;

		json_open(j, '{');
		json_key(j, "resource");
		json_open(j, '{');
		attrs_json_otlp(j, &r->attrs);
		json_close(j, '}');
		json_key(j, "scopeSpans");
		json_open(j, '[');
		while (at < t->span_cnt && t->spans[at]->resource == r)
			at = add_scope(j, t, at);
		json_close(j, ']');
		json_opt_str(j, "schemaUrl", r->schema_url);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace as Tempo gives it in JSON: OTLP by protobuf's own JSON mapping, so ids are base64 and
 * enums are names, unlike OTLP/JSON. What is zero or empty is left out.
 */
#include "api/shape.h"

static void add_values(struct json *j, const struct value *v, int depth);

static void add_value(struct json *j, const struct value *v, int depth)
{
	json_open(j, '{');
	switch (depth <= VALUE_DEPTH_MAX ? v->type : VALUE_EMPTY) {
	case VALUE_STR:
		json_key(j, "stringValue");
		json_str(j, v->str);
		break;
	case VALUE_BOOL:
		json_key(j, "boolValue");
		json_bool(j, v->b);
		break;
	case VALUE_INT:
		json_key(j, "intValue");
		json_i64_str(j, v->i);
		break;
	case VALUE_DOUBLE:
		json_key(j, "doubleValue");
		json_double(j, v->d);
		break;
	case VALUE_BYTES:
		json_key(j, "bytesValue");
		json_base64(j, v->str);
		break;
	case VALUE_ARRAY:
	case VALUE_KVLIST: add_values(j, v, depth); break;
	case VALUE_EMPTY: break;
	}
	json_close(j, '}');
}

static void add_pair(struct json *j, const struct attr *a, int depth)
{
	json_open(j, '{');
	json_key(j, "key");
	json_str(j, a->key);
	json_key(j, "value");
	add_value(j, &a->value, depth);
	json_close(j, '}');
}

static void add_values(struct json *j, const struct value *v, int depth)
{
	bool list = v->type == VALUE_ARRAY;
	size_t cnt = list ? v->array.cnt : v->kvlist.cnt;

	json_key(j, list ? "arrayValue" : "kvlistValue");
	json_open(j, '{');
	json_key(j, "values");
	json_open(j, '[');
	for (size_t i = 0; i < cnt; i++) {
		if (list)
			add_value(j, &v->array.item[i], depth + 1);
		else
			add_pair(j, &v->kvlist.item[i], depth + 1);
	}
	json_close(j, ']');
	json_close(j, '}');
}

void tempo_value(struct json *j, const struct value *v)
{
	add_value(j, v, 0);
}

/* ---- fields that are left out when unset ---- */

static void add_text(struct json *j, const char *key, struct str s)
{
	if (!s.len)
		return;
	json_key(j, key);
	json_str(j, s);
}

static void add_u32(struct json *j, const char *key, uint32_t v)
{
	if (!v)
		return;
	json_key(j, key);
	json_u64(j, v);
}

static void add_time(struct json *j, const char *key, uint64_t ns)
{
	json_key(j, key);
	json_u64_str(j, ns);
}

static void add_id(struct json *j, const char *key, const uint8_t *id, size_t len)
{
	json_key(j, key);
	json_base64(j, (struct str){ (const char *)id, len });
}

static void add_attrs(struct json *j, const struct attrs *a)
{
	if (a->cnt) {
		json_key(j, "attributes");
		json_open(j, '[');
		for (uint32_t i = 0; i < a->cnt; i++)
			add_pair(j, &a->item[i], 0);
		json_close(j, ']');
	}
	add_u32(j, "droppedAttributesCount", a->dropped);
}

/* ---- spans ---- */

static void add_events(struct json *j, const struct span *s)
{
	if (s->event_cnt) {
		json_key(j, "events");
		json_open(j, '[');
		for (uint32_t i = 0; i < s->event_cnt; i++) {
			json_open(j, '{');
			add_time(j, "timeUnixNano", s->events[i].time_ns);
			add_text(j, "name", s->events[i].name);
			add_attrs(j, &s->events[i].attrs);
			json_close(j, '}');
		}
		json_close(j, ']');
	}
	add_u32(j, "droppedEventsCount", s->dropped_events);
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
			add_text(j, "traceState", l->trace_state);
			add_attrs(j, &l->attrs);
			add_u32(j, "flags", l->flags);
			json_close(j, '}');
		}
		json_close(j, ']');
	}
	add_u32(j, "droppedLinksCount", s->dropped_links);
}

static void add_span(struct json *j, const struct span *s)
{
	json_open(j, '{');
	add_id(j, "traceId", s->trace_id.b, sizeof(s->trace_id.b));
	add_id(j, "spanId", s->span_id.b, sizeof(s->span_id.b));
	add_text(j, "traceState", s->trace_state);
	if (span_id_is_set(&s->parent_id))
		add_id(j, "parentSpanId", s->parent_id.b, sizeof(s->parent_id.b));
	add_text(j, "name", s->name);
	if (s->kind)
		add_text(j, "kind", str_of(span_kind_otlp(s->kind)));
	add_time(j, "startTimeUnixNano", s->start_ns);
	add_time(j, "endTimeUnixNano", s->end_ns);
	add_attrs(j, &s->attrs);
	add_events(j, s);
	add_links(j, s);
	json_key(j, "status");
	json_open(j, '{');
	add_text(j, "message", s->status_message);
	if (s->status)
		add_text(j, "code", str_of(span_status_otlp(s->status)));
	json_close(j, '}');
	add_u32(j, "flags", s->flags);
	json_close(j, '}');
}

/* The spans from 'at' that share resource and scope. Returns where they end. */
static uint32_t add_scope(struct json *j, const struct trace *t, uint32_t at)
{
	const struct span *first = t->spans[at];

	json_open(j, '{');
	json_key(j, "scope");
	json_open(j, '{');
	add_text(j, "name", first->scope->name);
	add_text(j, "version", first->scope->version);
	add_attrs(j, &first->scope->attrs);
	json_close(j, '}');
	json_key(j, "spans");
	json_open(j, '[');
	for (; at < t->span_cnt && t->spans[at]->resource == first->resource &&
	       t->spans[at]->scope == first->scope;
	     at++)
		add_span(j, t->spans[at]);
	json_close(j, ']');
	add_text(j, "schemaUrl", first->scope->schema_url);
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
		add_attrs(j, &r->attrs);
		json_close(j, '}');
		json_key(j, "scopeSpans");
		json_open(j, '[');
		while (at < t->span_cnt && t->spans[at]->resource == r)
			at = add_scope(j, t, at);
		json_close(j, ']');
		add_text(j, "schemaUrl", r->schema_url);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Spans, scopes and resources as OTLP has them in JSON. What is zero, empty or unset is left out.
 */
#include "core/json.h"
#include "span/span.h"

/* ---- where the two forms differ ---- */

static void add_id(struct json *j, const char *key, const uint8_t *id, size_t len,
		   enum span_json form)
{
	json_key(j, key);
	if (form == SPAN_JSON_PROTOBUF)
		json_base64(j, (struct str){ (const char *)id, len });
	else
		json_hex(j, id, len);
}

static void add_enum(struct json *j, const char *key, uint32_t number, const char *name,
		     enum span_json form)
{
	if (form == SPAN_JSON_PROTOBUF && number)
		json_member_str(j, key, str_of(name));
	else
		json_opt_u64(j, key, number);
}

static void add_trace_id(struct json *j, const struct trace_id *id, enum span_json form)
{
	if (trace_id_is_set(id))
		add_id(j, "traceId", id->b, sizeof(id->b), form);
}

static void add_span_id(struct json *j, const char *key, const struct span_id *id,
			enum span_json form)
{
	if (span_id_is_set(id))
		add_id(j, key, id->b, sizeof(id->b), form);
}

/* ---- spans ---- */

static void add_events(struct json *j, const struct span *s)
{
	if (s->event_cnt) {
		json_key(j, "events");
		json_open(j, '[');
		for (uint32_t i = 0; i < s->event_cnt; i++) {
			json_open(j, '{');
			json_member_u64_str(j, "timeUnixNano", s->events[i].time_ns);
			json_member_str(j, "name", s->events[i].name);
			attrs_json_otlp(j, &s->events[i].attrs);
			json_close(j, '}');
		}
		json_close(j, ']');
	}
	json_opt_u64(j, "droppedEventsCount", s->dropped_events);
}

static void add_links(struct json *j, const struct span *s, enum span_json form)
{
	if (s->link_cnt) {
		json_key(j, "links");
		json_open(j, '[');
		for (uint32_t i = 0; i < s->link_cnt; i++) {
			const struct span_link *l = &s->links[i];

			json_open(j, '{');
			add_trace_id(j, &l->trace_id, form);
			add_span_id(j, "spanId", &l->span_id, form);
			json_opt_str(j, "traceState", l->trace_state);
			attrs_json_otlp(j, &l->attrs);
			json_opt_u64(j, "flags", l->flags);
			json_close(j, '}');
		}
		json_close(j, ']');
	}
	json_opt_u64(j, "droppedLinksCount", s->dropped_links);
}

/* Tempo's own replies have it also when it is empty. */
static void add_status(struct json *j, const struct span *s, enum span_json form)
{
	if (s->status == STATUS_UNSET && !s->status_message.len && form != SPAN_JSON_PROTOBUF)
		return;
	json_key(j, "status");
	json_open(j, '{');
	json_opt_str(j, "message", s->status_message);
	add_enum(j, "code", s->status, span_status_otlp(s->status), form);
	json_close(j, '}');
}

/* Names and times are there also when they are empty: readers with a schema rely on them. */
void span_json(struct json *j, const struct span *s, enum span_json form)
{
	json_open(j, '{');
	add_trace_id(j, &s->trace_id, form);
	add_span_id(j, "spanId", &s->span_id, form);
	json_opt_str(j, "traceState", s->trace_state);
	add_span_id(j, "parentSpanId", &s->parent_id, form);
	json_member_str(j, "name", s->name);
	add_enum(j, "kind", s->kind, span_kind_otlp(s->kind), form);
	json_member_u64_str(j, "startTimeUnixNano", s->start_ns);
	json_member_u64_str(j, "endTimeUnixNano", s->end_ns);
	attrs_json_otlp(j, &s->attrs);
	add_events(j, s);
	add_links(j, s, form);
	add_status(j, s, form);
	json_opt_u64(j, "flags", s->flags);
	json_close(j, '}');
}

void scope_json(struct json *j, const struct scope *s)
{
	json_key(j, "scope");
	json_open(j, '{');
	json_opt_str(j, "name", s->name);
	json_opt_str(j, "version", s->version);
	attrs_json_otlp(j, &s->attrs);
	json_close(j, '}');
}

void resource_json(struct json *j, const struct resource *r)
{
	json_key(j, "resource");
	json_open(j, '{');
	attrs_json_otlp(j, &r->attrs);
	json_close(j, '}');
}

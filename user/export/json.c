/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct span to OTLP/JSON: the protobuf JSON mapping with OTLP's exceptions (ids in hex, enums as
 * numbers only; OTLP specification 1.x, "JSON Protobuf Encoding"). What is zero, empty or unset is
 * left out, except the value of an attribute.
 */
#include "export/internal.h"

#include <errno.h>
#include <stdlib.h>

#include "core/json.h"

/* Text that is the same every time goes in as one piece: its commas are written out, and whether
 * one comes next is said. */
#define add_text(j, text, then_comma)                        \
	do {                                                 \
		buf_add((j)->out, (text), sizeof(text) - 1); \
		(j)->comma = (then_comma);                   \
	} while (0)

/* ---- fields that are left out when unset ---- */

static void add_str(struct json *j, const char *key, struct str s)
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
	if (!ns)
		return;
	json_key(j, key);
	json_u64_str(j, ns);
}

static void add_trace_id(struct json *j, const char *key, const struct trace_id *id)
{
	if (!trace_id_is_set(id))
		return;
	json_key(j, key);
	json_hex(j, id->b, sizeof(id->b));
}

static void add_span_id(struct json *j, const char *key, const struct span_id *id)
{
	if (!span_id_is_set(id))
		return;
	json_key(j, key);
	json_hex(j, id->b, sizeof(id->b));
}

/* ---- attributes ---- */

static void add_pairs(struct json *j, const struct attr *item, size_t cnt, int depth);

static void add_list(struct json *j, const struct value *v, int depth);
/* An AnyValue; below VALUE_DEPTH_MAX, which producers keep to, it is empty. */
static void add_value(struct json *j, const struct value *v, int depth)
{
	switch (depth <= VALUE_DEPTH_MAX ? v->type : VALUE_EMPTY) {
	case VALUE_STR:
		add_text(j, "{\"stringValue\":", false);
		json_str(j, v->str);
		break;
	case VALUE_BOOL:
		add_text(j, "{\"boolValue\":", false);
		json_bool(j, v->b);
		break;
	case VALUE_INT:
		add_text(j, "{\"intValue\":", false);
		json_i64_str(j, v->i);
		break;
	case VALUE_DOUBLE:
		add_text(j, "{\"doubleValue\":", false);
		json_double(j, v->d);
		break;
	case VALUE_BYTES:
		add_text(j, "{\"bytesValue\":", false);
		json_base64(j, v->str);
		break;
	case VALUE_ARRAY:
	case VALUE_KVLIST: add_list(j, v, depth); break;
	case VALUE_EMPTY: add_text(j, "{", false); break;
	}
	add_text(j, "}", true);
}

static void add_list(struct json *j, const struct value *v, int depth)
{
	if (v->type == VALUE_ARRAY) {
		add_text(j, "{\"arrayValue\":{\"values\":[", false);
		for (size_t i = 0; i < v->array.cnt; i++) {
			if (i)
				add_text(j, ",", false);
			add_value(j, &v->array.item[i], depth + 1);
		}
	} else {
		add_text(j, "{\"kvlistValue\":{\"values\":[", false);
		add_pairs(j, v->kvlist.item, v->kvlist.cnt, depth + 1);
	}
	add_text(j, "]}", true);
}

/* The content of a list. */
static void add_pairs(struct json *j, const struct attr *item, size_t cnt, int depth)
{
	for (size_t i = 0; i < cnt; i++) {
		if (i)
			add_text(j, ",{\"key\":", false);
		else
			add_text(j, "{\"key\":", false);
		json_str(j, item[i].key);
		add_text(j, ",\"value\":", false);
		add_value(j, &item[i].value, depth);
		add_text(j, "}", true);
	}
}

static void add_attrs(struct json *j, const struct attrs *a)
{
	if (a->cnt) {
		json_key(j, "attributes");
		json_open(j, '[');
		add_pairs(j, a->item, a->cnt, 0);
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
			add_str(j, "name", s->events[i].name);
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
			add_trace_id(j, "traceId", &l->trace_id);
			add_span_id(j, "spanId", &l->span_id);
			add_str(j, "traceState", l->trace_state);
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
	add_trace_id(j, "traceId", &s->trace_id);
	add_span_id(j, "spanId", &s->span_id);
	add_str(j, "traceState", s->trace_state);
	add_span_id(j, "parentSpanId", &s->parent_id);
	add_str(j, "name", s->name);
	add_u32(j, "kind", s->kind);
	add_time(j, "startTimeUnixNano", s->start_ns);
	add_time(j, "endTimeUnixNano", s->end_ns);
	add_attrs(j, &s->attrs);
	add_events(j, s);
	add_links(j, s);
	if (s->status != STATUS_UNSET || s->status_message.len) {
		json_key(j, "status");
		json_open(j, '{');
		add_str(j, "message", s->status_message);
		add_u32(j, "code", s->status);
		json_close(j, '}');
	}
	add_u32(j, "flags", s->flags);
	json_close(j, '}');
}

/* ---- the request ---- */

/* ScopeSpans of the items from 'at' that share a scope. Returns where they end. */
static size_t add_scope_spans(struct json *j, const struct item *items, size_t at, size_t cnt,
			      const char *bytes)
{
	const struct resource *resource = items[at].resource;
	const struct scope *scope = items[at].scope;

	json_open(j, '{');
	json_key(j, "scope");
	json_open(j, '{');
	add_str(j, "name", scope->name);
	add_str(j, "version", scope->version);
	add_attrs(j, &scope->attrs);
	json_close(j, '}');
	json_key(j, "spans");
	json_open(j, '[');
	for (; at < cnt && items[at].resource == resource && items[at].scope == scope; at++) {
		if (bytes)
			json_raw(j, (struct str){ bytes + items[at].off, items[at].len });
		else
			add_span(j, items[at].span);
	}
	json_close(j, ']');
	add_str(j, "schemaUrl", scope->schema_url);
	json_close(j, '}');
	return at;
}

/* bytes: where off and len point to; NULL: items have spans. */
static void add_request(struct json *j, const struct item *items, size_t cnt, const char *bytes)
{
	size_t at = 0;

	json_open(j, '{');
	json_key(j, "resourceSpans");
	json_open(j, '[');
	while (at < cnt) {
		const struct resource *resource = items[at].resource;

		json_open(j, '{');
		json_key(j, "resource");
		json_open(j, '{');
		add_attrs(j, &resource->attrs);
		json_close(j, '}');
		json_key(j, "scopeSpans");
		json_open(j, '[');
		while (at < cnt && items[at].resource == resource)
			at = add_scope_spans(j, items, at, cnt, bytes);
		json_close(j, ']');
		add_str(j, "schemaUrl", resource->schema_url);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

int otlp_encode_json(const struct span *const *spans, size_t cnt, struct buf *out)
{
	struct json j = { .out = out };
	struct item *items;
	size_t before = out->len;
	bool failed_before = out->failed;
	int err = items_of(spans, cnt, &items);

	if (err)
		return err;
	out->failed = false;
	add_request(&j, items, cnt, NULL);
	if (out->failed) {
		out->len = before;
		err = out->cap ? -ENOBUFS : -ENOMEM;
	}
	out->failed = out->failed || failed_before;
	free(items);
	return err;
}

/* ---- for the queue ---- */

static int add_span_bytes(struct packer *scratch, const struct span *s, struct buf *out)
{
	struct json j = { .out = out };

	add_span(&j, s);
	return out->failed ? -ENOMEM : 0;
}

static int add_body(struct packer *scratch, struct item *items, size_t cnt, const char *bytes,
		    struct buf *out)
{
	struct json j = { .out = out };
	int err = items_group(items, cnt);

	if (err)
		return err;
	add_request(&j, items, cnt, bytes);
	return out->failed ? -ENOMEM : 0;
}

const struct format format_otlp_json = { "otlp_json", add_span_bytes, add_body };

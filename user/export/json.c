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

/* ---- fields that are left out when unset ---- */

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

/* ---- spans ---- */

static void add_events(struct json *j, const struct span *s)
{
	if (s->event_cnt) {
		json_key(j, "events");
		json_open(j, '[');
		for (uint32_t i = 0; i < s->event_cnt; i++) {
			json_open(j, '{');
			json_opt_u64_str(j, "timeUnixNano", s->events[i].time_ns);
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
			add_trace_id(j, "traceId", &l->trace_id);
			add_span_id(j, "spanId", &l->span_id);
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
	add_trace_id(j, "traceId", &s->trace_id);
	add_span_id(j, "spanId", &s->span_id);
	json_opt_str(j, "traceState", s->trace_state);
	add_span_id(j, "parentSpanId", &s->parent_id);
	json_opt_str(j, "name", s->name);
	json_opt_u64(j, "kind", s->kind);
	json_opt_u64_str(j, "startTimeUnixNano", s->start_ns);
	json_opt_u64_str(j, "endTimeUnixNano", s->end_ns);
	attrs_json_otlp(j, &s->attrs);
	add_events(j, s);
	add_links(j, s);
	if (s->status != STATUS_UNSET || s->status_message.len) {
		json_key(j, "status");
		json_open(j, '{');
		json_opt_str(j, "message", s->status_message);
		json_opt_u64(j, "code", s->status);
		json_close(j, '}');
	}
	json_opt_u64(j, "flags", s->flags);
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
	json_opt_str(j, "name", scope->name);
	json_opt_str(j, "version", scope->version);
	attrs_json_otlp(j, &scope->attrs);
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
	json_opt_str(j, "schemaUrl", scope->schema_url);
	json_close(j, '}');
	return at;
}

/* bytes: where off and len point to; NULL: items have spans. */
static void add_resources(struct json *j, const struct item *items, size_t cnt, const char *bytes)
{
	size_t at = 0;

	while (at < cnt) {
		const struct resource *resource = items[at].resource;

		json_open(j, '{');
		json_key(j, "resource");
		json_open(j, '{');
		attrs_json_otlp(j, &resource->attrs);
		json_close(j, '}');
		json_key(j, "scopeSpans");
		json_open(j, '[');
		while (at < cnt && items[at].resource == resource)
			at = add_scope_spans(j, items, at, cnt, bytes);
		json_close(j, ']');
		json_opt_str(j, "schemaUrl", resource->schema_url);
		json_close(j, '}');
	}
}

static void add_request(struct json *j, const struct item *items, size_t cnt, const char *bytes)
{
	json_open(j, '{');
	json_key(j, "resourceSpans");
	json_open(j, '[');
	add_resources(j, items, cnt, bytes);
	json_close(j, ']');
	json_close(j, '}');
}

int otlp_add_json(const struct span *const *spans, size_t cnt, struct json *j)
{
	struct item *items;
	int err = items_of(spans, cnt, &items);

	if (err)
		return err;
	add_resources(j, items, cnt, NULL);
	free(items);
	return 0;
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

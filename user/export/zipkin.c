/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct span to Zipkin v2 JSON, as OpenTelemetry maps it (specification 1.x, "SDK Exporters,
 * Zipkin"): attributes are tags, events annotations, times microseconds. Resource attributes that
 * the span does not name itself are tags too, since Zipkin has no other place for them.
 */
#include "export/internal.h"

#include <arpa/inet.h>
#include <errno.h>

#include "core/clock.h"
#include "core/json.h"

/* ---- tags ---- */

/* A tag's value is text, whatever it was. */
static void add_text(struct json *j, const struct value *v)
{
	struct buf text = { 0 };
	struct json inner = { .out = &text };

	if (v->type == VALUE_STR || v->type == VALUE_EMPTY) {
		json_str(j, v->type == VALUE_STR ? v->str : STR(""));
		return;
	}
	value_json(&inner, v, STR("\"\""));
	if (text.failed)
		j->out->failed = true;
	else if (text.p[0] == '"') /* base64, or a number that JSON has no form for */
		json_raw(j, buf_str(&text));
	else
		json_str(j, buf_str(&text));
	buf_fini(&text);
}

/* What these two become is told by tags of other names. */
static bool is_special(struct str key)
{
	return str_eq(key, STR("service.name")) || str_eq(key, STR("error"));
}

static void add_tags(struct json *j, const struct span *s)
{
	const struct attrs *r = &s->resource->attrs;

	json_key(j, "tags");
	json_open(j, '{');
	for (uint32_t i = 0; i < s->attrs.cnt; i++) {
		if (str_eq(s->attrs.item[i].key, STR("error")) && s->status == STATUS_ERROR)
			continue;
		json_key_str(j, s->attrs.item[i].key);
		add_text(j, &s->attrs.item[i].value);
	}
	for (uint32_t i = 0; i < r->cnt; i++) {
		if (is_special(r->item[i].key) || attrs_find(&s->attrs, r->item[i].key))
			continue;
		json_key_str(j, r->item[i].key);
		add_text(j, &r->item[i].value);
	}
	json_opt_str(j, "otel.scope.name", s->scope->name);
	json_opt_str(j, "otel.scope.version", s->scope->version);
	if (s->status == STATUS_OK)
		json_opt_str(j, "otel.status_code", STR("OK"));
	if (s->status == STATUS_ERROR) {
		json_opt_str(j, "otel.status_code", STR("ERROR"));
		json_member_str(j, "error", s->status_message);
	}
	json_opt_u64_str(j, "otel.dropped_attributes_count", s->attrs.dropped);
	json_opt_u64_str(j, "otel.dropped_events_count", s->dropped_events);
	json_opt_u64_str(j, "otel.dropped_links_count", s->dropped_links);
	json_close(j, '}');
}

/* ---- endpoints ---- */

static void add_address(struct json *j, struct str address)
{
	char text[INET6_ADDRSTRLEN] = "";
	struct in6_addr any;

	if (!address.len || address.len >= sizeof(text))
		return;
	memcpy(text, address.p, address.len);
	if (inet_pton(AF_INET, text, &any) == 1)
		json_opt_str(j, "ipv4", address);
	else if (inet_pton(AF_INET6, text, &any) == 1)
		json_opt_str(j, "ipv6", address);
}

static void add_port(struct json *j, const struct attrs *a, const char *const keys[2])
{
	for (int i = 0; i < 2; i++) {
		const struct attr *port = attrs_find(a, str_of(keys[i]));

		if (!port || port->value.type != VALUE_INT || port->value.i <= 0 ||
		    port->value.i > UINT16_MAX)
			continue;
		json_member_u64(j, "port", (uint64_t)port->value.i);
		return;
	}
}

/* Who was called, or who called. */
static void add_remote(struct json *j, const struct span *s)
{
	static const char *const callee[] = { "service.peer.name", "peer.service",
					      "server.address" };
	static const char *const callee_port[] = { "network.peer.port", "server.port" };
	static const char *const caller_port[] = { "network.peer.port", "client.port" };
	bool calls = s->kind == SPAN_CLIENT || s->kind == SPAN_PRODUCER;
	struct str name = { 0 }, address = attrs_str(&s->attrs, "network.peer.address");

	if (!calls && s->kind != SPAN_SERVER && s->kind != SPAN_CONSUMER)
		return;
	for (size_t i = 0; calls && !name.len && i < ARRAY_LEN(callee); i++)
		name = attrs_str(&s->attrs, callee[i]);
	if (!address.len && !calls)
		address = attrs_str(&s->attrs, "client.address");
	if (!name.len && !address.len)
		return;
	json_key(j, "remoteEndpoint");
	json_open(j, '{');
	json_opt_str(j, "serviceName", name);
	add_address(j, address);
	add_port(j, &s->attrs, calls ? callee_port : caller_port);
	json_close(j, '}');
}

/* ---- spans ---- */

/* The event's name, with its attributes as JSON behind it when it has any. */
static void add_annotations(struct json *j, const struct span *s)
{
	struct buf text = { 0 };

	if (!s->event_cnt)
		return;
	json_key(j, "annotations");
	json_open(j, '[');
	for (uint32_t i = 0; i < s->event_cnt; i++) {
		const struct span_event *e = &s->events[i];
		struct value v = { .type = VALUE_KVLIST,
				   .kvlist = { e->attrs.item, e->attrs.cnt } };
		struct json inner = { .out = &text };

		buf_clear(&text);
		if (e->attrs.cnt) {
			json_open(&inner, '{');
			json_key_str(&inner, e->name);
			value_json(&inner, &v, STR("\"\""));
			json_close(&inner, '}');
		}
		json_open(j, '{');
		json_member_u64(j, "timestamp", e->time_ns / NS_PER_US);
		json_member_str(j, "value", e->attrs.cnt ? buf_str(&text) : e->name);
		json_close(j, '}');
		j->out->failed |= text.failed;
	}
	json_close(j, ']');
	buf_fini(&text);
}

static void add_ids(struct json *j, const struct span *s)
{
	json_key(j, "traceId");
	json_hex(j, s->trace_id.b, sizeof(s->trace_id.b));
	json_key(j, "id");
	json_hex(j, s->span_id.b, sizeof(s->span_id.b));
	if (!span_id_is_set(&s->parent_id))
		return;
	json_key(j, "parentId");
	json_hex(j, s->parent_id.b, sizeof(s->parent_id.b));
}

static int add_span(struct packer *scratch, const struct span *s, struct buf *out)
{
	static const char *const kind[] = { [SPAN_SERVER] = "SERVER",
					    [SPAN_CLIENT] = "CLIENT",
					    [SPAN_PRODUCER] = "PRODUCER",
					    [SPAN_CONSUMER] = "CONSUMER" };
	uint64_t duration_us = (s->end_ns - s->start_ns) / NS_PER_US;
	struct json j = { .out = out };

	json_open(&j, '{');
	add_ids(&j, s);
	json_opt_str(&j, "name", s->name);
	if (s->kind < ARRAY_LEN(kind) && kind[s->kind])
		json_opt_str(&j, "kind", str_of(kind[s->kind]));
	json_member_u64(&j, "timestamp", s->start_ns / NS_PER_US);
	json_key(&j, "duration"); /* 0 would mean unknown */
	json_u64(&j, MAX(duration_us, 1));
	json_key(&j, "localEndpoint");
	json_open(&j, '{');
	json_opt_str(&j, "serviceName", s->resource->service);
	json_close(&j, '}');
	add_remote(&j, s);
	add_annotations(&j, s);
	add_tags(&j, s);
	json_close(&j, '}');
	return out->failed ? -ENOMEM : 0;
}

static int add_body(struct packer *scratch, struct item *items, size_t cnt, const char *bytes,
		    struct buf *out)
{
	struct json j = { .out = out };

	json_open(&j, '[');
	for (size_t i = 0; i < cnt; i++)
		json_raw(&j, (struct str){ bytes + items[i].off, items[i].len });
	json_close(&j, ']');
	return out->failed ? -ENOMEM : 0;
}

const struct format format_zipkin = { "zipkin_v2", add_span, add_body };

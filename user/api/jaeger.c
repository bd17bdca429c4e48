/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jaeger's classic JSON: what its page and Grafana's data source read. Tags and logs are made of
 * OTLP's fields as Jaeger's own translation does (span.kind, error, otel.*), parents are CHILD_OF,
 * links FOLLOWS_FROM.
 */
#include "api/shape.h"

#include <stdio.h>

#include "api/spantree.h"
#include "core/clock.h"

/* What a double of JavaScript holds exactly; a larger integer is told as a string. */
#define SAFE_INTEGER ((int64_t)1 << 53)

#define STEPS_MAX 4000000u

/*
 * Jaeger's page draws a span without a parent below the first span that it links to, and none of
 * those whose parents go round in a circle. So a link to a span further down is left out, and told
 * as a warning.
 */
struct writer {
	struct json *j;
	struct arena *mem;
	const struct trace *trace;
	uint32_t *parent; /* as drawn: an index, or SPANTREE_NONE */
	uint32_t steps;	  /* left for looking at links in this trace */
};

/* ---- tags ---- */

static void tag_value(struct writer *w, const struct value *v, const char **ret_type)
{
	switch (v->type) {
	case VALUE_BOOL:
		*ret_type = "bool";
		json_bool(w->j, v->b);
		return;
	case VALUE_INT:
		*ret_type = "int64";
		if (v->i >= SAFE_INTEGER || v->i <= -SAFE_INTEGER)
			json_i64_str(w->j, v->i);
		else
			json_i64(w->j, v->i);
		return;
	case VALUE_DOUBLE:
		*ret_type = "float64";
		json_double(w->j, v->d);
		return;
	case VALUE_BYTES:
		*ret_type = "binary";
		json_base64(w->j, v->str);
		return;
	case VALUE_ARRAY:
	case VALUE_KVLIST:
		*ret_type = "string";
		json_str(w->j, value_json_text(v, w->mem));
		return;
	case VALUE_STR:
	case VALUE_EMPTY: break;
	}
	*ret_type = "string";
	json_str(w->j, v->type == VALUE_STR ? v->str : (struct str){ "", 0 });
}

static void add_tag(struct writer *w, struct str key, const struct value *v)
{
	const char *type;

	json_open(w->j, '{');
	json_member_str(w->j, "key", key);
	json_key(w->j, "value");
	tag_value(w, v, &type);
	json_member_str(w->j, "type", str_of(type));
	json_close(w->j, '}');
}

static void add_text_tag(struct writer *w, const char *key, struct str text)
{
	struct value v = { .type = VALUE_STR, .str = text };

	if (text.len)
		add_tag(w, str_of(key), &v);
}

static void add_attrs(struct writer *w, const struct attrs *a, const char *but)
{
	for (uint32_t i = 0; i < a->cnt; i++)
		if (!but || !str_eq(a->item[i].key, str_of(but)))
			add_tag(w, a->item[i].key, &a->item[i].value);
}

static void add_tags(struct writer *w, const struct span *s)
{
	static const struct value yes = { .type = VALUE_BOOL, .b = true };

	json_key(w->j, "tags");
	json_open(w->j, '[');
	add_text_tag(w, "otel.scope.name", s->scope->name);
	add_text_tag(w, "otel.scope.version", s->scope->version);
	add_attrs(w, &s->attrs, NULL);
	if (s->kind)
		add_text_tag(w, "span.kind", str_of(span_kind_name(s->kind)));
	if (s->status != STATUS_UNSET)
		add_text_tag(w, "otel.status_code",
			     s->status == STATUS_ERROR ? STR("ERROR") : STR("OK"));
	if (s->status == STATUS_ERROR && !attrs_find(&s->attrs, STR("error")))
		add_tag(w, STR("error"), &yes);
	add_text_tag(w, "otel.status_description", s->status_message);
	add_text_tag(w, "w3c.tracestate", s->trace_state);
	json_close(w->j, ']');
}

/* ---- spans ---- */

static void add_reference(struct json *j, const char *type, const struct trace_id *trace,
			  const struct span_id *span)
{
	json_open(j, '{');
	json_member_str(j, "refType", str_of(type));
	json_key(j, "traceID");
	json_hex(j, trace->b, sizeof(trace->b));
	json_key(j, "spanID");
	json_hex(j, span->b, sizeof(span->b));
	json_close(j, '}');
}

/* The page looks at the span's id alone. */
static uint32_t linked_to(struct writer *w, const struct span_link *l)
{
	for (uint32_t i = 0; i < w->trace->span_cnt && w->steps; i++, w->steps--)
		if (!memcmp(&w->trace->spans[i]->span_id, &l->span_id, sizeof(l->span_id)))
			return i;
	return SPANTREE_NONE;
}

static bool makes_circle(struct writer *w, uint32_t span, const struct span_link *l)
{
	uint32_t to, at;

	if (w->parent[span] != SPANTREE_NONE)
		return false;
	to = linked_to(w, l);
	for (at = to; at != SPANTREE_NONE && at != span && w->steps; w->steps--)
		at = w->parent[at];
	if (at == SPANTREE_NONE && w->steps)
		w->parent[span] = to;
	return at != SPANTREE_NONE || !w->steps;
}

/* Returns how many links were left out. */
static uint32_t add_references(struct writer *w, uint32_t index)
{
	const struct span *s = w->trace->spans[index];
	uint32_t left_out = 0;

	json_key(w->j, "references");
	json_open(w->j, '[');
	if (span_id_is_set(&s->parent_id))
		add_reference(w->j, "CHILD_OF", &s->trace_id, &s->parent_id);
	for (uint32_t i = 0; i < s->link_cnt; i++) {
		const struct span_link *l = &s->links[i];

		if (makes_circle(w, index, l))
			left_out++;
		else
			add_reference(w->j, "FOLLOWS_FROM", &l->trace_id, &l->span_id);
	}
	json_close(w->j, ']');
	return left_out;
}

static void add_logs(struct writer *w, const struct span *s)
{
	json_key(w->j, "logs");
	json_open(w->j, '[');
	for (uint32_t i = 0; i < s->event_cnt; i++) {
		const struct span_event *e = &s->events[i];

		json_open(w->j, '{');
		json_member_u64(w->j, "timestamp", e->time_ns / NS_PER_US);
		json_key(w->j, "fields");
		json_open(w->j, '[');
		if (!attrs_find(&e->attrs, STR("event")))
			add_text_tag(w, "event", e->name);
		add_attrs(w, &e->attrs, NULL);
		json_close(w->j, ']');
		json_close(w->j, '}');
	}
	json_close(w->j, ']');
}

static void add_null(struct json *j, const char *key)
{
	json_key(j, key);
	buf_add_str(j->out, STR("null"));
	j->comma = true;
}

/* What was cut away is said where Jaeger's page shows it. */
static void add_warnings(struct json *j, const struct span *s, uint32_t left_out)
{
	bool dropped = s->attrs.dropped || s->dropped_events || s->dropped_links;
	char text[96];

	if (!dropped && !left_out) {
		add_null(j, "warnings");
		return;
	}
	json_key(j, "warnings");
	json_open(j, '[');
	if (dropped) {
		snprintf(text, sizeof(text), "dropped: %u attributes, %u events, %u links",
			 s->attrs.dropped, s->dropped_events, s->dropped_links);
		json_str(j, str_of(text));
	}
	if (left_out) {
		snprintf(text, sizeof(text), "not shown: %u links to spans below this one",
			 left_out);
		json_str(j, str_of(text));
	}
	json_close(j, ']');
}

static void add_process_id(struct json *j, uint32_t process)
{
	char name[16];

	snprintf(name, sizeof(name), "p%u", process + 1);
	json_str(j, str_of(name));
}

static void add_span(struct writer *w, uint32_t index, uint32_t process)
{
	const struct span *s = w->trace->spans[index];
	struct json *j = w->j;
	uint32_t left_out;

	json_open(j, '{');
	json_key(j, "traceID");
	json_hex(j, s->trace_id.b, sizeof(s->trace_id.b));
	json_key(j, "spanID");
	json_hex(j, s->span_id.b, sizeof(s->span_id.b));
	json_opt_u64(j, "flags", s->flags & 0xff);
	json_member_str(j, "operationName", s->name);
	left_out = add_references(w, index);
	json_member_u64(j, "startTime", s->start_ns / NS_PER_US);
	json_member_u64(j, "duration", (s->end_ns - s->start_ns) / NS_PER_US);
	add_tags(w, s);
	add_logs(w, s);
	json_key(j, "processID");
	add_process_id(j, process);
	add_warnings(j, s, left_out);
	json_close(j, '}');
}

/* ---- the trace ---- */

static bool same_resource(const struct resource *a, const struct resource *b)
{
	return a == b || (a->hash == b->hash && a->attrs.cnt == b->attrs.cnt &&
			  str_eq(a->service, b->service));
}

static void add_process(struct writer *w, const struct resource *r)
{
	json_open(w->j, '{');
	json_member_str(w->j, "serviceName", r->service);
	json_key(w->j, "tags");
	json_open(w->j, '[');
	add_attrs(w, &r->attrs, "service.name");
	json_close(w->j, ']');
	json_close(w->j, '}');
}

void jaeger_trace(struct json *j, const struct trace *t, struct arena *mem)
{
	const struct resource **seen = arena_alloc(mem, (t->span_cnt + 1) * sizeof(*seen));
	struct writer w = { .j = j, .mem = mem, .trace = t, .steps = STEPS_MAX };
	struct spantree tree;
	uint32_t cnt = 0;

	if (!seen || !spantree_build(t, mem, &tree)) {
		j->out->failed = true;
		return;
	}
	w.parent = tree.parent;
	json_open(j, '{');
	json_key(j, "traceID");
	json_hex(j, t->id.b, sizeof(t->id.b));
	json_key(j, "spans");
	json_open(j, '[');
	for (uint32_t i = 0; i < t->span_cnt; i++) {
		uint32_t p = 0;

		while (p < cnt && !same_resource(seen[p], t->spans[i]->resource))
			p++;
		if (p == cnt)
			seen[cnt++] = t->spans[i]->resource;
		add_span(&w, i, p);
	}
	json_close(j, ']');
	json_key(j, "processes");
	json_open(j, '{');
	for (uint32_t p = 0; p < cnt; p++) {
		add_process_id(j, p);
		buf_add_char(j->out, ':');
		j->comma = false;
		add_process(&w, seen[p]);
	}
	json_close(j, '}');
	add_null(j, "warnings");
	json_close(j, '}');
}

/* ---- summaries ---- */

void jaeger_summary(struct json *j, const struct search_trace *t)
{
	const struct trace_id *id = &t->trace->id;

	json_open(j, '{');
	json_key(j, "traceId");
	json_hex(j, id->b, sizeof(id->b));
	/* the name that the first pages with summaries read */
	json_key(j, "traceID");
	json_hex(j, id->b, sizeof(id->b));
	json_member_str(j, "rootServiceName", t->root_service);
	json_member_str(j, "rootOperationName", t->root_name);
	json_member_u64_str(j, "minStartTimeUnixNano", t->start_ns);
	json_member_u64_str(j, "maxEndTimeUnixNano", t->end_ns);
	json_member_u64(j, "spanCount", t->trace->span_cnt);
	json_member_u64(j, "errorSpanCount", t->errors);
	json_member_u64(j, "orphanSpanCount", t->orphans);
	json_key(j, "services");
	json_open(j, '[');
	for (uint32_t i = 0; i < t->service_cnt; i++) {
		json_open(j, '{');
		json_member_str(j, "name", t->services[i].name);
		json_member_u64(j, "spanCount", t->services[i].spans);
		json_member_u64(j, "errorSpanCount", t->services[i].errors);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

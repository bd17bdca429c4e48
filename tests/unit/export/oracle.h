/* SPDX-License-Identifier: Apache-2.0 */
/* struct span as the messages that protoc-c generates from otlp.proto. Text must be clean UTF-8. */
#ifndef TESTS_EXPORT_ORACLE_H
#define TESTS_EXPORT_ORACLE_H

#include "otlp.pb-c.h"
#include "span/span.h"

static inline char *oracle_text(struct arena *mem, struct str s)
{
	return s.len ? (char *)arena_str(mem, s).p : (char *)protobuf_c_empty_string;
}

static inline Otlp__KeyValue **oracle_attrs(struct arena *mem, const struct attr *item, size_t cnt);

static inline void oracle_list(struct arena *mem, const struct value *v, Otlp__AnyValue *to);

static inline Otlp__AnyValue *oracle_value(struct arena *mem, const struct value *v)
{
	Otlp__AnyValue *to = arena_alloc(mem, sizeof(*to));

	otlp__any_value__init(to);
	switch (v->type) {
	case VALUE_STR:
		to->value_case = OTLP__ANY_VALUE__VALUE_STRING_VALUE;
		/* A pointer of its own: the library's empty string means absent. */
		to->string_value = (char *)arena_str(mem, v->str.len ? v->str : STR("")).p;
		break;
	case VALUE_BOOL:
		to->value_case = OTLP__ANY_VALUE__VALUE_BOOL_VALUE;
		to->bool_value = v->b;
		break;
	case VALUE_INT:
		to->value_case = OTLP__ANY_VALUE__VALUE_INT_VALUE;
		to->int_value = v->i;
		break;
	case VALUE_DOUBLE:
		to->value_case = OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE;
		to->double_value = v->d;
		break;
	case VALUE_BYTES:
		to->value_case = OTLP__ANY_VALUE__VALUE_BYTES_VALUE;
		to->bytes_value.data = (uint8_t *)v->str.p;
		to->bytes_value.len = v->str.len;
		break;
	case VALUE_ARRAY:
	case VALUE_KVLIST: oracle_list(mem, v, to); break;
	case VALUE_EMPTY: break;
	}
	return to;
}

static inline void oracle_list(struct arena *mem, const struct value *v, Otlp__AnyValue *to)
{
	if (v->type == VALUE_KVLIST) {
		to->value_case = OTLP__ANY_VALUE__VALUE_KVLIST_VALUE;
		to->kvlist_value = arena_alloc(mem, sizeof(*to->kvlist_value));
		otlp__key_value_list__init(to->kvlist_value);
		to->kvlist_value->n_values = v->kvlist.cnt;
		to->kvlist_value->values = oracle_attrs(mem, v->kvlist.item, v->kvlist.cnt);
		return;
	}
	to->value_case = OTLP__ANY_VALUE__VALUE_ARRAY_VALUE;
	to->array_value = arena_alloc(mem, sizeof(*to->array_value));
	otlp__array_value__init(to->array_value);
	to->array_value->n_values = v->array.cnt;
	to->array_value->values = arena_alloc(mem, (v->array.cnt + 1) * sizeof(void *));
	for (size_t i = 0; i < v->array.cnt; i++)
		to->array_value->values[i] = oracle_value(mem, &v->array.item[i]);
}

static inline Otlp__KeyValue **oracle_attrs(struct arena *mem, const struct attr *item, size_t cnt)
{
	Otlp__KeyValue **list = arena_alloc(mem, (cnt + 1) * sizeof(*list));

	for (size_t i = 0; i < cnt; i++) {
		list[i] = arena_alloc(mem, sizeof(**list));
		otlp__key_value__init(list[i]);
		list[i]->key = oracle_text(mem, item[i].key);
		list[i]->value = oracle_value(mem, &item[i].value);
	}
	return list;
}

static inline ProtobufCBinaryData oracle_id(const uint8_t *id, size_t len, bool set)
{
	return (ProtobufCBinaryData){ .len = set ? len : 0, .data = (uint8_t *)id };
}

static inline Otlp__Span__Event *oracle_event(struct arena *mem, const struct span_event *e)
{
	Otlp__Span__Event *to = arena_alloc(mem, sizeof(*to));

	otlp__span__event__init(to);
	to->time_unix_nano = e->time_ns;
	to->name = oracle_text(mem, e->name);
	to->n_attributes = e->attrs.cnt;
	to->attributes = oracle_attrs(mem, e->attrs.item, e->attrs.cnt);
	to->dropped_attributes_count = e->attrs.dropped;
	return to;
}

static inline Otlp__Span__Link *oracle_link(struct arena *mem, const struct span_link *l)
{
	Otlp__Span__Link *to = arena_alloc(mem, sizeof(*to));

	otlp__span__link__init(to);
	to->trace_id = oracle_id(l->trace_id.b, 16, trace_id_is_set(&l->trace_id));
	to->span_id = oracle_id(l->span_id.b, 8, span_id_is_set(&l->span_id));
	to->trace_state = oracle_text(mem, l->trace_state);
	to->n_attributes = l->attrs.cnt;
	to->attributes = oracle_attrs(mem, l->attrs.item, l->attrs.cnt);
	to->dropped_attributes_count = l->attrs.dropped;
	to->flags = l->flags;
	return to;
}

static inline void oracle_span_lists(struct arena *mem, const struct span *s, Otlp__Span *to)
{
	to->n_attributes = s->attrs.cnt;
	to->attributes = oracle_attrs(mem, s->attrs.item, s->attrs.cnt);
	to->dropped_attributes_count = s->attrs.dropped;
	to->n_events = s->event_cnt;
	to->events = arena_alloc(mem, (s->event_cnt + 1) * sizeof(void *));
	for (uint32_t i = 0; i < s->event_cnt; i++)
		to->events[i] = oracle_event(mem, &s->events[i]);
	to->dropped_events_count = s->dropped_events;
	to->n_links = s->link_cnt;
	to->links = arena_alloc(mem, (s->link_cnt + 1) * sizeof(void *));
	for (uint32_t i = 0; i < s->link_cnt; i++)
		to->links[i] = oracle_link(mem, &s->links[i]);
	to->dropped_links_count = s->dropped_links;
}

static inline Otlp__Span *oracle_span(struct arena *mem, const struct span *s)
{
	Otlp__Span *to = arena_alloc(mem, sizeof(*to));

	otlp__span__init(to);
	to->trace_id = oracle_id(s->trace_id.b, 16, trace_id_is_set(&s->trace_id));
	to->span_id = oracle_id(s->span_id.b, 8, span_id_is_set(&s->span_id));
	to->trace_state = oracle_text(mem, s->trace_state);
	to->parent_span_id = oracle_id(s->parent_id.b, 8, span_id_is_set(&s->parent_id));
	to->name = oracle_text(mem, s->name);
	to->kind = (Otlp__Span__Kind)s->kind;
	to->start_time_unix_nano = s->start_ns;
	to->end_time_unix_nano = s->end_ns;
	oracle_span_lists(mem, s, to);
	if (s->status != STATUS_UNSET || s->status_message.len) {
		to->status = arena_alloc(mem, sizeof(*to->status));
		otlp__status__init(to->status);
		to->status->message = oracle_text(mem, s->status_message);
		to->status->code = (Otlp__Status__Code)s->status;
	}
	to->flags = s->flags;
	return to;
}

static inline Otlp__ScopeSpans *oracle_scope_spans(struct arena *mem, const struct scope *scope,
						   size_t most)
{
	Otlp__ScopeSpans *to = arena_alloc(mem, sizeof(*to));

	otlp__scope_spans__init(to);
	to->scope = arena_alloc(mem, sizeof(*to->scope));
	otlp__scope__init(to->scope);
	to->scope->name = oracle_text(mem, scope->name);
	to->scope->version = oracle_text(mem, scope->version);
	to->scope->n_attributes = scope->attrs.cnt;
	to->scope->attributes = oracle_attrs(mem, scope->attrs.item, scope->attrs.cnt);
	to->scope->dropped_attributes_count = scope->attrs.dropped;
	to->schema_url = oracle_text(mem, scope->schema_url);
	to->spans = arena_alloc(mem, most * sizeof(void *));
	return to;
}

static inline Otlp__ResourceSpans *oracle_resource_spans(struct arena *mem,
							 const struct resource *r, size_t most)
{
	Otlp__ResourceSpans *to = arena_alloc(mem, sizeof(*to));

	otlp__resource_spans__init(to);
	to->resource = arena_alloc(mem, sizeof(*to->resource));
	otlp__resource__init(to->resource);
	to->resource->n_attributes = r->attrs.cnt;
	to->resource->attributes = oracle_attrs(mem, r->attrs.item, r->attrs.cnt);
	to->resource->dropped_attributes_count = r->attrs.dropped;
	to->schema_url = oracle_text(mem, r->schema_url);
	to->scope_spans = arena_alloc(mem, most * sizeof(void *));
	return to;
}

static inline void oracle_scopes(struct arena *mem, const struct span *const *spans, size_t cnt,
				 const struct resource *r, Otlp__ResourceSpans *to)
{
	for (size_t i = 0; i < cnt; i++) {
		Otlp__ScopeSpans *ss = oracle_scope_spans(mem, spans[i]->scope, cnt);
		bool seen = false;

		for (size_t j = 0; j < i; j++)
			seen = seen || spans[j]->scope == spans[i]->scope;
		for (size_t j = i; j < cnt && !seen; j++)
			if (spans[j]->resource == r && spans[j]->scope == spans[i]->scope)
				ss->spans[ss->n_spans++] = oracle_span(mem, spans[j]);
		if (ss->n_spans)
			to->scope_spans[to->n_scope_spans++] = ss;
	}
}

/* Grouped its own, plain way: every first appearance is searched for again. */
static inline Otlp__ExportTraceRequest *oracle_request(struct arena *mem,
						       const struct span *const *spans, size_t cnt)
{
	Otlp__ExportTraceRequest *to = arena_alloc(mem, sizeof(*to));

	otlp__export_trace_request__init(to);
	to->resource_spans = arena_alloc(mem, (cnt + 1) * sizeof(void *));
	for (size_t i = 0; i < cnt; i++) {
		bool seen = false;

		for (size_t j = 0; j < i; j++)
			seen = seen || spans[j]->resource == spans[i]->resource;
		if (seen)
			continue;
		to->resource_spans[to->n_resource_spans] =
			oracle_resource_spans(mem, spans[i]->resource, cnt);
		oracle_scopes(mem, spans, cnt, spans[i]->resource,
			      to->resource_spans[to->n_resource_spans++]);
	}
	return to;
}

#endif

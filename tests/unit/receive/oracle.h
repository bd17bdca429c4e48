/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What protobuf-c makes of a request, compared by value with what our decoder pushes. Only for
 * bytes that oracle_may_read() lets through: protobuf-c recurses without limit, and merges messages
 * that come in parts in its own way.
 */
#ifndef TESTS_RECEIVE_ORACLE_H
#define TESTS_RECEIVE_ORACLE_H

#include <stdio.h>
#include <stdlib.h>

#include "core/utf8.h"
#include "otlp.pb-c.h"
#include "receive/decode.h"
#include "receive/wire.h"

/* ---- what it may read ---- */

enum oracle_type {
	T_NONE,
	T_REQUEST,
	T_RESOURCE_SPANS,
	T_RESOURCE,
	T_SCOPE_SPANS,
	T_SCOPE,
	T_SPAN,
	T_EVENT,
	T_LINK,
	T_STATUS,
	T_PAIR,
	T_VALUE,
	T_ARRAY,
	T_LIST
};

static const struct {
	enum oracle_type in;
	uint32_t field;
	enum oracle_type type;
	bool once;
} oracle_fields[] = {
	{ T_REQUEST, 1, T_RESOURCE_SPANS, false },
	{ T_RESOURCE_SPANS, 1, T_RESOURCE, true },
	{ T_RESOURCE_SPANS, 2, T_SCOPE_SPANS, false },
	{ T_RESOURCE, 1, T_PAIR, false },
	{ T_SCOPE_SPANS, 1, T_SCOPE, true },
	{ T_SCOPE_SPANS, 2, T_SPAN, false },
	{ T_SCOPE, 3, T_PAIR, false },
	{ T_SPAN, 9, T_PAIR, false },
	{ T_SPAN, 11, T_EVENT, false },
	{ T_SPAN, 13, T_LINK, false },
	{ T_SPAN, 15, T_STATUS, true },
	{ T_EVENT, 3, T_PAIR, false },
	{ T_LINK, 4, T_PAIR, false },
	{ T_PAIR, 2, T_VALUE, true },
	{ T_VALUE, 5, T_ARRAY, true },
	{ T_VALUE, 6, T_LIST, true },
	{ T_ARRAY, 1, T_VALUE, false },
	{ T_LIST, 1, T_PAIR, false },
};

static inline bool oracle_walk(struct str bytes, enum oracle_type in, int depth)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	uint32_t seen = 0;
	struct wire f;

	depth += in == T_ARRAY || in == T_LIST;
	if (depth > VALUE_DEPTH_MAX)
		return false;
	while (wire_next(&c, &f)) {
		for (size_t i = 0; i < ARRAY_LEN(oracle_fields); i++) {
			if (oracle_fields[i].in != in ||
			    f.tag != (oracle_fields[i].field << 3 | WIRE_LEN))
				continue;
			if (oracle_fields[i].once && (seen & 1u << i))
				return false;
			seen |= 1u << i;
			if (!oracle_walk(f.bytes, oracle_fields[i].type, depth))
				return false;
		}
	}
	return true;
}

static inline bool oracle_may_read(struct str body)
{
	return oracle_walk(body, T_REQUEST, 0);
}

/* ---- comparing ---- */

#define SAME(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* The oracle's strings end at their first NUL, and are as they came. */
static inline bool same_text(struct str got, const char *want)
{
	struct str raw = str_of(want);
	size_t len = utf8_clean_len(raw);
	char *clean = malloc(len + 1);
	bool same;

	utf8_clean(raw, clean);
	got.len = got.len ? strnlen(got.p, got.len) : 0;
	same = str_eq(got, (struct str){ clean, len });
	free(clean);
	return same;
}

static inline void same_pair(const struct attr *got, const Otlp__KeyValue *want);

static inline void same_value(const struct value *got, const Otlp__AnyValue *want)
{
	switch (want ? want->value_case : OTLP__ANY_VALUE__VALUE__NOT_SET) {
	case OTLP__ANY_VALUE__VALUE_STRING_VALUE:
		SAME(got->type == VALUE_STR && same_text(got->str, want->string_value));
		break;
	case OTLP__ANY_VALUE__VALUE_BOOL_VALUE:
		/* it takes one of any wire type, which to us is an unknown field; and it looks at
		 * bits past the 64th of an overlong varint */
		SAME(got->type == VALUE_EMPTY ||
		     (got->type == VALUE_BOOL && (!got->b || want->bool_value)));
		break;
	case OTLP__ANY_VALUE__VALUE_INT_VALUE:
		SAME(got->type == VALUE_INT && got->i == want->int_value);
		break;
	case OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE:
		SAME(got->type == VALUE_DOUBLE && !memcmp(&got->d, &want->double_value, 8));
		break;
	case OTLP__ANY_VALUE__VALUE_ARRAY_VALUE:
		SAME(got->type == VALUE_ARRAY && got->array.cnt == want->array_value->n_values);
		for (size_t i = 0; i < got->array.cnt; i++)
			same_value(&got->array.item[i], want->array_value->values[i]);
		break;
	case OTLP__ANY_VALUE__VALUE_KVLIST_VALUE:
		SAME(got->type == VALUE_KVLIST && got->kvlist.cnt == want->kvlist_value->n_values);
		for (size_t i = 0; i < got->kvlist.cnt; i++)
			same_pair(&got->kvlist.item[i], want->kvlist_value->values[i]);
		break;
	case OTLP__ANY_VALUE__VALUE_BYTES_VALUE:
		SAME(got->type == VALUE_BYTES && got->str.len == want->bytes_value.len);
		SAME(!got->str.len || !memcmp(got->str.p, want->bytes_value.data, got->str.len));
		break;
	default: SAME(got->type == VALUE_EMPTY);
	}
}

static inline void same_pair(const struct attr *got, const Otlp__KeyValue *want)
{
	SAME(same_text(got->key, want->key));
	same_value(&got->value, want->value);
}

static inline void same_attrs(const struct attrs *got, Otlp__KeyValue *const *want, size_t cnt,
			      uint32_t dropped)
{
	uint32_t kept = (uint32_t)MIN(cnt, (size_t)ATTRS_MAX);

	SAME(got->cnt == kept && got->dropped == (uint32_t)(dropped + (cnt - kept)));
	for (uint32_t i = 0; i < kept; i++)
		same_pair(&got->item[i], want[i]);
}

static inline bool same_id(const uint8_t *got, size_t len, ProtobufCBinaryData want)
{
	static const uint8_t zeros[16];

	return !memcmp(got, want.len ? want.data : zeros, len);
}

static inline bool is_id(ProtobufCBinaryData id, size_t len)
{
	static const uint8_t zeros[16];

	return id.len == len && memcmp(id.data, zeros, len);
}

static inline void same_events(const struct span *got, const Otlp__Span *want)
{
	SAME(got->event_cnt == MIN(want->n_events, (size_t)EVENTS_MAX));
	SAME(got->dropped_events ==
	     (uint32_t)(want->dropped_events_count + want->n_events - got->event_cnt));
	for (uint32_t i = 0; i < got->event_cnt; i++) {
		const Otlp__Span__Event *e = want->events[i];

		SAME(got->events[i].time_ns == e->time_unix_nano);
		SAME(same_text(got->events[i].name, e->name));
		same_attrs(&got->events[i].attrs, e->attributes, e->n_attributes,
			   e->dropped_attributes_count);
	}
}

static inline void same_links(const struct span *got, const Otlp__Span *want)
{
	uint32_t kept = 0;

	for (size_t i = 0; i < want->n_links; i++) {
		const Otlp__Span__Link *l = want->links[i];
		const struct span_link *to = &got->links[kept];

		if (kept == LINKS_MAX || !is_id(l->trace_id, 16) || !is_id(l->span_id, 8))
			continue;
		SAME(kept++ < got->link_cnt);
		SAME(same_id(to->trace_id.b, 16, l->trace_id));
		SAME(same_id(to->span_id.b, 8, l->span_id));
		SAME(same_text(to->trace_state, l->trace_state) && to->flags == l->flags);
		same_attrs(&to->attrs, l->attributes, l->n_attributes, l->dropped_attributes_count);
	}
	SAME(got->link_cnt == kept);
	SAME(got->dropped_links == (uint32_t)(want->dropped_links_count + want->n_links - kept));
}

static inline void same_span(const struct span *got, const Otlp__Span *want)
{
	uint64_t end = MAX(want->start_time_unix_nano, want->end_time_unix_nano);

	SAME(same_id(got->trace_id.b, 16, want->trace_id));
	SAME(same_id(got->span_id.b, 8, want->span_id));
	SAME(same_id(got->parent_id.b, 8, want->parent_span_id));
	SAME(same_text(got->trace_state, want->trace_state) && same_text(got->name, want->name));
	SAME(got->kind == ((uint32_t)want->kind <= SPAN_CONSUMER ? (uint32_t)want->kind : 0));
	SAME(got->start_ns == want->start_time_unix_nano && got->end_ns == end);
	SAME(got->flags == want->flags);
	same_attrs(&got->attrs, want->attributes, want->n_attributes,
		   want->dropped_attributes_count);
	same_events(got, want);
	same_links(got, want);
	if (want->status) {
		uint32_t code = (uint32_t)want->status->code;

		SAME(got->status == (code <= STATUS_ERROR ? code : 0));
		SAME(same_text(got->status_message, want->status->message));
	}
}

/* A service.name that says nothing has a word in its place. */
static inline bool is_replaced(const struct attr *got, const Otlp__KeyValue *want)
{
	const Otlp__AnyValue *v = want->value;
	bool text = v && v->value_case == OTLP__ANY_VALUE__VALUE_STRING_VALUE;

	return str_eq(got->key, STR("service.name")) && same_text(got->key, want->key) &&
	       got->value.type == VALUE_STR && str_eq(got->value.str, STR("unknown_service")) &&
	       (text ? !*v->string_value
		     : !v || v->value_case == OTLP__ANY_VALUE__VALUE__NOT_SET ||
				v->value_case == OTLP__ANY_VALUE__VALUE_BOOL_VALUE);
}

static inline void same_origin(const struct span *got, const Otlp__ResourceSpans *rs,
			       const Otlp__ScopeSpans *ss)
{
	const struct resource *r = got->resource;
	size_t cnt = rs->resource ? MIN(rs->resource->n_attributes, (size_t)ATTRS_MAX) : 0;

	SAME(same_text(r->schema_url, rs->schema_url));
	SAME(same_text(got->scope->schema_url, ss->schema_url));
	/* one more where there was no service.name */
	SAME(r->service.len && (r->attrs.cnt == cnt || r->attrs.cnt == cnt + 1));
	for (size_t i = 0; i < cnt; i++)
		if (!is_replaced(&r->attrs.item[i], rs->resource->attributes[i]))
			same_pair(&r->attrs.item[i], rs->resource->attributes[i]);
	if (!ss->scope)
		return;
	SAME(same_text(got->scope->name, ss->scope->name));
	SAME(same_text(got->scope->version, ss->scope->version));
	same_attrs(&got->scope->attrs, ss->scope->attributes, ss->scope->n_attributes,
		   ss->scope->dropped_attributes_count);
}

/* ---- in step: the sink of the decoder under test ---- */

struct oracle {
	Otlp__ExportTraceRequest *request;
	uint64_t now_ns;
	size_t rs, ss, span; /* the next one */
	uint64_t accepted;
};

static inline bool oracle_accepts(const struct oracle *o, const Otlp__Span *s)
{
	uint64_t latest = o->now_ns + 24 * 3600 * 1000000000ull;

	return is_id(s->trace_id, 16) && is_id(s->span_id, 8) &&
	       (!s->parent_span_id.len || s->parent_span_id.len == 8) &&
	       s->start_time_unix_nano >= 946684800000000000ull &&
	       s->start_time_unix_nano <= latest && s->end_time_unix_nano <= latest;
}

/* The next span that is to be accepted; NULL at the end. */
static inline const Otlp__Span *oracle_next(struct oracle *o, const Otlp__ResourceSpans **rs,
					    const Otlp__ScopeSpans **ss)
{
	for (; o->rs < o->request->n_resource_spans; o->rs++, o->ss = 0) {
		*rs = o->request->resource_spans[o->rs];
		for (; o->ss < (*rs)->n_scope_spans; o->ss++, o->span = 0) {
			*ss = (*rs)->scope_spans[o->ss];
			while (o->span < (*ss)->n_spans)
				if (oracle_accepts(o, (*ss)->spans[o->span++]))
					return (*ss)->spans[o->span - 1];
		}
	}
	return NULL;
}

static inline void oracle_push(void *ctx, const struct span *s)
{
	struct oracle *o = ctx;
	const Otlp__ResourceSpans *rs = NULL;
	const Otlp__ScopeSpans *ss = NULL;
	const Otlp__Span *want = o->request ? oracle_next(o, &rs, &ss) : NULL;

	if (!o->request)
		return;
	SAME(want);
	same_span(s, want);
	same_origin(s, rs, ss);
	o->accepted++;
}

/* Decodes with both and compares; what protobuf-c cannot read only has to be survived. */
static inline int oracle_compare(struct decoder *d, struct oracle *o, struct str body)
{
	const Otlp__ResourceSpans *rs;
	const Otlp__ScopeSpans *ss;
	int err;

	*o = (struct oracle){ 0 };
	if (oracle_may_read(body))
		o->request =
			otlp__export_trace_request__unpack(NULL, body.len, (const uint8_t *)body.p);
	decoder_begin(d);
	o->now_ns = d->now_ns;
	err = decode_otlp(d, body);
	if (o->request) {
		SAME(err == 0 && !oracle_next(o, &rs, &ss) && o->accepted == d->intake.accepted);
		otlp__export_trace_request__free_unpacked(o->request, NULL);
	}
	return err;
}

#endif

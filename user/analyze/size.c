/* SPDX-License-Identifier: Apache-2.0 */
/* How long a span is as OTLP (protobuf), without its resource and scope. */
#include "analyze/internal.h"

#define FIXED64 9u

/* Nearly all lengths are of one byte, and this is asked several times for each attribute. */
static inline size_t varint(uint64_t v)
{
	return v < 128 ? 1 : (size_t)(63 - __builtin_clzll(v)) / 7 + 1;
}

/* A field of this many bytes, with its tag and length. */
static inline size_t field(size_t len)
{
	return 1 + varint(len) + len;
}

static size_t text(struct str s)
{
	return s.len ? field(s.len) : 0;
}

static size_t list_size(const struct value *v, int depth);

static inline size_t value_size(const struct value *v, int depth)
{
	switch (v->type) {
	case VALUE_STR:
	case VALUE_BYTES: return field(v->str.len);
	case VALUE_BOOL: return 2;
	case VALUE_INT: return 1 + varint((uint64_t)v->i);
	case VALUE_DOUBLE: return FIXED64;
	default: return depth < VALUE_DEPTH_MAX ? list_size(v, depth + 1) : 0;
	}
}

static inline size_t pair_size(const struct attr *a, int depth)
{
	/* most: tags and lengths, one byte each, of pair, key, value and text */
	if (a->value.type == VALUE_STR && a->key.len && a->key.len + a->value.str.len < 120)
		return a->key.len + a->value.str.len + 8;
	return field(text(a->key) + field(value_size(&a->value, depth)));
}

static size_t list_size(const struct value *v, int depth)
{
	size_t len = 0;

	if (v->type == VALUE_ARRAY)
		for (size_t i = 0; i < v->array.cnt; i++)
			len += field(value_size(&v->array.item[i], depth));
	else if (v->type == VALUE_KVLIST)
		for (size_t i = 0; i < v->kvlist.cnt; i++)
			len += pair_size(&v->kvlist.item[i], depth);
	else
		return 0;
	return field(len);
}

static size_t attrs_size(const struct attrs *a)
{
	size_t len = 0;

	for (uint32_t i = 0; i < a->cnt; i++)
		len += pair_size(&a->item[i], 0);
	return len;
}

size_t analyze_size(const struct span *s)
{
	size_t len = field(sizeof(s->trace_id)) + field(sizeof(s->span_id)) + 2 * FIXED64 +
		     text(s->name) + text(s->trace_state) + attrs_size(&s->attrs);

	if (span_id_is_set(&s->parent_id))
		len += field(sizeof(s->parent_id));
	len += s->kind ? 2 : 0;
	len += s->flags ? 2 + sizeof(s->flags) : 0; /* tags above 15 are two bytes */
	if (s->status || s->status_message.len)
		len += field(text(s->status_message) + (s->status ? 2 : 0));
	for (uint32_t i = 0; i < s->event_cnt; i++)
		len += field(FIXED64 + text(s->events[i].name) + attrs_size(&s->events[i].attrs));
	for (uint32_t i = 0; i < s->link_cnt; i++)
		len += field(field(sizeof(s->links[i].trace_id)) +
			     field(sizeof(s->links[i].span_id)) + text(s->links[i].trace_state) +
			     attrs_size(&s->links[i].attrs) + (s->links[i].flags ? 5 : 0));
	return len;
}

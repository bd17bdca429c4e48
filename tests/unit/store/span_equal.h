/* SPDX-License-Identifier: Apache-2.0 */
/* Are two spans the same, bit for bit? */
#ifndef TESTS_STORE_SPAN_EQUAL_H
#define TESTS_STORE_SPAN_EQUAL_H

#include "span/span.h"

static inline bool pairs_equal(const struct attr *a, size_t a_cnt, const struct attr *b,
			       size_t b_cnt);

static inline bool value_equal(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case VALUE_EMPTY: return true;
	case VALUE_STR:
	case VALUE_BYTES: return str_eq(a->str, b->str);
	case VALUE_BOOL: return a->b == b->b;
	case VALUE_INT:
	case VALUE_DOUBLE: return a->i == b->i;
	case VALUE_ARRAY:
		for (size_t i = 0; i < a->array.cnt && i < b->array.cnt; i++)
			if (!value_equal(&a->array.item[i], &b->array.item[i]))
				return false;
		return a->array.cnt == b->array.cnt;
	case VALUE_KVLIST:
		return pairs_equal(a->kvlist.item, a->kvlist.cnt, b->kvlist.item, b->kvlist.cnt);
	}
	return false;
}

static inline bool pairs_equal(const struct attr *a, size_t a_cnt, const struct attr *b,
			       size_t b_cnt)
{
	for (size_t i = 0; i < a_cnt && i < b_cnt; i++)
		if (!str_eq(a[i].key, b[i].key) || !value_equal(&a[i].value, &b[i].value))
			return false;
	return a_cnt == b_cnt;
}

static inline bool attrs_equal(const struct attrs *a, const struct attrs *b)
{
	return a->dropped == b->dropped && pairs_equal(a->item, a->cnt, b->item, b->cnt);
}

static inline bool events_equal(const struct span *a, const struct span *b)
{
	for (uint32_t i = 0; i < a->event_cnt && i < b->event_cnt; i++)
		if (a->events[i].time_ns != b->events[i].time_ns ||
		    !str_eq(a->events[i].name, b->events[i].name) ||
		    !attrs_equal(&a->events[i].attrs, &b->events[i].attrs))
			return false;
	return a->event_cnt == b->event_cnt && a->dropped_events == b->dropped_events;
}

static inline bool links_equal(const struct span *a, const struct span *b)
{
	for (uint32_t i = 0; i < a->link_cnt && i < b->link_cnt; i++) {
		const struct span_link *x = &a->links[i], *y = &b->links[i];

		if (memcmp(&x->trace_id, &y->trace_id, sizeof(x->trace_id)) ||
		    memcmp(&x->span_id, &y->span_id, sizeof(x->span_id)) ||
		    !str_eq(x->trace_state, y->trace_state) || x->flags != y->flags ||
		    !attrs_equal(&x->attrs, &y->attrs))
			return false;
	}
	return a->link_cnt == b->link_cnt && a->dropped_links == b->dropped_links;
}

static inline bool owners_equal(const struct span *a, const struct span *b)
{
	const struct resource *r = a->resource, *o = b->resource;
	const struct scope *s = a->scope, *p = b->scope;

	return attrs_equal(&r->attrs, &o->attrs) && str_eq(r->service, o->service) &&
	       str_eq(r->schema_url, o->schema_url) && r->hash == o->hash &&
	       str_eq(s->name, p->name) && str_eq(s->version, p->version) &&
	       str_eq(s->schema_url, p->schema_url) && attrs_equal(&s->attrs, &p->attrs);
}

static inline bool span_equal(const struct span *a, const struct span *b)
{
	return !memcmp(&a->trace_id, &b->trace_id, sizeof(a->trace_id)) &&
	       !memcmp(&a->span_id, &b->span_id, sizeof(a->span_id)) &&
	       !memcmp(&a->parent_id, &b->parent_id, sizeof(a->parent_id)) &&
	       str_eq(a->trace_state, b->trace_state) && a->flags == b->flags &&
	       a->kind == b->kind && str_eq(a->name, b->name) && a->start_ns == b->start_ns &&
	       a->end_ns == b->end_ns && a->status == b->status &&
	       str_eq(a->status_message, b->status_message) && attrs_equal(&a->attrs, &b->attrs) &&
	       events_equal(a, b) && links_equal(a, b) && owners_equal(a, b);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two spans say the same: a batch that was sent again is stored twice. */
#include "store/internal.h"

static bool attrs_same(const struct attr *a, const struct attr *b, size_t cnt);

static bool value_same(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case VALUE_EMPTY: return true;
	case VALUE_STR:
	case VALUE_BYTES: return str_eq(a->str, b->str);
	case VALUE_BOOL: return a->b == b->b;
	case VALUE_INT: return a->i == b->i;
	case VALUE_DOUBLE: return memcmp(&a->d, &b->d, sizeof(a->d)) == 0; /* NaN is itself */
	case VALUE_ARRAY:
		if (a->array.cnt != b->array.cnt)
			return false;
		for (size_t i = 0; i < a->array.cnt; i++)
			if (!value_same(&a->array.item[i], &b->array.item[i]))
				return false;
		return true;
	case VALUE_KVLIST:
		return a->kvlist.cnt == b->kvlist.cnt &&
		       attrs_same(a->kvlist.item, b->kvlist.item, a->kvlist.cnt);
	}
	return false;
}

static bool attrs_same(const struct attr *a, const struct attr *b, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (!str_eq(a[i].key, b[i].key) || !value_same(&a[i].value, &b[i].value))
			return false;
	return true;
}

static bool lists_same(const struct attrs *a, const struct attrs *b)
{
	return a->cnt == b->cnt && a->dropped == b->dropped && attrs_same(a->item, b->item, a->cnt);
}

static bool events_same(const struct span *a, const struct span *b)
{
	if (a->event_cnt != b->event_cnt || a->dropped_events != b->dropped_events)
		return false;
	for (uint32_t i = 0; i < a->event_cnt; i++) {
		const struct span_event *x = &a->events[i], *y = &b->events[i];

		if (x->time_ns != y->time_ns || !str_eq(x->name, y->name) ||
		    !lists_same(&x->attrs, &y->attrs))
			return false;
	}
	return true;
}

static bool links_same(const struct span *a, const struct span *b)
{
	if (a->link_cnt != b->link_cnt || a->dropped_links != b->dropped_links)
		return false;
	for (uint32_t i = 0; i < a->link_cnt; i++) {
		const struct span_link *x = &a->links[i], *y = &b->links[i];

		if (memcmp(&x->trace_id, &y->trace_id, sizeof(x->trace_id)) != 0 ||
		    memcmp(&x->span_id, &y->span_id, sizeof(x->span_id)) != 0 ||
		    !str_eq(x->trace_state, y->trace_state) || x->flags != y->flags ||
		    !lists_same(&x->attrs, &y->attrs))
			return false;
	}
	return true;
}

static bool resources_same(const struct resource *a, const struct resource *b)
{
	return a == b || (str_eq(a->schema_url, b->schema_url) && lists_same(&a->attrs, &b->attrs));
}

static bool scopes_same(const struct scope *a, const struct scope *b)
{
	return a == b || (str_eq(a->name, b->name) && str_eq(a->version, b->version) &&
			  str_eq(a->schema_url, b->schema_url) && lists_same(&a->attrs, &b->attrs));
}

bool span_same(const struct span *a, const struct span *b)
{
	return memcmp(&a->trace_id, &b->trace_id, sizeof(a->trace_id)) == 0 &&
	       memcmp(&a->span_id, &b->span_id, sizeof(a->span_id)) == 0 &&
	       memcmp(&a->parent_id, &b->parent_id, sizeof(a->parent_id)) == 0 &&
	       str_eq(a->trace_state, b->trace_state) && a->flags == b->flags &&
	       a->kind == b->kind && str_eq(a->name, b->name) && a->start_ns == b->start_ns &&
	       a->end_ns == b->end_ns && a->status == b->status &&
	       str_eq(a->status_message, b->status_message) && lists_same(&a->attrs, &b->attrs) &&
	       events_same(a, b) && links_same(a, b) && resources_same(a->resource, b->resource) &&
	       scopes_same(a->scope, b->scope);
}

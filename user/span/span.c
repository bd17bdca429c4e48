/* SPDX-License-Identifier: Apache-2.0 */
/* Building, copying and sharing spans. */
#include "span/span.h"

#include <stdlib.h>
#include <xxhash.h>

const struct scope scope_capture = { .name = { "telltale", 8 } };

void attrs_add(struct attrs *a, struct arena *mem, struct str key, struct value value)
{
	if (a->cnt >= SPAN_ATTRS_MAX) {
		a->dropped++;
		return;
	}
	if (a->cnt == a->size) {
		uint32_t size = a->size ? a->size * 2 : 8;
		struct attr *item = arena_alloc(mem, size * sizeof(*item));
		if (!item) {
			a->dropped++;
			return;
		}
		if (a->cnt)
			memcpy(item, a->item, a->cnt * sizeof(*item));
		a->item = item;
		a->size = size;
	}
	a->item[a->cnt++] = (struct attr){ key, value };
}

void attrs_add_str(struct attrs *a, struct arena *mem, const char *key, struct str value)
{
	attrs_add(a, mem, str_of(key), (struct value){ .type = VALUE_STR, .str = value });
}

void attrs_add_int(struct attrs *a, struct arena *mem, const char *key, int64_t value)
{
	attrs_add(a, mem, str_of(key), (struct value){ .type = VALUE_INT, .i = value });
}

void attrs_add_double(struct attrs *a, struct arena *mem, const char *key, double value)
{
	attrs_add(a, mem, str_of(key), (struct value){ .type = VALUE_DOUBLE, .d = value });
}

void attrs_add_bool(struct attrs *a, struct arena *mem, const char *key, bool value)
{
	attrs_add(a, mem, str_of(key), (struct value){ .type = VALUE_BOOL, .b = value });
}

struct attr *attrs_find(const struct attrs *a, struct str key)
{
	for (uint32_t i = 0; i < a->cnt; i++)
		if (str_eq(a->item[i].key, key))
			return &a->item[i];
	return NULL;
}

struct str attrs_str(const struct attrs *a, const char *key)
{
	const struct attr *at = attrs_find(a, str_of(key));

	return at && at->value.type == VALUE_STR ? at->value.str : (struct str){ NULL, 0 };
}

/* ---- copying: everything goes into one arena, so one failure flag is enough ---- */

struct copier {
	struct arena *mem;
	bool failed;
};

static void *copy_alloc(struct copier *cp, size_t cnt, size_t size)
{
	void *p = cnt ? arena_alloc(cp->mem, cnt * size) : NULL;

	if (cnt && !p)
		cp->failed = true;
	return p;
}

static struct str copy_str(struct copier *cp, struct str s)
{
	struct str to = { NULL, 0 };

	if (!s.len)
		return to;
	to = arena_str(cp->mem, s);
	if (!to.p)
		cp->failed = true;
	return to;
}

static struct attrs copy_attrs(struct copier *cp, const struct attrs *from, int depth);

static struct value copy_value(struct copier *cp, const struct value *from, int depth)
{
	struct value to = *from;

	if (depth > VALUE_DEPTH_MAX) {
		cp->failed = true;
		return (struct value){ .type = VALUE_EMPTY };
	}
	switch (from->type) {
	case VALUE_STR:
	case VALUE_BYTES: to.str = copy_str(cp, from->str); break;
	case VALUE_ARRAY:
		to.array.item = copy_alloc(cp, from->array.cnt, sizeof(*to.array.item));
		for (size_t i = 0; to.array.item && i < from->array.cnt; i++)
			to.array.item[i] = copy_value(cp, &from->array.item[i], depth + 1);
		break;
	case VALUE_KVLIST: {
		struct attrs list = { .item = from->kvlist.item,
				      .cnt = (uint32_t)from->kvlist.cnt };
		to.kvlist.item = copy_attrs(cp, &list, depth + 1).item;
		break;
	}
	default: break;
	}
	return to;
}

static struct attrs copy_attrs(struct copier *cp, const struct attrs *from, int depth)
{
	struct attrs to = { .cnt = from->cnt, .size = from->cnt, .dropped = from->dropped };

	to.item = copy_alloc(cp, from->cnt, sizeof(*to.item));
	for (uint32_t i = 0; to.item && i < from->cnt; i++) {
		to.item[i].key = copy_str(cp, from->item[i].key);
		to.item[i].value = copy_value(cp, &from->item[i].value, depth);
	}
	return to;
}

bool attrs_copy(const struct attrs *from, struct arena *mem, struct attrs *ret_to)
{
	struct copier cp = { .mem = mem };

	*ret_to = copy_attrs(&cp, from, 0);
	if (cp.failed) /* half a list would hold empty values */
		*ret_to = (struct attrs){ .dropped = from->cnt + from->dropped };
	return !cp.failed;
}

struct span *span_copy(const struct span *s, struct arena *mem)
{
	struct copier cp = { .mem = mem };
	struct span *to = copy_alloc(&cp, 1, sizeof(*to));

	if (!to)
		return NULL;
	*to = *s;
	to->trace_state = copy_str(&cp, s->trace_state);
	to->name = copy_str(&cp, s->name);
	to->status_message = copy_str(&cp, s->status_message);
	to->attrs = copy_attrs(&cp, &s->attrs, 0);
	to->events = copy_alloc(&cp, s->event_cnt, sizeof(*to->events));
	for (uint32_t i = 0; to->events && i < s->event_cnt; i++) {
		to->events[i] = s->events[i];
		to->events[i].name = copy_str(&cp, s->events[i].name);
		to->events[i].attrs = copy_attrs(&cp, &s->events[i].attrs, 0);
	}
	to->links = copy_alloc(&cp, s->link_cnt, sizeof(*to->links));
	for (uint32_t i = 0; to->links && i < s->link_cnt; i++) {
		to->links[i] = s->links[i];
		to->links[i].trace_state = copy_str(&cp, s->links[i].trace_state);
		to->links[i].attrs = copy_attrs(&cp, &s->links[i].attrs, 0);
	}
	if (cp.failed)
		return NULL;
	resource_get(to->resource);
	return to;
}

void span_release(struct span *s)
{
	if (s)
		resource_put(s->resource);
}

/* ---- resources ---- */

struct resource *resource_new(void)
{
	struct arena *mem = arena_new(0);
	struct resource *r = mem ? arena_alloc(mem, sizeof(*r)) : NULL;

	if (!r) {
		arena_free(mem);
		return NULL;
	}
	r->arena = mem;
	r->refs = 1;
	return r;
}

static void hash_value(XXH3_state_t *h, const struct value *v, int depth)
{
	XXH3_64bits_update(h, &v->type, sizeof(v->type));
	switch (v->type) {
	case VALUE_STR:
	case VALUE_BYTES:
		XXH3_64bits_update(h, &v->str.len, sizeof(v->str.len));
		if (v->str.len)
			XXH3_64bits_update(h, v->str.p, v->str.len);
		break;
	case VALUE_BOOL: XXH3_64bits_update(h, &v->b, sizeof(v->b)); break;
	case VALUE_INT:
	case VALUE_DOUBLE: XXH3_64bits_update(h, &v->i, sizeof(v->i)); break;
	case VALUE_ARRAY:
		for (size_t i = 0; depth < VALUE_DEPTH_MAX && i < v->array.cnt; i++)
			hash_value(h, &v->array.item[i], depth + 1);
		break;
	case VALUE_KVLIST:
		for (size_t i = 0; depth < VALUE_DEPTH_MAX && i < v->kvlist.cnt; i++) {
			const struct attr *at = &v->kvlist.item[i];
			XXH3_64bits_update(h, at->key.p, at->key.len);
			hash_value(h, &at->value, depth + 1);
		}
		break;
	case VALUE_EMPTY: break;
	}
}

void resource_seal(struct resource *r)
{
	XXH3_state_t *h = XXH3_createState();

	r->service = attrs_str(&r->attrs, "service.name");
	if (!r->service.len) {
		r->service = STR("unknown_service");
		attrs_add_str(&r->attrs, r->arena, "service.name", r->service);
	}
	if (!h)
		return;
	XXH3_64bits_reset(h);
	for (uint32_t i = 0; i < r->attrs.cnt; i++) {
		XXH3_64bits_update(h, r->attrs.item[i].key.p, r->attrs.item[i].key.len);
		hash_value(h, &r->attrs.item[i].value, 0);
	}
	r->hash = XXH3_64bits_digest(h);
	XXH3_freeState(h);
}

struct resource *resource_get(struct resource *r)
{
	__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void resource_put(struct resource *r)
{
	if (r && __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) == 0)
		arena_free(r->arena);
}

/* ---- ids ---- */

static void hex(const uint8_t *b, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[b[i] >> 4];
		out[2 * i + 1] = digits[b[i] & 15];
	}
	out[2 * len] = 0;
}

bool trace_id_is_set(const struct trace_id *id)
{
	static const struct trace_id none;

	return memcmp(id, &none, sizeof(none)) != 0;
}

bool span_id_is_set(const struct span_id *id)
{
	static const struct span_id none;

	return memcmp(id, &none, sizeof(none)) != 0;
}

void trace_id_hex(const struct trace_id *id, char out[33])
{
	hex(id->b, sizeof(id->b), out);
}

void span_id_hex(const struct span_id *id, char out[17])
{
	hex(id->b, sizeof(id->b), out);
}

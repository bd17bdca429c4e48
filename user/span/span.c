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

struct attr *attrs_find(const struct attrs *a, struct str key)
{
	const struct attr *end = a->cnt ? a->item + a->cnt : a->item; /* C forbids even NULL + 0 */

	/* lengths and last letters differ mostly: few keys are compared whole */
	for (struct attr *at = a->item; at < end; at++)
		if (at->key.len == key.len &&
		    (!key.len || at->key.p[key.len - 1] == key.p[key.len - 1]) &&
		    str_eq(at->key, key))
			return at;
	return NULL;
}

struct str attrs_str(const struct attrs *a, const char *key)
{
	const struct attr *at = attrs_find(a, str_of(key));

	return at && at->value.type == VALUE_STR ? at->value.str : (struct str){ NULL, 0 };
}

/* ---- copying: what it takes is summed up first, then all of it goes into one allocation ---- */

struct extent {
	size_t items; /* bytes of structs and arrays, which need alignment */
	size_t text;  /* bytes of strings, which do not and stand behind */
	bool too_deep;
};

struct copier {
	char *item, *text; /* where the next ones go */
};

static size_t str_extent(struct str s)
{
	return s.len ? s.len + 1 : 0;
}

static void add_extent(struct extent *e, const struct attr *item, size_t cnt, int depth);

static void add_value_extent(struct extent *e, const struct value *v, int depth)
{
	if (depth > VALUE_DEPTH_MAX) {
		e->too_deep = true;
		return;
	}
	switch (v->type) {
	case VALUE_STR:
	case VALUE_BYTES: e->text += str_extent(v->str); break;
	case VALUE_ARRAY:
		e->items += v->array.cnt * sizeof(*v->array.item);
		for (size_t i = 0; i < v->array.cnt; i++)
			add_value_extent(e, &v->array.item[i], depth + 1);
		break;
	case VALUE_KVLIST: add_extent(e, v->kvlist.item, v->kvlist.cnt, depth + 1); break;
	default: break;
	}
}

static void add_extent(struct extent *e, const struct attr *item, size_t cnt, int depth)
{
	e->items += cnt * sizeof(*item);
	for (size_t i = 0; i < cnt; i++) {
		e->text += str_extent(item[i].key);
		add_value_extent(e, &item[i].value, depth);
	}
}

/* False without room, or where the producer nested deeper than it may. */
static bool copier_init(struct copier *cp, const struct extent *e, struct arena *mem)
{
	cp->item = e->too_deep ? NULL : arena_alloc_raw(mem, e->items + e->text);
	cp->text = cp->item + e->items;
	return cp->item;
}

static void *copy_items(struct copier *cp, const void *from, size_t size)
{
	void *to = cp->item;

	if (!size)
		return NULL;
	cp->item += size;
	return memcpy(to, from, size);
}

/* NUL-terminated, as strings in arenas are. */
static struct str copy_str(struct copier *cp, struct str s)
{
	struct str to = { cp->text, s.len };

	if (!s.len)
		return (struct str){ NULL, 0 };
	memcpy(cp->text, s.p, s.len);
	cp->text[s.len] = 0;
	cp->text += s.len + 1;
	return to;
}

static struct attr *copy_pairs(struct copier *cp, const struct attr *item, size_t cnt);

/* What a value points to; the value itself was copied with the list it is in. */
static void copy_below(struct copier *cp, struct value *v)
{
	switch (v->type) {
	case VALUE_STR:
	case VALUE_BYTES: v->str = copy_str(cp, v->str); break;
	case VALUE_ARRAY:
		v->array.item =
			copy_items(cp, v->array.item, v->array.cnt * sizeof(*v->array.item));
		for (size_t i = 0; i < v->array.cnt; i++)
			copy_below(cp, &v->array.item[i]);
		break;
	case VALUE_KVLIST: v->kvlist.item = copy_pairs(cp, v->kvlist.item, v->kvlist.cnt); break;
	default: break;
	}
}

static struct attr *copy_pairs(struct copier *cp, const struct attr *item, size_t cnt)
{
	struct attr *to = copy_items(cp, item, cnt * sizeof(*item));

	for (size_t i = 0; i < cnt; i++) {
		to[i].key = copy_str(cp, to[i].key);
		copy_below(cp, &to[i].value);
	}
	return to;
}

static void copy_attrs(struct copier *cp, struct attrs *a)
{
	a->item = copy_pairs(cp, a->item, a->cnt);
	a->size = a->cnt;
}

bool attrs_copy(const struct attrs *from, struct arena *mem, struct attrs *ret_to)
{
	struct extent e = { 0 };
	struct copier cp;

	add_extent(&e, from->item, from->cnt, 0);
	if (!copier_init(&cp, &e, mem)) { /* half a list would hold empty values */
		*ret_to = (struct attrs){ .dropped = from->cnt + from->dropped };
		return false;
	}
	*ret_to = *from;
	copy_attrs(&cp, ret_to);
	return true;
}

static void add_span_extent(struct extent *e, const struct span *s)
{
	e->items +=
		sizeof(*s) + s->event_cnt * sizeof(*s->events) + s->link_cnt * sizeof(*s->links);
	e->text += str_extent(s->trace_state) + str_extent(s->name) + str_extent(s->status_message);
	add_extent(e, s->attrs.item, s->attrs.cnt, 0);
	for (uint32_t i = 0; i < s->event_cnt; i++) {
		e->text += str_extent(s->events[i].name);
		add_extent(e, s->events[i].attrs.item, s->events[i].attrs.cnt, 0);
	}
	for (uint32_t i = 0; i < s->link_cnt; i++) {
		e->text += str_extent(s->links[i].trace_state);
		add_extent(e, s->links[i].attrs.item, s->links[i].attrs.cnt, 0);
	}
}

struct span *span_copy(const struct span *s, struct arena *mem)
{
	struct extent e = { 0 };
	struct copier cp;
	struct span *to;

	add_span_extent(&e, s);
	if (!copier_init(&cp, &e, mem))
		return NULL;
	to = copy_items(&cp, s, sizeof(*s));
	to->trace_state = copy_str(&cp, s->trace_state);
	to->name = copy_str(&cp, s->name);
	to->status_message = copy_str(&cp, s->status_message);
	copy_attrs(&cp, &to->attrs);
	to->events = copy_items(&cp, s->events, s->event_cnt * sizeof(*s->events));
	for (uint32_t i = 0; i < s->event_cnt; i++) {
		to->events[i].name = copy_str(&cp, s->events[i].name);
		copy_attrs(&cp, &to->events[i].attrs);
	}
	to->links = copy_items(&cp, s->links, s->link_cnt * sizeof(*s->links));
	for (uint32_t i = 0; i < s->link_cnt; i++) {
		to->links[i].trace_state = copy_str(&cp, s->links[i].trace_state);
		copy_attrs(&cp, &to->links[i].attrs);
	}
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

/* In the place of an empty name, so that the key stays the only one. */
static void name_unknown(struct resource *r)
{
	struct attr *a = attrs_find(&r->attrs, STR("service.name"));

	r->service = STR("unknown_service");
	if (a && (a->value.type == VALUE_STR || a->value.type == VALUE_EMPTY))
		a->value = (struct value){ .type = VALUE_STR, .str = r->service };
	else
		attrs_add_str(&r->attrs, r->arena, "service.name", r->service);
}

void resource_seal(struct resource *r)
{
	XXH3_state_t *h = XXH3_createState();

	r->service = attrs_str(&r->attrs, "service.name");
	if (!r->service.len)
		name_unknown(r);
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

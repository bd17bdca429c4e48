/* SPDX-License-Identifier: Apache-2.0 */
/* Values, lists of attributes, events and links as bytes, and back. */
#include "store/block_format.h"

void put_varint(struct buf *b, uint64_t v)
{
	uint8_t *p;

	if (buf_reserve(b, 10))
		return;
	p = (uint8_t *)b->p + b->len;
	while (v >= 128) {
		*p++ = (uint8_t)(v | 128);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	b->len = (size_t)((char *)p - b->p);
}

void put_u32(struct buf *b, uint32_t v)
{
	v = htole32(v);
	buf_add(b, &v, sizeof(v));
}

void put_u64(struct buf *b, uint64_t v)
{
	v = htole64(v);
	buf_add(b, &v, sizeof(v));
}

void put_text(struct buf *b, struct str s)
{
	put_varint(b, s.len);
	buf_add_str(b, s);
}

static void put_deep(struct buf *b, const struct value *v, int depth);

static void put_pairs(struct buf *b, const struct attr *item, size_t cnt, int depth)
{
	put_varint(b, cnt);
	for (size_t i = 0; i < cnt; i++) {
		put_text(b, item[i].key);
		put_deep(b, &item[i].value, depth);
	}
}

static void put_items(struct buf *b, const struct value *v, int depth)
{
	if (depth > VALUE_DEPTH_MAX) {
		b->failed = true;
		return;
	}
	if (v->type == VALUE_KVLIST) {
		put_pairs(b, v->kvlist.item, v->kvlist.cnt, depth + 1);
		return;
	}
	put_varint(b, v->array.cnt);
	for (size_t i = 0; i < v->array.cnt; i++)
		put_deep(b, &v->array.item[i], depth + 1);
}

static void put_deep(struct buf *b, const struct value *v, int depth)
{
	buf_add_char(b, (char)v->type);
	switch (v->type) {
	case VALUE_EMPTY: break;
	case VALUE_STR:
	case VALUE_BYTES: put_text(b, v->str); break;
	case VALUE_BOOL: buf_add_char(b, v->b); break;
	case VALUE_INT:
	case VALUE_DOUBLE: put_u64(b, (uint64_t)v->i); break;
	case VALUE_ARRAY:
	case VALUE_KVLIST: put_items(b, v, depth); break;
	}
}

void put_value(struct buf *b, const struct value *v)
{
	put_deep(b, v, 0);
}

void put_list(struct buf *b, const struct value *v)
{
	put_items(b, v, 0);
}

void put_attrs(struct buf *b, const struct attrs *a)
{
	put_varint(b, a->dropped);
	put_pairs(b, a->item, a->cnt, 0);
}

/* ---- back ---- */

uint64_t take_varint(struct cursor *c)
{
	uint64_t v = 0;

	for (int shift = 0; shift < 64; shift += 7) {
		uint8_t byte = take_u8(c);

		v |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return v;
	}
	c->bad = true;
	return 0;
}

struct str take_text(struct cursor *c)
{
	return take_str(c, take_varint(c));
}

/* Room for as many items as a list says: each takes a byte at least. */
static void *take_room(struct cursor *c, struct arena *mem, size_t size, size_t *ret_cnt)
{
	uint64_t cnt = take_varint(c);
	void *p = NULL;

	*ret_cnt = 0;
	if (c->bad || cnt > cursor_left(c)) {
		c->bad = true;
		return NULL;
	}
	if (cnt) {
		p = arena_alloc_raw(mem, cnt * size);
		c->bad = !p;
	}
	*ret_cnt = p ? cnt : 0;
	return p;
}

static void take_deep(struct cursor *c, struct arena *mem, struct value *v, int depth);

static struct attr *take_pairs(struct cursor *c, struct arena *mem, int depth, size_t *ret_cnt)
{
	struct attr *item = take_room(c, mem, sizeof(*item), ret_cnt);

	for (size_t i = 0; i < *ret_cnt; i++) {
		item[i].key = take_text(c);
		take_deep(c, mem, &item[i].value, depth);
	}
	return item;
}

static void take_items(struct cursor *c, struct arena *mem, struct value *v, int depth)
{
	if (depth > VALUE_DEPTH_MAX) {
		c->bad = true;
		return;
	}
	if (v->type == VALUE_KVLIST) {
		v->kvlist.item = take_pairs(c, mem, depth + 1, &v->kvlist.cnt);
		return;
	}
	v->array.item = take_room(c, mem, sizeof(*v->array.item), &v->array.cnt);
	for (size_t i = 0; i < v->array.cnt; i++)
		take_deep(c, mem, &v->array.item[i], depth + 1);
}

static void take_deep(struct cursor *c, struct arena *mem, struct value *v, int depth)
{
	uint8_t type = take_u8(c);

	*v = (struct value){ .type = type <= VALUE_KVLIST ? type : VALUE_EMPTY };
	switch (type) {
	case VALUE_EMPTY: break;
	case VALUE_STR:
	case VALUE_BYTES: v->str = take_text(c); break;
	case VALUE_BOOL: v->b = take_u8(c) != 0; break;
	case VALUE_INT:
	case VALUE_DOUBLE: v->i = (int64_t)take_u64le(c); break;
	case VALUE_ARRAY:
	case VALUE_KVLIST: take_items(c, mem, v, depth); break;
	default: c->bad = true;
	}
	/* a list that went bad half-way is not looked at */
	if (c->bad)
		*v = (struct value){ .type = VALUE_EMPTY };
}

void take_value(struct cursor *c, struct arena *mem, struct value *ret_value)
{
	take_deep(c, mem, ret_value, 0);
}

void take_list(struct cursor *c, struct arena *mem, enum value_type type, struct value *ret_value)
{
	*ret_value = (struct value){ .type = type };
	take_items(c, mem, ret_value, 0);
}

void take_attrs(struct cursor *c, struct arena *mem, struct attrs *ret_attrs)
{
	size_t cnt;

	*ret_attrs = (struct attrs){ .dropped = (uint32_t)take_varint(c) };
	ret_attrs->item = take_pairs(c, mem, 0, &cnt);
	ret_attrs->cnt = ret_attrs->size = (uint32_t)cnt;
}

/* ---- what few spans have ---- */

bool has_details(const struct span *s)
{
	return s->event_cnt || s->link_cnt || s->status_message.len || s->trace_state.len ||
	       s->attrs.dropped || s->dropped_events || s->dropped_links;
}

void put_details(struct buf *b, const struct span *s)
{
	put_text(b, s->trace_state);
	put_text(b, s->status_message);
	put_varint(b, s->attrs.dropped);
	put_varint(b, s->dropped_events);
	put_varint(b, s->dropped_links);
	put_varint(b, s->event_cnt);
	for (uint32_t i = 0; i < s->event_cnt; i++) {
		const struct span_event *e = &s->events[i];

		put_u64(b, e->time_ns - s->start_ns);
		put_text(b, e->name);
		put_attrs(b, &e->attrs);
	}
	put_varint(b, s->link_cnt);
	for (uint32_t i = 0; i < s->link_cnt; i++) {
		const struct span_link *l = &s->links[i];

		buf_add(b, l->trace_id.b, sizeof(l->trace_id.b));
		buf_add(b, l->span_id.b, sizeof(l->span_id.b));
		put_text(b, l->trace_state);
		put_varint(b, l->flags);
		put_attrs(b, &l->attrs);
	}
}

static void take_id(struct cursor *c, uint8_t *id, size_t len)
{
	const uint8_t *p = take(c, len);

	if (p)
		memcpy(id, p, len);
}

static void take_link(struct cursor *c, struct arena *mem, struct span_link *l)
{
	*l = (struct span_link){ 0 };
	take_id(c, l->trace_id.b, sizeof(l->trace_id.b));
	take_id(c, l->span_id.b, sizeof(l->span_id.b));
	l->trace_state = take_text(c);
	l->flags = (uint32_t)take_varint(c);
	take_attrs(c, mem, &l->attrs);
}

bool take_details(struct str from, struct arena *mem, struct span *s)
{
	struct cursor c = cursor_of(from.p, from.len);
	size_t cnt;

	s->trace_state = take_text(&c);
	s->status_message = take_text(&c);
	s->attrs.dropped = (uint32_t)take_varint(&c);
	s->dropped_events = (uint32_t)take_varint(&c);
	s->dropped_links = (uint32_t)take_varint(&c);
	s->events = take_room(&c, mem, sizeof(*s->events), &cnt);
	s->event_cnt = (uint32_t)cnt;
	for (size_t i = 0; i < cnt; i++) {
		struct span_event *e = &s->events[i];

		e->time_ns = take_u64le(&c) + s->start_ns;
		e->name = take_text(&c);
		take_attrs(&c, mem, &e->attrs);
	}
	s->links = take_room(&c, mem, sizeof(*s->links), &cnt);
	s->link_cnt = (uint32_t)cnt;
	for (size_t i = 0; i < cnt; i++)
		take_link(&c, mem, &s->links[i]);
	return !c.bad && c.p == c.end;
}

/* ---- what spans share ---- */

void put_resource(struct buf *b, const struct resource *r)
{
	put_text(b, r->schema_url);
	put_text(b, r->service);
	put_u64(b, r->hash);
	put_attrs(b, &r->attrs);
}

void take_resource(struct cursor *c, struct arena *mem, struct resource *ret)
{
	ret->schema_url = take_text(c);
	ret->service = take_text(c);
	ret->hash = take_u64le(c);
	take_attrs(c, mem, &ret->attrs);
}

void put_scope(struct buf *b, const struct scope *s)
{
	put_text(b, s->name);
	put_text(b, s->version);
	put_text(b, s->schema_url);
	put_attrs(b, &s->attrs);
}

void take_scope(struct cursor *c, struct arena *mem, struct scope *ret)
{
	ret->name = take_text(c);
	ret->version = take_text(c);
	ret->schema_url = take_text(c);
	take_attrs(c, mem, &ret->attrs);
}

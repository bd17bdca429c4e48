/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ExportTraceServiceRequest in protobuf. Field numbers are those of opentelemetry-proto 1.x. Fields
 * come in any order, so a ResourceSpans and a ScopeSpans are gone through twice: for what they say
 * about their spans, then for the spans. Messages that come in parts are merged by putting their
 * bytes together, as protobuf defines it.
 */
#include "receive/decode.h"

#include <errno.h>
#include <stdio.h>

#include "receive/wire.h"

/* ---- values and attributes ---- */

static bool read_value(struct reading *r, struct str bytes, struct value *v, int depth);

static bool read_attr(struct reading *r, struct str bytes, struct attr *a, int depth)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct wire f;

	a->key = (struct str){ NULL, 0 };
	a->value.type = VALUE_EMPTY;
	while (wire_next(&c, &f)) {
		if (f.tag == WIRE(1, LEN))
			a->key = reading_text(r, f.bytes);
		else if (f.tag == WIRE(2, LEN) && !read_value(r, f.bytes, &a->value, depth))
			return false;
	}
	return !c.bad;
}

/* Both kinds of list are counted first; their items are field 1. */
static bool read_list(struct reading *r, struct str bytes, struct value *v, enum value_type type,
		      int depth)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct wire f;
	size_t cnt = 0, i = 0;
	void *item;

	v->type = VALUE_EMPTY;
	if (depth > VALUE_DEPTH_MAX) {
		reading_refuse(r, REJECT_too_deep);
		return true;
	}
	while (wire_next(&c, &f))
		cnt += f.tag == WIRE(1, LEN);
	if (c.bad)
		return false;
	item = reading_array(r, cnt,
			     type == VALUE_ARRAY ? sizeof(struct value) : sizeof(struct attr));
	if (!item)
		return true;
	v->type = type;
	if (type == VALUE_ARRAY) {
		v->array.item = item;
		v->array.cnt = cnt;
	} else {
		v->kvlist.item = item;
		v->kvlist.cnt = cnt;
	}
	c = cursor_of(bytes.p, bytes.len);
	while (wire_next(&c, &f)) {
		if (f.tag != WIRE(1, LEN))
			continue;
		if (!(type == VALUE_ARRAY ? read_value(r, f.bytes, &v->array.item[i++], depth)
					  : read_attr(r, f.bytes, &v->kvlist.item[i++], depth)))
			return false;
	}
	return true;
}

static void read_bytes(struct reading *r, struct str bytes, struct value *v)
{
	if (bytes.len > TEXT_BYTES_MAX)
		reading_refuse(r, REJECT_too_large);
	v->type = VALUE_BYTES;
	v->str = bytes;
}

static bool read_value(struct reading *r, struct str bytes, struct value *v, int depth)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct wire f;

	v->type = VALUE_EMPTY;
	while (wire_next(&c, &f)) {
		switch (f.tag) {
		case WIRE(1, LEN):
			v->type = VALUE_STR;
			v->str = reading_text(r, f.bytes);
			break;
		case WIRE(2, VARINT):
			v->type = VALUE_BOOL;
			v->b = f.number != 0;
			break;
		case WIRE(3, VARINT):
			v->type = VALUE_INT;
			v->i = (int64_t)f.number;
			break;
		case WIRE(4, FIXED64):
			v->type = VALUE_DOUBLE;
			memcpy(&v->d, &f.number, sizeof(v->d));
			break;
		case WIRE(5, LEN):
			if (!read_list(r, f.bytes, v, VALUE_ARRAY, depth + 1))
				return false;
			break;
		case WIRE(6, LEN):
			if (!read_list(r, f.bytes, v, VALUE_KVLIST, depth + 1))
				return false;
			break;
		case WIRE(7, LEN): read_bytes(r, f.bytes, v); break;
		default: break;
		}
	}
	return !c.bad;
}

/* ---- resources and scopes ---- */

static bool read_resource(struct reading *r, struct str bytes, struct resource *to)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	uint32_t dropped = 0;
	struct wire f;

	while (wire_next(&c, &f)) {
		if (f.tag == WIRE(1, LEN)) {
			if (!read_attr(r, f.bytes, reading_attr(r, &to->attrs), 0))
				return false;
		} else if (f.tag == WIRE(2, VARINT)) {
			dropped = (uint32_t)f.number;
		}
	}
	to->attrs.dropped += dropped;
	return !c.bad;
}

static bool read_scope(struct reading *r, struct str bytes, struct scope *to)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	uint32_t dropped = 0;
	struct wire f;

	while (wire_next(&c, &f)) {
		switch (f.tag) {
		case WIRE(1, LEN): to->name = reading_text(r, f.bytes); break;
		case WIRE(2, LEN): to->version = reading_text(r, f.bytes); break;
		case WIRE(3, LEN):
			if (!read_attr(r, f.bytes, reading_attr(r, &to->attrs), 0))
				return false;
			break;
		case WIRE(4, VARINT): dropped = (uint32_t)f.number; break;
		default: break;
		}
	}
	to->attrs.dropped += dropped;
	return !c.bad;
}

static const struct form form_otlp = { read_resource, read_scope };

/* ---- spans ---- */

/* A span with what is known of it only when all its fields were seen. */
struct span_reading {
	struct reading r;
	struct span span;
	struct str trace_id, span_id, parent_id;
	uint32_t dropped_attrs, dropped_events, dropped_links;
	uint32_t event_size, link_size;
};

static bool read_event(struct span_reading *sr, struct str bytes)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct span_event spare, *e = &spare;
	uint32_t dropped = 0;
	struct wire f;

	if (sr->span.event_cnt < sr->event_size)
		e = &sr->span.events[sr->span.event_cnt++];
	else
		sr->span.dropped_events++;
	*e = (struct span_event){ 0 };
	while (wire_next(&c, &f)) {
		switch (f.tag) {
		case WIRE(1, FIXED64): e->time_ns = f.number; break;
		case WIRE(2, LEN): e->name = reading_text(&sr->r, f.bytes); break;
		case WIRE(3, LEN):
			if (!read_attr(&sr->r, f.bytes, reading_attr(&sr->r, &e->attrs), 0))
				return false;
			break;
		case WIRE(4, VARINT): dropped = (uint32_t)f.number; break;
		default: break;
		}
	}
	e->attrs.dropped += dropped;
	return !c.bad;
}

static bool copy_id(struct str from, uint8_t *to, size_t len)
{
	if (from.len != len)
		return false;
	memcpy(to, from.p, len);
	return true;
}

/* A link to nowhere is dropped and counted. */
static void keep_link(struct span_reading *sr, struct span_link *l, struct str trace_id,
		      struct str span_id)
{
	if (sr->span.link_cnt < sr->link_size && copy_id(trace_id, l->trace_id.b, 16) &&
	    copy_id(span_id, l->span_id.b, 8) && trace_id_is_set(&l->trace_id) &&
	    span_id_is_set(&l->span_id))
		sr->span.links[sr->span.link_cnt++] = *l;
	else
		sr->span.dropped_links++;
}

static bool read_link(struct span_reading *sr, struct str bytes)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct str trace_id = { 0 }, span_id = { 0 };
	struct span_link l = { 0 };
	uint32_t dropped = 0;
	struct wire f;

	while (wire_next(&c, &f)) {
		switch (f.tag) {
		case WIRE(1, LEN): trace_id = f.bytes; break;
		case WIRE(2, LEN): span_id = f.bytes; break;
		case WIRE(3, LEN): l.trace_state = reading_text(&sr->r, f.bytes); break;
		case WIRE(4, LEN):
			if (!read_attr(&sr->r, f.bytes, reading_attr(&sr->r, &l.attrs), 0))
				return false;
			break;
		case WIRE(5, VARINT): dropped = (uint32_t)f.number; break;
		case WIRE(6, FIXED32): l.flags = (uint32_t)f.number; break;
		default: break;
		}
	}
	l.attrs.dropped += dropped;
	keep_link(sr, &l, trace_id, span_id);
	return !c.bad;
}

static bool read_status(struct span_reading *sr, struct str bytes)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct wire f;

	while (wire_next(&c, &f)) {
		if (f.tag == WIRE(2, LEN))
			sr->span.status_message = reading_text(&sr->r, f.bytes);
		else if (f.tag == WIRE(3, VARINT))
			sr->span.status =
				(uint32_t)f.number <= STATUS_ERROR ? f.number : STATUS_UNSET;
	}
	return !c.bad;
}

/* Room for events and links, when the first of either comes: all are counted then. */
static bool make_room(struct span_reading *sr, struct str bytes)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	uint32_t events = 0, links = 0;
	struct wire f;

	while (wire_next(&c, &f)) {
		events += f.tag == WIRE(11, LEN) && events < EVENTS_MAX;
		links += f.tag == WIRE(13, LEN) && links < LINKS_MAX;
	}
	sr->span.events = reading_array(&sr->r, events, sizeof(*sr->span.events));
	sr->span.links = reading_array(&sr->r, links, sizeof(*sr->span.links));
	sr->event_size = sr->span.events ? events : 0;
	sr->link_size = sr->span.links ? links : 0;
	return !c.bad;
}

static bool read_span_field(struct span_reading *sr, const struct wire *f, struct str all)
{
	struct span *s = &sr->span;

	switch (f->tag) {
	case WIRE(1, LEN): sr->trace_id = f->bytes; return true;
	case WIRE(2, LEN): sr->span_id = f->bytes; return true;
	case WIRE(3, LEN): s->trace_state = reading_text(&sr->r, f->bytes); return true;
	case WIRE(4, LEN): sr->parent_id = f->bytes; return true;
	case WIRE(5, LEN): s->name = reading_text(&sr->r, f->bytes); return true;
	case WIRE(6, VARINT):
		s->kind = (uint32_t)f->number <= SPAN_CONSUMER ? f->number : SPAN_UNSPECIFIED;
		return true;
	case WIRE(7, FIXED64): s->start_ns = f->number; return true;
	case WIRE(8, FIXED64): s->end_ns = f->number; return true;
	case WIRE(9, LEN): return read_attr(&sr->r, f->bytes, reading_attr(&sr->r, &s->attrs), 0);
	case WIRE(10, VARINT): sr->dropped_attrs = (uint32_t)f->number; return true;
	case WIRE(11, LEN):
		return (sr->event_size || make_room(sr, all)) && read_event(sr, f->bytes);
	case WIRE(12, VARINT): sr->dropped_events = (uint32_t)f->number; return true;
	case WIRE(13, LEN): return (sr->link_size || make_room(sr, all)) && read_link(sr, f->bytes);
	case WIRE(14, VARINT): sr->dropped_links = (uint32_t)f->number; return true;
	case WIRE(15, LEN): return read_status(sr, f->bytes);
	case WIRE(16, FIXED32): s->flags = (uint32_t)f->number; return true;
	default: return true;
	}
}

static void set_ids(struct span_reading *sr)
{
	struct span *s = &sr->span;

	if (!copy_id(sr->trace_id, s->trace_id.b, 16) || !copy_id(sr->span_id, s->span_id.b, 8) ||
	    (sr->parent_id.len && !copy_id(sr->parent_id, s->parent_id.b, 8)))
		reading_refuse(&sr->r, REJECT_bad_id);
}

static bool read_span(struct decoder *d, struct str bytes, struct resource *resource,
		      const struct scope *scope)
{
	struct span_reading sr = { .span = { .resource = resource, .scope = scope } };
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct wire f;

	if (bytes.len > SPAN_BYTES_MAX) {
		decoder_reject(d, REJECT_too_large);
		return true;
	}
	sr.r = decoder_reading(d);
	while (wire_next(&c, &f))
		if (!read_span_field(&sr, &f, bytes))
			goto bad;
	if (c.bad)
		goto bad;
	sr.span.attrs.dropped += sr.dropped_attrs;
	sr.span.dropped_events += sr.dropped_events;
	sr.span.dropped_links += sr.dropped_links;
	set_ids(&sr);
	decoder_push(d, &sr.r, &sr.span);
	return true;
bad:
	decoder_reject(d, REJECT_malformed);
	return false;
}

/* ---- the request ---- */

/* Bytes of a message that may come in several parts. */
static bool merge(struct buf *parts, struct str *have, struct str more)
{
	if (!have->p) {
		*have = more;
		return true;
	}
	if (have->p != parts->p) {
		buf_clear(parts);
		buf_add_str(parts, *have);
	}
	buf_add_str(parts, more);
	*have = buf_str(parts);
	return !parts->failed;
}

static int read_spans(struct decoder *d, struct str bytes, const struct origin_key *key)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct resource *resource = NULL;
	const struct scope *scope = NULL;
	struct wire f;
	int err = 0;

	while (wire_next(&c, &f)) {
		if (f.tag != WIRE(2, LEN))
			continue;
		if (!resource && !err)
			err = origin_find(d, key, &resource, &scope);
		if (err == -E2BIG)
			decoder_reject(d, REJECT_too_large);
		else if (err)
			return err;
		else if (!read_span(d, f.bytes, resource, scope))
			return -EBADMSG;
	}
	return 0;
}

static int read_scope_spans(struct decoder *d, struct str bytes, struct origin_key *key)
{
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct wire f;

	key->scope = key->scope_schema = (struct str){ NULL, 0 };
	while (wire_next(&c, &f)) {
		if (f.tag == WIRE(1, LEN) && !merge(&d->merged_scope, &key->scope, f.bytes))
			return -EBADMSG;
		if (f.tag == WIRE(3, LEN))
			key->scope_schema = f.bytes;
	}
	return c.bad ? -EBADMSG : read_spans(d, bytes, key);
}

static int read_resource_spans(struct decoder *d, struct str bytes)
{
	struct origin_key key = { .form = &form_otlp };
	struct cursor c = cursor_of(bytes.p, bytes.len);
	struct wire f;
	int err = 0;

	while (wire_next(&c, &f)) {
		if (f.tag == WIRE(1, LEN) && !merge(&d->merged_resource, &key.resource, f.bytes))
			return -EBADMSG;
		if (f.tag == WIRE(3, LEN))
			key.resource_schema = f.bytes;
	}
	if (c.bad)
		return -EBADMSG;
	c = cursor_of(bytes.p, bytes.len);
	while (!err && wire_next(&c, &f))
		if (f.tag == WIRE(2, LEN))
			err = read_scope_spans(d, f.bytes, &key);
	return err;
}

int decode_otlp(struct decoder *d, struct str body)
{
	struct cursor c = cursor_of(body.p, body.len);
	struct wire f;
	int err = 0;

	decoder_begin(d);
	while (!err && wire_next(&c, &f))
		if (f.tag == WIRE(1, LEN))
			err = read_resource_spans(d, f.bytes);
	if (!err && c.bad)
		err = -EBADMSG;
	if (err == -EBADMSG)
		snprintf(d->intake.why, sizeof(d->intake.why),
			 "malformed protobuf: not an ExportTraceServiceRequest (after %llu spans)",
			 (unsigned long long)(d->intake.accepted + intake_rejected(&d->intake)));
	return err;
}

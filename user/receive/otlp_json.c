/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ExportTraceServiceRequest in JSON, as OTLP defines it: lowerCamelCase keys, ids in hex, 64-bit
 * integers as strings or numbers, enums as numbers, unknown keys ignored. Objects are read ahead
 * for what they say about the spans in them, since keys come in any order.
 */
#include <errno.h>
#include <stdio.h>

#include "receive/jread.h"

#define IS(name) str_eq(key, STR(name))

static struct str read_text(struct jread *j, struct reading *r)
{
	return reading_text(r, jread_string(j, r));
}

/* ---- values and attributes ---- */

static void read_value(struct jread *j, struct reading *r, struct value *v, int depth);
static void read_attr(struct jread *j, struct reading *r, struct attr *a, int depth);

/* One more item of an array that doubles; NULL, and refused, when there is no room. */
static void *grow(struct reading *r, void **items, size_t *cnt, size_t *size, size_t item_size)
{
	if (*cnt == *size) {
		size_t more = *size ? *size * 2 : 4;
		void *to = reading_array(r, more, item_size);

		if (!to)
			return NULL;
		if (*cnt)
			memcpy(to, *items, *cnt * item_size);
		*items = to;
		*size = more;
	}
	return (char *)*items + (*cnt)++ * item_size;
}

/* {"values": [...]} of an array or of a list of pairs. */
static void read_list(struct jread *j, struct reading *r, struct value *v, enum value_type type,
		      int depth)
{
	size_t item_size = type == VALUE_ARRAY ? sizeof(struct value) : sizeof(struct attr);
	void *items = NULL, *item;
	size_t cnt = 0, size = 0;
	struct str key;

	if (depth > VALUE_DEPTH_MAX) {
		reading_refuse(r, REJECT_too_deep);
		jread_skip(j);
		return;
	}
	jread_open(j, '{');
	while (jread_key(j, r, &key)) {
		if (!IS("values")) {
			jread_skip(j);
			continue;
		}
		jread_open(j, '[');
		while (jread_item(j)) {
			item = grow(r, &items, &cnt, &size, item_size);
			if (!item)
				jread_skip(j);
			else if (type == VALUE_ARRAY)
				read_value(j, r, item, depth);
			else
				read_attr(j, r, item, depth);
		}
	}
	v->type = type;
	if (type == VALUE_ARRAY) {
		v->array.item = items;
		v->array.cnt = cnt;
	} else {
		v->kvlist.item = items;
		v->kvlist.cnt = cnt;
	}
}

static void read_bytes(struct jread *j, struct reading *r, struct value *v)
{
	v->type = VALUE_BYTES;
	v->str = jread_base64(j, r);
	if (v->str.len > TEXT_BYTES_MAX)
		reading_refuse(r, REJECT_too_large);
}

static void read_value(struct jread *j, struct reading *r, struct value *v, int depth)
{
	struct str key;

	*v = (struct value){ .type = VALUE_EMPTY };
	jread_open(j, '{');
	while (jread_key(j, r, &key)) {
		if (IS("stringValue")) {
			v->type = VALUE_STR;
			v->str = read_text(j, r);
		} else if (IS("intValue")) {
			v->type = VALUE_INT;
			v->i = jread_i64(j);
		} else if (IS("boolValue")) {
			v->type = VALUE_BOOL;
			v->b = jread_bool(j);
		} else if (IS("doubleValue")) {
			v->type = VALUE_DOUBLE;
			v->d = jread_double(j);
		} else if (IS("arrayValue")) {
			read_list(j, r, v, VALUE_ARRAY, depth + 1);
		} else if (IS("kvlistValue")) {
			read_list(j, r, v, VALUE_KVLIST, depth + 1);
		} else if (IS("bytesValue")) {
			read_bytes(j, r, v);
		} else {
			jread_skip(j);
		}
	}
}

static void read_attr(struct jread *j, struct reading *r, struct attr *a, int depth)
{
	struct str key;

	*a = (struct attr){ .value = { .type = VALUE_EMPTY } };
	jread_open(j, '{');
	while (jread_key(j, r, &key)) {
		if (IS("key"))
			a->key = read_text(j, r);
		else if (IS("value"))
			read_value(j, r, &a->value, depth);
		else
			jread_skip(j);
	}
}

static void read_attrs(struct jread *j, struct reading *r, struct attrs *to)
{
	jread_open(j, '[');
	while (jread_item(j))
		read_attr(j, r, reading_attr(r, to), 0);
}

static void read_dropped(struct jread *j, uint32_t *to)
{
	uint64_t cnt = jread_u64(j);

	*to += (uint32_t)MIN(cnt, (uint64_t)UINT32_MAX);
}

/* ---- resources and scopes ---- */

static bool read_resource(struct reading *r, struct str text, struct resource *to)
{
	struct jread j = jread_of(text);
	struct str key;

	if (!text.len)
		return true;
	jread_open(&j, '{');
	while (jread_key(&j, r, &key)) {
		if (IS("attributes"))
			read_attrs(&j, r, &to->attrs);
		else if (IS("droppedAttributesCount"))
			read_dropped(&j, &to->attrs.dropped);
		else
			jread_skip(&j);
	}
	return !j.bad;
}

static bool read_scope(struct reading *r, struct str text, struct scope *to)
{
	struct jread j = jread_of(text);
	struct str key;

	if (!text.len)
		return true;
	jread_open(&j, '{');
	while (jread_key(&j, r, &key)) {
		if (IS("name"))
			to->name = read_text(&j, r);
		else if (IS("version"))
			to->version = read_text(&j, r);
		else if (IS("attributes"))
			read_attrs(&j, r, &to->attrs);
		else if (IS("droppedAttributesCount"))
			read_dropped(&j, &to->attrs.dropped);
		else
			jread_skip(&j);
	}
	return !j.bad;
}

static const struct form form_json = { read_resource, read_scope };

/* ---- spans ---- */

/* Hex of exactly len bytes; empty is none and leaves zeros. False for anything else. */
static bool read_id(struct jread *j, struct reading *r, uint8_t *id, size_t len)
{
	struct str s = jread_string(j, r);
	struct trace_id parsed;
	static const char zeros[] = "00000000000000000000000000000000";

	memset(id, 0, len);
	if (!s.len || (s.len == 2 * len && !memcmp(s.p, zeros, s.len)))
		return true;
	if (s.len != 2 * len || !trace_id_parse(s, &parsed))
		return false;
	memcpy(id, parsed.b + sizeof(parsed.b) - len, len);
	return true;
}

static void read_event(struct jread *j, struct reading *r, struct span_event *e)
{
	struct str key;

	*e = (struct span_event){ 0 };
	jread_open(j, '{');
	while (jread_key(j, r, &key)) {
		if (IS("timeUnixNano"))
			e->time_ns = jread_u64(j);
		else if (IS("name"))
			e->name = read_text(j, r);
		else if (IS("attributes"))
			read_attrs(j, r, &e->attrs);
		else if (IS("droppedAttributesCount"))
			read_dropped(j, &e->attrs.dropped);
		else
			jread_skip(j);
	}
}

static void read_events(struct jread *j, struct reading *r, struct span *s)
{
	struct span_event spare;

	if (!s->events)
		s->events = reading_array(r, EVENTS_MAX, sizeof(*s->events));
	jread_open(j, '[');
	while (jread_item(j)) {
		if (s->events && s->event_cnt < EVENTS_MAX) {
			read_event(j, r, &s->events[s->event_cnt++]);
		} else {
			read_event(j, r, &spare);
			s->dropped_events++;
		}
	}
}

/* False for a link to nowhere. */
static bool read_link(struct jread *j, struct reading *r, struct span_link *l)
{
	bool good = true;
	struct str key;

	*l = (struct span_link){ 0 };
	jread_open(j, '{');
	while (jread_key(j, r, &key)) {
		if (IS("traceId"))
			good = read_id(j, r, l->trace_id.b, 16) && good;
		else if (IS("spanId"))
			good = read_id(j, r, l->span_id.b, 8) && good;
		else if (IS("traceState"))
			l->trace_state = read_text(j, r);
		else if (IS("attributes"))
			read_attrs(j, r, &l->attrs);
		else if (IS("droppedAttributesCount"))
			read_dropped(j, &l->attrs.dropped);
		else if (IS("flags"))
			l->flags = (uint32_t)jread_u64(j);
		else
			jread_skip(j);
	}
	return good && trace_id_is_set(&l->trace_id) && span_id_is_set(&l->span_id);
}

static void read_links(struct jread *j, struct reading *r, struct span *s)
{
	struct span_link l;

	if (!s->links)
		s->links = reading_array(r, LINKS_MAX, sizeof(*s->links));
	jread_open(j, '[');
	while (jread_item(j)) {
		if (read_link(j, r, &l) && s->links && s->link_cnt < LINKS_MAX)
			s->links[s->link_cnt++] = l;
		else
			s->dropped_links++;
	}
}

static void read_status(struct jread *j, struct reading *r, struct span *s)
{
	struct str key;
	uint32_t code;

	jread_open(j, '{');
	while (jread_key(j, r, &key)) {
		if (IS("message")) {
			s->status_message = read_text(j, r);
		} else if (IS("code")) {
			code = jread_enum(j);
			s->status = code <= STATUS_ERROR ? code : STATUS_UNSET;
		} else {
			jread_skip(j);
		}
	}
}

static void read_own_id(struct jread *j, struct reading *r, uint8_t *id, size_t len)
{
	if (!read_id(j, r, id, len))
		reading_refuse(r, REJECT_bad_id);
}

/* What is a list, an object or a count; false for another key. */
static bool read_span_part(struct jread *j, struct reading *r, struct span *s, struct str key)
{
	if (IS("attributes"))
		read_attrs(j, r, &s->attrs);
	else if (IS("droppedAttributesCount"))
		read_dropped(j, &s->attrs.dropped);
	else if (IS("events"))
		read_events(j, r, s);
	else if (IS("droppedEventsCount"))
		read_dropped(j, &s->dropped_events);
	else if (IS("links"))
		read_links(j, r, s);
	else if (IS("droppedLinksCount"))
		read_dropped(j, &s->dropped_links);
	else if (IS("status"))
		read_status(j, r, s);
	else
		return false;
	return true;
}

static void read_span_key(struct jread *j, struct reading *r, struct span *s, struct str key)
{
	uint32_t kind;

	if (IS("traceId")) {
		read_own_id(j, r, s->trace_id.b, sizeof(s->trace_id.b));
	} else if (IS("spanId")) {
		read_own_id(j, r, s->span_id.b, sizeof(s->span_id.b));
	} else if (IS("parentSpanId")) {
		read_own_id(j, r, s->parent_id.b, sizeof(s->parent_id.b));
	} else if (IS("traceState")) {
		s->trace_state = read_text(j, r);
	} else if (IS("flags")) {
		s->flags = (uint32_t)jread_u64(j);
	} else if (IS("name")) {
		s->name = read_text(j, r);
	} else if (IS("kind")) {
		kind = jread_enum(j);
		s->kind = kind <= SPAN_CONSUMER ? kind : SPAN_UNSPECIFIED;
	} else if (IS("startTimeUnixNano")) {
		s->start_ns = jread_u64(j);
	} else if (IS("endTimeUnixNano")) {
		s->end_ns = jread_u64(j);
	} else if (!read_span_part(j, r, s, key)) {
		jread_skip(j);
	}
}

/* refused: why all spans of this origin are; REJECT_none. */
static void read_span(struct decoder *d, struct jread *j, struct resource *resource,
		      const struct scope *scope, enum reject refused)
{
	struct span s = { .resource = resource, .scope = scope };
	struct reading r = decoder_reading(d);
	const char *start = j->p;
	struct str key;

	r.refused = refused;
	jread_open(j, '{');
	while (jread_key(j, &r, &key))
		read_span_key(j, &r, &s, key);
	if (j->bad) {
		decoder_reject(d, REJECT_malformed);
		return;
	}
	if (j->p - start > SPAN_BYTES_MAX)
		reading_refuse(&r, REJECT_too_large);
	decoder_push(d, &r, &s);
}

/* ---- the request ---- */

/* An object's resource or scope, as text, and its schemaUrl. j is a copy: nothing is consumed. */
static void look_ahead(struct jread j, struct reading *r, struct str name, struct str *ret_object,
		       struct str *ret_schema)
{
	struct str key;

	*ret_object = *ret_schema = (struct str){ NULL, 0 };
	jread_open(&j, '{');
	while (jread_key(&j, NULL, &key)) {
		if (str_eq(key, name))
			*ret_object = jread_skip(&j);
		else if (IS("schemaUrl"))
			*ret_schema = jread_string(&j, r);
		else
			jread_skip(&j);
	}
}

static int read_spans(struct decoder *d, struct jread *j, const struct origin_key *key)
{
	struct resource *resource = NULL;
	const struct scope *scope = NULL;
	int err = 0;

	jread_open(j, '[');
	while (jread_item(j)) {
		if (!resource && !err)
			err = origin_find(d, key, &resource, &scope);
		if (err && err != -E2BIG)
			return err;
		read_span(d, j, resource, scope, err ? REJECT_too_large : REJECT_none);
	}
	return 0;
}

static int read_scope_spans(struct decoder *d, struct jread *j, struct origin_key *origin)
{
	struct reading r = { .mem = d->keys, .refused = REJECT_none };
	struct str key;
	int err = 0;

	look_ahead(*j, &r, STR("scope"), &origin->scope, &origin->scope_schema);
	jread_open(j, '{');
	while (!err && jread_key(j, NULL, &key)) {
		if (IS("spans"))
			err = read_spans(d, j, origin);
		else
			jread_skip(j);
	}
	return err;
}

static int read_resource_spans(struct decoder *d, struct jread *j)
{
	struct origin_key origin = { .form = &form_json };
	struct reading r = { .mem = d->keys, .refused = REJECT_none };
	struct str key;
	int err = 0;

	arena_reset(d->keys);
	look_ahead(*j, &r, STR("resource"), &origin.resource, &origin.resource_schema);
	jread_open(j, '{');
	while (!err && jread_key(j, NULL, &key)) {
		if (!IS("scopeSpans")) {
			jread_skip(j);
			continue;
		}
		jread_open(j, '[');
		while (!err && jread_item(j))
			err = read_scope_spans(d, j, &origin);
	}
	return err;
}

int decode_otlp_json(struct decoder *d, struct str body)
{
	struct jread j = jread_of(body);
	struct str key;
	int err = 0;

	decoder_begin(d);
	jread_open(&j, '{');
	while (!err && jread_key(&j, NULL, &key)) {
		if (!IS("resourceSpans")) {
			jread_skip(&j);
			continue;
		}
		jread_open(&j, '[');
		while (!err && jread_item(&j))
			err = read_resource_spans(d, &j);
	}
	if (!err)
		jread_end(&j);
	if (err == -EBADMSG)
		snprintf(d->intake.why, sizeof(d->intake.why),
			 "malformed resource or scope before byte %td", j.p - j.begin);
	if (!err && j.bad) {
		jread_why(&j, d->intake.why);
		err = -EBADMSG;
	}
	return err;
}

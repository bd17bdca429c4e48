/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zipkin v2 JSON: an array of spans, times in microseconds.
 *
 * localEndpoint.serviceName is the resource's service.name; its address network.local.*;
 * remoteEndpoint is service.peer.name and network.peer.*. Annotations are events, tags are
 * attributes, except those in which exporters of OpenTelemetry put status and scope. The tag
 * "error" makes an error of the span.
 *
 * The server's half of a shared span has the client's id. Two spans of one id are one to everybody
 * else, so it gets an id of its own, made from that one, and the client's half as its parent.
 */
#include <errno.h>
#include <stdio.h>
#include <xxhash.h>

#include "core/clock.h"
#include "receive/jread.h"

#define IS(name) str_eq(key, STR(name))

struct zipkin {
	struct reading r;
	struct span span;
	uint64_t first_us; /* of the annotations; 0: there is none */
	uint64_t start_us, duration_us;
	bool shared;
	struct str service;
	struct str scope_name, scope_version;
};

static struct str read_text(struct jread *j, struct reading *r)
{
	return reading_text(r, jread_string(j, r));
}

static void add(struct zipkin *z, const char *key, struct value v)
{
	*reading_attr(&z->r, &z->span.attrs) = (struct attr){ str_of(key), v };
}

static void add_str(struct zipkin *z, const char *key, struct str s)
{
	if (s.len)
		add(z, key, (struct value){ .type = VALUE_STR, .str = s });
}

/* ---- resources and scopes: their key is already what they hold ---- */

static bool read_resource(struct reading *r, struct str service, struct resource *to)
{
	if (service.len)
		attrs_add_str(&to->attrs, r->mem, "service.name", service);
	return true;
}

/* Name, line feed, version. */
static bool read_scope(struct reading *r, struct str text, struct scope *to)
{
	ptrdiff_t end = str_find(text, '\n');

	to->name = (struct str){ text.p, end < 0 ? text.len : (size_t)end };
	to->version = end < 0 ? STR("") : str_from(text, (size_t)end + 1);
	return true;
}

static const struct form form_zipkin = { read_resource, read_scope };

/* ---- parts of a span ---- */

struct endpoint {
	struct str service, address;
	uint64_t port;
};

static void read_endpoint(struct jread *j, struct zipkin *z, struct endpoint *e)
{
	struct str key, ipv6 = { NULL, 0 };

	*e = (struct endpoint){ 0 };
	jread_open(j, '{');
	while (jread_key(j, &z->r, &key)) {
		if (IS("serviceName"))
			e->service = read_text(j, &z->r);
		else if (IS("ipv4"))
			e->address = read_text(j, &z->r);
		else if (IS("ipv6"))
			ipv6 = read_text(j, &z->r);
		else if (IS("port"))
			e->port = jread_u64(j);
		else
			jread_skip(j);
	}
	if (!e->address.len)
		e->address = ipv6;
}

static void add_endpoint(struct zipkin *z, const struct endpoint *e, const char *address,
			 const char *port)
{
	add_str(z, address, e->address);
	if (e->port && e->port <= UINT16_MAX)
		add(z, port, (struct value){ .type = VALUE_INT, .i = (int64_t)e->port });
}

static void read_local(struct jread *j, struct zipkin *z)
{
	struct endpoint e;

	read_endpoint(j, z, &e);
	z->service = e.service;
	add_endpoint(z, &e, "network.local.address", "network.local.port");
}

static void read_remote(struct jread *j, struct zipkin *z)
{
	struct endpoint e;

	read_endpoint(j, z, &e);
	add_str(z, "service.peer.name", e.service);
	add_endpoint(z, &e, "network.peer.address", "network.peer.port");
}

static void set_error(struct zipkin *z, struct str text)
{
	z->span.status = STATUS_ERROR;
	if (!str_eq(text, STR("true")) && !z->span.status_message.len)
		z->span.status_message = text;
}

/* Tags that say what the span has a place for. */
static bool is_special(struct zipkin *z, struct str key, struct str text)
{
	if (IS("error")) {
		if (!str_eq(text, STR("false")))
			set_error(z, text);
		return true;
	}
	if (IS("otel.status_code")) {
		if (str_eq(text, STR("ERROR")))
			z->span.status = STATUS_ERROR;
		else if (str_eq(text, STR("OK")))
			z->span.status = STATUS_OK;
		return true;
	}
	if (IS("otel.status_description"))
		z->span.status_message = text;
	else if (IS("otel.scope.name") || IS("otel.library.name"))
		z->scope_name = text;
	else if (IS("otel.scope.version") || IS("otel.library.version"))
		z->scope_version = text;
	else
		return false;
	return true;
}

/* Values are strings; numbers and words are taken as they are written. */
static struct str read_tag(struct jread *j, struct zipkin *z)
{
	struct jread before = *j;
	struct str raw = jread_skip(j);

	return raw.len && raw.p[0] == '"' ? read_text(&before, &z->r) : reading_text(&z->r, raw);
}

static void read_tags(struct jread *j, struct zipkin *z)
{
	struct str key;

	jread_open(j, '{');
	while (jread_key(j, &z->r, &key)) {
		struct str text = read_tag(j, z);
		struct attr *a;

		key = reading_text(&z->r, key);
		if (is_special(z, key, text))
			continue;
		a = reading_attr(&z->r, &z->span.attrs);
		*a = (struct attr){ key, { .type = VALUE_STR, .str = text } };
	}
}

static void read_annotation(struct jread *j, struct zipkin *z, struct span_event *e)
{
	uint64_t us = 0;
	struct str key;

	*e = (struct span_event){ 0 };
	jread_open(j, '{');
	while (jread_key(j, &z->r, &key)) {
		if (IS("timestamp"))
			us = jread_u64(j);
		else if (IS("value"))
			e->name = read_text(j, &z->r);
		else
			jread_skip(j);
	}
	e->time_ns = us <= UINT64_MAX / NS_PER_US ? us * NS_PER_US : 0;
	if (us && (!z->first_us || us < z->first_us))
		z->first_us = us;
}

static void read_annotations(struct jread *j, struct zipkin *z)
{
	struct span *s = &z->span;
	struct span_event spare;

	if (!s->events)
		s->events = reading_array(&z->r, EVENTS_MAX, sizeof(*s->events));
	jread_open(j, '[');
	while (jread_item(j)) {
		if (s->events && s->event_cnt < EVENTS_MAX) {
			read_annotation(j, z, &s->events[s->event_cnt++]);
		} else {
			read_annotation(j, z, &spare);
			s->dropped_events++;
		}
	}
}

static enum span_kind kind_of(struct str text)
{
	static const struct {
		struct str name;
		enum span_kind kind;
	} kinds[] = {
		{ { "CLIENT", 6 }, SPAN_CLIENT },
		{ { "SERVER", 6 }, SPAN_SERVER },
		{ { "PRODUCER", 8 }, SPAN_PRODUCER },
		{ { "CONSUMER", 8 }, SPAN_CONSUMER },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (str_eq(kinds[i].name, text))
			return kinds[i].kind;
	return SPAN_UNSPECIFIED;
}

/* ---- a span ---- */

static void read_flag(struct jread *j, struct zipkin *z, const char *name, bool *ret)
{
	*ret = jread_bool(j);
	if (*ret)
		add(z, name, (struct value){ .type = VALUE_BOOL, .b = true });
}

/* Absent, empty, or zeros, which Zipkin takes for none too. */
static bool read_parent(struct str text, struct span_id *ret)
{
	size_t zeros = 0;

	while (zeros < text.len && text.p[zeros] == '0')
		zeros++;
	return text.len <= 16 && (zeros == text.len || span_id_parse(text, ret));
}

static void read_ids(struct jread *j, struct zipkin *z, struct str key)
{
	struct str text = jread_string(j, &z->r);
	bool good;

	if (IS("traceId"))
		good = text.len <= 32 && trace_id_parse(text, &z->span.trace_id);
	else if (IS("id"))
		good = text.len <= 16 && span_id_parse(text, &z->span.span_id);
	else
		good = read_parent(text, &z->span.parent_id);
	if (!good)
		reading_refuse(&z->r, REJECT_bad_id);
}

static void read_key(struct jread *j, struct zipkin *z, struct str key)
{
	bool debug;

	if (IS("traceId") || IS("id") || IS("parentId"))
		read_ids(j, z, key);
	else if (IS("name"))
		z->span.name = read_text(j, &z->r);
	else if (IS("kind"))
		z->span.kind = kind_of(jread_string(j, &z->r));
	else if (IS("timestamp"))
		z->start_us = jread_u64(j);
	else if (IS("duration"))
		z->duration_us = jread_u64(j);
	else if (IS("localEndpoint"))
		read_local(j, z);
	else if (IS("remoteEndpoint"))
		read_remote(j, z);
	else if (IS("annotations"))
		read_annotations(j, z);
	else if (IS("tags"))
		read_tags(j, z);
	else if (IS("shared"))
		read_flag(j, z, "zipkin.shared", &z->shared);
	else if (IS("debug"))
		read_flag(j, z, "zipkin.debug", &debug);
	else
		jread_skip(j);
}

/* A span without a kind is one that stays inside its service. */
static void complete(struct zipkin *z)
{
	struct span *s = &z->span;
	uint64_t start_us = z->start_us ? z->start_us : z->first_us, end_us;

	if (s->kind == SPAN_UNSPECIFIED)
		s->kind = SPAN_INTERNAL;
	if (!s->name.len)
		s->name = STR("unknown");
	s->flags = 1; /* what was not sampled is not sent */
	if (z->shared && s->kind == SPAN_SERVER) {
		uint64_t own = XXH3_64bits_withSeed(s->span_id.b, sizeof(s->span_id.b), 1) | 1;

		s->parent_id = s->span_id;
		memcpy(s->span_id.b, &own, sizeof(own));
	}
	if (__builtin_add_overflow(start_us, z->duration_us, &end_us) ||
	    end_us > UINT64_MAX / NS_PER_US) {
		reading_refuse(&z->r, REJECT_bad_time);
		return;
	}
	s->start_ns = start_us * NS_PER_US;
	s->end_ns = end_us * NS_PER_US;
}

static int read_span(struct decoder *d, struct jread *j)
{
	struct zipkin z = { .r = decoder_reading(d) };
	struct origin_key origin = { .form = &form_zipkin };
	const char *start = j->p;
	struct str key;
	int err;

	jread_open(j, '{');
	while (jread_key(j, &z.r, &key))
		read_key(j, &z, key);
	if (j->bad) {
		decoder_reject(d, REJECT_malformed);
		return -EBADMSG;
	}
	if (j->p - start > SPAN_BYTES_MAX)
		reading_refuse(&z.r, REJECT_too_large);
	complete(&z);
	origin.resource = z.service;
	if (z.scope_name.len)
		origin.scope = arena_printf(z.r.mem, STR_FMT "\n" STR_FMT, STR_ARG(z.scope_name),
					    STR_ARG(z.scope_version));
	err = origin_find(d, &origin, &z.span.resource, &z.span.scope);
	if (err == -E2BIG)
		reading_refuse(&z.r, REJECT_too_large);
	else if (err)
		return err;
	decoder_push(d, &z.r, &z.span);
	return 0;
}

int decode_zipkin(struct decoder *d, struct str body)
{
	struct jread j = jread_of(body);
	int err = 0;

	decoder_begin(d);
	jread_open(&j, '[');
	while (!err && jread_item(&j))
		err = read_span(d, &j);
	if (!err)
		jread_end(&j);
	if (j.bad) {
		jread_why(&j, d->intake.why);
		err = -EBADMSG;
	}
	return err;
}

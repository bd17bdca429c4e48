/* SPDX-License-Identifier: Apache-2.0 */
/* Spans made up from a seed: every value type, empty and unset things, text of all planes. */
#ifndef TESTS_EXPORT_SPAN_GEN_H
#define TESTS_EXPORT_SPAN_GEN_H

#include <stdio.h>

#include "span/span.h"

struct gen {
	uint64_t state;
	struct arena *mem;
};

static inline uint64_t gen_next(struct gen *g)
{
	g->state ^= g->state << 13;
	g->state ^= g->state >> 7;
	g->state ^= g->state << 17;
	return g->state;
}

static inline uint32_t gen_below(struct gen *g, uint32_t n)
{
	return (uint32_t)(gen_next(g) >> 33) % n;
}

static inline struct str gen_text(struct gen *g)
{
	static const char *const piece[] = { "GET",	     "/cart/{id}",    " ",
					     "grüße",	     "日本語",	      "🧶",
					     "\x01\t\n\"\\", "SELECT * FROM", "x" };
	char text[512] = "";
	uint32_t cnt = gen_below(g, 8);

	/* Long enough now and then for a length of two bytes. */
	if (gen_below(g, 20) == 0)
		cnt = 40;
	for (uint32_t i = 0; i < cnt; i++) {
		const char *p = piece[gen_below(g, ARRAY_LEN(piece))];
		if (strlen(text) + strlen(p) < sizeof(text))
			strcat(text, p);
	}
	return arena_str(g->mem, str_of(text));
}

static inline uint64_t gen_int(struct gen *g)
{
	static const uint64_t edge[] = { 0, 1, 127, 128, 16383, 16384, INT64_MAX, UINT64_MAX };

	return gen_below(g, 3) ? gen_next(g) >> gen_below(g, 64) : edge[gen_below(g, 8)];
}

static inline struct attrs gen_attrs(struct gen *g, uint32_t most, int depth);

static inline struct value gen_value(struct gen *g, int depth)
{
	struct value v = { .type = gen_below(g, depth < 4 ? 8 : 6) };
	struct attrs list;

	switch (v.type) {
	case VALUE_STR:
	case VALUE_BYTES: v.str = gen_text(g); break;
	case VALUE_BOOL: v.b = gen_below(g, 2); break;
	case VALUE_INT: v.i = (int64_t)gen_int(g); break;
	case VALUE_DOUBLE: v.d = gen_below(g, 3) ? (double)gen_next(g) / 1e15 : 0.0; break;
	case VALUE_ARRAY:
		v.array.cnt = gen_below(g, 4);
		v.array.item = arena_alloc(g->mem, (v.array.cnt + 1) * sizeof(struct value));
		for (size_t i = 0; i < v.array.cnt; i++)
			v.array.item[i] = gen_value(g, depth + 1);
		break;
	case VALUE_KVLIST:
		list = gen_attrs(g, 4, depth + 1);
		v.kvlist.item = list.item;
		v.kvlist.cnt = list.cnt;
		break;
	default: break;
	}
	return v;
}

static inline struct attrs gen_attrs(struct gen *g, uint32_t most, int depth)
{
	struct attrs a = { .dropped = gen_below(g, 8) ? 0 : gen_below(g, 300) };
	uint32_t cnt = gen_below(g, most);

	for (uint32_t i = 0; i < cnt; i++)
		attrs_add(&a, g->mem, gen_text(g), gen_value(g, depth));
	return a;
}

static inline void gen_id(struct gen *g, uint8_t *id, size_t len)
{
	bool set = gen_below(g, 5) != 0;

	for (size_t i = 0; i < len; i++)
		id[i] = set ? (uint8_t)gen_below(g, 256) : 0;
}

static inline void gen_events(struct gen *g, struct span *s)
{
	s->event_cnt = gen_below(g, 3);
	s->events = arena_alloc(g->mem, (s->event_cnt + 1) * sizeof(*s->events));
	for (uint32_t i = 0; i < s->event_cnt; i++)
		s->events[i] = (struct span_event){ .time_ns = gen_int(g),
						    .name = gen_text(g),
						    .attrs = gen_attrs(g, 3, 0) };
}

static inline void gen_links(struct gen *g, struct span *s)
{
	s->link_cnt = gen_below(g, 3);
	s->links = arena_alloc(g->mem, (s->link_cnt + 1) * sizeof(*s->links));
	for (uint32_t i = 0; i < s->link_cnt; i++) {
		s->links[i] = (struct span_link){ .trace_state = gen_text(g),
						  .flags = gen_below(g, 2) ? 0x301 : 0,
						  .attrs = gen_attrs(g, 3, 0) };
		gen_id(g, s->links[i].trace_id.b, 16);
		gen_id(g, s->links[i].span_id.b, 8);
	}
}

static inline struct span *gen_span(struct gen *g, struct resource *resource,
				    const struct scope *scope)
{
	struct span *s = arena_alloc(g->mem, sizeof(*s));

	gen_id(g, s->trace_id.b, 16);
	gen_id(g, s->span_id.b, 8);
	gen_id(g, s->parent_id.b, 8);
	s->trace_state = gen_below(g, 2) ? STR("a=1,b=2") : STR("");
	s->flags = gen_below(g, 2) ? 0x101 : 0;
	s->kind = gen_below(g, 6);
	s->name = gen_text(g);
	s->start_ns = gen_int(g);
	s->end_ns = gen_int(g);
	s->attrs = gen_attrs(g, 14, 0);
	s->dropped_events = gen_below(g, 4) ? 0 : gen_below(g, 1000);
	s->dropped_links = gen_below(g, 4) ? 0 : gen_below(g, 1000);
	s->status = gen_below(g, 3);
	s->status_message = gen_below(g, 3) ? STR("") : gen_text(g);
	s->resource = resource;
	s->scope = scope;
	gen_events(g, s);
	gen_links(g, s);
	return s;
}

/* A span as capture makes it of an HTTP request: 14 attributes. */
static inline struct span *gen_http_span(struct gen *g, struct resource *resource)
{
	struct span *s = arena_alloc(g->mem, sizeof(*s));
	struct attrs *a = &s->attrs;

	gen_next(g);
	memcpy(s->trace_id.b, &g->state, 8);
	memcpy(s->span_id.b, &g->state, 8);
	memcpy(s->parent_id.b, &g->state, 8);
	s->flags = 0x101;
	s->kind = SPAN_SERVER;
	s->name = STR("GET /cart/{id}");
	s->start_ns = 1790000000000000000ull + (g->state >> 20);
	s->end_ns = s->start_ns + 1234567;
	attrs_add_str(a, g->mem, "http.request.method", STR("GET"));
	attrs_add_str(a, g->mem, "url.path",
		      arena_printf(g->mem, "/cart/%u", gen_below(g, 100000)));
	attrs_add_str(a, g->mem, "url.scheme", STR("http"));
	attrs_add_str(a, g->mem, "url.template", STR("/cart/{id}"));
	attrs_add_int(a, g->mem, "http.response.status_code", 200);
	attrs_add_str(a, g->mem, "network.protocol.version", STR("1.1"));
	attrs_add_str(a, g->mem, "server.address", STR("shop.example"));
	attrs_add_int(a, g->mem, "server.port", 8080);
	attrs_add_str(a, g->mem, "client.address", STR("127.0.0.1"));
	attrs_add_str(a, g->mem, "network.peer.address", STR("127.0.0.1"));
	attrs_add_int(a, g->mem, "network.peer.port", 30000 + gen_below(g, 20000));
	attrs_add_str(a, g->mem, "user_agent.original", STR("curl/7.88.1"));
	attrs_add_int(a, g->mem, "http.response.body.size", gen_below(g, 100000));
	attrs_add_double(a, g->mem, "telltale.parent.confidence", 0.98);
	s->resource = resource;
	s->scope = &scope_capture;
	return s;
}

static inline struct resource *gen_resource(struct gen *g, uint32_t n)
{
	struct resource *r = resource_new();
	struct attrs *a = &r->attrs;

	attrs_add_str(a, r->arena, "service.name", arena_printf(r->arena, "service-%u", n));
	attrs_add_int(a, r->arena, "process.pid", 1000 + n);
	attrs_add_str(a, r->arena, "host.name", STR("wheelhouse"));
	if (gen_below(g, 2))
		r->schema_url = STR("https://opentelemetry.io/schemas/1.44.0");
	if (gen_below(g, 2))
		a->dropped = 3;
	resource_seal(r);
	return r;
}

#endif

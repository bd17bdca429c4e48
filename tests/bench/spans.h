/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shop's traffic made up: ten spans a trace over twelve services, about 12.5 attributes a span,
 * with the share of distinct values that such traffic has. What the figures of the store are
 * measured on.
 */
#ifndef TESTS_BENCH_SPANS_H
#define TESTS_BENCH_SPANS_H

#include "span/span.h"

#include <stdio.h>
#include <stdlib.h>

#define TRACE_SPANS   10
#define SHOP_SERVICES 12
#define SHOP_EPOCH_NS 1795200000000000000u

struct shop {
	uint64_t state[4];
	uint64_t now_ns;
	struct resource *resource[SHOP_SERVICES];
	struct scope scope;
};

static const char *const shop_services[SHOP_SERVICES] = {
	"frontend",	  "checkout", "cart",	  "payment", "inventory", "catalog",
	"recommendation", "shipping", "currency", "account", "email",	  "search",
};

static const char *const shop_routes[SHOP_SERVICES] = {
	"/api/checkout",	"/api/cart/{id}",	 "/api/products/{id}",
	"/api/search",		"/api/account/orders/",	 "/api/recommendations",
	"/api/shipping/quote",	"/api/currency/convert", "/api/login",
	"/api/inventory/{sku}", "/api/email/confirm",	 "/api/payment/charge",
};

static const char *const shop_methods[4] = { "GET", "POST", "GET", "PUT" };

static const struct {
	const char *op, *table, *text;
} shop_queries[8] = {
	{ "SELECT", "products", "SELECT id, name, price, stock FROM products WHERE id = ?" },
	{ "INSERT", "orders", "INSERT INTO orders (account, total, currency) VALUES (?, ?, ?)" },
	{ "UPDATE", "inventory", "UPDATE inventory SET stock = stock - ? WHERE sku = ?" },
	{ "SELECT", "orders",
	  "SELECT o.id, o.total, l.sku FROM orders o JOIN lines l ON l.order_id = o.id "
	  "WHERE o.account = ? ORDER BY o.made_at DESC LIMIT ?" },
	{ "SELECT", "accounts", "SELECT id, name, language FROM accounts WHERE email = ?" },
	{ "DELETE", "cart_lines", "DELETE FROM cart_lines WHERE cart = ?" },
	{ "SELECT", "rates", "SELECT rate FROM rates WHERE base = ? AND quote = ?" },
	{ "INSERT", "payments", "INSERT INTO payments (order_id, amount) VALUES (?, ?)" },
};

static const char *const shop_agents[6] = {
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
	"curl/8.5.0",
	"Go-http-client/1.1",
	"python-requests/2.32.3",
	"okhttp/4.12.0",
};

/* xoshiro256 */
static inline uint64_t shop_random(struct shop *s)
{
	uint64_t *x = s->state, five = x[1] * 5, t = x[1] << 17;

	x[2] ^= x[0];
	x[3] ^= x[1];
	x[1] ^= x[2];
	x[0] ^= x[3];
	x[2] ^= t;
	x[3] = x[3] << 45 | x[3] >> 19;
	return (five << 7 | five >> 57) * 9;
}

static inline uint32_t shop_below(struct shop *s, uint32_t n)
{
	return (uint32_t)(shop_random(s) >> 32) % n;
}

static inline struct resource *shop_resource(uint32_t i)
{
	struct resource *r = resource_new();
	struct attrs *a = &r->attrs;

	attrs_add_str(a, r->arena, "service.name", str_of(shop_services[i]));
	attrs_add_str(a, r->arena, "service.version", STR("1.4.2"));
	attrs_add_str(a, r->arena, "service.namespace", STR("shop"));
	attrs_add_str(a, r->arena, "service.instance.id",
		      arena_printf(r->arena, "5b1e0c3a-77aa-4c1e-9d5e-0000000000%02u", i));
	attrs_add_str(a, r->arena, "k8s.pod.name",
		      arena_printf(r->arena, "%s-7d9f8b6c5-x%udk2p", shop_services[i], i));
	attrs_add_str(a, r->arena, "k8s.namespace.name", STR("shop"));
	attrs_add_str(a, r->arena, "host.name", STR("node-3.internal"));
	attrs_add_str(a, r->arena, "deployment.environment.name", STR("production"));
	attrs_add_str(a, r->arena, "telemetry.sdk.name", STR("telltale"));
	attrs_add_int(a, r->arena, "process.pid", 4000 + 17 * (int64_t)i);
	resource_seal(r);
	return r;
}

static inline void shop_init(struct shop *s, uint64_t seed)
{
	*s = (struct shop){ .now_ns = SHOP_EPOCH_NS, .scope = { .name = STR("telltale") } };
	for (int i = 0; i < 4; i++) {
		seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u + 0x9e3779b97f4a7c15u;
		s->state[i] = seed ^ seed >> 31;
	}
	for (uint32_t i = 0; i < SHOP_SERVICES; i++)
		s->resource[i] = shop_resource(i);
}

static inline void shop_fini(struct shop *s)
{
	for (uint32_t i = 0; i < SHOP_SERVICES; i++)
		resource_put(s->resource[i]);
}

/* Long tail: one in a hundred a hundred times slower. */
static inline uint64_t shop_latency(struct shop *s)
{
	uint64_t ns = 200000 + shop_below(s, 3000000);
	uint32_t luck = shop_below(s, 1000);

	return luck < 10 ? ns * 100 : luck < 100 ? ns * 8 : ns;
}

/* What the spans of one trace share. */
struct shop_call {
	struct arena *mem;
	uint32_t method, account;
	bool failed;
};

static inline void shop_database(struct shop *s, struct span *sp, const struct shop_call *c)
{
	uint32_t q = shop_below(s, ARRAY_LEN(shop_queries));
	struct attrs *a = &sp->attrs;
	struct arena *mem = c->mem;

	sp->name = arena_printf(mem, "%s %s", shop_queries[q].op, shop_queries[q].table);
	attrs_add_str(a, mem, "db.system.name", STR("postgresql"));
	attrs_add_str(a, mem, "db.namespace", STR("shop"));
	attrs_add_str(a, mem, "db.operation.name", str_of(shop_queries[q].op));
	attrs_add_str(a, mem, "db.collection.name", str_of(shop_queries[q].table));
	attrs_add_str(a, mem, "db.query.text", str_of(shop_queries[q].text));
	attrs_add_str(a, mem, "db.query.summary", sp->name);
	attrs_add_str(a, mem, "server.address", STR("postgres.shop.svc.cluster.local"));
	attrs_add_int(a, mem, "server.port", 5432);
	attrs_add_str(a, mem, "network.peer.address",
		      arena_printf(mem, "10.42.%u.%u", q & 3, shop_below(s, 20)));
	attrs_add_int(a, mem, "network.peer.port", 5432);
	attrs_add_int(a, mem, "db.response.returned_rows", shop_below(s, 50));
	attrs_add_int(a, mem, "thread.id", 1000 + shop_below(s, 32));
}

static inline void shop_cache(struct shop *s, struct span *sp, const struct shop_call *c)
{
	struct attrs *a = &sp->attrs;
	struct arena *mem = c->mem;

	sp->name = STR("GET session");
	attrs_add_str(a, mem, "db.system.name", STR("redis"));
	attrs_add_str(a, mem, "db.namespace", STR("0"));
	attrs_add_str(a, mem, "db.operation.name", STR("GET"));
	attrs_add_str(a, mem, "db.query.text",
		      arena_printf(mem, "GET session:%016llx", c->account * 2654435761ull));
	attrs_add_str(a, mem, "db.query.summary", STR("GET"));
	attrs_add_str(a, mem, "server.address", STR("redis.shop.svc.cluster.local"));
	attrs_add_int(a, mem, "server.port", 6379);
	attrs_add_str(a, mem, "network.peer.address", STR("10.42.3.17"));
	attrs_add_int(a, mem, "network.peer.port", 6379);
	attrs_add_str(a, mem, "network.transport", STR("tcp"));
	attrs_add_int(a, mem, "db.response.returned_rows", 1);
	attrs_add_int(a, mem, "thread.id", 1000 + shop_below(s, 32));
}

static inline void shop_server(struct shop *s, struct span *sp, const struct shop_call *c,
			       uint32_t service, uint32_t route, bool outermost)
{
	struct attrs *a = &sp->attrs;
	struct arena *mem = c->mem;
	int stem = (int)strcspn(shop_routes[route], "{");

	sp->name = arena_printf(mem, "%s %s", shop_methods[c->method], shop_routes[route]);
	attrs_add_str(a, mem, "http.request.method", str_of(shop_methods[c->method]));
	attrs_add_str(a, mem, "url.path",
		      arena_printf(mem, "%.*s/%u", stem, shop_routes[route], c->account));
	attrs_add_str(a, mem, "url.scheme", STR("http"));
	attrs_add_str(a, mem, "http.route", str_of(shop_routes[route]));
	attrs_add_int(a, mem, "http.response.status_code", sp->status ? 500 : 200);
	attrs_add_str(a, mem, "server.address", str_of(shop_services[service]));
	attrs_add_int(a, mem, "server.port", 8080);
	attrs_add_str(a, mem, "client.address",
		      arena_printf(mem, "10.42.%u.%u", shop_below(s, 4), shop_below(s, 200)));
	attrs_add_int(a, mem, "client.port", 32768 + shop_below(s, 28000));
	attrs_add_str(a, mem, "user_agent.original",
		      str_of(shop_agents[outermost ? shop_below(s, 6) : 3]));
	attrs_add_str(a, mem, "network.protocol.version", STR("1.1"));
	attrs_add_int(a, mem, "http.response.body.size", shop_below(s, 20000));
	if (outermost)
		attrs_add_str(a, mem, "enduser.id", arena_printf(mem, "user-%u", c->account));
	attrs_add_int(a, mem, "thread.id", 1000 + shop_below(s, 32));
}

static inline void shop_client(struct shop *s, struct span *sp, const struct shop_call *c,
			       uint32_t to)
{
	struct attrs *a = &sp->attrs;
	struct arena *mem = c->mem;
	int stem = (int)strcspn(shop_routes[to], "{");

	sp->name = str_of(shop_methods[c->method]);
	attrs_add_str(a, mem, "http.request.method", sp->name);
	attrs_add_str(a, mem, "url.full",
		      arena_printf(mem, "http://%s:8080%.*s/%u", shop_services[to], stem,
				   shop_routes[to], c->account));
	attrs_add_str(a, mem, "server.address", str_of(shop_services[to]));
	attrs_add_int(a, mem, "server.port", 8080);
	attrs_add_int(a, mem, "http.response.status_code", sp->status ? 500 : 200);
	attrs_add_str(a, mem, "network.peer.address",
		      arena_printf(mem, "10.42.%u.%u", to & 3, shop_below(s, 20)));
	attrs_add_int(a, mem, "network.peer.port", 8080);
	attrs_add_str(a, mem, "network.protocol.name", STR("http"));
	attrs_add_str(a, mem, "network.protocol.version", STR("1.1"));
	attrs_add_str(a, mem, "network.transport", STR("tcp"));
	attrs_add_int(a, mem, "http.request.body.size", shop_below(s, 2000));
	attrs_add_int(a, mem, "thread.id", 1000 + shop_below(s, 32));
}

static inline void shop_ids(struct shop *s, struct span *sp, uint32_t i, const int *parent)
{
	uint64_t id = shop_random(s);

	memcpy(sp[i].span_id.b, &id, sizeof(id));
	sp[i].trace_id = sp[0].trace_id;
	if (parent[i] >= 0)
		sp[i].parent_id = sp[parent[i]].span_id;
}

/* The frontend calls a, which asks its database, calls b (with a database) and c (with a cache). */
static inline void shop_trace(struct shop *s, struct arena *mem, struct span sp[TRACE_SPANS])
{
	static const int parent[TRACE_SPANS] = { -1, 0, 1, 2, 2, 4, 5, 2, 7, 8 };
	static const bool serves[TRACE_SPANS] = { 1, 0, 1, 0, 0, 1, 0, 0, 1, 0 };
	uint32_t a = 1 + shop_below(s, 11), b = 1 + shop_below(s, 11), c = 1 + shop_below(s, 11);
	const uint32_t service[TRACE_SPANS] = { 0, 0, a, a, a, b, b, a, c, c };
	struct shop_call call = { mem, shop_below(s, 4), shop_below(s, 50000),
				  shop_below(s, 100) < 2 };
	uint64_t id[2] = { shop_random(s), shop_random(s) };
	uint32_t entry = shop_below(s, 12);

	memset(sp, 0, TRACE_SPANS * sizeof(*sp));
	memcpy(sp[0].trace_id.b, id, sizeof(id));
	s->now_ns += 1000000;
	for (uint32_t i = 0; i < TRACE_SPANS; i++) {
		struct span *x = &sp[i];

		shop_ids(s, sp, i, parent);
		x->flags = 0x101;
		x->kind = serves[i] ? SPAN_SERVER : SPAN_CLIENT;
		x->status = call.failed && (i < 3 || i == 5) ? STATUS_ERROR : STATUS_UNSET;
		x->start_ns = s->now_ns + i * 150000 + shop_below(s, 100000);
		x->end_ns = x->start_ns + shop_latency(s) * (i == 0 ? 6 : i < 3 ? 4 : 1);
		x->resource = s->resource[service[i]];
		x->scope = &s->scope;
		if (i == 3 || i == 6)
			shop_database(s, x, &call);
		else if (i == 9)
			shop_cache(s, x, &call);
		else if (serves[i])
			shop_server(s, x, &call, service[i], i ? service[i] : entry, i == 0);
		else
			shop_client(s, x, &call, i == 1 ? a : i == 4 ? b : c);
	}
}

#endif

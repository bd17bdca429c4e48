/* SPDX-License-Identifier: Apache-2.0 */
/* A store with three small traces, and questions put to the endpoints without a server. */
#ifndef TESTS_API_SHOP_H
#define TESTS_API_SHOP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "api/call.h"
#include "core/clock.h"
#include "store/store.h"

#define T0	1700000000000000000ull
#define MS	NS_PER_MS
#define TRACE_A "0a000000000000000000000000000001"
#define TRACE_B "0b000000000000000000000000000002"
#define TRACE_C "0c000000000000000000000000000003"

static char shop_dir[64];
static struct api_cfg shop_cfg;
static struct arena *shop_mem;
static struct resource *shop_front, *shop_cart;
static const struct scope shop_scope = { .name = { "http", 4 }, .version = { "1.2", 3 } };

/* ---- spans ---- */

static struct resource *shop_resource(const char *service, const char *host)
{
	struct resource *r = resource_new();

	attrs_add_str(&r->attrs, r->arena, "service.name", str_of(service));
	attrs_add_str(&r->attrs, r->arena, "host.name", str_of(host));
	resource_seal(r);
	return r;
}

static struct span shop_span(uint8_t trace, uint8_t id, uint8_t parent, enum span_kind kind,
			     const char *name, struct resource *r, uint64_t at_ms, uint64_t ms)
{
	struct span s = { .kind = kind,
			  .name = str_of(name),
			  .start_ns = T0 + at_ms * MS,
			  .end_ns = T0 + (at_ms + ms) * MS,
			  .resource = r,
			  .scope = &shop_scope };

	s.trace_id.b[0] = (uint8_t)(0x0a + trace - 1);
	s.trace_id.b[15] = trace;
	s.span_id.b[7] = id;
	s.parent_id.b[7] = parent;
	return s;
}

static void shop_push_a(struct store_writer *w)
{
	struct span s = shop_span(1, 1, 0, SPAN_SERVER, "GET /cart", shop_front, 0, 100);
	struct span_event e = { .time_ns = s.start_ns + 7 * MS, .name = STR("exception") };
	struct span_link l = { .trace_id.b = { 0x0b, [15] = 2 }, .span_id.b = { [7] = 9 } };
	struct value items[2] = { { .type = VALUE_STR, .str = STR("a") },
				  { .type = VALUE_INT, .i = 2 } };

	s.flags = 1;
	s.trace_state = STR("k=v");
	attrs_add_str(&s.attrs, shop_mem, "http.request.method", STR("GET"));
	attrs_add_int(&s.attrs, shop_mem, "http.response.status_code", 200);
	attrs_add_str(&s.attrs, shop_mem, "http.request.header.x-request-id", STR("req-1"));
	attrs_add_str(&e.attrs, shop_mem, "exception.message", STR("no \"luck\""));
	s.events = &e;
	s.event_cnt = 1;
	store_writer_push(w, &s);
	s = shop_span(1, 2, 1, SPAN_CLIENT, "GET", shop_front, 10, 50);
	store_writer_push(w, &s);
	s = shop_span(1, 3, 2, SPAN_SERVER, "GET /items", shop_cart, 15, 30);
	s.status = STATUS_ERROR;
	s.status_message = STR("boom");
	attrs_add_int(&s.attrs, shop_mem, "big", (int64_t)1 << 60);
	attrs_add_double(&s.attrs, shop_mem, "ratio", 0.5);
	attrs_add_bool(&s.attrs, shop_mem, "cached", true);
	attrs_add(&s.attrs, shop_mem, STR("list"),
		  (struct value){ .type = VALUE_ARRAY, .array = { items, 2 } });
	s.links = &l;
	s.link_cnt = 1;
	store_writer_push(w, &s);
}

static void shop_push_rest(struct store_writer *w)
{
	struct span s = shop_span(2, 9, 0, SPAN_SERVER, "POST /items", shop_cart, 1000, 5);

	s.status = STATUS_OK;
	attrs_add_str(&s.attrs, shop_mem, "http.request.header.x-correlation-id", STR("req-1"));
	store_writer_push(w, &s);
	s = shop_span(3, 5, 4, SPAN_INTERNAL, "job", shop_cart, 2000, 2000);
	store_writer_push(w, &s);
}

static void shop_acked(void *ctx, int err)
{
	__atomic_store_n((int *)ctx, err ? err : 1, __ATOMIC_RELEASE);
}

static int shop_open(void **state)
{
	char why[STORE_WHY_MAX];
	struct store_cfg cfg = { .where = shop_dir };
	struct store_writer *w;
	int acked = 0;

	snprintf(shop_dir, sizeof(shop_dir), "/tmp/telltale-api-XXXXXX");
	if (!mkdtemp(shop_dir) || store_open(&cfg, &shop_cfg.store, why))
		return -1;
	shop_mem = arena_new(0);
	shop_front = shop_resource("frontend", "h1");
	shop_cart = shop_resource("cart", "h1");
	w = store_writer_new(shop_cfg.store);
	shop_push_a(w);
	shop_push_rest(w);
	store_writer_sync(w, (struct store_ack){ shop_acked, &acked });
	while (!__atomic_load_n(&acked, __ATOMIC_ACQUIRE))
		usleep(1000);
	store_writer_free(w);
	return acked == 1 ? 0 : -1;
}

static int shop_close(void **state)
{
	char command[128];

	store_close(shop_cfg.store);
	resource_put(shop_front);
	resource_put(shop_cart);
	arena_free(shop_mem);
	snprintf(command, sizeof(command), "rm -rf %s", shop_dir);
	return system(command);
}

/* ---- questions ---- */

static struct api_live *shop_live;
static struct call shop_call; /* of the last question, until the next */
static char *shop_page;	      /* NUL-terminated */

static void shop_done(void)
{
	if (shop_call.mem)
		call_fini(&shop_call);
	free(shop_page);
	shop_page = NULL;
}

static unsigned int shop_ask_with(const char *method, const char *target, const char *accept,
				  const char *body)
{
	struct call *c = &shop_call;

	shop_done();
	assert_true(call_init(c, &shop_cfg));
	c->live = shop_live;
	c->req.method = str_of(method);
	c->req.target = str_of(target);
	c->req.accept = str_of(accept);
	c->req.body_type = body ? STR("application/json") : (struct str){ NULL, 0 };
	c->req.body = str_of(body);
	if (call_route(c))
		call_answer(c);
	shop_page = calloc(1, c->page.len + 1);
	if (c->page.len)
		memcpy(shop_page, c->page.p, c->page.len);
	return c->status;
}

static inline unsigned int shop_ask(const char *target)
{
	return shop_ask_with("GET", target, NULL, NULL);
}

/* The last page as JSON; the caller's to free. */
static inline json_t *shop_json(void)
{
	json_error_t err;
	json_t *root = json_loads(shop_page, JSON_REJECT_DUPLICATES, &err);

	if (!root)
		fail_msg("%s: %s", err.text, shop_page);
	return root;
}

/* The whole answer is this JSON, field by field. */
static inline void shop_expect(const char *target, const char *accept, const char *want)
{
	json_error_t err;
	json_t *root, *wanted = json_loads(want, 0, &err);

	if (!wanted)
		fail_msg("the wanted text: line %d: %s", err.line, err.text);
	if (shop_ask_with("GET", target, accept, NULL) != 200)
		fail_msg("%s: %u %s", target, shop_call.status, shop_page);
	root = shop_json();
	if (!json_equal(root, wanted))
		fail_msg("%s answered\n%s", target, shop_page);
	json_decref(root);
	json_decref(wanted);
}

/* Letters of the traces whose id the page names, in the order of their first mention. */
static inline void shop_expect_traces(const char *what, const char *want)
{
	char got[8] = "";
	size_t len = 0;

	for (const char *p = shop_page; (p = strstr(p, "0000000000000000000000000000")); p += 28) {
		char letter = p - shop_page >= 2 && p[-2] == '0' ? (char)(p[-1] - 'a' + 'A') : 0;

		if (letter >= 'A' && letter <= 'C' && !strchr(got, letter))
			got[len++] = letter;
	}
	if (strcmp(got, want))
		fail_msg("%s: traces %s, wanted %s: %s", what, got, want, shop_page);
}

#endif

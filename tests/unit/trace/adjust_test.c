/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks that disagree, and calls that two told of. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/clock.h"
#include "trace/adjust.h"

#define T0 (1700000000 * NS_PER_S)

static const struct scope sdk = { .name = { "sdk", 3 } };

static struct resource *process(const char *host, int64_t pid)
{
	struct resource *r = resource_new();

	attrs_add_str(&r->attrs, r->arena, "service.name", STR("shop"));
	attrs_add_str(&r->attrs, r->arena, "host.name", str_of(host));
	attrs_add_int(&r->attrs, r->arena, "process.pid", pid);
	resource_seal(r);
	return r;
}

struct want {
	uint8_t id, parent;
	enum span_kind kind;
	int64_t from_us, to_us;
	struct resource *resource;
	const struct scope *scope;
	const char *method;
	const char *peer;
};

static struct trace *trace_of(const struct want *w, size_t cnt)
{
	struct trace_id id = { { 1 } };
	struct trace *t = trace_new(&id);
	struct arena *mem = arena_new(0);
	uint32_t orphans;

	for (size_t i = 0; i < cnt; i++) {
		struct span s = { .trace_id = id,
				  .span_id = { { w[i].id } },
				  .parent_id = { { w[i].parent } },
				  .kind = w[i].kind,
				  .name = STR("GET"),
				  .start_ns = (uint64_t)(T0 + w[i].from_us * (int64_t)NS_PER_US),
				  .end_ns = (uint64_t)(T0 + w[i].to_us * (int64_t)NS_PER_US),
				  .resource = w[i].resource,
				  .scope = w[i].scope ? w[i].scope : &scope_capture };

		struct span_event events[] = { { .name = STR("no time") },
					       { .name = STR("e"), .time_ns = s.start_ns } };

		s.events = events;
		s.event_cnt = ARRAY_LEN(events);
		if (w[i].method)
			attrs_add_str(&s.attrs, mem, "http.request.method", str_of(w[i].method));
		if (w[i].peer)
			attrs_add_str(&s.attrs, mem, "server.address", str_of(w[i].peer));
		assert_true(trace_add(t, &s));
	}
	assert_int_equal(trace_order(t, &orphans), 0);
	arena_free(mem);
	return t;
}

static const struct span *find(const struct trace *t, uint8_t id)
{
	for (uint32_t i = 0; i < t->span_cnt; i++)
		if (t->spans[i]->span_id.b[0] == id)
			return t->spans[i];
	fail();
	return NULL;
}

static int64_t skew(const struct span *s)
{
	struct attr *a = attrs_find(&s->attrs, STR("telltale.clock_skew_ns"));
	return a ? a->value.i : 0;
}

static void a_server_is_moved_into_its_call_with_all_below(void **state)
{
	struct resource *a = process("a", 1), *b = process("b", 2);
	const struct want w[] = {
		{ 1, 0, SPAN_SERVER, 0, 1000, a, NULL, NULL, NULL },
		{ 2, 1, SPAN_CLIENT, 100, 900, a, NULL, NULL, NULL },
		{ 3, 2, SPAN_SERVER, -5000, -4400, b, NULL, NULL, NULL },
		{ 4, 3, SPAN_INTERNAL, -4900, -4500, b, NULL, NULL, NULL },
	};
	struct trace *t = trace_of(w, ARRAY_LEN(w));
	struct adjusted got;

	assert_int_equal(trace_adjust(t, &got), 0);
	assert_int_equal(got.moved, 2);
	assert_int_equal(find(t, 3)->start_ns, T0 + 200 * NS_PER_US);
	assert_int_equal(find(t, 4)->start_ns, T0 + 300 * NS_PER_US);
	assert_int_equal(find(t, 3)->events[0].time_ns, 0);
	assert_int_equal(find(t, 3)->events[1].time_ns, T0 + 200 * NS_PER_US);
	assert_int_equal(skew(find(t, 3)), 5200 * NS_PER_US);
	assert_int_equal(skew(find(t, 1)), 0);
	assert_int_equal(t->spans[0]->span_id.b[0], 1); /* in order again */
	trace_put(t);
	resource_put(a);
	resource_put(b);
}

static void what_fits_or_is_on_one_host_stays(void **state)
{
	struct resource *a = process("a", 1), *b = process("b", 2), *c = process("a", 3);
	const struct want w[] = {
		{ 1, 0, SPAN_CLIENT, 0, 1000, a, NULL, NULL, NULL },
		{ 2, 1, SPAN_SERVER, 10, 990, b, NULL, NULL, NULL },
		{ 3, 1, SPAN_SERVER, -10, 990, c, NULL, NULL, NULL },
	};
	struct trace *t = trace_of(w, ARRAY_LEN(w));
	struct adjusted got;

	assert_int_equal(trace_adjust(t, &got), 0);
	assert_int_equal(got.moved, 0);
	trace_put(t);
	resource_put(a);
	resource_put(b);
	resource_put(c);
}

static void a_consumer_may_outlive_its_producer_but_not_precede_it(void **state)
{
	struct resource *a = process("a", 1), *b = process("b", 2);
	const struct want w[] = {
		{ 1, 0, SPAN_PRODUCER, 0, 100, a, NULL, NULL, NULL },
		{ 2, 1, SPAN_CONSUMER, 5000, 9000, b, NULL, NULL, NULL },
		{ 3, 1, SPAN_CONSUMER, -500, 9000, b, NULL, NULL, NULL },
	};
	struct trace *t = trace_of(w, ARRAY_LEN(w));
	struct adjusted got;

	assert_int_equal(trace_adjust(t, &got), 0);
	assert_int_equal(got.moved, 1);
	assert_int_equal(find(t, 3)->start_ns, T0);
	trace_put(t);
	resource_put(a);
	resource_put(b);
}

static struct str twin(const struct trace *t, uint8_t id)
{
	return attrs_str(&find(t, id)->attrs, "telltale.duplicate_of");
}

static void the_same_context_on_the_wire_is_the_same_call(void **state)
{
	struct resource *a = process("a", 1), *other = process("a", 2);
	const struct want w[] = {
		{ 1, 9, SPAN_SERVER, 0, 1000, a, &sdk, NULL, NULL },
		{ 2, 9, SPAN_SERVER, -10, 1010, a, NULL, NULL, NULL }, /* the same */
		{ 3, 1, SPAN_CLIENT, 100, 900, a, &sdk, NULL, NULL },
		{ 4, 3, SPAN_CLIENT, 110, 890, a, NULL, NULL, NULL },	  /* the same */
		{ 5, 3, SPAN_SERVER, 150, 800, other, NULL, NULL, NULL }, /* the other end */
	};
	struct trace *t = trace_of(w, ARRAY_LEN(w));
	struct adjusted got;

	assert_int_equal(trace_adjust(t, &got), 0);
	assert_int_equal(got.duplicates, 2);
	assert_true(str_eq(twin(t, 2), STR("0100000000000000")));
	assert_true(str_eq(twin(t, 4), STR("0300000000000000")));
	assert_int_equal(twin(t, 5).len, 0);
	trace_put(t);
	resource_put(a);
	resource_put(other);
}

static void without_context_only_one_candidate_counts(void **state)
{
	struct resource *a = process("a", 1);
	const struct want w[] = {
		{ 1, 0, SPAN_SERVER, 0, 9000, a, &sdk, NULL, NULL },
		{ 2, 1, SPAN_CLIENT, 100, 1100, a, &sdk, "GET", "db" },
		{ 3, 1, SPAN_CLIENT, 110, 1090, a, NULL, "GET", "db" }, /* the same */
		{ 4, 1, SPAN_CLIENT, 2000, 3000, a, &sdk, "GET", "db" },
		{ 5, 1, SPAN_CLIENT, 2000, 3010, a, &sdk, "GET", "db" },
		{ 6, 1, SPAN_CLIENT, 2005, 2995, a, NULL, "GET", "db" }, /* one of two */
		{ 7, 1, SPAN_CLIENT, 4000, 5000, a, &sdk, "GET", "db" },
		{ 8, 1, SPAN_CLIENT, 4000, 4900, a, NULL, "GET", "db" }, /* too short */
		{ 9, 1, SPAN_CLIENT, 6000, 7000, a, &sdk, "GET", "db" },
		{ 10, 1, SPAN_CLIENT, 6000, 7000, a, NULL, "PUT", "db" },
	};
	struct trace *t = trace_of(w, ARRAY_LEN(w));
	struct adjusted got;

	assert_int_equal(trace_adjust(t, &got), 0);
	assert_int_equal(got.duplicates, 1);
	assert_true(str_eq(twin(t, 3), STR("0200000000000000")));
	trace_put(t);
	resource_put(a);
}

/* ---- Zipkin's shared spans ---- */

struct zipkin {
	uint8_t id, parent;
	const char *service;
	bool shared;
};

static struct trace *zipkin_trace(const struct zipkin *z, size_t cnt)
{
	struct trace_id id = { { 1 } };
	struct trace *t = trace_new(&id);
	struct arena *mem = arena_new(0);
	uint32_t orphans;

	for (size_t i = 0; i < cnt; i++) {
		struct resource *r = resource_new();
		struct span s = { .trace_id = id,
				  .span_id = { { z[i].id } },
				  .parent_id = { { z[i].parent } },
				  .kind = z[i].shared ? SPAN_SERVER : SPAN_CLIENT,
				  .name = STR("get"),
				  .start_ns = T0 + i,
				  .end_ns = T0 + 1000,
				  .resource = r,
				  .scope = &sdk };

		attrs_add_str(&r->attrs, r->arena, "service.name", str_of(z[i].service));
		resource_seal(r);
		if (z[i].shared)
			attrs_add_bool(&s.attrs, mem, "zipkin.shared", true);
		assert_true(trace_add(t, &s));
		resource_put(r);
	}
	assert_int_equal(trace_order(t, &orphans), 0);
	arena_free(mem);
	return t;
}

/* 2 is the client's half and 3 the server's; 4 and 5 name the id of both. */
static void what_a_server_did_hangs_below_its_half(void **state)
{
	static const struct zipkin z[] = { { 1, 0, "front", false }, { 2, 1, "front", false },
					   { 3, 2, "back", true },   { 4, 2, "back", false },
					   { 5, 2, "front", false }, { 6, 4, "back", false } };
	struct trace *t = zipkin_trace(z, ARRAY_LEN(z));
	struct adjusted got;

	assert_true(trace_adjustable(t));
	assert_int_equal(trace_adjust(t, &got), 0);
	assert_int_equal(got.hung, 1);
	assert_int_equal(find(t, 4)->parent_id.b[0], 3);
	assert_true(str_eq(attrs_str(&find(t, 4)->attrs, "telltale.parent.method"),
			   STR("zipkin-shared")));
	assert_int_equal(find(t, 3)->parent_id.b[0], 2);
	assert_int_equal(find(t, 5)->parent_id.b[0], 2);
	assert_int_equal(find(t, 6)->parent_id.b[0], 4);
	trace_put(t);
}

/* The client's half is of the same service, or there are two servers: it stays where it is. */
static void whose_it_is_must_be_certain(void **state)
{
	static const struct zipkin self[] = { { 2, 0, "one", false },
					      { 3, 2, "one", true },
					      { 4, 2, "one", false } };
	static const struct zipkin twice[] = { { 2, 2, "front", false },
					       { 3, 2, "back", true },
					       { 5, 2, "back", true },
					       { 4, 2, "back", false } };
	struct adjusted got;
	struct trace *t = zipkin_trace(self, ARRAY_LEN(self));

	assert_int_equal(trace_adjust(t, &got), 0);
	assert_int_equal(got.hung, 0);
	trace_put(t);
	t = zipkin_trace(twice, ARRAY_LEN(twice));
	assert_int_equal(trace_adjust(t, &got), 0);
	assert_int_equal(got.hung, 0);
	assert_int_equal(find(t, 4)->parent_id.b[0], 2);
	trace_put(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_is_moved_into_its_call_with_all_below),
		cmocka_unit_test(what_fits_or_is_on_one_host_stays),
		cmocka_unit_test(a_consumer_may_outlive_its_producer_but_not_precede_it),
		cmocka_unit_test(the_same_context_on_the_wire_is_the_same_call),
		cmocka_unit_test(without_context_only_one_candidate_counts),
		cmocka_unit_test(what_a_server_did_hangs_below_its_half),
		cmocka_unit_test(whose_it_is_must_be_certain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

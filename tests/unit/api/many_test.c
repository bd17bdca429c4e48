/* SPDX-License-Identifier: Apache-2.0 */
/* Questions about more spans than an answer holds at a time: each is counted all the same. */
#include "unit/api/shop.h"

#define TRACES 300000u
#define APART  (10ull * 1000000000 / TRACES) /* ten seconds of them */

/* A call of cart by front, the server's span last. */
static void push_call(struct store_writer *w, uint32_t i)
{
	struct span s = shop_span(1, 1, 0, SPAN_CLIENT, "GET", shop_front, 0, 0);

	s.trace_id.b[0] = 0xee;
	memcpy(&s.trace_id.b[8], &(uint64_t){ i + 1 }, sizeof(uint64_t));
	s.start_ns = T0 + 60000 * MS + i * APART;
	s.end_ns = s.start_ns + (1ull << i % 32);
	store_writer_push(w, &s);
	s.parent_id = s.span_id;
	s.span_id.b[7] = 2;
	s.kind = SPAN_SERVER;
	s.resource = shop_cart;
	s.status = i % 10 ? STATUS_UNSET : STATUS_ERROR;
	store_writer_push(w, &s);
}

static int many_open(void **state)
{
	struct store_writer *w;

	if (shop_open(state))
		return -1;
	w = store_writer_new(shop_cfg.store);
	for (uint32_t i = 0; i < TRACES; i++) {
		int acked = 0;

		push_call(w, i);
		if (i % 1000 != 999)
			continue;
		store_writer_sync(w, (struct store_ack){ shop_acked, &acked });
		while (!__atomic_load_n(&acked, __ATOMIC_ACQUIRE))
			usleep(100);
		if (acked != 1)
			return -1;
	}
	store_writer_free(w);
	return 0;
}

static int many_close(void **state)
{
	shop_done();
	return shop_close(state);
}

#define ALL "endTs=1700000071000&lookback=12000"

static void each_call_is_a_dependency(void **state)
{
	assert_int_equal(shop_ask("/api/dependencies?" ALL), 200);
	assert_string_equal(shop_page, "{\"data\":[{\"parent\":\"frontend\",\"child\":\"cart\","
				       "\"callCount\":300000}],\"total\":1,\"limit\":0,"
				       "\"offset\":0,\"errors\":null}");
}

/* What the points of all series add up to. */
static double sum_of(const char *target)
{
	json_t *root, *series, *point;
	double sum = 0;
	size_t i, k;

	if (shop_ask(target) != 200)
		fail_msg("%s: %s", target, shop_page);
	root = shop_json();
	json_array_foreach(json_object_get(root, "metrics"), i, series)
		json_array_foreach(json_object_get(series, "metricPoints"), k, point) sum +=
		json_number_value(
			json_object_get(json_object_get(point, "gaugeValue"), "doubleValue"));
	json_decref(root);
	return sum;
}

/* More than half a million samples, most of which no step of a millisecond puts together. */
static void each_call_is_in_a_window(void **state)
{
	double calls = sum_of("/api/metrics/calls?service=frontend&service=cart&spanKind=client&"
			      "spanKind=server&step=2&ratePer=2&" ALL);

	assert_true(calls * 0.002 > 599999.5 && calls * 0.002 < 600000.5);
	calls = sum_of("/api/metrics/errors?service=cart&step=12000&ratePer=12000&" ALL);
	assert_true(calls > 0.0999 && calls < 0.1001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call_is_a_dependency),
		cmocka_unit_test(each_call_is_in_a_window),
	};

	return cmocka_run_group_tests_name("api/many", tests, many_open, many_close);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's two APIs on a small store: replies compared field by field with the shapes its page and
 * Grafana's data source read. */
#include "api/jaeger_ask.h"
#include "unit/api/shop.h"

#define END ",\"limit\":0,\"offset\":0,\"errors\":null}"

static const char trace_a[] =
	"{\"data\":[{\"traceID\":\"" TRACE_A "\",\"spans\":["
	"{\"traceID\":\"" TRACE_A "\",\"spanID\":\"0000000000000001\",\"flags\":1,"
	"\"operationName\":\"GET /cart\",\"references\":[],\"startTime\":1700000000000000,"
	"\"duration\":100000,\"tags\":["
	"{\"key\":\"otel.scope.name\",\"value\":\"http\",\"type\":\"string\"},"
	"{\"key\":\"otel.scope.version\",\"value\":\"1.2\",\"type\":\"string\"},"
	"{\"key\":\"http.request.method\",\"value\":\"GET\",\"type\":\"string\"},"
	"{\"key\":\"http.response.status_code\",\"value\":200,\"type\":\"int64\"},"
	"{\"key\":\"http.request.header.x-request-id\",\"value\":\"req-1\",\"type\":\"string\"},"
	"{\"key\":\"span.kind\",\"value\":\"server\",\"type\":\"string\"},"
	"{\"key\":\"w3c.tracestate\",\"value\":\"k=v\",\"type\":\"string\"}],"
	"\"logs\":[{\"timestamp\":1700000000007000,\"fields\":["
	"{\"key\":\"event\",\"value\":\"exception\",\"type\":\"string\"},"
	"{\"key\":\"exception.message\",\"value\":\"no \\\"luck\\\"\",\"type\":\"string\"}]}],"
	"\"processID\":\"p1\",\"warnings\":null},"
	"{\"traceID\":\"" TRACE_A "\",\"spanID\":\"0000000000000002\","
	"\"operationName\":\"GET\",\"references\":[{\"refType\":\"CHILD_OF\",\"traceID\":\"" TRACE_A
	"\",\"spanID\":\"0000000000000001\"}],\"startTime\":1700000000010000,\"duration\":50000,"
	"\"tags\":[{\"key\":\"otel.scope.name\",\"value\":\"http\",\"type\":\"string\"},"
	"{\"key\":\"otel.scope.version\",\"value\":\"1.2\",\"type\":\"string\"},"
	"{\"key\":\"span.kind\",\"value\":\"client\",\"type\":\"string\"}],"
	"\"logs\":[],\"processID\":\"p1\",\"warnings\":null},"
	"{\"traceID\":\"" TRACE_A "\",\"spanID\":\"0000000000000003\","
	"\"operationName\":\"GET /items\",\"references\":["
	"{\"refType\":\"CHILD_OF\",\"traceID\":\"" TRACE_A "\",\"spanID\":\"0000000000000002\"},"
	"{\"refType\":\"FOLLOWS_FROM\",\"traceID\":\"" TRACE_B
	"\",\"spanID\":\"0000000000000009\"}],"
	"\"startTime\":1700000000015000,\"duration\":30000,\"tags\":["
	"{\"key\":\"otel.scope.name\",\"value\":\"http\",\"type\":\"string\"},"
	"{\"key\":\"otel.scope.version\",\"value\":\"1.2\",\"type\":\"string\"},"
	"{\"key\":\"big\",\"value\":\"1152921504606846976\",\"type\":\"int64\"},"
	"{\"key\":\"ratio\",\"value\":0.5,\"type\":\"float64\"},"
	"{\"key\":\"cached\",\"value\":true,\"type\":\"bool\"},"
	"{\"key\":\"list\",\"value\":\"[\\\"a\\\",2]\",\"type\":\"string\"},"
	"{\"key\":\"span.kind\",\"value\":\"server\",\"type\":\"string\"},"
	"{\"key\":\"otel.status_code\",\"value\":\"ERROR\",\"type\":\"string\"},"
	"{\"key\":\"error\",\"value\":true,\"type\":\"bool\"},"
	"{\"key\":\"otel.status_description\",\"value\":\"boom\",\"type\":\"string\"}],"
	"\"logs\":[],\"processID\":\"p2\",\"warnings\":null}],"
	"\"processes\":{\"p1\":{\"serviceName\":\"frontend\",\"tags\":["
	"{\"key\":\"host.name\",\"value\":\"h1\",\"type\":\"string\"}]},"
	"\"p2\":{\"serviceName\":\"cart\",\"tags\":["
	"{\"key\":\"host.name\",\"value\":\"h1\",\"type\":\"string\"}]}},\"warnings\":null}],"
	"\"total\":0" END;

static void a_trace_has_jaegers_shape(void **state)
{
	shop_expect("/api/traces/" TRACE_A, NULL, trace_a);
	shop_expect("/jaeger/api/traces/" TRACE_A, "application/protobuf", trace_a);
	/* the forms in which ids are pasted */
	shop_expect("/api/traces/a000000000000000000000000000001", NULL, trace_a);
	shop_expect("/api/traces/0A000000-0000-0000-0000-000000000001", NULL, trace_a);
	shop_expect("/api/traces?traceID=" TRACE_A, NULL, trace_a);
}

static void names_have_an_envelope(void **state)
{
	shop_expect("/api/services", NULL, "{\"data\":[\"cart\",\"frontend\"],\"total\":2" END);
	shop_expect("/api/services/frontend/operations", NULL,
		    "{\"data\":[\"GET\",\"GET /cart\"],\"total\":2" END);
	shop_expect("/api/services/no%2Fone/operations", NULL, "{\"data\":[],\"total\":0" END);
	shop_expect("/api/operations?service=cart&spanKind=server", NULL,
		    "{\"data\":[{\"name\":\"GET /items\",\"spanKind\":\"server\"},"
		    "{\"name\":\"POST /items\",\"spanKind\":\"server\"}],\"total\":2" END);
}

/* Spans without a kind are internal ones to Jaeger: an operation that has both is one. */
static void an_operation_comes_once_for_each_kind(void **state)
{
	struct operation row[] = {
		{ STR("a"), STR("job"), SPAN_UNSPECIFIED }, { STR("a"), STR("job"), SPAN_INTERNAL },
		{ STR("a"), STR("job"), SPAN_SERVER },	    { STR("a"), STR("op"), SPAN_INTERNAL },
		{ STR("b"), STR("op"), SPAN_INTERNAL },
	};
	const struct operations all = { .row = row, .cnt = ARRAY_LEN(row) };
	struct buf text = { .cap = 4096 };
	struct json j = { .out = &text };

	assert_int_equal(jaeger_operations(&j, &all, NULL), 4);
	assert_int_equal(jaeger_operations(&j, &all, "internal"), 3);
	buf_fini(&text);
}

static void searches_find_what_jaeger_finds(void **state)
{
	static const struct {
		const char *query, *traces;
	} asked[] = {
		{ "service=frontend", "A" },
		{ "service=cart", "CBA" },
		{ "service=cart&limit=1", "C" },
		{ "service=cart&operation=POST+%2Fitems", "B" },
		{ "service=cart&tags=%7B%22error%22%3A%22true%22%7D", "A" },
		{ "service=cart&tags=%7B%22span.kind%22%3A%22internal%22%7D", "C" },
		{ "service=frontend&tags=%7B%22http.response.status_code%22%3A%22200%22%7D", "A" },
		{ "service=frontend&tags=%7B%22http.response.status_code%22%3A%22404%22%7D", "" },
		{ "service=cart&tag=cached:true&tag=ratio:0.5", "A" },
		{ "service=cart&tag=big:1152921504606846976", "A" },
		{ "service=cart&tag=big:1152921504606846977", "" },
		{ "service=cart&tag=big:-1152921504606846976", "" },
		{ "service=cart&tag=host.name:h1", "CBA" },
		{ "service=cart&minDuration=1s", "C" },
		{ "service=cart&maxDuration=10ms", "B" },
		{ "service=cart&minDuration=&maxDuration=&tags=&operation=", "CBA" },
		{ "service=nobody", "" },
		{ "service=cart%27%20OR%201%3D1--", "" },
		{ "service=cart&lookback=custom", "CBA" },
	};
	char target[512];

	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		snprintf(target, sizeof(target),
			 "/api/traces?%s&start=1700000000000000&end=1700000010000000",
			 asked[i].query);
		if (shop_ask(target) != 200)
			fail_msg("%s: %s", target, shop_page);
		/* links name other traces: count data, not mentions */
		json_t *root = shop_json(), *row;
		char got[8] = "";
		size_t k;

		json_array_foreach(json_object_get(root, "data"), k, row) got[k] =
			(char)(json_string_value(json_object_get(row, "traceID"))[1] - 'a' + 'A');
		json_decref(root);
		if (strcmp(got, asked[i].traces))
			fail_msg("%s: %s", target, got);
	}
	/* outside of the range, and by default the last hour */
	assert_int_equal(shop_ask("/api/traces?service=cart&end=1700000000000000"), 200);
	assert_non_null(strstr(shop_page, "\"data\":[]"));
	assert_int_equal(shop_ask("/api/traces?service=cart"), 200);
	assert_non_null(strstr(shop_page, "\"data\":[]"));
}

static void what_is_missing_or_wrong_is_told_in_the_envelope(void **state)
{
	static const char *const bad[] = {
		"/api/traces/xyz",
		"/api/traces/00000000000000000000000000000000",
		"/api/traces/" TRACE_A "00",
		"/api/traces",
		"/api/traces?service=a&limit=0",
		"/api/traces?service=a&limit=100000000000",
		"/api/traces?service=a&limit=-1",
		"/api/traces?service=a&start=-5",
		"/api/traces?service=a&start=5&end=4",
		"/api/traces?service=a&minDuration=fast",
		"/api/traces?service=a&minDuration=2s&maxDuration=1s",
		"/api/traces?service=a&tags=[]",
		"/api/traces?service=a&tags=%7B%22a%22%3A1%7D",
		"/api/traces?service=a&tag=nocolon",
		"/api/traces?service=a&lookback=long",
		"/api/operations",
		"/api/operations?service=a&spanKind=sideways",
		"/api/dependencies?lookback=0",
		"/api/metrics/calls",
		"/api/metrics/calls?service=a&step=0",
		"/api/metrics/calls?service=a&step=1&lookback=86400000",
		"/api/metrics/latencies?service=a&quantile=2",
	};

	assert_int_equal(shop_ask("/api/traces/ff"), 404);
	assert_string_equal(shop_page,
			    "{\"data\":null,\"total\":0,\"limit\":0,\"offset\":0,\"errors\":["
			    "{\"code\":404,\"msg\":\"trace not found\"}]}\n");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		json_t *root;

		if (shop_ask(bad[i]) != 400)
			fail_msg("%s: %u", bad[i], shop_call.status);
		root = shop_json();
		assert_int_equal(
			json_integer_value(json_object_get(
				json_array_get(json_object_get(root, "errors"), 0), "code")),
			400);
		json_decref(root);
	}
	assert_int_equal(shop_ask("/api/traces?traceID=ff&traceID=" TRACE_B), 200);
	assert_non_null(strstr(shop_page, "\"code\":404,\"msg\":\"trace not found\","
					  "\"traceID\":\"ff\""));
	shop_expect_traces("by ids", "B");
}

static void dependencies_count_calls_between_services(void **state)
{
	shop_expect("/api/dependencies?endTs=1700000010000&lookback=60000", NULL,
		    "{\"data\":[{\"parent\":\"frontend\",\"child\":\"cart\",\"callCount\":1}],"
		    "\"total\":1" END);
	shop_expect("/api/dependencies?endTs=1700000000000&lookback=60000", NULL,
		    "{\"data\":[],\"total\":0" END);
	shop_expect("/api/dependencies?endTs=1700000010000&lookback=60000&service=nobody", NULL,
		    "{\"data\":[],\"total\":0" END);
	shop_expect("/api/v3/dependencies?startTime=2023-11-14T22:13:20Z&"
		    "endTime=2023-11-14T22:13:30Z",
		    NULL,
		    "{\"dependencies\":[{\"parent\":\"frontend\",\"child\":\"cart\","
		    "\"callCount\":\"1\"}]}");
}

static void the_pages_button_archives(void **state)
{
	assert_int_equal(shop_ask_with("POST", "/jaeger/api/archive/" TRACE_B, NULL, NULL), 200);
	assert_int_equal(shop_ask("/traces/archive"), 200);
	shop_expect_traces("archive", "B");
	assert_int_equal(shop_ask_with("POST", "/api/archive/ff", NULL, NULL), 404);
	assert_non_null(strstr(shop_page, "\"errors\":[{\"code\":404"));
	assert_int_equal(shop_ask_with("DELETE", "/traces/" TRACE_B "/archive", NULL, NULL), 204);
}

/* The value of the only point of the only series. */
static double only_point(const char *target, const char *name)
{
	double v;
	json_t *root, *metric, *points;

	if (shop_ask(target) != 200)
		fail_msg("%s: %s", target, shop_page);
	root = shop_json();
	assert_string_equal(json_string_value(json_object_get(root, "name")), name);
	assert_int_equal(json_array_size(json_object_get(root, "metrics")), 1);
	metric = json_array_get(json_object_get(root, "metrics"), 0);
	points = json_object_get(metric, "metricPoints");
	assert_int_equal(json_array_size(points), 1);
	v = json_number_value(json_object_get(
		json_object_get(json_array_get(points, 0), "gaugeValue"), "doubleValue"));
	json_decref(root);
	return v;
}

#define WINDOW "&endTs=1700000010000&lookback=10000&step=10000&ratePer=10000"

static void metrics_are_counted_from_spans(void **state)
{
	double ms = only_point("/api/metrics/latencies?service=frontend&quantile=0.5" WINDOW,
			       "service_latencies");

	assert_true(ms > 90 && ms < 110);
	assert_true(only_point("/api/metrics/calls?service=cart" WINDOW, "service_call_rate") ==
		    0.2);
	assert_true(only_point("/api/metrics/errors?service=cart" WINDOW, "service_error_rate") ==
		    0.5);
	assert_true(only_point("/api/metrics/calls?service=frontend&spanKind=client&"
			       "groupByOperation=true" WINDOW,
			       "service_operation_call_rate") == 0.1);
	assert_non_null(strstr(shop_page, "{\"name\":\"operation\",\"value\":\"GET\"}"));
	assert_int_equal(shop_ask("/api/metrics/calls?service=nobody" WINDOW), 200);
	assert_non_null(strstr(shop_page, "\"metrics\":[]"));
}

#define RANGE3 "query.startTimeMin=2023-11-14T22:13:20Z&query.startTimeMax=2023-11-14T22:13:30Z"

static void the_third_api_has_its_own_shapes(void **state)
{
	shop_expect("/api/v3/services", NULL, "{\"services\":[\"cart\",\"frontend\"]}");
	shop_expect("/api/v3/operations?service=cart&span_kind=INTERNAL", NULL,
		    "{\"operations\":[{\"name\":\"job\",\"spanKind\":\"internal\"}]}");
	shop_expect("/api/v3/trace-summaries?query.serviceName=frontend&" RANGE3, NULL,
		    "{\"summaries\":[{\"traceId\":\"" TRACE_A "\",\"traceID\":\"" TRACE_A "\","
		    "\"rootServiceName\":\"frontend\",\"rootOperationName\":\"GET /cart\","
		    "\"minStartTimeUnixNano\":\"1700000000000000000\","
		    "\"maxEndTimeUnixNano\":\"1700000000100000000\",\"spanCount\":3,"
		    "\"errorSpanCount\":1,\"orphanSpanCount\":0,\"services\":["
		    "{\"name\":\"cart\",\"spanCount\":1,\"errorSpanCount\":1},"
		    "{\"name\":\"frontend\",\"spanCount\":2,\"errorSpanCount\":0}]}]}");
	assert_int_equal(shop_ask("/api/v3/traces?query.service_name=cart&query.num_traces=2&"
				  "query.start_time_min=2023-11-14T22:13:20Z&"
				  "query.start_time_max=2023-11-14T22:13:30Z"),
			 200);
	shop_expect_traces("v3 traces", "CB");
	shop_expect("/api/v3/traces/" TRACE_C, NULL,
		    "{\"result\":{\"resourceSpans\":[{\"resource\":{\"attributes\":["
		    "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"cart\"}},"
		    "{\"key\":\"host.name\",\"value\":{\"stringValue\":\"h1\"}}]},"
		    "\"scopeSpans\":[{\"scope\":{\"name\":\"http\",\"version\":\"1.2\"},\"spans\":["
		    "{\"traceId\":\"" TRACE_C "\",\"spanId\":\"0000000000000005\","
		    "\"parentSpanId\":\"0000000000000004\",\"name\":\"job\",\"kind\":1,"
		    "\"startTimeUnixNano\":\"1700000002000000000\","
		    "\"endTimeUnixNano\":\"1700000004000000000\"}]}]}]}}");
	shop_expect("/jaeger/api/v3/capabilities", NULL,
		    "{\"search\":{\"withoutServiceName\":true,\"sameSpanConjunction\":true}}");
	assert_int_equal(shop_ask("/api/v3/trace-summaries?query.span_name=job&" RANGE3), 200);
	shop_expect_traces("an operation by its other name", "C");
	assert_int_equal(shop_ask("/api/v3/traces/ff"), 404);
	assert_string_equal(shop_page,
			    "{\"error\":{\"httpCode\":404,\"message\":\"trace not found\"}}\n");
	assert_int_equal(shop_ask("/api/v3/traces?query.serviceName=nobody&" RANGE3), 404);
	assert_int_equal(shop_ask("/api/v3/traces?query.serviceName=cart"), 400);
	assert_int_equal(shop_ask("/api/v3/trace-summaries?query.startTimeMin=now&"
				  "query.startTimeMax=now"),
			 400);
	assert_int_equal(shop_ask("/tempo/api/v3/services"), 404);
}

/* Grafana lists a row for each resource: traces of one service do not share one. */
static void traces_of_the_third_api_stay_apart(void **state)
{
	json_t *root, *resources;

	assert_int_equal(shop_ask("/api/v3/traces?query.serviceName=cart&" RANGE3), 200);
	root = shop_json();
	resources = json_object_get(json_object_get(root, "result"), "resourceSpans");
	assert_int_equal(json_array_size(resources), 4); /* C, B, and of A cart's and frontend's */
	for (size_t i = 0; i < 2; i++) {
		json_t *scopes = json_object_get(json_array_get(resources, i), "scopeSpans");

		assert_int_equal(json_array_size(scopes), 1);
		assert_int_equal(
			json_array_size(json_object_get(json_array_get(scopes, 0), "spans")), 1);
	}
	json_decref(root);
}

static int close_shop(void **state)
{
	shop_done();
	return shop_close(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_trace_has_jaegers_shape),
		cmocka_unit_test(names_have_an_envelope),
		cmocka_unit_test(an_operation_comes_once_for_each_kind),
		cmocka_unit_test(searches_find_what_jaeger_finds),
		cmocka_unit_test(what_is_missing_or_wrong_is_told_in_the_envelope),
		cmocka_unit_test(dependencies_count_calls_between_services),
		cmocka_unit_test(the_pages_button_archives),
		cmocka_unit_test(metrics_are_counted_from_spans),
		cmocka_unit_test(the_third_api_has_its_own_shapes),
		cmocka_unit_test(traces_of_the_third_api_stay_apart),
	};

	return cmocka_run_group_tests_name("api/jaeger", tests, shop_open, close_shop);
}

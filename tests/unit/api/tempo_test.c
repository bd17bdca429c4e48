/* SPDX-License-Identifier: Apache-2.0 */
/* Tempo's API on a small store: replies compared field by field with what its clients read. */
#include "export/export.h"
#include "unit/api/shop.h"

#define SCOPE "\"scope\":{\"name\":\"http\",\"version\":\"1.2\"}"
#define RESOURCE(name)                                                                         \
	"{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":" \
	"\"" name "\"}},{\"key\":\"host.name\",\"value\":{\"stringValue\":\"h1\"}}]},"         \
	"\"scopeSpans\":[{" SCOPE ",\"spans\":["
#define ID_A "CgAAAAAAAAAAAAAAAAAAAQ=="

/* One list of resources; v1 calls it batches. */
static const char resources_a[] = RESOURCE(
	"frontend") "{\"traceId\":\"" ID_A "\",\"spanId\":\"AAAAAAAAAAE=\",\"traceState\":\"k=v\","
		    "\"name\":\"GET /cart\",\"kind\":\"SPAN_KIND_SERVER\","
		    "\"startTimeUnixNano\":\"1700000000000000000\","
		    "\"endTimeUnixNano\":\"1700000000100000000\",\"attributes\":["
		    "{\"key\":\"http.request.method\",\"value\":{\"stringValue\":\"GET\"}},"
		    "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"200\"}},"
		    "{\"key\":\"http.request.header.x-request-id\",\"value\":{\"stringValue\":"
		    "\"req-1\"}}],"
		    "\"events\":[{\"timeUnixNano\":\"1700000000007000000\",\"name\":\"exception\","
		    "\"attributes\":[{\"key\":\"exception.message\","
		    "\"value\":{\"stringValue\":\"no "
		    "\\\"luck\\\"\"}}]}],\"status\":{},\"flags\":1},"
		    "{\"traceId\":\"" ID_A
		    "\",\"spanId\":\"AAAAAAAAAAI=\",\"parentSpanId\":\"AAAAAAAAAAE=\","
		    "\"name\":\"GET\",\"kind\":\"SPAN_KIND_CLIENT\","
		    "\"startTimeUnixNano\":\"1700000000010000000\","
		    "\"endTimeUnixNano\":\"1700000000060000000\",\"status\":{}}]}]}," RESOURCE(
			    "cart") "{\"traceId\":\"" ID_A "\",\"spanId\":\"AAAAAAAAAAM=\","
				    "\"parentSpanId\":\"AAAAAAAAAAI=\","
				    "\"name\":\"GET /items\",\"kind\":\"SPAN_KIND_SERVER\","
				    "\"startTimeUnixNano\":\"1700000000015000000\","
				    "\"endTimeUnixNano\":\"1700000000045000000\",\"attributes\":["
				    "{\"key\":\"big\",\"value\":{\"intValue\":"
				    "\"1152921504606846976\"}},"
				    "{\"key\":\"ratio\",\"value\":{\"doubleValue\":0.5}},"
				    "{\"key\":\"cached\",\"value\":{\"boolValue\":true}},"
				    "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":[{"
				    "\"stringValue\":\"a\"},"
				    "{\"intValue\":\"2\"}]}}}],\"links\":[{\"traceId\":"
				    "\"CwAAAAAAAAAAAAAAAAAAAg==\","
				    "\"spanId\":\"AAAAAAAAAAk=\"}],"
				    "\"status\":{\"message\":\"boom\",\"code\":\"STATUS_CODE_"
				    "ERROR\"}}]}]}";

static void a_trace_has_tempos_shapes(void **state)
{
	char want[8192];

	snprintf(want, sizeof(want), "{\"batches\":[%s]}", resources_a);
	shop_expect("/tempo/api/traces/" TRACE_A, NULL, want);
	shop_expect("/tempo/api/traces/" TRACE_A "?start=1700000000&end=1700000100", NULL, want);
	snprintf(want, sizeof(want),
		 "{\"trace\":{\"resourceSpans\":[%s]},\"metrics\":{},\"status\":\"COMPLETE\"}",
		 resources_a);
	shop_expect("/api/v2/traces/" TRACE_A, NULL, want);
	shop_expect("/tempo/api/v2/traces/" TRACE_A, "application/json", want);
	assert_int_equal(shop_ask("/tempo/api/traces/ff"), 404);
	assert_string_equal(shop_page, "trace not found\n");
	assert_string_equal(shop_call.type, "text/plain; charset=utf-8");
	assert_int_equal(shop_ask("/api/v2/traces/xyz"), 400);
}

/* What the same trace is in OTLP's own encoding. */
static void protobuf_is_given_by_accept(void **state)
{
	struct buf direct = { 0 };
	struct trace_id id = { .b = { 0x0a, [15] = 1 } };
	struct trace *t;

	assert_int_equal(store_trace(shop_cfg.store, &id, &t), 0);
	assert_int_equal(otlp_encode((const struct span *const *)t->spans, t->span_cnt, &direct),
			 0);
	trace_put(t);
	assert_int_equal(shop_ask_with("GET", "/api/traces/" TRACE_A, "application/protobuf", NULL),
			 200);
	assert_string_equal(shop_call.type, "application/protobuf");
	assert_int_equal(shop_call.page.len, direct.len);
	assert_memory_equal(shop_call.page.p, direct.p, direct.len);
	assert_int_equal(
		shop_ask_with("GET", "/api/v2/traces/" TRACE_A, "application/protobuf", NULL), 200);
	assert_int_equal(shop_call.page.p[0], 1 << 3 | 2);
	assert_true(direct.len >= 128 && direct.len < 16384);
	assert_int_equal((shop_call.page.p[1] & 0x7f) | shop_call.page.p[2] << 7, direct.len);
	assert_memory_equal(shop_call.page.p + 3, direct.p, direct.len);
	buf_fini(&direct);
}

#define FOUND_A                                                                          \
	"\"traceID\":\"" TRACE_A "\",\"rootServiceName\":\"frontend\","                  \
	"\"rootTraceName\":\"GET /cart\",\"startTimeUnixNano\":\"1700000000000000000\"," \
	"\"durationMs\":100"
#define STATS_A                                                                        \
	"\"serviceStats\":{\"cart\":{\"spanCount\":1,\"errorCount\":1},\"frontend\":{" \
	"\"spanCount\":2}}}]"
#define SET_A                                                                     \
	"{\"spans\":[{\"spanID\":\"0000000000000003\",\"startTimeUnixNano\":"     \
	"\"1700000000015000000\",\"durationNanos\":\"30000000\",\"attributes\":[" \
	"{\"key\":\"status\",\"value\":{\"stringValue\":\"error\"}},"             \
	"{\"key\":\"ratio\",\"value\":{\"doubleValue\":0.5}}]}],\"matched\":1}"

static void a_search_has_tempos_shape(void **state)
{
	json_t *root, *want, *traces;

	assert_int_equal(shop_ask("/api/search?q=%7B%20status%20%3D%20error%20%7D%20%7C%20"
				  "select%28span.ratio%29"),
			 200);
	root = shop_json();
	want = json_loads("[{" FOUND_A ",\"spanSet\":" SET_A ",\"spanSets\":[" SET_A "]," STATS_A,
			  0, NULL);
	assert_non_null(want);
	traces = json_object_get(root, "traces");
	if (!json_equal(traces, want))
		fail_msg("%s", shop_page);
	assert_true(json_is_object(json_object_get(root, "metrics")));
	json_decref(root);
	json_decref(want);
}

static void searches_find_what_tempo_finds(void **state)
{
	static const struct {
		const char *query, *traces;
	} asked[] = {
		{ "", "CBA" },
		{ "limit=2", "CB" },
		{ "q=%7B%7D", "CBA" },
		{ "q=%7Bresource.service.name%3D%22cart%22%26%26kind%3Dserver%7D", "BA" },
		{ "q=%7Bresource.service.name%3D%22frontend%22%7D%3E%3E%7Bstatus%3Derror%7D", "A" },
		{ "q=%7Bspan.http.response.status_code%3E%3D500%7D", "" },
		{ "q=%7Bname%3D~%22.*items%22%7D%7Ccount%28%29%3E0", "BA" },
		{ "tags=service.name%3Dfrontend", "A" },
		{ "tags=service.name%3Dcart+name%3D%22POST+%2Fitems%22", "B" },
		{ "tags=error%3Dtrue", "A" },
		{ "tags=http.response.status_code%3D200", "A" },
		{ "minDuration=1s", "C" },
		{ "maxDuration=50ms", "B" },
		{ "start=1700000001&end=1700000002", "B" },
	};
	char target[512];

	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		snprintf(target, sizeof(target), "/tempo/api/search?%s", asked[i].query);
		if (shop_ask(target) != 200)
			fail_msg("%s: %s", target, shop_page);
		shop_expect_traces(target, asked[i].traces);
	}
}

static void bad_questions_are_told_in_words(void **state)
{
	static const char *const bad[] = {
		"/api/search?q=%7B",
		"/api/search?q=%7B%7D%7Crate%28%29",
		"/api/search?q=%7Bname%3D~%22%28%22%7D",
		"/api/search?tags=a%3D%22b",
		"/api/search?tags=%3Db",
		"/api/search?limit=0",
		"/api/search?limit=5000",
		"/api/search?spss=0",
		"/api/search?start=2&end=1",
		"/api/search?start=-1",
		"/api/search?minDuration=long",
		"/api/search/tags?scope=universe",
		"/api/metrics/query_range",
		"/api/metrics/query_range?q=%7B%7D",
		"/api/metrics/query_range?q=%7B%7D%7Crate%28%29&start=1&end=1000000000&step=1s",
		"/api/metrics/query_range?q=%7B%7D%7Crate%28%29&step=often",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (shop_ask(bad[i]) != 400)
			fail_msg("%s: %u", bad[i], shop_call.status);
		assert_string_equal(shop_call.type, "text/plain; charset=utf-8");
		assert_true(strlen(shop_page) > 10);
	}
}

static void tags_and_values_come_by_scope(void **state)
{
	shop_expect("/api/search/tags?scope=resource", NULL,
		    "{\"tagNames\":[\"host.name\",\"service.name\"],\"metrics\":{}}");
	shop_expect("/api/v2/search/tags?scope=event", NULL,
		    "{\"scopes\":[{\"name\":\"event\",\"tags\":[\"exception.message\"]}],"
		    "\"metrics\":{}}");
	assert_int_equal(shop_ask("/api/v2/search/tags"), 200);
	assert_non_null(strstr(shop_page, "{\"name\":\"intrinsic\",\"tags\":[\"duration\""));
	shop_expect("/api/search/tag/service.name/values", NULL,
		    "{\"tagValues\":[\"cart\",\"frontend\"],\"metrics\":{}}");
	shop_expect("/api/v2/search/tag/resource.service.name/values", NULL,
		    "{\"tagValues\":[{\"type\":\"string\",\"value\":\"cart\"},"
		    "{\"type\":\"string\",\"value\":\"frontend\"}],\"metrics\":{}}");
	shop_expect("/api/v2/search/tag/span.http.response.status_code/values", NULL,
		    "{\"tagValues\":[{\"type\":\"int\",\"value\":\"200\"}],\"metrics\":{}}");
	shop_expect("/api/v2/search/tag/.ratio/values", NULL,
		    "{\"tagValues\":[{\"type\":\"float\",\"value\":\"0.5\"}],\"metrics\":{}}");
	shop_expect("/api/v2/search/tag/status/values", NULL,
		    "{\"tagValues\":[{\"type\":\"keyword\",\"value\":\"error\"},"
		    "{\"type\":\"keyword\",\"value\":\"ok\"},"
		    "{\"type\":\"keyword\",\"value\":\"unset\"}],\"metrics\":{}}");
	shop_expect("/api/v2/search/tag/rootName/values", NULL,
		    "{\"tagValues\":[{\"type\":\"string\",\"value\":\"GET /cart\"},"
		    "{\"type\":\"string\",\"value\":\"POST /items\"}],\"metrics\":{}}");
	shop_expect("/api/v2/search/tag/name/values?q=%7Bstatus%3Derror%7D", NULL,
		    "{\"tagValues\":[{\"type\":\"string\",\"value\":\"GET /items\"}],"
		    "\"metrics\":{}}");
	shop_expect("/api/search/tag/name/values?q=%7Bkind%3Dserver%26%26", NULL,
		    "{\"tagValues\":[\"GET\",\"GET /cart\",\"GET /items\",\"POST /items\","
		    "\"job\"],\"metrics\":{}}");
	shop_expect("/api/v2/search/tag/duration/values", NULL,
		    "{\"tagValues\":[],\"metrics\":{}}");
	shop_expect("/api/search/tag/no%2Fsuch/values", NULL, "{\"tagValues\":[],\"metrics\":{}}");
	shop_expect("/api/v2/search/tag/span.list/values", NULL,
		    "{\"tagValues\":[{\"type\":\"int\",\"value\":\"2\"},"
		    "{\"type\":\"string\",\"value\":\"a\"}],\"metrics\":{}}");
	shop_expect("/api/search/tags?limit=2", NULL,
		    "{\"tagNames\":[\"big\",\"cached\"],\"metrics\":{}}");
	shop_expect("/api/v2/search/tags?scope=span&limit=1", NULL,
		    "{\"scopes\":[{\"name\":\"span\",\"tags\":[\"big\"]}],\"metrics\":{}}");
	shop_expect("/api/v2/search/tags?scope=trace", NULL, "{\"scopes\":[],\"metrics\":{}}");
}

/* Grafana encodes for its own server, too. */
static void names_of_tags_may_be_encoded_again(void **state)
{
	static const char *const names[] = { "event:name", "event%3Aname", "event%253Aname",
					     "event%25253Aname" };
	char target[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(target, sizeof(target), "/tempo/api/v2/search/tag/%s/values", names[i]);
		shop_expect(target, NULL,
			    "{\"tagValues\":[{\"type\":\"string\",\"value\":\"exception\"}],"
			    "\"metrics\":{}}");
	}
	shop_expect("/api/v2/search/tag/span.100%25/values", NULL,
		    "{\"tagValues\":[],\"metrics\":{}}");
}

static void metrics_come_as_series(void **state)
{
	static const char query[] = "?q=%7Bresource.service.name%3D%22cart%22%7D%7C"
				    "count_over_time%28%29by%28name%29&start=1700000000&"
				    "end=1700000003";
	char target[512];
	json_t *root, *series;

	snprintf(target, sizeof(target), "/api/metrics/query_range%s&step=3s", query);
	assert_int_equal(shop_ask(target), 200);
	root = shop_json();
	series = json_object_get(root, "series");
	assert_int_equal(json_array_size(series), 3);
	assert_non_null(strstr(shop_page, "\"promLabels\":\"{name=\\\"job\\\"}\""));
	/* the exemplar of a count lies on its curve; 0 leaves their number to the server */
	snprintf(target, sizeof(target), "/api/metrics/query_range%s&step=3s&exemplars=0", query);
	assert_int_equal(shop_ask(target), 200);
	assert_non_null(strstr(shop_page, "\"value\":1,\"timestampMs\":\"17000000"));
	json_decref(root);
	snprintf(target, sizeof(target), "/api/metrics/query%s", query);
	assert_int_equal(shop_ask(target), 200);
	assert_null(strstr(shop_page, "promLabels"));
	root = shop_json();
	series = json_object_get(root, "series");
	assert_int_equal(json_array_size(series), 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(json_number_value(
				    json_object_get(json_array_get(series, i), "value")) == 1);
	json_decref(root);
}

static void a_label_without_a_value_is_called_nil(void **state)
{
	assert_int_equal(shop_ask("/api/metrics/query?q=%7B%7D%7Crate%28%29by%28span.ratio%29&"
				  "start=1700000000&end=1700000005"),
			 200);
	assert_non_null(strstr(shop_page, "{\"key\":\"span.ratio\",\"value\":{\"stringValue\":"
					  "\"nil\"}}"));
	assert_non_null(strstr(shop_page, "\"value\":{\"doubleValue\":0.5}"));
}

static void the_server_says_what_it_is(void **state)
{
	assert_int_equal(shop_ask("/ready"), 200);
	assert_string_equal(shop_page, "ready\n");
	assert_int_equal(shop_ask("/tempo/api/echo"), 200);
	assert_string_equal(shop_page, "echo");
	assert_int_equal(shop_ask("/api/status/buildinfo"), 200);
	assert_non_null(strstr(shop_page, "\"version\":\"2."));
	assert_int_equal(shop_ask("/jaeger/api/echo"), 404);
	assert_int_equal(shop_ask("/tempo/api/services"), 404);
}

static int close_shop(void **state)
{
	shop_done();
	return shop_close(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_trace_has_tempos_shapes),
		cmocka_unit_test(protobuf_is_given_by_accept),
		cmocka_unit_test(a_search_has_tempos_shape),
		cmocka_unit_test(searches_find_what_tempo_finds),
		cmocka_unit_test(bad_questions_are_told_in_words),
		cmocka_unit_test(tags_and_values_come_by_scope),
		cmocka_unit_test(names_of_tags_may_be_encoded_again),
		cmocka_unit_test(metrics_come_as_series),
		cmocka_unit_test(a_label_without_a_value_is_called_nil),
		cmocka_unit_test(the_server_says_what_it_is),
	};

	return cmocka_run_group_tests_name("api/tempo", tests, shop_open, close_shop);
}

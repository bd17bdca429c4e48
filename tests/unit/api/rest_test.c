/* SPDX-License-Identifier: Apache-2.0 */
/* Our own REST on a small store: search, chains, names, archive; and over HTTP what the transport
 * adds: bodies, long questions beside short ones. */
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include <errno.h>

#include "api/sources.h"
#include "unit/api/shop.h"

/* ---- search ---- */

static void searches_find_what_is_described(void **state)
{
	static const struct {
		const char *body, *traces;
	} asked[] = {
		{ "{}", "CBA" },
		{ "{\"service\":\"frontend\"}", "A" },
		{ "{\"service\":\"cart\",\"operation\":\"POST /items\"}", "B" },
		{ "{\"operation\":\"\"}", "" },
		{ "{\"structure\":{\"parent\":{\"service\":\"\"},\"child\":{}}}", "" },
		{ "{\"kind\":\"internal\"}", "C" },
		{ "{\"status\":\"error\"}", "A" },
		{ "{\"status\":\"ok\"}", "B" },
		{ "{\"min_duration\":\"1s\"}", "C" },
		{ "{\"kind\":\"server\",\"max_duration\":\"10ms\"}", "B" },
		{ "{\"min_trace_duration\":\"50ms\",\"max_trace_duration\":\"1s\"}", "A" },
		{ "{\"start\":\"2023-11-14T22:13:21Z\",\"end\":1700000002}", "B" },
		{ "{\"attributes\":[{\"key\":\"ratio\",\"op\":\"<\",\"value\":1}]}", "A" },
		{ "{\"attributes\":[{\"key\":\"http.response.status_code\",\"op\":\">=\","
		  "\"value\":200}]}",
		  "A" },
		{ "{\"attributes\":[{\"key\":\"http.request.method\",\"op\":\"regex\","
		  "\"value\":\"G.T\"}]}",
		  "A" },
		{ "{\"attributes\":[{\"key\":\"cached\",\"op\":\"!=\",\"value\":false}]}", "A" },
		{ "{\"attributes\":[{\"key\":\"host.name\",\"op\":\"exists\","
		  "\"scope\":\"resource\"}]}",
		  "CBA" },
		{ "{\"attributes\":[{\"key\":\"host.name\",\"op\":\"exists\","
		  "\"scope\":\"span\"}]}",
		  "" },
		{ "{\"attributes\":[{\"key\":\"exception.message\",\"op\":\"exists\","
		  "\"scope\":\"event\"}]}",
		  "A" },
		{ "{\"structure\":{\"parent\":{\"service\":\"frontend\"},"
		  "\"child\":{\"service\":\"cart\"}}}",
		  "A" },
		{ "{\"structure\":{\"parent\":{\"service\":\"frontend\",\"kind\":\"server\"},"
		  "\"child\":{\"service\":\"cart\"},\"relation\":\"child\"}}",
		  "" },
		{ "{\"structure\":{\"parent\":{\"service\":\"cart\"},"
		  "\"child\":{\"service\":\"frontend\"}}}",
		  "" },
		{ "{\"structure\":{\"parent\":{\"kind\":\"client\"},\"child\":{}}}", "A" },
		{ "{\"traceql\":\"{ name = \\\"job\\\" }\"}", "C" },
		{ "{\"traceql\":\"{ kind = server } | count() > 1\",\"service\":\"cart\"}", "A" },
		{ "{\"service\":\"'; DROP TABLE block; --\"}", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		if (shop_ask_with("POST", "/traces/search", NULL, asked[i].body) != 200)
			fail_msg("%s: %s", asked[i].body, shop_page);
		shop_expect_traces(asked[i].body, asked[i].traces);
	}
}

static void pages_follow_each_other(void **state)
{
	static const char *const want[] = { "C", "B", "A" };
	char body[256] = "{\"limit\":1}";

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		json_t *root;
		const char *next;

		assert_int_equal(shop_ask_with("POST", "/traces/search", NULL, body), 200);
		shop_expect_traces(body, want[i]);
		root = shop_json();
		next = json_string_value(json_object_get(root, "next"));
		if (next)
			snprintf(body, sizeof(body), "{\"limit\":1,\"page\":\"%s\"}", next);
		else
			assert_int_equal(i, 2);
		json_decref(root);
	}
}

static void what_cannot_be_asked_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{\"servise\":\"x\"}",
		"{\"service\":1}",
		"{\"kind\":\"sideways\"}",
		"{\"status\":\"fine\"}",
		"{\"min_duration\":5}",
		"{\"max_trace_duration\":\"0s\"}",
		"{\"start\":-1}",
		"{\"start\":2,\"end\":1}",
		"{\"limit\":0}",
		"{\"limit\":1001}",
		"{\"limit\":\"10\"}",
		"{\"page\":\"0000\"}",
		"{\"attributes\":{}}",
		"{\"attributes\":[1]}",
		"{\"attributes\":[{\"op\":\"=\",\"value\":1}]}",
		"{\"attributes\":[{\"key\":\"a\",\"op\":\"=\"}]}",
		"{\"attributes\":[{\"key\":\"a\",\"op\":\"~\",\"value\":1}]}",
		"{\"attributes\":[{\"key\":\"a\",\"op\":\"=~\",\"value\":\"(\"}]}",
		"{\"attributes\":[{\"key\":\"a\",\"op\":\"=~\",\"value\":1}]}",
		"{\"attributes\":[{\"key\":\"a\",\"value\":[]}]}",
		"{\"attributes\":[{\"key\":\"a\",\"value\":1,\"scope\":\"moon\"}]}",
		"{\"structure\":{}}",
		"{\"structure\":{\"parent\":{},\"child\":{},\"relation\":\"cousin\"}}",
		"{\"structure\":{\"parent\":{\"limit\":1},\"child\":{}}}",
		"{\"traceql\":\"{\"}",
		"{\"traceql\":\"{} | rate()\"}",
		"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
		"]]]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (shop_ask_with("POST", "/traces/search", NULL, bad[i]) != 400)
			fail_msg("%s: %u", bad[i], shop_call.status);
		assert_memory_equal(shop_page, "{\"error\":{\"status\":400,\"message\":\"", 32);
		assert_null(strstr(shop_page, "not a valid question")); /* it says what is wrong */
	}
}

/* ---- the rest ---- */

static void a_chain_has_every_request_in_order(void **state)
{
	json_t *root, *row;
	char names[128] = "";
	size_t i;

	assert_int_equal(shop_ask("/traces/chains/req-1"), 200);
	root = shop_json();
	json_array_foreach(json_object_get(root, "requests"), i, row)
	{
		strcat(names, json_string_value(json_object_get(row, "name")));
		strcat(names, "|");
		strcat(names, json_string_value(json_object_get(row, "header")));
		strcat(names, ";");
	}
	assert_string_equal(names, "GET /cart|x-request-id;POST /items|x-correlation-id;");
	assert_true(json_is_false(json_object_get(root, "truncated")));
	json_decref(root);
	assert_int_equal(shop_ask("/traces/chains/req-1?limit=1"), 200);
	assert_non_null(strstr(shop_page, "\"truncated\":true"));
	/* a trace's id stands for the requests of that trace */
	assert_int_equal(shop_ask("/traces/chains/" TRACE_A), 200);
	root = shop_json();
	assert_int_equal(json_array_size(json_object_get(root, "requests")), 3);
	json_decref(root);
	assert_int_equal(shop_ask("/traces/chains/req-2"), 404);
	assert_int_equal(shop_ask("/traces/chains/req-1?end=1700000000"), 404);
}

static void a_trace_is_otlp(void **state)
{
	json_t *root;

	assert_int_equal(shop_ask("/traces/" TRACE_B), 200);
	root = shop_json();
	assert_int_equal(json_array_size(json_object_get(root, "resourceSpans")), 1);
	json_decref(root);
	shop_expect_traces("trace", "B");
	assert_int_equal(shop_ask_with("GET", "/traces/" TRACE_B, "application/x-protobuf", NULL),
			 200);
	assert_string_equal(shop_call.type, "application/x-protobuf");
	assert_int_equal(shop_ask("/traces/ff"), 404);
	assert_int_equal(shop_ask("/traces/" TRACE_B "ff"), 400);
	assert_int_equal(shop_ask("/traces/recent?limit=2"), 200);
	shop_expect_traces("recent", "CB");
}

static void names_come_in_parts(void **state)
{
	shop_expect("/traces/services", NULL, "{\"services\":[\"cart\",\"frontend\"],\"total\":2}");
	shop_expect("/traces/services?offset=1&limit=5", NULL,
		    "{\"services\":[\"frontend\"],\"total\":2}");
	shop_expect("/traces/operations?service=cart&limit=1&offset=2", NULL,
		    "{\"operations\":[{\"service\":\"cart\",\"name\":\"job\","
		    "\"kind\":\"internal\"}],\"total\":3}");
	assert_int_equal(shop_ask("/traces/services?limit=10001"), 400);
	assert_int_equal(shop_ask("/traces/services?start=5&end=5"), 400);
}

static void the_archive_lists_what_is_kept(void **state)
{
	shop_expect("/traces/archive", NULL, "{\"traces\":[],\"total\":0}");
	assert_int_equal(shop_ask_with("PUT", "/traces/" TRACE_C "/archive", NULL, NULL), 204);
	shop_expect("/traces/archive", NULL, "{\"traces\":[\"" TRACE_C "\"],\"total\":1}");
	assert_int_equal(shop_ask_with("PUT", "/traces/ff/archive", NULL, NULL), 404);
	assert_int_equal(shop_ask_with("DELETE", "/traces/" TRACE_C "/archive", NULL, NULL), 204);
	assert_int_equal(shop_ask_with("DELETE", "/traces/" TRACE_C "/archive", NULL, NULL), 404);
}

/* ---- over HTTP ---- */

static struct api *server;

/* The whole answer to one request on its own connection. */
static void exchange(const char *text, char *answer, size_t size)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(api_port(server)) };
	struct timeval wait = { .tv_sec = 20 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	size_t len = 0;
	ssize_t n;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	while ((n = recv(fd, answer + len, size - 1 - len, 0)) > 0)
		len += (size_t)n;
	answer[len] = 0;
	close(fd);
}

static void bodies_come_over_http(void **state)
{
	static char text[400000], answer[16384];
	size_t len;

	assert_int_equal(
		api_new(&(struct api_cfg){ .listen = "127.0.0.1:0", .store = shop_cfg.store },
			&server),
		0);
	exchange("POST /traces/search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
		 "Content-Type: application/json\r\nContent-Length: 22\r\n\r\n"
		 "{\"service\":\"frontend\"}",
		 answer, sizeof(answer));
	assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
	assert_non_null(strstr(answer, "\"trace_id\":\"" TRACE_A "\""));
	/* told how long it is, and not told */
	exchange("POST /traces/search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
		 "Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n",
		 answer, sizeof(answer));
	assert_memory_equal(answer, "HTTP/1.1 413 ", 13);
	len = (size_t)sprintf(text, "POST /traces/search HTTP/1.1\r\nHost: localhost\r\n"
				    "Connection: close\r\nContent-Type: application/json\r\n"
				    "Transfer-Encoding: chunked\r\n\r\n20000\r\n");
	memset(text + len, ' ', 0x20000);
	strcpy(text + len + 0x20000, "\r\n0\r\n\r\n");
	exchange(text, answer, sizeof(answer));
	assert_memory_equal(answer, "HTTP/1.1 413 ", 13);
	exchange("GET /jaeger/api/services/front%65nd/operations HTTP/1.1\r\nHost: localhost\r\n"
		 "Connection: close\r\n\r\n",
		 answer, sizeof(answer));
	assert_non_null(strstr(answer, "\"GET /cart\""));
	api_free(server);
}

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int waiting;
	bool open;
};

static int wait_at_gate(void *ctx, const char *id, const char *peer, char why[SOURCE_WHY_MAX])
{
	struct gate *g = ctx;

	pthread_mutex_lock(&g->lock);
	g->waiting++;
	pthread_cond_broadcast(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
	snprintf(why, SOURCE_WHY_MAX, "gone");
	return -ENOENT;
}

static void *ask_slow(void *arg)
{
	char answer[4096];

	exchange(
		"DELETE /traces/sources/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		answer, sizeof(answer));
	return (void *)(uintptr_t)(strstr(answer, "404") != NULL);
}

static void long_questions_do_not_hold_up_health(void **state)
{
	static struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER,
				    .changed = PTHREAD_COND_INITIALIZER };
	const struct api_sources sources = { .ctx = &gate, .remove = wait_at_gate };
	pthread_t thread[8];
	char answer[4096];
	void *fine;

	assert_int_equal(api_new(&(struct api_cfg){ .listen = "127.0.0.1:0",
						    .sources = &sources,
						    .workers = 2 },
				 &server),
			 0);
	for (size_t i = 0; i < ARRAY_LEN(thread); i++)
		assert_int_equal(pthread_create(&thread[i], NULL, ask_slow, NULL), 0);
	pthread_mutex_lock(&gate.lock);
	while (gate.waiting < 2)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	exchange("GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		 answer, sizeof(answer));
	assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
	exchange("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", answer,
		 sizeof(answer));
	assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
	for (size_t i = 0; i < ARRAY_LEN(thread); i++) {
		pthread_join(thread[i], &fine);
		assert_true((uintptr_t)fine);
	}
	api_free(server);
}

static int close_shop(void **state)
{
	shop_done();
	return shop_close(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(searches_find_what_is_described),
		cmocka_unit_test(pages_follow_each_other),
		cmocka_unit_test(what_cannot_be_asked_is_refused),
		cmocka_unit_test(a_chain_has_every_request_in_order),
		cmocka_unit_test(a_trace_is_otlp),
		cmocka_unit_test(names_come_in_parts),
		cmocka_unit_test(the_archive_lists_what_is_kept),
		cmocka_unit_test(bodies_come_over_http),
		cmocka_unit_test(long_questions_do_not_hold_up_health),
	};

	return cmocka_run_group_tests_name("api/rest", tests, shop_open, close_shop);
}

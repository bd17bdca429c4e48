/* SPDX-License-Identifier: Apache-2.0 */
/* The server by real requests on a free loopback port. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "api/internal.h"

struct answer {
	long status;
	struct buf head, body; /* NUL-terminated */
};

static struct api *api;
static struct answer got;
static bool part_ok;
static rlim_t soft_files;

static struct books stage_a = { .stage = "test_a",
				.unit = "record",
				.reason = { "full", "odd" },
				.in = 10,
				.out = 4,
				.held = 3,
				.dropped = { 2, 1 } };

/* ---- callbacks ---- */

static const char *backend(void *ctx)
{
	return "socktp";
}

static void probes(void *ctx, void (*row)(void *row_ctx, const struct api_probe *p), void *row_ctx)
{
	row(row_ctx, &(struct api_probe){ "on_send", "socktp", true, true, NULL });
	row(row_ctx, &(struct api_probe){ "ssl_write", "tls", false, false, "no \"library\"" });
}

static void health(void *ctx, enum api_health kind,
		   void (*part)(void *part_ctx, const struct api_part *p), void *part_ctx)
{
	part(part_ctx, &(struct api_part){ "loop", true, NULL });
	if (kind == API_READY)
		part(part_ctx, &(struct api_part){ "capture", part_ok, "not attached" });
}

static double read_half(void *ctx)
{
	return 0.5;
}

static struct gauge half = { "half_full", "A \\ line\nof help.", "gauge", read_half, NULL };
static struct gauge sent = { "sent_total", "Sent.", "counter", read_half, NULL };

/* ---- requests ---- */

static size_t on_data(char *p, size_t size, size_t cnt, void *ctx)
{
	return buf_add(ctx, p, size * cnt) ? 0 : size * cnt;
}

static void ask(const char *method, const char *path, const char *header)
{
	struct curl_slist *list = header ? curl_slist_append(NULL, header) : NULL;
	CURL *c = curl_easy_init();
	char url[256];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", api_port(api), path);
	buf_clear(&got.head);
	buf_clear(&got.body);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, 20000L);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &got.body);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, &got.head);
	if (!strcmp(method, "HEAD"))
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else if (!strcmp(method, "POST"))
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, "body");
	else
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	assert_int_equal(curl_easy_perform(c), CURLE_OK);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &got.status);
	curl_easy_cleanup(c);
	curl_slist_free_all(list);
	buf_add_char(&got.head, 0);
	buf_add_char(&got.body, 0);
}

static bool body_has(const char *text)
{
	return strstr(got.body.p, text) != NULL;
}

static json_t *body_json(void)
{
	json_t *root = json_loads(got.body.p, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(root);
	assert_non_null(strcasestr(got.head.p, "content-type: application/json\r\n"));
	return root;
}

/* ---- tests ---- */

static void metrics_hold_books_gauges_and_the_process(void **state)
{
	ask("GET", "/metrics", NULL);
	assert_int_equal(got.status, 200);
	assert_non_null(strcasestr(got.head.p,
				   "content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	assert_true(body_has("# TYPE telltale_records_total counter\n"));
	assert_true(body_has(
		"telltale_records_total{stage=\"test_a\",unit=\"record\",outcome=\"in\"} 10\n"));
	assert_true(body_has("outcome=\"out\"} 4\n") && body_has("outcome=\"held\"} 3\n"));
	assert_true(body_has("outcome=\"dropped_full\"} 2\n"));
	assert_true(body_has("outcome=\"dropped_odd\"} 1\n"));
	assert_true(body_has("# HELP telltale_half_full A \\\\ line\\nof help.\n"
			     "# TYPE telltale_half_full gauge\ntelltale_half_full 0.5\n"));
	assert_true(body_has("# TYPE telltale_sent_total counter\ntelltale_sent_total 0.5\n"));
	assert_true(body_has("\ntelltale_build_info{version=\""));
	assert_true(body_has("\ntelltale_process_cpu_seconds_total "));
	assert_true(body_has("\ntelltale_process_start_time_seconds 1"));
	assert_false(body_has("telltale_process_resident_memory_bytes 0\n"));
	assert_false(body_has("# EOF"));
}

static void openmetrics_is_given_when_asked_for(void **state)
{
	ask("GET", "/metrics",
	    "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3,*/*;q=0.1");
	assert_non_null(strcasestr(got.head.p, "application/openmetrics-text; version=1.0.0"));
	assert_true(body_has("# TYPE telltale_records counter\n"));
	assert_true(body_has("# TYPE telltale_sent counter\ntelltale_sent_total 0.5\n"));
	assert_true(body_has("# TYPE telltale_build info\ntelltale_build_info{"));
	assert_string_equal(got.body.p + strlen(got.body.p) - 6, "# EOF\n");
	assert_true(accept_openmetrics(STR("application/openmetrics-text")));
	assert_false(accept_openmetrics((struct str){ NULL, 0 }));
	assert_false(accept_openmetrics(STR("*/*")));
	assert_false(accept_openmetrics(STR("text/plain, application/openmetrics-text; q=0.9")));
	assert_false(accept_openmetrics(STR("application/openmetrics-text;q=0")));
}

static const struct books *stage_of(const struct ledger *l, const char *name)
{
	for (size_t i = 0; i < l->cnt; i++)
		if (!strcmp(l->stage[i].stage, name))
			return &l->stage[i];
	return NULL;
}

static void books_of_one_stage_are_added_up(void **state)
{
	struct books twin = stage_a;
	struct ledger l;

	assert_int_equal(books_register(&twin), 0);
	ledger_read(&l);
	books_unregister(&twin);
	assert_int_equal(stage_of(&l, "test_a")->in, 20);
	assert_int_equal(stage_of(&l, "test_a")->dropped[0], 4);
}

static void gauges_of_one_name_are_added_up(void **state)
{
	struct gauge twin = half;

	assert_int_equal(gauges_register(&twin), 0);
	ask("GET", "/metrics", NULL);
	assert_true(body_has("telltale_half_full 1\n"));
	ask("GET", "/status", NULL);
	json_decref(body_json());
	gauges_unregister(&twin);
}

struct writer {
	struct books b;
	bool stop;
};

static void *write_books(void *arg)
{
	struct writer *w = arg;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		book_add(&w->b.in, 1);
		book_add(&w->b.held, 1);
		for (volatile int i = 0; i < 2000; i++)
			;
		book_add(&w->b.held, (uint64_t)-1);
		book_add(&w->b.dropped[0], 1);
		usleep(10);
	}
	return NULL;
}

static void books_that_are_being_written_are_read_balanced(void **state)
{
	static struct writer w = { .b = { .stage = "busy", .unit = "x", .reason = { "r" } } };
	const struct books *busy;
	struct ledger l;
	pthread_t thread;

	assert_int_equal(books_register(&w.b), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_books, &w), 0);
	for (int i = 0; i < 500; i++) {
		ledger_read(&l);
		busy = stage_of(&l, "busy");
		assert_int_equal(busy->in, busy->held + busy->dropped[0]);
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	books_unregister(&w.b);
}

static void status_tells_stages_probes_and_backend(void **state)
{
	json_t *root, *stage, *probe;
	const char *text;
	double uptime;

	ask("GET", "/status", NULL);
	assert_int_equal(got.status, 200);
	root = body_json();
	text = json_string_value(json_object_get(json_object_get(root, "capture"), "backend"));
	assert_string_equal(text, "socktp");
	assert_true(json_is_string(json_object_get(root, "version")));
	uptime = json_number_value(json_object_get(root, "uptime_seconds"));
	assert_true(uptime >= 0 && uptime < 3600);
	stage = json_array_get(json_object_get(root, "stages"), 0);
	assert_string_equal(json_string_value(json_object_get(stage, "stage")), "test_a");
	assert_int_equal(json_integer_value(json_object_get(stage, "in")), 10);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(stage, "dropped"), "full")), 2);
	probe = json_array_get(json_object_get(root, "probes"), 1);
	assert_string_equal(json_string_value(json_object_get(probe, "reason")), "no \"library\"");
	assert_true(json_is_false(json_object_get(probe, "attached")));
	assert_true(json_number_value(
			    json_object_get(json_object_get(root, "gauges"), "half_full")) == 0.5);
	json_decref(root);
}

static void health_says_which_part_is_not_well(void **state)
{
	json_t *root;

	part_ok = false;
	ask("GET", "/health/live", NULL);
	assert_int_equal(got.status, 200);
	ask("GET", "/health/ready", NULL);
	assert_int_equal(got.status, 503);
	root = body_json();
	assert_true(json_is_false(json_object_get(root, "ok")));
	assert_int_equal(json_array_size(json_object_get(root, "parts")), 2);
	json_decref(root);
	assert_true(body_has("\"name\":\"capture\",\"ok\":false,\"reason\":\"not attached\""));
	part_ok = true;
	ask("GET", "/health/ready", NULL);
	assert_int_equal(got.status, 200);
}

static void what_is_not_there_is_an_error_in_json(void **state)
{
	json_t *root;

	ask("GET", "/no\"where", NULL);
	assert_int_equal(got.status, 404);
	root = body_json();
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(root, "error"), "status")), 404);
	json_decref(root);
	ask("POST", "/status", NULL);
	assert_int_equal(got.status, 405);
	assert_non_null(strcasestr(got.head.p, "allow: GET, HEAD\r\n"));
	json_decref(body_json());
	ask("DELETE", "/metrics", NULL);
	assert_int_equal(got.status, 405);
	ask("HEAD", "/status", NULL);
	assert_int_equal(got.status, 200);
	assert_int_equal(got.body.len, 1);
}

static void foreign_hosts_and_pages_get_nothing(void **state)
{
	ask("GET", "/status", "Host: attacker.example");
	assert_int_equal(got.status, 403);
	assert_false(body_has("stages"));
	ask("GET", "/status", "Host: localhost:1234");
	assert_int_equal(got.status, 200);
	ask("GET", "/status", "Origin: http://attacker.example");
	assert_null(strcasestr(got.head.p, "access-control"));
	assert_true(host_is_local(STR("[::1]:80")) && host_is_local(STR("127.0.0.1")) &&
		    host_is_local(STR("a.localhost")) && host_is_local(str_of(NULL)));
	assert_false(host_is_local(STR("notlocalhost")) ||
		     host_is_local(STR("localhost.example")) ||
		     host_is_local(STR("1.2.3.4.example")));
}

static int raw_connect(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(api_port(api)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void a_request_that_is_too_long_is_refused(void **state)
{
	static char text[256 << 10];
	char reply[64] = "";
	int fd = raw_connect();

	memset(text, 'a', sizeof(text));
	memcpy(text, "GET /status HTTP/1.1\r\nX: ", 25);
	if (send(fd, text, sizeof(text), MSG_NOSIGNAL) < 0)
		assert_true(errno == EPIPE || errno == ECONNRESET);
	if (recv(fd, reply, sizeof(reply) - 1, 0) > 0)
		assert_true(strncmp(reply, "HTTP/1.1 4", 10) == 0);
	close(fd);
	ask("GET", "/status", NULL);
	assert_int_equal(got.status, 200);
}

static void past_the_limit_the_idlest_connection_goes(void **state)
{
	int idle[256], more;
	struct pollfd wait;
	struct rlimit files;

	/* both ends are in this process */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = soft_files;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);

	for (size_t i = 0; i < ARRAY_LEN(idle); i++)
		idle[i] = raw_connect();
	usleep(100000);
	more = raw_connect();
	assert_int_equal(send(more, "GET /status HTTP/1.0\r\n\r\n", 24, MSG_NOSIGNAL), 24);
	wait = (struct pollfd){ more, POLLIN, 0 };
	assert_int_equal(poll(&wait, 1, 60000), 1);
	close(more);
	wait = (struct pollfd){ idle[0], POLLIN, 0 };
	assert_int_equal(poll(&wait, 1, 60000), 1);
	assert_int_equal(recv(idle[0], &more, 1, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(idle); i++)
		close(idle[i]);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
	char listen[32];
	struct api *second = NULL;
	struct api_cfg cfg = { .listen = listen };

	snprintf(listen, sizeof(listen), "127.0.0.1:%u", api_port(api));
	assert_int_equal(api_new(&cfg, &second), -EADDRINUSE);
	assert_null(second);
}

static void addresses_that_cannot_be_are_refused(void **state)
{
	static const char *const bad[] = {
		"8009",	  ":8009",	     "1.2.3:80",   "[::1]",	 "[]:1", "127.0.0.1:65536",
		"::1:80", "host.example:80", "127.0.0.1:", "127.0.0.1:x"
	};
	struct api *a = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(api_new(&(struct api_cfg){ .listen = bad[i] }, &a), -EINVAL);
	assert_null(a);
	api_free(NULL);
}

static void without_callbacks_there_are_still_answers(void **state)
{
	struct api *full = api;

	assert_int_equal(api_new(&(struct api_cfg){ .listen = "localhost:0" }, &api), 0);
	ask("GET", "/status", NULL);
	assert_int_equal(got.status, 200);
	json_decref(body_json());
	ask("GET", "/health/ready", NULL);
	assert_int_equal(got.status, 200);
	ask("GET", "/traces/recent", NULL);
	assert_int_equal(got.status, 503);
	api_free(api);
	api = full;
}

static int setup(void **state)
{
	const struct api_cfg cfg = {
		.listen = "127.0.0.1:0", .backend = backend, .probes = probes, .health = health
	};
	struct rlimit files;

	/* 256 connections, so that the test can have more */
	if (getrlimit(RLIMIT_NOFILE, &files))
		return -1;
	soft_files = files.rlim_cur;
	files.rlim_cur = 512;
	if (setrlimit(RLIMIT_NOFILE, &files))
		return -1;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	return books_register(&stage_a) || gauges_register(&half) || gauges_register(&sent) ||
	       api_new(&cfg, &api);
}

static int teardown(void **state)
{
	api_free(api);
	buf_fini(&got.head);
	buf_fini(&got.body);
	curl_global_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metrics_hold_books_gauges_and_the_process),
		cmocka_unit_test(openmetrics_is_given_when_asked_for),
		cmocka_unit_test(books_of_one_stage_are_added_up),
		cmocka_unit_test(gauges_of_one_name_are_added_up),
		cmocka_unit_test(books_that_are_being_written_are_read_balanced),
		cmocka_unit_test(status_tells_stages_probes_and_backend),
		cmocka_unit_test(health_says_which_part_is_not_well),
		cmocka_unit_test(what_is_not_there_is_an_error_in_json),
		cmocka_unit_test(foreign_hosts_and_pages_get_nothing),
		cmocka_unit_test(a_request_that_is_too_long_is_refused),
		cmocka_unit_test(past_the_limit_the_idlest_connection_goes),
		cmocka_unit_test(a_port_that_is_taken_is_an_error),
		cmocka_unit_test(addresses_that_cannot_be_are_refused),
		cmocka_unit_test(without_callbacks_there_are_still_answers),
	};
	return cmocka_run_group_tests_name("api/api", tests, setup, teardown);
}

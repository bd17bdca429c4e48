/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/HTTP and Zipkin by real requests on a free loopback port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <sys/resource.h>
#include <zstd.h>

#include "core/books.h"
#include "unit/receive/serve.h"

#define PROTOBUF "Content-Type: application/x-protobuf"
#define JSON	 "Content-Type: application/json; charset=utf-8"
#define GZIP	 "Content-Encoding: gzip"

static struct receive *receive;
static struct {
	long status;
	struct buf head, body;
} got;

static size_t on_bytes(char *p, size_t size, size_t cnt, void *ctx)
{
	return buf_add(ctx, p, size * cnt) ? 0 : size * cnt;
}

/* Headers may be NULL; a NULL method is POST. */
static void ask(const char *method, const char *path, const char *a, const char *b, struct str body)
{
	struct curl_slist *headers = NULL;
	CURL *c = curl_easy_init();
	char url[128];

	buf_fini(&got.head);
	buf_fini(&got.body);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", receive_http_port(receive), path);
	headers = curl_slist_append(headers, a ? a : "Content-Type:");
	if (b)
		headers = curl_slist_append(headers, b);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.len ? body.p : "");
	curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)body.len);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &got.body);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_bytes);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, &got.head);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, 60L);
	if (method)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	assert_int_equal(curl_easy_perform(c), CURLE_OK);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &got.status);
	buf_add_char(&got.head, 0);
	buf_add_char(&got.body, 0);
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
}

static void wants(long status, const char *in_head, const char *in_body)
{
	assert_int_equal(got.status, status);
	if (in_head)
		assert_non_null(strcasestr(got.head.p, in_head));
	if (in_body)
		assert_non_null(memmem(got.body.p, got.body.len, in_body, strlen(in_body)));
}

static void start(const struct receive_cfg *cfg)
{
	char why[RECEIVE_WHY_MAX] = "";

	assert_int_equal(receive_new(cfg, &receive, why), 0);
}

static int setup(void **state)
{
	struct receive_cfg cfg = serve_cfg();

	start(&cfg);
	return 0;
}

static int teardown(void **state)
{
	receive_free(receive);
	receive = NULL;
	buf_fini(&got.head);
	buf_fini(&got.body);
	assert_int_equal(world.producers, 0);
	return 0;
}

static void both_encodings(void **state)
{
	struct buf b = make_request(false, 50, 0);

	ask(NULL, "/v1/traces", PROTOBUF, NULL, buf_str(&b));
	wants(200, "content-type: application/x-protobuf", NULL);
	assert_int_equal(got.body.len, 1);
	assert_int_equal(world_pushed(), 50);
	assert_string_equal(world.service, "service-7");
	buf_fini(&b);
	b = make_request(true, 50, 0);
	ask(NULL, "/v1/traces", JSON, NULL, buf_str(&b));
	wants(200, "content-type: application/json", "{}");
	assert_int_equal(world_pushed(), 100);
	ask(NULL, "/v1/traces", PROTOBUF, NULL, STR(""));
	wants(200, NULL, NULL);
	ask(NULL, "/v1/traces", JSON, NULL, STR("{}"));
	wants(200, NULL, "{}");
	buf_fini(&b);
}

static void compressed(void **state)
{
	struct buf plain = make_request(false, 3000, 0), packed = gzip(buf_str(&plain));
	struct buf zstd = { 0 };

	ask(NULL, "/v1/traces", PROTOBUF, GZIP, buf_str(&packed));
	wants(200, NULL, NULL);
	assert_int_equal(world_pushed(), 3000);
	ask(NULL, "/v1/traces", PROTOBUF, GZIP, (struct str){ packed.p, packed.len - 20 });
	wants(400, NULL, "cut short");
	ask(NULL, "/v1/traces", PROTOBUF, GZIP, buf_str(&plain));
	wants(400, NULL, "coding");
	buf_reserve(&zstd, ZSTD_compressBound(plain.len));
	zstd.len = ZSTD_compress(zstd.p, zstd.size, plain.p, plain.len, 1);
	ask(NULL, "/v1/traces", PROTOBUF, "Content-Encoding: zstd", buf_str(&zstd));
	wants(200, NULL, NULL);
	assert_int_equal(world_pushed(), 6000);
	ask(NULL, "/v1/traces", PROTOBUF, "Content-Encoding: zstd",
	    (struct str){ zstd.p, zstd.len / 2 });
	wants(400, NULL, "cut short");
	ask(NULL, "/v1/traces", PROTOBUF, "Content-Encoding: br", buf_str(&plain));
	wants(415, NULL, "gzip, zstd or identity");
	buf_fini(&plain);
	buf_fini(&packed);
	buf_fini(&zstd);
}

static void partial_success(void **state)
{
	struct buf b = make_request(true, 5, 2);

	ask(NULL, "/v1/traces", JSON, NULL, buf_str(&b));
	wants(200, NULL,
	      "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"2 of 5 spans "
	      "rejected: 2 bad_id (a trace id is 16 bytes or 32 hex digits, a "
	      "span id half of it, none is zero)\"}}");
	assert_int_equal(world_pushed(), 3);
	buf_fini(&b);
	b = make_request(false, 1, 1);
	ask(NULL, "/v1/traces", PROTOBUF, NULL, buf_str(&b));
	wants(200, NULL, "1 of 1 spans rejected: 1 bad_id");
	assert_memory_equal(got.body.p + 2, "\x08\x01", 2);
	buf_fini(&b);
}

static void refused(void **state)
{
	ask("GET", "/v1/traces", PROTOBUF, NULL, STR(""));
	wants(405, "allow: POST", "\"code\":12");
	ask(NULL, "/v1/metrics", PROTOBUF, NULL, STR("x"));
	wants(404, NULL, "/v1/traces");
	ask(NULL, "/v1/traces", "Content-Type: text/plain", NULL, STR("x"));
	wants(415, NULL, "application/x-protobuf or application/json");
	ask(NULL, "/v1/traces", NULL, NULL, STR("x"));
	wants(415, NULL, NULL);
	ask(NULL, "/v1/traces", PROTOBUF, NULL, STR("not protobuf"));
	wants(400, "content-type: application/x-protobuf", "malformed protobuf");
	assert_memory_equal(got.body.p, "\x08\x03\x12", 3);
	ask(NULL, "/v1/traces", JSON, NULL, STR("{\"resourceSpans\":[}"));
	wants(400, "content-type: application/json", "{\"code\":3,\"message\":\"malformed JSON");
	assert_null(strcasestr(got.head.p, "Access-Control"));
	assert_int_equal(world_pushed(), 0);
}

static void bombs(void **state)
{
	struct buf zeros = { 0 }, bomb, nested = { 0 };

	buf_reserve(&zeros, 80u << 20);
	memset(zeros.p, 0, 80u << 20);
	zeros.len = 80u << 20;
	bomb = gzip(buf_str(&zeros));
	ask(NULL, "/v1/traces", PROTOBUF, GZIP, buf_str(&bomb));
	wants(413, NULL, "after decompression");
	ask(NULL, "/v1/traces", PROTOBUF, NULL, buf_str(&zeros));
	wants(413, NULL, NULL);
	for (int i = 0; i < 400000; i++)
		buf_add_char(&nested, '[');
	ask(NULL, "/v1/traces", JSON, NULL, buf_str(&nested));
	wants(400, NULL, NULL);
	buf_fini(&zeros);
	buf_fini(&bomb);
	buf_fini(&nested);
}

static void acknowledged_when_durable(void **state)
{
	struct buf b = make_request(true, 5, 0);

	world.later = true;
	ask(NULL, "/v1/traces", JSON, NULL, buf_str(&b));
	wants(200, NULL, "{}");
	world.sync_err = 2; /* that many are too large */
	ask(NULL, "/v1/traces", JSON, NULL, buf_str(&b));
	wants(200, NULL,
	      "{\"partialSuccess\":{\"rejectedSpans\":\"2\","
	      "\"errorMessage\":\"2 spans are too large to be stored\"}}");
	world.sync_err = -ENOSPC;
	ask(NULL, "/v1/traces", JSON, NULL, buf_str(&b));
	wants(503, "retry-after: 1", "no room on the disk");
	world.later = false;
	world.sync_err = -EAGAIN;
	ask(NULL, "/v1/traces", JSON, NULL, buf_str(&b));
	wants(503, "retry-after: 1", "\"code\":14");
	world.sync_err = 0;
	world.admits_err = -EAGAIN;
	ask(NULL, "/v1/traces", JSON, NULL, buf_str(&b));
	wants(503, "retry-after: 1", NULL);
	assert_int_equal(world_pushed(), 20);
	buf_fini(&b);
}

static void zipkin(void **state)
{
	static const char spans[] =
		"[{\"traceId\":\"5982fe77008310cc80f1da5e10147517\",\"id\":\"90394f6bcffb5d13\","
		"\"kind\":\"CLIENT\",\"name\":\"get\",\"timestamp\":1790000000000000,\"duration\":"
		"5,"
		"\"localEndpoint\":{\"serviceName\":\"shop\"}}]";

	ask(NULL, "/api/v2/spans", JSON, NULL, STR(spans));
	wants(202, NULL, NULL);
	assert_int_equal(world_pushed(), 1);
	assert_string_equal(world.service, "shop");
	ask(NULL, "/api/v2/spans", JSON, NULL, STR("{}"));
	wants(400, NULL, "want an array");
	ask(NULL, "/api/v2/spans", PROTOBUF, NULL, STR("x"));
	wants(415, NULL, NULL);
}

static void rates(void **state)
{
	struct receive_cfg cfg = serve_cfg();
	bool throttled = false;

	cfg.grpc = NULL;
	cfg.requests_per_s = 2;
	start(&cfg);
	for (int i = 0; i < 20 && !throttled; i++) {
		ask(NULL, "/v1/traces", JSON, NULL, STR("{}"));
		throttled = got.status == 429;
	}
	wants(429, "retry-after: ", "\"code\":8");
	teardown(state);
	cfg.requests_per_s = 0;
	cfg.bytes_per_s = 100;
	start(&cfg);
	ask(NULL, "/v1/traces", JSON, NULL, STR("{\"resourceSpans\":[]}"));
	wants(200, NULL, NULL);
	throttled = false;
	for (int i = 0; i < 20 && !throttled; i++) {
		struct buf b = make_request(true, 5, 0);
		ask(NULL, "/v1/traces", JSON, NULL, buf_str(&b));
		throttled = got.status == 429;
		buf_fini(&b);
	}
	wants(429, "retry-after: ", NULL);
}

static void many_idle_connections(void **state)
{
	enum { IDLE = 1000 };
	struct rlimit limit;
	static int fd[IDLE];

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	if (limit.rlim_max < 4096 || setrlimit(RLIMIT_NOFILE, &limit)) {
		puts("SKIP: no descriptors for 1,000 connections");
		skip();
	}
	setup(state);
	for (int i = 0; i < IDLE; i++)
		fd[i] = dial(i % 2 ? receive_http_port(receive) : receive_grpc_port(receive));
	for (int i = 0; i < 10; i++) {
		ask(NULL, "/v1/traces", JSON, NULL, STR("{}"));
		wants(200, NULL, "{}");
	}
	for (int i = 0; i < IDLE; i++)
		close(fd[i]);
}

static void read_figure(void *ctx, const struct gauge *g, double value)
{
	if (!strcmp(g->name, "receive_late_total"))
		*(double *)ctx = value;
}

static int cnt_late(void)
{
	double cnt = -1;

	gauges_each(read_figure, &cnt);
	return (int)cnt;
}

/* Sends text, then a byte every 50 ms for as long as it is taken; what came back. */
static void drip(int fd, struct str text, char back[512])
{
	ssize_t n = -1;

	assert_int_equal(send(fd, text.p, text.len, 0), text.len);
	back[0] = 0;
	while (n && send(fd, "1", 1, MSG_NOSIGNAL) == 1) {
		usleep(50000);
		n = recv(fd, back, 511, MSG_DONTWAIT);
		if (n >= 0)
			back[n] = 0;
	}
	close(fd);
}

/* A machine that stands still for a second makes a silent one of it, which is not counted: again.
 */
static void drip_until_late(uint16_t port, struct str text)
{
	int before = cnt_late();
	char back[512];

	while (cnt_late() == before)
		drip(dial(port), text, back);
	assert_int_equal(cnt_late(), before + 1);
	if (port == receive_http_port(receive))
		assert_true(!back[0] || strstr(back, " 408 "));
}

/* Bytes that come one by one are never silent; a request has its time all the same. */
static void dripping_clients(void **state)
{
	struct receive_cfg cfg = serve_cfg();

	cfg.idle_s = 1;
	cfg.request_s = 1;
	cfg.connections_max = 8;
	start(&cfg);
	drip_until_late(receive_http_port(receive), STR("POST /v1/traces HTTP/1.1\r\nHost: "));
	drip_until_late(receive_http_port(receive),
			STR("POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: "
			    "application/json\r\nContent-Length: 1000000\r\n\r\n"));
	/* SETTINGS, then a frame of 16,383 bytes that nobody knows */
	drip_until_late(receive_grpc_port(receive),
			STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
			    "\0\x3f\xff\x20\0\0\0\0\0"));
}

/* More than there may be: whoever comes is served, the idlest goes. */
static void idle_clients_keep_nobody_out(void **state)
{
	struct receive_cfg cfg = serve_cfg();
	int fd[100];

	cfg.connections_max = 8;
	start(&cfg);
	for (size_t i = 0; i < ARRAY_LEN(fd); i++)
		fd[i] = dial(receive_http_port(receive));
	ask(NULL, "/v1/traces", JSON, NULL, STR("{}"));
	wants(200, NULL, "{}");
	assert_true(is_closed(fd[0]));
	for (size_t i = 0; i < ARRAY_LEN(fd); i++)
		close(fd[i]);
}

static void slow_clients(void **state)
{
	static const char part[] = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: "
				   "application/json\r\nContent-Length: 100\r\n\r\n{";
	struct receive_cfg cfg = serve_cfg();
	int fd;

	cfg.idle_s = 1;
	cfg.request_s = 1;
	start(&cfg);
	fd = dial(receive_http_port(receive));
	assert_int_equal(send(fd, part, sizeof(part) - 1, 0), sizeof(part) - 1);
	assert_true(is_closed(fd));
	close(fd);
	ask(NULL, "/v1/traces", JSON, NULL, STR("{}"));
	wants(200, NULL, NULL);
}

static void addresses(void **state)
{
	struct receive_cfg cfg = serve_cfg();
	char why[RECEIVE_WHY_MAX], where[32];
	struct receive *r;

	start(&cfg);
	snprintf(where, sizeof(where), "127.0.0.1:%u", receive_http_port(receive));
	cfg.http = where;
	assert_int_equal(receive_new(&cfg, &r, why), -EADDRINUSE);
	assert_non_null(strstr(why, where));
	cfg.http = "nonsense";
	assert_int_equal(receive_new(&cfg, &r, why), -EINVAL);
	assert_non_null(strstr(why, "nonsense"));
	cfg.http = "192.0.2.7:0";
	assert_int_equal(receive_new(&cfg, &r, why), -EADDRNOTAVAIL);
	cfg.http = NULL;
	cfg.cert_file = "/x";
	assert_int_equal(receive_new(&cfg, &r, why), -EOPNOTSUPP);
	cfg.cert_file = NULL;
	cfg.grpc = "[::1]:0";
	assert_int_equal(receive_new(&cfg, &r, why), 0);
	assert_int_equal(receive_http_port(r), 0);
	assert_true(receive_grpc_port(r));
	receive_free(r);
}

/* Ends while an acknowledgement is under way: it is waited for. */
static void ends_in_the_middle(void **state)
{
	struct buf b = make_request(true, 5, 0), head = { 0 };
	struct receive_cfg cfg = serve_cfg();
	char text[512] = "";
	int fd;

	start(&cfg);
	world.later = true;
	fd = dial(receive_http_port(receive));
	buf_printf(&head,
		   "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
		   "Content-Length: %zu\r\n\r\n",
		   b.len);
	buf_add_str(&head, buf_str(&b));
	assert_int_equal(send(fd, head.p, head.len, 0), head.len);
	while (!world_pushed())
		usleep(1000);
	teardown(state);
	recv(fd, text, sizeof(text) - 1, 0);
	close(fd);
	buf_fini(&b);
	buf_fini(&head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_encodings, setup, teardown),
		cmocka_unit_test_setup_teardown(compressed, setup, teardown),
		cmocka_unit_test_setup_teardown(partial_success, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(bombs, setup, teardown),
		cmocka_unit_test_setup_teardown(acknowledged_when_durable, setup, teardown),
		cmocka_unit_test_setup_teardown(zipkin, setup, teardown),
		cmocka_unit_test_teardown(rates, teardown),
		cmocka_unit_test_teardown(many_idle_connections, teardown),
		cmocka_unit_test_teardown(slow_clients, teardown),
		cmocka_unit_test_teardown(dripping_clients, teardown),
		cmocka_unit_test_teardown(idle_clients_keep_nobody_out, teardown),
		cmocka_unit_test_teardown(addresses, teardown),
		cmocka_unit_test_teardown(ends_in_the_middle, teardown),
	};

	curl_global_init(CURL_GLOBAL_ALL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

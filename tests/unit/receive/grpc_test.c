/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/gRPC by real calls on a free loopback port, and peers that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "unit/receive/grpc_client.h"

static struct receive *receive;
static struct grpc_client client;

static void start(const struct receive_cfg *cfg)
{
	char why[RECEIVE_WHY_MAX] = "";

	assert_int_equal(receive_new(cfg, &receive, why), 0);
	client_open(&client, receive_grpc_port(receive));
}

static int setup(void **state)
{
	struct receive_cfg cfg = serve_cfg();

	cfg.http = NULL;
	start(&cfg);
	return 0;
}

static int teardown(void **state)
{
	client_close_all(&client);
	receive_free(receive);
	assert_int_equal(world.producers, 0);
	return 0;
}

/* One request of these bytes, framed. */
static int call_with(struct str message, bool compressed, const char *encoding)
{
	struct buf b = { 0 };
	int status;

	add_message(&b, message, compressed);
	status = client_call(&client,
			     &(struct client_call){ .encoding = encoding, .body = buf_str(&b) });
	buf_fini(&b);
	return status;
}

static void calls(void **state)
{
	struct buf b = make_request(false, 200, 0), packed = gzip(buf_str(&b));
	struct buf large = make_request(false, 20000, 0);

	for (int i = 1; i <= 20; i++) {
		assert_int_equal(call_with(buf_str(&b), false, NULL), 0);
		assert_int_equal(client.http, 200);
		assert_int_equal(client.reply.len, 5);
		assert_int_equal(world_pushed(), 200 * i);
	}
	assert_int_equal(call_with(buf_str(&packed), true, "gzip"), 0);
	assert_int_equal(call_with(buf_str(&b), false, "gzip"), 0);
	assert_int_equal(world_pushed(), 200 * 22);
	assert_int_equal(call_with(buf_str(&large), false, "identity"), 0);
	assert_int_equal(world_pushed(), 200 * 22 + 20000);
	assert_int_equal(call_with(STR(""), false, NULL), 0);
	buf_fini(&b);
	buf_fini(&packed);
	buf_fini(&large);
}

static void partial_success(void **state)
{
	struct buf b = make_request(false, 5, 2);

	assert_int_equal(call_with(buf_str(&b), false, NULL), 0);
	assert_memory_equal(client.reply.p, "\0\0\0\0", 4);
	assert_memory_equal(client.reply.p + 7, "\x08\x02", 2);
	assert_non_null(memmem(client.reply.p, client.reply.len, "2 bad_id", 8));
	buf_fini(&b);
}

static void refused(void **state)
{
	char coding[20000] = "";
	struct buf b = { 0 };

	assert_int_equal(call_with(STR("no protobuf"), false, NULL), 3);
	assert_non_null(strstr(client.message, "malformed protobuf"));
	assert_int_equal(call_with(STR("x"), true, NULL), 3);
	assert_int_equal(call_with(STR("x"), true, "gzip"), 3);
	assert_int_equal(call_with(STR("x"), true, "snappy"), 12);
	assert_string_equal(client.accepts, "identity,gzip");
	memset(coding, 'x', sizeof(coding) - 1);
	assert_int_equal(call_with(STR(""), false, coding), 8);
	assert_non_null(strstr(client.message, "headers have more than"));
	add_message(&b, STR(""), false);
	assert_int_equal(client_call(&client, &(struct client_call){ .path = "/x.Y/Z",
								     .body = buf_str(&b) }),
			 12);
	assert_int_equal(client_call(&client, &(struct client_call){ .type = "text/plain",
								     .body = buf_str(&b) }),
			 12);
	assert_int_equal(client.http, 415);
	add_message(&b, STR(""), false);
	assert_int_equal(client_call(&client, &(struct client_call){ .body = buf_str(&b) }), 3);
	assert_non_null(strstr(client.message, "more than one message"));
	assert_int_equal(
		client_call(&client, &(struct client_call){ .body = STR("\0\0\0\0\x05x") }), 3);
	assert_int_equal(client_call(&client, &(struct client_call){ .body = STR("") }), 3);
	/* the frame announces 4 GiB */
	assert_int_equal(
		client_call(&client, &(struct client_call){ .body = STR("\0\xff\xff\xff\xff") }),
		8);
	assert_string_equal(client.details, "");
	assert_int_equal(call_with(STR(""), false, NULL), 0);
	buf_fini(&b);
}

static void acknowledged_when_durable(void **state)
{
	struct buf b = make_request(false, 5, 0);

	world.later = true;
	assert_int_equal(call_with(buf_str(&b), false, NULL), 0);
	world.sync_err = 2; /* that many are too large */
	assert_int_equal(call_with(buf_str(&b), false, NULL), 0);
	assert_non_null(memmem(client.reply.p, client.reply.len, "2 spans are too large", 21));
	world.sync_err = -ENOSPC;
	assert_int_equal(call_with(buf_str(&b), false, NULL), 14);
	assert_non_null(strstr(client.message, "no room"));
	world.later = false;
	world.sync_err = -EAGAIN;
	assert_int_equal(call_with(buf_str(&b), false, NULL), 14);
	world.sync_err = 0;
	world.admits_err = -EAGAIN;
	assert_int_equal(call_with(buf_str(&b), false, NULL), 14);
	buf_fini(&b);
}

static void rates(void **state)
{
	struct receive_cfg cfg = serve_cfg();
	int status = 0;

	cfg.http = NULL;
	cfg.requests_per_s = 2;
	start(&cfg);
	for (int i = 0; i < 20 && !status; i++)
		status = call_with(STR(""), false, NULL);
	assert_int_equal(status, 8);
	/* google.rpc.Status{code 8, ...} with a RetryInfo */
	assert_memory_equal(client.details, "CAgS", 4);
}

static void bombs(void **state)
{
	struct buf zeros = { 0 }, bomb;

	buf_reserve(&zeros, 80u << 20);
	memset(zeros.p, 0, 80u << 20);
	zeros.len = 80u << 20;
	bomb = gzip(buf_str(&zeros));
	assert_int_equal(call_with(buf_str(&bomb), true, "gzip"), 8);
	buf_fini(&zeros);
	buf_fini(&bomb);
}

/* Raw frames after the preface; whatever becomes of that connection, others are served. */
static void flood(struct str frame, int cnt)
{
	int fd = dial(receive_grpc_port(receive));
	struct buf b = { 0 };

	buf_add_str(&b, STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
	for (int i = 0; i < cnt; i++)
		buf_add_str(&b, frame);
	for (size_t off = 0; off < b.len;) {
		ssize_t n = send(fd, b.p + off, b.len - off, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		off += (size_t)n;
	}
	shutdown(fd, SHUT_WR);
	assert_true(is_closed(fd));
	close(fd);
	buf_fini(&b);
	assert_int_equal(call_with(STR(""), false, NULL), 0);
}

static void floods(void **state)
{
	/* SETTINGS, PING, and 16 KiB of DATA for a stream that is not there */
	flood(STR("\0\0\0\4\0\0\0\0\0"), 20000);
	flood(STR("\0\0\x08\6\0\0\0\0\0aaaaaaaa"), 20000);
	flood(STR("\0\0\1\0\0\0\0\0\1x"), 20000);
	flood(STR("GET / HTTP/1.1\r\n\r\n"), 10);
}

/* Streams opened and reset at once, without end: that connection is closed. */
static void rapid_resets(void **state)
{
	struct grpc_client c;
	nghttp2_nv head[] = { client_nv(":method", "POST"), client_nv(":scheme", "http"),
			      client_nv(":path", "/x"), client_nv(":authority", "x") };
	bool open = true;
	uint8_t in[65536];
	const uint8_t *p;
	ssize_t n;

	client_open(&c, receive_grpc_port(receive));
	for (int i = 0; i < 5000 && open; i++) {
		int32_t id = nghttp2_submit_headers(c.session, NGHTTP2_FLAG_NONE, -1, NULL, head,
						    ARRAY_LEN(head), NULL);

		while ((n = nghttp2_session_mem_send(c.session, &p)) > 0)
			open = send(c.fd, p, (size_t)n, MSG_NOSIGNAL) == n && open;
		if (id < 0)
			break;
		nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
		n = recv(c.fd, in, sizeof(in), MSG_DONTWAIT);
		if (n == 0 || (n > 0 && nghttp2_session_mem_recv(c.session, in, (size_t)n) < 0))
			open = false;
	}
	assert_true(is_closed(c.fd));
	client_close_all(&c);
	assert_int_equal(call_with(STR(""), false, NULL), 0);
}

static void *end(void *arg)
{
	receive_free(arg);
	return NULL;
}

/* GOAWAY, and the answer that was waited for. */
static void ends_in_the_middle(void **state)
{
	struct buf b = make_request(false, 5, 0);
	struct receive_cfg cfg = serve_cfg();
	pthread_t thread;

	cfg.http = NULL;
	start(&cfg);
	world.later = true;
	pthread_create(&thread, NULL, end, receive);
	call_with(buf_str(&b), false, NULL);
	pthread_join(thread, NULL);
	assert_true(client.status <= 0);
	client_close_all(&client);
	assert_int_equal(world.producers, 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls, setup, teardown),
		cmocka_unit_test_setup_teardown(partial_success, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(acknowledged_when_durable, setup, teardown),
		cmocka_unit_test_teardown(rates, teardown),
		cmocka_unit_test_setup_teardown(bombs, setup, teardown),
		cmocka_unit_test_setup_teardown(floods, setup, teardown),
		cmocka_unit_test_setup_teardown(rapid_resets, setup, teardown),
		cmocka_unit_test(ends_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

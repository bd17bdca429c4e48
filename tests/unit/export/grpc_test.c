/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/gRPC against a server that answers well, badly, late or not at all, with and without TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <sodium.h>
#include <zlib.h>

#include "certs.h"
#include "grpc_server.h"
#include "rig.h"

#include "export/grpc.h"

#define STAGE "export_otlp_grpc"
#define EMPTY STR("\0\0\0\0\0")
#define SCRIPT(...)                                                                 \
	(struct grpc_server)                                                        \
	{                                                                           \
		.script = (const struct grpc_answer[]){ __VA_ARGS__ },              \
		.script_cnt = sizeof((const struct grpc_answer[]){ __VA_ARGS__ }) / \
			      sizeof(struct grpc_answer)                            \
	}
#define OK                                        \
	{                                         \
		.grpc_status = "0", .body = EMPTY \
	}

static struct grpc_server server;
static bool have_certs;

static struct exporter *start(struct exporter_cfg cfg, const char *scheme)
{
	char url[64];

	snprintf(url, sizeof(url), "%s127.0.0.1:%u", scheme, server.port);
	cfg.kind = "otlp_grpc";
	return rig_start(cfg, url);
}

static void begin(struct grpc_server of)
{
	assert_int_equal(grpc_server_start(&server, &of), 0);
}

static void finish(struct exporter *e)
{
	exporter_free(e, 20000);
	grpc_server_stop(&server);
}

static void calls_share_a_connection(void **state)
{
	struct gen g = { 11, arena_new(0) };
	const struct span *spans[10];
	struct buf want = { 0 };
	struct exporter *e;
	struct grpc_call *c = &server.call[0];

	begin(SCRIPT(OK));
	e = start((struct exporter_cfg){ .batch_spans = 10,
					 .headers = "X-Tenant=a%20b,authorization=Bearer%20t" },
		  "http://");
	for (uint32_t i = 0; i < 10; i++)
		spans[i] = gen_http_span(&g, rig_resource[i % 3]);
	assert_int_equal(otlp_encode(spans, 10, &want), 0);
	rig_push(e, 40);
	assert_int_equal(rig_settle(STAGE).out, 40);
	assert_int_equal(server.cnt, 4);
	assert_int_equal(server.connections, 1);
	assert_int_equal(c->body.len, want.len + 5);
	assert_int_equal(c->body.p[0], 0);
	assert_memory_equal(c->body.p + 5, want.p, want.len);
	assert_non_null(strstr(c->headers, ":method: POST\n"));
	assert_non_null(strstr(c->headers, ":scheme: http\n"));
	assert_non_null(strstr(c->headers,
			       ":path: /opentelemetry.proto.collector.trace.v1.TraceService/"
			       "Export\n"));
	assert_non_null(strstr(c->headers, "content-type: application/grpc\n"));
	assert_non_null(strstr(c->headers, "te: trailers\n"));
	assert_non_null(strstr(c->headers, "user-agent: telltale/"));
	assert_non_null(strstr(c->headers, "grpc-timeout: 10000m\n"));
	assert_non_null(strstr(c->headers, "x-tenant: a b\n"));
	assert_non_null(strstr(c->headers, "authorization: Bearer t\n"));
	assert_null(strstr(c->headers, "grpc-encoding"));
	finish(e);
	buf_fini(&want);
	arena_free(g.mem);
}

static void large_batches_pass_the_window_and_stay_below_4_mib(void **state)
{
	struct exporter *e;
	uint32_t cnt;

	begin(SCRIPT(OK));
	e = start((struct exporter_cfg){ .batch_spans = 60000, .delay_ms = 60000 }, "http://");
	rig_push(e, 12000);
	exporter_free(e, 20000);
	cnt = server.cnt;
	assert_true(cnt > 1);
	assert_true(server.call[0].body.len > 3 << 20);
	for (uint32_t i = 0; i < cnt; i++)
		assert_true(server.call[i].body.len < 4 << 20);
	grpc_server_stop(&server);
}

static void gzip_is_said_and_done(void **state)
{
	static unsigned char plain[1 << 20];
	struct exporter *e;
	z_stream z = { 0 };

	begin(SCRIPT(OK));
	e = start((struct exporter_cfg){ .gzip = true, .batch_spans = 100 }, "http://");
	rig_push(e, 100);
	rig_settle(STAGE);
	assert_non_null(strstr(server.call[0].headers, "grpc-encoding: gzip\n"));
	assert_int_equal(server.call[0].body.p[0], 1);
	assert_int_equal(inflateInit2(&z, 31), Z_OK);
	z.next_in = (Bytef *)server.call[0].body.p + 5;
	z.avail_in = (uInt)server.call[0].body.len - 5;
	z.next_out = plain;
	z.avail_out = sizeof(plain);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	inflateEnd(&z);
	finish(e);
}

static void what_may_be_tried_again_is(void **state)
{
	struct exporter *e;

	begin(SCRIPT({ .grpc_status = "14" }, { .reset = true }, { .status = "503" },
		     { .grpc_status = "4" }, { .bye = true }, OK));
	e = start((struct exporter_cfg){ 0 }, "http://");
	rig_push(e, 3);
	assert_int_equal(rig_settle(STAGE).out, 3);
	assert_int_equal(server.cnt, 6);
	finish(e);
}

static void what_is_refused_is_counted(void **state)
{
	struct exporter *e;
	struct books b;

	begin(SCRIPT({ .grpc_status = "3", .message = "no%0Aroom" }, { .grpc_status = "8" },
		     { .status = "404" }, { .grpc_status = "x" }, OK));
	e = start((struct exporter_cfg){ .batch_spans = 2 }, "http://");
	rig_push(e, 10);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "refused"), 8);
	assert_int_equal(b.out, 2);
	assert_int_equal(server.cnt, 5);
	finish(e);
}

static void partial_success_is_counted(void **state)
{
	struct exporter *e;
	struct books b;

	begin(SCRIPT({ .grpc_status = "0", .body = STR("\0\0\0\0\x08\x0a\x06\x08\x02\x12\x02no") },
		     { .grpc_status = "0", .body = STR("\0\0\0") },
		     { .grpc_status = "0", .body = STR("\0\0\0\0\x02\xff\xff") }, OK));
	e = start((struct exporter_cfg){ .batch_spans = 5 }, "http://");
	rig_push(e, 20);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "rejected"), 2);
	assert_int_equal(b.out, 18);
	finish(e);
}

/* google.rpc.Status with a RetryInfo of 1 s in its details, in base64 as gRPC sends it. */
static const char *retry_info(char text[256])
{
	static const char status[] = "\x08\x08\x12\x04wait\x1a\x30\x0a\x28"
				     "type.googleapis.com/google.rpc.RetryInfo"
				     "\x12\x04\x0a\x02\x08\x01";

	sodium_bin2base64(text, 256, (const unsigned char *)status, sizeof(status) - 1,
			  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	return text;
}

static void retry_info_is_honoured(void **state)
{
	struct exporter *e;
	char text[256];

	begin(SCRIPT({ .grpc_status = "8", .details = retry_info(text) }, OK));
	e = start((struct exporter_cfg){ 0 }, "http://");
	rig_push(e, 1);
	assert_int_equal(rig_settle(STAGE).out, 1);
	assert_true(server.call[1].at_ns - server.call[0].at_ns >= NS_PER_S - 20 * NS_PER_MS);
	finish(e);
}

static void a_server_that_hangs_is_timed_out(void **state)
{
	struct exporter *e;

	begin(SCRIPT({ .hang = true }, OK));
	e = start((struct exporter_cfg){ .timeout_ms = 2000 }, "http://");
	rig_push(e, 2);
	assert_int_equal(rig_settle(STAGE).out, 2);
	assert_int_equal(server.cnt, 2);
	finish(e);
}

static void the_end_does_not_wait_for_a_server_that_hangs(void **state)
{
	uint64_t before;
	struct exporter *e;

	begin(SCRIPT({ .hang = true }));
	e = start((struct exporter_cfg){ .timeout_ms = 60000 }, "http://");
	rig_push(e, 2);
	assert_true(grpc_server_saw(&server, 1));
	before = clock_mono_ns();
	exporter_free(e, 100);
	assert_true(clock_mono_ns() - before < 20 * NS_PER_S);
	grpc_server_stop(&server);
}

static void a_server_that_restarts_gets_the_rest(void **state)
{
	struct grpc_server of = SCRIPT(OK);
	struct exporter *e;

	begin(of);
	of.port = server.port;
	e = start((struct exporter_cfg){ 0 }, "http://");
	rig_push(e, 5);
	assert_int_equal(rig_settle(STAGE).out, 5);
	grpc_server_stop(&server);
	rig_push(e, 5);
	begin(of);
	assert_int_equal(rig_settle(STAGE).out, 10);
	finish(e);
}

/* ---- TLS ---- */

static void begin_tls(bool mutual)
{
	struct grpc_server of = SCRIPT(OK);

	if (!have_certs) {
		print_message("SKIP: no openssl to make certificates with\n");
		skip();
	}
	of.cert = strdup(rig_path("server.pem"));
	of.key = strdup(rig_path("server.key"));
	of.client_ca = mutual ? strdup(rig_path("ca.pem")) : NULL;
	begin(of);
}

static void finish_tls(struct exporter *e)
{
	finish(e);
	free((void *)server.cert);
	free((void *)server.key);
	free((void *)server.client_ca);
}

static void tls_is_spoken_and_checked(void **state)
{
	struct exporter *e;

	begin_tls(false);
	e = start((struct exporter_cfg){ .ca_file = rig_path("ca.pem") }, "https://");
	rig_push(e, 5);
	assert_int_equal(rig_settle(STAGE).out, 5);
	assert_non_null(strstr(server.call[0].headers, ":scheme: https\n"));
	finish_tls(e);
}

static void without_a_scheme_it_is_tls_unless_insecure(void **state)
{
	struct exporter *e;

	begin_tls(false);
	e = start((struct exporter_cfg){ .ca_file = rig_path("ca.pem") }, "");
	rig_push(e, 5);
	assert_int_equal(rig_settle(STAGE).out, 5);
	finish_tls(e);
	begin(SCRIPT(OK));
	e = start((struct exporter_cfg){ .insecure = true }, "");
	rig_push(e, 5);
	assert_int_equal(rig_settle(STAGE).out, 5);
	finish(e);
}

static void a_stranger_gets_nothing(void **state)
{
	struct exporter *e;
	struct books b;

	begin_tls(false);
	e = start((struct exporter_cfg){ .ca_file = rig_path("other.pem"), .give_up_ms = 100 },
		  "https://");
	rig_push(e, 5);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "gave_up"), 5);
	assert_int_equal(server.cnt, 0);
	finish_tls(e);
}

static void a_client_shows_its_certificate(void **state)
{
	struct exporter *e;
	struct books b;

	begin_tls(true);
	e = start((struct exporter_cfg){ .ca_file = rig_path("ca.pem"), .give_up_ms = 100 },
		  "https://");
	rig_push(e, 5);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "gave_up"), 5);
	exporter_free(e, 0);
	e = start((struct exporter_cfg){ .ca_file = rig_path("ca.pem"),
					 .cert_file = rig_path("client.pem"),
					 .key_file = rig_path("client.key") },
		  "https://");
	rig_push(e, 5);
	assert_int_equal(rig_settle(STAGE).out, 5);
	finish_tls(e);
}

/* ---- without a server ---- */

static void *say_in_http(void *listener)
{
	static const char said[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
	int fd;

	while ((fd = accept(*(int *)listener, NULL, NULL)) >= 0) {
		assert_int_equal(send(fd, said, strlen(said), MSG_NOSIGNAL), strlen(said));
		close(fd);
	}
	return NULL;
}

/* It may close the connection before all of the request is written. */
static void a_server_of_http_1_is_named(void **state)
{
	const struct exporter_cfg cfg = { .timeout_ms = 60000 };
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const uint64_t never = 0;
	char url[64], why[EXPORTER_WHY_MAX];
	socklen_t len = sizeof(a);
	pthread_t thread;
	void *conn;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(pthread_create(&thread, NULL, say_in_http, &fd), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(a.sin_port));
	assert_int_equal(kind_otlp_grpc.open(&cfg, url, &conn, why), 0);
	for (int i = 0; i < 100; i++) {
		struct verdict v = { 0 };

		kind_otlp_grpc.send(conn, STR("body"), &never, &v);
		assert_int_equal(v.what, VERDICT_RETRY);
		if (!strstr(v.text, "it answers in HTTP/1.1"))
			fail_msg("try %d: %s", i, v.text);
	}
	kind_otlp_grpc.close(conn);
	shutdown(fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fd);
}

static void codes_are_sorted_as_the_specification_says(void **state)
{
	static const bool again[17] = {
		[1] = true, [4] = true, [10] = true, [11] = true, [14] = true, [15] = true
	};

	for (uint32_t i = 0; i < ARRAY_LEN(again); i++) {
		assert_int_equal(retry_grpc(i, false), again[i]);
		assert_int_equal(retry_grpc(i, true), again[i] || i == 8);
	}
	assert_false(retry_grpc(999, true));
}

static void what_cannot_be_an_endpoint_is_refused(void **state)
{
	static const char *const bad[] = { "", "http://", "ftp://h:1", "http://h:99999", "::" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(rig_refused((struct exporter_cfg){ .kind = "otlp_grpc" }, bad[i],
					     "expected an address"),
				 -EINVAL);
	assert_int_equal(
		rig_refused((struct exporter_cfg){ .kind = "otlp_grpc", .ca_file = "/dev/null" },
			    "https://h:1", "/dev/null: "),
		-EINVAL);
	assert_int_equal(rig_refused((struct exporter_cfg){ .kind = "otlp_grpc", .headers = "x" },
				     "http://h:1", "headers: "),
			 -EBADMSG);
}

static int setup(void **state)
{
	if (rig_setup(state))
		return -1;
	have_certs = certs_make(rig_dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_share_a_connection),
		cmocka_unit_test(large_batches_pass_the_window_and_stay_below_4_mib),
		cmocka_unit_test(gzip_is_said_and_done),
		cmocka_unit_test(what_may_be_tried_again_is),
		cmocka_unit_test(what_is_refused_is_counted),
		cmocka_unit_test(partial_success_is_counted),
		cmocka_unit_test(retry_info_is_honoured),
		cmocka_unit_test(a_server_that_hangs_is_timed_out),
		cmocka_unit_test(the_end_does_not_wait_for_a_server_that_hangs),
		cmocka_unit_test(a_server_that_restarts_gets_the_rest),
		cmocka_unit_test(tls_is_spoken_and_checked),
		cmocka_unit_test(without_a_scheme_it_is_tls_unless_insecure),
		cmocka_unit_test(a_stranger_gets_nothing),
		cmocka_unit_test(a_client_shows_its_certificate),
		cmocka_unit_test(a_server_of_http_1_is_named),
		cmocka_unit_test(codes_are_sorted_as_the_specification_says),
		cmocka_unit_test(what_cannot_be_an_endpoint_is_refused),
	};
	return cmocka_run_group_tests_name("export/grpc", tests, setup, rig_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The OTLP/HTTP exporter against endpoints that answer well, badly, late or not at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <zlib.h>

#include "endpoint.h"
#include "export/post.h"
#include "export/queue.h"
#include "otlp.pb-c.h"
#include "span_gen.h"

#define DRAIN_MS 20000
#define PROTO	 "Content-Type: application/x-protobuf\r\n"

static const struct str ok[] = { STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 0\r\n\r\n"), {} };
static const struct retry_policy quick = { 5, 20 };
static struct resource *resource[3];
static struct endpoint end;
static struct exporter *exporter;

static void copy_books(void *ctx, const struct books *b)
{
	if (!strcmp(b->stage, "export_otlp_http"))
		*(struct books *)ctx = *b;
}

static struct books read_books(void)
{
	struct books b = { 0 };

	books_each(copy_books, &b);
	return b;
}

static uint64_t dropped(const struct books *b, const char *reason)
{
	for (int i = 0; i < BOOKS_REASONS && b->reason[i]; i++)
		if (!strcmp(b->reason[i], reason))
			return b->dropped[i];
	fail_msg("no reason %s", reason);
	return 0;
}

static void start(struct exporter_cfg cfg, const struct retry_policy *policy)
{
	char text[64], why[EXPORTER_WHY_MAX];
	const char *url = text;

	snprintf(text, sizeof(text), "http://127.0.0.1:%u/v1/traces", end.port);
	cfg.kind = "otlp_http";
	cfg.endpoints = &url;
	cfg.endpoint_cnt = 1;
	cfg.delay_ms = cfg.delay_ms ? cfg.delay_ms : 100; /* full batches do not wait */
	assert_int_equal(exporter_new_with(&cfg, policy, &exporter, why), 0);
}

static void push(uint32_t cnt)
{
	struct gen g = { 11, arena_new(0) };

	for (uint32_t i = 0; i < cnt; i++)
		exporter_push(exporter, gen_http_span(&g, resource[i % 3]));
	arena_free(g.mem);
}

static uint64_t sum_dropped(const struct books *b)
{
	uint64_t sum = 0;

	for (int i = 0; i < BOOKS_REASONS; i++)
		sum += b->dropped[i];
	return sum;
}

/* Waits until all that came in went out or was dropped, for at most 20 s. */
static struct books settle(void)
{
	struct books b = read_books();

	for (int i = 0; i < 4000 && (b.held || b.in != b.out + sum_dropped(&b)); i++) {
		usleep(5000);
		b = read_books();
	}
	assert_int_equal(b.held, 0);
	assert_int_equal(b.in, b.out + sum_dropped(&b));
	return b;
}

static void finish(void)
{
	exporter_free(exporter, DRAIN_MS);
	endpoint_stop(&end);
}

static size_t spans_of(struct str body)
{
	Otlp__ExportTraceRequest *m =
		otlp__export_trace_request__unpack(NULL, body.len, (const uint8_t *)body.p);
	size_t sum = 0;

	assert_non_null(m);
	for (size_t i = 0; i < m->n_resource_spans; i++)
		for (size_t k = 0; k < m->resource_spans[i]->n_scope_spans; k++)
			sum += m->resource_spans[i]->scope_spans[k]->n_spans;
	otlp__export_trace_request__free_unpacked(m, NULL);
	return sum;
}

static void begin(const struct str *script)
{
	assert_int_equal(endpoint_bind(&end), 0);
	assert_int_equal(endpoint_start(&end, script), 0);
}

static void what_is_pushed_arrives_as_otlp_encode_writes_it(void **state)
{
	struct gen g = { 11, arena_new(0) };
	const struct span *spans[10];
	struct buf want = { 0 };

	begin(ok);
	start((struct exporter_cfg){ .batch_spans = 10 }, &quick);
	for (uint32_t i = 0; i < 10; i++)
		spans[i] = gen_http_span(&g, resource[i % 3]);
	assert_int_equal(otlp_encode(spans, 10, &want), 0);
	push(10);
	assert_int_equal(settle().out, 10);
	assert_int_equal(end.cnt, 1);
	assert_int_equal(end.request[0].body.len, want.len);
	assert_memory_equal(end.request[0].body.p, want.p, want.len);
	assert_non_null(strstr(end.request[0].head, "POST /v1/traces HTTP/1.1\r\n"));
	assert_non_null(strstr(end.request[0].head, "Content-Type: application/x-protobuf\r\n"));
	assert_non_null(strstr(end.request[0].head, "User-Agent: telltale/"));
	assert_null(strstr(end.request[0].head, "Expect:"));
	assert_null(strstr(end.request[0].head, "Content-Encoding"));
	finish();
	buf_fini(&want);
	arena_free(g.mem);
}

static void batches_hold_at_most_what_is_configured(void **state)
{
	begin(ok);
	start((struct exporter_cfg){ .batch_spans = 8, .delay_ms = 60000 }, &quick);
	push(20);
	assert_true(endpoint_saw(&end, 2));
	exporter_free(exporter, DRAIN_MS);
	assert_int_equal(end.cnt, 3);
	assert_int_equal(spans_of(buf_str(&end.request[0].body)), 8);
	assert_int_equal(spans_of(buf_str(&end.request[2].body)), 4);
	endpoint_stop(&end);
}

static void gzip_is_what_the_body_says(void **state)
{
	static char plain[1 << 20];
	z_stream z = { 0 };

	begin(ok);
	start((struct exporter_cfg){ .gzip = true, .batch_spans = 20 }, &quick);
	push(40);
	settle();
	for (int i = 0; i < 2; i++) {
		struct request *r = &end.request[i];
		assert_non_null(strstr(r->head, "Content-Encoding: gzip\r\n"));
		memset(&z, 0, sizeof(z));
		assert_int_equal(inflateInit2(&z, 31), Z_OK);
		z.next_in = (Bytef *)r->body.p;
		z.avail_in = (uInt)r->body.len;
		z.next_out = (Bytef *)plain;
		z.avail_out = sizeof(plain);
		assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
		assert_int_equal(spans_of((struct str){ plain, z.total_out }), 20);
		inflateEnd(&z);
	}
	finish();
}

static void headers_are_decoded_and_sent(void **state)
{
	begin(ok);
	start(
		(struct exporter_cfg){
			.headers = "Authorization=Basic%20YTpi, x-tenant = a%2Cb,x-none=" },
		&quick);
	push(1);
	settle();
	assert_non_null(strstr(end.request[0].head, "Authorization: Basic YTpi\r\n"));
	assert_non_null(strstr(end.request[0].head, "x-tenant: a,b\r\n"));
	assert_non_null(strstr(end.request[0].head, "x-none:\r\n"));
	finish();
}

static void a_503_is_tried_again(void **state)
{
	static const struct str script[] = {
		STR("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"),
		STR("HTTP/1.1 504 x\r\nContent-Length: 0\r\n\r\n"),
		STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 0\r\n\r\n"),
		{},
	};

	begin(script);
	start((struct exporter_cfg){ 0 }, &quick);
	push(3);
	assert_int_equal(settle().out, 3);
	assert_int_equal(end.cnt, 3);
	assert_int_equal(end.request[0].body.len, end.request[2].body.len);
	finish();
}

static void a_429_waits_as_long_as_it_says(void **state)
{
	static const struct str script[] = {
		STR("HTTP/1.1 429 x\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
		STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 0\r\n\r\n"),
		{},
	};

	begin(script);
	start((struct exporter_cfg){ 0 }, &quick);
	push(1);
	assert_int_equal(settle().out, 1);
	assert_true(end.request[1].at_ns - end.request[0].at_ns >= NS_PER_S - 20 * NS_PER_MS);
	finish();
}

static void a_date_is_a_retry_after_too(void **state)
{
	time_t at = time(NULL) + 3;
	char date[40], text[128];
	struct str script[3] = { 0 };

	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&at));
	snprintf(text, sizeof(text),
		 "HTTP/1.1 503 x\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", date);
	script[0] = str_of(text);
	script[1] = ok[0];
	begin(script);
	start((struct exporter_cfg){ 0 }, &quick);
	push(1);
	assert_int_equal(settle().out, 1);
	assert_true(end.request[1].at_ns - end.request[0].at_ns >= NS_PER_S);
	finish();
}

static void a_400_is_counted_and_not_tried_again(void **state)
{
	static const struct str script[] = {
		STR("HTTP/1.1 400 x\r\n" PROTO "Content-Length: 9\r\n\r\n\x08\x03\x12\x05no\x1bup"),
		STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 0\r\n\r\n"),
		{},
	};
	struct books b;

	begin(script);
	start((struct exporter_cfg){ .batch_spans = 2 }, &quick);
	push(5);
	b = settle();
	assert_int_equal(dropped(&b, "refused"), 2);
	assert_int_equal(b.out, 3);
	assert_int_equal(end.cnt, 3);
	finish();
}

static void partial_success_counts_what_was_rejected(void **state)
{
	static const struct str script[] = {
		STR("HTTP/1.1 200 OK\r\n" PROTO
		    "Content-Length: 8\r\n\r\n\x0a\x06\x08\x02\x12\x02no"),
		/* More than were sent; then fewer than none. */
		STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 5\r\n\r\n\x0a\x03\x08\x88\x27"),
		STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 13\r\n\r\n\x0a\x0b\x08\xff\xff\xff"
		    "\xff\xff\xff\xff\xff\xff\x01"),
		{},
	};
	struct books b;

	begin(script);
	start((struct exporter_cfg){ .batch_spans = 5 }, &quick);
	push(15);
	b = settle();
	assert_int_equal(dropped(&b, "rejected"), 2 + 5);
	assert_int_equal(b.out, 3 + 5);
	assert_int_equal(end.cnt, 3);
	finish();
}

static void nonsense_in_a_success_is_still_a_success(void **state)
{
	static const struct str script[] = {
		STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 3\r\n\r\n\xff\xff\xff"), {}
	};

	begin(script);
	start((struct exporter_cfg){ 0 }, &quick);
	push(2);
	assert_int_equal(settle().out, 2);
	finish();
}

static void an_answer_without_end_is_cut_off(void **state)
{
	static char text[6 << 20];
	struct str script[2] = { 0 };
	int len =
		snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");

	memset(text + len, 'x', sizeof(text) - (size_t)len);
	script[0] = (struct str){ text, sizeof(text) };
	begin(script);
	start((struct exporter_cfg){ .timeout_ms = 60000 }, &quick);
	push(2);
	assert_int_equal(settle().out, 2);
	finish();
}

static void an_endpoint_that_hangs_is_timed_out_and_tried_again(void **state)
{
	static const struct str script[] = {
		{ HANG, 0 },
		STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 0\r\n\r\n"),
		{},
	};

	begin(script);
	start((struct exporter_cfg){ .timeout_ms = 2000 }, &quick);
	push(2);
	assert_int_equal(settle().out, 2);
	assert_int_equal(end.cnt, 2);
	finish();
}

static void an_endpoint_that_comes_up_later_gets_the_spans(void **state)
{
	assert_int_equal(endpoint_bind(&end), 0);
	start((struct exporter_cfg){ 0 }, &quick);
	push(4);
	usleep(300000);
	assert_int_equal(read_books().held, 4);
	assert_int_equal(endpoint_start(&end, ok), 0);
	assert_int_equal(settle().out, 4);
	finish();
}

static void an_endpoint_that_stays_away_is_given_up(void **state)
{
	struct books b;

	assert_int_equal(endpoint_bind(&end), 0);
	start((struct exporter_cfg){ .give_up_ms = 100 }, &quick);
	push(4);
	b = settle();
	assert_int_equal(dropped(&b, "gave_up"), 4);
	exporter_free(exporter, 0);
	close(end.fd);
}

static void a_full_queue_drops_exactly_what_does_not_fit(void **state)
{
	struct packer one = { 0 };
	struct gen g = { 11, arena_new(0) };
	uint64_t cost, fit = 0;
	struct books b;

	assert_int_equal(endpoint_bind(&end), 0);
	start((struct exporter_cfg){ .queue_bytes = 20000, .delay_ms = 60000, .batch_spans = 7 },
	      &quick);
	for (uint64_t used = 0; fit < 1000; used += cost, fit++) {
		pack_clear(&one);
		pack_span(&one, gen_http_span(&g, resource[fit % 3]));
		cost = one.len + sizeof(struct item);
		if (used + cost > 20000)
			break;
	}
	push((uint32_t)fit);
	b = read_books();
	assert_int_equal(b.held, fit);
	assert_int_equal(dropped(&b, "queue_full"), 0);
	push(100);
	b = read_books();
	assert_int_equal(b.in, fit + 100);
	assert_true(dropped(&b, "queue_full") >= 99);
	assert_int_equal(b.held + dropped(&b, "queue_full"), fit + 100);
	assert_int_equal(endpoint_start(&end, ok), 0);
	pack_fini(&one);
	arena_free(g.mem);
	finish();
}

static void the_end_sends_what_is_queued(void **state)
{
	begin(ok);
	start((struct exporter_cfg){ .delay_ms = 60000, .batch_spans = 100 }, &quick);
	push(30);
	exporter_free(exporter, DRAIN_MS);
	assert_int_equal(end.cnt, 1);
	assert_int_equal(spans_of(buf_str(&end.request[0].body)), 30);
	endpoint_stop(&end);
}

static void the_end_does_not_wait_for_an_endpoint_that_hangs(void **state)
{
	static const struct str script[] = { { HANG, 0 }, {} };
	uint64_t before;

	begin(script);
	start((struct exporter_cfg){ .timeout_ms = 60000, .batch_spans = 3 }, &quick);
	push(9);
	assert_true(endpoint_saw(&end, 1));
	before = clock_mono_ns();
	exporter_free(exporter, 200);
	/* Not for the 60 s of the request: the bound is wide, for busy machines. */
	assert_true(clock_mono_ns() - before < 20 * NS_PER_S);
	assert_int_equal(read_books().in, 0);
	endpoint_stop(&end);
}

static void the_end_is_not_held_up_by_a_long_retry_after(void **state)
{
	static const struct str script[] = {
		STR("HTTP/1.1 503 x\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"), {}
	};
	uint64_t before;

	begin(script);
	start((struct exporter_cfg){ 0 }, &quick);
	push(1);
	assert_true(endpoint_saw(&end, 1));
	before = clock_mono_ns();
	exporter_free(exporter, 500);
	assert_true(clock_mono_ns() - before < 20 * NS_PER_S);
	assert_int_equal(end.cnt, 1);
	endpoint_stop(&end);
}

static void what_cannot_be_an_endpoint_is_refused(void **state)
{
	static const char *const url[] = { "", "ftp://h/", "http://", "http://h:99999/", "::" };
	struct exporter *e = NULL;
	struct exporter_cfg cfg = { .kind = "otlp_http", .endpoint_cnt = 1 };
	char why[EXPORTER_WHY_MAX];

	for (size_t i = 0; i < ARRAY_LEN(url); i++) {
		cfg.endpoints = &url[i];
		assert_int_equal(exporter_new(&cfg, &e, why), -EINVAL);
	}
	cfg.endpoints = (const char *const[]){ "http://127.0.0.1:1/v1/traces" };
	cfg.headers = "novalue";
	assert_int_equal(exporter_new(&cfg, &e, why), -EBADMSG);
	cfg.headers = "a=b%0d%0aX-Forged:1";
	assert_int_equal(exporter_new(&cfg, &e, why), -EBADMSG);
	cfg.headers = "bad name=v";
	assert_int_equal(exporter_new(&cfg, &e, why), -EBADMSG);
	cfg.headers = "=v";
	assert_int_equal(exporter_new(&cfg, &e, why), -EBADMSG);
	cfg.headers = NULL;
	cfg.ca_file = "/nonexistent/ca.pem";
	assert_int_equal(exporter_new(&cfg, &e, why), -ENOENT);
	assert_string_equal(why, "/nonexistent/ca.pem: No such file or directory");
	cfg.ca_file = NULL;
	cfg.key_file = "/dev/null";
	assert_int_equal(exporter_new(&cfg, &e, why), -EINVAL);
	cfg.key_file = NULL;
	cfg.kind = "carrier_pigeon";
	assert_int_equal(exporter_new(&cfg, &e, why), -EINVAL);
	assert_null(e);
	assert_int_equal(read_books().stage == NULL, 1);
	exporter_free(NULL, 0);
}

static void shown_addresses_hold_no_secrets(void **state)
{
	char *url = NULL;

	assert_int_equal(url_without_secrets("https://me:pw@h:1/v1/traces?key=k#f", &url), 0);
	assert_string_equal(url, "https://h:1/v1/traces");
	free(url);
}

static void delays_double_up_to_a_limit_and_vary(void **state)
{
	const struct retry_policy *p = &retry_default;

	assert_int_equal(retry_delay_ms(p, 1, UINT32_MAX), 1000);
	assert_int_equal(retry_delay_ms(p, 1, 0), 500);
	assert_int_equal(retry_delay_ms(p, 2, UINT32_MAX), 2000);
	assert_int_equal(retry_delay_ms(p, 6, UINT32_MAX), 30000);
	assert_int_equal(retry_delay_ms(p, UINT32_MAX, UINT32_MAX), 30000);
	assert_true(retry_status(429) && retry_status(502) && retry_status(503) &&
		    retry_status(504) && retry_status(0));
	assert_false(retry_status(500) || retry_status(400) || retry_status(200) ||
		     retry_status(408));
}

static void unknown_fields_cannot_eat_memory(void **state)
{
	static char body[REPLY_BYTES_MAX];
	struct answer a = { .rejected = 9 };

	for (size_t i = 0; i < sizeof(body); i += 2)
		memcpy(body + i, "\x78\x01", 2);
	assert_int_equal(answer_parse_success((struct str){ body, sizeof(body) }, &a), -EBADMSG);
	assert_int_equal(a.rejected, 9);
	assert_int_equal(answer_parse_success((struct str){ body, 20 }, &a), 0);
	assert_int_equal(a.rejected, 0);
}

static int setup(void **state)
{
	struct gen g = { 42, NULL };

	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	for (uint32_t i = 0; i < ARRAY_LEN(resource); i++)
		resource[i] = gen_resource(&g, i);
	return 0;
}

static int teardown(void **state)
{
	for (uint32_t i = 0; i < ARRAY_LEN(resource); i++)
		resource_put(resource[i]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_pushed_arrives_as_otlp_encode_writes_it),
		cmocka_unit_test(batches_hold_at_most_what_is_configured),
		cmocka_unit_test(gzip_is_what_the_body_says),
		cmocka_unit_test(headers_are_decoded_and_sent),
		cmocka_unit_test(a_503_is_tried_again),
		cmocka_unit_test(a_429_waits_as_long_as_it_says),
		cmocka_unit_test(a_date_is_a_retry_after_too),
		cmocka_unit_test(a_400_is_counted_and_not_tried_again),
		cmocka_unit_test(partial_success_counts_what_was_rejected),
		cmocka_unit_test(nonsense_in_a_success_is_still_a_success),
		cmocka_unit_test(an_answer_without_end_is_cut_off),
		cmocka_unit_test(an_endpoint_that_hangs_is_timed_out_and_tried_again),
		cmocka_unit_test(an_endpoint_that_comes_up_later_gets_the_spans),
		cmocka_unit_test(an_endpoint_that_stays_away_is_given_up),
		cmocka_unit_test(a_full_queue_drops_exactly_what_does_not_fit),
		cmocka_unit_test(the_end_sends_what_is_queued),
		cmocka_unit_test(the_end_does_not_wait_for_an_endpoint_that_hangs),
		cmocka_unit_test(the_end_is_not_held_up_by_a_long_retry_after),
		cmocka_unit_test(what_cannot_be_an_endpoint_is_refused),
		cmocka_unit_test(shown_addresses_hold_no_secrets),
		cmocka_unit_test(delays_double_up_to_a_limit_and_vary),
		cmocka_unit_test(unknown_fields_cannot_eat_memory),
	};
	return cmocka_run_group_tests_name("export/http", tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Zipkin v2: what becomes of each of its fields. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "receive/decode.h"

static struct decoder *decoder;
static struct arena *mem;
static struct span *got[8];
static size_t cnt;

static void keep(void *ctx, const struct span *s)
{
	assert_true(cnt < ARRAY_LEN(got));
	got[cnt++] = span_copy(s, mem);
}

static int setup(void **state)
{
	cnt = 0;
	mem = arena_new(0);
	decoder = decoder_new((struct span_sink){ NULL, keep });
	return decoder ? 0 : -1;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < cnt; i++)
		span_release(got[i]);
	arena_free(mem);
	decoder_free(decoder);
	return 0;
}

static void check_str(const struct span *s, const char *key, const char *want)
{
	assert_true(str_eq(attrs_str(&s->attrs, key), str_of(want)));
}

static int64_t int_of(const struct span *s, const char *key)
{
	const struct attr *a = attrs_find(&s->attrs, str_of(key));

	assert_true(a && a->value.type == VALUE_INT);
	return a->value.i;
}

static void every_field(void **state)
{
	char hex[33];

	assert_int_equal(
		decode_zipkin(
			decoder,
			STR("[{\"traceId\":\"463AC35C9F6413AD48485A3953BB6124\",\"parentId\":"
			    "\"6b221d5bc9e6496c\",\"id\":\"a2fb4a1d1a96d312\",\"kind\":\"SERVER\","
			    "\"name\":\"get "
			    "/api\",\"timestamp\":1790000000000001,\"duration\":207000,"
			    "\"debug\":true,\"unknown\":[{}],\"localEndpoint\":{\"serviceName\":"
			    "\"backend\",\"ipv4\":\"192.168.99.1\",\"port\":3306},"
			    "\"remoteEndpoint\":{"
			    "\"serviceName\":\"front\",\"ipv6\":\"2001:db8::c001\",\"port\":58648},"
			    "\"annotations\":[{\"timestamp\":1790000000000002,\"value\":\"ws\"}],"
			    "\"tags\":{\"http.method\":\"GET\",\"n\":5,\"otel.scope.name\":\"lib\","
			    "\"otel.scope.version\":\"2\",\"error\":\"boom\"}}]")),
		0);
	assert_int_equal(cnt, 1);
	trace_id_hex(&got[0]->trace_id, hex);
	assert_string_equal(hex, "463ac35c9f6413ad48485a3953bb6124");
	span_id_hex(&got[0]->span_id, hex);
	assert_string_equal(hex, "a2fb4a1d1a96d312");
	span_id_hex(&got[0]->parent_id, hex);
	assert_string_equal(hex, "6b221d5bc9e6496c");
	assert_int_equal(got[0]->kind, SPAN_SERVER);
	assert_true(got[0]->start_ns == 1790000000000001000ull);
	assert_true(got[0]->end_ns - got[0]->start_ns == 207000000);
	assert_true(str_eq(got[0]->resource->service, STR("backend")));
	assert_true(str_eq(got[0]->scope->name, STR("lib")));
	assert_true(str_eq(got[0]->scope->version, STR("2")));
	assert_int_equal(got[0]->status, STATUS_ERROR);
	assert_true(str_eq(got[0]->status_message, STR("boom")));
	assert_int_equal(got[0]->event_cnt, 1);
	assert_true(str_eq(got[0]->events[0].name, STR("ws")));
	assert_true(got[0]->events[0].time_ns == 1790000000000002000ull);
	check_str(got[0], "network.local.address", "192.168.99.1");
	assert_int_equal(int_of(got[0], "network.local.port"), 3306);
	check_str(got[0], "service.peer.name", "front");
	check_str(got[0], "network.peer.address", "2001:db8::c001");
	assert_int_equal(int_of(got[0], "network.peer.port"), 58648);
	check_str(got[0], "http.method", "GET");
	check_str(got[0], "n", "5");
	assert_non_null(attrs_find(&got[0]->attrs, STR("zipkin.debug")));
	assert_null(attrs_find(&got[0]->attrs, STR("error")));
}

/* 64-bit trace ids, no kind, a time only in an annotation, a status of OpenTelemetry. */
static void sparse_spans(void **state)
{
	char hex[33];

	assert_int_equal(
		decode_zipkin(
			decoder,
			STR("[{\"traceId\":\"48485a3953bb6124\",\"id\":\"1\",\"parentId\":null,"
			    "\"annotations\":[{\"timestamp\":1790000000000005,\"value\":\"a\"},"
			    "{\"timestamp\":1790000000000003,\"value\":\"b\"}],"
			    "\"tags\":{\"otel.status_code\":\"OK\"}},"
			    "{\"traceId\":\"48485a3953bb6124\",\"id\":\"2\"},"
			    "{\"traceId\":\"\",\"id\":\"2\",\"timestamp\":1790000000000003},"
			    "{\"traceId\":\"7\",\"id\":\"12345678123456789\",\"timestamp\":"
			    "1790000000000003}]")),
		0);
	assert_int_equal(cnt, 1);
	assert_int_equal(decoder->intake.rejected[REJECT_bad_time], 1);
	assert_int_equal(decoder->intake.rejected[REJECT_bad_id], 2);
	trace_id_hex(&got[0]->trace_id, hex);
	assert_string_equal(hex, "000000000000000048485a3953bb6124");
	assert_int_equal(got[0]->kind, SPAN_INTERNAL);
	assert_int_equal(got[0]->status, STATUS_OK);
	assert_true(str_eq(got[0]->name, STR("unknown")));
	assert_true(str_eq(got[0]->resource->service, STR("unknown_service")));
	assert_true(got[0]->start_ns == 1790000000000003000ull);
}

/* As Jaeger and Zipkin's own tracers write them: 64 bits, trimmed, in upper case, zeros for no
 * parent. */
static void forms_of_ids(void **state)
{
	static const struct {
		const char *trace, *id, *parent, *hex; /* hex NULL: refused */
	} rows[] = {
		{ "48485A3953BB6124", "E457B5A2E4D86BD1", "0000000000000000",
		  "000000000000000048485a3953bb6124" },
		{ "463ac35c9f6413ad48485a3953bb6124", "1", "0",
		  "463ac35c9f6413ad48485a3953bb6124" },
		{ "63ac35c9f6413ad48485a3953bb6124", "e457b5a2e4d86bd1", "",
		  "063ac35c9f6413ad48485a3953bb6124" },
		{ "7b", "c8", "7", "0000000000000000000000000000007b" },
		{ "0463ac35c9f6413ad48485a3953bb6124", "1", "", NULL },
		{ "0x7b", "1", "", NULL },
		{ "RkrDXJ9kE61ISFo5U7thJA==", "1", "", NULL }, /* base64 */
		{ "7b", "", "", NULL },
		{ "7b", "0", "", NULL },
		{ "7b", "1", "00000000000000000", NULL },
	};
	char text[256], hex[33];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(text, sizeof(text),
			 "[{\"traceId\":\"%s\",\"id\":\"%s\",\"parentId\":\"%s\","
			 "\"timestamp\":1790000000000003}]",
			 rows[i].trace, rows[i].id, rows[i].parent);
		assert_int_equal(decode_zipkin(decoder, str_of(text)), 0);
		assert_int_equal(cnt, rows[i].hex ? 1 : 0);
		assert_int_equal(decoder->intake.rejected[REJECT_bad_id], rows[i].hex ? 0 : 1);
		if (!rows[i].hex)
			continue;
		trace_id_hex(&got[0]->trace_id, hex);
		assert_string_equal(hex, rows[i].hex);
		assert_int_equal(span_id_is_set(&got[0]->parent_id), i == 3);
		span_release(got[--cnt]);
	}
}

/* Both halves of a shared span stay apart, the server's below the client's. */
static void shared_spans(void **state)
{
	static const char spans[] =
		"[{\"traceId\":\"1\",\"id\":\"2\",\"kind\":\"CLIENT\",\"timestamp\":"
		"1790000000000003},"
		"{\"traceId\":\"1\",\"id\":\"2\",\"kind\":\"SERVER\",\"shared\":true,"
		"\"timestamp\":1790000000000004}]";

	assert_int_equal(decode_zipkin(decoder, STR(spans)), 0);
	assert_int_equal(decode_zipkin(decoder, STR(spans)), 0);
	assert_int_equal(cnt, 4);
	assert_memory_not_equal(&got[0]->span_id, &got[1]->span_id, 8);
	assert_memory_equal(&got[0]->span_id, &got[1]->parent_id, 8);
	assert_memory_equal(&got[1]->span_id, &got[3]->span_id, 8);
	assert_ptr_equal(got[0]->resource, got[2]->resource);
}

static void malformed(void **state)
{
	static const char *const bad[] = { "",
					   "{}",
					   "[",
					   "[{]",
					   "[{}",
					   "[5]",
					   "[{\"timestamp\":\"x\"}]",
					   "[{\"tags\":[]}]",
					   "[{\"shared\":1}]",
					   "[] []" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(decode_zipkin(decoder, str_of(bad[i])), -EBADMSG);
		assert_non_null(strstr(decoder->intake.why, "malformed JSON at byte"));
	}
	assert_int_equal(decode_zipkin(decoder, STR("[]")), 0);
	assert_int_equal(cnt, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_field, setup, teardown),
		cmocka_unit_test_setup_teardown(sparse_spans, setup, teardown),
		cmocka_unit_test_setup_teardown(forms_of_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_spans, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

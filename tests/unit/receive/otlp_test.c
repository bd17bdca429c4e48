/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP in both encodings: what our own exporter writes, what protobuf-c reads, what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/clock.h"
#include "export/export.h"
#include "unit/export/span_gen.h"
#include "unit/receive/oracle.h"

#define SPANS_MAX 64

/* Keeps copies of what is pushed. */
struct kept {
	struct arena *mem;
	const struct span *span[SPANS_MAX];
	size_t cnt;
};

static void keep(void *ctx, const struct span *s)
{
	struct kept *k = ctx;

	assert_true(k->cnt < SPANS_MAX);
	k->span[k->cnt++] = span_copy(s, k->mem);
}

static void forget(struct kept *k)
{
	for (size_t i = 0; i < k->cnt; i++)
		span_release((struct span *)k->span[i]);
	k->cnt = 0;
}

static const struct scope scope_full = { .name = { "lib", 3 },
					 .version = { "1.2", 3 },
					 .schema_url = { "https://s/1", 11 } };

/* Made-up spans that are acceptable. */
static size_t make(struct gen *g, struct resource *const resource[3], const struct span **ret)
{
	size_t cnt = 1 + gen_below(g, 20);

	for (size_t i = 0; i < cnt; i++) {
		struct span *s = gen_span(g, resource[i % 3], i % 2 ? &scope_full : &scope_capture);

		s->trace_id.b[3] |= 1;
		s->span_id.b[5] |= 1;
		s->start_ns = 1790000000000000000ull + gen_below(g, 1000000000);
		s->end_ns = s->start_ns + gen_below(g, 1000000000);
		for (uint32_t j = 0; j < s->link_cnt; j++)
			s->links[j].trace_id.b[0] = s->links[j].span_id.b[0] = 9;
		ret[i] = s;
	}
	return cnt;
}

/* Writing, reading and writing again gives the same bytes. */
static void round_trip(bool json)
{
	struct gen g = { .state = 4711, .mem = arena_new(0) };
	struct kept k = { .mem = arena_new(0) };
	struct decoder *d = decoder_new((struct span_sink){ &k, keep });
	struct resource *resource[3];
	const struct span *spans[SPANS_MAX];

	for (uint32_t i = 0; i < 3; i++)
		resource[i] = gen_resource(&g, i);
	for (int i = 0; i < 300; i++) {
		struct buf sent = { 0 }, text = { 0 }, again = { 0 };
		size_t cnt = make(&g, resource, spans);

		assert_int_equal(otlp_encode(spans, cnt, &sent), 0);
		assert_int_equal(otlp_encode_json(spans, cnt, &text), 0);
		assert_int_equal(json ? decode_otlp_json(d, buf_str(&text))
				      : decode_otlp(d, buf_str(&sent)),
				 0);
		assert_int_equal(d->intake.accepted, cnt);
		assert_int_equal(k.cnt, cnt);
		assert_int_equal(otlp_encode(k.span, k.cnt, &again), 0);
		assert_int_equal(again.len, sent.len);
		assert_memory_equal(again.p, sent.p, sent.len);
		forget(&k);
		buf_fini(&sent);
		buf_fini(&text);
		buf_fini(&again);
	}
	assert_int_equal(d->books.in, d->books.out);
	decoder_free(d);
	for (size_t i = 0; i < 3; i++)
		resource_put(resource[i]);
	arena_free(k.mem);
	arena_free(g.mem);
}

static void round_trip_protobuf(void **state)
{
	round_trip(false);
}

static void round_trip_json(void **state)
{
	round_trip(true);
}

/* Whole bodies, and the same bodies cut and with bytes changed. */
static void agrees_with_protobuf_c(void **state)
{
	struct gen g = { .state = 815, .mem = arena_new(0) };
	struct oracle o;
	struct decoder *d = decoder_new((struct span_sink){ &o, oracle_push });
	struct resource *resource[3];
	const struct span *spans[SPANS_MAX];
	uint64_t good = 0;

	for (uint32_t i = 0; i < 3; i++)
		resource[i] = gen_resource(&g, i);
	for (int i = 0; i < 2000; i++) {
		struct buf body = { 0 };

		assert_int_equal(otlp_encode(spans, make(&g, resource, spans), &body), 0);
		for (uint32_t j = gen_below(&g, 4); j > 0; j--)
			body.p[gen_below(&g, (uint32_t)body.len)] = (char)gen_below(&g, 256);
		if (i % 4 == 3)
			body.len = gen_below(&g, (uint32_t)body.len);
		good += oracle_compare(d, &o, buf_str(&body)) == 0;
		buf_fini(&body);
	}
	assert_true(good > 500);
	decoder_free(d);
	for (size_t i = 0; i < 3; i++)
		resource_put(resource[i]);
	arena_free(g.mem);
}

/* ---- single cases, in JSON since that can be read here ---- */

static struct kept got;
static struct decoder *decoder;

static int setup(void **state)
{
	got = (struct kept){ .mem = arena_new(0) };
	decoder = decoder_new((struct span_sink){ &got, keep });
	return decoder ? 0 : -1;
}

static int teardown(void **state)
{
	forget(&got);
	arena_free(got.mem);
	decoder_free(decoder);
	return 0;
}

#define IDS "\"traceId\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"spanId\":\"00F067AA0ba902b7\","
#define TIMES \
	"\"startTimeUnixNano\":\"1790000000000000000\",\"endTimeUnixNano\":1790000000000000005"

/* One span with these members; the result of decoding. */
static int decode_span(const char *members)
{
	struct buf b = { 0 };
	int err;

	forget(&got);
	buf_printf(&b, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{%s}]}]}]}", members);
	err = decode_otlp_json(decoder, buf_str(&b));
	buf_fini(&b);
	return err;
}

static void rejects(const char *members, enum reject why)
{
	assert_int_equal(decode_span(members), 0);
	assert_int_equal(decoder->intake.accepted, 0);
	assert_int_equal(decoder->intake.rejected[why], 1);
}

static void ids_of_wrong_length(void **state)
{
	rejects("\"traceId\":\"4bf92f\",\"spanId\":\"00f067aa0ba902b7\"," TIMES, REJECT_bad_id);
	rejects("\"traceId\":\"4bf92f3577b34da6a3ce929d0e0e4736\"," TIMES, REJECT_bad_id);
	rejects("\"traceId\":\"00000000000000000000000000000000\",\"spanId\":"
		"\"00f067aa0ba902b7\"," TIMES,
		REJECT_bad_id);
	rejects("\"traceId\":\"S/kvNXezTaajzpKdDg5HNg==\",\"spanId\":\"APBnqguoArc=\"," TIMES,
		REJECT_bad_id); /* base64, as protobuf's own JSON has it */
	rejects("\"traceId\":\"a3ce929d0e0e4736\",\"spanId\":\"00f067aa0ba902b7\"," TIMES,
		REJECT_bad_id);
	rejects(IDS "\"parentSpanId\":\"12\"," TIMES, REJECT_bad_id);
	assert_int_equal(decode_span(IDS "\"parentSpanId\":\"\"," TIMES), 0);
	assert_int_equal(decoder->intake.accepted, 1);
}

static void impossible_times(void **state)
{
	char text[512];

	rejects(IDS "\"startTimeUnixNano\":\"0\",\"endTimeUnixNano\":\"5\"", REJECT_bad_time);
	rejects(IDS "\"name\":\"none\"", REJECT_bad_time);
	rejects(IDS "\"startTimeUnixNano\":1790000000,\"endTimeUnixNano\":1790000001",
		REJECT_bad_time);
	snprintf(text, sizeof(text), IDS "\"startTimeUnixNano\":\"%llu\"",
		 (unsigned long long)(clock_real_ns() + 48 * 3600 * NS_PER_S));
	rejects(text, REJECT_bad_time);
	rejects(IDS "\"startTimeUnixNano\":\"1790000000000000000\",\"endTimeUnixNano\":"
		    "\"18446744073709551615\"",
		REJECT_bad_time);
	assert_int_equal(decode_span(IDS "\"startTimeUnixNano\":\"1790000000000000000\","
					 "\"endTimeUnixNano\":\"1780000000000000000\""),
			 0);
	assert_int_equal(got.cnt, 1);
	assert_true(got.span[0]->end_ns == got.span[0]->start_ns);
	assert_int_equal(decoder->corrected, 1);
}

static void json_forms(void **state)
{
	const struct span *s;

	assert_int_equal(
		decode_span(IDS TIMES
			    ",\"unknown\":{\"a\":[1,{}]},\"parentSpanId\":null,\"kind\":3,"
			    "\"name\":\"\\ud83e\\uddf6 \\u00fc\\n\\ud800\\/\",\"flags\":257,"
			    "\"status\":{\"code\":2,\"message\":\"m\"},\"attributes\":["
			    "{\"key\":\"i\",\"value\":{\"intValue\":\"-9223372036854775808\"}},"
			    "{\"key\":\"n\",\"value\":{\"intValue\":1e3}},"
			    "{\"key\":\"d\",\"value\":{\"doubleValue\":\"-Infinity\"}},"
			    "{\"key\":\"y\",\"value\":{\"bytesValue\":\"_-8=\"}},"
			    "{\"key\":\"e\",\"value\":{}},{\"key\":\"a\",\"value\":{\"arrayValue\":"
			    "{\"values\":[{\"stringValue\":\"x\"},{\"boolValue\":true}]}}}]"),
		0);
	assert_int_equal(got.cnt, 1);
	s = got.span[0];
	assert_int_equal(s->kind, SPAN_CLIENT);
	assert_true(str_eq(s->name, STR("🧶 ü\n" UTF8_REPLACEMENT "/")));
	assert_int_equal(s->flags, 257);
	assert_int_equal(s->status, STATUS_ERROR);
	assert_true(s->attrs.item[0].value.i == INT64_MIN);
	assert_int_equal(s->attrs.item[1].value.i, 1000);
	assert_true(s->attrs.item[2].value.d < -1e308);
	assert_true(str_eq(s->attrs.item[3].value.str, STR("\xff\xef")));
	assert_int_equal(s->attrs.item[4].value.type, VALUE_EMPTY);
	assert_int_equal(s->attrs.item[5].value.array.cnt, 2);
	assert_true(str_eq(s->resource->service, STR("unknown_service")));
}

static void malformed_json(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{\"resourceSpans\":5}",
		"{\"resourceSpans\":[{]}",
		"{\"resourceSpans\":[{}]} x",
		"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":5}]}]}]}",
		"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"kind\":\"SPAN_KIND_SERVER\"}]}"
		"]}]}",
		"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":\"\\x\"}]}]}]}",
		"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"flags\":-1}]}]}]}",
		"{\"resourceSpans\":[{\"resource\":[],\"scopeSpans\":[{\"spans\":[{}]}]}]}",
	};
	struct buf deep = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(decode_otlp_json(decoder, str_of(bad[i])), -EBADMSG);
		assert_non_null(strstr(decoder->intake.why, "malformed"));
	}
	buf_printf(&deep, "{\"x\":");
	for (int i = 0; i < 100000; i++)
		buf_add_char(&deep, '[');
	assert_int_equal(decode_otlp_json(decoder, buf_str(&deep)), -EBADMSG);
	assert_non_null(strstr(decoder->intake.why, "nesting"));
	buf_fini(&deep);
	assert_int_equal(decode_otlp_json(decoder, STR(" {\"resourceSpans\":null}\n")), 0);
	assert_int_equal(decode_otlp_json(decoder, STR("{}")), 0);
}

/* A value in 'levels' arrays. */
static void nest(struct buf *b, int levels)
{
	buf_printf(b, IDS TIMES ",\"attributes\":[{\"key\":\"k\",\"value\":");
	for (int i = 0; i < levels; i++)
		buf_printf(b, "{\"arrayValue\":{\"values\":[");
	buf_printf(b, "{}");
	for (int i = 0; i < levels; i++)
		buf_printf(b, "]}}");
	buf_printf(b, "}]");
	buf_add_char(b, 0);
}

static void nesting(void **state)
{
	struct buf b = { 0 };

	nest(&b, VALUE_DEPTH_MAX);
	assert_int_equal(decode_span(b.p), 0);
	assert_int_equal(decoder->intake.accepted, 1);
	buf_clear(&b);
	nest(&b, VALUE_DEPTH_MAX + 1);
	rejects(b.p, REJECT_too_deep);
	buf_clear(&b);
	nest(&b, 1000);
	assert_int_equal(decode_span(b.p), -EBADMSG);
	buf_fini(&b);
}

static void large_values(void **state)
{
	struct buf b = { 0 };
	char why[WHY_MAX];

	buf_printf(&b, IDS TIMES ",\"attributes\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"");
	for (int i = 0; i < 100000; i++)
		buf_printf(&b, "%0100d", i);
	buf_printf(&b, "\"}}]");
	buf_add_char(&b, 0);
	rejects(b.p, REJECT_too_large);
	intake_why(&decoder->intake, why);
	assert_string_equal(why, "1 of 1 spans rejected: 1 too_large (a value above 1 MiB, "
				 "a span above 4 MiB, a resource or scope above 256 KiB)");
	buf_clear(&b);
	buf_printf(&b, IDS TIMES ",\"attributes\":[{}");
	for (int i = 0; i < 5000; i++)
		buf_printf(&b, ",{}");
	buf_printf(&b, "]");
	buf_add_char(&b, 0);
	assert_int_equal(decode_span(b.p), 0);
	assert_int_equal(got.span[0]->attrs.cnt, ATTRS_MAX);
	assert_int_equal(got.span[0]->attrs.dropped, 5001 - ATTRS_MAX);
	buf_fini(&b);
}

/* ---- wire cases ---- */

/* A field of bytes around what b holds from 'from' on; all shorter than 128. */
static void wrap(struct buf *b, size_t from, int field)
{
	size_t len = b->len - from;

	assert_true(len < 128 && buf_reserve(b, 2) == 0);
	memmove(b->p + from + 2, b->p + from, len);
	b->p[from] = (char)(field << 3 | WIRE_LEN);
	b->p[from + 1] = (char)len;
	b->len += 2;
}

static void add_resource(struct buf *b, const char *key, const char *value)
{
	size_t from = b->len, at;

	buf_add_str(b, str_of(key));
	wrap(b, from, 1);
	at = b->len;
	buf_add_str(b, str_of(value));
	wrap(b, at, 1);
	wrap(b, at, 2);
	wrap(b, from, 1);
	wrap(b, from, 1);
}

/* Schema, then spans, then the resource in two parts. */
static void any_field_order(void **state)
{
	static const uint64_t start = 1790000000000000000ull;
	struct buf b = { 0 };
	size_t from;

	buf_add_str(&b, STR("u"));
	wrap(&b, 0, 3);
	from = b.len;
	buf_add_str(&b, STR("\x0a\x10"
			    "aaaaaaaaaaaaaaaa"
			    "\x12\x08"
			    "bbbbbbbb"
			    "\x39"));
	buf_add(&b, &start, sizeof(start));
	wrap(&b, from, 2);
	wrap(&b, from, 2);
	add_resource(&b, "service.name", "x");
	add_resource(&b, "k", "y");
	wrap(&b, 0, 1);
	assert_int_equal(decode_otlp(decoder, buf_str(&b)), 0);
	buf_fini(&b);
	assert_int_equal(got.cnt, 1);
	assert_true(str_eq(got.span[0]->resource->schema_url, STR("u")));
	assert_int_equal(got.span[0]->resource->attrs.cnt, 2);
	assert_true(str_eq(got.span[0]->resource->service, STR("x")));
}

static void malformed_protobuf(void **state)
{
	assert_int_equal(decode_otlp(decoder, STR("\x0a\x05\x12")), -EBADMSG);
	assert_int_equal(decode_otlp(decoder, STR("\x0b")), -EBADMSG);
	assert_int_equal(decode_otlp(decoder, STR("{\"resourceSpans\":[]}")), -EBADMSG);
	assert_int_equal(decode_otlp(decoder, STR("")), 0);
	assert_int_equal(decode_otlp(decoder, STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
			 -EBADMSG);
}

/* One pointer for equal resources of two requests; the table stays small whatever comes. */
static void resources_are_shared(void **state)
{
	struct gen g = { .state = 5, .mem = arena_new(0) };
	struct buf body = { 0 };

	for (int i = 0; i < 2; i++) {
		assert_int_equal(decode_span(IDS TIMES), 0);
		assert_int_equal(decode_span(IDS TIMES), 0);
	}
	assert_int_equal(got.cnt, 1);
	assert_int_equal(got.span[0]->resource->refs, 2);
	for (uint32_t i = 0; i < 3000; i++) {
		struct resource *r = gen_resource(&g, i);
		const struct span *s = gen_http_span(&g, r);

		buf_clear(&body);
		assert_int_equal(otlp_encode(&s, 1, &body), 0);
		assert_int_equal(decode_otlp(decoder, buf_str(&body)), 0);
		forget(&got);
		resource_put(r);
	}
	assert_true(decoder->origin_bytes < 1u << 20);
	buf_fini(&body);
	arena_free(g.mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip_protobuf),
		cmocka_unit_test(round_trip_json),
		cmocka_unit_test(agrees_with_protobuf_c),
		cmocka_unit_test_setup_teardown(ids_of_wrong_length, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_times, setup, teardown),
		cmocka_unit_test_setup_teardown(json_forms, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed_json, setup, teardown),
		cmocka_unit_test_setup_teardown(nesting, setup, teardown),
		cmocka_unit_test_setup_teardown(large_values, setup, teardown),
		cmocka_unit_test_setup_teardown(any_field_order, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed_protobuf, setup, teardown),
		cmocka_unit_test_setup_teardown(resources_are_shared, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

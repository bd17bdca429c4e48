/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_encode() against what protobuf-c packs from the same spans. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "export/export.h"
#include "oracle.h"
#include "span_gen.h"

#define SPANS_MAX 40

static struct resource *resource[3];
static struct scope scope[2] = {
	{ .name = { "telltale", 8 } },
	{ .name = { "app", 3 }, .version = { "1.2", 3 }, .schema_url = { "https://x/1", 11 } },
};

static void assert_equals_oracle(const struct span *const *spans, size_t cnt, struct arena *mem)
{
	Otlp__ExportTraceRequest *want = oracle_request(mem, spans, cnt);
	size_t len = otlp__export_trace_request__get_packed_size(want);
	uint8_t *bytes = malloc(len + 1);
	struct buf out = { 0 };

	otlp__export_trace_request__pack(want, bytes);
	assert_int_equal(otlp_encode(spans, cnt, &out), 0);
	assert_int_equal(out.len, len);
	assert_true(!len || !memcmp(out.p, bytes, len));
	buf_fini(&out);
	free(bytes);
}

static void generated_spans_equal_what_protobuf_c_packs(void **state)
{
	for (uint64_t seed = 1; seed <= 400; seed++) {
		struct gen g = { seed * 0x9e3779b97f4a7c15ull, arena_new(0) };
		const struct span *spans[SPANS_MAX];
		size_t cnt = gen_below(&g, SPANS_MAX);

		for (size_t i = 0; i < cnt; i++)
			spans[i] =
				gen_span(&g, resource[gen_below(&g, 3)], &scope[gen_below(&g, 2)]);
		assert_equals_oracle(spans, cnt, g.mem);
		arena_free(g.mem);
	}
}

static void a_captured_span_equals_what_protobuf_c_packs(void **state)
{
	struct gen g = { 7, arena_new(0) };
	const struct span *s = gen_http_span(&g, resource[0]);

	assert_equals_oracle(&s, 1, g.mem);
	arena_free(g.mem);
}

static void no_spans_are_an_empty_request(void **state)
{
	struct buf out = { 0 };

	assert_int_equal(otlp_encode(NULL, 0, &out), 0);
	assert_int_equal(out.len, 0);
	buf_fini(&out);
}

static void fields_stand_where_the_specification_says(void **state)
{
	static const uint8_t want[] = {
		0x0a, 0x21,					/* resource_spans */
		0x0a, 0x00,					/* resource */
		0x12, 0x1d,					/* scope_spans */
		0x0a, 0x00,					/* scope */
		0x12, 0x19,					/* span */
		0x12, 0x08, 1,	  2,	3,    4,    5, 6, 7, 8, /* span_id */
		0x2a, 0x01, 'n',				/* name */
		0x30, 0x02,					/* kind: server */
		0x7a, 0x02, 0x18, 0x02,				/* status: code error */
		0x85, 0x01, 0x01, 0x01, 0x00, 0x00,		/* flags, fixed32 */
	};
	struct resource r = { .service = STR("s") };
	struct scope none = { 0 };
	struct span s = { .span_id = { { 1, 2, 3, 4, 5, 6, 7, 8 } },
			  .name = STR("n"),
			  .kind = SPAN_SERVER,
			  .status = STATUS_ERROR,
			  .flags = 0x101,
			  .resource = &r,
			  .scope = &none };
	const struct span *p = &s;
	struct buf out = { 0 };

	assert_int_equal(otlp_encode(&p, 1, &out), 0);
	assert_int_equal(out.len, sizeof(want));
	assert_memory_equal(out.p, want, sizeof(want));
	buf_fini(&out);
}

static void ill_formed_utf8_becomes_the_replacement_character(void **state)
{
	struct span s = { .name = STR("a\xff\xc3z"), .resource = resource[0], .scope = &scope[0] };
	struct span clean = s;
	const struct span *p = &s, *q = &clean;
	struct buf out = { 0 }, want = { 0 };

	clean.name = STR("a\xef\xbf\xbd\xef\xbf\xbdz");
	assert_int_equal(otlp_encode(&p, 1, &out), 0);
	assert_int_equal(otlp_encode(&q, 1, &want), 0);
	assert_int_equal(out.len, want.len);
	assert_memory_equal(out.p, want.p, out.len);
	buf_fini(&out);
	buf_fini(&want);
}

static void past_the_cap_nothing_is_added(void **state)
{
	struct span s = { .name = STR("name"), .resource = resource[0], .scope = &scope[0] };
	const struct span *p = &s;
	struct buf out = { .cap = 32 };

	buf_add(&out, "before", 6);
	assert_int_equal(otlp_encode(&p, 1, &out), -ENOBUFS);
	assert_int_equal(out.len, 6);
	buf_fini(&out);
}

static void values_nested_deeper_than_allowed_end_empty(void **state)
{
	static struct value chain[2000];
	struct attr at = { STR("deep"), { .type = VALUE_ARRAY } };
	struct span s = { .resource = resource[0], .scope = &scope[0] };
	const struct span *p = &s;
	struct buf out = { 0 };

	for (size_t i = 0; i + 1 < ARRAY_LEN(chain); i++) {
		chain[i].type = VALUE_ARRAY;
		chain[i].array.item = &chain[i + 1];
		chain[i].array.cnt = 1;
	}
	at.value.array.item = chain;
	at.value.array.cnt = 1;
	s.attrs = (struct attrs){ .item = &at, .cnt = 1 };
	assert_int_equal(otlp_encode(&p, 1, &out), 0);
	assert_true(out.len < 600);
	buf_fini(&out);
}

static int setup(void **state)
{
	struct gen g = { 42, NULL };

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
		cmocka_unit_test(generated_spans_equal_what_protobuf_c_packs),
		cmocka_unit_test(a_captured_span_equals_what_protobuf_c_packs),
		cmocka_unit_test(no_spans_are_an_empty_request),
		cmocka_unit_test(fields_stand_where_the_specification_says),
		cmocka_unit_test(ill_formed_utf8_becomes_the_replacement_character),
		cmocka_unit_test(past_the_cap_nothing_is_added),
		cmocka_unit_test(values_nested_deeper_than_allowed_end_empty),
	};
	return cmocka_run_group_tests_name("export/encode", tests, setup, teardown);
}

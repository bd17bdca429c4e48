/* SPDX-License-Identifier: Apache-2.0 */
/* Values of attributes as JSON, plain and as OTLP has them, and what holds them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/json.h"
#include "span/span.h"

static struct value list[] = { { .type = VALUE_INT, .i = -1 },
			       { .type = VALUE_EMPTY },
			       { .type = VALUE_BYTES, .str = { "\xff\0", 2 } } };
static struct attr pairs[] = {
	{ { "a\"b", 3 }, { .type = VALUE_DOUBLE, .d = 0.5 } },
	{ { "list", 4 }, { .type = VALUE_ARRAY, .array = { list, ARRAY_LEN(list) } } },
	{ { "yes", 3 }, { .type = VALUE_BOOL, .b = true } },
	{ { "none", 4 }, { .type = VALUE_KVLIST } },
};
static const struct value tree = { .type = VALUE_KVLIST, .kvlist = { pairs, ARRAY_LEN(pairs) } };

static struct buf out;
static struct json j;

static void begin(void)
{
	buf_clear(&out);
	j = (struct json){ .out = &out };
}

static void expect(const char *want)
{
	assert_int_equal(out.len, strlen(want));
	assert_memory_equal(out.p, want, out.len);
}

static void plain_values(void **state)
{
	begin();
	value_json(&j, &tree, STR("null"));
	expect("{\"a\\\"b\":0.5,\"list\":[-1,null,\"/wA=\"],\"yes\":true,\"none\":{}}");
}

static void plain_values_as_text(void **state)
{
	struct arena *mem = arena_new(4096);

	assert_true(str_eq(value_json_text(&tree, mem),
			   STR("{\"a\\\"b\":0.5,\"list\":[-1,\"\",\"/wA=\"],\"yes\":true,"
			       "\"none\":{}}")));
	arena_free(mem);
}

static void values_of_otlp(void **state)
{
	struct attrs none = { 0 }, some = { .item = pairs, .cnt = 2, .dropped = 7 };

	begin();
	json_open(&j, '{');
	attrs_json_otlp(&j, &none);
	attrs_json_otlp(&j, &some);
	json_key(&j, "last");
	value_json_otlp(&j, &pairs[3].value);
	json_close(&j, '}');
	expect("{\"attributes\":[{\"key\":\"a\\\"b\",\"value\":{\"doubleValue\":0.5}},"
	       "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"-1\"},"
	       "{},{\"bytesValue\":\"/wA=\"}]}}}],\"droppedAttributesCount\":7,"
	       "\"last\":{\"kvlistValue\":{\"values\":[]}}}");
}

/* For readers that check types: a value always has one, and a double is a number. */
static void strict_values_have_a_type(void **state)
{
	struct value odd[] = { { .type = VALUE_EMPTY },
			       { .type = VALUE_DOUBLE, .d = NAN },
			       { .type = VALUE_DOUBLE, .d = -INFINITY },
			       { .type = VALUE_DOUBLE, .d = 0.5 } };
	const struct value list_of = { .type = VALUE_ARRAY, .array = { odd, ARRAY_LEN(odd) } };

	begin();
	j.strict = true;
	value_json_otlp(&j, &list_of);
	expect("{\"arrayValue\":{\"values\":[{\"stringValue\":\"\"},{\"stringValue\":\"NaN\"},"
	       "{\"stringValue\":\"-Infinity\"},{\"doubleValue\":0.5}]}}");
	begin();
	value_json_otlp(&j, &list_of);
	expect("{\"arrayValue\":{\"values\":[{},{\"doubleValue\":\"NaN\"},"
	       "{\"doubleValue\":\"-Infinity\"},{\"doubleValue\":0.5}]}}");
}

static void what_is_too_deep_is_empty(void **state)
{
	struct value nest[VALUE_DEPTH_MAX + 2];
	char want[2 * ARRAY_LEN(nest) + 3] = "";

	for (size_t i = 0; i < ARRAY_LEN(nest); i++) {
		nest[i] = (struct value){ .type = VALUE_ARRAY, .array = { &nest[i + 1], 1 } };
		want[i] = '[';
	}
	/* VALUE_DEPTH_MAX + 1 arrays open; the one below them is empty */
	memcpy(want + VALUE_DEPTH_MAX + 1, "0", 2);
	for (size_t i = 0; i <= VALUE_DEPTH_MAX; i++)
		strcat(want, "]");
	begin();
	value_json(&j, nest, STR("0"));
	expect(want);
}

/* A key comes once in a list: an empty name is replaced. */
static void an_empty_service_has_one_name(void **state)
{
	static const struct value name[] = { { .type = VALUE_STR }, { .type = VALUE_EMPTY } };

	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		struct resource *r = resource_new();

		attrs_add(&r->attrs, r->arena, STR("service.name"), name[i]);
		attrs_add_int(&r->attrs, r->arena, "n", 1);
		resource_seal(r);
		begin();
		attrs_json_otlp(&j, &r->attrs);
		expect("\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":"
		       "\"unknown_service\"}},{\"key\":\"n\",\"value\":{\"intValue\":\"1\"}}]");
		resource_put(r);
	}
}

/* The document says that they are there, and pages that check answers drop all of one without. */
static void a_span_without_a_name_says_so(void **state)
{
	struct span_event event = { .time_ns = 0 };
	const struct span s = {
		.trace_id.b[15] = 1, .span_id.b[7] = 2, .events = &event, .event_cnt = 1
	};

	begin();
	span_json(&j, &s, SPAN_JSON_OTLP);
	expect("{\"traceId\":\"00000000000000000000000000000001\",\"spanId\":\"0000000000000002\","
	       "\"name\":\"\",\"startTimeUnixNano\":\"0\",\"endTimeUnixNano\":\"0\","
	       "\"events\":[{\"timeUnixNano\":\"0\",\"name\":\"\"}]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_values),
		cmocka_unit_test(plain_values_as_text),
		cmocka_unit_test(values_of_otlp),
		cmocka_unit_test(strict_values_have_a_type),
		cmocka_unit_test(what_is_too_deep_is_empty),
		cmocka_unit_test(an_empty_service_has_one_name),
		cmocka_unit_test(a_span_without_a_name_says_so),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	buf_fini(&out);
	return failed;
}

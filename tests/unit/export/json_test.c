/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_encode_json(): fixed text, and generated spans compared with what jansson reads back. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>

#include "export/export.h"
#include "span_gen.h"

static struct resource *resource;
static const struct scope app = { .name = { "app", 3 }, .version = { "2", 1 } };

static const char full_span_text[] =
	"{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\","
	"\"value\":"
	"{\"stringValue\":\"shop\"}}]},\"scopeSpans\":[{\"scope\":{\"name\":\"app\","
	"\"version\":\"2\"},"
	"\"spans\":[{\"traceId\":\"5b8e0102030405060708090a0b0c0dab\",\"spanId\":"
	"\"eee19b7ec3c1b174\","
	"\"traceState\":\"a=1\",\"parentSpanId\":\"eee19b7ec3c1b173\",\"name\":\"GET "
	"/x\",\"kind\":3,"
	"\"startTimeUnixNano\":\"1790000000000000001\",\"endTimeUnixNano\":"
	"\"1790000000000000009\","
	"\"attributes\":[{\"key\":\"s\",\"value\":{\"stringValue\":\"a\\\"b\"}},"
	"{\"key\":\"i\",\"value\":{\"intValue\":\"-9007199254740993\"}},"
	"{\"key\":\"d\",\"value\":{\"doubleValue\":0.1}},"
	"{\"key\":\"nan\",\"value\":{\"doubleValue\":\"NaN\"}},"
	"{\"key\":\"b\",\"value\":{\"boolValue\":false}},"
	"{\"key\":\"y\",\"value\":{\"bytesValue\":\"/wA=\"}},"
	"{\"key\":\"a\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"},"
	"{\"stringValue\":\"two\"},{}]}}},"
	"{\"key\":\"m\",\"value\":{\"kvlistValue\":{\"values\":[{\"key\":\"k\",\"value\":"
	"{\"boolValue\":true}}]}}},"
	"{\"key\":\"e\",\"value\":{}},"
	"{\"key\":\"none\",\"value\":{\"arrayValue\":{\"values\":[]}}}],"
	"\"droppedAttributesCount\":3,"
	"\"events\":[{\"timeUnixNano\":\"1790000000000000002\",\"name\":\"first byte\"}],"
	"\"droppedEventsCount\":4,"
	"\"links\":[{\"traceId\":\"ff000000000000000000000000000000\","
	"\"spanId\":\"0001000000000000\",\"traceState\":\"x=y\",\"droppedAttributesCount\":"
	"2,"
	"\"flags\":769}],\"droppedLinksCount\":5,"
	"\"status\":{\"message\":\"timed out\",\"code\":2},\"flags\":257}]}]}]}";

static char *encode(const struct span *const *spans, size_t cnt)
{
	struct buf out = { 0 };

	assert_int_equal(otlp_encode_json(spans, cnt, &out), 0);
	assert_int_equal(buf_add_char(&out, 0), 0);
	assert_int_equal(strlen(out.p), out.len - 1);
	assert_null(strchr(out.p, '\n'));
	return out.p;
}

static void a_full_span_is_this_text(void **state)
{
	struct value items[] = { { .type = VALUE_INT, .i = 1 },
				 { .type = VALUE_STR, .str = STR("two") },
				 { .type = VALUE_EMPTY } };
	struct attr pair = { STR("k"), { .type = VALUE_BOOL, .b = true } };
	struct attr attrs[] = {
		{ STR("s"), { .type = VALUE_STR, .str = STR("a\"b") } },
		{ STR("i"), { .type = VALUE_INT, .i = -9007199254740993 } },
		{ STR("d"), { .type = VALUE_DOUBLE, .d = 0.1 } },
		{ STR("nan"), { .type = VALUE_DOUBLE, .d = NAN } },
		{ STR("b"), { .type = VALUE_BOOL, .b = false } },
		{ STR("y"), { .type = VALUE_BYTES, .str = STR("\xff\x00") } },
		{ STR("a"), { .type = VALUE_ARRAY, .array = { items, 3 } } },
		{ STR("m"), { .type = VALUE_KVLIST, .kvlist = { &pair, 1 } } },
		{ STR("e"), { .type = VALUE_EMPTY } },
		{ STR("none"), { .type = VALUE_ARRAY } },
	};
	struct span_event event = { .time_ns = 1790000000000000002, .name = STR("first byte") };
	struct span_link link = { .trace_id = { { 0xff } },
				  .span_id = { { 0, 1 } },
				  .trace_state = STR("x=y"),
				  .flags = 0x301,
				  .attrs = { .dropped = 2 } };
	struct span s = { .trace_id = { { 0x5b, 0x8e, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
					  0xab } },
			  .span_id = { { 0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74 } },
			  .parent_id = { { 0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x73 } },
			  .trace_state = STR("a=1"),
			  .flags = 0x101,
			  .kind = SPAN_CLIENT,
			  .name = STR("GET /x"),
			  .start_ns = 1790000000000000001,
			  .end_ns = 1790000000000000009,
			  .attrs = { .item = attrs, .cnt = ARRAY_LEN(attrs), .dropped = 3 },
			  .events = &event,
			  .event_cnt = 1,
			  .dropped_events = 4,
			  .links = &link,
			  .link_cnt = 1,
			  .dropped_links = 5,
			  .status = STATUS_ERROR,
			  .status_message = STR("timed out"),
			  .resource = resource,
			  .scope = &app };
	const struct span *p = &s;
	char *text = encode(&p, 1);

	assert_string_equal(text, full_span_text);
	free(text);
}

static void what_is_unset_and_not_needed_is_left_out(void **state)
{
	struct scope none = { 0 };
	struct span s = { .resource = resource, .scope = &none };
	const struct span *p = &s;
	char *text = encode(&p, 1);

	assert_non_null(strstr(text, "\"scopeSpans\":[{\"scope\":{},\"spans\":[{\"name\":\"\","
				     "\"startTimeUnixNano\":\"0\",\"endTimeUnixNano\":\"0\"}]}]"));
	free(text);
	text = encode(NULL, 0);
	assert_string_equal(text, "{\"resourceSpans\":[]}");
	free(text);
}

static void check_attrs(json_t *got, const struct attr *item, size_t cnt);

static void check_value(json_t *got, const struct value *v)
{
	const char *text;
	json_t *list;

	assert_int_equal(json_object_size(got), v->type == VALUE_EMPTY ? 0 : 1);
	switch (v->type) {
	case VALUE_STR:
		text = json_string_value(json_object_get(got, "stringValue"));
		assert_true(str_eq(str_of(text), v->str));
		break;
	case VALUE_BOOL:
		assert_int_equal(json_is_true(json_object_get(got, "boolValue")), v->b);
		break;
	case VALUE_INT:
		text = json_string_value(json_object_get(got, "intValue"));
		assert_true(strtoll(text, NULL, 10) == v->i);
		break;
	case VALUE_DOUBLE:
		assert_true(json_number_value(json_object_get(got, "doubleValue")) == v->d);
		break;
	case VALUE_BYTES:
		text = json_string_value(json_object_get(got, "bytesValue"));
		assert_int_equal(strlen(text), (v->str.len + 2) / 3 * 4);
		break;
	case VALUE_ARRAY:
		list = json_object_get(json_object_get(got, "arrayValue"), "values");
		assert_int_equal(json_array_size(list), v->array.cnt);
		for (size_t i = 0; i < v->array.cnt; i++)
			check_value(json_array_get(list, i), &v->array.item[i]);
		break;
	case VALUE_KVLIST:
		list = json_object_get(json_object_get(got, "kvlistValue"), "values");
		check_attrs(list, v->kvlist.item, v->kvlist.cnt);
		break;
	case VALUE_EMPTY: break;
	}
}

static void check_attrs(json_t *got, const struct attr *item, size_t cnt)
{
	assert_int_equal(json_array_size(got), cnt);
	for (size_t i = 0; i < cnt; i++) {
		json_t *pair = json_array_get(got, i);
		const char *key = json_string_value(json_object_get(pair, "key"));

		assert_true(str_eq(str_of(key), item[i].key));
		check_value(json_object_get(pair, "value"), &item[i].value);
	}
}

static void check_span(json_t *got, const struct span *s)
{
	char hex[33];
	const char *id = json_string_value(json_object_get(got, "traceId"));
	const char *end = json_string_value(json_object_get(got, "endTimeUnixNano"));

	trace_id_hex(&s->trace_id, hex);
	assert_true(trace_id_is_set(&s->trace_id) ? !strcmp(id, hex) : !id);
	assert_true(end && strtoull(end, NULL, 10) == s->end_ns);
	assert_int_equal(json_integer_value(json_object_get(got, "kind")), s->kind);
	check_attrs(json_object_get(got, "attributes"), s->attrs.item, s->attrs.cnt);
	assert_int_equal(json_array_size(json_object_get(got, "events")), s->event_cnt);
	for (uint32_t i = 0; i < s->event_cnt; i++)
		check_attrs(json_object_get(json_array_get(json_object_get(got, "events"), i),
					    "attributes"),
			    s->events[i].attrs.item, s->events[i].attrs.cnt);
	assert_int_equal(json_array_size(json_object_get(got, "links")), s->link_cnt);
}

static void generated_spans_read_back_as_they_were(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct gen g = { seed * 0x9e3779b97f4a7c15ull, arena_new(0) };
		const struct span *s = gen_span(&g, resource, &app);
		char *text = encode(&s, 1);
		json_error_t why;
		json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &why);

		assert_non_null(root);
		json_t *rs = json_array_get(json_object_get(root, "resourceSpans"), 0);
		json_t *ss = json_array_get(json_object_get(rs, "scopeSpans"), 0);
		check_span(json_array_get(json_object_get(ss, "spans"), 0), s);
		json_decref(root);
		free(text);
		arena_free(g.mem);
	}
}

static void equal_spans_give_equal_bytes(void **state)
{
	struct gen a = { 77, arena_new(0) }, b = { 77, arena_new(0) };
	const struct span *x = gen_span(&a, resource, &app), *y = gen_span(&b, resource, &app);
	char *one = encode(&x, 1), *two = encode(&y, 1);

	assert_string_equal(one, two);
	free(one);
	free(two);
	arena_free(a.mem);
	arena_free(b.mem);
}

static void past_the_cap_nothing_is_added(void **state)
{
	struct span s = { .name = STR("name"), .resource = resource, .scope = &app };
	const struct span *p = &s;
	struct buf out = { .cap = 40 };

	buf_add(&out, "before", 6);
	assert_int_equal(otlp_encode_json(&p, 1, &out), -ENOBUFS);
	assert_int_equal(out.len, 6);
	buf_fini(&out);
}

static int setup(void **state)
{
	resource = resource_new();
	attrs_add_str(&resource->attrs, resource->arena, "service.name", STR("shop"));
	resource_seal(resource);
	return 0;
}

static int teardown(void **state)
{
	resource_put(resource);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_span_is_this_text),
		cmocka_unit_test(what_is_unset_and_not_needed_is_left_out),
		cmocka_unit_test(generated_spans_read_back_as_they_were),
		cmocka_unit_test(equal_spans_give_equal_bytes),
		cmocka_unit_test(past_the_cap_nothing_is_added),
	};
	return cmocka_run_group_tests_name("export/json", tests, setup, teardown);
}

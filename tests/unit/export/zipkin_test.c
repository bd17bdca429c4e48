/* SPDX-License-Identifier: Apache-2.0 */
/* Spans as Zipkin v2 JSON: each field where that API has it, and what is posted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>

#include "endpoint.h"
#include "rig.h"

#define STAGE "export_zipkin"

static json_t *encode(const struct span *s)
{
	struct item item = { .resource = s->resource, .scope = s->scope };
	struct packer scratch = { 0 };
	struct buf one = { 0 }, body = { 0 };
	json_t *list, *span;

	assert_int_equal(format_zipkin.add_span(&scratch, s, &one), 0);
	item.len = one.len;
	assert_int_equal(format_zipkin.add_body(&scratch, &item, 1, one.p, &body), 0);
	list = json_loadb(body.p, body.len, JSON_REJECT_DUPLICATES, NULL);
	assert_int_equal(json_array_size(list), 1);
	span = json_incref(json_array_get(list, 0));
	json_decref(list);
	buf_fini(&one);
	buf_fini(&body);
	pack_fini(&scratch);
	return span;
}

static const char *text(json_t *o, const char *part, const char *key)
{
	const char *s =
		json_string_value(json_object_get(part ? json_object_get(o, part) : o, key));

	return s ? s : "(none)";
}

static json_int_t number(json_t *o, const char *part, const char *key)
{
	return json_integer_value(json_object_get(part ? json_object_get(o, part) : o, key));
}

static void check_annotations(json_t *list)
{
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text(json_array_get(list, 0), NULL, "value"), "bare");
	assert_string_equal(text(json_array_get(list, 1), NULL, "value"), "{\"full\":{\"n\":7}}");
	assert_int_equal(number(json_array_get(list, 1), NULL, "timestamp"), 1700000000000003);
}

static void a_span_is_mapped_as_opentelemetry_says(void **state)
{
	struct arena *mem = arena_new(0);
	struct scope scope = { .name = STR("lib"), .version = STR("1") };
	struct value list[2] = { { .type = VALUE_STR, .str = STR("a") },
				 { .type = VALUE_INT, .i = 2 } };
	struct value array = { .type = VALUE_ARRAY, .array = { list, 2 } };
	struct span_event event[2] = { { .time_ns = 1700000000000002000, .name = STR("bare") },
				       { .time_ns = 1700000000000003999, .name = STR("full") } };
	struct span s = { .trace_id = { { 1, 2 } },
			  .span_id = { { 3 } },
			  .parent_id = { { 4 } },
			  .kind = SPAN_CLIENT,
			  .name = STR("GET \"x\""),
			  .start_ns = 1700000000000001000,
			  .end_ns = 1700000000000001999,
			  .status = STATUS_ERROR,
			  .status_message = STR("broken"),
			  .events = event,
			  .event_cnt = 2,
			  .resource = rig_resource[0],
			  .scope = &scope };
	json_t *j;

	attrs_add_str(&s.attrs, mem, "server.address", STR("db"));
	attrs_add_str(&s.attrs, mem, "network.peer.address", STR("10.0.0.7"));
	attrs_add_int(&s.attrs, mem, "network.peer.port", 5432);
	attrs_add_bool(&s.attrs, mem, "flag", true);
	attrs_add_double(&s.attrs, mem, "ratio", 0.5);
	attrs_add(&s.attrs, mem, STR("list"), array);
	attrs_add_int(&event[1].attrs, mem, "n", 7);
	s.attrs.dropped = 3;
	j = encode(&s);
	assert_string_equal(text(j, NULL, "traceId"), "01020000000000000000000000000000");
	assert_string_equal(text(j, NULL, "id"), "0300000000000000");
	assert_string_equal(text(j, NULL, "parentId"), "0400000000000000");
	assert_string_equal(text(j, NULL, "name"), "GET \"x\"");
	assert_string_equal(text(j, NULL, "kind"), "CLIENT");
	assert_int_equal(number(j, NULL, "timestamp"), 1700000000000001);
	assert_int_equal(number(j, NULL, "duration"), 1);
	assert_memory_equal(text(j, "localEndpoint", "serviceName"), rig_resource[0]->service.p,
			    rig_resource[0]->service.len);
	assert_string_equal(text(j, "remoteEndpoint", "serviceName"), "db");
	assert_string_equal(text(j, "remoteEndpoint", "ipv4"), "10.0.0.7");
	assert_int_equal(number(j, "remoteEndpoint", "port"), 5432);
	assert_string_equal(text(j, "tags", "flag"), "true");
	assert_string_equal(text(j, "tags", "ratio"), "0.5");
	assert_string_equal(text(j, "tags", "list"), "[\"a\",2]");
	assert_string_equal(text(j, "tags", "otel.scope.name"), "lib");
	assert_string_equal(text(j, "tags", "otel.status_code"), "ERROR");
	assert_string_equal(text(j, "tags", "error"), "broken");
	assert_string_equal(text(j, "tags", "otel.dropped_attributes_count"), "3");
	assert_string_equal(text(j, "tags", "service.name"), "(none)");
	check_annotations(json_object_get(j, "annotations"));
	json_decref(j);
	arena_free(mem);
}

static void any_span_is_valid_json(void **state)
{
	struct gen g = { 77, arena_new(0) };

	for (int i = 0; i < 300; i++) {
		struct span *s = gen_span(&g, rig_resource[i % 3], &scope_capture);
		struct packer scratch = { 0 };
		struct buf one = { 0 };
		json_t *j;

		s->end_ns = s->start_ns + 5;
		assert_int_equal(format_zipkin.add_span(&scratch, s, &one), 0);
		j = json_loadb(one.p, one.len, 0, NULL);
		assert_non_null(j);
		json_decref(j);
		buf_fini(&one);
	}
	arena_free(g.mem);
}

static void lists_are_posted_and_202_is_success(void **state)
{
	static const struct str script[] = {
		STR("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"),
		STR("HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\nContent-Length: "
		    "9\r\n\r\nExpected\n"),
		{},
	};
	struct endpoint end;
	struct exporter *e;
	struct books b;
	char url[64];
	json_t *j;

	assert_int_equal(endpoint_bind(&end), 0);
	assert_int_equal(endpoint_start(&end, script), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/api/v2/spans", end.port);
	e = rig_start((struct exporter_cfg){ .kind = "zipkin", .batch_spans = 10 }, url);
	rig_push(e, 20);
	b = rig_settle(STAGE);
	assert_int_equal(b.out, 10);
	assert_int_equal(rig_lost(&b, "refused"), 10);
	assert_non_null(strstr(end.request[0].head, "POST /api/v2/spans HTTP/1.1\r\n"));
	assert_non_null(strstr(end.request[0].head, "Content-Type: application/json\r\n"));
	j = json_loadb(end.request[0].body.p, end.request[0].body.len, 0, NULL);
	assert_int_equal(json_array_size(j), 10);
	json_decref(j);
	exporter_free(e, 0);
	endpoint_stop(&end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_span_is_mapped_as_opentelemetry_says),
		cmocka_unit_test(any_span_is_valid_json),
		cmocka_unit_test(lists_are_posted_and_202_is_success),
	};
	return cmocka_run_group_tests_name("export/zipkin", tests, rig_setup, rig_teardown);
}

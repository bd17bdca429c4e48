/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/store/block_spans.h"

static bool may(const struct cond *c)
{
	return block_may_match(&index_, buf_str(&index_.filter), c);
}

/* A shop of two services that do not call the same. */
static void seal_shop(void)
{
	struct block_builder *b = block_builder_new();

	g = (struct gen){ .state = 7, .mem = arena_new(0) };
	for (uint32_t i = 0; i < RESOURCES; i++)
		resource[i] = gen_resource(&g, i);
	for (uint32_t i = 0; i < 100; i++) {
		struct span *s = gen_http_span(&g, resource[i % 2]);

		s->name = i % 2 ? STR("GET /b") : STR("GET /a");
		s->start_ns = 1000 + i;
		s->end_ns = s->start_ns + 50;
		assert_int_equal(block_add(b, s), 0);
	}
	assert_int_equal(block_seal(b, 1, &body, &index_), 0);
	block_builder_free(b);
}

static void the_index_rules_out_what_is_not_there(void **state)
{
	const struct cond *a, *name_b;

	seal_shop();
	a = equal(FIELD_SERVICE, "", text("service-0"));
	name_b = equal(FIELD_NAME, "", text("GET /b"));
	assert_true(may(a));
	assert_true(may(name_b));
	assert_false(may(equal(FIELD_SERVICE, "", text("service-2"))));
	assert_false(may(cond_and(g.mem, a, name_b)));
	assert_true(may(cond_or(g.mem, a, name_b)));
	assert_false(may(equal(FIELD_ATTR, "no.such.key", text("x"))));
	assert_true(may(equal(FIELD_ATTR, "user_agent.original", text("curl/7.88.1"))));
	assert_true(may(equal(FIELD_ATTR, "server.port", number(8080))));
	assert_false(may(equal(FIELD_ATTR, "server.port", number(8081))));
	assert_false(may(equal(FIELD_RESOURCE_ATTR, "host.name", text("elsewhere"))));
	assert_true(may(equal(FIELD_ATTR, "host.name", text("wheelhouse"))));
	assert_false(may(equal(FIELD_STATUS, "", number(STATUS_ERROR))));
	assert_false(may(equal(FIELD_DURATION, "", number(51))));
	assert_true(may(equal(FIELD_DURATION, "", number(50))));
	assert_false(
		may(cond_cmp(g.mem, (struct field){ .kind = FIELD_START }, CMP_LT, number(1000))));
	assert_true(may(cond_not(g.mem, equal(FIELD_ATTR, "no.such.key", text("x")))));
	assert_int_equal(index_.start_min_ns, 1000);
	assert_int_equal(index_.start_max_ns, 1099);
	assert_int_equal(index_.duration_max_ns, 50);
	drop_spans();
}

static void the_index_finds_few_false_traces(void **state)
{
	uint32_t found = 0;

	seal_shop();
	for (int i = 0; i < 10000; i++) {
		struct trace_id id;

		gen_next(&g);
		memcpy(id.b, &g.state, 8);
		gen_next(&g);
		memcpy(id.b + 8, &g.state, 8);
		found += block_may_have_trace(buf_str(&index_.filter), &id);
	}
	assert_in_range(found, 0, 20);
	drop_spans();
}

static void the_index_finds_few_false_values(void **state)
{
	uint32_t found = 0;

	seal_shop();
	for (int i = 0; i < 1000; i++)
		found += may(equal(FIELD_ATTR, "user_agent.original",
				   (struct value){ .type = VALUE_STR,
						   .str = arena_printf(g.mem, "nobody/%d", i) }));
	assert_in_range(found, 0, 30);
	drop_spans();
}

struct names {
	uint32_t operations, tags;
	bool found;
};

static void count_operation(void *ctx, struct str service, struct str name, enum span_kind kind)
{
	struct names *n = ctx;

	n->operations++;
	n->found |= str_eq(service, STR("service-1")) && str_eq(name, STR("GET /b")) &&
		    kind == SPAN_SERVER;
}

static void count_tag(void *ctx, enum field_kind kind, struct str key)
{
	struct names *n = ctx;

	n->tags += kind == FIELD_SPAN_ATTR;
	n->found |= kind == FIELD_RESOURCE_ATTR && str_eq(key, STR("host.name"));
}

static void the_index_lists_names(void **state)
{
	struct names n = { 0 };

	seal_shop();
	block_operations(buf_str(&index_.filter), count_operation, &n);
	assert_int_equal(n.operations, 2);
	assert_true(n.found);
	n.found = false;
	block_tags(buf_str(&index_.filter), count_tag, &n);
	assert_int_equal(n.tags, 14);
	assert_true(n.found);
	drop_spans();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_index_rules_out_what_is_not_there),
		cmocka_unit_test(the_index_finds_few_false_traces),
		cmocka_unit_test(the_index_finds_few_false_values),
		cmocka_unit_test(the_index_lists_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

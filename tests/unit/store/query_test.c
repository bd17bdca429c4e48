/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/query.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

static struct arena *mem;
static struct patterns patterns;
static struct span span;
static struct scope scope;
static struct span_event events[2];
static struct span_link links[2];
static const struct cond yes = { .op = COND_TRUE }, no = { .op = COND_FALSE };

static int begin(void **state)
{
	struct resource *r = resource_new();

	mem = arena_new(0);
	attrs_add_str(&r->attrs, r->arena, "service.name", STR("shop"));
	attrs_add_str(&r->attrs, r->arena, "both", STR("resource"));
	attrs_add_str(&r->attrs, r->arena, "host.name", STR("h1"));
	resource_seal(r);
	memset(&scope, 0, sizeof(scope));
	memset(events, 0, sizeof(events));
	memset(links, 0, sizeof(links));
	scope.name = STR("lib");
	scope.version = STR("1.2");
	attrs_add_int(&scope.attrs, mem, "in.scope", 1);
	events[0].name = STR("first");
	events[1].name = STR("exception");
	attrs_add_str(&events[1].attrs, mem, "exception.type", STR("Boom"));
	attrs_add_int(&links[1].attrs, mem, "w", 5);
	span = (struct span){ .trace_id = { { 1 } },
			      .span_id = { { 2 } },
			      .kind = SPAN_SERVER,
			      .name = STR("GET /"),
			      .start_ns = 1000,
			      .end_ns = 251000,
			      .events = events,
			      .event_cnt = 2,
			      .links = links,
			      .link_cnt = 2,
			      .status = STATUS_ERROR,
			      .status_message = STR("bad"),
			      .resource = r,
			      .scope = &scope };
	attrs_add_str(&span.attrs, mem, "both", STR("span"));
	attrs_add_str(&span.attrs, mem, "method", STR("GET"));
	attrs_add_int(&span.attrs, mem, "code", 500);
	attrs_add_double(&span.attrs, mem, "ratio", 0.5);
	attrs_add_bool(&span.attrs, mem, "cached", false);
	return 0;
}

static int end(void **state)
{
	patterns_free(&patterns);
	resource_put(span.resource);
	arena_free(mem);
	return 0;
}

static struct field attr(const char *key)
{
	return (struct field){ FIELD_ATTR, str_of(key) };
}

static struct value text(const char *s)
{
	return (struct value){ .type = VALUE_STR, .str = str_of(s) };
}

static struct value number(int64_t i)
{
	return (struct value){ .type = VALUE_INT, .i = i };
}

static struct value real(double d)
{
	return (struct value){ .type = VALUE_DOUBLE, .d = d };
}

static bool is(struct field f, enum cmp cmp, struct value v)
{
	const struct cond *c = cond_cmp(mem, f, cmp, v);

	assert_non_null(c);
	return cond_match(c, &span);
}

static bool matches(struct field f, bool negate, const char *pattern)
{
	const struct cond *c;
	char why[128];

	assert_int_equal(cond_regex(mem, &patterns, f, negate, str_of(pattern), &c, why), 0);
	return cond_match(c, &span);
}

static void numbers_compare_as_numbers(void **state)
{
	assert_true(is(attr("code"), CMP_EQ, number(500)));
	assert_true(is(attr("code"), CMP_EQ, real(500)));
	assert_true(is(attr("code"), CMP_LT, real(500.5)));
	assert_false(is(attr("code"), CMP_GT, number(500)));
	assert_true(is(attr("code"), CMP_GE, number(500)));
	assert_true(is(attr("ratio"), CMP_LT, number(1)));
	assert_true(is(attr("ratio"), CMP_NE, number(1)));
	assert_false(is(attr("ratio"), CMP_EQ, real(0.0 / 0.0)));
	assert_true(is(attr("code"), CMP_LT, number(INT64_MAX)));
	assert_true(is(attr("code"), CMP_GT, number(INT64_MIN)));
}

static void unlike_types_compare_false(void **state)
{
	assert_false(is(attr("code"), CMP_EQ, text("500")));
	assert_false(is(attr("code"), CMP_NE, text("500")));
	assert_false(is(attr("method"), CMP_GT, number(0)));
	assert_false(is(attr("cached"), CMP_LT, (struct value){ .type = VALUE_BOOL, .b = true }));
	assert_true(is(attr("cached"), CMP_EQ, (struct value){ .type = VALUE_BOOL }));
}

static void an_absent_field_only_fails_to_exist(void **state)
{
	assert_false(is(attr("absent"), CMP_NE, text("x")));
	assert_false(is(attr("absent"), CMP_EXISTS, number(0)));
	assert_true(is(attr("code"), CMP_EXISTS, number(0)));
	assert_false(matches(attr("absent"), true, "x"));
	assert_false(is((struct field){ .kind = FIELD_PARENT_ID }, CMP_EXISTS, number(0)));
}

static void strings_are_ordered(void **state)
{
	assert_true(is(attr("method"), CMP_GT, text("GE")));
	assert_true(is(attr("method"), CMP_LT, text("GETX")));
	assert_true(is(attr("method"), CMP_LE, text("GET")));
	assert_true(is(attr("method"), CMP_NE, text("")));
}

static void each_field_is_found(void **state)
{
	struct value id = { .type = VALUE_BYTES, .str = { (char *)span.trace_id.b, 16 } };

	assert_true(is(attr("both"), CMP_EQ, text("span")));
	assert_true(is(attr("host.name"), CMP_EQ, text("h1")));
	assert_false(
		is((struct field){ FIELD_SPAN_ATTR, STR("host.name") }, CMP_EXISTS, number(0)));
	assert_true(
		is((struct field){ FIELD_RESOURCE_ATTR, STR("both") }, CMP_EQ, text("resource")));
	assert_true(is((struct field){ FIELD_SCOPE_ATTR, STR("in.scope") }, CMP_EQ, number(1)));
	assert_true(is((struct field){ .kind = FIELD_NAME }, CMP_EQ, text("GET /")));
	assert_true(is((struct field){ .kind = FIELD_SERVICE }, CMP_EQ, text("shop")));
	assert_true(is((struct field){ .kind = FIELD_KIND }, CMP_EQ, number(SPAN_SERVER)));
	assert_true(is((struct field){ .kind = FIELD_STATUS }, CMP_EQ, number(STATUS_ERROR)));
	assert_true(is((struct field){ .kind = FIELD_STATUS_MESSAGE }, CMP_EQ, text("bad")));
	assert_true(is((struct field){ .kind = FIELD_DURATION }, CMP_EQ, number(250000)));
	assert_true(is((struct field){ .kind = FIELD_START }, CMP_EQ, number(1000)));
	assert_true(is((struct field){ .kind = FIELD_TRACE_ID }, CMP_EQ, id));
	assert_true(is((struct field){ .kind = FIELD_SPAN_ID }, CMP_EXISTS, number(0)));
	assert_true(is((struct field){ .kind = FIELD_SCOPE_NAME }, CMP_EQ, text("lib")));
	assert_true(is((struct field){ .kind = FIELD_SCOPE_VERSION }, CMP_EQ, text("1.2")));
}

static void any_event_or_link_will_do(void **state)
{
	struct field type = { FIELD_EVENT_ATTR, STR("exception.type") };
	struct field weight = { FIELD_LINK_ATTR, STR("w") };
	struct value v = field_value(&type, &span);

	assert_true(is((struct field){ .kind = FIELD_EVENT_NAME }, CMP_EQ, text("exception")));
	assert_true(is((struct field){ .kind = FIELD_EVENT_NAME }, CMP_NE, text("exception")));
	assert_true(is(type, CMP_EQ, text("Boom")));
	assert_int_equal(v.type, VALUE_STR);
	assert_true(is(weight, CMP_GT, number(4)));
	span.event_cnt = span.link_cnt = 0;
	assert_false(is(type, CMP_EXISTS, number(0)));
	assert_false(is(weight, CMP_EXISTS, number(0)));
	assert_int_equal(field_value(&type, &span).type, VALUE_EMPTY);
}

static void an_element_of_an_array_will_do(void **state)
{
	struct value item[2] = { text("a"), text("b") };
	struct value list = { .type = VALUE_ARRAY, .array = { item, 2 } };

	attrs_add(&span.attrs, mem, STR("list"), list);
	assert_true(is(attr("list"), CMP_EQ, text("b")));
	assert_false(is(attr("list"), CMP_EQ, text("c")));
	assert_false(is(attr("list"), CMP_NE, text("b")));
	assert_true(is(attr("list"), CMP_NE, text("c")));
	assert_true(matches(attr("list"), false, "[bc]"));
	assert_false(matches(attr("list"), true, "[bc]"));
	assert_true(is(attr("list"), CMP_EXISTS, number(0)));
}

static void patterns_match_whole_strings(void **state)
{
	assert_true(matches(attr("method"), false, "G.T"));
	assert_false(matches(attr("method"), false, "G"));
	assert_true(matches(attr("method"), false, "G|GET"));
	assert_true(matches(attr("method"), true, "G"));
	assert_false(matches(attr("code"), false, ".*"));
	assert_false(matches(attr("code"), true, "x"));
	attrs_add_str(&span.attrs, mem, "utf", STR("gr\xc3\xbc\xc3\x9f"));
	attrs_add_str(&span.attrs, mem, "bad",
		      STR("a\xff"
			  "b"));
	assert_true(matches(attr("utf"), false, "gr.."));
	assert_false(matches(attr("bad"), false, "x.*"));
	assert_true(matches((struct field){ .kind = FIELD_STATUS_MESSAGE }, false, "(?i)BAD"));
}

static void bad_patterns_are_told(void **state)
{
	const struct cond *c = NULL;
	char why[128] = "", longest[PATTERN_MAX + 1];

	memset(longest, 'a', sizeof(longest));
	assert_int_equal(cond_regex(mem, &patterns, attr("x"), false, STR("a("), &c, why), -EINVAL);
	assert_non_null(strstr(why, "at byte 2"));
	assert_int_equal(cond_regex(mem, &patterns, attr("x"), false,
				    (struct str){ longest, sizeof(longest) }, &c, why),
			 -EINVAL);
	assert_non_null(strstr(why, "longer than 1024"));
	assert_int_equal(
		cond_regex(mem, &patterns, attr("x"), false, STR("((a{1000}){1000}){9}"), &c, why),
		-EINVAL);
	assert_null(c);
}

static void a_backtracking_bomb_does_not_match(void **state)
{
	char *as = malloc(60000);

	memset(as, 'a', 60000);
	attrs_add_str(&span.attrs, mem, "as", (struct str){ as, 60000 });
	assert_false(matches(attr("as"), false, "(a+)+b"));
	assert_false(matches(attr("as"), false, "(a|aa)+$b|(.*)*c"));
	assert_true(matches(attr("as"), false, ".*a"));
	free(as);
}

static void trees_fold_and_stay_shallow(void **state)
{
	const struct cond *c = cond_cmp(mem, attr("code"), CMP_EQ, number(500)), *deep = c;

	assert_ptr_equal(cond_and(mem, c, &yes), c);
	assert_ptr_equal(cond_and(mem, &yes, c), c);
	assert_int_equal(cond_and(mem, c, &no)->op, COND_FALSE);
	assert_ptr_equal(cond_or(mem, &no, c), c);
	assert_int_equal(cond_or(mem, c, &yes)->op, COND_TRUE);
	assert_int_equal(cond_not(mem, &yes)->op, COND_FALSE);
	assert_ptr_equal(cond_not(mem, cond_not(mem, c)), c);
	assert_null(cond_and(mem, NULL, c));
	assert_true(cond_match(NULL, &span));
	assert_false(cond_match(cond_not(mem, c), &span));
	assert_true(cond_match(cond_or(mem, cond_not(mem, c), c), &span));
	for (int i = 1; i < COND_DEPTH_MAX; i++)
		deep = cond_and(mem, deep, c);
	assert_non_null(deep);
	assert_true(cond_match(deep, &span));
	assert_null(cond_and(mem, deep, c));
	assert_null(cond_not(mem, deep));
}

static void *match_often(void *cond)
{
	struct span mine = span;
	bool all = true;

	for (int i = 0; i < 2000; i++)
		all = all && cond_match(cond, &mine);
	return all ? cond : NULL;
}

static void threads_share_a_pattern(void **state)
{
	const struct cond *c;
	pthread_t thread[4];
	char why[128];

	assert_int_equal(cond_regex(mem, &patterns, attr("method"), false, STR("(G|P).*"), &c, why),
			 0);
	for (size_t i = 0; i < ARRAY_LEN(thread); i++)
		assert_int_equal(pthread_create(&thread[i], NULL, match_often, (void *)c), 0);
	for (size_t i = 0; i < ARRAY_LEN(thread); i++) {
		void *all;

		pthread_join(thread[i], &all);
		assert_non_null(all);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(numbers_compare_as_numbers),
		TEST(unlike_types_compare_false),
		TEST(an_absent_field_only_fails_to_exist),
		TEST(strings_are_ordered),
		TEST(each_field_is_found),
		TEST(any_event_or_link_will_do),
		TEST(an_element_of_an_array_will_do),
		TEST(patterns_match_whole_strings),
		TEST(bad_patterns_are_told),
		TEST(a_backtracking_bomb_does_not_match),
		TEST(trees_fold_and_stay_shallow),
		TEST(threads_share_a_pattern),
	};

	return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}

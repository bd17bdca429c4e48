/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "api/search.h"
#include "unit/api/memory_store.h"

#include <math.h>
#include <stdio.h>

/* What is said of a query that is refused. */
static struct traceql_error refused(const char *text, enum traceql_fault fault)
{
	struct traceql_error why;
	struct traceql *q = NULL;
	int err = traceql_parse(str_of(text), &q, &why);

	if (err != (fault == TRACEQL_UNSUPPORTED ? -EOPNOTSUPP : -EINVAL))
		fail_msg("%s: %d", text, err);
	if (why.fault != fault)
		fail_msg("%s: %s", text, why.text);
	assert_null(q);
	return why;
}

static struct traceql *parsed(const char *text)
{
	struct traceql_error why;
	struct traceql *q = NULL;

	if (traceql_parse(str_of(text), &q, &why))
		fail_msg("%s: %s", text, why.text);
	return q;
}

/* ---- what is found: ids of matched spans of trace 1, in order, groups parted by a bar ----------
 */

static char found[256];

static bool take_found(void *ctx, const struct search_trace *t)
{
	size_t len = 0;

	for (uint32_t i = 0; i < t->set_cnt; i++) {
		if (i)
			found[len++] = '|';
		for (uint32_t k = 0; k < t->sets[i].span_cnt; k++)
			found[len++] = (char)('0' + t->sets[i].spans[k]->span_id.b[7]);
	}
	found[len] = 0;
	return true;
}

static void expect(const char *text, const char *ids)
{
	struct traceql *q = parsed(text);
	struct search s = { .query = q, .spans_per_set = 100 };
	struct search_end end;

	found[0] = 0;
	assert_int_equal(search_run(&memory, &s, take_found, NULL, &end), 0);
	if (strcmp(found, ids) != 0)
		fail_msg("%s finds \"%s\", not \"%s\"", text, found, ids);
	traceql_free(q);
}

/*
 * 1 shop GET /cart, 1 s, server
 *   2 shop redis GET, client        3 shop -> cart, client, error
 *                                     4 cart /items, server, error, with an exception
 *                                       5 cart sql, client    6 cart sql, client
 */
static int begin(void **state)
{
	struct span *s;

	memory_begin();
	s = put(1, 1, 0, "shop", "GET /cart", 1000, 1000);
	attrs_add_str(&s->attrs, memory.mem, "http.method", STR("GET"));
	attrs_add_int(&s->attrs, memory.mem, "code", 500);
	s = put(1, 2, 1, "shop", "redis GET", 1010, 10);
	s->kind = SPAN_CLIENT;
	attrs_add_bool(&s->attrs, memory.mem, "cached", true);
	s = put(1, 3, 1, "shop", "call", 1030, 900);
	s->kind = SPAN_CLIENT;
	s->status = STATUS_ERROR;
	s->status_message = STR("bad");
	attrs_add_int(&s->attrs, memory.mem, "code", 502);
	s = put(1, 4, 3, "cart", "/items", 1050, 800);
	s->status = STATUS_ERROR;
	s->events = arena_alloc(memory.mem, sizeof(*s->events));
	s->event_cnt = 1;
	s->events[0] = (struct span_event){ .time_ns = 1150 * NS_PER_MS, .name = STR("exception") };
	attrs_add_str(&s->events[0].attrs, memory.mem, "type", STR("Boom"));
	s->links = arena_alloc(memory.mem, sizeof(*s->links));
	s->link_cnt = 1;
	s->links[0].span_id.b[7] = 0x77;
	for (uint8_t i = 5; i <= 6; i++) {
		s = put(1, i, 4, "cart", "sql", 1060 + 100 * i, 100 + i);
		s->kind = SPAN_CLIENT;
		attrs_add_int(&s->attrs, memory.mem, "rows", i * 10);
		attrs_add_str(&s->attrs, memory.mem, "db.query", i == 5 ? STR("a") : STR("b"));
	}
	return 0;
}

static int end(void **state)
{
	memory_end();
	return 0;
}

static void filters_select_spans(void **state)
{
	expect("{}", "123456");
	expect("{ true }", "123456");
	expect("{ false }", "");
	expect("{ name = \"sql\" }", "56");
	expect("{ .code = 500 }", "1");
	expect("{ span.code > 500 }", "3");
	expect("{ 500 < .code }", "3");
	expect("{ .code != 500 }", "3");
	expect("{ !(.code = 500) }", "23456");
	expect("{ .code = nil }", "2456");
	expect("{ .code != nil && kind = client }", "3");
	expect("{ .cached }", "2");
	expect("{ resource.service.name = \"cart\" && kind = client }", "56");
	expect("{ .service.name = `cart` }", "456");
	expect("{ status = error }", "34");
	expect("{ status != error }", "1256");
	expect("{ statusMessage = \"bad\" }", "3");
	expect("{ name =~ \"GET.*\" }", "1");
	expect("{ name !~ \"GET.*|sql\" }", "234");
	expect("{ duration >= 800ms && duration < 1s }", "34");
	expect("{ duration > 0.4s * 2 }", "13");
	expect("{ event:name = \"exception\" }", "4");
	expect("{ event.type = \"Boom\" }", "4");
	expect("{ event:timeSinceStart = 100ms }", "4");
	expect("{ link:spanID = \"0000000000000077\" }", "4");
	expect("{ span:id = \"3\" }", "3");
	expect("{ span:id != \"3\" }", "12456");
	expect("{ span:parentID = \"0000000000000004\" }", "56");
	expect("{ trace:id = \"1\" && name = \"call\" }", "3");
	expect("{ trace:id = \"not hex\" }", "");
	expect("{ .code = error }", "");
}

static void expressions_calculate(void **state)
{
	expect("{ .rows + 1 = 51 }", "5");
	expect("{ .rows / 2 > 25 }", "6");
	expect("{ .rows * 2 - 10 = 90 }", "5");
	expect("{ -.rows < -55 }", "6");
	expect("{ .rows % 50 = 10 }", "6");
	expect("{ 2 ^ 3 ^ 2 = 512 }", "123456");
	expect("{ -2 ^ 2 = -4 }", "123456");
	expect("{ 1 + 2 * 3 = 7 && name = \"call\" }", "3");
	expect("{ .rows + .absent > 0 }", "");
	expect("{ .a = 1 || name = \"call\" && kind = server }", ""); /* && and || bind alike */
	expect("{ duration > .rows }", "56");
}

static void places_in_the_trace_are_known(void **state)
{
	expect("{ parent.name = \"x\" }", "");
	expect("{ parent.code = 500 }", "23");
	expect("{ parent.resource.service.name = \"shop\" && resource.service.name = \"cart\" }",
	       "4");
	expect("{ parent = nil }", "1");
	expect("{ parent != nil && kind = server }", "4");
	expect("{ childCount = 2 }", "14");
	expect("{ rootName = \"GET /cart\" && kind = server }", "14");
	expect("{ rootServiceName = \"cart\" }", "");
	expect("{ traceDuration = 1s && .cached }", "2");
	expect("{ traceDuration > 1s }", "");
	expect("{ nestedSetParent < 0 }", "1");
	expect("{ nestedSetParent = -1 }", "1");
	expect("{ nestedSetParent >= 0 && kind = server }", "4");
	expect("{ nestedSetParent = 1 }", "23");
	expect("{ nestedSetLeft = 1 && nestedSetRight = 12 }", "1");
}

static void spansets_stand_to_each_other(void **state)
{
	expect("{ kind = server } && { .cached }", "124");
	expect("{ kind = server } && { name = \"none\" }", "");
	expect("{ .cached } || { name = \"none\" }", "2");
	expect("{ kind = server } > { kind = client }", "2356");
	expect("{ name = \"GET /cart\" } > { name = \"sql\" }", "");
	expect("{ name = \"GET /cart\" } >> { name = \"sql\" }", "56");
	expect("{ name = \"sql\" } < { kind = server }", "4");
	expect("{ name = \"sql\" } << { kind = server }", "14");
	expect("{ .cached } ~ { kind = client }", "3");
	expect("{ name = \"sql\" } ~ { name = \"sql\" }", "56");
	expect("{ .cached } ~ { .cached }", "");
	expect("{ name = \"/items\" } !> { kind = client }", "23");
	expect("{ name = \"call\" } !>> { kind = client }", "23");
	expect("{ name = \"sql\" } !< { kind = server }", "1");
	expect("{ name = \"sql\" } !<< { .cached }", "2");
	expect("{ .cached } !~ { kind = client }", "256");
	expect("{ kind = server } &> { name = \"sql\" }", "456");
	expect("{ kind = server } &>> { name = \"sql\" }", "1456");
	expect("{ name = \"sql\" } &< { kind = server }", "456");
	expect("{ name = \"sql\" } &<< { kind = server }", "1456");
	expect("{ .cached } &~ { name = \"call\" }", "23");
	expect("{ .cached } && { kind = server } > { name = \"sql\" }", "256");
	expect("({ .cached } | count() = 1) && ({ name = \"sql\" } | count() = 2)", "256");
	expect("({ .cached } | count() > 1) || ({ name = \"sql\" })", "56");
}

static void pipelines_filter_and_group(void **state)
{
	expect("{ kind = client } | count() = 4", "2356");
	expect("{ kind = client } | count() > 4", "");
	expect("{ name = \"none\" } | count() = 0", "");
	expect("{ kind = client } | { name = \"sql\" } | count() = 2", "56");
	expect("{ name = \"sql\" } | avg(duration) > 105ms", "56");
	expect("{ name = \"sql\" } | avg(duration) > 106ms", "");
	expect("{} | max(.rows) = 60 | min(.rows) = 50 | sum(.rows) = 110", "123456");
	expect("{} | max(.rows) - min(.rows) = 10", "123456");
	expect("{ .cached } | max(.rows) > 0", "");
	expect("{} | (count() + 1) * 2 = 14", "123456");
	expect("count() = 6", "123456");
	expect("{} | by(resource.service.name)", "123|456");
	expect("{} | by(resource.service.name) | count() = 3", "123|456");
	expect("{} | by(resource.service.name, kind)", "1|23|4|56");
	expect("{} | by(kind) | count() > 2", "2356");
	expect("{} | by(name) | coalesce()", "123456");
	expect("{ kind = client } > { kind = server } | select(.code)", "4");
}

/* Span 2 has an array of 7 and true, 3 and 4 what is not a number, 4 a second event. */
static void one_of_several_values_is_enough(void **state)
{
	static struct value item[] = { { .type = VALUE_INT, .i = 7 },
				       { .type = VALUE_BOOL, .b = true } };
	static struct span_event event[2];
	struct value list = { .type = VALUE_ARRAY, .array = { item, 2 } };

	attrs_add(&memory.span[1]->attrs, memory.mem, STR("list"), list);
	attrs_add_int(&memory.span[1]->attrs, memory.mem, "one", 7);
	for (uint8_t i = 2; i < 4; i++)
		attrs_add_double(&memory.span[i]->attrs, memory.mem, "none", (double)NAN);
	event[0] = memory.span[3]->events[0];
	event[1] = (struct span_event){ .name = STR("again") };
	attrs_add_bool(&event[0].attrs, memory.mem, "last", false);
	attrs_add_bool(&event[1].attrs, memory.mem, "last", true);
	memory.span[3]->events = event;
	memory.span[3]->event_cnt = 2;
	expect("{ .list = .one }", "2");
	expect("{ .one = .list }", "2");
	expect("{ .one < .list || .one != .list }", "");
	expect("{ .one - 1 < .list && .one + 1 > .list }", "2");
	expect("{ .list }", "2");
	expect("{ !(.list) && kind = client }", "356");
	expect("{ event.last }", "4");
	expect("{ !(event.last) }", "12356");
	expect("{ event.last = (name = \"/items\") }", "4");
	expect("{ .none != nil } | by(.none)", "34");
	expect("{} | min(.none) > 0", "");
	expect("{} | max(.none) < 0", "");
}

static void types_are_checked(void **state)
{
	static const char *const wrong[] = {
		"{ status }",
		"{ 1 + 1 }",
		"{ \"x\" }",
		"{ 1 = \"foo\" }",
		"{ status > ok }",
		"{ kind < client }",
		"{ name = 1 }",
		"{ duration = ok }",
		"{ 1 =~ \"x\" }",
		"{ .a =~ 1 }",
		"{ .a =~ \"(\" }",
		"{ .a =~ .b }",
		"{ -name = \"x\" }",
		"{ !1 = 1 }",
		"{ 1 + \"a\" = 1 }",
		"{ 1 && true }",
		"{ .a > nil }",
		"{} | max(name) = 1",
		"{} | select(1 + 1)",
		"{} | topk(2)",
		"{} | rate() | count() > 1",
		"{} | rate() | { .a }",
		"{} | quantile_over_time(duration, 2)",
		"{} | avg_over_time(name)",
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		refused(wrong[i], TRACEQL_MEANING);
}

static void faults_are_told_exactly(void **state)
{
	struct traceql_error e = refused("{ .a = }", TRACEQL_SYNTAX);

	assert_int_equal(e.line, 1);
	assert_int_equal(e.column, 8);
	assert_non_null(strstr(e.text, "line 1, column 8: expected a value"));
	e = refused("{ .a = 1\n  && name == 2 }", TRACEQL_SYNTAX);
	assert_int_equal(e.line, 2);
	assert_int_equal(e.column, 12);
	e = refused("{ .a = \"\xc3\xa4\xc3\xb6\" & }", TRACEQL_SYNTAX);
	assert_int_equal(e.column, 13);
	e = refused("{ .a = 1", TRACEQL_SYNTAX);
	assert_string_equal(e.text, "line 1, column 9: expected }, not the end");
	e = refused("{} | compare({ .a })", TRACEQL_UNSUPPORTED);
	assert_string_equal(e.text, "line 1, column 6: not supported: compare()");
	e = refused("{ .a = $x }", TRACEQL_UNSUPPORTED);
	assert_non_null(strstr(e.text, "$x"));
	e = refused("{ .a =~ \"a(\" }", TRACEQL_MEANING);
	assert_int_equal(e.column, 9);
	e = refused("{ .a = \001\002 }", TRACEQL_SYNTAX);
	assert_null(strchr(e.text, 1));
}

/* text, a run of 'what', and the rest, as one query. */
static void refuse_many(const char *begin, const char *what, size_t cnt, const char *rest)
{
	struct buf text = { .cap = 0 };

	buf_add_str(&text, str_of(begin));
	for (size_t i = 0; i < cnt; i++)
		buf_add_str(&text, str_of(what));
	buf_add(&text, rest, strlen(rest) + 1);
	refused(text.p, TRACEQL_SYNTAX);
	buf_fini(&text);
}

static void there_are_limits(void **state)
{
	refuse_many("{ ", "(", 100, "true");
	refuse_many("", "(", 100, "{}");
	refuse_many("{ ", "!", 100, ".a }");
	refuse_many("{ ", "-", 10000, "1 = 1 }");
	refuse_many("{} | count() > ", "(", 10000, "1");
	refuse_many("{ .a ", "&& .a ", 2500, "}");
	refuse_many("{ .a = `", "x", TRACEQL_TEXT_MAX, "` }");
}

static void long_chains_are_evaluated(void **state)
{
	char text[8192] = "{ .rows = 50";

	for (int i = 100; i < 500; i++)
		sprintf(text + strlen(text), " || .rows=%d", i);
	strcat(text, " }");
	expect(text, "5");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(filters_select_spans),	     TEST(expressions_calculate),
		TEST(places_in_the_trace_are_known), TEST(spansets_stand_to_each_other),
		TEST(pipelines_filter_and_group),    TEST(types_are_checked),
		TEST(faults_are_told_exactly),	     TEST(there_are_limits),
		TEST(long_chains_are_evaluated),     TEST(one_of_several_values_is_enough),
	};

	return cmocka_run_group_tests_name("traceql", tests, NULL, NULL);
}

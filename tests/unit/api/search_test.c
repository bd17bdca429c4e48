/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "api/search.h"
#include "unit/api/memory_store.h"

#include <stdio.h>

static const struct field service = { .kind = FIELD_SERVICE };
static const struct field name = { .kind = FIELD_NAME };

/* ---- what came ------------------------------------------------------------------------------ */

static uint32_t came[5000]; /* traces by number, in order */
static uint32_t came_cnt;
static uint32_t stop_after; /* 0: never */
static struct search_end end_of;

static bool take(void *ctx, const struct search_trace *t)
{
	came[came_cnt++] = (uint32_t)t->trace->id.b[0] << 8 | t->trace->id.b[15];
	return came_cnt != stop_after;
}

static int run(const struct search *q)
{
	came_cnt = 0;
	return search_run(&memory, q, take, NULL, &end_of);
}

static const struct cond *is(struct field f, const char *value)
{
	return cond_cmp(memory.mem, f, CMP_EQ,
			(struct value){ .type = VALUE_STR, .str = str_of(value) });
}

static int begin(void **state)
{
	memory_begin();
	stop_after = 0;
	return 0;
}

static int end(void **state)
{
	memory_end();
	return 0;
}

/* ---- summaries ------------------------------------------------------------------------------ */

static bool check_summary(void *ctx, const struct search_trace *t)
{
	struct buf text = { .cap = 0 };

	came_cnt++;
	assert_true(str_eq(t->root_service, STR("shop")));
	assert_true(str_eq(t->root_name, STR("GET /cart")));
	assert_int_equal(t->start_ns, 1000 * NS_PER_MS);
	assert_int_equal(t->end_ns, 2000 * NS_PER_MS);
	assert_int_equal(t->trace->span_cnt, 4);
	assert_int_equal(t->errors, 1);
	assert_int_equal(t->orphans, 1);
	assert_int_equal(t->service_cnt, 2);
	assert_true(str_eq(t->services[0].name, STR("cart")));
	assert_int_equal(t->services[0].spans, 2);
	assert_int_equal(t->services[0].errors, 1);
	assert_int_equal(t->services[1].spans, 2);
	assert_int_equal(t->set_cnt, 2);
	assert_int_equal(t->sets[1].span_cnt, 1);
	assert_int_equal(t->sets[1].matched, 2);
	assert_int_equal(t->sets[1].spans[0]->span_id.b[7], 3);
	assert_true(str_eq(t->sets[1].attrs.item[0].key, STR("by(resource.service.name)")));
	assert_true(str_eq(t->sets[1].attrs.item[0].value.str, STR("cart")));
	assert_true(str_eq(t->sets[1].attrs.item[1].key, STR("count()")));
	assert_int_equal(t->sets[1].attrs.item[1].value.i, 2);
	for (uint32_t i = 0; i < t->field_cnt; i++) {
		search_field_name(&t->fields[i], &text);
		buf_add_char(&text, ' ');
	}
	assert_true(str_eq(buf_str(&text), STR("duration resource.service.name span.k ")));
	buf_fini(&text);
	return true;
}

static void a_trace_is_summed_up(void **state)
{
	struct traceql_error why;
	struct traceql *q;
	struct search s = { .spans_per_set = 1 };

	put(1, 1, 0, "shop", "GET /cart", 1000, 1000);
	put(1, 2, 1, "shop", "call", 1100, 100);
	put(1, 3, 2, "cart", "/items", 1100, 100)->status = STATUS_ERROR;
	put(1, 4, 9, "cart", "late", 1200, 100);
	assert_int_equal(traceql_parse(STR("{ duration > 1ms } | by(resource.service.name) | "
					   "count() = 2 | select(span.k)"),
				       &q, &why),
			 0);
	s.query = q;
	came_cnt = 0;
	assert_int_equal(search_run(&memory, &s, check_summary, NULL, &end_of), 0);
	assert_int_equal(came_cnt, 1);
	assert_int_equal(end_of.traces, 1);
	assert_int_equal(end_of.spans, 4);
	assert_string_equal(end_of.next, "");
	traceql_free(q);
}

/* ---- what is asked -------------------------------------------------------------------------- */

static void calls_are_found_by_structure(void **state)
{
	struct search s = { .where = is(service, "a"), .calls = is(service, "c") };

	/* 1: a calls b calls c; 2: a calls c; 3: c calls a; 4: a and c beside each other */
	put(1, 1, 0, "a", "x", 100, 10);
	put(1, 2, 1, "b", "x", 101, 10);
	put(1, 3, 2, "c", "x", 102, 10);
	put(2, 1, 0, "a", "x", 200, 10);
	put(2, 2, 1, "c", "x", 201, 10);
	put(3, 1, 0, "c", "x", 300, 10);
	put(3, 2, 1, "a", "x", 301, 10);
	put(4, 1, 0, "b", "x", 400, 10);
	put(4, 2, 1, "a", "x", 401, 10);
	put(4, 3, 1, "c", "x", 401, 10);
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 2);
	assert_int_equal(came[0], 2);
	assert_int_equal(came[1], 1);
	s.calls_directly = true;
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 1);
	assert_int_equal(came[0], 2);
}

static void time_and_duration_bound(void **state)
{
	struct search s = { .range = { 150 * NS_PER_MS, 350 * NS_PER_MS } };

	put(1, 1, 0, "a", "x", 100, 1000);
	put(2, 1, 0, "a", "x", 200, 100);
	put(2, 2, 1, "a", "x", 290, 110); /* the trace lasts longer than its root */
	put(3, 1, 0, "a", "x", 300, 50);
	put(4, 1, 0, "a", "x", 400, 1000);
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 2);
	s.duration_min_ns = 200 * NS_PER_MS;
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 1);
	assert_int_equal(came[0], 2);
	s.duration_min_ns = 0;
	s.duration_max_ns = 50 * NS_PER_MS;
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 1);
	assert_int_equal(came[0], 3);
}

static void a_query_and_a_condition_both_hold(void **state)
{
	struct search s = { .where = is(name, "y") };
	struct traceql_error why;
	struct traceql *q;

	put(1, 1, 0, "a", "x", 100, 10);
	put(1, 2, 1, "b", "y", 100, 10);
	put(2, 1, 0, "a", "x", 200, 10);
	put(3, 1, 0, "c", "y", 300, 10);
	assert_int_equal(traceql_parse(STR("{ resource.service.name = \"a\" }"), &q, &why), 0);
	s.query = q;
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 1);
	assert_int_equal(came[0], 1);
	traceql_free(q);
}

static void what_cannot_be_is_refused(void **state)
{
	static const char *const pages[] = { "",
					     "x",
					     "0000000000000001",
					     "000000000000000100000000",
					     "00000000000000010000000000000000000000000000000g",
					     "000000000000000100000000000000000000000000000000a" };
	struct search s = { .limit = SEARCH_LIMIT_MAX + 1 };
	struct traceql_error why;
	struct traceql *q;

	assert_int_equal(run(&s), -EINVAL);
	s.limit = 1;
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		s.page = pages[i];
		assert_int_equal(run(&s), -EINVAL);
	}
	s.page = NULL;
	assert_int_equal(traceql_parse(STR("{} | rate()"), &q, &why), 0);
	assert_true(traceql_is_metrics(q));
	s.query = q;
	assert_int_equal(run(&s), -EINVAL);
	traceql_free(q);
}

static void errors_and_ends_are_passed_on(void **state)
{
	struct search s = { .limit = 10 };

	for (uint32_t i = 1; i <= 20; i++)
		put(i, 1, 0, "a", "x", 100 * i, 10);
	stop_after = 3;
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 3);
	assert_int_equal(came[2], 18);
	s.page = strdup(end_of.next);
	assert_int_equal(run(&s), 0);
	assert_int_equal(came[0], 17);
	free((void *)(uintptr_t)s.page);
	s.page = NULL;
	s.deadline_ns = 1;
	assert_int_equal(run(&s), -ETIMEDOUT);
	assert_int_equal(came_cnt, 0);
	s.deadline_ns = 0;
	memory.err = -EIO;
	assert_int_equal(run(&s), -EIO);
}

static void a_slow_pattern_meets_the_deadline(void **state)
{
	const char *text = "{ name = \"y\" } | { parent.a =~ \"(x+)+[yz]\" }";
	struct traceql_error why;
	struct traceql *q;
	struct search s = { .limit = 10 };
	char xs[2000];

	memset(xs, 'x', sizeof(xs));
	for (uint32_t i = 1; i <= 4000; i++) {
		struct span *sp = put(1, (uint8_t)i, (uint8_t)(i - 1), "a", "y", 100 + i, 10);

		attrs_add_str(&sp->attrs, memory.mem, "a", (struct str){ xs, sizeof(xs) });
	}
	assert_int_equal(traceql_parse(str_of(text), &q, &why), 0);
	s.query = q;
	s.deadline_ns = clock_mono_ns() + 50 * NS_PER_MS;
	assert_int_equal(run(&s), -ETIMEDOUT);
	assert_int_equal(came_cnt, 0);
	traceql_free(q);
}

/* ---- pages, against what sorting everything gives -------------------------------------------- */

static uint64_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

struct expected {
	uint64_t key;
	uint32_t trace;
};

static int in_order(const void *a, const void *b)
{
	const struct expected *x = a, *y = b;

	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return (x->trace > y->trace) - (x->trace < y->trace);
}

/* The traces with a span called "hit" and, when rare, one called "rare", in the right order. */
static uint32_t expect_all(struct expected *out, uint32_t traces, bool rare)
{
	static bool has_rare[5000];
	uint32_t cnt = 0;

	memset(out, 0, traces * sizeof(*out));
	memset(has_rare, 0, sizeof(has_rare));
	for (uint32_t i = 0; i < memory.cnt; i++) {
		const struct span *s = memory.span[i];
		uint32_t t = (uint32_t)s->trace_id.b[0] << 8 | s->trace_id.b[15];

		out[t].trace = t;
		if (str_eq(s->name, STR("hit")))
			out[t].key = MAX(out[t].key, s->start_ns);
		has_rare[t] = has_rare[t] || str_eq(s->name, STR("rare"));
	}
	for (uint32_t t = 0; t < traces; t++)
		if (out[t].key && (!rare || has_rare[t]))
			out[cnt++] = out[t];
	qsort(out, cnt, sizeof(*out), in_order);
	return cnt;
}

static void page_through(const struct expected *right, uint32_t cnt, struct search s)
{
	char page[SEARCH_TOKEN_MAX];
	uint32_t seen = 0;

	do {
		assert_int_equal(run(&s), 0);
		assert_true(came_cnt <= s.limit);
		for (uint32_t i = 0; i < came_cnt; i++, seen++) {
			assert_true(seen < cnt);
			if (came[i] != right[seen].trace)
				fail_msg("trace %u is %u, not %u", seen, came[i],
					 right[seen].trace);
		}
		memcpy(page, end_of.next, sizeof(page));
		s.page = page;
	} while (page[0]);
	assert_int_equal(seen, cnt);
}

static void pages_are_whole_and_in_order(void **state)
{
	static struct expected right[5000];
	static const char *const names[] = { "hit", "hit", "other", "rare" };
	const uint32_t traces = 400;

	for (seed = 1; seed <= 6; seed++) {
		struct search s = { .limit = 1 + 13 * (uint32_t)(seed % 3) };
		struct traceql_error why;
		struct traceql *q;
		uint32_t cnt;

		memory_end();
		memory_begin();
		/* spans of a trace come apart, blocks overlap, times are equal */
		for (uint32_t i = 0; i < 2000; i++)
			put(any(traces), (uint8_t)(1 + any(200)), 0, "a",
			    names[any(20) ? any(3) : 3], 1000 + i / 4 + any(300) / 20, 5);
		cnt = expect_all(right, traces, false);
		s.where = is(name, "hit");
		page_through(right, cnt, s);
		assert_int_equal(
			traceql_parse(STR("{ name = \"hit\" } && { name =~ \".*are\" }"), &q, &why),
			0);
		/* of two conditions the first is cheaper, so it gives the order */
		cnt = expect_all(right, traces, true);
		s = (struct search){ .limit = s.limit, .query = q };
		page_through(right, cnt, s);
		traceql_free(q);
	}
}

static void new_traces_do_not_move_the_next_page(void **state)
{
	struct search s = { .limit = 5 };
	char page[SEARCH_TOKEN_MAX];

	for (uint32_t i = 1; i <= 20; i++)
		put(i, 1, 0, "a", "x", 100 * i, 10);
	assert_int_equal(run(&s), 0);
	assert_int_equal(came[4], 16);
	memcpy(page, end_of.next, sizeof(page));
	for (uint32_t i = 21; i <= 30; i++)
		put(i, 1, 0, "a", "x", 100 * i, 10);
	s.page = page;
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 5);
	assert_int_equal(came[0], 15);
}

static void few_spans_are_read_for_a_page(void **state)
{
	struct search s = { .limit = 20 };

	for (uint32_t i = 0; i < 4000; i++)
		put(i, 1, 0, "a", "x", 100 + i, 10);
	assert_int_equal(run(&s), 0);
	assert_int_equal(came_cnt, 20);
	assert_int_equal(memory.scans, 2);
	assert_true(memory.visited < 100);
	assert_int_equal(end_of.traces, 20);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_trace_is_summed_up),
		TEST(calls_are_found_by_structure),
		TEST(time_and_duration_bound),
		TEST(a_query_and_a_condition_both_hold),
		TEST(what_cannot_be_is_refused),
		TEST(errors_and_ends_are_passed_on),
		TEST(a_slow_pattern_meets_the_deadline),
		TEST(pages_are_whole_and_in_order),
		TEST(new_traces_do_not_move_the_next_page),
		TEST(few_spans_are_read_for_a_page),
	};

	return cmocka_run_group_tests_name("search", tests, NULL, NULL);
}

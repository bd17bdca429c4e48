/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/books.h"
#include "core/clock.h"
#include "trace/trace.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MS NS_PER_MS

static struct resource *resource;
static struct assemble *a;

/* What came out, as text: "1[a b c]r0 complete; " with span ids as letters. */
static char text[65536];
static size_t text_len;
static size_t traces, spans;

static void note(void *ctx, const struct trace *t)
{
	traces++;
	spans += t->span_cnt;
	if (text_len > sizeof(text) / 2)
		return;
	text_len += (size_t)sprintf(text + text_len, "%d[", t->id.b[0]);
	for (uint32_t i = 0; i < t->span_cnt; i++)
		text_len += (size_t)sprintf(text + text_len, "%c", t->spans[i]->span_id.b[0]);
	text_len += (size_t)sprintf(text + text_len, "]r%d%s%s ", t->root,
				    t->complete ? "" : "-incomplete", t->late ? "-late" : "");
}

#define CAME(expected)                               \
	do {                                         \
		assert_string_equal(text, expected); \
		text_len = 0;                        \
		text[0] = 0;                         \
	} while (0)

static const struct books *books;

static void find_books(void *ctx, const struct books *b)
{
	if (strcmp(b->stage, ctx) == 0)
		books = b;
}

static void assert_balance(const char *stage)
{
	uint64_t dropped = 0;

	books_each(find_books, (void *)(uintptr_t)stage);
	for (int i = 0; i < BOOKS_REASONS; i++)
		dropped += books->dropped[i];
	assert_int_equal(books->in, books->out + books->held + dropped);
}

static struct span make(uint8_t trace, char id, char parent, uint64_t start)
{
	return (struct span){ .trace_id.b = { trace },
			      .span_id.b = { (uint8_t)id },
			      .parent_id.b = { (uint8_t)parent },
			      .start_ns = start,
			      .end_ns = start + 1,
			      .name = STR("GET /"),
			      .resource = resource,
			      .scope = &scope_capture };
}

static void push(uint8_t trace, char id, char parent, uint64_t start)
{
	struct span s = make(trace, id, parent, start);

	assemble_push(a, &s);
	assert_balance("trace");
}

static int setup_with(size_t max_bytes)
{
	struct assemble_cfg cfg = { .max_bytes = max_bytes };

	a = assemble_new(&cfg, (struct trace_sink){ .push = note });
	text_len = traces = spans = 0;
	text[0] = 0;
	assemble_tick(a, 1000 * MS);
	return a ? 0 : -1;
}

static int setup(void **state)
{
	return setup_with(0);
}

static int teardown(void **state)
{
	assert_balance("trace");
	assemble_free(a);
	return 0;
}

static void a_trace_is_complete_when_its_root_is_there_and_it_is_quiet(void **state)
{
	push(1, 'b', 'a', 20);
	push(1, 'c', 'b', 30);
	assemble_tick(a, 2000 * MS);
	CAME("");
	push(1, 'a', 0, 10);
	assemble_tick(a, 2299 * MS);
	CAME("");
	push(1, 'd', 'a', 15);
	assemble_tick(a, 2300 * MS);
	CAME(""); /* what came meanwhile starts the wait anew */
	assemble_tick(a, 2599 * MS);
	CAME("1[adbc]r0 ");
}

static void without_its_root_a_trace_waits_no_longer_than_the_limit(void **state)
{
	push(1, 'b', 'a', 20);
	assemble_tick(a, 4000 * MS);
	push(1, 'c', 'a', 10);
	assemble_tick(a, 5999 * MS);
	CAME("");
	assemble_tick(a, 6000 * MS);
	CAME("1[cb]r0 ");
}

static void parents_come_before_children_that_start_with_them(void **state)
{
	push(1, 'd', 'c', 10);
	push(1, 'c', 'b', 10);
	push(1, 'b', 'a', 10);
	push(1, 'e', 'a', 5); /* clocks may say so */
	push(1, 'a', 0, 10);
	push(1, 'f', 'x', 10); /* its parent never came: a root of its own */
	assemble_flush(a);
	CAME("1[eafbcd]r1 ");
}

static void circles_and_doubles_do_no_harm(void **state)
{
	push(1, 'a', 'b', 1);
	push(1, 'b', 'a', 1);
	push(1, 'c', 'c', 1);
	push(1, 'd', 'a', 1);
	push(1, 'd', 'a', 1);
	push(2, 'a', 'b', 1);
	push(2, 'b', 'a', 1);
	assemble_flush(a);
	assert_int_equal(traces, 2);
	assert_int_equal(spans, 7);
	assert_non_null(strstr(text, "2[ba]r-1-incomplete"));
}

static void late_spans_make_a_further_trace(void **state)
{
	push(1, 'a', 0, 10);
	assemble_tick(a, 1300 * MS);
	push(1, 'b', 'a', 20);
	assemble_tick(a, 1600 * MS);
	CAME("1[a]r0 1[b]r0-late ");
}

static void spans_before_the_first_tick_wait_from_it_on(void **state)
{
	struct assemble_cfg cfg = { 0 };

	assemble_free(a);
	a = assemble_new(&cfg, (struct trace_sink){ .push = note });
	push(1, 'a', 0, 10);
	assemble_tick(a, 9000 * MS);
	CAME("");
	assemble_tick(a, 9300 * MS);
	CAME("1[a]r0 ");
}

static void traces_do_not_mix_and_leave_in_the_order_of_their_quiet(void **state)
{
	push(1, 'a', 0, 10);
	push(2, 'a', 0, 10);
	push(3, 'b', 'a', 10);
	assemble_tick(a, 1100 * MS);
	push(1, 'b', 'a', 11);
	assemble_tick(a, 1300 * MS);
	CAME("2[a]r0 ");
	assemble_tick(a, 1400 * MS);
	CAME("1[ab]r0 ");
	assemble_flush(a);
	CAME("3[b]r0-incomplete ");
}

static void past_the_cap_the_oldest_goes_early(void **state)
{
	assemble_free(a);
	setup_with(64 * 1024);
	for (int i = 1; i <= 200; i++)
		push((uint8_t)i, 'a', 0, 10);
	assert_true(traces > 50 && traces < 150); /* under 1 KiB for each of one small span */
	assert_int_equal(strncmp(text, "1[a]r0-incomplete 2[a]r0-incomplete ", 36), 0);
	for (int i = 0; i < 1000; i++) /* one that is larger than the room */
		push(250, 'b', 'a', (uint64_t)i);
	assemble_flush(a);
	assert_int_equal(spans, 1200);
}

static struct resource *host(const char *name, size_t len)
{
	struct resource *r = resource_new();
	char *value = malloc(len);

	memset(value, 'x', len);
	attrs_add_str(&r->attrs, r->arena, name, arena_str(r->arena, (struct str){ value, len }));
	resource_seal(r);
	free(value);
	return r;
}

static void push_of(struct resource *r, uint8_t trace, char id, char parent)
{
	struct span s = make(trace, id, parent, 10);

	s.resource = r;
	assemble_push(a, &s);
}

static void what_waits_is_weighed_with_its_resources_once(void **state)
{
	struct resource *small = host("host.name", 10),
			*large = host("process.command_line", 100000);
	size_t one, both;

	assert_int_equal(assemble_bytes(a), 0);
	push_of(small, 1, 'a', 'x');
	one = assemble_bytes(a);
	assert_true(one > sizeof(struct span) + arena_footprint(small->arena));
	push_of(large, 1, 'b', 'a');
	both = assemble_bytes(a);
	assert_true(both > one + 100000);
	for (char id = 'c'; id < 'm'; id++) { /* in this trace and in others */
		push_of(large, 1, id, 'a');
		push_of(large, (uint8_t)(id - 'a' + 2), 'a', 0);
	}
	assert_true(assemble_bytes(a) < both + (size_t)20 * 2000);
	/* a scope that came later lives in the resource's memory too */
	both = assemble_bytes(a);
	arena_alloc(large->arena, 200000);
	push_of(large, 1, 'n', 'a');
	assert_true(assemble_bytes(a) > both + 200000);
	assemble_tick(a, 1300 * MS); /* all but the first, which has no root */
	assert_int_equal(traces, 10);
	assert_true(assemble_bytes(a) > 300000);
	assemble_flush(a);
	assert_int_equal(assemble_bytes(a), 0);
	assert_int_equal(small->refs + large->refs, 2);
	resource_put(small);
	resource_put(large);
}

static void resources_count_for_the_cap(void **state)
{
	assemble_free(a);
	setup_with(1 << 20);
	for (int i = 1; i <= 100; i++) { /* small spans of large resources, as of short processes */
		struct resource *r = host("process.command_line", 50000);

		push_of(r, (uint8_t)i, 'a', 'x');
		resource_put(r);
		assert_true(assemble_bytes(a) <= 1 << 20);
	}
	assert_in_range(traces, 80, 99);
	assemble_flush(a);
	assert_int_equal(assemble_bytes(a), 0);
}

/* As malloc gives it: what the figure says is what the process grew by. */
static void the_figure_is_the_memory(void **state)
{
	size_t before = mallinfo2().uordblks, grown, told;

	for (int i = 0; i < 20000; i++) {
		struct span s = make(1, 'a', 'x', 10);

		memcpy(s.trace_id.b + 4, &i, sizeof(i));
		s.name = (struct str){ text, (size_t)i % 700 };
		assemble_push(a, &s);
	}
	grown = mallinfo2().uordblks - before;
	told = assemble_bytes(a);
	assert_int_equal(traces, 0);
	if (grown) /* 0: a sanitizer's malloc keeps no such books */
		assert_in_range(told, grown * 98 / 100, grown * 102 / 100);
	print_message("%zu bytes told, %zu of malloc\n", told, grown);
	assemble_flush(a);
	assert_int_equal(assemble_bytes(a), 0);
}

static void a_trace_whose_only_span_is_refused_is_none(void **state)
{
	struct value deep[VALUE_DEPTH_MAX + 3];
	struct attr attr = { .key = STR("deep") };
	struct span s = make(1, 'a', 0, 10);

	deep[0] = (struct value){ .type = VALUE_BOOL };
	for (size_t i = 1; i < ARRAY_LEN(deep); i++)
		deep[i] = (struct value){ .type = VALUE_ARRAY, .array = { &deep[i - 1], 1 } };
	attr.value = deep[ARRAY_LEN(deep) - 1];
	s.attrs = (struct attrs){ .item = &attr, .cnt = 1, .size = 1 };
	assemble_push(a, &s);
	assert_balance("trace");
	assert_int_equal(books->dropped[1], 1);
	assert_int_equal(assemble_bytes(a), 0);
	assemble_flush(a);
	CAME("");
}

static void a_span_without_a_trace_is_dropped(void **state)
{
	push(0, 'a', 0, 10);
	assert_int_equal(books->dropped[0], 1);
	assemble_flush(a);
	CAME("");
}

static void many_spans_in_one_trace_stay_cheap(void **state)
{
	uint64_t began = clock_mono_ns();

	for (int i = 0; i < 20000; i++) { /* a chain, children first */
		struct span s = make(1, 0, 0, 5);
		uint32_t id = (uint32_t)(20000 - i), parent = id - 1;

		memcpy(s.span_id.b, &id, sizeof(id));
		memcpy(s.parent_id.b, &parent, sizeof(parent));
		assemble_push(a, &s);
	}
	assemble_flush(a);
	assert_int_equal(spans, 20000);
	print_message("%.0f ns a span\n", (double)(clock_mono_ns() - began) / 20000);
}

static int make_resource(void **state)
{
	resource = resource_new();
	resource_seal(resource);
	return resource ? 0 : -1;
}

static int put_resource(void **state)
{
	int refs = (int)resource->refs;

	resource_put(resource);
	return refs == 1 ? 0 : -1; /* every copy has let go of it */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_trace_is_complete_when_its_root_is_there_and_it_is_quiet),
		T(without_its_root_a_trace_waits_no_longer_than_the_limit),
		T(parents_come_before_children_that_start_with_them),
		T(circles_and_doubles_do_no_harm),
		T(late_spans_make_a_further_trace),
		T(spans_before_the_first_tick_wait_from_it_on),
		T(traces_do_not_mix_and_leave_in_the_order_of_their_quiet),
		T(past_the_cap_the_oldest_goes_early),
		T(what_waits_is_weighed_with_its_resources_once),
		T(resources_count_for_the_cap),
		T(the_figure_is_the_memory),
		T(a_trace_whose_only_span_is_refused_is_none),
		T(a_span_without_a_trace_is_dropped),
		T(many_spans_in_one_trace_stay_cheap),
	};
	return cmocka_run_group_tests_name("trace/trace", tests, make_resource, put_resource);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/books.h"
#include "core/clock.h"
#include "redact/redact.h"

#include <stdlib.h>

static struct arena *mem;
static struct span span;
static struct resource *resource;
static struct redact *room;
static const struct span *came;
static struct span *copy; /* of what came, to look at after the call */

static void take_span(void *ctx, const struct span *s)
{
	came = s;
	copy = span_copy(s, mem);
}

static void begin(bool raw)
{
	struct redact_cfg cfg = { .raw_queries = raw };

	room = redact_new(&cfg, (struct span_sink){ .push = take_span });
	assert_non_null(room);
	memset(&span, 0, sizeof(span));
	span.name = STR("x");
	span.resource = resource;
	span.scope = &scope_capture;
	came = NULL;
}

static void push(void)
{
	redact_push(room, &span);
	assert_non_null(came);
	span_release(copy);
}

static void add(const char *key, const char *value)
{
	attrs_add_str(&span.attrs, mem, key, str_of(value));
}

static void assert_attr(const struct attrs *attrs, const char *key, const char *value)
{
	struct str got = attrs_str(attrs, key);

	if (!str_eq(got, str_of(value)))
		fail_msg("%s is %.*s, not %s", key, STR_ARG(got), value);
}

static void an_unsuspicious_span_passes_as_it_is(void **state)
{
	begin(false);
	add("db.system.name", "postgresql");
	add("db.query.text", "SELECT a FROM b WHERE c = $1");
	add("url.full", "http://host/path?page=1");
	add("http.request.method", "GET");
	push();
	assert_ptr_equal(came, &span);
	redact_free(room);
}

static void each_system_has_its_rule(void **state)
{
	static const char *const cases[][3] = {
		{ "postgresql", "SELECT \"a\", 'b'", "SELECT \"a\", ?" },
		{ "mysql", "SELECT \"a\", 'b'", "SELECT ?, ?" },
		{ "redis", "SET k v", "SET k ?" },
		{ "mongodb", "{\"find\": \"x\"}", "{?: ?}" },
		{ NULL, "SELECT \"a\"", "SELECT ?" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin(false);
		add("db.query.text", cases[i][1]);
		add("db.query.summary", "SELECT 5");
		if (cases[i][0])
			add("db.system.name", cases[i][0]);
		push();
		assert_ptr_not_equal(came, &span);
		assert_attr(&copy->attrs, "db.query.text", cases[i][2]);
		assert_attr(&copy->attrs, "db.query.summary", "SELECT 5");
		/* the producer's span is untouched */
		assert_attr(&span.attrs, "db.query.text", cases[i][1]);
		redact_free(room);
	}
}

static void raw_queries_are_left_when_the_user_says_so(void **state)
{
	begin(true);
	add("db.query.text", "SELECT 'b'");
	add("db.query.parameter.x", "b");
	add("url.query", "token=5");
	push();
	assert_attr(&copy->attrs, "db.query.text", "SELECT 'b'");
	assert_attr(&copy->attrs, "db.query.parameter.x", "b");
	assert_attr(&copy->attrs, "url.query", "token=REDACTED");
	redact_free(room);
}

static void older_names_and_parameters_are_known(void **state)
{
	begin(false);
	add("db.system", "mysql");
	add("db.statement", "SELECT \"b\"");
	add("db.query.parameter.0", "secret");
	add("http.url", "https://u:p@h/");
	add("http.target", "/?sig=1");
	push();
	assert_attr(&copy->attrs, "db.statement", "SELECT ?");
	assert_attr(&copy->attrs, "db.query.parameter.0", "?");
	assert_attr(&copy->attrs, "http.url", "https://REDACTED:REDACTED@h/");
	assert_attr(&copy->attrs, "http.target", "/?sig=REDACTED");
	redact_free(room);
}

static void headers_are_lists_and_some_are_secret(void **state)
{
	struct value list[2] = { { .type = VALUE_STR, .str = STR("plain") },
				 { .type = VALUE_STR, .str = STR("http://u:p@h/") } };
	struct value cookie[1] = { { .type = VALUE_STR, .str = STR("id=5") } };
	const struct attr *at;

	begin(false);
	attrs_add(&span.attrs, mem, STR("http.request.header.referer"),
		  (struct value){ .type = VALUE_ARRAY, .array = { list, 2 } });
	attrs_add(&span.attrs, mem, STR("http.request.header.cookie"),
		  (struct value){ .type = VALUE_ARRAY, .array = { cookie, 1 } });
	add("http.request.header.authorization", "Bearer x");
	add("http.response.header.location", "/login?token=1"); /* no URL: passes */
	push();
	at = attrs_find(&copy->attrs, STR("http.request.header.referer"));
	assert_true(str_eq(at->value.array.item[0].str, STR("plain")));
	assert_true(str_eq(at->value.array.item[1].str, STR("http://REDACTED:REDACTED@h/")));
	at = attrs_find(&copy->attrs, STR("http.request.header.cookie"));
	assert_true(str_eq(at->value.array.item[0].str, STR("REDACTED")));
	assert_attr(&copy->attrs, "http.request.header.authorization", "REDACTED");
	assert_true(str_eq(list[1].str, STR("http://u:p@h/")));
	redact_free(room);
}

static void status_messages_and_events_of_database_spans_are_masked(void **state)
{
	struct span_event event = { .name = STR("exception") };

	begin(false);
	span.status_message = STR("Duplicate entry 'bob' for key 'name'");
	push();
	assert_ptr_equal(came, &span);
	add("db.system.name", "mysql");
	attrs_add_str(&event.attrs, mem, "exception.message", STR("near 'bob' at 5"));
	attrs_add_str(&event.attrs, mem, "url.full", STR("http://h/?key=5"));
	span.events = &event;
	span.event_cnt = 1;
	push();
	assert_true(str_eq(copy->status_message, STR("Duplicate entry ?")));
	assert_attr(&copy->events[0].attrs, "exception.message", "near ? at ?");
	assert_attr(&copy->events[0].attrs, "url.full", "http://h/?key=REDACTED");
	redact_free(room);
}

static const struct books *books;

static void find_books(void *ctx, const struct books *b)
{
	if (strcmp(b->stage, "redact") == 0)
		books = b;
}

static void what_does_not_fit_is_masked_or_dropped_and_the_books_balance(void **state)
{
	static struct value list[400000];
	char *text = malloc(5 << 20);

	begin(false);
	memset(text, 'x', 5 << 20);
	memcpy(text, "SELECT 'a', ", 12);
	attrs_add_str(&span.attrs, mem, "db.query.text", (struct str){ text, 5 << 20 });
	push();
	assert_attr(&copy->attrs, "db.query.text", "?");
	for (size_t i = 0; i < ARRAY_LEN(list); i++)
		list[i] = (struct value){ .type = VALUE_STR, .str = STR("http://u:p@h") };
	attrs_add(&span.attrs, mem, STR("url.full"),
		  (struct value){ .type = VALUE_ARRAY, .array = { list, ARRAY_LEN(list) } });
	came = NULL;
	redact_push(room, &span);
	assert_null(came);
	books_each(find_books, NULL);
	assert_int_equal(books->in, 2);
	assert_int_equal(books->out, 1);
	assert_int_equal(books->dropped[0], 1);
	redact_free(room);
	free(text);
	redact_free(NULL);
}

static void ignore(void *ctx, const struct span *s)
{
}

static void what_a_span_costs(void **state)
{
	struct redact_cfg cfg = { 0 };
	const int cnt = 200000;

	for (int masked = 0; masked < 2; masked++) {
		uint64_t began;

		begin(false);
		redact_free(room);
		room = redact_new(&cfg, (struct span_sink){ .push = ignore });
		for (int i = 0; i < 12; i++)
			add("network.protocol.name", "http");
		add("url.full", "http://shop.example/api/v1/items/55?page=5&size=10");
		add("db.system.name", "postgresql");
		add("db.query.text",
		    masked ? "SELECT id, name, price FROM items WHERE shop = 55 AND name = 'x'"
			   : "SELECT id, name, price FROM items WHERE shop = $1 AND name = $2");
		began = clock_mono_ns();
		for (int i = 0; i < cnt; i++)
			redact_push(room, &span);
		print_message("%s: %.0f ns a span\n", masked ? "masked" : "unchanged",
			      (double)(clock_mono_ns() - began) / cnt);
		redact_free(room);
	}
}

static int make(void **state)
{
	mem = arena_new(0);
	resource = resource_new();
	resource_seal(resource);
	return mem ? 0 : -1;
}

static int end(void **state)
{
	resource_put(resource);
	arena_free(mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unsuspicious_span_passes_as_it_is),
		cmocka_unit_test(each_system_has_its_rule),
		cmocka_unit_test(raw_queries_are_left_when_the_user_says_so),
		cmocka_unit_test(older_names_and_parameters_are_known),
		cmocka_unit_test(headers_are_lists_and_some_are_secret),
		cmocka_unit_test(status_messages_and_events_of_database_spans_are_masked),
		cmocka_unit_test(what_does_not_fit_is_masked_or_dropped_and_the_books_balance),
		cmocka_unit_test(what_a_span_costs),
	};
	return cmocka_run_group_tests_name("redact/redact", tests, make, end);
}

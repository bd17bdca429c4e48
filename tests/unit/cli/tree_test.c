/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of traces as text, against golden texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "cli/cli.h"
#include "core/clock.h"

#define SPANS_MAX 512
#define T0	  1700000000123456000ull

/* A trace under construction; span i has the id i + 1. */
struct fixture {
	struct arena *mem;
	struct span span[SPANS_MAX];
	struct span *list[SPANS_MAX];
	struct trace trace;
	struct buf out;
};

static struct fixture *setup(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->mem = arena_new(0);
	f->trace = (struct trace){ .spans = f->list, .complete = true };
	for (int i = 0; i < 16; i++)
		f->trace.id.b[i] = (uint8_t)(0x10 + i);
	return f;
}

static void teardown(struct fixture *f)
{
	buf_fini(&f->out);
	for (uint32_t i = 0; i < f->trace.span_cnt; i++)
		resource_put(f->span[i].resource);
	arena_free(f->mem);
	free(f);
}

static struct resource *service(const char *name)
{
	struct resource *r = resource_new();

	attrs_add_str(&r->attrs, r->arena, "service.name", str_of(name));
	resource_seal(r);
	return r;
}

static void set_id(struct span_id *id, uint64_t n)
{
	for (int i = 0; i < 8; i++)
		id->b[i] = (uint8_t)(n >> (56 - 8 * i));
}

/* parent: its number, from 1 on; 0: none. Times in us from the trace's beginning. */
static struct span *add(struct fixture *f, uint32_t parent, enum span_kind kind, const char *svc,
			const char *name, uint64_t from_us, uint64_t to_us)
{
	uint32_t i = f->trace.span_cnt++;
	struct span *s = &f->span[i];

	assert_true(i < SPANS_MAX);
	f->list[i] = s;
	set_id(&s->span_id, i + 1);
	set_id(&s->parent_id, parent);
	s->trace_id = f->trace.id;
	s->kind = kind;
	s->name = str_of(name);
	s->start_ns = T0 + from_us * NS_PER_US;
	s->end_ns = T0 + to_us * NS_PER_US;
	s->resource = service(svc);
	s->scope = &scope_capture;
	return s;
}

static void http_status(struct fixture *f, struct span *s, int code)
{
	attrs_add_int(&s->attrs, f->mem, "http.response.status_code", code);
	if (code >= 500) {
		s->status = STATUS_ERROR;
		attrs_add_str(&s->attrs, f->mem, "error.type", STR("500"));
	}
}

static void inferred(struct fixture *f, struct attrs *a, const char *method, double confidence)
{
	attrs_add_str(a, f->mem, "telltale.parent.method", str_of(method));
	attrs_add_double(a, f->mem, "telltale.parent.confidence", confidence);
}

static void shop(struct fixture *f)
{
	struct span *s;

	http_status(f, add(f, 0, SPAN_SERVER, "nginx", "GET /shop/{id}", 0, 12300), 200);
	s = add(f, 1, SPAN_CLIENT, "nginx", "GET", 400, 12000);
	http_status(f, s, 200);
	inferred(f, &s->attrs, "thread-turn", 0.95);
	http_status(f, add(f, 2, SPAN_SERVER, "shop.py", "GET /shop/{id}", 450, 11950), 200);
	s = add(f, 3, SPAN_CLIENT, "shop.py", "GET cart", 600, 780);
	s->links = arena_alloc(f->mem, 2 * sizeof(*s->links));
	s->link_cnt = 2;
	s->links[0].trace_id = f->trace.id;
	set_id(&s->links[0].span_id, 1);
	inferred(f, &s->links[0].attrs, "thread-any", 0.5);
	memset(s->links[1].trace_id.b, 0xab, 16);
	set_id(&s->links[1].span_id, 0x77);
	s = add(f, 3, SPAN_CLIENT, "shop.py", "SELECT goods", 800, 11000);
	s->status = STATUS_ERROR;
	s->status_message = STR("relation \"goods\" does not exist");
	attrs_add_str(&s->attrs, f->mem, "db.response.status_code", STR("42P01"));
	attrs_add_str(&s->attrs, f->mem, "error.type", STR("42P01"));
}

static void check(struct fixture *f, struct tree_opts opts, const char *golden)
{
	assert_int_equal(tree_print(&f->trace, &opts, &f->out), 0);
	buf_add_char(&f->out, '\0');
	assert_string_equal(f->out.p, golden);
}

static void a_request_through_three_services(void **state)
{
	struct fixture *f = setup();

	shop(f);
	check(f, (struct tree_opts){ .term.utf8 = true, .labels = true },
	      "    time     self    % where          kind       service  name  status\n"
	      "trace 101112131415161718191a1b1c1d1e1f  2023-11-14 22:13:20.123456Z  12.3 ms  5 "
	      "spans, 1 error\n"
	      " 12.3 ms   700 µs 100% ▕████████████▏ server   ● nginx  GET /shop/{id}  200\n"
	      " 11.6 ms   100 µs  94% ▕████████████▏ client   ● └─ nginx  GET  200  ~0.95 "
	      "thread-turn\n"
	      " 11.5 ms  1.12 ms  93% ▕████████████▏ server   ●    └─ shop.py  GET /shop/{id}  "
	      "200\n"
	      "  180 µs   180 µs   1% ▕█           ▏ client   ●       ├─ shop.py  GET cart\n"
	      "                                                       │     ↪ link span "
	      "0000000000000001 nginx GET /shop/{id}  ~0.50 thread-any\n"
	      "                                                       │     ↪ link trace "
	      "abababababababababababababababab span 0000000000000077\n"
	      " 10.2 ms  10.2 ms  83% ▕███████████ ▏ client   ●       └─ shop.py  SELECT goods  ✗ "
	      "42P01: relation \"goods\" does not exist\n");
	teardown(f);
}

static void ascii_where_the_locale_has_no_utf8(void **state)
{
	struct fixture *f = setup();

	shop(f);
	check(f, (struct tree_opts){ 0 },
	      "trace 101112131415161718191a1b1c1d1e1f  2023-11-14 22:13:20.123456Z  12.3 ms  5 "
	      "spans, 1 error\n"
	      " 12.3 ms   700 us 100% |============| server   * nginx  GET /shop/{id}  200\n"
	      " 11.6 ms   100 us  94% |============| client   * `- nginx  GET  200  ~0.95 "
	      "thread-turn\n"
	      " 11.5 ms  1.12 ms  93% |============| server   *    `- shop.py  GET /shop/{id}  "
	      "200\n"
	      "  180 us   180 us   1% |=           | client   *       |- shop.py  GET cart\n"
	      "                                                       |     > link span "
	      "0000000000000001 nginx GET /shop/{id}  ~0.50 thread-any\n"
	      "                                                       |     > link trace "
	      "abababababababababababababababab span 0000000000000077\n"
	      " 10.2 ms  10.2 ms  83% |=========== | client   *       `- shop.py  SELECT goods  "
	      "ERROR 42P01: relation \"goods\" does not exist\n");
	teardown(f);
}

static void colour_only_when_asked(void **state)
{
	struct fixture *f = setup();
	struct span *s = add(f, 0, SPAN_SERVER, "web", "GET /", 0, 1500);

	http_status(f, s, 500);
	check(f, (struct tree_opts){ .term.color = true },
	      "\033[1mtrace \033[0m\033[1m101112131415161718191a1b1c1d1e1f\033[0m  2023-11-14 "
	      "22:13:20.123456Z  1.50 ms  1 span\033[31m, 1 error\033[0m\n"
	      " 1.50 ms  1.50 ms 100% \033[2m|\033[0m============\033[2m|\033[0m \033[2mserver   "
	      "\033[0m\033[1m* \033[0m\033[36mweb\033[0m  \033[1mGET /\033[0m\033[31m  "
	      "ERROR\033[0m\033[31m \033[0m\033[31m500\033[0m\n");
	teardown(f);
}

static void lines_end_at_the_terminals_edge(void **state)
{
	struct fixture *f = setup();

	add(f, 0, SPAN_SERVER, "web", "GET /a/rather/long/path/that/does/not/fit", 0, 1500);
	check(f, (struct tree_opts){ .term.width = 72, .term.utf8 = true },
	      "trace 101112131415161718191a1b1c1d1e1f  2023-11-14 22:13:20.123456Z  1.…\n"
	      " 1.50 ms  1.50 ms 100% ▕████████████▏ server   ● web  GET /a/rather/lon…\n");
	teardown(f);
}

static void repeated_siblings_become_one_line(void **state)
{
	struct fixture *f = setup();

	add(f, 0, SPAN_SERVER, "web", "GET /", 0, 100000);
	for (uint32_t i = 0; i < 87; i++) {
		uint64_t at = 1000 + i * 1000, len = 100 + i * 5;
		uint32_t parent = f->trace.span_cnt + 1;

		add(f, 1, SPAN_CLIENT, "web", "SELECT users", at, at + len);
		add(f, parent, SPAN_SERVER, "postgres", "SELECT users", at + 10, at + len - 10);
	}
	add(f, 1, SPAN_CLIENT, "web", "SELECT carts", 90000, 99000);
	check(f, (struct tree_opts){ 0 },
	      "trace 101112131415161718191a1b1c1d1e1f  2023-11-14 22:13:20.123456Z  100 ms  176 "
	      "spans\n"
	      "  100 ms  63.6 ms 100% |============| server   * web  GET /\n"
	      " 27.4 ms  1.74 ms  27% |=========== | client   * |- web  SELECT users  x87 p50 315 "
	      "us, max 530 us\n"
	      "  510 us   510 us   1% |          = | server   * |  `- postgres  SELECT users\n"
	      " 9.00 ms  9.00 ms   9% |          ==| client   * `- web  SELECT carts\n");
	teardown(f);
}

static void three_alike_are_shown_each(void **state)
{
	struct fixture *f = setup();

	add(f, 0, SPAN_SERVER, "web", "GET /", 0, 1000);
	for (uint32_t i = 0; i < 3; i++)
		add(f, 1, SPAN_CLIENT, "web", "GET", 100 + i * 300, 300 + i * 300);
	check(f, (struct tree_opts){ 0 },
	      "trace 101112131415161718191a1b1c1d1e1f  2023-11-14 22:13:20.123456Z  1.00 ms  4 "
	      "spans\n"
	      " 1.00 ms   400 us 100% |============| server   * web  GET /\n"
	      "  200 us   200 us  20% | ===        | client   * |- web  GET\n"
	      "  200 us   200 us  20% |    ====    | client   * |- web  GET\n"
	      "  200 us   200 us  20% |        === | client   * `- web  GET\n");
	teardown(f);
}

static void the_critical_path_is_the_chain_of_last_finishers(void **state)
{
	struct fixture *f = setup();

	add(f, 0, SPAN_SERVER, "web", "GET /", 0, 1000);
	add(f, 1, SPAN_CLIENT, "web", "first", 0, 300);	   /* before "slow" began: waited for */
	add(f, 1, SPAN_CLIENT, "web", "beside", 350, 600); /* at the side of "slow" */
	add(f, 1, SPAN_CLIENT, "web", "slow", 310, 1040);  /* ends last, by the clocks even later */
	add(f, 4, SPAN_SERVER, "api", "slow", 320, 900);
	add(f, 1, SPAN_CLIENT, "web", "after", 1010, 1100); /* the answer had gone */
	check(f, (struct tree_opts){ 0 },
	      "trace 101112131415161718191a1b1c1d1e1f  2023-11-14 22:13:20.123456Z  1.10 ms  6 "
	      "spans\n"
	      " 1.00 ms  50.0 us  91% |=========== | server   * web  GET /\n"
	      "  300 us   300 us  27% |====        | client   * |- web  first\n"
	      "  250 us   250 us  23% |   ====     | client     |- web  beside\n"
	      "  730 us   150 us  66% |   =========| client   * |- web  slow\n"
	      "  580 us   580 us  53% |   =======  | server   * |  `- api  slow\n"
	      " 90.0 us  90.0 us   8% |           =| client     `- web  after\n");
	teardown(f);
}

static void control_bytes_do_not_reach_the_terminal(void **state)
{
	struct fixture *f = setup();

	add(f, 0, SPAN_SERVER, "w\033]0;x\007b",
	    "GET \xc2\x9b"
	    "31m\xff\xc3\xa9\xe2\x80\xae\r\n",
	    0, 10);
	check(f, (struct tree_opts){ .term.utf8 = true },
	      "trace 101112131415161718191a1b1c1d1e1f  2023-11-14 22:13:20.123456Z  10.0 µs  1 "
	      "span\n"
	      " 10.0 µs  10.0 µs 100% ▕████████████▏ server   ● w?]0;x?b  GET ?\?31m?é?\??\??\n");
	teardown(f);
}

static void cycles_and_missing_parents_are_shown_at_the_top(void **state)
{
	struct fixture *f = setup();

	add(f, 99, SPAN_SERVER, "a", "parent elsewhere", 0, 10);
	add(f, 3, SPAN_CLIENT, "b", "ring", 1, 9);
	add(f, 2, SPAN_CLIENT, "c", "ring", 2, 8);
	add(f, 4, SPAN_CLIENT, "d", "itself", 3, 7);
	f->trace.complete = false;
	check(f, (struct tree_opts){ 0 },
	      "trace 101112131415161718191a1b1c1d1e1f  2023-11-14 22:13:20.123456Z  10.0 us  4 "
	      "spans  (incomplete)\n"
	      " 10.0 us  10.0 us 100% |============| server   * a  parent elsewhere\n"
	      " 8.00 us  2.00 us  80% | ========== | client     b  ring\n"
	      " 6.00 us  6.00 us  60% |  ========  | client     `- c  ring\n"
	      " 4.00 us  4.00 us  40% |   ======   | client     d  itself\n");
	teardown(f);
}

static void a_trace_of_no_spans_is_only_a_head(void **state)
{
	struct fixture *f = setup();

	check(f, (struct tree_opts){ 0 },
	      "trace 101112131415161718191a1b1c1d1e1f  1970-01-01 00:00:00.000000Z  0 ns  0 "
	      "spans\n");
	teardown(f);
}

static void deep_chains_do_not_recurse(void **state)
{
	struct fixture *f = setup();

	for (uint32_t i = 0; i < SPANS_MAX; i++)
		add(f, i, SPAN_INTERNAL, "deep", "call", i, 2 * SPANS_MAX - i);
	assert_int_equal(tree_print(&f->trace, &(struct tree_opts){ 0 }, &f->out), 0);
	teardown(f);
}

static void durations_have_three_digits(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} rows[] = {
		{ 0, "0 ns" },
		{ 999, "999 ns" },
		{ 1000, "1.00 us" },
		{ 99940, "99.9 us" },
		{ 99960, "100 us" },
		{ 999499, "999 us" },
		{ 999500, "1.00 ms" },
		{ 12300000, "12.3 ms" },
		{ 999500000, "1.00 s" },
		{ 90 * NS_PER_S, "90.0 s" },
		{ 86400 * NS_PER_S, "86400 s" },
	};
	char text[16];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		duration_text(rows[i].ns, false, text);
		assert_string_equal(text, rows[i].text);
	}
	duration_text(1500, true, text);
	assert_string_equal(text, "1.50 µs");
	duration_text(UINT64_MAX, false, text);
	assert_true(strlen(text) < 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_through_three_services),
		cmocka_unit_test(ascii_where_the_locale_has_no_utf8),
		cmocka_unit_test(colour_only_when_asked),
		cmocka_unit_test(lines_end_at_the_terminals_edge),
		cmocka_unit_test(repeated_siblings_become_one_line),
		cmocka_unit_test(three_alike_are_shown_each),
		cmocka_unit_test(the_critical_path_is_the_chain_of_last_finishers),
		cmocka_unit_test(control_bytes_do_not_reach_the_terminal),
		cmocka_unit_test(cycles_and_missing_parents_are_shown_at_the_top),
		cmocka_unit_test(a_trace_of_no_spans_is_only_a_head),
		cmocka_unit_test(deep_chains_do_not_recurse),
		cmocka_unit_test(durations_have_three_digits),
	};

	return cmocka_run_group_tests_name("cli/tree", tests, NULL, NULL);
}

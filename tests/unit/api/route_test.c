/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters, paths, bodies and errors, without a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "api/body.h"
#include "api/call.h"
#include "api/internal.h"
#include "core/clock.h"

static struct api_cfg cfg;
static struct call c;
static char page[8192];

/* Routes and answers; the page is left in 'page', NUL-terminated. */
static unsigned int ask_with(const char *method, const char *target, const char *type,
			     const char *body)
{
	assert_true(call_init(&c, &cfg));
	c.req.method = str_of(method);
	c.req.target = str_of(target);
	c.req.host = STR("localhost:8009");
	c.req.body_type = str_of(type);
	c.req.body = str_of(body);
	c.loopback = true;
	if (call_route(&c))
		call_answer(&c);
	snprintf(page, sizeof(page), "%.*s", (int)MIN(c.page.len, sizeof(page) - 1),
		 c.page.p ? c.page.p : "");
	call_fini(&c);
	return c.status;
}

static unsigned int ask(const char *method, const char *target)
{
	return ask_with(method, target, NULL, NULL);
}

/* ---- values ---- */

static void durations_are_read_with_their_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "0", 0 },
		{ "10ms", 10 * NS_PER_MS },
		{ "1.5s", 1500 * NS_PER_MS },
		{ "1h30m", 5400 * NS_PER_S },
		{ "100us", 100 * NS_PER_US },
		{ "100\xc2\xb5s", 100 * NS_PER_US },
		{ "7d", 7 * 86400 * NS_PER_S },
		{ "1w", 7 * 86400 * NS_PER_S },
		{ "3ns", 3 },
		{ "0.000000001s", 1 },
	};
	static const char *const bad[] = {
		"",	"10",	      "ms", "1x",   "-1s",
		"1s ",	"1..s",	      ".s", "1e3s", "18446744073709551616s",
		"300y", "9999999999w"
	};
	uint64_t ns = 7;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(duration_parse(str_of(good[i].text), &ns));
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(duration_parse(str_of(bad[i]), &ns));
}

static void times_are_read_and_written(void **state)
{
	static const char *const bad[] = { "2024-01-02",
					   "2024-13-02T00:00:00Z",
					   "2024-01-02T25:00:00Z",
					   "2024-01-02T00:00:00",
					   "1969-12-31T23:59:59Z",
					   "2024-01-02T00:00:00.Z",
					   "2024-01-02T00:00:00+1:00",
					   "9999-01-02T00:00:00Z",
					   "" };
	char text[32];
	uint64_t ns;

	assert_true(rfc3339_parse(STR("2023-11-14T22:13:20.123456789Z"), &ns));
	assert_int_equal(ns, 1700000000123456789ull);
	assert_true(rfc3339_parse(STR("2023-11-15T00:13:20+02:00"), &ns));
	assert_int_equal(ns, 1700000000000000000ull);
	rfc3339_write(1700000000123456789ull, text);
	assert_string_equal(text, "2023-11-14T22:13:20.123Z");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(rfc3339_parse(str_of(bad[i]), &ns));
}

static void numbers_tell_their_unit_of_time_by_size(void **state)
{
	static const struct param p = { .name = "start", .type = PARAM_TIME };
	static const char *const same[] = { "1700000000", "1700000000000", "1700000000000000",
					    "1700000000000000000", "2023-11-14T22:13:20Z" };
	char why[PARAM_WHY_MAX];
	struct arg a;

	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		assert_int_equal(param_read(&p, str_of(same[i]), &a, why), 0);
		assert_int_equal(a.number, 1700000000000000000ull);
	}
	assert_int_equal(param_read(&p, STR("1700000000.25"), &a, why), 0);
	assert_int_equal(a.number, 1700000000250000000ull);
	assert_true(param_read(&p, STR("-5"), &a, why) < 0);
	assert_string_equal(why, "start must be a time: RFC 3339 or Unix time, from 1970 to 2255");
	assert_true(param_read(&p, STR("99999999999999999999"), &a, why) < 0);
}

static void escapes_are_decoded_and_bad_ones_refused(void **state)
{
	static const char *const bad[] = { "%", "%4", "%zz", "a%00b", "%ff", "%c3(" };
	struct arena *mem = arena_new(0);
	struct str s;

	assert_true(uri_decode(mem, STR("a%2Fb+c%C3%a4"), true, &s));
	assert_true(str_eq(s, STR("a/b c\xc3\xa4")));
	assert_true(uri_decode(mem, STR("a+b"), false, &s));
	assert_true(str_eq(s, STR("a+b")));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(uri_decode(mem, str_of(bad[i]), true, &s));
	arena_free(mem);
}

/* ---- paths ---- */

static void pages_are_found_by_method_and_path(void **state)
{
	assert_int_equal(ask("GET", "/status"), 200);
	assert_int_equal(ask("GET", "/traces/recent?limit=7"), 503); /* there is no store */
	assert_int_equal(ask("GET", "/nowhere"), 404);
	assert_int_equal(ask("GET", "/traces/recent/"), 404);
	assert_int_equal(ask("GET", "//traces/recent"), 404);
	assert_int_equal(ask("GET", "traces/recent"), 404);
	assert_int_equal(ask("GET", ""), 404);
	assert_int_equal(ask("DELETE", "/metrics"), 405);
	assert_int_equal(ask("PATCH", "/traces/sources"), 405);
	assert_non_null(strstr(page, "only GET, POST, HEAD are allowed"));
	assert_int_equal(ask("GET", "/openapi.json"), 200);
}

static void parameters_that_cannot_be_are_named(void **state)
{
	assert_int_equal(ask("GET", "/traces/recent?limit=0"), 400);
	assert_non_null(strstr(page, "limit must be a number from 1 to 1000"));
	assert_int_equal(ask("GET", "/traces/recent?limit=1&limit=2"), 400);
	assert_non_null(strstr(page, "limit comes twice"));
	assert_int_equal(ask("GET", "/traces/recent?limt=5"), 400);
	assert_non_null(strstr(page, "there is no parameter limt"));
	assert_int_equal(ask("GET", "/traces/recent?limit=%zz"), 400);
	assert_int_equal(ask("GET", "/traces/recent?limit=1'%20OR%20'1'='1"), 400);
	assert_int_equal(ask("GET", "/traces/live?errors=perhaps"), 400);
	assert_int_equal(ask("GET", "/traces/live?min_duration=5"), 400);
}

static void foreign_pages_may_change_nothing(void **state)
{
	assert_true(call_init(&c, &cfg));
	c.req.method = STR("POST");
	c.req.target = STR("/traces/sources");
	c.req.host = STR("127.0.0.1:8009");
	c.req.origin = STR("http://attacker.example");
	assert_false(call_route(&c));
	assert_int_equal(c.status, 403);
	call_fini(&c);
	assert_int_equal(ask_with("POST", "/traces/sources", "text/plain", "{}"), 415);
	assert_int_equal(ask_with("POST", "/traces/sources", NULL, "{}"), 415);
}

static void accept_is_read_in_order(void **state)
{
	struct call one = { .req.accept = STR("application/protobuf;q=0.9, application/json") };

	assert_true(call_accepts(&one, "application/protobuf"));
	one.req.accept = STR("application/json, application/protobuf");
	assert_false(call_accepts(&one, "application/protobuf"));
	one.req.accept = STR("*/*");
	assert_false(call_accepts(&one, "application/protobuf"));
	one.req.accept = (struct str){ NULL, 0 };
	assert_false(call_accepts(&one, "application/protobuf"));
}

/* Every row can be reached, its parameters are known by name, those of the path come first. */
static void rows_are_well_formed(void **state)
{
	for (size_t t = 0; t < endpoints_all_cnt; t++)
		for (size_t i = 0; i < endpoints_all[t]->cnt; i++) {
			const struct endpoint *e = &endpoints_all[t]->row[i];
			const struct param *p = e->params;

			assert_true(e->path[0] == '/' && e->answer && e->method);
			for (const char *at = e->path; (at = strchr(at, '{')); at++, p++) {
				assert_true(p < e->params + e->param_cnt);
				assert_true(p->required);
				assert_memory_equal(p->name, at + 1, strlen(p->name));
				assert_int_equal(at[1 + strlen(p->name)], '}');
			}
			for (p = e->params; p < e->params + e->param_cnt; p++) {
				assert_true(p->type != PARAM_TEXT || p->max);
				assert_true(p->type != PARAM_CHOICE || p->choices);
			}
		}
}

/* ---- bodies ---- */

static void bodies_are_bounded_before_they_are_parsed(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{", "{\"a\":1,\"a\":2}", "nul", "{\"a\":\"\xff\"}", "{} x"
	};
	char deep[2 * BODY_DEPTH_MAX + 8] = "{\"a\":", why[BODY_WHY_MAX];
	json_t *root;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		why[0] = 0;
		assert_null(body_parse(str_of(bad[i]), why));
		assert_true(why[0]);
	}
	memset(deep + 5, '[', BODY_DEPTH_MAX);
	deep[5 + BODY_DEPTH_MAX] = 0;
	assert_null(body_parse(str_of(deep), why));
	assert_string_equal(why, "the body is nested deeper than 32");
	root = body_parse(STR("{\"a\":\"[[[[\\\"[[[\"}"), why);
	assert_non_null(root);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_read_with_their_units),
		cmocka_unit_test(times_are_read_and_written),
		cmocka_unit_test(numbers_tell_their_unit_of_time_by_size),
		cmocka_unit_test(escapes_are_decoded_and_bad_ones_refused),
		cmocka_unit_test(pages_are_found_by_method_and_path),
		cmocka_unit_test(parameters_that_cannot_be_are_named),
		cmocka_unit_test(foreign_pages_may_change_nothing),
		cmocka_unit_test(accept_is_read_in_order),
		cmocka_unit_test(rows_are_well_formed),
		cmocka_unit_test(bodies_are_bounded_before_they_are_parsed),
	};

	return cmocka_run_group_tests_name("api/route", tests, NULL, NULL);
}

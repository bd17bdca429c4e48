/* SPDX-License-Identifier: Apache-2.0 */
/* URL templates: what varies goes, what names stays, and there are never many of them. */
#include "unit/span/play.h"

static void assert_template(const char *path, const char *expect)
{
	char out[TEMPLATE_LEN_MAX + 1];

	out[template_make(str_of(path), out)] = 0;
	assert_string_equal(out, expect);
}

static void words_stay(void **state)
{
	static const char *const same[] = {
		"/",
		"/users",
		"/api/v1/users",
		"/api/v2.1/Items/",
		"/oauth2/authorize",
		"/.well-known/oauth2-authorization-server",
		"/a/b/c",
		"//double//slash",
		"/index.html",
		"/static/js/app.min.js",
		"/user-profiles/edit_form",
		"/internationalization/settings",
		"/healthz",
		"*",
	};

	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		assert_template(same[i], same[i]);
}

static void numbers_dates_and_values_become_ids(void **state)
{
	assert_template("/users/1", "/users/{id}");
	assert_template("/users/1234567/orders/42", "/users/{id}/orders/{id}");
	assert_template("/orders/order-1234", "/orders/order-{id}");
	assert_template("/u/user_7/x", "/u/user_{id}/x");
	assert_template("/log/2024-05-17", "/log/{id}");
	assert_template("/log/2024-05-17T10:20:30Z", "/log/{id}");
	assert_template("/mail/bob@example.org", "/mail/{id}");
	assert_template("/q/caf%C3%A9", "/q/{id}");
	assert_template("/q/\xc3\xa9", "/q/{id}");
	assert_template("/fake/{id}", "/fake/{id}");
	assert_template("/img/12345.jpg", "/img/{id}.jpg");
}

static void uuids_hashes_and_tokens_are_told_apart(void **state)
{
	assert_template("/o/550e8400-e29b-41d4-a716-446655440000/x", "/o/{uuid}/x");
	assert_template("/o/550E8400-E29B-41D4-A716-446655440000", "/o/{uuid}");
	assert_template("/c/9f86d081884c7d65", "/c/{hash}");
	assert_template("/c/9f86d081884c7d6", "/c/9f86d081884c7d6");
	assert_template("/c/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/c/{hash}");
	assert_template("/t/dGhpcyBpcyBhIHRva2VuMTIz", "/t/{hash}");
	assert_template("/t/eyJhbGciOiJIUzI1NiJ9.e30.x7-Q", "/t/{hash}");
	assert_template("/js/app.3f2a9c1b.js", "/js/app.{hash}.js");
	assert_template("/f/550e8400-e29b-41d4-a716-446655440000.png", "/f/{uuid}.png");
}

static void only_the_path_counts(void **state)
{
	char longest[4096];

	assert_template("/a?x=1&y=2", "/a");
	assert_template("/a#frag", "/a");
	assert_template("/a;jsessionid=123/b", "/a/b");
	assert_template("http://host:80/a/7?q", "/a/{id}");
	assert_template("http://host", "/");
	assert_template("host:443", "");
	assert_template("", "");
	assert_template("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18",
			"/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}"
			"/{id}/{id}/*");
	memset(longest, 'z', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = 0;
	assert_template(longest, "/{id}");
}

static void a_service_has_few_templates(void **state)
{
	struct templates *t = templates_new();
	unsigned int got = 0;

	for (int i = 0; i < 1000; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/%c%c/%c%c", 'a' + i % 26, 'a' + i / 26 % 2,
			 'a' + i % 7, 'a' + i / 500);
		got += templates_get(t, STR("one"), str_of(path)).len > 0;
	}
	assert_true(got > 0);
	/* a template that was taken stays, a new service has room of its own */
	assert_str(templates_get(t, STR("one"), STR("/aa/aa")), "/aa/aa");
	assert_str(templates_get(t, STR("two"), STR("/new/one")), "/new/one");
	templates_free(t);
}

static void places_with_many_values_give_no_more_templates(void **state)
{
	struct templates *t = templates_new();
	unsigned int got = 0;

	for (int i = 0; i < 300; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/users/%c%c%c", 'a' + i % 26, 'a' + i / 26, 'x');
		got += templates_get(t, STR("one"), str_of(path)).len > 0;
	}
	assert_int_equal(got, TEMPLATE_VALUES_MAX);
	assert_str(templates_get(t, STR("one"), STR("/users/9")), "");
	assert_str(templates_get(t, STR("one"), STR("/users")), "/users");
	templates_free(t);
}

static void there_are_never_more_templates_than_allowed(void **state)
{
	struct templates *t = templates_new();
	unsigned int got = 0;

	for (int i = 0; i < 60 * 60; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/%c%c/%c%c", 'a' + i % 20, 'a' + i % 60 / 20,
			 'a' + i / 60 % 20, 'a' + i / 60 / 20);
		got += templates_get(t, STR("one"), str_of(path)).len > 0;
	}
	assert_int_equal(got, TEMPLATES_MAX);
	templates_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_stay),
		cmocka_unit_test(numbers_dates_and_values_become_ids),
		cmocka_unit_test(uuids_hashes_and_tokens_are_told_apart),
		cmocka_unit_test(only_the_path_counts),
		cmocka_unit_test(a_service_has_few_templates),
		cmocka_unit_test(places_with_many_values_give_no_more_templates),
		cmocka_unit_test(there_are_never_more_templates_than_allowed),
	};

	return cmocka_run_group_tests_name("span name", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds and statuses in words, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "span/span.h"

static void each_word_reads_back(void **state)
{
	for (int i = SPAN_UNSPECIFIED; i <= SPAN_CONSUMER; i++) {
		enum span_kind kind = 77;

		assert_true(span_kind_parse(str_of(span_kind_name(i)), &kind));
		assert_int_equal(kind, i);
		kind = 77;
		assert_true(span_kind_parse(str_of(span_kind_otlp(i)), &kind));
		assert_int_equal(kind, i);
	}
	for (int i = STATUS_UNSET; i <= STATUS_ERROR; i++) {
		enum span_status status = 77;

		assert_true(span_status_parse(str_of(span_status_name(i)), &status));
		assert_int_equal(status, i);
		status = 77;
		assert_true(span_status_parse(str_of(span_status_otlp(i)), &status));
		assert_int_equal(status, i);
	}
	assert_string_equal(span_kind_otlp(SPAN_CLIENT), "SPAN_KIND_CLIENT");
	assert_string_equal(span_status_name(STATUS_ERROR), "error");
}

static void numbers_that_otlp_does_not_know_are_unset(void **state)
{
	assert_string_equal(span_kind_name(6), "unspecified");
	assert_string_equal(span_kind_otlp(-1), "SPAN_KIND_UNSPECIFIED");
	assert_string_equal(span_status_name(3), "unset");
	assert_string_equal(span_status_otlp(-1), "STATUS_CODE_UNSET");
}

static void other_words_are_refused(void **state)
{
	static const char *const bad[] = { "",		 "serve",	"servers",
					   "SPAN_KIND_", "KIND_SERVER", "STATUS_CODE_SERVER" };
	enum span_status status = STATUS_OK;
	enum span_kind kind = SPAN_SERVER;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(span_kind_parse(str_of(bad[i]), &kind));
		assert_false(span_status_parse(str_of(bad[i]), &status));
	}
	assert_int_equal(kind, SPAN_SERVER);
	assert_int_equal(status, STATUS_OK);
	assert_true(span_kind_parse(STR("Client"), &kind));
	assert_int_equal(kind, SPAN_CLIENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_word_reads_back),
		cmocka_unit_test(numbers_that_otlp_does_not_know_are_unset),
		cmocka_unit_test(other_words_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

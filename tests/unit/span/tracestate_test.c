/* SPDX-License-Identifier: Apache-2.0 */
/* OpenTelemetry's member of the tracestate: thresholds and randomness. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "span/span.h"

static void thresholds_are_read_with_their_zeros(void **state)
{
	assert_true(tracestate_threshold(STR("ot=th:8")) == THRESHOLD_ALL / 2);
	assert_true(tracestate_threshold(STR("x=1, ot=rv:12345678901234;th:c ,y=2")) ==
		    THRESHOLD_ALL / 4 * 3);
	assert_true(tracestate_threshold(STR("ot=th:0")) == 0);
	assert_true(tracestate_threshold(STR("ot=th:ffffffffffffff")) == THRESHOLD_ALL - 1);
}

static void bad_thresholds_count_as_none(void **state)
{
	static const char *const bad[] = { "",	      "ot=",	 "ot=th:",
					   "ot=th:g", "ot=th:G", "ot=th:fffffffffffffff",
					   "th:8",    "not=th:8" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(tracestate_threshold(str_of(bad[i])) == 0);
}

static void randomness_is_the_ids_unless_the_state_has_its_own(void **state)
{
	struct trace_id id = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4,
				 5, 6, 7 } };

	assert_true(trace_randomness(&id, STR("")) == 0x01020304050607);
	assert_true(trace_randomness(&id, STR("ot=rv:00000000000009")) == 9);
	assert_true(trace_randomness(&id, STR("ot=rv:9")) == 0x01020304050607);
}

static void a_threshold_replaces_only_itself(void **state)
{
	char buf[TRACESTATE_MAX], text[TRACESTATE_MAX * 2];
	struct str s;

	s = tracestate_with_threshold(STR(""), THRESHOLD_ALL / 2, buf);
	assert_true(str_eq(s, STR("ot=th:8")));
	s = tracestate_with_threshold(STR("a=1,ot=rv:00000000000009;th:c,b=2"), 1, buf);
	assert_true(str_eq(s, STR("ot=th:00000000000001;rv:00000000000009,a=1,b=2")));
	s = tracestate_with_threshold(STR("a=1"), 0, buf);
	assert_true(str_eq(s, STR("ot=th:0,a=1")));
	memset(text, 'x', sizeof(text));
	s = tracestate_with_threshold((struct str){ text, sizeof(text) }, 1, buf);
	assert_int_equal(s.len, 0);
}

static void a_kept_span_stands_for_the_rejected(void **state)
{
	struct span s = { .trace_state = STR("ot=th:c") };

	assert_true(span_adjusted_count(&s) == 4.0);
	s.trace_state = STR("");
	assert_true(span_adjusted_count(&s) == 1.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thresholds_are_read_with_their_zeros),
		cmocka_unit_test(bad_thresholds_count_as_none),
		cmocka_unit_test(randomness_is_the_ids_unless_the_state_has_its_own),
		cmocka_unit_test(a_threshold_replaces_only_itself),
		cmocka_unit_test(a_kept_span_stands_for_the_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

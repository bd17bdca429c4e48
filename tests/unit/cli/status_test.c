/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's books as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/status.h"

static void stages_are_rows_with_the_reasons_that_occurred(void **state)
{
	struct buf out = { 0 };

	assert_int_equal(
		status_table(
			STR("{\"stages\":[{\"stage\":\"ring\",\"unit\":\"record\",\"in\":10,"
			    "\"out\":7,\"held\":1,\"dropped\":{\"bad_record\":2,\"unknown_kind\":"
			    "0}}]}"),
			&out),
		0);
	buf_add_char(&out, '\0');
	assert_string_equal(
		out.p,
		"stage          unit                 in            out       held      dropped\n"
		"ring           record               10              7          1            2"
		"  bad_record 2\n");
	buf_fini(&out);
}

static void other_text_is_refused(void **state)
{
	static const char *const texts[] = { "", "{}", "[1]", "not json", "{\"stages\":3}" };
	struct buf out = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_true(status_table(str_of(texts[i]), &out) < 0);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stages_are_rows_with_the_reasons_that_occurred),
		cmocka_unit_test(other_text_is_refused),
	};

	return cmocka_run_group_tests_name("cli/status", tests, NULL, NULL);
}

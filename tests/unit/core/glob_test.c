/* SPDX-License-Identifier: Apache-2.0 */
/* Globs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/glob.h"

static void globs_match_as_a_shell_would(void **state)
{
	assert_true(glob_match("web", STR("web")));
	assert_false(glob_match("web", STR("web2")));
	assert_true(glob_match("w*", STR("web")));
	assert_true(glob_match("*b*", STR("abc")));
	assert_true(glob_match("*a?c", STR("aabc")));
	assert_false(glob_match("?", STR("")));
	assert_true(glob_match("*", STR("")));
	assert_false(glob_match("", STR("x")));
	assert_false(glob_match("a*b", STR("acbc")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(globs_match_as_a_shell_would),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

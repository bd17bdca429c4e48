/* SPDX-License-Identifier: Apache-2.0 */
/* Strings compared. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/str.h"

/* Wherever it stands, of every length that is compared in a way of its own. */
static void a_byte_that_differs_is_seen(void **state)
{
	char a[80], b[80];

	for (size_t i = 0; i < sizeof(a); i++)
		a[i] = b[i] = (char)('!' + i);
	for (size_t len = 0; len < sizeof(a); len++) {
		assert_true(str_eq((struct str){ a, len }, (struct str){ b, len }));
		for (size_t at = 0; at < len; at++) {
			b[at] ^= 1;
			assert_false(str_eq((struct str){ a, len }, (struct str){ b, len }));
			b[at] ^= 1;
		}
		b[len] ^= 1; /* what comes after it does not */
		assert_true(str_eq((struct str){ a, len }, (struct str){ b, len }));
		b[len] ^= 1;
	}
}

static void lengths_count_and_nothing_is_no_pointer(void **state)
{
	assert_false(str_eq(STR("content-length"), STR("content-lengt")));
	assert_true(str_eq((struct str){ NULL, 0 }, (struct str){ "", 0 }));
	assert_false(str_eq((struct str){ NULL, 0 }, STR("x")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_byte_that_differs_is_seen),
		cmocka_unit_test(lengths_count_and_nothing_is_no_pointer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: what is well-formed, and what one U+FFFD stands for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/utf8.h"

#define FFFD UTF8_REPLACEMENT

static void clean_equals(const char *from, const char *want)
{
	char out[128];
	size_t len = utf8_clean_len(str_of(from));

	assert_int_equal(len, strlen(want));
	utf8_clean(str_of(from), out);
	assert_memory_equal(out, want, len);
	assert_int_equal(utf8_valid(str_of(from)), strcmp(from, want) == 0);
}

static void well_formed_text_stays(void **state)
{
	clean_equals("", "");
	clean_equals("plain ASCII, longer than a word", "plain ASCII, longer than a word");
	clean_equals("grüße 日本語 🧶", "grüße 日本語 🧶");
	clean_equals("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
		     "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf");
}

static void overlong_forms_surrogates_and_high_planes_are_replaced(void **state)
{
	clean_equals("\xc0\xaf", FFFD FFFD);
	clean_equals("\xe0\x80\xaf", FFFD FFFD FFFD);
	clean_equals("\xed\xa0\x80", FFFD FFFD FFFD);
	clean_equals("\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD);
	clean_equals("\xff\xfe", FFFD FFFD);
}

static void a_cut_sequence_is_one_replacement(void **state)
{
	clean_equals("long enough for words \xe6\x97", "long enough for words " FFFD);
	clean_equals("\xf0\x9f\xa7", FFFD);
	clean_equals("\xe6\x97x", FFFD "x");
	/* The example of Unicode 15, table 3-8. */
	clean_equals("a\xf1\x80\x80\xe1\x80\xc2"
		     "b\x80"
		     "c\x80\xbf"
		     "d",
		     "a" FFFD FFFD FFFD "b" FFFD "c" FFFD FFFD "d");
}

static void every_place_of_a_bad_byte_is_found(void **state)
{
	for (size_t len = 1; len < 40; len++) {
		for (size_t at = 0; at < len; at++) {
			char text[40];
			memset(text, 'x', len);
			assert_true(utf8_valid((struct str){ text, len }));
			text[at] = '\x80';
			assert_false(utf8_valid((struct str){ text, len }));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(well_formed_text_stays),
		cmocka_unit_test(overlong_forms_surrogates_and_high_planes_are_replaced),
		cmocka_unit_test(a_cut_sequence_is_one_replacement),
		cmocka_unit_test(every_place_of_a_bad_byte_is_found),
	};
	return cmocka_run_group_tests_name("core/utf8", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The MySQL parser on conversations recorded between MariaDB's clients and a server. */
#include "converse.h"

#include "proto/sql.h"

static const char *const recorded[] = {
	"mysql_simple",	  "mysql_stmt",	 "mysql_infile",
	"mysql_compress", "mysql_large", "mysql_denied",
};

static void each_recording_gives_its_golden_exchanges(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(recorded); i++)
		check_whole(recorded[i], 0);
}

static void bytes_one_by_one_give_the_same(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(recorded); i++)
		for (size_t split = 1; split < 8; split += 3)
			check_whole(recorded[i], split);
}

/* Not the compressed one: with its login in the hole it looks like any other. */
static const char *const plain[] = { "mysql_simple", "mysql_stmt", "mysql_infile", "mysql_large",
				     "mysql_denied" };

static void a_hole_anywhere_invents_nothing(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		check_holes(plain[i], 4);
}

static void joined_anywhere_nothing_is_invented(void **state)
{
	/* the recording of statements ends in commands of one byte, that prove nothing */
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		check_joined(plain[i], strstr(plain[i], "stmt") ? 4 : 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_recording_gives_its_golden_exchanges, cleanup),
		cmocka_unit_test_teardown(bytes_one_by_one_give_the_same, cleanup),
		cmocka_unit_test_teardown(a_hole_anywhere_invents_nothing, cleanup),
		cmocka_unit_test_teardown(joined_anywhere_nothing_is_invented, cleanup),
	};

	return cmocka_run_group_tests_name("proto/mysql", tests, NULL, NULL);
}

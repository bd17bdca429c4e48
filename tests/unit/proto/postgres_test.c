/* SPDX-License-Identifier: Apache-2.0 */
/* The PostgreSQL parser on conversations recorded between psql, pgbench, libpq and a server. */
#include "converse.h"

#include "proto/sql.h"

static const char *const recorded[] = {
	"postgres_simple",	   "postgres_ext",
	"postgres_pipe",	   "postgres_copy",
	"postgres_large",	   "postgres_ssl",
	"postgres_scram",	   "postgres_denied",
	"postgres_cancel",	   "postgres_cancel_request",
	"postgres_bench_simple",   "postgres_bench_extended",
	"postgres_bench_prepared", "postgres_bench_pipeline",
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

static void a_hole_anywhere_invents_nothing(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(recorded); i++)
		check_holes(recorded[i], 3);
}

static void joined_anywhere_nothing_is_invented(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(recorded); i++)
		check_joined(recorded[i], strstr(recorded[i], "pipe") ? 4 : 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_recording_gives_its_golden_exchanges, cleanup),
		cmocka_unit_test_teardown(bytes_one_by_one_give_the_same, cleanup),
		cmocka_unit_test_teardown(a_hole_anywhere_invents_nothing, cleanup),
		cmocka_unit_test_teardown(joined_anywhere_nothing_is_invented, cleanup),
	};

	return cmocka_run_group_tests_name("proto/postgres", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The PostgreSQL parser on conversations recorded between psql, pgbench, libpq and a server. */
#include "converse.h"

#include "proto/postgres_internal.h"

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

/* ---- made by hand ---- */

/* Appends a message: type, length, body. */
static void put(struct buf *b, char type, const void *body, size_t len)
{
	uint32_t n = (uint32_t)len + 4;
	uint8_t header[] = { (uint8_t)type, (uint8_t)(n >> 24), (uint8_t)(n >> 16),
			     (uint8_t)(n >> 8), (uint8_t)n };

	assert_int_equal(buf_add(b, header, sizeof(header)), 0);
	assert_int_equal(buf_add(b, body, len), 0);
}

#define PUT(b, type, body) put(b, type, body, sizeof(body) - 1)

static void say(bool server, struct buf *b)
{
	talk_add(&talk, server, b->p, b->len);
	buf_fini(b);
	*b = (struct buf){ NULL };
}

/* One plain exchange, so that the connection is known and in step. */
static void warm_up(void)
{
	struct buf b = { NULL };

	PUT(&b, 'Q', "SELECT 1\0");
	say(false, &b);
	PUT(&b, 'C', "SELECT 1\0");
	PUT(&b, 'Z', "I");
	say(true, &b);
}

static void assert_exchange(size_t i, const char *request, const char *response)
{
	assert_true(i < whole.cnt);
	assert_true(whole.ex[i].answered);
	if (!strstr(whole.ex[i].request.p, request) || !strstr(whole.ex[i].response.p, response))
		fail_msg("%zu: %s\n%s", i, whole.ex[i].request.p, whole.ex[i].response.p);
}

static void a_portal_read_in_parts_knows_its_statement(void **state)
{
	struct buf b = { NULL };

	warm_up();
	PUT(&b, 'P', "s1\0SELECT a FROM t\0\0\0");
	PUT(&b, 'B', "c1\0s1\0\0\0\0\0\0\0");
	PUT(&b, 'E', "c1\0\0\0\0\x0a");
	PUT(&b, 'S', "");
	say(false, &b);
	PUT(&b, '1', "");
	PUT(&b, '2', "");
	PUT(&b, 's', "");
	PUT(&b, 'Z', "T");
	say(true, &b);
	PUT(&b, 'E', "c1\0\0\0\0\x0a");
	PUT(&b, 'S', "");
	say(false, &b);
	PUT(&b, 'C', "SELECT 3\0");
	PUT(&b, 'Z', "T");
	say(true, &b);
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 3);
	assert_exchange(1, "db.query.text=SELECT a FROM t", "");
	assert_exchange(2, "SELECT/t", "db.response.returned_rows=3");
}

static void a_statement_of_before_the_start_has_no_text(void **state)
{
	struct buf b = { NULL };

	warm_up();
	PUT(&b, 'B', "\0old\0\0\0\0\0\0\0");
	PUT(&b, 'E', "\0\0\0\0\0");
	PUT(&b, 'S', "");
	say(false, &b);
	PUT(&b, '2', "");
	PUT(&b, 'C', "INSERT 0 1\0");
	PUT(&b, 'Z', "T");
	say(true, &b);
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 2);
	assert_exchange(1, "EXECUTE/", "");
	assert_null(strstr(whole.ex[1].request.p, "db.query.text"));
}

static void statements_prepared_with_flush_end_without_sync(void **state)
{
	struct buf b = { NULL };

	warm_up();
	PUT(&b, 'P', "s1\0SELECT a FROM t\0\0\0");
	PUT(&b, 'D', "Ss1\0");
	PUT(&b, 'H', "");
	say(false, &b);
	PUT(&b, '1', "");
	PUT(&b, 't', "\0\0");
	PUT(&b, 'n', "");
	say(true, &b);
	PUT(&b, 'B', "\0s1\0\0\0\0\0\0\0");
	PUT(&b, 'E', "\0\0\0\0\0");
	PUT(&b, 'S', "");
	say(false, &b);
	PUT(&b, '2', "");
	PUT(&b, 'C', "SELECT 3\0");
	PUT(&b, 'Z', "T");
	say(true, &b);
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 3);
	assert_exchange(1, "PREPARE/t", "");
	assert_exchange(2, "SELECT/t", "db.response.returned_rows=3");
	assert_int_equal(whole.orphans, 0);
}

static void the_end_of_an_idle_connection_is_no_response(void **state)
{
	struct buf b = { NULL };

	warm_up();
	PUT(&b, 'E', "SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0");
	say(true, &b);
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 1);
	assert_int_equal(whole.orphans, 0);
}

static void a_fatal_error_ends_the_exchange(void **state)
{
	struct buf b = { NULL };

	warm_up();
	PUT(&b, 'Q', "SELECT 2\0");
	say(false, &b);
	PUT(&b, 'E', "SFATAL\0C57P01\0Mterminating connection\0\0");
	say(true, &b);
	play(&talk, (struct damage){ 0 }, &whole);
	assert_exchange(1, "SELECT", "error=57P01");
}

static void a_batch_of_many_statements_is_as_many_exchanges(void **state)
{
	struct buf b = { NULL };

	/* a batch as large as the list of the test takes */
	warm_up();
	for (int i = 0; i < 900; i++) {
		PUT(&b, 'B', "\0old\0\0\0\0\0\0\0");
		PUT(&b, 'E', "\0\0\0\0\0");
	}
	PUT(&b, 'S', "");
	say(false, &b);
	for (int i = 0; i < 900; i++)
		PUT(&b, 'C', "INSERT 0 1\0");
	PUT(&b, 'Z', "I");
	say(true, &b);
	PUT(&b, 'Q', "SELECT a FROM last\0");
	say(false, &b);
	PUT(&b, 'C', "SELECT 7\0");
	PUT(&b, 'Z', "I");
	say(true, &b);
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 902);
	assert_exchange(901, "SELECT/last", "db.response.returned_rows=7");
}

static void what_finds_the_queue_full_is_passed_over_with_its_sync(void **state)
{
	struct pg_state st = { .starting = false };
	uint32_t kept = 0;

	for (int i = 0; i < PG_QUEUE_MAX + 10; i++)
		kept += pg_queue_push(&st, PG_END_EXECUTE);
	pg_queue_sync(&st);
	assert_int_equal(kept, PG_QUEUE_MAX);
	assert_int_equal(st.lost_syncs, 1);
	assert_false(pg_queue_push(&st, PG_END_READY | PG_SYNC));
	assert_int_equal(st.lost_syncs, 2);
	while (pg_queue_head(&st) >= 0)
		pg_queue_pop(&st);
	assert_false(pg_queue_push(&st, PG_END_READY | PG_SYNC));
	st.lost_syncs = 0;
	assert_true(pg_queue_push(&st, PG_END_READY | PG_SYNC));
	free(st.queue);
}

static void a_response_seen_before_its_request_belongs_to_it(void **state)
{
	struct buf b = { NULL };

	warm_up();
	PUT(&b, 'C', "SELECT 2\0");
	PUT(&b, 'Z', "I");
	say(true, &b);
	PUT(&b, 'Q', "SELECT 2\0");
	say(false, &b);
	warm_up();
	play(&talk, (struct damage){ .step_ns = 20000 }, &whole);
	assert_int_equal(whole.cnt, 3);
	/* the span room lets it wait; here it is counted */
	assert_int_equal(whole.orphans, 1);
	assert_false(whole.ex[2].answered);
	assert_true(whole.ex[1].answered);
}

static void a_large_result_keeps_its_count_of_rows(void **state)
{
	struct damage d = { .hole_server = true };

	talk_load(&talk, "postgres_large");
	d.hole_at = 600;
	d.hole_len = talk_size(&talk, true) - 600 - 128;
	play(&talk, d, &whole);
	assert_int_equal(whole.cnt, 2);
	assert_exchange(1, "SELECT/items", "db.response.returned_rows=20");
}

static void other_protocols_are_refused(void **state)
{
	extern const struct proto proto_postgres;
	static const char *const others[] = {
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "*1\r\n$4\r\nPING\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",	     "\x16\x03\x01\x02\x01\x01\x01\x01",
		"SSH-2.0-OpenSSH_9.2\r\n",	     "220 mail ESMTP\r\n",
		"QUIT and nothing else\r\n",	     "SET a b\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(proto_postgres.detect((const uint8_t *)others[i],
						       strlen(others[i]), 5432, false),
				 DETECT_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_recording_gives_its_golden_exchanges, cleanup),
		cmocka_unit_test_teardown(bytes_one_by_one_give_the_same, cleanup),
		cmocka_unit_test_teardown(a_hole_anywhere_invents_nothing, cleanup),
		cmocka_unit_test_teardown(joined_anywhere_nothing_is_invented, cleanup),
		cmocka_unit_test_teardown(a_portal_read_in_parts_knows_its_statement, cleanup),
		cmocka_unit_test_teardown(a_statement_of_before_the_start_has_no_text, cleanup),
		cmocka_unit_test_teardown(statements_prepared_with_flush_end_without_sync, cleanup),
		cmocka_unit_test_teardown(the_end_of_an_idle_connection_is_no_response, cleanup),
		cmocka_unit_test_teardown(a_fatal_error_ends_the_exchange, cleanup),
		cmocka_unit_test_teardown(a_batch_of_many_statements_is_as_many_exchanges, cleanup),
		cmocka_unit_test_teardown(what_finds_the_queue_full_is_passed_over_with_its_sync,
					  cleanup),
		cmocka_unit_test_teardown(a_response_seen_before_its_request_belongs_to_it,
					  cleanup),
		cmocka_unit_test_teardown(a_large_result_keeps_its_count_of_rows, cleanup),
		cmocka_unit_test_teardown(other_protocols_are_refused, cleanup),
	};

	return cmocka_run_group_tests_name("proto/postgres", tests, NULL, NULL);
}

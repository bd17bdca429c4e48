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

#define SELECT_1   "090000000353454c4543542031"
#define DEFINITION "036465660000000131000c3f0001000000088100000000"
#define COLUMN	   "17000002" DEFINITION

static void assert_exchange(size_t i, const char *request, const char *response)
{
	assert_true(i < whole.cnt);
	assert_true(whole.ex[i].answered);
	if (!strstr(whole.ex[i].request.p, request) || !strstr(whole.ex[i].response.p, response))
		fail_msg("%zu: %s\n%s", i, whole.ex[i].request.p, whole.ex[i].response.p);
}

static void results_without_eof_packets_are_understood(void **state)
{
	/* one row; two results of one row each; no row */
	talk_hex(&talk, false, SELECT_1);
	talk_hex(&talk, true,
		 "0100000101" COLUMN "020000030131"
		 "07000004fe000002000000");
	talk_hex(&talk, false, SELECT_1);
	talk_hex(&talk, true,
		 "0100000101" COLUMN "020000030131"
		 "07000004fe00000a000000"
		 "0100000501"
		 "17000006" DEFINITION "020000070131"
		 "07000008fe000002000000");
	talk_hex(&talk, false, SELECT_1);
	talk_hex(&talk, true, "0100000101" COLUMN "07000003fe000002000000");
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 3);
	assert_exchange(0, "db.query.text=SELECT 1", "db.response.returned_rows=1");
	assert_null(strstr(whole.ex[1].response.p, "returned_rows"));
	assert_true(whole.ex[1].answered);
	assert_exchange(2, "SELECT", "db.response.returned_rows=0");
}

static void query_attributes_are_not_the_query(void **state)
{
	talk_hex(&talk, false,
		 "0b0000000300"
		 "01"
		 "53454c4543542031");
	talk_hex(&talk, true,
		 "07000001000000020000"
		 "00");
	talk_hex(&talk, false,
		 "1f0000000301010001fe000b7472616365706172656e740361626353454c4543542032");
	talk_hex(&talk, true,
		 "07000001000000020000"
		 "00");
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 2);
	assert_exchange(0, "db.query.text=SELECT 1", "");
	assert_exchange(1, "db.query.text=SELECT 2", "");
}

static void a_statement_may_be_executed_before_its_number_is_known(void **state)
{
	talk_hex(&talk, false,
		 "0900000016"
		 "53454c4543542031"
		 "0a00000017ffffffff0001000000");
	talk_hex(&talk, true,
		 "0c000001000700000001000000000000"
		 "00"
		 "0100000101" COLUMN "020000030131"
		 "07000004fe000002000000");
	talk_hex(&talk, false, "0a00000017070000000001000000");
	talk_hex(&talk, true,
		 "0100000101" COLUMN "020000030131"
		 "07000004fe000002000000");
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 3);
	assert_exchange(0, "db.operation.name=PREPARE", "");
	assert_exchange(1, "db.query.text=SELECT 1", "");
	assert_exchange(2, "db.query.text=SELECT 1", "db.response.returned_rows=1");
}

static void a_query_of_several_packets_is_one_exchange(void **state)
{
	static const char head[] = "\xff\xff\xff\x00\x03INSERT INTO t VALUES ('";
	size_t size = 4 + 0xffffff;
	char *big = malloc(size);

	memset(big, 'x', size);
	memcpy(big, head, sizeof(head) - 1);
	talk_add(&talk, false, big, size);
	free(big);
	talk_hex(&talk, false,
		 "03000001"
		 "782729");
	talk_hex(&talk, true,
		 "07000002000100020000"
		 "00");
	talk_hex(&talk, false, SELECT_1);
	talk_hex(&talk, true,
		 "0100000101" COLUMN "020000030131"
		 "07000004fe000002000000");
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 2);
	assert_exchange(0, "INSERT/t truncated", "");
	assert_exchange(1, "SELECT", "db.response.returned_rows=1");
}

static void a_file_is_no_command(void **state)
{
	struct buf file = { NULL };

	talk_hex(&talk, false,
		 "2700000003"
		 "4c4f414420444154412049"
		 "4e46494c45202778"
		 "2720494e544f205441424c"
		 "4520782020202020");
	talk_hex(&talk, true, "02000001fb78");
	/* numbers go round to 0, where a packet would look like DROP TABLE x */
	for (int i = 2; i < 300; i++) {
		uint8_t header[] = { 14, 0, 0, (uint8_t)i };
		buf_add(&file, header, 4);
		buf_add(&file,
			"\x03"
			"DROP TABLE x;",
			14);
	}
	buf_add(&file, "\0\0\0\x2c", 4);
	talk_add(&talk, false, file.p, file.len);
	buf_fini(&file);
	talk_hex(&talk, true,
		 "0700002d000100020000"
		 "00");
	talk_hex(&talk, false, SELECT_1);
	talk_hex(&talk, true,
		 "0100000101" COLUMN "020000030131"
		 "07000004fe000002000000");
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 2);
	assert_exchange(0, "LOAD/x", "");
	assert_exchange(1, "SELECT", "db.response.returned_rows=1");
}

static void tls_ends_it(void **state)
{
	struct talk simple = { .cnt = 0 };

	talk_load(&simple, "mysql_simple");
	talk_add(&talk, true, simple.piece[0].p, simple.piece[0].len);
	talk_hex(&talk, false,
		 "200000018caebf00000000012100000000000000000000000000000000000000"
		 "00000000");
	talk_hex(&talk, false, "16030100c8010000c4030300000000000000" SELECT_1);
	talk_free(&simple);
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 0);
}

static void a_large_result_is_answered_by_its_tail(void **state)
{
	struct damage d = { .hole_server = true };

	talk_load(&talk, "mysql_large");
	d.hole_at = 600;
	d.hole_len = talk_size(&talk, true) - 600 - 128;
	play(&talk, d, &whole);
	assert_int_equal(whole.cnt, 2);
	assert_true(whole.ex[1].answered);
	assert_null(strstr(whole.ex[1].response.p, "returned_rows"));
}

static void other_protocols_are_refused(void **state)
{
	extern const struct proto proto_mysql;
	static const char *const others[] = {
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"*1\r\n$4\r\nPING\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"\x16\x03\x01\x02\x01\x01\x01\x01\xfc\x03\x03",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"220 mail ESMTP\r\n",
		"Q SELECT 1 and so on",
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(proto_mysql.detect((const uint8_t *)others[i], strlen(others[i]),
						    3306, false),
				 DETECT_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(each_recording_gives_its_golden_exchanges, cleanup),
		cmocka_unit_test_teardown(bytes_one_by_one_give_the_same, cleanup),
		cmocka_unit_test_teardown(a_hole_anywhere_invents_nothing, cleanup),
		cmocka_unit_test_teardown(joined_anywhere_nothing_is_invented, cleanup),
		cmocka_unit_test_teardown(results_without_eof_packets_are_understood, cleanup),
		cmocka_unit_test_teardown(query_attributes_are_not_the_query, cleanup),
		cmocka_unit_test_teardown(a_statement_may_be_executed_before_its_number_is_known,
					  cleanup),
		cmocka_unit_test_teardown(a_query_of_several_packets_is_one_exchange, cleanup),
		cmocka_unit_test_teardown(a_file_is_no_command, cleanup),
		cmocka_unit_test_teardown(tls_ends_it, cleanup),
		cmocka_unit_test_teardown(a_large_result_is_answered_by_its_tail, cleanup),
		cmocka_unit_test_teardown(other_protocols_are_refused, cleanup),
	};

	return cmocka_run_group_tests_name("proto/mysql", tests, NULL, NULL);
}

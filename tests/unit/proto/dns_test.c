/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS parser: dig's questions with a small server's answers, and datagrams made by hand. */
#include "converse.h"

extern const struct proto proto_dns;

#define ASK    "0100000100000000000003777777076578616d706c65036f72670000010001"
#define ANSWER "8180000100010000000003777777076578616d706c65036f72670000010001"
#define ADDR   "c00c000100010000012c0004c0000201"

static int setup(void **state)
{
	whole.datagram = true;
	whole.port = 53;
	return 0;
}

static enum detect detect_hex(const char *hex, uint16_t port, bool datagram)
{
	size_t len;
	uint8_t *p = hex_bytes(hex, &len);
	enum detect d = proto_dns.detect(p, len, port, datagram);

	free(p);
	return d;
}

static void the_recording_gives_its_golden_exchanges(void **state)
{
	check_whole("dns", 0);
}

static void questions_and_answers_are_told_apart(void **state)
{
	assert_int_equal(detect_hex("1234" ASK, 53, true), DETECT_REQUEST);
	assert_int_equal(detect_hex("1234" ANSWER ADDR, 0, true), DETECT_RESPONSE);
}

static void what_is_not_dns_is_refused(void **state)
{
	/* a stream, multicast, one byte too many, one too few, an update, two questions */
	assert_int_equal(detect_hex("1234" ASK, 53, false), DETECT_NO);
	assert_int_equal(detect_hex("1234" ASK, 5353, true), DETECT_NO);
	assert_int_equal(detect_hex("1234" ASK "00", 53, true), DETECT_NO);
	assert_int_equal(detect_hex("1234" ANSWER, 53, true), DETECT_NO);
	assert_int_equal(detect_hex("12342800000100000000000003777777000001"
				    "0001",
				    53, true),
			 DETECT_NO);
	assert_int_equal(detect_hex("123401000002000000000000"
				    "0000010001",
				    53, true),
			 DETECT_NO);
	assert_int_equal(detect_hex("", 53, true), DETECT_NO);
}

static void names_that_point_in_circles_end(void **state)
{
	/* to itself, forwards, and into the header */
	assert_int_equal(detect_hex("123401000001000000000000c00c00010001", 53, true), DETECT_NO);
	assert_int_equal(detect_hex("123401000001000000000000c00e0001000100", 53, true), DETECT_NO);
	assert_int_equal(detect_hex("123401000001000000000000c00000010001", 53, true), DETECT_NO);
}

static void a_question_sent_again_is_one_exchange(void **state)
{
	for (int i = 0; i < 2; i++)
		talk_hex(&talk, false, "1234" ASK);
	for (int i = 0; i < 2; i++)
		talk_hex(&talk, true, "1234" ANSWER ADDR);
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 1);
	assert_true(whole.ex[0].answered);
	assert_int_equal(whole.orphans, 0);
}

static void parallel_questions_pair_by_id(void **state)
{
	talk_hex(&talk, false, "1111" ASK);
	talk_hex(&talk, false, "2222" ASK);
	talk_hex(&talk, true, "2222" ANSWER ADDR);
	talk_hex(&talk, true,
		 "1111818300010000000000000377777707657861"
		 "6d706c65036f72670000010001");
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 2);
	assert_non_null(strstr(whole.ex[0].response.p, "error=NXDOMAIN"));
	assert_null(strstr(whole.ex[0].response.p, "server-error"));
	assert_non_null(strstr(whole.ex[1].response.p, "dns.answers=[192.0.2.1]"));
}

static void bytes_that_are_no_text_are_escaped(void **state)
{
	/* a label "a.\x01B" */
	talk_hex(&talk, false,
		 "1234010000010000000000000461"
		 "2e014200000f0001");
	play(&talk, (struct damage){ 0 }, &whole);
	assert_int_equal(whole.cnt, 1);
	assert_string_equal(whole.ex[0].request.p, "DNS/MX | dns.question.name=a\\.\\001b");
}

static void any_byte_changed_crashes_nothing(void **state)
{
	struct talk one = { .cnt = 0 };

	talk_load(&talk, "dns");
	for (size_t i = 0; i < talk.cnt; i++) {
		for (size_t at = 0; at < talk.piece[i].len; at++) {
			for (unsigned int bit = 0; bit < 8; bit++) {
				talk_add(&one, talk.piece[i].server, talk.piece[i].p,
					 talk.piece[i].len);
				one.piece[0].p[at] ^= (uint8_t)(1u << bit);
				play(&one, (struct damage){ 0 }, &whole);
				talk_free(&one);
				outcome_clear(&whole);
			}
		}
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, cleanup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_recording_gives_its_golden_exchanges),
		TEST(questions_and_answers_are_told_apart),
		TEST(what_is_not_dns_is_refused),
		TEST(names_that_point_in_circles_end),
		TEST(a_question_sent_again_is_one_exchange),
		TEST(parallel_questions_pair_by_id),
		TEST(bytes_that_are_no_text_are_escaped),
		TEST(any_byte_changed_crashes_nothing),
	};

	return cmocka_run_group_tests_name("proto/dns", tests, NULL, NULL);
}

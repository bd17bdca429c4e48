/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule of span/context.h, where it holds and where it must not. */
#include "unit/span/parents.h"

static void egress_in_the_turn_of_the_read_is_its_child(void **state)
{
	runs_on(RUNTIME_NATIVE);
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_int_equal(p.cnt, 2);
	assert_true(is_child(asked(&out1, 0), served(&in1, 0)));
	assert_method(asked(&out1, 0), "thread-turn");
	assert_int_equal(asked(&out1, 0)->flags, 0x101);
	assert_true(is_root(served(&in1, 0)));
	assert_int_equal(served(&in1, 0)->flags, 1);
}

static void a_second_read_before_the_egress_makes_it_ambiguous(void **state)
{
	runs_on(RUNTIME_PYTHON);
	serve(&p, &a, &in1, 0);
	serve(&p, &a, &in2, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 0), 2);
	/* the likeliest first: the request read last */
	assert_memory_equal(&asked(&out1, 0)->links[0].span_id, &served(&in2, 0)->span_id, 8);
}

static void a_second_request_is_certain_when_the_first_waits_for_its_own(void **state)
{
	runs_on(RUNTIME_NATIVE);
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	serve(&p, &a, &in2, 0); /* same turn: a busy event loop never blocks */
	ask(&p, &a, &out2, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	hear(&p, &a, &out2, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 0), served(&in1, 0)));
	assert_true(is_child(asked(&out2, 0), served(&in2, 0)));
	assert_method(asked(&out2, 0), "thread-turn");
}

static void a_request_woken_in_between_makes_it_ambiguous(void **state)
{
	runs_on(RUNTIME_PYTHON);
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	hear(&p, &a, &out1, 0); /* the first may go on ... */
	serve(&p, &a, &in2, 0);
	ask(&p, &a, &out2, 0); /* ... and this may be its second egress */
	next_turn();
	hear(&p, &a, &out2, 0);
	answer(&p, &a, &in1, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out2, 0), 2);
}

static void a_deferred_request_makes_another_turns_egress_ambiguous(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0); /* waits for a timer */
	next_turn();
	serve(&p, &a, &in2, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in2, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 0), 2);
}

static void a_blocking_thread_works_on_what_it_read_last(void **state)
{
	runs_on(RUNTIME_RUBY);
	a.th.turn = a.th.read_turn = 0;
	serve(&p, &a, &in1, 0); /* its answer will never be seen */
	serve(&p, &a, &in2, 0);
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 0), served(&in2, 0)));
}

static void the_only_open_request_is_the_parent_from_a_later_turn(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	next_turn();
	ask(&p, &a, &out1, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 0), served(&in1, 0)));
	assert_method(asked(&out1, 0), "thread-single");
}

static void two_open_requests_in_a_later_turn_are_ambiguous(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	next_turn();
	serve(&p, &a, &in2, 0);
	next_turn();
	ask(&p, &a, &out1, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 0), 2);
}

static void an_answered_request_is_no_parent(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	answer(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	play_settle(&p);
	assert_true(is_root(asked(&out1, 0)));
	assert_int_equal(asked(&out1, 0)->link_cnt, 0);
}

static void the_response_of_an_egress_restores_its_request(void **state)
{
	runs_on(RUNTIME_NATIVE);
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	serve(&p, &a, &in2, 0);
	ask(&p, &a, &out2, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	ask(&p, &a, &out1, 100); /* the second of the first, the other one waits */
	next_turn();
	hear(&p, &a, &out1, 100);
	answer(&p, &a, &in1, 0);
	hear(&p, &a, &out2, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 100), served(&in1, 0)));
	assert_method(asked(&out1, 100), "thread-response");
}

static void two_responses_in_a_turn_make_a_further_egress_ambiguous(void **state)
{
	runs_on(RUNTIME_PYTHON);
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	serve(&p, &a, &in2, 0);
	ask(&p, &a, &out2, 0);
	next_turn();
	hear(&p, &a, &out1, 0); /* asyncio reads all that is ready, then runs the tasks */
	hear(&p, &a, &out2, 0);
	ask(&p, &a, &out1, 100);
	next_turn();
	hear(&p, &a, &out1, 100);
	answer(&p, &a, &in1, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 100), 2);
}

/* node with one pooled connection: the response of A frees it, and B's request goes out. */
static void a_pool_of_one_never_gives_the_answered_request(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	serve(&p, &a, &in2, 0); /* queued for the connection */
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 100); /* B's */
	next_turn();
	hear(&p, &a, &out1, 100);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 0), served(&in1, 0)));
	assert_false(is_child(asked(&out1, 100), served(&in1, 0)));
	assert_true(is_child(asked(&out1, 100), served(&in2, 0)));
	assert_method(asked(&out1, 100), "thread-single");
}

static void a_pool_of_one_before_the_answer_is_ambiguous(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	serve(&p, &a, &in2, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	ask(&p, &a, &out1, 100); /* B's, written before A is answered */
	answer(&p, &a, &in1, 0);
	next_turn();
	hear(&p, &a, &out1, 100);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 100), 2);
}

static void two_waiting_for_a_pool_of_one_are_ambiguous(void **state)
{
	struct conn in3 = play_conn(9, ROLE_ACCEPTED, 80, 5009);

	runs_on(RUNTIME_NODE);
	play_open(&p, &in3);
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	next_turn();
	serve(&p, &a, &in2, 0);
	serve(&p, &a, &in3, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 100);
	play_settle(&p);
	correlate_flush(p.c);
	assert_ambiguous(asked(&out1, 100), 2);
}

static void a_blocking_client_reads_its_response_on_the_same_thread(void **state)
{
	runs_on(RUNTIME_PYTHON);
	a.th.turn = a.th.read_turn = 0;
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	ask(&p, &a, &out1, 100);
	hear(&p, &a, &out1, 100);
	ask(&p, &a, &out2, 0);
	hear(&p, &a, &out2, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_method(asked(&out1, 0), "thread-turn");
	assert_method(asked(&out1, 100), "thread-response");
	assert_method(asked(&out2, 0), "thread-response");
	assert_true(is_child(asked(&out2, 0), served(&in1, 0)));
}

static void a_read_of_an_unknown_request_takes_the_context_away(void **state)
{
	struct conn other = play_conn(9, ROLE_ACCEPTED, 81, 5009);

	runs_on(RUNTIME_NODE);
	play_open(&p, &other); /* a protocol that nobody here speaks */
	serve(&p, &a, &in1, 0);
	next_turn();
	play_evidence(&p, &a, &other, DIR_IN);
	play_note_read(&a, other.id, 0);
	ask(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	hear(&p, &a, &out1, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 0), 1);
}

static void a_response_of_nobodys_request_takes_the_context_away(void **state)
{
	runs_on(RUNTIME_NODE);
	ask(&p, &a, &out1, 0); /* a timer's */
	serve(&p, &a, &in1, 0);
	next_turn();
	hear(&p, &a, &out1, 0);
	ask(&p, &a, &out1, 100); /* the timer's again */
	answer(&p, &a, &in1, 0);
	hear(&p, &a, &out1, 100);
	play_settle(&p);
	assert_true(is_root(asked(&out1, 0)));
	assert_ambiguous(asked(&out1, 100), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(egress_in_the_turn_of_the_read_is_its_child),
		TEST(a_second_read_before_the_egress_makes_it_ambiguous),
		TEST(a_second_request_is_certain_when_the_first_waits_for_its_own),
		TEST(a_request_woken_in_between_makes_it_ambiguous),
		TEST(a_deferred_request_makes_another_turns_egress_ambiguous),
		TEST(a_blocking_thread_works_on_what_it_read_last),
		TEST(the_only_open_request_is_the_parent_from_a_later_turn),
		TEST(two_open_requests_in_a_later_turn_are_ambiguous),
		TEST(an_answered_request_is_no_parent),
		TEST(the_response_of_an_egress_restores_its_request),
		TEST(two_responses_in_a_turn_make_a_further_egress_ambiguous),
		TEST(a_pool_of_one_never_gives_the_answered_request),
		TEST(a_pool_of_one_before_the_answer_is_ambiguous),
		TEST(two_waiting_for_a_pool_of_one_are_ambiguous),
		TEST(a_blocking_client_reads_its_response_on_the_same_thread),
		TEST(a_read_of_an_unknown_request_takes_the_context_away),
		TEST(a_response_of_nobodys_request_takes_the_context_away),
	};

	return cmocka_run_group_tests_name("span parents", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that were seen to send for nobody, or to leave their requests to others: what their reads
 * say of what they send is believed less. */
#include "unit/span/parents.h"

/* One request: read, answered, and 10 turns on something is sent for it that nobody waits for. */
static void answers_first(uint64_t pos)
{
	serve(&p, &a, &in1, pos);
	answer(&p, &a, &in1, pos);
	next_turn();
	ask(&p, &a, &out2, pos);
	next_turn();
	hear(&p, &a, &out2, pos);
	next_turn();
}

static void work_after_an_answer_is_not_given_to_the_next_request(void **state)
{
	runs_on(RUNTIME_NODE);
	answers_first(0);
	serve(&p, &a, &in1, 100);
	answer(&p, &a, &in1, 100);
	next_turn();
	serve(&p, &a, &in2, 0); /* the only one that is open ... */
	ask(&p, &a, &out1, 0);
	next_turn();
	ask(&p, &a, &out2, 100); /* ... when a timer sends for the one before */
	next_turn();
	hear(&p, &a, &out2, 100);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 0), served(&in2, 0)));
	assert_ambiguous(asked(&out2, 100), 1);
}

static void what_is_learnt_before_a_span_settles_counts(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in2, 0);
	next_turn();
	ask(&p, &a, &out2, 500); /* from a timer, for whom? */
	next_turn();
	hear(&p, &a, &out2, 500);
	answer(&p, &a, &in2, 0);
	next_turn();
	answers_first(600);
	play_settle(&p);
	assert_ambiguous(asked(&out2, 500), 1);
}

static void a_timer_in_the_turn_of_a_read_is_not_its_requests(void **state)
{
	runs_on(RUNTIME_NODE);
	answers_first(0);
	serve(&p, &a, &in1, 100);
	ask(&p, &a, &out1, 100);
	ask(&p, &a, &out2, 100); /* the request waits already: its own or a timer's */
	next_turn();
	hear(&p, &a, &out1, 100);
	hear(&p, &a, &out2, 100);
	answer(&p, &a, &in1, 100);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 100), served(&in1, 100)));
	assert_method(asked(&out1, 100), "thread-turn");
	assert_ambiguous(asked(&out2, 100), 1);
}

static void a_slip_among_many_is_no_habit(void **state)
{
	runs_on(RUNTIME_NODE);
	answers_first(0);
	for (uint64_t pos = 100; pos < 8000; pos += 100) {
		serve(&p, &a, &in1, pos);
		ask(&p, &a, &out1, pos);
		next_turn();
		hear(&p, &a, &out1, pos);
		answer(&p, &a, &in1, pos);
		next_turn();
	}
	serve(&p, &a, &in1, 8000);
	next_turn();
	ask(&p, &a, &out1, 8000);
	next_turn();
	hear(&p, &a, &out1, 8000);
	answer(&p, &a, &in1, 8000);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 8000), served(&in1, 8000)));
	assert_method(asked(&out1, 8000), "thread-single");
}

/* A pool: what one thread reads another works on and answers, while the reader works on what was
 * read elsewhere. */
static void a_thread_whose_requests_others_answer_is_not_believed(void **state)
{
	struct actor other = play_actor(A, A + 1);

	runs_on(RUNTIME_JAVA);
	a.th.turn = a.th.read_turn = 0;
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0); /* for a request that another thread has read */
	hear(&p, &a, &out1, 0);
	ask(&p, &a, &out1, 100);
	hear(&p, &a, &out1, 100);
	answer(&p, &other, &in1, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 0), 1);
	assert_ambiguous(asked(&out1, 100), 1);
}

static void a_thread_that_answers_itself_is_believed_beside_one_that_does_not(void **state)
{
	struct actor other = play_actor(A, A + 1);

	runs_on(RUNTIME_JAVA);
	a.th.turn = a.th.read_turn = 0;
	serve(&p, &a, &in1, 0);
	answer(&p, &other, &in1, 0);
	serve(&p, &other, &in2, 0);
	ask(&p, &other, &out2, 0);
	hear(&p, &other, &out2, 0);
	answer(&p, &other, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(&out2, 0), served(&in2, 0)));
}

/* Connections made when the program began say nothing of the requests that use them later. */
static void a_dialling_at_the_start_is_no_habit(void **state)
{
	struct conn pooled = play_conn(5, ROLE_DIALLED, 6003, 6379);

	runs_on(RUNTIME_NODE);
	pooled.dial_thread = play_evidence(&p, &a, &pooled, DIR_OUT);
	pooled.dial_ns = p.now;
	play_open(&p, &pooled);
	next_turn();
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &pooled, 0);
	next_turn();
	hear(&p, &a, &pooled, 0);
	next_turn();
	ask(&p, &a, &out1, 0); /* from a timer: the only request that is open */
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_true(is_child(asked(&pooled, 0), served(&in1, 0)));
	assert_method(asked(&out1, 0), "thread-single");
}

/* Requests that send two calls at once, now and then a timer. */
static void calls_sent_at_once_are_believed_in_spite_of_a_timer(void **state)
{
	runs_on(RUNTIME_NODE);
	for (uint64_t pos = 0; pos < 4000; pos += 100) {
		serve(&p, &a, &in1, pos);
		ask(&p, &a, &out1, pos);
		ask(&p, &a, &out2, pos);
		next_turn();
		hear(&p, &a, &out1, pos);
		hear(&p, &a, &out2, pos);
		answer(&p, &a, &in1, pos);
		next_turn();
		if (pos != 2000)
			continue;
		ask(&p, &a, &out1, pos + 50); /* nobody's */
		next_turn();
		hear(&p, &a, &out1, pos + 50);
		next_turn();
	}
	play_settle(&p);
	assert_true(is_child(asked(&out2, 3900), served(&in1, 3900)));
	assert_true(is_root(asked(&out1, 2050)));
}

/* A pool of three: the second request's second call goes out when a response of the first comes. */
static void a_freed_connection_may_be_for_another_where_calls_are_sent_at_once(void **state)
{
	struct conn out3 = play_conn(5, ROLE_DIALLED, 6003, 6379);

	runs_on(RUNTIME_NODE);
	play_open(&p, &out3);
	for (uint64_t pos = 0; pos < 2000; pos += 200) {
		serve(&p, &a, &in1, pos);
		ask(&p, &a, &out1, pos);
		ask(&p, &a, &out2, pos);
		next_turn();
		serve(&p, &a, &in2, pos);
		ask(&p, &a, &out3, pos);
		next_turn();
		hear(&p, &a, &out1, pos);
		ask(&p, &a, &out1, pos + 100); /* in2's */
		next_turn();
		hear(&p, &a, &out2, pos);
		answer(&p, &a, &in1, pos);
		hear(&p, &a, &out1, pos + 100);
		hear(&p, &a, &out3, pos);
		answer(&p, &a, &in2, pos);
		next_turn();
	}
	play_settle(&p);
	assert_true(is_child(asked(&out2, 1800), served(&in1, 1800)));
	assert_true(is_child(asked(&out3, 1800), served(&in2, 1800)));
	assert_ambiguous(asked(&out1, 1900), 1);
}

/* ... a request that was answered left the turn, or its own work: not to the next one. */
static void work_in_the_turn_of_an_answer_is_not_the_next_requests(void **state)
{
	runs_on(RUNTIME_NODE);
	answers_first(0);
	serve(&p, &a, &in2, 0); /* goes on after a timer */
	next_turn();
	serve(&p, &a, &in1, 100);
	answer(&p, &a, &in1, 100);
	ask(&p, &a, &out2, 100);
	next_turn();
	hear(&p, &a, &out2, 100);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out2, 100), 1);
}

/* A timer while a request waits for the second of its two calls. */
static void a_timer_is_not_a_waiting_requests_that_was_woken(void **state)
{
	runs_on(RUNTIME_NODE);
	for (uint64_t pos = 0; pos < 4000; pos += 100) {
		serve(&p, &a, &in1, pos);
		ask(&p, &a, &out1, pos);
		ask(&p, &a, &out2, pos);
		next_turn();
		hear(&p, &a, &out1, pos); /* out2's is still to come */
		next_turn();
		if (pos >= 3800)
			ask(&p, &a, &out1, pos + 50);
		next_turn();
		if (pos >= 3800)
			hear(&p, &a, &out1, pos + 50);
		hear(&p, &a, &out2, pos);
		answer(&p, &a, &in1, pos);
		next_turn();
	}
	play_settle(&p);
	assert_true(is_child(asked(&out2, 3900), served(&in1, 3900)));
	assert_ambiguous(asked(&out1, 3950), 1);
}

/* What a timer sent must not make the calls of others ambiguous. */
static void a_response_to_nobody_wakes_no_request_that_waits_for_its_own(void **state)
{
	runs_on(RUNTIME_NODE);
	answers_first(0);
	serve(&p, &a, &in1, 100);
	ask(&p, &a, &out1, 100);
	ask(&p, &a, &out2, 100); /* a timer's, perhaps in1's */
	for (uint64_t pos = 200; pos < 8000; pos += 100) {
		next_turn();
		hear(&p, &a, &out2, pos - 100);
		answer(&p, &a, &in2, pos - 100);
		next_turn();
		serve(&p, &a, &in2, pos);
		ask(&p, &a, &out2, pos);
	}
	next_turn();
	hear(&p, &a, &out1, 100);
	answer(&p, &a, &in1, 100);
	play_settle(&p);
	assert_ambiguous(asked(&out2, 100), 1);
	assert_true(is_child(asked(&out2, 7800), served(&in2, 7800)));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(work_after_an_answer_is_not_given_to_the_next_request),
		TEST(what_is_learnt_before_a_span_settles_counts),
		TEST(a_timer_in_the_turn_of_a_read_is_not_its_requests),
		TEST(a_slip_among_many_is_no_habit),
		TEST(a_thread_whose_requests_others_answer_is_not_believed),
		TEST(a_thread_that_answers_itself_is_believed_beside_one_that_does_not),
		TEST(a_dialling_at_the_start_is_no_habit),
		TEST(calls_sent_at_once_are_believed_in_spite_of_a_timer),
		TEST(a_freed_connection_may_be_for_another_where_calls_are_sent_at_once),
		TEST(work_in_the_turn_of_an_answer_is_not_the_next_requests),
		TEST(a_timer_is_not_a_waiting_requests_that_was_woken),
		TEST(a_response_to_nobody_wakes_no_request_that_waits_for_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

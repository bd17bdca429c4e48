/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence with holes, dialling, identities that come late or never, tables that are full. */
#include "unit/span/parents.h"

static void lost_records_leave_only_the_turn_without_switches(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	a.th.seq += 3; /* lost */
	next_turn();
	ask(&p, &a, &out1, 0); /* single: not to be trusted */
	next_turn();
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	next_turn();
	serve(&p, &a, &in1, 100);
	ask(&p, &a, &out1, 100); /* the turn's own read */
	hear(&p, &a, &out1, 100);
	answer(&p, &a, &in1, 100);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 0), 1);
	assert_true(is_child(asked(&out1, 100), served(&in1, 100)));
	assert_method(asked(&out1, 100), "thread-turn");
	assert_int_equal(p.c->counters[COUNTER_lost_threads], 1);
}

static void losses_that_the_kernel_tells_of_taint_every_thread(void **state)
{
	struct event_books books = { 0 };

	runs_on(RUNTIME_NODE);
	play_record(&p, &books, EVENT_BOOKS, sizeof(books), 0);
	serve(&p, &a, &in1, 0);
	next_turn();
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	books.drops[DROP_ring_full] = 7;
	play_record(&p, &books, EVENT_BOOKS, sizeof(books), 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 0), 1);
}

/* A request in the first second; 'before' lays down what was known by then. */
static struct span *asked_at_the_start(void (*before)(void))
{
	p.now -= 2 * NS_PER_S - 10 * MS;
	runs_on(RUNTIME_NODE);
	before();
	serve(&p, &a, &in1, 0);
	next_turn();
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_pass(&p, 4 * NS_PER_S); /* beyond where the clock was before it was turned back */
	return asked(&out1, 0);
}

static void was_serving(void)
{
	struct event_conn conn = { .conn = 900, .role = ROLE_ACCEPTED, .flags = CONN_F_MIDSTREAM };

	play_record(&p, &conn, EVENT_CONN, sizeof(conn), A);
}

static void was_serving_but_is_new(void)
{
	was_serving();
	a.th.flags = THREAD_F_NEW;
}

static void was_idle(void)
{
}

static void an_old_thread_of_a_serving_process_is_doubted_at_the_start(void **state)
{
	struct span *child = asked_at_the_start(was_serving);

	assert_ambiguous(child, 1);
}

static void a_new_thread_is_not_doubted_at_the_start(void **state)
{
	struct span *child = asked_at_the_start(was_serving_but_is_new);

	assert_true(is_child(child, served(&in1, 0)));
}

static void an_idle_process_is_not_doubted_at_the_start(void **state)
{
	struct span *child = asked_at_the_start(was_idle);

	assert_true(is_child(child, served(&in1, 0)));
}

static void a_known_thread_is_doubted_when_its_process_is_selected_again(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	answer(&p, &a, &in1, 0);
	a.th.flags = THREAD_F_NEW; /* of the time before */
	was_serving();
	serve(&p, &a, &in2, 0);
	next_turn();
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_ambiguous(asked(&out1, 0), 1);
}

static void a_request_looked_at_no_more_is_nobodys_parent(void **state)
{
	runs_on(RUNTIME_NATIVE);
	serve(&p, &a, &in1, 0);
	play_close(&p, &in1, ECANCELED);
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	play_settle(&p);
	assert_true(is_root(asked(&out1, 0)));
	assert_int_equal(asked(&out1, 0)->link_cnt, 0);
}

static void a_thread_that_begins_anew_has_no_requests(void **state)
{
	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	a = play_actor(A, A); /* the id again, another thread */
	a.th.turn = a.th.read_turn = 5;
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_true(is_root(asked(&out1, 0)));
	assert_int_equal(asked(&out1, 0)->link_cnt, 0);
}

static void another_thread_has_other_requests(void **state)
{
	struct actor b = play_actor(A, A + 1);

	runs_on(RUNTIME_NATIVE);
	b.th.turn = 1;
	serve(&p, &a, &in1, 0);
	ask(&p, &b, &out1, 0);
	hear(&p, &b, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_true(is_root(asked(&out1, 0)));
}

static void dialling_in_a_request_gives_the_first_request_its_parent(void **state)
{
	struct conn fresh = play_conn(9, ROLE_DIALLED, 6009, 80);

	runs_on(RUNTIME_NATIVE);
	serve(&p, &a, &in1, 0);
	p.now += 1000;
	fresh.dial_ns = p.now;
	fresh.tgid = A;
	fresh.dial_thread = play_evidence(&p, &a, &fresh, DIR_OUT);
	fresh.flags = CONN_F_CONNECTING;
	play_open(&p, &fresh);
	serve(&p, &a, &in2, 0); /* the loop goes on with another one */
	ask(&p, &a, &out1, 0);	/* which asks at once */
	fresh.flags = CONN_F_ESTABLISHED;
	fresh.open_ns = p.now;
	play_open(&p, &fresh);
	next_turn();
	ask(&p, &a, &fresh, 0); /* writable */
	next_turn();
	hear(&p, &a, &fresh, 0);
	answer(&p, &a, &in1, 0);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(&fresh, 0), served(&in1, 0)));
	assert_method(asked(&fresh, 0), "connect");
	assert_str(asked(&fresh, 0)->events[0].name, "connect");
	assert_true(is_child(asked(&out1, 0), served(&in2, 0)));
}

static void a_dialling_whose_request_is_answered_gives_nothing(void **state)
{
	struct conn fresh = play_conn(9, ROLE_DIALLED, 6009, 80);

	runs_on(RUNTIME_NATIVE);
	serve(&p, &a, &in1, 0);
	fresh.dial_ns = ++p.now;
	fresh.tgid = A;
	fresh.dial_thread = play_evidence(&p, &a, &fresh, DIR_OUT);
	play_open(&p, &fresh);
	answer(&p, &a, &in1, 0);
	next_turn();
	serve(&p, &a, &in2, 0);
	ask(&p, &a, &fresh, 0); /* out of a pool by now */
	hear(&p, &a, &fresh, 0);
	answer(&p, &a, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(&fresh, 0), served(&in2, 0)));
	assert_method(asked(&fresh, 0), "thread-turn");
}

static void a_refused_dialling_is_a_child_with_an_error(void **state)
{
	struct conn fresh = play_conn(9, ROLE_DIALLED, 6009, 80);

	runs_on(RUNTIME_NATIVE);
	serve(&p, &a, &in1, 0);
	fresh.dial_ns = ++p.now;
	fresh.tgid = A;
	fresh.dial_thread = play_evidence(&p, &a, &fresh, DIR_OUT);
	fresh.flags = CONN_F_CONNECTING;
	play_open(&p, &fresh);
	p.now += 1000;
	play_close(&p, &fresh, ECONNREFUSED);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_true(is_child(asked(&fresh, 0), served(&in1, 0)));
	assert_str(asked(&fresh, 0)->name, "connect");
	assert_method(asked(&fresh, 0), "connect");
	assert_str(span_str(asked(&fresh, 0), "error.type"), "ECONNREFUSED");
	assert_int_equal(asked(&fresh, 0)->status, STATUS_ERROR);
	assert_int_equal(asked(&fresh, 0)->end_ns - asked(&fresh, 0)->start_ns, 1000);
}

static void context_is_off_where_the_thread_is_not_the_unit_of_work(void **state)
{
	static const bool on[RUNTIME_MAX] = {
		[RUNTIME_NATIVE] = true, [RUNTIME_PYTHON] = true, [RUNTIME_NODE] = true,
		[RUNTIME_RUBY] = true,	 [RUNTIME_PHP] = true,	  [RUNTIME_PERL] = true,
		[RUNTIME_JAVA] = true,
	};

	for (int r = 0; r < RUNTIME_MAX; r++) {
		uint64_t pos = (uint64_t)r * 100;

		runs_on((enum runtime)r);
		serve(&p, &a, &in1, pos);
		ask(&p, &a, &out1, pos);
		next_turn();
		hear(&p, &a, &out1, pos);
		answer(&p, &a, &in1, pos);
		play_settle(&p);
		assert_int_equal(is_child(asked(&out1, pos), served(&in1, pos)), on[r]);
		assert_int_equal(asked(&out1, pos)->link_cnt, 0);
	}
}

static void an_identity_that_comes_late_is_waited_for(void **state)
{
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_pass(&p, 300 * MS);
	assert_int_equal(p.cnt, 0);
	runs_on(RUNTIME_NATIVE);
	play_pass(&p, 100 * MS);
	assert_int_equal(p.cnt, 2);
	assert_true(is_child(asked(&out1, 0), served(&in1, 0)));
	assert_str(served(&in1, 0)->resource->service, "svc");
}

static void an_identity_that_never_comes_gives_no_parent(void **state)
{
	serve(&p, &a, &in1, 0);
	ask(&p, &a, &out1, 0);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_int_equal(p.cnt, 2);
	assert_true(is_root(asked(&out1, 0)));
	assert_str(served(&in1, 0)->resource->service, "prog");
}

static void an_answer_whose_end_was_told_late_still_counts(void **state)
{
	struct msg m;

	runs_on(RUNTIME_NODE);
	serve(&p, &a, &in1, 0);
	next_turn();
	serve(&p, &a, &in2, 0);
	p.now += 1000;
	m = play_msg(&p, &a, &in2, MSG_RESPONSE, DIR_OUT, 0);
	m.flags = MSG_BEGIN;
	correlate_msg(p.c, &m);
	next_turn();
	ask(&p, &a, &out1, 0);
	/* only now it is heard that the answer had ended before that */
	m.flags = MSG_END;
	m.end_ns = m.start_ns + 500;
	correlate_msg(p.c, &m);
	hear(&p, &a, &out1, 0);
	answer(&p, &a, &in1, 0);
	play_settle(&p);
	assert_true(is_child(asked(&out1, 0), served(&in1, 0)));
	assert_method(asked(&out1, 0), "thread-single");
}

static void a_request_still_being_read_is_not_parked(void **state)
{
	struct msg m;

	runs_on(RUNTIME_NATIVE);
	p.now += 1000;
	m = play_msg(&p, &a, &in1, MSG_REQUEST, DIR_IN, 0);
	m.flags = MSG_BEGIN; /* an upload */
	correlate_msg(p.c, &m);
	ask(&p, &a, &out1, 0);
	next_turn();
	serve(&p, &a, &in2, 0);
	ask(&p, &a, &out2, 0);
	play_settle(&p);
	correlate_flush(p.c);
	assert_ambiguous(asked(&out2, 0), 2);
}

static void too_many_candidates_are_no_parent(void **state)
{
	struct conn many[CANDIDATES_MAX + 4];

	runs_on(RUNTIME_NODE);
	for (unsigned int i = 0; i < ARRAY_LEN(many); i++) {
		many[i] = play_conn(20 + i, ROLE_ACCEPTED, 80, (uint16_t)(5100 + i));
		play_open(&p, &many[i]);
		serve(&p, &a, &many[i], 0);
	}
	ask(&p, &a, &out1, 0);
	correlate_flush(p.c);
	assert_ambiguous(asked(&out1, 0), LINKS_MAX);
}

static void a_thread_with_too_many_requests_is_tainted(void **state)
{
	static struct conn many[RUNNABLE_MAX + 1];

	runs_on(RUNTIME_NODE);
	for (unsigned int i = 0; i < ARRAY_LEN(many); i++) {
		many[i] = play_conn(20 + i, ROLE_ACCEPTED, 80, (uint16_t)(5100 + i));
		play_open(&p, &many[i]);
		serve(&p, &a, &many[i], 0);
	}
	for (unsigned int i = 0; i < RUNNABLE_MAX - 1; i++)
		answer(&p, &a, &many[i], 0);
	next_turn();
	ask(&p, &a, &out1, 0); /* one is known, one is not */
	correlate_flush(p.c);
	assert_true(is_root(asked(&out1, 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lost_records_leave_only_the_turn_without_switches),
		TEST(losses_that_the_kernel_tells_of_taint_every_thread),
		TEST(an_old_thread_of_a_serving_process_is_doubted_at_the_start),
		TEST(a_new_thread_is_not_doubted_at_the_start),
		TEST(an_idle_process_is_not_doubted_at_the_start),
		TEST(a_known_thread_is_doubted_when_its_process_is_selected_again),
		TEST(a_request_looked_at_no_more_is_nobodys_parent),
		TEST(a_thread_that_begins_anew_has_no_requests),
		TEST(another_thread_has_other_requests),
		TEST(dialling_in_a_request_gives_the_first_request_its_parent),
		TEST(a_dialling_whose_request_is_answered_gives_nothing),
		TEST(a_refused_dialling_is_a_child_with_an_error),
		TEST(context_is_off_where_the_thread_is_not_the_unit_of_work),
		TEST(an_identity_that_comes_late_is_waited_for),
		TEST(an_identity_that_never_comes_gives_no_parent),
		TEST(an_answer_whose_end_was_told_late_still_counts),
		TEST(a_request_still_being_read_is_not_parked),
		TEST(too_many_candidates_are_no_parent),
		TEST(a_thread_with_too_many_requests_is_tainted),
	};

	return cmocka_run_group_tests_name("span evidence", tests, NULL, NULL);
}

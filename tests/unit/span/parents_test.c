/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule of span/context.h, where it holds and where it must not. */
#include "unit/span/play.h"

#define A 100 /* a service's process and its one thread */

static struct play p;
static struct actor a;
static struct conn in1, in2, out1, out2;

static int setup(void **state)
{
	play_begin(&p, NULL);
	a = play_actor(A, A);
	a.th.turn = a.th.read_turn = 1;
	in1 = play_conn(1, ROLE_ACCEPTED, 80, 5001);
	in2 = play_conn(2, ROLE_ACCEPTED, 80, 5002);
	out1 = play_conn(3, ROLE_DIALLED, 6001, 6379);
	out2 = play_conn(4, ROLE_DIALLED, 6002, 6379);
	play_open(&p, &in1);
	play_open(&p, &in2);
	play_open(&p, &out1);
	play_open(&p, &out2);
	return 0;
}

static int teardown(void **state)
{
	play_end(&p);
	return 0;
}

static void runs_on(enum runtime runtime)
{
	play_proc(&p, A, runtime, "svc");
}

static void next_turn(void)
{
	a.th.turn++;
}

static struct span *served(struct conn *c, uint64_t pos)
{
	return play_find(&p, c->id, DIR_IN, pos);
}

static struct span *asked(struct conn *c, uint64_t pos)
{
	return play_find(&p, c->id, DIR_OUT, pos);
}

static void assert_method(const struct span *s, const char *name)
{
	const struct attr *at = attrs_find(&s->attrs, STR("telltale.parent.confidence"));

	assert_str(span_str(s, "telltale.parent.method"), name);
	assert_non_null(at);
	assert_true(at->value.d > 0 && at->value.d <= 1);
}

static void assert_ambiguous(const struct span *s, unsigned int links)
{
	assert_non_null(s);
	assert_true(is_root(s));
	assert_int_equal(s->link_cnt, links);
	for (unsigned int i = 0; i < links; i++) {
		assert_str(attrs_str(&s->links[i].attrs, "telltale.parent.method"),
			   "thread-ambiguous");
		assert_true(span_id_is_set(&s->links[i].span_id));
		assert_true(trace_id_is_set(&s->links[i].trace_id));
	}
}

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
		TEST(lost_records_leave_only_the_turn_without_switches),
		TEST(losses_that_the_kernel_tells_of_taint_every_thread),
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

	return cmocka_run_group_tests_name("span parents", tests, NULL, NULL);
}

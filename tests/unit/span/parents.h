/* SPDX-License-Identifier: Apache-2.0 */
/* A service on one thread, with two connections in and two out. */
#ifndef TESTS_SPAN_PARENTS_H
#define TESTS_SPAN_PARENTS_H

#include "unit/span/play.h"

#define A 100 /* a service's process and its one thread */

static struct play p;
static struct actor a;
static struct conn in1, in2, out1, out2;

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	play_end(&p);
	return 0;
}

static inline void runs_on(enum runtime runtime)
{
	play_proc(&p, A, runtime, "svc");
}

static inline void next_turn(void)
{
	a.th.turn++;
}

static inline struct span *served(struct conn *c, uint64_t pos)
{
	return play_find(&p, c->id, DIR_IN, pos);
}

static inline struct span *asked(struct conn *c, uint64_t pos)
{
	return play_find(&p, c->id, DIR_OUT, pos);
}

static inline void assert_method(const struct span *s, const char *name)
{
	const struct attr *at = attrs_find(&s->attrs, STR("telltale.parent.confidence"));

	assert_str(span_str(s, "telltale.parent.method"), name);
	assert_non_null(at);
	assert_true(at->value.d > 0 && at->value.d <= 1);
}

static inline void assert_ambiguous(const struct span *s, unsigned int links)
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes are asked about, and how answers come back; with a discover that only notes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "procs.c"

#include "kernel_books.c"

static struct discover_cfg asked_cfg;
static uint32_t asked[64], asked_cnt, hints;

int discover_new(const struct discover_cfg *cfg, struct discover **ret_discover)
{
	asked_cfg = *cfg;
	asked_cnt = hints = 0;
	*ret_discover = NULL;
	return 0;
}

void discover_ask(struct discover *d, uint32_t tgid, const struct event_exec *hint)
{
	assert_true(asked_cnt < ARRAY_LEN(asked));
	asked[asked_cnt++] = tgid;
	hints += hint != NULL;
}

void discover_free(struct discover *d)
{
}

static struct procs *setup(uint32_t max, size_t queue_bytes)
{
	struct procs *p;

	assert_int_equal(
		procs_new(&(struct procs_cfg){ .max = max, .queue_bytes = queue_bytes }, &p), 0);
	return p;
}

static void record(struct procs *p, uint16_t kind, uint32_t tgid)
{
	static struct event_exec e; /* the largest of the kinds used here */

	e.h = (struct event_hdr){ .kind = kind, .tgid = tgid, .size = sizeof(e) };
	procs_record(p, &e.h);
}

static void answer(uint32_t tgid)
{
	struct event_proc e = { .h = { .kind = EVENT_PROC, .tgid = tgid, .size = sizeof(e) } };

	asked_cfg.found(asked_cfg.ctx, &e);
}

static uint32_t taken;

static void take(void *ctx, const void *rec, size_t len)
{
	const struct event_hdr *h = rec;

	assert_int_equal(h->kind, EVENT_PROC);
	assert_int_equal(h->size, len);
	taken++;
}

static void each_process_is_asked_about_once(void **state)
{
	struct procs *p = setup(0, 0);

	record(p, EVENT_CONN, 10);
	record(p, EVENT_DATA, 10);
	record(p, EVENT_DATA, 11);
	record(p, EVENT_TICK, 0);
	assert_int_equal(asked_cnt, 2);
	assert_int_equal(procs_outstanding(p), 2);
	procs_free(p);
}

static void after_exec_its_next_record_asks_again_with_the_hint(void **state)
{
	struct procs *p = setup(0, 0);

	record(p, EVENT_CONN, 10);
	assert_int_equal(hints, 0);
	record(p, EVENT_EXEC, 10);
	assert_int_equal(asked_cnt, 1);
	record(p, EVENT_DATA, 10);
	record(p, EVENT_DATA, 10);
	assert_int_equal(asked_cnt, 2);
	assert_int_equal(hints, 1);
	procs_free(p);
}

static void a_process_without_connections_costs_no_question(void **state)
{
	struct procs *p = setup(0, 0);

	record(p, EVENT_EXEC, 10);
	record(p, EVENT_EXIT, 10);
	assert_int_equal(asked_cnt, 0);
	procs_free(p);
}

static void the_oldest_hint_gives_way(void **state)
{
	struct procs *p = setup(0, 0);

	p->cfg.max_hints = 2;
	for (uint32_t i = 1; i <= 3; i++)
		record(p, EVENT_EXEC, i);
	record(p, EVENT_CONN, 1);
	assert_int_equal(hints, 0);
	record(p, EVENT_CONN, 2);
	record(p, EVENT_CONN, 3);
	assert_int_equal(hints, 2);
	procs_free(p);
}

static void exit_forgets(void **state)
{
	struct procs *p = setup(0, 0);

	record(p, EVENT_CONN, 10);
	record(p, EVENT_EXIT, 10);
	assert_int_equal(procs_outstanding(p), 0);
	record(p, EVENT_CONN, 10);
	assert_int_equal(asked_cnt, 2);
	procs_free(p);
}

static void past_the_cap_the_oldest_is_forgotten_and_counted(void **state)
{
	struct procs *p = setup(2, 0);

	for (uint32_t i = 1; i <= 3; i++)
		record(p, EVENT_CONN, i);
	assert_int_equal(p->forgotten, 1);
	assert_int_equal(procs_outstanding(p), 2);
	record(p, EVENT_CONN, 3);
	assert_int_equal(asked_cnt, 3);
	procs_free(p);
}

static void answers_come_in_order_and_are_booked(void **state)
{
	struct procs *p = setup(0, 2 * sizeof(struct event_proc));

	record(p, EVENT_CONN, 1);
	record(p, EVENT_CONN, 2);
	taken = 0;
	answer(1);
	answer(2);
	answer(3); /* past the queue's cap */
	assert_int_equal(p->books.in, 3);
	assert_int_equal(p->books.held, 2);
	assert_int_equal(p->books.dropped[0], 1);
	procs_drain(p, take, NULL);
	assert_int_equal(taken, 2);
	assert_int_equal(p->books.out, 2);
	assert_int_equal(p->books.held, 0);
	assert_int_equal(procs_outstanding(p), 0);
	procs_free(p);
}

static void the_kernels_books_balance_whatever_moment_they_are_read(void **state)
{
	struct kernel_books k = { 0 };
	struct event_books e = { 0 };

	kernel_books_register(&k);
	e.counts[COUNT_records] = 10;
	e.counts[COUNT_submitted] = 6;
	e.drops[DROP_ring_full] = 3;
	e.drops[DROP_fault] = 4;
	kernel_books_update(&k, &e);
	assert_int_equal(k.books.in, 10);
	assert_int_equal(k.books.held, 1);
	assert_int_equal(k.drops[DROP_fault], 4);
	/* submitted was read after records */
	e.counts[COUNT_submitted] = 9;
	kernel_books_update(&k, &e);
	assert_int_equal(k.books.in, k.books.out + k.books.held + k.books.dropped[0]);
	kernel_books_unregister(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_process_is_asked_about_once),
		cmocka_unit_test(after_exec_its_next_record_asks_again_with_the_hint),
		cmocka_unit_test(a_process_without_connections_costs_no_question),
		cmocka_unit_test(the_oldest_hint_gives_way),
		cmocka_unit_test(exit_forgets),
		cmocka_unit_test(past_the_cap_the_oldest_is_forgotten_and_counted),
		cmocka_unit_test(answers_come_in_order_and_are_booked),
		cmocka_unit_test(the_kernels_books_balance_whatever_moment_they_are_read),
	};

	return cmocka_run_group_tests_name("cli/procs", tests, NULL, NULL);
}

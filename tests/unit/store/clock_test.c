/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's clock jumps, as this process alone sees it: nothing may go for that, nothing may
 * stay for ever. */
#include "unit/store/fill.h"

#include <sys/syscall.h>

#define DAY_NS (24 * 3600 * NS_PER_S)

static struct fill f;
static _Atomic int64_t off_ns; /* of the real-time clock */

/* In place of the C library's. */
int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);
	int64_t ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;

	if (id == CLOCK_REALTIME && !rc) {
		ns += off_ns;
		t->tv_sec = ns / 1000000000;
		t->tv_nsec = ns % 1000000000;
	}
	return rc;
}

static int before(void **state)
{
	begin(&f);
	off_ns = 0;
	f.cfg.retention_ns = 7 * DAY_NS;
	return 0;
}

static int after(void **state)
{
	end(&f);
	return 0;
}

static void open_at(int64_t off)
{
	off_ns = off;
	assert_int_equal(open_store(&f), 0);
}

static void write_trace(uint64_t t)
{
	push_trace(&f, t, 3);
	assert_int_equal(sync_writer(f.writer), 0);
}

static void assert_first(uint64_t traces)
{
	for (uint64_t t = 0; t < traces; t++)
		assert_true(has_trace(f.store, t, 3));
}

static void a_jump_while_it_runs_takes_nothing(void **state)
{
	static const int64_t jumps[] = { 3650, 400, -20, -9000, 10, 0 };
	uint64_t t = 0;

	/* short, so that it is past the time in which nothing goes */
	f.cfg.retention_ns = 20 * NS_PER_S;
	open_at(0);
	usleep(900000);
	for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
		off_ns = jumps[i] * (int64_t)DAY_NS;
		write_trace(t++);
		usleep(350000); /* retention looked */
		assert_first(t);
	}
	close_store(&f);
	open_at(0);
	assert_first(t);
}

static void a_clock_that_was_ahead_or_behind_takes_nothing_later(void **state)
{
	static const int64_t at[] = { -20500, 0, 3650, 0, -400, -20500, 400, 0 };
	uint64_t t = 0;

	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		open_at(at[i] * (int64_t)DAY_NS);
		assert_first(t);
		write_trace(t++);
		usleep(350000);
		assert_first(t);
		close_store(&f);
	}
	open_at(0);
	assert_first(t);
}

static bool is_gone(void *ctx)
{
	return !has_trace(f.store, *(uint64_t *)ctx, 3);
}

static void what_came_while_it_was_ahead_goes_in_its_time(void **state)
{
	uint64_t t = 0;

	f.cfg.retention_ns = 2 * NS_PER_S;
	open_at(3650 * (int64_t)DAY_NS);
	write_trace(t);
	close_store(&f);
	open_at(0);
	assert_true(has_trace(f.store, t, 3));
	assert_true(comes_true(is_gone, &t));
}

static void what_is_really_old_goes_after_a_while(void **state)
{
	uint64_t t = 0;

	f.cfg.retention_ns = 12 * NS_PER_S;
	open_at(-(int64_t)DAY_NS);
	write_trace(t);
	close_store(&f);
	open_at(0);
	assert_true(has_trace(f.store, t, 3));
	assert_true(comes_true(is_gone, &t));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_jump_while_it_runs_takes_nothing),
		CASE(a_clock_that_was_ahead_or_behind_takes_nothing_later),
		CASE(what_came_while_it_was_ahead_goes_in_its_time),
		CASE(what_is_really_old_goes_after_a_while),
	};
	int failed;

	make_services();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free_services();
	return failed;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The thread: every question answered or counted, full queues, an end at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "discover/internal.h"
#include "core/books.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S 20

struct answers {
	sem_t told; /* one for each answer */
	sem_t go;   /* with hold: what the answering thread waits for */
	bool hold;
	uint32_t last;
	char name[256];
};

static void take(void *ctx, const struct event_proc *p)
{
	struct answers *a = ctx;

	a->last = p->h.tgid;
	snprintf(a->name, sizeof(a->name), "%s", p->text + sizeof("service.name"));
	sem_post(&a->told);
	if (a->hold)
		sem_wait(&a->go);
}

static void answers_init(struct answers *a)
{
	*a = (struct answers){ 0 };
	sem_init(&a->told, 0, 0);
	sem_init(&a->go, 0, 0);
}

static void wait_told(struct answers *a)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += WAIT_S;
	assert_int_equal(sem_timedwait(&a->told, &at), 0);
}

/* What is held is read first: nothing held then means that all of it has been booked. */
static void copy_books(void *ctx, const struct books *b)
{
	struct books *copy = ctx;

	if (strcmp(b->stage, "discover") != 0)
		return;
	copy->stage = b->stage;
	copy->held = book_read(&b->held);
	for (int i = 0; i < BOOKS_REASONS; i++) {
		copy->reason[i] = b->reason[i];
		copy->dropped[i] = book_read(&b->dropped[i]);
	}
	copy->out = book_read(&b->out);
	copy->in = book_read(&b->in);
}

static struct books books_now(void)
{
	struct books b = { 0 };

	books_each(copy_books, &b);
	return b;
}

static uint64_t dropped(const struct books *b, const char *reason)
{
	for (int i = 0; i < BOOKS_REASONS && b->reason[i]; i++) {
		if (strcmp(b->reason[i], reason) == 0)
			return b->dropped[i];
	}
	fail_msg("no reason %s", reason);
	return 0;
}

/* Waits until nothing is held, then checks in = out + dropped. */
static struct books balanced(void)
{
	struct books b = books_now();
	uint64_t sum;

	for (int i = 0; i < WAIT_S * 100 && b.held; i++) {
		usleep(10000);
		b = books_now();
	}
	assert_int_equal(b.held, 0);
	sum = b.out;
	for (int i = 0; i < BOOKS_REASONS; i++)
		sum += b.dropped[i];
	assert_int_equal(b.in, sum);
	return b;
}

static void a_question_is_answered(void **state)
{
	struct answers a;
	struct discover_cfg cfg = { .ctx = &a, .found = take };
	struct discover *d;

	answers_init(&a);
	assert_int_equal(discover_new(&cfg, &d), 0);
	discover_ask(d, (uint32_t)getpid(), NULL);
	wait_told(&a);
	assert_int_equal(a.last, getpid());
	assert_string_equal(a.name, "discover_test");
	assert_int_equal(balanced().out, 1);
	discover_free(d);
}

static void who_has_gone_is_known_by_the_hint_or_counted(void **state)
{
	struct event_exec hint = { .comm = "short", .args_len = 6, .args = "short" };
	struct answers a;
	struct discover_cfg cfg = { .ctx = &a, .found = take };
	struct discover *d;
	struct books b;
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	assert_int_equal(waitpid(gone, NULL, 0), gone);
	answers_init(&a);
	assert_int_equal(discover_new(&cfg, &d), 0);
	discover_ask(d, (uint32_t)gone, &hint);
	wait_told(&a);
	assert_string_equal(a.name, "short");
	discover_ask(d, (uint32_t)gone, NULL);
	b = balanced();
	assert_int_equal(b.out, 1);
	assert_int_equal(dropped(&b, "gone"), 1);
	discover_free(d);
}

static void a_full_queue_drops_the_oldest_and_counts(void **state)
{
	struct answers a;
	struct discover_cfg cfg = { .queue = 4, .ctx = &a, .found = take };
	struct discover *d;
	struct books b;

	answers_init(&a);
	a.hold = true;
	assert_int_equal(discover_new(&cfg, &d), 0);
	discover_ask(d, (uint32_t)getpid(), NULL);
	wait_told(&a);
	/* the thread is busy now: these wait */
	for (uint32_t i = 0; i < 10; i++)
		discover_ask(d, 0x7fff0000 + i, NULL);
	discover_ask(d, 0x7fff0009, NULL);
	b = books_now();
	assert_int_equal(b.in, 12);
	assert_int_equal(b.held, 5);
	assert_int_equal(dropped(&b, "queue_full"), 6);
	assert_int_equal(dropped(&b, "repeated"), 1);
	sem_post(&a.go);
	b = balanced();
	assert_int_equal(b.out, 1);
	assert_int_equal(dropped(&b, "gone"), 4);
	discover_free(d);
}

static void it_ends_with_questions_left(void **state)
{
	struct event_exec hint = { .comm = "x" };
	struct answers a;
	struct discover_cfg cfg = { .ctx = &a, .found = take };
	struct discover *d;

	answers_init(&a);
	assert_int_equal(discover_new(&cfg, &d), 0);
	for (uint32_t i = 1; i < 3000; i++)
		discover_ask(d, i, i % 2 ? &hint : NULL);
	discover_scan(d);
	discover_free(d);
	discover_free(NULL);
	assert_null(books_now().stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_answered),
		cmocka_unit_test(who_has_gone_is_known_by_the_hint_or_counted),
		cmocka_unit_test(a_full_queue_drops_the_oldest_and_counts),
		cmocka_unit_test(it_ends_with_questions_left),
	};
	return cmocka_run_group_tests_name("discover", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Processes over their lives: forked, replaced, gone, and their ids used again. */
#include "unit/span/play.h"

static struct play p;
static struct conn in;

static int setup(void **state)
{
	play_begin(&p, NULL);
	in = play_conn(1, ROLE_ACCEPTED, 80, 5001);
	play_open(&p, &in);
	return 0;
}

static int teardown(void **state)
{
	play_end(&p);
	return 0;
}

static void forks(uint32_t parent, uint32_t child)
{
	struct event_fork rec = { .child = child };

	play_record(&p, &rec, EVENT_FORK, sizeof(rec), parent);
}

static void exits(uint32_t tgid)
{
	struct event_exit rec = { 0 };

	p.now++;
	play_record(&p, &rec, EVENT_EXIT, sizeof(rec), tgid);
}

static void execs(uint32_t tgid)
{
	static struct event_exec rec;

	play_record(&p, &rec, EVENT_EXEC, sizeof(rec), tgid);
}

/* One request, served by that process; its span's service. */
static struct str service_of(uint32_t tgid, uint64_t pos)
{
	struct actor a = play_actor(tgid, tgid);
	unsigned int before = p.cnt;

	serve(&p, &a, &in, pos);
	answer(&p, &a, &in, pos);
	play_settle(&p);
	assert_int_equal(p.cnt, before + 1);
	return p.span[before]->resource->service;
}

static void a_child_is_its_parent_until_told_apart(void **state)
{
	const struct resource *r;

	play_proc(&p, 100, RUNTIME_NATIVE, "master");
	forks(100, 101);
	assert_str(service_of(101, 0), "master");
	r = p.span[0]->resource;
	assert_int_equal(attrs_find(&r->attrs, STR("process.pid"))->value.i, 101);
	play_proc(&p, 101, RUNTIME_NATIVE, "worker");
	assert_str(service_of(101, 100), "worker");
}

static void a_grandchild_inherits_too(void **state)
{
	forks(100, 101);
	forks(101, 102);
	assert_str(service_of(102, 0), "prog");
	play_proc(&p, 100, RUNTIME_NATIVE, "master");
	forks(100, 103);
	forks(103, 104);
	assert_str(service_of(104, 100), "master");
}

static void another_program_is_not_what_was_before(void **state)
{
	play_proc(&p, 100, RUNTIME_NATIVE, "shell");
	forks(100, 101);
	execs(101);
	assert_str(service_of(101, 0), "prog");
	play_proc(&p, 101, RUNTIME_NATIVE, "curl");
	assert_str(service_of(101, 100), "curl");
}

static void a_reused_pid_does_not_rename_earlier_spans(void **state)
{
	struct actor a = play_actor(100, 100);

	play_proc(&p, 100, RUNTIME_NATIVE, "old");
	serve(&p, &a, &in, 0);
	answer(&p, &a, &in, 0);
	exits(100);
	forks(1, 100);
	play_proc(&p, 100, RUNTIME_NATIVE, "new");
	play_settle(&p);
	assert_str(p.span[0]->resource->service, "old");
	assert_str(service_of(100, 100), "new");
}

static void a_reused_pid_whose_start_was_lost_is_unknown(void **state)
{
	play_proc(&p, 100, RUNTIME_NATIVE, "old");
	exits(100);
	assert_str(service_of(100, 0), "prog");
}

static void an_identity_may_come_after_the_exit(void **state)
{
	struct actor a = play_actor(100, 100);

	execs(100);
	serve(&p, &a, &in, 0);
	answer(&p, &a, &in, 0);
	exits(100);
	play_proc(&p, 100, RUNTIME_NATIVE, "brief");
	play_settle(&p);
	assert_str(p.span[0]->resource->service, "brief");
}

static void spans_of_a_process_share_their_resource(void **state)
{
	play_proc(&p, 100, RUNTIME_NATIVE, "svc");
	service_of(100, 0);
	service_of(100, 100);
	assert_ptr_equal(p.span[0]->resource, p.span[1]->resource);
}

static void the_host_is_named(void **state)
{
	struct event_host host = { .name = "box" };

	play_record(&p, &host, EVENT_HOST, sizeof(host), 0);
	play_proc(&p, 100, RUNTIME_NATIVE, "svc");
	service_of(100, 0);
	assert_str(attrs_str(&p.span[0]->resource->attrs, "host.name"), "box");
}

static void hostile_text_of_an_identity_does_no_harm(void **state)
{
	char raw[sizeof(struct event_proc) + 64] __attribute__((aligned(8))) = { 0 };
	struct event_proc *rec = (struct event_proc *)raw;
	static const char text[] = "\0x\0service.name\0svc\0k\0\0process.pid\0-7\0cut";

	memcpy(rec->text, text, sizeof(text) - 1);
	rec->text_len = sizeof(text) - 1;
	rec->runtime = 12345;
	play_record(&p, rec, EVENT_PROC, sizeof(raw), 100);
	assert_str(service_of(100, 0), "svc");
	assert_str(attrs_str(&p.span[0]->resource->attrs, "process.pid"), "-7");
}

static void ten_thousand_short_lives_leave_nothing(void **state)
{
	for (uint32_t i = 0; i < 30000; i++) {
		p.now += 100 * NS_PER_US;
		forks(1, 1000 + i);
		exits(1000 + i);
		if (i % 1000 == 0)
			correlate_tick(p.c, p.now);
		assert_true(p.c->process_cnt <= PROCESSES_MAX);
	}
	play_pass(&p, 10 * NS_PER_S);
	assert_int_equal(p.c->process_cnt, 0);
}

static void past_the_cap_processes_are_refused_and_counted(void **state)
{
	for (uint32_t i = 0; i < PROCESSES_MAX + 5; i++)
		forks(1, 1000 + i);
	assert_int_equal(p.c->process_cnt, PROCESSES_MAX);
	assert_int_equal(p.c->counters[COUNTER_processes_full], 5);
	assert_str(service_of(1000 + PROCESSES_MAX + 1, 0), "prog");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_child_is_its_parent_until_told_apart),
		TEST(a_grandchild_inherits_too),
		TEST(another_program_is_not_what_was_before),
		TEST(a_reused_pid_does_not_rename_earlier_spans),
		TEST(a_reused_pid_whose_start_was_lost_is_unknown),
		TEST(an_identity_may_come_after_the_exit),
		TEST(spans_of_a_process_share_their_resource),
		TEST(the_host_is_named),
		TEST(hostile_text_of_an_identity_does_no_harm),
		TEST(ten_thousand_short_lives_leave_nothing),
		TEST(past_the_cap_processes_are_refused_and_counted),
	};

	return cmocka_run_group_tests_name("span process", tests, NULL, NULL);
}

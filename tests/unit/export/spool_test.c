/* SPDX-License-Identifier: Apache-2.0 */
/* The queue on disk: order, bounds, what a killed process and a damaged disk leave. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "endpoint.h"
#include "export/spool.h"
#include "rig.h"

#define STAGE "export_otlp_http"
#define PROTO "Content-Type: application/x-protobuf\r\n"

static const struct str ok[] = { STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 0\r\n\r\n"), {} };
static char why[EXPORTER_WHY_MAX];

static struct spool *open_spool(const char *name, uint64_t bytes, struct spool_resumed *r)
{
	struct spool_resumed unused;
	struct spool *s = NULL;

	if (spool_open(rig_path(name), "otlp_proto", bytes, &s, r ? r : &unused, why))
		fail_msg("%s", why);
	return s;
}

static void add(struct spool *s, uint32_t number)
{
	char body[1000];

	memset(body, (int)('a' + number % 26), sizeof(body));
	memcpy(body, &number, sizeof(number));
	assert_int_equal(spool_add(s, (struct str){ body, sizeof(body) }, number), 0);
}

static void take_one(struct spool *s, uint32_t number)
{
	struct spool_record r;

	assert_int_equal(spool_peek(s, &r), 0);
	assert_false(r.damaged);
	assert_int_equal(r.spans, number);
	assert_int_equal(r.body.len, 1000);
	assert_memory_equal(r.body.p, &number, sizeof(number));
	spool_done(s);
}

static void records_come_back_in_order(void **state)
{
	struct spool_record r;
	struct spool *s = open_spool("order", 1 << 20, NULL);
	uint32_t in = 0, out = 0;

	assert_int_equal(spool_peek(s, &r), -ENOENT);
	/* More than a segment holds, and more than the whole in all. */
	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 90; i++)
			add(s, ++in);
		while (out < in - 30)
			take_one(s, ++out);
	}
	while (out < in)
		take_one(s, ++out);
	assert_int_equal(spool_peek(s, &r), -ENOENT);
	assert_true(spool_size(s) < 64); /* what was delivered is gone */
	add(s, ++in);
	spool_close(s);
	s = open_spool("order", 1 << 20, NULL);
	take_one(s, in);
	spool_close(s);
}

static void what_waits_is_found_again(void **state)
{
	struct spool_resumed r;
	struct spool *s = open_spool("again", 1 << 20, NULL);

	for (uint32_t i = 1; i <= 200; i++)
		add(s, i);
	for (uint32_t i = 1; i <= 77; i++)
		take_one(s, i);
	spool_close(s);
	s = open_spool("again", 1 << 20, &r);
	assert_int_equal(r.spans, 200 * 201 / 2 - 77 * 78 / 2);
	assert_int_equal(r.torn_bytes, 0);
	for (uint32_t i = 78; i <= 200; i++)
		take_one(s, i);
	add(s, 201);
	take_one(s, 201);
	spool_close(s);
}

static void a_full_spool_refuses(void **state)
{
	struct spool *s = open_spool("full", 200000, NULL);
	char body[50000] = "";
	int err = 0, cnt = 0;

	while (!(err = spool_add(s, (struct str){ body, sizeof(body) }, 1)))
		cnt++;
	assert_int_equal(err, -ENOBUFS);
	assert_int_equal(cnt, 3);
	assert_true(spool_size(s) <= 200000);
	spool_close(s);
}

static const char *last_segment(const char *name)
{
	static char path[160];
	struct stat st;

	for (int i = 1; i < 1000; i++) {
		char one[160];
		snprintf(one, sizeof(one), "%s/%08d.spool", rig_path(name), i);
		if (!stat(one, &st))
			memcpy(path, one, sizeof(path));
	}
	return path;
}

/* Every place at which a process could have been ended while it added a record. */
static void a_torn_tail_is_cut_wherever_it_ends(void **state)
{
	for (int cut = 1; cut <= 1032; cut += cut < 40 || cut > 990 ? 1 : 97) {
		struct spool_resumed r;
		char name[16];
		struct spool *s;
		struct stat st;

		snprintf(name, sizeof(name), "torn%d", cut);
		s = open_spool(name, 1 << 20, NULL);
		add(s, 1);
		add(s, 2);
		spool_close(s);
		assert_int_equal(stat(last_segment(name), &st), 0);
		assert_int_equal(truncate(last_segment(name), st.st_size - cut), 0);
		s = open_spool(name, 1 << 20, &r);
		assert_int_equal(r.spans, 1);
		assert_int_equal(r.torn_bytes, 1032 - cut);
		assert_int_equal(r.torn_spans, cut <= 1000 ? 2 : 0);
		take_one(s, 1);
		add(s, 3);
		take_one(s, 3);
		spool_close(s);
	}
}

static void overwrite(const char *name, off_t at)
{
	int fd = open(last_segment(name), O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "\xff\xff\xff", 3, at), 3);
	close(fd);
}

static void a_damaged_body_is_named_and_passed(void **state)
{
	struct spool *s = open_spool("body", 1 << 20, NULL);
	struct spool_record r;

	for (uint32_t i = 1; i <= 3; i++)
		add(s, i);
	overwrite("body", 24 + 1032 + 32 + 500);
	take_one(s, 1);
	assert_int_equal(spool_peek(s, &r), 0);
	assert_true(r.damaged);
	assert_int_equal(r.spans, 2);
	spool_done(s);
	take_one(s, 3);
	spool_close(s);
}

static void a_damaged_head_costs_its_segment_only(void **state)
{
	struct spool *s = open_spool("head", 1 << 20, NULL);
	struct spool_record r;

	for (uint32_t i = 1; i <= 3; i++)
		add(s, i);
	overwrite("head", 24 + 1032 + 8);
	take_one(s, 1);
	assert_int_equal(spool_peek(s, &r), 0);
	assert_true(r.damaged);
	assert_int_equal(r.spans, 2 + 3);
	spool_done(s);
	assert_int_equal(spool_peek(s, &r), -ENOENT);
	add(s, 4);
	take_one(s, 4);
	spool_close(s);
}

static void only_we_may_enter_and_only_once(void **state)
{
	struct spool_resumed r;
	struct spool *s, *other = NULL;
	struct stat st;

	assert_int_equal(mkdir(rig_path("open"), 0755), 0);
	assert_int_equal(spool_open(rig_path("open"), "x", 1 << 20, &other, &r, why), -EPERM);
	assert_int_equal(mkdir(rig_path("foreign"), 0700), 0);
	s = open_spool("once", 1 << 20, NULL);
	add(s, 1);
	assert_int_equal(stat(rig_path("once"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(last_segment("once"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(spool_open(rig_path("once"), "otlp_proto", 1 << 20, &other, &r, why),
			 -EBUSY);
	spool_close(s);
	assert_int_equal(spool_open(rig_path("once"), "zipkin_v2", 1 << 20, &other, &r, why),
			 -EINVAL);
	assert_non_null(strstr(why, "otlp_proto"));
	assert_int_equal(spool_open("/nonexistent/dir", "x", 1 << 20, &other, &r, why), -ENOENT);
	assert_null(other);
	spool_close(NULL);
}

/* What has been delivered does not bind the folder to its format; what waits does. */
static void an_empty_spool_may_change_its_format(void **state)
{
	struct spool_resumed r;
	struct spool *s = open_spool("format", 1 << 20, NULL), *other = NULL;

	for (uint32_t i = 1; i <= 3; i++)
		add(s, i);
	take_one(s, 1);
	take_one(s, 2);
	spool_close(s);
	assert_int_equal(spool_open(rig_path("format"), "otlp_json", 1 << 20, &other, &r, why),
			 -EINVAL);
	assert_non_null(strstr(why, "holds 3 spans as otlp_proto, not otlp_json"));
	s = open_spool("format", 1 << 20, NULL);
	take_one(s, 3); /* marked, and not yet cleared */
	spool_close(s);
	assert_int_equal(spool_open(rig_path("format"), "otlp_json", 1 << 20, &other, &r, why), 0);
	assert_int_equal(r.spans, 0);
	add(other, 4);
	take_one(other, 4);
	spool_close(other);
}

static void a_disk_that_refuses_leaves_whole_records(void **state)
{
	struct spool *s = open_spool("limit", 1 << 20, NULL);
	struct rlimit was, limit;
	char body[8000] = "";
	int err = 0;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	limit = was;
	limit.rlim_cur = 5000;
	add(s, 1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	err = spool_add(s, (struct str){ body, sizeof(body) }, 2);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(err, -EFBIG);
	add(s, 3);
	take_one(s, 1);
	take_one(s, 3);
	spool_close(s);
}

/* ---- under an exporter ---- */

static struct exporter *start(const struct endpoint *end, const char *dir, uint32_t batch)
{
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/traces", end->port);
	return rig_start((struct exporter_cfg){ .kind = "otlp_http",
						.spool_dir = rig_path(dir),
						.batch_spans = batch },
			 url);
}

static void wait_for_size(const char *name, off_t least)
{
	struct stat st;

	for (int i = 0; i < 4000; i++) {
		if (!stat(last_segment(name), &st) && st.st_size >= least)
			return;
		usleep(5000);
	}
	fail_msg("the spool does not grow");
}

static void a_killed_process_is_continued(void **state)
{
	struct endpoint end;
	struct exporter *e;
	struct books b;
	pid_t pid;
	int status;

	assert_int_equal(endpoint_bind(&end), 0); /* nobody answers yet */
	pid = fork();
	if (!pid) {
		e = start(&end, "kill", 20);
		rig_push(e, 1000);
		pause();
	}
	wait_for_size("kill", 1000 * 100);
	usleep(200000);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));

	assert_int_equal(endpoint_start(&end, ok), 0);
	e = start(&end, "kill", 20);
	b = rig_books(STAGE);
	/* the last batches may not have been on disk yet */
	assert_true(b.in >= 500 && b.in <= 1000 && b.in % 20 == 0);
	rig_push(e, 20);
	exporter_free(e, 20000);
	assert_int_equal(end.cnt, b.in / 20 + 1);
	endpoint_stop(&end);
	/* Nothing is left to send again. */
	assert_int_equal(endpoint_bind(&end), 0);
	assert_int_equal(endpoint_start(&end, ok), 0);
	e = start(&end, "kill", 20);
	assert_int_equal(rig_books(STAGE).in, 0);
	exporter_free(e, 0);
	endpoint_stop(&end);
}

static void the_end_leaves_the_rest_on_disk(void **state)
{
	struct endpoint end;
	struct exporter *e;

	assert_int_equal(endpoint_bind(&end), 0);
	e = start(&end, "rest", 10);
	rig_push(e, 55);
	exporter_free(e, 0);
	assert_int_equal(endpoint_start(&end, ok), 0);
	e = start(&end, "rest", 10);
	assert_int_equal(rig_settle(STAGE).out, 55);
	assert_int_equal(rig_books(STAGE).in, 55);
	exporter_free(e, 20000);
	assert_int_equal(end.cnt, 6);
	endpoint_stop(&end);
}

static void an_exporter_counts_what_its_spool_refuses(void **state)
{
	struct exporter *e;
	struct endpoint end;
	struct books b = { 0 };
	char url[64];

	assert_int_equal(endpoint_bind(&end), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/traces", end.port);
	e = rig_start((struct exporter_cfg){ .kind = "otlp_http",
					     .spool_dir = rig_path("small"),
					     .spool_bytes = 50000,
					     .batch_spans = 10 },
		      url);
	rig_push(e, 1000);
	for (int i = 0; i < 4000 && !rig_lost(&b, "spool_full"); i++) {
		usleep(5000);
		b = rig_books(STAGE);
	}
	assert_true(rig_lost(&b, "spool_full") > 0);
	assert_int_equal(b.in, b.held + b.out + rig_lost(&b, NULL));
	exporter_free(e, 0);
	close(end.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_back_in_order),
		cmocka_unit_test(what_waits_is_found_again),
		cmocka_unit_test(a_full_spool_refuses),
		cmocka_unit_test(a_torn_tail_is_cut_wherever_it_ends),
		cmocka_unit_test(a_damaged_body_is_named_and_passed),
		cmocka_unit_test(a_damaged_head_costs_its_segment_only),
		cmocka_unit_test(only_we_may_enter_and_only_once),
		cmocka_unit_test(an_empty_spool_may_change_its_format),
		cmocka_unit_test(a_disk_that_refuses_leaves_whole_records),
		cmocka_unit_test(a_killed_process_is_continued),
		cmocka_unit_test(the_end_leaves_the_rest_on_disk),
		cmocka_unit_test(an_exporter_counts_what_its_spool_refuses),
	};
	return cmocka_run_group_tests_name("export/spool", tests, rig_setup, rig_teardown);
}

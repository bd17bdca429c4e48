/* SPDX-License-Identifier: Apache-2.0 */
/* Files of OTLP/JSON lines that turn over by size and age, and that others turn over. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "rig.h"

#define STAGE "export_otlp_file"

static struct exporter *start(struct exporter_cfg cfg, const char *path)
{
	cfg.kind = "otlp_file";
	cfg.batch_spans = 10;
	return rig_start(cfg, path);
}

/* Lines of a file, each of which must be JSON of ten spans; -1: there is none. */
static int lines_of(const char *path)
{
	static char text[1 << 20];
	FILE *in = fopen(path, "r");
	int cnt = 0;

	if (!in)
		return -1;
	for (; fgets(text, sizeof(text), in); cnt++) {
		json_t *line = json_loads(text, 0, NULL);
		assert_non_null(json_object_get(line, "resourceSpans"));
		assert_int_equal(text[strlen(text) - 1], '\n');
		json_decref(line);
	}
	fclose(in);
	return cnt;
}

static void push_lines(struct exporter *e, uint32_t cnt)
{
	rig_push(e, cnt * 10);
	rig_settle(STAGE);
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -1 : st.st_size;
}

static void a_batch_is_a_line_of_a_private_file(void **state)
{
	struct exporter *e = start((struct exporter_cfg){ 0 }, rig_path("plain"));
	struct stat st;

	push_lines(e, 3);
	assert_int_equal(lines_of(rig_path("plain")), 3);
	assert_int_equal(stat(rig_path("plain"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	exporter_free(e, 0);
	/* It goes on where it was. */
	e = start((struct exporter_cfg){ 0 }, rig_path("plain"));
	push_lines(e, 1);
	assert_int_equal(lines_of(rig_path("plain")), 4);
	exporter_free(e, 0);
}

/* A killed process's last line is without its end; what follows is on a line of its own. */
static void half_a_line_spoils_no_other(void **state)
{
	struct exporter *e = start((struct exporter_cfg){ 0 }, rig_path("half"));

	push_lines(e, 2);
	exporter_free(e, 0);
	assert_int_equal(truncate(rig_path("half"), size_of(rig_path("half")) - 1), 0);
	e = start((struct exporter_cfg){ 0 }, rig_path("half"));
	push_lines(e, 2);
	assert_int_equal(lines_of(rig_path("half")), 4);
	exporter_free(e, 0);
}

static void size_turns_it_over_and_few_are_kept(void **state)
{
	struct exporter *e = start((struct exporter_cfg){ 0 }, rig_path("probe"));
	off_t line;

	push_lines(e, 1);
	line = size_of(rig_path("probe"));
	exporter_free(e, 0);
	e = start((struct exporter_cfg){ .rotate_bytes = (uint64_t)line * 3, .rotate_keep = 2 },
		  rig_path("size"));
	push_lines(e, 20);
	exporter_free(e, 0);
	assert_true(lines_of(rig_path("size")) >= 1);
	assert_true(lines_of(rig_path("size.1")) >= 2);
	assert_true(lines_of(rig_path("size.2")) >= 2);
	assert_int_equal(lines_of(rig_path("size.3")), -1);
	assert_true(size_of(rig_path("size.1")) <= line * 3);
}

static void age_turns_it_over(void **state)
{
	struct exporter *e = start((struct exporter_cfg){ .rotate_age_s = 1 }, rig_path("age"));

	push_lines(e, 1);
	usleep(2100000);
	push_lines(e, 1);
	assert_int_equal(lines_of(rig_path("age.1")), 1);
	assert_int_equal(lines_of(rig_path("age")), 1);
	exporter_free(e, 0);
}

static void a_file_that_others_move_is_opened_anew(void **state)
{
	struct exporter *e = start((struct exporter_cfg){ 0 }, rig_path("moved"));

	push_lines(e, 2);
	assert_int_equal(rename(rig_path("moved"), rig_path("moved.old")), 0);
	push_lines(e, 1);
	assert_int_equal(lines_of(rig_path("moved.old")), 2);
	assert_int_equal(lines_of(rig_path("moved")), 1);
	/* copied and emptied */
	assert_int_equal(truncate(rig_path("moved"), 0), 0);
	push_lines(e, 1);
	assert_int_equal(lines_of(rig_path("moved")), 1);
	exporter_free(e, 0);
}

static void a_full_disk_is_waited_for(void **state)
{
	struct exporter *e = start((struct exporter_cfg){ 0 }, rig_path("limit"));
	struct rlimit was, limit;
	struct books b;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	push_lines(e, 1);
	limit = was;
	limit.rlim_cur = (rlim_t)size_of(rig_path("limit")) + 100;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	rig_push(e, 10);
	usleep(100000);
	b = rig_books(STAGE);
	assert_int_equal(b.held, 10);
	assert_int_equal(lines_of(rig_path("limit")), 1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(rig_settle(STAGE).out, 20);
	assert_int_equal(lines_of(rig_path("limit")), 2);
	exporter_free(e, 0);
}

static void dash_is_standard_output(void **state)
{
	int saved = dup(STDOUT_FILENO), to;
	struct exporter *e;

	fflush(stdout);
	to = open(rig_path("out"), O_WRONLY | O_CREAT, 0600);
	assert_int_equal(dup2(to, STDOUT_FILENO), STDOUT_FILENO);
	e = start((struct exporter_cfg){ .rotate_bytes = 1 }, "-");
	rig_push(e, 20);
	exporter_free(e, 20000);
	assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
	close(saved);
	close(to);
	assert_int_equal(lines_of(rig_path("out")), 2);
}

static void what_cannot_be_opened_says_why(void **state)
{
	assert_int_equal(rig_refused((struct exporter_cfg){ .kind = "otlp_file" },
				     "/nonexistent/dir/f",
				     "/nonexistent/dir/f: No such file or directory"),
			 -ENOENT);
	assert_int_equal(rig_refused((struct exporter_cfg){ .kind = "otlp_file", .gzip = true },
				     rig_path("x"), "no gzip"),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_is_a_line_of_a_private_file),
		cmocka_unit_test(half_a_line_spoils_no_other),
		cmocka_unit_test(size_turns_it_over_and_few_are_kept),
		cmocka_unit_test(age_turns_it_over),
		cmocka_unit_test(a_file_that_others_move_is_opened_anew),
		cmocka_unit_test(a_full_disk_is_waited_for),
		cmocka_unit_test(dash_is_standard_output),
		cmocka_unit_test(what_cannot_be_opened_says_why),
	};
	return cmocka_run_group_tests_name("export/rotate", tests, rig_setup, rig_teardown);
}

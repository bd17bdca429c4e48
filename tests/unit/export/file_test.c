/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of OTLP/JSON: how many spans each holds, and what a failing file does to the books. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "core/books.h"
#include "export/export.h"
#include "span_gen.h"

static struct resource *resource;
static char path[] = "/tmp/otlp_file_test.XXXXXX";

static void copy_books(void *ctx, const struct books *b)
{
	if (!strcmp(b->stage, "export_file"))
		*(struct books *)ctx = *b;
}

static struct books read_books(void)
{
	struct books b = { 0 };

	books_each(copy_books, &b);
	return b;
}

static void push(struct otlp_file *f, uint32_t cnt)
{
	struct gen g = { 5, arena_new(0) };

	for (uint32_t i = 0; i < cnt; i++)
		otlp_file_push(f, gen_http_span(&g, resource));
	arena_free(g.mem);
}

static size_t spans_in(json_t *line)
{
	json_t *rs, *ss;
	size_t i, k, sum = 0;

	json_array_foreach(json_object_get(line, "resourceSpans"), i, rs)
		json_array_foreach(json_object_get(rs, "scopeSpans"), k, ss) sum +=
		json_array_size(json_object_get(ss, "spans"));
	return sum;
}

static size_t read_lines(size_t *spans, size_t most)
{
	static char text[1 << 20];
	FILE *in = fopen(path, "r");
	size_t cnt = 0;

	assert_non_null(in);
	while (cnt < most && fgets(text, sizeof(text), in)) {
		json_t *line = json_loads(text, 0, NULL);
		assert_non_null(line);
		assert_int_equal(text[strlen(text) - 1], '\n');
		spans[cnt++] = spans_in(line);
		json_decref(line);
	}
	fclose(in);
	return cnt;
}

static void a_line_holds_at_most_64_spans(void **state)
{
	struct otlp_file *f;
	size_t spans[8];

	assert_int_equal(otlp_file_open(path, &f), 0);
	push(f, 150);
	assert_int_equal(read_books().held, 22);
	assert_int_equal(otlp_file_flush(f), 0);
	push(f, 1);
	assert_int_equal(otlp_file_close(f), 0);
	assert_int_equal(read_lines(spans, 8), 4);
	assert_int_equal(spans[0], 64);
	assert_int_equal(spans[1], 64);
	assert_int_equal(spans[2], 22);
	assert_int_equal(spans[3], 1);
}

static void a_full_disk_is_an_error_that_stays(void **state)
{
	struct otlp_file *f;
	struct books b;

	if (access("/dev/full", W_OK)) {
		print_message("SKIP: no /dev/full\n");
		skip();
	}
	assert_int_equal(otlp_file_open("/dev/full", &f), 0);
	push(f, 70);
	assert_int_equal(otlp_file_flush(f), -ENOSPC);
	b = read_books();
	assert_int_equal(b.in, 70);
	assert_int_equal(b.dropped[1], 70);
	assert_int_equal(b.held + b.out, 0);
	assert_int_equal(otlp_file_close(f), -ENOSPC);
}

static void a_file_that_cannot_grow_keeps_whole_lines(void **state)
{
	struct rlimit was, limit;
	struct otlp_file *f;
	struct books b;
	size_t spans[8];

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	limit = was;
	limit.rlim_cur = 100 << 10;
	assert_int_equal(otlp_file_open(path, &f), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	push(f, 128);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	b = read_books();
	assert_int_equal(b.out, 64);
	assert_int_equal(b.dropped[1], 64);
	assert_int_equal(otlp_file_close(f), -EFBIG);
	assert_int_equal(read_lines(spans, 8), 1);
}

static void what_cannot_be_opened_says_why(void **state)
{
	struct otlp_file *f = NULL;

	assert_int_equal(otlp_file_open("/nonexistent/dir/f", &f), -ENOENT);
	assert_null(f);
	assert_int_equal(otlp_file_close(NULL), 0);
}

static int setup(void **state)
{
	struct gen g = { 3, NULL };
	int fd = mkstemp(path);

	resource = gen_resource(&g, 1);
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	resource_put(resource);
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_holds_at_most_64_spans),
		cmocka_unit_test(a_full_disk_is_an_error_that_stays),
		cmocka_unit_test(a_file_that_cannot_grow_keeps_whole_lines),
		cmocka_unit_test(what_cannot_be_opened_says_why),
	};
	return cmocka_run_group_tests_name("export/file", tests, setup, teardown);
}

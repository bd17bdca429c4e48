/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/store/fill.h"

#include "store/engine.h"

#include <sys/stat.h>

static struct fill f;

static int before(void **state)
{
	begin(&f);
	return 0;
}

static int after(void **state)
{
	end(&f);
	return 0;
}

static void what_is_acknowledged_is_found_at_once_and_after_reopening(void **state)
{
	assert_int_equal(open_store(&f), 0);
	for (uint64_t t = 0; t < 500; t++)
		push_trace(&f, t, 1 + t % 7);
	assert_int_equal(sync_writer(f.writer), 0);
	for (uint64_t t = 0; t < 500; t++)
		assert_true(has_trace(f.store, t, 1 + t % 7));
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
	for (uint64_t t = 0; t < 500; t++)
		assert_true(has_trace(f.store, t, 1 + t % 7));
	assert_false(has_trace(f.store, 500, 1));
}

static void a_trace_of_many_commits_and_openings_is_one(void **state)
{
	for (uint32_t i = 0; i < 40; i++) {
		if (i % 10 == 0) {
			close_store(&f);
			assert_int_equal(open_store(&f), 0);
		}
		push(&f, 7, i);
		push(&f, 1000 + i, 0);
		assert_int_equal(sync_writer(f.writer), 0);
	}
	assert_true(has_trace(f.store, 7, 40));
	assert_int_equal(stats_of(f.store).spans, 80);
}

static void a_batch_that_came_twice_counts_once(void **state)
{
	struct trace_id id = trace_of(3);
	struct trace *trace;
	struct attr item[3];
	struct span other;

	assert_int_equal(open_store(&f), 0);
	for (int twice = 0; twice < 2; twice++) {
		push_trace(&f, 3, 5);
		assert_int_equal(sync_writer(f.writer), 0);
	}
	assert_true(has_trace(f.store, 3, 5));
	/* the same id with other contents is another span */
	other = make_span(3, 2, item);
	other.name = STR("another");
	store_writer_push(f.writer, &other);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_int_equal(store_trace(f.store, &id, &trace), 0);
	assert_int_equal(trace->span_cnt, 6);
	assert_int_equal(trace->root, 0);
	assert_true(trace->complete);
	trace_put(trace);
}

static void spans_that_are_too_large_are_told(void **state)
{
	size_t len = 9 << 20;
	char *text = calloc(1, len);
	struct attr item[3];
	struct span big = make_span(4, 1, item);

	item[0].value.str = (struct str){ text, len };
	assert_int_equal(open_store(&f), 0);
	push(&f, 4, 0);
	store_writer_push(f.writer, &big);
	store_writer_push(f.writer, &big);
	assert_int_equal(sync_writer(f.writer), 2);
	assert_true(has_trace(f.store, 4, 1));
	store_writer_push(f.writer, &big);
	assert_int_equal(sync_writer(f.writer), 1);
	assert_int_equal(sync_writer(f.writer), 0);
	free(text);
}

static void a_second_writer_is_told_who_the_first_is(void **state)
{
	struct store *second = NULL;
	char why[STORE_WHY_MAX], pid[32];

	assert_int_equal(open_store(&f), 0);
	assert_int_equal(store_open(&f.cfg, &second, why), -EBUSY);
	snprintf(pid, sizeof(pid), "process %d ", (int)getpid());
	assert_non_null(strstr(why, pid));
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
}

static void a_reader_looks_on_beside_the_writer(void **state)
{
	struct store_cfg cfg = f.cfg;
	struct store *reader;
	char why[STORE_WHY_MAX];

	cfg.read_only = true;
	assert_int_equal(open_store(&f), 0);
	push_trace(&f, 1, 3);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_int_equal(store_open(&cfg, &reader, why), 0);
	assert_true(has_trace(reader, 1, 3));
	push_trace(&f, 2, 3);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_true(has_trace(reader, 2, 3));
	assert_null(store_writer_new(reader));
	assert_int_equal(store_admits(reader), -EROFS);
	store_close(reader);
	push_trace(&f, 3, 3);
	assert_int_equal(sync_writer(f.writer), 0);
}

static void a_reader_goes_on_when_the_writer_drops_a_file(void **state)
{
	struct store_cfg cfg = f.cfg;
	char path[128], why[STORE_WHY_MAX];
	struct store *reader;

	cfg.read_only = true;
	assert_int_equal(open_store(&f), 0);
	push_trace(&f, 1, 3);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_int_equal(store_open(&cfg, &reader, why), 0);
	snprintf(path, sizeof(path), "%s/part-0000000001.db", f.dir);
	assert_int_equal(unlink(path), 0);
	/* it was open before, so it stays until the reader is done */
	assert_int_equal(stats_of(reader).spans, 3);
	assert_int_equal(stats_of(reader).bad_blocks, 0);
	assert_true(has_trace(reader, 1, 3));
	store_close(reader);
}

static void what_is_no_store_is_refused(void **state)
{
	char path[128], why[STORE_WHY_MAX];
	struct store_cfg cfg = f.cfg;
	struct store *s;
	FILE *file;

	cfg.read_only = true;
	assert_int_equal(store_open(&cfg, &s, why), -EBADMSG);
	snprintf(path, sizeof(path), "%s/letter.txt", f.dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(open_store(&f), -EBADMSG);
	assert_non_null(strstr(f.why, "other files"));
	cfg = (struct store_cfg){ .where = path };
	assert_int_equal(store_open(&cfg, &s, why), -ENOTDIR);
	cfg.where = "ftp://example";
	assert_int_equal(store_open(&cfg, &s, why), -EINVAL);
	cfg.where = "/nonexistent/store";
	assert_int_equal(store_open(&cfg, &s, why), -ENOENT);
}

static void nobody_else_may_read_the_files(void **state)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/new", f.dir);
	f.cfg.where = path;
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	snprintf(path, sizeof(path), "%s/new/part-0000000001.db", f.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* ---- scans, names, values ------------------------------------------------------------------ */

struct times {
	uint64_t last_ns;
	uint32_t cnt, most;
};

static bool note_time(void *ctx, const struct span *s)
{
	struct times *t = ctx;

	assert_true(s->start_ns <= t->last_ns);
	t->last_ns = s->start_ns;
	return ++t->cnt < t->most;
}

static void scans_give_the_newest_first_and_end_when_told(void **state)
{
	struct field number = { FIELD_SPAN_ATTR, STR("number") };
	struct cond where = { .op = COND_CMP,
			      .field = number,
			      .cmp = CMP_LT,
			      .value = { .type = VALUE_INT, .i = 60 } };
	struct scan q = { .fields = &number, .field_cnt = 1 };
	struct times t = { UINT64_MAX, 0, UINT32_MAX };

	assert_int_equal(open_store(&f), 0);
	for (uint64_t n = 0; n < 100; n++) {
		push(&f, n, 0);
		if (n % 9 == 0)
			assert_int_equal(sync_writer(f.writer), 0);
	}
	assert_int_equal(sync_writer(f.writer), 0);
	assert_int_equal(store_scan(f.store, &q, note_time, &t), 0);
	assert_int_equal(t.cnt, 100);
	q.where = &where;
	q.range = (struct time_range){ BASE_NS + 10 * NS_PER_MS, BASE_NS + 50 * NS_PER_MS };
	t = (struct times){ UINT64_MAX, 0, UINT32_MAX };
	assert_int_equal(store_scan(f.store, &q, note_time, &t), 0);
	assert_int_equal(t.cnt, 40);
	t = (struct times){ UINT64_MAX, 0, 5 };
	assert_int_equal(store_scan(f.store, &q, note_time, &t), 0);
	assert_int_equal(t.cnt, 5);
	q.deadline_ns = 1;
	assert_int_equal(store_scan(f.store, &q, note_time, &t), -ETIMEDOUT);
}

/* Most blocks are looked into in vain, which is when two threads share them. */
static void many_blocks_are_scanned_in_order_too(void **state)
{
	struct cond where = { .op = COND_CMP,
			      .field = { FIELD_SPAN_ATTR, STR("step") },
			      .cmp = CMP_GT,
			      .value = { .type = VALUE_INT, .i = 2 } };
	struct scan q = { .where = &where };
	struct times t;

	assert_int_equal(open_store(&f), 0);
	for (uint64_t n = 0; n < 120; n++) {
		push_trace(&f, n, n % 20 == 7 ? 5 : 2);
		assert_int_equal(sync_writer(f.writer), 0);
	}
	for (int i = 0; i < 50; i++) {
		t = (struct times){ UINT64_MAX, 0, UINT32_MAX };
		assert_int_equal(store_scan(f.store, &q, note_time, &t), 0);
		assert_int_equal(t.cnt, 12);
		t = (struct times){ UINT64_MAX, 0, 9 };
		assert_int_equal(store_scan(f.store, &q, note_time, &t), 0);
		assert_int_equal(t.cnt, 9);
	}
}

static char text[4096];

static void note_service(void *ctx, struct str s)
{
	snprintf(text + strlen(text), sizeof(text) - strlen(text), STR_FMT ";", STR_ARG(s));
}

static void note_operation(void *ctx, struct str s, struct str name, enum span_kind kind)
{
	snprintf(text + strlen(text), sizeof(text) - strlen(text), STR_FMT ":" STR_FMT ":%d;",
		 STR_ARG(s), STR_ARG(name), (int)kind);
}

static void note_tag(void *ctx, enum field_kind kind, struct str key)
{
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d" STR_FMT ";",
		 kind == FIELD_RESOURCE_ATTR, STR_ARG(key));
}

static void note_value(void *ctx, const struct value *v)
{
	if (v->type == VALUE_STR)
		note_service(ctx, v->str);
	++*(uint32_t *)ctx;
}

static void names_and_values_come_once_and_sorted(void **state)
{
	struct field name = { FIELD_NAME, { 0 } }, number = { FIELD_ATTR, STR("number") };
	uint32_t cnt = 0;

	assert_int_equal(open_store(&f), 0);
	for (uint64_t t = 0; t < 50; t++) {
		push_trace(&f, t, 3);
		assert_int_equal(sync_writer(f.writer), 0);
	}
	text[0] = 0;
	assert_int_equal(store_services(f.store, (struct time_range){ 0 }, note_service, NULL), 0);
	assert_string_equal(text, "cart;front;stock;");
	text[0] = 0;
	assert_int_equal(
		store_operations(f.store, STR(""), (struct time_range){ 0 }, note_operation, NULL),
		0);
	assert_string_equal(text, "cart:GET /cart/{id}:3;front:GET /:2;stock:SELECT stock:3;");
	text[0] = 0;
	assert_int_equal(store_operations(f.store, STR("stock"), (struct time_range){ 0 },
					  note_operation, NULL),
			 0);
	assert_string_equal(text, "stock:SELECT stock:3;");
	text[0] = 0;
	assert_int_equal(
		store_services(f.store, (struct time_range){ 0, BASE_NS - 1 }, note_service, NULL),
		0);
	assert_string_equal(text, "");
	assert_int_equal(store_tags(f.store, (struct time_range){ 0 }, note_tag, NULL), 0);
	assert_non_null(strstr(text, "0http.request.method;"));
	assert_non_null(strstr(text, "0number;"));
	assert_non_null(strstr(text, "1host.name;"));
	text[0] = 0;
	assert_int_equal(
		store_values(f.store, &name, NULL, (struct time_range){ 0 }, 10, note_value, &cnt),
		0);
	assert_int_equal(cnt, 3);
	cnt = 0;
	assert_int_equal(
		store_values(f.store, &number, NULL, (struct time_range){ 0 }, 7, note_value, &cnt),
		0);
	assert_int_equal(cnt, 7);
}

static void stats_count_a_trace_of_many_blocks_once(void **state)
{
	struct store_stats stats;

	assert_int_equal(open_store(&f), 0);
	for (uint32_t i = 0; i < 5; i++)
		for (uint64_t t = 0; t < 200; t++) {
			push(&f, t, i);
			if (t % 50 == 0)
				assert_int_equal(sync_writer(f.writer), 0);
		}
	assert_int_equal(sync_writer(f.writer), 0);
	stats = stats_of(f.store);
	assert_int_equal(stats.spans, 1000);
	assert_int_equal(stats.traces, 200);
	assert_int_equal(stats.partitions, 1);
	assert_int_equal(stats.oldest_ns, BASE_NS);
	assert_int_equal(stats.newest_ns, BASE_NS + 199 * NS_PER_MS + 4);
	assert_true(stats.bytes > 0);
	assert_int_equal(stats.bad_blocks, 0);
}

static void count_trace(void *ctx, const struct trace *t)
{
	++*(uint64_t *)ctx;
	assert_int_equal(t->span_cnt, 2);
}

static void do_nothing(void *ctx, int err)
{
}

static int add_block(void *ctx, struct view *v, const struct block_row *row)
{
	uint32_t *blocks = ctx;

	++*blocks;
	return 0;
}

/* Batches of 500 spans, each of 50 traces side by side. */
static void what_was_sent_together_lies_in_one_block(void **state)
{
	const uint32_t batches = 80;
	const struct need every = { .op = NEED_SPANS };
	struct sieve *sieve;
	uint32_t blocks = 0;

	f.cfg.commit_ms = 60000;
	assert_int_equal(open_store(&f), 0);
	for (uint32_t b = 0; b < batches; b++) {
		for (uint32_t i = 0; i < 10; i++)
			for (uint32_t t = 0; t < 50; t++)
				push(&f, 50 * b + t, i);
		store_writer_sync(f.writer, (struct store_ack){ do_nothing, NULL });
	}
	close_store(&f);
	f.cfg.commit_ms = 1;
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(
		engine_each((struct engine *)f.store, (struct time_range){ 0 }, add_block, &blocks),
		0);
	assert_int_equal(blocks, (500 * batches + BLOCK_SPANS_MAX - 1) / BLOCK_SPANS_MAX);
	assert_int_equal(store_sieve_new(f.store, &every, 0, &sieve), 0);
	assert_int_equal(sieve->apart->cnt, 0); /* traces in several blocks */
	store_sieve_free(sieve);
}

static struct apart *apart_now(void)
{
	struct apart *a;

	assert_int_equal(engine_apart((struct engine *)f.store, 0, &a), 0);
	return a;
}

static void what_is_apart_is_found_once_for_each_state(void **state)
{
	struct apart *a, *b;

	assert_int_equal(open_store(&f), 0);
	for (uint64_t t = 0; t < 20; t++)
		push(&f, t, 0);
	assert_int_equal(sync_writer(f.writer), 0);
	a = apart_now();
	assert_int_equal(a->cnt, 0);
	b = apart_now();
	assert_ptr_equal(a, b);
	apart_release(b);
	for (uint64_t t = 5; t < 8; t++)
		push(&f, t, 1);
	assert_int_equal(sync_writer(f.writer), 0);
	b = apart_now();
	assert_int_equal(b->cnt, 3);
	assert_int_equal(a->cnt, 0); /* who has it keeps it */
	apart_release(a);
	apart_release(b);
}

static void several_traces_come_with_one_call(void **state)
{
	struct trace_id ids[] = { trace_of(5), trace_of(99999), trace_of(2), trace_of(5) };
	uint64_t cnt = 0;

	assert_int_equal(open_store(&f), 0);
	for (uint64_t t = 0; t < 10; t++)
		push_trace(&f, t, 2);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_int_equal(store_traces(f.store, ids, ARRAY_LEN(ids),
				      (struct trace_sink){ &cnt, count_trace }),
			 0);
	assert_int_equal(cnt, 2);
	assert_int_equal(store_trace_fields(f.store, ids, ARRAY_LEN(ids), NULL, 0,
					    (struct trace_sink){ &cnt, count_trace }),
			 0);
	assert_int_equal(cnt, 4);
}

static bool never(void *ctx, const struct span *s)
{
	return true;
}

/* A block stays open between calls: what was read of it says nothing of what comes next. */
static void a_block_gives_the_same_again_and_again(void **state)
{
	static const struct field name = { .kind = FIELD_NAME };
	const struct cond here = { .op = COND_CMP, .field = name, .cmp = CMP_EXISTS, .depth = 1 };
	const struct scan all = { .where = &here };

	assert_int_equal(open_store(&f), 0);
	for (uint64_t t = 0; t < 10; t++)
		push_trace(&f, t, 2);
	assert_int_equal(sync_writer(f.writer), 0);
	for (uint64_t t = 0; t < 10; t++) {
		struct trace_id id = trace_of(t);
		uint64_t cnt = 0;

		assert_int_equal(store_trace_fields(f.store, &id, 1, &name, 1,
						    (struct trace_sink){ &cnt, count_trace }),
				 0);
		assert_int_equal(cnt, 1);
		assert_int_equal(store_scan(f.store, &all, never, NULL), 0);
		assert_true(has_trace(f.store, t, 2));
	}
	for (uint64_t t = 10; t < 20; t++) {
		push_trace(&f, t, 2);
		assert_int_equal(sync_writer(f.writer), 0);
		assert_true(has_trace(f.store, t, 2));
		assert_true(has_trace(f.store, t - 10, 2));
	}
}

/* ---- encryption ---------------------------------------------------------------------------- */

#define KEY_REST "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY	 "00" KEY_REST

static bool files_hold(const char *what)
{
	char command[256];

	snprintf(command, sizeof(command), "grep -rqaF -e '%s' %s", what, f.dir);
	return system(command) == 0;
}

static void without_its_key_a_store_stays_closed(void **state)
{
	char path[128];
	FILE *file;

	f.cfg.key = KEY;
	assert_int_equal(open_store(&f), 0);
	push_trace(&f, 1, 3);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_true(has_trace(f.store, 1, 3));
	assert_false(files_hold("SELECT stock"));
	close_store(&f);
	f.cfg.key = NULL;
	assert_int_equal(open_store(&f), -EKEYREJECTED);
	assert_non_null(strstr(f.why, "encrypted"));
	f.cfg.key = "ff" KEY_REST;
	assert_int_equal(open_store(&f), -EKEYREJECTED);
	f.cfg.key = KEY;
	assert_int_equal(open_store(&f), 0);
	assert_true(has_trace(f.store, 1, 3));
	close_store(&f);
	snprintf(path, sizeof(path), "%s/LOCK.key", f.dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(KEY "\n", file);
	fclose(file);
	f.cfg.key = NULL;
	f.cfg.key_file = path;
	assert_int_equal(open_store(&f), 0);
	assert_true(has_trace(f.store, 1, 3));
	close_store(&f);
	f.cfg.key_file = "/nonexistent";
	assert_int_equal(open_store(&f), -ENOENT);
	f.cfg.key_file = NULL;
	f.cfg.key = "abc";
	assert_int_equal(open_store(&f), -EKEYREJECTED);
}

static void a_store_in_the_clear_takes_no_key(void **state)
{
	assert_int_equal(open_store(&f), 0);
	push_trace(&f, 1, 3);
	close_store(&f);
	f.cfg.key = KEY;
	assert_int_equal(open_store(&f), -EKEYREJECTED);
	f.cfg.key = NULL;
	assert_int_equal(open_store(&f), 0);
	assert_true(has_trace(f.store, 1, 3));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_is_acknowledged_is_found_at_once_and_after_reopening),
		CASE(a_trace_of_many_commits_and_openings_is_one),
		CASE(a_batch_that_came_twice_counts_once),
		CASE(spans_that_are_too_large_are_told),
		CASE(a_second_writer_is_told_who_the_first_is),
		CASE(a_reader_looks_on_beside_the_writer),
		CASE(a_reader_goes_on_when_the_writer_drops_a_file),
		CASE(what_is_no_store_is_refused),
		CASE(nobody_else_may_read_the_files),
		CASE(scans_give_the_newest_first_and_end_when_told),
		CASE(many_blocks_are_scanned_in_order_too),
		CASE(names_and_values_come_once_and_sorted),
		CASE(stats_count_a_trace_of_many_blocks_once),
		CASE(what_was_sent_together_lies_in_one_block),
		CASE(what_is_apart_is_found_once_for_each_state),
		CASE(several_traces_come_with_one_call),
		CASE(a_block_gives_the_same_again_and_again),
		CASE(without_its_key_a_store_stays_closed),
		CASE(a_store_in_the_clear_takes_no_key),
	};
	int failed;

	make_services();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free_services();
	return failed;
}

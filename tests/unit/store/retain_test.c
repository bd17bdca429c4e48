/* SPDX-License-Identifier: Apache-2.0 */
/* What goes, what outlives it, and what becomes of small blocks. */
#include "unit/store/fill.h"

#include "core/books.h"

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

static bool trace_is_gone(void *ctx)
{
	struct trace_id id = trace_of(*(uint64_t *)ctx);
	struct trace *t = NULL;
	bool gone = store_trace(f.store, &id, &t) == -ENOENT;

	trace_put(t);
	return gone;
}

static double figure;

static void find_figure(void *ctx, const struct gauge *g, double value)
{
	if (strcmp(g->name, ctx) == 0)
		figure = value;
}

static uint64_t figure_of(const char *name)
{
	figure = -1;
	gauges_each(find_figure, (void *)name);
	assert_true(figure >= 0);
	return (uint64_t)figure;
}

static void what_is_too_old_goes_even_when_nothing_comes(void **state)
{
	uint64_t first = 1;

	f.cfg.retention_ns = 500 * NS_PER_MS;
	assert_int_equal(open_store(&f), 0);
	push_trace(&f, first, 3);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_true(comes_true(trace_is_gone, &first));
	while (!figure_of("store_spans_past_age_total")) /* counted when it has gone */
		usleep(1000);
	assert_int_equal(figure_of("store_spans_past_age_total"), 3);
	assert_int_equal(figure_of("store_spans_past_bytes_total"), 0);
	push_trace(&f, 2, 3);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_true(stats_of(f.store).partitions <= 2);
}

/* Text that does not compress. */
static void push_heavy(uint64_t t, size_t bytes)
{
	char text[4096];
	struct attr item[3];
	struct span s = make_span(t, 0, item);
	uint64_t x = t * 0x9e3779b97f4a7c15u + 1;

	assert_true(bytes <= sizeof(text));
	for (size_t i = 0; i < bytes; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		text[i] = (char)(x >> 32);
	}
	item[0].value = (struct value){ .type = VALUE_BYTES, .str = { text, bytes } };
	store_writer_push(f.writer, &s);
}

static bool is_small(void *ctx)
{
	return stats_of(f.store).bytes <= f.cfg.max_bytes;
}

/* Stored or gone. */
static bool all_are_counted(void *ctx)
{
	return stats_of(f.store).spans + figure_of("store_spans_past_bytes_total") ==
	       *(uint64_t *)ctx;
}

static void past_its_bytes_the_oldest_goes(void **state)
{
	uint64_t t = 0;

	f.cfg.max_bytes = 8 << 20;
	assert_int_equal(open_store(&f), 0);
	for (int round = 0; round < 70; round++) {
		for (int i = 0; i < 64; i++)
			push_heavy(t++, 4000);
		assert_int_equal(sync_writer(f.writer), 0);
	}
	assert_true(comes_true(is_small, NULL));
	assert_true(comes_true(all_are_counted, &t));
	assert_int_equal(figure_of("store_spans_past_age_total"), 0);
	assert_int_equal(figure_of("store_bytes"), stats_of(f.store).bytes);
	/* what partitions need besides, the log of the last and the step of the oldest are less */
	assert_true(stats_of(f.store).spans * 4000 > f.cfg.max_bytes / 2);
	t--;
	assert_false(trace_is_gone(&t));
	t = 0;
	assert_true(trace_is_gone(&t));
}

static uint32_t archived;

static void count_archived(void *ctx, const struct trace_id *id)
{
	archived++;
}

static void an_archived_trace_stays_until_it_is_let_go(void **state)
{
	struct trace_id kept = trace_of(1), unknown = trace_of(77);
	uint64_t one = 1, other = 2;

	f.cfg.retention_ns = 1500 * NS_PER_MS;
	f.cfg.key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	assert_int_equal(open_store(&f), 0);
	push_trace(&f, 1, 4);
	push_trace(&f, 2, 4);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_int_equal(store_archive(f.store, &kept, true), 0);
	assert_int_equal(store_archive(f.store, &kept, true), 0);
	assert_int_equal(store_archive(f.store, &unknown, true), -ENOENT);
	assert_int_equal(store_archive(f.store, &unknown, false), -ENOENT);
	archived = 0;
	assert_int_equal(store_archived(f.store, count_archived, NULL), 0);
	assert_int_equal(archived, 1);
	assert_true(comes_true(trace_is_gone, &other));
	assert_true(has_trace(f.store, 1, 4));
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
	assert_true(has_trace(f.store, 1, 4));
	assert_int_equal(count_spans(f.store), 4);
	assert_int_equal(store_archive(f.store, &kept, false), 0);
	assert_true(trace_is_gone(&one));
	assert_int_equal(store_archive(f.store, &kept, false), -ENOENT);
}

struct sums {
	uint64_t spans, errors, rows, buckets, last_hour_ns;
};

static void add_rollup(void *ctx, const struct store_rollup *row)
{
	struct sums *s = ctx;

	s->rows++;
	s->spans += row->spans;
	s->errors += row->errors;
	for (size_t i = 0; i < ARRAY_LEN(row->bucket); i++)
		s->buckets += row->bucket[i];
	assert_true(row->hour_ns >= s->last_hour_ns);
	assert_true(row->duration_max_ns <= row->duration_sum_ns);
	s->last_hour_ns = row->hour_ns;
}

static struct sums sum_up(struct time_range r)
{
	struct sums s = { 0 };

	assert_int_equal(store_rollups(f.store, r, add_rollup, &s), 0);
	return s;
}

static void a_partition_that_goes_leaves_its_summary(void **state)
{
	const struct time_range ever = { 0 }, before_all = { 0, BASE_NS - 7200 * NS_PER_S };
	uint64_t last = 39;
	struct sums s;

	f.cfg.retention_ns = 500 * NS_PER_MS;
	f.cfg.rollup_ns = 10 * 365 * 24 * 3600 * NS_PER_S;
	assert_int_equal(open_store(&f), 0);
	/* two partitions of the same hours */
	for (uint64_t t = 0; t < 40; t++) {
		push_trace(&f, t, 3);
		if (t == 19) {
			assert_int_equal(sync_writer(f.writer), 0);
			assert_true(comes_true(trace_is_gone, &t));
		}
	}
	assert_int_equal(sync_writer(f.writer), 0);
	assert_true(comes_true(trace_is_gone, &last));
	s = sum_up(ever);
	assert_int_equal(s.spans, 120);
	assert_int_equal(s.buckets, 120);
	assert_int_equal(s.errors, 12);
	assert_int_equal(s.rows, 3);
	assert_int_equal(sum_up(before_all).rows, 0);
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
	assert_int_equal(sum_up(ever).spans, 120);
}

/* ---- compaction ---------------------------------------------------------------------------- */

static bool is_merged(void *ctx)
{
	return stats_of(f.store).blocks < 50; /* 15 of each level may stay */
}

static void small_blocks_are_merged_and_nothing_is_lost(void **state)
{
	struct store_stats s;

	assert_int_equal(open_store(&f), 0);
	for (uint64_t t = 0; t < 150; t++) {
		push_trace(&f, t, 3);
		push(&f, 1000, (uint32_t)t);
		assert_int_equal(sync_writer(f.writer), 0);
	}
	assert_true(comes_true(is_merged, NULL));
	for (uint64_t t = 0; t < 150; t++)
		assert_true(has_trace(f.store, t, 3));
	assert_true(has_trace(f.store, 1000, 150));
	s = stats_of(f.store);
	assert_int_equal(s.spans, 600);
	assert_int_equal(s.traces, 151);
	assert_int_equal(s.bad_blocks, 0);
	close_store(&f);
	assert_int_equal(open_store(&f), 0);
	assert_true(has_trace(f.store, 1000, 150));
	assert_int_equal(count_spans(f.store), 600);
}

/* ---- a full queue -------------------------------------------------------------------------- */

static const struct books *books;

static void find_books(void *ctx, const struct books *b)
{
	if (strcmp(b->stage, "store") == 0)
		books = b;
}

static void past_its_queue_spans_are_refused_and_counted(void **state)
{
	uint64_t dropped = 0;

	f.cfg.queue_bytes = 256 << 10;
	f.cfg.commit_ms = 300;
	assert_int_equal(open_store(&f), 0);
	for (uint64_t t = 0; t < 200; t++)
		push_heavy(t, 4000);
	assert_int_equal(store_admits(f.store), -EAGAIN);
	assert_int_equal(sync_writer(f.writer), -EAGAIN);
	assert_int_equal(sync_writer(f.writer), 0);
	assert_int_equal(store_admits(f.store), 0);
	push_trace(&f, 1000, 2);
	assert_int_equal(sync_writer(f.writer), 0);
	books_each(find_books, NULL);
	for (int i = 0; i < BOOKS_REASONS; i++)
		dropped += book_read(&books->dropped[i]);
	assert_true(dropped > 0);
	assert_int_equal(book_read(&books->in), 202);
	assert_int_equal(book_read(&books->held), 0);
	assert_int_equal(book_read(&books->out) + dropped, 202);
	assert_int_equal(stats_of(f.store).spans, book_read(&books->out));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, before, after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_is_too_old_goes_even_when_nothing_comes),
		CASE(past_its_bytes_the_oldest_goes),
		CASE(an_archived_trace_stays_until_it_is_let_go),
		CASE(a_partition_that_goes_leaves_its_summary),
		CASE(small_blocks_are_merged_and_nothing_is_lost),
		CASE(past_its_queue_spans_are_refused_and_counted),
	};
	int failed;

	make_services();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free_services();
	return failed;
}

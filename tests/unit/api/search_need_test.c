/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sieve holds back: random traces (orphans, circles, spans with one id, parts in several
 * blocks) are asked random queries while they come, and each is also evaluated on every trace.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "api/need.h"
#include "api/search.h"
#include "api/traceql_ast.h"
#include "core/clock.h"
#include "unit/store/sync.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define TRACES	  600u
#define BATCHES	  6u
#define SPANS_MAX 14u
#define QUERIES	  60u
#define BASE_NS	  1790000000000000000ull

static char dir[64];
static struct store *store;
static struct store_writer *writer;
static struct resource *service[3];
static uint64_t state;
static struct trace_id ids[TRACES];

static uint32_t below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % n;
}

/* ---- traces --------------------------------------------------------------------------------- */

static struct span_id span_of(uint32_t i)
{
	return (struct span_id){ { 7, [7] = (uint8_t)(i + 1) } };
}

/* Mostly trees, parents first; of the rest every kind that broken tracers make. */
static void make_trace(uint32_t t, struct span *s, struct attr *attr, uint32_t cnt)
{
	static const char *const name[] = { "a", "b", "c", "d" };
	uint64_t apart_ms = below(10) ? 1 : 200;

	for (uint32_t i = 0; i < cnt; i++) {
		uint32_t luck = below(100), up = i ? below(i) : 0;

		attr[i] = (struct attr){ STR("n"), { .type = VALUE_INT, .i = below(4) } };
		s[i] = (struct span){ .trace_id = ids[t],
				      .span_id = span_of(luck < 3 ? below(cnt) : i),
				      .kind = (enum span_kind)(1 + below(3)),
				      .status = below(8) ? STATUS_UNSET : STATUS_ERROR,
				      .name = str_of(name[below(4)]),
				      .start_ns = BASE_NS + (t + below(9) * apart_ms) * NS_PER_MS,
				      .attrs = { &attr[i], 1, 1, 0 },
				      .resource = service[below(3)],
				      .scope = &scope_capture };
		s[i].end_ns = s[i].start_ns + below(20) * NS_PER_MS;
		if (i && luck < 90)
			s[i].parent_id = span_of(up);
		else if (luck >= 97)
			s[i].parent_id = span_of(below(cnt)); /* itself, or a circle */
		else if (luck >= 94)
			s[i].parent_id = span_of(100);
	}
}

static struct span span[TRACES][SPANS_MAX];
static uint8_t batch[TRACES][SPANS_MAX], cnt[TRACES];

/* Two in three are in one block, of the others each span is somewhere. */
static void make_traces(void)
{
	static struct attr attr[TRACES][SPANS_MAX];

	for (uint32_t t = 0; t < TRACES; t++) {
		bool apart = !below(3);

		ids[t] = (struct trace_id){ { 0xcd, [14] = (uint8_t)(t >> 8), [15] = (uint8_t)t } };
		cnt[t] = (uint8_t)(1 + below(SPANS_MAX));
		make_trace(t, span[t], attr[t], cnt[t]);
		for (uint32_t i = 0; i < cnt[t]; i++)
			batch[t][i] = (uint8_t)(apart ? below(BATCHES) : t % BATCHES);
	}
}

static void push_batch(uint32_t b)
{
	for (uint32_t t = 0; t < TRACES; t++)
		for (uint32_t i = 0; i < cnt[t]; i++)
			if (batch[t][i] == b)
				store_writer_push(writer, &span[t][i]);
	assert_int_equal(sync_writer(writer), 0);
}

static void open_writing(void)
{
	struct store_cfg cfg = { .where = dir, .commit_ms = 1 };
	char why[STORE_WHY_MAX];

	assert_int_equal(store_open(&cfg, &store, why), 0);
	writer = store_writer_new(store);
}

static void close_writing(void)
{
	store_writer_free(writer);
	store_close(store);
}

static void open_store(uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15u;
	snprintf(dir, sizeof(dir), "/tmp/telltale-need-XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (uint32_t i = 0; i < ARRAY_LEN(service); i++) {
		service[i] = resource_new();
		attrs_add_str(&service[i]->attrs, service[i]->arena, "service.name",
			      arena_printf(service[i]->arena, "s%u", i));
		resource_seal(service[i]);
	}
	open_writing();
	make_traces();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static void close_store(void)
{
	close_writing();
	for (size_t i = 0; i < ARRAY_LEN(service); i++)
		resource_put(service[i]);
	assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- questions ------------------------------------------------------------------------------ */

static void add(struct buf *q, const char *text)
{
	buf_add_str(q, str_of(text));
}

static void add_number(struct buf *q, uint32_t n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	add(q, text);
}

static void add_test(struct buf *q)
{
	static const char *const plain[] = {
		"name = \"a\"",
		"name != \"b\"",
		"resource.service.name = \"s1\"",
		"status = error",
		"kind = server",
		"span.n = 2",
		"span.n > 2",
		"duration > 15ms",
		"parent = nil",
		"parent != nil",
		"nestedSetParent < 0",
		"rootName = \"a\"",
		"rootName =~ \"[ab]\"",
		"rootServiceName = \"s2\"",
		"rootServiceName != \"s0\"",
		"parent.n = 1",
		"!(name = \"a\")",
		"traceDuration < 20ms",
		"childCount > 2",
	};
	uint32_t which = below(ARRAY_LEN(plain) + 2);

	if (which < ARRAY_LEN(plain)) {
		add(q, plain[which]);
		return;
	}
	add(q, "traceDuration > ");
	add_number(q, 10 + below(2) * (20 + below(1600)));
	add(q, "ms");
}

static void add_filter(struct buf *q)
{
	add(q, "{ ");
	add_test(q);
	for (uint32_t n = below(3); n; n--) {
		add(q, below(3) ? " && " : " || ");
		add_test(q);
	}
	add(q, " }");
}

static void add_set(struct buf *q, uint32_t depth)
{
	static const char *const ops[] = { " > ",   " >> ",  " < ",   " << ", " ~ ",  " !> ",
					   " !>> ", " !< ",  " !<< ", " !~ ", " &> ", " &>> ",
					   " &< ",  " &<< ", " &~ ",  " && ", " || " };

	if (!depth || !below(3)) {
		add_filter(q);
		return;
	}
	add(q, "(");
	add_set(q, depth - 1);
	add(q, ops[below(ARRAY_LEN(ops))]);
	add_set(q, depth - 1);
	add(q, ")");
}

static void add_stage(struct buf *q)
{
	static const char *const stages[] = {
		" | avg(duration) > 12ms",
		" | max(duration) >= 19ms",
		" | min(duration) > 4ms",
		" | min(span.n) < 1",
		" | by(name)",
		" | by(resource.service.name)",
		" | coalesce()",
		" | avg(span.n) >= 2.5",
		" | avg(traceDuration) > 1s",
	};
	uint32_t which = below(ARRAY_LEN(stages) + 3);

	if (which < ARRAY_LEN(stages)) {
		add(q, stages[which]);
	} else if (which == ARRAY_LEN(stages)) {
		add(q, " | ");
		add_filter(q);
	} else {
		add(q, which % 2 ? " | count() > " : " | sum(duration) > ");
		add_number(q, which % 2 ? below(8) : 20 + below(100));
		add(q, which % 2 ? "" : "ms");
	}
}

static struct traceql *make_query(char text[1024])
{
	struct buf q = { 0 };
	struct traceql_error why;
	struct traceql *ret;

	add_set(&q, 2);
	for (uint32_t n = below(3); n; n--)
		add_stage(&q);
	snprintf(text, 1024, STR_FMT, STR_ARG(buf_str(&q)));
	buf_fini(&q);
	if (traceql_parse(str_of(text), &ret, &why))
		fail_msg("%s: %s", text, why.text);
	return ret;
}

/* ---- answers -------------------------------------------------------------------------------- */

static bool meant[TRACES], through[TRACES];
static const struct traceql *query;
static struct arena *scratch;
static uint32_t found;

static uint32_t number_of(const struct trace_id *id)
{
	return (uint32_t)id->b[14] << 8 | id->b[15];
}

static void judge(void *ctx, const struct trace *t)
{
	struct spantree tree;
	struct eval e = { .tree = &tree, .mem = scratch };

	arena_reset(scratch);
	assert_true(spantree_build(t, scratch, &tree));
	meant[number_of(&t->id)] = eval_query(&e, query).cnt > 0;
	assert_int_equal(e.err, 0);
}

static bool note_through(void *ctx, const struct span *s)
{
	through[number_of(&s->trace_id)] = true;
	return true;
}

static bool note_found(void *ctx, const struct search_trace *t)
{
	if (!meant[number_of(&t->trace->id)])
		fail_msg("%s: %u was found", (const char *)ctx, number_of(&t->trace->id));
	found++;
	return true;
}

/* How many pass that are not meant. */
static uint32_t ask_sieve(const char *text, struct arena *mem, bool narrow)
{
	struct needing n = { .mem = mem };
	struct scan scan = { .where = NULL };
	struct sieve *sieve = NULL;
	const struct need *need = need_of_query(&n, query);
	uint32_t vain = 0;

	if (need)
		assert_int_equal(store_sieve_new(store, need, 0, &sieve), 0);
	if (sieve && narrow)
		while (store_sieve_narrow(store, sieve, 500, 0) > 0)
			;
	scan.sieve = sieve;
	memset(through, 0, sizeof(through));
	assert_int_equal(store_scan(store, &scan, note_through, NULL), 0);
	store_sieve_free(sieve);
	for (uint32_t t = 0; t < TRACES; t++) {
		if (meant[t] && !through[t])
			fail_msg("%s: trace %u is held back", text, t);
		vain += !meant[t] && through[t];
	}
	return vain;
}

static void ask_all(const char *text)
{
	struct search s = { .query = query, .limit = 7 };
	struct search_end end;
	char page[SEARCH_TOKEN_MAX];
	uint32_t all = 0;

	found = 0;
	do {
		assert_int_equal(search_run(store, &s, note_found, (void *)(uintptr_t)text, &end),
				 0);
		memcpy(page, end.next, sizeof(page));
		s.page = page;
	} while (page[0]);
	for (uint32_t t = 0; t < TRACES; t++)
		all += meant[t];
	if (found != all)
		fail_msg("%s: %u of %u were found", text, found, all);
}

static void nothing_that_is_meant_is_held_back(void **unused)
{
	uint32_t vain = 0, others = 0;
	char text[1024];

	for (uint64_t seed = 1; seed <= 4; seed++) {
		open_store(seed);
		for (uint32_t i = 0; i < QUERIES; i++) {
			struct traceql *q = make_query(text);
			struct arena *mem = arena_new(0);

			if (i % (QUERIES / BATCHES) == 0)
				push_batch(i / (QUERIES / BATCHES));
			if (i == QUERIES / 2) { /* what was known of blocks is forgotten */
				close_writing();
				open_writing();
			}
			query = q;
			scratch = arena_new(0);
			memset(meant, 0, sizeof(meant));
			assert_int_equal(store_traces(store, ids, TRACES,
						      (struct trace_sink){ NULL, judge }),
					 0);
			ask_sieve(text, mem, false);
			vain += ask_sieve(text, mem, true);
			for (uint32_t t = 0; t < TRACES; t++)
				others += !meant[t];
			if (i % 10 == 0)
				ask_all(text);
			arena_free(scratch);
			arena_free(mem);
			traceql_free(q);
		}
		close_store();
	}
	/* and most of the others are */
	if (vain > others / 6)
		fail_msg("%u of %u come in vain", vain, others);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_that_is_meant_is_held_back),
	};

	return cmocka_run_group_tests_name("search_need", tests, NULL, NULL);
}

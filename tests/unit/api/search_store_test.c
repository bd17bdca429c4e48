/* SPDX-License-Identifier: Apache-2.0 */
/* TraceQL and search on a real store: traces over many blocks, their spans apart. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "api/search.h"
#include "core/clock.h"
#include "unit/store/sync.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define TRACES	12000u
#define SPANS	4u
#define BASE_NS 1790000000000000000ull

static char dir[] = "/tmp/telltale-search-XXXXXX";
static struct store *store;
static struct store_writer *writer;
static struct resource *service[3];

/* ---- filling -------------------------------------------------------------------------------- */

static struct span_id span_of(uint64_t t, uint32_t i)
{
	return (struct span_id){ { (uint8_t)(i + 1), 0, 0, 0, 0, 0, (uint8_t)(t >> 8),
				   (uint8_t)t } };
}

/* Span 0 is the parent of the others. */
static void push(uint64_t t, uint32_t i)
{
	static const char *const name[] = { "GET /", "GET /cart/{id}", "SELECT stock", "publish" };
	struct attr item[2] = { { STR("number"), { .type = VALUE_INT, .i = (int64_t)t } },
				{ STR("step"), { .type = VALUE_INT, .i = i } } };
	struct span s = { .span_id = span_of(t, i),
			  .parent_id = i ? span_of(t, 0) : (struct span_id){ { 0 } },
			  .kind = i ? SPAN_CLIENT : SPAN_SERVER,
			  .name = str_of(name[i]),
			  .start_ns = BASE_NS + t * NS_PER_MS + i,
			  .end_ns = BASE_NS + t * NS_PER_MS + i + 1000 * (1 + t % 100),
			  .attrs = { item, 2, 2, 0 },
			  .status = t % 10 == 0 ? STATUS_ERROR : STATUS_UNSET,
			  .resource = service[i % 3],
			  .scope = &scope_capture };

	s.trace_id = (struct trace_id){ { 0xab, [14] = (uint8_t)(t >> 8), [15] = (uint8_t)t } };
	store_writer_push(writer, &s);
}

static int fill_store(void **state)
{
	static const char *const name[] = { "front", "cart", "stock" };
	struct store_cfg cfg = { .where = mkdtemp(dir), .commit_ms = 1 };
	char why[STORE_WHY_MAX];

	for (size_t i = 0; i < ARRAY_LEN(service); i++) {
		service[i] = resource_new();
		attrs_add_str(&service[i]->attrs, service[i]->arena, "service.name",
			      str_of(name[i]));
		resource_seal(service[i]);
	}
	assert_int_equal(store_open(&cfg, &store, why), 0);
	writer = store_writer_new(store);
	/* the last span of a trace comes 300 traces later; some of it is in memory still */
	for (uint64_t t = 0; t < TRACES + 300; t++) {
		for (uint32_t i = 0; t < TRACES && i < SPANS - 1; i++)
			push(t, i);
		if (t >= 300)
			push(t - 300, SPANS - 1);
		if (t % 1000 == 999)
			assert_int_equal(sync_writer(writer), 0);
	}
	assert_int_equal(sync_writer(writer), 0);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int empty_store(void **state)
{
	store_writer_free(writer);
	store_close(store);
	for (size_t i = 0; i < ARRAY_LEN(service); i++)
		resource_put(service[i]);
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- asking --------------------------------------------------------------------------------- */

static uint64_t came[TRACES];
static bool any_shape; /* of traces */
static struct time_range asked;
static uint32_t came_cnt;
static struct search_end end_of;

static uint64_t number_of(const struct trace *t)
{
	return (uint64_t)t->id.b[14] << 8 | t->id.b[15];
}

static bool take(void *ctx, const struct search_trace *t)
{
	assert_true(came_cnt < TRACES);
	assert_true(any_shape || (t->trace->span_cnt == SPANS && t->service_cnt == 3));
	came[came_cnt++] = number_of(t->trace);
	return true;
}

/* All pages of a query, in order. */
static void search_all(const char *text, uint32_t limit)
{
	struct traceql_error why;
	struct traceql *q;
	struct search s = { .limit = limit, .range = asked };
	char page[SEARCH_TOKEN_MAX];

	if (traceql_parse(str_of(text), &q, &why))
		fail_msg("%s: %s", text, why.text);
	s.query = q;
	came_cnt = 0;
	do {
		assert_int_equal(search_run(store, &s, take, NULL, &end_of), 0);
		memcpy(page, end_of.next, sizeof(page));
		s.page = page;
	} while (page[0]);
	traceql_free(q);
}

/* Every trace whose number leaves 'rest' when divided, newest first. */
static void expect_each(uint32_t by, uint32_t rest)
{
	uint32_t at = 0;

	for (uint64_t t = TRACES; t-- > 0;) {
		if (t % by != rest)
			continue;
		assert_true(at < came_cnt);
		assert_int_equal(came[at++], t);
	}
	assert_int_equal(came_cnt, at);
}

static void spans_are_found(void **state)
{
	search_all("{ span.number = 4711 }", 20);
	assert_int_equal(came_cnt, 1);
	assert_int_equal(came[0], 4711);
	search_all("{ status = error && kind = server }", 700);
	expect_each(10, 0);
	search_all("{ name = \"publish\" && duration >= 99us && duration < 100us }", 50);
	expect_each(100, 98);
	search_all("{ resource.service.name = \"none\" }", 20);
	assert_int_equal(came_cnt, 0);
	assert_int_equal(end_of.traces, 0);
}

static void structure_is_found(void **state)
{
	search_all("{ kind = server && status = error } > { name =~ \"pub.*\" }", 1000);
	expect_each(10, 0);
	search_all("{ name = \"publish\" } >> { span.number < 100 }", 20);
	assert_int_equal(came_cnt, 0);
	search_all("{ span.number < 50 } | count() = 4", 7);
	assert_int_equal(came_cnt, 50);
	search_all("{ rootName = \"GET /\" && span.number = 100 && parent.step = 0 }", 7);
	assert_int_equal(came_cnt, 1);
	assert_int_equal(came[0], 100);
}

static void take_count(void *ctx, const struct traceql_series *s)
{
	uint64_t *sum = ctx;

	for (uint32_t i = 0; i < s->value_cnt; i++)
		*sum += (uint64_t)s->values[i];
}

static uint64_t count_all(const char *text)
{
	struct traceql_error why;
	struct traceql_range_end range_end;
	struct traceql_range r = { .range = { BASE_NS, BASE_NS + TRACES * NS_PER_MS },
				   .step_ns = NS_PER_S };
	struct traceql *q;
	uint64_t sum = 0;

	if (traceql_parse(str_of(text), &q, &why))
		fail_msg("%s: %s", text, why.text);
	r.query = q;
	assert_int_equal(traceql_range(store, &r, take_count, &sum, &range_end), 0);
	assert_false(range_end.truncated);
	traceql_free(q);
	return sum;
}

static void metrics_count_each_span_once(void **state)
{
	assert_int_equal(count_all("{} | count_over_time()"), TRACES * SPANS);
	assert_int_equal(count_all("{ kind = client } | count_over_time() by(name)"),
			 TRACES * (SPANS - 1));
	assert_int_equal(count_all("{ span.step = 2 } | count_over_time() by(span.step, status)"),
			 TRACES);
	assert_int_equal(
		count_all("{ kind = server } > { name = \"publish\" } | count_over_time()"),
		TRACES);
}

/* ---- what only whole traces answer ---------------------------------------------------------- */

/* One span of a trace beyond the others, hours after the first of all. */
static void push_apart(uint64_t t, uint32_t i, uint32_t hour, const struct resource *of, bool top)
{
	struct span s = { .span_id = span_of(t, i),
			  .parent_id = top ? (struct span_id){ { 0 } } : span_of(t, 99),
			  .name = STR("apart"),
			  .start_ns = BASE_NS + hour * 3600 * NS_PER_S + i,
			  .scope = &scope_capture };

	s.resource = (struct resource *)(uintptr_t)of;
	s.end_ns = s.start_ns + 1000;
	s.trace_id = (struct trace_id){ { 0xab, [14] = (uint8_t)(t >> 8), [15] = (uint8_t)t } };
	store_writer_push(writer, &s);
}

/* Looked at are those that were looked at before all were sifted, and what passed: where a root is
 * asked for, also those that are in several blocks. */
#define SIFTED (TRACES / 2)

static void expect_sifted(const char *text, uint32_t cnt, uint64_t first, uint64_t second)
{
	search_all(text, 20);
	assert_int_equal(came_cnt, cnt);
	if (cnt > 0)
		assert_int_equal(came[0], first);
	if (cnt > 1)
		assert_int_equal(came[1], second);
	if (end_of.traces >= SIFTED)
		fail_msg("%s: %u", text, end_of.traces);
}

static void whole_traces_are_sifted(void **state)
{
	any_shape = true;
	expect_sifted("{ traceDuration > 1h }", 0, 0, 0);
	expect_sifted("{ traceDuration > 300us }", 0, 0, 0);
	expect_sifted("{} | count() > 4", 0, 0, 0);
	expect_sifted("{} | sum(duration) > 1s", 0, 0, 0);
	expect_sifted("{ rootServiceName = \"cart\" }", 0, 0, 0);
	expect_sifted("{ rootName =~ \"pub.*\" || traceDuration > 1h }", 0, 0, 0);
	expect_sifted("{ rootServiceName = \"front\" && traceDuration > 1h }", 0, 0, 0);
	/* 14001: three hours in two blocks; 14002: 5 spans, no top, a cart's comes first */
	push_apart(14001, 0, 0, service[0], true);
	for (uint32_t i = 0; i < 5; i++)
		push_apart(14002, i, 1, service[i ? 0 : 1], false);
	assert_int_equal(sync_writer(writer), 0);
	push_apart(14001, 1, 3, service[1], false);
	assert_int_equal(sync_writer(writer), 0);
	expect_sifted("{ traceDuration > 1h }", 1, 14001, 0);
	expect_sifted("{ traceDuration > 4h }", 0, 0, 0);
	expect_sifted("{} | count() > 4", 1, 14002, 0);
	expect_sifted("{ rootServiceName = \"cart\" }", 1, 14002, 0);
	expect_sifted("{ traceDuration > 1h || rootServiceName = \"cart\" }", 2, 14001, 14002);
	expect_sifted("({ traceDuration > 1h } | count() > 1) || ({} | count() > 4)", 2, 14001,
		      14002);
	expect_sifted("{ resource.service.name = \"front\" && traceDuration > 1h } | count() = 1",
		      1, 14001, 0);
}

/* The other half of 14001 lies behind the range, in a block of its own. */
static void ranges_do_not_cut_traces(void **state)
{
	any_shape = true;
	asked = (struct time_range){ BASE_NS, BASE_NS + TRACES * NS_PER_MS };
	expect_sifted("{ traceDuration > 2h }", 1, 14001, 0);
	expect_sifted("{ rootServiceName = \"cart\" }", 0, 0, 0);
	asked = (struct time_range){ BASE_NS + 3600 * NS_PER_S, 0 };
	expect_sifted("{ traceDuration > 2h }", 1, 14001, 0);
	expect_sifted("{ rootServiceName = \"front\" && name = \"apart\" }", 1, 14001, 0);
	asked = (struct time_range){ 0 };
}

static void metrics_are_sifted(void **state)
{
	assert_int_equal(count_all("{ traceDuration > 2h } | count_over_time()"), 1);
	assert_int_equal(count_all("{ traceDuration > 4h } | count_over_time()"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_are_found),
		cmocka_unit_test(structure_is_found),
		cmocka_unit_test(metrics_count_each_span_once),
		cmocka_unit_test(whole_traces_are_sifted),
		cmocka_unit_test(ranges_do_not_cut_traces),
		cmocka_unit_test(metrics_are_sifted),
	};

	return cmocka_run_group_tests_name("search_store", tests, fill_store, empty_store);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "api/traceql.h"
#include "core/buf.h"
#include "unit/api/memory_store.h"

#include <math.h>
#include <stdio.h>

/* What came, as text: "label=value ...: values" a line; no value is a dash. */
static struct buf came;
static uint32_t came_cnt;
static struct traceql_range_end end_of;

static void write_value(const struct value *v)
{
	switch (v->type) {
	case VALUE_STR: buf_add_str(&came, v->str); break;
	case VALUE_INT: buf_printf(&came, "%ld", (long)v->i); break;
	case VALUE_DOUBLE: buf_printf(&came, "%.4g", v->d); break;
	case VALUE_BOOL: buf_printf(&came, v->b ? "true" : "false"); break;
	default: buf_printf(&came, "nil"); break;
	}
}

static void take(void *ctx, const struct traceql_series *s)
{
	came_cnt++;
	for (uint32_t i = 0; i < s->label_cnt; i++) {
		buf_printf(&came, i ? " " STR_FMT "=" : STR_FMT "=", STR_ARG(s->labels[i].name));
		write_value(&s->labels[i].value);
	}
	buf_add_char(&came, ':');
	for (uint32_t i = 0; i < s->value_cnt; i++) {
		if (isnan(s->values[i]))
			buf_printf(&came, " -");
		else
			buf_printf(&came, " %.4g", s->values[i]);
	}
	buf_add_char(&came, '\n');
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Series come in no order that is promised. */
static char *sorted(void)
{
	static char out[8192];
	char *line[64], *rest = NULL;
	size_t cnt = 0;

	buf_add_char(&came, 0);
	for (char *l = strtok_r(came.p, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
		line[cnt++] = l;
	qsort(line, cnt, sizeof(*line), by_text);
	out[0] = 0;
	for (size_t i = 0; i < cnt; i++)
		sprintf(out + strlen(out), "%s\n", line[i]);
	return out;
}

static int run(const char *text, uint64_t from_ms, uint64_t to_ms, uint64_t step_ms)
{
	struct traceql_error why;
	struct traceql *q;
	struct traceql_range r = { .range = { from_ms * NS_PER_MS, to_ms * NS_PER_MS },
				   .step_ns = step_ms * NS_PER_MS };
	int err;

	if (traceql_parse(str_of(text), &q, &why))
		fail_msg("%s: %s", text, why.text);
	buf_clear(&came);
	came_cnt = 0;
	r.query = q;
	err = traceql_range(&memory, &r, take, NULL, &end_of);
	traceql_free(q);
	return err;
}

static void expect(const char *text, const char *lines)
{
	char *got;

	assert_int_equal(run(text, 1000, 4000, 1000), 0);
	got = sorted();
	if (strcmp(got, lines) != 0)
		fail_msg("%s gives\n%snot\n%s", text, got, lines);
	assert_false(end_of.truncated);
}

/* Three seconds; in the second one nothing of b. Each trace is a -> b. */
static int begin(void **state)
{
	memory_begin();
	for (uint32_t i = 0; i < 4; i++) {
		struct span *s = put(i, 1, 0, "a", "GET /", 1000 + 100 * i, 100 * (i + 1));

		attrs_add_int(&s->attrs, memory.mem, "size", 10 * (i + 1));
		put(i, 2, 1, "b", i % 2 ? "put" : "get", 1000 + 100 * i + 1, 8);
	}
	put(5, 1, 0, "a", "GET /", 2500, 100);
	put(6, 1, 0, "a", "GET /", 3999, 100)->status = STATUS_ERROR;
	put(6, 2, 1, "b", "get", 3999, 8);
	put(7, 1, 0, "a", "GET /", 4000, 100);
	put(8, 1, 0, "a", "GET /", 999, 100);
	return 0;
}

static int end(void **state)
{
	memory_end();
	buf_fini(&came);
	return 0;
}

static void spans_are_counted(void **state)
{
	expect("{} | rate()", "__name__=rate: 8 1 2\n");
	assert_int_equal(end_of.spans, 11);
	expect("{} | count_over_time()", "__name__=count_over_time: 8 1 2\n");
	expect("{ name = \"none\" } | rate()", "");
	expect("{ resource.service.name = \"b\" } | count_over_time() by(name)",
	       "name=get: 2 0 1\nname=put: 2 0 0\n");
	expect("{} | count_over_time() by(resource.service.name, status)",
	       "resource.service.name=a status=error: 0 0 1\n"
	       "resource.service.name=a status=unset: 4 1 0\n"
	       "resource.service.name=b status=unset: 4 0 1\n");
	expect("{ span.size > 10 } | { .size < 40 } | count_over_time() by(.size)",
	       ".size=20: 1 0 0\n.size=30: 1 0 0\n");
	expect("{ .size / 10 > 2 } | count_over_time()", "__name__=count_over_time: 2 0 0\n");
	expect("{ nestedSetParent < 0 } | count_over_time()", "__name__=count_over_time: 4 1 1\n");
}

static void doubles_that_read_alike_are_one_series(void **state)
{
	const double d[] = { 0.0, -0.0, nan("1"), nan("2") };

	for (size_t i = 0; i < ARRAY_LEN(d); i++)
		attrs_add_double(&memory.span[2 * i]->attrs, memory.mem, "d", d[i]);
	expect("{ .d != nil } | count_over_time() by(.d)", ".d=0: 2 0 0\n.d=nan: 2 0 0\n");
}

static void values_are_put_together(void **state)
{
	expect("{ kind = server } | min_over_time(span.size)", "__name__=min_over_time: 10 - -\n");
	expect("{} | max_over_time(.size)", "__name__=max_over_time: 40 - -\n");
	expect("{} | sum_over_time(.size)", "__name__=sum_over_time: 100 - -\n");
	expect("{} | avg_over_time(.size)", "__name__=avg_over_time: 25 - -\n");
	expect("{ resource.service.name = \"a\" } | avg_over_time(duration) by(name)",
	       "name=GET /: 0.25 0.1 0.1\n");
}

static void quantiles_come_from_doubling_buckets(void **state)
{
	/* 8 ms is in (2^22, 2^23] ns, of which it is said that values lie evenly by logarithm */
	expect("{ resource.service.name = \"b\" } | quantile_over_time(duration, 0.5, 1)",
	       "p=0.5: 0.005932 - 0.005932\np=1: 0.008389 - 0.008389\n");
	expect("{ name = \"put\" } | histogram_over_time(duration)", "__bucket=0.008389: 2 0 0\n");
	expect("{} | histogram_over_time(.size)",
	       "__bucket=16: 1 0 0\n__bucket=32: 2 0 0\n__bucket=64: 1 0 0\n");
}

static void whole_traces_are_read_where_spans_do_not_tell(void **state)
{
	expect("{ name = \"GET /\" } > { name = \"put\" } | count_over_time()",
	       "__name__=count_over_time: 2 0 0\n");
	expect("{ rootServiceName = \"a\" && resource.service.name = \"b\" } | rate() by(rootName)",
	       "rootName=GET /: 4 0 1\n");
	expect("{} | count() > 1 | count_over_time() by(status)",
	       "status=error: 0 0 1\nstatus=unset: 8 0 1\n");
	expect("{ parent.size = 20 } | count_over_time()", "__name__=count_over_time: 1 0 0\n");
}

static void the_largest_are_kept(void **state)
{
	expect("{} | count_over_time() by(name) | topk(1)", "name=GET /: 4 1 1\n");
	expect("{} | count_over_time() by(name) | bottomk(1)",
	       "name=get: 2 0 -\nname=put: - - 0\n");
	expect("{} | count_over_time() by(name) | topk(0)", "");
}

static void take_exemplars(void *ctx, const struct traceql_series *s)
{
	const bool *on_curve = ctx;

	assert_int_equal(s->exemplar_cnt, 2);
	for (uint32_t i = 0; i < s->exemplar_cnt; i++) {
		const struct traceql_exemplar *e = &s->exemplars[i];

		assert_true(span_id_is_set(&e->span_id));
		assert_true(e->time_ns >= 1000 * NS_PER_MS && e->time_ns < 4000 * NS_PER_MS);
		if (*on_curve)
			assert_true(e->value ==
				    s->values[(e->time_ns - s->first_ns) / (1000 * NS_PER_MS)]);
		else
			assert_true(e->value > 0.09 && e->value < 0.5);
	}
	came_cnt++;
}

static void exemplars_point_to_traces(void **state)
{
	struct traceql_error why;
	struct traceql *q;
	struct traceql_range r = { .range = { 1000 * NS_PER_MS, 4000 * NS_PER_MS },
				   .step_ns = 1000 * NS_PER_MS,
				   .exemplars = 2 };
	static const char *const ends[] = { "max_over_time(duration)", "rate()",
					    "count_over_time()" };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		char text[128];
		bool on_curve = i > 0;

		snprintf(text, sizeof(text), "{ resource.service.name = \"a\" } | %s", ends[i]);
		assert_int_equal(traceql_parse(str_of(text), &q, &why), 0);
		r.query = q;
		came_cnt = 0;
		assert_int_equal(traceql_range(&memory, &r, take_exemplars, &on_curve, &end_of), 0);
		assert_int_equal(came_cnt, 1);
		traceql_free(q);
	}
}

static void a_range_begins_at_a_step(void **state)
{
	assert_int_equal(run("{} | count_over_time()", 1500, 4001, 1000), 0);
	assert_string_equal(sorted(), "__name__=count_over_time: 8 1 2 1\n");
}

static void what_cannot_be_is_refused(void **state)
{
	assert_int_equal(run("{}", 1000, 4000, 1000), -EINVAL);
	assert_int_equal(run("{} | rate()", 1000, 4000, 0), -EINVAL);
	assert_int_equal(run("{} | rate()", 4000, 4000, 1000), -EINVAL);
	assert_int_equal(run("{} | rate()", 0, TRACEQL_STEPS_MAX + 1, 1), -EINVAL);
	memory.err = -ETIMEDOUT;
	assert_int_equal(run("{} | rate()", 1000, 4000, 1000), -ETIMEDOUT);
	assert_int_equal(came_cnt, 0);
}

static void series_are_capped(void **state)
{
	for (uint32_t i = 0; i < TRACEQL_SERIES_MAX + 50; i++)
		attrs_add_int(&put(100 + i, 1, 0, "a", "x", 1500, 1)->attrs, memory.mem, "n", i);
	assert_int_equal(run("{ .n >= 0 } | rate() by(.n)", 1000, 4000, 1000), 0);
	assert_int_equal(came_cnt, TRACEQL_SERIES_MAX);
	assert_true(end_of.truncated);
	assert_int_equal(end_of.spans, TRACEQL_SERIES_MAX);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(spans_are_counted),
		TEST(doubles_that_read_alike_are_one_series),
		TEST(values_are_put_together),
		TEST(quantiles_come_from_doubling_buckets),
		TEST(whole_traces_are_read_where_spans_do_not_tell),
		TEST(the_largest_are_kept),
		TEST(exemplars_point_to_traces),
		TEST(a_range_begins_at_a_step),
		TEST(what_cannot_be_is_refused),
		TEST(series_are_capped),
	};

	return cmocka_run_group_tests_name("traceql_range", tests, NULL, NULL);
}

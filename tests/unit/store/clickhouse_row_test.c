/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of ClickHouse without a server: what is written is read back, whatever it is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/clickhouse.h"
#include "unit/export/span_gen.h"
#include "unit/store/span_equal.h"

#include <stdlib.h>

static struct gen g;

static int begin(void **state)
{
	g = (struct gen){ .state = 0x9e3779b97f4a7c15u, .mem = arena_new(0) };
	return 0;
}

static int end(void **state)
{
	arena_free(g.mem);
	return 0;
}

/* Lists in attributes come back as JSON has them: compared as what is written again. */
static bool same_values(const struct attrs *a, const struct attrs *b)
{
	struct buf x = { 0 }, y = { 0 };
	bool same = a->cnt == b->cnt;

	for (uint32_t i = 0; i < a->cnt && same; i++) {
		const struct value *v = &a->item[i].value, *w = &b->item[i].value;

		same = str_eq(a->item[i].key, b->item[i].key);
		if (v->type != VALUE_ARRAY && v->type != VALUE_KVLIST) {
			same = same && value_equal(v, w);
			continue;
		}
		buf_clear(&x);
		buf_clear(&y);
		assert_int_equal(value_write(&x, v), 0);
		assert_int_equal(value_write(&y, w), 0);
		/* keys that come twice in a list are one in JSON */
		same = same && v->type == w->type &&
		       (str_eq(buf_str(&x), buf_str(&y)) || str_find(buf_str(&x), '{') >= 0);
	}
	buf_fini(&x);
	buf_fini(&y);
	return same;
}

static void make_unique(struct attrs *a)
{
	for (uint32_t i = 0; i < a->cnt; i++)
		a->item[i].key = arena_printf(g.mem, "%u" STR_FMT, i, STR_ARG(a->item[i].key));
}

static struct span *make_span(struct resource *r, const struct scope *scope)
{
	struct span *s = gen_span(&g, r, scope);

	s->trace_id.b[0] |= 1;
	s->span_id.b[0] |= 1;
	s->start_ns = MIN(s->start_ns, (uint64_t)INT64_MAX) / 2;
	s->end_ns = s->start_ns + MIN(s->end_ns, (uint64_t)INT64_MAX) / 4;
	make_unique(&s->attrs);
	for (uint32_t i = 0; i < s->event_cnt; i++) {
		s->events[i].time_ns = MIN(s->events[i].time_ns, (uint64_t)INT64_MAX);
		make_unique(&s->events[i].attrs);
	}
	for (uint32_t i = 0; i < s->link_cnt; i++)
		make_unique(&s->links[i].attrs);
	return s;
}

static void assert_same(const struct span *a, const struct span *b)
{
	assert_memory_equal(&a->trace_id, &b->trace_id, sizeof(a->trace_id));
	assert_memory_equal(&a->span_id, &b->span_id, sizeof(a->span_id));
	assert_memory_equal(&a->parent_id, &b->parent_id, sizeof(a->parent_id));
	assert_true(str_eq(a->trace_state, b->trace_state));
	assert_true(str_eq(a->name, b->name));
	assert_true(str_eq(a->status_message, b->status_message));
	assert_true(str_eq(a->resource->service, b->resource->service));
	assert_true(str_eq(a->scope->name, b->scope->name));
	assert_true(str_eq(a->scope->version, b->scope->version));
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->start_ns, b->start_ns);
	assert_int_equal(a->end_ns, b->end_ns);
	assert_true(same_values(&a->attrs, &b->attrs));
	assert_true(same_values(&a->resource->attrs, &b->resource->attrs));
	assert_int_equal(a->event_cnt, b->event_cnt);
	for (uint32_t i = 0; i < a->event_cnt; i++) {
		assert_int_equal(a->events[i].time_ns, b->events[i].time_ns);
		assert_true(str_eq(a->events[i].name, b->events[i].name));
		assert_true(same_values(&a->events[i].attrs, &b->events[i].attrs));
	}
	assert_int_equal(a->link_cnt, b->link_cnt);
	for (uint32_t i = 0; i < a->link_cnt; i++) {
		assert_memory_equal(&a->links[i].trace_id, &b->links[i].trace_id, 16);
		assert_memory_equal(&a->links[i].span_id, &b->links[i].span_id, 8);
		assert_true(str_eq(a->links[i].trace_state, b->links[i].trace_state));
		assert_true(same_values(&a->links[i].attrs, &b->links[i].attrs));
	}
}

static void spans_come_back(void **state)
{
	const struct scope scope = { .name = STR("lib"), .version = STR("1.2") };
	struct row_reader reader;
	struct ch_writer w = { 0 };
	struct resource *r[4];
	struct buf row = { 0 };

	assert_int_equal(reader_init(&reader), 0);
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		r[i] = gen_resource(&g, (uint32_t)i);
	for (int i = 0; i < 2000; i++) {
		struct span *s = make_span(r[gen_below(&g, ARRAY_LEN(r))],
					   gen_below(&g, 2) ? &scope : &scope_capture);
		struct cursor c;

		buf_clear(&row);
		assert_int_equal(row_write(&w, s, &row), 0);
		for (int k = 0; k < 5; k++) { /* cut anywhere it waits for more */
			c = cursor_of(row.p, gen_below(&g, (uint32_t)row.len));
			assert_int_equal(reader_take(&reader, &c), 0);
			assert_true(c.bad);
		}
		c = cursor_of(row.p, row.len);
		assert_int_equal(reader_take(&reader, &c), 0);
		assert_false(c.bad);
		assert_int_equal(cursor_left(&c), 0);
		assert_same(s, &reader.span);
	}
	resource_put(w.resource);
	buf_fini(&w.resource_text);
	buf_fini(&row);
	reader_fini(&reader);
	for (size_t i = 0; i < ARRAY_LEN(r); i++)
		resource_put(r[i]);
}

/* Bytes changed at random: a span, a refusal, or a wait; never a crash. */
static void damaged_rows_do_no_harm(void **state)
{
	struct resource *r = gen_resource(&g, 1);
	struct row_reader reader;
	struct ch_writer w = { 0 };
	struct buf row = { 0 };

	assert_int_equal(reader_init(&reader), 0);
	for (int i = 0; i < 20000; i++) {
		struct cursor c;

		if (i % 100 == 0) {
			buf_clear(&row);
			assert_int_equal(row_write(&w, make_span(r, &scope_capture), &row), 0);
		}
		row.p[gen_below(&g, (uint32_t)row.len)] = (char)gen_below(&g, 256);
		c = cursor_of(row.p, row.len);
		reader_take(&reader, &c);
	}
	resource_put(w.resource);
	buf_fini(&w.resource_text);
	buf_fini(&row);
	reader_fini(&reader);
	resource_put(r);
}

static void types_are_guessed_from_text(void **state)
{
	static const struct {
		const char *key, *text;
		enum value_type type;
	} row[] = {
		{ "a", "5", VALUE_INT },
		{ "a", "-9223372036854775808", VALUE_INT },
		{ "a", "9223372036854775808", VALUE_STR },
		{ "a", "05", VALUE_STR },
		{ "a", "-", VALUE_STR },
		{ "a", "-0", VALUE_DOUBLE },
		{ "a", "0", VALUE_INT },
		{ "a", "0.5", VALUE_DOUBLE },
		{ "a", "0.50", VALUE_STR },
		{ "a", "0x10", VALUE_STR },
		{ "a", "NaN", VALUE_STR },
		{ "a", "true", VALUE_BOOL },
		{ "a", "True", VALUE_STR },
		{ "a", "", VALUE_STR },
		{ "a", "5 ", VALUE_STR },
		{ "user.id", "5", VALUE_STR },
		{ "thread.id", "5", VALUE_INT },
		{ "service.version", "1.5", VALUE_STR },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++)
		assert_int_equal(value_guess(str_of(row[i].key), str_of(row[i].text)), row[i].type);
}

static void arrays_are_json(void **state)
{
	struct value v = value_parse(VALUE_ARRAY, STR("[1,\"a\",[true,null],2.5]"), g.mem);

	assert_int_equal(v.type, VALUE_ARRAY);
	assert_int_equal(v.array.cnt, 4);
	assert_int_equal(v.array.item[0].i, 1);
	assert_true(str_eq(v.array.item[1].str, STR("a")));
	assert_int_equal(v.array.item[2].array.cnt, 2);
	assert_true(v.array.item[3].d == 2.5);
	v = value_parse(VALUE_ARRAY, STR("[1,"), g.mem);
	assert_int_equal(v.type, VALUE_STR);
	v = value_parse(VALUE_BYTES, STR("AAEC/w=="), g.mem);
	assert_int_equal(v.type, VALUE_BYTES);
	assert_true(str_eq(v.str, (struct str){ "\0\1\2\xff", 4 }));
	v = value_parse(VALUE_BYTES, STR("A=EC"), g.mem);
	assert_int_equal(v.type, VALUE_STR);
}

static void literals_cannot_be_left(void **state)
{
	struct buf sql = { 0 };
	char all[256];

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	assert_int_equal(sql_text(&sql, (struct str){ all, sizeof(all) }), 0);
	assert_int_equal(sql.p[0], '\'');
	assert_int_equal(sql.p[sql.len - 1], '\'');
	for (size_t i = 1; i + 1 < sql.len; i++) {
		assert_true(sql.p[i] >= ' ' && sql.p[i] < 0x7f && !strchr("'\"`{}", sql.p[i]));
		if (sql.p[i] == '\\')
			assert_int_equal(sql.p[i + 1], 'x');
	}
	buf_fini(&sql);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_come_back),
		cmocka_unit_test(damaged_rows_do_no_harm),
		cmocka_unit_test(types_are_guessed_from_text),
		cmocka_unit_test(arrays_are_json),
		cmocka_unit_test(literals_cannot_be_left),
	};

	return cmocka_run_group_tests(tests, begin, end);
}

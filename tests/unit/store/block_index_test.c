/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/block_format.h"
#include "unit/store/block_spans.h"

static bool may(const struct cond *c)
{
	return block_may_match(&index_, buf_str(&index_.filter), c);
}

/* A shop of two services that do not call the same. */
static void seal_shop(void)
{
	struct block_builder *b = block_builder_new();

	g = (struct gen){ .state = 7, .mem = arena_new(0) };
	for (uint32_t i = 0; i < RESOURCES; i++)
		resource[i] = gen_resource(&g, i);
	for (uint32_t i = 0; i < 100; i++) {
		struct span *s = gen_http_span(&g, resource[i % 2]);

		s->name = i % 2 ? STR("GET /b") : STR("GET /a");
		s->start_ns = 1000 + i;
		s->end_ns = s->start_ns + 50;
		assert_int_equal(block_add(b, s), 0);
	}
	assert_int_equal(block_seal(b, 1, &body, &index_), 0);
	block_builder_free(b);
}

static void the_index_rules_out_what_is_not_there(void **state)
{
	const struct cond *a, *name_b;

	seal_shop();
	a = equal(FIELD_SERVICE, "", text("service-0"));
	name_b = equal(FIELD_NAME, "", text("GET /b"));
	assert_true(may(a));
	assert_true(may(name_b));
	assert_false(may(equal(FIELD_SERVICE, "", text("service-2"))));
	assert_false(may(cond_and(g.mem, a, name_b)));
	assert_true(may(cond_or(g.mem, a, name_b)));
	assert_false(may(equal(FIELD_ATTR, "no.such.key", text("x"))));
	assert_true(may(equal(FIELD_ATTR, "user_agent.original", text("curl/7.88.1"))));
	assert_true(may(equal(FIELD_ATTR, "server.port", number(8080))));
	assert_false(may(equal(FIELD_ATTR, "server.port", number(8081))));
	assert_false(may(equal(FIELD_RESOURCE_ATTR, "host.name", text("elsewhere"))));
	assert_true(may(equal(FIELD_ATTR, "host.name", text("wheelhouse"))));
	assert_false(may(equal(FIELD_STATUS, "", number(STATUS_ERROR))));
	assert_false(may(equal(FIELD_DURATION, "", number(51))));
	assert_true(may(equal(FIELD_DURATION, "", number(50))));
	assert_false(
		may(cond_cmp(g.mem, (struct field){ .kind = FIELD_START }, CMP_LT, number(1000))));
	assert_true(may(cond_not(g.mem, equal(FIELD_ATTR, "no.such.key", text("x")))));
	assert_int_equal(index_.start_min_ns, 1000);
	assert_int_equal(index_.start_max_ns, 1099);
	assert_int_equal(index_.duration_max_ns, 50);
	drop_spans();
}

static void the_index_finds_few_false_traces(void **state)
{
	uint32_t found = 0;

	seal_shop();
	for (int i = 0; i < 10000; i++) {
		struct trace_id id;

		gen_next(&g);
		memcpy(id.b, &g.state, 8);
		gen_next(&g);
		memcpy(id.b + 8, &g.state, 8);
		found += block_may_have_trace(buf_str(&index_.filter), &id);
	}
	assert_in_range(found, 0, 20);
	drop_spans();
}

static void seal_traces(bool topless, bool doubled);

/* Ten traces are there. */
static void many_traces_are_looked_up_as_one_is(void **state)
{
	static struct trace_id ids[600];
	struct trace_set set;
	uint32_t place[600], cnt;
	bool may[600] = { false };

	seal_traces(false, false);
	for (uint32_t i = 0; i < 600; i++)
		ids[i] = (struct trace_id){ { 1, (uint8_t)(i % 300), (uint8_t)(i >> 8) } };
	ids[599] = ids[3];
	assert_int_equal(trace_set_init(&set, ids, 600), 0);
	cnt = block_may_have_traces(buf_str(&index_.filter), &set, place);
	assert_in_range(cnt, 11, 600);
	for (uint32_t i = 0; i < cnt; i++) {
		assert_false(may[place[i]]);
		may[place[i]] = true;
	}
	for (uint32_t i = 0; i < 600; i++)
		assert_int_equal(may[i], block_may_have_trace(buf_str(&index_.filter), &ids[i]));
	trace_set_fini(&set);
	drop_spans();
}

static void the_index_finds_few_false_values(void **state)
{
	uint32_t found = 0;

	seal_shop();
	for (int i = 0; i < 1000; i++)
		found += may(equal(FIELD_ATTR, "user_agent.original",
				   (struct value){ .type = VALUE_STR,
						   .str = arena_printf(g.mem, "nobody/%d", i) }));
	assert_in_range(found, 0, 30);
	drop_spans();
}

struct names {
	uint32_t operations, tags;
	bool found;
};

static void count_operation(void *ctx, struct str service, struct str name, enum span_kind kind)
{
	struct names *n = ctx;

	n->operations++;
	n->found |= str_eq(service, STR("service-1")) && str_eq(name, STR("GET /b")) &&
		    kind == SPAN_SERVER;
}

static void count_tag(void *ctx, enum field_kind kind, struct str key)
{
	struct names *n = ctx;

	n->tags += kind == FIELD_SPAN_ATTR;
	n->found |= kind == FIELD_RESOURCE_ATTR && str_eq(key, STR("host.name"));
}

static void the_index_lists_names(void **state)
{
	struct names n = { 0 };

	seal_shop();
	block_operations(buf_str(&index_.filter), count_operation, &n);
	assert_int_equal(n.operations, 2);
	assert_true(n.found);
	n.found = false;
	block_tags(buf_str(&index_.filter), count_tag, &n);
	assert_int_equal(n.tags, 14);
	assert_true(n.found);
	drop_spans();
}

/* ---- traces by what is needed of them ---- */

static struct apart nothing_apart;

static bool may_need(struct need n)
{
	const struct sieve sieve = { .need = &n, .apart = &nothing_apart };
	bool doubled;

	return block_may_need(&index_, buf_str(&index_.filter), &sieve, &doubled);
}

static struct need root(const char *name)
{
	return (struct need){ .op = NEED_ROOT, .where = equal(FIELD_NAME, "", text(name)) };
}

static bool any_doubled(void)
{
	const struct need all = { .op = NEED_SPANS };
	const struct sieve sieve = { .need = &all, .apart = &nothing_apart };
	bool doubled;

	assert_true(block_may_need(&index_, buf_str(&index_.filter), &sieve, &doubled));
	return doubled;
}

/* Traces of three spans, 100 ns long: /a at the top, which has a parent where 'topless'. */
static void seal_traces(bool topless, bool doubled)
{
	static const char *const name[] = { "/a", "/b", "/c" };
	struct block_builder *b = block_builder_new();

	g = (struct gen){ .state = 9, .mem = arena_new(0) };
	for (uint32_t i = 0; i < RESOURCES; i++)
		resource[i] = gen_resource(&g, i);
	for (uint32_t i = 0; i < 30; i++) {
		struct span *s = gen_http_span(&g, resource[i % 2]);

		s->name = str_of(name[i % 3]);
		s->trace_id = (struct trace_id){ { 1, (uint8_t)(i / 3) } };
		s->span_id = (struct span_id){ { 1, (uint8_t)(doubled ? 0 : i) } };
		s->parent_id = (struct span_id){ { i % 3 || (topless && i < 3), 77 } };
		if (!s->parent_id.b[0])
			s->parent_id = (struct span_id){ { 0 } };
		s->start_ns = 1000 + 1000 * (i / 3) + 30 * (i % 3);
		s->end_ns = s->start_ns + 40;
		assert_int_equal(block_add(b, s), 0);
	}
	assert_int_equal(block_seal(b, 1, &body, &index_), 0);
	block_builder_free(b);
}

static void the_index_rules_out_whole_traces(void **state)
{
	struct need both;

	seal_traces(false, false);
	assert_int_equal(block_filter_check(buf_str(&index_.filter)), 0);
	assert_true(may_need((struct need){ .op = NEED_DURATION, .least = 100 }));
	assert_false(may_need((struct need){ .op = NEED_DURATION, .least = 101 }));
	both = root("/a");
	assert_true(may_need((struct need){ .op = NEED_SUM, .least = 120, .left = &both }));
	assert_false(may_need((struct need){ .op = NEED_SUM, .least = 123, .left = &both }));
	assert_true(may_need((struct need){ .op = NEED_COUNT, .least = 3, .left = &both }));
	assert_false(may_need((struct need){ .op = NEED_COUNT, .least = 4, .left = &both }));
	assert_true(may_need(root("/a")));
	assert_false(may_need(root("/b")));
	assert_false(any_doubled());
	drop_spans();
	seal_traces(true, true);
	assert_true(may_need(root("/b")));
	assert_false(may_need(root("/d")));
	assert_true(any_doubled());
	drop_spans();
}

/* The last part, which lists places of traces, ends with these bytes too; the checksum is right. */
static int check_with(const char *bytes, size_t cnt)
{
	struct buf bad = { 0 };
	uint32_t part;
	int err;

	buf_add_str(&bad, buf_str(&index_.filter));
	buf_add(&bad, bytes, cnt);
	memcpy(&part, bad.p + 8 + 4 * (FILTER_PARTS - 1), sizeof(part));
	part = htole32(le32toh(part) + (uint32_t)cnt);
	memcpy(bad.p + 8 + 4 * (FILTER_PARTS - 1), &part, sizeof(part));
	part = htole32(body_check(bad.p + 8, bad.len - 8));
	memcpy(bad.p + 4, &part, sizeof(part));
	err = block_filter_check(buf_str(&bad));
	buf_fini(&bad);
	return err;
}

static void places_that_are_no_traces_are_refused(void **state)
{
	static const char endless[12] = { [0 ... 10] = (char)0x80 };

	seal_traces(true, false);
	assert_int_equal(check_with("\1", 1), 0);
	assert_int_equal(check_with("\1\1\3", 3), 0);
	assert_int_equal(check_with("\0", 1), -EBADMSG);
	assert_int_equal(check_with("\12", 1), -EBADMSG);
	assert_int_equal(check_with("\x80", 1), -EBADMSG);
	assert_int_equal(check_with(endless, sizeof(endless)), -EBADMSG);
	drop_spans();
}

/* The filter as it was written before it said anything of whole traces. */
static void make_old(struct buf *filter)
{
	struct cursor c = cursor_of(filter->p, filter->len), ops;
	struct buf old = { 0 }, list = { 0 };
	uint32_t len[FILTER_PARTS];
	uint64_t cnt;

	c.p += 8;
	for (size_t i = 0; i < FILTER_PARTS; i++)
		len[i] = take_u32le(&c);
	ops = cursor_of(c.p, len[0]);
	put_varint(&list, cnt = take_varint(&ops));
	for (; cnt; cnt--)
		put_text(&list, take_text(&ops));
	put_varint(&list, cnt = take_varint(&ops));
	for (; cnt; cnt--) {
		put_varint(&list, take_varint(&ops));
		put_varint(&list, take_varint(&ops) >> 1);
		put_text(&list, take_text(&ops));
	}
	put_u32(&old, FILTER_MAGIC_OLD);
	put_u32(&old, 0);
	put_u32(&old, (uint32_t)list.len);
	for (size_t i = 1; i < FILTER_PARTS_OLD; i++)
		put_u32(&old, len[i]);
	buf_add_str(&old, buf_str(&list));
	buf_add(&old, c.p + len[0], len[1] + len[2] + len[3]);
	len[0] = htole32(body_check(old.p + 8, old.len - 8));
	memcpy(old.p + 4, len, sizeof(len[0]));
	buf_fini(&list);
	buf_fini(filter);
	*filter = old;
}

static void an_old_index_is_read_and_rules_out_less(void **state)
{
	uint64_t marks[2][16];
	uint32_t cnt[2];
	struct names n = { 0 };

	seal_traces(false, false);
	assert_true(block_marks(buf_str(&index_.filter), marks[0], &cnt[0], 16));
	make_old(&index_.filter);
	assert_int_equal(block_filter_check(buf_str(&index_.filter)), 0);
	assert_false(block_marks(buf_str(&index_.filter), marks[1], &cnt[1], 16));
	assert_int_equal(cnt[0], 10);
	assert_int_equal(cnt[1], 10);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(marks[1][i], marks[0][i] & ~0xffull);
	block_operations(buf_str(&index_.filter), count_operation, &n);
	assert_int_equal(n.operations, 6);
	assert_true(may(equal(FIELD_NAME, "", text("/b"))));
	assert_false(may(equal(FIELD_NAME, "", text("/d"))));
	assert_true(may_need((struct need){ .op = NEED_DURATION, .least = 1e12 }));
	assert_true(may_need(root("/b")));
	assert_false(may_need(root("/d")));
	assert_true(any_doubled());
	drop_spans();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_index_rules_out_what_is_not_there),
		cmocka_unit_test(the_index_finds_few_false_traces),
		cmocka_unit_test(many_traces_are_looked_up_as_one_is),
		cmocka_unit_test(the_index_finds_few_false_values),
		cmocka_unit_test(the_index_lists_names),
		cmocka_unit_test(the_index_rules_out_whole_traces),
		cmocka_unit_test(places_that_are_no_traces_are_refused),
		cmocka_unit_test(an_old_index_is_read_and_rules_out_less),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

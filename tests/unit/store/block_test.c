/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/store/block_spans.h"

/* ---- what a visitor saw ---- */

struct seen {
	bool taken[SPANS];
	uint32_t cnt;
	uint32_t stop_at;
	uint64_t last_start;
	bool check_order;
};

static bool take_span(void *ctx, const struct span *s)
{
	struct seen *seen = ctx;
	uint32_t i;

	for (i = 0; i < span_cnt; i++)
		if (!seen->taken[i] && span_equal(s, span[i]))
			break;
	assert_true(i < span_cnt);
	seen->taken[i] = true;
	if (seen->check_order && seen->cnt)
		assert_true(s->start_ns <= seen->last_start);
	seen->last_start = s->start_ns;
	return ++seen->cnt != seen->stop_at;
}

static void round_trip(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct scan q = { .whole = true };
		struct seen seen = { .check_order = true };
		struct block *b;

		seal_spans(seed);
		b = open_body();
		assert_int_equal(block_verify(b), 0);
		assert_int_equal(block_scan(b, &q, take_span, &seen), 0);
		assert_int_equal(seen.cnt, span_cnt);
		assert_int_equal(index_.spans, span_cnt);
		block_close(b);
		drop_spans();
	}
}

static void a_visitor_ends_a_scan(void **state)
{
	struct scan q = { .whole = true };
	struct seen seen = { .stop_at = 1 };
	struct block *b;

	seal_spans(3);
	b = open_body();
	assert_int_equal(block_scan(b, &q, take_span, &seen), 1);
	assert_int_equal(seen.cnt, 1);
	block_close(b);
	drop_spans();
}

static void a_scan_ends_at_its_deadline(void **state)
{
	struct scan q = { .whole = true, .deadline_ns = 1 };
	struct seen seen = { 0 };
	struct block *b;

	seal_spans(3);
	b = open_body();
	assert_int_equal(block_scan(b, &q, take_span, &seen), -ETIMEDOUT);
	block_close(b);
	drop_spans();
}

static bool same_trace(const struct trace_id *a, const struct trace_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool same_as_far(const struct span *a, const struct span *b, const struct field *f)
{
	struct value x = field_value(f, a), y = field_value(f, b);

	return memcmp(&a->span_id, &b->span_id, sizeof(a->span_id)) == 0 &&
	       memcmp(&a->parent_id, &b->parent_id, sizeof(a->parent_id)) == 0 &&
	       str_eq(a->name, b->name) && a->end_ns == b->end_ns && value_equal(&x, &y);
}

static bool check_field(void *ctx, const struct span *s)
{
	for (uint32_t i = 0; i < span_cnt; i++)
		if (same_as_far(span[i], s, ctx))
			return true;
	fail_msg("no such span");
	return false;
}

static void fields_of_traces(void **state)
{
	static const struct field all[] = {
		{ FIELD_SPAN_ATTR, { "url.path", sizeof("url.path") - 1 } },
		{ FIELD_ATTR, { "host.name", sizeof("host.name") - 1 } },
		{ FIELD_SPAN_ATTR, { "a", sizeof("a") - 1 } },
		{ FIELD_STATUS_MESSAGE, { "", sizeof("") - 1 } },
		{ FIELD_EVENT_NAME, { "", sizeof("") - 1 } },
		{ FIELD_SCOPE_NAME, { "", sizeof("") - 1 } },
	};

	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct block *b;

		seal_spans(seed);
		b = open_body();
		for (uint32_t n = 0; n < span_cnt; n += 11)
			for (size_t i = 0; i < ARRAY_LEN(all); i++)
				assert_int_equal(block_trace_fields(b, &span[n]->trace_id, 1,
								    &all[i], 1, check_field,
								    (void *)(uintptr_t)&all[i]),
						 0);
		block_close(b);
		drop_spans();
	}
}

static void traces_by_id(void **state)
{
	struct trace_id two[3] = { { { 1, 2, 3 } } };

	for (uint64_t seed = 1; seed <= 5; seed++) {
		seal_spans(seed);
		for (uint32_t n = 0; n + 1 < span_cnt; n += 7) {
			struct seen seen = { 0 };
			struct block *b = open_body();
			uint32_t want = 0;

			two[1] = span[n]->trace_id;
			two[2] = span[n + 1]->trace_id;
			assert_true(block_may_have_trace(buf_str(&index_.filter), &two[1]));
			assert_int_equal(block_traces(b, two, 3, take_span, &seen), 0);
			for (uint32_t i = 0; i < span_cnt; i++)
				want += same_trace(&span[i]->trace_id, &two[1]) ||
					same_trace(&span[i]->trace_id, &two[2]);
			assert_int_equal(seen.cnt, want);
			block_close(b);
		}
		drop_spans();
	}
}

/* ---- conditions: a scan finds what cond_match() says ---- */

static struct field gen_field(void)
{
	static const char *const key[] = { "a",		"b",	"http.route", "status",
					   "host.name", "none", "url.path",   "process.pid" };
	enum field_kind kind =
		gen_below(&g, 3) ? gen_below(&g, FIELD_EVENT_NAME + 1) : gen_below(&g, 2);
	const struct span *s = span[gen_below(&g, span_cnt)];
	struct str k = str_of(key[gen_below(&g, ARRAY_LEN(key))]);

	if (kind == FIELD_EVENT_ATTR && s->event_cnt && s->events[0].attrs.cnt)
		k = s->events[0].attrs.item[0].key;
	else if (kind == FIELD_LINK_ATTR && s->link_cnt && s->links[0].attrs.cnt)
		k = s->links[0].attrs.item[0].key;
	else if (s->attrs.cnt && gen_below(&g, 3) == 0)
		k = s->attrs.item[gen_below(&g, s->attrs.cnt)].key;
	return (struct field){ kind, k };
}

static const struct cond *gen_cond(struct patterns *patterns, int depth)
{
	static const enum cmp plain[] = { CMP_EQ, CMP_EQ, CMP_EQ, CMP_NE,    CMP_LT,
					  CMP_LE, CMP_GT, CMP_GE, CMP_EXISTS };
	static const char *const regex[] = { "v.*",   ".*[0-9]",      "",
					     "GET.*", "service-0|v1", ".*/cart/.+",
					     "v1?",   "v\\.?[12]",    "curl/7\\.88.*" };
	uint32_t what = gen_below(&g, depth < 4 ? 6 : 3);
	struct field f = gen_field();
	struct value v;
	const struct cond *c;
	char why[128];

	if (what == 3)
		return cond_and(g.mem, gen_cond(patterns, depth + 1),
				gen_cond(patterns, depth + 1));
	if (what == 4)
		return cond_or(g.mem, gen_cond(patterns, depth + 1), gen_cond(patterns, depth + 1));
	if (what == 5)
		return cond_not(g.mem, gen_cond(patterns, depth + 1));
	if (what == 2) {
		struct str text = str_of(regex[gen_below(&g, ARRAY_LEN(regex))]);

		assert_int_equal(cond_regex(g.mem, patterns, f, gen_below(&g, 2), text, &c, why),
				 0);
		return c;
	}
	/* a value that is there, mostly */
	v = field_value(&f, span[gen_below(&g, span_cnt)]);
	if (v.type == VALUE_EMPTY || v.type == VALUE_ARRAY || v.type == VALUE_KVLIST ||
	    gen_below(&g, 5) == 0)
		v = (struct value){ .type = VALUE_INT, .i = gen_below(&g, 5) };
	else if (v.type == VALUE_INT && gen_below(&g, 4) == 0)
		v = (struct value){ .type = VALUE_DOUBLE, .d = (double)v.i };
	return cond_cmp(g.mem, f, plain[gen_below(&g, ARRAY_LEN(plain))], v);
}

static uint32_t check_query(const struct cond *c, struct time_range r)
{
	struct scan q = { .where = c, .whole = true, .range = r };
	struct seen seen = { .check_order = true };
	struct block *b = open_body();
	uint32_t want = 0, match = 0;

	for (uint32_t i = 0; i < span_cnt; i++) {
		bool in =
			span[i]->start_ns >= r.from_ns && (!r.to_ns || span[i]->start_ns < r.to_ns);

		match += cond_match(c, span[i]);
		want += in && cond_match(c, span[i]);
	}
	assert_int_equal(block_scan(b, &q, take_span, &seen), 0);
	assert_int_equal(seen.cnt, want);
	for (uint32_t i = 0; i < span_cnt; i++)
		assert_true(!seen.taken[i] || cond_match(c, span[i]));
	if (match)
		assert_true(block_may_match(&index_, buf_str(&index_.filter), c));
	block_close(b);
	return match;
}

static void scans_agree_with_cond_match(void **state)
{
	uint32_t hits = 0;

	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct patterns patterns = { 0 };

		seal_spans(seed);
		for (int i = 0; i < 250; i++) {
			struct time_range r = { 0 };

			if (gen_below(&g, 4) == 0) {
				r.from_ns = span[gen_below(&g, span_cnt)]->start_ns;
				r.to_ns = gen_below(&g, 2) ? 0 : r.from_ns + (1ull << 50);
			}
			hits += check_query(gen_cond(&patterns, 0), r) != 0;
		}
		patterns_free(&patterns);
		drop_spans();
	}
	/* the generator asks for things that are there */
	assert_true(hits > 1000);
}

/* ---- values ---- */

struct listed {
	const struct field *f;
	struct value v[512];
	uint32_t cnt;
};

static bool list_value(void *ctx, const struct value *v)
{
	struct listed *l = ctx;

	assert_true(l->cnt < ARRAY_LEN(l->v));
	l->v[l->cnt] = *v;
	if (v->type == VALUE_STR || v->type == VALUE_BYTES)
		l->v[l->cnt].str = arena_str(g.mem, v->str);
	l->cnt++;
	return true;
}

static void values_are_all_there(void **state)
{
	static const struct field fields[] = {
		{ FIELD_SPAN_ATTR, { "a", 1 } },
		{ FIELD_ATTR, { "host.name", 9 } },
		{ FIELD_RESOURCE_ATTR, { "process.pid", 11 } },
		{ FIELD_NAME, { NULL, 0 } },
		{ FIELD_SERVICE, { NULL, 0 } },
		{ FIELD_KIND, { NULL, 0 } },
		{ FIELD_SCOPE_NAME, { NULL, 0 } },
		{ FIELD_STATUS_MESSAGE, { NULL, 0 } },
		{ FIELD_SPAN_ID, { NULL, 0 } },
	};
	struct block *b;

	seal_spans(11);
	b = open_body();
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct cond *where = equal(FIELD_STATUS, "", number(STATUS_ERROR));
		struct listed l = { .f = &fields[i] };

		assert_int_equal(
			block_values(b, l.f, where, (struct time_range){ 0 }, list_value, &l), 0);
		for (uint32_t k = 0; k < span_cnt; k++) {
			struct value v = field_value(l.f, span[k]);
			bool found = v.type == VALUE_EMPTY || span[k]->status != STATUS_ERROR;

			for (uint32_t n = 0; n < l.cnt && !found; n++)
				found = value_equal(&v, &l.v[n]);
			assert_true(found);
		}
	}
	block_close(b);
	drop_spans();
}

/* ---- limits ---- */

static void a_full_block_asks_to_be_sealed(void **state)
{
	struct block_builder *b = block_builder_new();
	struct span s = { .name = STR("x"), .scope = &scope_capture };
	struct block_index x;
	uint32_t cnt = 0;

	g = (struct gen){ .state = 3, .mem = arena_new(0) };
	s.resource = gen_resource(&g, 0);
	while (block_add(b, &s) == 0)
		cnt++;
	assert_int_equal(cnt, BLOCK_SPANS_MAX);
	assert_int_equal(block_add(b, &s), -ENOSPC);
	assert_int_equal(block_seal(b, 1, &body, &x), 0);
	assert_int_equal(block_add(b, &s), 0);
	block_builder_free(b);
	buf_fini(&x.filter);
	buf_fini(&body);
	resource_put(s.resource);
	arena_free(g.mem);
}

static void memory_is_bounded(void **state)
{
	struct block_builder *b = block_builder_new();
	struct span s = { .name = STR("x"), .scope = &scope_capture };
	char *big = calloc(1, 9 << 20);
	uint64_t n = 0;
	int err = 0;

	g = (struct gen){ .state = 3, .mem = arena_new(0) };
	s.resource = gen_resource(&g, 0);
	attrs_add_str(&s.attrs, g.mem, "big", (struct str){ big, 9 << 20 });
	assert_int_equal(block_add(b, &s), -E2BIG);
	for (; !err; n++) {
		memcpy(big, &n, sizeof(n));
		s.attrs.item[0].value.str.len = 100000;
		err = block_add(b, &s);
		assert_true(block_memory(b) <= BLOCK_BYTES_MAX);
	}
	assert_int_equal(err, -ENOSPC);
	assert_true(n > 50);
	block_builder_free(b);
	resource_put(s.resource);
	arena_free(g.mem);
	free(big);
}

/* As many lists, one in the other, as producers may nest; then one more. */
static void what_is_nested_too_deep_is_refused(void **state)
{
	struct block_builder *b = block_builder_new();
	struct span s = { .name = STR("x"), .scope = &scope_capture };
	struct value list[VALUE_DEPTH_MAX + 1];
	struct value innermost = { .type = VALUE_INT, .i = 7 };

	g = (struct gen){ .state = 3, .mem = arena_new(0) };
	s.resource = gen_resource(&g, 0);
	for (int i = 0; i <= VALUE_DEPTH_MAX; i++)
		list[i] = (struct value){ .type = VALUE_ARRAY,
					  .array = { i ? &list[i - 1] : &innermost, 1 } };
	attrs_add_int(&s.attrs, g.mem, "deep", 0);
	s.attrs.item[0].value = list[VALUE_DEPTH_MAX];
	assert_int_equal(block_add(b, &s), -E2BIG);
	s.attrs.item[0].value = list[VALUE_DEPTH_MAX - 1];
	assert_int_equal(block_add(b, &s), 0);
	block_builder_free(b);
	resource_put(s.resource);
	arena_free(g.mem);
}

/* A block begins with the room that the one before took, but only when its first span comes. */
static void an_idle_builder_holds_little(void **state)
{
	struct block_builder *b = block_builder_new();
	size_t empty = block_memory(b), full = 0;

	make_spans(5);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < span_cnt; i++)
			assert_int_equal(block_add(b, span[i]), 0);
		assert_true(!full || block_memory(b) <= full);
		full = block_memory(b);
		buf_clear(&body);
		buf_fini(&index_.filter);
		assert_int_equal(block_seal(b, 1, &body, &index_), 0);
		assert_int_equal(block_memory(b), empty);
	}
	block_builder_free(b);
	drop_spans();
}

static void an_empty_block_is_one_too(void **state)
{
	struct block_builder *b = block_builder_new();
	struct scan q = { 0 };
	struct block *open;

	assert_int_equal(block_seal(b, 1, &body, &index_), 0);
	assert_int_equal(block_filter_check(buf_str(&index_.filter)), 0);
	open = open_body();
	assert_int_equal(block_scan(open, &q, take_span, NULL), 0);
	block_close(open);
	block_builder_free(b);
	buf_fini(&body);
	buf_fini(&index_.filter);
}

/* ---- damage ---- */

static bool ignore_span(void *ctx, const struct span *s)
{
	return true;
}

static void damage_is_seen(void **state)
{
	uint32_t seen = 0, all = 0;

	seal_spans(2);
	for (size_t i = 0; i < body.len; i += 3) {
		struct block_source from = { &body, memory_read, body.len };
		struct scan q = { .whole = true };
		struct block *b = NULL;
		int err;

		body.p[i] ^= 0x10;
		err = block_open(&from, &b);
		if (!err)
			err = block_verify(b);
		assert_true(!err || err == -EBADMSG);
		if (!err) /* a bit that decompressing does not look at */
			assert_int_equal(block_scan(b, &q, ignore_span, NULL), 0);
		seen += err == -EBADMSG;
		all++;
		block_close(b);
		body.p[i] ^= 0x10;
	}
	assert_true(seen * 100 >= all * 99);
	for (size_t i = 0; i < index_.filter.len; i++) {
		index_.filter.p[i] ^= 1;
		assert_int_equal(block_filter_check(buf_str(&index_.filter)), -EBADMSG);
		index_.filter.p[i] ^= 1;
	}
	drop_spans();
}

static void short_bodies_are_refused(void **state)
{
	seal_spans(2);
	for (size_t len = 0; len < body.len; len += 97) {
		struct block_source from = { &body, memory_read, len };
		struct block *b;

		assert_int_equal(block_open(&from, &b), -EBADMSG);
	}
	drop_spans();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(a_visitor_ends_a_scan),
		cmocka_unit_test(a_scan_ends_at_its_deadline),
		cmocka_unit_test(traces_by_id),
		cmocka_unit_test(fields_of_traces),
		cmocka_unit_test(scans_agree_with_cond_match),
		cmocka_unit_test(values_are_all_there),
		cmocka_unit_test(a_full_block_asks_to_be_sealed),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(what_is_nested_too_deep_is_refused),
		cmocka_unit_test(an_idle_builder_holds_little),
		cmocka_unit_test(an_empty_block_is_one_too),
		cmocka_unit_test(damage_is_seen),
		cmocka_unit_test(short_bodies_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

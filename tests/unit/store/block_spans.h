/* SPDX-License-Identifier: Apache-2.0 */
/* Spans made up from a seed, with much in common, and the block of them. */
#ifndef TESTS_STORE_BLOCK_SPANS_H
#define TESTS_STORE_BLOCK_SPANS_H

#include "store/block.h"
#include "unit/export/span_gen.h"
#include "unit/store/span_equal.h"

#include <errno.h>
#include <stdlib.h>

#define SPANS	  300
#define RESOURCES 4

static struct gen g;
static struct resource *resource[RESOURCES];
static struct scope scope[3];
static struct span *span[SPANS];
static uint32_t span_cnt;

static struct buf body;
static struct block_index index_;

static inline int memory_read(void *ctx, uint64_t off, void *to, size_t len)
{
	const struct buf *from = ctx;

	if (off > from->len || len > from->len - off)
		return -EIO;
	memcpy(to, from->p + off, len);
	return 0;
}

static inline struct block *open_body(void)
{
	struct block_source from = { &body, memory_read, body.len };
	struct block *b;

	assert_int_equal(block_open(&from, &b), 0);
	return b;
}

/* Keys and values that come again, twice in one span now and then. */
static inline void add_common(struct span *s)
{
	static const char *const key[] = { "a", "b", "http.route", "status", "host.name" };
	uint32_t cnt = gen_below(&g, 6);

	for (uint32_t i = 0; i < cnt; i++) {
		const char *k = key[gen_below(&g, ARRAY_LEN(key))];

		switch (gen_below(&g, 4)) {
		case 0: attrs_add_int(&s->attrs, g.mem, k, (int)gen_below(&g, 6) - 2); break;
		case 1: attrs_add_double(&s->attrs, g.mem, k, gen_below(&g, 6) / 2.0); break;
		case 2: attrs_add_bool(&s->attrs, g.mem, k, gen_below(&g, 2)); break;
		default:
			attrs_add_str(&s->attrs, g.mem, k,
				      arena_printf(g.mem, "v%u", gen_below(&g, 4)));
		}
	}
}

static inline void make_spans(uint64_t seed)
{
	g = (struct gen){ .state = seed * 0x9e3779b97f4a7c15u | 1, .mem = arena_new(0) };
	for (uint32_t i = 0; i < RESOURCES; i++)
		resource[i] = gen_resource(&g, i / 2);
	memset(scope, 0, sizeof(scope));
	scope[1] = (struct scope){ .name = STR("lib"), .version = STR("1.2") };
	scope[2] = (struct scope){ .name = STR("lib"), .schema_url = STR("https://x") };
	attrs_add_str(&scope[2].attrs, g.mem, "b", STR("v1"));
	scope[2].attrs.dropped = 2;
	span_cnt = 1 + gen_below(&g, SPANS - 1);
	for (uint32_t i = 0; i < span_cnt; i++) {
		struct resource *r = resource[gen_below(&g, RESOURCES)];
		struct span *s = gen_below(&g, 3) ? gen_http_span(&g, r)
						  : gen_span(&g, r, &scope[gen_below(&g, 3)]);
		uint32_t like = i ? gen_below(&g, i) : 0;

		if (i && gen_below(&g, 4)) {
			s->trace_id = span[like]->trace_id;
			if (gen_below(&g, 2))
				s->parent_id = span[like]->span_id;
		}
		if (i && gen_below(&g, 30) == 0)
			s->span_id = span[like]->span_id;
		if (gen_below(&g, 3))
			s->status = gen_below(&g, 3);
		add_common(s);
		span[i] = s;
	}
}

static inline void seal_spans(uint64_t seed)
{
	struct block_builder *b = block_builder_new();

	make_spans(seed);
	for (uint32_t i = 0; i < span_cnt; i++)
		assert_int_equal(block_add(b, span[i]), 0);
	assert_int_equal(block_spans(b), span_cnt);
	assert_int_equal(block_seal(b, 1, &body, &index_), 0);
	assert_int_equal(block_spans(b), 0);
	block_builder_free(b);
	assert_int_equal(block_filter_check(buf_str(&index_.filter)), 0);
}

static inline void drop_spans(void)
{
	for (uint32_t i = 0; i < RESOURCES; i++)
		resource_put(resource[i]);
	arena_free(g.mem);
	buf_fini(&body);
	buf_fini(&index_.filter);
}

static inline const struct cond *equal(enum field_kind kind, const char *key, struct value v)
{
	return cond_cmp(g.mem, (struct field){ kind, str_of(key) }, CMP_EQ, v);
}

static inline struct value text(const char *s)
{
	return (struct value){ .type = VALUE_STR, .str = str_of(s) };
}

static inline struct value number(int64_t i)
{
	return (struct value){ .type = VALUE_INT, .i = i };
}

#endif

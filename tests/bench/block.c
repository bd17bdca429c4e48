/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a block costs: CPU to add and seal a span, bytes it takes, time to read it back.
 *     block [SPANS] [LEVEL]
 */
#include "bench/spans.h"

#include "core/clock.h"
#include "store/block.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH_TRACES 50
#define BLOCKS_MAX   1024

struct sealed {
	struct buf body;
	struct block_index index;
	struct trace_id some; /* a trace in it */
};

static struct sealed blocks[BLOCKS_MAX];
static uint32_t block_cnt;
static uint64_t visited;

static uint64_t cpu_ns(void)
{
	return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

static int memory_read(void *ctx, uint64_t off, void *to, size_t len)
{
	const struct buf *from = ctx;

	memcpy(to, from->p + off, len);
	return 0;
}

static bool count(void *ctx, const struct span *s)
{
	visited++;
	return ctx == NULL || --*(int *)ctx > 0;
}

static struct block *open_block(uint32_t i)
{
	struct block_source from = { &blocks[i].body, memory_read, blocks[i].body.len };
	struct block *b = NULL;

	if (block_open(&from, &b))
		abort();
	return b;
}

/* ---- writing ---- */

static uint64_t sealing_ns;

static void seal(struct block_builder *b, int level, const struct trace_id *some)
{
	struct sealed *s = &blocks[block_cnt++];
	uint64_t from = cpu_ns();

	if (block_seal(b, level, &s->body, &s->index) || block_cnt == BLOCKS_MAX)
		abort();
	sealing_ns += cpu_ns() - from;
	s->some = *some;
}

/* A batch as an exporter sends it: by resource. */
static void add_batch(struct block_builder *b, const struct shop *shop, const struct span *sp,
		      uint32_t cnt, int level)
{
	for (uint32_t r = 0; r < SHOP_SERVICES; r++)
		for (uint32_t i = 0; i < cnt; i++) {
			if (sp[i].resource != shop->resource[r])
				continue;
			if (block_add(b, &sp[i])) {
				seal(b, level, &sp[0].trace_id);
				block_add(b, &sp[i]);
			}
		}
}

static void write_blocks(uint64_t spans, int level)
{
	static struct span sp[BATCH_TRACES * TRACE_SPANS];
	struct block_builder *b = block_builder_new();
	uint64_t body = 0, filter = 0, cpu = 0;
	struct arena *mem = arena_new(0);
	struct shop shop;

	shop_init(&shop, 77);
	for (uint64_t n = 0; n < spans; n += ARRAY_LEN(sp)) {
		uint64_t from;

		arena_reset(mem);
		for (uint32_t i = 0; i < BATCH_TRACES; i++)
			shop_trace(&shop, mem, sp + (size_t)i * TRACE_SPANS);
		from = cpu_ns();
		add_batch(b, &shop, sp, ARRAY_LEN(sp), level);
		cpu += cpu_ns() - from;
	}
	if (block_spans(b)) {
		uint64_t from = cpu_ns();

		seal(b, level, &sp[0].trace_id);
		cpu += cpu_ns() - from;
	}
	for (uint32_t i = 0; i < block_cnt; i++) {
		body += blocks[i].body.len;
		filter += blocks[i].index.filter.len;
	}
	printf("%llu spans, level %d, %u blocks: %.3f us/span CPU (add %.3f, seal %.3f), "
	       "body %.2f B/span, filter %.2f B/span\n",
	       (unsigned long long)spans, level, block_cnt, (double)cpu / 1e3 / (double)spans,
	       (double)(cpu - sealing_ns) / 1e3 / (double)spans,
	       (double)sealing_ns / 1e3 / (double)spans, (double)body / (double)spans,
	       (double)filter / (double)spans);
	block_builder_free(b);
	arena_free(mem);
	shop_fini(&shop);
}

/* ---- reading ---- */

static void by_id(void)
{
	uint64_t from, filters, cnt = 0, bodies;

	visited = 0;
	from = cpu_ns();
	for (uint32_t i = 0; i < block_cnt; i++)
		for (uint32_t k = 0; k < block_cnt; k++)
			cnt += block_may_have_trace(buf_str(&blocks[k].index.filter),
						    &blocks[i].some);
	filters = cpu_ns() - from;
	from = cpu_ns();
	for (uint32_t i = 0; i < block_cnt; i++) {
		struct block *b = open_block(i);

		if (block_traces(b, &blocks[i].some, 1, count, NULL))
			abort();
		block_close(b);
	}
	bodies = cpu_ns() - from;
	printf("by id: filter %.3f us/block (%.4f hit), body %.1f us/block, %.1f spans each\n",
	       (double)filters / 1e3 / block_cnt / block_cnt, (double)cnt / block_cnt / block_cnt,
	       (double)bodies / 1e3 / block_cnt, (double)visited / block_cnt);
}

static void search(const char *name, const struct cond *c, const struct field *fields, size_t cnt,
		   int limit)
{
	uint64_t from = cpu_ns(), may = 0, filters;

	visited = 0;
	for (uint32_t i = 0; i < block_cnt; i++)
		may += block_may_match(&blocks[i].index, buf_str(&blocks[i].index.filter), c);
	filters = cpu_ns() - from;
	from = cpu_ns();
	for (uint32_t i = 0; i < block_cnt; i++) {
		struct scan q = { .where = c, .fields = fields, .field_cnt = cnt };
		struct block *b = open_block(i);
		int left = limit;

		if (block_scan(b, &q, count, limit ? &left : NULL) < 0)
			abort();
		block_close(b);
	}
	printf("%-34s filter %7.2f us/block, may %5.1f %%, scan %7.1f us/block, %.1f spans each\n",
	       name, (double)filters / 1e3 / block_cnt, 100.0 * (double)may / block_cnt,
	       (double)(cpu_ns() - from) / 1e3 / block_cnt, (double)visited / block_cnt);
}

static const struct cond *equal(struct arena *mem, enum field_kind kind, const char *key,
				struct value v)
{
	return cond_cmp(mem, (struct field){ kind, str_of(key) }, CMP_EQ, v);
}

static const struct cond *regex(struct arena *mem, struct patterns *p, const char *key,
				const char *text)
{
	const struct cond *c = NULL;
	char why[128];

	if (cond_regex(mem, p, (struct field){ FIELD_ATTR, str_of(key) }, false, str_of(text), &c,
		       why))
		abort();
	return c;
}

static void searches(void)
{
	struct arena *mem = arena_new(0);
	struct patterns p = { 0 };
	struct field code = { FIELD_ATTR, STR("http.response.status_code") };
	struct value cart = { .type = VALUE_STR, .str = STR("cart") };
	struct value name = { .type = VALUE_STR, .str = STR("GET /api/products/{id}") };
	struct value none = { .type = VALUE_STR, .str = STR("nobody") };
	struct value fail = { .type = VALUE_INT, .i = 500 }, tea = { .type = VALUE_INT, .i = 418 };
	struct value slow = { .type = VALUE_INT, .i = 1000000000000 };
	const struct cond *service = equal(mem, FIELD_SERVICE, "", cart);

	search("service, 20 wanted", service, NULL, 0, 20);
	search("service and name, 20 wanted",
	       cond_and(mem, service, equal(mem, FIELD_NAME, "", name)), NULL, 0, 20);
	search("service and status_code = 500",
	       cond_and(mem, service, equal(mem, FIELD_ATTR, "http.response.status_code", fail)),
	       &code, 1, 20);
	search("status_code = 500, all", equal(mem, FIELD_ATTR, "http.response.status_code", fail),
	       &code, 1, 0);
	search("no hit: status_code = 418",
	       equal(mem, FIELD_ATTR, "http.response.status_code", tea), NULL, 0, 20);
	search("no hit: status_code > 600",
	       cond_cmp(mem, code, CMP_GT, (struct value){ .type = VALUE_INT, .i = 600 }), NULL, 0,
	       20);
	search("no hit: enduser.id = nobody", equal(mem, FIELD_ATTR, "enduser.id", none), NULL, 0,
	       20);
	search("no hit: user_agent regex", regex(mem, &p, "user_agent.original", ".*Netscape.*"),
	       NULL, 0, 20);
	search("no hit: url.path regex", regex(mem, &p, "url.path", "/api/nothing/.*"), NULL, 0,
	       20);
	search("no hit: url.full regex", regex(mem, &p, "url.full", ".*nothing.*"), NULL, 0, 20);
	search("no hit: duration > 1000 s",
	       cond_cmp(mem, (struct field){ .kind = FIELD_DURATION }, CMP_GT, slow), NULL, 0, 20);
	patterns_free(&p);
	arena_free(mem);
}

static void whole(void)
{
	struct scan q = { .whole = true };
	uint64_t from = cpu_ns();

	visited = 0;
	for (uint32_t i = 0; i < block_cnt; i++) {
		struct block *b = open_block(i);

		if (block_scan(b, &q, count, NULL))
			abort();
		block_close(b);
	}
	printf("everything: %.3f us/span\n", (double)(cpu_ns() - from) / 1e3 / (double)visited);
}

int main(int argc, char **argv)
{
	uint64_t spans = argc > 1 ? strtoull(argv[1], NULL, 10) : 500000;

	write_blocks(spans, argc > 2 ? atoi(argv[2]) : 1);
	by_id();
	searches();
	whole();
	for (uint32_t i = 0; i < block_cnt; i++) {
		buf_fini(&blocks[i].body);
		buf_fini(&blocks[i].index.filter);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a folder of its own, and small traces to fill it: trace t has spans 0, 1, ... */
#ifndef TESTS_STORE_FILL_H
#define TESTS_STORE_FILL_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/clock.h"
#include "store/store.h"
#include "unit/store/sync.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BASE_NS	 1790000000000000000ull
#define SERVICES 3

struct fill {
	char dir[64];
	struct store_cfg cfg;
	struct store *store;
	struct store_writer *writer;
	char why[STORE_WHY_MAX];
};

static struct resource *service[SERVICES];

static inline void make_services(void)
{
	static const char *const name[SERVICES] = { "front", "cart", "stock" };

	for (int i = 0; i < SERVICES; i++) {
		service[i] = resource_new();
		attrs_add_str(&service[i]->attrs, service[i]->arena, "service.name",
			      str_of(name[i]));
		attrs_add_str(&service[i]->attrs, service[i]->arena, "host.name", STR("deck"));
		resource_seal(service[i]);
	}
}

static inline void free_services(void)
{
	for (int i = 0; i < SERVICES; i++)
		resource_put(service[i]);
}

static inline struct trace_id trace_of(uint64_t t)
{
	struct trace_id id = { { 0xab } };

	for (int i = 0; i < 8; i++)
		id.b[15 - i] = (uint8_t)(t >> 8 * i);
	return id;
}

static inline struct span_id span_of(uint64_t t, uint32_t i)
{
	struct span_id id = { { (uint8_t)(i + 1) } };

	for (int k = 1; k < 5; k++)
		id.b[8 - k] = (uint8_t)(t >> 8 * (k - 1));
	return id;
}

static const char *const operation[] = { "GET /", "GET /cart/{id}", "SELECT stock", "publish" };

/* item: room for the attributes, which the span borrows. */
static inline struct span make_span(uint64_t t, uint32_t i, struct attr item[3])
{
	item[0] = (struct attr){ STR("http.request.method"),
				 { .type = VALUE_STR, .str = STR("GET") } };
	item[1] = (struct attr){ STR("number"), { .type = VALUE_INT, .i = (int64_t)t } };
	item[2] = (struct attr){ STR("step"), { .type = VALUE_INT, .i = i } };
	return (struct span){
		.trace_id = trace_of(t),
		.span_id = span_of(t, i),
		.parent_id = i ? span_of(t, 0) : (struct span_id){ { 0 } },
		.flags = 1,
		.kind = i ? SPAN_CLIENT : SPAN_SERVER,
		.name = str_of(operation[i % ARRAY_LEN(operation)]),
		.start_ns = BASE_NS + t * NS_PER_MS + i,
		.end_ns = BASE_NS + t * NS_PER_MS + i + 1000 * (1 + t % 100),
		.attrs = { item, 3, 3, 0 },
		.status = t % 10 == 0 ? STATUS_ERROR : STATUS_UNSET,
		.resource = service[i % SERVICES],
		.scope = &scope_capture,
	};
}

static inline void push(struct fill *f, uint64_t t, uint32_t i)
{
	struct attr item[3];
	struct span s = make_span(t, i, item);

	store_writer_push(f->writer, &s);
}

static inline void push_trace(struct fill *f, uint64_t t, uint32_t spans)
{
	for (uint32_t i = 0; i < spans; i++)
		push(f, t, i);
}

static inline void begin(struct fill *f)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/telltale-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->cfg.where = f->dir;
	f->cfg.commit_ms = 1;
}

static inline int open_store(struct fill *f)
{
	int err = store_open(&f->cfg, &f->store, f->why);

	if (!err && !f->cfg.read_only) {
		f->writer = store_writer_new(f->store);
		assert_non_null(f->writer);
	}
	return err;
}

static inline void close_store(struct fill *f)
{
	store_writer_free(f->writer);
	store_close(f->store);
	f->writer = NULL;
	f->store = NULL;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static inline void end(struct fill *f)
{
	close_store(f);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Is trace t there with so many spans, each as it was pushed? */
static inline bool has_trace(struct store *s, uint64_t t, uint32_t spans)
{
	struct trace_id id = trace_of(t);
	struct trace *trace;
	bool same = !store_trace(s, &id, &trace);

	if (!same)
		return false;
	same = trace->span_cnt == spans;
	for (uint32_t i = 0; i < trace->span_cnt && same; i++) {
		struct attr item[3];
		struct span want =
			make_span(t, (uint32_t)trace->spans[i]->attrs.item[2].value.i, item);
		const struct span *got = trace->spans[i];

		same = memcmp(&got->span_id, &want.span_id, 8) == 0 &&
		       memcmp(&got->parent_id, &want.parent_id, 8) == 0 &&
		       got->start_ns == want.start_ns && got->end_ns == want.end_ns &&
		       str_eq(got->name, want.name) && got->kind == want.kind &&
		       got->status == want.status &&
		       str_eq(got->resource->service, want.resource->service) &&
		       got->attrs.cnt == 3 && got->attrs.item[1].value.i == (int64_t)t;
	}
	trace_put(trace);
	return same;
}

static inline bool count_span(void *ctx, const struct span *s)
{
	++*(uint64_t *)ctx;
	return true;
}

static inline uint64_t count_spans(struct store *s)
{
	const struct scan all = { 0 };
	uint64_t cnt = 0;

	assert_int_equal(store_scan(s, &all, count_span, &cnt), 0);
	return cnt;
}

static inline struct store_stats stats_of(struct store *s)
{
	struct store_stats stats;

	assert_int_equal(store_stats(s, &stats), 0);
	return stats;
}

/* Polls for what a thread of the store will do; false after 30 s. */
static inline bool comes_true(bool (*is_so)(void *ctx), void *ctx)
{
	for (int i = 0; i < 3000; i++) {
		if (is_so(ctx))
			return true;
		usleep(10000);
	}
	return false;
}

#endif

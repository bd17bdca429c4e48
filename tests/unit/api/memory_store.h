/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in memory, for what asks one: spans in blocks of a few in the order they came, read as
 * store.h says (blocks newest first, within a block newest first). It takes the place of the store
 * room's own calls in a test that includes it.
 */
#ifndef MEMORY_STORE_H
#define MEMORY_STORE_H

#include "core/clock.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>

#define MEMORY_SPANS 20000
#define MEMORY_BLOCK 8

struct store {
	struct span *span[MEMORY_SPANS];
	uint32_t cnt;
	struct arena *mem;
	struct resource *resource[16];
	uint32_t resource_cnt;
	uint32_t scans, loads, sieves; /* how often it was asked */
	uint64_t visited;	       /* spans handed out by scans */
	int err;		       /* what reading ends with */
};

static struct store memory;

static void memory_begin(void)
{
	memset(&memory, 0, sizeof(memory));
	memory.mem = arena_new(0);
}

static void memory_end(void)
{
	for (uint32_t i = 0; i < memory.resource_cnt; i++)
		resource_put(memory.resource[i]);
	arena_free(memory.mem);
}

static struct resource *memory_resource(const char *service)
{
	struct resource *r;

	for (uint32_t i = 0; i < memory.resource_cnt; i++)
		if (str_eq(memory.resource[i]->service, str_of(service)))
			return memory.resource[i];
	r = memory.resource[memory.resource_cnt++] = resource_new();
	attrs_add_str(&r->attrs, r->arena, "service.name", str_of(service));
	resource_seal(r);
	return r;
}

/* parent 0: none. Times in milliseconds. */
static inline struct span *put(uint32_t trace, uint8_t id, uint8_t parent, const char *service,
			       const char *name, uint64_t start_ms, uint64_t duration_ms)
{
	struct span *s = arena_alloc(memory.mem, sizeof(*s));

	s->trace_id.b[0] = (uint8_t)(trace >> 8);
	s->trace_id.b[15] = (uint8_t)trace;
	s->span_id.b[7] = id;
	s->parent_id.b[7] = parent;
	s->kind = SPAN_SERVER;
	s->name = str_of(name);
	s->start_ns = start_ms * NS_PER_MS;
	s->end_ns = (start_ms + duration_ms) * NS_PER_MS;
	s->resource = memory_resource(service);
	s->scope = &scope_capture;
	memory.span[memory.cnt++] = s;
	return s;
}

static int newest_first(const void *a, const void *b)
{
	const struct span *const *x = a, *const *y = b;

	return ((*x)->start_ns < (*y)->start_ns) - ((*x)->start_ns > (*y)->start_ns);
}

struct memory_block {
	struct span *span[MEMORY_BLOCK];
	uint32_t cnt;
};

static int newest_block_first(const void *a, const void *b)
{
	const struct memory_block *x = a, *y = b;

	return newest_first(&x->span[0], &y->span[0]);
}

static bool in_range(const struct span *s, struct time_range r)
{
	return s->start_ns >= r.from_ns && (!r.to_ns || s->start_ns < r.to_ns);
}

int store_scan(struct store *s, const struct scan *q,
	       bool (*visit)(void *ctx, const struct span *sp), void *ctx)
{
	uint32_t blocks = (s->cnt + MEMORY_BLOCK - 1) / MEMORY_BLOCK;
	struct memory_block *block = calloc(blocks + 1, sizeof(*block));
	bool go_on = true;

	s->scans++;
	for (uint32_t i = 0; i < s->cnt; i++) {
		struct memory_block *b = &block[i / MEMORY_BLOCK];

		b->span[b->cnt++] = s->span[i];
	}
	for (uint32_t i = 0; i < blocks; i++)
		qsort(block[i].span, block[i].cnt, sizeof(struct span *), newest_first);
	qsort(block, blocks, sizeof(*block), newest_block_first);
	for (uint32_t i = 0; i < blocks && go_on; i++) {
		for (uint32_t k = 0; k < block[i].cnt && go_on; k++) {
			const struct span *at = block[i].span[k];

			if (!in_range(at, q->range) || !cond_match(q->where, at))
				continue;
			s->visited++;
			go_on = visit(ctx, at);
		}
	}
	free(block);
	return s->err;
}

int store_stats(struct store *s, struct store_stats *ret)
{
	*ret = (struct store_stats){ .spans = s->cnt, .traces = s->cnt };
	return s->err;
}

int store_sieve_new(struct store *s, const struct need *need, uint64_t deadline_ns,
		    struct sieve **ret_sieve)
{
	s->sieves++;
	return -EOPNOTSUPP;
}

int store_sieve_narrow(struct store *s, struct sieve *sieve, uint32_t spans, uint64_t deadline_ns)
{
	return 0;
}

void store_sieve_free(struct sieve *sieve)
{
}

/* The span with nothing that was not asked for. */
static void memory_add(struct trace *t, const struct span *from, const struct field *fields,
		       size_t field_cnt)
{
	struct attr left[SPAN_ATTRS_MAX];
	struct span s = *from;
	bool details = false;

	s.attrs = (struct attrs){ .item = left };
	for (size_t i = 0; i < field_cnt; i++)
		details |= fields[i].kind == FIELD_EVENT_ATTR ||
			   fields[i].kind == FIELD_LINK_ATTR ||
			   fields[i].kind == FIELD_STATUS_MESSAGE ||
			   fields[i].kind == FIELD_EVENT_NAME;
	for (uint32_t k = 0; k < from->attrs.cnt; k++)
		for (size_t i = 0; i < field_cnt; i++)
			if (fields[i].kind <= FIELD_SPAN_ATTR &&
			    str_eq(fields[i].key, from->attrs.item[k].key)) {
				left[s.attrs.cnt++] = from->attrs.item[k];
				break;
			}
	if (!details) {
		s.event_cnt = s.link_cnt = 0;
		s.status_message.len = 0;
	}
	trace_add(t, &s);
}

int store_trace_fields(struct store *s, const struct trace_id *ids, size_t cnt,
		       const struct field *fields, size_t field_cnt, struct trace_sink out)
{
	s->loads++;
	for (size_t i = 0; i < cnt; i++) {
		struct trace *t = trace_new(&ids[i]);
		uint32_t orphans;

		for (uint32_t k = 0; k < s->cnt; k++)
			if (memcmp(&s->span[k]->trace_id, &ids[i], sizeof(ids[i])) == 0)
				memory_add(t, s->span[k], fields, field_cnt);
		if (t->span_cnt && !trace_order(t, &orphans))
			out.push(out.ctx, t);
		trace_put(t);
	}
	return s->err;
}

int store_traces(struct store *s, const struct trace_id *ids, size_t cnt, struct trace_sink out)
{
	s->loads++;
	for (size_t i = 0; i < cnt; i++) {
		struct trace *t = trace_new(&ids[i]);
		uint32_t orphans;

		for (uint32_t k = 0; k < s->cnt; k++)
			if (memcmp(&s->span[k]->trace_id, &ids[i], sizeof(ids[i])) == 0)
				trace_add(t, s->span[k]);
		if (t->span_cnt && !trace_order(t, &orphans))
			out.push(out.ctx, t);
		trace_put(t);
	}
	return s->err;
}

#endif

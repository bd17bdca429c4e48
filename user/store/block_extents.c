/* SPDX-License-Identifier: Apache-2.0 */
/* What a block has of each trace, from its columns of times: no span is put together. */
#include "store/block_read.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

#define BATCH 256u

/* The columns that one trace's extent is read from; loaded when the first is wanted. */
static int load_asked(struct block *b, const struct extents *q)
{
	int err = q->times ? load_ints(b, &b->ints[INTS_TRACE_START]) : 0;

	if (!err && q->times)
		err = load_ints(b, &b->ints[INTS_START]);
	if (!err && q->times)
		err = load_ints(b, &b->ints[INTS_DURATION]);
	if (!err && q->tops)
		err = load_ints(b, &b->ints[INTS_PARENT]);
	return err;
}

static void read_times(const struct block *b, uint32_t trace, struct time_range r,
		       struct trace_extent *x)
{
	const struct ints *start = &b->ints[INTS_START], *duration = &b->ints[INTS_DURATION];
	uint64_t base = ints_at(&b->ints[INTS_TRACE_START], trace);

	for (uint32_t i = b->trace_first[trace]; i < b->trace_first[trace + 1]; i++) {
		uint64_t at = base + ints_at(start, i);

		x->end_ns = MAX(x->end_ns, at + ints_at(duration, i));
		if (at > x->newest_ns && at >= r.from_ns && (!r.to_ns || at < r.to_ns))
			x->newest_ns = at;
	}
	x->start_ns = base;
}

static void read_extent(const struct block *b, uint32_t trace, const struct extents *q,
			struct trace_extent *x)
{
	uint32_t first = b->trace_first[trace], last = b->trace_first[trace + 1];

	x->spans = last - first;
	if (q->times)
		read_times(b, trace, q->range, x);
	for (uint32_t i = first; i < last && q->tops && !x->top; i++)
		x->top = !ints_at(&b->ints[INTS_PARENT], i);
}

int block_extents(struct block *b, const struct extents *q, bool beyond,
		  bool (*visit)(void *ctx, const struct trace_extent *x, uint32_t cnt, bool beyond),
		  void *ctx)
{
	struct trace_extent batch[BATCH];
	uint32_t cnt = 0;
	const uint8_t *ids;
	int err = load_traces(b);

	if (!err)
		err = load_section(b, b->bytes[BYTES_TRACE_IDS], &ids);
	for (uint32_t t = 0; t < b->traces && !err; t++) {
		struct trace_extent *x = &batch[cnt];

		*x = (struct trace_extent){ .spans = 0 };
		memcpy(x->id.b, ids + (size_t)t * sizeof(x->id), sizeof(x->id));
		x->mark = store_trace_mark(&x->id);
		if (q->wants && !q->wants(ctx, x->mark, beyond))
			continue;
		err = load_asked(b, q);
		if (!err)
			read_extent(b, t, q, x);
		if (err || ++cnt < BATCH)
			continue;
		if (q->deadline_ns && clock_mono_ns() > q->deadline_ns)
			err = -ETIMEDOUT;
		else if (!visit(ctx, batch, cnt, beyond))
			err = 1;
		cnt = 0;
	}
	if (!err && cnt && !visit(ctx, batch, cnt, beyond))
		err = 1;
	return err;
}

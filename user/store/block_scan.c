/* SPDX-License-Identifier: Apache-2.0 */
/* Searching a block: conditions narrow a mask of rows, and only what is left becomes spans. */
#include "store/block_read.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

/* Rows between two looks at the clock. */
#define DEADLINE_ROWS 64u

static bool any_row(const uint8_t *mask, uint32_t cnt)
{
	return memchr(mask, 1, cnt) != NULL;
}

static int late(uint64_t deadline_ns)
{
	return deadline_ns && clock_mono_ns() > deadline_ns ? -ETIMEDOUT : 0;
}

int match_among(struct block *b, const struct cond *c, uint64_t deadline_ns, const uint8_t *in,
		uint8_t *out)
{
	uint8_t *rest = NULL, *more = NULL;
	int err = late(deadline_ns);

	if (err)
		return err;
	if (!c || c->op == COND_TRUE) {
		memcpy(out, in, b->rows);
		return 0;
	}
	if (c->op == COND_FALSE) {
		memset(out, 0, b->rows);
		return 0;
	}
	if (c->op == COND_CMP)
		return match_leaf(b, c, in, out);
	err = match_among(b, c->left, deadline_ns, in, out);
	if (err || c->op == COND_NOT || (c->op == COND_AND && !any_row(out, b->rows)))
		goto out;
	rest = malloc((size_t)b->rows + 1);
	more = malloc((size_t)b->rows + 1);
	err = rest && more ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < b->rows && !err; i++)
		rest[i] = c->op == COND_AND ? out[i] : in[i] & !out[i];
	if (!err)
		err = match_among(b, c->right, deadline_ns, rest, more);
	for (uint32_t i = 0; i < b->rows && !err; i++)
		out[i] = c->op == COND_AND ? more[i] : out[i] | more[i];
out:
	for (uint32_t i = 0; i < b->rows && !err && c->op == COND_NOT; i++)
		out[i] = in[i] & !out[i];
	free(rest);
	free(more);
	return err;
}

int match_rows(struct block *b, const struct cond *c, struct time_range r, uint64_t deadline_ns,
	       uint8_t *ret_mask)
{
	bool all = !r.from_ns && !r.to_ns;
	int err = all ? 0 : load_starts(b);
	uint8_t *in;

	if (err)
		return err;
	in = malloc((size_t)b->rows + 1);
	if (!in)
		return -ENOMEM;
	memset(in, 1, b->rows);
	for (uint32_t i = 0; i < b->rows && !all; i++)
		in[i] = b->start[i] >= r.from_ns && (!r.to_ns || b->start[i] < r.to_ns);
	err = match_among(b, c, deadline_ns, in, ret_mask);
	free(in);
	return err;
}

/* ---- newest first, no further than the visitor goes ---- */

struct found {
	uint64_t start_ns;
	uint32_t row;
};

static void sift(struct found *heap, uint32_t cnt, uint32_t i)
{
	struct found moved = heap[i];

	for (uint32_t child; (child = 2 * i + 1) < cnt; i = child) {
		if (child + 1 < cnt && heap[child + 1].start_ns > heap[child].start_ns)
			child++;
		if (heap[child].start_ns <= moved.start_ns)
			break;
		heap[i] = heap[child];
	}
	heap[i] = moved;
}

static bool below_floor(const struct scan *q, uint64_t start_ns)
{
	return q->floor_ns && start_ns < *q->floor_ns;
}

static int visit_newest(struct block *b, const struct want *w, struct found *heap, uint32_t cnt,
			const struct scan *q, bool (*visit)(void *ctx, const struct span *s),
			void *ctx)
{
	int err = cnt ? load_wanted(b, w) : 0;

	for (uint32_t i = cnt / 2; i-- > 0;)
		sift(heap, cnt, i);
	for (uint32_t n = 0; cnt && !err && !below_floor(q, heap[0].start_ns); n++) {
		struct span s;

		if (n % DEADLINE_ROWS == 0)
			err = late(q->deadline_ns);
		if (!err)
			err = read_row(b, w, heap[0].row, &s);
		if (!err && !visit(ctx, &s))
			err = 1;
		heap[0] = heap[--cnt];
		sift(heap, cnt, 0);
	}
	return err;
}

int block_scan_sifted(struct block *b, const struct scan *q, bool doubled,
		      bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	uint8_t *mask = malloc((size_t)b->rows + 1);
	bool *column = calloc((size_t)b->column_cnt + 1, sizeof(*column));
	struct want w = { .details = q->whole || q->trace_state,
			  .column = q->whole ? NULL : column };
	struct found *heap = NULL;
	uint32_t cnt = 0;
	int err = -ENOMEM;

	if (mask && column)
		err = match_rows(b, q->where, q->range, q->deadline_ns, mask);
	if (!err && q->sieve && any_row(mask, b->rows))
		err = block_need(b, q->sieve, doubled, q->deadline_ns, mask);
	if (err || !any_row(mask, b->rows))
		goto out;
	err = load_starts(b);
	heap = malloc(((size_t)b->rows + 1) * sizeof(*heap));
	if (!err && !heap)
		err = -ENOMEM;
	if (err)
		goto out;
	for (uint32_t i = 0; i < b->rows; i++)
		if (mask[i] && !below_floor(q, b->start[i]))
			heap[cnt++] = (struct found){ b->start[i], i };
	for (size_t i = 0; i < q->field_cnt; i++)
		want_field(b, &q->fields[i], &w);
	err = visit_newest(b, &w, heap, cnt, q, visit, ctx);
out:
	free(mask);
	free(column);
	free(heap);
	return err;
}

int block_scan(struct block *b, const struct scan *q,
	       bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	return block_scan_sifted(b, q, true, visit, ctx);
}

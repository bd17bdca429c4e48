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

static void sift(struct found_row *heap, uint32_t cnt, uint32_t i)
{
	struct found_row moved = heap[i];

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

int block_find(struct block *b, const struct scan *q, bool doubled, struct found_rows *ret)
{
	uint8_t *mask = malloc((size_t)b->rows + 1);
	int err = mask ? match_rows(b, q->where, q->range, q->deadline_ns, mask) : -ENOMEM;

	*ret = (struct found_rows){ 0 };
	if (!err && q->sieve && any_row(mask, b->rows))
		err = block_need(b, q->sieve, doubled, q->deadline_ns, mask);
	if (err || !any_row(mask, b->rows))
		goto out;
	err = load_starts(b);
	ret->row = malloc(((size_t)b->rows + 1) * sizeof(*ret->row));
	if (!err && !ret->row)
		err = -ENOMEM;
	for (uint32_t i = 0; i < b->rows && !err; i++)
		if (mask[i] && !below_floor(q, b->start[i]))
			ret->row[ret->cnt++] = (struct found_row){ b->start[i], i };
out:
	free(mask);
	if (err)
		found_fini(ret);
	return err;
}

void found_fini(struct found_rows *f)
{
	free(f->row);
	*f = (struct found_rows){ 0 };
}

int block_visit(struct block *b, const struct scan *q, struct found_rows *f,
		bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	bool *column = calloc((size_t)b->column_cnt + 1, sizeof(*column));
	struct want w = { .details = q->whole || q->trace_state,
			  .column = q->whole ? NULL : column };
	struct found_row *heap = f->row;
	int err = column ? 0 : -ENOMEM;

	for (size_t i = 0; i < q->field_cnt && !err; i++)
		want_field(b, &q->fields[i], &w);
	if (!err && f->cnt)
		err = load_wanted(b, &w);
	for (uint32_t i = f->cnt / 2; i-- > 0;)
		sift(heap, f->cnt, i);
	for (uint32_t n = 0; f->cnt && !err && !below_floor(q, heap[0].start_ns); n++) {
		struct span s;

		if (n % DEADLINE_ROWS == 0)
			err = late(q->deadline_ns);
		if (!err)
			err = read_row(b, &w, heap[0].row, &s);
		if (!err && !visit(ctx, &s))
			err = 1;
		heap[0] = heap[--f->cnt];
		sift(heap, f->cnt, 0);
	}
	free(column);
	return err;
}

int block_scan_sifted(struct block *b, const struct scan *q, bool doubled,
		      bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	struct found_rows f;
	int err = block_find(b, q, doubled, &f);

	if (!err && f.cnt)
		err = block_visit(b, q, &f, visit, ctx);
	found_fini(&f);
	return err;
}

int block_scan(struct block *b, const struct scan *q,
	       bool (*visit)(void *ctx, const struct span *s), void *ctx)
{
	return block_scan_sifted(b, q, true, visit, ctx);
}

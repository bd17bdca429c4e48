/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is needed of traces, on a block's columns. A set of spans is one byte a row; what is asked
 * for is asked among whole traces, so that the next question goes to those that are left.
 */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

/* What of the rows satisfies the need's own condition. */
static int match_need(const struct needing *x, const struct need *n, const uint8_t *in,
		      uint8_t *out)
{
	if (!x->bits)
		return match_among(x->b, n->where, x->deadline_ns, in, out);
	for (uint32_t i = 0; i < x->b->rows; i++)
		out[i] = in[i] & x->bits[i] >> n->bit;
	return 0;
}

/* ---- traces of a set ---- */

static bool any_of(const uint8_t *set, uint32_t first, uint32_t cnt)
{
	return memchr(set + first, 1, cnt) != NULL;
}

/* All rows of the traces that have some in the set; false: there are none. */
static bool whole_traces(const struct block *b, const uint8_t *set, uint8_t *out)
{
	bool any = false;

	memset(out, 0, b->rows);
	for (uint32_t t = next_trace(b, set, 0); t < b->traces; t = next_trace(b, set, t + 1)) {
		memset(out + b->trace_first[t], 1, trace_rows(b, t));
		any = true;
	}
	return any;
}

/* Keeps a trace's rows of the set where 'keeps' says so. */
static void keep_traces(const struct needing *x, const struct need *n, uint8_t *set,
			bool (*keeps)(const struct block *b, const struct need *n,
				      const uint8_t *set, uint32_t first, uint32_t cnt))
{
	const struct block *b = x->b;

	for (uint32_t t = next_trace(b, set, 0); t < b->traces; t = next_trace(b, set, t + 1))
		if (!keeps(b, n, set, b->trace_first[t], trace_rows(b, t)))
			memset(set + b->trace_first[t], 0, trace_rows(b, t));
}

/* ---- times, counts, roots ---- */

static int load_times(struct block *b)
{
	int err = load_ints(b, &b->ints[INTS_START]);

	return err ? err : load_ints(b, &b->ints[INTS_DURATION]);
}

/* Starts are those since the trace's first one. */
static bool is_long(const struct block *b, const struct need *n, const uint8_t *set, uint32_t first,
		    uint32_t cnt)
{
	uint64_t start = UINT64_MAX, end = 0;

	for (uint32_t i = first; i < first + cnt; i++) {
		uint64_t at = ints_at(&b->ints[INTS_START], i);

		start = MIN(start, at);
		end = MAX(end, at + ints_at(&b->ints[INTS_DURATION], i));
	}
	return (end > start ? (double)(end - start) : 0) >= n->least;
}

static bool is_many(const struct block *b, const struct need *n, const uint8_t *set, uint32_t first,
		    uint32_t cnt)
{
	uint32_t have = 0;

	for (uint32_t i = first; i < first + cnt; i++)
		have += set[i];
	return have >= n->least;
}

static bool is_sum(const struct block *b, const struct need *n, const uint8_t *set, uint32_t first,
		   uint32_t cnt)
{
	double sum = 0;

	for (uint32_t i = first; i < first + cnt; i++)
		sum += set[i] ? (double)ints_at(&b->ints[INTS_DURATION], i) : 0;
	return sum >= n->least;
}

/* The root has no parent, or, where all have one, is one of them. */
static int rows_of_root(const struct needing *x, const struct need *n, const uint8_t *in,
			uint8_t *out)
{
	struct block *b = x->b;
	const struct ints *parent = &b->ints[INTS_PARENT];
	int err = match_need(x, n, in, out);

	if (!err)
		err = load_ints(b, &b->ints[INTS_PARENT]);
	for (uint32_t t = err ? b->traces : next_trace(b, out, 0); t < b->traces;
	     t = next_trace(b, out, t + 1)) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t);
		bool tops = false, root = false;

		for (uint32_t i = first; i < first + cnt; i++) {
			tops |= !ints_at(parent, i);
			root |= !ints_at(parent, i) && out[i];
		}
		memset(out + first, root || !tops, cnt);
	}
	return err;
}

/* ---- two sets ---- */

/* Has the trace rows in both? */
static bool any_common(const uint8_t *a, const uint8_t *b, uint32_t first, uint32_t cnt)
{
	for (uint32_t i = first; i < first + cnt; i++)
		if (a[i] & b[i])
			return true;
	return false;
}

/* For NEED_HAS, NEED_EACH: out is the left one. */
static void combine(const struct needing *x, enum need_op op, const uint8_t *right, uint8_t *out)
{
	const struct block *b = x->b;

	for (uint32_t i = 0; i < b->rows && op == NEED_BOTH; i++)
		out[i] &= right[i];
	for (uint32_t i = 0; i < b->rows && op == NEED_ANY; i++)
		out[i] |= right[i];
	if (op == NEED_BOTH || op == NEED_ANY)
		return;
	for (uint32_t t = next_trace(b, out, 0); t < b->traces; t = next_trace(b, out, t + 1)) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t);
		bool keep = op == NEED_HAS ? any_common(out, right, first, cnt)
					   : any_of(right, first, cnt);

		for (uint32_t i = first; i < first + cnt; i++)
			out[i] = keep && (out[i] | (op == NEED_EACH && right[i]));
	}
}

static int rows_of_two(const struct needing *x, const struct need *n, const uint8_t *in,
		       uint8_t *out)
{
	struct block *b = x->b;
	uint8_t *left = malloc((size_t)b->rows + 1), *rest = malloc((size_t)b->rows + 1);
	int err = left && rest ? rows_of(x, n->left, in, left) : -ENOMEM;

	if (err)
		goto out;
	if (n->op == NEED_ANY)
		memcpy(rest, in, b->rows);
	else if (!whole_traces(b, left, rest)) {
		memset(out, 0, b->rows);
		goto out;
	}
	err = rows_of(x, n->right, rest, out);
	if (!err && n->op >= NEED_CHILD) {
		err = block_relate(b, n->op, x->doubled, left, out);
	} else if (!err) {
		combine(x, n->op, out, left);
		memcpy(out, left, b->rows);
	}
out:
	free(left);
	free(rest);
	return err;
}

int rows_of(const struct needing *x, const struct need *n, const uint8_t *in, uint8_t *out)
{
	struct block *b = x->b;
	uint8_t *scratch;
	int err;

	switch (n->op) {
	case NEED_SPANS: return match_need(x, n, in, out);
	case NEED_ROOT: return rows_of_root(x, n, in, out);
	case NEED_DURATION:
		memcpy(out, in, b->rows);
		err = load_times(b);
		if (!err)
			keep_traces(x, n, out, is_long);
		return err;
	case NEED_COUNT:
	case NEED_SUM:
		err = rows_of(x, n->left, in, out);
		if (!err)
			err = load_ints(b, &b->ints[INTS_DURATION]);
		if (!err)
			keep_traces(x, n, out, n->op == NEED_SUM ? is_sum : is_many);
		return err;
	case NEED_TOPS:
		memcpy(out, in, b->rows);
		scratch = malloc((size_t)b->rows + 1);
		err = scratch ? block_relate(b, NEED_TOPS, x->doubled, scratch, out) : -ENOMEM;
		free(scratch);
		return err;
	default: return rows_of_two(x, n, in, out);
	}
}

/* ---- the sieve ---- */

uint64_t trace_hash(const uint8_t *ids, uint32_t t)
{
	return text_hash((struct str){ (const char *)ids + (size_t)t * sizeof(struct trace_id),
				       sizeof(struct trace_id) });
}

/* Which rows the need is asked of: all of the traces in one block that have some in the mask. */
static int ask_whole(struct block *b, const struct sieve *s, uint8_t *mask, uint8_t *in)
{
	const uint8_t *ids = NULL;
	int err = s->apart->cnt ? load_section(b, b->bytes[BYTES_TRACE_IDS], &ids) : 0;

	for (uint32_t t = err ? b->traces : next_trace(b, mask, 0); t < b->traces;
	     t = next_trace(b, mask, t + 1)) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t);
		uint32_t at = APART_NOT;

		if (ids)
			at = apart_find(s->apart, trace_long_mark(trace_hash(ids, t)));
		if (at == APART_NOT)
			memset(in + first, 1, cnt);
		else if (!s->passes[at])
			memset(mask + first, 0, cnt);
	}
	return err;
}

int block_need(struct block *b, const struct sieve *s, bool doubled, uint64_t deadline_ns,
	       uint8_t *mask)
{
	const struct needing x = { .b = b, .deadline_ns = deadline_ns, .doubled = doubled };
	uint8_t *in = calloc((size_t)b->rows + 1, 1), *own = malloc((size_t)b->rows + 1);
	int err = in && own ? load_traces(b) : -ENOMEM;

	if (!err)
		err = ask_whole(b, s, mask, in);
	if (!err && memchr(in, 1, b->rows)) {
		err = rows_of(&x, s->need, in, own);
		for (uint32_t t = 0; t < b->traces && !err; t++)
			if (in[b->trace_first[t]] &&
			    !any_of(own, b->trace_first[t], trace_rows(b, t)))
				memset(mask + b->trace_first[t], 0, trace_rows(b, t));
	}
	free(in);
	free(own);
	return err;
}

/* ---- sums ---- */

static bool has_root(const struct part_sum *sum, const struct need *n)
{
	return sum->bits & (sum->bits & PART_TOP ? 1u << 16 : 1u) << n->bit;
}

bool sum_may_need(const struct part_sum *sum, const struct need *n)
{
	uint64_t ns = sum->end_ns > sum->start_ns ? sum->end_ns - sum->start_ns : 0;

	switch (n->op) {
	case NEED_SPANS: return sum->bits & 1u << n->bit;
	case NEED_TOPS: return true;
	case NEED_ROOT: return has_root(sum, n);
	case NEED_DURATION: return (double)ns >= n->least;
	case NEED_COUNT: return sum->spans >= n->least && sum_may_need(sum, n->left);
	case NEED_SUM: return sum->lasts_ns >= n->least && sum_may_need(sum, n->left);
	case NEED_ANY: return sum_may_need(sum, n->left) || sum_may_need(sum, n->right);
	default: return sum_may_need(sum, n->left) && sum_may_need(sum, n->right);
	}
}

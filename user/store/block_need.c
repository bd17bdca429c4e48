/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is needed of traces, on a block's columns. A set of spans is one byte a row; what is asked
 * for is asked among whole traces, so that the next question goes to those that are left.
 *
 * Parents are those that INTS_PARENT names. It may name another than who puts the trace together
 * does when two spans have one id; such a trace is let through. So is what is on a circle.
 */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

struct needing {
	struct block *b;
	uint64_t deadline_ns;
	bool doubled;
};

static int rows_of(const struct needing *x, const struct need *n, const uint8_t *in, uint8_t *out);

/* ---- traces of a set ---- */

static uint32_t trace_rows(const struct block *b, uint32_t t)
{
	return b->trace_first[t + 1] - b->trace_first[t];
}

static bool any_of(const uint8_t *set, uint32_t first, uint32_t cnt)
{
	return memchr(set + first, 1, cnt) != NULL;
}

/* All rows of the traces that have some in the set; false: there are none. */
static bool whole_traces(const struct block *b, const uint8_t *set, uint8_t *out)
{
	bool any = false;

	for (uint32_t t = 0; t < b->traces; t++) {
		bool some = any_of(set, b->trace_first[t], trace_rows(b, t));

		memset(out + b->trace_first[t], some, trace_rows(b, t));
		any |= some;
	}
	return any;
}

/* Keeps a trace's rows of the set where 'keeps' says so. */
static void keep_traces(const struct needing *x, const struct need *n, uint8_t *set,
			bool (*keeps)(const struct block *b, const struct need *n,
				      const uint8_t *set, uint32_t first, uint32_t cnt))
{
	const struct block *b = x->b;

	for (uint32_t t = 0; t < b->traces; t++) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t);

		if (any_of(set, first, cnt) && !keeps(b, n, set, first, cnt))
			memset(set + first, 0, cnt);
	}
}

/* ---- times, counts, roots ---- */

static int load_times(struct block *b)
{
	int err = load_starts(b);

	return err ? err : load_ints(b, &b->ints[INTS_DURATION]);
}

static bool is_long(const struct block *b, const struct need *n, const uint8_t *set, uint32_t first,
		    uint32_t cnt)
{
	uint64_t start = UINT64_MAX, end = 0;

	for (uint32_t i = first; i < first + cnt; i++) {
		start = MIN(start, b->start[i]);
		end = MAX(end, b->start[i] + ints_at(&b->ints[INTS_DURATION], i));
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
	int err = match_among(b, n->where, x->deadline_ns, in, out);

	if (!err)
		err = load_ints(b, &b->ints[INTS_PARENT]);
	for (uint32_t t = 0; t < b->traces && !err; t++) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t);
		bool any = any_of(out, first, cnt), tops = false, root = false;

		for (uint32_t i = first; i < first + cnt && any; i++) {
			tops |= !ints_at(parent, i);
			root |= !ints_at(parent, i) && out[i];
		}
		memset(out + first, any && (root || !tops), cnt);
	}
	return err;
}

/* ---- between spans ---- */

/* One trace in hand, its rows by their place in it. */
struct kin {
	const uint32_t *parent; /* cnt: not in the block */
	uint32_t *scratch;	/* cnt + 1 */
	uint32_t cnt;
};

/* Whose ancestor, or with the first step alone whose parent, is in the set. */
static void mark_below(const struct kin *k, const uint8_t *set, bool far, uint8_t *out)
{
	enum { UNKNOWN, NO, YES };
	uint32_t *state = k->scratch;

	memset(state, 0, k->cnt * sizeof(*state));
	for (uint32_t i = 0; i < k->cnt; i++) {
		uint32_t at = i, answer = NO;

		while (state[at] == UNKNOWN) {
			uint32_t up = k->parent[at];

			state[at] = NO; /* a circle ends here */
			if (up == k->cnt)
				break;
			answer = set[up] ? YES : far ? state[up] : NO;
			if (answer != UNKNOWN)
				break;
			at = up;
		}
		if (answer == YES)
			for (uint32_t n = i; state[n] == NO; n = k->parent[n]) {
				state[n] = YES;
				if (n == at)
					break;
			}
	}
	for (uint32_t i = 0; i < k->cnt; i++)
		out[i] = state[i] == YES;
}

static void mark_above(const struct kin *k, const uint8_t *set, bool far, uint8_t *out)
{
	memset(out, 0, k->cnt);
	for (uint32_t i = 0; i < k->cnt; i++)
		for (uint32_t up = set[i] ? k->parent[i] : k->cnt; up < k->cnt && !out[up];
		     up = far ? k->parent[up] : k->cnt)
			out[up] = 1;
}

static void mark_beside(const struct kin *k, const uint8_t *set, uint8_t *out)
{
	uint32_t *cnt = k->scratch;

	memset(cnt, 0, (k->cnt + 1) * sizeof(*cnt));
	for (uint32_t i = 0; i < k->cnt; i++)
		cnt[k->parent[i]] += set[i];
	for (uint32_t i = 0; i < k->cnt; i++)
		out[i] = k->parent[i] < k->cnt && cnt[k->parent[i]] > set[i];
}

/* Without a parent in the trace, or on a circle, which is cut somewhere. */
static void mark_tops(const struct kin *k, uint8_t *roots, uint8_t *out)
{
	bool ordered = true;

	for (uint32_t i = 0; i < k->cnt; i++) {
		roots[i] = k->parent[i] == k->cnt || k->parent[i] == i;
		ordered = ordered && (roots[i] || k->parent[i] < i);
	}
	if (!ordered)
		mark_below(k, roots, true, out);
	for (uint32_t i = 0; i < k->cnt; i++)
		out[i] = roots[i] || (!ordered && !out[i]);
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Have two spans of the trace the same id? */
static bool is_doubled(const struct block *b, uint32_t first, uint32_t cnt, uint64_t *sorted)
{
	const uint8_t *ids = b->section[b->bytes[BYTES_SPAN_IDS]].data;

	for (uint32_t i = 0; i < cnt; i++)
		sorted[i] = load_u64(ids + (size_t)(first + i) * sizeof(struct span_id));
	qsort(sorted, cnt, sizeof(*sorted), by_number);
	for (uint32_t i = 1; i < cnt; i++)
		if (sorted[i] == sorted[i - 1])
			return true;
	return false;
}

static void mark_kin(const struct kin *k, enum need_op op, uint8_t *left, uint8_t *out)
{
	switch (op) {
	case NEED_TOPS: mark_tops(k, left, out); break;
	case NEED_CHILD: mark_below(k, left, false, out); break;
	case NEED_BELOW: mark_below(k, left, true, out); break;
	case NEED_PARENT: mark_above(k, left, false, out); break;
	case NEED_ABOVE: mark_above(k, left, true, out); break;
	default: mark_beside(k, left, out); break;
	}
}

/* set becomes what of it stands so to left; which is overwritten. */
static int relate(const struct needing *x, enum need_op op, uint8_t *left, uint8_t *set)
{
	struct block *b = x->b;
	uint32_t *parent = malloc(2 * ((size_t)b->rows + 1) * sizeof(*parent));
	uint64_t *ids = malloc(((size_t)b->rows + 1) * sizeof(*ids));
	uint8_t *kin = malloc((size_t)b->rows + 1);
	int err = parent && ids && kin ? load_ints(b, &b->ints[INTS_PARENT]) : -ENOMEM;

	if (!err && x->doubled)
		err = load_ids(b);
	for (uint32_t t = 0; t < b->traces && !err; t++) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t);
		struct kin k = { parent, parent + b->rows + 1, cnt };

		if (!any_of(set, first, cnt) || (x->doubled && is_doubled(b, first, cnt, ids)))
			continue;
		for (uint32_t i = 0; i < cnt; i++) {
			uint64_t code = ints_at(&b->ints[INTS_PARENT], first + i);

			parent[i] = code < 2 ? cnt : (uint32_t)MIN(code - 2, cnt);
		}
		mark_kin(&k, op, left + first, kin);
		for (uint32_t i = 0; i < cnt; i++)
			set[first + i] &= kin[i];
	}
	free(parent);
	free(ids);
	free(kin);
	return err;
}

/* ---- two sets ---- */

static void combine(const struct needing *x, enum need_op op, const uint8_t *right, uint8_t *out)
{
	const struct block *b = x->b;

	for (uint32_t t = 0; t < b->traces; t++) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t);
		bool keep = true;

		if (op == NEED_EACH)
			keep = any_of(out, first, cnt) && any_of(right, first, cnt);
		if (op == NEED_HAS) {
			keep = false;
			for (uint32_t i = first; i < first + cnt && !keep; i++)
				keep = out[i] & right[i];
		}
		for (uint32_t i = first; i < first + cnt; i++) {
			if (op == NEED_BOTH)
				out[i] &= right[i];
			else
				out[i] = keep && (out[i] | (op != NEED_HAS && right[i]));
		}
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
		err = relate(x, n->op, left, out);
	} else if (!err) {
		combine(x, n->op, out, left);
		memcpy(out, left, b->rows);
	}
out:
	free(left);
	free(rest);
	return err;
}

static int rows_of(const struct needing *x, const struct need *n, const uint8_t *in, uint8_t *out)
{
	struct block *b = x->b;
	uint8_t *scratch;
	int err;

	switch (n->op) {
	case NEED_SPANS: return match_among(b, n->where, x->deadline_ns, in, out);
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
		err = scratch ? relate(x, NEED_TOPS, scratch, out) : -ENOMEM;
		free(scratch);
		return err;
	default: return rows_of_two(x, n, in, out);
	}
}

/* ---- the sieve ---- */

uint32_t sieve_find(const struct sieve *s, uint64_t mark)
{
	uint32_t low = 0, high = s->cnt;

	mark &= s->known;
	if (!high || !mark_set_has(&s->set, mark))
		return s->cnt;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (s->mark[mid] < mark)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->cnt && s->mark[low] == mark ? low : s->cnt;
}

/* Of a trace of the block its place among those in several; s->cnt: it is in one. */
static uint32_t find_trace(const struct sieve *s, const uint8_t *ids, uint32_t t)
{
	struct str id = { (const char *)ids + (size_t)t * sizeof(struct trace_id),
			  sizeof(struct trace_id) };

	return sieve_find(s, trace_long_mark(text_hash(id)));
}

int block_need(struct block *b, const struct sieve *s, bool doubled, uint64_t deadline_ns,
	       uint8_t *mask)
{
	const struct needing x = { b, deadline_ns, doubled };
	uint8_t *in = calloc((size_t)b->rows + 1, 1), *own = malloc((size_t)b->rows + 1);
	const uint8_t *ids = NULL;
	int err = in && own ? load_traces(b) : -ENOMEM;

	if (!err && s->cnt)
		err = load_section(b, b->bytes[BYTES_TRACE_IDS], &ids);
	for (uint32_t t = 0; t < b->traces && !err; t++) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t), at = s->cnt;
		bool asked = any_of(mask, first, cnt);

		if (s->cnt && asked)
			at = find_trace(s, ids, t);
		memset(in + first, asked && at == s->cnt, cnt);
		if (at < s->cnt && !s->passes[at])
			memset(mask + first, 0, cnt);
	}
	if (!err && memchr(in, 1, b->rows))
		err = rows_of(&x, s->need, in, own);
	else if (!err)
		memset(own, 0, b->rows);
	for (uint32_t t = 0; t < b->traces && !err; t++) {
		uint32_t first = b->trace_first[t], cnt = trace_rows(b, t);

		if (in[first] && !any_of(own, first, cnt))
			memset(mask + first, 0, cnt);
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

/* What of the rows satisfies it, noted for their traces. */
static int note_bit(struct block *b, struct sieve *s, const struct need *n, uint64_t deadline_ns,
		    const uint32_t *at, const uint8_t *in, uint8_t *mask)
{
	const struct ints *parent = &b->ints[INTS_PARENT];
	int err = match_among(b, n->where, deadline_ns, in, mask);

	for (uint32_t t = 0; t < b->traces && !err; t++)
		for (uint32_t i = b->trace_first[t]; at[t] < s->cnt && i < b->trace_first[t + 1];
		     i++)
			if (mask[i])
				s->sum[at[t]].bits |= (ints_at(parent, i) ? 1u : 1u << 16 | 1u)
						      << n->bit;
	return err;
}

static int note_bits(struct block *b, struct sieve *s, const struct need *n, uint64_t deadline_ns,
		     const uint32_t *at, const uint8_t *in, uint8_t *mask)
{
	int err = 0;

	if (n->op == NEED_SPANS || n->op == NEED_ROOT)
		return note_bit(b, s, n, deadline_ns, at, in, mask);
	if (n->left)
		err = note_bits(b, s, n->left, deadline_ns, at, in, mask);
	if (!err && n->right)
		err = note_bits(b, s, n->right, deadline_ns, at, in, mask);
	return err;
}

static void note_times(const struct block *b, uint32_t t, struct part_sum *sum)
{
	if (!sum->spans)
		sum->start_ns = UINT64_MAX;
	for (uint32_t i = b->trace_first[t]; i < b->trace_first[t + 1]; i++) {
		sum->start_ns = MIN(sum->start_ns, b->start[i]);
		sum->end_ns = MAX(sum->end_ns, b->start[i] + ints_at(&b->ints[INTS_DURATION], i));
		sum->lasts_ns += (double)ints_at(&b->ints[INTS_DURATION], i);
		sum->bits |= ints_at(&b->ints[INTS_PARENT], i) ? 0 : PART_TOP;
	}
	sum->spans = (uint32_t)MIN((uint64_t)sum->spans + trace_rows(b, t), UINT32_MAX);
}

int block_sum_up(struct block *b, struct sieve *s, uint64_t deadline_ns)
{
	uint8_t *in = malloc((size_t)b->rows + 1), *mask = malloc((size_t)b->rows + 1);
	uint32_t *at = malloc(((size_t)b->traces + 1) * sizeof(*at));
	const uint8_t *ids;
	bool any = false;
	int err = in && mask && at ? load_times(b) : -ENOMEM;

	if (!err)
		err = load_ints(b, &b->ints[INTS_PARENT]);
	if (!err)
		err = load_section(b, b->bytes[BYTES_TRACE_IDS], &ids);
	for (uint32_t t = 0; t < b->traces && !err; t++) {
		at[t] = find_trace(s, ids, t);
		if (at[t] < s->cnt && !s->passes[at[t]])
			at[t] = s->cnt;
		memset(in + b->trace_first[t], at[t] < s->cnt, trace_rows(b, t));
		any |= at[t] < s->cnt;
		if (at[t] < s->cnt)
			note_times(b, t, &s->sum[at[t]]);
	}
	if (!err && any)
		err = note_bits(b, s, s->need, deadline_ns, at, in, mask);
	free(in);
	free(mask);
	free(at);
	return err;
}

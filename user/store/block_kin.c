/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How spans of a block stand to each other, on its columns.
 *
 * Parents are those that INTS_PARENT names. It may name another than who puts the trace together
 * does when two spans have one id; such a trace is let through. So is what is on a circle.
 */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

uint32_t next_trace(const struct block *b, const uint8_t *set, uint32_t t)
{
	uint32_t first = b->trace_first[t];
	const uint8_t *next;

	if (t < b->traces && set[first]) /* mostly a root */
		return t;
	next = memchr(set + first, 1, b->rows - first);
	if (!next)
		return b->traces;
	while (b->trace_first[t + 1] <= (uint32_t)(next - set))
		t++;
	return t;
}

/* One trace in hand, its rows by their place in it. */
struct kin {
	const struct ints *parent;
	uint32_t first, cnt;
	uint32_t *scratch; /* cnt + 1, as the next */
	uint8_t *below;
};

/* cnt: it is not in the block. */
static inline uint32_t parent_of(const struct kin *k, uint32_t i)
{
	uint64_t code = ints_at(k->parent, k->first + i);

	return code < 2 ? k->cnt : (uint32_t)MIN(code - 2, k->cnt);
}

static bool any_parent(const struct kin *k, const uint8_t *set)
{
	for (uint32_t i = 0; i < k->cnt; i++)
		if (set[i] && parent_of(k, i) < k->cnt)
			return true;
	return false;
}

static void keep_child(const struct kin *k, const uint8_t *left, uint8_t *set)
{
	for (uint32_t i = 0; i < k->cnt; i++) {
		uint32_t up = set[i] ? parent_of(k, i) : k->cnt;

		set[i] = up < k->cnt && left[up];
	}
}

/* Whose ancestor is in the set: k->below. */
static void mark_below(const struct kin *k, const uint8_t *set)
{
	enum { UNKNOWN, NO, YES };
	uint32_t *state = k->scratch;

	memset(state, 0, k->cnt * sizeof(*state));
	for (uint32_t i = 0; i < k->cnt; i++) {
		uint32_t at = i, answer = NO;

		while (state[at] == UNKNOWN) {
			uint32_t up = parent_of(k, at);

			state[at] = NO; /* a circle ends here */
			if (up == k->cnt)
				break;
			answer = set[up] ? YES : state[up];
			if (answer != UNKNOWN)
				break;
			at = up;
		}
		if (answer == YES)
			for (uint32_t n = i; state[n] == NO; n = parent_of(k, n)) {
				state[n] = YES;
				if (n == at)
					break;
			}
	}
	for (uint32_t i = 0; i < k->cnt; i++)
		k->below[i] = state[i] == YES;
}

static void keep_below(const struct kin *k, const uint8_t *left, uint8_t *set)
{
	mark_below(k, left);
	for (uint32_t i = 0; i < k->cnt; i++)
		set[i] &= k->below[i];
}

static void keep_above(const struct kin *k, const uint8_t *left, bool far, uint8_t *set)
{
	uint8_t *above = k->below;

	memset(above, 0, k->cnt);
	for (uint32_t i = 0; i < k->cnt; i++)
		for (uint32_t up = left[i] ? parent_of(k, i) : k->cnt; up < k->cnt && !above[up];
		     up = far ? parent_of(k, up) : k->cnt)
			above[up] = 1;
	for (uint32_t i = 0; i < k->cnt; i++)
		set[i] &= above[i];
}

static void keep_beside(const struct kin *k, const uint8_t *left, uint8_t *set)
{
	uint32_t *cnt = k->scratch;

	memset(cnt, 0, (k->cnt + 1) * sizeof(*cnt));
	for (uint32_t i = 0; i < k->cnt; i++)
		if (left[i])
			cnt[parent_of(k, i)]++;
	for (uint32_t i = 0; i < k->cnt; i++) {
		uint32_t up = set[i] ? parent_of(k, i) : k->cnt;

		set[i] = up < k->cnt && cnt[up] > left[i];
	}
}

/* Steps up that are followed from one row; of longer ways all rows are looked at together. */
#define CLIMB_MAX 64u

/* Whether the way up from i ends at a root, as is known of the rows before it. */
static bool climbs(const struct kin *k, uint32_t i, bool *ret_known)
{
	uint32_t at = i;

	for (uint32_t n = 0; n < CLIMB_MAX; n++) {
		uint32_t up = parent_of(k, at);

		if (up == k->cnt || (up == at && at != i))
			return true;
		if (up < i)
			return k->below[up];
		if (up == i)
			return false;
		at = up;
	}
	*ret_known = false;
	return false;
}

/* Without a parent in the trace, or on a circle, which is cut somewhere. */
static void keep_tops(const struct kin *k, uint8_t *roots, uint8_t *set)
{
	bool known = true;

	for (uint32_t i = 0; i < k->cnt; i++) {
		uint32_t up = parent_of(k, i);

		roots[i] = up == k->cnt || up == i;
		k->below[i] = roots[i] || climbs(k, i, &known);
	}
	if (!known)
		mark_below(k, roots);
	for (uint32_t i = 0; i < k->cnt; i++)
		set[i] &= roots[i] || !k->below[i];
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

/* What of the set stands so to left, which tops overwrite. */
static void keep_kin(const struct kin *k, enum need_op op, uint8_t *left, uint8_t *set)
{
	bool up = op == NEED_PARENT || op == NEED_ABOVE;

	/* who is below or beside another has a parent */
	if (op != NEED_TOPS && !any_parent(k, up ? left : set)) {
		memset(set, 0, k->cnt);
		return;
	}
	switch (op) {
	case NEED_TOPS: keep_tops(k, left, set); break;
	case NEED_CHILD: keep_child(k, left, set); break;
	case NEED_BELOW: keep_below(k, left, set); break;
	case NEED_PARENT: keep_above(k, left, false, set); break;
	case NEED_ABOVE: keep_above(k, left, true, set); break;
	default: keep_beside(k, left, set); break;
	}
}

int block_relate(struct block *b, enum need_op op, bool doubled, uint8_t *left, uint8_t *set)
{
	struct kin k = { .parent = &b->ints[INTS_PARENT] };
	uint64_t *ids = NULL;
	int err = load_ints(b, &b->ints[INTS_PARENT]);

	k.scratch = malloc(((size_t)b->rows + 1) * sizeof(*k.scratch));
	k.below = malloc((size_t)b->rows + 1);
	if (doubled)
		ids = malloc(((size_t)b->rows + 1) * sizeof(*ids));
	if (!err && (!k.scratch || !k.below || (doubled && !ids)))
		err = -ENOMEM;
	if (!err && doubled)
		err = load_ids(b);
	for (uint32_t t = err ? b->traces : next_trace(b, set, 0); t < b->traces;
	     t = next_trace(b, set, t + 1)) {
		k.first = b->trace_first[t];
		k.cnt = trace_rows(b, t);
		if (!doubled || !is_doubled(b, k.first, k.cnt, ids))
			keep_kin(&k, op, left + k.first, set + k.first);
	}
	free(k.scratch);
	free(k.below);
	free(ids);
	return err;
}

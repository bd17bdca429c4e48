/* SPDX-License-Identifier: Apache-2.0 */
/* What the filter beside a body tells of whole traces: which may have what is needed. */
#include "store/block_filter.h"

#include <math.h>

/* Is an operation there, or one of a span without parent, that satisfies it? */
static bool root_may(const struct block_index *x, const struct filter_view *f, const struct cond *c,
		     bool top)
{
	struct operations o;
	struct operation op;

	operations_begin(&o, f);
	while (operations_next(&o, &op))
		if ((op.top || !top) && operation_may(x, f, &op, c))
			return true;
	return false;
}

/* The next of the block's traces that are among these, and its place there. */
static bool next_apart(const struct filter_view *f, const struct apart *a, size_t *trace,
		       uint32_t *at)
{
	for (size_t cnt = a->cnt ? f->traces.len / 4 : 0; *trace < cnt; ++*trace) {
		*at = apart_find(a, filter_mark(f, *trace));
		if (*at != APART_NOT)
			return true;
	}
	return false;
}

bool block_has_apart(struct str filter, const struct sieve *s)
{
	struct filter_view f;
	size_t trace = 0;
	uint32_t at = 0;

	if (!filter_parse(filter, &f))
		return true;
	for (; next_apart(&f, s->apart, &trace, &at); trace++)
		if (s->passes[at])
			return true;
	return false;
}

/* Which bits the block's spans may have; << 16: those without a parent. */
static uint32_t bits_may(const struct block_index *x, struct str filter,
			 const struct filter_view *f, const struct need *n)
{
	uint32_t bits = 0;

	if (n->op == NEED_SPANS)
		return (uint32_t)block_may_match(x, filter, n->where) << n->bit;
	if (n->op == NEED_ROOT)
		return ((uint32_t)root_may(x, f, n->where, false) |
			(uint32_t)root_may(x, f, n->where, true) << 16)
		       << n->bit;
	if (n->left)
		bits |= bits_may(x, filter, f, n->left);
	return n->right ? bits | bits_may(x, filter, f, n->right) : bits;
}

static double heaviest_ns(const struct filter_view *f)
{
	return f->old || f->heaviest_ns == UINT64_MAX ? INFINITY : (double)f->heaviest_ns;
}

void block_sum_most(const struct block_index *x, struct str filter, struct sieve *s)
{
	uint64_t end_ns = x->start_max_ns + x->duration_max_ns;
	struct topless topless;
	struct filter_view f;
	uint32_t bits, at = 0;
	size_t trace = 0;
	bool more;

	filter_parse(filter, &f);
	bits = bits_may(x, filter, &f, s->need);
	topless = topless_of(&f);
	more = topless_next(&topless, f.traces.len / 4);
	for (; next_apart(&f, s->apart, &trace, &at); trace++) {
		struct part_sum *sum = &s->sum[at];
		uint32_t spans = f.old ? WHOLE_MANY : (uint8_t)f.spans.p[trace];

		while (more && topless.at < trace)
			more = topless_next(&topless, f.traces.len / 4);
		if (f.old)
			sum->bits |= bits;
		else
			sum->bits |= more && topless.at == trace ? bits & 0xffff : bits | PART_TOP;
		sum->start_ns = sum->spans ? MIN(sum->start_ns, x->start_min_ns) : x->start_min_ns;
		sum->end_ns = MAX(sum->end_ns, end_ns < x->start_max_ns ? UINT64_MAX : end_ns);
		sum->lasts_ns += heaviest_ns(&f);
		spans = spans == WHOLE_MANY ? UINT32_MAX : spans;
		sum->spans = (uint32_t)MIN((uint64_t)sum->spans + spans, UINT32_MAX);
	}
}

/* Is there a trace that is whole here and has no span without parent? */
static bool any_topless(const struct filter_view *f, const struct sieve *s)
{
	struct topless t = topless_of(f);

	while (topless_next(&t, f->traces.len / 4))
		if (apart_find(s->apart, filter_mark(f, (size_t)t.at)) == APART_NOT)
			return true;
	return false;
}

static double most_spans(const struct filter_view *f)
{
	uint8_t most = 0;

	for (size_t i = 0; i < f->spans.len; i++)
		most = MAX(most, (uint8_t)f->spans.p[i]);
	return f->old || most == WHOLE_MANY ? INFINITY : most;
}

static bool need_may(const struct block_index *x, struct str filter, const struct filter_view *f,
		     const struct sieve *s, const struct need *n)
{
	double longest = f->old ? INFINITY : (double)f->longest_ns;

	switch (n->op) {
	case NEED_SPANS: return block_may_match(x, filter, n->where);
	case NEED_TOPS: return true;
	case NEED_ROOT:
		return root_may(x, f, n->where, true) ||
		       (any_topless(f, s) && root_may(x, f, n->where, false));
	case NEED_DURATION: return longest >= n->least;
	case NEED_COUNT: return most_spans(f) >= n->least && need_may(x, filter, f, s, n->left);
	case NEED_SUM: return heaviest_ns(f) >= n->least && need_may(x, filter, f, s, n->left);
	case NEED_ANY:
		return need_may(x, filter, f, s, n->left) || need_may(x, filter, f, s, n->right);
	default: return need_may(x, filter, f, s, n->left) && need_may(x, filter, f, s, n->right);
	}
}

bool block_may_need(const struct block_index *x, struct str filter, const struct sieve *s,
		    bool *ret_doubled)
{
	struct filter_view f;
	bool known = filter_parse(filter, &f);

	*ret_doubled = f.old || f.whole_flags & WHOLE_DOUBLED;
	return !known || need_may(x, filter, &f, s, s->need);
}

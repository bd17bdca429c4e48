/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which traces are in several blocks, from the filters alone, and what their blocks have of them.
 * All others are judged where they are. Compaction may merge blocks between this look and the scan:
 * what was in several then is judged by its sum, wherever it is now.
 */
#include "store/engine.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

/* Traces of blocks, added up; 16 bytes each while they are sorted. */
#define MARKS_MAX (4u << 20)
/* Traces in several blocks; 33 bytes each. */
#define APART_MAX  (1u << 20)
#define MARKS_STEP (64u << 10)

#define DIGIT_BITS 10
#define DIGITS	   4
_Static_assert(DIGIT_BITS *DIGITS == 40, "a mark's bits");

struct marking {
	uint64_t *mark;
	uint32_t cnt, size;
	uint64_t known;
	uint64_t deadline_ns;
};

static int late(uint64_t deadline_ns)
{
	return deadline_ns && clock_mono_ns() >= deadline_ns ? -ETIMEDOUT : 0;
}

static int grow(struct marking *m)
{
	uint32_t size = MAX(2 * m->size, MARKS_STEP);
	uint64_t *more;

	if (m->size - m->cnt >= BLOCK_SPANS_MAX)
		return 0;
	if (size > MARKS_MAX)
		return -E2BIG;
	more = realloc(m->mark, size * sizeof(*more));
	if (!more)
		return -ENOMEM;
	m->mark = more;
	m->size = size;
	return 0;
}

static int mark_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct marking *m = ctx;
	struct filter *f;
	uint32_t cnt;
	int err = late(m->deadline_ns);

	if (!err)
		err = grow(m);
	if (!err)
		err = view_filter(v, row, &f);
	if (err)
		return err;
	if (!block_marks((struct str){ f->data, f->len }, m->mark + m->cnt, &cnt, BLOCK_SPANS_MAX))
		m->known = ~0xffull;
	m->cnt += cnt;
	filter_release(f);
	return 0;
}

/* By digits, the lowest first. */
static int sort_marks(struct marking *m)
{
	uint64_t *from = m->mark, *to = malloc(((size_t)m->cnt + 1) * sizeof(*to)), *spare = to;

	if (!to)
		return -ENOMEM;
	for (uint32_t d = 0; d < DIGITS; d++) {
		uint32_t at[1u << DIGIT_BITS] = { 0 }, sum = 0, shift = d * DIGIT_BITS;

		for (uint32_t i = 0; i < m->cnt; i++)
			at[from[i] >> shift & (ARRAY_LEN(at) - 1)]++;
		for (uint32_t i = 0; i < ARRAY_LEN(at); i++) {
			uint32_t cnt = at[i];

			at[i] = sum;
			sum += cnt;
		}
		for (uint32_t i = 0; i < m->cnt; i++)
			to[at[from[i] >> shift & (ARRAY_LEN(at) - 1)]++] = from[i];
		spare = from;
		from = to;
		to = spare;
	}
	m->mark = from;
	free(to);
	return 0;
}

/* Leaves those that came more than once, each once. */
static void keep_repeated(struct marking *m)
{
	uint32_t kept = 0;

	for (uint32_t i = 1; i < m->cnt; i++)
		if (m->mark[i] == m->mark[i - 1] && (!kept || m->mark[kept - 1] != m->mark[i]))
			m->mark[kept++] = m->mark[i];
	m->cnt = kept;
}

static int find_apart(struct engine *e, struct sieve *s, uint64_t deadline_ns)
{
	struct marking m = { .known = UINT64_MAX, .deadline_ns = deadline_ns };
	uint64_t *fit;
	int err = engine_each(e, (struct time_range){ 0 }, mark_block, &m);

	for (uint32_t i = 0; i < m.cnt; i++)
		m.mark[i] &= m.known;
	if (!err)
		err = sort_marks(&m);
	if (!err)
		keep_repeated(&m);
	if (!err && m.cnt > APART_MAX)
		err = -E2BIG;
	if (err) {
		free(m.mark);
		return err;
	}
	fit = realloc(m.mark, ((size_t)m.cnt + 1) * sizeof(*fit));
	s->mark = fit ? fit : m.mark;
	s->cnt = m.cnt;
	s->known = m.known;
	return 0;
}

/* ---- their sums ----------------------------------------------------------------------------- */

struct summing {
	struct sieve *sieve;
	uint64_t deadline_ns;
};

/* The most that it can be: no block is opened. */
static int bound_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct summing *s = ctx;
	struct block_index x = row_index(row);
	struct filter *f;
	int err = late(s->deadline_ns);

	if (!err)
		err = view_filter(v, row, &f);
	if (err)
		return err;
	block_sum_most(&x, (struct str){ f->data, f->len }, s->sieve);
	filter_release(f);
	return 0;
}

static int sum_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct summing *s = ctx;
	struct filter *f;
	struct body *b;
	bool has;
	int err = late(s->deadline_ns);

	if (!err)
		err = view_filter(v, row, &f);
	if (err)
		return err;
	has = block_has_apart((struct str){ f->data, f->len }, s->sieve);
	filter_release(f);
	if (!has)
		return 0;
	err = view_borrow(v, row, &b);
	if (err)
		return err;
	err = block_sum_up(b->block, s->sieve, s->deadline_ns);
	view_give_back(v, b, false);
	return err;
}

/* Lets through what its sum allows; true: something. */
static bool judge(struct sieve *s)
{
	s->any = false;
	for (uint32_t i = 0; i < s->cnt; i++) {
		s->passes[i] = sum_may_need(&s->sum[i], s->need);
		s->any = s->any || s->passes[i];
	}
	return s->any;
}

static int judge_apart(struct engine *e, struct sieve *s, uint64_t deadline_ns)
{
	struct summing summing = { s, deadline_ns };
	const struct time_range every = { 0 };
	int err;

	s->passes = calloc((size_t)s->cnt + 1, sizeof(*s->passes));
	s->sum = calloc((size_t)s->cnt + 1, sizeof(*s->sum));
	if (!s->passes || !s->sum)
		return -ENOMEM;
	err = s->cnt ? engine_each(e, every, bound_block, &summing) : 0;
	if (!err && judge(s)) {
		memset(s->sum, 0, s->cnt * sizeof(*s->sum));
		err = engine_each(e, every, sum_block, &summing);
		judge(s);
	}
	free(s->sum);
	s->sum = NULL;
	return err;
}

int engine_sieve_new(struct store *store, const struct need *need, uint64_t deadline_ns,
		     struct sieve **ret_sieve)
{
	struct engine *e = (struct engine *)store;
	struct sieve *s = calloc(1, sizeof(*s));
	int err = s ? 0 : -ENOMEM;

	if (!err) {
		s->need = need;
		err = find_apart(e, s, deadline_ns);
	}
	if (!err)
		err = judge_apart(e, s, deadline_ns);
	if (err == -E2BIG)
		__atomic_add_fetch(&e->unsifted, 1, __ATOMIC_RELAXED);
	if (err)
		sieve_free(s);
	else
		*ret_sieve = s;
	return err;
}

bool sieve_may_have(const struct sieve *s, const struct block_index *x, struct str filter,
		    bool *ret_doubled)
{
	return block_may_need(x, filter, s, ret_doubled) || (s->any && block_has_apart(filter, s));
}

void sieve_free(struct sieve *s)
{
	if (!s)
		return;
	free(s->mark);
	free(s->passes);
	free(s->sum);
	free(s);
}

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

/* Traces in several blocks; 41 bytes each. */
#define APART_MAX (1u << 20)
/* Times that a block has a trace that another before it may have: 8 bytes each. */
#define MARKS_MAX  (4u << 20)
#define MARKS_STEP (64u << 10)

/* Bits of a set for each mark in it, and their least and largest number. */
#define BITS_EACH 32u
#define BITS_MIN  (1u << 16)
#define BITS_MAX  (1u << 27)

/*
 * Marks that came before, or share their bit with one that did, are few; so all are looked at
 * twice: to find these, and to find what else is one of them.
 */
struct marking {
	struct mark_set seen;
	bool again; /* the second look: 'seen' holds what the first found */
	uint64_t *mark;
	uint32_t cnt, size;
	uint64_t known;
	uint64_t deadline_ns;
	uint64_t block[BLOCK_SPANS_MAX]; /* marks of the one in hand */
};

static int late(uint64_t deadline_ns)
{
	return deadline_ns && clock_mono_ns() >= deadline_ns ? -ETIMEDOUT : 0;
}

static int set_init(struct mark_set *m, uint64_t marks)
{
	uint64_t bits = BITS_MIN;

	while (bits < marks * BITS_EACH && bits < BITS_MAX)
		bits *= 2;
	m->mask = bits - 1;
	m->word = calloc(bits / 64, sizeof(*m->word));
	return m->word ? 0 : -ENOMEM;
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
	if (!block_marks((struct str){ f->data, f->len }, m->block, &cnt, BLOCK_SPANS_MAX))
		m->known = ~0xffull;
	filter_release(f);
	for (uint32_t i = 0; i < cnt; i++) {
		if (mark_set_has(&m->seen, m->block[i]))
			m->mark[m->cnt++] = m->block[i];
		else if (!m->again)
			mark_set_add(&m->seen, m->block[i]);
	}
	return 0;
}

static int count_traces(void *ctx, struct view *v, const struct block_row *row)
{
	*(uint64_t *)ctx += row->traces;
	return 0;
}

static int by_mark(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Leaves those that came more than once, each once, in order. */
static void keep_repeated(struct marking *m)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < m->cnt; i++)
		m->mark[i] &= m->known;
	if (m->cnt)
		qsort(m->mark, m->cnt, sizeof(*m->mark), by_mark);
	for (uint32_t i = 1; i < m->cnt; i++)
		if (m->mark[i] == m->mark[i - 1] && (!kept || m->mark[kept - 1] != m->mark[i]))
			m->mark[kept++] = m->mark[i];
	m->cnt = kept;
}

/* The second look, at what the first found. */
static int mark_again(struct engine *e, struct marking *m)
{
	struct mark_set found = { 0 };
	int err = set_init(&found, m->cnt);

	for (uint32_t i = 0; i < m->cnt && !err; i++)
		mark_set_add(&found, m->mark[i]);
	free(m->seen.word);
	m->seen = found;
	m->again = true;
	m->cnt = 0;
	return err ? err : engine_each(e, (struct time_range){ 0 }, mark_block, m);
}

static int find_apart(struct engine *e, struct sieve *s, uint64_t deadline_ns)
{
	const struct time_range every = { 0 };
	struct marking *m = calloc(1, sizeof(*m));
	uint64_t traces = 0;
	int err = m ? engine_each(e, every, count_traces, &traces) : -ENOMEM;

	if (err) {
		free(m);
		return err;
	}
	m->known = UINT64_MAX;
	m->deadline_ns = deadline_ns;
	err = set_init(&m->seen, traces);
	if (!err)
		err = engine_each(e, every, mark_block, m);
	if (!err && m->cnt)
		err = mark_again(e, m);
	if (!err)
		keep_repeated(m);
	if (!err && m->cnt > APART_MAX)
		err = -E2BIG;
	if (!err) {
		s->mark = realloc(m->mark, ((size_t)m->cnt + 1) * sizeof(*m->mark));
		s->mark = s->mark ? s->mark : m->mark;
		s->cnt = m->cnt;
		s->known = m->known;
		m->mark = NULL;
		err = set_init(&s->set, s->cnt);
	}
	for (uint32_t i = 0; i < s->cnt && !err; i++)
		mark_set_add(&s->set, s->mark[i]);
	free(m->seen.word);
	free(m->mark);
	free(m);
	return err;
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
	free(s->set.word);
	free(s->passes);
	free(s->sum);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces in several blocks, judged by what their blocks have of them together. All others are
 * judged where they are. Compaction may merge blocks before the scan: what was in several is judged
 * by its sum, wherever it is then.
 */
#include "store/engine.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

struct summing {
	struct sieve *sieve;
	uint64_t deadline_ns;
};

static int late(uint64_t deadline_ns)
{
	return deadline_ns && clock_mono_ns() >= deadline_ns ? -ETIMEDOUT : 0;
}

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

/* Of those that pass, lets through what their sums allow. */
static void judge(struct sieve *s)
{
	s->any = false;
	for (uint32_t i = 0; i < s->apart->cnt; i++) {
		s->passes[i] = s->passes[i] && sum_may_need(&s->sum[i], s->need);
		s->any = s->any || s->passes[i];
	}
}

/* By what the blocks visited say of them. */
static int judge_apart(struct engine *e, struct sieve *s, uint64_t deadline_ns,
		       int (*visit)(void *ctx, struct view *v, const struct block_row *row))
{
	struct summing summing = { s, deadline_ns };
	int err;

	s->sum = calloc((size_t)s->apart->cnt + 1, sizeof(*s->sum));
	if (!s->sum)
		return -ENOMEM;
	err = engine_each(e, (struct time_range){ 0 }, visit, &summing);
	if (!err)
		judge(s);
	free(s->sum);
	s->sum = NULL;
	return err;
}

int engine_sieve_new(struct store *store, const struct need *need, uint64_t deadline_ns,
		     struct sieve **ret_sieve)
{
	struct engine *e = (struct engine *)store;
	struct sieve *s = calloc(1, sizeof(*s));
	int err = s ? engine_apart(e, deadline_ns, &s->apart) : -ENOMEM;

	if (!err) {
		s->need = need;
		s->any = s->apart->cnt;
		s->passes = malloc((size_t)s->apart->cnt + 1);
		err = s->passes ? 0 : -ENOMEM;
	}
	if (!err) {
		memset(s->passes, true, s->apart->cnt);
		err = s->any ? judge_apart(e, s, deadline_ns, bound_block) : 0;
	}
	if (err == -E2BIG)
		__atomic_add_fetch(&e->unsifted, 1, __ATOMIC_RELAXED);
	if (err)
		sieve_free(s);
	else
		*ret_sieve = s;
	return err;
}

int engine_sieve_narrow(struct store *s, struct sieve *sieve, uint64_t deadline_ns)
{
	return sieve->any ? judge_apart((struct engine *)s, sieve, deadline_ns, sum_block) : 0;
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
	apart_release(s->apart);
	free(s->passes);
	free(s);
}

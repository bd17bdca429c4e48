/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces in several blocks, judged by what their blocks have of them together: first by the most
 * that their filters allow, then put together. All others are judged where they are. Compaction may
 * merge blocks before the scan: the verdict on what was in several holds wherever it is then.
 */
#include "store/engine.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

/* Spans of traces that are not complete yet, 40 bytes each. */
#define STITCH_ROWS (640u << 10)

struct visiting {
	struct sieve *sieve;
	uint64_t deadline_ns;
	uint32_t passed; /* blocks */
	uint32_t spans;	 /* that may be looked at */
};

static int late(uint64_t deadline_ns)
{
	return deadline_ns && clock_mono_ns() >= deadline_ns ? -ETIMEDOUT : 0;
}

/* The most that it can be: no block is opened. */
static int bound_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct visiting *s = ctx;
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

/* Does it need what filters know of traces? Of spans they know it in the scan, too. */
static bool has_bounds(const struct need *n)
{
	if (n->op == NEED_ROOT || n->op == NEED_DURATION || n->op == NEED_COUNT ||
	    n->op == NEED_SUM)
		return true;
	return (n->left && has_bounds(n->left)) || (n->right && has_bounds(n->right));
}

static int bound_all(struct engine *e, struct sieve *s, uint64_t deadline_ns)
{
	struct visiting visiting = { .sieve = s, .deadline_ns = deadline_ns };
	int err = -ENOMEM;

	s->sum = calloc((size_t)s->apart->cnt + 1, sizeof(*s->sum));
	if (s->sum)
		err = engine_each(e, (struct time_range){ 0 }, bound_block, &visiting);
	for (uint32_t i = 0; i < s->apart->cnt && !err; i++)
		s->passes[i] = sum_may_need(&s->sum[i], s->need);
	free(s->sum);
	s->sum = NULL;
	return err;
}

static void note_any(struct sieve *s)
{
	s->any = false;
	for (uint32_t i = 0; i < s->apart->cnt && !s->any; i++)
		s->any = s->passes[i];
}

int engine_sieve_new(struct store *store, const struct need *need, uint64_t deadline_ns,
		     struct sieve **ret_sieve)
{
	struct engine *e = (struct engine *)store;
	struct sieve *s = calloc(1, sizeof(*s));
	int err = s ? engine_apart(e, deadline_ns, &s->apart) : -ENOMEM;

	if (!err) {
		s->need = need;
		s->passes = malloc((size_t)s->apart->cnt + 1);
		err = s->passes ? 0 : -ENOMEM;
	}
	if (!err) {
		memset(s->passes, true, s->apart->cnt);
		err = s->apart->cnt && has_bounds(need) ? bound_all(e, s, deadline_ns) : 0;
	}
	if (err == -E2BIG)
		__atomic_add_fetch(&e->unsifted, 1, __ATOMIC_RELAXED);
	if (err) {
		sieve_free(s);
		return err;
	}
	note_any(s);
	*ret_sieve = s;
	return 0;
}

/* ---- put together, block by block ----------------------------------------------------------- */

/* Under the tops alone: what is merged or comes later would make parts of another number. A block
 * that is passed over because others have gone leaves its traces incomplete: they pass. */
static int stitch_some(void *ctx, struct view *v, const struct block_row *row)
{
	struct visiting *x = ctx;
	struct sieve *s = x->sieve;
	struct filter *f;
	struct body *b;
	bool has;
	int err = late(x->deadline_ns);

	if (err || row->id > apart_top(s->apart, v->part->seq) || x->passed++ < s->blocks)
		return err;
	if (!x->spans)
		return 1;
	s->blocks++;
	x->spans -= MIN(x->spans, row->spans);
	err = view_filter(v, row, &f);
	if (err)
		return err;
	has = block_has_apart((struct str){ f->data, f->len }, s);
	filter_release(f);
	if (!has)
		return 0;
	err = view_borrow(v, row, &b);
	if (err)
		return err;
	err = block_stitch(b->block, s->stitch, x->deadline_ns);
	view_give_back(v, b, false);
	return err ? err : stitch_judge(s->stitch, false);
}

int engine_sieve_narrow(struct store *s, struct sieve *sieve, uint32_t spans, uint64_t deadline_ns)
{
	struct visiting visiting = { .sieve = sieve, .deadline_ns = deadline_ns, .spans = spans };
	int err;

	if (!sieve->any)
		return 0;
	if (!sieve->stitch)
		sieve->stitch = stitch_new(sieve->need, sieve->apart, sieve->passes, STITCH_ROWS);
	if (!sieve->stitch)
		return -ENOMEM;
	err = engine_each((struct engine *)s, (struct time_range){ 0 }, stitch_some, &visiting);
	if (err >= 0 && stitch_judge(sieve->stitch, true))
		err = -ENOMEM;
	note_any(sieve);
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
	apart_release(s->apart);
	stitch_free(s->stitch);
	free(s->passes);
	free(s);
}

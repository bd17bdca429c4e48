/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which traces are in several blocks, from the filters alone. Looking at all of them takes far
 * longer than most searches do, so what was found is kept. Of blocks that come later all traces are
 * taken to be in several, until these are too many and all blocks are looked at again.
 */
#include "store/engine.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

/* Traces in several blocks; 21 bytes each, and up to 41 in a sieve. */
#define APART_MAX (1u << 20)
/* Times that a block has a trace that another before it may have: 8 bytes each, twice. */
#define MARKS_MAX  (4u << 20)
#define MARKS_STEP (64u << 10)
/* Traces of later blocks: so many, or this part of the others. */
#define LATER_MAX  (16u << 10)
#define LATER_PART 8u

#define MARK_BITS 40u

/* Up to which block a partition was looked at. */
struct part_top {
	uint64_t seq, top;
};

struct kept_apart {
	struct part_top *part;
	size_t cnt;
	uint32_t later; /* of the traces: not looked at with all others */
	struct apart apart;
};

static struct kept_apart *kept_of(struct apart *a)
{
	return (struct kept_apart *)((char *)a - offsetof(struct kept_apart, apart));
}

void apart_release(struct apart *a)
{
	if (!a || __atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL))
		return;
	apart_end(a);
	free(kept_of(a)->part);
	free(kept_of(a));
}

/* ---- looking at filters --------------------------------------------------------------------- */

/*
 * Marks that came before, or share their bit with one that did, are few; so all are looked at
 * twice: to find these, and to find what else is one of them. Then once more, to count them.
 */
struct marking {
	struct engine *engine;
	uint64_t deadline_ns;
	struct mark_set seen;
	bool again;		      /* the second look: 'seen' holds what the first found */
	const struct kept_apart *but; /* not its blocks, and all marks of the others */
	uint64_t *mark;
	uint32_t cnt, size;
	uint64_t known;
	const struct kept_apart *now; /* the third look: up to its tops */
	struct apart *apart;
	uint64_t block[BLOCK_SPANS_MAX]; /* marks of the one in hand */
};

static int look(struct marking *m,
		int (*visit)(void *ctx, struct view *v, const struct block_row *row))
{
	return engine_each(m->engine, (struct time_range){ 0 }, visit, m);
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

static int get_filter(const struct marking *m, struct view *v, const struct block_row *row,
		      struct filter **ret_filter)
{
	if (m->deadline_ns && clock_mono_ns() >= m->deadline_ns)
		return -ETIMEDOUT;
	return view_filter(v, row, ret_filter);
}

static uint64_t top_of(const struct kept_apart *k, uint64_t seq)
{
	for (size_t i = 0; i < k->cnt; i++)
		if (k->part[i].seq == seq)
			return k->part[i].top;
	return 0;
}

uint64_t apart_top(struct apart *a, uint64_t seq)
{
	return top_of(kept_of(a), seq);
}

static int mark_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct marking *m = ctx;
	struct filter *f;
	uint32_t cnt;
	int err;

	if (m->but && row->id <= top_of(m->but, v->part->seq))
		return 0;
	err = grow(m);
	if (!err)
		err = get_filter(m, v, row, &f);
	if (err)
		return err;
	if (!block_marks((struct str){ f->data, f->len }, m->block, &cnt, BLOCK_SPANS_MAX))
		m->known = ~0xffull;
	filter_release(f);
	for (uint32_t i = 0; i < cnt; i++) {
		if (m->but || mark_set_has(&m->seen, m->block[i]))
			m->mark[m->cnt++] = m->block[i];
		else if (!m->again)
			mark_set_add(&m->seen, m->block[i]);
	}
	return 0;
}

/* In order; leaves those that came so often, each once. */
static int keep_repeated(struct marking *m, uint32_t times)
{
	uint64_t *scratch = malloc(((size_t)m->cnt + 1) * sizeof(*scratch));
	uint32_t kept = 0;

	if (!scratch)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->cnt; i++)
		m->mark[i] &= m->known;
	sort_numbers(m->mark, scratch, m->cnt, 0, MARK_BITS);
	free(scratch);
	for (uint32_t i = 0, same = 0; i < m->cnt; i++) {
		same = i && m->mark[i] == m->mark[i - 1] ? same + 1 : 1;
		if (same == times)
			m->mark[kept++] = m->mark[i];
	}
	m->cnt = kept;
	return kept > APART_MAX ? -E2BIG : 0;
}

/* The second look, at what the first found. */
static int mark_again(struct marking *m)
{
	struct mark_set found = { 0 };
	int err = mark_set_init(&found, m->cnt);

	for (uint32_t i = 0; i < m->cnt && !err; i++)
		mark_set_add(&found, m->mark[i]);
	free(m->seen.word);
	m->seen = found;
	m->again = true;
	m->cnt = 0;
	return err ? err : look(m, mark_block);
}

static int find_marks(struct marking *m, uint64_t traces)
{
	int err = mark_set_init(&m->seen, traces);

	if (!err)
		err = look(m, mark_block);
	if (!err && m->cnt)
		err = mark_again(m);
	return err ? err : keep_repeated(m, 2);
}

static int note_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct marking *m = ctx;
	struct filter *f;
	int err;

	if (row->id > top_of(m->now, v->part->seq))
		return 0;
	err = get_filter(m, v, row, &f);
	if (err)
		return err;
	apart_note(m->apart, (struct str){ f->data, f->len });
	filter_release(f);
	return 0;
}

/* ---- what is kept --------------------------------------------------------------------------- */

/* The marks in order, those of 'also' among them. */
static void fill_marks(struct apart *a, const struct marking *m, const struct apart *also)
{
	uint32_t i = 0, k = 0, cnt = 0;

	while (i < m->cnt || (also && k < also->cnt)) {
		bool own = i < m->cnt, other = also && k < also->cnt;
		uint64_t next = own ? m->mark[i] : UINT64_MAX;

		if (other && (also->mark[k] & a->known) < next)
			next = also->mark[k] & a->known;
		while (i < m->cnt && m->mark[i] == next)
			i++;
		while (also && k < also->cnt && (also->mark[k] & a->known) == next)
			k++;
		a->mark[cnt++] = next;
	}
	a->cnt = cnt;
}

/* Of the marks that were found, and those of 'also'. */
static int apart_new(struct marking *m, struct apart *also, struct kept_apart *k)
{
	struct apart *a = &k->apart;
	uint32_t cnt = m->cnt + (also ? also->cnt : 0);
	int err;

	if (cnt > APART_MAX)
		return also ? -EAGAIN : -E2BIG;
	err = apart_begin(a, m->known, cnt);
	a->refs = 1;
	if (err)
		return err;
	fill_marks(a, m, also);
	apart_ready(a);
	a->parts = calloc((size_t)cnt + 1, sizeof(*a->parts));
	m->apart = a;
	m->now = k;
	if (!a->parts)
		return -ENOMEM;
	return a->cnt ? look(m, note_block) : 0;
}

/* What 'before' has and the blocks since, -EAGAIN: these have too much; or without it all. */
static int find_apart(struct engine *e, struct apart *before, uint64_t traces, uint64_t deadline_ns,
		      struct kept_apart *k)
{
	struct marking *m = calloc(1, sizeof(*m));
	int err = -ENOMEM;

	if (!m)
		return err;
	m->engine = e;
	m->deadline_ns = deadline_ns;
	m->known = before ? before->known : UINT64_MAX;
	if (before) {
		m->but = kept_of(before);
		err = look(m, mark_block);
		if (!err)
			err = keep_repeated(m, 1);
		k->later = m->but->later + m->cnt;
		if (err == -E2BIG || (!err && k->later > MAX(LATER_MAX, before->cnt / LATER_PART)))
			err = -EAGAIN;
	} else {
		k->later = 0;
		err = find_marks(m, traces);
	}
	if (!err)
		err = apart_new(m, before, k);
	free(m->seen.word);
	free(m->mark);
	free(m);
	return err;
}

/* What there is now. */
struct state {
	struct kept_apart *now;
	const struct kept_apart *before; /* or NULL */
	uint64_t traces;
	bool later; /* there are blocks after 'before' */
};

static int add_state(void *ctx, struct view *v)
{
	struct state *s = ctx;
	struct kept_apart *k = s->now;
	struct part_top *more = realloc(k->part, (k->cnt + 1) * sizeof(*more));
	uint64_t top = s->before ? top_of(s->before, v->part->seq) : 0;

	if (!more)
		return -ENOMEM;
	k->part = more;
	k->part[k->cnt++] = (struct part_top){ v->part->seq, v->list->top };
	for (uint32_t i = 0; i < v->list->cnt; i++) {
		s->traces += v->list->row[i].traces;
		s->later |= v->list->row[i].id > top;
	}
	return 0;
}

static struct apart *get_kept(struct engine *e)
{
	struct apart *a;

	pthread_mutex_lock(&e->apart_lock);
	a = e->apart;
	if (a)
		__atomic_add_fetch(&a->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&e->apart_lock);
	return a;
}

static void keep(struct engine *e, struct apart *a)
{
	struct apart *before;

	__atomic_add_fetch(&a->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&e->apart_lock);
	before = e->apart;
	e->apart = a;
	pthread_mutex_unlock(&e->apart_lock);
	apart_release(before);
}

int engine_apart(struct engine *e, uint64_t deadline_ns, struct apart **ret_apart)
{
	struct apart *before = get_kept(e);
	struct state s = { .now = calloc(1, sizeof(*s.now)),
			   .before = before ? kept_of(before) : NULL };
	int err = -ENOMEM;

	if (!s.now)
		goto out;
	s.now->apart.refs = 1;
	/* blocks that come after this look are in the next too, and then again */
	err = engine_views(e, add_state, &s);
	if (!err && before && !s.later) {
		*ret_apart = before;
		before = NULL;
		goto out;
	}
	if (!err)
		err = before ? find_apart(e, before, 0, deadline_ns, s.now) : -EAGAIN;
	if (err == -EAGAIN)
		err = find_apart(e, NULL, s.traces, deadline_ns, s.now);
	if (!err) {
		*ret_apart = &s.now->apart;
		s.now = NULL;
		keep(e, *ret_apart);
	}
out:
	apart_release(before);
	apart_release(s.now ? &s.now->apart : NULL);
	return err;
}

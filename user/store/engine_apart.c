/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which traces are in several blocks, from the filters alone. Looking at all of them takes far
 * longer than most searches do, so that what was found is kept until the store changes.
 */
#include "store/engine.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

/* Traces in several blocks; 14 bytes each, and 27 in a sieve. */
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
	int err = m->deadline_ns && clock_mono_ns() >= m->deadline_ns ? -ETIMEDOUT : grow(m);

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

static int find_marks(struct engine *e, struct marking *m, uint64_t traces)
{
	int err = set_init(&m->seen, traces);

	m->known = UINT64_MAX;
	if (!err)
		err = engine_each(e, (struct time_range){ 0 }, mark_block, m);
	if (!err && m->cnt)
		err = mark_again(e, m);
	if (!err)
		keep_repeated(m);
	return !err && m->cnt > APART_MAX ? -E2BIG : err;
}

/* Takes the marks over. */
static int apart_new(struct marking *m, uint64_t state, struct apart **ret_apart)
{
	struct apart *a = calloc(1, sizeof(*a));
	uint64_t *less;
	int err = a ? set_init(&a->set, m->cnt) : -ENOMEM;

	if (err) {
		free(a);
		return err;
	}
	less = realloc(m->mark, ((size_t)m->cnt + 1) * sizeof(*less));
	a->mark = less ? less : m->mark;
	m->mark = NULL;
	a->cnt = m->cnt;
	a->refs = 1;
	a->state = state;
	a->known = m->known;
	for (uint32_t i = 0; i < a->cnt; i++)
		mark_set_add(&a->set, a->mark[i]);
	*ret_apart = a;
	return 0;
}

static int find_apart(struct engine *e, uint64_t state, uint64_t traces, uint64_t deadline_ns,
		      struct apart **ret_apart)
{
	struct marking *m = calloc(1, sizeof(*m));
	int err = -ENOMEM;

	if (m) {
		m->deadline_ns = deadline_ns;
		err = find_marks(e, m, traces);
		if (!err)
			err = apart_new(m, state, ret_apart);
		free(m->seen.word);
		free(m->mark);
		free(m);
	}
	return err;
}

/* ---- kept until there is another state ------------------------------------------------------ */

struct state {
	uint64_t hash; /* of the blocks that can be read, which never change */
	uint64_t traces;
};

static int add_to_state(void *ctx, struct view *v, const struct block_row *row)
{
	struct state *s = ctx;
	uint64_t next[] = { s->hash, v->part->seq, row->id };

	s->hash = XXH3_64bits(next, sizeof(next));
	s->traces += row->traces;
	return 0;
}

static struct apart *kept_apart(struct engine *e, uint64_t state)
{
	struct apart *a;

	pthread_mutex_lock(&e->apart_lock);
	a = e->apart && e->apart->state == state ? e->apart : NULL;
	if (a)
		__atomic_add_fetch(&a->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&e->apart_lock);
	return a;
}

static void keep_apart(struct engine *e, struct apart *a)
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
	struct state s = { 0 };
	int err = engine_each(e, (struct time_range){ 0 }, add_to_state, &s);

	if (err)
		return err;
	*ret_apart = kept_apart(e, s.hash);
	if (*ret_apart)
		return 0;
	/* Blocks may come between this look and the next: what is kept under the hash of a state
	 * is found by searches of that state alone, and it never comes again. */
	err = find_apart(e, s.hash, s.traces, deadline_ns, ret_apart);
	if (!err)
		keep_apart(e, *ret_apart);
	return err;
}

void apart_release(struct apart *a)
{
	if (!a || __atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(a->mark);
	free(a->set.word);
	free(a);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans. A scan that has looked into some blocks in vain gets a helper: two threads then take the
 * blocks of a partition in turn, each with a connection of its own to the same state of it. Spans
 * are handed out in the order of the blocks, by one thread at a time.
 */
#include "store/engine.h"

#include "core/clock.h"

#include <errno.h>
#include <unistd.h>

/* Blocks looked into in vain before there is help, which takes as long as one of them. */
#define HELP_AFTER 8u

struct team {
	const struct scan *q;
	bool (*visit)(void *ctx, const struct span *sp);
	void *ctx;
	struct engine *engine;
	struct view *view;  /* of who asked */
	struct view theirs; /* of the helper */
	pthread_t thread;
	bool helped;
	pthread_mutex_t lock; /* of what follows, and of visiting */
	pthread_cond_t turn;
	uint32_t next;	/* block */
	uint32_t at[2]; /* blocks in hand; UINT32_MAX: none */
	uint32_t vain;
	int err;
};

static bool visit_span(void *ctx, const struct span *sp)
{
	struct team *t = ctx;

	t->vain = 0;
	return t->visit(t->ctx, sp);
}

/* Whether the block may have spans that are asked for, of traces that are. */
static int scan_may(struct view *v, const struct block_row *row, const struct scan *q,
		    bool *ret_doubled, bool *ret_may)
{
	struct block_index x = row_index(row);
	struct filter *f;
	int err = row_may_match(v, row, q->where, ret_may);

	*ret_doubled = true;
	if (err || !*ret_may || !q->sieve)
		return err;
	err = view_filter(v, row, &f);
	if (err)
		return err;
	*ret_may = sieve_may_have(q->sieve, &x, (struct str){ f->data, f->len }, ret_doubled);
	filter_release(f);
	return 0;
}

/* Does the block lie in the range with all of its spans? */
static bool row_within(const struct block_row *row, struct time_range r)
{
	return row->start_min_ns >= r.from_ns && (!r.to_ns || row->start_max_ns < r.to_ns);
}

/* The body stays open where something was found. */
static int find_rows(struct view *v, const struct block_row *row, const struct scan *q,
		     struct body **ret_body, struct found_rows *ret)
{
	bool may = false, doubled;
	int err;

	if (q->deadline_ns && clock_mono_ns() >= q->deadline_ns)
		return -ETIMEDOUT;
	err = scan_may(v, row, q, &doubled, &may);
	if (err || !may)
		return err;
	err = view_borrow(v, row, ret_body);
	if (err)
		return err;
	err = block_find((*ret_body)->block, q, doubled, ret);
	if (err || !ret->cnt) {
		view_give_back(v, *ret_body, false);
		found_fini(ret);
	}
	return err ? err : !ret->cnt;
}

/* Under the lock, as the next two. NULL: there are no more. */
static const struct block_row *next_block(struct team *t, int lane, uint64_t *ret_floor_ns)
{
	const struct block_list *list = t->view->list;

	*ret_floor_ns = t->q->floor_ns ? *t->q->floor_ns : 0;
	t->at[lane] = UINT32_MAX;
	pthread_cond_broadcast(&t->turn);
	while (t->next < list->cnt && !t->err) {
		const struct block_row *row = &list->row[t->next++];

		if (!row_touches(row, t->q->range) || part_is_bad(t->view->part, row->id) ||
		    row->start_max_ns < *ret_floor_ns)
			continue;
		t->at[lane] = t->next - 1;
		return row;
	}
	return NULL;
}

/* When nobody has an earlier block in hand. */
static int visit_rows(struct team *t, int lane, struct view *v, struct body *b,
		      struct found_rows *found)
{
	int err = 0;

	while (t->at[!lane] < t->at[lane] && !t->err)
		pthread_cond_wait(&t->turn, &t->lock);
	if (!t->err)
		err = block_visit(b->block, t->q, found, visit_span, t);
	view_give_back(v, b, err >= 0);
	found_fini(found);
	return err;
}

static void work(struct team *t, int lane, struct view *v);

static void *help(void *ctx)
{
	struct team *t = ctx;

	pthread_mutex_lock(&t->lock);
	work(t, 1, &t->theirs);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* A second view of the same state, and a thread. Without them it goes on alone. */
static void get_help(struct team *t)
{
	uint32_t *busy = &t->engine->helpers;
	long spare = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	t->vain = 0; /* else it is tried again later */
	if (__atomic_add_fetch(busy, 1, __ATOMIC_RELAXED) <= spare &&
	    !view_open(t->view->part, &t->theirs)) {
		t->helped = t->theirs.list->top == t->view->list->top &&
			    !pthread_create(&t->thread, NULL, help, t);
		if (!t->helped)
			view_close(&t->theirs);
	}
	if (!t->helped)
		__atomic_sub_fetch(busy, 1, __ATOMIC_RELAXED);
}

static void work(struct team *t, int lane, struct view *v)
{
	const struct block_row *row;
	uint64_t floor_ns;

	while ((row = next_block(t, lane, &floor_ns))) {
		struct scan q = *t->q;
		struct found_rows found = { 0 };
		struct body *b;
		int err;

		q.floor_ns = &floor_ns; /* the visitor's may change meanwhile */
		if (row_within(row, q.range))
			q.range = (struct time_range){ 0 };
		pthread_mutex_unlock(&t->lock);
		err = find_rows(v, row, &q, &b, &found);
		pthread_mutex_lock(&t->lock);
		t->vain += err == 1;
		if (err == 1)
			err = 0;
		else if (!err && found.cnt)
			err = visit_rows(t, lane, v, b, &found);
		if (err == -EBADMSG || err == -EIO) {
			part_note_bad(v->part, row->id, err);
			err = 0;
		}
		if (!t->err)
			t->err = err;
		if (t->vain >= HELP_AFTER && !lane && !t->helped)
			get_help(t);
	}
}

static int scan_view(void *ctx, struct view *v)
{
	struct team *t = ctx;

	t->view = v;
	t->next = 0;
	t->at[0] = t->at[1] = UINT32_MAX;
	t->helped = false;
	t->vain = 0;
	pthread_mutex_lock(&t->lock);
	work(t, 0, v);
	pthread_mutex_unlock(&t->lock);
	if (t->helped) {
		pthread_join(t->thread, NULL);
		view_close(&t->theirs);
		__atomic_sub_fetch(&t->engine->helpers, 1, __ATOMIC_RELAXED);
	}
	return t->err;
}

int engine_scan(struct store *s, const struct scan *q,
		bool (*visit)(void *ctx, const struct span *sp), void *ctx)
{
	struct team t = { .q = q,
			  .visit = visit,
			  .ctx = ctx,
			  .engine = (struct engine *)s,
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .turn = PTHREAD_COND_INITIALIZER };

	return MIN(engine_views(t.engine, scan_view, &t), 0);
}

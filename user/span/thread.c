/* SPDX-License-Identifier: Apache-2.0 */
/* The books of threads: which requests are open on each, runnable or parked. See context.h. */
#include "span/internal.h"

#include <stdlib.h>

#define HABIT_SHARE 64 /* more than one in so many is no slip */
#define MIXES_SHARE 16 /* a stray that comes in the turn of another's read is rarer than this */
#define AGAIN_FEW   8  /* calls sent at once that may yet be chance */
#define HABIT_FADE  65536

struct thread {
	uint32_t tid, tgid;
	uint32_t next_seq;
	bool seq_known;
	uint64_t new_ns;	       /* first met then, and seen from its beginning; 0: not */
	uint64_t taint_ns;	       /* until then the books may miss something */
	struct exchange *list[PLACES]; /* by arrival there */
	uint32_t cnt[PLACES];
	bool serves; /* has read a request */
	/* requests sent; of these out of order, with none open, for one that waits already */
	uint32_t sent, strays, background, again;
	uint32_t kept, handed;	    /* requests read that it answered itself, that others did */
	struct thread *prev, *next; /* by last use */
	UT_hash_handle hh;
};

struct thread *thread_find(struct correlate *c, uint32_t tid)
{
	struct thread *t = c->threads_lru ? c->threads_lru->prev : NULL; /* the last used */

	if (!t || t->tid != tid)
		HASH_FIND(hh, c->threads, &tid, sizeof(tid), t);
	return t;
}

static void list_add(struct thread *t, struct exchange *x, enum place place)
{
	x->place = place;
	DL_APPEND2(t->list[place], x, thread_prev, thread_next);
	t->cnt[place]++;
}

static void list_remove(struct thread *t, struct exchange *x)
{
	DL_DELETE2(t->list[x->place], x, thread_prev, thread_next);
	t->cnt[x->place]--;
}

/* The thread of that id is another one now, or is forgotten. */
static void thread_clear(struct thread *t)
{
	for (int place = 0; place < PLACES; place++)
		while (t->list[place])
			thread_leave(t->list[place]);
	t->taint_ns = 0;
	t->sent = t->strays = t->background = t->again = t->kept = t->handed = 0;
	t->serves = false;
}

static void thread_remove(struct correlate *c, struct thread *t)
{
	thread_clear(t);
	HASH_DEL(c->threads, t);
	DL_DELETE(c->threads_lru, t);
	c->thread_cnt--;
	free(t);
}

static struct thread *thread_of(struct correlate *c, uint32_t tid)
{
	struct thread *t = thread_find(c, tid);

	if (t) {
		if (t->next) { /* not the last used already */
			DL_DELETE(c->threads_lru, t);
			DL_APPEND(c->threads_lru, t);
		}
		return t;
	}
	if (c->thread_cnt >= THREADS_MAX) {
		thread_remove(c, c->threads_lru);
		count(c, COUNTER_threads_full);
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->tid = tid;
	HASH_ADD(hh, c->threads, tid, sizeof(t->tid), t);
	DL_APPEND(c->threads_lru, t);
	c->thread_cnt++;
	return t;
}

static void thread_taint(struct correlate *c, struct thread *t, uint64_t until_ns)
{
	if (until_ns > t->taint_ns)
		t->taint_ns = until_ns;
	count(c, COUNTER_lost_threads);
}

void thread_record(struct correlate *c, const struct event_thread *ev, uint32_t tgid,
		   uint64_t ts_ns)
{
	struct thread *t = ev->tid ? thread_of(c, ev->tid) : NULL;

	if (!t)
		return;
	if (t->seq_known && ev->seq == t->next_seq && t->tgid == tgid) {
		t->next_seq++;
		return;
	}
	if (ev->seq == 0) { /* a thread begins, perhaps with the id of one that has gone */
		if (t->seq_known)
			thread_clear(t);
		t->new_ns = ev->flags & THREAD_F_NEW ? ts_ns : 0;
	} else {
		thread_taint(c, t, ts_ns + TAINT_NS);
	}
	t->seq_known = true;
	t->tgid = tgid;
	t->next_seq = ev->seq + 1;
}

void thread_enter(struct correlate *c, struct exchange *x, uint32_t tid)
{
	struct thread *t = tid ? thread_of(c, tid) : NULL;

	if (!t)
		return;
	if (t->cnt[PLACE_RUNNABLE] >= RUNNABLE_MAX) {
		thread_taint(c, t, x->start_ns + TAINT_NS);
		return;
	}
	x->thread = t;
	t->serves = true;
	list_add(t, x, PLACE_RUNNABLE);
}

void thread_leave(struct exchange *x)
{
	if (!x->thread)
		return;
	list_remove(x->thread, x);
	x->thread = NULL;
}

void thread_update(struct exchange *x)
{
	enum place place = PLACE_RUNNABLE;

	if (!x->thread)
		return;
	if (x->attached)
		place = PLACE_ANSWERED;
	else if (x->waits && x->request_end_ns && x->wait_ns > x->wake_ns)
		place = PLACE_PARKED;
	if (place == x->place)
		return;
	list_remove(x->thread, x);
	list_add(x->thread, x, place);
}

void thread_waits(struct exchange *owner, uint64_t ts_ns)
{
	owner->waits++;
	owner->wait_ns = MAX(owner->wait_ns, ts_ns);
	thread_update(owner);
}

void thread_done(struct exchange *owner)
{
	if (owner->waits)
		owner->waits--;
	thread_update(owner);
}

static bool is_habit(uint32_t cnt, uint32_t all)
{
	return cnt && (uint64_t)cnt * HABIT_SHARE > all;
}

static bool is_fanning_out(const struct thread *t)
{
	return t->again >= AGAIN_FEW && is_habit(t->again, t->sent);
}

/* One that waits for more runs on only where several calls at once are known. (A stray in the turn
 * of a read looks like a second call, but is the rarer kind.) */
void thread_wakes(struct exchange *owner, uint64_t ts_ns)
{
	const struct thread *t = owner->thread;

	if (owner->waits && t && !(is_fanning_out(t) && t->again > t->strays))
		return;
	owner->wake_ns = MAX(owner->wake_ns, ts_ns);
	thread_update(owner);
}

void thread_wakes_any(struct correlate *c, const struct evidence *ev, uint64_t ts_ns)
{
	struct thread *t;

	for (uint32_t i = 0; i < ev->runnable_cnt; i++)
		thread_wakes(ev->runnable[i], ts_ns);
	if (ev->parked)
		thread_wakes(ev->parked, ts_ns);
	if (ev->read_request)
		thread_wakes(ev->read_request, ts_ns);
	if (ev->read_response && ev->read_response->context)
		thread_wakes(ev->read_response->context, ts_ns);
	/* those that the evidence had no room for: whoever waits may be meant */
	t = ev->overflow || ev->tainted ? thread_find(c, ev->thread.tid) : NULL;
	for (uint32_t left = t ? t->cnt[PLACE_PARKED] : 0; left; left--)
		thread_wakes(t->list[PLACE_PARKED], ts_ns);
}

/* ---- habits --------------------------------------------------------------------------------- */

/* Halved now and then, so that what it does today counts most. */
static void habits_fade(struct thread *t)
{
	if (t->sent >= HABIT_FADE) {
		t->sent /= 2;
		t->strays /= 2;
		t->background /= 2;
		t->again /= 2;
	}
	if (t->kept + t->handed >= HABIT_FADE) {
		t->kept /= 2;
		t->handed /= 2;
	}
}

static bool is_background(const struct evidence *ev)
{
	return !ev->runnable_cnt && !ev->parked_cnt && !ev->overflow && !ev->overflow_answered &&
	       !ev->tainted;
}

/* Of the turn's latest read; NULL: none known. */
static const struct exchange *moment_of(const struct evidence *ev)
{
	return ev->read_response ? ev->read_response->context : ev->read_request;
}

static bool is_stray(const struct evidence *ev, const struct exchange *moment)
{
	return is_background(ev) || !ev->thread.read_conn ||
	       ev->thread.read_turn != ev->thread.turn ||
	       (moment && !exchange_open_at(moment, ev->at_ns));
}

void thread_sent(struct correlate *c, const struct evidence *ev, const struct evidence *dial)
{
	const struct evidence *e = dial && !is_background(dial) ? dial : ev;
	const struct exchange *moment = moment_of(e);
	struct thread *t = thread_find(c, ev->thread.tid);

	if (!t || t->tgid != ev->tgid || !t->serves)
		return;
	t->sent++;
	t->background += is_background(e);
	if (is_stray(e, moment))
		t->strays++;
	else if (moment && moment->thread == t && moment->place == PLACE_PARKED)
		t->again++;
	habits_fade(t);
}

void thread_answers(struct exchange *x, uint32_t tid)
{
	struct thread *t = x->thread;

	if (!t || !tid)
		return;
	t->kept += tid == t->tid;
	t->handed += tid != t->tid;
	habits_fade(t);
}

static uint8_t habits_of(const struct thread *t)
{
	uint8_t habits = 0;

	if (is_habit(t->strays, t->sent)) {
		habits |= HABIT_STRAYS;
		if ((uint64_t)t->strays * MIXES_SHARE > t->again)
			habits |= HABIT_MIXES;
		if (is_habit(t->background, t->sent))
			habits |= HABIT_BACKGROUND;
	}
	if (is_fanning_out(t))
		habits |= HABIT_FANS_OUT;
	if (is_habit(t->handed, t->kept + t->handed))
		habits |= HABIT_HANDS_OVER;
	return habits;
}

uint8_t thread_habits(struct correlate *c, const struct evidence *ev)
{
	const struct thread *t = ev->thread.tid ? thread_find(c, ev->thread.tid) : NULL;

	return t && t->tgid == ev->tgid ? habits_of(t) : 0;
}

/* ---- evidence ------------------------------------------------------------------------------- */

/* Adds those of one place; false when there is no room for all. */
static bool capture_list(struct evidence *ev, struct exchange *list)
{
	struct exchange *x;

	DL_FOREACH2(list, x, thread_next)
	{
		if (x->tgid != ev->tgid || !exchange_open_at(x, ev->at_ns))
			continue;
		if (ev->runnable_cnt == CANDIDATES_MAX)
			return false;
		if (x->waits)
			ev->waiting |= (uint8_t)(1u << ev->runnable_cnt);
		ev->runnable[ev->runnable_cnt++] = exchange_get(x);
	}
	return true;
}

static void capture_books(struct evidence *ev, const struct thread *t)
{
	struct exchange *parked = t->list[PLACE_PARKED];

	ev->overflow = !capture_list(ev, t->list[PLACE_RUNNABLE]);
	ev->overflow_answered = !capture_list(ev, t->list[PLACE_ANSWERED]);
	ev->parked_cnt = t->cnt[PLACE_PARKED];
	if (ev->parked_cnt == 1 && parked->tgid == ev->tgid)
		ev->parked = exchange_get(parked);
	ev->habits = t->tgid == ev->tgid ? habits_of(t) : 0;
	ev->tainted = ev->at_ns < t->taint_ns;
}

/* What the latest read of this turn was of: a request served here, a response, neither. */
static void capture_read(struct correlate *c, struct evidence *ev)
{
	const struct event_thread *th = &ev->thread;
	struct link *l =
		th->read_conn && th->read_turn == th->turn ? link_find(c, th->read_conn) : NULL;
	struct exchange *x = l && l->all ? l->all->all_prev : NULL;
	bool has_request = false;

	for (int i = 0; x && i < WALK_MAX; i++) {
		uint64_t from = x->server ? x->pos : x->response_pos;
		uint64_t len = x->server ? x->request_len : x->response_len;
		bool ended = x->server ? x->request_end_ns : x->response_end_ns;

		if ((x->server || x->attached) && from <= th->read_pos &&
		    !(ended && th->read_pos >= from + len)) {
			if (x->server)
				ev->read_request = exchange_get(x);
			else
				ev->read_response = exchange_get(x);
			has_request = true;
			break;
		}
		x = x == l->all ? NULL : x->all_prev;
	}
	ev->read_elsewhere = !has_request && l && l->role == ROLE_ACCEPTED;
}

void evidence_capture(struct correlate *c, struct evidence *ev, const struct event_thread *thread,
		      uint32_t tgid, uint64_t at_ns)
{
	const struct thread *t;

	memset(ev, 0, sizeof(*ev));
	ev->thread = *thread;
	ev->tgid = tgid;
	ev->at_ns = at_ns;
	if (!thread->tid)
		return;
	t = thread_find(c, thread->tid);
	if (t)
		capture_books(ev, t);
	ev->tainted |= process_may_owe(c, tgid, at_ns, t ? t->new_ns : 0);
	capture_read(c, ev);
}

void evidence_clear(struct evidence *ev)
{
	for (uint32_t i = 0; i < ev->runnable_cnt; i++)
		exchange_put(ev->runnable[i]);
	exchange_put(ev->parked);
	exchange_put(ev->read_request);
	exchange_put(ev->read_response);
	memset(ev, 0, sizeof(*ev));
}

void threads_free(struct correlate *c)
{
	while (c->threads_lru)
		thread_remove(c, c->threads_lru);
}

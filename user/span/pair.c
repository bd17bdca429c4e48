/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to exchanges: requests begin one, responses go to the first request of their stream
 * that has none. A response that comes before its request (another thread's record was late)
 * waits for it a moment.
 */
#include "span/internal.h"

#include <stdlib.h>

/* A response may seem this much earlier than its request where other threads handle it. */
#define EARLY_NS (100 * NS_PER_US)

/* A copy of a response whose request is not known yet. */
struct orphan {
	struct msg m;
	struct arena *mem;
	struct link *link;
	uint64_t since_ns;
	struct orphan *next, *prev;
	struct orphan *link_next, *link_prev;
};

static struct str keep(struct arena *mem, struct str s)
{
	return s.len ? arena_str(mem, s) : (struct str){ NULL, 0 };
}

/* Keys are literals of the parsers; values are copied. */
static void keep_attrs(struct arena *mem, const struct attrs *from, struct attrs *ret_to)
{
	struct attr *item = from->cnt ? arena_alloc_raw(mem, from->cnt * sizeof(*item)) : NULL;

	if (!item) {
		*ret_to = (struct attrs){ .dropped = from->cnt + from->dropped };
		return;
	}
	for (uint32_t i = 0; i < from->cnt; i++) {
		item[i] = from->item[i];
		if (item[i].value.type == VALUE_STR)
			item[i].value.str = keep(mem, item[i].value.str);
		else if (item[i].value.type >= VALUE_BYTES) { /* lists are rare */
			attrs_copy(from, mem, ret_to);
			return;
		}
	}
	*ret_to = (struct attrs){ item, from->cnt, from->cnt, from->dropped };
}

/* ---- orphans -------------------------------------------------------------------------------- */

static void orphan_remove(struct correlate *c, struct orphan *o)
{
	DL_DELETE2(o->link->orphans, o, link_prev, link_next);
	o->link->orphan_cnt--;
	DL_DELETE(c->orphans, o);
	c->orphan_cnt--;
	arena_free(o->mem);
	free(o);
}

static void orphan_lost(struct correlate *c)
{
	book_add(&c->books.in, 1);
	book_add(&c->books.dropped[DROP_NO_REQUEST], 1);
}

static void orphan_add(struct correlate *c, struct link *l, const struct msg *m)
{
	struct orphan *o = NULL;
	struct arena *mem = NULL;

	if (l->orphan_cnt < ORPHANS_MAX && c->orphan_cnt < ORPHANS_ALL) {
		o = calloc(1, sizeof(*o));
		mem = o ? arena_new(DRAFT_BYTES) : NULL;
	}
	if (!mem) {
		free(o);
		orphan_lost(c);
		return;
	}
	o->m = *m;
	o->mem = mem;
	keep_attrs(mem, &m->attrs, &o->m.attrs);
	o->m.error_type = keep(mem, m->error_type);
	o->m.status_message = keep(mem, m->status_message);
	o->link = l;
	o->since_ns = c->now_ns;
	DL_APPEND2(l->orphans, o, link_prev, link_next);
	l->orphan_cnt++;
	DL_APPEND(c->orphans, o);
	c->orphan_cnt++;
}

/* The end of a response that waits: true when it was one. */
static bool orphan_end(struct link *l, const struct msg *m)
{
	struct orphan *o;

	DL_FOREACH2(l->orphans, o, link_next)
	{
		if (o->m.stream_id != m->stream_id || o->m.pos != m->pos)
			continue;
		o->m.flags |= m->flags;
		o->m.size = m->size;
		o->m.end_ns = m->end_ns;
		o->m.err = m->err;
		return true;
	}
	return false;
}

void orphans_expire(struct correlate *c)
{
	while (c->orphans && c->orphans->since_ns + c->cfg.settle_ns <= c->now_ns) {
		orphan_remove(c, c->orphans);
		orphan_lost(c);
	}
}

void orphans_drop(struct correlate *c, struct link *l)
{
	while (l->orphans) {
		orphan_remove(c, l->orphans);
		orphan_lost(c);
	}
}

void orphans_drop_all(struct correlate *c)
{
	while (c->orphans) {
		orphan_remove(c, c->orphans);
		orphan_lost(c);
	}
}

/* ---- responses ------------------------------------------------------------------------------ */

/* Whether a response can be this request's answer, by time. */
static bool follows(const struct exchange *x, const struct msg *m)
{
	uint64_t slack = x->tid && x->tid == m->thread.tid ? 0 : EARLY_NS;

	return m->start_ns + slack >= x->start_ns;
}

static struct exchange *request_of(struct link *l, const struct msg *m)
{
	struct exchange *x;

	DL_FOREACH2(l->open, x, open_next)
	{
		if (x->key.dir == m->dir || x->stream_id != m->stream_id || x->one_way)
			continue;
		if (!x->attached)
			return follows(x, m) ? x : NULL;
		if (x->response_pos == m->pos)
			return x;
	}
	return NULL;
}

static void response_head(struct draft *d, const struct msg *m)
{
	d->response_began = true;
	keep_attrs(d->mem, &m->attrs, &d->response);
	d->status = m->status;
	d->server_status = m->server_status;
	d->error_type = keep(d->mem, m->error_type);
	d->status_message = keep(d->mem, m->status_message);
}

static void response_take(struct correlate *c, struct exchange *x, const struct msg *m)
{
	struct draft *d = x->draft;

	if (!x->attached) {
		x->attached = true;
		x->response_pos = m->pos;
		x->response_ns = MAX(m->start_ns, x->start_ns);
		exchange_answered(c, x);
		if (x->server)
			thread_answers(x, m->thread.tid);
		exchange_woke(c, x, x->response_ns);
		thread_update(x);
	}
	if ((m->flags & MSG_BEGIN) && !d->response_began)
		response_head(d, m);
	d->truncated |= (m->flags & MSG_TRUNCATED) != 0;
	x->internal |= (m->flags & MSG_INTERNAL) != 0;
	if (!(m->flags & MSG_END))
		return;
	d->response_size = x->response_len = m->size;
	if (!(m->flags & MSG_BEGIN))
		d->response_body = m->body_size;
	x->response_end_ns = MAX(m->end_ns, x->response_ns);
	if (m->flags & MSG_ABORTED)
		d->err = m->err;
	exchange_finish(c, x, x->response_end_ns,
			m->flags & MSG_ABORTED ? exchange_end_of(m->err) : END_ANSWERED);
}

/*
 * Messages were lost on one side, so what waits may not be paired by order. Requests that wait
 * one at a time had their answers lost: only the last can still get one. Requests sent together
 * (the same moment) cannot be told apart: none gets one.
 */
static void lose_waiting(struct correlate *c, struct link *l, uint32_t stream_id, uint8_t dir,
			 bool keep_last)
{
	struct exchange *x, *next, *last = NULL;
	bool together = false;

	DL_FOREACH2(l->open, x, open_next)
	{
		if (x->key.dir != dir || x->stream_id != stream_id || x->attached)
			continue;
		together |= last && last->start_ns == x->start_ns;
		last = x;
	}
	DL_FOREACH_SAFE2(l->open, x, next, open_next)
	{
		if (x->key.dir == dir && x->stream_id == stream_id && !x->attached &&
		    (x != last || together || !keep_last))
			exchange_finish(c, x, c->now_ns, END_OPEN);
	}
}

void pair_response(struct correlate *c, struct link *l, const struct msg *m)
{
	struct exchange *x;

	if (m->flags & MSG_AFTER_GAP && m->flags & MSG_BEGIN)
		lose_waiting(c, l, m->stream_id, !m->dir, true);
	x = request_of(l, m);

	if (x)
		response_take(c, x, m);
	else if (!orphan_end(l, m))
		orphan_add(c, l, m);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void request_head(struct exchange *x, const struct msg *m)
{
	struct draft *d = x->draft;

	d->request_began = true;
	keep_attrs(d->mem, &m->attrs, &d->request);
	d->operation = keep(d->mem, m->operation);
	d->target = keep(d->mem, m->target);
	d->path = keep(d->mem, m->path);
	x->header = traceparent_parse(m->traceparent);
	if (x->header.set && m->tracestate.len <= TRACESTATE_MAX)
		d->trace_state = keep(d->mem, str_trim(m->tracestate));
}

static struct exchange *request_begin(struct correlate *c, struct link *l, const struct msg *m)
{
	struct exchange *x = exchange_new(c, l, m);

	if (!x)
		return NULL;
	x->one_way = (m->flags & MSG_ONE_WAY) != 0;
	x->internal = (m->flags & MSG_INTERNAL) != 0;
	if (m->flags & MSG_BEGIN)
		request_head(x, m);
	if (!x->server)
		exchange_place(c, x, &m->thread);
	else if (!x->internal && !x->one_way)
		thread_enter(c, x, m->thread.tid);
	join_exchange(c, x);
	return x;
}

static void request_end(struct correlate *c, struct exchange *x, const struct msg *m)
{
	x->draft->request_size = x->request_len = m->size;
	if (!(m->flags & MSG_BEGIN))
		x->draft->request_body = m->body_size;
	x->request_end_ns = MAX(m->end_ns, x->start_ns);
	if (m->flags & MSG_ABORTED) {
		x->draft->err = m->err;
		exchange_finish(c, x, x->request_end_ns, exchange_end_of(m->err));
	} else if (x->one_way) {
		exchange_finish(c, x, x->request_end_ns, END_ANSWERED);
	} else if (x->server) {
		thread_wakes(x, x->request_end_ns);
	}
}

/* Responses that came before this request. */
static void claim_orphan(struct correlate *c, struct exchange *x)
{
	struct orphan *o;

	DL_FOREACH2(x->link->orphans, o, link_next)
	{
		if (o->m.dir == x->key.dir || o->m.stream_id != x->stream_id || !follows(x, &o->m))
			continue;
		response_take(c, x, &o->m);
		orphan_remove(c, o);
		return;
	}
}

void pair_request(struct correlate *c, struct link *l, const struct msg *m)
{
	struct exchange *x = exchange_find(c, l->id, m->dir, (uint32_t)m->pos);
	bool fresh;

	if (x && (x->pos != m->pos || x->stream_id != m->stream_id))
		x = NULL;
	fresh = !x;
	if (fresh && m->flags & MSG_AFTER_GAP)
		lose_waiting(c, l, m->stream_id, m->dir, false);
	if (fresh)
		x = request_begin(c, l, m);
	if (!x || !x->draft)
		return;
	if (!fresh && (m->flags & MSG_BEGIN) && !x->draft->request_began)
		request_head(x, m);
	x->one_way |= (m->flags & MSG_ONE_WAY) != 0;
	x->internal |= (m->flags & MSG_INTERNAL) != 0;
	x->draft->truncated |= (m->flags & MSG_TRUNCATED) != 0;
	if ((m->flags & MSG_END) && !x->request_end_ns)
		request_end(c, x, m);
	if (fresh && l->orphans && !x->end_ns)
		claim_orphan(c, x);
}

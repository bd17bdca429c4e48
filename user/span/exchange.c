/* SPDX-License-Identifier: Apache-2.0 */
/* The table of exchanges: birth, books, end, memory. */
#include "span/internal.h"

#include <stdlib.h>

#include "span_id.h"

/* ---- drafts --------------------------------------------------------------------------------- */

static struct draft *draft_new(struct correlate *c)
{
	struct draft *d = c->drafts;
	struct arena *mem;

	if (d) {
		c->drafts = d->next;
		c->draft_cnt--;
		mem = d->mem;
	} else {
		d = malloc(sizeof(*d));
		mem = d ? arena_new(DRAFT_BYTES) : NULL;
		if (!mem) {
			free(d);
			return NULL;
		}
	}
	*d = (struct draft){ .mem = mem,
			     .request_size = UINT64_MAX,
			     .response_size = UINT64_MAX,
			     .request_body = UINT64_MAX,
			     .response_body = UINT64_MAX };
	return d;
}

static void draft_free(struct draft *d)
{
	arena_free(d->mem);
	free(d);
}

static void dial_free(struct draft *d)
{
	if (d->dial)
		evidence_clear(d->dial);
	free(d->dial);
	d->dial = NULL;
}

void draft_drop(struct correlate *c, struct exchange *x)
{
	struct draft *d = x->draft;

	if (!d)
		return;
	x->draft = NULL;
	evidence_clear(&d->evidence);
	dial_free(d);
	for (uint32_t i = 0; i < d->links.link_cnt; i++)
		exchange_put(d->links.link[i]);
	if (c->draft_cnt >= DRAFTS_KEPT) {
		draft_free(d);
		return;
	}
	arena_reset(d->mem);
	d->next = c->drafts;
	c->drafts = d;
	c->draft_cnt++;
}

void drafts_free(struct correlate *c)
{
	while (c->drafts) {
		struct draft *d = c->drafts;
		c->drafts = d->next;
		draft_free(d);
	}
	c->draft_cnt = 0;
}

/* ---- the table ------------------------------------------------------------------------------ */

void exchange_put(struct exchange *x)
{
	/* a loop along the parents, of which there may be many */
	while (x && --x->refs == 0) {
		struct exchange *parent = x->parent;

		exchange_put(x->context);
		exchange_put(x->joined);
		process_put(x->process);
		free(x);
		x = parent;
	}
}

struct exchange *exchange_find(struct correlate *c, uint64_t conn, uint32_t dir, uint32_t pos)
{
	struct exchange_key key = { .conn = conn, .pos = pos, .dir = dir };
	struct exchange *x;

	HASH_FIND(hh, c->exchanges, &key, sizeof(key), x);
	return x;
}

static void derive_id(struct correlate *c, struct exchange *x)
{
	uint64_t id = span_id_derive(c->key[0], c->key[1], x->key.conn, x->key.dir, x->pos);

	for (int i = 0; i < 8; i++)
		x->id.b[i] = (uint8_t)(id >> (56 - 8 * i));
}

struct exchange *exchange_new(struct correlate *c, struct link *l, const struct msg *m)
{
	struct exchange *x;

	book_add(&c->books.in, 1);
	if (c->exchange_cnt >= c->cfg.max_exchanges)
		settle_evict(c);
	x = calloc(1, sizeof(*x));
	if (x)
		x->draft = draft_new(c);
	if (!x || !x->draft) {
		free(x);
		book_add(&c->books.dropped[DROP_NO_MEMORY], 1);
		return NULL;
	}
	book_add(&c->books.held, 1);
	x->refs = 1;
	x->key = (struct exchange_key){ .conn = l->id, .pos = (uint32_t)m->pos, .dir = m->dir };
	x->tgid = m->tgid;
	x->tid = m->thread.tid;
	x->stream_id = m->stream_id;
	x->pos = m->pos;
	x->start_ns = x->wake_ns = m->start_ns;
	x->server = m->dir == DIR_IN;
	x->draft->proto = m->proto ? m->proto->name : NULL;
	x->draft->retransmits = x->draft->retransmits_end = m->conn->retransmits;
	derive_id(c, x);
	x->process = process_get(c, m->tgid, m->start_ns);
	x->link = l;
	l->refs++;
	l->used = true;
	DL_APPEND2(l->all, x, all_prev, all_next);
	DL_APPEND2(l->open, x, open_prev, open_next);
	DL_APPEND2(c->unanswered, x, wait_prev, wait_next);
	x->awaited = true;
	HASH_ADD(hh, c->exchanges, key, sizeof(x->key), x);
	c->exchange_cnt++;
	return x;
}

void exchange_forget(struct correlate *c, struct exchange *x)
{
	HASH_DEL(c->exchanges, x);
	c->exchange_cnt--;
	DL_DELETE2(x->link->all, x, all_prev, all_next);
	link_put(c, x->link);
	x->link = NULL;
	exchange_put(x);
}

void exchange_discard(struct correlate *c, struct exchange *x)
{
	if (x->end_ns == 0)
		DL_DELETE2(x->link->open, x, open_prev, open_next);
	exchange_answered(c, x);
	thread_leave(x);
	exchange_put(x->owner);
	x->owner = NULL;
	draft_drop(c, x);
	exchange_forget(c, x);
}

/* ---- the books of its thread ---------------------------------------------------------------- */

/* The dialling of the connection belongs to its first request. */
static void take_dial(struct correlate *c, struct exchange *x, struct link *below)
{
	x->draft->dial = below->dial;
	below->dial = NULL;
	if (below->dial_for)
		link_dial_over(c, below, 0);
}

/* The dialling, where the same thread did it. */
static const struct evidence *own_dial(const struct draft *d)
{
	return d->dial && d->dial->thread.tid == d->evidence.thread.tid &&
			       d->dial->tgid == d->evidence.tgid
		       ? d->dial
		       : NULL;
}

void exchange_place(struct correlate *c, struct exchange *x, const struct event_thread *thread)
{
	struct runtime_traits traits = { .thread_context = true };
	struct link *below = link_dialled(c, x->link);
	struct decision d;

	evidence_capture(c, &x->draft->evidence, thread, x->tgid, x->start_ns);
	if (x->link->all == x && below->dial) {
		x->draft->first = below->open_ns != 0;
		take_dial(c, x, below);
	}
	if (process_is_known(x->process))
		traits = runtime_table[process_runtime(x->process)];
	d = context_of(c, x, &traits);
	thread_sent(c, &x->draft->evidence, own_dial(x->draft));
	if (!d.parent)
		return;
	x->context = exchange_get(d.parent);
	if (x->one_way)
		return;
	x->owner = exchange_get(d.parent);
	thread_waits(x->owner, x->start_ns);
}

void exchange_woke(struct correlate *c, struct exchange *x, uint64_t ts_ns)
{
	struct exchange *owner = x->owner;

	if (x->server)
		return;
	x->owner = NULL;
	if (owner) {
		thread_done(owner);
		thread_wakes(owner, ts_ns);
		exchange_put(owner);
	} else if (x->draft && !x->context && x->end != END_CONNECT) {
		thread_wakes_any(c, &x->draft->evidence, ts_ns);
	}
}

void exchange_answered(struct correlate *c, struct exchange *x)
{
	if (!x->awaited)
		return;
	DL_DELETE2(c->unanswered, x, wait_prev, wait_next);
	x->awaited = false;
}

void exchange_finish(struct correlate *c, struct exchange *x, uint64_t end_ns,
		     enum exchange_end end)
{
	if (x->end_ns)
		return;
	x->end = (uint8_t)end;
	x->end_ns = MAX(MAX(end_ns, x->start_ns), 1);
	x->finish_ns = c->now_ns;
	if (x->link->conn)
		x->draft->retransmits_end = x->link->conn->retransmits;
	DL_DELETE2(x->link->open, x, open_prev, open_next);
	exchange_answered(c, x);
	thread_leave(x);
	if (!x->attached || x->owner)
		exchange_woke(c, x, x->end_ns);
	settle_add(c, x);
}

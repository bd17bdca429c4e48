/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From its end to its push an exchange settles: late evidence and identities arrive meanwhile.
 * Afterwards it is remembered for a while, without its draft, for those that look for it.
 */
#include "span/internal.h"

static void remember(struct correlate *c, struct exchange *x)
{
	DL_APPEND2(c->remembered, x, queue_prev, queue_next);
	c->remembered_cnt++;
	while (c->remembered_cnt > c->cfg.max_exchanges / REMEMBERED_SHARE) {
		struct exchange *oldest = c->remembered;
		DL_DELETE2(c->remembered, oldest, queue_prev, queue_next);
		c->remembered_cnt--;
		exchange_forget(c, oldest);
	}
}

static bool failed(const struct exchange *x)
{
	const struct draft *d = x->draft;

	if (x->end == END_TIMEOUT || d->err)
		return true;
	return (x->server ? d->server_status : d->status) == STATUS_ERROR;
}

/* x is in no queue. */
static void push(struct correlate *c, struct exchange *x)
{
	exchange_resolve(c, x);
	if (x->internal && !failed(x)) {
		book_add(&c->books.dropped[DROP_INTERNAL], 1);
	} else if (span_build(c, x)) {
		book_add(&c->books.out, 1);
	} else {
		book_add(&c->books.dropped[DROP_NO_MEMORY], 1);
	}
	book_add(&c->books.held, (uint64_t)-1);
	draft_drop(c, x);
	remember(c, x);
}

void settle_add(struct correlate *c, struct exchange *x)
{
	DL_APPEND2(c->settling, x, queue_prev, queue_next);
}

static void forget_old(struct correlate *c)
{
	while (c->remembered && c->remembered->finish_ns + c->cfg.remember_ns < c->now_ns) {
		struct exchange *x = c->remembered;
		DL_DELETE2(c->remembered, x, queue_prev, queue_next);
		c->remembered_cnt--;
		exchange_forget(c, x);
	}
}

static void expire(struct correlate *c)
{
	struct exchange *x;

	while ((x = c->unanswered) && x->start_ns + c->cfg.unanswered_ns < c->now_ns)
		exchange_finish(c, x, x->start_ns + c->cfg.unanswered_ns, END_TIMEOUT);
}

void settle_tick(struct correlate *c)
{
	struct exchange *x, *next;

	expire(c);
	DL_FOREACH_SAFE2(c->waiting, x, next, queue_next)
	{
		if (!exchange_ready(c, x))
			continue;
		DL_DELETE2(c->waiting, x, queue_prev, queue_next);
		push(c, x);
	}
	while ((x = c->settling) && x->finish_ns + c->cfg.settle_ns <= c->now_ns) {
		DL_DELETE2(c->settling, x, queue_prev, queue_next);
		if (exchange_ready(c, x))
			push(c, x);
		else
			DL_APPEND2(c->waiting, x, queue_prev, queue_next);
	}
	forget_old(c);
}

void settle_flush(struct correlate *c)
{
	struct exchange *x, *next;

	HASH_ITER (hh, c->exchanges, x, next) {
		if (!x->end_ns)
			exchange_finish(c, x, c->now_ns, END_OPEN);
	}
	DL_CONCAT2(c->waiting, c->settling, queue_prev, queue_next);
	c->settling = NULL;
	while ((x = c->waiting)) {
		DL_DELETE2(c->waiting, x, queue_prev, queue_next);
		push(c, x);
	}
}

/* Some exchange whose span was not pushed yet, the least useful first. */
static struct exchange *victim(struct correlate *c)
{
	struct exchange *x = c->unanswered;

	if (!x && c->settling)
		return c->settling;
	if (!x && c->waiting)
		return c->waiting;
	return x ? x : c->exchanges;
}

void settle_evict(struct correlate *c)
{
	struct exchange *x = c->remembered;

	if (!x) {
		x = victim(c);
		if (!x)
			return;
		count(c, COUNTER_evicted);
		if (!x->end_ns)
			exchange_finish(c, x, c->now_ns, END_OPEN);
		if (x == c->waiting)
			DL_DELETE2(c->waiting, x, queue_prev, queue_next);
		else
			DL_DELETE2(c->settling, x, queue_prev, queue_next);
		push(c, x);
		x = c->remembered;
	}
	DL_DELETE2(c->remembered, x, queue_prev, queue_next);
	c->remembered_cnt--;
	exchange_forget(c, x);
}

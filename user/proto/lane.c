/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction's bytes: parsed where they lie, or from what waits; skipped; lost in holes; and
 * the search for a place to go on from.
 */
#include "proto/internal.h"

#include <errno.h>
#include <stdlib.h>

/* ---- bytes that wait ---- */

static struct hold *hold_new(struct protos *p)
{
	struct hold *h = p->spare_holds;

	if (h) {
		p->spare_holds = h->next;
		p->spare_hold_cnt--;
	} else {
		h = malloc(sizeof(*h) + HOLD_SIZE);
		if (!h)
			return NULL;
		h->size = HOLD_SIZE;
	}
	h->len = 0;
	h->mark_cnt = 0;
	return h;
}

void lane_release(struct parser *ps, struct lane *l)
{
	struct protos *p = ps->owner;
	struct hold *h = l->hold;

	if (!h)
		return;
	l->hold = NULL;
	p->held_bytes -= h->size;
	if (h->size != HOLD_SIZE || p->spare_hold_cnt >= HOLD_SPARES) {
		free(h);
		return;
	}
	h->next = p->spare_holds;
	p->spare_holds = h;
	p->spare_hold_cnt++;
}

static int hold_grow(struct protos *p, struct lane *l, uint32_t need)
{
	uint32_t size = l->hold ? l->hold->size : HOLD_SIZE, old = l->hold ? size : 0;
	struct hold *h;

	while (size < need)
		size *= 2;
	if (size == old)
		return 0;
	if (p->held_bytes + size - old > HELD_BYTES_MAX)
		return -ENOBUFS;
	if (!l->hold)
		l->hold = hold_new(p);
	if (!l->hold)
		return -ENOMEM;
	if (!old)
		p->held_bytes += l->hold->size;
	if (l->hold->size >= size)
		return 0;
	h = realloc(l->hold, sizeof(*h) + size);
	if (!h)
		return -ENOMEM;
	p->held_bytes += size - h->size;
	h->size = size;
	l->hold = h;
	return 0;
}

static void hold_mark(struct hold *h, struct mark mark)
{
	const struct mark *last = h->mark_cnt ? &h->mark[h->mark_cnt - 1] : NULL;

	if (last && last->ts_ns == mark.ts_ns && last->tgid == mark.tgid &&
	    memcmp(&last->thread, &mark.thread, sizeof(mark.thread)) == 0)
		return;
	if (h->mark_cnt == MARKS_MAX) {
		/* full: every second one goes, the first one stays */
		h->mark_cnt /= 2;
		for (uint32_t i = 1; i < h->mark_cnt; i++)
			h->mark[i] = h->mark[2 * i];
	}
	h->mark[h->mark_cnt++] = mark;
}

int lane_hold(struct parser *ps, struct lane *l, const struct chunk *c, const uint8_t *p, size_t n,
	      size_t *ret_n)
{
	uint32_t len = l->hold ? l->hold->len : 0;
	size_t room = MAX(ps->owner->cfg.buffer_max, len + 1) - len;
	int err;

	n = MIN(n, room);
	err = hold_grow(ps->owner, l, len + (uint32_t)n);
	if (err) {
		if (!len)
			lane_release(ps, l);
		return err;
	}
	if (!len && l->pos > c->pos)
		l->last_ns = c->ts_ns;
	hold_mark(l->hold, (struct mark){ .pos = l->pos + len,
					  .ts_ns = c->ts_ns,
					  .tgid = c->tgid,
					  .thread = c->thread });
	memcpy(l->hold->data + len, p, n);
	l->hold->len += (uint32_t)n;
	*ret_n = n;
	return 0;
}

struct mark lane_mark(const struct parser *ps, const struct lane *l, uint64_t pos)
{
	const struct chunk *c = ps->chunk;

	if (c && l == &ps->lane[c->dir] && (c->kind == CHUNK_DATA || c->kind == CHUNK_GAP) &&
	    pos >= c->pos)
		return (struct mark){ c->pos, c->ts_ns, c->tgid, c->thread };
	for (uint32_t i = l->hold ? l->hold->mark_cnt : 0; i > 0; i--)
		if (l->hold->mark[i - 1].pos <= pos)
			return l->hold->mark[i - 1];
	return (struct mark){ .pos = pos, .ts_ns = l->last_ns, .tgid = ps->conn->tgid };
}

/* l->pos has already advanced by n. */
static void hold_consume(struct parser *ps, struct lane *l, size_t n)
{
	struct hold *h = l->hold;
	uint32_t first = 0;

	if (n >= h->len) {
		lane_release(ps, l);
		return;
	}
	if (!n)
		return;
	l->last_ns = lane_mark(ps, l, l->pos - 1).ts_ns;
	h->len -= (uint32_t)n;
	memmove(h->data, h->data + n, h->len);
	while (first + 1 < h->mark_cnt && h->mark[first + 1].pos <= l->pos)
		first++;
	h->mark_cnt -= first;
	memmove(h->mark, h->mark + first, h->mark_cnt * sizeof(h->mark[0]));
}

/* ---- parsing ---- */

static void lane_lost(struct parser *ps, struct lane *l)
{
	l->gap = true;
	l->skip = 0;
	l->poke = false;
	if (ps->proto->resync && l->bad < BAD_MAX)
		l->resync = true;
	else
		ps->fate = ps->good ? FATE_GIVEN_UP : FATE_RESTART;
}

/* Takes what is to be skipped from n bytes, and ends the message that ends so. */
static uint64_t lane_skip(struct parser *ps, struct lane *l, uint64_t n)
{
	if (!l->skip) {
		n = 0;
	} else {
		n = MIN(n, l->skip);
		l->pos += n;
		if (l->skip != UINT64_MAX)
			l->skip -= n;
	}
	if (!l->skip && l->skip_msg) {
		message_end(ps, l->skip_msg, l->pos, 0, 0);
		l->poke = false;
	}
	return n;
}

/* One look for a place to go on from. False: not among these bytes; *at says how many are done. */
static bool lane_resync(struct parser *ps, struct lane *l, const uint8_t *data, size_t len,
			size_t *at)
{
	size_t step;
	ptrdiff_t off;

	ps->call_pos = l->pos;
	ps->call_len = len - *at;
	off = ps->proto->resync(ps, (enum side)l->side, data + *at, ps->call_len);
	if (off >= 0)
		step = MIN((size_t)off, ps->call_len);
	else
		step = ps->call_len > RESYNC_KEEP ? ps->call_len - RESYNC_KEEP : 0;
	*at += step;
	l->pos += step;
	l->resync = off < 0;
	return off >= 0;
}

/* One call of the protocol. False when it needs more bytes than there are. */
static bool lane_call(struct parser *ps, struct lane *l, const uint8_t *data, size_t len,
		      size_t *at, unsigned int *idle)
{
	size_t view = MIN(len - *at, ps->owner->cfg.buffer_max), took;
	struct cursor c = cursor_of(data ? data + *at : (const uint8_t *)"", view);
	const uint8_t *from = c.p;
	bool cut = l->cut;
	enum parse r;

	ps->call_pos = l->pos;
	ps->call_len = view;
	l->poke = false;
	r = ps->proto->parse(ps, (enum side)l->side, &c);
	if (r == PARSE_MORE && view && view == ps->owner->cfg.buffer_max && !cut) {
		l->cut = true;
		c.p = from;
		r = ps->proto->parse(ps, (enum side)l->side, &c);
		l->cut = false;
		if (r == PARSE_MORE)
			r = PARSE_BAD;
	}
	if (r == PARSE_OK) {
		took = MIN((size_t)(c.p - from), view);
		*at += took;
		l->pos += took;
		*idle = took || l->skip ? 0 : *idle + 1;
		if (took)
			l->gap = false;
		lane_mem_reset(ps, l);
		if (*idle < IDLE_CALLS_MAX)
			return true;
		r = PARSE_BAD;
	}
	if (r == PARSE_MORE)
		return false;
	l->bad++;
	lane_lost(ps, l);
	if (view) {
		*at += 1;
		l->pos += 1;
	}
	return true;
}

size_t lane_parse(struct parser *ps, struct lane *l, const uint8_t *data, size_t len)
{
	struct lane *outer = ps->now;
	unsigned int idle = 0;
	size_t at = 0;

	ps->now = l;
	while (ps->fate == FATE_ALIVE) {
		at += lane_skip(ps, l, len - at);
		if (l->skip || (at == len && !l->poke))
			break;
		if (l->resync && (at == len || !lane_resync(ps, l, data, len, &at)))
			break;
		if (!lane_call(ps, l, data, len, &at, &idle))
			break;
	}
	/* what the skip ends may be far away, and its strings lie in these bytes */
	if (l->skip_msg)
		message_publish(ps, l->skip_msg, 0);
	if (len && (ps->lane[0].unpublished || ps->lane[1].unpublished))
		messages_pin(ps, data, len);
	ps->now = outer;
	return at;
}

void lane_drain(struct parser *ps, struct lane *l)
{
	if (l->hold && ps->fate == FATE_ALIVE)
		hold_consume(ps, l, lane_parse(ps, l, l->hold->data, l->hold->len));
}

int lane_data(struct parser *ps, struct lane *l, const struct chunk *c)
{
	const uint8_t *p = c->data;
	size_t left = c->len, n;
	int err;

	while (left && ps->fate == FATE_ALIVE) {
		bool fresh = !l->hold;

		if (fresh) {
			n = lane_parse(ps, l, p, left);
			p += n;
			left -= n;
			if (!left || ps->fate != FATE_ALIVE)
				break;
		}
		err = lane_hold(ps, l, c, p, left, &n);
		if (err) {
			/* as good as a hole */
			lane_gap(ps, l, left);
			return err;
		}
		p += n;
		left -= n;
		if (!fresh)
			lane_drain(ps, l);
	}
	return 0;
}

void lane_cut(struct parser *ps, struct lane *l)
{
	size_t rest;

	if (!l->hold)
		return;
	l->cut = true;
	hold_consume(ps, l, lane_parse(ps, l, l->hold->data, l->hold->len));
	l->cut = false;
	rest = l->hold ? l->hold->len : 0;
	lane_release(ps, l);
	l->pos += rest;
	if (rest && ps->fate == FATE_ALIVE && !l->resync)
		lane_lost(ps, l);
}

void lane_gap(struct parser *ps, struct lane *l, uint64_t len)
{
	lane_cut(ps, l);
	if (ps->fate != FATE_ALIVE)
		return;
	len -= lane_skip(ps, l, len);
	if (len) {
		l->pos += len;
		lane_lost(ps, l);
	} else if (l->poke && !l->skip) {
		lane_parse(ps, l, NULL, 0);
	}
}

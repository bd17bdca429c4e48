/* SPDX-License-Identifier: Apache-2.0 */
/* What a record says about positions, turned into runs of bytes that touch each other. */
#include "stream/internal.h"

#include <errno.h>

static void count_gap(struct stream *s, uint8_t reason, uint64_t len)
{
	static const uint8_t counter[] = {
		[GAP_NONE] = COUNTED_gap_lost_bytes,	    [GAP_BUDGET] = COUNTED_gap_budget_bytes,
		[GAP_NO_BYTES] = COUNTED_gap_counted_bytes, [GAP_FAULT] = COUNTED_gap_fault_bytes,
		[GAP_LOST] = COUNTED_gap_lost_bytes,
	};

	book_add(&s->count[counter[reason]], len);
}

static uint8_t gap_of_flags(uint8_t flags, uint8_t otherwise)
{
	if (flags & DATA_F_NO_BYTES)
		return GAP_NO_BYTES;
	if (flags & DATA_F_FAULT)
		return GAP_FAULT;
	if (flags & (DATA_F_BUDGET | DATA_F_TAIL))
		return GAP_BUDGET;
	return otherwise;
}

/* Gives the bytes from where the direction stands up to 'to' as a gap; base carries who and when.
 */
static void give_gap(struct stream *s, struct direction *d, const struct chunk *base, uint64_t to,
		     uint8_t reason)
{
	struct chunk c = *base;

	c.kind = CHUNK_GAP;
	c.gap = reason;
	c.pos = d->next;
	c.len = to - d->next;
	c.data = NULL;
	d->next = to;
	count_gap(s, reason, c.len);
	stream_emit(s, &c);
}

/* A direction's end, told in passing: bytes there that no record of their own told of. */
static void told_end(struct stream *s, struct entry *e, uint8_t dir, uint64_t end, uint64_t end_ns,
		     uint32_t tgid, uint8_t reason)
{
	struct direction *d = &e->dir[dir];
	struct chunk c = { .conn = &e->conn, .dir = dir, .tgid = tgid, .ts_ns = end_ns };

	if (!end_ns || d->ended)
		return; /* nothing has passed there, or only its FIN since */
	if (!d->known) {
		d->next = end;
		d->known = true;
	} else if (end > d->next) {
		give_gap(s, d, &c, end, d->gap ? d->gap : reason);
	}
}

static void give_bytes(struct stream *s, struct direction *d, struct chunk *c,
		       const struct event_data *rec)
{
	uint64_t cut = d->next - rec->pos;
	uint64_t cap = rec->cap > cut ? rec->cap - cut : 0;
	uint64_t end = rec->pos + rec->len;

	if (cut)
		book_add(&s->count[COUNTED_old_bytes], cut);
	if (cap) {
		c->kind = CHUNK_DATA;
		c->pos = d->next;
		c->len = cap;
		c->data = rec->payload + cut;
		c->datagram = (rec->flags & DATA_F_DATAGRAM) != 0;
		d->next += cap;
		stream_emit(s, c);
	}
	c->datagram = false;
	if (d->next < end)
		give_gap(s, d, c, end, gap_of_flags(rec->flags, GAP_LOST));
}

static void give_end(struct stream *s, struct direction *d, struct chunk *c, uint8_t flags)
{
	c->kind = CHUNK_EOF;
	c->pos = d->next;
	c->len = 0;
	c->data = NULL;
	c->err = flags & DATA_F_RESET ? ECONNRESET : 0;
	d->ended = true;
	stream_emit(s, c);
}

int bytes_data(struct stream *s, struct entry *e, const struct event_data *rec)
{
	struct direction *d = &e->dir[rec->dir];
	uint64_t end = rec->pos + rec->len;
	struct chunk c = {
		.conn = &e->conn,
		.dir = rec->dir,
		.tgid = rec->h.tgid,
		.ts_ns = rec->h.ts_ns,
		.thread = rec->thread,
	};

	told_end(s, e, !rec->dir, rec->other_pos, rec->other_ns, rec->h.tgid,
		 rec->flags & DATA_F_OTHER ? GAP_NO_BYTES : GAP_LOST);
	if (d->ended)
		return rec->len ? DROPPED_ENDED : DROPPED_OLD;
	if (!d->known) {
		d->next = rec->pos;
		d->known = true;
	}
	if (rec->len && end <= d->next) {
		book_add(&s->count[COUNTED_old_bytes], rec->len);
		return DROPPED_OLD;
	}
	if (rec->pos > d->next) {
		struct chunk gap = c;

		gap.thread = (struct event_thread){ 0 };
		give_gap(s, d, &gap, rec->pos,
			 gap_of_flags(rec->flags & DATA_F_TAIL, d->gap ? d->gap : GAP_LOST));
	}
	if (rec->len) {
		give_bytes(s, d, &c, rec);
		d->gap = gap_of_flags(rec->flags & ~DATA_F_TAIL, GAP_NONE);
	}
	if (rec->flags & (DATA_F_EOF | DATA_F_RESET))
		give_end(s, d, &c, rec->flags);
	return -1;
}

void bytes_close(struct stream *s, struct entry *e, const struct event_close *rec)
{
	/* in the order in which the bytes passed */
	uint8_t first = rec->last_ns[DIR_OUT] < rec->last_ns[DIR_IN] ? DIR_OUT : DIR_IN;

	for (uint8_t i = 0; i < 2; i++) {
		uint8_t dir = first ^ i;
		told_end(s, e, dir, rec->pos[dir], rec->last_ns[dir], rec->h.tgid, GAP_LOST);
	}
}

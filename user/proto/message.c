/* SPDX-License-Identifier: Apache-2.0 */
/* Messages from their first byte to their last: begin, publish, end, and their memory. */
#include "proto/internal.h"

#include <stdlib.h>
#include <utlist.h>

/* ---- memory ---- */

void lane_mem_reset(struct parser *ps, struct lane *l)
{
	if (l->mem && l->mem != ps->owner->no_mem && !l->unpublished)
		arena_reset(l->mem);
}

void lane_mem_release(struct parser *ps, struct lane *l)
{
	struct protos *p = ps->owner;

	if (!l->mem || l->unpublished)
		return;
	if (l->mem == p->no_mem) {
		l->mem = NULL;
		return;
	}
	arena_reset(l->mem);
	if (p->spare_mem_cnt < HOLD_SPARES)
		p->spare_mem[p->spare_mem_cnt++] = l->mem;
	else
		arena_free(l->mem);
	l->mem = NULL;
}

static struct arena *lane_mem(struct parser *ps, struct lane *l)
{
	struct protos *p = ps->owner;

	if (!l->mem)
		l->mem = p->spare_mem_cnt ? p->spare_mem[--p->spare_mem_cnt]
					  : arena_new(MSG_MEM_MAX);
	if (!l->mem)
		l->mem = p->no_mem;
	return l->mem;
}

static void pin_str(struct arena *mem, struct str *s, const char *p, size_t len)
{
	if (s->len && s->p >= p && s->p < p + len) {
		*s = arena_str(mem, *s);
		if (!s->p)
			s->len = 0;
	}
}

static void pin_value(struct arena *mem, struct value *v, const char *p, size_t len)
{
	if (v->type == VALUE_STR || v->type == VALUE_BYTES)
		pin_str(mem, &v->str, p, len);
	if (v->type == VALUE_ARRAY)
		for (size_t i = 0; i < v->array.cnt; i++)
			if (v->array.item[i].type == VALUE_STR)
				pin_str(mem, &v->array.item[i].str, p, len);
}

void messages_pin(struct parser *ps, const void *p, size_t len)
{
	struct open_msg *o;

	for (o = ps->open; o; o = o->next) {
		struct str *strs[] = { &o->m.operation,	    &o->m.target,     &o->m.path,
				       &o->m.traceparent,   &o->m.tracestate, &o->m.error_type,
				       &o->m.status_message };

		struct arena *mem;

		if (o->published)
			continue;
		mem = lane_mem(ps, o->lane);
		for (size_t i = 0; i < ARRAY_LEN(strs); i++)
			pin_str(mem, strs[i], p, len);
		for (uint32_t i = 0; i < o->m.attrs.cnt; i++)
			pin_value(mem, &o->m.attrs.item[i].value, p, len);
	}
}

/* ---- life ---- */

static void forget(struct parser *ps, struct open_msg *o)
{
	struct protos *p = ps->owner;

	if (!o->published)
		o->lane->unpublished--;
	for (int i = 0; i < 2; i++)
		if (ps->lane[i].skip_msg == o)
			ps->lane[i].skip_msg = NULL;
	DL_DELETE(ps->open, o);
	ps->open_cnt--;
	book_add(&p->msgs.held, (uint64_t)-1);
	o->next = p->spare_msgs;
	p->spare_msgs = o;
}

static void push(struct parser *ps, struct open_msg *o, uint32_t phase)
{
	uint32_t lasting = o->m.flags;

	o->m.flags = lasting | phase;
	ps->owner->out.push(ps->owner->out.ctx, &o->m);
	o->m.flags = lasting;
}

/* What was borrowed is gone; what the message is stays. */
static void unborrow(struct msg *m)
{
	static const struct str none;

	memset(&m->attrs, 0, sizeof(m->attrs));
	m->operation = m->target = m->path = m->traceparent = m->tracestate = none;
	m->error_type = m->status_message = none;
}

void message_publish(struct parser *ps, struct open_msg *o, uint32_t flags)
{
	if (o->published)
		return;
	push(ps, o, MSG_BEGIN | flags);
	o->published = true;
	o->lane->unpublished--;
	o->lane->bad = 0;
	unborrow(&o->m);
}

void message_end(struct parser *ps, struct open_msg *o, uint64_t end_pos, uint32_t flags,
		 uint32_t err)
{
	struct lane *l = o->lane;

	o->m.size = end_pos - o->m.pos;
	o->m.end_ns = end_pos > o->m.pos ? lane_mark(ps, l, end_pos - 1).ts_ns : o->m.start_ns;
	o->m.end_ns = MAX(o->m.end_ns, o->m.start_ns);
	o->m.err = err;
	if (!o->published)
		message_publish(ps, o, MSG_END | flags);
	else
		push(ps, o, MSG_END | flags);
	book_add(&ps->owner->msgs.out, 1);
	if (!(flags & MSG_ABORTED))
		ps->good = true;
	l->bad = 0;
	forget(ps, o);
}

void message_forget(struct parser *ps, struct open_msg *o, enum msg_drop why)
{
	book_add(&ps->owner->msgs.dropped[why], 1);
	forget(ps, o);
}

/* ---- what parsers call ---- */

static struct open_msg *open_msg_new(struct protos *p)
{
	struct open_msg *o = p->spare_msgs;

	if (!o)
		return calloc(1, sizeof(*o));
	p->spare_msgs = o->next;
	memset(o, 0, sizeof(*o));
	return o;
}

void *parser_state(struct parser *ps)
{
	return ps->state;
}

struct conn *parser_conn(struct parser *ps)
{
	return ps->conn;
}

struct arena *parser_mem(struct parser *ps)
{
	return lane_mem(ps, ps->now);
}

struct msg *parser_begin(struct parser *ps, enum msg_type type, uint32_t stream_id, size_t at)
{
	struct books *books = &ps->owner->msgs;
	struct lane *l = ps->now;
	struct open_msg *o = NULL;
	struct mark mark;

	book_add(&books->in, 1);
	if (ps->open_cnt < PARSER_OPEN_MAX)
		o = open_msg_new(ps->owner);
	if (!o) {
		book_add(&books->dropped[ps->open_cnt < PARSER_OPEN_MAX ? MSG_DROP_no_memory
									: MSG_DROP_too_many_open],
			 1);
		return NULL;
	}
	o->lane = l;
	o->m.type = type;
	o->m.proto = ps->proto;
	o->m.conn = ps->conn;
	o->m.dir = (uint8_t)(l - ps->lane);
	o->m.stream_id = stream_id;
	o->m.pos = ps->call_pos + MIN(at, ps->call_len);
	mark = lane_mark(ps, l, o->m.pos);
	o->m.start_ns = mark.ts_ns;
	o->m.tgid = mark.tgid;
	o->m.thread = mark.thread;
	o->m.body_size = UINT64_MAX;
	if (l->gap)
		o->m.flags |= MSG_AFTER_GAP;
	DL_APPEND(ps->open, o);
	ps->open_cnt++;
	l->unpublished++;
	book_add(&books->held, 1);
	return &o->m;
}

void parser_publish(struct parser *ps, struct msg *m)
{
	if (m)
		message_publish(ps, (struct open_msg *)m, 0);
}

void parser_end(struct parser *ps, struct msg *m, size_t at)
{
	struct open_msg *o = (struct open_msg *)m;
	uint64_t end = ps->call_pos + MIN(at, ps->call_len);

	if (!o)
		return;
	/* a parser may end the other side's message: then that side's own position counts */
	if (o->lane != ps->now)
		end = o->lane->pos;
	message_end(ps, o, MAX(end, o->m.pos), 0, 0);
}

void parser_skip(struct parser *ps, uint64_t n)
{
	struct lane *l = ps->now;

	l->skip = n > UINT64_MAX - l->skip ? UINT64_MAX : l->skip + n;
	l->poke = true;
}

void parser_skip_to_end(struct parser *ps, struct msg *m, uint64_t n)
{
	parser_skip(ps, n);
	ps->now->skip_msg = (struct open_msg *)m;
}

void parser_flag(struct msg *m, uint32_t flags)
{
	if (m)
		m->flags |= flags & (MSG_TRUNCATED | MSG_ONE_WAY | MSG_INTERNAL);
}

void parser_drop(struct parser *ps, struct msg *m)
{
	if (m && !((struct open_msg *)m)->published)
		message_forget(ps, (struct open_msg *)m, MSG_DROP_abandoned);
}

bool parser_had_gap(struct parser *ps)
{
	return ps->now->gap;
}

bool parser_cut(struct parser *ps)
{
	return ps->now->cut;
}

ptrdiff_t parser_turn(struct parser *ps)
{
	uint64_t at = ps->now->turn_pos - ps->call_pos;

	return ps->now->turn_pos >= ps->call_pos && at < ps->call_len ? (ptrdiff_t)at : -1;
}

void parser_give_up(struct parser *ps)
{
	ps->fate = FATE_GIVEN_UP;
}

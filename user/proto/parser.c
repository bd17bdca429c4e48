/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room's entrance: chunks find their connection, the connection its protocol; each chunk is
 * booked, each end of a connection ends what is open on it.
 */
#include "proto/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#define BUFFER_DEFAULT (20u << 10)
#define BUFFER_MIN     ((16u << 10) + 4)

/* What conn->above[0] points at once a connection is of no more interest. */
static char ignored_unknown, ignored_given_up;

/* ---- a connection's life ---- */

static struct parser *parser_new(struct protos *p, struct conn *conn)
{
	struct parser *ps = calloc(1, sizeof(*ps));

	if (!ps)
		return NULL;
	ps->owner = p;
	ps->conn = conn;
	conn->above[0] = ps;
	DL_APPEND(p->parsers, ps);
	return ps;
}

static void book_waiting(struct protos *p, struct lane *l, uint64_t *where)
{
	book_add(&p->chunks.held, -(uint64_t)l->waiting);
	book_add(where, l->waiting);
	l->waiting = 0;
}

/* Forgets the protocol and all that hangs on it; 'where' takes the chunks that wait. */
static void parser_clear(struct parser *ps, uint64_t *where)
{
	while (ps->open) {
		struct open_msg *o = ps->open;

		if (o->published)
			message_end(ps, o, MAX(o->lane->pos, o->m.pos), MSG_TRUNCATED, 0);
		else
			message_forget(ps, o, MSG_DROP_abandoned);
	}
	for (int i = 0; i < 2; i++) {
		lane_release(ps, &ps->lane[i]);
		lane_mem_release(ps, &ps->lane[i]);
		book_waiting(ps->owner, &ps->lane[i], where);
	}
	if (ps->proto && ps->proto->fini && ps->state)
		ps->proto->fini(ps->state);
	free(ps->state);
	ps->state = NULL;
	ps->proto = NULL;
}

static void parser_free(struct parser *ps, uint64_t *where)
{
	parser_clear(ps, where);
	DL_DELETE(ps->owner->parsers, ps);
	free(ps);
}

static unsigned int misses_max(const struct parser *ps)
{
	bool joined = ps->conn->flags & CONN_F_MIDSTREAM || ps->lane[0].gap || ps->lane[1].gap;

	return joined ? MISSES_MAX : MISSES_FRESH;
}

static void parser_missed(struct parser *ps)
{
	ps->misses++;
	if (ps->misses >= misses_max(ps))
		ps->fate = FATE_NO_PROTOCOL;
}

/* The detection was wrong: as if the connection were seen for the first time here. */
static void parser_restart(struct parser *ps)
{
	parser_clear(ps, &ps->owner->chunks.dropped[CHUNK_DROP_out_of_step]);
	for (int i = 0; i < 2; i++) {
		struct lane *l = &ps->lane[i];

		*l = (struct lane){ .pos = l->end,
				    .end = l->end,
				    .last_ns = l->last_ns,
				    .seen = l->seen,
				    .failed = true,
				    .gap = true };
	}
	ps->fate = FATE_ALIVE;
	ps->misses += 3;
	parser_missed(ps);
}

/* ---- detection ---- */

static uint16_t server_port(const struct conn *conn)
{
	if (conn->role == ROLE_DIALLED)
		return conn->remote.port;
	return conn->role == ROLE_ACCEPTED ? conn->local.port : 0;
}

/*
 * Asks every protocol in order. With 'final' there is no waiting for one that wants more bytes.
 * On DETECT_REQUEST and DETECT_RESPONSE *ret_row says whose they are.
 */
static enum detect detect_all(const struct parser *ps, const uint8_t *data, size_t len, bool final,
			      bool datagram, size_t *ret_row)
{
	uint16_t port = server_port(ps->conn);

	len = MIN(len, DETECT_MAX);
	for (size_t i = 0; ps->owner->rows[i]; i++) {
		enum detect d = ps->owner->rows[i]->detect(data, len, port, datagram);

		if (d == DETECT_MORE && !final)
			return DETECT_MORE;
		if (d == DETECT_REQUEST || d == DETECT_RESPONSE) {
			*ret_row = i;
			return d;
		}
	}
	return DETECT_NO;
}

static int adopt(struct parser *ps, size_t row, struct lane *l, enum detect d)
{
	const struct proto *proto = ps->owner->rows[row];
	struct lane *other = &ps->lane[l == &ps->lane[0]];
	struct hold *h = other->hold;
	enum detect shown = DETECT_NO;

	ps->state = proto->state_size ? calloc(1, proto->state_size) : NULL;
	if (proto->state_size && !ps->state)
		return -ENOMEM;
	ps->proto = proto;
	ps->owner->conn_cnt[row]++;
	l->side = d == DETECT_REQUEST ? SIDE_REQUEST : SIDE_RESPONSE;
	other->side = d == DETECT_REQUEST ? SIDE_RESPONSE : SIDE_REQUEST;
	/* What the other side showed before may be understood now; else it begins somewhere. Bytes
	 * that could become anything ("may be more") are what the end of a message looks like. */
	if (h)
		shown = proto->detect(h->data, MIN(h->len, (uint32_t)DETECT_MAX),
				      server_port(ps->conn), false);
	if (other->failed && shown != DETECT_REQUEST && shown != DETECT_RESPONSE) {
		other->resync = other->gap = true;
		if (!proto->resync)
			ps->fate = FATE_GIVEN_UP;
	}
	l->failed = other->failed = false;
	lane_drain(ps, other);
	return 0;
}

/* The bytes that wait on a lane are tried for good; adopts a protocol where one is found. */
static void detect_held(struct parser *ps, struct lane *l)
{
	enum detect d;
	size_t row;

	if (!l->hold || l->failed)
		return;
	d = detect_all(ps, l->hold->data, l->hold->len, true, false, &row);
	if (d == DETECT_NO) {
		/* they stay until the next turn: what the other side says may explain them */
		l->failed = true;
		parser_missed(ps);
	} else if (adopt(ps, row, l, d) == 0) {
		lane_drain(ps, l);
	}
}

static void lane_forget(struct parser *ps, struct lane *l)
{
	lane_release(ps, l);
	l->pos = l->end;
	book_waiting(ps->owner, l, &ps->owner->chunks.dropped[CHUNK_DROP_no_protocol]);
}

/* Data of a connection whose protocol is not known. True when it became known: c is yet to be
 * parsed then; else c waits, or has gone. */
static bool detect_data(struct parser *ps, struct lane *l, const struct chunk *c)
{
	uint32_t held = l->hold ? MIN(l->hold->len, (uint32_t)DETECT_MAX) : 0;
	size_t len = MIN(c->len, (uint64_t)DETECT_MAX - held), row, n;
	uint8_t joined[DETECT_MAX];
	const uint8_t *data = c->data;
	enum detect d;

	if (l->failed) {
		lane_forget(ps, l);
		return false;
	}
	if (held) {
		memcpy(joined, l->hold->data, held);
		memcpy(joined + held, c->data, len);
		data = joined;
		len += held;
	}
	d = detect_all(ps, data, len, len >= DETECT_MAX, false, &row);
	if (d == DETECT_REQUEST || d == DETECT_RESPONSE)
		return adopt(ps, row, l, d) == 0;
	if (d == DETECT_MORE && lane_hold(ps, l, c, c->data, c->len, &n) == 0)
		return false;
	l->failed = true;
	lane_forget(ps, l);
	parser_missed(ps);
	return false;
}

/* ---- bytes ---- */

/* Each datagram stands alone, and says itself which way it goes. */
static int push_datagram(struct parser *ps, struct lane *l, const struct chunk *c)
{
	size_t len = MIN(c->len, (uint64_t)DETECT_MAX), row;
	enum detect d;

	if (ps->proto)
		d = ps->proto->detect(c->data, len, server_port(ps->conn), true);
	else
		d = detect_all(ps, c->data, len, true, true, &row);
	if (d != DETECT_REQUEST && d != DETECT_RESPONSE) {
		if (!ps->proto)
			parser_missed(ps);
		return -ENOMSG;
	}
	l->pos = c->pos;
	if (!ps->proto && adopt(ps, row, l, d))
		return -ENOMEM;
	l->side = d == DETECT_REQUEST ? SIDE_REQUEST : SIDE_RESPONSE;
	l->resync = l->gap = false;
	l->bad = 0;
	l->skip = 0;
	l->cut = true;
	lane_parse(ps, l, c->data, c->len);
	l->cut = false;
	if (ps->fate == FATE_RESTART)
		ps->fate = FATE_ALIVE;
	return 0;
}

/* 0, or why the chunk's bytes were of no use. */
static int push_data(struct parser *ps, struct lane *l, const struct chunk *c)
{
	struct lane *other = &ps->lane[l == &ps->lane[0]];

	if (!ps->proto && l->turn_pos == c->pos) {
		detect_held(ps, other);
		if (!ps->proto) {
			/* of an earlier turn */
			lane_release(ps, l);
			l->pos = c->pos;
			book_waiting(ps->owner, l,
				     &ps->owner->chunks.dropped[CHUNK_DROP_no_protocol]);
			l->failed = false;
		}
	}
	if (ps->fate != FATE_ALIVE)
		return 0;
	if (!ps->proto && !detect_data(ps, l, c))
		return l->hold ? 0 : -ENOMSG;
	return ps->fate == FATE_ALIVE ? lane_data(ps, l, c) : 0;
}

static void push_gap(struct parser *ps, struct lane *l, uint64_t len)
{
	if (!ps->proto)
		detect_held(ps, l);
	if (ps->proto && ps->fate == FATE_ALIVE) {
		lane_gap(ps, l, len);
		return;
	}
	lane_forget(ps, l); /* its end counts the gap already */
	l->failed = l->gap = true;
}

/* The stream has ended: what waits is parsed, what goes on until the end ends. */
static void push_eof(struct parser *ps, struct lane *l, uint32_t err)
{
	if (!ps->proto)
		detect_held(ps, l);
	if (!ps->proto || ps->fate != FATE_ALIVE)
		return;
	lane_cut(ps, l);
	if (l->skip == UINT64_MAX && l->skip_msg)
		message_end(ps, l->skip_msg, l->pos, err ? MSG_ABORTED : 0, err);
}

/* Makes up for a chunk that does not begin where the last one ended. Returns c, or *fixed. */
static const struct chunk *in_order(struct parser *ps, struct lane *l, const struct chunk *c,
				    struct chunk *fixed)
{
	uint64_t n;

	if (!l->seen) {
		l->seen = true;
		l->pos = l->end = c->pos;
	}
	if (c->pos > l->end && ps->fate == FATE_ALIVE) {
		n = c->pos - l->end;
		l->end = c->pos;
		push_gap(ps, l, n);
	} else if (c->pos < l->end) {
		n = MIN(l->end - c->pos, c->len);
		*fixed = *c;
		fixed->pos += n;
		fixed->len -= n;
		if (fixed->data)
			fixed->data += n;
		c = fixed;
	}
	l->end = MAX(l->end, c->pos + c->len);
	return c;
}

/* Where the chunk, and those that waited with it, go in the books. */
static void book_chunk(struct parser *ps, struct lane *l, const struct chunk *c, int err)
{
	struct books *b = &ps->owner->chunks;
	uint64_t *where = &b->out;

	if (err == -ENOMSG || ps->fate == FATE_NO_PROTOCOL)
		where = &b->dropped[CHUNK_DROP_no_protocol];
	else if (err)
		where = &b->dropped[err == -ENOBUFS ? CHUNK_DROP_buffers_full
						    : CHUNK_DROP_no_memory];
	else if (ps->fate == FATE_RESTART || (l->resync && c->kind == CHUNK_DATA))
		where = &b->dropped[CHUNK_DROP_out_of_step];
	if (!l->hold || l->hold->len <= c->len)
		book_waiting(ps->owner, l, l->hold ? &b->out : where);
	if (l->hold && c->kind == CHUNK_DATA) {
		l->waiting++;
		book_add(&b->held, 1);
	} else {
		book_add(where, 1);
	}
}

static void push_bytes(struct parser *ps, const struct chunk *c)
{
	struct lane *l = &ps->lane[c->dir];
	struct chunk fixed;
	int err = 0;

	ps->chunk = c;
	if (c->kind != CHUNK_EOF && !c->datagram) {
		if (!ps->spoken || ps->last_dir != c->dir)
			l->turn_pos = c->pos;
		ps->spoken = true;
		ps->last_dir = c->dir;
		c = ps->chunk = in_order(ps, l, c, &fixed);
	}
	if (c->kind == CHUNK_EOF)
		push_eof(ps, l, c->err);
	else if (c->kind == CHUNK_GAP && !c->datagram && c->len)
		push_gap(ps, l, c->len);
	else if (c->kind == CHUNK_DATA && c->datagram)
		err = push_datagram(ps, l, c);
	else if (c->kind == CHUNK_DATA && c->len)
		err = push_data(ps, l, c);
	if (c->kind != CHUNK_EOF && !l->hold)
		l->last_ns = c->ts_ns;
	book_chunk(ps, l, c, err);
	for (int i = 0; i < 2; i++)
		lane_mem_release(ps, &ps->lane[i]);
	ps->chunk = NULL;
}

static void take_bytes(struct protos *p, const struct chunk *c)
{
	struct parser *ps = c->conn->above[0];

	if ((void *)ps == &ignored_unknown || (void *)ps == &ignored_given_up) {
		book_add(&p->chunks.dropped[(void *)ps == &ignored_unknown ? CHUNK_DROP_no_protocol
									   : CHUNK_DROP_given_up],
			 1);
		return;
	}
	if (!ps)
		ps = parser_new(p, c->conn);
	if (!ps) {
		book_add(&p->chunks.dropped[CHUNK_DROP_no_memory], 1);
		return;
	}
	push_bytes(ps, c);
	if (ps->fate == FATE_RESTART)
		parser_restart(ps);
	if (ps->fate == FATE_GIVEN_UP) {
		p->given_up++;
		c->conn->above[0] = &ignored_given_up;
		parser_free(ps, &p->chunks.out);
	} else if (ps->fate == FATE_NO_PROTOCOL) {
		p->unknown++;
		c->conn->above[0] = &ignored_unknown;
		parser_free(ps, &p->chunks.dropped[CHUNK_DROP_no_protocol]);
	}
}

static void take_close(struct protos *p, const struct chunk *c)
{
	struct parser *ps = c->conn->above[0];
	bool ignored = (void *)ps == &ignored_unknown || (void *)ps == &ignored_given_up;

	if (ps && !ignored) {
		ps->chunk = c;
		for (int i = 0; i < 2; i++)
			push_eof(ps, &ps->lane[i], c->err);
		while (ps->open)
			message_end(ps, ps->open, MAX(ps->open->lane->pos, ps->open->m.pos),
				    MSG_ABORTED, c->err);
		parser_free(ps, ps->proto ? &p->chunks.out
					  : &p->chunks.dropped[CHUNK_DROP_no_protocol]);
	}
	c->conn->above[0] = NULL;
}

/* ---- the room ---- */

static bool is_listed(const char *only, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = only; at && *at; at = strchr(at, ',')) {
		at += strspn(at, ", ");
		if (strncmp(at, name, len) == 0 && strchr(", ", at[len]))
			return true;
	}
	return !only;
}

static double read_count(void *ctx)
{
	return (double)*(const uint64_t *)ctx;
}

static void add_gauge(struct protos *p, size_t i, const char *name, const char *help,
		      uint64_t *count)
{
	snprintf(p->gauge_names[i], sizeof(p->gauge_names[i]), "proto_%s_connections_total", name);
	p->gauges[i] = (struct gauge){ p->gauge_names[i], help, "counter", read_count, count };
	gauges_register(&p->gauges[i]);
}

static int protos_init(struct protos *p)
{
	size_t rows = 0, cnt = 0;

	while (proto_registry[rows])
		rows++;
	p->rows = calloc(rows + 1, sizeof(*p->rows));
	p->conn_cnt = calloc(rows + 1, sizeof(*p->conn_cnt));
	p->gauges = calloc(rows + 2, sizeof(*p->gauges));
	p->gauge_names = calloc(rows + 2, sizeof(*p->gauge_names));
	p->no_mem = arena_new(1);
	if (!p->rows || !p->conn_cnt || !p->gauges || !p->gauge_names || !p->no_mem)
		return -ENOMEM;
	for (size_t i = 0; i < rows; i++)
		if (is_listed(p->cfg.only, proto_registry[i]->name))
			p->rows[cnt++] = proto_registry[i];
	for (size_t i = 0; i < cnt; i++)
		add_gauge(p, i, p->rows[i]->name, "Connections found to speak this protocol.",
			  &p->conn_cnt[i]);
	add_gauge(p, cnt, "unknown", "Connections no protocol claimed.", &p->unknown);
	add_gauge(p, cnt + 1, "given_up",
		  "Connections left alone after an upgrade or too many errors.", &p->given_up);
	p->gauge_cnt = cnt + 2;
	return 0;
}

struct protos *protos_new(const struct proto_cfg *cfg, struct msg_sink out)
{
	struct protos *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->cfg = *cfg;
	p->out = out;
	if (!p->cfg.buffer_max)
		p->cfg.buffer_max = BUFFER_DEFAULT;
	p->cfg.buffer_max = MAX(p->cfg.buffer_max, BUFFER_MIN);
#define X(name) #name,
	p->chunks =
		(struct books){ .stage = "proto", .unit = "chunk", .reason = { CHUNK_REASONS(X) } };
	p->msgs = (struct books){ .stage = "message",
				  .unit = "message",
				  .reason = { MSG_REASONS(X) } };
#undef X
	if (protos_init(p) || books_register(&p->chunks) || books_register(&p->msgs)) {
		protos_free(p);
		return NULL;
	}
	return p;
}

void protos_push(struct protos *p, const struct chunk *c)
{
	book_add(&p->chunks.in, 1);
	switch (c->kind) {
	case CHUNK_DATA:
	case CHUNK_GAP:
	case CHUNK_EOF: take_bytes(p, c); return;
	case CHUNK_CLOSE: take_close(p, c); break;
	case CHUNK_OPEN:
	case CHUNK_RETRANSMIT: break;
	}
	book_add(&p->chunks.out, 1);
	p->out.mark(p->out.ctx, c);
}

static void push_nowhere(void *ctx, const struct msg *m)
{
}

void protos_free(struct protos *p)
{
	if (!p)
		return;
	/* connections may be gone already, and nobody listens any more */
	p->out.push = push_nowhere;
	while (p->parsers)
		parser_free(p->parsers, &p->chunks.out);
	while (p->spare_msgs) {
		struct open_msg *o = p->spare_msgs;
		p->spare_msgs = o->next;
		free(o);
	}
	while (p->spare_holds) {
		struct hold *h = p->spare_holds;
		p->spare_holds = h->next;
		free(h);
	}
	for (uint32_t i = 0; i < p->spare_mem_cnt; i++)
		arena_free(p->spare_mem[i]);
	for (size_t i = 0; i < p->gauge_cnt; i++)
		gauges_unregister(&p->gauges[i]);
	books_unregister(&p->chunks);
	books_unregister(&p->msgs);
	arena_free(p->no_mem);
	free(p->gauge_names);
	free(p->gauges);
	free(p->conn_cnt);
	free(p->rows);
	free(p);
}

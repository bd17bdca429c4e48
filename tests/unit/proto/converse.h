/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays recorded conversations through the proto room and tells what came out as text: one line an
 * exchange, in the order of requests. A conversation is a file of lines "> hex" (client) and
 * "< hex" (server), see tests/fixtures/proto/README.md; the lines it must give rest beside it.
 */
#ifndef TESTS_PROTO_CONVERSE_H
#define TESTS_PROTO_CONVERSE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/buf.h"
#include "proto/proto.h"

#define PIECES_MAX    512
#define EXCHANGES_MAX 1024
#define FIXTURES      "tests/fixtures/proto/"

struct piece {
	bool server;
	uint8_t *p;
	size_t len;
};

struct talk {
	struct piece piece[PIECES_MAX];
	size_t cnt;
};

/* What is done to a conversation on its way. 0: nothing. */
struct damage {
	size_t split;	  /* bytes a chunk at most */
	size_t first;	  /* pieces left out at the beginning: joined later */
	size_t first_cut; /* bytes left out of the first piece after them, at most all */
	size_t hole_at;	  /* of one direction */
	size_t hole_len;
	bool hole_server;
	uint64_t step_ns; /* between two pieces; 10 ms */
};

struct exchange {
	uint64_t pos; /* of the request */
	uint32_t stream_id;
	uint32_t flags;
	uint64_t start_ns;
	bool closed;	    /* given up waiting */
	struct buf request; /* text, NUL-terminated */
	struct buf response;
	bool answered;
};

struct outcome {
	struct exchange ex[EXCHANGES_MAX];
	size_t cnt;
	size_t orphans; /* responses without a request */
	size_t open;	/* begun and never ended */
	bool datagram;
	uint16_t port;
};

static void print_value(struct buf *b, const struct value *v)
{
	switch (v->type) {
	case VALUE_STR: buf_add_str(b, v->str); break;
	case VALUE_INT: buf_printf(b, "%lld", (long long)v->i); break;
	case VALUE_BOOL: buf_printf(b, "%s", v->b ? "true" : "false"); break;
	case VALUE_ARRAY:
		for (size_t i = 0; i < v->array.cnt; i++) {
			buf_add_str(b, i ? STR(",") : STR("["));
			print_value(b, &v->array.item[i]);
		}
		buf_add_char(b, ']');
		break;
	default: fail_msg("a value of type %d", v->type);
	}
}

static void print_msg(struct buf *b, const struct msg *m)
{
	if (m->type == MSG_REQUEST)
		buf_printf(b, STR_FMT "/" STR_FMT, STR_ARG(m->operation), STR_ARG(m->target));
	if (m->flags & MSG_INTERNAL)
		buf_add_str(b, STR(" internal"));
	if (m->flags & MSG_ONE_WAY)
		buf_add_str(b, STR(" one-way"));
	if (m->flags & MSG_TRUNCATED)
		buf_add_str(b, STR(" truncated"));
	for (uint32_t i = 0; i < m->attrs.cnt; i++) {
		buf_printf(b, " | " STR_FMT "=", STR_ARG(m->attrs.item[i].key));
		print_value(b, &m->attrs.item[i].value);
	}
	if (m->status == STATUS_ERROR)
		buf_printf(b, " | error=" STR_FMT, STR_ARG(m->error_type));
	if (m->server_status == STATUS_ERROR)
		buf_add_str(b, STR(" | server-error"));
	if (m->status_message.len)
		buf_printf(b, " | message=" STR_FMT, STR_ARG(m->status_message));
	for (size_t i = 0; i < b->len; i++)
		if (b->p[i] == '\n')
			b->p[i] = ' ';
	buf_add_char(b, 0);
	assert_false(b->failed);
}

static bool is_waiting(const struct exchange *e, uint32_t stream_id)
{
	return !e->answered && !e->closed && !(e->flags & MSG_ONE_WAY) && e->stream_id == stream_id;
}

/* After a hole: what waits gets no answer any more, but the last where that can be told. */
static void close_waiting(struct outcome *o, uint32_t stream_id, bool keep_last)
{
	struct exchange *last = NULL;
	bool together = false;

	for (size_t i = 0; i < o->cnt; i++) {
		if (!is_waiting(&o->ex[i], stream_id))
			continue;
		together |= last && last->start_ns == o->ex[i].start_ns;
		if (last)
			last->closed = true;
		last = &o->ex[i];
	}
	if (last && (together || !keep_last))
		last->closed = true;
}

/* Pairs as the span room does: first in, first out, within a stream; see user/span/pair.c. */
static void outcome_push(void *ctx, const struct msg *m)
{
	struct outcome *o = ctx;
	struct exchange *e;

	o->open += !!(m->flags & MSG_BEGIN);
	o->open -= !!(m->flags & MSG_END);
	if (!(m->flags & MSG_BEGIN))
		return;
	if (m->flags & MSG_AFTER_GAP)
		close_waiting(o, m->stream_id, m->type == MSG_RESPONSE);
	if (m->type == MSG_REQUEST) {
		assert_true(o->cnt < EXCHANGES_MAX);
		e = &o->ex[o->cnt++];
		memset(e, 0, sizeof(*e));
		e->pos = m->pos;
		e->flags = m->flags;
		e->stream_id = m->stream_id;
		e->start_ns = m->start_ns;
		print_msg(&e->request, m);
		return;
	}
	for (e = o->ex; e < o->ex + o->cnt; e++) {
		if (!is_waiting(e, m->stream_id))
			continue;
		e->answered = true;
		print_msg(&e->response, m);
		return;
	}
	o->orphans++;
}

static void outcome_mark(void *ctx, const struct chunk *c)
{
}

static void outcome_clear(struct outcome *o)
{
	for (size_t i = 0; i < o->cnt; i++) {
		buf_fini(&o->ex[i].request);
		buf_fini(&o->ex[i].response);
	}
	o->cnt = o->orphans = o->open = 0;
}

static void outcome_text(const struct outcome *o, struct buf *ret)
{
	buf_clear(ret);
	for (size_t i = 0; i < o->cnt; i++)
		buf_printf(ret, "%s\n    %s%s\n", o->ex[i].request.p,
			   o->ex[i].answered ? "->" : "-- no answer",
			   o->ex[i].answered ? o->ex[i].response.p : "");
	assert_false(ret->failed);
}

/* ---- conversations ---- */

static uint8_t *hex_bytes(const char *hex, size_t *ret_len)
{
	size_t n = strspn(hex, "0123456789abcdef") / 2;
	uint8_t *p = malloc(n ? n : 1);
	unsigned int byte;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		p[i] = (uint8_t)byte;
	}
	*ret_len = n;
	return p;
}

static void talk_add(struct talk *t, bool server, const void *p, size_t len)
{
	struct piece *piece = &t->piece[t->cnt++];

	assert_true(t->cnt <= PIECES_MAX);
	*piece = (struct piece){ .server = server, .p = malloc(len ? len : 1), .len = len };
	memcpy(piece->p, p, len);
}

static void talk_hex(struct talk *t, bool server, const char *hex)
{
	size_t len;
	uint8_t *p = hex_bytes(hex, &len);

	talk_add(t, server, p, len);
	free(p);
}

static void talk_load(struct talk *t, const char *name)
{
	char path[256], *line = NULL;
	size_t size = 0;
	FILE *f;

	t->cnt = 0;
	snprintf(path, sizeof(path), FIXTURES "%s.txt", name);
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s: cannot be read; run from the top of the tree", path);
	while (getline(&line, &size, f) > 0)
		if (line[0] == '>' || line[0] == '<')
			talk_hex(t, line[0] == '<', line + 2);
	fclose(f);
	free(line);
}

static void talk_free(struct talk *t)
{
	for (size_t i = 0; i < t->cnt; i++)
		free(t->piece[i].p);
	t->cnt = 0;
}

/* ---- playing ---- */

struct player {
	struct protos *room;
	struct conn conn;
	struct outcome *out;
	const struct damage *damage;
	uint64_t pos[2];
	uint64_t now;
};

static void player_chunk(struct player *pl, bool server, const uint8_t *p, size_t len)
{
	int dir = server ? DIR_IN : DIR_OUT;
	struct chunk c = { .kind = p ? CHUNK_DATA : CHUNK_GAP,
			   .conn = &pl->conn,
			   .dir = (uint8_t)dir,
			   .gap = p ? GAP_NONE : GAP_BUDGET,
			   .datagram = pl->out->datagram,
			   .pos = pl->pos[server],
			   .len = len,
			   .ts_ns = pl->now };
	uint8_t *copy = NULL;

	if (!len)
		return;
	if (p) { /* of its exact size, so that the sanitizer sees a read past it */
		copy = malloc(len);
		memcpy(copy, p, len);
		c.data = copy;
	}
	protos_push(pl->room, &c);
	free(copy);
	pl->pos[server] += len;
}

/* The part of a piece before, in and after the hole. */
static void player_piece(struct player *pl, const struct piece *piece, size_t skip)
{
	const struct damage *d = pl->damage;
	size_t i = skip;

	while (i < piece->len) {
		size_t at = pl->pos[piece->server], n = piece->len - i;
		bool mine = d->hole_len && piece->server == d->hole_server;
		bool inside = mine && at >= d->hole_at && at < d->hole_at + d->hole_len;

		if (inside)
			n = MIN(n, d->hole_at + d->hole_len - at);
		else if (mine && at < d->hole_at)
			n = MIN(n, d->hole_at - at);
		if (d->split && !inside)
			n = MIN(n, d->split);
		player_chunk(pl, piece->server, inside ? NULL : piece->p + i, n);
		i += n;
	}
}

static void play(const struct talk *t, struct damage d, struct outcome *o)
{
	struct proto_cfg cfg = { .buffer_max = 20 << 10 };
	struct player pl = {
		.room = protos_new(&cfg, (struct msg_sink){ o, outcome_push, outcome_mark }),
		.conn = { .id = 1,
			  .transport = o->datagram ? TRANSPORT_UDP : TRANSPORT_TCP,
			  .role = ROLE_DIALLED,
			  .flags = d.first || d.first_cut ? CONN_F_MIDSTREAM : 0,
			  .remote.port = o->port },
		.out = o,
		.damage = &d,
		.now = 1000000000,
	};
	struct chunk mark = { .kind = CHUNK_OPEN, .conn = &pl.conn };

	assert_non_null(pl.room);
	for (size_t i = 0; i < d.first; i++)
		pl.pos[t->piece[i].server] += t->piece[i].len;
	if (d.first < t->cnt)
		pl.pos[t->piece[d.first].server] += d.first_cut;
	protos_push(pl.room, &mark);
	for (size_t i = d.first; i < t->cnt; i++) {
		pl.now += d.step_ns ? d.step_ns : 10000000;
		player_piece(&pl, &t->piece[i], i == d.first ? d.first_cut : 0);
	}
	mark.kind = CHUNK_CLOSE;
	mark.ts_ns = pl.now;
	protos_push(pl.room, &mark);
	protos_free(pl.room);
}

static size_t talk_size(const struct talk *t, bool server)
{
	size_t n = 0;

	for (size_t i = 0; i < t->cnt; i++)
		n += t->piece[i].server == server ? t->piece[i].len : 0;
	return n;
}

/* ---- checks ---- */

/* With PROTO_WRITE_GOLDEN set, the undamaged outcome becomes what is wanted: read it before it is
 * kept. */
static void check_golden(const char *name, const struct outcome *o, bool may_write)
{
	char path[256], want[65536];
	struct buf got = { NULL };
	size_t n;
	FILE *f;

	outcome_text(o, &got);
	snprintf(path, sizeof(path), FIXTURES "%s.want", name);
	if (may_write && getenv("PROTO_WRITE_GOLDEN")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fwrite(got.p, 1, got.len, f);
		fclose(f);
	}
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s: missing", path);
	n = fread(want, 1, sizeof(want) - 1, f);
	fclose(f);
	want[n] = 0;
	if (n != got.len || (n && memcmp(want, got.p, n) != 0))
		fail_msg("%s: got\n%.*s", name, (int)got.len, got.p);
	buf_fini(&got);
}

/* Every " | key=value" of text occurs among those of the exchange whole, a cut text as the
 * beginning of one. A statement whose text is unknown is an EXECUTE, and what is cut short or
 * alone may be known less well. */
static bool part_of(const char *text, const struct exchange *whole, const char **ret_field)
{
	static const char *const honest[] = { " | db.operation.name=EXECUTE",
					      " | db.query.summary=EXECUTE",
					      " | db.operation.name=PREPARE",
					      " | db.query.summary=PREPARE",
					      " | db.system.name=mysql",
					      " | error=pipeline_aborted",
					      " | error=_OTHER",
					      NULL };
	const char *field = strstr(text, " | ");

	while (field) {
		const char *end = strstr(field + 3, " | ");
		size_t len = end ? (size_t)(end - field) : strlen(field);
		const char *quote = memmem(field, len, "'?", 2);
		const char *const *h = honest;
		const char *at;

		/* a message cut short after what was taken out of it */
		if (quote && strncmp(field, " | message=", 11) == 0)
			len = (size_t)(quote + 2 - field);
		at = memmem(whole->request.p, whole->request.len, field, len);
		if (!at && whole->response.p)
			at = memmem(whole->response.p, whole->response.len, field, len);
		while (!at && *h && (strlen(*h) != len || memcmp(*h, field, len) != 0))
			h++;
		if (!at && !*h) {
			*ret_field = field;
			return false;
		}
		field = end;
	}
	return true;
}

/* The exchange of the whole conversation that the byte belongs to. */
static const struct exchange *exchange_at(const struct outcome *whole, const struct exchange *e)
{
	const struct exchange *best = NULL;

	for (size_t i = 0; i < whole->cnt; i++)
		if (whole->ex[i].pos <= e->pos && whole->ex[i].stream_id == e->stream_id)
			best = &whole->ex[i];
	return best;
}

/* Fails when an exchange has a field that is not true of it. Returns how many are answered. */
static size_t check_honest(const char *what, const struct outcome *whole, const struct outcome *o,
			   struct damage d)
{
	const char *field = "";
	size_t answered = 0;

	for (size_t i = 0; i < o->cnt; i++) {
		const struct exchange *e = &o->ex[i], *w = exchange_at(whole, e);
		answered += e->answered;
		if (w && part_of(e->request.p, w, &field) &&
		    (!e->answered || part_of(e->response.p, w, &field)))
			continue;
		fail_msg("%s: hole %s %zu+%zu, from %zu+%zu: invented%s\nat %llu %s\n%s\nwhole: at "
			 "%llu\n%s\n%s",
			 what, d.hole_server ? "server" : "client", d.hole_at, d.hole_len, d.first,
			 d.first_cut, field, (unsigned long long)e->pos, e->request.p,
			 e->answered ? e->response.p : "-", (unsigned long long)(w ? w->pos : 0),
			 w ? w->request.p : "nothing", w && w->answered ? w->response.p : "-");
	}
	return answered;
}

/* ---- the tests that every recording goes through ---- */

static struct talk talk;
static struct outcome whole, out;

static int cleanup(void **state)
{
	talk_free(&talk);
	outcome_clear(&whole);
	outcome_clear(&out);
	return 0;
}

static void check_whole(const char *name, size_t split)
{
	talk_load(&talk, name);
	play(&talk, (struct damage){ .split = split }, &whole);
	check_golden(name, &whole, !split);
	assert_int_equal(whole.orphans, 0);
	assert_int_equal(whole.open, 0);
	cleanup(NULL);
}

/* lost: exchanges that one hole may cost at most. */
static __attribute__((unused)) void check_holes(const char *name, size_t lost)
{
	static const size_t lens[] = { 1, 5, 40, 300 };
	size_t answered = 0, got;

	talk_load(&talk, name);
	play(&talk, (struct damage){ 0 }, &whole);
	for (size_t i = 0; i < whole.cnt; i++)
		answered += whole.ex[i].answered;
	for (int server = 0; server < 2; server++) {
		size_t size = talk_size(&talk, server);
		for (size_t at = 0; at < 4 * size; at++) {
			struct damage d = { .hole_at = at / 4,
					    .hole_len = lens[at % 4],
					    .hole_server = server };
			play(&talk, d, &out);
			got = check_honest(name, &whole, &out, d);
			if (d.hole_len <= 40 && got + lost < answered)
				fail_msg("%s: hole %d %zu+%zu: %zu of %zu", name, server, d.hole_at,
					 d.hole_len, got, answered);
			outcome_clear(&out);
		}
	}
	cleanup(NULL);
}

/* late: exchanges that pass at most before a connection joined in the middle is understood. */
static __attribute__((unused)) void check_joined(const char *name, size_t late)
{
	talk_load(&talk, name);
	play(&talk, (struct damage){ 0 }, &whole);
	for (size_t first = 0; first < talk.cnt; first++) {
		size_t left = 0, from = 0, got;
		for (size_t i = 0; i < first; i++)
			from += talk.piece[i].server ? 0 : talk.piece[i].len;
		for (size_t i = 0; i < whole.cnt; i++)
			left += whole.ex[i].pos >= from && whole.ex[i].answered;
		for (size_t cut = 0; cut < MIN(talk.piece[first].len, 300u); cut++) {
			struct damage d = { .first = first, .first_cut = cut };
			play(&talk, d, &out);
			got = check_honest(name, &whole, &out, d);
			if (got + late + !!cut < left)
				fail_msg("%s: from %zu+%zu: %zu of %zu", name, first, cut, got,
					 left);
			outcome_clear(&out);
		}
	}
	cleanup(NULL);
}

#endif

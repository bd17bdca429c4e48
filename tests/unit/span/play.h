/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stage for the span room: connections, threads that read and write on them with the evidence
 * the kernel would give, processes, and what came out. Time moves only when told to.
 */
#ifndef TESTS_SPAN_PLAY_H
#define TESTS_SPAN_PLAY_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "span/internal.h"
#include "span_id.h"

#define MS	  NS_PER_MS
#define START	  (10 * NS_PER_S)
#define OFFSET	  1000000000000ll
#define SPANS_MAX 20000

struct play {
	struct correlate *c;
	struct arena *mem;
	struct span *span[SPANS_MAX];
	unsigned int cnt;
	uint64_t now;
};

/* A thread as the kernel side keeps it. */
struct actor {
	uint32_t tgid, tid;
	struct event_thread th;
};

static const struct proto play_http = { .name = "http" };
static const struct proto play_redis = { .name = "redis" };

static inline void play_push(void *ctx, const struct span *s)
{
	struct play *p = ctx;

	assert_true(p->cnt < SPANS_MAX);
	p->span[p->cnt++] = span_copy(s, p->mem);
}

static inline void play_record(struct play *p, void *rec, uint16_t kind, uint16_t size,
			       uint32_t tgid)
{
	struct event_hdr *h = rec;

	*h = (struct event_hdr){ .ts_ns = p->now, .tgid = tgid, .kind = kind, .size = size };
	correlate_record(p->c, h);
}

static inline void play_begin(struct play *p, const struct correlate_cfg *cfg)
{
	static const struct correlate_cfg defaults;
	struct event_key key = { 0 };
	struct event_clock clock = { .offset_ns = OFFSET };

	memset(p, 0, sizeof(*p));
	p->mem = arena_new(0);
	p->c = correlate_new(cfg ? cfg : &defaults, (struct span_sink){ p, play_push });
	p->now = START;
	for (int i = 0; i < 16; i++)
		key.key[i] = (uint8_t)i;
	play_record(p, &key, EVENT_KEY, sizeof(key), 0);
	play_record(p, &clock, EVENT_CLOCK, sizeof(clock), 0);
	p->now += 2 * NS_PER_S; /* past the start, when threads may hold unseen requests */
}

static inline void play_end(struct play *p)
{
	struct books *b = &p->c->books;

	assert_int_equal(b->in, b->out + b->held + b->dropped[0] + b->dropped[1] + b->dropped[2]);
	for (unsigned int i = 0; i < p->cnt; i++)
		span_release(p->span[i]);
	correlate_free(p->c);
	arena_free(p->mem);
}

static inline void play_pass(struct play *p, uint64_t ns)
{
	for (uint64_t end = p->now + ns; p->now < end;) {
		p->now = MIN(p->now + 100 * MS, end);
		correlate_tick(p->c, p->now);
	}
}

/* Everything comes out that can. */
static inline void play_settle(struct play *p)
{
	play_pass(p, NS_PER_S);
}

static inline void play_proc(struct play *p, uint32_t tgid, enum runtime runtime, const char *name)
{
	char raw[sizeof(struct event_proc) + 256] __attribute__((aligned(8))) = { 0 };
	struct event_proc *rec = (struct event_proc *)raw;
	int len = snprintf(rec->text, 256, "service.name%c%s%cprocess.pid%c%u%c", 0, name, 0, 0,
			   tgid, 0);

	rec->runtime = runtime;
	rec->text_len = (uint32_t)len;
	play_record(p, rec, EVENT_PROC, (uint16_t)(sizeof(*rec) + (size_t)len), tgid);
}

static inline struct actor play_actor(uint32_t tgid, uint32_t tid)
{
	return (struct actor){ .tgid = tgid, .tid = tid, .th = { .tid = tid } };
}

/* ---- connections ---------------------------------------------------------------------------- */

static inline struct conn play_conn(uint64_t id, uint8_t role, uint16_t lport, uint16_t rport)
{
	struct conn c = { .id = id,
			  .transport = TRANSPORT_TCP,
			  .family = 2,
			  .role = role,
			  .netns = 1,
			  .comm = "prog" };
	static const uint8_t local[16] = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 1 };

	memcpy(c.local.addr, local, 16);
	memcpy(c.remote.addr, local, 16);
	c.local.port = lport;
	c.remote.port = rport;
	return c;
}

static inline void play_open(struct play *p, struct conn *conn)
{
	struct chunk ch = { .kind = CHUNK_OPEN, .conn = conn, .ts_ns = p->now };

	if (!conn->open_ns && !(conn->flags & CONN_F_CONNECTING))
		conn->open_ns = p->now;
	correlate_mark(p->c, &ch);
}

static inline void play_close(struct play *p, struct conn *conn, uint32_t err)
{
	struct chunk ch = { .kind = CHUNK_CLOSE, .conn = conn, .err = err, .ts_ns = p->now };

	correlate_mark(p->c, &ch);
}

/* A record of a thread: its evidence, and the sequence that the room follows. */
static inline struct event_thread play_evidence(struct play *p, struct actor *a, struct conn *conn,
						uint8_t dir)
{
	struct event_thread th = a->th;
	struct event_data rec = { .conn = conn->id, .dir = dir, .len = 1, .thread = th };

	if (th.read_turn != th.turn)
		th.reads = th.switches = 0;
	rec.thread = th;
	a->th.seq++;
	play_record(p, &rec, EVENT_DATA, sizeof(rec), a->tgid);
	return th;
}

static inline void play_note_read(struct actor *a, uint64_t conn, uint64_t pos)
{
	struct event_thread *t = &a->th;

	if (t->read_turn != t->turn) {
		t->reads = 0;
		t->switches = 0;
	} else if (t->read_conn != conn && t->reads) {
		t->switches++;
	}
	t->reads++;
	t->read_turn = t->turn;
	t->read_conn = conn;
	t->read_pos = pos;
}

/* ---- messages ------------------------------------------------------------------------------- */

static inline struct msg play_msg(struct play *p, struct actor *a, struct conn *conn, uint8_t type,
				  uint8_t dir, uint64_t pos)
{
	struct msg m = { .type = type,
			 .flags = MSG_BEGIN | MSG_END,
			 .proto = &play_http,
			 .conn = conn,
			 .dir = dir,
			 .pos = pos,
			 .size = 100,
			 .start_ns = p->now,
			 .end_ns = p->now,
			 .body_size = UINT64_MAX };

	if (a) {
		m.tgid = a->tgid;
		m.thread = play_evidence(p, a, conn, dir);
		if (dir == DIR_IN)
			play_note_read(a, conn->id, pos);
	}
	if (type == MSG_REQUEST) {
		m.operation = STR("GET");
		m.path = STR("/");
	} else {
		m.status = m.server_status = STATUS_UNSET;
	}
	return m;
}

/* One whole message passes, a microsecond after whatever was before. */
static inline void play_pass_msg(struct play *p, struct actor *a, struct conn *conn, uint8_t type,
				 uint8_t dir, uint64_t pos)
{
	struct msg m;

	p->now += 1000;
	m = play_msg(p, a, conn, type, dir, pos);
	correlate_msg(p->c, &m);
}

/* What a server and a client do. */
static inline void serve(struct play *p, struct actor *a, struct conn *conn, uint64_t pos)
{
	play_pass_msg(p, a, conn, MSG_REQUEST, DIR_IN, pos);
}

static inline void answer(struct play *p, struct actor *a, struct conn *conn, uint64_t pos)
{
	play_pass_msg(p, a, conn, MSG_RESPONSE, DIR_OUT, pos);
}

static inline void ask(struct play *p, struct actor *a, struct conn *conn, uint64_t pos)
{
	play_pass_msg(p, a, conn, MSG_REQUEST, DIR_OUT, pos);
}

static inline void hear(struct play *p, struct actor *a, struct conn *conn, uint64_t pos)
{
	play_pass_msg(p, a, conn, MSG_RESPONSE, DIR_IN, pos);
}

/* ---- what came out -------------------------------------------------------------------------- */

/* The span of the request at pos, by its derived id; NULL: none. */
static inline struct span *play_find(struct play *p, uint64_t conn, uint8_t dir, uint64_t pos)
{
	uint64_t id = span_id_derive(0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull, conn, dir, pos);

	for (unsigned int i = 0; i < p->cnt; i++) {
		uint64_t got = 0;

		for (int k = 0; k < 8; k++)
			got = got << 8 | p->span[i]->span_id.b[k];
		if (got == id)
			return p->span[i];
	}
	return NULL;
}

static inline bool is_child(const struct span *s, const struct span *parent)
{
	return s && parent && memcmp(&s->parent_id, &parent->span_id, sizeof(s->parent_id)) == 0 &&
	       memcmp(&s->trace_id, &parent->trace_id, sizeof(s->trace_id)) == 0;
}

static inline bool is_root(const struct span *s)
{
	return s && !span_id_is_set(&s->parent_id);
}

static inline struct str span_str(const struct span *s, const char *key)
{
	return attrs_str(&s->attrs, key);
}

#define assert_str(s, text)                                                          \
	do {                                                                         \
		struct str s_ = (s);                                                 \
		char buf_[512];                                                      \
		snprintf(buf_, sizeof(buf_), "%.*s", (int)s_.len, s_.p ? s_.p : ""); \
		assert_string_equal(buf_, text);                                     \
	} while (0)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds scripted conversations to the proto room and writes down the messages that come out, one
 * line a message, in the order in which they began:
 *
 *	request in pos=0 size=18 time=1-1 GET path=/ {http.request.method=GET; ...}
 *
 * Flags follow in brackets when there are any. Time counts the steps of the script from 1.
 */
#ifndef TESTS_FEED_H
#define TESTS_FEED_H

#include "core/books.h"
#include "core/buf.h"
#include "proto/proto.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* after those it wants */
#include <cmocka.h>

enum step_kind { STEP_END, STEP_DATA, STEP_GAP, STEP_EOF, STEP_CLOSE, STEP_DATAGRAM };

struct step {
	enum step_kind kind;
	uint8_t dir;
	const char *p;
	size_t len; /* STEP_CLOSE: errno */
};

#define IN(s)                                       \
	{                                           \
		STEP_DATA, DIR_IN, s, sizeof(s) - 1 \
	}
#define OUT(s)                                       \
	{                                            \
		STEP_DATA, DIR_OUT, s, sizeof(s) - 1 \
	}
#define GAP_IN(n)                         \
	{                                 \
		STEP_GAP, DIR_IN, NULL, n \
	}
#define GAP_OUT(n)                         \
	{                                  \
		STEP_GAP, DIR_OUT, NULL, n \
	}
#define EOF_IN                            \
	{                                 \
		STEP_EOF, DIR_IN, NULL, 0 \
	}
#define EOF_OUT                            \
	{                                  \
		STEP_EOF, DIR_OUT, NULL, 0 \
	}
#define CLOSE(err)                       \
	{                                \
		STEP_CLOSE, 0, NULL, err \
	}
#define UDP_IN(s)                                       \
	{                                               \
		STEP_DATAGRAM, DIR_IN, s, sizeof(s) - 1 \
	}
#define UDP_OUT(s)                                       \
	{                                                \
		STEP_DATAGRAM, DIR_OUT, s, sizeof(s) - 1 \
	}
#define END                          \
	{                            \
		STEP_END, 0, NULL, 0 \
	}

#define FEED_MSGS 4096

struct feed_msg {
	enum msg_type type;
	uint8_t dir;
	uint32_t stream_id;
	uint64_t pos, size, start, end;
	uint32_t flags, err;
	uint64_t body_size;
	bool begun, ended;
	struct buf head; /* operation, path, attributes */
};

struct feed {
	struct protos *p;
	struct conn conn;
	uint64_t pos[2];
	uint64_t now;
	struct feed_msg msg[FEED_MSGS];
	size_t cnt;
	size_t marks;
};

static inline void feed_attrs(struct buf *b, const struct attrs *attrs)
{
	for (uint32_t i = 0; i < attrs->cnt; i++) {
		const struct attr *a = &attrs->item[i];

		buf_printf(b, "%s" STR_FMT "=", i ? "; " : "", STR_ARG(a->key));
		switch (a->value.type) {
		case VALUE_STR: buf_printf(b, STR_FMT, STR_ARG(a->value.str)); break;
		case VALUE_INT: buf_printf(b, "%" PRId64, a->value.i); break;
		case VALUE_BOOL: buf_printf(b, "%s", a->value.b ? "true" : "false"); break;
		case VALUE_ARRAY:
			for (size_t k = 0; k < a->value.array.cnt; k++)
				buf_printf(b, "[" STR_FMT "]", STR_ARG(a->value.array.item[k].str));
			break;
		default: buf_printf(b, "?"); break;
		}
	}
}

static inline void feed_head(struct buf *b, const struct msg *m)
{
	static const char *const status[] = { "unset", "ok", "error" };
	struct {
		const char *name;
		struct str s;
	} strs[] = { { "target", m->target },		{ "path", m->path },
		     { "traceparent", m->traceparent }, { "tracestate", m->tracestate },
		     { "error", m->error_type },	{ "message", m->status_message } };

	if (m->operation.len)
		buf_printf(b, " " STR_FMT, STR_ARG(m->operation));
	for (size_t i = 0; i < ARRAY_LEN(strs); i++)
		if (strs[i].s.len)
			buf_printf(b, " %s=" STR_FMT, strs[i].name, STR_ARG(strs[i].s));
	if (m->status || m->server_status)
		buf_printf(b, " status=%s/%s", status[m->status], status[m->server_status]);
	buf_printf(b, " {");
	feed_attrs(b, &m->attrs);
	buf_printf(b, "}");
}

static inline void feed_msg(void *ctx, const struct msg *m)
{
	struct feed *f = ctx;
	struct feed_msg *to = NULL;

	assert_ptr_equal(m->conn, &f->conn);
	assert_non_null(m->proto);
	for (size_t i = f->cnt; i > 0 && !to; i--)
		if (f->msg[i - 1].type == m->type && f->msg[i - 1].stream_id == m->stream_id &&
		    f->msg[i - 1].pos == m->pos && !f->msg[i - 1].ended)
			to = &f->msg[i - 1];
	if (m->flags & MSG_BEGIN) {
		assert_null(to); /* begins once */
		assert_true(f->cnt < FEED_MSGS);
		to = &f->msg[f->cnt++];
		*to = (struct feed_msg){ .type = m->type,
					 .dir = m->dir,
					 .stream_id = m->stream_id,
					 .pos = m->pos,
					 .start = m->start_ns,
					 .begun = true };
		feed_head(&to->head, m);
	}
	assert_non_null(to); /* ends only what has begun */
	assert_int_equal(to->dir, m->dir);
	to->flags |= m->flags & ~(uint32_t)(MSG_BEGIN | MSG_END);
	if (m->body_size != UINT64_MAX)
		to->body_size = m->body_size;
	if (m->flags & MSG_END) {
		to->ended = true;
		to->size = m->size;
		to->end = m->end_ns;
		to->err = m->err;
		assert_true(m->end_ns >= m->start_ns);
	} else {
		assert_true(m->flags & MSG_BEGIN);
	}
}

static inline void feed_mark(void *ctx, const struct chunk *c)
{
	((struct feed *)ctx)->marks++;
}

/* only: as in struct proto_cfg. The connection starts at position 'pos' in both directions. */
static inline struct feed *feed_new(const char *only, uint64_t pos)
{
	struct feed *f = calloc(1, sizeof(*f));
	struct proto_cfg cfg = { .only = only };

	assert_non_null(f);
	f->conn.id = 7;
	f->conn.tgid = 42;
	f->conn.transport = TRANSPORT_TCP;
	f->pos[0] = f->pos[1] = pos;
	f->p = protos_new(&cfg, (struct msg_sink){ f, feed_msg, feed_mark });
	assert_non_null(f->p);
	return f;
}

static inline void feed_chunk(struct feed *f, enum chunk_kind kind, int dir, const void *p,
			      uint64_t len, uint32_t err)
{
	struct chunk c = { .kind = kind,
			   .conn = &f->conn,
			   .dir = (uint8_t)dir,
			   .err = err,
			   .tgid = 42,
			   .pos = f->pos[dir],
			   .len = len,
			   .ts_ns = f->now,
			   .thread = { .tid = (uint32_t)f->now } };
	/* bytes of their own, so that a read beyond them is seen */
	uint8_t *copy = kind == CHUNK_DATA ? malloc(len ? len : 1) : NULL;

	if (copy)
		memcpy(copy, p, len);
	c.data = copy;
	if (kind == CHUNK_DATA || kind == CHUNK_GAP)
		f->pos[dir] += len;
	protos_push(f->p, &c);
	free(copy);
}

/* piece: the most bytes of a chunk; 0: a step is a chunk. */
static inline void feed_step(struct feed *f, const struct step *s, size_t piece)
{
	f->now++;
	switch (s->kind) {
	case STEP_DATA:
		for (size_t at = 0; at < s->len;) {
			size_t n = piece ? MIN(piece, s->len - at) : s->len;
			feed_chunk(f, CHUNK_DATA, s->dir, s->p + at, n, 0);
			at += n;
		}
		break;
	case STEP_DATAGRAM: {
		struct chunk c = { .kind = CHUNK_DATA,
				   .conn = &f->conn,
				   .dir = s->dir,
				   .datagram = true,
				   .tgid = 42,
				   .pos = f->pos[s->dir],
				   .len = s->len,
				   .data = (const uint8_t *)s->p,
				   .ts_ns = f->now };
		f->pos[s->dir] += s->len;
		protos_push(f->p, &c);
		break;
	}
	case STEP_GAP: feed_chunk(f, CHUNK_GAP, s->dir, NULL, s->len, 0); break;
	case STEP_EOF: feed_chunk(f, CHUNK_EOF, s->dir, NULL, 0, (uint32_t)s->len); break;
	case STEP_CLOSE: feed_chunk(f, CHUNK_CLOSE, s->dir, NULL, 0, (uint32_t)s->len); break;
	case STEP_END: break;
	}
}

static inline void feed_render(struct buf *b, const struct feed_msg *m)
{
	static const char *const names[] = { "begin",	"end",	    "truncated", "aborted",
					     "one-way", "internal", "after-gap" };

	buf_printf(b, "%s %s", m->type == MSG_REQUEST ? "request" : "response",
		   m->dir == DIR_IN ? "in" : "out");
	if (m->stream_id)
		buf_printf(b, " stream=%u", m->stream_id);
	buf_printf(b, " pos=%" PRIu64, m->pos);
	if (m->ended)
		buf_printf(b, " size=%" PRIu64 " time=%" PRIu64 "-%" PRIu64, m->size, m->start,
			   m->end);
	else
		buf_printf(b, " open since %" PRIu64, m->start);
	buf_add(b, m->head.p, m->head.len);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (m->flags & 1u << i)
			buf_printf(b, " [%s]", names[i]);
	buf_printf(b, "\n");
}

static void feed_balance(void *ctx, const struct books *b)
{
	uint64_t dropped = 0;

	for (int i = 0; i < BOOKS_REASONS; i++)
		dropped += b->dropped[i];
	/* no assertion here: it would jump out of the registry's lock */
	if (b->in != b->out + b->held + dropped)
		*(const struct books **)ctx = b;
}

static inline void feed_books_balance(void)
{
	const struct books *bad = NULL;

	books_each(feed_balance, &bad);
	if (bad)
		print_message("books of %s: %" PRIu64 " in, %" PRIu64 " out, %" PRIu64 " held\n",
			      bad->stage, bad->in, bad->out, bad->held);
	assert_null(bad);
}

/* Lines of all messages; the caller frees. Checks the books; frees the feed. */
static inline char *feed_finish(struct feed *f)
{
	struct buf b = { 0 };

	feed_books_balance();
	for (size_t i = 0; i < f->cnt; i++)
		feed_render(&b, &f->msg[i]);
	buf_add(&b, "", 1);
	protos_free(f->p);
	for (size_t i = 0; i < f->cnt; i++)
		buf_fini(&f->msg[i].head);
	free(f);
	return b.p;
}

static inline char *feed_run(const char *only, const struct step *s, size_t piece)
{
	struct feed *f = feed_new(only, 1000);

	for (; s->kind != STEP_END; s++) {
		feed_step(f, s, piece);
		feed_books_balance();
	}
	return feed_finish(f);
}

/* The script gives exactly these lines, however its bytes are cut. */
static inline void feed_expect(const char *only, const struct step *s, const char *want)
{
	static const size_t pieces[] = { 0, 1, 2, 3, 5, 7, 16, 61 };

	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		char *got = feed_run(only, s, pieces[i]);

		if (strcmp(got, want) != 0)
			print_message("in pieces of %zu:\n%s", pieces[i], got);
		assert_string_equal(got, want);
		free(got);
	}
}

/* A message's line without what a hole elsewhere may change: time, size and flags. */
static inline struct str feed_essence(struct str line, char *out, size_t size)
{
	const char *head = memmem(line.p, line.len, "pos=", 4), *brace = NULL;
	size_t n = 0;

	for (size_t i = 0; i < line.len; i++)
		if (line.p[i] == '}')
			brace = line.p + i;
	assert_non_null(head);
	assert_non_null(brace);
	for (const char *p = line.p; p <= brace && n < size; p++) {
		if (p > head && (!strncmp(p, " size=", 6) || !strncmp(p, " time=", 6) ||
				 !strncmp(p, " open since ", 12))) {
			p += p[1] == 'o' ? 12 : 1;
			while (p < brace && *p != ' ')
				p++;
			p--;
			continue;
		}
		out[n++] = *p;
	}
	return (struct str){ out, n };
}

/* Every whole message of 'got' is one of 'all'. */
static inline void feed_none_invented(const char *got, const char *all)
{
	const char *whole = got;

	while (*got) {
		size_t len = strcspn(got, "\n");
		struct str line = { got, len };
		char essence[8192], other[8192];
		bool cut = memmem(got, len, "[truncated]", 11) || memmem(got, len, "[aborted]", 9);
		bool found = cut;

		for (const char *a = all; *a && !found; a += strcspn(a, "\n") + 1)
			found = str_eq(feed_essence(line, essence, sizeof(essence)),
				       feed_essence((struct str){ a, strcspn(a, "\n") }, other,
						    sizeof(other)));
		if (!found)
			print_message("invented: " STR_FMT "\nin: %s\nof:\n%s", STR_ARG(line),
				      whole, all);
		assert_true(found);
		got += len + 1;
	}
}

/* Holes of several lengths at every position: nothing is invented, and the books balance. */
static inline void feed_holes(const char *only, const struct step *script)
{
	static const size_t holes[] = { 1, 3, 20, 200 };
	char *all = feed_run(only, script, 0);

	for (size_t k = 0; script[k].kind != STEP_END; k++) {
		for (size_t at = 0; script[k].kind == STEP_DATA && at < script[k].len; at++) {
			for (size_t h = 0; h < ARRAY_LEN(holes); h++) {
				size_t n = MIN(holes[h], script[k].len - at);
				struct step part[3] = { script[k], script[k], script[k] };
				struct feed *f = feed_new(only, 1000);
				char *got;

				part[0].len = at;
				part[1].kind = STEP_GAP;
				part[1].len = n;
				part[2].p += at + n;
				part[2].len -= at + n;
				for (size_t i = 0; script[i].kind != STEP_END; i++) {
					if (i != k) {
						feed_step(f, &script[i], 0);
						continue;
					}
					feed_step(f, &part[0], 0);
					feed_step(f, &part[1], 0);
					feed_step(f, &part[2], 0);
				}
				got = feed_finish(f);
				feed_none_invented(got, all);
				free(got);
			}
		}
	}
	free(all);
}

#endif

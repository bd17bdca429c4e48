/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile bytes on a connection, through the proto room. The input: a byte that chooses the
 * protocol (0: found by content), then runs of one byte of flags (1: from the server, 2: a hole, 4:
 * joined in the middle), two of length, and the bytes. Besides memory errors, a message that ends
 * without having begun and books that do not balance are faults.
 */
#include "core/books.h"
#include "core/cursor.h"
#include "proto/proto.h"

#include <stdlib.h>

static uint64_t begun, ended;
static volatile uint8_t seen;

/* Reads every byte, so that the sanitizer sees strings that point elsewhere. */
static void touch(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		seen ^= (uint8_t)s.p[i];
}

static void take_msg(void *ctx, const struct msg *m)
{
	begun += !!(m->flags & MSG_BEGIN);
	ended += !!(m->flags & MSG_END);
	if (ended > begun)
		abort();
	if (!(m->flags & MSG_BEGIN))
		return;
	touch(m->operation);
	touch(m->target);
	touch(m->path);
	touch(m->traceparent);
	touch(m->error_type);
	touch(m->status_message);
	for (uint32_t i = 0; i < m->attrs.cnt; i++)
		if (m->attrs.item[i].value.type == VALUE_STR)
			touch(m->attrs.item[i].value.str);
}

static void take_mark(void *ctx, const struct chunk *c)
{
}

static void check_books(void *ctx, const struct books *b)
{
	uint64_t gone = book_read(&b->out) + book_read(&b->held);

	for (int i = 0; i < BOOKS_REASONS; i++)
		gone += book_read(&b->dropped[i]);
	if (gone != book_read(&b->in))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const names[] = { NULL, "postgres", "mysql", "dns", "http", "redis" };
	struct cursor in = cursor_of(data, len);
	struct proto_cfg cfg = { .buffer_max = 20 << 10,
				 .only = names[take_u8(&in) % ARRAY_LEN(names)] };
	bool datagrams = cfg.only && cfg.only[0] == 'd';
	struct protos *room = protos_new(&cfg, (struct msg_sink){ NULL, take_msg, take_mark });
	struct conn conn = { .id = 1,
			     .transport = datagrams ? TRANSPORT_UDP : TRANSPORT_TCP,
			     .role = ROLE_DIALLED };
	struct chunk c = { .kind = CHUNK_OPEN, .conn = &conn, .datagram = datagrams };
	uint64_t pos[2] = { 0, 0 };

	begun = ended = 0;
	protos_push(room, &c);
	while (cursor_left(&in) > 3) {
		uint8_t flags = take_u8(&in);
		size_t n = take_u16le(&in);

		n = MIN(n, cursor_left(&in));
		if (!n)
			continue;
		if (flags & 4)
			conn.flags |= CONN_F_MIDSTREAM;
		c.kind = flags & 2 ? CHUNK_GAP : CHUNK_DATA;
		c.dir = flags & 1;
		c.pos = pos[c.dir];
		c.len = n;
		c.data = flags & 2 ? NULL : take(&in, n);
		c.ts_ns += 1000;
		pos[c.dir] += n;
		protos_push(room, &c);
		books_each(check_books, NULL);
	}
	c.kind = CHUNK_CLOSE;
	c.data = NULL;
	c.len = 0;
	protos_push(room, &c);
	protos_free(room);
	if (begun != ended)
		abort();
	return 0;
}

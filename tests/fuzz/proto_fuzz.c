/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of any bytes through the real room. The first byte chooses the protocol, or all of
 * them; then follow steps: one byte for kind and direction, two for a length, and the data.
 * What comes out must be whole: begun before it is ended, ended once, its strings readable; the
 * books must balance; and nothing may stay open once the connection is closed.
 */
#include "core/books.h"
#include "proto/proto.h"

#include <stdio.h>
#include <stdlib.h>

#define OPEN_MAX_SEEN 256

struct seen {
	enum msg_type type;
	uint32_t stream_id;
	uint64_t pos;
	uint64_t start_ns;
};

static struct seen open_msgs[OPEN_MAX_SEEN];
static size_t open_cnt;
static volatile uint8_t sum;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void touch(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		sum += (uint8_t)s.p[i];
}

static void touch_value(const struct value *v)
{
	if (v->type == VALUE_STR)
		touch(v->str);
	for (size_t i = 0; v->type == VALUE_ARRAY && i < v->array.cnt; i++)
		touch_value(&v->array.item[i]);
}

static size_t find(const struct msg *m)
{
	for (size_t i = 0; i < open_cnt; i++)
		if (open_msgs[i].type == m->type && open_msgs[i].pos == m->pos &&
		    open_msgs[i].stream_id == m->stream_id)
			return i;
	return open_cnt;
}

static void on_msg(void *ctx, const struct msg *m)
{
	size_t at = find(m);

	require(m->flags & (MSG_BEGIN | MSG_END), "neither begins nor ends");
	if (m->flags & MSG_BEGIN) {
		require(open_cnt < OPEN_MAX_SEEN, "too many open");
		at = open_cnt++;
		open_msgs[at] = (struct seen){ m->type, m->stream_id, m->pos, m->start_ns };
		for (uint32_t i = 0; i < m->attrs.cnt; i++) {
			touch(m->attrs.item[i].key);
			touch_value(&m->attrs.item[i].value);
		}
		touch(m->operation);
		touch(m->target);
		touch(m->path);
		touch(m->traceparent);
		touch(m->tracestate);
		touch(m->error_type);
		touch(m->status_message);
	}
	require(at < open_cnt, "ends without having begun");
	if (m->flags & MSG_END) {
		require(m->end_ns >= m->start_ns, "ends before it begins");
		open_msgs[at] = open_msgs[--open_cnt];
	}
}

static void on_mark(void *ctx, const struct chunk *c)
{
}

static void balance(void *ctx, const struct books *b)
{
	uint64_t dropped = 0;

	for (int i = 0; i < BOOKS_REASONS; i++)
		dropped += b->dropped[i];
	if (b->in != b->out + b->held + dropped)
		*(bool *)ctx = false;
}

/* One step; returns the bytes of input used. */
static size_t step(struct protos *p, struct conn *conn, uint64_t *pos, uint64_t now,
		   const uint8_t *data, size_t size)
{
	static const enum chunk_kind kinds[8] = { CHUNK_DATA, CHUNK_DATA, CHUNK_DATA, CHUNK_DATA,
						  CHUNK_DATA, CHUNK_GAP,  CHUNK_EOF,  CHUNK_OPEN };
	struct chunk c = { .conn = conn, .tgid = 1, .ts_ns = now };
	size_t len = (size_t)data[1] | (size_t)data[2] << 8;
	bool repeat = data[0] & 0x40;
	uint8_t *copy = NULL;

	c.kind = kinds[data[0] & 7];
	c.dir = data[0] >> 3 & 1;
	c.datagram = data[0] >> 4 & 1 && c.kind == CHUNK_DATA;
	if (c.kind == CHUNK_DATA)
		len = MIN(len, size - 3);
	if (c.kind == CHUNK_DATA || c.kind == CHUNK_GAP) {
		/* now and then bytes that were there already, or that begin too late */
		c.pos = repeat ? pos[c.dir] - (data[1] & 7) + 3 : pos[c.dir];
		c.len = len;
		pos[c.dir] = MAX(pos[c.dir], c.pos + len);
	}
	if (c.kind == CHUNK_DATA) {
		copy = malloc(len ? len : 1);
		memcpy(copy, data + 3, len);
		c.data = copy;
	}
	protos_push(p, &c);
	free(copy);
	return 3 + (c.kind == CHUNK_DATA ? len : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t transports[] = { TRANSPORT_TCP, TRANSPORT_TLS, TRANSPORT_UNIX,
					      TRANSPORT_UDP };
	struct conn conn = { .id = 1, .tgid = 1 };
	uint64_t pos[2] = { 100, 200 }, now = 1;
	struct proto_cfg cfg = { 0 };
	struct protos *p;
	size_t rows = 0, at = 2;
	bool balanced = true;

	if (size < 2)
		return 0;
	while (proto_registry[rows])
		rows++;
	if (data[0] % (rows + 1) < rows)
		cfg.only = proto_registry[data[0] % (rows + 1)]->name;
	conn.transport = transports[data[1] & 3];
	conn.role = data[1] >> 2 & 3;
	conn.flags = data[1] & 16 ? CONN_F_MIDSTREAM : 0;
	p = protos_new(&cfg, (struct msg_sink){ NULL, on_msg, on_mark });
	require(p, "no memory");
	open_cnt = 0;
	for (; size - at >= 3; now++) {
		at += step(p, &conn, pos, now, data + at, size - at);
		books_each(balance, &balanced);
		require(balanced, "books do not balance");
	}
	protos_push(p, &(struct chunk){ .kind = CHUNK_CLOSE, .conn = &conn, .ts_ns = now });
	require(!open_cnt, "open beyond the connection's end");
	books_each(balance, &balanced);
	require(balanced, "books do not balance");
	protos_free(p);
	return 0;
}

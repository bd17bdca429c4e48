/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the proto room offers a protocol's parse function. All of it is about the side that is
 * being parsed. Sketch of an HTTP request with a body of 10 bytes:
 *
 *	m = parser_begin(ps, MSG_REQUEST, 0);    at the first byte of the head
 *	attrs_add_str(&m->attrs, parser_mem(ps), "http.request.method", method);
 *	parser_publish(ps, m);                   head complete: pushes MSG_BEGIN
 *	parser_skip(ps, 10);                     the room eats 10 bytes, holes among them or not
 *	c->p = end of head; return PARSE_OK;
 *	... next call, at the byte after the body; made at once, maybe without a byte, when it ends:
 *	parser_end(ps, m, 0)                     pushes MSG_END with the time of the last byte
 *
 * parser_skip_to_end(ps, m, 10) does the last three steps by itself, with one push when the body is
 * at hand. Strings of a message may point into the cursor's bytes: when the message is not yet
 * published at the end of the call, the room copies them.
 */
#ifndef PROTO_PARSER_H
#define PROTO_PARSER_H

#include "proto/proto.h"

/* This connection's zeroed state of state_size bytes. */
void *parser_state(struct parser *ps);
struct conn *parser_conn(struct parser *ps);

/* Memory of the message being built; lives until its MSG_BEGIN was pushed. Never NULL. */
struct arena *parser_mem(struct parser *ps);

/*
 * Begins a message at the cursor's position of this call (the byte c->p pointed at on entry) plus
 * 'at' bytes. One message may be open a side and stream; at most PARSER_OPEN_MAX in all. NULL when
 * there are too many: the caller goes on parsing without it (every function takes NULL).
 */
#define PARSER_OPEN_MAX 64
struct msg *parser_begin(struct parser *ps, enum msg_type type, uint32_t stream_id, size_t at);

/* The head is complete: pushes MSG_BEGIN. Attribute memory may not be used afterwards. */
void parser_publish(struct parser *ps, struct msg *m);

/*
 * The message's last byte is 'at' bytes into this call's cursor, not counting the byte at 'at'.
 * Publishes first where that was not done. m is gone afterwards.
 */
void parser_end(struct parser *ps, struct msg *m, size_t at);

/* The next n bytes of this side, after what this call takes, are nobody's: body, row data.
 * UINT64_MAX: up to the end of the stream. Holes in them do no harm. */
void parser_skip(struct parser *ps, uint64_t n);

/* The same, and m ends with the last skipped byte (with UINT64_MAX: at EOF, which is clean). */
void parser_skip_to_end(struct parser *ps, struct msg *m, uint64_t n);

/* Flags the message, published or not: MSG_TRUNCATED, MSG_ONE_WAY, MSG_INTERNAL. */
void parser_flag(struct msg *m, uint32_t flags);

/* Forgets a message that was begun and not published. */
void parser_drop(struct parser *ps, struct msg *m);

/*
 * True when no byte will follow the cursor's last one in time: a hole, the end of the stream, or
 * more than the room can keep. A parser that would answer MORE is called so once more: it may push
 * what it knows with MSG_TRUNCATED, and go on after the hole by parser_skip() where it knows the
 * length (c->p = c->end; parser_skip(rest); PARSE_OK). With MORE or BAD the bytes are lost.
 */
bool parser_cut(struct parser *ps);

/*
 * Offset from this call's first byte to the first byte that came after the other side had spoken:
 * in protocols that take turns a likely beginning of a message. -1: not among these bytes.
 */
ptrdiff_t parser_turn(struct parser *ps);

/* True when this side has had a hole since the parser last returned PARSE_OK. */
bool parser_had_gap(struct parser *ps);

/* No more to see here (an upgrade to an unknown protocol, TLS): the connection is ignored. */
void parser_give_up(struct parser *ps);

#endif

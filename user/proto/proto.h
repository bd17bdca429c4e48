/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to messages. The room finds out which protocol a connection speaks, keeps what a
 * parser could not use yet, skips bodies, survives holes, and pushes each message's beginning
 * and end. One file per protocol, one row in registry.c.
 *
 * Memory: per connection and direction at most cfg.buffer_max bytes wait for more; a message head
 * that does not fit is pushed with MSG_TRUNCATED. A connection whose first bytes no protocol
 * claims within DETECT_MAX bytes a side is ignored from then on, and counted.
 */
#ifndef PROTO_PROTO_H
#define PROTO_PROTO_H

#include "core/cursor.h"
#include "span/span.h"
#include "stream/stream.h"

#define DETECT_MAX 512

enum msg_type {
	MSG_REQUEST,
	MSG_RESPONSE,
};

enum msg_flags {
	MSG_BEGIN = 1 << 0,	/* the head is known: attributes are valid */
	MSG_END = 1 << 1,	/* the last byte has passed; with MSG_BEGIN when all came at once */
	MSG_TRUNCATED = 1 << 2, /* parts that matter were not captured */
	MSG_ABORTED = 1 << 3,	/* with MSG_END: the connection ended first; err says how */
	MSG_ONE_WAY = 1 << 4,	/* a request that has no response (pub/sub message, QUIT, ...) */
	MSG_INTERNAL = 1 << 5,	/* belongs to the connection's set-up: no span unless it fails */
	MSG_AFTER_GAP = 1 << 6, /* messages of this side may have been lost before this one: what
				 * waits on the connection may not be paired with it blindly */
};

/*
 * Requests and responses of a connection pair first-in first-out within one stream_id.
 * A message pushed twice (BEGIN, then END) is the same when conn, type, stream_id and pos agree.
 * Everything is borrowed for the call. Attributes carry semantic-convention names; the request's
 * and the response's are put together on the span. They may hold raw literals: redaction comes
 * later and knows db.query.text, url.full, url.query, and the like by name.
 */
struct msg {
	enum msg_type type;
	uint32_t flags; /* enum msg_flags */
	const struct proto *proto;
	struct conn *conn;
	uint8_t dir;	    /* the direction its bytes went: a request in DIR_IN is served here */
	uint32_t stream_id; /* 0, DNS id, later the HTTP/2 stream */
	uint64_t pos;	    /* of its first byte */
	uint64_t size;	    /* bytes on the wire; valid with MSG_END */
	uint64_t start_ns;  /* monotonic, of its first byte */
	uint64_t end_ns;    /* monotonic, of its last byte; valid with MSG_END */
	uint32_t tgid;	    /* who read or wrote its first byte */
	uint32_t err;	    /* errno with MSG_ABORTED; 0: closed cleanly */
	struct event_thread thread; /* evidence at its first byte */

	/* valid with MSG_BEGIN */
	struct attrs attrs;
	struct str operation; /* first word of the span's name: "GET", "SELECT" */
	struct str target; /* second word where it is known and of low cardinality; may be empty */
	struct str path;   /* a URL path, raw, to be made a template of; HTTP requests only */
	struct str traceparent; /* header value as it came; empty: none */
	struct str tracestate;
	enum span_status status; /* responses; for the client's view and the server's view */
	enum span_status server_status;
	struct str error_type; /* responses: error.type when status is ERROR */
	struct str status_message;
	uint64_t body_size; /* declared or counted; UINT64_MAX: unknown; with MSG_END it may be
			     * known where it was not with MSG_BEGIN */
};

struct msg_sink {
	void *ctx;
	void (*push)(void *ctx, const struct msg *m);
	/* Passes on the chunks that are not bytes: OPEN, CLOSE, RETRANSMIT. CLOSE comes after every
	 * message of the connection was pushed. */
	void (*mark)(void *ctx, const struct chunk *c);
};

/* ---- a protocol ------------------------------------------------------------------------ */

enum detect {
	DETECT_NO,	 /* never this one */
	DETECT_MORE,	 /* may be; show more bytes */
	DETECT_REQUEST,	 /* these bytes begin a request */
	DETECT_RESPONSE, /* these bytes begin a response (or a server's greeting) */
};

enum parse {
	PARSE_OK,   /* took at least one byte, or closed a state; call again while bytes are left */
	PARSE_MORE, /* needs more bytes than there are; takes none */
	PARSE_BAD,  /* not this protocol, or out of step: the room resynchronises or gives up */
};

/* The side of a connection a parser sees: requests flow one way, responses the other. */
enum side { SIDE_REQUEST = 0, SIDE_RESPONSE = 1 };

/* What the room offers a parser during a call; see parser.h for the functions on it. */
struct parser;

struct proto {
	const char *name;  /* "http", "redis", ... as in --protocol */
	size_t state_size; /* of the zeroed per-connection state; 0: none */

	/* Looks at the first bytes one direction showed. port: the server's, 0 unknown; a hint, no
	 * more: content decides. Must not be fooled by other protocols' bytes. */
	enum detect (*detect)(const uint8_t *p, size_t len, uint16_t port, bool datagram);

	/* Parses from the cursor, which begins where the previous call stopped. Sets c->p past what
	 * it took. Calls parser_begin(), parser_end(), parser_skip() for what it found. */
	enum parse (*parse)(struct parser *ps, enum side side, struct cursor *c);

	/* After a hole or PARSE_BAD: finds a place in p to go on from. Returns its offset, or -1 to
	 * wait for later bytes. NULL: this protocol cannot; the connection is given up. */
	ptrdiff_t (*resync)(struct parser *ps, enum side side, const uint8_t *p, size_t len);

	/* The connection ended: lets a state free what it holds beyond its own bytes. May be NULL.
	 */
	void (*fini)(void *state);
};

struct proto_cfg {
	uint32_t buffer_max; /* bytes a direction may keep; default 20 KiB, at least 16 KiB + 4 */
	const char *only;    /* comma-separated names; NULL: all */
};

struct protos;
struct protos *protos_new(const struct proto_cfg *cfg, struct msg_sink out);
void protos_push(struct protos *p, const struct chunk *c);
void protos_free(struct protos *p);

/* The rows of registry.c, ended by NULL. */
extern const struct proto *const proto_registry[];

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the PostgreSQL parser share. Source: PostgreSQL documentation,
 * "Frontend/Backend Protocol", version 3.
 *
 * An exchange is one simple query, one Execute, one round of Parse alone, one function call, or the
 * connection's start. The request side queues what will end each of them, the response side takes
 * them off; ReadyForQuery puts both back in step whatever happened before.
 */
#ifndef PROTO_POSTGRES_INTERNAL_H
#define PROTO_POSTGRES_INTERNAL_H

#include "proto/sql.h"

#define PG_SYSTEM STR("postgresql")

/* Second word of the packets that begin a connection and have no type byte. */
#define PG_CODE_SSL    80877103u
#define PG_CODE_GSS    80877104u
#define PG_CODE_CANCEL 80877102u
#define PG_MAJOR       3u /* upper half of a StartupMessage's */
#define PG_START_MAX   10000

#define PG_HEADER_LEN  5
#define PG_LEN_MAX     0x3fffffffu /* of a message: the server's own limit, 1 GiB */
#define PG_NAME_LEN    64	   /* NAMEDATALEN; longer names of statements are not remembered */
#define PG_BODY_WANTED (SQL_TEXT_MAX + PG_NAME_LEN + 2)
#define PG_QUEUE_MAX   4096 /* exchanges under way */

/* What ends an exchange that was queued. */
enum pg_end {
	PG_END_SYNC = 0,     /* nothing but ReadyForQuery is to come */
	PG_END_READY = 1,    /* ReadyForQuery */
	PG_END_EXECUTE = 2,  /* CommandComplete, EmptyQueryResponse, PortalSuspended */
	PG_END_PARSE = 3,    /* ParseComplete; no Sync followed, but a Flush or another Parse */
	PG_END_DESCRIBE = 4, /* RowDescription or NoData, likewise */
	PG_END_KIND = 0x0f,
	PG_SEVERAL = 0x40, /* the text has several statements */
	PG_SYNC = 0x80,	   /* then ReadyForQuery follows */
};

struct pg_name {
	char p[PG_NAME_LEN];
	uint8_t len;
	bool known;
};

struct pg_state {
	char db[PG_NAME_LEN];
	uint8_t db_len;
	bool tls_asked; /* the server answers with one byte */
	struct stmts statements;
	struct stmts portals; /* named ones: with their statement's text */
	struct pg_name bound; /* statement of the unnamed portal */

	bool starting; /* from StartupMessage to the first ReadyForQuery: passwords are sent */

	/* request side: Parse, Bind, ... not yet executed */
	struct msg *group;
	bool group_lost;       /* a hole has taken its end */
	bool stale;	       /* what is parsed was found so late that its response has passed */
	bool group_open;       /* group may be NULL for want of room */
	uint8_t group_end;     /* enum pg_end of its last message */
	bool group_parses;     /* a Parse is in it */
	struct pg_name parsed; /* its statement */

	/* exchanges under way */
	uint8_t *queue; /* owned; a ring, enum pg_end each */
	uint32_t queue_size, queue_head, queue_cnt;
	uint32_t lost_syncs; /* the queue was full: ReadyForQuery to pass over */
	bool losing;	     /* in the middle of requests that found it full */

	/* response side */
	struct msg *reply;
	bool reply_open;
	bool in_step;  /* every request is known since a moment when none was under way */
	bool placed;   /* the start was seen, or a moment when nothing was under way */
	bool unsure;   /* since a hole: which exchange the bytes belong to */
	bool missing;  /* the same, since requests were in a hole */
	bool aborted;  /* an error: the server passes over everything up to Sync */
	uint32_t debt; /* responses that came before their requests */
	uint64_t debt_ns;
	uint32_t row_results;
	int64_t rows;
};

struct pg_header {
	uint8_t type;
	uint32_t len; /* with itself, without the type */
	size_t whole; /* bytes of the message */
	size_t avail; /* of them at hand */
};

static inline struct str pg_db(const struct pg_state *st)
{
	return (struct str){ st->db, st->db_len };
}

/* postgres.c: the types and sizes that are possible on a side; looks at up to n bytes of body. */
bool pg_plausible(enum side side, uint8_t type, uint32_t len, const uint8_t *body, size_t n);

/* Reads a header: OK, MORE or BAD. */
enum parse pg_take_header(enum side side, const struct cursor *c, struct pg_header *ret);

/* postgres_queue.c: push drops what finds the queue full; head -1: empty. */
bool pg_queue_push(struct pg_state *st, uint8_t end);
/* Sync: marks the newest exchange, or stands alone when that one has its own. */
void pg_queue_sync(struct pg_state *st);
int pg_queue_head(const struct pg_state *st);
void pg_queue_pop(struct pg_state *st);
/* The head's exchange is over; its Sync, if it has one, is still to be answered. */
void pg_queue_done(struct pg_state *st);
/* At most one exchange is under way. */
bool pg_queue_single(const struct pg_state *st);

/* postgres_frontend.c, postgres_backend.c */
enum parse pg_parse_frontend(struct parser *ps, struct pg_state *st, struct cursor *c);
enum parse pg_parse_backend(struct parser *ps, struct pg_state *st, struct cursor *c);

#endif

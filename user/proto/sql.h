/* SPDX-License-Identifier: Apache-2.0 */
/* What the database protocols share: reading a statement, remembering prepared ones. */
#ifndef PROTO_SQL_H
#define PROTO_SQL_H

#include "proto/parser.h"

#define SQL_TEXT_MAX	2048 /* bytes of db.query.text */
#define SQL_NAME_MAX	128  /* bytes of a table's name */
#define SQL_MESSAGE_MAX 200  /* bytes of a server's error message */

enum sql_flags {
	SQL_MYSQL = 1 << 0, /* backslash escapes, # comments, no dollar quotes */
	SQL_CUT = 1 << 1,   /* the text's end was not captured */
};

/* What a statement does, as far as that is known for certain. */
struct sql_summary {
	struct str operation; /* first keyword, upper case, a literal; empty: not a known one */
	struct str
		collection; /* in the text: the table of a statement on a single one, else empty */
	struct str procedure; /* in the text: of CALL */
};

/* Only the first statement is described; text of several has no collection. */
void sql_summarize(struct str text, uint32_t flags, struct sql_summary *ret);

/*
 * Sets operation, target, db.system.name, db.namespace and, of text where there is any,
 * db.query.text (raw, at most SQL_TEXT_MAX bytes), db.operation.name, db.collection.name,
 * db.query.summary. command: the operation where it is not the text's own ("PREPARE"); may be
 * empty. Strings are not copied.
 */
void sql_describe(struct parser *ps, struct msg *m, struct str system, struct str db,
		  struct str text, struct str command, uint32_t flags);

/* The request of a connection's set-up: MSG_INTERNAL, no more than system and database. */
void sql_describe_setup(struct parser *ps, struct msg *m, struct str system, struct str db);

/* A response's failure. code and state: db.response.status_code and error.type; message: as the
 * server wrote it. Strings need not outlive the call. */
void sql_fail(struct parser *ps, struct msg *m, struct str code, struct str message);

/* The message without what may be data: everything from the first to the last quote becomes '?',
 * the rest is cut to SQL_MESSAGE_MAX; empty when it is not plain ASCII. */
struct str sql_clean_message(struct arena *mem, struct str message);

/*
 * The prepared statements of one connection: at most STMTS_MAX and STMTS_BYTES, past that the one
 * unused longest is forgotten. A zeroed struct is empty.
 */
#define STMTS_MAX   64
#define STMTS_BYTES (16u << 10)

struct stmt;
struct stmts {
	struct stmt *list; /* latest use first */
	uint32_t cnt;
	uint32_t bytes;
};

/* Copies both; text is cut to SQL_TEXT_MAX. flags: enum sql_flags; meta: the caller's. */
void stmts_put(struct stmts *s, struct str key, struct str text, uint32_t flags, uint32_t meta);
/* False, nothing touched, when unknown. The text lives until the next put, del or fini. */
bool stmts_get(struct stmts *s, struct str key, struct str *ret_text, uint32_t *ret_flags,
	       uint32_t *ret_meta);
void stmts_del(struct stmts *s, struct str key);
void stmts_fini(struct stmts *s);

#endif

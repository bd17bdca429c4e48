/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules share: SQL's dialects, and a text that is only copied once it differs. */
#ifndef REDACT_INTERNAL_H
#define REDACT_INTERNAL_H

#include "redact/redact.h"

enum sql_dialect {
	SQL_STANDARD = 0,
	SQL_BACKSLASH = 1 << 0,	     /* \ escapes in literals */
	SQL_DOUBLE_LITERAL = 1 << 1, /* "x" is a literal, not a name */
	SQL_HASH_COMMENT = 1 << 2,
	SQL_DOLLAR_QUOTE = 1 << 3,
	SQL_ORACLE_QUOTE = 1 << 4, /* q'[x]' */
	SQL_PROSE = 1 << 5,	   /* a message, not a statement: no comments in it */
};

#define DIALECT_STANDARD (SQL_DOLLAR_QUOTE | SQL_ORACLE_QUOTE)
#define DIALECT_MYSQL	 (SQL_BACKSLASH | SQL_DOUBLE_LITERAL | SQL_HASH_COMMENT)

struct str redact_sql_dialect(struct arena *mem, struct str text, unsigned int dialect);

/* A server's error message: quoted parts, from the first quote to the last, and numbers. */
struct str redact_message(struct arena *mem, struct str text);

/* ---- output: a prefix of the source for as long as they agree, then a copy ---- */

struct out {
	struct arena *mem;
	struct str src;
	char *p; /* NULL: the output is the first len bytes of src */
	size_t len;
	size_t size; /* most the output may take */
	bool failed; /* no memory: nothing of the text may be shown */
};

static inline struct out out_of(struct arena *mem, struct str src, size_t size)
{
	return (struct out){ .mem = mem, .src = src, .size = size };
}

void out_add(struct out *o, const char *p, size_t len);
/* A part of src, replaced by text: no copy where they are the same. */
void out_replace(struct out *o, const char *from, size_t len, struct str text);
/* Back to a length, to go on with other bytes than src has there. */
void out_cut(struct out *o, size_t len);
char out_last(const struct out *o); /* the last byte, a space when there is none */
/* The result; "?" alone when there was no memory. */
struct str out_end(const struct out *o);

#endif

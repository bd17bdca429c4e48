/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ClickHouse engine, private to its files.
 *
 * Spans rest in the tables of the OpenTelemetry Collector's exporter: otel_traces and, for the time
 * of a trace, otel_traces_trace_id_ts with its view. They are made when absent and used as they are
 * when others made them; retention is the TTL of tables made here. Any number of writers and
 * readers share them. Bytes are not limited (cfg.max_bytes), nothing is rolled up or archived.
 *
 * Attributes are text there, written as that exporter does: numbers in decimal, bytes in base64,
 * arrays and lists in JSON. On reading, the type is guessed from the text (clickhouse_value.c);
 * where a span of ours would be guessed wrong one more attribute, CH_TYPES_KEY, tells the types.
 *
 * Not kept: attributes of scopes, schema URLs, dropped counts, trace flags, flags of links; inside
 * arrays and lists bytes come back as text and whole doubles as ints.
 *
 * Inserts are synchronous and carry a token, so that a batch that is sent again is not doubled
 * (where the table keeps tokens: replicated ones, and those made here). While the server is away
 * batches wait, up to cfg.queue_bytes, and are tried again until it has them. An acknowledgement
 * waits for ten seconds of that: then whoever waits is told -EIO (503, UNAVAILABLE to a sender of
 * OTLP) and sends again. Rows that waited while inserts failed are known by their bytes for ten
 * minutes (up to half a million): one that comes again waits for the first and is counted as
 * sent_again. So nothing acknowledged is lost, and an outage doubles a span only when the gateway
 * itself ended after the server had it and before it said so.
 */
#ifndef STORE_CLICKHOUSE_H
#define STORE_CLICKHOUSE_H

#include "core/books.h"
#include "core/buf.h"
#include "core/cursor.h"
#include "store/block_format.h"
#include "store/internal.h"

#include <curl/curl.h>
#include <pthread.h>
#include <xxhash.h>

#define CH_TYPES_KEY "telltale.types"
#define CH_TEXT_MAX  256		 /* of what the server says, its first line */
#define CH_ROW_MAX   ((size_t)64 << 20)	 /* bytes of an answer that wait for their row's end */
#define CH_SQL_MAX   ((size_t)200 << 10) /* below the server's max_query_size */
#define CH_IDLE_MAX  4			 /* connections kept */
#define CH_READ_MS   30000		 /* of a call without a deadline */

enum ch_drop {
	CH_QUEUE_FULL,
	CH_DISK_FULL,
	CH_TOO_LARGE,
	CH_IO_ERROR,
	CH_NO_MEMORY,
	CH_SENT_AGAIN,
};

struct ch_writer {
	struct store_writer base;
	struct buf row;		   /* the span that is pushed */
	struct resource *resource; /* of the last span, as it is written */
	struct buf resource_text;
	int err;	      /* the next sync's, when it is known already */
	int too_large;	      /* spans since the last sync */
	uint64_t first, last; /* batches of what was pushed since the last sync; 0: nothing */
	struct ch_writer *prev, *next;
};

struct ch_waiting {
	struct store_ack ack;
	uint64_t first; /* batch that it waits for, too */
	int err;	/* or how many spans are too large */
	uint64_t since_ns;
};

/* Rows of one insert and who waits for it. */
struct ch_batch {
	struct ch_batch *next;
	uint64_t seq;
	struct buf rows;
	struct buf hashes; /* of each row */
	size_t remembered; /* bytes of them, in ch_again */
	uint32_t spans;
	uint64_t since_ns; /* its first span, monotonic */
	struct ch_waiting *waiting;
	size_t waiting_cnt, waiting_size;
};

/* Rows that waited while inserts failed, by their bytes. */
struct ch_again {
	struct known_row *slot;
	size_t size, cnt;
	uint64_t until_ns;
};

struct clickhouse {
	struct store base;
	struct store_cfg cfg;		      /* its strings are NULL */
	char *url;			      /* http[s]://HOST:PORT/ */
	char *ca_file, *cert_file, *key_file; /* NULL: the system's; none */
	char *user, *password, *database;     /* user, password: NULL when none was named */
	char *shown;			      /* URL and database, without user and password */
	uint64_t run;			      /* of tokens: differs from one start to the next */

	pthread_mutex_t pool_lock;
	CURL *idle[CH_IDLE_MAX];
	unsigned int idle_cnt;
	bool read_failed; /* was said */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	struct ch_writer *writers;
	struct ch_batch *open;	/* being filled; NULL: nothing was pushed */
	struct ch_batch *first; /* full or due, oldest first; that one may be on its way */
	size_t queued;		/* bytes of all of them */
	struct ch_again again;
	uint64_t seq, done_seq;
	uint64_t insert_ns; /* what the last insert took */
	int refusing;	    /* 0 or why pushes are refused */
	int write_err;	    /* of the last insert: one line in the log for a row of them */
	bool stop;
	uint64_t stop_ns; /* trying ends */
	struct books books;
	struct gauge gauge;
	pthread_t thread;
	bool runs;
};

/* ---- the server: clickhouse_http.c ----------------------------------------------------------- */

/* How a request ended. */
struct ch_result {
	int err;	  /* 0, -ECONNREFUSED, -EKEYREJECTED, -ENOENT (no such table or database),
			     -ENOSPC, -ETIMEDOUT, -EIO, ... */
	int code;	  /* the server's own; 0: none */
	bool bad_request; /* the request is at fault: the same again would fail again */
	char text[CH_TEXT_MAX];
};

struct ch_request {
	struct str sql;
	struct str rows;	 /* of an insert */
	const char *settings;	 /* "&name=value..." or NULL */
	bool no_database;	 /* it may not be there yet */
	bool unmarked;		 /* a statement whose columns are not ours to choose */
	uint64_t deadline_ns;	 /* monotonic; 0: CH_READ_MS from now */
	const uint64_t *stop_ns; /* the same, set by another thread; 0: not yet; or NULL */
	/* Called with what was received after the last row. It leaves 'bad' set when the row is not
	 * all there yet: nothing may have happened then. 0, -ECANCELED: enough, else an error. */
	int (*row)(void *ctx, struct cursor *c);
	void *ctx;
};

int http_init(void);
void http_ask(struct clickhouse *c, const struct ch_request *q, struct ch_result *ret);
/* The same for reading: a failure is said once in a row. 0 or -errno. */
int http_read(struct clickhouse *c, const struct ch_request *q);

/* Every row of an answer begins with this byte, which no message of the server does. */
#define CH_ROW_MARK 1
#define CH_MARK	    "toUInt8(1)"

/* ---- rows: clickhouse_write.c, clickhouse_parse.c ---------------------------------------------
 */

extern const char ch_insert[]; /* the statement */

/* Appends a row. 0 or -ENOMEM, -ENOBUFS. */
int row_write(struct ch_writer *w, const struct span *s, struct buf *out);

/* Which columns a span is read with: all, or without the attributes that nobody asks for. */
struct ch_columns {
	bool attrs, resource, events, links;
};
int row_select(struct buf *sql, struct ch_columns what);

/* Puts spans together from rows; keeps the last resource. */
struct row_reader {
	struct arena *mem; /* emptied for each row */
	struct buf resource_text;
	struct resource *resource;
	struct known_scope *scopes; /* of it */
	uint32_t scope_cnt;
	struct span span;
};
int reader_init(struct row_reader *r);
void reader_fini(struct row_reader *r);
/* 0: r->span, until the next call; 1: a row without ids that can be read; -EBADMSG, -ENOMEM. With
 * c->bad the row is not all there yet. */
int reader_take(struct row_reader *r, struct cursor *c);

enum span_kind row_kind(struct str s);
enum span_status row_status(struct str s);

/* ---- values: clickhouse_value.c ---------------------------------------------------------------
 */

/* Appends the text of a value. */
int value_write(struct buf *out, const struct value *v);
/* What reading makes of a text without being told its type. */
enum value_type value_guess(struct str key, struct str text);
/* The value that the text says; VALUE_STR when it is not of that type. Strings are borrowed. */
struct value value_parse(enum value_type type, struct str text, struct arena *mem);
char type_letter(enum value_type type);
bool type_of_letter(char letter, enum value_type *ret);

/* ---- conditions: clickhouse_sql.c --------------------------------------------------------------
 */

/* Appends a literal: nothing in it can end it. */
int sql_text(struct buf *sql, struct str s);
int sql_range(struct buf *sql, struct time_range r);
/* Appends an expression that holds for every span of which c holds, and for few others: who needs
 * it exactly calls cond_match(). 0 or -ENOMEM, -ENOBUFS. */
int sql_cond(struct buf *sql, const struct cond *c);
/* An expression of the field as text, the keys it is there for included. -EOPNOTSUPP. */
int sql_values(struct buf *sql, const struct field *f);

/* ---- the engine ---------------------------------------------------------------------------------
 */

int ch_start(struct clickhouse *c); /* clickhouse_insert.c */
void ch_stop(struct clickhouse *c);
void batch_free(struct ch_batch *b); /* NULL is fine */

struct store_writer *ch_writer_new(struct store *s); /* clickhouse_push.c */
void ch_writer_push(struct store_writer *w, const struct span *s);
void ch_writer_sync(struct store_writer *w, struct store_ack ack);
void ch_writer_free(struct store_writer *w);
int ch_admits(struct store *s);
void ch_close_batch(struct clickhouse *c); /* under the lock */

/* clickhouse_again.c, under the lock: an insert failed; the batch that has such a row, or 0; what
 * was dropped may come again; the end. */
void again_failed(struct clickhouse *c);
uint64_t again_find(struct clickhouse *c, XXH128_hash_t hash);
void again_forget(struct clickhouse *c, uint64_t batch);
void again_fini(struct ch_again *a);

int ch_traces(struct store *s, const struct trace_id *ids, size_t cnt,
	      struct trace_sink out); /* clickhouse_read.c */
int ch_scan(struct store *s, const struct scan *q, bool (*visit)(void *ctx, const struct span *sp),
	    void *ctx);
int ch_services(struct store *s, struct time_range r, void (*visit)(void *ctx, struct str service),
		void *ctx); /* clickhouse_names.c */
int ch_operations(struct store *s, struct str service, struct time_range r,
		  void (*visit)(void *ctx, struct str service, struct str name,
				enum span_kind kind),
		  void *ctx);
int ch_tags(struct store *s, struct time_range r,
	    void (*visit)(void *ctx, enum field_kind kind, struct str key), void *ctx);
int ch_values(struct store *s, const struct field *f, const struct cond *where, struct time_range r,
	      uint32_t limit, void (*visit)(void *ctx, const struct value *v), void *ctx);
int ch_stats(struct store *s, struct store_stats *ret);
int64_t ch_check(struct store *s, void (*report)(void *ctx, const char *line), void *ctx);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The room's own view of a connection, and the table that holds them. */
#ifndef STREAM_INTERNAL_H
#define STREAM_INTERNAL_H

#include "core/books.h"
#include "stream/stream.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

/* What is known of one direction. */
struct direction {
	uint64_t next; /* position of the next byte to give */
	bool known;    /* next is set */
	bool ended;    /* CHUNK_EOF was given */
	uint8_t gap;   /* enum gap_reason for bytes that follow unseen: told by the last record */
};

/* Connections wait in one list per kind of patience, the one idle longest first. */
enum idle_list { IDLE_TCP, IDLE_SHORT, IDLE_CLOSING, IDLE_LISTS };

struct entry {
	struct conn conn; /* first, so that a struct conn leads back here */
	struct direction dir[2];
	uint64_t used_ns;     /* on the room's clock */
	uint64_t rider;	      /* the TLS connection that this one carries; 0: none */
	uint32_t carrier_err; /* how the connection below ended, once it has */
	enum idle_list list;
	struct entry *prev, *next;
	UT_hash_handle hh;
};

struct table {
	struct entry *by_id;
	struct entry *latest; /* of the last look-up: records come in runs */
	struct entry *idle[IDLE_LISTS];
	struct entry *spare;
	uint32_t cnt;
	uint32_t spare_cnt;
};

struct entry *table_find(struct table *t, uint64_t id);
/* Zeroed but for its id; NULL without memory. */
struct entry *table_add(struct table *t, uint64_t id, enum idle_list list);
/* Moves it to the end of a list: used just now. */
void table_touch(struct table *t, struct entry *e, enum idle_list list, uint64_t now_ns);
/* The one idle longest, or NULL. */
struct entry *table_oldest(struct table *t);
void table_remove(struct table *t, struct entry *e);
void table_fini(struct table *t);

enum {
	DROPPED_OLD,	   /* all its bytes were given before */
	DROPPED_ENDED,	   /* bytes after the end of their direction */
	DROPPED_NO_CONN,   /* about a connection that is not open */
	DROPPED_NO_MEMORY, /* no room for a connection */
};

/* Figures beside the books. */
#define STREAM_COUNTS(X)                                                          \
	X(chunks, "chunks given to the next stage")                               \
	X(old_bytes, "bytes cut because they had been given before")              \
	X(gap_budget_bytes, "bytes not captured: beyond the capture budget")      \
	X(gap_counted_bytes, "bytes not captured: sendfile, splice and the like") \
	X(gap_fault_bytes, "bytes not captured: not readable")                    \
	X(gap_lost_bytes, "bytes not captured: their records were lost or late")  \
	X(evicted, "connections given up because there were too many")            \
	X(idle_closed, "connections given up because nothing happened on them")

#define X(name, help) COUNTED_##name,
enum { STREAM_COUNTS(X) COUNTED_MAX };
#undef X

struct stream {
	struct chunk_sink out;
	struct stream_cfg cfg;
	struct table table;
	uint64_t now_ns; /* the latest time seen in a record or a tick */
	struct books books;
	uint64_t count[COUNTED_MAX];
	struct gauge gauge[COUNTED_MAX + 1];
};

void stream_emit(struct stream *s, const struct chunk *c);

/* bytes.c: the part about positions. Returns -1, or the reason why the record was of no use. */
int bytes_data(struct stream *s, struct entry *e, const struct event_data *rec);
/* Gaps up to the ends that the record tells. */
void bytes_close(struct stream *s, struct entry *e, const struct event_close *rec);

#endif

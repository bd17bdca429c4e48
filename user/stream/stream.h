/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes per connection and direction, in order, with every hole known.
 *
 * Takes records (EVENT_CONN, EVENT_DATA, EVENT_CLOSE, EVENT_RETRANSMIT) and keeps one struct conn
 * per connection; gives chunks: runs of bytes that touch each other without overlap, either data
 * or a gap of known length. What a record says about the other direction (its end and time)
 * becomes a gap there when those bytes were never seen. Repeated and overlapping bytes are cut.
 * A CHUNK_EOF comes once a direction; what is told of it later is dropped and counted.
 *
 * The books count records, in = out + dropped; chunks, gap bytes and connections are figures beside
 * them. TLS plaintext takes addresses, role, times and owner from its carrier where its own record
 * has none, and is closed a second after its carrier unless its own end comes first.
 *
 * Full: at most cfg.max_conns connections; past that the one idle longest is closed and counted.
 * A record of an unknown connection (its EVENT_CONN was lost) makes one with what is known.
 */
#ifndef STREAM_STREAM_H
#define STREAM_STREAM_H

#include "ring/ring.h"

struct endpoint {
	uint8_t addr[16]; /* IPv6, or IPv4 mapped */
	uint16_t port;
};

/* What is known of a connection; owned by the room, valid until the chunk CHUNK_CLOSE returns. */
struct conn {
	uint64_t id;
	uint64_t carrier; /* TLS plaintext: the connection below; 0: none */
	uint64_t sock;
	uint64_t peer_sock;
	uint64_t dial_ns; /* monotonic; 0: not seen */
	uint64_t open_ns; /* monotonic; 0: not seen */
	uint64_t cgroup;
	uint32_t tgid; /* the owner at first sight */
	uint32_t netns;
	uint16_t family;
	uint8_t transport; /* enum transport */
	uint8_t role;	   /* enum conn_role */
	uint32_t flags;	   /* enum conn_flags */
	uint32_t retransmits;
	struct endpoint local;
	struct endpoint remote;
	char comm[COMM_LEN + 1];
	char path[UNIX_PATH_LEN + 1];
	struct event_thread dial_thread; /* evidence at connect(); tid 0: not seen */
	void *above[2]; /* for the rooms that follow: [0] proto, [1] span; NULL at first */
};

enum chunk_kind {
	CHUNK_OPEN,  /* a connection, or more about it (connect() done); no bytes */
	CHUNK_DATA,  /* data != NULL */
	CHUNK_GAP,   /* len bytes that were not captured; data is NULL */
	CHUNK_EOF,   /* this direction has ended */
	CHUNK_CLOSE, /* the connection has ended; err says how */
	CHUNK_RETRANSMIT,
};

enum gap_reason { GAP_NONE, GAP_BUDGET, GAP_NO_BYTES, GAP_FAULT, GAP_LOST };

struct chunk {
	enum chunk_kind kind;
	struct conn *conn;
	uint8_t dir;   /* enum data_dir */
	uint8_t gap;   /* enum gap_reason, with CHUNK_GAP */
	bool datagram; /* the data is one datagram */
	uint32_t err;  /* errno, with CHUNK_CLOSE; ECONNRESET also with CHUNK_EOF */
	uint32_t tgid; /* who read or wrote */
	uint64_t pos;  /* of the first byte */
	uint64_t len;
	const uint8_t *data;	    /* borrowed for the call */
	uint64_t ts_ns;		    /* monotonic: when the last byte passed */
	struct event_thread thread; /* evidence; tid 0 where there is none (gaps told of later) */
};

struct chunk_sink {
	void *ctx;
	void (*push)(void *ctx, const struct chunk *c);
};

struct stream_cfg {
	uint32_t max_conns; /* default 65536 */
	uint64_t idle_ns; /* a UNIX or UDP connection unused for so long is closed; default 60 s */
	uint64_t idle_tcp_ns; /* the same for TCP whose close was lost; default 1 h */
};

struct stream;
struct stream *stream_new(const struct stream_cfg *cfg, struct chunk_sink out);
/* Other kinds than those above are ignored. */
void stream_push(struct stream *s, const struct event_hdr *rec);
/* Time passes: closes idle connections, err ETIME. */
void stream_tick(struct stream *s, uint64_t now_ns);
/* Closes every connection, err ECANCELED: they are open, and nothing more will be known of them.
 * UDP never tells of an end: err 0. */
void stream_flush(struct stream *s);
void stream_free(struct stream *s);
/* The open connection of that id, or NULL. */
struct conn *stream_find(struct stream *s, uint64_t id);

#endif

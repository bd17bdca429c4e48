/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the proto room share: a connection (struct parser), its two directions
 * (struct lane), the bytes that wait (struct hold) and the messages that are open.
 */
#ifndef PROTO_INTERNAL_H
#define PROTO_INTERNAL_H

#include "core/books.h"
#include "proto/parser.h"

/* Bytes that wait in all connections together; past that the newest go, counted. */
#define HELD_BYTES_MAX (32u << 20)
#define HOLD_SIZE      4096 /* bytes of a hold at first */
#define HOLD_SPARES    64   /* holds and arenas kept for the next use */
#define MARKS_MAX      16
#define MSG_MEM_MAX    (64u << 10) /* arena of the messages a side is building */
#define RESYNC_KEEP    256	   /* bytes kept while a parser looks for its step */
#define BAD_MAX	       32	   /* PARSE_BAD in a row before the protocol is given up */
#define IDLE_CALLS_MAX 8	   /* PARSE_OK in a row that took nothing */
#define MISSES_FRESH   4	   /* failed detections: of a connection seen from its start */
#define MISSES_MAX     16	   /* and of one joined in the middle, or with holes */

#define CHUNK_REASONS(X) X(no_protocol) X(given_up) X(out_of_step) X(buffers_full) X(no_memory)
#define MSG_REASONS(X)	 X(too_many_open) X(no_memory) X(abandoned)

#define X(name) CHUNK_DROP_##name,
enum chunk_drop { CHUNK_REASONS(X) CHUNK_DROP_MAX };
#undef X
#define X(name) MSG_DROP_##name,
enum msg_drop { MSG_REASONS(X) MSG_DROP_MAX };
#undef X

/* Where and when a run of bytes came from; it reaches up to the next mark. */
struct mark {
	uint64_t pos;
	uint64_t ts_ns;
	uint32_t tgid;
	struct event_thread thread;
};

struct hold {
	struct hold *next; /* among the spares */
	uint32_t len;
	uint32_t size; /* of data */
	uint32_t mark_cnt;
	struct mark mark[MARKS_MAX];
	uint8_t data[];
};

struct lane {
	struct hold *hold; /* bytes [pos, pos + hold->len); NULL: none wait */
	uint64_t pos;	   /* of the byte to be parsed next */
	uint64_t end;	   /* where the next chunk begins */
	uint64_t turn_pos; /* first byte after the other side spoke */
	uint64_t last_ns;  /* when the byte before pos passed */
	uint64_t skip;
	struct open_msg *skip_msg; /* ends with the skip */
	struct arena *mem;
	uint32_t unpublished; /* messages being built */
	uint32_t waiting;     /* chunks that the books call held */
	uint8_t bad;	      /* PARSE_BAD since the last message */
	uint8_t side;	      /* enum side */
	bool seen;	      /* pos and end are valid */
	bool failed;	      /* no protocol claimed this turn's first bytes */
	bool gap;	      /* see parser_had_gap() */
	bool cut;	      /* see parser_cut() */
	bool resync;	      /* out of step */
	bool poke;	      /* a skip has just ended: call parse even without bytes */
};

struct open_msg {
	struct msg m; /* first: parsers know this part */
	struct lane *lane;
	bool published;
	struct open_msg *prev, *next;
};

enum parser_fate { FATE_ALIVE, FATE_RESTART, FATE_GIVEN_UP, FATE_NO_PROTOCOL };

struct parser {
	struct protos *owner;
	struct conn *conn;
	const struct proto *proto; /* NULL: not known yet */
	void *state;
	struct lane lane[2]; /* by direction */
	struct lane *now;    /* of the call under way */
	uint64_t call_pos;   /* of that call's first byte */
	size_t call_len;
	const struct chunk *chunk; /* being pushed */
	struct open_msg *open;	   /* in order of beginning */
	uint32_t open_cnt;
	uint8_t last_dir;
	uint8_t misses;
	uint8_t fate; /* enum parser_fate */
	bool spoken;  /* last_dir is valid */
	bool good;    /* a message has ended as it should */
	struct parser *prev, *next;
};

struct protos {
	struct proto_cfg cfg;
	struct msg_sink out;
	const struct proto **rows; /* the enabled ones, ended by NULL */
	struct parser *parsers;
	struct hold *spare_holds;
	struct arena *spare_mem[HOLD_SPARES];
	struct arena *no_mem; /* stands in when memory is out: holds nothing */
	struct open_msg *spare_msgs;
	uint32_t spare_hold_cnt;
	uint32_t spare_mem_cnt;
	uint64_t held_bytes;
	struct books chunks;
	struct books msgs;
	uint64_t *conn_cnt; /* connections found, a row */
	uint64_t unknown;   /* connections no protocol claimed */
	uint64_t given_up;
	size_t gauge_cnt;
	struct gauge *gauges;
	char (*gauge_names)[64];
};

/* ---- lane.c: bytes ---- */

/* Parses data, the lane's next len bytes; returns how many of them are done with. */
size_t lane_parse(struct parser *ps, struct lane *l, const uint8_t *data, size_t len);
/* A data chunk of a lane whose protocol is known. 0, -ENOBUFS or -ENOMEM when bytes were lost. */
int lane_data(struct parser *ps, struct lane *l, const struct chunk *c);
/* Parses what waits, as far as it goes. */
void lane_drain(struct parser *ps, struct lane *l);
void lane_gap(struct parser *ps, struct lane *l, uint64_t len);
/* What waits is all there will be: parses it, then forgets it. */
void lane_cut(struct parser *ps, struct lane *l);
/* Appends to what waits: at least one byte, at most as much as fits; ret_n says how many. */
int lane_hold(struct parser *ps, struct lane *l, const struct chunk *c, const uint8_t *p, size_t n,
	      size_t *ret_n);
void lane_release(struct parser *ps, struct lane *l);
/* The time and thread of the byte at pos. */
struct mark lane_mark(const struct parser *ps, const struct lane *l, uint64_t pos);

/* ---- message.c: messages ---- */

void message_publish(struct parser *ps, struct open_msg *o, uint32_t flags);
/* Ends it before position end_pos. */
void message_end(struct parser *ps, struct open_msg *o, uint64_t end_pos, uint32_t flags,
		 uint32_t err);
void message_forget(struct parser *ps, struct open_msg *o, enum msg_drop why);
/* Copies what unpublished messages borrow from [p, p + len) into their lane's memory. */
void messages_pin(struct parser *ps, const void *p, size_t len);
void lane_mem_reset(struct parser *ps, struct lane *l);
void lane_mem_release(struct parser *ps, struct lane *l);

#endif

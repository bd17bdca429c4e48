/* SPDX-License-Identifier: Apache-2.0 */
/* A well-formed record of each kind, for tests to use and to spoil. */
#ifndef TESTS_RING_RECORDS_H
#define TESTS_RING_RECORDS_H

#include "ring/ring.h"

#include <sys/socket.h>

union any_record {
	struct event_hdr h;
	struct event_conn conn;
	struct event_data data;
	struct event_close close;
	struct event_mark mark;
	struct event_exec exec;
	struct event_fork fork;
	struct event_exit exit;
	struct event_proc proc;
	struct event_clock clock;
	struct event_key key;
	struct event_books books;
	struct event_host host;
	_Alignas(8) char bytes[65536];
};

static const uint16_t record_kinds[] = { EVENT_CONN,  EVENT_DATA, EVENT_CLOSE, EVENT_RETRANSMIT,
					 EVENT_EXEC,  EVENT_FORK, EVENT_EXIT,  EVENT_PROC,
					 EVENT_CLOCK, EVENT_KEY,  EVENT_BOOKS, EVENT_TICK,
					 EVENT_HOST };

static inline size_t record_fixed_size(uint16_t kind)
{
	switch (kind) {
	case EVENT_CONN: return sizeof(struct event_conn);
	case EVENT_CLOSE: return sizeof(struct event_close);
	case EVENT_RETRANSMIT: return sizeof(struct event_mark);
	case EVENT_EXEC: return sizeof(struct event_exec);
	case EVENT_FORK: return sizeof(struct event_fork);
	case EVENT_EXIT: return sizeof(struct event_exit);
	case EVENT_CLOCK: return sizeof(struct event_clock);
	case EVENT_KEY: return sizeof(struct event_key);
	case EVENT_BOOKS: return sizeof(struct event_books);
	case EVENT_HOST: return sizeof(struct event_host);
	default: return sizeof(struct event_hdr);
	}
}

static inline void record_make(union any_record *r, uint16_t kind)
{
	static const char text[] = "service.name\0shop\0process.pid\0"
				   "7";

	memset(r, 0, sizeof(struct event_exec) + 64);
	r->h = (struct event_hdr){ .ts_ns = 1000, .tgid = 7, .kind = kind };
	r->h.size = (uint16_t)record_fixed_size(kind);
	switch (kind) {
	case EVENT_CONN:
		r->conn.conn = 1;
		r->conn.family = AF_INET;
		r->conn.transport = TRANSPORT_TCP;
		break;
	case EVENT_DATA:
		r->data.conn = 1;
		r->data.pos = 100;
		r->data.len = 20;
		r->data.cap = 5;
		memcpy(r->data.payload, "hello", 5);
		r->h.size = sizeof(r->data) + 5;
		break;
	case EVENT_CLOSE: r->close.conn = 1; break;
	case EVENT_RETRANSMIT: r->mark.conn = 1; break;
	case EVENT_PROC:
		r->proc.runtime = RUNTIME_NATIVE;
		r->proc.text_len = sizeof(text);
		memcpy(r->proc.text, text, sizeof(text));
		r->h.size = sizeof(r->proc) + sizeof(text);
		break;
	case EVENT_HOST: memcpy(r->host.name, "box", 4); break;
	default: break;
	}
}

#endif

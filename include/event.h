/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The records that the kernel side writes and user space reads.
 *
 * Fixed-width fields, little-endian as the machine, no implicit padding. Every record starts with
 * struct event_hdr; a reader skips kinds it does not know. Times are CLOCK_MONOTONIC nanoseconds.
 *
 * Stream positions: for TCP the low 32 bits are the socket's own sequence numbers (write_seq,
 * copied_seq), so both ends of a connection give the same byte the same low 32 bits; the high bits
 * count wrap-arounds since the connection was first seen. Elsewhere (UNIX, TLS plaintext, UDP)
 * positions count bytes from 0.
 */
#ifndef TELLTALE_EVENT_H
#define TELLTALE_EVENT_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif
#include "limits.h"

enum event_kind {
	EVENT_CONN = 1,	      /* struct event_conn: a connection, or more about it */
	EVENT_DATA = 2,	      /* struct event_data: bytes of one direction */
	EVENT_CLOSE = 3,      /* struct event_close: the connection's end */
	EVENT_RETRANSMIT = 4, /* struct event_mark: one TCP segment sent again */
	EVENT_EXEC = 5,	      /* struct event_exec */
	EVENT_FORK = 6,	      /* struct event_fork: a new process, not a new thread */
	EVENT_EXIT = 7,	      /* struct event_exit: the last thread of a process has gone */
	EVENT_USER = 0x100,   /* from here on: made by user space, see user/ring/ring.h */
};

struct event_hdr {
	__u64 ts_ns;
	__u32 tgid; /* process id in the initial pid namespace */
	__u16 kind; /* enum event_kind */
	__u16 size; /* of the whole record, bytes */
};

/*
 * What the kernel knows of the thread at the moment of a record: evidence for a parent, no
 * decision. A turn is one pass of an event loop; it advances when the thread blocks in epoll_wait,
 * in poll or select on more than one descriptor, or in an io_uring wait.
 */
struct event_thread {
	__u32 tid;
	__u32 seq;	 /* records of this thread so far; a step over 1 tells of a lost record */
	__u32 turn;	 /* loop turns so far */
	__u32 read_turn; /* the turn in which read_conn was read */
	__u64 read_conn; /* connection of this thread's latest read before this record; 0: none */
	__u64 read_pos;	 /* position of that read's first byte */
	__u32 reads;	 /* reads of this turn, this record's own not counted */
	__u16 switches;	 /* changes of the connection being read in this turn; stops at 65535 */
	__u16 flags;	 /* enum thread_flags */
};

enum thread_flags {
	THREAD_F_NEW = 1 << 0, /* began after the tracer: nothing of it was missed before */
};

enum transport { TRANSPORT_TCP = 1, TRANSPORT_UNIX = 2, TRANSPORT_UDP = 3, TRANSPORT_TLS = 4 };
enum conn_role { ROLE_UNKNOWN = 0, ROLE_DIALLED = 1, ROLE_ACCEPTED = 2 };

enum conn_flags {
	CONN_F_CONNECTING = 1 << 0,  /* connect() is under way; another record follows */
	CONN_F_ESTABLISHED = 1 << 1, /* open_ns is the moment connect() succeeded */
	CONN_F_MIDSTREAM = 1 << 2,   /* was open before it was first seen */
};

/* May come more than once for a connection: later ones complete the earlier. */
struct event_conn {
	struct event_hdr h; /* tgid: the owner at first sight */
	__u64 conn;	    /* connection id, never 0, never used again in a run */
	__u64 carrier;	    /* TLS: the connection whose bytes carry this one; else 0 */
	__u64 sock;	    /* opaque identity of the socket, valid while it is open */
	__u64 peer_sock;    /* UNIX: that of the other end; else 0 */
	__u64 dial_ns;	    /* connect() began; 0: not seen */
	__u64 open_ns;	    /* connection established; 0: not seen */
	__u64 cgroup;	    /* cgroup v2 id of the owner */
	__u32 netns;	    /* inode number of the network namespace */
	__u16 lport;	    /* host byte order */
	__u16 rport;
	__u8 laddr[16]; /* IPv6, or IPv4 mapped (RFC 4291, 2.5.5.2); UNIX: zero */
	__u8 raddr[16];
	__u16 family;	/* AF_INET, AF_INET6 (mapped ones count as AF_INET), AF_UNIX */
	__u8 transport; /* enum transport */
	__u8 role;	/* enum conn_role */
	__u32 flags;	/* enum conn_flags */
	struct event_thread thread;
	char comm[COMM_LEN];
	char path[UNIX_PATH_LEN]; /* UNIX: the bound path of either end; abstract ones begin with @
				   */
	__u8 pad[4];
};

enum data_dir { DIR_IN = 0, DIR_OUT = 1 };

enum data_flags {
	DATA_F_TAIL =
		1 << 0, /* the end of an earlier turn, kept because its middle was not captured */
	DATA_F_NO_BYTES = 1 << 1, /* counted only: sendfile, splice, zero-copy, io_uring worker */
	DATA_F_EOF = 1 << 2,	  /* the peer has shut down its side; len is 0 */
	DATA_F_BUDGET = 1 << 3,	  /* the turn's budget ends here: its bytes beyond are left out */
	DATA_F_DATAGRAM = 1 << 4, /* one datagram */
	DATA_F_FAULT = 1 << 5,	  /* bytes beyond cap could not be read from the process */
	DATA_F_RESET = 1 << 6,	  /* the call failed with ECONNRESET or EPIPE; len is 0 */
	DATA_F_OTHER = 1 << 7,	  /* before other_pos are bytes that were counted only */
};

/* One or more calls' bytes: [pos, pos + len) of the stream, the first cap of them in payload. */
struct event_data {
	struct event_hdr h; /* ts_ns: when the last of these bytes was accepted or handed over */
	__u64 conn;
	__u64 pos;
	__u64 other_pos; /* end of the other direction so far */
	__u64 other_ns;	 /* when its last byte passed; 0: none yet */
	__u32 len;
	__u32 cap;
	__u8 dir; /* enum data_dir */
	__u8 flags;
	__u8 pad[6];
	struct event_thread thread;
	__u8 payload[];
};

struct event_close {
	struct event_hdr h;
	__u64 conn;
	__u64 pos[2];	  /* end of each direction, by enum data_dir */
	__u64 last_ns[2]; /* when its last byte passed; 0: none */
	/* The socket's errno: ECONNREFUSED, ECONNRESET, ETIMEDOUT, ...; 0: clean. ECANCELED: it is
	 * open, and looked at no more. */
	__u32 err;
	__u32 retransmits;
};

struct event_mark {
	struct event_hdr h;
	__u64 conn;
};

struct event_exec {
	struct event_hdr h;
	__u64 cgroup;
	__u64 start_ns; /* of the process, CLOCK_MONOTONIC */
	__u32 ppid;
	__u32 uid;
	__u32 args_len; /* bytes used of args */
	__u32 env_len;
	char comm[COMM_LEN];
	char args[EXEC_ARGS_LEN]; /* NUL-separated, may be cut */
	char env[EXEC_ENV_LEN];
};

struct event_fork {
	struct event_hdr h; /* tgid: the parent */
	__u32 child;
	__u32 pad;
};

struct event_exit {
	struct event_hdr h;
	__u32 status; /* as wait(2) gives it */
	__u32 pad;
};

/* Why the kernel side let something go; counted per processor in the map "drops". */
#define KERNEL_DROPS(X)                                                                           \
	X(ring_full)	   /* no room in the ring buffer */                                       \
	X(conn_table_full) /* no state for a connection */                                        \
	X(thread_table_full)                                                                      \
	X(proc_table_full)                                                                        \
	X(fault)	 /* payload not readable */                                               \
	X(vector_end)	 /* messages of one sendmmsg or recvmmsg past those that are looked at */ \
	X(scratch_taken) /* scattered payload left out: no room to put it together */

#define X(name) DROP_##name,
enum kernel_drop { KERNEL_DROPS(X) DROP_MAX };
#undef X

/* What the kernel side did, counted per processor in the map "counts". */
#define KERNEL_COUNTS(X)                                             \
	X(records)	 /* tried to write: submitted + ring_full */ \
	X(submitted)	 /* handed to the ring buffer */             \
	X(tails_pending) /* connections whose turn has bytes not yet told of; a gauge */

#define X(name) COUNT_##name,
enum kernel_count { KERNEL_COUNTS(X) COUNT_MAX };
#undef X

#ifdef __cplusplus
#define EVENT_ASSERT static_assert
#else
#define EVENT_ASSERT _Static_assert
#endif
EVENT_ASSERT(sizeof(struct event_hdr) == 16, "wire layout");
EVENT_ASSERT(sizeof(struct event_thread) == 40, "wire layout");
EVENT_ASSERT(sizeof(struct event_conn) == 288, "wire layout");
EVENT_ASSERT(sizeof(struct event_data) == 104, "wire layout");
EVENT_ASSERT(sizeof(struct event_close) == 64, "wire layout");
EVENT_ASSERT(sizeof(struct event_exec) == 16 + 16 + 16 + 16 + 1024 + 2048, "wire layout");

#endif

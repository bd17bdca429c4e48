/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* State that the kernel side keeps; private to it and to user/probe, which sizes the maps. */
#ifndef BPF_STATE_H
#define BPF_STATE_H

#include "event.h"

enum conn_state_flags {
	CONN_HAS_IN = 1 << 0, /* pos[DIR_IN] is set */
	CONN_HAS_OUT = 1 << 1,
	CONN_ANNOUNCED = 1 << 2,   /* EVENT_CONN was written */
	CONN_CARRIES_TLS = 1 << 3, /* its plaintext is captured: count bytes, tell nothing */
	CONN_PENDING = 1 << 4,	   /* bytes passed that no record told of yet */
};

/* One connection (or TLS plaintext stream). Exists only for selected processes. */
struct conn_state {
	__u64 id;
	__u64 sock;	  /* its address: what user space tells sockets apart by */
	__u64 pos[2];	  /* end of each direction */
	__u64 told[2];	  /* up to where records told of it */
	__u64 last_ns[2]; /* when its last byte passed */
	__u64 dial_ns;
	__u64 carrier;
	__u64 inode; /* its file's number: tells sockets apart that had the same address */
	__u32 tgid;
	__u32 budget;	/* bytes this turn may still capture */
	__u8 turn;	/* direction of the turn, plus one; 0: none yet */
	__u8 flags;	/* enum conn_state_flags */
	__u8 role;	/* enum conn_role */
	__u8 transport; /* enum transport */
	__u16 tail_len; /* bytes in tail; they end at pos[turn - 1] */
	__u16 err;	/* the socket's, when it was closed with bytes not told of */
	__u8 tail[TAIL_LEN];
};
EVENT_ASSERT(sizeof(struct conn_state) <= 256, "a connection's state");

/*
 * One call on one socket, and the records to be written of it. Kept with the thread, whose call it
 * is, so that the functions that work on it take scalars only and are verified once, not per
 * caller.
 */
struct io {
	__u64 base;  /* user address of the bytes, or of struct iovec entries */
	__u64 bytes; /* moved by the call */
	__u64 conn;
	__u64 other_pos, other_ns; /* of the other direction */
	__u32 segs;
	__u8 source; /* enum io_source */
	__u8 dir;
	__u8 flags; /* enum data_flags */
	__u8 pad;
};

/* One thread of a selected process. */
struct thread_state {
	__u64 read_conn;
	__u64 read_pos;
	__u64 ssl; /* inside SSL_read or SSL_write of this object; 0: not */
	__u64 ssl_buf;
	__u64 ssl_len;	   /* address of the length result of the _ex calls; 0: none */
	__u64 ssl_carrier; /* the connection whose bytes moved inside the call */
	__u64 mmsg_vec;	   /* sendmmsg, recvmmsg: the vector whose messages are being moved */
	__u32 mmsg_next;
	__u32 seq;
	__u32 turn;
	__u32 read_turn;
	__u32 reads;
	__u16 switches;
	__u16 flags;  /* enum thread_flags, once seq is not 0 */
	struct io io; /* of the call that it is in */
};

struct proc_state {
	__u8 selected;
	__u8 inherited; /* by pid or from the parent: exec does not change it */
	__u16 rule;	/* that selected it, or whose family it is of; user space counts from 1 */
};

/* The filter's answers where a plain load finds them, by the low bits of the process id. */
#define PROC_ANSWERS		    2048
#define PROC_ANSWER(tgid, selected) ((__u32)(tgid) << 1 | (selected)) /* 0: none kept */

/* Where the globs in use begin and how many they are, in one word, so that they change together. */
#define FILTER_GLOBS_NOW(from, cnt) ((__u32)(from) << 16 | (cnt))

struct listener_key {
	__u32 netns;
	__u16 port;
	__u16 pad;
};

struct tls_key {
	__u64 ssl;
	__u32 tgid;
	__u32 pad;
};

/*
 * A glob compiled for bit-parallel matching: bit i of the state means "the first i elements of the
 * pattern have matched". The pattern ends with the name's NUL, and accept stays set once reached.
 */
struct glob {
	__u32 accept; /* the bit that means a match */
	__u32 star;   /* positions that hold a star, and accept */
	__u16 rule;
	__u16 pad;
	__u32 mask[256]; /* by byte: positions that take it */
};

struct stats {
	__u64 drops[DROP_MAX];
	__u64 counts[COUNT_MAX];
};

/*
 * Where scattered payload is put together. Where the kernel can be preempted so can programs (from
 * 5.12 on trampolines, 6.0 uprobes, 7.0 tracepoints), and others run on the same processor then: a
 * slot is one program's until it gives it back, and the next comer takes the next slot.
 */
#define SCRATCH_SLOTS 4

struct scratch {
	__u64 users;
	__u64 skip;	/* io_gather(): bytes still to pass over */
	__u32 gathered; /* io_gather(): bytes in it */
	__u32 pad;
	__u8 bytes[2 * PAYLOAD_MAX];
};

/* A turn that has been quiet for so long is told of by the periodic walk. */
#define FLUSH_IDLE_NS 50000000ull

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every capture backend calls when a socket has sent or received: find the payload in the
 * caller's memory, keep the turn's budget, write data records.
 *
 * The payload is found through the registers that the system call was entered with, so only exit
 * hooks are needed and a process that is not traced pays for one of them, not two.
 */
#ifndef BPF_IO_H
#define BPF_IO_H

#include "conn.bpf.h"

#define USER_MSGHDR_IOV	   16 /* offsets in struct user_msghdr, 64-bit */
#define USER_MSGHDR_IOVLEN 24
#define MMSGHDR_SIZE	   64

#define ECONNRESET 104
#define EPIPE	   32

enum io_source { IO_NONE, IO_BUF, IO_IOVEC };

static __always_inline struct scratch *scratch_get(__u32 slot)
{
	return bpf_map_lookup_elem(&scratches, &slot);
}

/* Who counts itself in and then finds itself alone has the slot. The others, preempted or
 * preempting on the same processor, count themselves out again. */
static __always_inline bool scratch_claim(struct scratch *s)
{
	add(s->users, 1);
	if (*(volatile __u64 *)&s->users == 1)
		return true;
	add(s->users, -1);
	return false;
}

static __always_inline void scratch_give(struct scratch *s)
{
	add(s->users, -1);
}

static __always_inline void io_from_iovec(struct io *io, __u64 iov, __u64 segs)
{
	struct {
		__u64 base, len;
	} one;

	io->base = iov;
	io->segs = segs > IOVEC_MAX ? IOVEC_MAX : segs;
	io->source = IO_IOVEC;
	if (segs == 1 && !bpf_probe_read_user(&one, sizeof(one), (void *)iov)) {
		io->base = one.base;
		io->source = IO_BUF;
	}
}

static __always_inline void io_from_msghdr(struct io *io, __u64 msg)
{
	struct {
		__u64 iov, len;
	} vec;

	if (!bpf_probe_read_user(&vec, sizeof(vec), (void *)(msg + USER_MSGHDR_IOV)))
		io_from_iovec(io, vec.iov, vec.len);
}

/* Which message of a vector this is: the calls' hooks fire once a message, in order. */
static __always_inline void io_from_mmsghdr(struct io *io, __u64 vec, __u32 cnt,
					    struct thread_state *t)
{
	if (t->mmsg_vec != vec || t->mmsg_next >= cnt) {
		t->mmsg_vec = vec;
		t->mmsg_next = 0;
	}
	io_from_msghdr(io, vec + (__u64)t->mmsg_next * MMSGHDR_SIZE);
	t->mmsg_next++;
	if (t->mmsg_next >= cnt)
		t->mmsg_vec = 0;
}

/* Finds the payload. What is not listed (sendfile, splice, io_uring, kernel users) stays IO_NONE:
 * counted, not read. */
static __always_inline void io_locate(struct io *io, const struct call *call,
				      struct thread_state *t)
{
	io->source = IO_NONE;
	if (io->dir == DIR_IN) {
		switch (call->nr) {
		case NR_read:
		case NR_recvfrom:
			io->base = call->arg2;
			io->source = IO_BUF;
			break;
		case NR_readv: io_from_iovec(io, call->arg2, call->arg3); break;
		case NR_recvmsg: io_from_msghdr(io, call->arg2); break;
		case NR_recvmmsg: io_from_mmsghdr(io, call->arg2, call->arg3, t); break;
		}
		return;
	}
	switch (call->nr) {
	case NR_write:
	case NR_sendto:
		io->base = call->arg2;
		io->source = IO_BUF;
		break;
	case NR_writev: io_from_iovec(io, call->arg2, call->arg3); break;
	case NR_sendmsg: io_from_msghdr(io, call->arg2); break;
	case NR_sendmmsg: io_from_mmsghdr(io, call->arg2, call->arg3, t); break;
	}
}

/* Global functions, in io.bpf.c: they take scalars only and are verified once, not per caller. */

/* A free slot, claimed; SCRATCH_SLOTS when there is none, which is counted. */
__u32 scratch_take(void);

/* Copies want bytes (at most PAYLOAD_MAX) from byte skip of segs struct iovec entries into the
 * slot's scratch; returns how many could be read. */
__u32 io_gather(__u32 slot, __u64 iov, __u32 segs, __u64 skip, __u32 want);

/* Writes one record of want bytes (1 to PAYLOAD_MAX) that begin skip bytes into the payload of the
 * thread's call and at pos in the stream. */
int io_emit(__u64 skip, __u32 want, __u64 pos);

/* Keeps the last bytes of a call whose payload the budget did not cover. */
static __always_inline void io_keep_tail(struct conn_state *c, const struct io *io)
{
	__u64 bytes = io->bytes;
	__u32 slot, want = bytes < TAIL_LEN ? bytes : TAIL_LEN;
	struct scratch *s;

	if (io->source == IO_BUF) {
		if (!bpf_probe_read_user(c->tail, want, (void *)(io->base + bytes - want)))
			c->tail_len = want;
		return;
	}
	slot = scratch_take();
	s = scratch_get(slot);
	if (!s)
		return;
	if (io_gather(slot, io->base, io->segs, bytes - want, want) == want) {
		__builtin_memcpy(c->tail, s->bytes, TAIL_LEN);
		c->tail_len = want;
	}
	scratch_give(s);
}

/* Writes as much of a call's payload as the turn's budget allows. */
static __always_inline void io_capture(struct conn_state *c, struct io *io, __u8 dir, __u64 start)
{
	__u64 left = io->bytes, skip = 0;

	io->conn = c->id;
	io->other_pos = c->pos[!dir];
	io->other_ns = c->last_ns[!dir];
	io->flags |= conn_untold(c, !dir);
	for (int i = 0; i < CAPTURE_MAX / PAYLOAD_MAX; i++) {
		__u32 n = PAYLOAD_MAX;

		if (n > left)
			n = left;
		if (n > c->budget)
			n = c->budget;
		if (!n)
			break;
		if (n == c->budget)
			io->flags |= DATA_F_BUDGET;
		io_emit(skip, n, start + skip);
		c->budget -= n;
		skip += n;
		left -= n;
	}
	if (skip) {
		c->told[dir] = start + skip;
		c->told[!dir] = c->pos[!dir];
	}
}

/* A call that failed because the peer has gone, or reached the end of the stream. */
static __always_inline void io_mark(struct conn_state *c, __u8 dir, __u8 flags)
{
	struct event_data *e = emit_reserve(sizeof(*e));

	if (!e) {
		count_full();
		return;
	}
	data_fill(e, c, dir, flags, c->pos[dir], 0, 0, bpf_ktime_get_ns(),
		  bpf_get_current_pid_tgid() >> 32, thread_get(false));
	emit_submit(e);
}

/* The other direction speaks now. What is left to tell of the old turn rides in the next record,
 * unless it has bytes to show or that record may not come. */
static __always_inline void conn_turn(struct conn_state *c, struct io *io, __u8 dir)
{
	if (c->tail_len || io->source == IO_NONE)
		conn_flush(c);
	c->turn = dir + 1;
	c->budget = capture_bytes;
}

/*
 * Bytes have passed: t->io.bytes of the thread's call, which end at position end of their direction
 * (its low 32 bits, where it wraps). dir is a constant at each call. Everything that a backend or
 * the TLS probes see comes through here.
 */
static __always_inline int conn_io(struct conn_state *c, struct thread_state *t, __u8 dir,
				   __u64 end, bool wraps)
{
	struct io *io = &t->io;
	__u8 has = CONN_HAS_IN << dir;
	__u64 start;

	if (wraps && (c->flags & has))
		end = c->pos[dir] + (__s64)(__s32)((__u32)end - (__u32)c->pos[dir]);
	else if (wraps)
		end = (__u32)end | 1ull << 32;
	start = end - io->bytes;
	if (!(c->flags & has)) {
		c->told[dir] = c->pos[dir] = start;
		c->flags |= has;
	}
	if (c->flags & CONN_CARRIES_TLS || t->ssl) {
		/* ciphertext of a stream whose plaintext comes from the TLS library */
		if (t->ssl) {
			t->ssl_carrier = c->id;
			c->flags |= CONN_CARRIES_TLS;
		}
		c->pos[dir] = c->told[dir] = end;
		return 0;
	}
	if (c->turn != dir + 1)
		conn_turn(c, io, dir);
	if (io->source != IO_NONE && c->budget)
		io_capture(c, io, dir, start);
	c->pos[dir] = end;
	c->last_ns[dir] = bpf_ktime_get_ns();
	c->tail_len = 0;
	if (c->told[dir] != end) {
		if (io->source != IO_NONE)
			io_keep_tail(c, io);
		conn_mark_pending(c);
	} else {
		conn_clear_pending(c);
	}
	if (dir == DIR_IN)
		thread_note_read(t, c->id, start);
	return 0;
}

#endif

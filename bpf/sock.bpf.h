/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a socket hook to conn_io(): the filters, the connection, the stream position. */
#ifndef BPF_SOCK_H
#define BPF_SOCK_H

#include "io.bpf.h"

#define DNS_HEADER_LEN 12

/* Bytes that may well be one DNS message with one question (RFC 1035, 4.1.1): other datagrams are
 * not worth a record. */
static __always_inline bool looks_like_dns(const struct io *io)
{
	__u8 h[DNS_HEADER_LEN];

	if (io->source != IO_BUF || io->bytes < DNS_HEADER_LEN + 5 || io->bytes > PAYLOAD_MAX)
		return false;
	if (bpf_probe_read_user(h, sizeof(h), (void *)io->base))
		return false;
	/* opcode QUERY, reserved bit clear, exactly one question, few records */
	return !(h[2] & 0x78) && !(h[3] & 0x40) && h[4] == 0 && h[5] == 1 && h[6] == 0 &&
	       h[8] == 0 && h[10] == 0;
}

static __always_inline bool sock_had_fin(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_flags) >> SOCK_DONE & 1;
}

/* The end of what has passed in a direction, after the call: for TCP the socket's own count. */
static __always_inline __u64 sock_position(struct sock *sk, struct conn_state *c, __u8 dir,
					   __u32 bytes)
{
	__u32 copied;

	if (c->transport != TRANSPORT_TCP)
		return c->pos[dir] + bytes;
	if (dir == DIR_OUT)
		return BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	copied = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	/* the peer's FIN takes a number too, and is read together with the last bytes */
	if (sock_had_fin(sk) && copied == BPF_CORE_READ((struct tcp_sock *)sk, rcv_nxt))
		copied--;
	return copied;
}

static __always_inline struct conn_state *sock_first_io(struct sock *sk, struct io *io, __u32 tgid)
{
	__u8 transport = sock_transport(sk);
	struct conn_state *c;

	if (!transport || !filter_port_ok(sk))
		return NULL;
	if (transport == TRANSPORT_UDP && !looks_like_dns(io))
		return NULL;
	c = conn_open(sk, transport, tgid);
	if (c)
		conn_announce(c, sk, 0, 0);
	return c;
}

static __always_inline int sock_bytes(struct sock *sk, struct conn_state *c, __u32 bytes,
				      __u32 msg_flags, __u8 dir, const struct call *known)
{
	struct thread_state *t = thread_get(true);
	struct call call;
	__u64 end;

	if (!t)
		return 0;
	t->io.bytes = bytes;
	t->io.dir = dir;
	t->io.flags = 0;
	t->io.source = IO_NONE;
	if (!(msg_flags & MSG_TRUNC)) {
		if (known)
			call = *known;
		else
			call_current(&call);
		io_locate(&t->io, &call, t);
	}
	if (!c)
		c = sock_first_io(sk, &t->io, bpf_get_current_pid_tgid() >> 32);
	if (!c)
		return 0;
	if (c->transport == TRANSPORT_UDP)
		t->io.flags = DATA_F_DATAGRAM;
	end = sock_position(sk, c, dir, bytes);
	if (known && c->transport == TRANSPORT_TCP)
		end -= known->after;
	return conn_io(c, t, dir, end, c->transport == TRANSPORT_TCP);
}

/* A call that failed moves no more messages: the next one begins its vector anew. */
static __always_inline void mmsg_over(void)
{
	struct thread_state *t;

	/* most calls that fail are of processes that are not traced: a plain load tells */
	if (have_task_storage && !bpf_get_current_task_btf()->bpf_storage)
		return;
	t = thread_get(false);
	if (t)
		t->mmsg_vec = 0;
}

/* The call's end on a socket: ret bytes or -errno. Bytes that stay in the socket are not looked at.
 */
static __always_inline int sock_io(struct sock *sk, long ret, __u32 msg_flags, __u8 dir,
				   const struct call *known)
{
	struct conn_state *c;

	if (ret < 0 && !known)
		mmsg_over();
	if (ret < 0 && ret != -ECONNRESET && ret != -EPIPE)
		return 0;
	if ((msg_flags & (MSG_PEEK | MSG_ERRQUEUE)) ||
	    !proc_selected(bpf_get_current_pid_tgid() >> 32))
		return 0;
	c = conn_current(sk);
	if (ret > 0)
		return sock_bytes(sk, c, ret, msg_flags, dir, known);
	if (c && !(c->flags & CONN_CARRIES_TLS) && (ret || dir == DIR_IN))
		io_mark(c, dir, ret ? DATA_F_RESET : DATA_F_EOF);
	return 0;
}

#endif

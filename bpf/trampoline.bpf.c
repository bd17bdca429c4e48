/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Capture backend "trampoline": exit hooks on the protocols' send and receive functions (5.5 on
 * x86, 6.0 on arm64). One hook a call, on the way out: the payload is found through the system
 * call's registers, so no entry hook has to remember it.
 */
#include "sock.bpf.h"

SEC("?fexit/tcp_sendmsg")
int BPF_PROG(tramp_tcp_send, struct sock *sk, struct msghdr *msg, __u64 size, int ret)
{
	return sock_io(sk, ret, 0, DIR_OUT, NULL);
}

/*
 * The receive functions lost their argument 'nonblock' in 5.19 and 'addr_len' later; flags come
 * after both lengths, and the result follows the last argument.
 */
static __always_inline int tramp_recv(__u64 *ctx, __u32 args)
{
	struct sock *sk = (struct sock *)ctx[0];

	switch (args) {
	case 6: return sock_io(sk, (int)ctx[6], (__u32)ctx[4], DIR_IN, NULL);
	case 5: return sock_io(sk, (int)ctx[5], (__u32)ctx[3], DIR_IN, NULL);
	case 4: return sock_io(sk, (int)ctx[4], (__u32)ctx[3], DIR_IN, NULL);
	default: return 0;
	}
}

SEC("?fexit/tcp_recvmsg")
int tramp_tcp_recv(__u64 *ctx)
{
	return tramp_recv(ctx, tcp_recvmsg_args);
}

/* sendfile and splice to a socket, before 6.5: counted, not read. */
SEC("?fexit/tcp_sendpage")
int BPF_PROG(tramp_tcp_sendpage, struct sock *sk, struct page *page, int offset, __u64 size,
	     int flags, int ret)
{
	return sock_io(sk, ret, 0, DIR_OUT, NULL);
}

SEC("?fexit/tcp_splice_read")
int BPF_PROG(tramp_tcp_splice, struct socket *sock, __u64 *ppos, struct pipe_inode_info *pipe,
	     __u64 len, unsigned int flags, long ret)
{
	return sock_io(sock->sk, ret, 0, DIR_IN, NULL);
}

SEC("?fexit/unix_stream_sendmsg")
int BPF_PROG(tramp_unix_send, struct socket *sock, struct msghdr *msg, __u64 len, int ret)
{
	return sock_io(sock->sk, ret, 0, DIR_OUT, NULL);
}

SEC("?fexit/unix_stream_recvmsg")
int BPF_PROG(tramp_unix_recv, struct socket *sock, struct msghdr *msg, __u64 size, int flags,
	     int ret)
{
	return sock_io(sock->sk, ret, flags, DIR_IN, NULL);
}

SEC("?fexit/udp_sendmsg")
int BPF_PROG(tramp_udp_send, struct sock *sk, struct msghdr *msg, __u64 len, int ret)
{
	return sock_io(sk, ret, 0, DIR_OUT, NULL);
}

SEC("?fexit/udpv6_sendmsg")
int BPF_PROG(tramp_udp6_send, struct sock *sk, struct msghdr *msg, __u64 len, int ret)
{
	return sock_io(sk, ret, 0, DIR_OUT, NULL);
}

SEC("?fexit/udp_recvmsg")
int tramp_udp_recv(__u64 *ctx)
{
	return tramp_recv(ctx, udp_recvmsg_args);
}

SEC("?fexit/udpv6_recvmsg")
int tramp_udp6_recv(__u64 *ctx)
{
	return tramp_recv(ctx, udp_recvmsg_args);
}

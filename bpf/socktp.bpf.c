/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Capture backend "socktp": the tracepoints at the end of sock_sendmsg() and sock_recvmsg()
 * (net/socket.c, 6.3 and newer). They fire for every family, with the result and the flags.
 */
#include "sock.bpf.h"

SEC("?tp_btf/sock_send_length")
int BPF_PROG(socktp_send, struct sock *sk, int ret, int flags)
{
	return sock_io(sk, ret, 0, DIR_OUT, NULL);
}

SEC("?tp_btf/sock_recv_length")
int BPF_PROG(socktp_recv, struct sock *sk, int ret, int flags)
{
	return sock_io(sk, ret, flags, DIR_IN, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Capture backend "syscall", the fallback: the tracepoint at the exit of every system call. The
 * registers still hold the arguments; the socket is found through the process's file table.
 */
#include "sock.bpf.h"

/* Where the current process's file table holds a descriptor, or NULL. */
static __always_inline struct file **fd_slot(__u32 fd)
{
	struct fdtable *fdt;

	if (have_task_storage) { /* then the verifier knows the current task, and loads are plain */
		fdt = bpf_get_current_task_btf()->files->fdt;
		return fd < fdt->max_fds ? fdt->fd + fd : NULL;
	}
	fdt = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), files, fdt);
	return fd < BPF_CORE_READ(fdt, max_fds) ? BPF_CORE_READ(fdt, fd) + fd : NULL;
}

/* The socket behind a descriptor of the current process, or NULL. */
static __always_inline struct sock *fd_socket(__u32 fd)
{
	struct file *file = NULL, **slot = fd_slot(fd);
	struct socket *sock;
	struct sock *sk;

	if (!slot || bpf_probe_read_kernel(&file, sizeof(file), slot) || !file)
		return NULL;
	if (!file_is_socket(file))
		return NULL;
	sock = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(sock, sk);
	return sk;
}

static __always_inline __u32 recv_flags(const struct call *call)
{
	switch (call->nr) {
	case NR_recvfrom: return call->arg4;
	case NR_recvmsg: return call->arg3;
	default: return 0;
	}
}

#define MMSG_MAX    8  /* messages of one sendmmsg or recvmmsg that are looked at */
#define MMSG_COUNT  64 /* messages whose length is counted */
#define MMSGHDR_LEN 56 /* of msg_len in struct mmsghdr, 64-bit */

/* The bytes that message i of a vector has moved. */
static __always_inline __u32 mmsg_len(__u64 vec, __u32 i)
{
	__u32 len = 0;

	bpf_probe_read_user(&len, sizeof(len), (void *)(vec + i * MMSGHDR_SIZE + MMSGHDR_LEN));
	return len;
}

/* The bytes that all have moved. Global, so that it is verified once. */
__noinline __u64 mmsg_bytes(__u64 vec, __u32 cnt)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < MMSG_COUNT && i < cnt; i++)
		sum += mmsg_len(vec, i);
	return sum;
}

/* Many messages in one call: each as if it had come by a call of its own. */
static __always_inline int socket_mmsg(const struct call *call, long cnt, __u8 dir)
{
	struct sock *sk = fd_socket(call->arg1);
	struct call one = *call;
	__u32 flags = dir == DIR_IN ? call->arg4 : 0;

	if (!sk)
		return 0;
	one.nr = dir == DIR_IN ? NR_recvmsg : NR_sendmsg;
	one.after = mmsg_bytes(call->arg2, cnt);
	for (int i = 0; i < MMSG_MAX && i < cnt; i++) {
		__u32 len = mmsg_len(call->arg2, i);

		if (!len)
			break;
		one.arg2 = call->arg2 + i * MMSGHDR_SIZE;
		one.after -= len;
		sock_io(sk, len, flags, dir, &one);
	}
	if (cnt > MMSG_MAX)
		count_drops(DROP_vector_end, cnt - MMSG_MAX);
	return 0;
}

static __always_inline int socket_call(const struct call *call, long ret)
{
	__u32 fd = call->arg1;
	__u8 dir = DIR_OUT;
	struct sock *sk;

	switch (call->nr) {
	case NR_read:
	case NR_readv:
	case NR_recvfrom:
	case NR_recvmsg: dir = DIR_IN; break;
	case NR_recvmmsg: return socket_mmsg(call, ret, DIR_IN);
	case NR_sendmmsg: return socket_mmsg(call, ret, DIR_OUT);
	case NR_splice:
		/* either end may be the socket */
		sk = fd_socket(call->arg1);
		if (sk)
			sock_io(sk, ret, 0, DIR_IN, call);
		fd = call->arg3;
		break;
	default: break;
	}
	sk = fd_socket(fd);
	if (!sk)
		return 0;
	return sock_io(sk, ret, dir == DIR_IN ? recv_flags(call) : 0, dir, call);
}

SEC("?tp_btf/sys_exit")
int BPF_PROG(syscall_exit, struct pt_regs *regs, long ret)
{
	struct call call;

	if (ret < 0 && ret != -ECONNRESET && ret != -EPIPE)
		return 0;
	call.nr = (long)regs->REGS_NR;
	switch (call.nr) {
	case NR_read:
	case NR_write:
	case NR_readv:
	case NR_writev:
	case NR_sendto:
	case NR_recvfrom:
	case NR_sendmsg:
	case NR_recvmsg:
	case NR_sendmmsg:
	case NR_recvmmsg:
	case NR_sendfile:
	case NR_splice: break;
	default: return 0;
	}
	if (!proc_selected(bpf_get_current_pid_tgid() >> 32))
		return 0;
	call.arg1 = regs->REGS_ARG1;
	call.arg2 = regs->REGS_ARG2;
	call.arg3 = regs->REGS_ARG3;
	call.arg4 = regs->REGS_ARG4;
	call.after = 0;
	return socket_call(&call, ret);
}

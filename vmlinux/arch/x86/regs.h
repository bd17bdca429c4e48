/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* arch/x86/include/asm/ptrace.h; system call numbers of the x86-64 table. */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx;
	unsigned long r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax;
	unsigned long ip, cs, flags, sp, ss;
};

struct thread_info {
	u32 status;
};

#define REGS_NR	  orig_ax
#define REGS_ARG1 di
#define REGS_ARG2 si
#define REGS_ARG3 dx
#define REGS_ARG4 r10

/* A 32-bit call: its numbers and structures are others (TS_COMPAT). */
#define TASK_IS_COMPAT(task) (BPF_CORE_READ(task, thread_info.status) & 2)

/* Where the registers of a system call lie below the stack's top, for kernels without
 * bpf_task_pt_regs(): THREAD_SIZE is 16 KiB without KASAN. */
#define STACK_REGS_OFFSET (16384 - 168)

enum {
	NR_read = 0,
	NR_write = 1,
	NR_poll = 7,
	NR_readv = 19,
	NR_writev = 20,
	NR_select = 23,
	NR_sendfile = 40,
	NR_sendto = 44,
	NR_recvfrom = 45,
	NR_sendmsg = 46,
	NR_recvmsg = 47,
	NR_epoll_wait = 232,
	NR_pselect6 = 270,
	NR_ppoll = 271,
	NR_splice = 275,
	NR_epoll_pwait = 281,
	NR_recvmmsg = 299,
	NR_sendmmsg = 307,
	NR_io_uring_enter = 426,
	NR_epoll_pwait2 = 441,
};

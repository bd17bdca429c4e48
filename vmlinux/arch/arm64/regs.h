/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* arch/arm64/include/asm/ptrace.h; system call numbers of asm-generic/unistd.h. */
struct user_pt_regs {
	u64 regs[31];
	u64 sp;
	u64 pc;
	u64 pstate;
};

struct pt_regs {
	struct user_pt_regs user_regs;
	u64 orig_x0;
	s32 syscallno;
};

struct thread_info {
	unsigned long flags;
};

#define REGS_NR	  syscallno
#define REGS_ARG1 orig_x0
#define REGS_ARG2 user_regs.regs[1]
#define REGS_ARG3 user_regs.regs[2]
#define REGS_ARG4 user_regs.regs[3]

/* A 32-bit call: its numbers and structures are others (TIF_32BIT). */
#define TASK_IS_COMPAT(task) (BPF_CORE_READ(task, thread_info.flags) & (1ul << 22))

/* sizeof(struct pt_regs) of 5.10 is 336; THREAD_SIZE is 16 KiB without KASAN and VMAP of 64K. */
#define STACK_REGS_OFFSET (16384 - 336)

enum {
	NR_read = 63,
	NR_write = 64,
	NR_readv = 65,
	NR_writev = 66,
	NR_sendfile = 71,
	NR_pselect6 = 72,
	NR_ppoll = 73,
	NR_splice = 76,
	NR_sendto = 206,
	NR_recvfrom = 207,
	NR_sendmsg = 211,
	NR_recvmsg = 212,
	NR_epoll_pwait = 22,
	NR_recvmmsg = 243,
	NR_sendmmsg = 269,
	NR_io_uring_enter = 426,
	NR_epoll_pwait2 = 441,
	/* not in this table: numbers that never occur */
	NR_poll = 10001,
	NR_select = 10002,
	NR_epoll_wait = 10003,
};

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who is running: the process filter, a thread's state, its system call. */
#ifndef BPF_TASK_H
#define BPF_TASK_H

#include "emit.bpf.h"

/* The table's answer of a process has changed. */
static __always_inline void proc_forget(__u32 tgid)
{
	proc_answers[tgid % PROC_ANSWERS] = 0;
}

/* In process.bpf.c: asks the table, or the filter, and keeps the answer. Verified once, not per
 * caller. */
bool proc_ask(__u32 tgid);

/* Whether the current process is traced. */
static __always_inline bool proc_selected(__u32 tgid)
{
	__u32 answer;

	if (tgid == self_tgid || tgid == 0)
		return false;
	if (!filter_on)
		return true;
	answer = proc_answers[tgid % PROC_ANSWERS];
	return answer >> 1 == tgid ? answer & 1 : proc_ask(tgid);
}

/* State of a selected process's current thread; NULL when there is none and none is wanted, or no
 * room. */
static __always_inline struct thread_state *thread_get(bool create)
{
	struct thread_state *t;
	__u32 tid;

	if (have_task_storage) {
		t = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL,
					 create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	} else {
		tid = (__u32)bpf_get_current_pid_tgid();
		t = bpf_map_lookup_elem(&threads_by_tid, &tid);
		if (!t && create) {
			bpf_map_update_elem(&threads_by_tid, &tid, (void *)&fresh_thread,
					    BPF_NOEXIST);
			t = bpf_map_lookup_elem(&threads_by_tid, &tid);
		}
	}
	if (!t && create)
		count_drop(DROP_thread_table_full);
	return t;
}

/* A record that found no room: the thread's sequence shows it too. */
static __always_inline void count_full(void)
{
	struct thread_state *t = thread_get(false);

	if (t)
		t->seq++;
	count(COUNT_records, 1);
	count_drop(DROP_ring_full);
}

static __always_inline bool thread_is_new(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, start_time) > attached_ns;
}

/* The record's evidence, and its place in the thread's sequence; t may be NULL. */
static __always_inline void thread_evidence(struct event_thread *out, struct thread_state *t)
{
	out->tid = (__u32)bpf_get_current_pid_tgid();
	if (!t) {
		out->tid = 0;
		out->seq = out->turn = out->read_turn = out->reads = 0;
		out->switches = out->flags = 0;
		out->read_conn = out->read_pos = 0;
		return;
	}
	if (!t->seq)
		t->flags = thread_is_new() ? THREAD_F_NEW : 0;
	out->flags = t->flags;
	out->seq = t->seq++;
	out->turn = t->turn;
	out->read_turn = t->read_turn;
	out->read_conn = t->read_conn;
	out->read_pos = t->read_pos;
	out->reads = t->read_turn == t->turn ? t->reads : 0;
	out->switches = t->read_turn == t->turn ? t->switches : 0;
}

/* This thread has read from a connection, from position pos on. */
static __always_inline void thread_note_read(struct thread_state *t, __u64 conn, __u64 pos)
{
	if (t->read_turn != t->turn) {
		t->reads = 0;
		t->switches = 0;
	} else if (t->read_conn != conn && t->reads) {
		t->switches += t->switches != 0xffff;
	}
	t->reads++;
	t->read_turn = t->turn;
	t->read_conn = conn;
	t->read_pos = pos;
}

/* The registers a system call was entered with; user-space values only. */
struct call {
	long nr; /* system call number; -1: unknown, or a 32-bit one */
	__u64 arg1, arg2, arg3, arg4;
	__u64 after; /* bytes that the same call moved after these */
};

/* Direct loads where the verifier knows the pointer, which costs a tenth of a helper call. */
static __always_inline void call_from_regs(struct call *call, struct pt_regs *regs)
{
	call->after = 0;
	if (have_task_pt_regs) {
		call->nr = (long)regs->REGS_NR;
		call->arg1 = regs->REGS_ARG1;
		call->arg2 = regs->REGS_ARG2;
		call->arg3 = regs->REGS_ARG3;
		call->arg4 = regs->REGS_ARG4;
		return;
	}
	call->nr = (long)BPF_CORE_READ(regs, REGS_NR);
	call->arg1 = BPF_CORE_READ(regs, REGS_ARG1);
	call->arg2 = BPF_CORE_READ(regs, REGS_ARG2);
	call->arg3 = BPF_CORE_READ(regs, REGS_ARG3);
	call->arg4 = BPF_CORE_READ(regs, REGS_ARG4);
}

static __always_inline void call_current(struct call *call)
{
	if (have_task_pt_regs) {
		struct task_struct *task = bpf_get_current_task_btf();

		call_from_regs(call, (struct pt_regs *)bpf_task_pt_regs(task));
		if (TASK_IS_COMPAT(task))
			call->nr = -1;
	} else {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();

		call_from_regs(call, (struct pt_regs *)((__u64)BPF_CORE_READ(task, stack) +
							STACK_REGS_OFFSET));
		if (TASK_IS_COMPAT(task))
			call->nr = -1;
	}
}

#endif

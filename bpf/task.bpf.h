/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who is running: the process filter, a thread's state, its system call. */
#ifndef BPF_TASK_H
#define BPF_TASK_H

#include "emit.bpf.h"

#define CGROUP_LEVELS_MAX 8

/* comm, its NUL included, against one compiled glob; without branches, for the verifier's sake. */
static __always_inline bool glob_match(const struct glob *g, const __u8 *comm)
{
	__u32 state = 1;

	state |= (state & g->star) << 1;
#pragma unroll
	for (int i = 0; i < COMM_LEN; i++) {
		state = ((state & g->mask[comm[i]]) << 1) | (state & g->star);
		state |= (state & g->star) << 1;
	}
	return state & g->accept;
}

static __noinline bool filter_by_name(void)
{
	__u8 comm[COMM_LEN] = {};

	bpf_get_current_comm(comm, sizeof(comm));
	for (__u32 i = 0; i < FILTER_NAMES; i++) {
		__u32 key = i; /* i itself stays in a register, where the verifier sees its bound */
		struct glob *g;

		if (i >= filter_glob_cnt)
			break;
		g = bpf_map_lookup_elem(&filter_globs, &key);
		if (g && glob_match(g, comm))
			return true;
	}
	return false;
}

static __noinline bool filter_by_cgroup(void)
{
	if (!have_task_pt_regs) {
		/* tracing programs may ask for ancestors since 5.15 only, as for registers */
		__u64 own = bpf_get_current_cgroup_id();

		return bpf_map_lookup_elem(&filter_cgroups, &own);
	}
	for (int level = 0; level <= CGROUP_LEVELS_MAX; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			break;
		if (bpf_map_lookup_elem(&filter_cgroups, &id))
			return true;
	}
	return false;
}

/* The current process, seen for the first time: select it or not, and remember the answer. */
static __noinline bool proc_judge(__u32 tgid)
{
	struct proc_state p = {};

	if (filter_glob_cnt && filter_by_name())
		p.selected = 1;
	else if (filter_cgroups_on && filter_by_cgroup())
		p.selected = 1;
	if (bpf_map_update_elem(&procs, &tgid, &p, BPF_ANY))
		count_drop(DROP_proc_table_full);
	return p.selected;
}

/* The table's answer of a process has changed. */
static __always_inline void proc_forget(__u32 tgid)
{
	proc_answers[tgid % PROC_ANSWERS] = 0;
}

/* Asks the table and keeps its answer; not when user space, which changes the table first and the
 * answer kept then, has come in between. */
static __noinline bool proc_ask(__u32 tgid)
{
	struct proc_state *p = bpf_map_lookup_elem(&procs, &tgid);
	bool selected = p ? p->selected : proc_judge(tgid);

	proc_answers[tgid % PROC_ANSWERS] = PROC_ANSWER(tgid, selected);
	p = bpf_map_lookup_elem(&procs, &tgid);
	if (!p || p->selected != selected)
		proc_forget(tgid);
	return selected;
}

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
	struct stats *s = stats_get();

	if (t)
		t->seq++;
	if (!s)
		return;
	s->counts[COUNT_records]++;
	s->drops[DROP_ring_full]++;
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

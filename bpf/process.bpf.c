/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Processes begin, change and end; threads wait. */
#include "task.bpf.h"

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

/* The rule of one glob if the current process falls under it, else 0. A global function, verified
 * once and not for every glob: all programs together take a third of the verifier's steps. */
__noinline __u32 filter_by_glob(__u32 key)
{
	struct glob *g = bpf_map_lookup_elem(&filter_globs, &key);
	__u8 comm[COMM_LEN] = {};

	bpf_get_current_comm(comm, sizeof(comm));
	return g && glob_match(g, comm) ? g->rule : 0;
}

/* The rule that the current process falls under by its name; 0: none. */
static __noinline __u16 filter_by_name(__u32 globs)
{
	for (__u32 i = 0; i < FILTER_NAMES; i++) {
		__u16 rule;

		if (i >= (globs & 0xffff))
			break;
		rule = filter_by_glob((globs >> 16) + i);
		if (rule)
			return rule;
	}
	return 0;
}

static __noinline __u16 filter_by_cgroup(void)
{
	if (!have_task_pt_regs) {
		/* tracing programs may ask for ancestors since 5.15 only, as for registers */
		__u64 own = bpf_get_current_cgroup_id();
		__u16 *rule = bpf_map_lookup_elem(&filter_cgroups, &own);

		return rule ? *rule : 0;
	}
	for (int level = 0; level <= CGROUP_LEVELS_MAX; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);
		__u16 *rule;

		if (!id)
			break;
		rule = bpf_map_lookup_elem(&filter_cgroups, &id);
		if (rule)
			return *rule;
	}
	return 0;
}

/* The current process, seen for the first time: select it or not, and remember the answer. */
static __noinline bool proc_judge(__u32 tgid)
{
	__u32 globs = filter_globs_now;
	struct proc_state p = {};

	if (globs & 0xffff)
		p.rule = filter_by_name(globs);
	if (!p.rule && filter_cgroups_on)
		p.rule = filter_by_cgroup();
	p.selected = p.rule != 0;
	if (bpf_map_update_elem(&procs, &tgid, &p, BPF_ANY))
		count_drop(DROP_proc_table_full);
	return p.selected;
}

/* Asks the table and keeps its answer; not when user space, which changes the table first and the
 * answer kept then, has come in between. */
__noinline bool proc_ask(__u32 tgid)
{
	struct proc_state *p = bpf_map_lookup_elem(&procs, &tgid);
	bool selected = p ? p->selected : proc_judge(tgid);

	proc_answers[tgid % PROC_ANSWERS] = PROC_ANSWER(tgid, selected);
	p = bpf_map_lookup_elem(&procs, &tgid);
	if (!p || p->selected != selected)
		proc_forget(tgid);
	return selected;
}

/* Waits that end an event loop's turn. Waiting for one descriptor is a blocking program's way to
 * wait for its own answer, so it ends nothing. */
static __always_inline bool ends_turn(const struct call *call)
{
	switch (call->nr) {
	case NR_epoll_wait:
	case NR_epoll_pwait:
	case NR_epoll_pwait2:
	case NR_io_uring_enter:
	case NR_select:
	case NR_pselect6: return true;
	case NR_poll:
	case NR_ppoll: return call->arg2 > 1;
	default: return false;
	}
}

static __always_inline bool task_blocks(struct task_struct *task)
{
	if (bpf_core_field_exists(task->__state))
		return task->__state != 0;
	return ((struct task_struct___v5_13 *)task)->state != 0;
}

SEC("?tp_btf/sched_switch")
int BPF_PROG(thread_switch, bool preempt, struct task_struct *prev)
{
	struct thread_state *t;
	struct call call;

	/* every switch of every thread comes here: plain loads first */
	if (preempt || (have_task_storage && !prev->bpf_storage) || !task_blocks(prev))
		return 0;
	t = thread_get(false);
	if (!t)
		return 0;
	call_current(&call);
	if (ends_turn(&call))
		t->turn++;
	return 0;
}

/* The child is of the parent's family; of a parent that the table has lost it is not. */
static __always_inline void proc_inherit(__u32 parent, __u32 child)
{
	struct proc_state *p = bpf_map_lookup_elem(&procs, &parent);
	struct proc_state inherited = { .selected = 1, .inherited = 1 };

	if (!p || !p->selected)
		return;
	inherited.rule = p->rule;
	if (bpf_map_update_elem(&procs, &child, &inherited, BPF_ANY))
		count_drop(DROP_proc_table_full);
	proc_forget(child);
}

SEC("?tp_btf/sched_process_fork")
int BPF_PROG(proc_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 tgid = parent->tgid, pid = child->tgid;
	struct event_fork *e;

	if (child->pid != child->tgid || !proc_selected(tgid))
		return 0;
	if (filter_on)
		proc_inherit(tgid, pid);
	e = emit_reserve(sizeof(*e));
	if (!e) {
		count_full();
		return 0;
	}
	emit_header(&e->h, EVENT_FORK, sizeof(*e), bpf_ktime_get_ns(), tgid);
	e->child = pid;
	e->pad = 0;
	emit_submit(e);
	return 0;
}

/* min(len, max) bytes from user memory; returns how many were read. */
static __always_inline __u32 read_strings(char *out, __u64 from, __u64 to, __u32 max)
{
	__u64 len = to - from;

	if (from >= to)
		return 0;
	if (len > max)
		len = max;
	return bpf_probe_read_user(out, len, (void *)from) ? 0 : len;
}

SEC("?tp_btf/sched_process_exec")
int BPF_PROG(proc_exec, struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct event_exec *e;
	struct mm_struct *mm;
	struct proc_state *p;

	if (filter_on) {
		p = bpf_map_lookup_elem(&procs, &tgid);
		if (!p || !p->inherited) {
			bpf_map_delete_elem(&procs, &tgid);
			proc_forget(tgid);
		}
	}
	if (!proc_selected(tgid))
		return 0;
	e = emit_reserve(sizeof(*e));
	if (!e) {
		count_full();
		return 0;
	}
	emit_header(&e->h, EVENT_EXEC, sizeof(*e), bpf_ktime_get_ns(), tgid);
	e->cgroup = bpf_get_current_cgroup_id();
	e->start_ns = BPF_CORE_READ(task, start_time);
	e->ppid = BPF_CORE_READ(task, real_parent, tgid);
	e->uid = BPF_CORE_READ(task, cred, uid.val);
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	mm = BPF_CORE_READ(task, mm);
	e->args_len = read_strings(e->args, BPF_CORE_READ(mm, arg_start),
				   BPF_CORE_READ(mm, arg_end), EXEC_ARGS_LEN);
	e->env_len = read_strings(e->env, BPF_CORE_READ(mm, env_start), BPF_CORE_READ(mm, env_end),
				  EXEC_ENV_LEN);
	emit_submit(e);
	return 0;
}

SEC("?tp_btf/sched_process_exit")
int BPF_PROG(proc_exit, struct task_struct *task)
{
	__u32 tgid = task->tgid, tid = task->pid;
	struct event_exit *e;
	bool selected;

	if (!have_task_storage)
		bpf_map_delete_elem(&threads_by_tid, &tid);
	if (BPF_CORE_READ(task, signal, live.counter))
		return 0;
	selected = proc_selected(tgid);
	if (filter_on) {
		bpf_map_delete_elem(&procs, &tgid);
		proc_forget(tgid);
	}
	if (!selected)
		return 0;
	e = emit_reserve(sizeof(*e));
	if (!e) {
		count_full();
		return 0;
	}
	emit_header(&e->h, EVENT_EXIT, sizeof(*e), bpf_ktime_get_ns(), tgid);
	e->status = BPF_CORE_READ(task, exit_code);
	e->pad = 0;
	emit_submit(e);
	return 0;
}

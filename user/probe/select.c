/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running processes and the filter's rules: who is selected now, whose family it is, who no longer.
 * The kernel goes on judging meanwhile, so the table is written first and its kept answers after.
 */
#include "probe/internal.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/str.h"

#define PROCESSES_MAX 65536
#define PRUNE_PASSES  4

struct process {
	uint32_t pid, parent;
	uint16_t rule; /* 0: none */
	bool known;    /* the kernel's table has it so already */
	bool inherited;
};

static int procs_fd(const struct probe *p)
{
	return bpf_map__fd(p->skel->maps.procs);
}

/* false: there is none, or it has ended and waits to be reaped. */
static bool read_stat(uint32_t pid, struct process *out, char comm[COMM_LEN + 1])
{
	char path[64], line[512], *end, state;
	FILE *f;
	bool ok = false;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fgets(line, sizeof(line), f)) {
		char *open = strchr(line, '(');

		end = strrchr(line, ')');
		if (open && end && sscanf(end + 1, " %c %u", &state, &out->parent) == 2) {
			out->pid = pid;
			snprintf(comm, COMM_LEN + 1, "%.*s", (int)MIN(end - open - 1, COMM_LEN),
				 open + 1);
			ok = state != 'Z' && state != 'X';
		}
	}
	fclose(f);
	return ok;
}

/* The path of a process's cgroup (v2) below the mount, without its line's end; empty: not told. */
static void read_cgroup(uint32_t pid, char *ret_path, size_t size)
{
	char path[64], line[FILTER_TEXT_MAX];
	FILE *f;

	ret_path[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%u/cgroup", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, "0::/", 4) == 0) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(ret_path, size, "%s", line + 4);
		}
	fclose(f);
}

/* Both are paths below the mount that begin with no slash. */
static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (!len || !path[len] || path[len] == '/');
}

/* The first rule that a process falls under by itself. had: it is selected already, by a rule that
 * has gone; a pid that was given earlier may be another process's by now. */
static void judge(const struct filter_rules *r, struct process *proc, const char *comm, bool had)
{
	char cgroup[FILTER_TEXT_MAX] = "";

	if (r->has_cgroups)
		read_cgroup(proc->pid, cgroup, sizeof(cgroup));
	for (uint32_t i = 0; i < r->cnt && !proc->rule; i++) {
		const struct filter_rule *rule = &r->v[i];
		bool fits = false;

		switch (rule->kind) {
		case RULE_PID: fits = rule->pid == proc->pid && (rule->fresh || had); break;
		case RULE_NAME: fits = fnmatch(rule->text, comm, 0) == 0; break;
		case RULE_CGROUP: fits = is_below(cgroup, rule->text); break;
		}
		if (!fits)
			continue;
		proc->rule = rule->id;
		/* a program's cgroup stays when it becomes another, so the kernel may ask again */
		proc->inherited = rule->kind != RULE_CGROUP;
	}
}

static void look_up(const struct probe *p, const struct filter_rules *r, struct process *proc,
		    const char *comm)
{
	struct proc_state s;
	bool had = !bpf_map_lookup_elem(procs_fd(p), &proc->pid, &s) && s.selected;

	if (had && filter_rule_find(r, s.rule)) {
		proc->rule = s.rule;
		proc->known = true;
	} else {
		judge(r, proc, comm, had);
	}
}

static int by_pid(const void *a, const void *b)
{
	uint32_t x = ((const struct process *)a)->pid, y = ((const struct process *)b)->pid;

	return (x > y) - (x < y);
}

/* Children follow, until nothing more is added. */
static void follow_families(struct process *all, size_t cnt)
{
	bool more = true;

	qsort(all, cnt, sizeof(*all), by_pid);
	while (more) {
		more = false;
		for (size_t i = 0; i < cnt; i++) {
			const struct process key = { .pid = all[i].parent };
			const struct process *parent =
				all[i].rule ? NULL : bsearch(&key, all, cnt, sizeof(*all), by_pid);

			if (!parent || !parent->rule)
				continue;
			all[i].rule = parent->rule;
			all[i].inherited = more = true;
		}
	}
}

/* After the table: see proc_ask(). */
static void forget_answer(struct probe *p, uint32_t pid)
{
	p->skel->bss->proc_answers[pid % PROC_ANSWERS] = 0;
}

static void tell(struct probe *p, const struct process *proc)
{
	struct proc_state s = { .selected = 1, .inherited = proc->inherited, .rule = proc->rule };

	bpf_map_update_elem(procs_fd(p), &proc->pid, &s, BPF_ANY);
	forget_answer(p, proc->pid);
}

int select_running(struct probe *p, const struct filter_rules *r)
{
	struct process *all = calloc(PROCESSES_MAX, sizeof(*all));
	DIR *d = opendir("/proc");
	char comm[COMM_LEN + 1];
	struct dirent *e;
	size_t cnt = 0;
	int err = !all ? -ENOMEM : !d ? -errno : 0;

	while (!err && cnt < PROCESSES_MAX && (e = readdir(d))) {
		uint32_t pid = (uint32_t)strtoul(e->d_name, NULL, 10);

		if (pid && read_stat(pid, &all[cnt], comm))
			look_up(p, r, &all[cnt++], comm);
	}
	if (!err)
		follow_families(all, cnt);
	for (size_t i = 0; i < cnt; i++)
		if (all[i].rule && !all[i].known)
			tell(p, &all[i]);
	if (d)
		closedir(d);
	free(all);
	return err;
}

/* Programs that run now, and may have read what was in force before, have ended. */
static void wait_for_programs(void)
{
	/* a grace period of RCU, within which they run; where it is refused little is lost */
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* One pass over the table; returns how many lost their place. */
static uint32_t prune(struct probe *p, const struct filter_rules *r, bool check_alive)
{
	uint32_t cnt = 2 * bpf_map__max_entries(p->skel->maps.procs), batch, gone = 0;
	struct proc_state *s = calloc(cnt, sizeof(*s));
	uint32_t *pid = calloc(cnt, sizeof(*pid));
	char comm[COMM_LEN + 1];
	struct process proc;
	int err = -ENOMEM;

	if (s && pid)
		err = bpf_map_lookup_batch(procs_fd(p), NULL, &batch, pid, s, &cnt, NULL);
	if (err && err != -ENOENT) /* that is the table's end */
		cnt = 0;
	for (uint32_t i = 0; i < cnt; i++) {
		if (s[i].selected && filter_rule_find(r, s[i].rule) &&
		    !(check_alive && !read_stat(pid[i], &proc, comm)))
			continue;
		bpf_map_delete_elem(procs_fd(p), &pid[i]);
		forget_answer(p, pid[i]);
		gone += s[i].selected;
	}
	free(s);
	free(pid);
	return gone;
}

void select_prune(struct probe *p, const struct filter_rules *r)
{
	bool check_alive = true; /* who ended before the table had it was not taken out then */
	uint32_t gone;

	/* a process may have had a child before it lost its place, and that one another */
	for (int i = 0; i < PRUNE_PASSES; i++) {
		wait_for_programs();
		gone = prune(p, r, check_alive);
		check_alive = false;
		if (!gone)
			break;
	}
	memset((void *)p->skel->bss->proc_answers, 0, sizeof(p->skel->bss->proc_answers));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The process filter, handed to the kernel: globs compiled, ids looked up, families followed. */
#include "probe/internal.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/str.h"

#define PROCESSES_MAX 65536
#define CGROUP_ROOTS  2

struct process {
	uint32_t pid, parent;
	bool in;
};

static void glob_compile(const char *pattern, struct glob *g)
{
	int at = 0;

	memset(g, 0, sizeof(*g));
	for (const char *p = pattern; *p && at < COMM_LEN - 1; p++) {
		uint32_t bit = 1u << at;

		if (*p == '*' && p > pattern && p[-1] == '*')
			continue;
		if (*p == '*')
			g->star |= bit;
		else if (*p == '?')
			for (int c = 1; c < 256; c++)
				g->mask[c] |= bit;
		else
			g->mask[(unsigned char)*p] |= bit;
		at++;
	}
	g->mask[0] |= 1u << at; /* the name's end */
	g->accept = 1u << (at + 1);
	g->star |= g->accept;
}

void filter_knobs(struct telltale_bpf *skel, const struct probe_filter *f)
{
	skel->rodata->filter_on = f->pid_cnt || f->name_cnt || f->cgroup_cnt;
	skel->rodata->filter_glob_cnt = MIN(f->name_cnt, (uint32_t)FILTER_NAMES);
	skel->rodata->filter_cgroups_on = f->cgroup_cnt > 0;
	skel->rodata->filter_ports_on = f->port_cnt > 0;
}

/* A cgroup's id is its directory's inode number. */
static int cgroup_id(const char *path, uint64_t *ret_id)
{
	static const char *const root[CGROUP_ROOTS] = { "/sys/fs/cgroup",
							"/sys/fs/cgroup/unified" };
	char full[PATH_MAX];
	struct stat st;

	if (strncmp(path, "/sys/fs/cgroup", 14) == 0 && stat(path, &st) == 0) {
		*ret_id = st.st_ino;
		return 0;
	}
	for (int i = CGROUP_ROOTS - 1; i >= 0; i--) {
		snprintf(full, sizeof(full), "%s/%s", root[i], path[0] == '/' ? path + 1 : path);
		if (stat(full, &st) == 0 && S_ISDIR(st.st_mode)) {
			*ret_id = st.st_ino;
			return 0;
		}
	}
	return -ENOENT;
}

static int select_pid(struct probe *p, uint32_t pid, bool inherited)
{
	struct proc_state s = { .selected = 1, .inherited = inherited };

	int err = bpf_map_update_elem(bpf_map__fd(p->skel->maps.procs), &pid, &s, BPF_ANY);

	p->skel->bss->proc_answers[pid % PROC_ANSWERS] = 0; /* after the table: see proc_ask() */
	return err;
}

static bool read_stat(uint32_t pid, struct process *out, char comm[COMM_LEN + 1])
{
	char path[64], line[512], *end;
	FILE *f;
	bool ok = false;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fgets(line, sizeof(line), f)) {
		char *open = strchr(line, '(');

		end = strrchr(line, ')');
		if (open && end && sscanf(end + 1, " %*c %u", &out->parent) == 1) {
			out->pid = pid;
			snprintf(comm, COMM_LEN + 1, "%.*s", (int)MIN(end - open - 1, COMM_LEN),
				 open + 1);
			ok = true;
		}
	}
	fclose(f);
	return ok;
}

/* Marks what is to be selected; then families, until nothing more is added. */
static void select_running(struct probe *p, uint32_t with_pid, const struct probe_filter *f)
{
	struct process *all = calloc(PROCESSES_MAX, sizeof(*all));
	DIR *d = opendir("/proc");
	char comm[COMM_LEN + 1];
	struct dirent *e;
	size_t cnt = 0;
	bool more = true;

	while (all && d && cnt < PROCESSES_MAX && (e = readdir(d))) {
		uint32_t pid = (uint32_t)strtoul(e->d_name, NULL, 10);

		if (!pid || !read_stat(pid, &all[cnt], comm))
			continue;
		all[cnt].in = pid == with_pid;
		for (uint32_t i = 0; f && i < f->name_cnt; i++)
			all[cnt].in |= fnmatch(f->names[i], comm, 0) == 0;
		cnt++;
	}
	while (more) {
		more = false;
		for (size_t i = 0; i < cnt; i++) {
			for (size_t k = 0; !all[i].in && k < cnt; k++)
				if (all[k].in && all[k].pid == all[i].parent)
					all[i].in = more = true;
		}
	}
	for (size_t i = 0; i < cnt; i++)
		if (all[i].in)
			select_pid(p, all[i].pid, true);
	if (d)
		closedir(d);
	free(all);
}

int filter_apply(struct probe *p, const struct probe_filter *f)
{
	const struct telltale_bpf *s = p->skel;
	uint8_t one = 1;

	for (uint32_t i = 0; i < f->name_cnt && i < FILTER_NAMES; i++) {
		struct glob g;

		glob_compile(f->names[i], &g);
		if (bpf_map_update_elem(bpf_map__fd(s->maps.filter_globs), &i, &g, BPF_ANY))
			return -errno;
	}
	for (uint32_t i = 0; i < f->port_cnt; i++)
		if (bpf_map_update_elem(bpf_map__fd(s->maps.filter_ports), &f->ports[i], &one,
					BPF_ANY))
			return -errno;
	for (uint32_t i = 0; i < f->cgroup_cnt; i++) {
		uint64_t id;
		int err = cgroup_id(f->cgroups[i], &id);

		if (err) {
			snprintf(p->why, sizeof(p->why),
				 "cgroup %s: not found below the cgroup v2 mount", f->cgroups[i]);
			return err;
		}
		if (bpf_map_update_elem(bpf_map__fd(s->maps.filter_cgroups), &id, &one, BPF_ANY))
			return -errno;
	}
	p->filtered = s->rodata->filter_on;
	for (uint32_t i = 0; i < f->pid_cnt; i++)
		select_running(p, f->pids[i], NULL);
	if (f->name_cnt)
		select_running(p, 0, f);
	return 0;
}

int probe_add_pid(struct probe *p, uint32_t tgid)
{
	return select_pid(p, tgid, true) ? -errno : 0;
}

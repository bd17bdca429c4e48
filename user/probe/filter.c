/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process filter, handed to the kernel: globs compiled, ids looked up. It is changed in place:
 * what is added is there before the switches turn, what goes is taken away afterwards, so that a
 * process that both filters select is seen without a gap.
 */
#include "probe/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/str.h"

#define CGROUP_ROOTS 2
#define FILTER_PIDS  4096

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

/* ---- cgroups ---- */

static const char *const cgroup_root[CGROUP_ROOTS] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

/* Without the mount, and without slashes at its ends. */
static void cgroup_below(const char *path, char *ret, size_t size)
{
	size_t len;

	for (int i = CGROUP_ROOTS - 1; i >= 0; i--) {
		len = strlen(cgroup_root[i]);
		if (strncmp(path, cgroup_root[i], len) == 0 && (!path[len] || path[len] == '/')) {
			path += len;
			break;
		}
	}
	path += strspn(path, "/");
	for (len = strlen(path); len && path[len - 1] == '/'; len--)
		;
	snprintf(ret, size, "%.*s", (int)len, path);
}

/* A cgroup's id is its directory's inode number. */
int probe_cgroup_id(const char *path, uint64_t *ret_id)
{
	char below[FILTER_TEXT_MAX], full[FILTER_TEXT_MAX + 64];
	struct stat st;

	cgroup_below(path, below, sizeof(below));
	for (int i = CGROUP_ROOTS - 1; i >= 0; i--) {
		snprintf(full, sizeof(full), "%s/%s", cgroup_root[i], below);
		if (stat(full, &st) == 0 && S_ISDIR(st.st_mode)) {
			*ret_id = st.st_ino;
			return 0;
		}
	}
	return -ENOENT;
}

/* ---- rules ---- */

const struct filter_rule *filter_rule_find(const struct filter_rules *r, uint16_t id)
{
	for (uint32_t i = 0; i < r->cnt; i++)
		if (r->v[i].id == id)
			return &r->v[i];
	return NULL;
}

static const struct filter_rule *same_rule(const struct filter_rules *r,
					   const struct filter_rule *as)
{
	for (uint32_t i = 0; i < r->cnt; i++) {
		const struct filter_rule *a = &r->v[i];

		if (a->kind == as->kind && a->pid == as->pid && a->cgroup == as->cgroup &&
		    !strcmp(a->text, as->text))
			return a;
	}
	return NULL;
}

static uint16_t next_number(struct probe *p, const struct filter_rules *r)
{
	/* there are far fewer rules than numbers */
	do
		p->last_rule++;
	while (!p->last_rule || filter_rule_find(&p->rules, p->last_rule) ||
	       filter_rule_find(r, p->last_rule));
	return p->last_rule;
}

/* A rule that was there keeps its number; a new one has one that no rule has. */
static void add_rule(struct probe *p, struct filter_rules *r, struct filter_rule rule)
{
	const struct filter_rule *old = same_rule(&p->rules, &rule);

	if (same_rule(r, &rule))
		return;
	rule.fresh = !old;
	rule.id = old ? old->id : next_number(p, r);
	r->v[r->cnt++] = rule;
}

static int add_cgroup(struct probe *p, struct filter_rules *r, const char *path,
		      char why[PROBE_WHY_MAX])
{
	struct filter_rule rule = { .kind = RULE_CGROUP };
	int err = probe_cgroup_id(path, &rule.cgroup);

	cgroup_below(path, rule.text, sizeof(rule.text));
	/* one that has gone meanwhile keeps no other change from being made */
	for (uint32_t i = 0; err && i < p->rules.cnt; i++) {
		const struct filter_rule *old = &p->rules.v[i];

		if (old->kind == RULE_CGROUP && !strcmp(old->text, rule.text)) {
			rule.cgroup = old->cgroup;
			err = 0;
		}
	}
	if (err)
		snprintf(why, PROBE_WHY_MAX, "cgroup %.200s: not found below the cgroup v2 mount",
			 path);
	else
		add_rule(p, r, rule);
	return err;
}

static int read_rules(struct probe *p, const struct probe_filter *f, struct filter_rules *r,
		      char why[PROBE_WHY_MAX])
{
	int err = 0;

	r->v = calloc(f->pid_cnt + f->name_cnt + f->cgroup_cnt + 1u, sizeof(*r->v));
	if (!r->v)
		return -ENOMEM;
	r->has_cgroups = f->cgroup_cnt > 0;
	r->port_cnt = f->port_cnt;
	if (f->port_cnt)
		memcpy(r->port, f->ports, f->port_cnt * sizeof(*r->port));
	for (uint32_t i = 0; i < f->pid_cnt; i++)
		add_rule(p, r, (struct filter_rule){ .kind = RULE_PID, .pid = f->pids[i] });
	for (uint32_t i = 0; i < f->name_cnt; i++) {
		struct filter_rule rule = { .kind = RULE_NAME };

		snprintf(rule.text, sizeof(rule.text), "%s", f->names[i]);
		add_rule(p, r, rule);
	}
	for (uint32_t i = 0; i < f->cgroup_cnt && !err; i++)
		err = add_cgroup(p, r, f->cgroups[i], why);
	return err;
}

/* ---- the kernel's tables ---- */

/* The globs go where the old ones are not. Returns the word that puts them in force, or -errno. */
static int64_t write_globs(const struct probe *p, const struct filter_rules *r)
{
	uint32_t from = p->skel->bss->filter_globs_now >> 16 ? 0 : FILTER_NAMES, cnt = 0;

	for (uint32_t i = 0; i < r->cnt; i++) {
		uint32_t at = from + cnt;
		struct glob g;

		if (r->v[i].kind != RULE_NAME)
			continue;
		glob_compile(r->v[i].text, &g);
		g.rule = r->v[i].id;
		if (bpf_map_update_elem(bpf_map__fd(p->skel->maps.filter_globs), &at, &g, BPF_ANY))
			return -errno;
		cnt++;
	}
	return FILTER_GLOBS_NOW(from, cnt);
}

static int write_keys(const struct probe *p, const struct filter_rules *r)
{
	uint8_t one = 1;

	for (uint32_t i = 0; i < r->port_cnt; i++)
		if (bpf_map_update_elem(bpf_map__fd(p->skel->maps.filter_ports), &r->port[i], &one,
					BPF_ANY))
			return -errno;
	for (uint32_t i = 0; i < r->cnt; i++)
		if (r->v[i].kind == RULE_CGROUP &&
		    bpf_map_update_elem(bpf_map__fd(p->skel->maps.filter_cgroups), &r->v[i].cgroup,
					&r->v[i].id, BPF_ANY))
			return -errno;
	return 0;
}

static bool has_port(const struct filter_rules *r, uint16_t port)
{
	for (uint32_t i = 0; i < r->port_cnt; i++)
		if (r->port[i] == port)
			return true;
	return false;
}

static bool has_cgroup(const struct filter_rules *r, uint64_t cgroup)
{
	for (uint32_t i = 0; i < r->cnt; i++)
		if (r->v[i].kind == RULE_CGROUP && r->v[i].cgroup == cgroup)
			return true;
	return false;
}

/* Takes away what 'from' has and 'keep' has not. */
static void drop_keys(const struct probe *p, const struct filter_rules *from,
		      const struct filter_rules *keep)
{
	for (uint32_t i = 0; i < from->port_cnt; i++)
		if (!has_port(keep, from->port[i]))
			bpf_map_delete_elem(bpf_map__fd(p->skel->maps.filter_ports),
					    &from->port[i]);
	for (uint32_t i = 0; i < from->cnt; i++)
		if (from->v[i].kind == RULE_CGROUP && !has_cgroup(keep, from->v[i].cgroup))
			bpf_map_delete_elem(bpf_map__fd(p->skel->maps.filter_cgroups),
					    &from->v[i].cgroup);
}

/* What narrows comes before what widens: at no moment in between is everything traced. */
static void turn_switches(struct probe *p, const struct filter_rules *r, uint32_t globs)
{
	volatile struct telltale_bpf__bss *now = p->skel->bss;

	now->filter_globs_now = globs;
	now->filter_cgroups_on = r->has_cgroups;
	if (r->cnt)
		now->filter_on = true;
	now->filter_ports_on = r->port_cnt > 0;
	now->filter_on = r->cnt > 0;
}

static int put_in_force(struct probe *p, const struct filter_rules *r)
{
	int64_t globs = write_globs(p, r);
	int err = globs < 0 ? (int)globs : write_keys(p, r);

	if (!err && r->cnt)
		err = select_running(p, r);
	if (err) {
		drop_keys(p, r, &p->rules);
		return err;
	}
	turn_switches(p, r, (uint32_t)globs);
	return 0;
}

int filter_set(struct probe *p, const struct probe_filter *f, char why[PROBE_WHY_MAX])
{
	struct filter_rules r = { 0 };
	int err;

	why[0] = '\0';
	if (f->pid_cnt > FILTER_PIDS || f->name_cnt > FILTER_NAMES ||
	    f->cgroup_cnt > FILTER_CGROUPS || f->port_cnt > FILTER_PORTS) {
		snprintf(why, PROBE_WHY_MAX, "at most %d pids, %d names, %d cgroups and %d ports",
			 FILTER_PIDS, FILTER_NAMES, FILTER_CGROUPS, FILTER_PORTS);
		return -EINVAL;
	}
	err = read_rules(p, f, &r, why);
	if (!err)
		err = put_in_force(p, &r);
	if (err) {
		free(r.v);
		return err;
	}
	drop_keys(p, &p->rules, &r);
	free(p->rules.v);
	p->rules = r;
	return 0;
}

void filter_settle(struct probe *p)
{
	/* children that processes had while these were not in the kernel's table yet */
	if (p->rules.cnt)
		select_running(p, &p->rules);
	select_prune(p, &p->rules);
}

int probe_set_filter(struct probe *p, const struct probe_filter *f, char why[PROBE_WHY_MAX])
{
	volatile struct telltale_bpf__data *data = p->skel->data;
	uint64_t before_ns = data->attached_ns;
	int err;

	/* a thread that is older than the filter in force was perhaps not seen whole */
	data->attached_ns = UINT64_MAX;
	err = filter_set(p, f, why);
	if (err) {
		data->attached_ns = before_ns;
		return err;
	}
	filter_settle(p);
	data->attached_ns = clock_mono_ns();
	/* connections that are open, or looked at no more */
	scan_open(p);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Sources changed at run time: checked, made true, handed to the agent. */
#include "sourcing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "event.h"
#include "limits.h"

struct lists {
	uint32_t *pids;
	const char **names, **cgroups;
	uint16_t *ports;
	struct source source[SOURCES_MAX]; /* whose texts the lists point to */
	size_t cnt;
};

struct sourcing {
	struct backend *backend;
	struct sources *sources;
	bool captures;
	bool changed;
	struct lists lists;
};

/* ---- changes ---- */

static int check_filter(const struct sourcing *s, const struct source *a, char why[SOURCE_WHY_MAX])
{
	int by = (a->pid != 0) + (a->name[0] != 0) + (a->cgroup[0] != 0);
	struct stat st;
	char path[64];

	if (!s->captures)
		snprintf(why, SOURCE_WHY_MAX, "this is a gateway: it captures nothing");
	else if (a->exclude)
		snprintf(why, SOURCE_WHY_MAX, "processes cannot be excluded; name what to trace");
	else if (by > 1 || (by == 1 && a->port))
		snprintf(why, SOURCE_WHY_MAX,
			 "a filter has one of pid, name, cgroup and port; make several sources");
	else
		by = 0;
	if (by)
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/%u", a->pid);
	if (a->pid && stat(path, &st)) {
		snprintf(why, SOURCE_WHY_MAX, "there is no process %u", a->pid);
		return -EINVAL;
	}
	return 0;
}

static int apply_receiver(struct sourcing *s, const struct source *before,
			  const struct source *after, char why[SOURCE_WHY_MAX])
{
	if (before && before->enabled)
		backend_receiver_remove(s->backend, before->id);
	if (!after || !after->enabled)
		return 0;
	return backend_receiver_add(
		s->backend, after->id, strcmp(after->protocol, "otlp-grpc") ? after->listen : NULL,
		strcmp(after->protocol, "otlp-grpc") ? NULL : after->listen, why, SOURCE_WHY_MAX);
}

static int apply(void *ctx, const struct source *before, const struct source *after,
		 char why[SOURCE_WHY_MAX])
{
	struct sourcing *s = ctx;
	int err = 0;

	if (before && after && before->kind != after->kind) {
		snprintf(why, SOURCE_WHY_MAX, "a source cannot become one of another kind");
		return -EINVAL;
	}
	if ((after ? after : before)->kind == SOURCE_RECEIVER)
		return apply_receiver(s, before, after, why);
	if (after && after->enabled)
		err = check_filter(s, after, why);
	if (!err)
		__atomic_store_n(&s->changed, true, __ATOMIC_RELEASE);
	return err;
}

/* ---- the filter ---- */

static void take_source(void *ctx, const struct source *src)
{
	struct lists *l = ctx;

	if (src->kind == SOURCE_PROCESS && src->enabled && l->cnt < SOURCES_MAX)
		l->source[l->cnt++] = *src;
}

static void lists_fini(struct lists *l)
{
	free(l->pids);
	free(l->names);
	free(l->cgroups);
	free(l->ports);
	*l = (struct lists){ 0 };
}

static int lists_init(struct lists *l, const struct probe_filter *f)
{
	l->pids = calloc(f->pid_cnt + l->cnt + 1, sizeof(*l->pids));
	l->names = calloc(f->name_cnt + l->cnt + 1, sizeof(*l->names));
	l->cgroups = calloc(f->cgroup_cnt + l->cnt + 1, sizeof(*l->cgroups));
	l->ports = calloc(f->port_cnt + l->cnt + 1, sizeof(*l->ports));
	if (!l->pids || !l->names || !l->cgroups || !l->ports)
		return -ENOMEM;
	for (uint32_t i = 0; i < f->pid_cnt; i++)
		l->pids[i] = f->pids[i];
	for (uint32_t i = 0; i < f->name_cnt; i++)
		l->names[i] = f->names[i];
	for (uint32_t i = 0; i < f->cgroup_cnt; i++)
		l->cgroups[i] = f->cgroups[i];
	for (uint32_t i = 0; i < f->port_cnt; i++)
		l->ports[i] = f->ports[i];
	return 0;
}

int sourcing_filter(struct sourcing *s, struct probe_filter *f)
{
	const struct api_sources *api = sources_api(s->sources);
	struct lists *l = &s->lists;
	int err;

	lists_fini(l);
	__atomic_store_n(&s->changed, false, __ATOMIC_RELEASE);
	api->list(api->ctx, take_source, l);
	err = lists_init(l, f);
	if (err)
		return err;
	for (size_t i = 0; i < l->cnt; i++) {
		const struct source *src = &l->source[i];

		bool full = (src->name[0] && f->name_cnt == FILTER_NAMES) ||
			    (src->cgroup[0] && f->cgroup_cnt == FILTER_CGROUPS) ||
			    (src->port && f->port_cnt == FILTER_PORTS);

		if (full)
			log_warn("source %s: too many filters of its kind; it is left out",
				 src->id);
		else if (src->pid)
			l->pids[f->pid_cnt++] = src->pid;
		else if (src->name[0])
			l->names[f->name_cnt++] = src->name;
		else if (src->cgroup[0])
			l->cgroups[f->cgroup_cnt++] = src->cgroup;
		else if (src->port)
			l->ports[f->port_cnt++] = src->port;
	}
	f->pids = l->pids;
	f->names = l->names;
	f->cgroups = l->cgroups;
	f->ports = l->ports;
	return 0;
}

bool sourcing_changed(const struct sourcing *s)
{
	return __atomic_load_n(&s->changed, __ATOMIC_ACQUIRE);
}

/* ---- public ---- */

int sourcing_open(const struct config *c, struct backend *b, bool captures,
		  struct sourcing **ret_sourcing)
{
	struct sourcing *s = calloc(1, sizeof(*s));
	char why[SOURCE_WHY_MAX] = "out of memory", file[4096], audit[4096 + 8];
	bool folder = c->store && strncmp(c->store, "clickhouse+", 11) != 0;
	struct sources_cfg cfg = { .apply = apply, .ctx = s };
	int err = -ENOMEM;

	if (!s)
		return err;
	s->backend = b;
	s->captures = captures;
	if (c->sources) {
		snprintf(file, sizeof(file), "%s", c->sources);
		snprintf(audit, sizeof(audit), "%s.audit", c->sources);
	} else if (folder) {
		snprintf(file, sizeof(file), "%s/sources.json", c->store);
		snprintf(audit, sizeof(audit), "%s/audit.jsonl", c->store);
	}
	if (c->sources || folder) {
		cfg.file = file;
		cfg.audit = audit;
	}
	err = sources_open(&cfg, &s->sources, why);
	if (err) {
		fprintf(stderr, "telltale: %s\n", why);
		free(s);
		return err;
	}
	*ret_sourcing = s;
	return 0;
}

const struct api_sources *sourcing_api(const struct sourcing *s)
{
	return sources_api(s->sources);
}

void sourcing_close(struct sourcing *s)
{
	if (!s)
		return;
	sources_close(s->sources);
	lists_fini(&s->lists);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Sources changed at run time: checked, made true, handed to the agent. */
#include "sourcing.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "event.h"
#include "limits.h"

/* A filter's lists, whose texts are the options' and the sources'. */
struct lists {
	uint32_t *pids;
	const char **names, **cgroups;
	uint16_t *ports;
};

struct sourcing {
	struct backend *backend;
	struct sources *sources;
	bool captures;
	pthread_mutex_t lock; /* of all below; taken after the list's own */
	struct agent *agent;  /* NULL: none is attached */
	bool waiting;	      /* something changed since sourcing_filter(), with no agent to tell */
	struct probe_filter options;
	struct source source[SOURCES_MAX]; /* filters that are enabled */
	size_t cnt;
	struct lists lists;
};

/* ---- changes ---- */

static int check_filter(const struct sourcing *s, const struct source *a, char why[SOURCE_WHY_MAX])
{
	int by = (a->pid != 0) + (a->name[0] != 0) + (a->cgroup[0] != 0);
	struct stat st;
	char path[64];
	uint64_t id;

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
	if (a->cgroup[0] && probe_cgroup_id(a->cgroup, &id)) {
		snprintf(why, SOURCE_WHY_MAX, "there is no cgroup %.200s", a->cgroup);
		return -EINVAL;
	}
	snprintf(path, sizeof(path), "/proc/%u", a->pid);
	if (a->pid && stat(path, &st)) {
		snprintf(why, SOURCE_WHY_MAX, "there is no process %u", a->pid);
		return -EINVAL;
	}
	return 0;
}

static bool is_grpc(const struct source *a)
{
	return strcmp(a->protocol, "otlp-grpc") == 0;
}

static int add_receiver(struct sourcing *s, const struct source *a, char why[SOURCE_WHY_MAX])
{
	return backend_receiver_add(s->backend, a->id, is_grpc(a) ? NULL : a->listen,
				    is_grpc(a) ? a->listen : NULL, why, SOURCE_WHY_MAX);
}

/* before and after, where there are both, may want the same port: the one goes first, and comes
 * back if the other cannot be had. What changes nothing of it disturbs nobody. */
static int apply_receiver(struct sourcing *s, const struct source *before,
			  const struct source *after, char why[SOURCE_WHY_MAX])
{
	char cause[SOURCE_WHY_MAX] = "";
	int err;

	if (before && after && is_grpc(before) == is_grpc(after) &&
	    !strcmp(before->listen, after->listen))
		return 0;
	if (before)
		backend_receiver_remove(s->backend, before->id);
	err = after ? add_receiver(s, after, why) : 0;
	if (err && before && add_receiver(s, before, cause))
		log_warn("source %s: %s; it does not receive any more", before->id, cause);
	/* an address that this machine does not have, or may not use, is the caller's mistake */
	return err == -EADDRINUSE			 ? -EBUSY
	       : err == -EADDRNOTAVAIL || err == -EACCES ? -EINVAL
							 : err;
}

/* ---- the filter ---- */

static void lists_fini(struct lists *l)
{
	free(l->pids);
	free(l->names);
	free(l->cgroups);
	free(l->ports);
	*l = (struct lists){ 0 };
}

static int lists_init(struct lists *l, const struct probe_filter *f, size_t more)
{
	l->pids = calloc(f->pid_cnt + more + 1, sizeof(*l->pids));
	l->names = calloc(f->name_cnt + more + 1, sizeof(*l->names));
	l->cgroups = calloc(f->cgroup_cnt + more + 1, sizeof(*l->cgroups));
	l->ports = calloc(f->port_cnt + more + 1, sizeof(*l->ports));
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

/* The options' filter and the sources', as far as there is room; false: there is not. */
static bool add_source(const struct lists *l, struct probe_filter *f, const struct source *src)
{
	if (src->pid)
		l->pids[f->pid_cnt++] = src->pid;
	else if (src->name[0] && f->name_cnt < FILTER_NAMES)
		l->names[f->name_cnt++] = src->name;
	else if (src->cgroup[0] && f->cgroup_cnt < FILTER_CGROUPS)
		l->cgroups[f->cgroup_cnt++] = src->cgroup;
	else if (src->port && !src->name[0] && !src->cgroup[0] && f->port_cnt < FILTER_PORTS)
		l->ports[f->port_cnt++] = src->port;
	else
		return false;
	return true;
}

/* ret_full: a source that found no room and is left out; NULL: none. */
static int combine(struct sourcing *s, struct probe_filter *ret, const struct source **ret_full)
{
	struct lists *l = &s->lists;
	int err;

	*ret_full = NULL;
	*ret = s->options;
	lists_fini(l);
	err = lists_init(l, ret, s->cnt);
	if (err)
		return err;
	for (size_t i = 0; i < s->cnt; i++)
		if (!add_source(l, ret, &s->source[i]))
			*ret_full = &s->source[i];
	ret->pids = l->pids;
	ret->names = l->names;
	ret->cgroups = l->cgroups;
	ret->ports = l->ports;
	return 0;
}

/* The list of filters after a change. */
static void replace(struct sourcing *s, const struct source *before, const struct source *after)
{
	size_t at = s->cnt;

	for (size_t i = 0; before && i < s->cnt; i++)
		if (!strcmp(s->source[i].id, before->id))
			at = i;
	if (at < s->cnt) {
		s->cnt--;
		memmove(&s->source[at], &s->source[at + 1], (s->cnt - at) * sizeof(s->source[0]));
	}
	if (after && after->enabled && s->cnt < SOURCES_MAX)
		s->source[s->cnt++] = *after;
}

/* With the lock. A filter that cannot be had changes nothing. added may be NULL. */
static int put_in_force(struct sourcing *s, const struct source *added, char why[SOURCE_WHY_MAX])
{
	const struct source *full;
	char cause[PROBE_WHY_MAX] = "";
	struct probe_filter f;
	int err = combine(s, &f, &full);

	/* others found no room at the start already */
	if (!err && full && added && !strcmp(full->id, added->id)) {
		snprintf(why, SOURCE_WHY_MAX, "there are too many filters of its kind");
		return -EINVAL;
	}
	if (!err)
		err = agent_set_filter(s->agent, &f, cause);
	if (err) {
		snprintf(why, SOURCE_WHY_MAX, "%.200s", cause[0] ? cause : strerror(-err));
		return err == -ENOENT ? -EINVAL : err;
	}
	log_info("what is traced has changed: %u pids, %u names, %u cgroups, %u ports", f.pid_cnt,
		 f.name_cnt, f.cgroup_cnt, f.port_cnt);
	return 0;
}

static int apply_filter(struct sourcing *s, const struct source *before, const struct source *after,
			char why[SOURCE_WHY_MAX])
{
	int err = 0;

	if (after && after->enabled)
		err = check_filter(s, after, why);
	if (err)
		return err;
	pthread_mutex_lock(&s->lock);
	replace(s, before, after);
	if (s->agent)
		err = put_in_force(s, after, why);
	else
		s->waiting = true;
	if (err)
		replace(s, after, before);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static int apply(void *ctx, const struct source *before, const struct source *after,
		 char why[SOURCE_WHY_MAX])
{
	struct sourcing *s = ctx;

	if (before && after && before->kind != after->kind) {
		snprintf(why, SOURCE_WHY_MAX, "a source cannot become one of another kind");
		return -EINVAL;
	}
	if ((after ? after : before)->kind == SOURCE_RECEIVER)
		return apply_receiver(s, before, after, why);
	return apply_filter(s, before, after, why);
}

int sourcing_filter(struct sourcing *s, struct probe_filter *f)
{
	const struct source *full;
	int err;

	pthread_mutex_lock(&s->lock);
	s->options = *f;
	s->waiting = false;
	err = combine(s, f, &full);
	if (!err && full)
		log_warn("source %s: too many filters of its kind; it is left out", full->id);
	pthread_mutex_unlock(&s->lock);
	return err;
}

void sourcing_attach(struct sourcing *s, struct agent *agent)
{
	char why[SOURCE_WHY_MAX] = "";

	pthread_mutex_lock(&s->lock);
	s->agent = agent;
	if (agent && s->waiting && put_in_force(s, NULL, why))
		log_warn("sources changed meanwhile: %s; what was traced before still is", why);
	s->waiting = false;
	pthread_mutex_unlock(&s->lock);
}

static bool same_texts(const char *const *a, uint32_t a_cnt, const char *const *b, uint32_t b_cnt)
{
	for (uint32_t i = 0; a_cnt == b_cnt && i < a_cnt; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return a_cnt == b_cnt;
}

static bool same_filter(const struct probe_filter *a, const struct probe_filter *b)
{
	for (uint32_t i = 0; a->port_cnt == b->port_cnt && i < a->port_cnt; i++)
		if (a->ports[i] != b->ports[i])
			return false;
	return a->port_cnt == b->port_cnt &&
	       same_texts(a->names, a->name_cnt, b->names, b->name_cnt) &&
	       same_texts(a->cgroups, a->cgroup_cnt, b->cgroups, b->cgroup_cnt);
}

int sourcing_options(struct sourcing *s, const struct probe_filter *f, char why[SOURCE_WHY_MAX])
{
	struct probe_filter was;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	was = s->options;
	s->options = *f;
	s->options.pids = was.pids;
	s->options.pid_cnt = was.pid_cnt;
	if (!same_filter(&was, f))
		err = put_in_force(s, NULL, why);
	if (err)
		s->options = was;
	pthread_mutex_unlock(&s->lock);
	return err;
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
	pthread_mutex_init(&s->lock, NULL);
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
		pthread_mutex_destroy(&s->lock);
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
	pthread_mutex_destroy(&s->lock);
	free(s);
}

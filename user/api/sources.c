/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what is traced: in memory, in a file, and who changed it. */
#include "api/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/call.h"
#include "api/source_json.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/write.h"

#define FILE_MAX (256u << 10)

struct sources {
	struct sources_cfg cfg;
	struct api_sources api;
	char *file, *audit; /* NULL: none */
	pthread_mutex_t lock;
	struct source list[SOURCES_MAX];
	size_t cnt;
};

/* ---- the file ---- */

/* The whole file is there or the one before it is. */
static int replace_file(const char *path, struct str text)
{
	char name[4096];
	int fd, err;

	if ((size_t)snprintf(name, sizeof(name), "%s.new", path) >= sizeof(name))
		return -ENAMETOOLONG;
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, text);
	if (!err && fsync(fd))
		err = -errno;
	close(fd);
	if (!err && rename(name, path))
		err = -errno;
	if (err)
		unlink(name);
	return err;
}

static int save(const struct sources *s)
{
	struct buf text = { .cap = FILE_MAX };
	struct json j = { .out = &text };
	int err = 0;

	if (!s->file)
		return 0;
	json_open(&j, '{');
	json_key(&j, "sources");
	json_open(&j, '[');
	for (size_t i = 0; i < s->cnt; i++)
		source_write(&j, &s->list[i]);
	json_close(&j, ']');
	json_close(&j, '}');
	buf_add_char(&text, '\n');
	err = text.failed ? -ENOMEM : replace_file(s->file, buf_str(&text));
	buf_fini(&text);
	return err;
}

static int read_file(const char *path, struct buf *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (!err) {
		err = buf_reserve(ret, 4096);
		if (err)
			break;
		n = read(fd, ret->p + ret->len, 4096);
		if (n <= 0)
			break;
		ret->len += (size_t)n;
	}
	if (!err && n < 0)
		err = -errno;
	close(fd);
	return err;
}

static int load_list(struct sources *s, const json_t *root, char why[SOURCE_WHY_MAX])
{
	const json_t *list = json_object_get(root, "sources"), *row;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > SOURCES_MAX) {
		snprintf(why, SOURCE_WHY_MAX, "no list \"sources\" of at most %d", SOURCES_MAX);
		return -EBADMSG;
	}
	json_array_foreach(list, i, row)
	{
		if (source_read(row, &s->list[i], why) || !s->list[i].id[0]) {
			if (!why[0])
				snprintf(why, SOURCE_WHY_MAX, "source %zu has no id", i + 1);
			return -EBADMSG;
		}
		s->cnt = i + 1;
	}
	return 0;
}

static int load(struct sources *s, char why[SOURCE_WHY_MAX])
{
	struct buf text = { .cap = FILE_MAX };
	char cause[SOURCE_WHY_MAX] = "";
	json_t *root = NULL;
	int err = s->file ? read_file(s->file, &text) : -ENOENT;

	if (err == -ENOENT) {
		err = 0;
	} else if (err) {
		snprintf(cause, sizeof(cause), "%s", strerror(-err));
	} else {
		root = body_parse(buf_str(&text), cause);
		err = root ? load_list(s, root, cause) : -EBADMSG;
	}
	if (err)
		snprintf(why, SOURCE_WHY_MAX, "%.120s: %.130s", s->file, cause);
	json_decref(root);
	buf_fini(&text);
	return err;
}

/* ---- the audit ---- */

static void add_source(struct json *j, const char *key, const struct source *s)
{
	json_key(j, key);
	if (s)
		source_write(j, s);
	else
		buf_add_str(j->out, STR("null"));
	j->comma = true;
}

/* A change that cannot be written down is not undone; it is told to whoever reads the log. */
static void audit(const struct sources *s, const char *peer, const struct source *before,
		  const struct source *after)
{
	struct buf line = { .cap = FILE_MAX };
	struct json j = { .out = &line };
	char when[32];
	int fd, err;

	if (!s->audit)
		return;
	rfc3339_write(clock_real_ns(), when);
	json_open(&j, '{');
	json_member_str(&j, "time", str_of(when));
	json_member_str(&j, "peer", str_of(peer));
	json_member_str(&j, "what", str_of(!before ? "add" : !after ? "remove" : "change"));
	json_member_str(&j, "id", str_of(before ? before->id : after->id));
	add_source(&j, "before", before);
	add_source(&j, "after", after);
	json_close(&j, '}');
	buf_add_char(&line, '\n');
	fd = open(s->audit, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	err = fd < 0 ? -errno : line.failed ? -ENOMEM : write_all(fd, buf_str(&line));
	if (err)
		log_warn("audit %s: %s; a change of %s is not in it", s->audit, strerror(-err),
			 before ? before->id : after->id);
	if (fd >= 0)
		close(fd);
	buf_fini(&line);
}

/* ---- changes, under the lock ---- */

static int apply(struct sources *s, const struct source *before, const struct source *after,
		 char why[SOURCE_WHY_MAX])
{
	if (before && (!before->enabled || before->failed))
		before = NULL;
	if (after && !after->enabled)
		after = NULL;
	return s->cfg.apply && (before || after) ? s->cfg.apply(s->cfg.ctx, before, after, why) : 0;
}

static struct source *find(struct sources *s, const char *id)
{
	for (size_t i = 0; i < s->cnt; i++)
		if (!strcmp(s->list[i].id, id))
			return &s->list[i];
	return NULL;
}

/* Two that differ in nothing but id and note would be one. */
static bool has_twin(const struct sources *s, const struct source *a)
{
	for (size_t i = 0; i < s->cnt; i++) {
		const struct source *b = &s->list[i];

		if (strcmp(a->id, b->id) && a->kind == b->kind && a->exclude == b->exclude &&
		    a->pid == b->pid && a->port == b->port && !strcmp(a->name, b->name) &&
		    !strcmp(a->cgroup, b->cgroup) && !strcmp(a->listen, b->listen))
			return true;
	}
	return false;
}

/* Makes it true, then keeps it; what cannot be kept is made untrue again. */
static int commit(struct sources *s, const struct source *before, const struct source *after,
		  const char *peer, char why[SOURCE_WHY_MAX])
{
	struct source list[SOURCES_MAX];
	struct source *at = before ? find(s, before->id) : &s->list[s->cnt];
	size_t cnt = s->cnt;
	int err = apply(s, before, after, why);

	if (err) {
		if (!why[0])
			snprintf(why, SOURCE_WHY_MAX, "%s", strerror(-err));
		return err;
	}
	memcpy(list, s->list, sizeof(list));
	if (after)
		*at = *after;
	else
		memmove(at, at + 1, (size_t)(s->list + s->cnt - at - 1) * sizeof(*at));
	s->cnt += !before;
	s->cnt -= !after;
	err = save(s);
	if (err) {
		snprintf(why, SOURCE_WHY_MAX, "%s: %s", s->file, strerror(-err));
		memcpy(s->list, list, sizeof(list));
		s->cnt = cnt;
		if (apply(s, after, before, (char[SOURCE_WHY_MAX]){ 0 }))
			log_warn("a source that could not be kept stays in force: %s", why);
		return err == -ENOSPC ? err : -EIO;
	}
	audit(s, peer, before, after);
	return 0;
}

static int name_source(struct source *s)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	snprintf(s->id, sizeof(s->id), "%016llx", (unsigned long long)number);
	return 0;
}

/* ---- what the server calls ---- */

static int list_all(void *ctx, void (*row)(void *row_ctx, const struct source *s), void *row_ctx)
{
	struct sources *s = ctx;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->cnt; i++) {
		struct source shown = s->list[i];

		shown.enabled &= !shown.failed;
		row(row_ctx, &shown);
	}
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int add_one(void *ctx, struct source *new, const char *peer, char why[SOURCE_WHY_MAX])
{
	struct sources *s = ctx;
	int err;

	why[0] = 0;
	err = name_source(new);
	pthread_mutex_lock(&s->lock);
	if (!err && s->cnt == SOURCES_MAX) {
		snprintf(why, SOURCE_WHY_MAX, "there are %d sources already", SOURCES_MAX);
		err = -ENOSPC;
	} else if (!err && has_twin(s, new)) {
		snprintf(why, SOURCE_WHY_MAX, "there is such a source already");
		err = -EEXIST;
	}
	if (!err)
		err = commit(s, NULL, new, peer, why);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static int change_one(void *ctx, const struct source *new, const char *peer,
		      char why[SOURCE_WHY_MAX])
{
	struct sources *s = ctx;
	struct source *at, before;
	int err = -ENOENT;

	why[0] = 0;
	pthread_mutex_lock(&s->lock);
	at = find(s, new->id);
	if (!at) {
		snprintf(why, SOURCE_WHY_MAX, "there is no source %s", new->id);
	} else if (has_twin(s, new)) {
		snprintf(why, SOURCE_WHY_MAX, "there is such a source already");
		err = -EEXIST;
	} else {
		before = *at;
		err = commit(s, &before, new, peer, why);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

static int remove_one(void *ctx, const char *id, const char *peer, char why[SOURCE_WHY_MAX])
{
	struct sources *s = ctx;
	struct source *at, before;
	int err = -ENOENT;

	why[0] = 0;
	pthread_mutex_lock(&s->lock);
	at = find(s, id);
	if (at) {
		before = *at;
		err = commit(s, &before, NULL, peer, why);
	} else {
		snprintf(why, SOURCE_WHY_MAX, "there is no source %.40s", id);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* ---- all of it ---- */

static int copy_path(const char *from, char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

int sources_open(const struct sources_cfg *cfg, struct sources **ret_sources,
		 char why[SOURCE_WHY_MAX])
{
	struct sources *s = calloc(1, sizeof(*s));
	int err;

	why[0] = 0;
	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	pthread_mutex_init(&s->lock, NULL);
	s->api = (struct api_sources){ s, list_all, add_one, change_one, remove_one };
	err = copy_path(cfg->file, &s->file);
	if (!err)
		err = copy_path(cfg->audit, &s->audit);
	if (!err)
		err = load(s, why);
	if (err) {
		sources_close(s);
		return err;
	}
	for (size_t i = 0; i < s->cnt; i++) {
		char cause[SOURCE_WHY_MAX] = "";

		if (!apply(s, NULL, &s->list[i], cause))
			continue;
		s->list[i].failed = true;
		log_warn("source %s: %s; it is disabled until the next start or change",
			 s->list[i].id, cause);
	}
	*ret_sources = s;
	return 0;
}

const struct api_sources *sources_api(const struct sources *s)
{
	return &s->api;
}

void sources_close(struct sources *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s->file);
	free(s->audit);
	free(s);
}

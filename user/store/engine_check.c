/* SPDX-License-Identifier: Apache-2.0 */
/* What a store holds, and whether all of it can be read. */
#include "store/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

uint64_t engine_bytes(const struct engine *e)
{
	DIR *d = opendir(e->dir);
	struct dirent *entry;
	uint64_t bytes = 0;
	struct stat st;

	while (d && (entry = readdir(d)))
		if (!fstatat(e->dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_size;
	if (d)
		closedir(d);
	return bytes;
}

static int add_stats(void *ctx, struct view *v, const struct block_row *row)
{
	struct store_stats *s = ctx;

	s->spans += row->spans;
	s->traces += row->traces;
	s->blocks++;
	if (!s->oldest_ns || row->start_min_ns < s->oldest_ns)
		s->oldest_ns = row->start_min_ns;
	s->newest_ns = MAX(s->newest_ns, row->start_max_ns);
	return 0;
}

int engine_stats(struct store *st, struct store_stats *ret)
{
	struct engine *e = (struct engine *)st;
	struct store_stats s = { 0 };
	int err = engine_each(e, (struct time_range){ 0 }, add_stats, &s);

	if (err)
		return err;
	s.bytes = engine_bytes(e);
	pthread_mutex_lock(&e->lock);
	for (size_t i = 0; i < e->part_cnt; i++) {
		s.partitions += e->parts[i]->seq != 0;
		s.bad_partitions += part_is_aside(e->parts[i]);
	}
	pthread_mutex_unlock(&e->lock);
	s.bad_blocks = __atomic_load_n(&e->bad_blocks, __ATOMIC_RELAXED);
	*ret = s;
	return 0;
}

/* ---- check --------------------------------------------------------------------------------- */

struct checking {
	void (*report)(void *ctx, const char *line);
	void *ctx;
	int64_t bad;
};

static void say(struct checking *c, const struct part *p, uint64_t id, const char *what)
{
	char line[LINE_MAX_BYTES];

	if (id)
		snprintf(line, sizeof(line), "%s: block %llu: %s", p->path, (unsigned long long)id,
			 what);
	else
		snprintf(line, sizeof(line), "%s: %s", p->path, what);
	c->report(c->ctx, line);
	c->bad++;
}

static int check_block(struct checking *c, struct view *v, const struct block_row *row)
{
	struct filter *f;
	struct body b;
	int err = view_filter(v, row, &f);

	if (err == -ENOMEM)
		return err;
	if (err) {
		say(c, v->part, row->id, "its index is corrupted");
	} else {
		filter_release(f);
		err = view_body(v, row, &b);
		if (!err) {
			err = block_verify(b.block);
			body_close(&b);
		}
		if (err == -ENOMEM)
			return err;
		if (err)
			say(c, v->part, row->id, "its spans are corrupted");
	}
	if (err)
		part_note_bad(v->part, row->id, err);
	return 0;
}

/* SQLite's own view of the file; its rows name what is wrong. */
static int check_file(struct checking *c, struct view *v)
{
	sqlite3_stmt *s = NULL;
	int err = sql_prepare(v->conn->db, "PRAGMA quick_check(5)", &s);
	int rc = SQLITE_DONE;

	while (!err && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		const char *what = (const char *)sqlite3_column_text(s, 0);

		if (what && strcmp(what, "ok") != 0)
			say(c, v->part, 0, what);
	}
	if (err || rc != SQLITE_DONE)
		say(c, v->part, 0, "SQLite cannot check it");
	sqlite3_finalize(s);
	return 0;
}

static int check_part(struct checking *c, struct part *p)
{
	struct view v;
	int err = part_is_aside(p) ? -EBADMSG : view_open(p, &v);

	if (err == -ENOMEM)
		return err;
	if (err) {
		say(c, p, 0, "cannot be read; the whole file is left out");
		return 0;
	}
	err = check_file(c, &v);
	for (uint32_t i = 0; i < v.list->cnt && !err; i++)
		err = check_block(c, &v, &v.list->row[i]);
	view_close(&v);
	return err;
}

int64_t engine_check(struct store *s, void (*report)(void *ctx, const char *line), void *ctx)
{
	struct checking c = { report, ctx, 0 };
	struct part **parts;
	size_t cnt;
	int err = engine_parts((struct engine *)s, &parts, &cnt);

	if (err)
		return err;
	for (size_t i = 0; i < cnt && !err; i++)
		err = check_part(&c, parts[i]);
	engine_parts_put(parts, cnt);
	return err ? err : c.bad;
}

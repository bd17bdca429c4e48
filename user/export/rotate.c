/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kind that writes OTLP/JSON lines to a file, a batch a line, and turns it over by size and
 * age. The path is looked at before each line: when the file there is no longer ours, since
 * somebody else has rotated it, it is opened anew, so no signal is needed. A regular file never
 * ends in half a line: what a failed write left is cut off again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/write.h"
#include "export/internal.h"

#define KEEP_DEFAULT 5
#define KEEP_MAX     1000

struct rotating {
	char *path; /* NULL: standard output */
	uint64_t bytes_max;
	uint64_t age_max_s;
	uint32_t keep;
	int fd; /* -1: not open */
	bool regular;
	bool half;	  /* it ends in half a line, which must not spoil the next one */
	uint64_t begun_s; /* Unix time of the file's first line */
};

/* ---- opening ---- */

static void close_file(struct rotating *r)
{
	if (r->path && r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

/* When the file was made, for one that was there before. */
static uint64_t birth_s(int fd)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME | STATX_MTIME, &st))
		return clock_real_ns() / NS_PER_S;
	return (uint64_t)(st.stx_mask & STATX_BTIME ? st.stx_btime : st.stx_mtime).tv_sec;
}

/* A process that was killed may have left half a line. */
static bool ends_in_half(const struct rotating *r, off_t size)
{
	int fd = r->regular && size ? open(r->path, O_RDONLY | O_CLOEXEC) : -1;
	char last = '\n';
	ssize_t n;

	if (fd < 0)
		return false;
	n = pread(fd, &last, 1, size - 1);
	close(fd);
	return n == 1 && last != '\n';
}

static int open_file(struct rotating *r)
{
	struct stat st;
	int err;

	r->fd = open(r->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	if (r->fd < 0 || fstat(r->fd, &st)) {
		err = -errno;
		close_file(r);
		return err;
	}
	r->regular = S_ISREG(st.st_mode);
	r->begun_s = st.st_size ? birth_s(r->fd) : clock_real_ns() / NS_PER_S;
	r->half = ends_in_half(r, st.st_size);
	return 0;
}

/* ---- turning over ---- */

/* PATH.N goes, PATH.1 becomes PATH.2, and so on. */
static int rotate(struct rotating *r)
{
	char from[PATH_MAX], to[PATH_MAX];

	close_file(r);
	for (uint32_t i = r->keep; i > 0; i--) {
		snprintf(to, sizeof(to), "%s.%u", r->path, i);
		if (i > 1)
			snprintf(from, sizeof(from), "%s.%u", r->path, i - 1);
		else
			snprintf(from, sizeof(from), "%s", r->path);
		if (rename(from, to) && errno != ENOENT)
			return -errno;
	}
	return open_file(r);
}

static bool is_due(const struct rotating *r, const struct stat *st, size_t more)
{
	uint64_t now_s = clock_real_ns() / NS_PER_S;

	if (!r->regular || !st->st_size)
		return false;
	return (r->bytes_max && (uint64_t)st->st_size + more > r->bytes_max) ||
	       (r->age_max_s && now_s >= r->begun_s + r->age_max_s);
}

/* The file to write to is open, is the one at the path, and has room. */
static int make_ready(struct rotating *r, size_t more)
{
	struct stat ours, there;
	int err = 0;

	if (!r->path)
		return 0;
	if (r->fd >= 0 && (fstat(r->fd, &ours) || stat(r->path, &there) ||
			   ours.st_dev != there.st_dev || ours.st_ino != there.st_ino))
		close_file(r);
	if (r->fd < 0)
		err = open_file(r);
	if (!err && fstat(r->fd, &ours))
		err = -errno;
	return !err && is_due(r, &ours, more) ? rotate(r) : err;
}

/* ---- writing ---- */

static int write_line(struct rotating *r, struct str body)
{
	struct stat st = { 0 };
	int err = make_ready(r, body.len + 1);

	if (err)
		return err;
	if (r->regular && fstat(r->fd, &st))
		return -errno;
	err = r->half ? write_all(r->fd, STR("\n")) : 0;
	if (!err)
		err = write_all(r->fd, body);
	if (!err)
		err = write_all(r->fd, STR("\n"));
	if (!err)
		r->half = false;
	if (err && r->regular && ftruncate(r->fd, st.st_size))
		close_file(r);
	return err;
}

static void send_body(void *conn, struct str body, const uint64_t *stop_ns, struct verdict *ret)
{
	int err = write_line(conn, body);

	ret->what = err ? VERDICT_RETRY : VERDICT_DONE;
	if (err)
		snprintf(ret->text, sizeof(ret->text), "%s", strerror(-err));
}

/* ---- life ---- */

static void close_conn(void *conn)
{
	struct rotating *r = conn;

	close_file(r);
	free(r->path);
	free(r);
}

static int open_conn(const struct exporter_cfg *cfg, const char *endpoint, void **ret_conn,
		     char why[EXPORTER_WHY_MAX])
{
	struct rotating *r;
	bool out = !strcmp(endpoint, "-");
	int err = 0;

	if (cfg->headers || cfg->gzip)
		return refuse(why, -EINVAL, "a file has no headers and no gzip");
	if (strlen(endpoint) > PATH_MAX - 16)
		return refuse(why, -ENAMETOOLONG, "its path is too long");
	if (cfg->rotate_keep > KEEP_MAX)
		return refuse(why, -EINVAL, "at most %d rotated files are kept", KEEP_MAX);
	r = calloc(1, sizeof(*r));
	if (!r)
		return refuse(why, -ENOMEM, "no memory");
	r->fd = out ? STDOUT_FILENO : -1;
	r->path = out ? NULL : strdup(endpoint);
	r->bytes_max = cfg->rotate_bytes;
	r->age_max_s = cfg->rotate_age_s;
	r->keep = cfg->rotate_keep ? cfg->rotate_keep : KEEP_DEFAULT;
	if (!out)
		err = r->path ? open_file(r) : -ENOMEM;
	if (err) {
		refuse(why, err, "%s: %s", endpoint, strerror(-err));
		close_conn(r);
		return err;
	}
	*ret_conn = r;
	return 0;
}

const struct kind kind_otlp_file = { "otlp_file", &format_otlp_json, false, open_conn, send_body,
				     NULL,	  close_conn };

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes records to a file. The file is a new one, of mode 0600 from its first moment, that takes
 * the place of an older one by rename: nobody who holds the older one open sees the payload.
 */
#include "ring/ring.h"
#include "ring/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE   (256 * 1024) /* several of the largest records */
#define NAME_ATTEMPTS 100

struct recorder {
	int fd;
	int err;	/* the first one, negative; nothing is written after it */
	bool regular;	/* can be cut back */
	off_t complete; /* the file's length up to the last whole record */
	size_t used;
	char buffer[BUFFER_SIZE];
};

/* A new file beside path, then renamed to it. */
static int create_regular(const char *path, int *ret_fd)
{
	char name[PATH_MAX];
	int fd = -1, err;

	for (int i = 0; fd < 0 && i < NAME_ATTEMPTS; i++) {
		if ((size_t)snprintf(name, sizeof(name), "%s.%d.%d", path, (int)getpid(), i) >=
		    sizeof(name))
			return -ENAMETOOLONG;
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 && errno != EEXIST)
			return -errno;
	}
	if (fd < 0)
		return -EEXIST;
	/* the umask may have taken rights away; the owner can always read a recording */
	if (fchmod(fd, 0600) || rename(name, path)) {
		err = -errno;
		close(fd);
		unlink(name);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

static int open_target(const char *path, int *ret_fd, bool *ret_regular)
{
	struct stat st;
	bool is_link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
	int fd;

	*ret_regular = stat(path, &st) != 0 || S_ISREG(st.st_mode);
	if (*ret_regular)
		/* what a link points to was chosen by whoever made the link */
		return is_link ? -ELOOP : create_regular(path, ret_fd);
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY); /* a pipe or a device */
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* The buffer holds whole records only, so what a failed write leaves can be cut back to one. */
static int flush_buffer(struct recorder *r)
{
	size_t done = 0;

	while (!r->err && done < r->used) {
		ssize_t n = write(r->fd, r->buffer + done, r->used - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			r->err = n == 0 ? -EIO : -errno;
	}
	if (!r->err)
		r->complete += (off_t)r->used;
	else if (r->regular && done && ftruncate(r->fd, r->complete))
		r->regular = false;
	r->used = 0;
	return r->err;
}

static void append(struct recorder *r, const void *p, size_t len, size_t padded)
{
	if (r->used + padded > sizeof(r->buffer) && flush_buffer(r))
		return;
	memcpy(r->buffer + r->used, p, len);
	memset(r->buffer + r->used + len, 0, padded - len);
	r->used += padded;
}

int recorder_open(const char *path, struct recorder **ret_recorder)
{
	struct file_head head = { .version = FILE_VERSION, .order = FILE_ORDER };
	struct recorder *r = malloc(sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	memset(r, 0, offsetof(struct recorder, buffer));
	err = open_target(path, &r->fd, &r->regular);
	if (err) {
		free(r);
		return err;
	}
	memcpy(head.magic, FILE_MAGIC, sizeof(head.magic));
	append(r, &head, sizeof(head), sizeof(head));
	err = flush_buffer(r);
	if (err) {
		recorder_close(r);
		return err;
	}
	*ret_recorder = r;
	return 0;
}

int recorder_write(struct recorder *r, const struct event_hdr *rec)
{
	if (r->err)
		return r->err;
	append(r, rec, rec->size, file_size_of(rec->size));
	/* ten times a second: what a crash can take is bounded by time as well as by size */
	if (rec->kind == EVENT_TICK)
		flush_buffer(r);
	return r->err;
}

int recorder_close(struct recorder *r)
{
	int err;

	if (!r)
		return 0;
	err = flush_buffer(r);
	if (close(r->fd) && !err)
		err = -errno;
	free(r);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OTLP/JSON lines to a file or to standard output. Spans of a line are copied into an arena that
 * is emptied with it. A regular file never ends in half a line: what a failed write left is cut
 * off again. The first error stays; spans after it are dropped and counted.
 */
#include "export/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SPANS     64
#define LINE_BYTES_MAX (64u << 20)
#define ARENA_BYTES    (16u << 20)

enum drop { DROP_NO_ROOM, DROP_WRITE_ERROR };

struct otlp_file {
	int fd;
	bool own_fd;
	bool regular; /* may be cut back */
	int err;      /* the first; sticky */
	off_t end;    /* of the last whole line */
	struct arena *mem;
	struct span *pending[LINE_SPANS];
	size_t cnt;
	struct buf line;
	struct books books;
};

static void drop(struct otlp_file *f, enum drop reason, uint64_t cnt)
{
	book_add(&f->books.dropped[reason], cnt);
}

static int write_all(int fd, struct str s)
{
	while (s.len) {
		ssize_t n = write(fd, s.p, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s = str_from(s, (size_t)n);
	}
	return 0;
}

/* What is pending as one line. */
static int write_line(struct otlp_file *f)
{
	int err;

	buf_clear(&f->line);
	err = otlp_encode_json((const struct span *const *)f->pending, f->cnt, &f->line);
	if (!err)
		err = buf_add_char(&f->line, '\n');
	if (!err)
		err = write_all(f->fd, buf_str(&f->line));
	if (err && f->regular && ftruncate(f->fd, f->end) == 0)
		lseek(f->fd, f->end, SEEK_SET);
	if (!err)
		f->end += (off_t)f->line.len;
	return err;
}

int otlp_file_open(const char *path, struct otlp_file **ret_file)
{
	struct otlp_file *f = calloc(1, sizeof(*f));
	struct stat st;
	int err = -ENOMEM;

	if (!f)
		return -ENOMEM;
	f->fd = STDOUT_FILENO;
	f->own_fd = strcmp(path, "-") != 0;
	f->mem = arena_new(ARENA_BYTES);
	f->line.cap = LINE_BYTES_MAX;
	if (!f->mem)
		goto fail;
	if (f->own_fd)
		f->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (f->fd < 0 || fstat(f->fd, &st)) {
		err = -errno;
		goto fail;
	}
	f->regular = f->own_fd && S_ISREG(st.st_mode);
	f->books = (struct books){ .stage = "export_file", .unit = "span" };
	f->books.reason[DROP_NO_ROOM] = "no_room";
	f->books.reason[DROP_WRITE_ERROR] = "write_error";
	err = books_register(&f->books);
	if (err)
		goto fail;
	*ret_file = f;
	return 0;
fail:
	if (f->own_fd && f->fd >= 0)
		close(f->fd);
	arena_free(f->mem);
	free(f);
	return err;
}

void otlp_file_push(struct otlp_file *f, const struct span *s)
{
	struct span *copy;

	book_add(&f->books.in, 1);
	if (f->err) {
		drop(f, DROP_WRITE_ERROR, 1);
		return;
	}
	copy = span_copy(s, f->mem);
	if (!copy && f->cnt && !otlp_file_flush(f))
		copy = span_copy(s, f->mem);
	if (!copy) {
		drop(f, f->err ? DROP_WRITE_ERROR : DROP_NO_ROOM, 1);
		return;
	}
	f->pending[f->cnt++] = copy;
	book_add(&f->books.held, 1);
	if (f->cnt == LINE_SPANS)
		otlp_file_flush(f);
}

int otlp_file_flush(struct otlp_file *f)
{
	if (!f->cnt)
		return f->err;
	if (!f->err)
		f->err = write_line(f);
	if (f->err)
		drop(f, DROP_WRITE_ERROR, f->cnt);
	else
		book_add(&f->books.out, f->cnt);
	book_add(&f->books.held, 0 - (uint64_t)f->cnt);
	while (f->cnt)
		span_release(f->pending[--f->cnt]);
	arena_reset(f->mem);
	return f->err;
}

int otlp_file_close(struct otlp_file *f)
{
	int err;

	if (!f)
		return 0;
	err = otlp_file_flush(f);
	if (f->own_fd && close(f->fd) && !err)
		err = -errno;
	books_unregister(&f->books);
	buf_fini(&f->line);
	arena_free(f->mem);
	free(f);
	return err;
}

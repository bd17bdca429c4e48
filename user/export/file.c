/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OTLP/JSON lines to a file or to standard output. Each span is written as it comes, and waits so
 * for the others of its line. A regular file never ends in half a line: what a failed write left is
 * cut off again. The first error stays; spans after it are dropped and counted.
 */
#include "export/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/write.h"

#define LINE_SPANS     64
#define LINE_BYTES_MAX (64u << 20)
#define SPANS_BYTES    (16u << 20) /* of a line */

enum drop { DROP_NO_ROOM, DROP_WRITE_ERROR };

struct otlp_file {
	int fd;
	bool own_fd;
	bool regular;		      /* may be cut back */
	int err;		      /* the first; sticky */
	off_t end;		      /* of the last whole line */
	struct item item[LINE_SPANS]; /* of the line; each counts its resource */
	size_t cnt;
	struct buf spans; /* their bytes */
	struct buf line;
	struct books books;
};

static void drop(struct otlp_file *f, enum drop reason, uint64_t cnt)
{
	book_add(&f->books.dropped[reason], cnt);
}

/* What is pending as one line. */
static int write_line(struct otlp_file *f)
{
	int err;

	buf_clear(&f->line);
	err = format_otlp_json.add_body(NULL, f->item, f->cnt, f->spans.p, &f->line);
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
	int err;

	if (!f)
		return -ENOMEM;
	f->fd = STDOUT_FILENO;
	f->own_fd = strcmp(path, "-") != 0;
	f->spans.cap = SPANS_BYTES;
	f->line.cap = LINE_BYTES_MAX;
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
	free(f);
	return err;
}

/* 0, or -ENOMEM past the room of a line. */
static int add_span(struct otlp_file *f, const struct span *s)
{
	size_t before = f->spans.len;
	int err = format_otlp_json.add_span(NULL, s, &f->spans);

	if (err) {
		f->spans.len = before;
		f->spans.failed = false;
		return err;
	}
	f->item[f->cnt++] = (struct item){ .resource = resource_get(s->resource),
					   .scope = s->scope,
					   .off = before,
					   .len = f->spans.len - before };
	return 0;
}

void otlp_file_push(struct otlp_file *f, const struct span *s)
{
	int err;

	book_add(&f->books.in, 1);
	if (f->err) {
		drop(f, DROP_WRITE_ERROR, 1);
		return;
	}
	err = add_span(f, s);
	if (err && f->cnt && !otlp_file_flush(f))
		err = add_span(f, s);
	if (err) {
		drop(f, f->err ? DROP_WRITE_ERROR : DROP_NO_ROOM, 1);
		return;
	}
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
		resource_put(f->item[--f->cnt].resource);
	buf_clear(&f->spans);
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
	buf_fini(&f->spans);
	free(f);
	return err;
}

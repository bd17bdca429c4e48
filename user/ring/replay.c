/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a recording back. Memory is one buffer, whatever the file says. A record that is framed
 * well but wrong inside is the gate's to count; only lost framing ends the replay.
 */
#include "ring/ring.h"
#include "ring/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)
_Static_assert(BUFFER_SIZE >= UINT16_MAX + 1 + FILE_ALIGN, "holds the largest record");

struct reader {
	int fd;
	uint64_t offset; /* in the file, of the first byte not yet taken */
	size_t at;	 /* the same in the buffer; always a multiple of FILE_ALIGN */
	size_t end;
	_Alignas(FILE_ALIGN) char buffer[BUFFER_SIZE];
};

/* Makes len bytes available where the file has them: 1, 0 at its end, or -errno. */
static int need(struct reader *r, size_t len)
{
	while (r->end - r->at < len) {
		ssize_t n;

		if (r->at) {
			memmove(r->buffer, r->buffer + r->at, r->end - r->at);
			r->end -= r->at;
			r->at = 0;
		}
		n = read(r->fd, r->buffer + r->end, sizeof(r->buffer) - r->end);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			r->end += (size_t)n;
	}
	return 1;
}

static void took(struct reader *r, size_t len)
{
	r->at += len;
	r->offset += len;
}

static int read_head(struct reader *r)
{
	const struct file_head *head;
	int got = need(r, sizeof(*head));

	if (got <= 0)
		return got ? got : -EBADMSG;
	head = (const void *)(r->buffer + r->at);
	if (memcmp(head->magic, FILE_MAGIC, sizeof(head->magic)) != 0)
		return -EBADMSG;
	if (head->order != FILE_ORDER) {
		r->offset += offsetof(struct file_head, order);
		return -EBADMSG;
	}
	if (head->version != FILE_VERSION) {
		r->offset += offsetof(struct file_head, version);
		return -EBADMSG;
	}
	took(r, sizeof(*head));
	return 0;
}

/* 1, 0 at the file's clean end, or -errno. */
static int read_record(struct reader *r, struct gate *g)
{
	const struct event_hdr *h;
	uint32_t size;
	int got = need(r, sizeof(*h));

	if (got <= 0)
		return got == 0 && r->end > r->at ? -EBADMSG : got;
	h = (const void *)(r->buffer + r->at);
	if (h->size < sizeof(*h))
		return -EBADMSG;
	size = file_size_of(h->size);
	got = need(r, size);
	if (got <= 0)
		return got ? got : -EBADMSG;
	h = (const void *)(r->buffer + r->at); /* need() may have moved it */
	gate_push(g, h, h->size);
	took(r, size);
	return 1;
}

int replay_file(const char *path, struct gate *g, uint64_t *ret_offset)
{
	struct reader *r = malloc(sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->offset = r->at = r->end = 0;
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (r->fd < 0) {
		err = -errno;
		goto out;
	}
	err = read_head(r);
	if (!err) {
		do
			err = read_record(r, g);
		while (err == 1);
	}
	close(r->fd);
out:
	if (ret_offset)
		*ret_offset = r->offset;
	free(r);
	return err;
}

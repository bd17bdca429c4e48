/* SPDX-License-Identifier: Apache-2.0 */
/* A growable run of bytes with a cap. Not thread-safe. A zeroed struct is an empty buffer. */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "str.h"

struct buf {
	char *p; /* owned; NULL when nothing was ever added */
	size_t len;
	size_t size;
	size_t cap;  /* most bytes it may hold; 0: no limit; set before anything is added */
	bool failed; /* an append did not fit or had no memory; stays set until buf_clear */
};

/* Moves it into more memory, with room for len more; for buf_reserve(). */
int buf_grow(struct buf *b, size_t len);

/* Room for len more bytes at p + len; the caller fills it and advances len. 0, or -ENOBUFS past the
 * cap, -ENOMEM. Inline, as are the appends: JSON is written a few bytes at a time. */
static inline int buf_reserve(struct buf *b, size_t len)
{
	return len <= b->size - b->len && b->p ? 0 : buf_grow(b, len);
}

/* 0 or an error as above; nothing is added then. */
static inline int buf_add(struct buf *b, const void *p, size_t len)
{
	int err = buf_reserve(b, len);

	if (err)
		return err;
	if (len)
		memcpy(b->p + b->len, p, len);
	b->len += len;
	return 0;
}

static inline int buf_add_str(struct buf *b, struct str s)
{
	return buf_add(b, s.p, s.len);
}

static inline int buf_add_char(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
void buf_fini(struct buf *b);

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){ b->p, b->len };
}

#endif

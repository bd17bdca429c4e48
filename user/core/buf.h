/* SPDX-License-Identifier: Apache-2.0 */
/* A growable run of bytes with a cap. Not thread-safe. A zeroed struct is an empty buffer. */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "str.h"

struct buf {
	char *p; /* owned; NULL when nothing was ever added */
	size_t len;
	size_t size;
	size_t cap;  /* most bytes it may hold; 0: no limit */
	bool failed; /* an append did not fit or had no memory; stays set until buf_clear */
};

/* 0, or -ENOBUFS past the cap, -ENOMEM; nothing is added then. */
int buf_add(struct buf *b, const void *p, size_t len);
int buf_add_str(struct buf *b, struct str s);
int buf_add_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Room for len more bytes at p + len; the caller fills it and advances len. */
int buf_reserve(struct buf *b, size_t len);

/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
void buf_fini(struct buf *b);

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){ b->p, b->len };
}

#endif

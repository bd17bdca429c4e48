/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The size never passes the cap, so that what fits the size fits the cap. */
int buf_grow(struct buf *b, size_t len)
{
	size_t size = b->size ? b->size : 256;
	char *p;

	if (b->cap && (len > b->cap || b->len > b->cap - len)) {
		b->failed = true;
		return -ENOBUFS;
	}
	while (size - b->len < len) {
		if (size > SIZE_MAX / 2) {
			b->failed = true;
			return -ENOMEM;
		}
		size *= 2;
	}
	if (b->cap)
		size = MIN(size, b->cap);
	p = realloc(b->p, size);
	if (!p) {
		b->failed = true;
		return -ENOMEM;
	}
	b->p = p;
	b->size = size;
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int len, err;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		return -EINVAL;
	err = buf_reserve(b, (size_t)len + 1);
	if (err)
		return err;
	va_start(ap, fmt);
	vsnprintf(b->p + b->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)len;
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	n = MIN(n, b->len);
	b->len -= n;
	if (b->len)
		memmove(b->p, b->p + n, b->len);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

void buf_fini(struct buf *b)
{
	free(b->p);
	b->p = NULL;
	b->len = b->size = 0;
}

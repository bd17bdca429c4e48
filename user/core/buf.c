/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int buf_reserve(struct buf *b, size_t len)
{
	size_t size = b->size ? b->size : 256;
	char *p;

	if (b->cap && (len > b->cap || b->len > b->cap - len)) {
		b->failed = true;
		return -ENOBUFS;
	}
	if (len <= b->size - b->len && b->p)
		return 0;
	while (size - b->len < len) {
		if (size > SIZE_MAX / 2) {
			b->failed = true;
			return -ENOMEM;
		}
		size *= 2;
	}
	p = realloc(b->p, size);
	if (!p) {
		b->failed = true;
		return -ENOMEM;
	}
	b->p = p;
	b->size = size;
	return 0;
}

int buf_add(struct buf *b, const void *p, size_t len)
{
	int err = buf_reserve(b, len);

	if (err)
		return err;
	if (len)
		memcpy(b->p + b->len, p, len);
	b->len += len;
	return 0;
}

int buf_add_str(struct buf *b, struct str s)
{
	return buf_add(b, s.p, s.len);
}

int buf_add_char(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
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

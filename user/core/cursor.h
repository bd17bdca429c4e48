/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded reader over bytes that may be hostile or cut short. A read past the end gives zero or
 * an empty run and sets 'bad', which stays set: check it once, at the end of a group of reads.
 */
#ifndef CORE_CURSOR_H
#define CORE_CURSOR_H

#include "str.h"

struct cursor {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct cursor cursor_of(const void *p, size_t len)
{
	/* C forbids even NULL + 0 */
	return (struct cursor){ p, len ? (const uint8_t *)p + len : p, false };
}

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

/* Takes n bytes; NULL and bad when there are fewer. */
static inline const uint8_t *take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || n > cursor_left(c)) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	return p;
}

static inline struct str take_str(struct cursor *c, size_t n)
{
	const uint8_t *p = take(c, n);
	return p ? (struct str){ (const char *)p, n } : (struct str){ NULL, 0 };
}

static inline uint8_t take_u8(struct cursor *c)
{
	const uint8_t *p = take(c, 1);
	return p ? p[0] : 0;
}

static inline uint16_t take_u16be(struct cursor *c)
{
	const uint8_t *p = take(c, 2);
	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t take_u32be(struct cursor *c)
{
	const uint8_t *p = take(c, 4);
	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

static inline uint16_t take_u16le(struct cursor *c)
{
	const uint8_t *p = take(c, 2);
	return p ? (uint16_t)(p[1] << 8 | p[0]) : 0;
}

static inline uint32_t take_u24le(struct cursor *c)
{
	const uint8_t *p = take(c, 3);
	return p ? (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0] : 0;
}

static inline uint32_t take_u32le(struct cursor *c)
{
	const uint8_t *p = take(c, 4);
	return p ? (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0] : 0;
}

static inline uint64_t take_u64le(struct cursor *c)
{
	uint64_t low = take_u32le(c);
	return low | (uint64_t)take_u32le(c) << 32;
}

/* A run up to, not including, the byte 'stop', which is taken too; bad when it never comes. */
static inline struct str take_until(struct cursor *c, uint8_t stop)
{
	const uint8_t *at = c->bad || c->p == c->end ? NULL : memchr(c->p, stop, cursor_left(c));
	struct str s = { NULL, 0 };

	if (!at) {
		c->bad = true;
		return s;
	}
	s = (struct str){ (const char *)c->p, (size_t)(at - c->p) };
	c->p = at + 1;
	return s;
}

#endif

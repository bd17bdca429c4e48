/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes; not NUL-terminated, may hold NULs. */
#ifndef CORE_STR_H
#define CORE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct str {
	const char *p; /* may be NULL when len is 0 */
	size_t len;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_FMT	     "%.*s"
#define STR_ARG(s)   (int)(s).len, (s).p
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

static inline struct str str_of(const char *cstr)
{
	return (struct str){ cstr, cstr ? strlen(cstr) : 0 };
}

static inline uint64_t bytes_differ8(const char *a, const char *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

/* Most are keys and names: a few loads, which may overlap, tell those apart sooner than a call. */
static inline bool bytes_eq(const char *a, const char *b, size_t n)
{
	if (n < 8 || n > 32)
		return n == 0 || memcmp(a, b, n) == 0;
	if (bytes_differ8(a, b) | bytes_differ8(a + n - 8, b + n - 8))
		return false;
	return n <= 16 || !(bytes_differ8(a + 8, b + 8) | bytes_differ8(a + n - 16, b + n - 16));
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && bytes_eq(a.p, b.p, a.len);
}

static inline bool str_eq_nocase(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.p, b.p, a.len) == 0);
}

static inline bool str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

static inline bool str_ends(struct str s, struct str end)
{
	return s.len >= end.len &&
	       (end.len == 0 || memcmp(s.p + s.len - end.len, end.p, end.len) == 0);
}

/* The part from byte 'from' on; empty when there is none. */
static inline struct str str_from(struct str s, size_t from)
{
	return from < s.len ? (struct str){ s.p + from, s.len - from } : (struct str){ s.p, 0 };
}

/* Index of the first c, or -1. */
static inline ptrdiff_t str_find(struct str s, char c)
{
	const char *at = s.len ? memchr(s.p, c, s.len) : NULL;
	return at ? at - s.p : -1;
}

/* The value of a hex digit of either case; -1: it is none. */
static inline int char_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline bool char_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without leading and trailing spaces, tabs, CR and LF. */
static inline struct str str_trim(struct str s)
{
	while (s.len && char_is_blank(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len && char_is_blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

/* Decimal digits only. Returns false, *ret untouched, on anything else or past UINT64_MAX. */
static inline bool str_to_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned int d = (unsigned char)s.p[i] - '0';
		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*ret = v;
	return true;
}

#endif

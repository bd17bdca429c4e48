/* SPDX-License-Identifier: Apache-2.0 */
/* Redis among other protocols: what begins a command, what begins a reply. */
#include "proto/redis_internal.h"

#define HEADER_MAX 24  /* "$4294967296\r\n" and more */
#define SHORT_BULK 128 /* strings whose end is looked at before a stream is taken for Redis */

const char redis_types[] = "+-:$*_#,(!=%~>|";

enum parse redis_take_header(struct cursor *c, char type, uint64_t *ret_n, bool *ret_none)
{
	size_t left = cursor_left(c), look = MIN(left, (size_t)HEADER_MAX);
	const uint8_t *lf = memchr(c->p, '\n', look);
	struct str digits;

	if (left && c->p[0] != (uint8_t)type)
		return PARSE_BAD;
	if (left > 1 && !(c->p[1] >= '0' && c->p[1] <= '9') && c->p[1] != '-')
		return PARSE_BAD;
	if (!lf)
		return look == HEADER_MAX ? PARSE_BAD : PARSE_MORE;
	if (lf - c->p < 3 || lf[-1] != '\r')
		return PARSE_BAD;
	digits = (struct str){ (const char *)c->p + 1, (size_t)(lf - c->p) - 2 };
	*ret_none = str_eq(digits, STR("-1"));
	if (!*ret_none && !str_to_u64(digits, ret_n))
		return PARSE_BAD;
	c->p = lf + 1;
	return PARSE_OK;
}

enum detect redis_detect_inline(const uint8_t *p, size_t len)
{
	size_t n = 0;

	while (n < len && n < REDIS_WORD_MAX && p[n] > ' ')
		n++;
	if (!redis_is_word((struct str){ (const char *)p, n }))
		return DETECT_NO;
	/* other text protocols have such lines too: what the server answers will tell */
	if (n < len && !redis_is_known((struct str){ (const char *)p, n }))
		return DETECT_NO;
	for (size_t i = n; i < len && p[i] != '\n'; i++)
		if ((p[i] < ' ' && p[i] != '\r' && p[i] != '\t') || p[i] > '~')
			return DETECT_NO;
	return DETECT_MORE;
}

enum detect redis_detect_array(const uint8_t *p, size_t len, bool strict)
{
	struct cursor c = cursor_of(p, len);
	uint64_t cnt, n;
	bool none;
	enum parse r = redis_take_header(&c, '*', &cnt, &none);
	struct str word;

	if (r != PARSE_OK)
		return r == PARSE_MORE ? DETECT_MORE : DETECT_NO;
	if (none || !cnt)
		return DETECT_RESPONSE;
	if (c.p == c.end)
		return DETECT_MORE;
	if (*c.p != '$')
		return strchr(redis_types, *c.p) && *c.p ? DETECT_RESPONSE : DETECT_NO;
	r = redis_take_header(&c, '$', &n, &none);
	if (r != PARSE_OK)
		return r == PARSE_MORE ? DETECT_MORE : DETECT_NO;
	if (none || n >= REDIS_WORD_MAX)
		return DETECT_RESPONSE;
	if (cursor_left(&c) < n)
		return DETECT_MORE;
	word = (struct str){ (const char *)c.p, n };
	return redis_is_known(word) || (!strict && redis_is_word(word)) ? DETECT_REQUEST
									: DETECT_RESPONSE;
}

/* "-ERR text" and "+TEXT"; strict: only errors that Redis is known to have. */
static enum detect detect_line(const uint8_t *p, size_t len, bool strict)
{
	static const char *const errors[] = {
		"ERR",	    "WRONGTYPE", "NOAUTH",    "NOPERM",	   "WRONGPASS",	  "MOVED",
		"ASK",	    "LOADING",	 "BUSY",      "OOM",	   "READONLY",	  "EXECABORT",
		"NOSCRIPT", "MISCONF",	 "CROSSSLOT", "TRYAGAIN",  "BUSYGROUP",	  "BUSYKEY",
		"NOGROUP",  "NOPROTO",	 "DENIED",    "UNBLOCKED", "CLUSTERDOWN", "MASTERDOWN",
	};
	size_t n = 1;

	while (n < len && p[n] >= 'A' && p[n] <= 'Z')
		n++;
	if (n == len)
		return len < HEADER_MAX ? DETECT_MORE : DETECT_NO;
	if (n < 3 || (p[n] != ' ' && p[n] != '\r'))
		return DETECT_NO;
	if (!strict)
		return DETECT_RESPONSE;
	for (size_t i = 0; p[0] == '-' && i < ARRAY_LEN(errors); i++)
		if (str_eq((struct str){ (const char *)p + 1, n - 1 }, str_of(errors[i])))
			return DETECT_RESPONSE;
	return DETECT_NO;
}

/* strict: nothing is known yet, so only what other protocols hardly say counts. */
enum detect redis_detect_reply(const uint8_t *p, size_t len, bool strict)
{
	static const char *const sure[] = { "+OK\r\n", "+PONG\r\n", "+QUEUED\r\n",
					    "_\r\n",   "#t\r\n",    "#f\r\n" };
	struct cursor c = cursor_of(p, len);
	uint64_t n;
	bool none;
	enum parse r;

	for (size_t i = 0; i < ARRAY_LEN(sure); i++)
		if (memcmp(p, sure[i], MIN(len, strlen(sure[i]))) == 0)
			return len < strlen(sure[i]) ? DETECT_MORE : DETECT_RESPONSE;
	if (p[0] == '-' || p[0] == '+')
		return detect_line(p, len, strict);
	if (!strchr(":$%~>", p[0]) || !p[0])
		return DETECT_NO;
	r = redis_take_header(&c, (char)p[0], &n, &none);
	if (r == PARSE_OK && p[0] == '$' && !none && n < SHORT_BULK) {
		if (cursor_left(&c) < n + 2)
			return DETECT_MORE;
		return c.p[n] == '\r' && c.p[n + 1] == '\n' ? DETECT_RESPONSE : DETECT_NO;
	}
	return r == PARSE_OK ? DETECT_RESPONSE : r == PARSE_MORE ? DETECT_MORE : DETECT_NO;
}

enum detect redis_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram)
{
	if (datagram || !len)
		return DETECT_NO;
	if (p[0] == '*')
		return redis_detect_array(p, len, true);
	if ((p[0] | 32) >= 'a' && (p[0] | 32) <= 'z')
		return redis_detect_inline(p, len);
	return redis_detect_reply(p, len, true);
}

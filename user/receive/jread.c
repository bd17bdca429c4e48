/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON reader: a cursor over text, one token at a time. */
#include "receive/jread.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/utf8.h"

#define NUMBER_MAX 64 /* longest number that is read as one */

struct jread jread_of(struct str text)
{
	const char *p = text.len ? text.p : "";

	return (struct jread){ .begin = p, .p = p, .end = p + text.len };
}

static void fail(struct jread *j, const char *wanted)
{
	if (!j->bad)
		j->bad = wanted;
}

/* The next character that is not space; 0 at the end and after a failure. */
static inline char peek(struct jread *j)
{
	if (j->p<j->end && * j->p> ' ' && !j->bad)
		return *j->p;
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
		j->p++;
	return j->p < j->end && !j->bad ? *j->p : 0;
}

static bool expect(struct jread *j, char c, const char *wanted)
{
	if (peek(j) != c || !c) {
		fail(j, wanted);
		return false;
	}
	j->p++;
	return true;
}

/* ---- structure ---- */

bool jread_open(struct jread *j, char bracket)
{
	if (j->depth == JSON_DEPTH_MAX) {
		fail(j, "less nesting");
		return false;
	}
	if (!expect(j, bracket, bracket == '{' ? "an object" : "an array"))
		return false;
	j->depth++;
	j->first = true;
	return true;
}

/* Past the comma to the next item, or past the bracket that ends them. */
static bool next(struct jread *j, char close)
{
	if (peek(j) == close) {
		j->p++;
		j->depth--;
		j->first = false;
		return false;
	}
	if (!j->first && !expect(j, ',', close == '}' ? "a comma or }" : "a comma or ]"))
		return false;
	j->first = false;
	return !j->bad;
}

bool jread_item(struct jread *j)
{
	return next(j, ']');
}

static bool is_null(struct jread *j)
{
	return peek(j) == 'n';
}

bool jread_key(struct jread *j, struct reading *r, struct str *ret_key)
{
	while (next(j, '}')) {
		*ret_key = jread_string(j, r);
		if (!expect(j, ':', "a colon"))
			return false;
		if (!is_null(j))
			return true;
		jread_skip(j);
	}
	return false;
}

void jread_end(struct jread *j)
{
	if (peek(j))
		fail(j, "nothing more");
}

void jread_why(const struct jread *j, char out[WHY_MAX])
{
	snprintf(out, WHY_MAX, "malformed JSON at byte %td: want %s", j->p - j->begin,
		 j->bad ? j->bad : "something else");
}

/* ---- strings ---- */

/* Four hex digits; -1 for anything else. */
static int32_t code_unit(const char *p, const char *end)
{
	int32_t v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = char_hex(p[i]);

		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	return v;
}

static char *put_code_point(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*to++ = (char)(0xe0 | c >> 12);
		} else {
			*to++ = (char)(0xf0 | c >> 18);
			*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		}
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (c & 0x3f));
	return to;
}

/* An escape of four hex digits, p at the first of them; a surrogate without its other half is
 * U+FFFD. Returns what follows, or NULL for a bad one. */
static const char *unescape_unit(const char *p, const char *end, char **to)
{
	int32_t high = code_unit(p, end), low;
	uint32_t c = (uint32_t)high;

	if (high < 0)
		return NULL;
	p += 4;
	if (high >= 0xd800 && high < 0xe000) {
		low = high < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u'
			      ? code_unit(p + 2, end)
			      : -1;
		c = 0xfffd;
		if (low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((uint32_t)(high - 0xd800) << 10 | (uint32_t)(low - 0xdc00));
			p += 6;
		}
	}
	*to = put_code_point(*to, c);
	return p;
}

/* The result is never longer than what it comes from: a \u escape is 6 bytes, or 12. */
static bool unescape(struct str raw, char *out, size_t *ret_len)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	const char *p = raw.p, *end = raw.p + raw.len, *at;
	char *to = out;

	while (p < end) {
		if (*p != '\\') {
			*to++ = *p++;
			continue;
		}
		p++; /* the scan saw to it that something follows */
		if (*p == 'u') {
			p = unescape_unit(p + 1, end, &to);
			if (!p)
				return false;
			continue;
		}
		at = *p ? strchr(from, *p) : NULL;
		if (!at)
			return false;
		*to++ = into[at - from];
		p++;
	}
	*ret_len = (size_t)(to - out);
	return true;
}

/* What a string cannot run on over: its end, an escape, what may not be in it. */
static const bool ends_run[256] = { [0 ... 31] = true, ['"'] = true, ['\\'] = true };

/* Past the closing quote; what is between, escapes as they are. */
static bool scan_string(struct jread *j, struct str *ret_raw, bool *ret_escapes)
{
	const char *start, *p;

	*ret_escapes = false;
	if (!expect(j, '"', "a string"))
		return false;
	start = j->p;
	for (p = start; p < j->end; p++) {
		if (!ends_run[(uint8_t)*p])
			continue;
		if (*p != '\\')
			break;
		*ret_escapes = true;
		p++;
		if (p == j->end || (uint8_t)*p < ' ')
			break;
	}
	if (p >= j->end || *p != '"') {
		j->p = p < j->end ? p : j->end;
		fail(j, "the end of a string");
		return false;
	}
	*ret_raw = (struct str){ start, (size_t)(p - start) };
	j->p = p + 1;
	return true;
}

struct str jread_string(struct jread *j, struct reading *r)
{
	struct str raw;
	bool escapes;
	char *out;

	if (!scan_string(j, &raw, &escapes))
		return (struct str){ NULL, 0 };
	if (!escapes || !r)
		return raw;
	if (raw.len > 6 * TEXT_BYTES_MAX) {
		reading_refuse(r, REJECT_too_large);
		return (struct str){ NULL, 0 };
	}
	out = arena_alloc_raw(r->mem, raw.len);
	if (!out) {
		reading_refuse(r, REJECT_too_large);
		return (struct str){ NULL, 0 };
	}
	if (!unescape(raw, out, &raw.len)) {
		fail(j, "a valid escape before");
		return (struct str){ NULL, 0 };
	}
	return (struct str){ out, raw.len };
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

struct str jread_base64(struct jread *j, struct reading *r)
{
	struct str text = jread_string(j, r), none = { NULL, 0 };
	uint32_t bits = 0, have = 0;
	size_t len = 0;
	char *out;

	while (text.len && text.p[text.len - 1] == '=')
		text.len--;
	out = reading_array(r, text.len * 3 / 4 + 1, 1);
	if (!out)
		return none;
	for (size_t i = 0; i < text.len; i++) {
		int digit = base64_digit(text.p[i]);

		if (digit < 0) {
			fail(j, "base64 before");
			return none;
		}
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[len++] = (char)(bits >> have);
		}
	}
	return (struct str){ out, len };
}

/* ---- numbers and words ---- */

static const char *digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* The end of the number at p; NULL when there is none. */
static const char *number_end(const char *p, const char *end)
{
	const char *start;

	if (p < end && *p == '-')
		p++;
	start = p;
	p = digits(p, end);
	if (p == start || (*start == '0' && p > start + 1))
		return NULL;
	if (p < end && *p == '.') {
		start = ++p;
		p = digits(p, end);
		if (p == start)
			return NULL;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		start = p;
		p = digits(p, end);
		if (p == start)
			return NULL;
	}
	return p;
}

/* The text of a number, with or without quotes; empty and failed when it is none or too long. */
static bool number_text(struct jread *j, char out[NUMBER_MAX])
{
	bool quoted = peek(j) == '"', escapes;
	const char *end;
	struct str s;

	if (quoted && !scan_string(j, &s, &escapes))
		return false;
	if (!quoted) {
		end = j->bad ? NULL : number_end(j->p, j->end);
		if (!end) {
			fail(j, "a number");
			return false;
		}
		s = (struct str){ j->p, (size_t)(end - j->p) };
		j->p = end;
	}
	if (s.len >= NUMBER_MAX || memchr(s.p, 0, s.len)) {
		fail(j, "a number before");
		return false;
	}
	memcpy(out, s.p, s.len);
	out[s.len] = 0;
	return true;
}

double jread_double(struct jread *j)
{
	char text[NUMBER_MAX], *end;
	double v;

	if (!number_text(j, text))
		return 0;
	/* "NaN", "Infinity" and "-Infinity" are the mapping's; strtod() also knows hex, which is
	 * not */
	v = strtod(text, &end);
	if (!text[0] || *end || strpbrk(text, "xX ")) {
		fail(j, "a number before");
		return 0;
	}
	return v;
}

/* Digits as they are; else a fraction that happens to be whole, such as 1e3. */
static bool whole(struct jread *j, bool *ret_negative, uint64_t *ret)
{
	char text[NUMBER_MAX], *end;
	double v;

	if (!number_text(j, text))
		return false;
	*ret_negative = text[0] == '-';
	if (str_to_u64(str_of(text + *ret_negative), ret))
		return true;
	v = fabs(strtod(text, &end));
	if (text[0] && !*end && v < 18446744073709551616.0 && v == floor(v)) {
		*ret = (uint64_t)v;
		return true;
	}
	fail(j, "an integer before");
	return false;
}

uint64_t jread_u64(struct jread *j)
{
	uint64_t v = 0;
	bool negative;

	if (!whole(j, &negative, &v))
		return 0;
	if (negative && v)
		fail(j, "an integer that is not negative before");
	return j->bad ? 0 : v;
}

int64_t jread_i64(struct jread *j)
{
	uint64_t v = 0;
	bool negative;

	if (!whole(j, &negative, &v))
		return 0;
	if (v > (uint64_t)INT64_MAX + negative) {
		fail(j, "an integer of 64 bits before");
		return 0;
	}
	return negative ? (int64_t)(0 - v) : (int64_t)v;
}

uint32_t jread_enum(struct jread *j)
{
	int64_t v;

	if (peek(j) == '"') {
		fail(j, "an enum as a number");
		return 0;
	}
	v = jread_i64(j);
	return v < 0 || v > UINT32_MAX ? 0 : (uint32_t)v;
}

static bool word(struct jread *j, struct str w)
{
	if (!str_starts((struct str){ j->p, (size_t)(j->end - j->p) }, w))
		return false;
	j->p += w.len;
	return true;
}

bool jread_bool(struct jread *j)
{
	char c = peek(j);

	if (c == 't' && word(j, STR("true")))
		return true;
	if (!(c == 'f' && word(j, STR("false"))))
		fail(j, "true or false");
	return false;
}

/* ---- skipping ---- */

static void skip_scalar(struct jread *j)
{
	const char *end;

	if (peek(j) == 'n') {
		if (!word(j, STR("null")))
			fail(j, "a value");
	} else if (peek(j) == 't' || peek(j) == 'f') {
		jread_bool(j);
	} else {
		end = j->bad ? NULL : number_end(j->p, j->end);
		if (end)
			j->p = end;
		else
			fail(j, "a value");
	}
}

struct str jread_skip(struct jread *j)
{
	char c = peek(j);
	const char *start = j->p;
	struct str raw;
	bool escapes;

	if (c == '{') {
		jread_open(j, '{');
		while (next(j, '}')) {
			scan_string(j, &raw, &escapes);
			expect(j, ':', "a colon");
			jread_skip(j);
		}
	} else if (c == '[') {
		jread_open(j, '[');
		while (next(j, ']'))
			jread_skip(j);
	} else if (c == '"') {
		scan_string(j, &raw, &escapes);
	} else {
		skip_scalar(j);
	}
	return (struct str){ start, (size_t)(j->p - start) };
}

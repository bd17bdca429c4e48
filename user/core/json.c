/* SPDX-License-Identifier: Apache-2.0 */
/* The streaming JSON writer. */
#include "core/json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/utf8.h"

#define U64_DIGITS 20

static void before_value(struct json *j)
{
	if (j->comma)
		buf_add_char(j->out, ',');
	j->comma = true;
}

void json_open(struct json *j, char bracket)
{
	before_value(j);
	buf_add_char(j->out, bracket);
	j->comma = false;
}

void json_close(struct json *j, char bracket)
{
	buf_add_char(j->out, bracket);
	j->comma = true;
}

void json_key_len(struct json *j, const char *key, size_t len)
{
	char *to;

	before_value(j);
	j->comma = false;
	if (buf_reserve(j->out, len + 3))
		return;
	to = j->out->p + j->out->len;
	to[0] = '"';
	memcpy(to + 1, key, len);
	to[len + 1] = '"';
	to[len + 2] = ':';
	j->out->len += len + 3;
}

static void add_escaped(struct buf *out, char c)
{
	switch (c) {
	case '"': buf_add(out, "\\\"", 2); break;
	case '\\': buf_add(out, "\\\\", 2); break;
	case '\n': buf_add(out, "\\n", 2); break;
	case '\r': buf_add(out, "\\r", 2); break;
	case '\t': buf_add(out, "\\t", 2); break;
	default: buf_printf(out, "\\u%04x", (unsigned int)(uint8_t)c);
	}
}

static bool is_plain(char c)
{
	return (uint8_t)c >= 0x20 && (uint8_t)c < 0x80 && c != '"' && c != '\\';
}

/* Whether all of eight bytes are plain. A byte minus n borrows its high bit when it was below n;
 * one xored with a character is below 1 when it was that. False alarms only cost time. */
static bool eight_plain(const char *p)
{
	const uint64_t each = 0x0101010101010101ull;
	uint64_t word, odd;

	memcpy(&word, p, sizeof(word));
	odd = word | (word - each * 0x20) | ((word ^ each * '"') - each) |
	      ((word ^ each * '\\') - each);
	return !(odd & each * 0x80);
}

/* How many leading bytes can be copied as they are. */
static size_t plain_run(struct str s)
{
	size_t i = 0;

	while (i + 8 <= s.len && eight_plain(s.p + i))
		i += 8;
	while (i < s.len && is_plain(s.p[i]))
		i++;
	return i;
}

void json_str(struct json *j, struct str s)
{
	size_t len;

	before_value(j);
	buf_add_char(j->out, '"');
	while (s.len) {
		len = plain_run(s);
		if (len)
			buf_add(j->out, s.p, len);
		else if ((uint8_t)s.p[0] < 0x80)
			add_escaped(j->out, s.p[len++]);
		else if (utf8_step(s, &len))
			buf_add(j->out, s.p, len);
		else
			buf_add_str(j->out, STR(UTF8_REPLACEMENT));
		s = str_from(s, len);
	}
	buf_add_char(j->out, '"');
}

static void add_u64(struct buf *out, uint64_t v)
{
	char digits[U64_DIGITS];
	size_t at = sizeof(digits);

	for (; v >= 100; v /= 100) { /* by pairs: half the divisions */
		digits[--at] = (char)('0' + v % 10);
		digits[--at] = (char)('0' + v / 10 % 10);
	}
	if (v >= 10) {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	}
	digits[--at] = (char)('0' + v);
	buf_add(out, digits + at, sizeof(digits) - at);
}

static void add_i64(struct buf *out, int64_t v)
{
	if (v < 0)
		buf_add_char(out, '-');
	add_u64(out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void json_u64(struct json *j, uint64_t v)
{
	before_value(j);
	add_u64(j->out, v);
}

void json_i64(struct json *j, int64_t v)
{
	before_value(j);
	add_i64(j->out, v);
}

void json_u64_str(struct json *j, uint64_t v)
{
	before_value(j);
	buf_add_char(j->out, '"');
	add_u64(j->out, v);
	buf_add_char(j->out, '"');
}

void json_i64_str(struct json *j, int64_t v)
{
	before_value(j);
	buf_add_char(j->out, '"');
	add_i64(j->out, v);
	buf_add_char(j->out, '"');
}

/* 17 significant digits always suffice; fewer read better where they do. */
static void add_finite(struct buf *out, double v)
{
	const char *point = localeconv()->decimal_point;
	char text[40], *at;

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	at = strstr(text, point);
	if (!at) {
		buf_add_str(out, str_of(text));
		return;
	}
	buf_add(out, text, (size_t)(at - text));
	buf_add_char(out, '.');
	buf_add_str(out, str_of(at + strlen(point)));
}

void json_double(struct json *j, double v)
{
	if (isnan(v) || isinf(v)) {
		json_str(j, isnan(v) ? STR("NaN") : v > 0 ? STR("Infinity") : STR("-Infinity"));
		return;
	}
	before_value(j);
	add_finite(j->out, v);
}

void json_bool(struct json *j, bool v)
{
	before_value(j);
	buf_add_str(j->out, v ? STR("true") : STR("false"));
}

void json_raw(struct json *j, struct str value)
{
	before_value(j);
	buf_add_str(j->out, value);
}

void json_key_str(struct json *j, struct str key)
{
	json_str(j, key);
	buf_add_char(j->out, ':');
	j->comma = false;
}

void json_hex(struct json *j, const uint8_t *p, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *to;

	before_value(j);
	if (buf_reserve(j->out, 2 * len + 2))
		return;
	to = j->out->p + j->out->len;
	*to++ = '"';
	for (size_t i = 0; i < len; i++) {
		*to++ = digits[p[i] >> 4];
		*to++ = digits[p[i] & 15];
	}
	*to = '"';
	j->out->len += 2 * len + 2;
}

void json_base64(struct json *j, struct str bytes)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = (const uint8_t *)bytes.p;

	before_value(j);
	buf_add_char(j->out, '"');
	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t left = bytes.len - i;
		uint32_t group = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
				 (left > 2 ? p[i + 2] : 0);
		char quad[4] = { alphabet[group >> 18], alphabet[group >> 12 & 63],
				 left > 1 ? alphabet[group >> 6 & 63] : '=',
				 left > 2 ? alphabet[group & 63] : '=' };
		buf_add(j->out, quad, sizeof(quad));
	}
	buf_add_char(j->out, '"');
}

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

/* The whole string in one go, checked while it is copied. False, with nothing added, when some of
 * it must be escaped, or there is no room. */
static bool add_plain(struct json *j, struct str s)
{
	struct buf *out = j->out;
	size_t i = 0;
	char *to;

	if (buf_reserve(out, s.len + 2 + j->comma))
		return false;
	to = out->p + out->len;
	if (j->comma)
		*to++ = ',';
	*to++ = '"';
	for (; i + 8 <= s.len; i += 8) {
		if (!eight_plain(s.p + i))
			return false;
		memcpy(to + i, s.p + i, 8);
	}
	if (i && i < s.len) { /* the last eight, some of them again */
		if (!eight_plain(s.p + s.len - 8))
			return false;
		memcpy(to + s.len - 8, s.p + s.len - 8, 8);
		i = s.len;
	}
	for (; i < s.len; i++) {
		if (!is_plain(s.p[i]))
			return false;
		to[i] = s.p[i];
	}
	to[s.len] = '"';
	out->len = (size_t)(to - out->p) + s.len + 1;
	j->comma = true;
	return true;
}

void json_str(struct json *j, struct str s)
{
	size_t len;

	if (add_plain(j, s))
		return;
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
	static const char pairs[] =
		"0001020304050607080910111213141516171819202122232425262728293031323334353637383940"
		"4142434445464748495051525354555657585960616263646566676869707172737475767778798081"
		"828384858687888990919293949596979899";
	char digits[U64_DIGITS];
	size_t at = sizeof(digits);

	for (; v >= 100; v /= 100) { /* by pairs: half the divisions */
		at -= 2;
		memcpy(digits + at, pairs + v % 100 * 2, 2);
	}
	at -= 2;
	memcpy(digits + at, pairs + v * 2, 2);
	at += v < 10;
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

/* Numbers of at most four decimals, as confidences and milliseconds are, without the library: when
 * v is the double nearest to n / 10000, that decimal is what 15 digits show. */
static bool add_short(struct buf *out, double v)
{
	uint64_t n, fraction;
	char digits[4];
	size_t len = 4;

	if (!(v >= 0.0001 && v < 1e9))
		return false;
	n = (uint64_t)(v * 10000 + 0.5);
	if ((double)n / 10000 != v)
		return false;
	add_u64(out, n / 10000);
	fraction = n % 10000;
	for (int i = 3; i >= 0; i--, fraction /= 10)
		digits[i] = (char)('0' + fraction % 10);
	while (len && digits[len - 1] == '0')
		len--;
	if (len) {
		buf_add_char(out, '.');
		buf_add(out, digits, len);
	}
	return true;
}

void json_double(struct json *j, double v)
{
	if (isnan(v) || isinf(v)) {
		json_str(j, isnan(v) ? STR("NaN") : v > 0 ? STR("Infinity") : STR("-Infinity"));
		return;
	}
	before_value(j);
	if (!add_short(j->out, v))
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

/* Four bytes as eight digits at once: a nibble in each byte of a word, the first lowest, since the
 * word goes to memory little-endian. */
static void hex_four(const uint8_t *p, char *to)
{
	const uint64_t each = 0x0101010101010101ull;
	uint64_t v = (uint64_t)p[3] << 48 | (uint64_t)p[2] << 32 | (uint64_t)p[1] << 16 | p[0];

	v = (v >> 4 & each * 15) | (v << 8 & 0x0f000f000f000f00ull);
	v += each * '0' + ((v + each * 6) >> 4 & each) * ('a' - '0' - 10);
	memcpy(to, &v, sizeof(v));
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "hex_four");

void json_hex(struct json *j, const uint8_t *p, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t i = 0;
	char *to;

	before_value(j);
	if (buf_reserve(j->out, 2 * len + 2))
		return;
	to = j->out->p + j->out->len;
	*to++ = '"';
	for (; i + 4 <= len; i += 4)
		hex_four(p + i, to + 2 * i);
	for (; i < len; i++) {
		to[2 * i] = digits[p[i] >> 4];
		to[2 * i + 1] = digits[p[i] & 15];
	}
	to[2 * len] = '"';
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Text from a URI to checked values: percent-decoding, numbers, durations, times. */
#include "api/call.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "core/clock.h"
#include "core/utf8.h"

#define SECONDS_MAX 9000000000ull /* of Unix time: in the year 2255 */

/* ---- percent-decoding ---- */

bool uri_decode(struct arena *mem, struct str s, bool query, struct str *ret)
{
	char *out = arena_alloc_raw(mem, s.len + 1);
	size_t len = 0;

	if (!out)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '%') {
			int high = i + 2 < s.len ? char_hex(s.p[i + 1]) : -1;
			int low = i + 2 < s.len ? char_hex(s.p[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && query) {
			c = ' ';
		}
		if (!c)
			return false;
		out[len++] = c;
	}
	out[len] = 0;
	*ret = (struct str){ out, len };
	return utf8_valid(*ret);
}

bool uri_take_pair(struct str *query, struct str *ret_name, struct str *ret_value)
{
	while (query->len) {
		ptrdiff_t end = str_find(*query, '&');
		struct str pair = { query->p, end < 0 ? query->len : (size_t)end };
		ptrdiff_t eq = str_find(pair, '=');

		*query = str_from(*query, pair.len + 1);
		if (!pair.len)
			continue;
		*ret_name = (struct str){ pair.p, eq < 0 ? pair.len : (size_t)eq };
		*ret_value = str_from(pair, eq < 0 ? pair.len : (size_t)eq + 1);
		return true;
	}
	return false;
}

/* ---- durations ---- */

static const struct {
	struct str name;
	uint64_t ns;
} units[] = {
	/* a longer name before one that it begins with */
	{ { "ns", 2 }, 1 },
	{ { "us", 2 }, NS_PER_US },
	{ { "\xc2\xb5s", 3 }, NS_PER_US }, /* micro sign */
	{ { "\xce\xbcs", 3 }, NS_PER_US }, /* Greek mu */
	{ { "ms", 2 }, NS_PER_MS },
	{ { "s", 1 }, NS_PER_S },
	{ { "m", 1 }, 60 * NS_PER_S },
	{ { "h", 1 }, 3600 * NS_PER_S },
	{ { "d", 1 }, 86400 * NS_PER_S },
	{ { "w", 1 }, 7 * 86400 * NS_PER_S },
};

/* "1.25" as a number of 'scale' parts of one; takes it off s. */
static bool take_decimal(struct str *s, uint64_t *ret_whole, uint64_t *ret_nano)
{
	uint64_t whole = 0, nano = 0, unit = NS_PER_S;
	size_t i = 0, digits = 0;

	for (; i < s->len && s->p[i] >= '0' && s->p[i] <= '9'; i++, digits++) {
		if (whole > UINT64_MAX / 100)
			return false;
		whole = whole * 10 + (uint64_t)(s->p[i] - '0');
	}
	if (i < s->len && s->p[i] == '.') {
		for (i++; i < s->len && s->p[i] >= '0' && s->p[i] <= '9'; i++, digits++) {
			unit /= 10;
			nano += unit * (uint64_t)(s->p[i] - '0');
		}
	}
	*s = str_from(*s, i);
	*ret_whole = whole;
	*ret_nano = nano;
	return digits > 0;
}

bool duration_parse(struct str s, uint64_t *ret_ns)
{
	uint64_t sum = 0, whole, nano, add;

	if (str_eq(s, STR("0"))) {
		*ret_ns = 0;
		return true;
	}
	if (!s.len)
		return false;
	while (s.len) {
		size_t i = 0;

		if (!take_decimal(&s, &whole, &nano))
			return false;
		while (i < ARRAY_LEN(units) && !str_starts(s, units[i].name))
			i++;
		if (i == ARRAY_LEN(units) || __builtin_mul_overflow(whole, units[i].ns, &add) ||
		    __builtin_add_overflow(sum, add, &sum) ||
		    __builtin_add_overflow(
			    sum, (uint64_t)((double)nano / 1e9 * (double)units[i].ns + 0.5), &sum))
			return false;
		s = str_from(s, units[i].name.len);
	}
	if (sum > INT64_MAX)
		return false;
	*ret_ns = sum;
	return true;
}

/* ---- times ---- */

/* Two or four digits at p. */
static int digits_at(const char *p, int cnt)
{
	int v = 0;

	for (int i = 0; i < cnt; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		v = v * 10 + (p[i] - '0');
	}
	return v;
}

/* "Z" or "+01:30": seconds east. */
static bool offset_parse(struct str s, long *ret_s)
{
	int hours, minutes;

	*ret_s = 0;
	if (s.len == 1 && (s.p[0] | 0x20) == 'z')
		return true;
	if (s.len != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':')
		return false;
	hours = digits_at(s.p + 1, 2);
	minutes = digits_at(s.p + 4, 2);
	*ret_s = (s.p[0] == '-' ? -1 : 1) * (hours * 3600L + minutes * 60L);
	return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

bool rfc3339_parse(struct str s, uint64_t *ret_ns)
{
	static const char form[] = "0000-00-00T00:00:00";
	struct tm tm = { 0 };
	uint64_t whole, nano = 0;
	long east;
	time_t t;

	if (s.len < sizeof(form) || s.p[4] != '-' || s.p[7] != '-' ||
	    ((s.p[10] | 0x20) != 't' && s.p[10] != ' ') || s.p[13] != ':' || s.p[16] != ':')
		return false;
	tm.tm_year = digits_at(s.p, 4) - 1900;
	tm.tm_mon = digits_at(s.p + 5, 2) - 1;
	tm.tm_mday = digits_at(s.p + 8, 2);
	tm.tm_hour = digits_at(s.p + 11, 2);
	tm.tm_min = digits_at(s.p + 14, 2);
	tm.tm_sec = digits_at(s.p + 17, 2);
	if (tm.tm_year < 70 || tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 ||
	    tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 ||
	    tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
		return false;
	s = str_from(s, sizeof(form) - 1);
	if (s.p[0] == '.' && (s.len < 2 || !take_decimal(&s, &whole, &nano)))
		return false;
	if (!offset_parse(s, &east))
		return false;
	t = timegm(&tm) - east;
	if (t < 0 || (uint64_t)t > SECONDS_MAX)
		return false;
	*ret_ns = (uint64_t)t * NS_PER_S + nano;
	return true;
}

void rfc3339_write(uint64_t ns, char out[32])
{
	time_t t = (time_t)(ns / NS_PER_S);
	struct tm tm;
	size_t len;

	gmtime_r(&t, &tm);
	len = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + len, 32 - len, ".%03uZ", (unsigned int)(ns % NS_PER_S / NS_PER_MS));
}

/* Seconds, milliseconds, microseconds or nanoseconds: a time of this century has 10, 13, 16 or 19
 * digits. A fraction belongs to seconds. */
static bool unix_parse(struct str s, uint64_t *ret_ns)
{
	uint64_t whole, nano, unit;

	if (!take_decimal(&s, &whole, &nano) || s.len)
		return false;
	unit = whole < 100000000000ull	       ? NS_PER_S
	       : whole < 100000000000000ull    ? NS_PER_MS
	       : whole < 100000000000000000ull ? NS_PER_US
					       : 1;
	if (whole > SECONDS_MAX * (NS_PER_S / unit))
		return false;
	*ret_ns = whole * unit + (unit == NS_PER_S ? nano : 0);
	return true;
}

static bool scaled_parse(struct str s, uint64_t unit, uint64_t *ret_ns)
{
	uint64_t v;

	if (!str_to_u64(s, &v) || v > SECONDS_MAX * (NS_PER_S / unit))
		return false;
	*ret_ns = v * unit;
	return true;
}

/* ---- parameters ---- */

static bool is_choice(const char *choices, struct str s)
{
	struct str left = str_of(choices);

	while (left.len) {
		ptrdiff_t bar = str_find(left, '|');
		struct str one = { left.p, bar < 0 ? left.len : (size_t)bar };

		if (str_eq(one, s))
			return true;
		left = str_from(left, one.len + 1);
	}
	return false;
}

static bool bool_parse(struct str s, uint64_t *ret)
{
	*ret = str_eq_nocase(s, STR("true")) || str_eq(s, STR("1"));
	return *ret || str_eq_nocase(s, STR("false")) || str_eq(s, STR("0"));
}

static bool step_parse(struct str s, uint64_t *ret_ns)
{
	uint64_t whole, nano;
	struct str left = s;

	if (duration_parse(s, ret_ns))
		return true;
	if (!take_decimal(&left, &whole, &nano) || left.len || whole > SECONDS_MAX)
		return false;
	*ret_ns = whole * NS_PER_S + nano;
	return true;
}

/* What it must be, in words. */
static const char *form_of(enum param_type type)
{
	switch (type) {
	case PARAM_BOOL: return "true or false";
	case PARAM_LOOKBACK:
	case PARAM_DURATION: return "a duration such as 1.5s, 10ms or 1h";
	case PARAM_STEP: return "a number of seconds or a duration such as 15s";
	case PARAM_TRACE_ID: return "a trace id: up to 32 hexadecimal digits, not all zero";
	case PARAM_TIME: return "a time: RFC 3339 or Unix time, from 1970 to 2255";
	case PARAM_TIME_US: return "Unix time in microseconds";
	case PARAM_TIME_MS: return "Unix time in milliseconds";
	case PARAM_TEXT:
	case PARAM_UINT:
	case PARAM_CHOICE: break;
	}
	return "valid";
}

static bool value_parse(const struct param *p, struct str s, struct arg *a)
{
	switch (p->type) {
	case PARAM_TEXT: return s.len >= p->min && s.len <= p->max;
	case PARAM_UINT:
		return str_to_u64(s, &a->number) && a->number >= p->min && a->number <= p->max;
	case PARAM_BOOL: return bool_parse(s, &a->number);
	case PARAM_CHOICE: return is_choice(p->choices, s);
	case PARAM_DURATION: return duration_parse(s, &a->number);
	case PARAM_LOOKBACK: return str_eq(s, STR("custom")) || duration_parse(s, &a->number);
	case PARAM_STEP: return step_parse(s, &a->number);
	case PARAM_TRACE_ID: return trace_id_parse(s, &a->id);
	case PARAM_TIME: return rfc3339_parse(s, &a->number) || unix_parse(s, &a->number);
	case PARAM_TIME_US: return scaled_parse(s, NS_PER_US, &a->number);
	case PARAM_TIME_MS: return scaled_parse(s, NS_PER_MS, &a->number);
	}
	return false;
}

int param_read(const struct param *p, struct str text, struct arg *ret, char why[PARAM_WHY_MAX])
{
	struct arg a = { .param = p, .text = text };

	if (value_parse(p, text, &a)) {
		*ret = a;
		return 0;
	}
	if (p->type == PARAM_UINT)
		snprintf(why, PARAM_WHY_MAX, "%s must be a number from %llu to %llu", p->name,
			 (unsigned long long)p->min, (unsigned long long)p->max);
	else if (p->type == PARAM_TEXT)
		snprintf(why, PARAM_WHY_MAX, "%s must have %llu to %llu bytes", p->name,
			 (unsigned long long)p->min, (unsigned long long)p->max);
	else if (p->type == PARAM_CHOICE)
		snprintf(why, PARAM_WHY_MAX, "%s must be one of %s", p->name, p->choices);
	else
		snprintf(why, PARAM_WHY_MAX, "%s must be %s", p->name, form_of(p->type));
	return -EINVAL;
}

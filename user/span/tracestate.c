/* SPDX-License-Identifier: Apache-2.0 */
/* W3C tracestate (Trace Context, 3.3): OpenTelemetry's member in it, read and written. */
#include "span/span.h"

#include <stdio.h>

#define THRESHOLD_DIGITS 14

/* Takes what comes before the separator. */
static struct str take_part(struct str *rest, char separator)
{
	ptrdiff_t at = str_find(*rest, separator);
	struct str part = at < 0 ? *rest : (struct str){ rest->p, (size_t)at };

	*rest = at < 0 ? (struct str){ NULL, 0 } : str_from(*rest, (size_t)at + 1);
	return str_trim(part);
}

/* The value of the member of that key. */
static struct str member_find(struct str state, struct str key)
{
	while (state.len) {
		struct str member = take_part(&state, ',');

		if (str_starts(member, key) && member.len > key.len && member.p[key.len] == '=')
			return str_from(member, key.len + 1);
	}
	return (struct str){ NULL, 0 };
}

/* "th:8;rv:1234": the value of th. */
static struct str sub_find(struct str value, struct str key)
{
	while (value.len) {
		struct str sub = take_part(&value, ';');

		if (str_starts(sub, key) && sub.len > key.len && sub.p[key.len] == ':')
			return str_from(sub, key.len + 1);
	}
	return (struct str){ NULL, 0 };
}

/* Up to 14 digits, the missing ones on the right being zeros. False for anything else. */
static bool read_hex56(struct str digits, uint64_t *ret)
{
	uint64_t v = 0;

	if (!digits.len || digits.len > THRESHOLD_DIGITS)
		return false;
	for (size_t i = 0; i < THRESHOLD_DIGITS; i++) {
		char c = i < digits.len ? digits.p[i] : '0';
		unsigned int d;

		if (c >= '0' && c <= '9')
			d = (unsigned int)(c - '0');
		else if (c >= 'a' && c <= 'f')
			d = (unsigned int)(c - 'a') + 10;
		else
			return false;
		v = v << 4 | d;
	}
	*ret = v;
	return true;
}

uint64_t tracestate_threshold(struct str trace_state)
{
	uint64_t v = 0;

	if (trace_state.len)
		read_hex56(sub_find(member_find(trace_state, STR("ot")), STR("th")), &v);
	return v;
}

uint64_t trace_randomness(const struct trace_id *id, struct str trace_state)
{
	struct str rv = { NULL, 0 };
	uint64_t v = 0;

	if (trace_state.len)
		rv = sub_find(member_find(trace_state, STR("ot")), STR("rv"));
	if (rv.len == THRESHOLD_DIGITS && read_hex56(rv, &v))
		return v;
	for (size_t i = 9; i < 16; i++)
		v = v << 8 | id->b[i];
	return v;
}

/* Appends; past the end it only counts. */
static void append(char buf[TRACESTATE_MAX], size_t *len, const char *before, struct str text)
{
	size_t add = strlen(before) + text.len;

	if (*len + add < TRACESTATE_MAX)
		snprintf(buf + *len, TRACESTATE_MAX - *len, "%s" STR_FMT, before, STR_ARG(text));
	*len += add;
}

struct str tracestate_with_threshold(struct str trace_state, uint64_t threshold,
				     char buf[TRACESTATE_MAX])
{
	struct str ours = member_find(trace_state, STR("ot"));
	char digits[THRESHOLD_DIGITS + 1];
	size_t len = 0, used = THRESHOLD_DIGITS;

	snprintf(digits, sizeof(digits), "%014llx", (unsigned long long)threshold);
	while (used > 1 && digits[used - 1] == '0')
		used--;
	append(buf, &len, "ot=th:", (struct str){ digits, used });
	while (ours.len) {
		struct str sub = take_part(&ours, ';');

		if (sub.len && !str_starts(sub, STR("th:")))
			append(buf, &len, ";", sub);
	}
	while (trace_state.len) {
		struct str member = take_part(&trace_state, ',');

		if (member.len && !str_starts(member, STR("ot=")))
			append(buf, &len, ",", member);
	}
	return len < TRACESTATE_MAX ? (struct str){ buf, len } : (struct str){ NULL, 0 };
}

double span_adjusted_count(const struct span *s)
{
	uint64_t threshold = s->trace_state.len ? tracestate_threshold(s->trace_state) : 0;

	return (double)THRESHOLD_ALL / (double)(THRESHOLD_ALL - threshold);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Trace and span ids as people and programs write them. */
#include "span/span.h"

/* Right-aligned into len bytes; zeros may stand in front of what does not fit. */
static bool parse_hex(struct str text, uint8_t *out, size_t len)
{
	memset(out, 0, len);
	for (size_t i = 0; i < text.len; i++) {
		size_t from_right = text.len - 1 - i;
		int digit = char_hex(text.p[i]);

		if (digit < 0 || (from_right >= 2 * len && digit))
			return false;
		if (from_right < 2 * len)
			out[len - 1 - from_right / 2] |=
				(uint8_t)(from_right % 2 ? digit << 4 : digit);
	}
	return text.len > 0;
}

/* 8-4-4-4-12 digits; out takes them without the dashes. */
static bool is_uuid(struct str text, char out[32])
{
	size_t cnt = 0;

	if (text.len != 36)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash != (text.p[i] == '-'))
			return false;
		if (!dash)
			out[cnt++] = text.p[i];
	}
	return true;
}

bool trace_id_parse(struct str text, struct trace_id *ret)
{
	struct trace_id id;
	char digits[32];

	if (is_uuid(text, digits))
		text = (struct str){ digits, sizeof(digits) };
	if (!parse_hex(text, id.b, sizeof(id.b)) || !trace_id_is_set(&id))
		return false;
	*ret = id;
	return true;
}

bool span_id_parse(struct str text, struct span_id *ret)
{
	struct span_id id;

	if (!parse_hex(text, id.b, sizeof(id.b)) || !span_id_is_set(&id))
		return false;
	*ret = id;
	return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Checking and repairing UTF-8. Nearly all text is ASCII: that path goes eight bytes at a time. */
#include "core/utf8.h"

#define HIGH_BITS 0x8080808080808080ull

/* How many leading bytes are ASCII, in steps of eight and then of one. */
static size_t ascii_run(struct str s)
{
	size_t i = 0;
	uint64_t word;

	for (; i + sizeof(word) <= s.len; i += sizeof(word)) {
		memcpy(&word, s.p + i, sizeof(word));
		if (word & HIGH_BITS)
			break;
	}
	while (i < s.len && (uint8_t)s.p[i] < 0x80)
		i++;
	return i;
}

/* Continuation bytes that follow a lead byte, -1 for a byte that cannot lead; the range of the
 * first of them excludes overlong forms, surrogates and what is past U+10FFFF. */
static int lead_byte(uint8_t b, uint8_t *ret_low, uint8_t *ret_high)
{
	*ret_low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
	*ret_high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
	if (b < 0x80)
		return 0;
	if (b < 0xc2 || b > 0xf4)
		return -1;
	return b < 0xe0 ? 1 : b < 0xf0 ? 2 : 3;
}

bool utf8_step(struct str s, size_t *ret_len)
{
	uint8_t low, high;
	int more = lead_byte((uint8_t)s.p[0], &low, &high);

	*ret_len = 1;
	for (int i = 1; i <= more; i++) {
		if ((size_t)i >= s.len || (uint8_t)s.p[i] < low || (uint8_t)s.p[i] > high)
			return false;
		*ret_len = (size_t)i + 1;
		low = 0x80;
		high = 0xbf;
	}
	return more >= 0;
}

/* Whether there is no byte past 0x7f; the last eight bytes may be read twice. */
static bool all_ascii(struct str s)
{
	uint64_t seen = 0, word;
	size_t i = 0;

	if (s.len < sizeof(word)) {
		while (i < s.len)
			seen |= (uint8_t)s.p[i++];
		return seen < 0x80;
	}
	for (; i + sizeof(word) <= s.len; i += sizeof(word)) {
		memcpy(&word, s.p + i, sizeof(word));
		seen |= word;
	}
	memcpy(&word, s.p + s.len - sizeof(word), sizeof(word));
	return !((seen | word) & HIGH_BITS);
}

bool utf8_valid(struct str s)
{
	size_t len;

	if (all_ascii(s))
		return true;
	for (;;) {
		s = str_from(s, ascii_run(s));
		if (!s.len)
			return true;
		if (!utf8_step(s, &len))
			return false;
		s = str_from(s, len);
	}
}

size_t utf8_clean_len(struct str s)
{
	size_t sum = 0, len;

	for (; s.len; s = str_from(s, len))
		sum += utf8_step(s, &len) ? len : sizeof(UTF8_REPLACEMENT) - 1;
	return sum;
}

void utf8_clean(struct str s, char *out)
{
	size_t len;

	for (; s.len; s = str_from(s, len)) {
		struct str from =
			utf8_step(s, &len) ? (struct str){ s.p, len } : STR(UTF8_REPLACEMENT);
		memcpy(out, from.p, from.len);
		out += from.len;
	}
}

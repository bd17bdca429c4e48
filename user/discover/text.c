/* SPDX-License-Identifier: Apache-2.0 */
/* Key and value pairs, cleaned of what a terminal or a protobuf string cannot bear. */
#include "discover/internal.h"

/* Length of the valid UTF-8 sequence at p (RFC 3629), 0 when there is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80	     ? 1
		     : (p[0] & 0xe0) == 0xc0 ? 2
		     : (p[0] & 0xf0) == 0xe0 ? 3
		     : (p[0] & 0xf8) == 0xf0 ? 4
					     : 0;
	uint32_t code;

	if (len < 2 || len > left)
		return len > left ? 0 : len;
	code = p[0] & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return len;
}

/* U+0080 to U+009F steer terminals as ESC does. */
static bool is_control(const unsigned char *p, size_t len)
{
	return (len == 1 && (p[0] < 0x20 || p[0] == 0x7f)) ||
	       (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

static size_t clean(char *out, struct str s, size_t max)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t len = 0;

	for (size_t i = 0; i < s.len;) {
		size_t n = utf8_len(p + i, s.len - i);

		if (!n || is_control(p + i, n)) {
			if (len + 1 > max)
				break;
			out[len++] = '?';
			i += n ? n : 1;
			continue;
		}
		if (len + n > max)
			break;
		memcpy(out + len, p + i, n);
		len += n;
		i += n;
	}
	return len;
}

bool text_has(const struct text *t, struct str key)
{
	struct str left = { t->p, t->len }, name, value;

	while (args_next(&left, &name) && args_next(&left, &value)) {
		if (str_eq(name, key))
			return true;
	}
	return false;
}

void text_add_pair(struct text *t, struct str key, struct str value, size_t max)
{
	size_t room = t->cap - t->len, key_len, value_len;

	if (!key.len || !value.len || room < key.len + 3 || text_has(t, key))
		return;
	key_len = clean(t->p + t->len, key, key.len);
	t->p[t->len + key_len] = '\0';
	room -= key_len + 2;
	value_len = clean(t->p + t->len + key_len + 1, value, MIN(max, room));
	t->p[t->len + key_len + 1 + value_len] = '\0';
	t->len += key_len + value_len + 2;
}

void text_add(struct text *t, const char *key, struct str value, size_t max)
{
	text_add_pair(t, str_of(key), value, max);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Key and value pairs, cleaned of what a terminal or a protobuf string cannot bear. */
#include "discover/internal.h"
#include "core/utf8.h"

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
		size_t n;
		bool valid = utf8_step(str_from(s, i), &n);

		if (!valid || is_control(p + i, n)) {
			if (len + 1 > max)
				break;
			out[len++] = '?';
			i += n;
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

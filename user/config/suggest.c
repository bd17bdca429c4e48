/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": edit distance with swapped neighbours counted as one step. */
#include "config/internal.h"

#include <stdio.h>

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	return MIN(MIN(a, b), c);
}

/* Optimal string alignment distance; both at most NAME_MAX_LEN - 1 long. */
static unsigned int distance(struct str a, struct str b)
{
	unsigned int rows[3][NAME_MAX_LEN + 1];
	unsigned int *before = rows[0], *last = rows[1], *now = rows[2];

	for (size_t j = 0; j <= b.len; j++)
		last[j] = (unsigned int)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned int *spare = before;

		now[0] = (unsigned int)i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned int cost = a.p[i - 1] != b.p[j - 1];
			now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
				now[j] = MIN(now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[b.len];
}

struct suggest suggest_for(struct str wanted)
{
	struct suggest s = { .wanted = wanted };

	/* a third of the letters wrong is a typing slip, more is another word */
	s.distance = (unsigned int)MIN(wanted.len / 3, (size_t)3) + 1;
	return s;
}

void suggest_offer(struct suggest *s, struct str name)
{
	unsigned int d;

	if (!s->wanted.len || s->wanted.len >= NAME_MAX_LEN || name.len >= NAME_MAX_LEN)
		return;
	d = distance(s->wanted, name);
	if (d >= s->distance)
		return;
	s->distance = d;
	memcpy(s->best, name.p, name.len);
	s->best[name.len] = '\0';
}

const char *suggest_text(const struct suggest *s, const char *prefix, char out[NAME_MAX_LEN + 32])
{
	if (!s->best[0])
		return "";
	snprintf(out, NAME_MAX_LEN + 32, "; did you mean %s%s?", prefix, s->best);
	return out;
}

struct suggest suggest_option(struct str wanted, enum command command)
{
	char plain[NAME_MAX_LEN];
	struct suggest s;

	if (wanted.len < sizeof(plain)) {
		for (size_t i = 0; i < wanted.len; i++)
			plain[i] = wanted.p[i] == '_' ? '-' : wanted.p[i];
		wanted.p = plain;
	}
	s = suggest_for(wanted);
	for (size_t i = 0; i < config_table_cnt; i++) {
		if (command == COMMAND_NONE || option_belongs(&config_table[i], command))
			suggest_offer(&s, str_of(config_table[i].name));
	}
	s.wanted = (struct str){ NULL, 0 };
	return s;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Traces by their marks: sets of them, and lists in which a mark is found at once. */
#include "store/block_filter.h"

#include <errno.h>
#include <stdlib.h>

/* Bits of a set for each mark in it, and their least and largest number. */
#define BITS_EACH 32u
#define BITS_MIN  (1u << 10)
#define BITS_MAX  (1u << 27)

#define MARK_BITS 40u

int mark_set_init(struct mark_set *m, uint64_t marks)
{
	uint64_t bits = BITS_MIN;

	while (bits < marks * BITS_EACH && bits < BITS_MAX)
		bits *= 2;
	m->mask = bits - 1;
	m->word = calloc(bits / 64, sizeof(*m->word));
	return m->word ? 0 : -ENOMEM;
}

void sort_numbers(uint64_t *v, uint64_t *scratch, uint32_t cnt, uint32_t low, uint32_t high)
{
	uint64_t *from = v, *to = scratch;

	for (uint32_t shift = low; shift < high; shift += 8) {
		uint32_t first[257] = { 0 };
		uint64_t *done = to;

		for (uint32_t i = 0; i < cnt; i++)
			first[(from[i] >> shift & 255) + 1]++;
		for (int i = 0; i < 256; i++)
			first[i + 1] += first[i];
		for (uint32_t i = 0; i < cnt; i++)
			to[first[from[i] >> shift & 255]++] = from[i];
		to = from;
		from = done;
	}
	if (from != v)
		memcpy(v, from, cnt * sizeof(*v));
}

int apart_begin(struct apart *a, uint64_t known, uint32_t cnt)
{
	uint32_t bits = 1;

	while (bits < 30 && 1u << bits < cnt)
		bits++;
	*a = (struct apart){ .known = known, .cnt = cnt, .shift = MARK_BITS - bits };
	a->mark = malloc(((size_t)cnt + 1) * sizeof(*a->mark));
	a->from = malloc((((size_t)1 << bits) + 1) * sizeof(*a->from));
	return a->mark && a->from ? mark_set_init(&a->set, cnt) : -ENOMEM;
}

void apart_ready(struct apart *a)
{
	uint32_t lists = 1u << (MARK_BITS - a->shift), i = 0;

	for (uint32_t n = 0; n <= lists; n++) {
		while (i < a->cnt && a->mark[i] >> a->shift < n)
			i++;
		a->from[n] = i;
	}
	for (i = 0; i < a->cnt; i++)
		mark_set_add(&a->set, a->mark[i]);
}

void apart_end(struct apart *a)
{
	free(a->mark);
	free(a->from);
	free(a->set.word);
	free(a->parts);
}

uint32_t apart_find(const struct apart *a, uint64_t mark)
{
	uint64_t list;

	mark &= a->known;
	list = mark >> a->shift;
	if (!a->cnt || !mark_set_has(&a->set, mark))
		return APART_NOT;
	for (uint32_t i = a->from[list]; i < a->from[list + 1]; i++)
		if (a->mark[i] == mark)
			return i;
	return APART_NOT;
}

void apart_note(struct apart *a, struct str filter)
{
	struct filter_view f;

	filter_parse(filter, &f);
	for (size_t i = 0; i < f.traces.len / 4; i++) {
		uint32_t at = apart_find(a, filter_mark(&f, i));

		if (at != APART_NOT)
			a->parts[at] += a->parts[at] < UINT8_MAX;
	}
}

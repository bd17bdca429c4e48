/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the backward writer that are not worth inlining. */
#include "export/pack.h"

#include <stdlib.h>

#include "core/utf8.h"

#define PACK_FIRST_SIZE 4096

void pack_fini(struct packer *w)
{
	free(w->mem);
	*w = (struct packer){ 0 };
}

bool pack_grow(struct packer *w, size_t n)
{
	size_t size = w->size ? w->size : PACK_FIRST_SIZE;
	uint8_t *mem;

	while (size - w->len < n && size <= SIZE_MAX / 2)
		size *= 2;
	mem = size - w->len < n ? NULL : malloc(size);
	if (!mem) {
		w->failed = true;
		return false;
	}
	if (w->len)
		memcpy(mem + size - w->len, pack_start(w), w->len);
	free(w->mem);
	w->mem = mem;
	w->size = size;
	return true;
}

/* Copies, and says whether all of it is ASCII; most text is. */
static bool copy_ascii(uint8_t *to, struct str s)
{
	uint64_t word, high = 0;
	size_t i = 0;

	for (; i + 8 <= s.len; i += 8) {
		memcpy(&word, s.p + i, 8);
		memcpy(to + i, &word, 8);
		high |= word;
	}
	if (i && i < s.len) { /* the last eight, some of them again */
		memcpy(&word, s.p + s.len - 8, 8);
		memcpy(to + s.len - 8, &word, 8);
		high |= word;
		i = s.len;
	}
	for (; i < s.len; i++) {
		to[i] = (uint8_t)s.p[i];
		high |= to[i];
	}
	return !(high & 0x8080808080808080ull);
}

void pack_str_always(struct packer *w, uint32_t field, struct str s)
{
	uint8_t *to = pack_room(w, s.len);
	size_t len = s.len;

	if (!to)
		return;
	if (!copy_ascii(to, s) && !utf8_valid(s)) {
		w->len -= s.len;
		len = utf8_clean_len(s);
		to = pack_room(w, len);
		if (to)
			utf8_clean(s, (char *)to);
	}
	pack_len(w, field, len);
}

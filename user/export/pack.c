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

void pack_str_always(struct packer *w, uint32_t field, struct str s)
{
	size_t len = s.len;
	uint8_t *to;

	if (utf8_valid(s)) {
		pack_raw(w, s.p, s.len);
	} else {
		len = utf8_clean_len(s);
		to = pack_room(w, len);
		if (to)
			utf8_clean(s, (char *)to);
	}
	pack_len(w, field, len);
}

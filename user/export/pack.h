/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes protobuf from the last byte to the first. A message's length stands before its content,
 * and backwards it is known by the time it is written: one pass, no sizing, no tree. Fields are
 * therefore written in falling order of their numbers, lists from their last item.
 *
 * Fields of proto3 without presence are left out when they are zero or empty, as generated code
 * leaves them out.
 */
#ifndef EXPORT_PACK_H
#define EXPORT_PACK_H

#include "core/str.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2, WIRE_FIXED32 = 5 };

/* A zeroed struct is an empty packer. What was written is the last len bytes of mem. */
struct packer {
	uint8_t *mem; /* owned */
	size_t size;
	size_t len;
	bool failed; /* no memory; stays set until pack_clear */
};

void pack_fini(struct packer *w);
/* Moves what was written into more memory, with room for n more. */
bool pack_grow(struct packer *w, size_t n);

static inline void pack_clear(struct packer *w)
{
	w->len = 0;
	w->failed = false;
}

static inline const uint8_t *pack_start(const struct packer *w)
{
	return w->mem + w->size - w->len;
}

/* Room for n bytes before what was written; NULL, and failed, without memory. */
static inline uint8_t *pack_room(struct packer *w, size_t n)
{
	if (n > w->size - w->len && !pack_grow(w, n))
		return NULL;
	w->len += n;
	return w->mem + w->size - w->len;
}

static inline void pack_raw(struct packer *w, const void *p, size_t len)
{
	uint8_t *to = pack_room(w, len);

	if (to && len)
		memcpy(to, p, len);
}

static inline void pack_varint(struct packer *w, uint64_t v)
{
	unsigned int len = (70u - (unsigned int)__builtin_clzll(v | 1)) / 7;
	uint8_t *to = pack_room(w, len);

	if (!to)
		return;
	for (; len > 1; len--) {
		*to++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*to = (uint8_t)v;
}

static inline void pack_tag(struct packer *w, uint32_t field, enum wire_type type)
{
	pack_varint(w, field << 3 | type);
}

/* Tag and length of the len bytes written last; mostly one byte each. */
static inline void pack_len(struct packer *w, uint32_t field, size_t len)
{
	uint8_t *to;

	if (field < 16 && len < 128) {
		to = pack_room(w, 2);
		if (!to)
			return;
		to[0] = (uint8_t)(field << 3 | WIRE_LEN);
		to[1] = (uint8_t)len;
		return;
	}
	pack_varint(w, len);
	pack_tag(w, field, WIRE_LEN);
}

/* Ends a message that began, backwards, when w->len was mark. */
static inline void pack_close(struct packer *w, uint32_t field, size_t mark)
{
	pack_len(w, field, w->len - mark);
}

static inline void pack_u64(struct packer *w, uint32_t field, uint64_t v)
{
	if (!v)
		return;
	pack_varint(w, v);
	pack_tag(w, field, WIRE_VARINT);
}

/* The wire is little-endian, and so is every machine this is built for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fixed fields are copied as they are");
static inline void pack_fixed64(struct packer *w, uint32_t field, uint64_t v)
{
	if (!v)
		return;
	pack_raw(w, &v, sizeof(v));
	pack_tag(w, field, WIRE_FIXED64);
}

static inline void pack_fixed32(struct packer *w, uint32_t field, uint32_t v)
{
	if (!v)
		return;
	pack_raw(w, &v, sizeof(v));
	pack_tag(w, field, WIRE_FIXED32);
}

/* Written even when empty: members of a oneof. */
static inline void pack_bytes_always(struct packer *w, uint32_t field, const void *p, size_t len)
{
	pack_raw(w, p, len);
	pack_len(w, field, len);
}

static inline void pack_bytes(struct packer *w, uint32_t field, const void *p, size_t len)
{
	if (len)
		pack_bytes_always(w, field, p, len);
}

/* Text: ill-formed UTF-8 becomes U+FFFD, since receivers may refuse the whole request for it. */
void pack_str_always(struct packer *w, uint32_t field, struct str s);

static inline void pack_str(struct packer *w, uint32_t field, struct str s)
{
	if (s.len)
		pack_str_always(w, field, s);
}

#endif

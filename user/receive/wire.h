/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf's wire format, field by field. Groups are malformed: nothing of ours has them. */
#ifndef RECEIVE_WIRE_H
#define RECEIVE_WIRE_H

#include "core/cursor.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2, WIRE_FIXED32 = 5 };

/* For switch (f.tag): a field that comes with another type than declared is an unknown one. */
#define WIRE(field, type) ((field) << 3 | WIRE_##type)

struct wire {
	uint64_t tag;
	uint64_t number;  /* of VARINT and FIXED */
	struct str bytes; /* of LEN */
};

static inline uint64_t take_varint(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 70 && c->p < c->end; shift += 7) {
		uint8_t b = *c->p++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80)
			return v;
	}
	c->bad = true;
	return 0;
}

/* Lengths and tags of one byte first: nearly all are. */
#define WIRE_INLINE static inline __attribute__((always_inline))

WIRE_INLINE uint64_t take_short(struct cursor *c)
{
	return __builtin_expect(c->p < c->end && *c->p < 0x80, 1) ? *c->p++ : take_varint(c);
}

/* Varints and fixed fields; false for what is none of them. */
static inline bool wire_number(struct cursor *c, struct wire *f)
{
	size_t size = (f->tag & 7) == WIRE_FIXED64 ? 8 : 4;
	const uint8_t *p;

	f->number = 0;
	if ((f->tag & 7) == WIRE_VARINT) {
		f->number = take_varint(c);
	} else if ((f->tag & 7) == WIRE_FIXED64 || (f->tag & 7) == WIRE_FIXED32) {
		p = take(c, size);
		if (p)
			memcpy(&f->number, p, size);
	} else {
		c->bad = true;
	}
	return !c->bad;
}

/* The next field; false at the end and for malformed bytes: c->bad tells which. */
WIRE_INLINE bool wire_next(struct cursor *c, struct wire *f)
{
	uint64_t len;

	if (c->p == c->end)
		return false;
	f->tag = take_short(c);
	if (__builtin_expect((f->tag & 7) != WIRE_LEN, 0))
		return wire_number(c, f);
	len = take_short(c);
	if (__builtin_expect(c->bad || len > cursor_left(c), 0)) {
		c->bad = true;
		return false;
	}
	f->bytes = (struct str){ (const char *)c->p, len };
	c->p += len;
	return true;
}

/* Fixed fields are copied as they are. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian");

#endif

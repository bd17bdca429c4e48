/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files block*.c share: the layout of a body, and the encodings of integers and values.
 *
 * Body: head, directory (one zstd frame), sections. The rows of a trace stand together, traces in
 * the order in which they came. Columns hold one value a row; an attribute's column (one for each
 * key and type) holds one value for each occurrence, and a row's shape (the ordered list of its
 * attributes' columns) says which columns its values stand in.
 *
 * An integer column is a base and differences of equal width, so that any element is found without
 * reading the others: whole bytes, compressed, or packed bits where that is not much larger, since
 * they need no decompressing. A text column holds each
 * string once and an integer column of their numbers, or, where most strings differ, every row's
 * string in order.
 */
#ifndef STORE_BLOCK_FORMAT_H
#define STORE_BLOCK_FORMAT_H

#include "core/buf.h"
#include "core/cursor.h"
#include "store/block.h"

#include <endian.h>
#include <xxhash.h>

#define BODY_MAGIC    0x31425454u /* TTB1 */
#define BODY_HEAD_LEN 16u	  /* magic; directory: stored length, raw length, checksum */
/* The widest, in bits, that may begin within a byte: eight bytes hold it then. */
#define INTS_PACKED_MAX 57u
#define SECTION_RAW_MAX (64u << 20)
#define BODY_RAW_MAX	(192u << 20)
#define COLUMNS_MAX	16384u
/* A span takes at most this much memory, as it stands in struct span. */
#define BLOCK_SPAN_BYTES_MAX (8u << 20)

enum body_ints {
	INTS_TRACE_ROWS,  /* a trace: its rows */
	INTS_TRACE_START, /* a trace: earliest start */
	INTS_START,	  /* after the trace's */
	INTS_DURATION,	  /* end - start */
	INTS_PARENT, /* 0: none; 1: the next of BYTES_PARENTS; 2 + the parent's place in the trace
		      */
	INTS_KIND,
	INTS_STATUS,
	INTS_FLAGS,
	INTS_RESOURCE,
	INTS_SCOPE,
	INTS_SHAPE,
	INTS_DETAIL, /* bytes in BYTES_DETAILS: events, links and what else few spans have */
	INTS_CNT,
};

enum body_bytes {
	BYTES_TRACE_IDS,
	BYTES_SPAN_IDS,
	BYTES_PARENTS, /* that are not in the block */
	BYTES_RESOURCES,
	BYTES_SCOPES,
	BYTES_SHAPES,
	BYTES_DETAILS,
	BYTES_CNT,
};

/* How the values of a type are kept. */
static inline bool type_is_text(enum value_type t)
{
	return t == VALUE_STR || t == VALUE_BYTES || t == VALUE_ARRAY || t == VALUE_KVLIST;
}

static inline bool type_is_int(enum value_type t)
{
	return t == VALUE_BOOL || t == VALUE_INT || t == VALUE_DOUBLE;
}

static inline uint32_t body_check(const void *p, size_t len)
{
	return (uint32_t)XXH3_64bits(len ? p : "", len);
}

static inline uint64_t load_u64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* ---- encoding; failures stay in the buffer ---- */

void put_varint(struct buf *b, uint64_t v);
void put_u32(struct buf *b, uint32_t v);
void put_u64(struct buf *b, uint64_t v);
void put_text(struct buf *b, struct str s);
/* What VALUE_DEPTH_MAX forbids sets b->failed. */
void put_value(struct buf *b, const struct value *v);
void put_attrs(struct buf *b, const struct attrs *a);
/* A value of a known type, without it: what a column of lists holds. */
void put_list(struct buf *b, const struct value *v);

uint64_t take_varint(struct cursor *c);
struct str take_text(struct cursor *c);
/* Strings are borrowed, lists allocated. Malformed or without room: c->bad. */
void take_value(struct cursor *c, struct arena *mem, struct value *ret_value);
void take_attrs(struct cursor *c, struct arena *mem, struct attrs *ret_attrs);
void take_list(struct cursor *c, struct arena *mem, enum value_type type, struct value *ret_value);

/* ---- what few spans have ---- */

bool has_details(const struct span *s);
void put_details(struct buf *b, const struct span *s);
/* Into the span; false when malformed. */
bool take_details(struct str from, struct arena *mem, struct span *s);

/* What spans share. The resource's service and hash are as they were; nothing is counted. */
void put_resource(struct buf *b, const struct resource *r);
void take_resource(struct cursor *c, struct arena *mem, struct resource *ret);
void put_scope(struct buf *b, const struct scope *s);
void take_scope(struct cursor *c, struct arena *mem, struct scope *ret);

/* ---- filters: head, operations, tags, marks of traces, bloom of pairs, whole traces ---- */

#define FILTER_MAGIC	 0x33465454u /* TTF3 */
#define FILTER_MAGIC_OLD 0x32465454u /* TTF2: an operation's kind stands alone, no whole traces */
#define FILTER_PARTS	 5
#define FILTER_PARTS_OLD 4
#define FILTER_HEAD_LEN	 (8u + 4 * FILTER_PARTS) /* magic, checksum, lengths */
#define BLOOM_HASHES	 7
/* Types whose values are looked for in the bloom of pairs. */
#define INDEXED_TYPES (1u << VALUE_STR | 1u << VALUE_BOOL | 1u << VALUE_INT)

static inline uint64_t text_hash(struct str s)
{
	return XXH3_64bits(s.len ? s.p : "", s.len);
}

static inline uint64_t pair_key(enum field_kind kind, struct str key, enum value_type type)
{
	return text_hash(key) + (uint64_t)kind * 16 + type;
}

static inline uint64_t pair_hash(uint64_t key, uint64_t value)
{
	uint64_t h = (key ^ (value * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;

	return h ^ h >> 32;
}

/* False for types that are not indexed. */
static inline bool value_pair(enum field_kind kind, struct str key, const struct value *v,
			      uint64_t *ret)
{
	uint64_t bits;

	if (v->type == VALUE_STR)
		bits = text_hash(v->str);
	else if (v->type == VALUE_INT || v->type == VALUE_BOOL)
		bits = v->type == VALUE_INT ? (uint64_t)v->i : v->b;
	else
		return false;
	*ret = pair_hash(pair_key(kind, key, v->type), bits) | 1;
	return true;
}

/* What the filter keeps of a trace's hash. */
static inline uint32_t trace_mark(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

/* The same and eight bits more, which stand apart: of ten million traces some fifty share one. */
static inline uint64_t trace_long_mark(uint64_t hash)
{
	return hash >> 24;
}

/* The last part: of the block's traces the longest in ns, the most ns that durations of one add up
 * to, flags; of each, in the order of their
 * marks, the rest of its mark and its spans, a byte each; of those without a span that has no
 * parent their places, the first and the steps between. */
#define WHOLE_DOUBLED 1u   /* two spans of one have the same id */
#define WHOLE_MANY    255u /* spans, or more */

static inline uint32_t bloom_bit(uint64_t h, uint32_t i, uint32_t bytes)
{
	uint32_t mix = (uint32_t)h + i * ((uint32_t)(h >> 32) | 1);

	return (uint32_t)((uint64_t)mix * ((uint64_t)bytes * 8) >> 32);
}

#endif

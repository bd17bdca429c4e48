/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block being read. Sections are fetched, compared and decompressed when they are first needed;
 * everything that is indexed by what a body says was checked against what is there.
 */
#ifndef STORE_BLOCK_READ_H
#define STORE_BLOCK_READ_H

#include "store/block_format.h"

struct section {
	uint64_t off;
	uint32_t stored, raw, check;
	const uint8_t *data; /* with eight readable bytes behind it; NULL: not fetched yet */
};

#define SECTION_NONE UINT32_MAX

/* An integer column; p is NULL until it is loaded. */
struct ints {
	const uint8_t *p;
	uint64_t base, mask;
	uint32_t cnt, width; /* bits; whole bytes above INTS_PACKED_MAX */
	uint32_t section;    /* SECTION_NONE: all are the base */
};

static inline uint64_t ints_at(const struct ints *x, uint32_t i)
{
	size_t bit = (size_t)i * x->width;

	return x->base + (load_u64(x->p + bit / 8) >> bit % 8 & x->mask);
}

static inline uint64_t ints_size(const struct ints *x)
{
	return ((uint64_t)x->cnt * x->width + 7) / 8;
}

struct texts {
	bool plain;	   /* string i is row i's; else ids say which */
	struct ints lens;  /* the strings' */
	uint32_t section;  /* lengths and bytes */
	const char *bytes; /* NULL until loaded */
	uint32_t *off;	   /* cnt + 1 */
	struct ints ids;
};

static inline struct str texts_str(const struct texts *t, uint32_t i)
{
	return (struct str){ t->bytes + t->off[i], t->off[i + 1] - t->off[i] };
}

/* At most the number of strings, which is no string's: what a bad body says is not followed. */
static inline uint32_t texts_id(const struct texts *t, uint32_t row)
{
	uint64_t id = t->plain ? row : ints_at(&t->ids, row);

	return (uint32_t)MIN(id, t->lens.cnt);
}

struct read_column {
	struct str key;
	enum value_type type;
	uint32_t cnt; /* values */
	struct ints ints;
	struct texts texts;
	bool loaded;
};

struct read_shape {
	uint32_t first, cnt; /* of shape_column */
};

/* A scope of a resource, in the resource's memory: copies of a span share both. */
struct owned_scope {
	uint32_t resource, scope;
	struct scope *at;
};

struct block {
	struct block_source from;
	struct arena *mem;  /* all that lives as long as the block */
	struct arena *line; /* of the row being read */
	struct section *section;
	uint32_t section_cnt;
	uint32_t rows, traces;
	struct ints ints[INTS_CNT];
	uint32_t bytes[BYTES_CNT]; /* sections */
	struct texts names;
	struct read_column *column;
	uint32_t column_cnt;

	uint32_t resource_cnt, scope_cnt, shape_cnt;
	struct resource *resource; /* as they stand in their section; without references */
	struct str *resource_text;
	struct resource **owner; /* copies with a reference each, made when a span needs one */
	struct scope *scope;	 /* as they stand in their section */
	struct owned_scope *owned;
	uint32_t owned_slots;
	struct read_shape *shape;
	uint32_t *shape_column;
	uint32_t shape_most; /* attributes of the longest */

	/* by row, made when needed */
	uint32_t *trace_first; /* traces + 1 */
	uint64_t *start;
	uint32_t *outside;    /* parents outside the block before this row; NULL: there are none */
	uint32_t *detail_off; /* rows + 1; NULL: no row has any */
	uint32_t trace_at;    /* of the row read last */

	/* where in its columns a row's values begin */
	uint32_t *ordinal; /* by column: its next value at the row 'at' */
	uint32_t at;
	uint32_t *passed;     /* by shape: rows before it; scratch */
	uint32_t *checkpoint; /* the same of every CHECKPOINT_ROWS'th row */
	struct attr *attr;    /* room for shape_most */
};

/* ---- block_open.c: 0, -EBADMSG, -ENOMEM, or what the source said ---- */
int load_section(struct block *b, uint32_t i, const uint8_t **ret_data);
int load_ints(struct block *b, struct ints *x);
/* The strings alone; then also which row has which. cnt: of values that there must be. */
int load_strings(struct block *b, struct texts *t, uint32_t cnt);
int load_texts(struct block *b, struct texts *t, uint32_t cnt);
int load_column(struct block *b, struct read_column *c);

/* ---- block_load.c ---- */
int load_resources(struct block *b); /* without the rows' */
int load_scopes(struct block *b);
int load_shapes(struct block *b); /* and the rows' */
int load_traces(struct block *b); /* trace_first */
int load_starts(struct block *b);
int load_details(struct block *b);
struct str row_details(const struct block *b, uint32_t row);
int load_ids(struct block *b);

/* ---- block_read.c ---- */

/* What of a row is read. */
struct want {
	bool details;
	bool *column; /* NULL: all */
};
/* Wants one field more. */
void want_field(struct block *b, const struct field *f, struct want *w);
int load_wanted(struct block *b, const struct want *w);
/* The row as a span; borrowed until the next. After load_wanted(). */
int read_row(struct block *b, const struct want *w, uint32_t row, struct span *ret_span);
/* Value i of a column; lists go to b->line. */
int read_value(struct block *b, const struct read_column *c, uint32_t i, struct value *ret_value);
/* trace_id, span_id and parent_id; after load_ids(). */
int read_ids(struct block *b, uint32_t row, struct span *ret_span);

/* ---- block_field.c: an attribute of spans, by its key ---- */

#define FIELD_TYPES_MAX 8

struct attr_field {
	struct read_column *column[FIELD_TYPES_MAX]; /* that hold it, one for each type */
	uint32_t cnt;
	uint32_t *at;	/* owned; by row: which of the column's values; ROW_NONE: it has none */
	uint8_t *which; /* owned; by row: of column[] */
};

#define ROW_NONE UINT32_MAX

/* The columns of a key; nothing is read. */
void field_columns(struct block *b, struct str key, struct attr_field *ret);
/* Fills at and which: the span's first attribute of that key. */
int field_locate(struct block *b, struct str key, struct attr_field *f);
void field_fini(struct attr_field *f);

/* ---- block_scan.c ---- */

/* Bytes of 0 or 1, one for each row, of spans in the range that satisfy the condition. */
int match_rows(struct block *b, const struct cond *c, struct time_range r, uint64_t deadline_ns,
	       uint8_t *ret_mask);
/* The same of any spans, among rows in 'in'; ret_mask becomes a part of it. */
int match_among(struct block *b, const struct cond *c, uint64_t deadline_ns, const uint8_t *in,
		uint8_t *ret_mask);
/* The same of one comparison. */
int match_leaf(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out);

/* ---- block_kin.c, after load_traces() ---- */

static inline uint32_t trace_rows(const struct block *b, uint32_t t)
{
	return b->trace_first[t + 1] - b->trace_first[t];
}

/* The first trace from t on that has rows in the set; b->traces: there is none. */
uint32_t next_trace(const struct block *b, const uint8_t *set, uint32_t t);
/* NEED_TOPS, NEED_CHILD and those that follow: the set becomes what of it stands so to left, which
 * is overwritten. doubled: spans of a trace may have one id. 0, -EBADMSG, -ENOMEM. */
int block_relate(struct block *b, enum need_op op, bool doubled, uint8_t *left, uint8_t *set);

/* ---- block_need.c ---- */

/* Rows that are asked for what is needed of their traces. */
struct needing {
	struct block *b;
	uint64_t deadline_ns;
	bool doubled; /* spans of a trace may have one id */
	const uint16_t
		*bits; /* by row, 1 << need.bit: the conditions, where that is known; or NULL */
};

/* out: the need's set among the rows in 'in'. 0, -EBADMSG, -ETIMEDOUT, -EIO, -ENOMEM. */
int rows_of(const struct needing *x, const struct need *n, const uint8_t *in, uint8_t *out);
/* Of trace t, whose id stands among these. */
uint64_t trace_hash(const uint8_t *ids, uint32_t t);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block being filled: rows of numbers, and dictionaries of what the numbers stand for. Adding
 * looks things up and appends; sorting into columns is left to the seal.
 */
#ifndef STORE_BLOCK_BUILD_H
#define STORE_BLOCK_BUILD_H

#include "store/block_format.h"

#include <zstd.h>

/* ---- strings, each once, numbered in the order of their first coming ---- */

struct dict_entry {
	uint64_t hash;
	const char *p;
	uint32_t len;
};

struct dict {
	struct dict_entry *entry;
	uint32_t *slot; /* 1 + number; 0: free */
	uint32_t cnt;
	uint32_t size;	/* entries there is room for: half the slots */
	uint32_t shift; /* 64 - log2(slots) */
};

/* Where dictionaries live: freed all at once but for their tables. */
struct dict_home {
	struct arena *text;
	size_t held;   /* by tables */
	uint64_t salt; /* odd; no one outside can make slots collide */
};

#define DICT_NONE UINT32_MAX

/* The string's number; DICT_NONE without memory. */
uint32_t dict_add(struct dict *d, struct dict_home *home, struct str s);
void dict_fini(struct dict *d);

static inline struct str dict_str(const struct dict *d, uint32_t i)
{
	return (struct str){ d->entry[i].p, d->entry[i].len };
}

/* ---- the builder ---- */

struct column {
	struct str key;
	enum value_type type;
	struct dict dict; /* of texts */
	uint32_t cnt;	  /* values, and where they begin; known when sealed */
	uint32_t first;
};

/* A step in the tree of shapes: one more attribute. */
struct shape_node {
	uint32_t recent[4]; /* nodes that followed, 0: none */
	uint32_t turn;	    /* which of them is replaced next */
	uint32_t column;
	uint32_t parent;
	uint32_t depth; /* attributes up to here */
	uint32_t shape; /* 1 + number where spans end here */
	uint32_t last;	/* text that was added here last, or DICT_NONE */
};

struct row {
	struct span_id id, parent;
	uint64_t start_ns, end_ns;
	uint32_t trace, name, resource, scope, shape;
	uint32_t kind, status, flags;
	uint32_t value; /* of the first attribute */
	uint32_t detail, detail_len;
};

/* What was seen of a pointer, so that the thing behind it need not be encoded again. */
struct resource_memo {
	const struct resource *resource;
	uint64_t hash;
	uint32_t attrs, dropped;
	struct str schema_url;
	uint32_t number;
};

#define RESOURCE_MEMOS 64

struct block_builder {
	ZSTD_CCtx *zstd;
	struct dict_home home;
	struct row *row;
	uint32_t row_cnt, row_size;
	uint64_t *value;
	uint32_t value_cnt, value_size;
	uint32_t rows_before,
		values_before; /* in the last block: the next begins with room for them */
	struct buf detail;
	struct buf scratch; /* what is encoded to be looked up */

	struct dict traces, names, resources, scopes;
	struct dict columns; /* type and key */
	struct column *column;
	uint32_t column_size;
	struct dict steps; /* node and column */
	struct shape_node *node;
	uint32_t node_size;
	uint32_t *shape; /* the node where it ends */
	uint32_t shape_cnt, shape_size;

	struct resource_memo memo[RESOURCE_MEMOS];
	struct str scope_name, scope_version, scope_schema; /* of the last without attributes */
	uint32_t scope_last;
	uint32_t name_last;
	struct dict tags; /* kind and key: of scopes, events, links */
};

/* Makes room for cnt more items; false without memory. */
bool builder_grow(struct block_builder *b, void *items, uint32_t cnt, uint32_t more, uint32_t *size,
		  size_t item_size);

/* Empties it; false without memory, to be tried again. */
bool builder_reset(struct block_builder *b);

/* The columns of a shape, in order. */
void shape_columns(const struct block_builder *b, uint32_t shape, uint32_t *ret_columns,
		   uint32_t *ret_cnt);

/* ---- sealing ---- */

/* A block's rows in their final order and its attributes' values by column. */
struct sorted {
	uint32_t *order;       /* rows */
	uint32_t *trace_rows;  /* of a trace */
	uint64_t *trace_start; /* of a trace: earliest */
	uint64_t *value;       /* column after column */
	uint32_t *shape_first; /* where a shape's columns begin in shape_column */
	uint32_t *shape_column;
	uint64_t *parent; /* of a row, in the final order: as INTS_PARENT */
	bool doubled;	  /* two spans of a trace have the same id */
};

/* Fills ret_index; its filter holds what block_filter.c reads. */
int filter_build(struct block_builder *b, const struct sorted *s, struct block_index *ret_index);

#endif

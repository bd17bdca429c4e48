/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block: some thousand spans as compressed columns, and the small index beside it that says what
 * cannot be in it. Private to the room; knows nothing of files, SQLite or encryption.
 *
 * A body is a directory of sections, each compressed and checksummed on its own, so that a search
 * reads the columns that it needs. Everything of a span survives, bit for bit: events, links,
 * status message, scope, resource, tracestate, flags, dropped counts, nested values.
 *
 * Bodies and indexes come from a disk and are hostile: a bad one is -EBADMSG, never a crash.
 */
#ifndef STORE_BLOCK_H
#define STORE_BLOCK_H

#include "core/buf.h"
#include "store/store.h"

#define BLOCK_SPANS_MAX 16384u
#define BLOCK_BYTES_MAX (16u << 20) /* of a builder's memory */

/* ---- building ----------------------------------------------------------------------------- */

struct block_builder;
struct block_builder *block_builder_new(void);
/* Copies what it needs. 0; -ENOSPC: full, seal first; -E2BIG: this span alone is too large. */
int block_add(struct block_builder *b, const struct span *s);
uint32_t block_spans(const struct block_builder *b);
size_t block_memory(const struct block_builder *b);

/* What the container keeps beside a body, and reads without it. */
struct block_index {
	uint32_t spans;
	uint32_t traces;
	uint32_t errors;
	uint64_t start_min_ns, start_max_ns; /* of spans' start */
	uint64_t duration_max_ns;
	struct buf filter; /* trace ids, service and operation names, key=value pairs; tags */
};

/* Appends the body, fills the index (its filter is the caller's to free), empties the builder.
 * level: of zstd. 0 or -ENOMEM. */
int block_seal(struct block_builder *b, int level, struct buf *ret_body,
	       struct block_index *ret_index);
void block_builder_free(struct block_builder *b);

/* Marks, told from most others by one bit each; without words it holds all. */
struct mark_set {
	uint64_t *word;
	uint64_t mask; /* bits - 1 */
};

static inline bool mark_set_has(const struct mark_set *m, uint64_t mark)
{
	uint64_t bit = mark >> 8 & m->mask; /* the lowest of those that every filter knows */

	return !m->word || m->word[bit / 64] >> bit % 64 & 1;
}

static inline void mark_set_add(struct mark_set *m, uint64_t mark)
{
	uint64_t bit = mark >> 8 & m->mask;

	m->word[bit / 64] |= 1ull << bit % 64;
}

/* For so many marks; the caller frees the words. 0 or -ENOMEM. */
int mark_set_init(struct mark_set *m, uint64_t marks);

/* Traces that are looked for in many blocks: by their marks, in order. */
struct trace_place {
	uint32_t mark, place; /* among those that it was made of */
};
struct trace_set {
	struct mark_set set;
	struct trace_place *item;
	uint32_t cnt;
};
int trace_set_init(struct trace_set *s, const struct trace_id *ids, size_t cnt); /* 0, -ENOMEM */
void trace_set_fini(struct trace_set *s);

/* ---- the index ---------------------------------------------------------------------------- */

/* 0 or -EBADMSG. To be called once on what comes from a disk, before the others. */
int block_filter_check(struct str filter);
bool block_may_have_trace(struct str filter, const struct trace_id *id);
/* Of many: the places of those that it may have. How many; ret has room for all of them. */
uint32_t block_may_have_traces(struct str filter, const struct trace_set *s, uint32_t *ret);
/* Of its traces, at most max: the same 40 bits wherever a trace is. False: the low eight are not
 * known, and 0. */
bool block_marks(struct str filter, uint64_t *ret_marks, uint32_t *ret_cnt, uint32_t max);
/* False only when no span of the block can satisfy it. */
bool block_may_match(const struct block_index *x, struct str filter, const struct cond *c);
/* Each (service, name, kind) once; each (kind of attribute, key) once. */
void block_operations(struct str filter,
		      void (*visit)(void *ctx, struct str service, struct str name,
				    enum span_kind kind),
		      void *ctx);
void block_tags(struct str filter, void (*visit)(void *ctx, enum field_kind kind, struct str key),
		void *ctx);

/* ---- reading ------------------------------------------------------------------------------ */

/* Where a body lies: read copies len bytes at off; 0 or -errno. Sections are fetched on demand. */
struct block_source {
	void *ctx;
	int (*read)(void *ctx, uint64_t off, void *to, size_t len);
	uint64_t size;
};

struct block; /* of one thread; decompressed sections stay until it is closed */
int block_open(const struct block_source *from, struct block **ret_block);
void block_close(struct block *b);
size_t block_held(const struct block *b); /* bytes, of what was decompressed until now */
/* Each span of one of these traces, whole. visit as below. */
int block_traces(struct block *b, const struct trace_id *ids, size_t cnt,
		 bool (*visit)(void *ctx, const struct span *s), void *ctx);
/* The same with no more than store_trace_fields() says. */
int block_trace_fields(struct block *b, const struct trace_id *ids, size_t cnt,
		       const struct field *fields, size_t field_cnt,
		       bool (*visit)(void *ctx, const struct span *s), void *ctx);
/* As store_scan(), newest first. Returns 1 when the visitor ended it. */
int block_scan(struct block *b, const struct scan *q,
	       bool (*visit)(void *ctx, const struct span *s), void *ctx);
/* The same where it is known whether a trace has two spans with the same id (block_may_need). */
int block_scan_sifted(struct block *b, const struct scan *q, bool doubled,
		      bool (*visit)(void *ctx, const struct span *s), void *ctx);
/* Its two halves: which rows, as far as the floor goes now, then their spans. */
struct found_row {
	uint64_t start_ns;
	uint32_t row;
};
struct found_rows {
	struct found_row *row; /* owned */
	uint32_t cnt;
};
int block_find(struct block *b, const struct scan *q, bool doubled, struct found_rows *ret);
int block_visit(struct block *b, const struct scan *q, struct found_rows *f,
		bool (*visit)(void *ctx, const struct span *s), void *ctx);
void found_fini(struct found_rows *f);
/* As store_values(). */
int block_values(struct block *b, const struct field *f, const struct cond *where,
		 struct time_range r, bool (*visit)(void *ctx, const struct value *v), void *ctx);
/* Every section decompressed and its checksum compared. 0 or -EBADMSG. */
int block_verify(struct block *b);

/* ---- traces by what is needed of them ---- */

/* The most that all blocks together may have of a trace that is in several, by their filters. */
struct part_sum {
	uint32_t bits; /* 1 << need.bit: a span satisfies it; << 16: and has no parent */
	uint32_t spans;
	double lasts_ns;	   /* durations added */
	uint64_t start_ns, end_ns; /* of the first span, of the last to end */
};
#define PART_TOP (1u << 31) /* a span has no parent */
_Static_assert(16 + NEED_BIT_OF_ALL == 31, "that all have none says the same");

/* Some of the traces that are in several blocks. Searches share it; it is not changed once it is
 * made. */
struct apart {
	uint32_t refs;
	uint64_t known;	     /* which bits of marks all blocks have */
	uint64_t *mark;	     /* theirs, in order */
	uint32_t *from;	     /* by the highest bits of a mark: the first such; one more: cnt */
	uint32_t shift;	     /* to those bits */
	struct mark_set set; /* the same */
	uint8_t *parts;	     /* how many blocks have it; 255: or more; NULL: not asked for */
	uint32_t cnt;
};

/* By their bits from low to high, of whole bytes; as much scratch as numbers. */
void sort_numbers(uint64_t *v, uint64_t *scratch, uint32_t cnt, uint32_t low, uint32_t high);

/* Room for so many marks, which the caller fills in, in order; apart_ready() then. 0, -ENOMEM: to
 * be ended all the same. */
int apart_begin(struct apart *a, uint64_t known, uint32_t cnt);
void apart_ready(struct apart *a);
void apart_end(struct apart *a);
/* Where the mark of a trace stands, as much of it as is known; or APART_NOT. */
#define APART_NOT UINT32_MAX
uint32_t apart_find(const struct apart *a, uint64_t mark);
/* Adds one to the parts, which are there, of those that the block has. */
void apart_note(struct apart *a, struct str filter);

/*
 * Traces that are in one block alone are judged there; of the others those whose sums do not allow
 * it are held back at once. The rest passes until it has been put together, block by block.
 */
struct sieve {
	const struct need *need;
	struct apart *apart;
	bool *passes;	      /* of those that are apart */
	struct part_sum *sum; /* ... while that is being found out */
	bool any;	      /* of them passes */
	struct stitch *stitch;
	uint32_t blocks; /* that were put to it */
};

/* False only when no trace that is whole in the block has what is needed. doubled: there may be two
 * spans of a trace with the same id. */
bool block_may_need(const struct block_index *x, struct str filter, const struct sieve *s,
		    bool *ret_doubled);
/* Has the block one of the others that passes? */
bool block_has_apart(struct str filter, const struct sieve *s);
/* Adds to the sums of the others the most that the block may have of them. */
void block_sum_most(const struct block_index *x, struct str filter, struct sieve *s);
/* May a trace with this sum have what is needed? */
bool sum_may_need(const struct part_sum *sum, const struct need *n);
/* Bytes of 0 or 1, one for each row: leaves those of traces that the sieve lets through. */
int block_need(struct block *b, const struct sieve *s, bool doubled, uint64_t deadline_ns,
	       uint8_t *mask);

/* Traces put together from several blocks, as columns: no more of them than the need asks for. */
struct stitch;
/* Of those that pass, which it changes; all must outlive it. At most so many rows are kept of those
 * that are not complete: then these pass. NULL without memory. */
struct stitch *stitch_new(const struct need *need, const struct apart *of, bool *passes,
			  uint32_t rows_max);
/* Adds what the block has of them. 0; -EBADMSG, -ETIMEDOUT, -EIO, -ENOMEM: nothing. */
int block_stitch(struct block *b, struct stitch *s, uint64_t deadline_ns);
/* Judges those of which there are all parts, and forgets them; unless all: once it pays. 0,
 * -ENOMEM.
 */
int stitch_judge(struct stitch *s, bool all);
void stitch_free(struct stitch *s); /* NULL is fine */

#endif

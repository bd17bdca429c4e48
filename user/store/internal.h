/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the room: what an engine is, and what engines share.
 *
 * An engine is one row in store.c: its structs begin with struct store and struct store_writer, its
 * functions are as store.h says. 'open' alone sees the cfg, whose defaults are filled in.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "store/store.h"

struct store {
	const struct store_ops *ops;
};

struct store_writer {
	struct store *store;
};

struct store_ops {
	const char *scheme; /* cfg.where begins so; NULL: a directory */
	int (*open)(const struct store_cfg *cfg, struct store **ret_store, char why[STORE_WHY_MAX]);
	void (*close)(struct store *s);

	struct store_writer *(*writer_new)(struct store *s);
	void (*writer_push)(struct store_writer *w, const struct span *s);
	void (*writer_sync)(struct store_writer *w, struct store_ack ack);
	void (*writer_free)(struct store_writer *w);
	int (*admits)(struct store *s);

	/* unknown ids are left out; store_trace() is this with one id */
	int (*traces)(struct store *s, const struct trace_id *ids, size_t cnt,
		      struct trace_sink out);
	/* NULL: they come whole */
	int (*trace_fields)(struct store *s, const struct trace_id *ids, size_t cnt,
			    const struct field *fields, size_t field_cnt, struct trace_sink out);
	int (*scan)(struct store *s, const struct scan *q,
		    bool (*visit)(void *ctx, const struct span *sp), void *ctx);
	/* NULL: it has none */
	int (*sieve_new)(struct store *s, const struct need *need, uint64_t deadline_ns,
			 struct sieve **ret_sieve);
	int (*sieve_narrow)(struct store *s, struct sieve *sieve, uint32_t spans,
			    uint64_t deadline_ns);
	int (*services)(struct store *s, struct time_range r,
			void (*visit)(void *ctx, struct str service), void *ctx);
	int (*operations)(struct store *s, struct str service, struct time_range r,
			  void (*visit)(void *ctx, struct str service, struct str name,
					enum span_kind kind),
			  void *ctx);
	int (*tags)(struct store *s, struct time_range r,
		    void (*visit)(void *ctx, enum field_kind kind, struct str key), void *ctx);
	int (*values)(struct store *s, const struct field *f, const struct cond *where,
		      struct time_range r, uint32_t limit,
		      void (*visit)(void *ctx, const struct value *v), void *ctx);

	int (*stats)(struct store *s, struct store_stats *ret);
	int (*archive)(struct store *s, const struct trace_id *id, bool keep);
	/* NULL: cannot be listed */
	int (*archived)(struct store *s, void (*visit)(void *ctx, const struct trace_id *id),
			void *ctx);
	int64_t (*check)(struct store *s, void (*report)(void *ctx, const char *line), void *ctx);
	int (*rollups)(struct store *s, struct time_range r,
		       void (*visit)(void *ctx, const struct store_rollup *row), void *ctx);
};

void sieve_free(struct sieve *s); /* engine_sieve.c; NULL is fine */

extern const struct store_ops engine_embedded;	 /* engine.c */
extern const struct store_ops engine_clickhouse; /* clickhouse.c */

#define STORE_DEFAULT_COMMIT_MS	  50u
#define STORE_DEFAULT_QUEUE_BYTES ((size_t)64 << 20)

/* ---- traces put together from parts, in any order ------------------------------------------ */

/* Most spans of one trace that is put together; the rest is left out and the trace is marked
 * incomplete. */
#define GATHER_SPANS_MAX 1000000u

/* One row per id that is asked for; ids that are asked for twice share a row. */
struct gather;
/* NULL without memory. */
struct gather *gather_new(const struct trace_id *ids, size_t cnt);
/* Takes a copy; spans of other traces are passed over. 0 or -ENOMEM. */
int gather_add(struct gather *g, const struct span *s);
/* Spans that came twice are dropped, the rest is put in order; each trace that has spans is pushed,
 * in the order of ids. 0 or -ENOMEM. */
int gather_finish(struct gather *g, struct trace_sink out);
void gather_free(struct gather *g);

/* Is all that they say the same? The order of attributes counts. */
bool span_same(const struct span *a, const struct span *b);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans kept and found again: one interface, two engines.
 *
 * Embedded: a directory with one SQLite file per time partition, spans in compressed column blocks.
 * ClickHouse: the tables of the OpenTelemetry exporter for it, shared with other writers.
 *
 * Writing: each producer thread has a writer. A push copies what it needs and never waits; what
 * cannot be taken (queue full, disk full) is counted and is the result of the next sync. A sync
 * calls back when everything that was pushed before is durable (fdatasync; the engine's own
 * acknowledgement): at most cfg.commit_ms plus the time of the write later.
 *
 * Reading: any thread, also while others write; sees what was pushed a commit ago and before. The
 * parts of a trace from several blocks and partitions come as one; a span that was stored twice
 * (a batch sent again) comes once.
 *
 * Full: past max_bytes or retention the oldest partition goes (after its summary was kept, and
 * without its archived traces). On a full disk, also when a store is opened there, pushes are
 * refused with -ENOSPC, reads go on, and writing resumes by itself when there is room.
 *
 * Clocks: a span is found by its own times, but its age is the time since it was received. A jump
 * of the machine's clock while a store is open drops nothing; nor does one that was wrong when
 * something was written, or that is set right within ten minutes (or a 24th of the retention) after
 * the opening.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/query.h"
#include "trace/trace.h"

#define STORE_WHY_MAX 512

struct store_cfg {
	const char *where;     /* a directory, made when absent; or
				  clickhouse+http[s]://[USER[:PASSWORD]@]HOST:PORT/DATABASE */
	uint64_t retention_ns; /* 0: kept for ever */
	uint64_t max_bytes;    /* 0: no limit */
	uint64_t rollup_ns;    /* per-operation summaries are kept for so long; 0: none are made */
	uint32_t commit_ms;    /* default 50 */
	size_t queue_bytes;    /* pushed and not yet durable; default 64 MiB */
	const char *key_file;  /* 32 bytes or 64 hex digits: encrypts at rest; NULL: not */
	const char *key;       /* the same in hex, of the environment; NULL: not */
	/* PEM files of clickhouse+https: authorities (default: the system's); ours, both or none */
	const char *ca_file, *client_cert_file, *client_key_file;
	bool read_only; /* for looking beside a running writer */
};

struct store;

/* 0; -EBUSY: another writer has it; -EACCES, -ENOSPC (a new one cannot be made), -EKEYREJECTED
 * (wrong or missing key), -EBADMSG (not a store), -ECONNREFUSED, ...; why: one line that says what
 * to do. */
int store_open(const struct store_cfg *cfg, struct store **ret_store, char why[STORE_WHY_MAX]);
/* Makes everything pushed durable, then closes. Writers are freed before. NULL is fine. */
void store_close(struct store *s);

/* ---- writing ------------------------------------------------------------------------------ */

struct store_writer; /* of one thread */
struct store_writer *store_writer_new(struct store *s);
void store_writer_push(struct store_writer *w, const struct span *s);
/* Called once, from a thread of the store or from within store_writer_sync. result: 0; -ENOSPC,
 * -EAGAIN (queue full), -EIO, ...: not everything since the last sync was kept, it may be sent
 * again; above 0: so many spans are too large for this store and never will be, the others are
 * durable. */
struct store_ack {
	void (*done)(void *ctx, int result);
	void *ctx;
};
void store_writer_sync(struct store_writer *w, struct store_ack ack);
void store_writer_free(struct store_writer *w);
/* Would a push be taken now? 0, -EAGAIN, -ENOSPC. */
int store_admits(struct store *s);

/* ---- reading ------------------------------------------------------------------------------ */

/* start_ns of a span in [from_ns, to_ns); to_ns 0: no end. */
struct time_range {
	uint64_t from_ns;
	uint64_t to_ns;
};

/* One whole trace in order, orphans included; the caller puts it. 0 or -ENOENT, -EIO. */
int store_trace(struct store *s, const struct trace_id *id, struct trace **ret_trace);
/* Several, each block read once: borrowed for the call; unknown ids are left out. */
int store_traces(struct store *s, const struct trace_id *ids, size_t cnt, struct trace_sink out);
/* The same, but what is read of their spans may be no more than ids, times, flags, name, kind,
 * status, service, resource, scope and these fields; spans of one id that differ in nothing of that
 * may come as one. */
int store_trace_fields(struct store *s, const struct trace_id *ids, size_t cnt,
		       const struct field *fields, size_t field_cnt, struct trace_sink out);

struct sieve;

struct scan {
	struct time_range range;
	const struct cond *where; /* NULL: every span */
	/* Fields whose values the visitor reads, besides ids, times, name, kind, status, service.
	 * 'whole': everything of the span. */
	const struct field *fields;
	size_t field_cnt;
	bool trace_state; /* is read besides: what a span stands for is in it */
	bool whole;
	/* NULL, or what the visitor may raise: spans that started before it need not come. */
	const uint64_t *floor_ns;
	const struct sieve *sieve; /* NULL, or: spans of traces that it holds back need not come */
	uint64_t deadline_ns;	   /* monotonic; -ETIMEDOUT when it passes; 0: none */
};
/* Blocks newest first, within a block newest first, but blocks overlap; a span that was stored
 * twice comes twice. It is borrowed for the call. The visitor returns false to end the scan. 0,
 * -ETIMEDOUT, -EIO, -ENOMEM. */
int store_scan(struct store *s, const struct scan *q,
	       bool (*visit)(void *ctx, const struct span *sp), void *ctx);

/*
 * Which traces may have what is needed. Those that are in several places of the store are let
 * through when its indexes allow it. Traces that come or grow later are judged by what there was.
 * 0; -EOPNOTSUPP (the engine has none), -E2BIG (too many are apart), -ETIMEDOUT, -EIO, -ENOMEM. The
 * need must outlive it.
 */
int store_sieve_new(struct store *s, const struct need *need, uint64_t deadline_ns,
		    struct sieve **ret_sieve);
/* Puts those together that are in blocks of so many spans more, the newest first, and lets through
 * what has all of it. Ten times as quick as loading them. Not while the sieve is in use. 1: there
 * are more; 0: these were the last; -ETIMEDOUT, -EIO, -ENOMEM: they pass as they did. */
int store_sieve_narrow(struct store *s, struct sieve *sieve, uint32_t spans, uint64_t deadline_ns);
void store_sieve_free(struct sieve *sieve); /* NULL is fine */

/* Names that occur in blocks touching the range; each once, sorted; from indexes, no spans read. */
int store_services(struct store *s, struct time_range r,
		   void (*visit)(void *ctx, struct str service), void *ctx);
/* service empty: of all. */
int store_operations(struct store *s, struct str service, struct time_range r,
		     void (*visit)(void *ctx, struct str service, struct str name,
				   enum span_kind kind),
		     void *ctx);
/* Attribute keys: kind is FIELD_SPAN_ATTR, FIELD_RESOURCE_ATTR, FIELD_SCOPE_ATTR, FIELD_EVENT_ATTR
 * or FIELD_LINK_ATTR. */
int store_tags(struct store *s, struct time_range r,
	       void (*visit)(void *ctx, enum field_kind kind, struct str key), void *ctx);
/* Distinct values of a field, at most limit, of spans that satisfy 'where' (NULL: all). Of an array
 * its elements. */
int store_values(struct store *s, const struct field *f, const struct cond *where,
		 struct time_range r, uint32_t limit,
		 void (*visit)(void *ctx, const struct value *v), void *ctx);

/* ---- care --------------------------------------------------------------------------------- */

struct store_stats {
	uint64_t spans;
	uint64_t traces; /* distinct within a partition */
	uint64_t bytes;	 /* on disk, all files */
	uint64_t partitions;
	uint64_t blocks;
	uint64_t bad_blocks;	 /* found corrupted and skipped */
	uint64_t bad_partitions; /* files that cannot be read and are left out */
	uint64_t oldest_ns;	 /* start of a span, Unix time; 0: empty */
	uint64_t newest_ns;
};
int store_stats(struct store *s, struct store_stats *ret);

/* Keeps a trace beyond retention, or lets it go again. 0, -ENOENT. */
int store_archive(struct store *s, const struct trace_id *id, bool keep);
/* The traces that are kept so. 0, -EOPNOTSUPP, -EIO. */
int store_archived(struct store *s, void (*visit)(void *ctx, const struct trace_id *id), void *ctx);

/* Reads and verifies everything; report gets one line per finding. Returns the number of bad blocks
 * or -errno. */
int64_t store_check(struct store *s, void (*report)(void *ctx, const char *line), void *ctx);

/* Per-operation summaries of dropped partitions (cfg.rollup_ns), oldest first. */
struct store_rollup {
	uint64_t hour_ns; /* begin, Unix time */
	struct str service;
	struct str name;
	enum span_kind kind;
	uint64_t spans;
	uint64_t errors;
	uint64_t duration_sum_ns;
	uint64_t duration_max_ns;
	uint32_t bucket[32]; /* spans with duration in [2^i, 2^(i+1)) microseconds */
};
int store_rollups(struct store *s, struct time_range r,
		  void (*visit)(void *ctx, const struct store_rollup *row), void *ctx);

#endif

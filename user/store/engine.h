/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded engine, private to its files.
 *
 * A store is a directory (0700): LOCK, held by its one writer; store.db, what outlives partitions
 * (archived traces, summaries, which partitions have gone); part-SEQ.db, one SQLite file per
 * partition, a 24th of the retention long by the time of receipt.
 *
 * The journal is a WAL with synchronous=FULL: one fdatasync a commit (of the log, which is written
 * in sequence) where a rollback journal needs three, and readers, of other processes too, have
 * snapshots that no commit waits for. Pages of 16 KiB: a body needs few, a small commit writes
 * little.
 *
 * A partition changes only by transactions that add a block with an id above all others, so the
 * highest id names its state: lists of blocks are cached under it, and compaction, which swaps
 * small blocks for a large one, needs no word with readers.
 *
 * Encrypted (XChaCha20-Poly1305, a random nonce each): bodies, indexes' filters, summaries. In the
 * clear: times, counts of spans, traces and errors, sizes, and the ids of archived traces.
 *
 * Locks, outermost first: engine.roll_lock, part.write_lock, engine.lock, part.lock, cache.lock,
 * open_blocks.lock.
 */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include "core/books.h"
#include "store/block.h"
#include "store/internal.h"

#include <pthread.h>
#include <sqlite3.h>

#define PAGE_BYTES	  16384
#define PARTS_PER_LIFE	  24 /* partitions in the retention, and in max_bytes when that is large */
#define FILTER_CACHE_SIZE ((size_t)64 << 20) /* of ten to twenty million spans */
#define BAD_MAX		  256 /* bad blocks of a partition that are remembered by id */
#define LEVEL_FULL	  3   /* blocks of this level are not merged again */

/* ---- encryption: engine_crypt.c ------------------------------------------------------------ */

struct crypt {
	bool on;
	uint8_t key[32];
};

/* What a box is bound to: it opens nowhere else. */
struct place {
	uint64_t part;
	uint64_t id;
	uint64_t what;
};
enum { PLACE_FILTER, PLACE_BODY, PLACE_ROLLUP, PLACE_CANARY };

/* 0, -EKEYREJECTED or -errno with why. */
int crypt_load(const struct store_cfg *cfg, struct crypt *ret, char why[STORE_WHY_MAX]);
/* Appends the box, or the bytes as they are when encryption is off. 0 or -ENOMEM. */
int crypt_seal(const struct crypt *c, struct place at, struct str plain, struct buf *out);
/* Appends what is in the box. 0, -EBADMSG, -ENOMEM. */
int crypt_open(const struct crypt *c, struct place at, struct str box, struct buf *out);

/* ---- filters in memory: engine_cache.c ----------------------------------------------------- */

struct filter {
	uint64_t part, id;
	size_t len;
	uint32_t refs;
	struct filter *prev, *next; /* of the cache: least lately used first */
	struct filter *chain;
	char data[];
};

struct filter_cache {
	pthread_mutex_t lock;
	struct filter *slot[4096];
	struct filter *first;
	size_t bytes;
	uint32_t refused;
};

void cache_init(struct filter_cache *c);
void cache_fini(struct filter_cache *c);
struct filter *cache_find(struct filter_cache *c, uint64_t part, uint64_t id);
/* Takes over a filter of one reference, which stays the caller's too. */
void cache_put(struct filter_cache *c, struct filter *f);
struct filter *filter_new(uint64_t part, uint64_t id, struct str data);
void filter_release(struct filter *f); /* NULL is fine */

/* ---- traces in several blocks: engine_apart.c ----------------------------------------------- */

struct engine;

/* Of the store as it is now; the caller releases it. 0, -E2BIG (too many), -ETIMEDOUT, -EIO,
 * -ENOMEM. */
int engine_apart(struct engine *e, uint64_t deadline_ns, struct apart **ret_apart);
/* Up to which block a partition was looked at for it; 0: it was not there. */
uint64_t apart_top(struct apart *a, uint64_t seq);
void apart_release(struct apart *a); /* NULL is fine */

/* ---- partitions: engine_part.c ------------------------------------------------------------- */

struct block_row {
	uint64_t id;
	uint64_t received_ns;
	uint32_t level; /* how often its spans were rewritten, or what spares them that */
	uint32_t spans;
	uint32_t traces; /* that were not in an earlier block of the partition */
	uint32_t errors;
	uint64_t start_min_ns, start_max_ns;
	uint64_t duration_max_ns;
};

struct block_list {
	uint32_t refs;
	uint64_t top; /* the highest id there was */
	uint32_t cnt;
	struct block_row row[]; /* newest start first */
};

struct conn {
	sqlite3 *db;
	sqlite3_stmt *top, *list, *filter;  /* reading */
	sqlite3_stmt *row, *data, *drop[2]; /* writing */
	bool frozen;			    /* reads the file alone, without log and locks */
	struct conn *next;
};

struct part {
	struct engine *engine;
	uint64_t seq; /* 0: store.db */
	char *path;
	uint64_t begin_ns; /* of receipt */
	uint64_t end_ns;
	uint32_t refs;
	bool gone;    /* its files go with the last reference */
	bool aside;   /* cannot be read: named once, skipped */
	bool used;    /* has blocks */
	bool settled; /* not the newest, merged and checkpointed */
	bool overdue; /* should have gone, which was said */

	pthread_mutex_t write_lock;
	struct conn *writer;
	uint64_t next_id;
	int wal_pages;
	uint64_t live_bytes; /* pages of its file that hold something, as of the last commit */

	pthread_mutex_t lock; /* of what follows */
	struct block_list *list;
	struct conn *idle;
	unsigned int idle_cnt;
	bool frozen;	       /* no room for its log: read as it lies, not written, until thawed */
	unsigned int iced_cnt; /* frozen connections in use */
	uint64_t bad[BAD_MAX];
	unsigned int bad_cnt;
};

/* A file that is there. 0; -ENOENT: begun and never finished, or not there; -EBADMSG,
 * -EKEYREJECTED, -EIO. The part is valid for part_put() in any case but -ENOMEM. */
int part_open(struct engine *e, uint64_t seq, struct part **ret_part);
int part_create(struct engine *e, uint64_t seq, uint64_t begin_ns, struct part **ret_part);
bool part_is_frozen(struct part *p);
/* Back to reading and writing as usual, when there is room for it. */
void part_thaw(struct part *p);
void part_remove_files(struct engine *e, uint64_t seq);
struct part *part_get(struct part *p);
void part_put(struct part *p); /* NULL is fine */
uint64_t part_bytes(const struct part *p);
/* What is left of that once it is settled. */
uint64_t part_bytes_settled(const struct part *p);
uint64_t part_end_ns(const struct part *p); /* of the last receipt */
bool part_is_aside(const struct part *p);
void part_set_aside(struct part *p, int err);
/* After opening its writer: sets it aside when its file is not there any more, for what is written
 * to it would be lost. */
bool part_has_moved(struct part *p, int err);
/* False: there are too many to remember. */
bool part_note_bad(struct part *p, uint64_t id, int err);
bool part_is_bad(struct part *p, uint64_t id);

/* ---- connections: engine_conn.c ------------------------------------------------------------- */

int sql_error(sqlite3 *db, int rc);
int sql_exec(sqlite3 *db, const char *sql);
int sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret);
int sql_number(sqlite3 *db, const char *sql, uint64_t *ret); /* -EBADMSG: it has no row */
int sql_live_bytes(sqlite3 *db, uint64_t *ret);		     /* pages that are not free */
/* Runs a statement that returns no rows, and resets it. */
int sql_run(sqlite3_stmt *s);
int conn_open(const char *path, int flags, struct conn **ret_conn);
/* To a file whose log is empty and which nobody writes: needs no room on the disk. */
int conn_open_frozen(const char *path, struct conn **ret_conn);
void conn_close(struct conn *c);

/* ---- blocks of a partition: engine_block.c --------------------------------------------------- */

/* A snapshot of a partition. */
struct view {
	struct part *part;
	struct conn *conn;
	struct block_list *list;
};
int view_open(struct part *p, struct view *ret_view);
void view_close(struct view *v);
/* 0, -EBADMSG, -ENOMEM, -EIO; the caller releases it. */
int view_filter(struct view *v, const struct block_row *row, struct filter **ret_filter);

struct body {
	struct view *view;
	uint64_t part, id;
	sqlite3_blob *blob; /* NULL: to be opened when something is to be fetched */
	struct buf plain;   /* of an encrypted store */
	struct block *block;
	size_t bytes;		  /* while it is kept open, as the next */
	struct body *prev, *next; /* used last first */
};
/* It is read through ret_body, which stays where it is. */
int view_body(struct view *v, const struct block_row *row, struct body *ret_body);
void body_close(struct body *b);

/* ---- blocks kept open: engine_open.c --------------------------------------------------------- */

struct open_cache {
	pthread_mutex_t lock;
	struct body *first;
	size_t bytes;
};

void open_cache_init(struct open_cache *c);
void open_cache_fini(struct open_cache *c);
/* As view_body(), or one that was kept: this thread's alone until it is given back. */
int view_borrow(struct view *v, const struct block_row *row, struct body **ret_body);
/* keep: it will be looked at again, and nothing was wrong with it. */
void view_give_back(struct view *v, struct body *b, bool keep);

/* What a builder became. */
struct sealed {
	struct block_row row; /* id is given on insertion */
	struct buf filter, body;
};
int seal_builder(struct block_builder *b, int zstd_level, uint64_t received_ns, uint32_t traces,
		 struct sealed *ret);
void sealed_fini(struct sealed *s);
/* One transaction: adds these, takes those away. Durable when it returns 0. */
int part_commit(struct part *p, struct sealed *add, size_t add_cnt, const uint64_t *drop,
		size_t drop_cnt);
/* The same in steps: part_begin() takes p->write_lock, part_end() commits, or rolls back for err,
 * and lets go of it. */
int part_begin(struct part *p);
int part_end(struct part *p, int err);
int part_insert(struct part *p, struct sealed *s);
int part_remove(struct part *p, uint64_t id);
/* Moves the log into the file when it has grown, or always; -EBUSY: it is being read. Under no
 * lock. */
int part_checkpoint(struct part *p, bool always);

/* ---- the engine ------------------------------------------------------------------------------ */

/* Distinct traces of what is being written; forgets the oldest half past its cap. */
struct distinct;
struct distinct *distinct_new(void);
bool distinct_add(struct distinct *d, const struct trace_id *id); /* is it new? */
void distinct_reset(struct distinct *d);
void distinct_free(struct distinct *d);

struct writer {
	struct store_writer base;
	int err;	      /* the next sync's, when it is known already */
	int too_large;	      /* spans since the last sync */
	uint64_t first, last; /* epochs of what was pushed since the last sync; 0: nothing */
	uint32_t pushed;      /* spans since the last sync */
	uint64_t since_ns;    /* the first of them */
	struct writer *prev, *next;
};

struct waiting {
	struct store_ack ack;
	uint64_t first;
	int err; /* or how many spans are too large */
};

/* One builder and who waits for it. Heads become durable in the order of their epochs. */
struct head {
	struct head *next;
	uint64_t epoch;
	struct block_builder *builder;
	uint32_t traces;
	uint32_t spans;
	size_t bytes;	   /* once it is closed */
	uint64_t since_ns; /* its first span, monotonic */
	uint64_t asked_ns; /* the first sync that waits for it */
	bool full;
	struct waiting *waiting;
	size_t waiting_cnt, waiting_size;
};

struct head_list {
	struct head *first, **end;
	size_t bytes;
};

enum drop_reason {
	DROP_QUEUE_FULL,
	DROP_DISK_FULL,
	DROP_TOO_LARGE,
	DROP_IO_ERROR,
	DROP_NO_MEMORY,
};

struct engine {
	struct store base;
	struct store_cfg cfg;
	char *dir;
	int dir_fd, lock_fd;
	bool reserved;	    /* care's alone: there is a part-reserve */
	uint64_t saved_seq; /* newest partition that had gone at the opening */
	uint64_t part_ns;
	uint64_t part_share; /* live bytes of a partition past which another begins; 0: none */
	int wal_pages;	     /* past which the log is moved into the file */
	struct crypt crypt;
	struct filter_cache cache;
	struct open_cache open_blocks;
	uint64_t clock_base_ns; /* the machine's clock, at clock_boot_ns of the boot clock */
	uint64_t clock_boot_ns;
	uint64_t bad_blocks;
	pthread_mutex_t apart_lock; /* of the next; nothing is taken under it */
	struct apart *apart;	    /* of the last state that was asked for */
	uint32_t helpers;	    /* of scans, at work */
	uint64_t unsifted; /* searches that looked at every trace their spans did not rule out */
	uint64_t aged, crowded; /* spans of partitions that went for their age, for the bytes */

	pthread_mutex_t roll_lock;
	pthread_mutex_t lock; /* of what follows */
	struct part **parts;  /* by seq; the first is store.db, the last is written */
	size_t part_cnt, part_size;
	struct writer *writers;
	struct head *open; /* being filled; NULL: nothing was pushed */
	uint64_t batch_ns; /* what a writer took lately from the first push to the sync */
	struct head_list closed, flying;
	struct head *spare; /* emptied */
	unsigned int spare_cnt;
	uint64_t epoch; /* of the newest head */
	uint64_t done_epoch;
	struct distinct *distinct;
	int refusing;	/* 0 or why pushes are refused */
	int commit_err; /* of the last commit: one line in the log for a row of them */
	bool stop;
	struct books books;
	struct gauge gauges[6];
	pthread_cond_t commit_wake, care_wake;
	pthread_t commit_thread, care_thread;
	bool commit_runs, care_runs;
};

/* The machine's clock as it was at the opening, running evenly since: never goes back. */
uint64_t engine_now(const struct engine *e);
/* The earlier of that and the machine's clock: what is old by both is old. */
uint64_t engine_now_for_age(const struct engine *e);
/* References to the partitions, newest first, store.db last. -ENOMEM. */
int engine_parts(struct engine *e, struct part ***ret_parts, size_t *ret_cnt);
void engine_parts_put(struct part **parts, size_t cnt);
int engine_add_part(struct engine *e, struct part *p);
/* Takes it out of the store; its files go when nobody reads it. */
void engine_drop_part(struct engine *e, struct part *p);
/* A partition to write into, new when the last is old or large. */
int engine_roll(struct engine *e);
struct part *engine_active(struct engine *e);

/* Before it starts: no span is taken until there is room. */
void engine_refuse(struct engine *e, int err);
int engine_start(struct engine *e); /* the two threads */
void engine_stop(struct engine *e); /* commits what there is first */
void *commit_main(void *engine);    /* engine_commit.c */
void *care_main(void *engine);	    /* engine_care.c */

struct store_writer *engine_writer_new(struct store *s);
void engine_push(struct store_writer *w, const struct span *s);
void engine_sync(struct store_writer *w, struct store_ack ack);
void engine_writer_free(struct store_writer *w);
int engine_admits(struct store *s);
void head_free(struct head *h);		  /* NULL is fine; with all that follow */
void engine_close_head(struct engine *e); /* under the lock, as the next three */
/* Has a writer pushed since its last sync? NULL: any. */
bool engine_midway(const struct engine *e, const struct writer *but);
void engine_recycle(struct engine *e, struct head *h);
size_t engine_queued(struct engine *e); /* bytes; under the lock */

/* Blocks that touch the range, partitions newest first, newest block first; bad ones are named and
 * skipped. visit: 0 go on, 1 end, -EBADMSG: that block is bad, else an error that ends it. */
int engine_each(struct engine *e, struct time_range r,
		int (*visit)(void *ctx, struct view *v, const struct block_row *row), void *ctx);
int engine_views(struct engine *e, int (*look)(void *ctx, struct view *v), void *ctx);
bool row_touches(const struct block_row *row, struct time_range r);
/* May a span of the block satisfy it? */
int row_may_match(struct view *v, const struct block_row *row, const struct cond *c, bool *ret_may);
int view_each(struct view *v, struct time_range r,
	      int (*visit)(void *ctx, struct view *v, const struct block_row *row), void *ctx);

int engine_traces(struct store *s, const struct trace_id *ids, size_t cnt, struct trace_sink out);
int engine_trace_fields(struct store *s, const struct trace_id *ids, size_t cnt,
			const struct field *fields, size_t field_cnt, struct trace_sink out);
int engine_scan(struct store *s, const struct scan *q,
		bool (*visit)(void *ctx, const struct span *sp), void *ctx);
int engine_sieve_new(struct store *s, const struct need *need, uint64_t deadline_ns,
		     struct sieve **ret_sieve);
int engine_sieve_narrow(struct store *s, struct sieve *sieve, uint32_t spans, uint64_t deadline_ns);
/* Whether a block may have traces that the sieve lets through. */
bool sieve_may_have(const struct sieve *s, const struct block_index *x, struct str filter,
		    bool *ret_doubled);
struct block_index row_index(const struct block_row *row); /* without a filter */
int engine_services(struct store *s, struct time_range r,
		    void (*visit)(void *ctx, struct str service), void *ctx);
int engine_operations(struct store *s, struct str service, struct time_range r,
		      void (*visit)(void *ctx, struct str service, struct str name,
				    enum span_kind kind),
		      void *ctx);
int engine_tags(struct store *s, struct time_range r,
		void (*visit)(void *ctx, enum field_kind kind, struct str key), void *ctx);
int engine_values(struct store *s, const struct field *f, const struct cond *where,
		  struct time_range r, uint32_t limit,
		  void (*visit)(void *ctx, const struct value *v), void *ctx);
uint64_t engine_bytes(const struct engine *e); /* of all files */
int engine_stats(struct store *s, struct store_stats *ret);
int64_t engine_check(struct store *s, void (*report)(void *ctx, const char *line), void *ctx);
int engine_archive(struct store *s, const struct trace_id *id, bool keep);
int engine_archived(struct store *s, void (*visit)(void *ctx, const struct trace_id *id),
		    void *ctx);
int engine_rollups(struct store *s, struct time_range r,
		   void (*visit)(void *ctx, const struct store_rollup *row), void *ctx);

/* engine_compact.c: merges small blocks; 'all': everything that is not full. 1 when it did. */
int part_compact(struct part *p, bool all);
/* Gives what merging left free back to the disk. 0, -ENOSPC, -EBUSY, ... */
int part_shrink(struct part *p);
/* engine_retain.c: writes what outlives the partition into store.db. */
int part_save(struct part *p);
/* Was it, and is it to go? */
bool part_was_saved(struct part *keep, uint64_t seq);
/* The newest that was; 0: none. No other partition may have its number. */
uint64_t part_last_saved(struct part *keep);
/* engine_rollup.c: adds to the summaries, inside a transaction on the writer of store.db. */
int rollup_part(struct view *v, struct part *keep);
int rollup_expire(struct part *keep, uint64_t before_ns);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From records to the chain: drain the kernel's ring buffer, validate each record, merge in what
 * user space itself knows (processes, clock, drops, ticks), and hand all of it on in one order,
 * which `record` can write to a file and `replay` reads back.
 *
 * Order: a record's place in the ring buffer. One thread's records are in order; between threads
 * the order may be off by the time between taking the time and reserving the record (tens of
 * microseconds), which later rooms must bear.
 *
 * Bad records (too short, size beyond the buffer, inner lengths beyond size) are dropped and
 * counted; unknown kinds are dropped and counted apart. Nothing here blocks.
 */
#ifndef RING_RING_H
#define RING_RING_H

#include "event.h"
#include "core/str.h"

/* Records that user space adds to the kernel's; the same header, times as there. */
enum user_event_kind {
	EVENT_PROC = EVENT_USER + 1, /* struct event_proc: what discover found out */
	EVENT_CLOCK,		     /* struct event_clock */
	EVENT_KEY,		     /* struct event_key: first record of every run */
	EVENT_BOOKS,		     /* struct event_books: the kernel side's counters */
	EVENT_TICK,		     /* struct event_hdr alone: time passes; every 100 ms */
	EVENT_HOST,		     /* struct event_host: once, after the key */
};

struct event_clock {
	struct event_hdr h;
	__s64 offset_ns; /* real time minus monotonic time */
};

struct event_key {
	struct event_hdr h;
	__u8 key[16]; /* of span ids, new for every run */
};

struct event_books {
	struct event_hdr h;
	__u64 drops[16];  /* by enum kernel_drop, since the start */
	__u64 counts[16]; /* by enum kernel_count, since the start */
	__u64 missed;	  /* program runs the kernel skipped (recursion); UINT64_MAX: cannot tell */
};

struct event_host {
	struct event_hdr h;
	char name[256]; /* host.name, NUL-terminated */
};

/* One process's identity: key, NUL, value, NUL pairs of resource attributes in 'text', plus what
 * the chain itself needs. Sent again when it has changed (exec). h.tgid says whose. */
enum runtime {
	RUNTIME_UNKNOWN,
	RUNTIME_NATIVE,
	RUNTIME_PYTHON,
	RUNTIME_NODE,
	RUNTIME_RUBY,
	RUNTIME_PHP,
	RUNTIME_PERL,
	RUNTIME_JAVA,	      /* threads are the unit of work */
	RUNTIME_JAVA_VIRTUAL, /* may run virtual threads: 21 and newer */
	RUNTIME_GO,
	RUNTIME_RUST,
	RUNTIME_BEAM,
	RUNTIME_DOTNET,
	RUNTIME_MAX,
};

struct event_proc {
	struct event_hdr h;
	__u32 runtime; /* enum runtime */
	__u32 text_len;
	char text[]; /* at most PROC_TEXT_MAX */
};
#define PROC_TEXT_MAX 8192

/* Borrowed for the call; rec is aligned to 8 and rec->size is true. */
struct event_sink {
	void *ctx;
	void (*push)(void *ctx, const struct event_hdr *rec);
};

/* Checks one record of at most len bytes: 0, -EBADMSG, or -ENOTSUP for an unknown kind. */
int event_check(const void *rec, size_t len);

/* The gate every record passes on its way to the chain, live or replayed: checks, counts, hands on.
 */
struct gate;
struct gate *gate_new(struct event_sink out);
void gate_push(struct gate *g, const void *rec, size_t len);
void gate_free(struct gate *g);

/*
 * Recording. The file begins with an 16-byte head (magic "telltale", version, byte order), then
 * records as they came, each padded to 8 bytes. Mode 0600: it holds payload. Written out when
 * 256 KiB are pending and at each EVENT_TICK.
 */
struct recorder;
/* 0 or -errno: an existing regular file is replaced, a link to one is refused (-ELOOP), a pipe or
 * device is written to as it is. */
int recorder_open(const char *path, struct recorder **ret_recorder);
/* 0 or -errno; after the first error the recorder writes no more and returns it again. */
int recorder_write(struct recorder *r, const struct event_hdr *rec);
/* Flushes and closes: 0 or -errno. NULL is fine. */
int recorder_close(struct recorder *r);

/*
 * Reads a recording and pushes its records into the gate. 0, -errno of the file, or -EBADMSG when
 * it is no recording or is cut short; *ret_offset (may be NULL) is the offset of the first byte
 * that could not be used, the file's size after 0. Needs no privilege.
 */
int replay_file(const char *path, struct gate *g, uint64_t *ret_offset);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#ifndef SPAN_INTERNAL_H
#define SPAN_INTERNAL_H

#include <errno.h>
#include <xxhash.h>

/* uthash's own takes four times the instructions for our short keys. */
#define HASH_NONFATAL_OOM	       1
#define HASH_FUNCTION(key, len, hashv) ((hashv) = (unsigned int)XXH3_64bits(key, len))
#include <uthash.h>
#include <utlist.h>

#include "core/books.h"
#include "core/clock.h"
#include "span/context.h"
#include "span/correlate.h"

#define IDENTITY_WAIT_NS    (500 * NS_PER_MS) /* for EVENT_PROC, after settling */
#define ORPHANS_MAX	    4		      /* responses a connection keeps for late requests */
#define ORPHANS_ALL	    4096
#define PROCESSES_MAX	    16384
#define DRAFT_BYTES	    (96 * 1024) /* of one exchange's attributes */
#define DRAFTS_KEPT	    4096 /* those that settle at 20,000 requests a second; 4 KiB each */
#define WALK_MAX	    64	 /* exchanges of a connection that are looked at backwards */
#define PARENT_DEPTH	    64
#define CONNECT_PATIENCE_NS (250 * NS_PER_MS)
#define TRACESTATE_MAX	    512 /* W3C Trace Context, 3.3.1.5 */
#define REMEMBERED_SHARE    4	/* at most 1/4 of cfg.max_exchanges are remembered ones */
#define SKEW_NS		    (1 * NS_PER_MS) /* a peer's record may be this much too early */
/* Where equal stream positions name the request, time only guards against positions that came round
 * again: a sender may be taken off its processor before its record is made. */
#define SKEW_POSITION_NS (1 * NS_PER_S)

/* ---- traceparent.c -------------------------------------------------------------------------- */

/* W3C Trace Context, traceparent; set: a valid one came. */
struct trace_header {
	struct trace_id trace;
	struct span_id span;
	uint8_t flags;
	bool set;
};
/* set is false in the result unless the value is valid by the specification, 3.2. */
struct trace_header traceparent_parse(struct str value);

/* ---- name.c --------------------------------------------------------------------------------- */

#define TEMPLATES_MAX	    200 /* of one service */
#define TEMPLATE_VALUES_MAX 64	/* literal values at one place of the path, per service */
#define TEMPLATE_SERVICES   1024
#define TEMPLATE_LEN_MAX    512

/* The path with its variable segments replaced, into out; its length. */
size_t template_make(struct str path, char out[TEMPLATE_LEN_MAX]);

struct templates;
struct templates *templates_new(void);
void templates_free(struct templates *t);
/* The template of path, or empty where the service has too many. The result is the table's. */
struct str templates_get(struct templates *t, struct str service, struct str path);

/* ---- process.c ------------------------------------------------------------------------------ */

struct process {
	uint32_t tgid;
	uint32_t refs;
	enum runtime runtime;
	bool known;		     /* its EVENT_PROC has come */
	bool seen_start;	     /* fork or exec was seen */
	uint64_t serving_ns;	     /* accepted connections were open when it was found; 0: none */
	bool in_table;		     /* still the one that a record of this tgid means */
	uint64_t exit_ns;	     /* 0: alive */
	struct process *from;	     /* forked from, until its own EVENT_PROC; counted */
	struct resource *resource;   /* NULL until it is needed */
	bool provisional_known;	     /* not known, but its resource was made from a known origin */
	struct process *prev, *next; /* the exited, oldest first */
	UT_hash_handle hh;
};

void process_record(struct correlate *c, const struct event_hdr *rec);
/* The process of that id at that time, counted; NULL when the table is full. */
struct process *process_get(struct correlate *c, uint32_t tgid, uint64_t ts_ns);
void process_put(struct process *p); /* NULL is fine */
/* Known itself or through what it was forked from. */
bool process_is_known(const struct process *p);
enum runtime process_runtime(const struct process *p);
/* An accepted connection was open when its tracing began: a request may have been in work on it. */
void process_was_serving(struct correlate *c, const struct event_conn *rec);
/* May a thread of it be at work on a request that was not seen? new_ns: when the thread was met
 * that has been seen from its beginning; 0: it has not. */
bool process_may_owe(struct correlate *c, uint32_t tgid, uint64_t ts_ns, uint64_t new_ns);
/* Borrowed; NULL without memory. Where p is NULL it is the caller's to put, in *ret_owned. comm
 * names what is not known. */
struct resource *process_resource(struct correlate *c, struct process *p, uint32_t tgid,
				  const char *comm, struct resource **ret_owned);
void processes_tick(struct correlate *c);
void processes_free(struct correlate *c);

/* ---- connections (link.c) ------------------------------------------------------------------- */

/* Both ends' addresses as the dialling end sees them, or the other way round. */
struct ends {
	struct endpoint local, remote;
	uint64_t sock, peer_sock; /* UNIX only */
	uint32_t transport;
	uint32_t pad;
};

struct orphan;

/* What this room remembers of a struct conn, while it is open and while exchanges of it are kept.
 */
struct link {
	uint64_t id;
	uint32_t refs;
	struct conn *conn; /* NULL once it is closed */
	struct link *peer; /* the other end, where it is on this machine; not counted */
	struct ends ends;
	uint32_t netns, tgid, flags;
	uint16_t family;
	uint8_t transport, role;
	uint64_t carrier;
	uint64_t dial_ns, open_ns, close_ns; /* monotonic; 0: not */
	char comm[COMM_LEN + 1];
	char local_text[46], remote_text[46]; /* addresses, once they were needed */
	char *path;			      /* UNIX; NULL: none */
	struct evidence *dial;		      /* until the first request; owned */
	struct exchange *dial_for;	      /* waits for this dial; counted */
	bool used;			      /* it had an exchange */
	bool dial_seen;
	struct exchange *all;  /* of the table, by arrival */
	struct exchange *open; /* not finished, by arrival */
	struct orphan *orphans;
	uint32_t orphan_cnt;
	struct link *same_prev, *same_next; /* with the same ends */
	bool listed;
	UT_hash_handle hh;
};

/* Finds or makes it. NULL without memory. */
struct link *link_of(struct correlate *c, struct conn *conn);
struct link *link_find(struct correlate *c, uint64_t conn_id);
/* Takes over what is newly known, and looks for the other end. */
void link_update(struct correlate *c, struct link *l);
void link_close(struct correlate *c, struct link *l, uint32_t err, uint64_t ts_ns);
void link_put(struct correlate *c, struct link *l);
void links_free(struct correlate *c);
/* Nobody waits for the dial any more: bytes have come in, or the connection has gone. */
void link_dial_over(struct correlate *c, struct link *l, uint64_t ts_ns);
bool ends_are_loopback(const struct ends *e);
/* The link whose dialling led to l: itself, or with TLS that of the connection below. */
struct link *link_dialled(struct correlate *c, struct link *l);

/* ---- join.c --------------------------------------------------------------------------------- */

void join_add(struct correlate *c, struct link *l);    /* into the table of ends */
void join_remove(struct correlate *c, struct link *l); /* out of it; forgets the pairing */
/* The same request at the other end: sets ->joined of whichever is the SERVER. */
void join_exchange(struct correlate *c, struct exchange *x);
/* For a SERVER exchange at the end: by time, where positions cannot be compared. */
void join_by_time(struct correlate *c, struct exchange *x);

/* ---- exchanges ------------------------------------------------------------------------------ */

struct exchange_key {
	uint64_t conn;
	uint32_t pos; /* low 32 bits */
	uint32_t dir;
};

/* What is needed until the span is pushed, and not later. */
struct draft {
	struct draft *next; /* in the pool */
	struct arena *mem;
	const char *proto;
	struct attrs request, response;
	struct str operation, target, path, trace_state;
	enum span_status status, server_status;
	struct str error_type, status_message;
	uint64_t request_size, response_size;  /* UINT64_MAX: not known */
	uint64_t request_body, response_body;  /* known at the end only; else UINT64_MAX */
	uint32_t retransmits, retransmits_end; /* of the connection when it began and ended */
	uint32_t err;			       /* errno of an end before its time */
	bool request_began, response_began;    /* attributes are here */
	bool truncated;
	bool first; /* on a connection whose dialling was seen */
	struct evidence evidence;
	struct evidence *dial; /* the connection's, where first; owned */
	struct decision links; /* of the final decision; each counted */
};

enum exchange_end {
	END_ANSWERED,
	END_NONE,    /* the connection ended without a response, or within one; draft.err */
	END_TIMEOUT, /* cfg.unanswered_ns */
	END_CONNECT, /* no request: connect() failed; draft.err */
	END_OPEN,    /* pushed before its end */
	END_LOST,    /* its connection is open, and looked at no more */
};

/* What a connection's end means for the exchanges on it; see event_close.err. */
static inline enum exchange_end exchange_end_of(uint32_t err)
{
	return err == ECANCELED ? END_LOST : END_NONE;
}

struct exchange {
	struct exchange_key key;
	uint32_t refs;
	uint32_t tgid, tid, stream_id;
	struct link *link; /* NULL once forgotten */
	struct process *process;
	struct draft *draft;	  /* NULL once pushed or dropped */
	struct exchange *parent;  /* whose span is the parent; counted */
	struct exchange *context; /* CLIENT: the request it was sent for; counted */
	struct exchange *joined;  /* SERVER: the CLIENT exchange at the other end; counted */
	struct exchange *owner;	  /* CLIENT: who waits for it; counted */
	uint64_t pos, start_ns, request_end_ns;		     /* 0: not ended */
	uint64_t response_pos, response_ns, response_end_ns; /* 0: not yet */
	uint64_t end_ns;				     /* finished; 0: not */
	uint64_t finish_ns;				     /* chain time at that moment */
	uint64_t request_len, response_len;		     /* valid with the ends */
	/* the books of its thread, for a SERVER */
	struct thread *thread;
	struct exchange *thread_prev, *thread_next;
	uint64_t wake_ns, wait_ns;
	uint32_t waits;
	enum place place;

	bool server, one_way, internal, attached, final, remote_parent;
	uint8_t method; /* enum method, of the parent */
	uint8_t end;	/* enum exchange_end */
	uint8_t trace_flags;
	bool resolving;
	bool awaited; /* among the unanswered */
	struct trace_id trace;
	struct span_id parent_id; /* with remote_parent */
	struct span_id id;
	struct trace_header header;

	struct exchange *all_prev, *all_next;	  /* of the link */
	struct exchange *open_prev, *open_next;	  /* of the link */
	struct exchange *wait_prev, *wait_next;	  /* unanswered */
	struct exchange *queue_prev, *queue_next; /* settling, identity or remembered */
	UT_hash_handle hh;
};

static inline struct exchange *exchange_get(struct exchange *x)
{
	if (x)
		x->refs++;
	return x;
}

/* Whether a request may have been worked on at that moment. */
static inline bool exchange_open_at(const struct exchange *x, uint64_t at_ns)
{
	return x->start_ns <= at_ns && !(x->response_end_ns && x->response_end_ns <= at_ns) &&
	       !(x->end_ns && x->end != END_OPEN && x->end_ns <= at_ns);
}

void exchange_put(struct exchange *x); /* NULL is fine */
struct exchange *exchange_find(struct correlate *c, uint64_t conn, uint32_t dir, uint32_t pos);
/* A new one in the tables, or NULL (counted). */
struct exchange *exchange_new(struct correlate *c, struct link *l, const struct msg *m);
/* No more will come: it settles from now on. */
void exchange_finish(struct correlate *c, struct exchange *x, uint64_t end_ns,
		     enum exchange_end end);
/* The response's first byte, or the end without one: who waited may run. */
void exchange_woke(struct correlate *c, struct exchange *x, uint64_t ts_ns);
/* The first decision on a CLIENT's parent, for the books. */
void exchange_place(struct correlate *c, struct exchange *x, const struct event_thread *thread);
/* It has a response, or needs none. */
void exchange_answered(struct correlate *c, struct exchange *x);
void draft_drop(struct correlate *c, struct exchange *x); /* pushed, or never to be */
void drafts_free(struct correlate *c);
void exchange_forget(struct correlate *c, struct exchange *x);
/* At the end of the room: out of the lists it is in, but for the queues. */
void exchange_discard(struct correlate *c, struct exchange *x);

/* ---- resolve.c: parents and trace ids, once and for all ------------------------------------- */

/* False while an identity that matters may still come. */
bool exchange_ready(struct correlate *c, struct exchange *x);
void exchange_resolve(struct correlate *c, struct exchange *x);

/* ---- build.c -------------------------------------------------------------------------------- */

/* Pushes the span of a resolved exchange. False without memory. */
bool span_build(struct correlate *c, struct exchange *x);

/* ---- settle.c ------------------------------------------------------------------------------- */

void settle_add(struct correlate *c, struct exchange *x);
void settle_tick(struct correlate *c);
void settle_flush(struct correlate *c);
void settle_evict(struct correlate *c); /* makes room for one exchange */

/* ---- pair.c: messages to exchanges ---------------------------------------------------------- */

void pair_request(struct correlate *c, struct link *l, const struct msg *m);
void pair_response(struct correlate *c, struct link *l, const struct msg *m);
/* Responses that waited for a late request: too old, or all of the link. */
void orphans_expire(struct correlate *c);
void orphans_drop(struct correlate *c, struct link *l);
void orphans_drop_all(struct correlate *c);

/* ---- the room ------------------------------------------------------------------------------- */

enum drop_reason { DROP_INTERNAL, DROP_NO_REQUEST, DROP_NO_MEMORY };

/* Refused for a cap, or noteworthy; shown as figures. */
#define SPAN_COUNTERS(X)                                                           \
	X(evicted, "exchanges pushed before their end because the table was full") \
	X(threads_full, "threads forgotten because the table was full")            \
	X(processes_full, "processes not kept because the table was full")         \
	X(lost_threads, "times a thread's books were found to miss records")       \
	X(ambiguous, "spans with links instead of a parent")                       \
	X(joined, "server spans joined with the client's at the other end")        \
	X(parented, "client spans with a parent from thread context")

#define X(name, help) COUNTER_##name,
enum counter { SPAN_COUNTERS(X) COUNTER_MAX };
#undef X

struct correlate {
	struct correlate_cfg cfg;
	struct span_sink out;
	uint64_t now_ns; /* of the chain: the latest record or tick */
	uint64_t key[2];
	uint64_t start_ns;   /* of EVENT_KEY */
	uint64_t serving_ns; /* the latest of all processes */
	int64_t clock_offset;
	char host[256];
	uint64_t loss_from_ns, loss_to_ns; /* records were lost in the kernel between */
	uint64_t books_ns, books_lost;	   /* the EVENT_BOOKS before */

	struct link *links;
	struct join_slot *slots;
	uint32_t dials; /* links with dial_for */
	struct exchange *exchanges;
	uint32_t exchange_cnt;
	struct exchange *unanswered; /* by start */
	struct exchange *settling;   /* by finish_ns */
	struct exchange *waiting;    /* settled, for an identity */
	struct exchange *remembered; /* by finish_ns */
	uint32_t remembered_cnt;
	struct process *processes;
	struct process *exited;
	uint32_t process_cnt;
	struct thread *threads;
	struct thread *threads_lru;
	uint32_t thread_cnt;
	struct orphan *orphans; /* by arrival */
	uint32_t orphan_cnt;
	struct draft *drafts;
	uint32_t draft_cnt;
	struct arena *scratch; /* the span being built */
	struct templates *templates;

	struct books books;
	uint64_t counters[COUNTER_MAX];
	struct gauge gauges[COUNTER_MAX];
};

static inline void count(struct correlate *c, enum counter which)
{
	book_add(&c->counters[which], 1);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parents from the kernel's evidence: which request was this thread working on when it sent one of
 * its own? A wrong parent is worse than a missing one, so every rule asks what else could have been
 * running, and "perhaps" is ambiguous.
 *
 * The books of a thread. A SERVER exchange is open on the thread that read its first byte, from
 * then until its response has ended. While open it is either runnable or parked. It is parked when
 * its request was read whole, it has sent a request of its own that is not answered yet, and since
 * it sent that nothing was read for it. A parked request cannot be the one that is running; each
 * runnable one can. What wakes a parked request: the first byte of a response to one of its
 * requests, the end of one without a response, and the response to a request whose parent was
 * ambiguous between it and others. A connection that it dialled counts as a request sent, until
 * bytes come in on it. Where requests were not seen to send several calls at once, a parked one
 * wakes to its own responses only.
 *
 * The request of the moment. The thread's latest read in this turn names it: the read lies in a
 * request that is served here, or in the response to a request whose parent is known (then it is
 * that parent).
 *
 * Certain, hence a parent, with t the time of the egress's first byte:
 *   thread-turn      the request of the moment, from its own bytes, is open at t with no answer
 *                    begun, and every other request open on the thread is parked.
 *   thread-response  the same, from a response to one of its requests.
 *   thread-single    exactly one request is open on the thread at t, parked or not, and the latest
 *                    read of this turn does not point elsewhere: to an accepted connection with no
 *                    open request known, to a response whose request had no known parent or one
 *                    that is still open, or (while the one is parked) to a request that has ended.
 *   connect          the connection was dialled by this thread in a context that was certain by one
 *                    of the rules above, this is the first request on it, and the parent is open
 *                    with no answer begun at t. It goes before the evidence at t; where the context
 *                    of the dialling was ambiguous, the evidence at t must name one of its
 *                    candidates.
 *   traceparent      the request carries the very header that one candidate alone received, so it
 *                    was handed on.
 * Everything else is thread-ambiguous: links to at most LINKS_MAX candidates and no parent. Where
 * no request is open there is nothing to link.
 *
 * Answer begun: a program of its own machine code is taken to be done with a request once its
 * answer begins, so that such a request is no candidate any more; in the other runtimes one that is
 * still being answered may be running. Threads that block instead of turning (Ruby, PHP, Perl with
 * turn 0) work on what they read last, whatever else is open.
 *
 * Habits. The above takes for granted that a thread sends nothing but for what it has read. What
 * it was seen to do until a span settles, more often than once in HABIT_SHARE, narrows the rules:
 *   strays       it sends in turns without a read, or for a request that is over (timers, work
 *                after an answer, hand-offs): a request that waits is then no single one.
 *   mixes        it strays, and hardly ever sends twice for one read: what is sent in the turn of
 *                a read whose request waits already may then be a stray.
 *   background   it sends when no request is open: thread-single needs a read of the same turn.
 *   fans out     it sends several calls for one read, of which some may wait for a connection of
 *                a pool: no thread-response while other requests are parked, as the response may
 *                have let one of theirs go.
 *   hands over   other threads answer what it reads, so that it may work on what they have read:
 *                no rule holds.
 * The first request on a connection is judged by the dialling, if a request was open by then.
 *
 * Lost records. A step over 1 in event_thread.seq, kernel counters that tell of drops, a thread
 * first seen in the middle of its life, more requests than the books of a thread hold: for TAINT_NS
 * from then only thread-turn counts, and only with thread.switches 0. So for START_NS too when a
 * process is found with accepted connections open, at the start or when it is selected later: its
 * older threads may hold requests that were not seen.
 *
 * When it is decided: the candidates are taken down when the message arrives (a thread's records
 * are in order), a first decision keeps the books going, and the final one is made as late as
 * possible, with the ends of responses and the runtime known by then.
 *
 * Plain thread context is off for the runtimes whose unit of work is no thread: see the table.
 */
#ifndef SPAN_CONTEXT_H
#define SPAN_CONTEXT_H

#include "proto/proto.h"
#include "span/span.h"

#define CANDIDATES_MAX 8 /* runnable ones that one piece of evidence keeps */
#define LINKS_MAX      4
#define RUNNABLE_MAX   64 /* of one thread, unanswered; past that its books are tainted */
#define THREADS_MAX    32768
#define TAINT_NS       5000000000ull
#define START_NS       1000000000ull

struct correlate;
struct exchange;

enum method {
	METHOD_NONE,
	METHOD_SOCKET,
	METHOD_CONNECT,
	METHOD_TURN,
	METHOD_RESPONSE,
	METHOD_SINGLE,
	METHOD_TRACEPARENT,
	METHOD_AMBIGUOUS,
	METHOD_MAX,
};

/* What is said of each method: its name, and how often it is right. */
struct method_row {
	const char *name;
	double confidence; /* 0 to 1 */
};
extern const struct method_row method_table[METHOD_MAX];

struct runtime_traits {
	bool thread_context; /* a thread is the unit of work, or the loop that runs it */
	bool answer_is_last; /* sends nothing for a request once its answer has begun */
	bool may_block;	     /* without an event loop unless it shows one */
};
extern const struct runtime_traits runtime_table[RUNTIME_MAX];

/* Of an open request. An answered one is runnable, but see "answer begun". */
enum place { PLACE_RUNNABLE, PLACE_ANSWERED, PLACE_PARKED, PLACES };

/* What a thread was seen to do: more than a slip or two. */
enum habit {
	HABIT_STRAYS = 1 << 0,	   /* sends what the turn's reads do not account for */
	HABIT_MIXES = 1 << 1,	   /* ... and that perhaps in the turns of others' reads */
	HABIT_BACKGROUND = 1 << 2, /* sends while no request is open */
	HABIT_FANS_OUT = 1 << 3,   /* sends for a request that waits already */
	HABIT_HANDS_OVER = 1 << 4, /* others answer what it reads */
};

/* The candidates at one moment of one thread. Holds a reference to each exchange. */
struct evidence {
	struct event_thread thread; /* tid 0: none of this */
	uint32_t tgid;
	uint64_t at_ns; /* monotonic, of the egress's first byte or of connect() */
	struct exchange *runnable[CANDIDATES_MAX];
	uint32_t runnable_cnt;
	uint32_t parked_cnt;
	uint8_t waiting;		/* bit i: runnable[i] has sent what is not answered yet */
	struct exchange *parked;	/* one of them, where parked_cnt is 1 */
	struct exchange *read_request;	/* the latest read of this turn lies in this request */
	struct exchange *read_response; /* ... in the response to this one */
	bool read_elsewhere;		/* ... on an accepted connection, in no request known */
	uint8_t habits;			/* enum habit */
	bool overflow;			/* there were more runnable ones */
	bool overflow_answered;		/* ... of those being answered */
	bool tainted;
};

struct decision {
	struct exchange *parent; /* borrowed; NULL: none */
	enum method method;
	struct exchange *link[LINKS_MAX]; /* borrowed; with METHOD_AMBIGUOUS */
	uint32_t link_cnt;
};

/* Takes down the candidates. ev must be empty. */
void evidence_capture(struct correlate *c, struct evidence *ev, const struct event_thread *thread,
		      uint32_t tgid, uint64_t at_ns);
void evidence_clear(struct evidence *ev);

/* The rules above but for connect and traceparent. Pure: reads evidence and exchanges only. */
struct decision context_decide(const struct evidence *ev, const struct runtime_traits *traits);
/* With them, for a CLIENT exchange that still has its draft. */
struct decision context_of(struct correlate *c, const struct exchange *x,
			   const struct runtime_traits *traits);

/* ---- the books of threads ---------------------------------------------------------------- */

/* A record of this thread passes: its place in the sequence. */
void thread_record(struct correlate *c, const struct event_thread *thread, uint32_t tgid,
		   uint64_t ts_ns);
/* A request was read: it is open on the thread until thread_leave(). */
void thread_enter(struct correlate *c, struct exchange *x, uint32_t tid);
void thread_leave(struct exchange *x);
/* A request was sent on the owner's behalf; it is over; something came in for the owner. */
void thread_waits(struct exchange *owner, uint64_t ts_ns);
void thread_done(struct exchange *owner);
void thread_wakes(struct exchange *owner, uint64_t ts_ns);
/* Each that the evidence leaves possible may run again. */
void thread_wakes_any(struct correlate *c, const struct evidence *ev, uint64_t ts_ns);
/* Puts a SERVER exchange among the runnable or the parked, as it now is. */
void thread_update(struct exchange *x);
/* A request was sent on this evidence, dial that of its connection's dialling by the same thread,
 * where it is the first; NULL: not. Called before the books take it in. */
void thread_sent(struct correlate *c, const struct evidence *ev, const struct evidence *dial);
/* An answer's first byte was sent by that thread. */
void thread_answers(struct exchange *x, uint32_t tid);
/* enum habit of the evidence's thread, by now. */
uint8_t thread_habits(struct correlate *c, const struct evidence *ev);
/* The books of a thread, for evidence. False where there are none. */
struct thread;
struct thread *thread_find(struct correlate *c, uint32_t tid);
void threads_free(struct correlate *c);

#endif

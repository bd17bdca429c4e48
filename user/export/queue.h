/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pushed spans, bounded, in batches. A span is packed to its final bytes at once (0.3 us for a
 * captured one, where span_copy() costs 0.7 us and packing would still follow) and appended to the
 * open batch with a counted reference to its resource: no deep copy, and the queue's bytes are what
 * leaves. A batch is sealed when it has batch_spans spans or BATCH_BYTES bytes, or when its first
 * span has waited delay_ns. Scopes live as long as the resources they come with.
 *
 * The books are written under the lock, and so are right whichever threads push.
 */
#ifndef EXPORT_QUEUE_H
#define EXPORT_QUEUE_H

#include "export/internal.h"

/* Of all exporters; queue_init names them. */
enum drop {
	DROP_QUEUE_FULL,
	DROP_NO_MEMORY,
	DROP_REFUSED,
	DROP_REJECTED,
	DROP_GAVE_UP,
	DROP_END,
	DROP_SPOOL_FULL,
	DROP_SPOOL_ERROR,
	DROP_SPOOL_DAMAGED,
};

/* How a batch's delivery ended: lost spans for a reason, the rest delivered. */
struct outcome {
	uint64_t lost;
	enum drop reason;
};

struct batch {
	struct batch *prev, *next;
	struct item *items;
	uint32_t cnt;
	struct buf bytes;
};

struct queue {
	const struct format *format;
	size_t bytes_max;
	uint32_t spans_max;
	uint32_t batch_spans;
	uint64_t delay_ns;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t wake;  /* a batch may be due; something was spooled; the end */
	struct packer scratch;
	struct batch *open;	/* being filled; NULL or not empty */
	struct batch *sealed;	/* oldest first */
	struct batch *spare;	/* kept, so that its memory is used again */
	uint64_t open_since_ns; /* monotonic */
	size_t bytes;		/* of all spans held here, their items included */
	uint32_t spans;
	bool full;	  /* the last span had no room, and none has been made since */
	uint64_t told_ns; /* monotonic: when the log last said that something is full; 0: never */
	bool stop;
	uint64_t stop_ns; /* monotonic; atomic; 0: not ending */
	struct books books;
};

/* The figures above 'lock' are the caller's to set. stage must outlive the queue. */
void queue_init(struct queue *q, const char *stage);
void queue_fini(struct queue *q);
void queue_push(struct queue *q, const struct span *s);
/* Waits for a batch that is due; NULL when stopping and there is none left. */
struct batch *queue_take(struct queue *q);
/* The batch is no longer held in memory. */
void queue_give_back(struct queue *q, struct batch *b);
/* cnt spans that were held have left. */
void queue_settle(struct queue *q, uint64_t cnt, struct outcome o);
/* cnt spans are held again, of a process before this one. */
void queue_resume(struct queue *q, uint64_t cnt);
/* Ends waiting; deliveries after stop_ns do not begin. */
void queue_stop(struct queue *q, uint64_t stop_ns);
bool queue_past_end(struct queue *q);
/* Lock held. */
void queue_wait_until(struct queue *q, uint64_t mono_ns);

#endif

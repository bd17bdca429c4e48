/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which endpoint gets a body, and when it is tried again. Endpoints take turns; one that fails is
 * put aside with back-off while the others go on, and comes back by being tried in its turn. What
 * one refuses for good is offered to the others that work, once each; if one takes it, those that
 * did not are put aside, too. A change of an endpoint's state is logged, not each try.
 */
#ifndef EXPORT_DELIVERY_H
#define EXPORT_DELIVERY_H

#include "export/queue.h"

#define ENDPOINTS_MAX 64

enum endpoint_state { ENDPOINT_FINE, ENDPOINT_DOWN, ENDPOINT_REFUSES, ENDPOINT_PARTIAL };

struct endpoint {
	void *conn;
	char *shown;	   /* for log lines: without user, password and query */
	uint64_t aside_ns; /* monotonic: not to be tried before */
	bool asked;	   /* by the endpoint itself */
	uint32_t fails;	   /* in a row */
	/* Written by the sender, under the queue's lock. */
	enum endpoint_state state; /* as last logged */
	uint64_t since_ns;	   /* monotonic: of its state */
	char text[ANSWER_TEXT];	   /* why, as last told */
};

struct delivery {
	const struct kind *kind;
	struct queue *queue; /* for the waiting, and the end */
	const char *name;    /* for log lines */
	struct retry_policy policy;
	uint64_t give_up_ns; /* 0: never */
	struct endpoint endpoint[ENDPOINTS_MAX];
	size_t cnt;
	size_t next;
	bool gave_up;		       /* logged, since an endpoint last answered */
	uint64_t tries, retries, down; /* atomic */
};

/* Opens the connections of cfg's endpoints. 0, or an error and why. */
int delivery_init(struct delivery *d, const struct exporter_cfg *cfg, char why[EXPORTER_WHY_MAX]);
void delivery_fini(struct delivery *d);
/* Sends a body of cnt spans until that is decided. DROP_END: the end came first. */
struct outcome deliver(struct delivery *d, struct str body, uint64_t cnt);
/* Appends what is wrong with the endpoints, on one line; nothing when all are fine. Any thread. */
void delivery_tell(struct delivery *d, struct buf *out);
/* Ends the waiting of a send; from another thread. */
void delivery_wake(struct delivery *d);

#endif

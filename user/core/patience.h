/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long an HTTP server waits for each of its clients. One that sends or reads drop by drop is
 * never silent, so that no idle time ends it: here every request and every answer has a deadline.
 * Past it the client is told 408, unless an answer is under way, and its socket is shut down: the
 * server's thread sees its end and closes it. Past the largest number of connections the one that
 * has waited longest for a request is shut down, so that idle clients keep nobody out.
 */
#ifndef CORE_PATIENCE_H
#define CORE_PATIENCE_H

#include <stdint.h>

enum patience_for {
	PATIENCE_IDLE,	  /* a request's headers */
	PATIENCE_REQUEST, /* its body */
	PATIENCE_ANSWER,  /* the client takes its answer */
	PATIENCE_OURS	  /* nothing: there is no deadline while we work */
};

struct patience;
struct patience_client; /* one connection */

/* max: connections. late counts those that missed a deadline, atomically; it stays the caller's.
 * 0, -ENOMEM, -EAGAIN. */
int patience_new(unsigned int max, uint64_t *late, struct patience **ret);
/* After all clients have left. NULL is fine. */
void patience_free(struct patience *p);

/* Any thread; a NULL client is fine. */

/* A connection that is idle for so many seconds at the most. fd stays the caller's. NULL without
 * memory. */
struct patience_client *patience_join(struct patience *p, int fd, uint32_t seconds);
/* From now on it is waited for this, for so many seconds at the most. */
void patience_wait(struct patience_client *c, enum patience_for what, uint32_t seconds);
/* Before its fd is closed; frees it. */
void patience_leave(struct patience_client *c);

#endif

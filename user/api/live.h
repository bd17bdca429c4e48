/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who follows spans as they come; private to the room. A follower has a bounded buffer; one whose
 * buffer is full is ended and counted, so that nobody who pushes ever waits. Knows nothing of HTTP
 * but the form of server-sent events.
 */
#ifndef API_LIVE_H
#define API_LIVE_H

#include <sys/types.h>

#include "span/span.h"

#define LIVE_CLIENTS_MAX 16
#define LIVE_BUFFER_MAX	 (256u << 10)

struct live_filter {
	char service[256]; /* empty: any */
	uint64_t min_duration_ns;
	bool errors; /* only spans with status error */
};

struct api_live;
struct live_client;

struct api_live *live_new(void);
/* One thread or many. */
void live_push(struct api_live *l, const struct span *s);
/* Sends a comment to who has heard nothing for a while: that is how a client that went away is
 * noticed. To be called about once a second. */
void live_tick(struct api_live *l, uint64_t now_ns);
/* Ends all followers and takes no more. */
void live_stop(struct api_live *l);
void live_free(struct api_live *l);

/* 0; -EAGAIN: LIVE_CLIENTS_MAX follow already; -ESHUTDOWN, -ENOMEM. */
int live_join(struct api_live *l, const struct live_filter *f, struct live_client **ret_client);
/* pause is called by a read that finds nothing, resume when there is something again or the end. */
void live_attach(struct live_client *c, void (*pause)(void *ctx), void (*resume)(void *ctx),
		 void *ctx);
/* Bytes of the stream; 0 after a pause; -1 at its end. */
ssize_t live_read(struct live_client *c, char *to, size_t size);
void live_leave(struct live_client *c); /* NULL is fine */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Receivers on free loopback ports, a producer that does as it is told, and requests to send. */
#ifndef TESTS_RECEIVE_SERVE_H
#define TESTS_RECEIVE_SERVE_H

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "core/buf.h"
#include "export/export.h"
#include "receive/receive.h"
#include "unit/export/span_gen.h"

/* What the producers of all threads share. */
struct world {
	pthread_mutex_t lock;
	uint64_t pushed;
	char service[64]; /* of the last span */
	int producers;	  /* made and not freed */
	int sync_err, admits_err;
	bool later; /* acknowledges from another thread */
};

static struct world world = { .lock = PTHREAD_MUTEX_INITIALIZER };

static inline void world_push(void *ctx, const struct span *s)
{
	pthread_mutex_lock(&world.lock);
	world.pushed++;
	snprintf(world.service, sizeof(world.service), STR_FMT, STR_ARG(s->resource->service));
	pthread_mutex_unlock(&world.lock);
}

static inline void *world_later(void *arg)
{
	struct receive_ack *ack = arg;

	usleep(20000);
	ack->done(ack->ctx, world.sync_err);
	free(ack);
	return NULL;
}

static inline void world_sync(void *ctx, struct receive_ack ack)
{
	struct receive_ack *copy;
	pthread_t thread;

	if (!world.later) {
		ack.done(ack.ctx, world.sync_err);
		return;
	}
	copy = malloc(sizeof(*copy));
	*copy = ack;
	pthread_create(&thread, NULL, world_later, copy);
	pthread_detach(thread);
}

static inline int world_admits(void *ctx)
{
	return world.admits_err;
}

static inline int world_make(void *ctx, struct receive_producer *ret)
{
	*ret = (struct receive_producer){ .out = { NULL, world_push },
					  .sync = world_sync,
					  .admits = world_admits };
	world.producers++;
	return 0;
}

static inline void world_free(void *ctx, struct receive_producer *p)
{
	world.producers--;
}

static inline struct receive_cfg serve_cfg(void)
{
	world.pushed = 0;
	world.sync_err = world.admits_err = 0;
	world.later = false;
	return (struct receive_cfg){
		.http = "127.0.0.1:0", .grpc = "127.0.0.1:0", .make = world_make, .free = world_free
	};
}

static inline uint64_t world_pushed(void)
{
	uint64_t cnt;

	pthread_mutex_lock(&world.lock);
	cnt = world.pushed;
	pthread_mutex_unlock(&world.lock);
	return cnt;
}

/* A request of cnt spans, the first 'bad' of them without an id. */
static inline struct buf make_request(bool json, size_t cnt, size_t bad)
{
	struct gen g = { .state = 88172645463325252ull, .mem = arena_new(0) };
	struct resource *r = gen_resource(&g, 7);
	const struct span **spans = calloc(cnt, sizeof(*spans));
	struct buf b = { 0 };

	for (size_t i = 0; i < cnt; i++) {
		struct span *s = gen_http_span(&g, r);

		if (i < bad)
			memset(&s->span_id, 0, sizeof(s->span_id));
		spans[i] = s;
	}
	if (json ? otlp_encode_json(spans, cnt, &b) : otlp_encode(spans, cnt, &b))
		abort();
	free(spans);
	resource_put(r);
	arena_free(g.mem);
	return b;
}

static inline struct buf gzip(struct str s)
{
	z_stream z = { 0 };
	struct buf b = { 0 };

	if (deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY))
		abort();
	buf_reserve(&b, deflateBound(&z, s.len) + 64);
	z.next_in = (Bytef *)s.p;
	z.avail_in = (uInt)s.len;
	z.next_out = (Bytef *)b.p;
	z.avail_out = (uInt)b.size;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	b.len = z.total_out;
	deflateEnd(&z);
	return b;
}

/* A connected socket that gives up after 60 s of silence. */
static inline int dial(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval patience = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		abort();
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Did the peer end it? Reads what is left. */
static inline bool is_closed(int fd)
{
	char text[4096];
	ssize_t n;

	do
		n = recv(fd, text, sizeof(text), 0);
	while (n > 0 || (n < 0 && errno == EINTR)); /* it was stopped and continued */
	return n == 0 || errno == ECONNRESET;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes after HTTP/2's preface, in pieces of changing size: the session survives, no memory of
 * bodies stays behind, and every call is answered once. */
#include <stdlib.h>

#include "receive/grpc.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *ctx, const struct span *s)
{
	if (!s->resource || !s->scope)
		abort();
}

static void sync_now(void *ctx, struct receive_ack ack)
{
	ack.done(ack.ctx, 0);
}

static int make(void *ctx, struct receive_producer *ret)
{
	*ret = (struct receive_producer){ .out = { NULL, ignore }, .sync = sync_now };
	return 0;
}

static void free_producer(void *ctx, struct receive_producer *p)
{
}

/* False when the connection is over. */
static bool feed(struct grpc_conn *c, const uint8_t *p, size_t len)
{
	bool open = grpc_conn_recv(c, p, len) == 0;

	grpc_calls_done(c->server);
	open = grpc_conn_fill(c) == 0 && open;
	buf_clear(&c->out);
	return open;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gate gate;
	static struct grpc_server server;
	const struct receive_cfg cfg = { .make = make, .free = free_producer, .body_max = 1 << 20 };
	struct grpc_conn *c;
	size_t step;
	bool open;

	if (!gate.cfg.make) {
		gate_init(&gate, &cfg);
		if (grpc_server_init(&server, &gate))
			abort();
	}
	c = grpc_conn_new(&server, -1);
	open = c && feed(c, (const uint8_t *)PREFACE, sizeof(PREFACE) - 1);
	for (size_t i = 0; open && i < size; i += step) {
		step = MIN(size - i, (size_t)1 + data[i] * 16);
		open = feed(c, data + i, step);
	}
	if (open)
		grpc_conn_tick(c, UINT64_MAX);
	grpc_conn_free(c);
	if (server.pending || server.conns || gate.held || gate.connections)
		abort();
	return 0;
}

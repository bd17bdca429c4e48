/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC client that makes one unary call at a time over a socket, and says exactly what it is
 * told to. */
#ifndef TESTS_RECEIVE_GRPC_CLIENT_H
#define TESTS_RECEIVE_GRPC_CLIENT_H

#include <nghttp2/nghttp2.h>

#include "unit/receive/serve.h"

struct grpc_client {
	int fd;
	nghttp2_session *session;
	struct buf request;
	size_t sent;
	/* of the last call */
	bool closed;
	bool goaway;
	int http, status;
	char message[256], details[256], accepts[64];
	struct buf reply;
};

static inline ssize_t client_read(nghttp2_session *session, int32_t stream, uint8_t *to,
				  size_t size, uint32_t *flags, nghttp2_data_source *source,
				  void *ctx)
{
	struct grpc_client *c = ctx;
	size_t len = MIN(size, c->request.len - c->sent);

	memcpy(to, c->request.p + c->sent, len);
	c->sent += len;
	if (c->sent == c->request.len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)len;
}

static inline int client_header(nghttp2_session *session, const nghttp2_frame *f,
				const uint8_t *name, size_t name_len, const uint8_t *value,
				size_t value_len, uint8_t flags, void *ctx)
{
	struct grpc_client *c = ctx;
	const char *n = (const char *)name, *v = (const char *)value;

	if (!strcmp(n, ":status"))
		c->http = atoi(v);
	else if (!strcmp(n, "grpc-status"))
		c->status = atoi(v);
	else if (!strcmp(n, "grpc-message"))
		snprintf(c->message, sizeof(c->message), "%s", v);
	else if (!strcmp(n, "grpc-status-details-bin"))
		snprintf(c->details, sizeof(c->details), "%s", v);
	else if (!strcmp(n, "grpc-accept-encoding"))
		snprintf(c->accepts, sizeof(c->accepts), "%s", v);
	return 0;
}

static inline int client_data(nghttp2_session *session, uint8_t flags, int32_t stream,
			      const uint8_t *p, size_t len, void *ctx)
{
	struct grpc_client *c = ctx;

	buf_add(&c->reply, p, len);
	return 0;
}

static inline int client_frame(nghttp2_session *session, const nghttp2_frame *f, void *ctx)
{
	struct grpc_client *c = ctx;

	c->goaway = c->goaway || f->hd.type == NGHTTP2_GOAWAY;
	return 0;
}

static inline int client_close(nghttp2_session *session, int32_t stream, uint32_t code, void *ctx)
{
	struct grpc_client *c = ctx;

	c->closed = true;
	return 0;
}

static inline void client_open(struct grpc_client *c, uint16_t port)
{
	nghttp2_session_callbacks *cb;

	memset(c, 0, sizeof(*c));
	c->fd = dial(port);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, client_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, client_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, client_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, client_close);
	nghttp2_session_client_new(&c->session, cb, c);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

/* Sends what there is and reads once. False when the connection is over. */
static inline bool client_step(struct grpc_client *c)
{
	const uint8_t *p;
	uint8_t in[65536];
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->session, &p)) > 0)
		for (ssize_t k, off = 0; off < n; off += k) {
			k = send(c->fd, p + off, (size_t)(n - off), MSG_NOSIGNAL);
			if (k <= 0)
				return false;
		}
	do
		n = recv(c->fd, in, sizeof(in), 0);
	while (n < 0 && errno == EINTR); /* it was stopped and continued */
	return n > 0 && nghttp2_session_mem_recv(c->session, in, (size_t)n) >= 0;
}

struct client_call {
	const char *method, *path, *type, *encoding;
	struct str body; /* frames and all */
};

static inline nghttp2_nv client_nv(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0 };
}

/* grpc-status; -1 when there came none. */
static inline int client_call(struct grpc_client *c, const struct client_call *call)
{
	nghttp2_data_provider data = { .read_callback = client_read };
	nghttp2_nv head[8];
	size_t cnt = 0;

	head[cnt++] = client_nv(":method", call->method ? call->method : "POST");
	head[cnt++] = client_nv(":scheme", "http");
	head[cnt++] = client_nv(":authority", "localhost");
	head[cnt++] = client_nv(
		":path", call->path
				 ? call->path
				 : "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
	head[cnt++] = client_nv("content-type", call->type ? call->type : "application/grpc");
	head[cnt++] = client_nv("te", "trailers");
	if (call->encoding)
		head[cnt++] = client_nv("grpc-encoding", call->encoding);
	buf_clear(&c->request);
	buf_add_str(&c->request, call->body);
	buf_clear(&c->reply);
	c->sent = 0;
	c->status = c->http = -1;
	c->message[0] = c->details[0] = 0;
	c->closed = false;
	nghttp2_submit_request(c->session, NULL, head, cnt, &data, NULL);
	while (!c->closed && client_step(c))
		;
	return c->status;
}

static inline void client_close_all(struct grpc_client *c)
{
	nghttp2_session_del(c->session);
	buf_fini(&c->request);
	buf_fini(&c->reply);
	close(c->fd);
}

/* A message in its frame, appended. */
static inline void add_message(struct buf *b, struct str message, bool compressed)
{
	uint32_t len = __builtin_bswap32((uint32_t)message.len);

	buf_add_char(b, compressed);
	buf_add(b, &len, sizeof(len));
	buf_add_str(b, message);
}

#endif

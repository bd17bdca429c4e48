/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OTLP/gRPC: one call at a time over one kept HTTP/2 connection (nghttp2). A connection on which
 * anything went wrong below gRPC is closed, and the next call makes a new one.
 */
#include "export/grpc.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "export/post.h"

#define PATH	    "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define HEADERS_MAX 80
#define PREFIX	    5 /* of a message: compressed or not, length */

struct grpc {
	struct wire *wire;
	struct gzip *gzip; /* NULL: messages go as they are */
	uint32_t timeout_ms;
	char timeout[16];
	nghttp2_nv headers[HEADERS_MAX]; /* those of cfg own their text */
	size_t header_cnt, own_cnt;	 /* own: the first ones, which do not */

	nghttp2_session *session; /* as long as the wire is up */
	bool heard;		  /* anything on this connection */
	bool is_http1;		  /* what answered */

	/* the call */
	char prefix[PREFIX];
	struct str body;
	size_t sent; /* of prefix and body */
	int32_t stream;
	bool closed;
	struct grpc_reply reply;
};

/* ---- what nghttp2 asks for ---- */

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
		       void *ctx)
{
	ssize_t n = wire_send(((struct grpc *)ctx)->wire, data, len);

	if (n == -EAGAIN)
		return NGHTTP2_ERR_WOULDBLOCK;
	return n < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : n;
}

static ssize_t on_read(nghttp2_session *session, int32_t stream, uint8_t *to, size_t size,
		       uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct grpc *g = ctx;
	size_t n = 0, part;

	if (g->sent < PREFIX) {
		n = MIN(PREFIX - g->sent, size);
		memcpy(to, g->prefix + g->sent, n);
		g->sent += n;
	}
	part = MIN(g->body.len + PREFIX - g->sent, size - n);
	if (part)
		memcpy(to + n, g->body.p + g->sent - PREFIX, part);
	g->sent += part;
	if (g->sent == g->body.len + PREFIX)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)(n + part);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *ctx)
{
	struct grpc *g = ctx;

	if (frame->hd.stream_id == g->stream)
		grpc_reply_header(&g->reply, (struct str){ (const char *)name, name_len },
				  (struct str){ (const char *)value, value_len });
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
		   size_t len, void *ctx)
{
	struct grpc *g = ctx;

	/* What does not fit is let go: the status, which follows, decides. */
	if (stream == g->stream)
		buf_add(&g->reply.body, data, len);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error_code, void *ctx)
{
	struct grpc *g = ctx;

	g->closed = g->closed || stream == g->stream;
	return 0;
}

/* ---- the connection ---- */

static void drop_connection(struct grpc *g)
{
	nghttp2_session_del(g->session);
	g->session = NULL;
	wire_close(g->wire);
}

static int new_session(struct grpc *g)
{
	static const nghttp2_settings_entry settings = { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 };
	nghttp2_session_callbacks *calls;
	int err;

	g->heard = g->is_http1 = false;
	if (nghttp2_session_callbacks_new(&calls))
		return -ENOMEM;
	nghttp2_session_callbacks_set_send_callback(calls, on_send);
	nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_close);
	err = nghttp2_session_client_new(&g->session, calls, g);
	nghttp2_session_callbacks_del(calls);
	if (!err)
		err = nghttp2_submit_settings(g->session, NGHTTP2_FLAG_NONE, &settings, 1);
	return err ? -ENOMEM : 0;
}

/* Takes in what has come. 0, or -EPIPE when the connection is of no more use. */
static int receive(struct grpc *g)
{
	uint8_t data[16384];
	ssize_t n;

	while ((n = wire_recv(g->wire, data, sizeof(data))) > 0) {
		if (!g->heard)
			g->is_http1 =
				str_starts((struct str){ (char *)data, (size_t)n }, STR("HTTP/1"));
		g->heard = true;
		if (g->is_http1 || nghttp2_session_mem_recv(g->session, data, (size_t)n) < 0)
			return -EPIPE;
	}
	return n == -EAGAIN ? 0 : -EPIPE;
}

/* A server may have ended the connection since the last call. */
static void check_connection(struct grpc *g)
{
	if (wire_is_up(g->wire) &&
	    (receive(g) || !nghttp2_session_check_request_allowed(g->session)))
		drop_connection(g);
}

static int open_connection(struct grpc *g, uint64_t deadline_ns, const uint64_t *stop_ns,
			   struct verdict *ret)
{
	int err;

	check_connection(g);
	if (wire_is_up(g->wire))
		return 0;
	err = wire_open(g->wire, deadline_ns, stop_ns, ret->text);
	if (!err)
		err = new_session(g);
	if (err)
		drop_connection(g);
	return err;
}

/* ---- a call ---- */

static void begin_call(struct grpc *g, struct str body, bool compressed)
{
	uint32_t len = htonl((uint32_t)body.len);

	g->prefix[0] = compressed;
	memcpy(g->prefix + 1, &len, sizeof(len));
	g->body = body;
	g->sent = 0;
	g->closed = false;
	buf_fini(&g->reply.body);
	g->reply = (struct grpc_reply){ .body.cap = REPLY_BYTES_MAX };
}

/* What the peer said before it closed the connection tells more than that it cannot be written to.
 */
static int send_frames(struct grpc *g)
{
	if (!nghttp2_session_send(g->session))
		return 0;
	receive(g);
	return -EPIPE;
}

/* Until the stream is closed. 0, or -errno when the connection or the time ended first. */
static int run_call(struct grpc *g, uint64_t deadline_ns, const uint64_t *stop_ns)
{
	const nghttp2_data_provider from = { .read_callback = on_read };
	int err = 0;

	g->stream =
		nghttp2_submit_request(g->session, NULL, g->headers, g->header_cnt, &from, NULL);
	if (g->stream < 0)
		return -EPIPE;
	while (!g->closed && !err) {
		err = send_frames(g);
		if (!err)
			err = receive(g);
		/* what came may be answered before there is anything to wait for */
		if (!err && !g->closed)
			err = send_frames(g);
		if (!err && !g->closed)
			err = wire_wait(g->wire, nghttp2_session_want_write(g->session),
					deadline_ns, stop_ns);
	}
	return g->closed ? 0 : err;
}

static void send_body(void *conn, struct str body, const uint64_t *stop_ns, struct verdict *ret)
{
	struct grpc *g = conn;
	uint64_t deadline = clock_mono_ns() + g->timeout_ms * NS_PER_MS;
	int err = 0;

	ret->what = VERDICT_RETRY;
	if (g->gzip && gzip_body(g->gzip, body, &body)) {
		snprintf(ret->text, sizeof(ret->text), "no memory to compress");
		return;
	}
	if (open_connection(g, deadline, stop_ns, ret))
		return;
	begin_call(g, body, g->gzip != NULL);
	err = run_call(g, deadline, stop_ns);
	/* A status that came before the end holds. */
	if (err && !g->reply.has_status)
		snprintf(ret->text, sizeof(ret->text), "%s",
			 err == -ETIMEDOUT ? "no answer in time"
			 : g->is_http1	   ? "it answers in HTTP/1.1; is it a port of OTLP/HTTP?"
					   : wire_error(g->wire));
	else
		grpc_reply_judge(&g->reply, ret);
	if (err)
		drop_connection(g);
}

/* ---- life ---- */

static int add_header(void *ctx, const char *name, const char *value)
{
	struct grpc *g = ctx;
	char *lower = strdup(name), *copy = strdup(value);

	if (!lower || !copy || g->header_cnt == HEADERS_MAX) {
		free(lower);
		free(copy);
		return !lower || !copy ? -ENOMEM : -EBADMSG;
	}
	for (char *c = lower; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	g->headers[g->header_cnt++] = (nghttp2_nv){ .name = (uint8_t *)lower,
						    .namelen = strlen(lower),
						    .value = (uint8_t *)copy,
						    .valuelen = strlen(copy) };
	return 0;
}

static void add_own(struct grpc *g, const char *name, const char *value)
{
	g->headers[g->header_cnt++] = (nghttp2_nv){ .name = (uint8_t *)name,
						    .namelen = strlen(name),
						    .value = (uint8_t *)value,
						    .valuelen = strlen(value) };
	g->own_cnt = g->header_cnt;
}

static void close_conn(void *conn)
{
	struct grpc *g = conn;

	nghttp2_session_del(g->session);
	wire_free(g->wire);
	gzip_free(g->gzip);
	for (size_t i = g->own_cnt; i < g->header_cnt; i++) {
		free(g->headers[i].name);
		free(g->headers[i].value);
	}
	buf_fini(&g->reply.body);
	free(g);
}

static void add_headers(struct grpc *g)
{
	snprintf(g->timeout, sizeof(g->timeout), "%um", MIN(g->timeout_ms, 99999999u));
	add_own(g, ":method", "POST");
	add_own(g, ":scheme", wire_scheme(g->wire));
	add_own(g, ":path", PATH);
	add_own(g, ":authority", wire_authority(g->wire));
	add_own(g, "te", "trailers");
	add_own(g, "content-type", "application/grpc");
	add_own(g, "user-agent", USER_AGENT);
	add_own(g, "grpc-timeout", g->timeout);
	if (g->gzip)
		add_own(g, "grpc-encoding", "gzip");
}

static int open_conn(const struct exporter_cfg *cfg, const char *endpoint, void **ret_conn,
		     char why[EXPORTER_WHY_MAX])
{
	struct grpc *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return refuse(why, -ENOMEM, "no memory");
	g->timeout_ms = cfg->timeout_ms;
	g->gzip = cfg->gzip ? gzip_new() : NULL;
	err = cfg->gzip && !g->gzip ? refuse(why, -ENOMEM, "no memory")
				    : wire_new(cfg, endpoint, &g->wire, why);
	if (!err) {
		add_headers(g);
		err = headers_each(cfg->headers, add_header, g);
		if (err)
			refuse(why, err,
			       err == -EBADMSG ? "headers: expected NAME=VALUE[,NAME=VALUE...]"
					       : "no memory");
	}
	if (err) {
		close_conn(g);
		return err;
	}
	*ret_conn = g;
	return 0;
}

static void wake(void *conn)
{
	wire_wake(((struct grpc *)conn)->wire);
}

const struct kind kind_otlp_grpc = { "otlp_grpc", &format_otlp_proto, false, open_conn, send_body,
				     wake,	  close_conn };

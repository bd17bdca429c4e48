/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/2 connection. nghttp2 bounds what a peer can make it queue (acknowledgements of SETTINGS
 * and PING), and settings a frame; streams at a time, their headers and the streams that a client
 * opens only to reset them are bounded here.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "receive/grpc.h"

#define STREAMS_MAX	  128
#define STREAM_WINDOW	  (4 << 20)
#define CONNECTION_WINDOW (16 << 20)
#define FRAME_BYTES_MAX	  (256 << 10)
#define RESETS_MAX	  1000
#define ACKS_MAX	  256 /* that the peer does not read */
#define SETTINGS_MAX	  32
#define OUT_BYTES	  (64u << 10) /* no more is taken from nghttp2 until it was sent */

/* ---- nghttp2's callbacks ---- */

static struct grpc_call *call_of(nghttp2_session *session, int32_t stream)
{
	return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *f, void *ctx)
{
	struct grpc_call *call;

	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call = grpc_call_new(ctx, f->hd.stream_id);
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	nghttp2_session_set_stream_user_data(session, f->hd.stream_id, call);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *ctx)
{
	struct grpc_call *call = call_of(session, f->hd.stream_id);

	if (!call)
		return 0;
	call->header_bytes += name_len + value_len + 32; /* as SETTINGS counts them */
	/* a little past it is answered, much past it is not */
	if (call->header_bytes > 4 * HEADER_BYTES_MAX)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (f->headers.cat == NGHTTP2_HCAT_REQUEST)
		grpc_call_header(call, (struct str){ (const char *)name, name_len },
				 (struct str){ (const char *)value, value_len });
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *p,
		   size_t len, void *ctx)
{
	struct grpc_call *call = call_of(session, stream);

	if (call)
		grpc_call_data(call, p, len);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *f, void *ctx)
{
	struct grpc_conn *c = ctx;
	struct grpc_call *call;

	c->active_ns = clock_mono_ns();
	c->unfinished = 0;
	/* a client that opens streams and takes them back makes work for nothing */
	if (f->hd.type == NGHTTP2_RST_STREAM && ++c->resets > RESETS_MAX)
		return nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
	if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
		return 0;
	call = call_of(session, f->hd.stream_id);
	if (!call)
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		grpc_call_begin(call);
	if (f->hd.flags & NGHTTP2_FLAG_END_STREAM)
		grpc_call_end(call);
	return 0;
}

/* An answer that came before the request's end: the client need not send the rest. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *f, void *ctx)
{
	if (f->hd.type == NGHTTP2_HEADERS && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
	    !nghttp2_session_get_stream_remote_close(session, f->hd.stream_id))
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, f->hd.stream_id,
					  NGHTTP2_NO_ERROR);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *ctx)
{
	struct grpc_conn *c = ctx;
	struct grpc_call *call = call_of(session, stream);

	if (!call)
		return 0;
	/* who finishes calls may reset some */
	if (call->answered && code == NGHTTP2_NO_ERROR && c->resets)
		c->resets--;
	nghttp2_session_set_stream_user_data(session, stream, NULL);
	grpc_call_detach(call);
	return 0;
}

/* ---- a connection ---- */

static int start_session(struct grpc_conn *c)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_BYTES_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_BYTES_MAX },
	};

	return nghttp2_session_server_new2(&c->session, c->server->callbacks, c,
					   c->server->options) ||
	       nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
				       ARRAY_LEN(settings)) ||
	       nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
						     CONNECTION_WINDOW);
}

struct grpc_conn *grpc_conn_new(struct grpc_server *s, int fd)
{
	struct grpc_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->server = s;
	c->fd = fd;
	c->active_ns = clock_mono_ns();
	if (start_session(c)) {
		nghttp2_session_del(c->session);
		free(c);
		return NULL;
	}
	c->next = s->conns;
	if (s->conns)
		s->conns->prev = c;
	s->conns = c;
	s->conn_cnt++;
	__atomic_add_fetch(&s->gate->connections, 1, __ATOMIC_RELAXED);
	return c;
}

void grpc_conn_free(struct grpc_conn *c)
{
	struct grpc_server *s = c->server;

	while (c->calls)
		grpc_call_detach(c->calls);
	/* closes streams without telling: their calls have gone */
	nghttp2_session_del(c->session);
	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->conn_cnt--;
	__atomic_sub_fetch(&s->gate->connections, 1, __ATOMIC_RELAXED);
	buf_fini(&c->out);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

int grpc_conn_recv(struct grpc_conn *c, const uint8_t *p, size_t len)
{
	ssize_t n;

	/* what drips in is no sign of life before it makes a frame */
	c->unfinished += len;
	n = nghttp2_session_mem_recv(c->session, p, len);
	return n < 0 ? -EPROTO : 0;
}

int grpc_conn_fill(struct grpc_conn *c)
{
	const uint8_t *p;
	ssize_t n;

	while (c->out.len < OUT_BYTES) {
		n = nghttp2_session_mem_send(c->session, &p);
		if (n < 0)
			return -EPROTO;
		if (!n)
			break;
		if (buf_add(&c->out, p, (size_t)n))
			return -ENOMEM;
	}
	/* nothing to say and nothing to hear: over */
	return c->out.len || nghttp2_session_want_read(c->session) ||
			       nghttp2_session_want_write(c->session)
		       ? 0
		       : -EPROTO;
}

void grpc_conn_goaway(struct grpc_conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
			      nghttp2_session_get_last_proc_stream_id(c->session), NGHTTP2_NO_ERROR,
			      NULL, 0);
}

void grpc_conn_tick(struct grpc_conn *c, uint64_t now_ns)
{
	uint64_t limit_ns = c->server->gate->cfg.request_s * NS_PER_S;

	for (struct grpc_call *call = c->calls, *next; call; call = next) {
		next = call->next;
		if (call->answered || call->waiting || now_ns - call->begin_ns < limit_ns)
			continue;
		answer_set(&call->answer, 408, "the call took more than %u s",
			   c->server->gate->cfg.request_s);
		__atomic_add_fetch(&c->server->gate->late, 1, __ATOMIC_RELAXED);
		grpc_call_answer(call);
	}
}

/* ---- what connections share ---- */

int grpc_server_init(struct grpc_server *s, struct gate *g)
{
	nghttp2_session_callbacks *cb;
	int err;

	*s = (struct grpc_server){ .gate = g, .listen_fd = -1, .epoll_fd = -1, .event_fd = -1 };
	pthread_mutex_init(&s->lock, NULL);
	if (nghttp2_session_callbacks_new(&s->callbacks) || nghttp2_option_new(&s->options))
		return -ENOMEM;
	cb = s->callbacks;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_option_set_max_outbound_ack(s->options, ACKS_MAX);
	nghttp2_option_set_max_settings(s->options, SETTINGS_MAX);
	err = g->cfg.make(g->cfg.ctx, &s->producer);
	if (err)
		return err;
	s->made = true;
	s->decoder = decoder_new(s->producer.out);
	return s->decoder ? 0 : -ENOMEM;
}

void grpc_server_fini(struct grpc_server *s)
{
	while (s->conns)
		grpc_conn_free(s->conns);
	nghttp2_session_callbacks_del(s->callbacks);
	nghttp2_option_del(s->options);
	decoder_free(s->decoder);
	if (s->made)
		s->gate->cfg.free(s->gate->cfg.ctx, &s->producer);
	pthread_mutex_destroy(&s->lock);
}

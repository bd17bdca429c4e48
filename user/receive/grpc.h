/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC server's parts. A connection is an nghttp2 session that takes bytes and gives bytes and
 * knows no socket; a call is one of its streams; the server is the loop around them. A call whose
 * spans wait to be durable outlives its connection.
 */
#ifndef RECEIVE_GRPC_H
#define RECEIVE_GRPC_H

#include <nghttp2/nghttp2.h>

#include "receive/server.h"

#define HEADER_BYTES_MAX (16 << 10)

struct grpc_conn;

struct grpc_call {
	struct grpc_conn *conn; /* NULL: it has gone */
	struct grpc_server *server;
	struct grpc_call *prev, *next; /* of the connection */
	struct grpc_call *next_done;
	int32_t stream;
	uint64_t begin_ns;
	size_t header_bytes;
	/* what the headers say */
	bool is_post, is_grpc, is_export;
	enum coding coding;
	/* the message's frame: flag and length, then so many bytes */
	uint8_t frame[5];
	size_t frame_len;
	uint32_t message_left;
	bool message_seen;
	struct body body;
	struct answer answer;
	bool answered; /* handed to nghttp2 */
	bool waiting;  /* for the acknowledgement */
	int ack;
	struct buf reply; /* framed */
	size_t reply_sent;
};

struct grpc_conn {
	struct grpc_server *server;
	struct grpc_conn *prev, *next;
	nghttp2_session *session;
	struct grpc_call *calls;
	uint32_t call_cnt;
	uint32_t resets;    /* streams that the client took back */
	uint64_t active_ns; /* when a frame was last complete */
	size_t unfinished;  /* bytes that came after it */
	int fd;
	bool wants_write; /* as epoll was told */
	bool closing;	  /* GOAWAY was sent */
	struct buf out;
};

struct grpc_server {
	struct gate *gate;
	struct receive_producer producer;
	bool made;
	struct decoder *decoder;
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *options;
	struct grpc_conn *conns;
	uint32_t conn_cnt;
	/* the loop */
	int listen_fd, epoll_fd, event_fd;
	bool listening;
	pthread_t thread;
	bool started;
	bool leaving; /* GOAWAY was sent to all */
	uint8_t *in;
	/* acknowledgements come from other threads */
	pthread_mutex_t lock;
	struct grpc_call *done;
	uint32_t pending;
	bool stopping;
};

/* Without a loop: for the loop, and for what feeds a session by hand. */
int grpc_server_init(struct grpc_server *s, struct gate *g);
void grpc_server_fini(struct grpc_server *s);

/* fd is closed with it; -1: none. NULL without memory. */
struct grpc_conn *grpc_conn_new(struct grpc_server *s, int fd);
void grpc_conn_free(struct grpc_conn *c);
/* 0, or -EPROTO: close it. */
int grpc_conn_recv(struct grpc_conn *c, const uint8_t *p, size_t len);
/* Moves what is to be sent into c->out, up to a limit. 0, or -EPROTO. */
int grpc_conn_fill(struct grpc_conn *c);
/* No more calls; the client is told. */
void grpc_conn_goaway(struct grpc_conn *c);
/* Answers calls that take too long. */
void grpc_conn_tick(struct grpc_conn *c, uint64_t now_ns);

/* ---- calls ---- */

struct grpc_call *grpc_call_new(struct grpc_conn *c, int32_t stream);
/* Lets go of its connection; frees it unless it waits. */
void grpc_call_detach(struct grpc_call *call);
void grpc_call_header(struct grpc_call *call, struct str name, struct str value);
/* All headers are there. */
void grpc_call_begin(struct grpc_call *call);
void grpc_call_data(struct grpc_call *call, const uint8_t *p, size_t len);
void grpc_call_end(struct grpc_call *call);
void grpc_call_answer(struct grpc_call *call);
/* Answers the calls whose acknowledgement came. */
void grpc_calls_done(struct grpc_server *s);

#endif

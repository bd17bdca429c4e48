/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server, one thread of it: libmicrohttpd with epoll. A request is suspended while what it
 * carried becomes durable, and answered from then on. What is refused early is still read to its
 * end when it is not much longer than what is taken, so that the client sees the answer and not a
 * reset.
 */
#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/log.h"
#include "core/patience.h"
#include "receive/server.h"

#define CONNECTION_BYTES (64u << 10) /* of libmicrohttpd: headers, and a piece of the body */
#define DRAIN_BYTES	 (1u << 20)
#define CLOSING_MAX	 32 /* connections that were shut and are about to go */

#define TYPE_PROTOBUF "application/x-protobuf"
#define TYPE_JSON     "application/json"

struct http_server {
	struct gate *gate;
	struct receive_producer producer;
	bool made; /* the producer */
	struct decoder *decoder;
	struct MHD_Daemon *daemon;
	struct patience *patience;
	pthread_mutex_t lock;
	pthread_cond_t quiet;
	uint32_t pending; /* acknowledgements under way */
	bool stopping;
};

enum path { PATH_OTLP, PATH_ZIPKIN, PATH_OTHER };

struct request {
	struct http_server *server;
	struct MHD_Connection *conn;
	enum path path;
	enum encoding encoding;
	struct body body;
	struct answer answer;
	bool waiting; /* for the acknowledgement */
	int ack;      /* its result */
};

/* ---- what comes ---- */

static const char *header(const struct request *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

static struct str media_type(const struct request *r)
{
	struct str s = str_of(header(r, "Content-Type"));
	ptrdiff_t end = str_find(s, ';');

	return str_trim(end < 0 ? s : (struct str){ s.p, (size_t)end });
}

static bool set_encoding(struct request *r)
{
	struct str type = media_type(r);

	if (str_eq_nocase(type, STR(TYPE_JSON)) || (!type.len && r->path == PATH_ZIPKIN)) {
		r->encoding = ENCODING_JSON;
		return true;
	}
	if (str_eq_nocase(type, STR(TYPE_PROTOBUF)) && r->path == PATH_OTLP) {
		r->encoding = ENCODING_PROTOBUF;
		return true;
	}
	answer_set(&r->answer, 415, "Content-Type must be %s",
		   r->path == PATH_OTLP ? TYPE_PROTOBUF " or " TYPE_JSON : TYPE_JSON);
	return false;
}

/* Sets the answer when the headers tell enough. Returns the length that is announced. */
static uint64_t look_at_headers(struct request *r, const char *path, const char *method)
{
	const struct gate *g = r->server->gate;
	struct str coding = str_trim(str_of(header(r, "Content-Encoding")));
	const char *length = header(r, "Content-Length");
	uint64_t len = 0;

	r->encoding = ENCODING_JSON;
	r->path = !strcmp(path, "/v1/traces")	   ? PATH_OTLP
		  : !strcmp(path, "/api/v2/spans") ? PATH_ZIPKIN
						   : PATH_OTHER;
	if (length && !str_to_u64(str_of(length), &len))
		len = UINT64_MAX;
	if (r->path == PATH_OTHER)
		answer_set(&r->answer, 404,
			   "there is /v1/traces (OTLP) and /api/v2/spans (Zipkin)");
	else if (strcmp(method, "POST"))
		answer_set(&r->answer, 405, "only POST is allowed");
	else if (set_encoding(r) && coding_of(coding) == CODING_UNKNOWN)
		answer_set(&r->answer, 415, "Content-Encoding must be gzip, zstd or identity");
	else if (!r->answer.http && len > g->cfg.body_max)
		answer_set(&r->answer, 413, "a request may have %zu bytes", g->cfg.body_max);
	if (!r->answer.http && answer_admits(&r->answer, r->server->gate, &r->server->producer))
		body_init(&r->body, r->server->gate, coding_of(coding));
	return len;
}

/* ---- deadlines ---- */

static void wait_for(struct MHD_Connection *conn, enum patience_for what, uint32_t seconds)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	patience_wait(info ? info->socket_context : NULL, what, seconds);
}

/* The next request's headers: after silence, which has a limit of its own, they may take as long
 * again. */
static uint32_t idle_max_s(const struct http_server *s)
{
	return 2 * s->gate->cfg.idle_s;
}

static void on_connection(void *ctx, struct MHD_Connection *conn, void **client,
			  enum MHD_ConnectionNotificationCode what)
{
	struct http_server *s = ctx;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (what == MHD_CONNECTION_NOTIFY_CLOSED)
		patience_leave(*client);
	else if (info)
		*client = patience_join(s->patience, info->connect_fd, idle_max_s(s));
}

/* ---- what goes ---- */

static enum MHD_Result send_answer(struct request *r)
{
	const struct answer *a = &r->answer;
	bool zipkin_success = r->path == PATH_ZIPKIN && a->http == 200;
	struct buf body = { 0 };
	struct MHD_Response *m;
	enum MHD_Result sent;
	char retry[16];

	gate_count(r->server->gate, answer_outcome(a));
	body_fini(&r->body);
	if (!zipkin_success || a->rejected)
		answer_body(a, r->encoding, &body);
	m = MHD_create_response_from_buffer(body.len, body.p, MHD_RESPMEM_MUST_FREE);
	if (!m || body.failed) {
		buf_fini(&body);
		return MHD_NO;
	}
	MHD_add_response_header(m, "Content-Type",
				r->encoding == ENCODING_PROTOBUF ? TYPE_PROTOBUF : TYPE_JSON);
	snprintf(retry, sizeof(retry), "%u", a->retry_s);
	if (a->retry_s)
		MHD_add_response_header(m, "Retry-After", retry);
	if (a->http == 405)
		MHD_add_response_header(m, "Allow", "POST");
	wait_for(r->conn, PATIENCE_ANSWER, r->server->gate->cfg.request_s);
	sent = MHD_queue_response(r->conn, zipkin_success ? 202 : a->http, m);
	MHD_destroy_response(m);
	return sent;
}

/* ---- acknowledgement ---- */

static bool begin_sync(struct http_server *s)
{
	bool may;

	pthread_mutex_lock(&s->lock);
	may = !s->stopping;
	s->pending += may;
	pthread_mutex_unlock(&s->lock);
	return may;
}

/* Once resumed the request is its thread's again, and once nothing is pending the server may go:
 * the lock is let go of last. */
static void on_ack(void *ctx, int err)
{
	struct request *r = ctx;
	struct http_server *s = r->server;

	pthread_mutex_lock(&s->lock);
	r->ack = err;
	MHD_resume_connection(r->conn);
	if (--s->pending == 0)
		pthread_cond_signal(&s->quiet);
	pthread_mutex_unlock(&s->lock);
}

static enum MHD_Result finish(struct request *r)
{
	struct decoder *d = r->server->decoder;
	struct str body = buf_str(&r->body.data);
	int err = body_end(&r->body);

	if (err) {
		answer_error(&r->answer, r->server->gate, err, "the compressed body is cut short");
		return send_answer(r);
	}
	err = r->path == PATH_ZIPKIN	     ? decode_zipkin(d, body)
	      : r->encoding == ENCODING_JSON ? decode_otlp_json(d, body)
					     : decode_otlp(d, body);
	if (err)
		answer_error(&r->answer, r->server->gate, err, d->intake.why);
	else
		answer_intake(&r->answer, &d->intake);
	if (err || !d->intake.accepted)
		return send_answer(r);
	if (!begin_sync(r->server)) {
		answer_set(&r->answer, 503, "shutting down; send it again");
		return send_answer(r);
	}
	r->waiting = true;
	/* the memory is somebody else's meanwhile */
	body_fini(&r->body);
	wait_for(r->conn, PATIENCE_OURS, 0);
	MHD_suspend_connection(r->conn);
	r->server->producer.sync(r->server->producer.ctx, (struct receive_ack){ on_ack, r });
	return MHD_YES;
}

/* ---- libmicrohttpd's callbacks ---- */

/* What is read of a body that is refused. */
static size_t drain_max(const struct request *r)
{
	return 2 * MAX(r->server->gate->cfg.body_max, (size_t)DRAIN_BYTES);
}

/* Before any of it has come; what comes too fast is not taken in to be thrown away. */
static bool is_drained(const struct request *r, uint64_t len)
{
	bool fast = r->answer.http == 429 || r->answer.http == 503;

	return len <= (fast ? DRAIN_BYTES : drain_max(r)) && !header(r, "Expect");
}

static enum MHD_Result begin(struct http_server *s, struct MHD_Connection *conn, const char *path,
			     const char *method, void **req)
{
	struct request *r = calloc(1, sizeof(*r));
	uint64_t len;

	if (!r)
		return MHD_NO;
	*req = r;
	r->server = s;
	r->conn = conn;
	wait_for(conn, PATIENCE_REQUEST, s->gate->cfg.request_s);
	len = look_at_headers(r, path, method);
	if (r->answer.http && !is_drained(r, len))
		return send_answer(r);
	return MHD_YES;
}

static enum MHD_Result take_piece(struct request *r, const char *p, size_t len)
{
	int err;

	if (r->answer.http) {
		/* refused: the rest is read, but not without end */
		r->body.wire += len;
		return r->body.wire > drain_max(r) ? MHD_NO : MHD_YES;
	}
	err = body_add(&r->body, p, len);
	if (err) {
		answer_error(&r->answer, r->server->gate, err,
			     "the body is not of the coding that its header names");
		body_fini(&r->body);
	}
	return MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *path,
				  const char *method, const char *version, const char *piece,
				  size_t *piece_len, void **req)
{
	struct request *r = *req;
	size_t len = *piece_len;

	if (!r)
		return begin(ctx, conn, path, method, req);
	if (len) {
		*piece_len = 0;
		return take_piece(r, piece, len);
	}
	if (r->waiting) {
		if (r->ack > 0)
			answer_not_kept(&r->answer, (unsigned int)r->ack);
		else if (r->ack)
			answer_error(&r->answer, r->server->gate, r->ack, "");
		return send_answer(r);
	}
	return r->answer.http ? send_answer(r) : finish(r);
}

static void on_completed(void *ctx, struct MHD_Connection *conn, void **req,
			 enum MHD_RequestTerminationCode how)
{
	struct request *r = *req;

	wait_for(conn, PATIENCE_IDLE, idle_max_s(ctx));
	if (r)
		body_fini(&r->body);
	free(r);
	*req = NULL;
}

static void on_log(void *ctx, const char *fmt, va_list ap)
{
	char line[256];

	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = 0;
	log_debug("receive: %s", line);
}

/* ---- the server ---- */

static int start(struct http_server *s, int listen_fd)
{
	const struct receive_cfg *cfg = &s->gate->cfg;
	int fd = dup(listen_fd); /* the daemon closes it */
	sigset_t all, was;

	if (fd < 0)
		return -errno;
	/* signals are for the thread that runs the program */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	s->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
		NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		cfg->connections_max + CLOSING_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, cfg->idle_s,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, s, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (s->daemon)
		return 0;
	close(fd);
	return -ENOMEM;
}

int http_server_new(struct gate *g, int listen_fd, struct http_server **ret,
		    char why[RECEIVE_WHY_MAX])
{
	struct http_server *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (!s)
		goto fail;
	s->gate = g;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->quiet, NULL);
	err = g->cfg.make(g->cfg.ctx, &s->producer);
	if (err)
		goto fail;
	s->made = true;
	err = patience_new(g->cfg.connections_max, &g->late, &s->patience);
	if (err)
		goto fail;
	s->decoder = decoder_new(s->producer.out);
	err = s->decoder ? start(s, listen_fd) : -ENOMEM;
	if (err)
		goto fail;
	*ret = s;
	return 0;
fail:
	snprintf(why, RECEIVE_WHY_MAX, "OTLP/HTTP: start its thread: %s", strerror(-err));
	http_server_free(s);
	return err;
}

void http_server_free(struct http_server *s)
{
	MHD_socket fd;

	if (!s)
		return;
	if (s->daemon) {
		fd = MHD_quiesce_daemon(s->daemon);
		pthread_mutex_lock(&s->lock);
		s->stopping = true;
		while (s->pending)
			pthread_cond_wait(&s->quiet, &s->lock);
		pthread_mutex_unlock(&s->lock);
		MHD_stop_daemon(s->daemon);
		if (fd != MHD_INVALID_SOCKET)
			close(fd);
	}
	patience_free(s->patience);
	decoder_free(s->decoder);
	if (s->made)
		s->gate->cfg.free(s->gate->cfg.ctx, &s->producer);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->quiet);
	free(s);
}

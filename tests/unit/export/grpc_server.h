/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server on 127.0.0.1 that answers by script, one connection at a time, with TLS when it is
 * given a certificate. The last answer of the script repeats.
 */
#ifndef TESTS_EXPORT_GRPC_SERVER_H
#define TESTS_EXPORT_GRPC_SERVER_H

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

#define GRPC_CALLS_MAX 64

struct grpc_answer {
	const char *status; /* ":status"; NULL: "200" */
	const char *grpc_status;
	const char *message;
	const char *details;
	struct str body;
	bool hang;  /* never answers */
	bool reset; /* the stream */
	bool bye;   /* closes the connection after the answer */
};

struct grpc_call {
	char headers[2048];
	struct buf body;
	uint64_t at_ns;
};

struct grpc_server {
	int fd;
	uint16_t port;
	const char *cert, *key, *client_ca; /* NULL: no TLS; no client certificate */
	const struct grpc_answer *script;
	uint32_t script_cnt;
	pthread_t thread;
	bool stop;
	gnutls_certificate_credentials_t credentials;

	gnutls_session_t tls;
	int conn;
	nghttp2_session *session;
	size_t body_sent;
	const struct grpc_answer *answer;
	bool bye;

	struct grpc_call call[GRPC_CALLS_MAX];
	uint32_t cnt;	      /* atomic: calls that came whole */
	uint32_t connections; /* atomic */
};

static inline ssize_t gs_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
			      void *ctx)
{
	struct grpc_server *s = ctx;
	ssize_t n = s->tls ? gnutls_record_send(s->tls, data, len)
			   : send(s->conn, data, len, MSG_NOSIGNAL);

	return n < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : n;
}

static inline nghttp2_nv gs_nv(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0 };
}

static inline ssize_t gs_read(nghttp2_session *session, int32_t stream, uint8_t *to, size_t size,
			      uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct grpc_server *s = ctx;
	const struct grpc_answer *a = s->answer;
	size_t n = MIN(size, a->body.len - s->body_sent);
	nghttp2_nv trailer[3];
	size_t cnt = 0;

	if (n)
		memcpy(to, a->body.p + s->body_sent, n);
	s->body_sent += n;
	if (s->body_sent < a->body.len)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (!a->grpc_status)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	trailer[cnt++] = gs_nv("grpc-status", a->grpc_status);
	if (a->message)
		trailer[cnt++] = gs_nv("grpc-message", a->message);
	if (a->details)
		trailer[cnt++] = gs_nv("grpc-status-details-bin", a->details);
	nghttp2_submit_trailer(session, stream, trailer, cnt);
	return (ssize_t)n;
}

static inline void gs_answer(struct grpc_server *s, int32_t stream)
{
	const nghttp2_data_provider from = { .read_callback = gs_read };
	uint32_t i = MIN(s->cnt, s->script_cnt - 1);
	nghttp2_nv head[2];

	s->call[s->cnt].at_ns = clock_mono_ns();
	s->answer = &s->script[i];
	s->body_sent = 0;
	head[0] = gs_nv(":status", s->answer->status ? s->answer->status : "200");
	head[1] = gs_nv("content-type", "application/grpc");
	__atomic_add_fetch(&s->cnt, 1, __ATOMIC_RELEASE);
	if (s->answer->reset)
		nghttp2_submit_rst_stream(s->session, 0, stream, NGHTTP2_REFUSED_STREAM);
	else if (!s->answer->hang)
		nghttp2_submit_response(s->session, stream, head, 2, &from);
	s->bye = s->answer->bye;
}

static inline int gs_header(nghttp2_session *session, const nghttp2_frame *frame,
			    const uint8_t *name, size_t name_len, const uint8_t *value,
			    size_t value_len, uint8_t flags, void *ctx)
{
	struct grpc_server *s = ctx;
	char *to = s->call[s->cnt].headers;
	size_t len = strlen(to);

	snprintf(to + len, sizeof(s->call[0].headers) - len, "%.*s: %.*s\n", (int)name_len, name,
		 (int)value_len, value);
	return 0;
}

static inline int gs_data(nghttp2_session *session, uint8_t flags, int32_t stream,
			  const uint8_t *data, size_t len, void *ctx)
{
	struct grpc_server *s = ctx;

	buf_add(&s->call[s->cnt].body, data, len);
	return 0;
}

static inline int gs_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
		gs_answer(ctx, frame->hd.stream_id);
	return 0;
}

static inline bool gs_readable(struct grpc_server *s, int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	if (s->tls && gnutls_record_check_pending(s->tls))
		return true;
	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE))
		if (poll(&p, 1, 10) > 0)
			return true;
	return false;
}

static inline void gs_serve(struct grpc_server *s)
{
	const nghttp2_settings_entry none = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 10 };
	nghttp2_session_callbacks *calls;
	uint8_t data[16384];

	nghttp2_session_callbacks_new(&calls);
	nghttp2_session_callbacks_set_send_callback(calls, gs_send);
	nghttp2_session_callbacks_set_on_header_callback(calls, gs_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, gs_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(calls, gs_frame);
	nghttp2_session_server_new(&s->session, calls, s);
	nghttp2_session_callbacks_del(calls);
	nghttp2_submit_settings(s->session, 0, &none, 1);
	s->bye = false;
	while (!nghttp2_session_send(s->session) && !s->bye && gs_readable(s, s->conn)) {
		ssize_t n = s->tls ? gnutls_record_recv(s->tls, data, sizeof(data))
				   : recv(s->conn, data, sizeof(data), 0);
		if (n <= 0 || s->cnt == GRPC_CALLS_MAX ||
		    nghttp2_session_mem_recv(s->session, data, (size_t)n) < 0)
			break;
	}
	if (s->bye)
		nghttp2_session_send(s->session);
	nghttp2_session_del(s->session);
}

static inline bool gs_handshake(struct grpc_server *s)
{
	const gnutls_datum_t alpn = { (unsigned char *)"h2", 2 };
	int n;

	gnutls_init(&s->tls, GNUTLS_SERVER | GNUTLS_NO_SIGNAL);
	gnutls_set_default_priority(s->tls);
	gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, s->credentials);
	gnutls_alpn_set_protocols(s->tls, &alpn, 1, 0);
	if (s->client_ca) {
		gnutls_certificate_server_set_request(s->tls, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert(s->tls, NULL, 0);
	}
	gnutls_transport_set_int(s->tls, s->conn);
	gnutls_handshake_set_timeout(s->tls, 5000);
	while ((n = gnutls_handshake(s->tls)) < 0 && !gnutls_error_is_fatal(n))
		;
	if (n < 0)
		gnutls_alert_send_appropriate(s->tls, n);
	return n >= 0;
}

static inline void *gs_run(void *arg)
{
	struct grpc_server *s = arg;

	while (gs_readable(s, s->fd)) {
		s->conn = accept(s->fd, NULL, NULL);
		if (s->conn < 0)
			break;
		__atomic_add_fetch(&s->connections, 1, __ATOMIC_RELEASE);
		if (!s->cert || gs_handshake(s))
			gs_serve(s);
		if (s->tls)
			gnutls_deinit(s->tls);
		s->tls = NULL;
		close(s->conn);
	}
	return NULL;
}

/* 'of' has the script and, for TLS, the certificates. 0 or -1. */
static inline int grpc_server_start(struct grpc_server *s, const struct grpc_server *of)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);

	*s = *of;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons(of->port);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(s->fd, (struct sockaddr *)&a, len) || listen(s->fd, 8) ||
	    getsockname(s->fd, (struct sockaddr *)&a, &len))
		return -1;
	s->port = ntohs(a.sin_port);
	if (s->cert) {
		gnutls_certificate_allocate_credentials(&s->credentials);
		if (gnutls_certificate_set_x509_key_file(s->credentials, s->cert, s->key,
							 GNUTLS_X509_FMT_PEM) < 0 ||
		    (s->client_ca &&
		     gnutls_certificate_set_x509_trust_file(s->credentials, s->client_ca,
							    GNUTLS_X509_FMT_PEM) < 0))
			return -1;
	}
	return pthread_create(&s->thread, NULL, gs_run, s) ? -1 : 0;
}

static inline void grpc_server_stop(struct grpc_server *s)
{
	__atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
	pthread_join(s->thread, NULL);
	close(s->fd);
	if (s->credentials)
		gnutls_certificate_free_credentials(s->credentials);
	for (uint32_t i = 0; i < GRPC_CALLS_MAX; i++)
		buf_fini(&s->call[i].body);
}

/* Waits until cnt calls came, for at most 20 s. */
static inline bool grpc_server_saw(struct grpc_server *s, uint32_t cnt)
{
	for (int i = 0; i < 4000 && __atomic_load_n(&s->cnt, __ATOMIC_ACQUIRE) < cnt; i++)
		usleep(5000);
	return __atomic_load_n(&s->cnt, __ATOMIC_ACQUIRE) >= cnt;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC server, one thread of it: a loop with epoll around the connections. */
#include "receive/grpc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/clock.h"

#define READ_BYTES (256u << 10)
#define TICK_MS	   1000
#define LINGER_MS  1000 /* for the last answers, at the end */

/* ---- sockets ---- */

static int send_out(struct grpc_conn *c)
{
	while (c->out.len) {
		ssize_t n = send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		buf_consume(&c->out, (size_t)n);
		if (grpc_conn_fill(c))
			return -EPROTO;
	}
	return 0;
}

static void watch_write(struct grpc_server *s, struct grpc_conn *c)
{
	struct epoll_event e = { .data.ptr = c };

	if (c->wants_write == (c->out.len > 0))
		return;
	c->wants_write = c->out.len > 0;
	e.events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0);
	epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

/* Sends what there is; frees the connection when it is over. */
static void flush(struct grpc_server *s, struct grpc_conn *c)
{
	if (grpc_conn_fill(c) || send_out(c) || (c->closing && !c->call_cnt && !c->out.len))
		grpc_conn_free(c);
	else
		watch_write(s, c);
}

static void receive_from(struct grpc_server *s, struct grpc_conn *c)
{
	ssize_t n = recv(c->fd, s->in, READ_BYTES, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		grpc_conn_free(c);
		return;
	}
	if (grpc_conn_recv(c, s->in, (size_t)n)) {
		/* nghttp2 may want to say why */
		if (!grpc_conn_fill(c))
			send_out(c);
		grpc_conn_free(c);
		return;
	}
	flush(s, c);
}

/* ---- new connections ---- */

static void watch_listen(struct grpc_server *s, bool on)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = &s->listen_fd };

	if (s->listening == on)
		return;
	s->listening = on;
	epoll_ctl(s->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, s->listen_fd, &e);
}

/* Room for one more: the idlest connection without a call goes. */
static bool make_room(struct grpc_server *s)
{
	struct grpc_conn *idlest = NULL;

	if (s->conn_cnt < s->gate->cfg.connections_max)
		return true;
	for (struct grpc_conn *c = s->conns; c; c = c->next)
		if (!c->call_cnt && (!idlest || c->active_ns < idlest->active_ns))
			idlest = c;
	if (!idlest)
		return false;
	grpc_conn_free(idlest);
	return true;
}

static void accept_one(struct grpc_server *s)
{
	struct epoll_event e = { .events = EPOLLIN };
	int on = 1, fd;

	fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* without descriptors it would be ready for ever: try again with the next tick */
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			watch_listen(s, false);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	e.data.ptr = make_room(s) ? grpc_conn_new(s, fd) : NULL;
	if (!e.data.ptr) {
		close(fd);
		return;
	}
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e))
		grpc_conn_free(e.data.ptr);
	else
		flush(s, e.data.ptr);
}

/* ---- the loop ---- */

static void tick(struct grpc_server *s)
{
	uint64_t now_ns = clock_mono_ns(), idle_ns = s->gate->cfg.idle_s * NS_PER_S;

	for (struct grpc_conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		grpc_conn_tick(c, now_ns);
		if (!c->call_cnt && now_ns - c->active_ns > idle_ns) {
			if (c->unfinished && !c->closing)
				__atomic_add_fetch(&s->gate->late, 1, __ATOMIC_RELAXED);
			grpc_conn_goaway(c);
		}
		/* a peer that does not read what it is sent */
		if (c->out.len && now_ns - c->active_ns > 2 * idle_ns)
			grpc_conn_free(c);
		else
			flush(s, c);
	}
	if (!s->leaving)
		watch_listen(s, true);
}

static void answer_done(struct grpc_server *s)
{
	uint64_t cnt;

	if (read(s->event_fd, &cnt, sizeof(cnt)) < 0)
		return;
	grpc_calls_done(s);
	for (struct grpc_conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		if (nghttp2_session_want_write(c->session) || c->closing)
			flush(s, c);
	}
}

static void handle(struct grpc_server *s, const struct epoll_event *e)
{
	struct grpc_conn *c = e->data.ptr;

	if (e->data.ptr == &s->listen_fd)
		accept_one(s);
	else if (e->data.ptr == &s->event_fd)
		answer_done(s);
	else if (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive_from(s, c);
	else
		flush(s, c);
}

static bool is_stopping(struct grpc_server *s, bool *ret_pending)
{
	bool stopping;

	pthread_mutex_lock(&s->lock);
	stopping = s->stopping;
	*ret_pending = s->pending > 0;
	pthread_mutex_unlock(&s->lock);
	return stopping;
}

/* No new calls; those that wait for their acknowledgement get their answer, for a moment the
 * others may end. */
static void say_goodbye(struct grpc_server *s)
{
	watch_listen(s, false);
	for (struct grpc_conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		grpc_conn_goaway(c);
		flush(s, c);
	}
}

static void *run(void *arg)
{
	struct grpc_server *s = arg;
	uint64_t ticked_ns = clock_mono_ns(), left_ns = 0, now_ns;
	struct epoll_event e;
	bool pending;

	for (;;) {
		/* one at a time: a connection may be freed by what comes before it */
		int n = epoll_wait(s->epoll_fd, &e, 1, s->leaving ? 10 : TICK_MS);

		if (n > 0)
			handle(s, &e);
		now_ns = clock_mono_ns();
		if (now_ns - ticked_ns >= TICK_MS * NS_PER_MS) {
			tick(s);
			ticked_ns = now_ns;
		}
		if (!is_stopping(s, &pending))
			continue;
		if (!s->leaving) {
			s->leaving = true;
			left_ns = now_ns;
			say_goodbye(s);
		}
		if (!pending && (!s->conns || now_ns - left_ns > LINGER_MS * NS_PER_MS))
			return NULL;
	}
}

/* ---- begin and end ---- */

static int start(struct grpc_server *s, int listen_fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = &s->event_fd };
	sigset_t all, was;
	int err;

	s->listen_fd = dup(listen_fd);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->listen_fd < 0 || s->epoll_fd < 0 || s->event_fd < 0 ||
	    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->event_fd, &e))
		return -errno;
	s->in = malloc(READ_BYTES);
	if (!s->in)
		return -ENOMEM;
	watch_listen(s, true);
	/* signals are for the thread that runs the program */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = -pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	s->started = !err;
	return err;
}

int grpc_server_new(struct gate *g, int listen_fd, struct grpc_server **ret,
		    char why[RECEIVE_WHY_MAX])
{
	struct grpc_server *s = calloc(1, sizeof(*s));
	int err = s ? grpc_server_init(s, g) : -ENOMEM;

	if (!err)
		err = start(s, listen_fd);
	if (err) {
		snprintf(why, RECEIVE_WHY_MAX, "OTLP/gRPC: start its thread: %s", strerror(-err));
		grpc_server_free(s);
		return err;
	}
	*ret = s;
	return 0;
}

void grpc_server_free(struct grpc_server *s)
{
	uint64_t one = 1;
	ssize_t woken;

	if (!s)
		return;
	if (s->started) {
		pthread_mutex_lock(&s->lock);
		s->stopping = true;
		woken = write(s->event_fd, &one, sizeof(one));
		(void)woken; /* if not by this, by its next tick */
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	grpc_server_fini(s);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	if (s->event_fd >= 0)
		close(s->event_fd);
	free(s->in);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OTLP/HTTP endpoint on 127.0.0.1 that answers by script, one connection at a time, and keeps
 * what it was sent. The last answer of the script repeats.
 */
#ifndef TESTS_EXPORT_ENDPOINT_H
#define TESTS_EXPORT_ENDPOINT_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

#define REQUESTS_MAX 64
#define HANG	     "" /* as an answer: never comes */

struct request {
	char head[2048];
	struct buf body;
	uint64_t at_ns;
};

struct endpoint {
	int fd;
	uint16_t port;
	pthread_t thread;
	bool stop;
	const struct str *script; /* ended by a NULL p */
	struct request request[REQUESTS_MAX];
	uint32_t cnt; /* atomic */
};

static inline bool endpoint_readable(struct endpoint *e, int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	while (!__atomic_load_n(&e->stop, __ATOMIC_ACQUIRE))
		if (poll(&p, 1, 10) > 0)
			return true;
	return false;
}

static inline bool endpoint_read(struct endpoint *e, int fd, struct request *r)
{
	struct buf in = { 0 };
	const char *end = NULL, *length;
	size_t need = 0;

	while (!end || in.len < need) {
		ssize_t n;
		if (!endpoint_readable(e, fd))
			break;
		buf_reserve(&in, 65536);
		n = recv(fd, in.p + in.len, 65535, 0);
		if (n <= 0)
			break;
		in.len += (size_t)n;
		in.p[in.len] = 0;
		if (end || !(end = strstr(in.p, "\r\n\r\n")))
			continue;
		length = strcasestr(in.p, "content-length:");
		need = (size_t)(end + 4 - in.p) + (length ? strtoul(length + 15, NULL, 10) : 0);
	}
	if (end && in.len >= need) {
		size_t head = (size_t)(strstr(in.p, "\r\n\r\n") + 4 - in.p);
		snprintf(r->head, sizeof(r->head), "%.*s", (int)head, in.p);
		buf_add(&r->body, in.p + head, in.len - head);
		r->at_ns = clock_mono_ns();
	}
	buf_fini(&in);
	return end != NULL && r->at_ns;
}

static inline struct str endpoint_answer(const struct endpoint *e)
{
	uint32_t i = 0;

	while (i < e->cnt && e->script[i + 1].p)
		i++;
	return e->script[i];
}

static inline void endpoint_serve(struct endpoint *e, int fd)
{
	char byte;

	while (e->cnt < REQUESTS_MAX && endpoint_read(e, fd, &e->request[e->cnt])) {
		struct str answer = endpoint_answer(e);

		__atomic_add_fetch(&e->cnt, 1, __ATOMIC_RELEASE);
		if (!answer.len) {
			while (endpoint_readable(e, fd) && recv(fd, &byte, 1, 0) > 0)
				;
			return;
		}
		while (answer.len) {
			ssize_t n = send(fd, answer.p, answer.len, MSG_NOSIGNAL);
			if (n <= 0)
				return;
			answer = str_from(answer, (size_t)n);
		}
	}
}

static inline void *endpoint_run(void *arg)
{
	struct endpoint *e = arg;

	while (endpoint_readable(e, e->fd)) {
		int fd = accept(e->fd, NULL, NULL);
		if (fd < 0)
			break;
		endpoint_serve(e, fd);
		close(fd);
	}
	return NULL;
}

/* A bound socket on a free port; nothing accepts until endpoint_start(). */
static inline int endpoint_bind(struct endpoint *e)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);

	memset(e, 0, sizeof(*e));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	e->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (e->fd < 0 || bind(e->fd, (struct sockaddr *)&a, sizeof(a)) ||
	    getsockname(e->fd, (struct sockaddr *)&a, &len))
		return -1;
	e->port = ntohs(a.sin_port);
	return 0;
}

static inline int endpoint_start(struct endpoint *e, const struct str *script)
{
	e->script = script;
	return listen(e->fd, 8) || pthread_create(&e->thread, NULL, endpoint_run, e) ? -1 : 0;
}

static inline void endpoint_stop(struct endpoint *e)
{
	__atomic_store_n(&e->stop, true, __ATOMIC_RELEASE);
	pthread_join(e->thread, NULL);
	close(e->fd);
	for (uint32_t i = 0; i < REQUESTS_MAX; i++)
		buf_fini(&e->request[i].body);
}

/* Waits until cnt requests came, for at most 20 s. */
static inline bool endpoint_saw(struct endpoint *e, uint32_t cnt)
{
	for (int i = 0; i < 4000 && __atomic_load_n(&e->cnt, __ATOMIC_ACQUIRE) < cnt; i++)
		usleep(5000);
	return __atomic_load_n(&e->cnt, __ATOMIC_ACQUIRE) >= cnt;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, and a line that says why there is none. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "receive/server.h"

#define BACKLOG 512

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int parse_host(struct str host, uint16_t port, union address *a)
{
	bool v6 = host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']';
	char text[INET6_ADDRSTRLEN];

	if (v6)
		host = (struct str){ host.p + 1, host.len - 2 };
	if (str_eq_nocase(host, STR("localhost")))
		host = STR("127.0.0.1");
	if (!host.len || host.len >= sizeof(text))
		return -EINVAL;
	memcpy(text, host.p, host.len);
	text[host.len] = 0;
	if (v6) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons(port);
		return inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1 ? 0 : -EINVAL;
	}
	a->v4.sin_family = AF_INET;
	a->v4.sin_port = htons(port);
	return inet_pton(AF_INET, text, &a->v4.sin_addr) == 1 ? 0 : -EINVAL;
}

static int parse_address(const char *where, union address *ret)
{
	const char *colon = strrchr(where, ':');
	union address a;
	uint64_t port;
	int err;

	memset(&a, 0, sizeof(a));
	if (!colon || !str_to_u64(str_of(colon + 1), &port) || port > UINT16_MAX)
		return -EINVAL;
	err = parse_host((struct str){ where, (size_t)(colon - where) }, (uint16_t)port, &a);
	if (!err)
		*ret = a;
	return err;
}

static const char *advice(int err)
{
	switch (err) {
	case -EADDRINUSE: return "; another program listens there: choose another port";
	case -EADDRNOTAVAIL: return "; this machine has no such address";
	case -EACCES: return "; ports below 1024 need privileges";
	default: return "";
	}
}

int socket_listen(const char *where, const char *what, int *ret_fd, uint16_t *ret_port,
		  char why[RECEIVE_WHY_MAX])
{
	union address a;
	socklen_t len = sizeof(a);
	int on = 1, fd = -1, err = parse_address(where, &a);

	if (err) {
		snprintf(why, RECEIVE_WHY_MAX, "%s: \"%s\" is no ADDR:PORT or [ADDR]:PORT", what,
			 where);
		return err;
	}
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, &a.any, a.any.sa_family == AF_INET ? sizeof(a.v4) : sizeof(a.v6)) ||
	    listen(fd, BACKLOG) || getsockname(fd, &a.any, &len)) {
		err = -errno;
		snprintf(why, RECEIVE_WHY_MAX, "%s: listen on %s: %s%s", what, where,
			 strerror(-err), advice(err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	*ret_fd = fd;
	*ret_port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
	return 0;
}

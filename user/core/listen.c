/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that listen. */
#include "core/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#define BACKLOG 512

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static bool parse_host(struct str host, uint16_t port, union address *a)
{
	bool v6 = host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']';
	char text[INET6_ADDRSTRLEN];

	if (v6)
		host = (struct str){ host.p + 1, host.len - 2 };
	else if (str_eq_nocase(host, STR("localhost")))
		host = STR("127.0.0.1");
	if (!host.len || host.len >= sizeof(text) || str_find(host, '\0') >= 0)
		return false;
	memcpy(text, host.p, host.len);
	text[host.len] = '\0';
	if (v6) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons(port);
		return inet_pton(AF_INET6, text, &a->v6.sin6_addr) == 1;
	}
	a->v4.sin_family = AF_INET;
	a->v4.sin_port = htons(port);
	return inet_pton(AF_INET, text, &a->v4.sin_addr) == 1;
}

static bool parse_address(struct str where, union address *ret)
{
	const char *colon = where.len ? memrchr(where.p, ':', where.len) : NULL;
	size_t at = colon ? (size_t)(colon - where.p) : where.len;
	uint64_t port;

	memset(ret, 0, sizeof(*ret));
	return str_to_u64(str_from(where, at + 1), &port) && port <= UINT16_MAX &&
	       parse_host((struct str){ where.p, at }, (uint16_t)port, ret);
}

static bool is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

bool listen_valid(struct str where)
{
	union address a;

	return parse_address(where, &a);
}

int listen_open(const char *where, struct listening *ret)
{
	union address a;
	socklen_t len = sizeof(a);
	int on = 1, fd, err;

	if (!parse_address(str_of(where), &a))
		return -EINVAL;
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, &a.any, a.any.sa_family == AF_INET ? sizeof(a.v4) : sizeof(a.v6)) ||
	    listen(fd, BACKLOG) || getsockname(fd, &a.any, &len)) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret = (struct listening){
		.fd = fd,
		.port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port),
		.loopback = is_loopback(&a),
	};
	return 0;
}

const char *listen_reach(const char *where)
{
	union address a;

	return !parse_address(str_of(where), &a) || is_loopback(&a)
		       ? ""
		       : ", unencrypted and open to whoever reaches it";
}

const char *listen_advice(int err)
{
	switch (err) {
	case -EADDRINUSE: return "; another program listens there: choose another port";
	case -EADDRNOTAVAIL: return "; this machine has no such address";
	case -EACCES: return "; ports below 1024 need privileges";
	default: return "";
	}
}

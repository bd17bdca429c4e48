/* SPDX-License-Identifier: Apache-2.0 */
/* Where the server listens, and which names it may be called by. */
#include "api/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 256

/* Digits and dots: an address. */
static bool is_numbers(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
	return true;
}

bool host_is_local(struct str s)
{
	static const struct str name = { "localhost", 9 };
	ptrdiff_t colon;

	if (!s.len || s.p[0] == '[')
		return true;
	colon = str_find(s, ':');
	if (colon >= 0)
		s.len = (size_t)colon;
	if (is_numbers(s))
		return true;
	if (s.len < name.len || !str_eq_nocase(str_from(s, s.len - name.len), name))
		return false;
	return s.len == name.len || s.p[s.len - name.len - 1] == '.';
}

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* "ADDR:PORT" or "[ADDR]:PORT"; no name server is asked. */
static int parse_listen(const char *text, union address *ret)
{
	const char *colon = strrchr(text, ':');
	union address a = { 0 };
	char host[INET6_ADDRSTRLEN];
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool v6 = len >= 2 && text[0] == '[' && text[len - 1] == ']';
	uint64_t port;

	if (!colon || !str_to_u64(str_of(colon + 1), &port) || port > UINT16_MAX)
		return -EINVAL;
	len -= v6 ? 2 : 0;
	if (len >= sizeof(host))
		return -EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)len, text + v6);
	if (v6) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) != 1)
			return -EINVAL;
	} else {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, strcasecmp(host, "localhost") ? host : "127.0.0.1",
			      &a.v4.sin_addr) != 1)
			return -EINVAL;
	}
	*ret = a;
	return 0;
}

static bool is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->v4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

int listen_open(const char *listen_at, struct listening *ret)
{
	union address a;
	socklen_t len = sizeof(a);
	int on = 1, fd, err = parse_listen(listen_at, &a);

	if (err)
		return err;
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

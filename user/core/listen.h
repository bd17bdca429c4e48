/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that listen: "ADDR:PORT" or "[ADDR]:PORT", where ADDR is a number or localhost (which is
 * 127.0.0.1). No name server is asked. Port 0 is any free one. */
#ifndef CORE_LISTEN_H
#define CORE_LISTEN_H

#include "core/str.h"

/* Whether the text is such an address. */
bool listen_valid(struct str where);

struct listening {
	int fd; /* non-blocking, the caller's to close */
	uint16_t port;
	bool loopback; /* reached from this machine only */
};

/* 0, -EINVAL where the text is no address, or what the kernel says: -EADDRINUSE, -EADDRNOTAVAIL,
 * -EACCES... */
int listen_open(const char *where, struct listening *ret);

/* Who can reach such an address, to go behind it in a line of the log; "" where that is this
 * machine alone. */
const char *listen_reach(const char *where);

/* What the user may do about such an error, "; ..." to go behind its text; "" without advice. */
const char *listen_advice(int err);

#endif

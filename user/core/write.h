/* SPDX-License-Identifier: Apache-2.0 */
/* Writing all of something to a file. */
#ifndef CORE_WRITE_H
#define CORE_WRITE_H

#include <errno.h>
#include <unistd.h>

#include "core/str.h"

/* 0 or -errno; part of it may be written then. */
static inline int write_all(int fd, struct str s)
{
	while (s.len) {
		ssize_t n = write(fd, s.p, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		s = str_from(s, (size_t)n);
	}
	return 0;
}

#endif

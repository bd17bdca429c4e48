/* SPDX-License-Identifier: Apache-2.0 */
/* The files a process has mapped (proc_pid_maps(5)). */
#include "discover/internal.h"
#include "core/cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK (32u << 10) /* a line has at most PATH_MAX and some 80 bytes */

static bool hex_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s.len || s.len > 16)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
						   : -1;
		if (digit < 0)
			return false;
		v = v << 4 | (uint64_t)digit;
	}
	*ret = v;
	return true;
}

/* START-END PERMS OFFSET MAJOR:MINOR INODE    PATH */
bool maps_line(struct str line, struct mapping *ret)
{
	struct cursor c = cursor_of(line.p, line.len);
	struct str start = take_until(&c, '-'), end = take_until(&c, ' '), inode;
	struct mapping m;

	take_until(&c, ' ');
	take_until(&c, ' ');
	take_until(&c, ' ');
	inode = take_until(&c, ' ');
	if (c.bad)
		return false;
	m.path = str_trim((struct str){ (const char *)c.p, cursor_left(&c) });
	if (!m.path.len || m.path.p[0] != '/' || !hex_u64(start, &m.start) ||
	    !hex_u64(end, &m.end) || !str_to_u64(inode, &m.inode) || !m.inode)
		return false;
	*ret = m;
	return true;
}

struct walk {
	bool (*visit)(void *ctx, const struct mapping *m);
	void *ctx;
	uint64_t last_inode; /* a file's mappings follow one another */
};

/* Takes the whole lines; returns how many bytes that were. */
static size_t walk_lines(struct walk *w, struct str text, bool *ret_stop)
{
	size_t at = 0;

	while (!*ret_stop) {
		ptrdiff_t end = str_find(str_from(text, at), '\n');
		struct mapping m;

		if (end < 0)
			break;
		if (maps_line((struct str){ text.p + at, (size_t)end }, &m) &&
		    m.inode != w->last_inode) {
			w->last_inode = m.inode;
			*ret_stop = w->visit(w->ctx, &m);
		}
		at += (size_t)end + 1;
	}
	return at;
}

int maps_walk(int proc_fd, bool (*visit)(void *ctx, const struct mapping *m), void *ctx)
{
	int fd = openat(proc_fd, "maps", O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	struct walk w = { visit, ctx, 0 };
	size_t len = 0, total = 0;
	bool stop = false;
	char *buf;

	if (fd < 0)
		return -errno;
	buf = malloc(CHUNK);
	while (buf && !stop && total < MAPS_MAX) {
		ssize_t n = read(fd, buf + len, CHUNK - len);
		size_t used;

		if (n <= 0) {
			err = n < 0 && errno != EINTR ? -errno : 0;
			if (n < 0 && errno == EINTR)
				continue;
			break;
		}
		total += (size_t)n;
		len += (size_t)n;
		used = walk_lines(&w, (struct str){ buf, len }, &stop);
		if (!used && len == CHUNK)
			used = len; /* no line is that long: not a maps file */
		len -= used;
		memmove(buf, buf + used, len);
	}
	if (!buf)
		err = -ENOMEM;
	free(buf);
	close(fd);
	return err;
}

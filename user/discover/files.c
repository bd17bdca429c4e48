/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a process shows of itself, without being led astray by its links and pipes. */
#include "discover/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One read: these files give all they have, or as much as fits, at once. */
static ssize_t read_once(int fd, char *out, size_t size)
{
	ssize_t n;

	do {
		n = read(fd, out, size);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t read_at(int dir, const char *name, char *out, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read_once(fd, out, size);
	close(fd);
	return n;
}

/* Links cannot lead out of root. */
static int open_inside(int root, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

static int open_regular(int root, const char *path)
{
	int fd = open_inside(root, path, O_PATH);
	struct stat st;

	if (fd < 0)
		return fd;
	/* opening a device or a pipe may have effects or block */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

int open_in_root(int proc_fd, const char *path)
{
	int root = openat(proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	if (root < 0)
		return -errno;
	fd = open_regular(root, path);
	close(root);
	return fd;
}

static ssize_t read_opened(int fd, char *out, size_t size)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return read_at(AT_FDCWD, self, out, size);
}

ssize_t read_in_root(int proc_fd, const char *path, char *out, size_t size)
{
	int fd = open_in_root(proc_fd, path);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read_opened(fd, out, size);
	close(fd);
	return n;
}

ssize_t read_below(int root, const char *path, size_t max, char **ret_text)
{
	int fd = open_regular(root, path);
	char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = fstat(fd, &st) < 0 ? -errno : (size_t)st.st_size > max ? -EFBIG : 0;
	if (!n) {
		text = malloc((size_t)st.st_size + 1);
		n = text ? read_opened(fd, text, (size_t)st.st_size) : -ENOMEM;
	}
	close(fd);
	if (n < 0)
		free(text);
	else
		*ret_text = text;
	return n;
}

DIR *opendir_below(int root, const char *path)
{
	int fd = open_inside(root, path, O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

struct str link_at(int dir, const char *name, char *out, size_t size)
{
	ssize_t n = readlinkat(dir, name, out, size - 1);

	out[n < 0 ? 0 : n] = '\0';
	return (struct str){ out, n < 0 ? 0 : (size_t)n };
}

struct str path_base(struct str path)
{
	const char *slash = path.len ? memrchr(path.p, '/', path.len) : NULL;
	return slash ? str_from(path, (size_t)(slash - path.p) + 1) : path;
}

struct str path_dir(struct str path)
{
	const char *slash = path.len ? memrchr(path.p, '/', path.len) : NULL;
	return (struct str){ path.p, slash ? (size_t)(slash - path.p) : 0 };
}

struct str strip_deleted(struct str path)
{
	struct str mark = STR(" (deleted)");

	if (path.len > mark.len && str_eq(str_from(path, path.len - mark.len), mark))
		path.len -= mark.len;
	return path;
}

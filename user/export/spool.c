/* SPDX-License-Identifier: Apache-2.0 */
/* The queue on disk: segments NUMBER.spool and a lock file in one folder. */
#include "export/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>
#include <xxhash.h>

#define SEGMENTS_WANTED	  64 /* each keeps a file open */
#define SEGMENT_BYTES_MIN (64u << 10)
#define SEGMENTS_MAX	  1024
#define RECORD_MAGIC	  0x4c505354u /* "TSPL" */
#define MARK_WAITS	  0u
#define MARK_DONE	  1u

/* Of a segment. Little-endian, as all machines this is built for. */
struct segment_head {
	char magic[8];
	char format[16];
};
static const char segment_magic[8] = "TTSPOOL1";

struct record_head {
	uint32_t magic;
	uint32_t mark; /* changes in place; in no checksum */
	uint32_t len;
	uint32_t spans;
	uint64_t body_hash;
	uint64_t head_hash; /* of magic, len, spans, body_hash */
};
_Static_assert(sizeof(struct record_head) == 32, "on disk");
_Static_assert(sizeof(struct segment_head) == 24, "on disk");

struct segment {
	struct segment *prev, *next;
	uint32_t number;
	int fd; /* -1: not open */
	uint64_t size;
	uint64_t waiting; /* spans */
};

struct spool {
	int dir_fd, lock_fd;
	char format[16];
	uint64_t bytes_max, segment_bytes;

	pthread_mutex_t lock;	  /* below, but for what is one thread's */
	struct segment *segments; /* oldest first; the last is added to */
	uint64_t size;		  /* of all */
	uint64_t at;		  /* in the oldest: where the record that is peeked at begins */

	struct record_head head; /* the taker's: of the record peeked at */
	uint64_t spans, skip;	 /* the taker's: in it, and its bytes */
	struct buf body;	 /* the taker's */
};

/* ---- records ---- */

static uint64_t hash_head(const struct record_head *h)
{
	const uint64_t part[3] = { h->magic, (uint64_t)h->len << 32 | h->spans, h->body_hash };

	return XXH3_64bits(part, sizeof(part));
}

static bool read_exact(int fd, void *to, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to = (char *)to + n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return true;
}

static int write_exact(int fd, const void *from, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, from, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from = (const char *)from + n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

/* The head of the record at 'at', if a whole and right one is there. */
static bool read_head(const struct segment *g, uint64_t at, struct record_head *ret)
{
	return at + sizeof(*ret) <= g->size && read_exact(g->fd, ret, sizeof(*ret), at) &&
	       ret->magic == RECORD_MAGIC && ret->head_hash == hash_head(ret);
}

static uint64_t record_size(const struct record_head *h)
{
	return sizeof(*h) + h->len;
}

/* ---- segments ---- */

static void segment_name(const struct segment *g, char name[24])
{
	snprintf(name, 24, "%08u.spool", g->number);
}

static int segment_open(struct spool *s, struct segment *g, int flags)
{
	char name[24];

	segment_name(g, name);
	g->fd = openat(s->dir_fd, name, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	return g->fd < 0 ? -errno : 0;
}

/* Its records are dealt with, or it cannot be read. */
static void segment_drop(struct spool *s, struct segment *g)
{
	char name[24];

	segment_name(g, name);
	unlinkat(s->dir_fd, name, 0);
	if (g->fd >= 0)
		close(g->fd);
	s->size -= g->size;
	DL_DELETE(s->segments, g);
	free(g);
}

/* The one that is added to, when nothing waits: what was delivered does not stay on the disk. A
 * crash that undoes this brings back records that are marked, or at worst sent again. */
static void segment_clear(struct spool *s, struct segment *g)
{
	uint64_t left = sizeof(struct segment_head);

	if (g->size == left || ftruncate(g->fd, (off_t)left))
		return;
	s->size -= g->size - left;
	g->size = left;
	s->at = left;
}

static int segment_add(struct spool *s)
{
	struct segment_head head = { 0 };
	struct segment *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	memcpy(head.magic, segment_magic, sizeof(head.magic));
	memcpy(head.format, s->format, sizeof(head.format));
	g->number = s->segments ? s->segments->prev->number + 1 : 1;
	err = segment_open(s, g, O_CREAT | O_EXCL);
	if (!err)
		err = write_exact(g->fd, &head, sizeof(head), 0);
	DL_APPEND(s->segments, g);
	if (err) {
		segment_drop(s, g);
		return err;
	}
	g->size = sizeof(head);
	s->size += g->size;
	/* its name must last as long as its records */
	return fsync(s->dir_fd) ? -errno : 0;
}

/* ---- adding ---- */

static int add_record(struct spool *s, struct str body, uint32_t spans)
{
	struct record_head h = { .magic = RECORD_MAGIC, .len = (uint32_t)body.len, .spans = spans };
	struct segment *g = s->segments ? s->segments->prev : NULL;
	int err = 0;

	if (body.len > UINT32_MAX / 2 || s->size + record_size(&h) > s->bytes_max)
		return -ENOBUFS;
	if (!g || g->size + record_size(&h) > s->segment_bytes) {
		err = segment_add(s);
		if (err)
			return err;
		g = s->segments->prev;
	}
	h.body_hash = XXH3_64bits(body.p, body.len);
	h.head_hash = hash_head(&h);
	err = write_exact(g->fd, &h, sizeof(h), g->size);
	if (!err)
		err = write_exact(g->fd, body.p, body.len, g->size + sizeof(h));
	if (!err && fdatasync(g->fd))
		err = -errno;
	if (err) {
		if (ftruncate(g->fd, (off_t)g->size))
			err = -EIO;
		return err;
	}
	g->size += record_size(&h);
	g->waiting += spans;
	s->size += record_size(&h);
	return 0;
}

int spool_add(struct spool *s, struct str body, uint32_t spans)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = add_record(s, body, spans);
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* ---- taking ---- */

/* Goes to the first record that waits, leaving what is done behind. False: there is none. */
static bool find_record(struct spool *s)
{
	struct segment *g;

	while ((g = s->segments)) {
		if (s->at >= g->size) {
			if (!g->next) {
				segment_clear(s, g);
				return false;
			}
			segment_drop(s, g);
			s->at = sizeof(struct segment_head);
		} else if (!read_head(g, s->at, &s->head)) {
			/* Damaged: where the next record begins is not known. */
			s->head = (struct record_head){ 0 };
			s->spans = g->waiting;
			s->skip = g->size - s->at;
			return true;
		} else if (s->head.mark == MARK_WAITS) {
			s->spans = s->head.spans;
			s->skip = record_size(&s->head);
			return true;
		} else {
			s->at += record_size(&s->head);
		}
	}
	s->at = sizeof(struct segment_head);
	return false;
}

int spool_peek(struct spool *s, struct spool_record *ret)
{
	bool found, good;
	int fd = -1;

	buf_clear(&s->body);
	pthread_mutex_lock(&s->lock);
	found = find_record(s);
	if (found)
		fd = s->segments->fd;
	pthread_mutex_unlock(&s->lock);
	if (!found)
		return -ENOENT;
	/* only the taker drops the oldest segment, so its file stays open */
	good = s->head.magic && !buf_reserve(&s->body, s->head.len) &&
	       read_exact(fd, s->body.p, s->head.len, s->at + sizeof(s->head)) &&
	       XXH3_64bits(s->body.p, s->head.len) == s->head.body_hash;
	if (good)
		s->body.len = s->head.len;
	*ret = (struct spool_record){ buf_str(&s->body), s->spans, !good };
	return 0;
}

void spool_done(struct spool *s)
{
	const uint32_t done = MARK_DONE;

	pthread_mutex_lock(&s->lock);
	/* Not synced: after a crash it would be sent again. */
	if (s->head.magic)
		write_exact(s->segments->fd, &done, sizeof(done),
			    s->at + offsetof(struct record_head, mark));
	s->segments->waiting -= s->spans;
	s->at += s->skip;
	pthread_mutex_unlock(&s->lock);
}

uint64_t spool_size(struct spool *s)
{
	uint64_t size;

	pthread_mutex_lock(&s->lock);
	size = s->size;
	pthread_mutex_unlock(&s->lock);
	return size;
}

/* ---- opening ---- */

static int by_number(const struct segment *a, const struct segment *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

static int list_segments(struct spool *s)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), cnt = 0, end;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct segment *g;
	unsigned int number;

	if (!d) {
		end = -errno;
		if (fd >= 0)
			close(fd);
		return end;
	}
	while ((entry = readdir(d))) {
		end = 0;
		if (sscanf(entry->d_name, "%8u.spool%n", &number, &end) != 1 || !end ||
		    entry->d_name[end])
			continue;
		g = ++cnt > SEGMENTS_MAX ? NULL : calloc(1, sizeof(*g));
		if (!g) {
			closedir(d);
			return -ENOMEM;
		}
		g->number = number;
		g->fd = -1;
		DL_INSERT_INORDER(s->segments, g, by_number);
	}
	closedir(d);
	return 0;
}

/* Counts what waits; where the whole records end. */
static uint64_t read_records(struct segment *g)
{
	uint64_t at = sizeof(struct segment_head);
	struct record_head h;

	for (; read_head(g, at, &h) && at + record_size(&h) <= g->size; at += record_size(&h))
		g->waiting += h.mark == MARK_WAITS ? h.spans : 0;
	return at;
}

/* Cuts off a tail that is not whole, which only the last segment may have. */
static int read_segment(struct spool *s, struct segment *g, struct spool_resumed *r)
{
	uint64_t at = read_records(g), left;
	struct record_head h;

	r->spans += g->waiting;
	left = g->size - at;
	if (!left || g->next)
		return 0;
	if (read_head(g, at, &h))
		r->torn_spans += h.spans;
	r->torn_bytes += left;
	s->size -= left;
	g->size = at;
	return ftruncate(g->fd, (off_t)at) ? -errno : 0;
}

/* Of another format: what was delivered, and was to go when it had a successor, goes now. */
static int drop_foreign(struct spool *s, struct segment *g, const struct segment_head *head,
			char why[EXPORTER_WHY_MAX])
{
	uint64_t end = read_records(g);

	if (g->waiting || end != g->size)
		return refuse(why, -EINVAL,
			      "the spool holds %llu spans as %.16s, not %s; let them be sent as "
			      "before, or use another folder",
			      (unsigned long long)g->waiting, head->format, s->format);
	segment_drop(s, g);
	return 0;
}

static int resume_segment(struct spool *s, struct segment *g, struct spool_resumed *r,
			  char why[EXPORTER_WHY_MAX])
{
	struct segment_head head;
	struct stat st;
	int err = segment_open(s, g, 0);

	if (!err && fstat(g->fd, &st))
		err = -errno;
	if (err)
		return refuse(why, err, "a segment of the spool: %s", strerror(-err));
	g->size = (uint64_t)st.st_size;
	s->size += g->size;
	if (g->size < sizeof(head) || !read_exact(g->fd, &head, sizeof(head), 0)) {
		/* A process ended while it made this one. */
		r->torn_bytes += g->size;
		segment_drop(s, g);
		return 0;
	}
	if (memcmp(head.magic, segment_magic, sizeof(head.magic)) != 0)
		return refuse(why, -EBADMSG, "the spool holds a file that is none of its own");
	if (memcmp(head.format, s->format, sizeof(head.format)) != 0)
		return drop_foreign(s, g, &head, why);
	err = read_segment(s, g, r);
	return err ? refuse(why, err, "cannot cut a torn tail off: %s", strerror(-err)) : 0;
}

/* The folder is ours alone, in both senses. */
static int open_dir(struct spool *s, const char *dir, char why[EXPORTER_WHY_MAX])
{
	struct stat st;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return refuse(why, -errno, "spool %s: %s", dir, strerror(errno));
	s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0 || fstat(s->dir_fd, &st))
		return refuse(why, -errno, "spool %s: %s", dir, strerror(errno));
	if (st.st_mode & 077)
		return refuse(why, -EPERM, "spool %s: others may enter it; expected mode 0700",
			      dir);
	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return refuse(why, -errno, "spool %s: %s", dir, strerror(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB))
		return refuse(why, errno == EWOULDBLOCK ? -EBUSY : -errno,
			      "spool %s: another exporter uses it", dir);
	return 0;
}

int spool_open(const char *dir, const char *format, uint64_t bytes_max, struct spool **ret_spool,
	       struct spool_resumed *ret_resumed, char why[EXPORTER_WHY_MAX])
{
	struct spool *s = calloc(1, sizeof(*s));
	struct segment *g, *next;
	int err;

	if (!s)
		return refuse(why, -ENOMEM, "no memory");
	*ret_resumed = (struct spool_resumed){ 0 };
	s->dir_fd = s->lock_fd = -1;
	s->bytes_max = bytes_max;
	s->segment_bytes = MAX(bytes_max / SEGMENTS_WANTED, SEGMENT_BYTES_MIN);
	s->at = sizeof(struct segment_head);
	snprintf(s->format, sizeof(s->format), "%s", format);
	pthread_mutex_init(&s->lock, NULL);
	err = open_dir(s, dir, why);
	if (!err) {
		err = list_segments(s);
		if (err)
			refuse(why, err, "spool %s: %s", dir, strerror(-err));
	}
	if (!err)
		DL_FOREACH_SAFE (s->segments, g, next)
			err = err ? err : resume_segment(s, g, ret_resumed, why);
	if (err) {
		spool_close(s);
		return err;
	}
	*ret_spool = s;
	return 0;
}

void spool_close(struct spool *s)
{
	struct segment *g, *next;

	if (!s)
		return;
	DL_FOREACH_SAFE (s->segments, g, next) {
		if (g->fd >= 0)
			close(g->fd);
		free(g);
	}
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	pthread_mutex_destroy(&s->lock);
	buf_fini(&s->body);
	free(s);
}

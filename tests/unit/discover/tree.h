/* SPDX-License-Identifier: Apache-2.0 */
/* Trees like /proc in a temporary directory, for the tests of this room. */
#ifndef TESTS_DISCOVER_TREE_H
#define TESTS_DISCOVER_TREE_H

#include "discover/internal.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_PID 4242

struct tree {
	char dir[64];
	char proc[96]; /* of TREE_PID */
};

static inline void tree_path(const struct tree *t, const char *name, char out[PATH_LEN])
{
	snprintf(out, PATH_LEN, "%s/%s", t->proc, name);
}

static inline void tree_mkdir(const struct tree *t, const char *name)
{
	char path[PATH_LEN];

	tree_path(t, name, path);
	assert_int_equal(mkdir(path, 0755), 0);
}

static inline void tree_bytes(const struct tree *t, const char *name, const void *p, size_t len)
{
	char path[PATH_LEN];
	FILE *f;

	tree_path(t, name, path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static inline void tree_file(const struct tree *t, const char *name, const char *text)
{
	tree_bytes(t, name, text, strlen(text));
}

static inline void tree_link(const struct tree *t, const char *name, const char *target)
{
	char path[PATH_LEN];

	tree_path(t, name, path);
	unlink(path);
	assert_int_equal(symlink(target, path), 0);
}

/* An empty process: stat, an empty root, nothing else. */
static inline void tree_make(struct tree *t)
{
	snprintf(t->dir, sizeof(t->dir), "/tmp/telltale-proc-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	snprintf(t->proc, sizeof(t->proc), "%s/%d", t->dir, TREE_PID);
	assert_int_equal(mkdir(t->proc, 0755), 0);
	tree_mkdir(t, "root");
	tree_file(t, "stat",
		  "4242 (a) b) S 1 4242 4242 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 1234 1 1");
}

static inline int tree_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline void tree_remove(struct tree *t)
{
	nftw(t->dir, tree_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct event_proc *tree_look(const struct tree *t, const struct event_exec *hint)
{
	struct event_proc *out = calloc(1, sizeof(*out) + PROC_TEXT_MAX);

	assert_non_null(out);
	assert_int_equal(
		discover_process(t->dir, TREE_PID, hint, out, sizeof(*out) + PROC_TEXT_MAX), 0);
	assert_int_equal(event_check(out, out->h.size), 0);
	return out;
}

/* The value of a key; "" when it is not there. */
static inline const char *proc_value(const struct event_proc *p, const char *key)
{
	const char *at = p->text, *end = p->text + p->text_len;

	while (at < end) {
		const char *value = at + strlen(at) + 1;
		if (strcmp(at, key) == 0)
			return value;
		at = value + strlen(value) + 1;
	}
	return "";
}

#endif

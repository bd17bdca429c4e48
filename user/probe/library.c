/* SPDX-License-Identifier: Apache-2.0 */
/* TLS libraries: uprobes on a file, for every process that maps it. */
#include "probe/internal.h"

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <sys/stat.h>

#include "core/str.h"

struct attachment {
	const char *program;
	const char *symbol;
	bool at_return;
};

#define LINKS_NEEDED 4 /* the first ones of openssl[] */

static const struct attachment openssl[LINKS_PER_LIBRARY] = {
	{ "ssl_read_enter", "SSL_read", false },      { "ssl_read_exit", "SSL_read", true },
	{ "ssl_read_enter", "SSL_write", false },     { "ssl_write_exit", "SSL_write", true },
	{ "ssl_rw_ex_enter", "SSL_read_ex", false },  { "ssl_read_exit", "SSL_read_ex", true },
	{ "ssl_rw_ex_enter", "SSL_write_ex", false }, { "ssl_write_exit", "SSL_write_ex", true },
	{ "ssl_free_enter", "SSL_free", false },
};

/* One attachment, made or undone on a thread of its own: each waits for the kernel's grace period
 * of about 100 ms, and together they wait once. */
struct job {
	struct uprobe *probe;
	struct bpf_program *prog;
	const char *path;
	const struct attachment *a;
	pthread_t thread;
	bool started;
	int err;
};

static void *attach_one(void *arg)
{
	struct job *j = arg;

	j->err = uprobe_attach(j->prog, j->path, j->a->symbol, j->a->at_return, j->probe);
	return NULL;
}

static void *detach_one(void *arg)
{
	struct job *j = arg;

	uprobe_detach(j->probe);
	return NULL;
}

/* Runs all; what gets no thread of its own is done here. */
static void run_jobs(struct job *job, size_t cnt, void *(*run)(void *))
{
	for (size_t i = 0; i < cnt; i++) {
		job[i].started = pthread_create(&job[i].thread, NULL, run, &job[i]) == 0;
		if (!job[i].started)
			run(&job[i]);
	}
	for (size_t i = 0; i < cnt; i++)
		if (job[i].started)
			pthread_join(job[i].thread, NULL);
}

static void links_destroy(struct library_links *l, size_t libraries)
{
	struct job job[LINKS_PER_LIBRARY] = { 0 };

	for (size_t k = 0; k < libraries; k++) {
		for (size_t i = 0; i < LINKS_PER_LIBRARY; i++)
			job[i].probe = &l[k].probe[i];
		run_jobs(job, LINKS_PER_LIBRARY, detach_one);
	}
}

int probe_add_library(struct probe *p, const char *path, uint64_t dev, uint64_t inode)
{
	struct job job[LINKS_PER_LIBRARY] = { 0 };
	struct library_links *l;

	for (uint32_t i = 0; i < p->library_cnt; i++)
		if (p->library[i].dev == dev && p->library[i].inode == inode)
			return -EALREADY;
	if (p->library_cnt == LIBRARIES_MAX)
		return -ENOSPC;
	l = &p->library[p->library_cnt];
	*l = (struct library_links){ .dev = dev, .inode = inode };
	for (size_t i = 0; i < LINKS_PER_LIBRARY; i++) {
		int row = row_find(openssl[i].program);

		if (row < 0 || !p->state[row].loaded)
			return -ENOTSUP;
		job[i].probe = &l->probe[i];
		job[i].prog = row_program(p, (size_t)row);
		job[i].path = path;
		job[i].a = &openssl[i];
	}
	run_jobs(job, LINKS_PER_LIBRARY, attach_one);
	/* OpenSSL 1.0 has no _ex calls; without the plain ones there is nothing to see */
	for (size_t i = 0; i < LINKS_NEEDED; i++) {
		if (job[i].err) {
			links_destroy(l, 1);
			return job[i].err;
		}
	}
	p->library_cnt++;
	return 0;
}

void libraries_attach_common(struct probe *p)
{
	static const char *const patterns[] = { "/usr/lib/*/libssl.so.[0-9]*",
						"/usr/lib64/libssl.so.[0-9]*",
						"/usr/lib/libssl.so.[0-9]*",
						"/usr/local/lib/libssl.so.[0-9]*" };
	struct stat st;
	glob_t g = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
		glob(patterns[i], i ? GLOB_APPEND : 0, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc; i++)
		if (stat(g.gl_pathv[i], &st) == 0)
			probe_add_library(p, g.gl_pathv[i], st.st_dev, st.st_ino);
	globfree(&g);
}

void libraries_detach(struct probe *p)
{
	links_destroy(p->library, p->library_cnt);
	p->library_cnt = 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* TLS libraries: uprobes on a file, for every process that maps it. */
#include "probe/internal.h"

#include <errno.h>
#include <glob.h>
#include <sys/stat.h>

#include "core/str.h"

struct attachment {
	const char *program;
	const char *symbol;
	bool at_return;
};

static const struct attachment openssl[LINKS_PER_LIBRARY] = {
	{ "ssl_read_enter", "SSL_read", false },      { "ssl_read_exit", "SSL_read", true },
	{ "ssl_read_enter", "SSL_write", false },     { "ssl_write_exit", "SSL_write", true },
	{ "ssl_rw_ex_enter", "SSL_read_ex", false },  { "ssl_read_exit", "SSL_read_ex", true },
	{ "ssl_rw_ex_enter", "SSL_write_ex", false }, { "ssl_write_exit", "SSL_write_ex", true },
	{ "ssl_free_enter", "SSL_free", false },
};

static void links_destroy(struct library_links *l)
{
	for (size_t i = 0; i < LINKS_PER_LIBRARY; i++) {
		bpf_link__destroy(l->link[i]);
		l->link[i] = NULL;
	}
}

int probe_add_library(struct probe *p, const char *path, uint64_t dev, uint64_t inode)
{
	struct library_links *l;
	int attached = 0, err = 0;

	for (uint32_t i = 0; i < p->library_cnt; i++)
		if (p->library[i].dev == dev && p->library[i].inode == inode)
			return -EALREADY;
	if (p->library_cnt == LIBRARIES_MAX)
		return -ENOSPC;
	l = &p->library[p->library_cnt];
	*l = (struct library_links){ .dev = dev, .inode = inode };
	for (size_t i = 0; i < LINKS_PER_LIBRARY; i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = openssl[i].symbol,
			    .retprobe = openssl[i].at_return);
		int row = row_find(openssl[i].program);

		if (row < 0 || !p->state[row].loaded)
			return -ENOTSUP;
		l->link[i] = bpf_program__attach_uprobe_opts(row_program(p, (size_t)row), -1, path,
							     0, &opts);
		if (l->link[i])
			attached++;
		else
			err = -errno;
	}
	/* OpenSSL 1.0 has no _ex calls; without the plain ones there is nothing to see */
	if (!l->link[0] || !l->link[1] || !l->link[2] || !l->link[3]) {
		links_destroy(l);
		return err ? err : -ENOENT;
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
	for (uint32_t i = 0; i < p->library_cnt; i++)
		links_destroy(&p->library[i]);
	p->library_cnt = 0;
}

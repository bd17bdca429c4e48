/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is this process? Reads /proc and ELF files on a thread of its own and answers with
 * EVENT_PROC records. All of it is hostile input: sizes are capped, links are not followed out of
 * /proc/PID/root where a container's file is meant, a process may vanish at any moment.
 *
 * A request is a pid; at most cfg.queue wait, past that the oldest is dropped and counted. Each one
 * is answered unless the process has gone and left no hint. A process that was asked for is looked
 * at again some time later (its libraries and runtime may load late) and told of once more when its
 * runtime turned out to be another.
 */
#ifndef DISCOVER_DISCOVER_H
#define DISCOVER_DISCOVER_H

#include "ring/ring.h"

/* Found in a process and worth attaching to; for probe. Borrowed for the call. */
struct library {
	uint32_t tgid;
	const char
		*path; /* openable by us during the call: below /proc/PID/map_files or /proc/self */
	const char *soname;  /* "libssl.so.3" */
	uint64_t dev, inode; /* identity of the file */
};

struct discover_cfg {
	uint32_t queue; /* default 4096 */
	/* Where container runtimes keep their files; NULL: the root of the host's first process
	 * where it is another than ours and we may see it, else ours. */
	const char *host_root;
	void *ctx;
	/* Both are called on discover's thread. */
	void (*found)(void *ctx, const struct event_proc *proc);
	void (*library)(void *ctx,
			const struct library *lib); /* each mapped TLS library, per process */
};

struct discover;
int discover_new(const struct discover_cfg *cfg, struct discover **ret_discover);
/* Asks for a process. hint: its exec record, or NULL; copied. Never blocks. */
void discover_ask(struct discover *d, uint32_t tgid, const struct event_exec *hint);
/* Looks for TLS libraries in every process there is: calls library, not found. Never blocks. */
void discover_scan(struct discover *d);
void discover_free(struct discover *d);

/*
 * The same for one process, at once and on the caller's thread: fills out (PROC_TEXT_MAX of text
 * at least). 0, -ESRCH when it has gone and there is no hint. proc_root is "/proc", or a tree
 * like it in tests. Containers have ids only.
 */
int discover_process(const char *proc_root, uint32_t tgid, const struct event_exec *hint,
		     struct event_proc *out, size_t out_size);

/* Container id in a cgroup path (conventions of the runtimes), empty when there is none. */
struct str discover_container_id(struct str cgroup_path);

#endif

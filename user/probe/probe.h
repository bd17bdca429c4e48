/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel side's only owner: finds out what this kernel allows, opens, loads and attaches the
 * programs, drains their ring buffer. Every program is a row of one table; a row that fails to
 * load is switched off and the object opened anew; only losing the core is an error.
 *
 * Nothing is pinned; everything is detached when probe_free() returns, or when the process dies.
 */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H

#include "ring/ring.h"

enum capture { CAPTURE_AUTO, CAPTURE_TRAMPOLINE, CAPTURE_SOCKTP, CAPTURE_SYSCALL };
extern const char *const capture_names[]; /* by enum capture */

/* Which processes: any of these matches; none set: every process. Children follow. */
struct probe_filter {
	const uint32_t *pids;
	uint32_t pid_cnt;
	const char *const *names; /* globs (* and ?) on the process name (comm) */
	uint32_t name_cnt;
	const char *const *cgroups; /* paths below the cgroup v2 mount; with all below them */
	uint32_t cgroup_cnt;
	const uint16_t *ports; /* only connections with one of these at either end */
	uint32_t port_cnt;
};

struct probe_cfg {
	enum capture capture;
	struct probe_filter filter;
	uint32_t capture_bytes; /* per turn: 0 to CAPTURE_MAX */
	uint32_t ring_bytes;	/* a power of two of pages */
	uint32_t max_conns;	/* where the kernel has no socket storage */
	bool tls;		/* uprobes on TLS libraries */
};

/* One program and what became of it; for doctor and status. */
struct probe_row {
	const char *program;
	const char *group; /* "trampoline", "socktp", "syscall", "core", "tls", ... */
	bool loaded, attached;
	const char *reason; /* why not; NULL */
};

#define PROBE_WHY_MAX 512
struct probe;
/* 0; -EPERM, -ENOENT (no BTF), -ENOTSUP, ...; *ret_why (static or owned by the probe room until
 * the next call) is one line: what was tried, what was found, what to do. */
int probe_new(const struct probe_cfg *cfg, struct probe **ret_probe, const char **ret_why);
/* Readable when the kernel asks to be drained early; drain by timer otherwise. */
int probe_fd(const struct probe *p);
/* Hands every waiting record to sink; returns how many, or -errno. */
int probe_drain(struct probe *p, void (*record)(void *ctx, const void *rec, size_t len), void *ctx);
/* Tells of turns whose last bytes nobody reported yet, when idle for 50 ms; cheap when none. */
int probe_flush_idle(struct probe *p);
/* How often to do so. */
uint64_t probe_flush_every_ns(const struct probe *p);
/* The kernel side's counters as a record. */
void probe_books(struct probe *p, struct event_books *out);
/*
 * Another filter takes the place of the one in force. What both select is seen without a gap; of
 * what is added, open connections are found as at the start; of what goes they are closed with
 * ECANCELED. Takes as long as a walk of /proc. From any thread, one at a time. 0, or -errno with a
 * line in why (-EINVAL, -ENOENT: nothing has changed).
 */
int probe_set_filter(struct probe *p, const struct probe_filter *f, char why[PROBE_WHY_MAX]);
/* The id of a cgroup by its path, below the mount or with it; -ENOENT. */
int probe_cgroup_id(const char *path, uint64_t *ret_id);
/* Attaches the TLS probes to a library file once; 0, -EALREADY, or -errno. */
int probe_add_library(struct probe *p, const char *path, uint64_t dev, uint64_t inode);
enum capture probe_capture(const struct probe *p);
const struct probe_row *probe_rows(const struct probe *p, size_t *ret_cnt);
void probe_free(struct probe *p);

/* What this kernel and our privileges allow, found by trying; for doctor. */
struct probe_check {
	const char *name; /* "btf", "bpf", "ptrace", ... */
	bool ok;
	char detail[256]; /* what was found, and what to do when it is not ok */
};
size_t probe_check_all(struct probe_check *out, size_t max);
/* Whether executables, environments and libraries of everybody's processes can be read:
 * CAP_SYS_PTRACE is effective (capabilities(7)). Without it a service bears its thread's name, and
 * TLS is not seen. */
bool probe_reads_processes(void);

#endif

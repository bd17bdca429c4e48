/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the probe room share. */
#ifndef PROBE_INTERNAL_H
#define PROBE_INTERNAL_H

#include <bpf/libbpf.h>
#include <bpf/btf.h>

#include "probe/probe.h"
#include "state.h"
#include "telltale.skel.h"

#define LIBRARIES_MAX	  64 /* TLS library files attached to */
#define LINKS_PER_LIBRARY 9
#define REASON_LEN	  160
#define FILTER_TEXT_MAX	  512

/* What this kernel offers beyond the least that is needed, read from its BTF. */
struct features {
	bool sk_storage;
	bool task_storage;
	bool task_pt_regs;
	bool sock_from_file;
	bool uprobe_multi;
	uint32_t tcp_recvmsg_args; /* 0: no such function */
	uint32_t udp_recvmsg_args;
};

/* Rows are in rows.c; this is what became of one in a run. */
struct row_state {
	struct bpf_link *link;
	bool off; /* not to be loaded, for the reason given */
	bool loaded;
	char reason[REASON_LEN];
};

enum row_flags {
	ROW_CORE = 1 << 0,	 /* without it its group does not work */
	ROW_ITER = 1 << 1,	 /* started by hand */
	ROW_LIBRARY = 1 << 2,	 /* attached when a library is found */
	ROW_SK_STORAGE = 1 << 3, /* only where sockets allow storage */
	ROW_NO_SK_STORAGE = 1 << 4,
};

struct row {
	const char *program;
	const char *group;
	uint32_t flags;
};

#define ROWS_MAX 48
extern const struct row rows[];
extern const size_t row_cnt;

#define ATTACH_UPROBE_MULTI 48 /* BPF_TRACE_UPROBE_MULTI of 6.6 */

/* Attached in one of two ways; neither when link is NULL and fd is -1. */
struct uprobe {
	struct bpf_link *link;
	int fd;
};

struct library_links {
	uint64_t dev, inode;
	struct uprobe probe[LINKS_PER_LIBRARY];
};

/* One thing that selects processes. Its number is the reason why a process is selected: children
 * keep it when their parent has gone. */
struct filter_rule {
	enum filter_kind { RULE_PID, RULE_NAME, RULE_CGROUP } kind;
	uint16_t id; /* from 1 */
	bool fresh;  /* was not in force before */
	uint32_t pid;
	uint64_t cgroup;	    /* its id */
	char text[FILTER_TEXT_MAX]; /* glob, or path below the cgroup mount */
};

struct filter_rules {
	struct filter_rule *v;
	uint32_t cnt;
	bool has_cgroups;
	uint16_t port[FILTER_PORTS];
	uint32_t port_cnt;
};

struct probe {
	struct telltale_bpf *skel;
	struct ring_buffer *ring;
	enum capture capture;
	struct features features;
	struct row_state state[ROWS_MAX];
	struct probe_row shown[ROWS_MAX];
	struct library_links library[LIBRARIES_MAX];
	uint32_t library_cnt;
	struct bpf_link *flush_link;
	uint64_t pending_seen; /* the count of pending tails at the last walk */
	uint32_t walks_idle;   /* walks since it changed */
	int cpus;
	char *stats;		   /* of each, as the kernel writes them; owned */
	struct filter_rules rules; /* in force */
	uint16_t last_rule;
	char why[PROBE_WHY_MAX];
	void (*record)(void *ctx, const void *rec, size_t len);
	void *record_ctx;
	int drained; /* records of this drain */
};

/* features.c */
int features_read(struct features *f, struct btf **ret_btf);
/* False, with the reason, when the program's target is not in this kernel. */
bool target_exists(const struct btf *btf, const char *section, char *reason, size_t len);

/* rows.c */
struct bpf_program *row_program(struct probe *p, size_t i);
bool row_wanted(const struct row *r, enum capture capture, const struct features *f, bool tls);
int row_find(const char *program);

/* filter.c: as probe_set_filter(), for programs that are not attached yet; what is to follow once
 * they are and the filter is in force. */
int filter_set(struct probe *p, const struct probe_filter *f, char why[PROBE_WHY_MAX]);
void filter_settle(struct probe *p);
/* NULL: no rule has that number. */
const struct filter_rule *filter_rule_find(const struct filter_rules *r, uint16_t id);

/* select.c: puts running processes into the kernel's table that a rule selects, and their families;
 * and takes out whom no rule selects any more. -errno: nothing was put. */
int select_running(struct probe *p, const struct filter_rules *r);
void select_prune(struct probe *p, const struct filter_rules *r);

/* library.c */
void libraries_attach_common(struct probe *p);
void libraries_detach(struct probe *p);

/* uprobe.c; 0 or -errno, -ENOENT when the file has no such function. */
int uprobe_attach(struct bpf_program *prog, const char *path, const char *symbol, bool at_return,
		  struct uprobe *ret);
void uprobe_detach(struct uprobe *u);

/* scan.c: runs an iterator program to its end. 0 or -errno. */
int iter_run(struct bpf_link *link);
/* The books without the runs that the kernel skipped, whose sum takes a call for each program. */
void probe_counts(struct probe *p, struct event_books *out);
void scan_open(struct probe *p);

#endif

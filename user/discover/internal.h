/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the discover room only. */
#ifndef DISCOVER_INTERNAL_H
#define DISCOVER_INTERNAL_H

#include "discover/discover.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>

#define CMDLINE_MAX   (64u << 10)  /* a java class path is long, its main class comes last */
#define ENVIRON_MAX   (128u << 10) /* ARG_MAX of old; the variables wanted may be anywhere */
#define MAPS_MAX      (4u << 20)
#define LIBRARIES_MAX 8 /* TLS libraries of one process */
#define PATH_LEN      1024
#define SHORT_MAX     256 /* names: service, owner, unit */

/* ---- text.c: the pairs of an event_proc ---------------------------------------------------- */

struct text {
	char *p;
	size_t len, cap;
};

/* Leaves out what is empty, already there, or does not fit. Bytes that are not UTF-8 and control
 * characters become '?', so that no name can steer a terminal. */
void text_add(struct text *t, const char *key, struct str value, size_t max);
void text_add_pair(struct text *t, struct str key, struct str value, size_t max);
bool text_has(const struct text *t, struct str key);

/* ---- mask.c -------------------------------------------------------------------------------- */

/* NUL-separated arguments as one line of at most size - 1 bytes, secrets REDACTED. */
size_t mask_command_line(struct str args, char *out, size_t size);

/* ---- elf.c --------------------------------------------------------------------------------- */

enum elf_flags {
	ELF_F_VALID = 1 << 0,
	ELF_F_DYNAMIC = 1 << 1, /* has an interpreter (the dynamic linker) */
	ELF_F_LIBC = 1 << 2,	/* names a C library among those it needs */
	ELF_F_GO = 1 << 3,
	ELF_F_RUST = 1 << 4,
};

/* Looks at headers and a bounded part of few sections; never maps the file, which its owner may cut
 * short meanwhile. Anything odd: what was found until then. */
unsigned int elf_look(int fd);

/* ---- maps.c -------------------------------------------------------------------------------- */

struct mapping {
	uint64_t start, end;
	uint64_t inode;
	struct str path; /* may end in " (deleted)" */
};

/* One line of /proc/PID/maps with a file behind it; false for any other. */
bool maps_line(struct str line, struct mapping *ret);
/* Calls visit for the first mapping of each run of the same file; true ends the walk. 0, -errno. */
int maps_walk(int proc_fd, bool (*visit)(void *ctx, const struct mapping *m), void *ctx);

/* ---- files.c: reading below /proc/PID ------------------------------------------------------ */

/* At most size bytes of a file below dir: how many, or -errno. */
ssize_t read_at(int dir, const char *name, char *out, size_t size);
/* The same of a regular file as the process itself sees it: links cannot lead out of its root. */
ssize_t read_in_root(int proc_fd, const char *path, char *out, size_t size);
/* Opens one such file, O_PATH only, to name it as /proc/self/fd/N; -errno. */
int open_in_root(int proc_fd, const char *path);
/* The same below a root of our own choosing: a file of at most max bytes, whole; *ret_text is the
 * caller's to free. */
ssize_t read_below(int root, const char *path, size_t max, char **ret_text);
DIR *opendir_below(int root, const char *path);			       /* NULL: cannot be opened */
struct str link_at(int dir, const char *name, char *out, size_t size); /* empty: none */
struct str path_base(struct str path);
struct str path_dir(struct str path); /* "" without a slash */
struct str strip_deleted(struct str path);

/* ---- runtime.c ----------------------------------------------------------------------------- */

enum runtime runtime_of_exe(struct str base);	  /* by an interpreter's name */
enum runtime runtime_of_library(struct str base); /* by a mapped file's name */
/* Java's runtimes differ by release; path is of java or libjvm.so inside the process. */
enum runtime runtime_of_java(int proc_fd, struct str path);
/* What its files say, the strongest evidence first. */
enum runtime runtime_decide(unsigned int elf, enum runtime exe, enum runtime library,
			    bool libc_mapped);
const char *runtime_name(enum runtime r,
			 struct str exe_base); /* process.runtime.name; NULL: none */

/* ---- container.c --------------------------------------------------------------------------- */

struct cgroup {
	struct str container; /* id, or an LXC container's name */
	struct str unit;      /* systemd unit without .service and instance; empty: none */
	char pod[40];	      /* Kubernetes pod uid; empty: none */
	bool lxc;	      /* the container's id is a name that people gave */
};

/* content of /proc/PID/cgroup; the result borrows from it. */
void cgroup_parse(struct str content, struct cgroup *ret);

/* ---- names.c: what a container is called ---------------------------------------------------- */

/* Any may be empty. */
struct names {
	char service[SHORT_MAX];   /* what people call the work that it does */
	char container[SHORT_MAX]; /* as its runtime lists it */
	char image[SHORT_MAX];	   /* without tag and digest */
	char k8s_namespace[SHORT_MAX];
	char k8s_pod[SHORT_MAX];
	char k8s_pod_uid[SHORT_MAX];
	char k8s_container[SHORT_MAX];
};

struct namer;
/* host_root: see discover_cfg. NULL without memory. */
struct namer *namer_new(const char *host_root);
/* NULL: has no id to search by. Holds until the next call. */
const struct names *namer_find(struct namer *n, const struct cgroup *g);
void namer_free(struct namer *n);

/* ---- names_read.c: one file of a runtime, or one directory entry ----------------------------- */

/* False, *out untouched: it does not tell what the container is called. */
bool names_from_docker(struct str text, struct str id, struct names *out);
bool names_from_oci(struct str text, struct str id, struct names *out);	    /* containerd, CRI-O */
bool names_from_storage(struct str text, struct str id, struct names *out); /* Podman's list */
bool names_from_log(struct str file, struct str id,
		    struct names *out); /* POD_NAMESPACE_NAME-ID.log */
bool names_from_pod_dir(struct str dir, struct str uid, struct names *out); /* NAMESPACE_POD_UID */

/* ---- script.c ------------------------------------------------------------------------------ */

/* The name an interpreter's arguments give its program; empty: none. *ret_script: the path of the
 * script where there is one. Both borrow from args. */
struct str script_name(enum runtime r, struct str args, struct str *ret_script);
/* Takes the next NUL-terminated (or last, cut) piece. */
bool args_next(struct str *args, struct str *ret);

/* ---- service.c ----------------------------------------------------------------------------- */

struct facts {
	int proc_fd; /* -1: gone */
	enum runtime runtime;
	struct str exe; /* path; may be empty */
	struct str comm;
	struct str args, env; /* NUL-separated */
	struct cgroup cgroup;
	const struct names *names; /* of its container; NULL: none */
};

/* service.name by the order of design.md; never empty. */
struct str service_name(const struct facts *f, char out[SHORT_MAX]);
/* The process's own resource attributes (OTEL_RESOURCE_ATTRIBUTES). */
void service_attributes(const struct facts *f, struct text *t);
struct str env_value(struct str env, const char *name);

/* ---- process.c: one look at a process ------------------------------------------------------ */

struct look;
/* proc_root: "/proc". namer: owned by the look, NULL: containers have ids only. library is called
 * during a look, may be NULL. */
struct look *look_new(const char *proc_root, struct namer *namer, void *ctx,
		      void (*library)(void *ctx, const struct library *lib));
/* As discover_process(). */
int look_process(struct look *l, uint32_t tgid, const struct event_exec *hint,
		 struct event_proc *out, size_t out_size);
/* When the process of the last look_process() started, in clock ticks since boot: tells a pid used
 * again. 0: it had gone. */
uint64_t look_started(const struct look *l);
/* Libraries and runtime only. started: see above, 0 for any. 0, -ESRCH. */
int look_again(struct look *l, uint32_t tgid, uint64_t started, enum runtime *ret_runtime);
void look_free(struct look *l);

#endif

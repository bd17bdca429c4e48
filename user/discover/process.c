/* SPDX-License-Identifier: Apache-2.0 */
/* One look at one process. The directory is held open, so a pid used again meanwhile is noticed. */
#include "discover/internal.h"
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#define COMMAND_LINE_MAX 1025
#define ELF_CACHE_MAX	 1024
#define OWNER_CACHE_MAX	 64
#define CGROUP_MAX	 (16u << 10)
#define STAT_MAX	 1024
#define VALUE_MAX	 1024

/* What a file told, by its identity and last change. */
struct elf_key {
	uint64_t dev, inode, size, mtime_ns, ctime_ns;
};

struct elf_entry {
	struct elf_key key;
	unsigned int flags;
	UT_hash_handle hh;
};

struct owner {
	uint32_t uid;
	char name[SHORT_MAX]; /* empty: has none */
};

struct look {
	const char *proc_root;
	struct namer *namer; /* NULL: none */
	void *ctx;
	void (*library)(void *ctx, const struct library *lib);
	struct elf_entry *elfs; /* oldest first */
	struct owner owners[OWNER_CACHE_MAX];
	size_t owner_cnt;
	int64_t boot_offset_ns; /* real time minus CLOCK_BOOTTIME */
	uint64_t started;	/* of the process looked at last */
	char cmdline[CMDLINE_MAX];
	char env[ENVIRON_MAX];
	char cgroup[CGROUP_MAX];
	char exe[PATH_LEN];
	char stat[STAT_MAX];
};

/* One walk over the maps. */
struct scan {
	struct look *l;
	int proc_fd;
	uint32_t tgid;
	enum runtime runtime; /* of the strongest library so far */
	char java[PATH_LEN];  /* path of libjvm.so; empty: none */
	bool libc;
	uint32_t libraries;
};

static int open_proc(const struct look *l, uint32_t tgid)
{
	char path[PATH_LEN];
	int fd;

	snprintf(path, sizeof(path), "%s/%u", l->proc_root, tgid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- executable ---- */

static unsigned int elf_read(int proc_fd)
{
	int fd = openat(proc_fd, "exe", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	unsigned int flags = fd < 0 ? 0 : elf_look(fd);

	if (fd >= 0)
		close(fd);
	return flags;
}

static unsigned int exe_elf(struct look *l, int proc_fd)
{
	struct elf_entry *e;
	struct elf_key key = { 0 };
	struct stat st;

	if (fstatat(proc_fd, "exe", &st, 0) < 0 || !S_ISREG(st.st_mode))
		return 0;
	key.dev = st.st_dev;
	key.inode = st.st_ino;
	key.size = (uint64_t)st.st_size;
	key.mtime_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
	key.ctime_ns = (uint64_t)st.st_ctim.tv_sec * NS_PER_S + (uint64_t)st.st_ctim.tv_nsec;
	HASH_FIND(hh, l->elfs, &key, sizeof(key), e);
	if (e)
		return e->flags;
	if (HASH_COUNT(l->elfs) >= ELF_CACHE_MAX) {
		e = l->elfs;
		HASH_DEL(l->elfs, e);
		free(e);
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return elf_read(proc_fd);
	e->key = key;
	e->flags = elf_read(proc_fd);
	HASH_ADD(hh, l->elfs, key, sizeof(e->key), e);
	return e->flags;
}

/* ---- mapped files ---- */

/* "libssl.so.3", "libssl-1a2b.so.1.1" as python wheels bring it; not NSS's libssl3.so. */
static bool is_tls_library(struct str base)
{
	return base.len > 9 && memcmp(base.p, "libssl", 6) == 0 &&
	       (base.p[6] == '.' || base.p[6] == '-') && memmem(base.p, base.len, ".so", 3);
}

/*
 * The mapped file itself is behind map_files, whatever its name has become since; where that is not
 * allowed, what the process sees under the name.
 */
static void tell_library(struct scan *s, const struct mapping *m, struct str base)
{
	char path[PATH_LEN], name[PATH_LEN], soname[SHORT_MAX];
	struct str file = strip_deleted(m->path);
	struct library lib = { .tgid = s->tgid, .path = path, .soname = soname };
	struct stat st;
	int fd = -1;

	if (!s->l->library || s->libraries >= LIBRARIES_MAX || file.len >= sizeof(name))
		return;
	snprintf(soname, sizeof(soname), STR_FMT, STR_ARG(strip_deleted(base)));
	snprintf(path, sizeof(path), "%s/%u/map_files/%llx-%llx", s->l->proc_root, s->tgid,
		 (unsigned long long)m->start, (unsigned long long)m->end);
	if (stat(path, &st) < 0) {
		snprintf(name, sizeof(name), STR_FMT, STR_ARG(file));
		fd = open_in_root(s->proc_fd, name);
		if (fd < 0)
			return;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	if ((fd < 0 || fstat(fd, &st) == 0) && S_ISREG(st.st_mode)) {
		lib.dev = st.st_dev;
		lib.inode = st.st_ino;
		s->libraries++;
		s->l->library(s->l->ctx, &lib);
	}
	if (fd >= 0)
		close(fd);
}

static bool visit_mapping(void *ctx, const struct mapping *m)
{
	struct scan *s = ctx;
	struct str base = path_base(m->path);
	enum runtime r;

	if (base.len < 6 || memcmp(base.p, "lib", 3) != 0)
		return false;
	if (is_tls_library(base))
		tell_library(s, m, base);
	if (str_starts(base, STR("libc.so")) || str_starts(base, STR("libc-2.")) ||
	    str_starts(base, STR("libc.musl")))
		s->libc = true;
	r = runtime_of_library(base);
	if (r == RUNTIME_JAVA)
		snprintf(s->java, sizeof(s->java), STR_FMT, STR_ARG(m->path));
	/* one that runs its own scheduler says more about threads than one that does not */
	if (r != RUNTIME_UNKNOWN && (s->runtime == RUNTIME_UNKNOWN || r > s->runtime))
		s->runtime = r;
	return false;
}

static enum runtime find_runtime(struct scan *s, struct str exe)
{
	enum runtime named = runtime_of_exe(path_base(strip_deleted(exe))), r;
	unsigned int elf = named == RUNTIME_UNKNOWN ? exe_elf(s->l, s->proc_fd) : 0;

	maps_walk(s->proc_fd, visit_mapping, s);
	r = runtime_decide(elf, named, s->runtime, s->libc);
	if (r == RUNTIME_JAVA)
		r = runtime_of_java(s->proc_fd, s->java[0] ? str_of(s->java) : exe);
	return r;
}

/* ---- who and when ---- */

/* The field after the process's name, which may hold anything, by its number in proc_pid_stat(5).
 */
static bool stat_field(struct str text, unsigned int number, uint64_t *ret)
{
	const char *close = text.len ? memrchr(text.p, ')', text.len) : NULL;
	unsigned int at = 2;

	if (!close)
		return false;
	text = str_from(text, (size_t)(close - text.p) + 1);
	while (text.len) {
		ptrdiff_t space;
		struct str field;

		text = str_from(text, 1); /* the space before it */
		space = str_find(text, ' ');
		field = space < 0 ? text : (struct str){ text.p, (size_t)space };
		if (++at == number)
			return str_to_u64(field, ret);
		text = str_from(text, field.len);
	}
	return false;
}

static struct str stat_comm(struct str text)
{
	ptrdiff_t open = str_find(text, '(');
	const char *close = text.len ? memrchr(text.p, ')', text.len) : NULL;

	if (open < 0 || !close || close <= text.p + open)
		return (struct str){ NULL, 0 };
	return (struct str){ text.p + open + 1, (size_t)(close - text.p - open - 1) };
}

static uint64_t start_ticks(struct str text)
{
	uint64_t ticks = 0;

	stat_field(text, 22, &ticks);
	return ticks;
}

/* From the machine's own list only: other name services may ask the network. */
static void find_owner(uint32_t uid, char out[SHORT_MAX])
{
	FILE *f = fopen("/etc/passwd", "re");
	struct passwd *pw;

	out[0] = '\0';
	while (f && (pw = fgetpwent(f))) {
		if (pw->pw_uid == uid) {
			snprintf(out, SHORT_MAX, "%s", pw->pw_name);
			break;
		}
	}
	if (f)
		fclose(f);
}

static struct str owner_name(struct look *l, uint32_t uid)
{
	struct owner *o;

	for (size_t i = 0; i < l->owner_cnt; i++) {
		if (l->owners[i].uid == uid)
			return str_of(l->owners[i].name);
	}
	if (l->owner_cnt == OWNER_CACHE_MAX)
		l->owner_cnt = 0;
	o = &l->owners[l->owner_cnt++];
	o->uid = uid;
	find_owner(uid, o->name);
	return str_of(o->name);
}

static void add_creation_time(const struct look *l, struct text *t)
{
	uint64_t ticks = l->started, hz = (uint64_t)sysconf(_SC_CLK_TCK), ns;
	char text[64];
	struct tm tm;
	time_t s;

	if (!ticks || ticks > UINT64_MAX / 2 / NS_PER_S * hz)
		return;
	ns = ticks / hz * NS_PER_S + ticks % hz * (NS_PER_S / hz) + (uint64_t)l->boot_offset_ns;
	s = (time_t)(ns / NS_PER_S);
	if (!gmtime_r(&s, &tm))
		return;
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (unsigned int)(ns % NS_PER_S / NS_PER_MS));
	text_add(t, "process.creation.time", str_of(text), VALUE_MAX);
}

/* ---- the answer ---- */

static struct str file_text(int dir, const char *name, char *out, size_t size)
{
	ssize_t n = dir < 0 ? -1 : read_at(dir, name, out, size);
	return (struct str){ out, n > 0 ? (size_t)n : 0 };
}

static struct str hint_comm(const struct event_exec *hint)
{
	return (struct str){ hint->comm, strnlen(hint->comm, sizeof(hint->comm)) };
}

/* The exec record fills in what /proc did not tell: the process may have gone. */
static void facts_from_hint(struct facts *f, const struct event_exec *hint)
{
	if (!f->args.len)
		f->args = (struct str){ hint->args, MIN(hint->args_len, (uint32_t)EXEC_ARGS_LEN) };
	if (!f->env.len)
		f->env = (struct str){ hint->env, MIN(hint->env_len, (uint32_t)EXEC_ENV_LEN) };
	if (!f->comm.len)
		f->comm = hint_comm(hint);
}

static void add_container(const struct facts *f, struct text *t)
{
	const struct names *n = f->names;

	if (f->cgroup.lxc)
		text_add(t, "container.name", f->cgroup.container, SHORT_MAX);
	else
		text_add(t, "container.id", f->cgroup.container, SHORT_MAX);
	text_add(t, "k8s.pod.uid", str_of(f->cgroup.pod), SHORT_MAX);
	if (!n)
		return;
	text_add(t, "container.name", str_of(n->container), SHORT_MAX);
	text_add(t, "container.image.name", str_of(n->image), SHORT_MAX);
	text_add(t, "k8s.namespace.name", str_of(n->k8s_namespace), SHORT_MAX);
	text_add(t, "k8s.pod.name", str_of(n->k8s_pod), SHORT_MAX);
	text_add(t, "k8s.pod.uid", str_of(n->k8s_pod_uid), SHORT_MAX);
	text_add(t, "k8s.container.name", str_of(n->k8s_container), SHORT_MAX);
}

static void write_text(struct look *l, const struct facts *f, uint32_t tgid, const uint32_t *uid,
		       struct text *t)
{
	char name[SHORT_MAX], line[COMMAND_LINE_MAX], number[16];
	struct str exe = strip_deleted(f->exe), base = path_base(exe), first, args = f->args;
	size_t len;

	snprintf(number, sizeof(number), "%u", tgid);
	text_add(t, "service.name", service_name(f, name), SHORT_MAX - 1);
	text_add(t, "process.pid", str_of(number), VALUE_MAX);
	if (!base.len && args_next(&args, &first))
		base = path_base(first);
	text_add(t, "process.executable.name", base.len ? base : f->comm, SHORT_MAX);
	text_add(t, "process.executable.path", exe, VALUE_MAX);
	text_add(t, "process.runtime.name", str_of(runtime_name(f->runtime, base)), SHORT_MAX);
	add_container(f, t);
	if (uid)
		text_add(t, "process.owner", owner_name(l, *uid), SHORT_MAX);
	add_creation_time(l, t);
	len = mask_command_line(f->args, line, sizeof(line));
	text_add(t, "process.command_line", (struct str){ line, len }, VALUE_MAX);
	service_attributes(f, t);
}

int look_process(struct look *l, uint32_t tgid, const struct event_exec *hint,
		 struct event_proc *out, size_t out_size)
{
	struct facts f = { .proc_fd = open_proc(l, tgid) };
	struct scan s = { .l = l, .proc_fd = f.proc_fd, .tgid = tgid };
	struct text t = { .p = out->text };
	struct stat st;
	struct str stat_text = file_text(f.proc_fd, "stat", l->stat, sizeof(l->stat));
	uint32_t uid = hint ? hint->uid : 0;
	bool known = hint != NULL;

	if (out_size < sizeof(*out))
		return -EINVAL;
	t.cap = MIN(out_size - sizeof(*out), (size_t)PROC_TEXT_MAX);
	if (!stat_text.len && !hint) {
		if (f.proc_fd >= 0)
			close(f.proc_fd);
		return -ESRCH;
	}
	if (f.proc_fd >= 0) {
		f.comm = stat_comm(stat_text);
		f.exe = link_at(f.proc_fd, "exe", l->exe, sizeof(l->exe));
		f.args = file_text(f.proc_fd, "cmdline", l->cmdline, sizeof(l->cmdline));
		f.env = file_text(f.proc_fd, "environ", l->env, sizeof(l->env));
		cgroup_parse(file_text(f.proc_fd, "cgroup", l->cgroup, sizeof(l->cgroup)),
			     &f.cgroup);
		f.names = l->namer ? namer_find(l->namer, &f.cgroup) : NULL;
		if (!known && fstatat(f.proc_fd, "stat", &st, 0) == 0) {
			uid = st.st_uid;
			known = true;
		}
	}
	if (hint)
		facts_from_hint(&f, hint);
	f.runtime = f.proc_fd >= 0 ? find_runtime(&s, f.exe) : RUNTIME_UNKNOWN;
	if (!f.exe.len && f.runtime == RUNTIME_UNKNOWN) {
		struct str args = f.args, program;
		if (args_next(&args, &program))
			f.runtime = runtime_of_exe(path_base(program));
		if (f.runtime == RUNTIME_JAVA)
			f.runtime = RUNTIME_JAVA_VIRTUAL;
	}
	l->started = start_ticks(stat_text);
	write_text(l, &f, tgid, known ? &uid : NULL, &t);
	out->h = (struct event_hdr){ .ts_ns = clock_mono_ns(), .tgid = tgid, .kind = EVENT_PROC };
	out->h.size = (uint16_t)(sizeof(*out) + t.len);
	out->runtime = f.runtime;
	out->text_len = (uint32_t)t.len;
	if (f.proc_fd >= 0)
		close(f.proc_fd);
	return 0;
}

int look_again(struct look *l, uint32_t tgid, uint64_t started, enum runtime *ret_runtime)
{
	int fd = open_proc(l, tgid), err = 0;
	struct scan s = { .l = l, .proc_fd = fd, .tgid = tgid };
	struct str exe;

	if (fd < 0)
		return -ESRCH;
	if (started && start_ticks(file_text(fd, "stat", l->stat, sizeof(l->stat))) != started)
		err = -ESRCH;
	exe = link_at(fd, "exe", l->exe, sizeof(l->exe));
	/* kernel threads have no executable */
	if (!err && exe.len)
		*ret_runtime = find_runtime(&s, exe);
	close(fd);
	return err;
}

uint64_t look_started(const struct look *l)
{
	return l->started;
}

struct look *look_new(const char *proc_root, struct namer *namer, void *ctx,
		      void (*library)(void *ctx, const struct library *lib))
{
	struct look *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->proc_root = proc_root;
	l->namer = namer;
	l->ctx = ctx;
	l->library = library;
	l->boot_offset_ns = (int64_t)(clock_real_ns() - clock_read(CLOCK_BOOTTIME));
	return l;
}

void look_free(struct look *l)
{
	struct elf_entry *e, *tmp;

	if (!l)
		return;
	HASH_ITER (hh, l->elfs, e, tmp) {
		HASH_DEL(l->elfs, e);
		free(e);
	}
	namer_free(l->namer);
	free(l);
}

int discover_process(const char *proc_root, uint32_t tgid, const struct event_exec *hint,
		     struct event_proc *out, size_t out_size)
{
	struct look *l = look_new(proc_root, NULL, NULL, NULL);
	int err = l ? look_process(l, tgid, hint, out, out_size) : -ENOMEM;

	look_free(l);
	return err;
}

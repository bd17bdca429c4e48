/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel and our privileges allow, each thing tried or read; for doctor. */
#include "probe/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/str.h"

/* the inode of the first pid namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO) */
#define PID_NAMESPACE_OF_INIT 0xEFFFFFFCU

struct checks {
	struct probe_check *out;
	size_t cnt, max;
};

static void add(struct checks *c, const char *name, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void add(struct checks *c, const char *name, bool ok, const char *fmt, ...)
{
	struct probe_check *k;
	va_list ap;

	if (c->cnt == c->max)
		return;
	k = &c->out[c->cnt++];
	k->name = name;
	k->ok = ok;
	va_start(ap, fmt);
	vsnprintf(k->detail, sizeof(k->detail), fmt, ap);
	va_end(ap);
}

/* The first line of a file, or "" */
static const char *first_line(const char *path, char *line, size_t len)
{
	FILE *f = fopen(path, "re");

	line[0] = 0;
	if (f) {
		if (!fgets(line, (int)len, f))
			line[0] = 0;
		fclose(f);
	}
	line[strcspn(line, "\n")] = 0;
	return line;
}

static void check_kernel(struct checks *c)
{
	struct utsname u;
	unsigned int major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	add(c, "kernel", major > 5 || (major == 5 && minor >= 8), "%.64s %.32s%s", u.release,
	    u.machine, major > 5 || (major == 5 && minor >= 8) ? "" : "; needs 5.8 or newer");
}

static void check_privileges(struct checks *c)
{
	char line[256];
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "telltale_try", 4, 4, 1, &opts);

	if (fd >= 0)
		add(c, "bpf", true, "the bpf() system call is allowed");
	else
		add(c, "bpf", false, "bpf(): %s; run as root, or with CAP_BPF and CAP_PERFMON",
		    strerror(-fd));
	if (fd >= 0)
		close(fd);
	first_line("/sys/kernel/security/lockdown", line, sizeof(line));
	add(c, "lockdown", !strstr(line, "[confidentiality]"), "%s%s",
	    line[0] ? line : "not in this kernel",
	    strstr(line, "[confidentiality]") ? "; BPF may not read memory in this mode" : "");
	first_line("/proc/sys/kernel/perf_event_paranoid", line, sizeof(line));
	add(c, "perf_event_paranoid", atoi(line) < 3 || geteuid() == 0, "%s%s",
	    line[0] ? line : "unknown",
	    atoi(line) < 3 || geteuid() == 0 ? "" : "; uprobes then need CAP_SYS_ADMIN");
}

bool probe_reads_processes(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_SYS_PTRACE)].effective & CAP_TO_MASK(CAP_SYS_PTRACE);
}

static void check_processes(struct checks *c)
{
	struct stat st;
	bool first = stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == PID_NAMESPACE_OF_INIT;
	bool may = probe_reads_processes();

	add(c, "proc", first, "%s",
	    first ? "/proc shows every process"
		  : "/proc shows the processes of this pid namespace only; in a container use the "
		    "host's");
	add(c, "ptrace", may, "%s",
	    may ? "programs, environments and libraries of every process can be read"
		: "CAP_SYS_PTRACE is missing: services bear their thread's name, TLS is not seen");
}

static void check_mounts(struct checks *c)
{
	struct stat st;
	bool unified = stat("/sys/fs/cgroup/cgroup.controllers", &st) == 0;
	bool hybrid = stat("/sys/fs/cgroup/unified/cgroup.controllers", &st) == 0;

	add(c, "cgroup2", unified || hybrid, "%s",
	    unified  ? "/sys/fs/cgroup"
	    : hybrid ? "/sys/fs/cgroup/unified"
		     : "not mounted: filtering by cgroup will not work");
}

static void check_features(struct checks *c)
{
	struct features f;
	struct btf *btf = NULL;

	if (features_read(&f, &btf)) {
		add(c, "btf", false,
		    "/sys/kernel/btf/vmlinux: not found; needs CONFIG_DEBUG_INFO_BTF");
		return;
	}
	add(c, "btf", true, "%u types in /sys/kernel/btf/vmlinux", btf__type_cnt(btf));
	add(c, "socket_storage", f.sk_storage, "%s",
	    f.sk_storage ? "connections are kept with their socket"
			 : "before 5.11: connections are kept in a capped hash");
	add(c, "task_storage", f.task_storage, "%s",
	    f.task_storage ? "threads are kept with their task"
			   : "before 5.11: threads are kept in a capped hash");
	btf__free(btf);
}

size_t probe_check_all(struct probe_check *out, size_t max)
{
	struct checks c = { .out = out, .max = max };

	libbpf_set_print(NULL);
	check_kernel(&c);
	check_privileges(&c);
	check_processes(&c);
	check_mounts(&c);
	check_features(&c);
	return c.cnt;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the running kernel offers, read from its own type information. */
#include "probe/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/str.h"

/* Whether an enum of the kernel has a member of that name. */
static bool enum_has(const struct btf *btf, const char *enum_name, const char *member)
{
	int id = btf__find_by_name_kind(btf, enum_name, BTF_KIND_ENUM);
	const struct btf_type *t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	const struct btf_enum *e = t ? btf_enum(t) : NULL;

	for (int i = 0; t && i < btf_vlen(t); i++)
		if (strcmp(btf__name_by_offset(btf, e[i].name_off), member) == 0)
			return true;
	return false;
}

static uint32_t func_args(const struct btf *btf, const char *func)
{
	int id = btf__find_by_name_kind(btf, func, BTF_KIND_FUNC);
	const struct btf_type *t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;

	t = t ? btf__type_by_id(btf, t->type) : NULL;
	return t ? btf_vlen(t) : 0;
}

int features_read(struct features *f, struct btf **ret_btf)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return -ENOENT;
	/* the helper for tracing programs came in 5.11, with this function to guard it */
	f->sk_storage =
		btf__find_by_name_kind(btf, "bpf_sk_storage_tracing_allowed", BTF_KIND_FUNC) > 0;
	f->task_storage =
		enum_has(btf, "bpf_map_type", "BPF_MAP_TYPE_TASK_STORAGE") && f->sk_storage;
	f->task_pt_regs = enum_has(btf, "bpf_func_id", "BPF_FUNC_task_pt_regs");
	f->sock_from_file = enum_has(btf, "bpf_func_id", "BPF_FUNC_sock_from_file");
	f->uprobe_multi = enum_has(btf, "bpf_attach_type", "BPF_TRACE_UPROBE_MULTI");
	f->tcp_recvmsg_args = func_args(btf, "tcp_recvmsg");
	f->udp_recvmsg_args = func_args(btf, "udp_recvmsg");
	*ret_btf = btf;
	return 0;
}

bool target_exists(const struct btf *btf, const char *section, char *reason, size_t len)
{
	const char *target = strchr(section, '/');
	char name[128];
	bool tracepoint = strncmp(section, "tp_btf/", 7) == 0;
	int id;

	if (!target)
		return true;
	if (!tracepoint && strncmp(section, "fexit/", 6) != 0)
		return true;
	snprintf(name, sizeof(name), "%s%s", tracepoint ? "btf_trace_" : "", target + 1);
	id = btf__find_by_name_kind(btf, name, tracepoint ? BTF_KIND_TYPEDEF : BTF_KIND_FUNC);
	if (id > 0)
		return true;
	snprintf(reason, len, "this kernel has no %s %s", tracepoint ? "tracepoint" : "function",
		 target + 1);
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Every kernel program, one row each: which group it belongs to and whether that can do without. */
#include "probe/internal.h"

#include "core/str.h"

const char *const capture_names[] = { "auto", "trampoline", "socktp", "syscall" };

const struct row rows[] = {
	{ "socktp_send", "socktp", ROW_CORE },
	{ "socktp_recv", "socktp", ROW_CORE },
	{ "tramp_tcp_send", "trampoline", ROW_CORE },
	{ "tramp_tcp_recv", "trampoline", ROW_CORE },
	{ "tramp_tcp_sendpage", "trampoline", 0 },
	{ "tramp_tcp_splice", "trampoline", 0 },
	{ "tramp_unix_send", "trampoline", 0 },
	{ "tramp_unix_recv", "trampoline", 0 },
	{ "tramp_udp_send", "trampoline", 0 },
	{ "tramp_udp6_send", "trampoline", 0 },
	{ "tramp_udp_recv", "trampoline", 0 },
	{ "tramp_udp6_recv", "trampoline", 0 },
	{ "syscall_exit", "syscall", ROW_CORE },
	{ "conn_set_state", "core", ROW_CORE },
	{ "conn_destroy", "core", 0 },
	{ "conn_retransmit", "core", 0 },
	{ "thread_switch", "core", 0 },
	{ "proc_fork", "core", ROW_CORE },
	{ "proc_exec", "core", ROW_CORE },
	{ "proc_exit", "core", ROW_CORE },
	{ "scan_listeners", "scan", ROW_ITER },
	{ "scan_files", "scan", ROW_ITER },
	{ "flush_storage", "scan", ROW_ITER | ROW_SK_STORAGE },
	{ "flush_hash", "scan", ROW_ITER | ROW_NO_SK_STORAGE },
	{ "ssl_read_enter", "tls", ROW_LIBRARY },
	{ "ssl_rw_ex_enter", "tls", ROW_LIBRARY },
	{ "ssl_read_exit", "tls", ROW_LIBRARY },
	{ "ssl_write_exit", "tls", ROW_LIBRARY },
	{ "ssl_free_enter", "tls", ROW_LIBRARY },
};
const size_t row_cnt = ARRAY_LEN(rows);
_Static_assert(ARRAY_LEN(rows) <= ROWS_MAX, "room for every row");

struct bpf_program *row_program(struct probe *p, size_t i)
{
	return bpf_object__find_program_by_name(p->skel->obj, rows[i].program);
}

bool row_wanted(const struct row *r, enum capture capture, const struct features *f, bool tls)
{
	if ((r->flags & ROW_SK_STORAGE) && !f->sk_storage)
		return false;
	if ((r->flags & ROW_NO_SK_STORAGE) && f->sk_storage)
		return false;
	if (strcmp(r->group, "tls") == 0)
		return tls;
	for (int i = CAPTURE_TRAMPOLINE; i <= CAPTURE_SYSCALL; i++)
		if (strcmp(r->group, capture_names[i]) == 0)
			return (int)capture == i;
	return true;
}

int row_find(const char *program)
{
	for (size_t i = 0; i < row_cnt; i++)
		if (strcmp(rows[i].program, program) == 0)
			return (int)i;
	return -1;
}

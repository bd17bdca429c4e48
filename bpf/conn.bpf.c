/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* States that sockets left behind. */
#include "conn.bpf.h"

__noinline bool conn_outlived(__u64 sock)
{
	struct conn_state *c = bpf_map_lookup_elem(&conns_by_sock, &sock);

	if (!c || c->inode == sock_inode((struct sock *)sock))
		return false;
	conn_tell_end(c, 0, 0);
	conn_clear_pending(c);
	bpf_map_delete_elem(&conns_by_sock, &sock);
	return true;
}

__noinline bool filter_port_listed(__u32 lport, __u32 rport)
{
	__u16 local = lport, remote = rport;

	return bpf_map_lookup_elem(&filter_ports, &local) ||
	       bpf_map_lookup_elem(&filter_ports, &remote);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A connection's state: find, make, describe to user space, end. */
#ifndef BPF_CONN_H
#define BPF_CONN_H

#include "task.bpf.h"

/*
 * An id of our own, never 0: the thread's id (at most 22 bits, PID_MAX_LIMIT), then a count. Two
 * threads may both count and then read the same number, for the instruction that does both came in
 * 5.12; what a thread reads after counting, no thread of that id has read before.
 */
static __always_inline __u64 conn_next_id(void)
{
	add(conns_made, 1);
	return bpf_get_current_pid_tgid() << 42 | conns_made;
}

/*
 * The state of a socket's connection. Two bodies, chosen by a constant: the kernel's socket
 * storage, or a hash by the socket's address, whose entry goes with the connection.
 */
static __always_inline struct conn_state *conn_find(struct sock *sk)
{
	__u64 key = (__u64)sk;

	if (have_sk_storage)
		return bpf_sk_storage_get(&conns, sk, NULL, 0);
	return bpf_map_lookup_elem(&conns_by_sock, &key);
}

/* The number of a socket's file, which no other socket of this time has; 0: it has none. */
static __always_inline __u64 sock_inode(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
}

static __always_inline struct conn_state *conn_make(struct sock *sk)
{
	struct conn_state *c;
	__u64 key = (__u64)sk;

	if (have_sk_storage) {
		c = bpf_sk_storage_get(&conns, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	} else {
		bpf_map_update_elem(&conns_by_sock, &key, (void *)&fresh_conn, BPF_ANY);
		c = bpf_map_lookup_elem(&conns_by_sock, &key);
	}
	if (!c) {
		count_drop(DROP_conn_table_full);
		return NULL;
	}
	c->sock = key;
	c->id = conn_next_id();
	if (!have_sk_storage)
		c->inode = sock_inode(sk);
	return c;
}

static __always_inline void conn_delete(struct sock *sk)
{
	__u64 key = (__u64)sk;

	if (have_sk_storage)
		bpf_sk_storage_delete(&conns, sk);
	else
		bpf_map_delete_elem(&conns_by_sock, &key);
}

#define S_IFMT	 0170000
#define S_IFSOCK 0140000

static __always_inline bool file_is_socket(struct file *file)
{
	return (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) == S_IFSOCK;
}

static __always_inline struct unix_address *unix_bound(struct sock *sk)
{
	return BPF_CORE_READ((struct unix_sock *)sk, addr);
}

/* Which transport a socket is, or 0 for what is not captured. */
static __always_inline __u8 sock_transport(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__u16 type = BPF_CORE_READ(sk, sk_type);

	if (family == AF_UNIX && type == SOCK_STREAM) {
		struct sock *peer;

		/* a pair without a name is a private channel, no service's */
		if (unix_bound(sk))
			return TRANSPORT_UNIX;
		peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
		return peer && unix_bound(peer) ? TRANSPORT_UNIX : 0;
	}
	if (family != AF_INET && family != AF_INET6)
		return 0;
	switch (BPF_CORE_READ(sk, sk_protocol)) {
	case IPPROTO_TCP: return TRANSPORT_TCP;
	case IPPROTO_UDP: return TRANSPORT_UDP;
	default: return 0;
	}
}

static __always_inline __u16 sock_num(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_num);
}

/* A reset takes the number from a socket whose bytes may still be read; the port stays. */
static __always_inline __u16 sock_lport(struct sock *sk)
{
	__u16 num = sock_num(sk);

	return num ? num : bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

static __always_inline __u16 sock_rport(struct sock *sk)
{
	return bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

static __always_inline __u32 sock_netns(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* In conn.bpf.c: whether one of these ports is listed. */
bool filter_port_listed(__u32 lport, __u32 rport);

static __always_inline bool filter_port_ok(struct sock *sk)
{
	return !filter_ports_on || filter_port_listed(sock_lport(sk), sock_rport(sk));
}

/* What was not accepted on a listening port was dialled. */
static __always_inline __u8 sock_role(struct sock *sk, __u8 transport)
{
	struct listener_key key = {};

	if (transport == TRANSPORT_UNIX)
		return unix_bound(sk) ? ROLE_ACCEPTED : ROLE_DIALLED;
	if (transport != TRANSPORT_TCP)
		return ROLE_UNKNOWN;
	key.netns = sock_netns(sk);
	key.port = sock_lport(sk);
	return bpf_map_lookup_elem(&listeners, &key) ? ROLE_ACCEPTED : ROLE_DIALLED;
}

static __always_inline void map_v4(__u8 *out, __be32 addr)
{
	__u32 *word = (__u32 *)out;

	word[0] = word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = addr;
}

static __always_inline void fill_inet(struct event_conn *e, struct sock *sk)
{
	struct in6_addr *local = &sk->__sk_common.skc_v6_rcv_saddr;
	struct in6_addr *remote = &sk->__sk_common.skc_v6_daddr;
	__u32 *word = (__u32 *)e->laddr;

	e->netns = sock_netns(sk);
	/* a socket that is connected again still has the port of before */
	e->lport = e->flags & CONN_F_CONNECTING ? sock_num(sk) : sock_lport(sk);
	e->rport = sock_rport(sk);
	if (e->family == AF_INET) {
		map_v4(e->laddr, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		map_v4(e->raddr, BPF_CORE_READ(sk, __sk_common.skc_daddr));
		return;
	}
	bpf_core_read(e->laddr, 16, local);
	bpf_core_read(e->raddr, 16, remote);
	if (!word[0] && !word[1] && word[2] == bpf_htonl(0xffff))
		e->family = AF_INET;
}

static __always_inline void fill_unix(struct event_conn *e, struct sock *sk)
{
	struct sock *peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
	struct unix_address *addr = unix_bound(sk);
	struct sockaddr_un *name;

	e->peer_sock = (__u64)peer;
	if (!addr && peer)
		addr = unix_bound(peer);
	if (!addr)
		return;
	name = __builtin_preserve_access_index(&addr->name[0]);
	bpf_probe_read_kernel(e->path, sizeof(e->path), name->sun_path);
	if (!e->path[0])
		e->path[0] = '@';
}

/*
 * Tells user space about a connection. open_ns: 0 when not seen. sk may be NULL for TLS plaintext,
 * whose addresses are its carrier's.
 */
static __noinline int conn_announce(struct conn_state *c, struct sock *sk, __u32 flags,
				    __u64 open_ns)
{
	struct event_conn *e;

	e = emit_reserve(sizeof(*e));
	if (!e) {
		count_full();
		return 0;
	}
	__builtin_memset(e, 0, sizeof(*e));
	emit_header(&e->h, EVENT_CONN, sizeof(*e), bpf_ktime_get_ns(), c->tgid);
	e->conn = c->id;
	e->carrier = c->carrier;
	e->sock = c->sock;
	e->dial_ns = c->dial_ns;
	e->open_ns = open_ns;
	e->flags = flags;
	e->transport = c->transport;
	e->role = c->role;
	if ((__u32)(bpf_get_current_pid_tgid() >> 32) == c->tgid) {
		e->cgroup = bpf_get_current_cgroup_id();
		bpf_get_current_comm(e->comm, sizeof(e->comm));
		thread_evidence(&e->thread, thread_get(false));
	}
	if (sk) {
		e->family = BPF_CORE_READ(sk, __sk_common.skc_family);
		if (c->transport == TRANSPORT_UNIX)
			fill_unix(e, sk);
		else
			fill_inet(e, sk);
	}
	emit_submit(e);
	c->flags |= CONN_ANNOUNCED;
	return 0;
}

/* The connection is open and known to the caller as one to capture: make its state. */
static __always_inline struct conn_state *conn_open(struct sock *sk, __u8 transport, __u32 tgid)
{
	struct conn_state *c = conn_make(sk);

	if (!c)
		return NULL;
	c->tgid = tgid;
	c->transport = transport;
	c->role = sock_role(sk, transport);
	return c;
}

static __always_inline void conn_mark_pending(struct conn_state *c)
{
	if (!(c->flags & CONN_PENDING)) {
		c->flags |= CONN_PENDING;
		count(COUNT_tails_pending, 1);
	}
}

static __always_inline void conn_clear_pending(struct conn_state *c)
{
	if (c->flags & CONN_PENDING) {
		c->flags &= ~CONN_PENDING;
		count(COUNT_tails_pending, -1);
	}
}

/* DATA_F_OTHER if no record has told of that direction's end. */
static __always_inline __u8 conn_untold(const struct conn_state *c, __u8 dir)
{
	return c->told[dir] == c->pos[dir] ? 0 : DATA_F_OTHER;
}

/* A data record's fixed part, all but cap and the payload. */
static __always_inline void data_fill(struct event_data *e, struct conn_state *c, __u8 dir,
				      __u8 flags, __u64 pos, __u32 len, __u32 cap, __u64 now,
				      __u32 tgid, struct thread_state *t)
{
	emit_header(&e->h, EVENT_DATA, sizeof(*e) + cap, now, tgid);
	e->conn = c->id;
	e->pos = pos;
	e->other_pos = c->pos[!dir];
	e->other_ns = c->last_ns[!dir];
	e->len = len;
	e->cap = cap;
	e->dir = dir;
	e->flags = flags | conn_untold(c, !dir);
	__builtin_memset(e->pad, 0, sizeof(e->pad));
	thread_evidence(&e->thread, t);
	c->told[!dir] = c->pos[!dir];
}

/* Tells of bytes of the last turn that no record has told of: their end, with the kept tail. */
static __noinline int conn_flush(struct conn_state *c)
{
	__u8 dir = (c->turn - 1) & 1;
	struct event_data *e;
	__u64 len;

	if (!c->turn)
		return 0;
	conn_clear_pending(c);
	if (c->pos[dir] == c->told[dir])
		return 0;
	e = emit_reserve(sizeof(*e) + TAIL_LEN);
	if (!e) {
		count_full();
		return 0;
	}
	len = c->pos[dir] - c->told[dir];
	if (c->tail_len && c->tail_len <= TAIL_LEN) {
		data_fill(e, c, dir, DATA_F_TAIL, c->pos[dir] - c->tail_len, c->tail_len,
			  c->tail_len, c->last_ns[dir], c->tgid, NULL);
		__builtin_memcpy(e->payload, c->tail, TAIL_LEN);
	} else {
		if (len > 0xffffffff)
			len = 0xffffffff;
		data_fill(e, c, dir, DATA_F_NO_BYTES, c->pos[dir] - len, len, 0, c->last_ns[dir],
			  c->tgid, NULL);
	}
	emit_submit(e);
	c->told[dir] = c->pos[dir];
	c->tail_len = 0;
	return 0;
}

static __noinline int conn_tell_end(struct conn_state *c, __u32 err, __u32 retransmits)
{
	struct event_close *e;

	conn_flush(c);
	e = emit_reserve(sizeof(*e));
	if (!e) {
		count_full();
		return 0;
	}
	emit_header(&e->h, EVENT_CLOSE, sizeof(*e), bpf_ktime_get_ns(), c->tgid);
	e->conn = c->id;
	e->pos[0] = c->pos[0];
	e->pos[1] = c->pos[1];
	e->last_ns[0] = c->last_ns[0];
	e->last_ns[1] = c->last_ns[1];
	e->err = err;
	e->retransmits = retransmits;
	emit_submit(e);
	return 0;
}

/* In conn.bpf.c. Whether the state in the hash is of an earlier socket at this address; then it has
 * been told of and is gone. */
bool conn_outlived(__u64 sock);

/*
 * conn_find() for a socket of any kind. Only TCP tells when a socket goes: in the hash, a UNIX or
 * UDP socket's state outlives it, until another socket has the address.
 */
static __always_inline struct conn_state *conn_current(struct sock *sk)
{
	struct conn_state *c = conn_find(sk);

	if (have_sk_storage || !c || c->transport == TRANSPORT_TCP)
		return c;
	return conn_outlived(c->sock) ? NULL : c;
}

#endif

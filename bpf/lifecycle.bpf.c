/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connections begin and end; segments sent again. */
#include "conn.bpf.h"

#define ECANCELED 125

static __always_inline void note_listener(struct sock *sk)
{
	struct listener_key key = {};
	__u8 one = 1;

	key.netns = sock_netns(sk);
	key.port = sock_lport(sk);
	bpf_map_update_elem(&listeners, &key, &one, BPF_ANY);
}

/*
 * Whether everything that arrived has been read, and everything that passed been told of. A call
 * may be on its way to its hook: a read when the last FIN comes, a send that is answered with a
 * reset, which takes effect before the call returns. The socket's own counts tell.
 */
static __always_inline bool sock_all_told(struct sock *sk, const struct conn_state *c)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	/* a FIN takes a number of its own */
	if (c->flags & CONN_HAS_IN) {
		if (BPF_CORE_READ(tp, rcv_nxt) - (__u32)c->pos[DIR_IN] > 1)
			return false;
	} else if (BPF_CORE_READ(tp, bytes_received)) {
		return false;
	}
	if (c->flags & CONN_HAS_OUT)
		return BPF_CORE_READ(tp, write_seq) - (__u32)c->pos[DIR_OUT] <= 1;
	return BPF_CORE_READ(tp, bytes_sent) == 0;
}

static __always_inline void conn_end(struct sock *sk)
{
	struct conn_state *c = conn_find(sk);
	__u32 err;

	if (!c)
		return;
	err = BPF_CORE_READ(sk, sk_err);
	if (c->flags & CONN_ANNOUNCED)
		conn_tell_end(c, err ? err : c->err,
			      BPF_CORE_READ((struct tcp_sock *)sk, total_retrans));
	conn_clear_pending(c);
	conn_delete(sk);
}

/* connect() has begun; its caller is the current process. */
static __always_inline void note_dial(struct sock *sk)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct conn_state *c;

	if (!proc_selected(tgid) || !filter_port_ok(sk))
		return;
	conn_end(sk); /* a socket may be connected again */
	c = conn_make(sk);
	if (!c)
		return;
	c->tgid = tgid;
	c->transport = TRANSPORT_TCP;
	c->role = ROLE_DIALLED;
	c->dial_ns = bpf_ktime_get_ns();
	thread_get(true);
	conn_announce(c, sk, CONN_F_CONNECTING, 0);
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(conn_set_state, struct sock *sk, int oldstate, int newstate)
{
	struct conn_state *c;

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	switch (newstate) {
	case TCP_LISTEN: note_listener(sk); return 0;
	case TCP_SYN_SENT: note_dial(sk); return 0;
	case TCP_ESTABLISHED:
		if (oldstate != TCP_SYN_SENT)
			return 0;
		c = conn_find(sk);
		if (c)
			conn_announce(c, sk, CONN_F_ESTABLISHED, bpf_ktime_get_ns());
		return 0;
	case TCP_CLOSE:
		/* else the end is told when the socket goes, whose error a call may have taken */
		c = conn_find(sk);
		if (c && sock_all_told(sk, c))
			conn_end(sk);
		else if (c)
			c->err = BPF_CORE_READ(sk, sk_err);
		return 0;
	}
	return 0;
}

SEC("?tp_btf/tcp_destroy_sock")
int BPF_PROG(conn_destroy, struct sock *sk)
{
	conn_end(sk);
	return 0;
}

SEC("?tp_btf/tcp_retransmit_skb")
int BPF_PROG(conn_retransmit, struct sock *sk, struct sk_buff *skb)
{
	struct conn_state *c = conn_find(sk);
	struct event_mark *e;

	if (!c || !(c->flags & CONN_ANNOUNCED))
		return 0;
	e = emit_reserve(sizeof(*e));
	if (!e) {
		count_full();
		return 0;
	}
	emit_header(&e->h, EVENT_RETRANSMIT, sizeof(*e), bpf_ktime_get_ns(), c->tgid);
	e->conn = c->id;
	emit_submit(e);
	return 0;
}

/* ---- what was open before the start: two walks, listeners first ---- */

SEC("?iter/tcp")
int scan_listeners(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;

	if (skc && BPF_CORE_READ(skc, skc_state) == TCP_LISTEN)
		note_listener((struct sock *)skc);
	return 0;
}

static __always_inline bool scan_selected(__u32 tgid)
{
	struct proc_state *p;

	if (!filter_on)
		return true;
	p = bpf_map_lookup_elem(&procs, &tgid);
	return p && p->selected;
}

/* A socket is looked at no more, unless another process has it that is. */
static __always_inline void scan_forget(struct sock *sk)
{
	struct conn_state *c = conn_current(sk);

	if (!c || (filter_port_ok(sk) && scan_selected(c->tgid)))
		return;
	if (c->flags & CONN_ANNOUNCED)
		conn_tell_end(c, ECANCELED, 0);
	conn_clear_pending(c);
	conn_delete(sk);
}

static __always_inline void scan_socket(struct sock *sk, struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct conn_state *c;
	__u8 transport;

	if (tgid == self_tgid)
		return;
	if (!scan_selected(tgid) || !filter_port_ok(sk)) {
		scan_forget(sk);
		return;
	}
	transport = sock_transport(sk);
	if (transport != TRANSPORT_TCP && transport != TRANSPORT_UNIX)
		return;
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_ESTABLISHED || conn_current(sk))
		return;
	c = conn_open(sk, transport, tgid);
	if (c)
		conn_announce(c, sk, CONN_F_MIDSTREAM, 0);
}

SEC("?iter/task_file")
int scan_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *sock;

	if (!task || !file)
		return 0;
	if (have_sock_from_file) {
		sock = bpf_sock_from_file(file);
		if (sock && sock->sk)
			scan_socket(sock->sk, task);
		return 0;
	}
	if (!file_is_socket(file))
		return 0;
	sock = BPF_CORE_READ(file, private_data);
	if (sock)
		scan_socket(BPF_CORE_READ(sock, sk), task);
	return 0;
}

/* ---- turns that have gone quiet with bytes not told of ---- */

static __always_inline void flush_if_idle(struct conn_state *c)
{
	if (c && (c->flags & CONN_PENDING) && c->turn &&
	    bpf_ktime_get_ns() - c->last_ns[(c->turn - 1) & 1] > FLUSH_IDLE_NS)
		conn_flush(c);
}

/* Both look the value up again: the walk's own pointer to it allows constant offsets only. */
SEC("?iter/bpf_sk_storage_map")
int flush_storage(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;

	if (sk)
		flush_if_idle(bpf_sk_storage_get(&conns, sk, NULL, 0));
	return 0;
}

SEC("?iter/bpf_map_elem")
int flush_hash(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *sock = ctx->key, key;

	if (!sock)
		return 0;
	key = *sock;
	flush_if_idle(bpf_map_lookup_elem(&conns_by_sock, &key));
	return 0;
}

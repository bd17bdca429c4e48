/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Plaintext from OpenSSL's SSL_read and SSL_write (and _ex): a stream of its own, carried by the
 * connection whose bytes move inside the call. Positions are plaintext offsets.
 */
#include "io.bpf.h"

/*
 * From 6.13 on a program with 64 bytes of stack or more has them not on its task's stack but in one
 * place for each processor (bpf_enable_priv_stack() in the kernel's verifier.c). Of other programs
 * the kernel skips the run that comes while one is preempted, of uprobes it does not: one task goes
 * on with what another has left in its variables. A program with a tail call, be it dead code, is
 * exempt. Every uprobe begins with this.
 */
#define ON_TASK_STACK(ctx)                           \
	do {                                         \
		if (never)                           \
			bpf_tail_call(ctx, NULL, 0); \
	} while (0)

static __always_inline int ssl_enter(__u64 ssl, __u64 buf, __u64 len)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct thread_state *t;

	if (!proc_selected(tgid))
		return 0;
	t = thread_get(true);
	if (!t)
		return 0;
	t->ssl = ssl;
	t->ssl_buf = buf;
	t->ssl_len = len;
	t->ssl_carrier = 0;
	return 0;
}

static __always_inline struct conn_state *ssl_stream(const struct tls_key *key, __u64 carrier,
						     __u32 tgid)
{
	struct conn_state *c = bpf_map_lookup_elem(&tls_streams, key);

	if (!c) {
		/* the socket below has none of the ports, or is not known */
		if (filter_ports_on && !carrier)
			return NULL;
		bpf_map_update_elem(&tls_streams, key, (void *)&fresh_conn, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&tls_streams, key);
		if (!c) {
			count_drop(DROP_conn_table_full);
			return NULL;
		}
		c->id = conn_next_id();
		c->sock = key->ssl;
		c->transport = TRANSPORT_TLS;
		c->tgid = tgid;
		c->carrier = carrier;
		return c;
	}
	/* a TLS object that was cleared and used for another connection is another stream */
	if (carrier && c->carrier && c->carrier != carrier) {
		conn_tell_end(c, 0, 0);
		c->id = conn_next_id();
		c->pos[0] = c->pos[1] = c->told[0] = c->told[1] = 0;
		c->last_ns[0] = c->last_ns[1] = 0;
		c->flags = c->turn = 0;
		c->carrier = carrier;
	} else if (carrier && !c->carrier) {
		c->carrier = carrier;
		c->flags &= ~CONN_ANNOUNCED;
	}
	return c;
}

static __always_inline int ssl_leave(struct thread_state *t, long ret, __u8 dir)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct tls_key key = { .ssl = t->ssl, .tgid = pid_tgid >> 32 };
	__u64 bytes = (__u32)ret;
	struct conn_state *c;

	t->ssl = 0;
	if (ret <= 0)
		return 0;
	if (t->ssl_len && bpf_probe_read_user(&bytes, sizeof(bytes), (void *)t->ssl_len))
		return 0;
	if (!bytes)
		return 0;
	c = ssl_stream(&key, t->ssl_carrier, pid_tgid >> 32);
	if (!c)
		return 0;
	if (!(c->flags & CONN_ANNOUNCED))
		conn_announce(c, NULL, 0, 0);
	t->io.base = t->ssl_buf;
	t->io.bytes = bytes;
	t->io.source = IO_BUF;
	t->io.dir = dir;
	t->io.flags = 0;
	return conn_io(c, t, dir, c->pos[dir] + bytes, false);
}

static __always_inline int ssl_exit(struct pt_regs *ctx, __u8 dir)
{
	struct thread_state *t = thread_get(false);

	if (!t || !t->ssl)
		return 0;
	return ssl_leave(t, (int)PT_REGS_RC(ctx), dir);
}

SEC("?uprobe")
int BPF_KPROBE(ssl_read_enter, void *ssl, void *buf)
{
	ON_TASK_STACK(ctx);
	return ssl_enter((__u64)ssl, (__u64)buf, 0);
}

SEC("?uprobe")
int BPF_KPROBE(ssl_rw_ex_enter, void *ssl, void *buf, __u64 num, void *len)
{
	ON_TASK_STACK(ctx);
	return ssl_enter((__u64)ssl, (__u64)buf, (__u64)len);
}

SEC("?uretprobe")
int BPF_KRETPROBE(ssl_read_exit)
{
	ON_TASK_STACK(ctx);
	return ssl_exit(ctx, DIR_IN);
}

SEC("?uretprobe")
int BPF_KRETPROBE(ssl_write_exit)
{
	ON_TASK_STACK(ctx);
	return ssl_exit(ctx, DIR_OUT);
}

SEC("?uprobe")
int BPF_KPROBE(ssl_free_enter, void *ssl)
{
	struct tls_key key = { .ssl = (__u64)ssl, .tgid = bpf_get_current_pid_tgid() >> 32 };
	struct conn_state *c = bpf_map_lookup_elem(&tls_streams, &key);

	ON_TASK_STACK(ctx);
	if (!c)
		return 0;
	conn_tell_end(c, 0, 0);
	conn_clear_pending(c);
	bpf_map_delete_elem(&tls_streams, &key);
	return 0;
}

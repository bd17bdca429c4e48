/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Payload into records. */
#include "io.bpf.h"

__noinline __u32 scratch_take(void)
{
	for (__u32 slot = 0; slot < SCRATCH_SLOTS; slot++) {
		struct scratch *s = scratch_get(slot);

		if (s && scratch_claim(s))
			return slot;
	}
	count_drop(DROP_scratch_taken);
	return SCRATCH_SLOTS;
}

/* What advances from one entry to the next lies in the map, where the verifier does not follow it:
 * in registers, each turn of the loop would be verified for every value. */
__noinline __u32 io_gather(__u32 slot, __u64 iov, __u32 segs, __u64 skip, __u32 want)
{
	struct scratch *s = scratch_get(slot);
	struct {
		__u64 base, len;
	} seg;

	if (!s)
		return 0;
	s->gathered = 0;
	s->skip = skip;
	for (__u32 i = 0; i < IOVEC_MAX; i++) {
		__u32 at = s->gathered;
		__u64 len;

		if (i >= segs || at >= want)
			break;
		if (bpf_probe_read_user(&seg, sizeof(seg), (void *)(iov + i * sizeof(seg))))
			break;
		skip = s->skip;
		if (skip >= seg.len) {
			s->skip = skip - seg.len;
			continue;
		}
		len = seg.len - skip;
		if (len > want - at)
			len = want - at;
		if (len > PAYLOAD_MAX)
			break;
		if (bpf_probe_read_user(&s->bytes[at & (PAYLOAD_MAX - 1)], len,
					(void *)(seg.base + skip)))
			break;
		s->gathered = at + len;
		s->skip = 0;
	}
	return s->gathered;
}

/* A data record of one size class with n bytes (at most size) of payload, from user memory or from
 * the scratch that io_gather() filled. */
#define DATA_CLASS(size)                                                                       \
	do {                                                                                   \
		e = emit_reserve(sizeof(*e) + (size));                                         \
		if (!e) {                                                                      \
			if (s)                                                                 \
				scratch_give(s);                                               \
			count_full();                                                          \
			return 0;                                                              \
		}                                                                              \
		asm volatile("" : "+r"(n)); /* keep the bound where the verifier sees it */    \
		if (n > (size))                                                                \
			n = (size);                                                            \
		if (s)                                                                         \
			err = bpf_probe_read_kernel(e->payload, n, s->bytes);                  \
		else                                                                           \
			err = bpf_probe_read_user(e->payload, n, (void *)(t->io.base + skip)); \
	} while (0)

__noinline int io_emit(__u64 skip, __u32 want, __u64 pos)
{
	struct thread_state *t = thread_get(false);
	struct scratch *s = NULL;
	struct event_data *e;
	__u64 n = want; /* 64 bits, so that its bound survives */
	__u8 flags;
	long err = 0;

	if (!t) {
		count_drop(DROP_thread_table_full);
		return 0;
	}
	if (t->io.source == IO_IOVEC) {
		__u32 slot = scratch_take();

		s = scratch_get(slot);
		n = s ? io_gather(slot, t->io.base, t->io.segs, skip, want) : 0;
	}
	if (n <= PAYLOAD_TINY)
		DATA_CLASS(PAYLOAD_TINY);
	else if (n <= PAYLOAD_SMALL)
		DATA_CLASS(PAYLOAD_SMALL);
	else if (n <= PAYLOAD_LARGE)
		DATA_CLASS(PAYLOAD_LARGE);
	else
		DATA_CLASS(PAYLOAD_MAX);
	if (s)
		scratch_give(s);
	if (err) {
		n = 0;
		count_drop(DROP_fault);
	}
	flags = t->io.flags;
	if (n < want)
		flags |= DATA_F_FAULT;
	emit_header(&e->h, EVENT_DATA, sizeof(*e) + n, bpf_ktime_get_ns(),
		    bpf_get_current_pid_tgid() >> 32);
	e->conn = t->io.conn;
	e->pos = pos;
	e->other_pos = t->io.other_pos;
	e->other_ns = t->io.other_ns;
	e->len = want;
	e->cap = n;
	e->dir = t->io.dir;
	e->flags = flags;
	thread_evidence(&e->thread, t);
	emit_submit(e);
	return 0;
}

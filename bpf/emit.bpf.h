/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Writing records: reserve, submit without wake-up, count what did not fit. */
#ifndef BPF_EMIT_H
#define BPF_EMIT_H

#include "maps.bpf.h"

static __always_inline struct stats *stats_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&stats, &zero);
}

/* In one instruction: on the same processor another program may count in between. */
#define add(counter, n) __sync_fetch_and_add(&(counter), (n))

static __always_inline void count_drops(enum kernel_drop why, __u64 n)
{
	struct stats *s = stats_get();

	if (s)
		add(s->drops[why], n);
}

static __always_inline void count_drop(enum kernel_drop why)
{
	count_drops(why, 1);
}

static __always_inline void count(enum kernel_count what, __s64 n)
{
	struct stats *s = stats_get();

	if (s)
		add(s->counts[what], n);
}

/* Room for a record of a constant size, or NULL; the caller then calls count_full() and returns, in
 * the same branch: older verifiers take a second test of the pointer for a leak. */
#define emit_reserve(size) bpf_ringbuf_reserve(&events, (size), 0)

static __always_inline void emit_header(struct event_hdr *h, __u16 kind, __u32 size, __u64 now,
					__u32 tgid)
{
	h->ts_ns = now;
	h->tgid = tgid;
	h->kind = kind;
	h->size = size;
}

/* A wake-up per record costs more than everything else: the reader comes by timer, and is woken
 * only when the waiting data passes a mark, by the few records that see it pass. */
#define WAKE_WINDOW (4 * PAYLOAD_MAX)

static __always_inline void emit_submit(void *rec)
{
	__u64 flags = BPF_RB_NO_WAKEUP;
	struct stats *s = stats_get();

	if (s) {
		add(s->counts[COUNT_records], 1);
		add(s->counts[COUNT_submitted], 1);
	}
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) - wake_bytes < WAKE_WINDOW)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(rec, flags);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map and knob, with its one purpose. Definitions: maps.bpf.c. */
#ifndef BPF_MAPS_H
#define BPF_MAPS_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>
#include "state.h"

#ifndef MAPS_DEFINE
#define MAPS_DEFINE extern
#endif

/* ---- knobs: set between open and load, so that the verifier removes dead branches ---- */

extern const volatile __u32 self_tgid;		/* the tracer: never traced */
extern const volatile __u32 capture_bytes;	/* budget of a turn */
extern const volatile __u32 wake_bytes;		/* waiting data that wakes the reader early */
extern const volatile bool have_sk_storage;	/* this backend's sockets allow storage: 5.11 */
extern const volatile bool have_task_storage;	/* from tracing programs: 5.11 */
extern const volatile bool have_task_pt_regs;	/* bpf_task_pt_regs(): 5.15 */
extern const volatile bool have_sock_from_file; /* bpf_sock_from_file(): 5.11 */
extern const volatile __u32 tcp_recvmsg_args;	/* how many it takes here */
extern const volatile __u32 udp_recvmsg_args;
extern const volatile bool never; /* false: what it guards is there for the verifier to see */

/* ---- the filter's switches: user space changes them while programs run ---- */

extern volatile bool filter_on;		/* false: every process but self */
extern volatile bool filter_ports_on;	/* only connections with a listed port */
extern volatile bool filter_cgroups_on; /* filter_cgroups is in use */
extern volatile __u32 filter_globs_now; /* FILTER_GLOBS_NOW(): the half of filter_globs in use */

/* When everything was attached; set by user space then. A thread that began later was seen whole.
 */
extern volatile __u64 attached_ns;

/* PROC_ANSWER() of processes met lately: a hash lookup costs ten times as much, and most calls are
 * made by processes that nobody wants to see. */
extern volatile __u32 proc_answers[PROC_ANSWERS];

/* Connections and TLS streams so far. Written to: not on the cache line of the switches. */
extern volatile __u64 conns_made;

/* Fresh values, kept here and not on the 512 bytes of stack. */
extern const volatile struct conn_state fresh_conn;
extern const volatile struct thread_state fresh_thread;

/* ---- maps ---- */

/* Records to user space. Resized at load. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} events_map;
MAPS_DEFINE events_map events SEC(".maps");

/* What was done and dropped. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stats);
} stats_map;
MAPS_DEFINE stats_map stats SEC(".maps");

/* Connections, kept with their socket by the kernel. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct conn_state);
} conns_map;
MAPS_DEFINE conns_map conns SEC(".maps");

/* The same by socket address, where storage is refused. Resized at load. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct conn_state);
} conns_by_sock_map;
MAPS_DEFINE conns_by_sock_map conns_by_sock SEC(".maps");

/* Threads, kept with their task by the kernel. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_state);
} threads_map;
MAPS_DEFINE threads_map threads SEC(".maps");

/* The same by thread id, where storage is refused. Resized at load. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct thread_state);
} threads_by_tid_map;
MAPS_DEFINE threads_by_tid_map threads_by_tid SEC(".maps");

/* The filter's answer per process, when a filter is set. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct proc_state);
} procs_map;
MAPS_DEFINE procs_map procs SEC(".maps");

/* Process names to select: two halves, so that a new list takes the old one's place at once. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * FILTER_NAMES);
	__type(key, __u32);
	__type(value, struct glob);
} filter_globs_map;
MAPS_DEFINE filter_globs_map filter_globs SEC(".maps");

/* Ports to select; the value means nothing. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * FILTER_PORTS);
	__type(key, __u16);
	__type(value, __u8);
} filter_ports_map;
MAPS_DEFINE filter_ports_map filter_ports SEC(".maps");

/* Cgroups to select, and their rules. Twice as many: a new list is there before the old one goes.
 */
typedef struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * FILTER_CGROUPS);
	__type(key, __u64);
	__type(value, __u16);
} filter_cgroups_map;
MAPS_DEFINE filter_cgroups_map filter_cgroups SEC(".maps");

/* Ports that were listened on: their connections were accepted, all others dialled. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct listener_key);
	__type(value, __u8);
} listeners_map;
MAPS_DEFINE listeners_map listeners SEC(".maps");

/* Plaintext streams by their TLS object. */
typedef struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct tls_key);
	__type(value, struct conn_state);
} tls_streams_map;
MAPS_DEFINE tls_streams_map tls_streams SEC(".maps");

/* Room to put scattered payload together; scratch_take(). */
typedef struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_SLOTS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches_map;
MAPS_DEFINE scratches_map scratches SEC(".maps");

#endif

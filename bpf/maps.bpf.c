/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The only definition of maps and knobs, and the licence the kernel asks for. */
#define MAPS_DEFINE
#include "maps.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 self_tgid = 0;
const volatile __u32 capture_bytes = CAPTURE_DEFAULT;
const volatile __u32 wake_bytes = 2 * 1024 * 1024;
const volatile bool have_sk_storage = false;
const volatile bool have_task_storage = false;
const volatile bool have_task_pt_regs = false;
const volatile bool have_sock_from_file = false;
const volatile __u32 tcp_recvmsg_args = 5;
const volatile __u32 udp_recvmsg_args = 5;
const volatile bool never = false;

const volatile struct conn_state fresh_conn = {};
const volatile struct thread_state fresh_thread = {};
volatile bool filter_on = false;
volatile bool filter_ports_on = false;
volatile bool filter_cgroups_on = false;
volatile __u32 filter_globs_now = 0;
volatile __u64 attached_ns = ~0ull;
volatile __u64 conns_made __attribute__((aligned(64))) = 0;
volatile __u32 proc_answers[PROC_ANSWERS] = {};

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sizes and caps that both the kernel side and user space build on. */
#ifndef TELLTALE_LIMITS_H
#define TELLTALE_LIMITS_H

/* Payload size classes of a data record, bytes: bpf_ringbuf_reserve() takes constants only. */
#define PAYLOAD_TINY  128
#define PAYLOAD_SMALL 512
#define PAYLOAD_LARGE 2048
#define PAYLOAD_MAX   4096

/* Capture budget of one direction's turn, bytes (--capture-bytes). */
#define CAPTURE_DEFAULT 4096
#define CAPTURE_MAX	16384

/* The end of a turn that was not captured whole: bytes kept of it. */
#define TAIL_LEN 128

/* struct iovec entries of one call that are looked at. */
#define IOVEC_MAX 16

#define COMM_LEN       16  /* TASK_COMM_LEN of the kernel */
#define UNIX_PATH_LEN  108 /* sun_path, unix(7) */
#define EXEC_ARGS_LEN  1024
#define EXEC_ENV_LEN   2048
#define FILTER_NAMES   16 /* --process globs */
#define FILTER_PORTS   64
#define FILTER_CGROUPS 64

#endif

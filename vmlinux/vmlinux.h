/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel types that the BPF side reads, written by hand and relocated by CO-RE at load: only
 * fields that are used, so a reviewer sees exactly what is read from the kernel.
 *
 * The guard's name is what libbpf's bpf_tracing.h looks for. Never take sizeof, an array or a copy
 * of these structs: they are partial.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#include "base.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#if defined(__TARGET_ARCH_x86)
#include "arch/x86/regs.h"
#elif defined(__TARGET_ARCH_arm64)
#include "arch/arm64/regs.h"
#else
#error "no register definitions for this architecture"
#endif
#include "task.h"
#include "net.h"
#include "iter.h"
#include "compat.h"
#pragma clang attribute pop

#endif

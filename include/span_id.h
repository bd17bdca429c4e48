/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Span ids are derived, not stored: SipHash-2-4 (Aumasson and Bernstein, 2012) of where a request
 * begins, under the run's key. Kernel and user space compute the same id with no exchange.
 */
#ifndef TELLTALE_SPAN_ID_H
#define TELLTALE_SPAN_ID_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define SIP_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIP_ROUND(v0, v1, v2, v3)           \
	do {                                \
		v0 += v1;                   \
		v1 = SIP_ROTL(v1, 13) ^ v0; \
		v0 = SIP_ROTL(v0, 32);      \
		v2 += v3;                   \
		v3 = SIP_ROTL(v3, 16) ^ v2; \
		v0 += v3;                   \
		v3 = SIP_ROTL(v3, 21) ^ v0; \
		v2 += v1;                   \
		v1 = SIP_ROTL(v1, 17) ^ v2; \
		v2 = SIP_ROTL(v2, 32);      \
	} while (0)

/* SipHash-2-4 of three 64-bit words (24 bytes, little-endian). */
static inline __u64 sip_hash3(__u64 k0, __u64 k1, __u64 a, __u64 b, __u64 c)
{
	__u64 v0 = k0 ^ 0x736f6d6570736575ull, v1 = k1 ^ 0x646f72616e646f6dull;
	__u64 v2 = k0 ^ 0x6c7967656e657261ull, v3 = k1 ^ 0x7465646279746573ull;
	__u64 m[4] = { a, b, c, 24ull << 56 };

	for (int i = 0; i < 4; i++) {
		v3 ^= m[i];
		SIP_ROUND(v0, v1, v2, v3);
		SIP_ROUND(v0, v1, v2, v3);
		v0 ^= m[i];
	}
	v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		SIP_ROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}

/* The span id of the request whose first byte is at pos of direction dir of conn; never 0. */
static inline __u64 span_id_derive(__u64 k0, __u64 k1, __u64 conn, __u64 dir, __u64 pos)
{
	__u64 id = sip_hash3(k0, k1, conn, dir, pos);

	return id ? id : 1;
}

/* Half of the trace id that a span without a parent begins; half is 0 or 1. */
static inline __u64 trace_id_derive(__u64 k0, __u64 k1, __u64 conn, __u64 pos, __u64 half)
{
	__u64 id = sip_hash3(k0, k1, conn, 2 + half, pos);

	return id ? id : 1;
}

#endif

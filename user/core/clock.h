/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks, in nanoseconds. Durations never use the real-time one. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

static inline uint64_t clock_read(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_mono_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

static inline uint64_t clock_real_ns(void)
{
	return clock_read(CLOCK_REALTIME);
}

/* Real time minus monotonic time, now; add it to a record's time to get real time. */
static inline int64_t clock_offset_ns(void)
{
	uint64_t before = clock_mono_ns(), real = clock_real_ns(), after = clock_mono_ns();
	return (int64_t)(real - (before + (after - before) / 2));
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* When a post is tried again (OTLP specification 1.x, "OTLP/HTTP Throttling" and "Failures"). */
#include "export/internal.h"

bool retry_status(long status)
{
	return status == 0 || status == 429 || (status >= 502 && status <= 504);
}

uint64_t retry_delay_ms(const struct retry_policy *policy, uint32_t tries, int64_t retry_after_s,
			uint32_t chance)
{
	uint64_t ms = policy->first_ms;

	if (retry_after_s > 0)
		return MIN((uint64_t)retry_after_s, UINT32_MAX) * 1000;
	for (; tries > 1 && ms < policy->max_ms; tries--)
		ms *= 2;
	ms = MIN(ms, policy->max_ms);
	return ms / 2 + (ms - ms / 2) * (uint64_t)chance / UINT32_MAX;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* When something is sent again (OTLP specification 1.x: "Failures", "Throttling"). */
#include "export/internal.h"

const struct retry_policy retry_default = { .first_ms = 1000, .max_ms = 30000 };

bool retry_status(long status)
{
	return status == 0 || status == 429 || (status >= 502 && status <= 504);
}

bool retry_grpc(uint32_t code, bool with_info)
{
	switch (code) {
	case 1:	 /* CANCELLED */
	case 4:	 /* DEADLINE_EXCEEDED */
	case 10: /* ABORTED */
	case 11: /* OUT_OF_RANGE */
	case 14: /* UNAVAILABLE */
	case 15: /* DATA_LOSS */ return true;
	case 8: /* RESOURCE_EXHAUSTED: only a server that recovers says when */ return with_info;
	default: return false;
	}
}

uint64_t retry_delay_ms(const struct retry_policy *policy, uint32_t tries, uint32_t chance)
{
	uint64_t ms = policy->first_ms;

	for (; tries > 1 && ms < policy->max_ms; tries--)
		ms *= 2;
	ms = MIN(ms, policy->max_ms);
	return ms / 2 + (ms - ms / 2) * (uint64_t)chance / UINT32_MAX;
}

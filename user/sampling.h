/* SPDX-License-Identifier: Apache-2.0 */
/* From the options to what is kept of spans, and what is masked in them. */
#ifndef TELLTALE_SAMPLING_H
#define TELLTALE_SAMPLING_H

#include "config/config.h"
#include "redact/redact.h"
#include "trace/sample.h"

/* NULL without memory. The configuration must outlive it. */
struct sampler *sampling_new(const struct config *c, struct span_sink tail);
/* 0, or -errno after a line on standard error. */
int sampling_rules(const struct config *c, struct redact_rules **ret_rules);

#endif

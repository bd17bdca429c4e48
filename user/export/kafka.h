/* SPDX-License-Identifier: Apache-2.0 */
/* A body for Kafka is a list of messages, one a trace, each an ExportTraceServiceRequest. */
#ifndef EXPORT_KAFKA_H
#define EXPORT_KAFKA_H

#include "core/cursor.h"
#include "export/internal.h"

struct kafka_message {
	char key[33]; /* the trace id in hex */
	uint32_t spans;
	struct str payload;
};

/* The next message of a body; false at its end, or, with c->bad, where it is damaged. */
bool kafka_message_next(struct cursor *c, struct kafka_message *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Traces in the JSON that other tools read; private to the room. Pure: no call, no store. */
#ifndef API_SHAPE_H
#define API_SHAPE_H

#include "api/search.h"
#include "core/json.h"
#include "trace/trace.h"

/* Jaeger's classic model: one trace with its processes; times in microseconds. */
void jaeger_trace(struct json *j, const struct trace *t, struct arena *mem);
/* One row of /api/v3/trace-summaries. */
void jaeger_summary(struct json *j, const struct search_trace *t);

/* Tempo's: an OTLP trace in the JSON of its protobuf, ids in base64, enums by name. key: "batches"
 * (v1) or "resourceSpans" (v2). */
void tempo_trace(struct json *j, const char *key, const struct trace *t);
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace as Tempo gives it in JSON: OTLP by protobuf's own JSON mapping, so ids are base64 and
 * enums are names, unlike OTLP/JSON. What is zero or empty is left out.
 */
#include "api/shape.h"

/* The spans from 'at' that share resource and scope. Returns where they end. */
static uint32_t add_scope(struct json *j, const struct trace *t, uint32_t at)
{
	const struct span *first = t->spans[at];

	json_open(j, '{');
	scope_json(j, first->scope);
	json_key(j, "spans");
	json_open(j, '[');
	for (; at < t->span_cnt && t->spans[at]->resource == first->resource &&
	       t->spans[at]->scope == first->scope;
	     at++)
		span_json(j, t->spans[at], SPAN_JSON_PROTOBUF);
	json_close(j, ']');
	json_opt_str(j, "schemaUrl", first->scope->schema_url);
	json_close(j, '}');
	return at;
}

void tempo_trace(struct json *j, const char *key, const struct trace *t)
{
	uint32_t at = 0;

	json_open(j, '{');
	json_key(j, key);
	json_open(j, '[');
	while (at < t->span_cnt) {
		const struct resource *r = t->spans[at]->resource;

		json_open(j, '{');
		resource_json(j, r);
		json_key(j, "scopeSpans");
		json_open(j, '[');
		while (at < t->span_cnt && t->spans[at]->resource == r)
			at = add_scope(j, t, at);
		json_close(j, ']');
		json_opt_str(j, "schemaUrl", r->schema_url);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

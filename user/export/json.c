/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in OTLP/JSON: spans grouped by resource and scope (span_json() writes each). */
#include "export/internal.h"

#include <errno.h>
#include <stdlib.h>

#include "core/json.h"

/* ---- the request ---- */

/* ScopeSpans of the items from 'at' that share a scope. Returns where they end. */
static size_t add_scope_spans(struct json *j, const struct item *items, size_t at, size_t cnt,
			      const char *bytes)
{
	const struct resource *resource = items[at].resource;
	const struct scope *scope = items[at].scope;

	json_open(j, '{');
	scope_json(j, scope);
	json_key(j, "spans");
	json_open(j, '[');
	for (; at < cnt && items[at].resource == resource && items[at].scope == scope; at++) {
		if (bytes)
			json_raw(j, (struct str){ bytes + items[at].off, items[at].len });
		else
			span_json(j, items[at].span, SPAN_JSON_OTLP);
	}
	json_close(j, ']');
	json_opt_str(j, "schemaUrl", scope->schema_url);
	json_close(j, '}');
	return at;
}

/* bytes: where off and len point to; NULL: items have spans. */
static void add_resources(struct json *j, const struct item *items, size_t cnt, const char *bytes)
{
	size_t at = 0;

	while (at < cnt) {
		const struct resource *resource = items[at].resource;

		json_open(j, '{');
		resource_json(j, resource);
		json_key(j, "scopeSpans");
		json_open(j, '[');
		while (at < cnt && items[at].resource == resource)
			at = add_scope_spans(j, items, at, cnt, bytes);
		json_close(j, ']');
		json_opt_str(j, "schemaUrl", resource->schema_url);
		json_close(j, '}');
	}
}

static void add_request(struct json *j, const struct item *items, size_t cnt, const char *bytes)
{
	json_open(j, '{');
	json_key(j, "resourceSpans");
	json_open(j, '[');
	add_resources(j, items, cnt, bytes);
	json_close(j, ']');
	json_close(j, '}');
}

int otlp_add_json(const struct span *const *spans, size_t cnt, struct json *j)
{
	struct item *items;
	int err = items_of(spans, cnt, &items);

	if (err)
		return err;
	add_resources(j, items, cnt, NULL);
	free(items);
	return 0;
}

int otlp_encode_json(const struct span *const *spans, size_t cnt, struct buf *out)
{
	struct json j = { .out = out };
	struct item *items;
	size_t before = out->len;
	bool failed_before = out->failed;
	int err = items_of(spans, cnt, &items);

	if (err)
		return err;
	out->failed = false;
	add_request(&j, items, cnt, NULL);
	if (out->failed) {
		out->len = before;
		err = out->cap ? -ENOBUFS : -ENOMEM;
	}
	out->failed = out->failed || failed_before;
	free(items);
	return err;
}

/* ---- for the queue ---- */

static int add_span_bytes(struct packer *scratch, const struct span *s, struct buf *out)
{
	struct json j = { .out = out };

	span_json(&j, s, SPAN_JSON_OTLP);
	return out->failed ? -ENOMEM : 0;
}

static int add_body(struct packer *scratch, struct item *items, size_t cnt, const char *bytes,
		    struct buf *out)
{
	struct json j = { .out = out };
	int err = items_group(items, cnt);

	if (err)
		return err;
	add_request(&j, items, cnt, bytes);
	return out->failed ? -ENOMEM : 0;
}

const struct format format_otlp_json = { "otlp_json", add_span_bytes, add_body };

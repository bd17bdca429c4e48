/* SPDX-License-Identifier: Apache-2.0 */
/* POST /traces/search: traces found, with a summary of each, in pages. */
#include "api/find.h"

#include <errno.h>
#include <stdio.h>

static void add_id(struct json *j, const char *key, const uint8_t *id, size_t len)
{
	json_key(j, key);
	json_hex(j, id, len);
}

static void add_span(struct json *j, const struct span *s)
{
	json_open(j, '{');
	add_id(j, "span_id", s->span_id.b, sizeof(s->span_id.b));
	json_member_str(j, "service", s->resource->service);
	json_member_str(j, "name", s->name);
	json_member_str(j, "kind", str_of(span_kind_name(s->kind)));
	json_member_str(j, "status", str_of(span_status_name(s->status)));
	json_member_u64_str(j, "start_unix_nano", s->start_ns);
	json_member_u64(j, "duration_ns", s->end_ns - s->start_ns);
	json_close(j, '}');
}

static void add_matched(struct json *j, const struct search_trace *t)
{
	uint64_t matched = 0;

	json_key(j, "matched_spans");
	json_open(j, '[');
	for (uint32_t i = 0; i < t->set_cnt; i++) {
		matched += t->sets[i].matched;
		for (uint32_t k = 0; k < t->sets[i].span_cnt; k++)
			add_span(j, t->sets[i].spans[k]);
	}
	json_close(j, ']');
	json_member_u64(j, "matched", matched);
}

static bool add_trace(void *ctx, const struct search_trace *t)
{
	struct json *j = ctx;

	json_open(j, '{');
	add_id(j, "trace_id", t->trace->id.b, sizeof(t->trace->id.b));
	json_member_str(j, "root_service", t->root_service);
	json_member_str(j, "root_name", t->root_name);
	json_member_u64_str(j, "start_unix_nano", t->start_ns);
	json_member_u64(j, "duration_ns", t->end_ns - t->start_ns);
	json_member_u64(j, "spans", t->trace->span_cnt);
	json_member_u64(j, "errors", t->errors);
	json_member_u64(j, "orphans", t->orphans);
	json_key(j, "services");
	json_open(j, '[');
	for (uint32_t i = 0; i < t->service_cnt; i++) {
		json_open(j, '{');
		json_member_str(j, "name", t->services[i].name);
		json_member_u64(j, "spans", t->services[i].spans);
		json_member_u64(j, "errors", t->services[i].errors);
		json_close(j, '}');
	}
	json_close(j, ']');
	add_matched(j, t);
	json_close(j, '}');
	return true;
}

static void write_found(struct call *c, struct find *f)
{
	struct json j = call_json(c);
	struct search_end end;
	bool late;

	json_open(&j, '{');
	json_key(&j, "traces");
	json_open(&j, '[');
	if (!ask_search(c, &f->search, add_trace, &j, &end, &late))
		return;
	json_close(&j, ']');
	if (end.next[0])
		json_member_str(&j, "next", str_of(end.next));
	json_key(&j, "timed_out");
	json_bool(&j, late);
	json_close(&j, '}');
}

static void post_search(struct call *c)
{
	struct find f = { .asked.mem = c->mem };
	char why[BODY_WHY_MAX] = "";
	json_t *root = body_parse(c->body, why);
	int err = root ? find_read(c, root, &f, why) : -EINVAL;

	json_decref(root);
	if (err == -EINVAL)
		call_error(c, 400, "%s", why);
	else if (err)
		call_failed(c, err, "search");
	else
		write_found(c, &f);
	traceql_free(f.query);
}

static const struct endpoint rows[] = {
	{ "POST", "/traces/search", post_search, .slow = true, .stored = true,
	  .body_max = 64u << 10 },
};

const struct endpoints endpoints_find = { rows, ARRAY_LEN(rows) };

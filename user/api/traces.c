/* SPDX-License-Identifier: Apache-2.0 */
/* Our own REST: a trace, names of services and operations, the archive, summaries. Searching:
 * find.c. */
#include <errno.h>
#include <stdlib.h>

#include "api/ask.h"
#include "export/export.h"

#define TYPE_PROTOBUF "application/x-protobuf"
#define LIMIT_DEFAULT 1000
#define LIMIT_MAX     10000

/* ---- one trace ---- */

static void get_trace(struct call *c)
{
	struct trace *t;
	const struct span *const *spans;
	int err;

	if (!ask_trace(c, "id", &t))
		return;
	spans = (const struct span *const *)t->spans;
	if (call_accepts(c, "application/protobuf") || call_accepts(c, TYPE_PROTOBUF)) {
		c->type = TYPE_PROTOBUF;
		err = otlp_encode(spans, t->span_cnt, &c->page);
	} else {
		err = otlp_encode_json(spans, t->span_cnt, &c->page);
	}
	if (err)
		call_failed(c, err, "trace");
	trace_put(t);
}

/* ---- names ---- */

/* A part of a list: rows from 'offset' on, at most 'limit'. */
struct part {
	uint64_t offset, limit, total;
};

static struct part part_of(struct call *c)
{
	return (struct part){ arg_number(c, "offset", 0), arg_number(c, "limit", LIMIT_DEFAULT),
			      0 };
}

static bool part_takes(struct part *p)
{
	uint64_t at = p->total++;

	return at >= p->offset && at - p->offset < p->limit;
}

static void part_end(struct part *p, struct json *j)
{
	json_member_u64(j, "total", p->total);
}

struct service_page {
	struct json j;
	struct part part;
};

static void add_service(void *ctx, struct str service)
{
	struct service_page *p = ctx;

	if (part_takes(&p->part))
		json_str(&p->j, service);
}

static void get_services(struct call *c)
{
	struct service_page p = { call_json(c), part_of(c) };
	struct time_range r;
	int err;

	if (!ask_range(c, "start", "end", 0, &r))
		return;
	json_open(&p.j, '{');
	json_key(&p.j, "services");
	json_open(&p.j, '[');
	err = store_services(c->cfg->store, r, add_service, &p);
	json_close(&p.j, ']');
	part_end(&p.part, &p.j);
	json_close(&p.j, '}');
	if (err)
		call_failed(c, err, "services");
}

static void get_operations(struct call *c)
{
	struct json j = call_json(c);
	struct part part = part_of(c);
	struct operations o;
	struct time_range r;
	int err;

	if (!ask_range(c, "start", "end", 0, &r))
		return;
	err = ask_operations(c, arg_text(c, "service"), r, &o);
	if (err) {
		call_failed(c, err, "operations");
		return;
	}
	json_open(&j, '{');
	json_key(&j, "operations");
	json_open(&j, '[');
	for (size_t i = 0; i < o.cnt; i++) {
		if (!part_takes(&part))
			continue;
		json_open(&j, '{');
		json_member_str(&j, "service", o.row[i].service);
		json_member_str(&j, "name", o.row[i].name);
		json_member_str(&j, "kind", str_of(span_kind_name(o.row[i].kind)));
		json_close(&j, '}');
	}
	json_close(&j, ']');
	part_end(&part, &j);
	json_close(&j, '}');
}

/* ---- the archive ---- */

static void set_archive(struct call *c, bool keep)
{
	int err = store_archive(c->cfg->store, &arg_get(c, "id")->id, keep);

	if (err)
		call_failed(c, err, "trace");
	else
		c->status = 204;
}

static void put_archive(struct call *c)
{
	set_archive(c, true);
}

static void delete_archive(struct call *c)
{
	set_archive(c, false);
}

struct archive_page {
	struct json j;
	struct part part;
};

static void add_archived(void *ctx, const struct trace_id *id)
{
	struct archive_page *p = ctx;

	if (part_takes(&p->part))
		json_hex(&p->j, id->b, sizeof(id->b));
}

static void get_archive(struct call *c)
{
	struct archive_page p = { call_json(c), part_of(c) };
	int err;

	json_open(&p.j, '{');
	json_key(&p.j, "traces");
	json_open(&p.j, '[');
	err = store_archived(c->cfg->store, add_archived, &p);
	json_close(&p.j, ']');
	part_end(&p.part, &p.j);
	json_close(&p.j, '}');
	if (err == -EOPNOTSUPP)
		call_error(c, 501, "this store does not list its archive");
	else if (err)
		call_failed(c, err, "archive");
}

/* ---- summaries of what retention dropped ---- */

struct rollup_page {
	struct json j;
	struct part part;
	struct str service; /* empty: all */
};

static void add_rollup(void *ctx, const struct store_rollup *row)
{
	struct rollup_page *p = ctx;
	struct json *j = &p->j;
	size_t buckets = ARRAY_LEN(row->bucket);

	if (p->service.len && !str_eq(p->service, row->service))
		return;
	if (!part_takes(&p->part))
		return;
	json_open(j, '{');
	json_member_u64_str(j, "hour_unix_nano", row->hour_ns);
	json_member_str(j, "service", row->service);
	json_member_str(j, "name", row->name);
	json_member_str(j, "kind", str_of(span_kind_name(row->kind)));
	json_member_u64(j, "spans", row->spans);
	json_member_u64(j, "errors", row->errors);
	json_member_u64(j, "duration_sum_ns", row->duration_sum_ns);
	json_member_u64(j, "duration_max_ns", row->duration_max_ns);
	while (buckets && !row->bucket[buckets - 1])
		buckets--;
	json_key(j, "duration_buckets");
	json_open(j, '[');
	for (size_t i = 0; i < buckets; i++)
		json_u64(j, row->bucket[i]);
	json_close(j, ']');
	json_close(j, '}');
}

static void get_rollups(struct call *c)
{
	struct rollup_page p = { call_json(c), part_of(c), arg_text(c, "service") };
	struct time_range r;
	int err;

	if (!ask_range(c, "start", "end", 0, &r))
		return;
	json_open(&p.j, '{');
	json_key(&p.j, "rollups");
	json_open(&p.j, '[');
	err = store_rollups(c->cfg->store, r, add_rollup, &p);
	json_close(&p.j, ']');
	part_end(&p.part, &p.j);
	json_close(&p.j, '}');
	if (err)
		call_failed(c, err, "summaries");
}

/* ---- rows ---- */

static const struct param id[] = {
	{ .name = "id", .type = PARAM_TRACE_ID, .required = true },
};

#define PART                                                     \
	{ "limit", PARAM_UINT, .min = 1, .max = LIMIT_MAX },     \
	{                                                        \
		"offset", PARAM_UINT, .min = 0, .max = 100000000 \
	}
#define RANGE                                     \
	{ .name = "start", .type = PARAM_TIME },  \
	{                                         \
		.name = "end", .type = PARAM_TIME \
	}

static const struct param part[] = { PART };
static const struct param services[] = { PART, RANGE };
static const struct param operations[] = {
	{ "service", PARAM_TEXT, .min = 1, .max = 1024 },
	PART,
	RANGE,
};

#define STORED .slow = true, .stored = true

static const struct endpoint rows[] = {
	{ "GET", "/traces/services", get_services, STORED, PARAMS(services) },
	{ "GET", "/traces/operations", get_operations, STORED, PARAMS(operations) },
	{ "GET", "/traces/archive", get_archive, STORED, PARAMS(part) },
	{ "GET", "/traces/rollups", get_rollups, STORED, PARAMS(operations) },
	{ "GET", "/traces/{id}", get_trace, STORED, PARAMS(id) },
	{ "PUT", "/traces/{id}/archive", put_archive, STORED, PARAMS(id) },
	{ "DELETE", "/traces/{id}/archive", delete_archive, STORED, PARAMS(id) },
};

const struct endpoints endpoints_traces = { rows, ARRAY_LEN(rows) };

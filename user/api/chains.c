/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /traces/chains: every request that carried one correlation id, in order of time, whichever
 * traces they are in. Requests are told apart from work inside a program by their kind.
 */
#include <errno.h>
#include <stdlib.h>

#include "api/ask.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX     10000

static const char *const headers[] = {
	"http.request.header.x-request-id",
	"http.request.header.x-correlation-id",
	"http.request.header.x-trace-id",
};

/* What is shown of one; strings in the call's memory. */
struct request_row {
	struct trace_id trace_id;
	struct span_id span_id;
	struct str service, name, header;
	enum span_kind kind;
	enum span_status status;
	uint64_t start_ns, duration_ns;
};

/* The newest 'size' requests; twice as many are held, as blocks come newest first but overlap. */
struct chain {
	struct arena *mem;
	struct str id;
	struct request_row *row;
	size_t cnt, size;
	uint64_t floor_ns; /* older ones are not among them */
	bool more;
	bool failed;
};

static bool is_request(const struct span *s)
{
	return s->kind != SPAN_INTERNAL && s->kind != SPAN_UNSPECIFIED;
}

/* Which header carried it; empty: it is the trace's id. */
static struct str header_of(const struct span *s, struct str id)
{
	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		const struct attr *a = attrs_find(&s->attrs, str_of(headers[i]));

		if (!a)
			continue;
		if (a->value.type == VALUE_STR && str_eq(a->value.str, id))
			return str_of(headers[i] + strlen("http.request.header."));
		for (size_t k = 0; a->value.type == VALUE_ARRAY && k < a->value.array.cnt; k++)
			if (a->value.array.item[k].type == VALUE_STR &&
			    str_eq(a->value.array.item[k].str, id))
				return str_of(headers[i] + strlen("http.request.header."));
	}
	return (struct str){ "", 0 };
}

/* In order of time; a caller before what it called. */
static int by_time(const void *a, const void *b)
{
	const struct request_row *x = a, *y = b;
	int order = memcmp(&x->trace_id, &y->trace_id, sizeof(x->trace_id));

	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	if (x->duration_ns != y->duration_ns)
		return x->duration_ns > y->duration_ns ? -1 : 1;
	return order ? order : memcmp(&x->span_id, &y->span_id, sizeof(x->span_id));
}

/* In order, each once (a batch that was sent again is stored twice), and no more than size. */
static void prune(struct chain *c)
{
	size_t cnt = 0;

	if (c->cnt)
		qsort(c->row, c->cnt, sizeof(*c->row), by_time);
	for (size_t i = 0; i < c->cnt; i++)
		if (!i || by_time(&c->row[i], &c->row[cnt - 1]))
			c->row[cnt++] = c->row[i];
	c->cnt = cnt;
	if (cnt <= c->size)
		return;
	c->more = true;
	c->cnt = c->size;
	memmove(c->row, &c->row[cnt - c->size], c->size * sizeof(*c->row));
	c->floor_ns = c->row[0].start_ns;
}

static bool keep_request(void *ctx, const struct span *s)
{
	struct chain *c = ctx;
	struct request_row *r;

	if (!is_request(s) || s->start_ns < c->floor_ns)
		return true;
	if (c->cnt == 2 * c->size)
		prune(c);
	r = &c->row[c->cnt++];
	*r = (struct request_row){ .trace_id = s->trace_id,
				   .span_id = s->span_id,
				   .service = arena_str(c->mem, s->resource->service),
				   .name = arena_str(c->mem, s->name),
				   .header = header_of(s, c->id),
				   .kind = s->kind,
				   .status = s->status,
				   .start_ns = s->start_ns,
				   .duration_ns = s->end_ns - s->start_ns };
	c->failed = !r->service.p || !r->name.p;
	return !c->failed;
}

static const struct cond *condition(struct call *c, struct str id)
{
	const struct cond *where = NULL;
	struct trace_id trace;
	struct str text;

	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		const struct field f = { FIELD_SPAN_ATTR, str_of(headers[i]) };
		const struct cond *one =
			cond_cmp(c->mem, f, CMP_EQ, (struct value){ .type = VALUE_STR, .str = id });

		where = where && one ? cond_or(c->mem, where, one) : one;
		if (!where)
			return NULL;
	}
	if (!trace_id_parse(id, &trace))
		return where;
	text = arena_str(c->mem, (struct str){ (const char *)trace.b, sizeof(trace.b) });
	return cond_or(c->mem, where,
		       cond_cmp(c->mem, (struct field){ .kind = FIELD_TRACE_ID }, CMP_EQ,
				(struct value){ .type = VALUE_BYTES, .str = text }));
}

static void add_request(struct json *j, const struct request_row *r)
{
	json_open(j, '{');
	json_key(j, "trace_id");
	json_hex(j, r->trace_id.b, sizeof(r->trace_id.b));
	json_key(j, "span_id");
	json_hex(j, r->span_id.b, sizeof(r->span_id.b));
	json_member_str(j, "service", r->service);
	json_member_str(j, "name", r->name);
	json_member_str(j, "kind", str_of(span_kind_name(r->kind)));
	json_member_str(j, "status", str_of(span_status_name(r->status)));
	json_member_u64_str(j, "start_unix_nano", r->start_ns);
	json_member_u64(j, "duration_ns", r->duration_ns);
	if (r->header.len)
		json_member_str(j, "header", r->header);
	json_close(j, '}');
}

static void write_chain(struct call *c, const struct chain *chain)
{
	struct json j = call_json(c);

	json_open(&j, '{');
	json_member_str(&j, "correlation_id", chain->id);
	json_key(&j, "requests");
	json_open(&j, '[');
	for (size_t i = 0; i < chain->cnt; i++)
		add_request(&j, &chain->row[i]);
	json_close(&j, ']');
	json_key(&j, "truncated");
	json_bool(&j, chain->more);
	json_close(&j, '}');
}

static void get_chain(struct call *c)
{
	struct chain chain = { .mem = c->mem,
			       .id = arg_text(c, "id"),
			       .size = arg_number(c, "limit", LIMIT_DEFAULT) };
	struct field fields[ARRAY_LEN(headers)];
	struct scan q = { .fields = fields,
			  .field_cnt = ARRAY_LEN(fields),
			  .floor_ns = &chain.floor_ns,
			  .deadline_ns = c->deadline_ns };
	int err;

	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		fields[i] = (struct field){ FIELD_SPAN_ATTR, str_of(headers[i]) };
	if (!ask_range(c, "start", "end", 0, &q.range))
		return;
	q.where = condition(c, chain.id);
	chain.row = arena_alloc_raw(c->mem, 2 * chain.size * sizeof(*chain.row));
	err = q.where && chain.row ? store_scan(c->cfg->store, &q, keep_request, &chain) : -ENOMEM;
	if (!err && chain.failed)
		err = -ENOMEM;
	if (err) {
		call_failed(c, err, "chain");
		return;
	}
	if (!chain.cnt) {
		call_error(c, 404, "no request with this id is stored");
		return;
	}
	prune(&chain);
	write_chain(c, &chain);
}

static const struct param params[] = {
	{ "id", PARAM_TEXT, .required = true, .min = 1, .max = 1024 },
	{ "limit", PARAM_UINT, .min = 1, .max = LIMIT_MAX },
	{ .name = "start", .type = PARAM_TIME },
	{ .name = "end", .type = PARAM_TIME },
};

static const struct endpoint rows[] = {
	{ "GET", "/traces/chains/{id}", get_chain, .slow = true, .stored = true, PARAMS(params) },
};

const struct endpoints endpoints_chains = { rows, ARRAY_LEN(rows) };

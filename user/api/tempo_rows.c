/* SPDX-License-Identifier: Apache-2.0 */
/* Tempo's API: a trace by id, and search by TraceQL or by tags. */
#include <errno.h>

#include "api/ask.h"
#include "core/clock.h"
#include "export/export.h"

#define TYPE_TEXT     "text/plain; charset=utf-8"
#define TYPE_PROTOBUF "application/protobuf"
#define LIMIT_DEFAULT 20
#define SPANS_DEFAULT 3
#define SPANS_MAX     100

/* ---- about the server ---- */

static void get_ready(struct call *c)
{
	int err = c->cfg->store ? store_admits(c->cfg->store) : -ENODEV;

	c->type = TYPE_TEXT;
	if (!err || err == -EAGAIN)
		buf_add_str(&c->page, STR("ready\n"));
	else
		call_error(c, 503, "not ready: %s",
			   c->cfg->store ? strerror(-err) : "there is no store");
}

static void get_echo(struct call *c)
{
	c->type = TYPE_TEXT;
	buf_add_str(&c->page, STR("echo"));
}

/* The version is that of the API that is spoken: Grafana decides by it what it may ask for. */
static void get_buildinfo(struct call *c)
{
	struct json j = call_json(c);
	static const char *const pairs[][2] = {
		{ "version", "2.6.0" }, { "revision", TELLTALE_VERSION },
		{ "branch", "" },	{ "buildUser", "telltale" },
		{ "buildDate", "" },	{ "goVersion", "" }
	};

	json_open(&j, '{');
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		json_key(&j, pairs[i][0]);
		json_str(&j, str_of(pairs[i][1]));
	}
	json_close(&j, '}');
}

/* ---- a trace ---- */

static int add_varint(struct buf *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_add_char(out, (char)(v | 0x80));
	return buf_add_char(out, (char)v);
}

/* Tempo's Trace has the fields of OTLP's request; v2 wraps it as field 1 of the answer. */
static int write_protobuf(struct call *c, const struct trace *t, bool wrapped)
{
	struct buf inner = { .cap = PAGE_BYTES_MAX };
	int err = otlp_encode((const struct span *const *)t->spans, t->span_cnt, &inner);

	c->type = TYPE_PROTOBUF;
	if (!err && wrapped) {
		buf_add_char(&c->page, 1 << 3 | 2);
		add_varint(&c->page, inner.len);
	}
	if (!err)
		err = buf_add_str(&c->page, buf_str(&inner));
	buf_fini(&inner);
	return err;
}

static void write_trace(struct call *c, bool v2)
{
	struct json j = call_json(c);
	struct trace *t;
	int err;

	if (!ask_trace(c, "id", &t))
		return;
	if (call_accepts(c, TYPE_PROTOBUF)) {
		err = write_protobuf(c, t, v2);
		if (err)
			call_failed(c, err, "trace");
	} else if (v2) {
		json_open(&j, '{');
		json_key(&j, "trace");
		tempo_trace(&j, "resourceSpans", t);
		json_key(&j, "metrics");
		json_open(&j, '{');
		json_close(&j, '}');
		json_member_str(&j, "status", STR("COMPLETE"));
		json_close(&j, '}');
	} else {
		tempo_trace(&j, "batches", t);
	}
	trace_put(t);
}

static void get_trace(struct call *c)
{
	write_trace(c, false);
}

static void get_trace_v2(struct call *c)
{
	write_trace(c, true);
}

/* ---- search ---- */

/* Takes one key=value of logfmt, quoted or not; false at the end or when it is malformed. */
static bool take_word(struct arena *mem, struct str *s, char until, struct str *ret)
{
	char *out = arena_alloc_raw(mem, s->len + 1);
	size_t i = 0, len = 0;
	bool quoted = s->len && s->p[0] == '"';

	if (!out)
		return false;
	for (i = quoted; i < s->len; i++) {
		if (quoted ? s->p[i] == '"' : (s->p[i] == until || s->p[i] == ' '))
			break;
		if (quoted && s->p[i] == '\\' && i + 1 < s->len)
			i++;
		out[len++] = s->p[i];
	}
	if (quoted && i == s->len)
		return false;
	*s = str_from(*s, i + quoted);
	*ret = (struct str){ out, len };
	return true;
}

static bool ask_logfmt(struct call *c, struct asked *a)
{
	struct str left = str_trim(arg_text(c, "tags")), key, value;

	while (left.len) {
		if (!take_word(c->mem, &left, '=', &key) || !key.len || !left.len ||
		    left.p[0] != '=')
			return false;
		left = str_from(left, 1);
		if (!take_word(c->mem, &left, ' ', &value))
			return false;
		left = str_trim(left);
		if (str_eq(key, STR("service.name")))
			asked_str(a, FIELD_SERVICE, value);
		else if (str_eq(key, STR("name")))
			asked_str(a, FIELD_NAME, value);
		else if (str_eq(key, STR("error")) && str_eq(value, STR("true")))
			asked_int(a, FIELD_STATUS, CMP_EQ, STATUS_ERROR);
		else
			asked_and(a, cond_loose(c->mem, (struct field){ FIELD_ATTR, key }, value));
	}
	return true;
}

/* What a field is called beside a found span, as Tempo has it: an attribute without its scope. */
static void write_field_name(struct json *j, const struct field *f)
{
	struct buf name = { .cap = 4096 };

	if (f->key.len) {
		json_str(j, f->key);
		return;
	}
	if (f->kind == FIELD_SERVICE)
		buf_add_str(&name, STR("service.name"));
	else
		search_field_name(f, &name);
	json_str(j, buf_str(&name));
	buf_fini(&name);
}

static struct value shown_value(const struct field *f, const struct span *s)
{
	if (f->kind == FIELD_KIND)
		return (struct value){ .type = VALUE_STR, .str = str_of(span_kind_name(s->kind)) };
	if (f->kind == FIELD_STATUS)
		return (struct value){ .type = VALUE_STR,
				       .str = str_of(span_status_name(s->status)) };
	return field_value(f, s);
}

static void add_pair(struct json *j, const struct field *f, const struct value *v)
{
	json_open(j, '{');
	json_key(j, "key");
	write_field_name(j, f);
	json_key(j, "value");
	value_json_otlp(j, v);
	json_close(j, '}');
}

static bool is_column(enum field_kind kind)
{
	return kind == FIELD_NAME || kind == FIELD_DURATION || kind == FIELD_START ||
	       kind == FIELD_TRACE_ID || kind == FIELD_SPAN_ID || kind == FIELD_PARENT_ID;
}

static void add_span(struct json *j, const struct search_trace *t, const struct span *s)
{
	bool named = false, any = false;

	for (uint32_t i = 0; i < t->field_cnt; i++)
		named = named || t->fields[i].kind == FIELD_NAME;
	json_open(j, '{');
	json_key(j, "spanID");
	json_hex(j, s->span_id.b, sizeof(s->span_id.b));
	if (named)
		json_member_str(j, "name", s->name);
	json_member_u64_str(j, "startTimeUnixNano", s->start_ns);
	json_member_u64_str(j, "durationNanos", s->end_ns - s->start_ns);
	for (uint32_t i = 0; i < t->field_cnt; i++) {
		struct value v = shown_value(&t->fields[i], s);

		if (v.type == VALUE_EMPTY || is_column(t->fields[i].kind))
			continue;
		if (!any) {
			json_key(j, "attributes");
			json_open(j, '[');
		}
		any = true;
		add_pair(j, &t->fields[i], &v);
	}
	if (any)
		json_close(j, ']');
	json_close(j, '}');
}

static void add_set(struct json *j, const struct search_trace *t, const struct search_set *set)
{
	json_open(j, '{');
	json_key(j, "spans");
	json_open(j, '[');
	for (uint32_t i = 0; i < set->span_cnt; i++)
		add_span(j, t, set->spans[i]);
	json_close(j, ']');
	json_member_u64(j, "matched", set->matched);
	if (set->attrs.cnt) {
		json_key(j, "attributes");
		json_open(j, '[');
		for (uint32_t i = 0; i < set->attrs.cnt; i++) {
			const struct field name = { FIELD_ATTR, set->attrs.item[i].key };

			add_pair(j, &name, &set->attrs.item[i].value);
		}
		json_close(j, ']');
	}
	json_close(j, '}');
}

static void add_services(struct json *j, const struct search_trace *t)
{
	json_open(j, '{');
	for (uint32_t i = 0; i < t->service_cnt; i++) {
		json_str(j, t->services[i].name);
		buf_add_char(j->out, ':');
		j->comma = false;
		json_open(j, '{');
		json_member_u64(j, "spanCount", t->services[i].spans);
		json_opt_u64(j, "errorCount", t->services[i].errors);
		json_close(j, '}');
	}
	json_close(j, '}');
}

static bool add_trace(void *ctx, const struct search_trace *t)
{
	static const struct str none = { "<root span not yet received>", 28 };
	struct json *j = ctx;

	json_open(j, '{');
	json_key(j, "traceID");
	json_hex(j, t->trace->id.b, sizeof(t->trace->id.b));
	json_member_str(j, "rootServiceName", t->root_service.len ? t->root_service : none);
	json_member_str(j, "rootTraceName", t->root_name);
	json_member_u64_str(j, "startTimeUnixNano", t->start_ns);
	/* 32 bits for those who read it: 49 days */
	json_member_u64(j, "durationMs",
			MIN((t->end_ns - t->start_ns) / NS_PER_MS, (uint64_t)UINT32_MAX));
	json_key(j, "spanSet");
	add_set(j, t, &t->sets[0]);
	json_key(j, "spanSets");
	json_open(j, '[');
	for (uint32_t i = 0; i < t->set_cnt; i++)
		add_set(j, t, &t->sets[i]);
	json_close(j, ']');
	json_key(j, "serviceStats");
	add_services(j, t);
	json_close(j, '}');
	return true;
}

static void write_found(struct call *c, struct search *q)
{
	struct json j = call_json(c);
	struct search_end end;
	bool late;

	/* Grafana reads none of an answer that has a double in quotes */
	j.strict = true;
	json_open(&j, '{');
	json_key(&j, "traces");
	json_open(&j, '[');
	if (!ask_search(c, q, add_trace, &j, &end, &late))
		return;
	json_close(&j, ']');
	json_key(&j, "metrics");
	json_open(&j, '{');
	json_member_u64(&j, "inspectedTraces", end.traces);
	json_member_u64_str(&j, "inspectedSpans", end.spans);
	json_member_u64(&j, "completedJobs", !late);
	json_member_u64(&j, "totalJobs", 1);
	json_close(&j, '}');
	json_close(&j, '}');
}

static void get_search(struct call *c)
{
	struct asked a = { .mem = c->mem };
	struct traceql *query = NULL;
	uint64_t longest = arg_number(c, "maxDuration", 0);
	struct search q = { .limit = (uint32_t)arg_number(c, "limit", LIMIT_DEFAULT),
			    .spans_per_set = (uint32_t)arg_number(c, "spss", SPANS_DEFAULT),
			    .duration_min_ns = arg_number(c, "minDuration", 0),
			    .duration_max_ns = longest };

	if (!ask_range(c, "start", "end", 0, &q.range))
		return;
	if (arg_get(c, "q")) {
		if (ask_traceql(c, false, &query)) {
			q.query = query;
			write_found(c, &q);
		}
		traceql_free(query);
		return;
	}
	if (!ask_logfmt(c, &a)) {
		call_error(c, 400, "tags must be in logfmt: key=value key2=\"value 2\"");
		return;
	}
	if (a.failed) {
		call_failed(c, -ENOMEM, "search");
		return;
	}
	q.where = a.where;
	write_found(c, &q);
}

/* ---- rows ---- */

static const struct param trace[] = {
	{ "id", PARAM_TRACE_ID, .required = true },
	{ "start", PARAM_TIME, .required = false },
	{ "end", PARAM_TIME, .required = false },
};
static const struct param search[] = {
	{ "q", PARAM_TEXT, .min = 1, .max = TRACEQL_TEXT_MAX },
	{ "tags", PARAM_TEXT, .min = 1, .max = 16384 },
	{ "minDuration", PARAM_DURATION, .required = false },
	{ "maxDuration", PARAM_DURATION, .required = false },
	{ "limit", PARAM_UINT, .min = 1, .max = SEARCH_LIMIT_MAX },
	{ "spss", PARAM_UINT, .min = 1, .max = SPANS_MAX },
	{ "start", PARAM_TIME, .required = false },
	{ "end", PARAM_TIME, .required = false },
};

#define ROW(at, function, ...)                                         \
	{                                                              \
		"GET", at, function, FAMILY_TEMPO, .slow = __VA_ARGS__ \
	}

static const struct endpoint rows[] = {
	ROW("/ready", get_ready, false),
	ROW("/api/echo", get_echo, false),
	ROW("/api/status/buildinfo", get_buildinfo, false),
	ROW("/api/traces/{id}", get_trace, true, .stored = true, PARAMS(trace)),
	ROW("/api/v2/traces/{id}", get_trace_v2, true, .stored = true, PARAMS(trace)),
	ROW("/api/search", get_search, true, .stored = true, PARAMS(search)),
};

const struct endpoints endpoints_tempo = { rows, ARRAY_LEN(rows) };

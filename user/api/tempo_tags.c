/* SPDX-License-Identifier: Apache-2.0 */
/* Tempo's names of tags and their values, first and second version: what fills Grafana's lists. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "api/ask.h"
#include "api/traceql_ast.h"

#define VALUES_DEFAULT 1000
#define VALUES_MAX     10000
#define TAGS_MAX       20000u

/* Times that a tag's name may be percent-encoded. */
#define NAME_ENCODED_MAX 3

/* ---- names ---- */

static const struct {
	const char *name;
	enum field_kind kind;
} scopes[] = {
	{ "resource", FIELD_RESOURCE_ATTR },	 { "span", FIELD_SPAN_ATTR },
	{ "event", FIELD_EVENT_ATTR },		 { "link", FIELD_LINK_ATTR },
	{ "instrumentation", FIELD_SCOPE_ATTR },
};

static const char *const intrinsics[] = {
	"duration",
	"event:name",
	"event:timeSinceStart",
	"instrumentation:name",
	"instrumentation:version",
	"kind",
	"name",
	"rootName",
	"rootServiceName",
	"span:duration",
	"span:kind",
	"span:name",
	"span:status",
	"span:statusMessage",
	"status",
	"statusMessage",
	"trace:duration",
	"trace:rootName",
	"trace:rootService",
	"traceDuration",
};

struct tag {
	enum field_kind kind;
	struct str key;
};

struct tags {
	struct arena *mem;
	struct tag *row;
	size_t cnt, size;
	bool failed;
};

static void keep_tag(void *ctx, enum field_kind kind, struct str key)
{
	struct tags *t = ctx;

	if (t->cnt == TAGS_MAX || t->failed)
		return;
	if (t->cnt == t->size) {
		struct tag *more;

		t->size = t->size ? 2 * t->size : 128;
		more = arena_alloc_raw(t->mem, t->size * sizeof(*more));
		t->failed = !more;
		if (!more)
			return;
		if (t->cnt)
			memcpy(more, t->row, t->cnt * sizeof(*more));
		t->row = more;
	}
	t->row[t->cnt] = (struct tag){ kind, arena_str(t->mem, key) };
	t->failed = !t->row[t->cnt++].key.p;
}

static int by_key(const void *a, const void *b)
{
	struct str x = ((const struct tag *)a)->key, y = ((const struct tag *)b)->key;
	int order = memcmp(x.p, y.p, MIN(x.len, y.len));

	return order ? order : (x.len > y.len) - (x.len < y.len);
}

static bool load_tags(struct call *c, struct tags *t)
{
	struct time_range r;
	int err;

	*t = (struct tags){ .mem = c->mem };
	if (!ask_range(c, "start", "end", 0, &r))
		return false;
	err = store_tags(c->cfg->store, r, keep_tag, t);
	if (!err && t->failed)
		err = -ENOMEM;
	if (err)
		call_failed(c, err, "tags");
	else if (t->cnt)
		qsort(t->row, t->cnt, sizeof(*t->row), by_key);
	return !err;
}

static bool scope_is(struct call *c, const char *name)
{
	struct str scope = arg_text(c, "scope");

	return !scope.len || str_eq(scope, STR("none")) || str_eq(scope, str_of(name));
}

static bool kind_is_asked(struct call *c, enum field_kind kind)
{
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++)
		if (scopes[i].kind == kind)
			return scope_is(c, scopes[i].name);
	return false;
}

static void add_intrinsics(struct json *j)
{
	for (size_t i = 0; i < ARRAY_LEN(intrinsics); i++)
		json_str(j, str_of(intrinsics[i]));
}

static void end_page(struct json *j)
{
	json_close(j, ']');
	json_key(j, "metrics");
	json_open(j, '{');
	json_close(j, '}');
	json_close(j, '}');
}

/* 0 is Tempo's word for no limit. */
static uint64_t tags_wanted(struct call *c)
{
	uint64_t n = arg_number(c, "limit", 0);

	return n ? n : TAGS_MAX;
}

static void get_tags(struct call *c)
{
	struct json j = call_json(c);
	const struct str *last = NULL;
	uint64_t left = tags_wanted(c);
	struct tags t;

	if (!load_tags(c, &t))
		return;
	json_open(&j, '{');
	json_key(&j, "tagNames");
	json_open(&j, '[');
	if (arg_get(c, "scope") && scope_is(c, "intrinsic"))
		add_intrinsics(&j);
	for (size_t i = 0; i < t.cnt && left; i++) {
		if (!kind_is_asked(c, t.row[i].kind) || (last && str_eq(*last, t.row[i].key)))
			continue;
		json_str(&j, t.row[i].key);
		last = &t.row[i].key;
		left--;
	}
	end_page(&j);
}

static void add_scope(struct json *j, const char *name, const struct tags *t, enum field_kind kind,
		      uint64_t left)
{
	json_open(j, '{');
	json_member_str(j, "name", str_of(name));
	json_key(j, "tags");
	json_open(j, '[');
	for (size_t i = 0; t && i < t->cnt && left; i++) {
		if (t->row[i].kind != kind)
			continue;
		json_str(j, t->row[i].key);
		left--;
	}
	if (!t)
		add_intrinsics(j);
	json_close(j, ']');
	json_close(j, '}');
}

static void get_tags_v2(struct call *c)
{
	struct json j = call_json(c);
	struct tags t;

	if (!load_tags(c, &t))
		return;
	json_open(&j, '{');
	json_key(&j, "scopes");
	json_open(&j, '[');
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++)
		if (scope_is(c, scopes[i].name))
			add_scope(&j, scopes[i].name, &t, scopes[i].kind, tags_wanted(c));
	if (scope_is(c, "intrinsic"))
		add_scope(&j, "intrinsic", NULL, FIELD_NAME, 0);
	end_page(&j);
}

/* ---- values ---- */

/* What a tag's name stands for. */
struct meant {
	struct field field;
	bool of_root;		  /* of spans without a parent */
	const char *const *words; /* values known beforehand, NULL-terminated */
	bool none;		  /* has no values worth a list */
};

static const char *const status_words[] = { "error", "ok", "unset", NULL };
static const char *const kind_words[] = { "client", "consumer",	   "internal", "producer",
					  "server", "unspecified", NULL };

static const struct {
	const char *name;
	struct meant meant;
} known[] = {
	{ "name", { .field.kind = FIELD_NAME } },
	{ "span:name", { .field.kind = FIELD_NAME } },
	{ "status", { .words = status_words } },
	{ "span:status", { .words = status_words } },
	{ "kind", { .words = kind_words } },
	{ "span:kind", { .words = kind_words } },
	{ "statusMessage", { .field.kind = FIELD_STATUS_MESSAGE } },
	{ "span:statusMessage", { .field.kind = FIELD_STATUS_MESSAGE } },
	{ "event:name", { .field.kind = FIELD_EVENT_NAME } },
	{ "instrumentation:name", { .field.kind = FIELD_SCOPE_NAME } },
	{ "instrumentation:version", { .field.kind = FIELD_SCOPE_VERSION } },
	{ "rootName", { .field.kind = FIELD_NAME, .of_root = true } },
	{ "root.name", { .field.kind = FIELD_NAME, .of_root = true } },
	{ "trace:rootName", { .field.kind = FIELD_NAME, .of_root = true } },
	{ "rootServiceName", { .field.kind = FIELD_SERVICE, .of_root = true } },
	{ "root.service.name", { .field.kind = FIELD_SERVICE, .of_root = true } },
	{ "trace:rootService", { .field.kind = FIELD_SERVICE, .of_root = true } },
	{ "service.name", { .field.kind = FIELD_SERVICE } },
	{ ".service.name", { .field.kind = FIELD_SERVICE } },
	{ "resource.service.name", { .field.kind = FIELD_SERVICE } },
	{ "duration", { .none = true } },
	{ "span:duration", { .none = true } },
	{ "traceDuration", { .none = true } },
	{ "trace:duration", { .none = true } },
	{ "event:timeSinceStart", { .none = true } },
};

/* Grafana encodes a tag's name for its own server and for this one, by version two or three times
 * in all. A name that is no such text any more stands as it is. */
static struct str tag_name(struct call *c)
{
	struct str name = arg_text(c, "tag"), once;

	for (int i = 1; i < NAME_ENCODED_MAX && str_find(name, '%') >= 0; i++) {
		if (!uri_decode(c->mem, name, false, &once) || !once.len)
			break;
		name = once;
	}
	return name;
}

static struct meant meaning_of(struct str name)
{
	struct meant m = { .field = { FIELD_ATTR, name } };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(name, str_of(known[i].name)))
			return known[i].meant;
	if (name.p[0] == '.') {
		m.field.key = str_from(name, 1);
		return m;
	}
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		size_t len = strlen(scopes[i].name);

		if (name.len > len + 1 && !memcmp(name.p, scopes[i].name, len) &&
		    name.p[len] == '.') {
			m.field = (struct field){ scopes[i].kind, str_from(name, len + 1) };
			return m;
		}
	}
	return m;
}

struct shown {
	const char *type;
	struct str text;
};

struct values {
	struct json j;
	struct arena *mem;
	bool typed;
	struct shown *row;
	size_t cnt, size;
};

static const char *type_of(enum value_type type)
{
	switch (type) {
	case VALUE_INT: return "int";
	case VALUE_DOUBLE: return "float";
	case VALUE_BOOL: return "bool";
	default: return "string";
	}
}

static void add_value(struct values *v, const char *type, struct str text)
{
	if (!v->typed) {
		json_str(&v->j, text);
		return;
	}
	json_open(&v->j, '{');
	json_member_str(&v->j, "type", str_of(type));
	json_member_str(&v->j, "value", text);
	json_close(&v->j, '}');
}

/* No query can name bytes, or a double that is not finite. */
static bool is_asked_for(const struct value *v)
{
	return v->type != VALUE_EMPTY && v->type != VALUE_BYTES &&
	       (v->type != VALUE_DOUBLE || isfinite(v->d));
}

static void visit_value(void *ctx, const struct value *value)
{
	struct values *v = ctx;

	if (!is_asked_for(value) || v->cnt == v->size)
		return;
	v->row[v->cnt++] = (struct shown){
		type_of(value->type),
		value->type == VALUE_STR ? arena_str(v->mem, value->str)
					 : value_json_text(value, v->mem),
	};
}

/* One value of two types stands twice, side by side. */
static int by_text(const void *a, const void *b)
{
	const struct shown *x = a, *y = b;
	int order = memcmp(x->text.p, y->text.p, MIN(x->text.len, y->text.len));

	if (!order)
		order = (x->text.len > y->text.len) - (x->text.len < y->text.len);
	return order ? order : strcmp(x->type, y->type);
}

static int write_sorted(struct values *v)
{
	for (size_t i = 0; i < v->cnt; i++)
		if (!v->row[i].text.p)
			return -ENOMEM;
	if (v->cnt)
		qsort(v->row, v->cnt, sizeof(*v->row), by_text);
	for (size_t i = 0; i < v->cnt; i++)
		if (!i || by_text(&v->row[i], &v->row[i - 1]))
			add_value(v, v->row[i].type, v->row[i].text);
	return 0;
}

/* What q asks of one span. A query that does not parse narrows nothing: whoever writes it is not
 * done yet. NULL: nothing. */
static const struct cond *asked_spans(struct call *c, struct traceql **ret_query)
{
	struct str text = arg_text(c, "q");
	struct traceql_error fault;

	if (!text.len || traceql_parse(text, ret_query, &fault))
		return NULL;
	return lower_query(c->mem, *ret_query).span;
}

static int find_values(struct call *c, const struct meant *m, struct values *v)
{
	struct asked a = { .mem = c->mem };
	struct traceql *query = NULL;
	struct time_range r;
	int err;

	if (!ask_range(c, "start", "end", 0, &r))
		return -ECANCELED;
	v->size = arg_number(c, "limit", VALUES_DEFAULT);
	v->row = arena_alloc_raw(c->mem, v->size * sizeof(*v->row));
	a.where = asked_spans(c, &query);
	if (m->of_root) {
		const struct field parent = { .kind = FIELD_PARENT_ID };
		const struct cond *child =
			cond_cmp(c->mem, parent, CMP_EXISTS, (struct value){ 0 });

		asked_and(&a, child ? cond_not(c->mem, child) : NULL);
	}
	err = !v->row || a.failed ? -ENOMEM
				  : store_values(c->cfg->store, &m->field, a.where, r,
						 (uint32_t)v->size, visit_value, v);
	traceql_free(query);
	return err ? err : write_sorted(v);
}

static void write_values(struct call *c, bool typed)
{
	struct values v = { .j = call_json(c), .mem = c->mem, .typed = typed };
	struct meant m = meaning_of(tag_name(c));
	int err = 0;

	json_open(&v.j, '{');
	json_key(&v.j, "tagValues");
	json_open(&v.j, '[');
	if (m.words) {
		for (const char *const *w = m.words; *w; w++)
			add_value(&v, "keyword", str_of(*w));
	} else if (!m.none) {
		err = find_values(c, &m, &v);
	}
	end_page(&v.j);
	if (err && err != -ECANCELED)
		call_failed(c, err, "values");
}

static void get_values(struct call *c)
{
	write_values(c, false);
}

static void get_values_v2(struct call *c)
{
	write_values(c, true);
}

/* ---- rows ---- */

static const struct param tags[] = {
	{ "scope", PARAM_CHOICE,
	  .choices = "resource|span|intrinsic|event|link|instrumentation|trace|none" },
	{ "start", PARAM_TIME, .required = false },
	{ "end", PARAM_TIME, .required = false },
	{ "limit", PARAM_UINT, .min = 0, .max = 1000000 },
};
static const struct param values[] = {
	{ "tag", PARAM_TEXT, .required = true, .min = 1, .max = 4096 },
	{ "q", PARAM_TEXT, .min = 1, .max = TRACEQL_TEXT_MAX },
	{ "start", PARAM_TIME, .required = false },
	{ "end", PARAM_TIME, .required = false },
	{ "limit", PARAM_UINT, .min = 1, .max = VALUES_MAX },
};

#define ROW(at, function, list)                                                               \
	{                                                                                     \
		"GET", at, function, FAMILY_TEMPO, .slow = true, .stored = true, PARAMS(list) \
	}

static const struct endpoint rows[] = {
	ROW("/api/search/tags", get_tags, tags),
	ROW("/api/v2/search/tags", get_tags_v2, tags),
	ROW("/api/search/tag/{tag}/values", get_values, values),
	ROW("/api/v2/search/tag/{tag}/values", get_values_v2, values),
};

const struct endpoints endpoints_tempo_tags = { rows, ARRAY_LEN(rows) };

/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /traces/search to conditions. */
#include "api/find.h"

#include <errno.h>
#include <stdio.h>

#define ATTRIBUTES_MAX 32
#define TEXT_MAX       4096

static int refuse(char *why, const char *key, const char *must)
{
	snprintf(why, BODY_WHY_MAX, "%s must be %s", key, must);
	return -EINVAL;
}

static struct str text_of(const json_t *v)
{
	return (struct str){ json_string_value(v), json_string_length(v) };
}

/* A copy that outlives the body's tree. */
static int read_text(struct call *c, const json_t *v, const char *key, struct str *ret, char *why)
{
	if (!json_is_string(v) || json_string_length(v) > TEXT_MAX)
		return refuse(why, key, "a string of at most 4096 bytes");
	*ret = arena_str(c->mem, text_of(v));
	return ret->p ? 0 : -ENOMEM;
}

/* By the rules of a parameter of the address: a string, or a number where one makes sense. */
static int read_as(const json_t *v, const char *key, enum param_type type, uint64_t *ret, char *why)
{
	const struct param p = { .name = key, .type = type, .max = UINT64_MAX };
	char number[32];
	struct arg a;
	struct str s;

	if (json_is_integer(v) && type != PARAM_DURATION) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		s = str_of(number);
	} else if (json_is_string(v)) {
		s = text_of(v);
	} else {
		return refuse(why, key,
			      type == PARAM_DURATION ? "a duration such as \"10ms\"" : "a time");
	}
	if (param_read(&p, s, &a, why))
		return -EINVAL;
	*ret = a.number;
	return 0;
}

/* ---- attributes ---- */

static const struct {
	const char *name;
	enum cmp cmp;
} operators[] = {
	{ "=", CMP_EQ },   { "!=", CMP_NE },	     { "<", CMP_LT },  { "<=", CMP_LE },
	{ ">", CMP_GT },   { ">=", CMP_GE },	     { "=~", CMP_RE }, { "regex", CMP_RE },
	{ "!~", CMP_NRE }, { "exists", CMP_EXISTS },
};

static const struct {
	const char *name;
	enum field_kind kind;
} scopes[] = {
	{ "any", FIELD_ATTR },
	{ "span", FIELD_SPAN_ATTR },
	{ "resource", FIELD_RESOURCE_ATTR },
	{ "scope", FIELD_SCOPE_ATTR },
	{ "event", FIELD_EVENT_ATTR },
	{ "link", FIELD_LINK_ATTR },
};

static int read_operator(const json_t *v, enum cmp *ret, char *why)
{
	for (size_t i = 0; i < ARRAY_LEN(operators); i++)
		if (!strcmp(json_string_value(v) ? json_string_value(v) : "", operators[i].name)) {
			*ret = operators[i].cmp;
			return 0;
		}
	return refuse(why, "op", "one of = != < <= > >= =~ !~ regex exists");
}

static int read_scope(const json_t *v, enum field_kind *ret, char *why)
{
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++)
		if (!strcmp(json_string_value(v) ? json_string_value(v) : "", scopes[i].name)) {
			*ret = scopes[i].kind;
			return 0;
		}
	return refuse(why, "scope", "one of any span resource scope event link");
}

static int read_value(struct call *c, const json_t *v, struct value *ret, char *why)
{
	*ret = (struct value){ .type = VALUE_EMPTY };
	if (json_is_integer(v))
		*ret = (struct value){ .type = VALUE_INT, .i = json_integer_value(v) };
	else if (json_is_real(v))
		*ret = (struct value){ .type = VALUE_DOUBLE, .d = json_real_value(v) };
	else if (json_is_boolean(v))
		*ret = (struct value){ .type = VALUE_BOOL, .b = json_is_true(v) };
	else if (json_is_string(v)) {
		ret->type = VALUE_STR;
		return read_text(c, v, "value", &ret->str, why);
	} else {
		return refuse(why, "value", "a string, a number, true or false");
	}
	return 0;
}

/* {key, op, value, scope} as it is written. */
struct comparison {
	struct field field;
	enum cmp cmp;
	struct value value;
	bool has_value;
};

static int read_comparison(struct call *c, const json_t *o, struct comparison *ret, char *why)
{
	const char *key;
	json_t *v;
	int err = 0;

	*ret = (struct comparison){ .field.kind = FIELD_ATTR };
	if (!json_is_object(o))
		return refuse(why, "attributes", "a list of objects with key, op and value");
	json_object_foreach((json_t *)o, key, v)
	{
		if (!strcmp(key, "key")) {
			err = read_text(c, v, "key", &ret->field.key, why);
		} else if (!strcmp(key, "op")) {
			err = read_operator(v, &ret->cmp, why);
		} else if (!strcmp(key, "scope")) {
			err = read_scope(v, &ret->field.kind, why);
		} else if (!strcmp(key, "value")) {
			ret->has_value = true;
			err = read_value(c, v, &ret->value, why);
		} else {
			snprintf(why, BODY_WHY_MAX, "an attribute has no member \"%.64s\"", key);
			err = -EINVAL;
		}
		if (err)
			return err;
	}
	if (!ret->field.key.len)
		return refuse(why, "key", "there for every attribute");
	if (!ret->has_value && ret->cmp != CMP_EXISTS)
		return refuse(why, "value", "there unless op is exists");
	return 0;
}

static int add_comparison(struct call *c, const struct comparison *p, struct asked *a, char *why)
{
	const struct cond *cond = NULL;
	char cause[128] = "";
	int err;

	if (p->cmp != CMP_RE && p->cmp != CMP_NRE) {
		asked_and(a, cond_cmp(a->mem, p->field, p->cmp, p->value));
		return 0;
	}
	if (p->value.type != VALUE_STR)
		return refuse(why, "value", "a regular expression in a string");
	err = cond_regex(a->mem, &c->patterns, p->field, p->cmp == CMP_NRE, p->value.str, &cond,
			 cause);
	if (err == -EINVAL)
		snprintf(why, BODY_WHY_MAX, "value: %s", cause);
	else if (!err)
		asked_and(a, cond);
	return err;
}

static int read_attributes(struct call *c, const json_t *list, struct asked *a, char *why)
{
	const json_t *row;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > ATTRIBUTES_MAX)
		return refuse(why, "attributes", "a list of at most 32");
	json_array_foreach(list, i, row)
	{
		struct comparison p;
		int err = read_comparison(c, row, &p, why);

		if (!err)
			err = add_comparison(c, &p, a, why);
		if (err)
			return err;
	}
	return 0;
}

/* ---- one span ---- */

static int read_kind(const json_t *v, struct asked *a, char *why)
{
	enum span_kind kind;

	if (!json_is_string(v) || !span_kind_parse(text_of(v), &kind))
		return refuse(why, "kind",
			      "one of internal server client producer consumer unspecified");
	asked_int(a, FIELD_KIND, CMP_EQ, kind);
	return 0;
}

static int read_status(const json_t *v, struct asked *a, char *why)
{
	enum span_status status;

	if (!json_is_string(v) || !span_status_parse(text_of(v), &status))
		return refuse(why, "status", "one of unset ok error");
	asked_int(a, FIELD_STATUS, CMP_EQ, status);
	return 0;
}

/* Of an empty name, too: a span may have none. */
static const struct cond *named(struct asked *a, enum field_kind kind, struct str name)
{
	return cond_cmp(a->mem, (struct field){ .kind = kind }, CMP_EQ,
			(struct value){ .type = VALUE_STR, .str = name });
}

int find_read_member(struct call *c, const char *key, const json_t *v, struct asked *a,
		     bool *ret_known, char why[BODY_WHY_MAX])
{
	uint64_t ns;
	struct str s;
	int err;

	*ret_known = true;
	if (!strcmp(key, "service") || !strcmp(key, "operation")) {
		err = read_text(c, v, key, &s, why);
		if (!err)
			asked_and(a, named(a, key[0] == 's' ? FIELD_SERVICE : FIELD_NAME, s));
		return err;
	}
	if (!strcmp(key, "kind"))
		return read_kind(v, a, why);
	if (!strcmp(key, "status"))
		return read_status(v, a, why);
	if (!strcmp(key, "attributes"))
		return read_attributes(c, v, a, why);
	if (!strcmp(key, "min_duration") || !strcmp(key, "max_duration")) {
		err = read_as(v, key, PARAM_DURATION, &ns, why);
		if (!err)
			asked_int(a, FIELD_DURATION, key[1] == 'i' ? CMP_GE : CMP_LE, (int64_t)ns);
		return err;
	}
	*ret_known = false;
	return 0;
}

static int read_selector(struct call *c, const char *name, const json_t *o, struct asked *a,
			 char *why)
{
	const char *key;
	json_t *v;

	if (!json_is_object(o))
		return refuse(why, name, "an object");
	json_object_foreach((json_t *)o, key, v)
	{
		bool known;
		int err = find_read_member(c, key, v, a, &known, why);

		if (!err && !known) {
			snprintf(why, BODY_WHY_MAX, "%s has no member \"%.64s\"", name, key);
			err = -EINVAL;
		}
		if (err)
			return err;
	}
	return 0;
}

/* ---- several spans ---- */

static const struct cond any_span = { .op = COND_TRUE };

static int read_structure(struct call *c, const json_t *o, struct find *f, char *why)
{
	struct asked child = { .mem = c->mem };
	const char *key, *relation = "descendant";
	json_t *v;
	int err = 0;

	if (!json_is_object(o) || !json_object_get(o, "parent") || !json_object_get(o, "child"))
		return refuse(why, "structure", "an object with parent and child");
	json_object_foreach((json_t *)o, key, v)
	{
		if (!strcmp(key, "parent"))
			err = read_selector(c, key, v, &f->asked, why);
		else if (!strcmp(key, "child"))
			err = read_selector(c, key, v, &child, why);
		else if (!strcmp(key, "relation") && json_is_string(v))
			relation = json_string_value(v);
		else
			err = refuse(why, key, "parent, child or relation");
		if (err)
			return err;
	}
	if (strcmp(relation, "child") && strcmp(relation, "descendant"))
		return refuse(why, "relation", "child or descendant");
	f->search.calls_directly = relation[0] == 'c';
	f->search.calls = child.where ? child.where : &any_span;
	return child.failed ? -ENOMEM : 0;
}

static int read_traceql(struct call *c, const json_t *v, struct find *f, char *why)
{
	struct traceql_error fault;
	int err;

	if (!json_is_string(v))
		return refuse(why, "traceql", "a string");
	err = traceql_parse(text_of(v), &f->query, &fault);
	if (err == -EINVAL || err == -EOPNOTSUPP) {
		snprintf(why, BODY_WHY_MAX, "traceql: %.200s", fault.text);
		return -EINVAL;
	}
	if (!err && traceql_is_metrics(f->query))
		return refuse(why, "traceql", "a search, not metrics");
	f->search.query = f->query;
	return err;
}

static int read_page(struct call *c, const json_t *v, struct find *f, char *why)
{
	struct str token;
	int err = read_text(c, v, "page", &token, why);

	if (!err && token.len &&
	    (token.len != SEARCH_TOKEN_MAX - 1 ||
	     strspn(token.p, "0123456789abcdef") != SEARCH_TOKEN_MAX - 1))
		return refuse(why, "page", "what the answer before gave as next");
	f->search.page = err || !token.len ? NULL : token.p;
	return err;
}

static int read_own(struct call *c, const char *key, const json_t *v, struct find *f, char *why)
{
	struct search *q = &f->search;

	if (!strcmp(key, "start"))
		return read_as(v, key, PARAM_TIME, &q->range.from_ns, why);
	if (!strcmp(key, "end"))
		return read_as(v, key, PARAM_TIME, &q->range.to_ns, why);
	if (!strcmp(key, "min_trace_duration"))
		return read_as(v, key, PARAM_DURATION, &q->duration_min_ns, why);
	if (!strcmp(key, "max_trace_duration")) {
		int err = read_as(v, key, PARAM_DURATION, &q->duration_max_ns, why);

		return !err && !q->duration_max_ns ? refuse(why, key, "longer than 0") : err;
	}
	if (!strcmp(key, "structure"))
		return read_structure(c, v, f, why);
	if (!strcmp(key, "traceql"))
		return read_traceql(c, v, f, why);
	if (!strcmp(key, "page"))
		return read_page(c, v, f, why);
	if (!strcmp(key, "limit")) {
		q->limit = (uint32_t)json_integer_value(v);
		return json_is_integer(v) && json_integer_value(v) >= 1 &&
				       json_integer_value(v) <= SEARCH_LIMIT_MAX
			       ? 0
			       : refuse(why, key, "a number from 1 to 1000");
	}
	snprintf(why, BODY_WHY_MAX, "there is no member \"%.64s\"", key);
	return -EINVAL;
}

int find_read(struct call *c, const json_t *root, struct find *ret, char why[BODY_WHY_MAX])
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)root, key, v)
	{
		bool known;
		int err = find_read_member(c, key, v, &ret->asked, &known, why);

		if (!err && !known)
			err = read_own(c, key, v, ret, why);
		if (err)
			return err;
	}
	if (ret->search.range.to_ns && ret->search.range.to_ns <= ret->search.range.from_ns)
		return refuse(why, "start", "before end");
	ret->search.where = ret->asked.where;
	return ret->asked.failed ? -ENOMEM : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule an attribute falls under, and a copy of the span for as far as something changed. */
#include "redact/internal.h"

#include "core/books.h"

#include <stdlib.h>

/* What one span's masked texts may take; past it texts become a single ?. */
#define SCRATCH_MAX (4u << 20)

enum rule {
	RULE_NONE,
	RULE_QUERY,
	RULE_PARAMETER,
	RULE_URL,
	RULE_HEADER,
	RULE_SECRET,
	RULE_MESSAGE
};

enum system { SYSTEM_UNASKED, SYSTEM_NONE, SYSTEM_STANDARD_SQL, SYSTEM_OTHER, SYSTEM_REDIS };

struct redact {
	struct redact_cfg cfg;
	struct span_sink out;
	struct arena *scratch;	 /* of one push */
	bool used;		 /* scratch holds something */
	bool failed;		 /* no room for a list: the span cannot be shown */
	const struct span *span; /* in hand */
	enum system system;	 /* its system, once somebody asked */
	struct books books;
	uint64_t changed;
	struct gauge changed_gauge;
};

/* Systems in which "x" is a name; in all others it may be a literal. */
static const char *const standard_sql[] = {
	"postgresql", "oracle.db",   "oracle",	 "microsoft.sql_server", "mssql",
	"sqlite",     "ibm.db2",     "db2",	 "cockroachdb",		 "aws.redshift",
	"redshift",   "firebirdsql", "hsqldb",	 "h2database",		 "derby",
	"trino",      "cassandra",   "sap.hana",
};

static const char *const secret_headers[] = {
	"authorization", "proxy-authorization", "cookie",	"set-cookie",		"x-api-key",
	"api-key",	 "x-auth-token",	"x-csrf-token", "x-amz-security-token",
};

static bool in_list(struct str s, const char *const *list, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (str_eq_nocase(s, str_of(list[i])))
			return true;
	return false;
}

static enum system find_system(const struct span *s)
{
	struct str name = attrs_str(&s->attrs, "db.system.name");

	if (!name.len)
		name = attrs_str(&s->attrs, "db.system");
	if (!name.len)
		return SYSTEM_NONE;
	if (str_eq(name, STR("redis")) || str_eq(name, STR("valkey")) ||
	    str_eq(name, STR("memcached")))
		return SYSTEM_REDIS;
	return in_list(name, standard_sql, ARRAY_LEN(standard_sql)) ? SYSTEM_STANDARD_SQL
								    : SYSTEM_OTHER;
}

static enum system system_of(struct redact *r)
{
	if (r->system == SYSTEM_UNASKED)
		r->system = find_system(r->span);
	return r->system;
}

static enum rule header_rule(struct str key)
{
	struct str request = STR("http.request.header."), response = STR("http.response.header.");
	struct str name;

	if (str_starts(key, request))
		name = str_from(key, request.len);
	else if (str_starts(key, response))
		name = str_from(key, response.len);
	else
		return RULE_NONE;
	return in_list(name, secret_headers, ARRAY_LEN(secret_headers)) ? RULE_SECRET : RULE_HEADER;
}

/* Names of the conventions as they are and, for spans of older libraries, as they were. */
static enum rule rule_of(struct str key)
{
	if (key.len < 7)
		return RULE_NONE;
	switch (key.p[0]) {
	case 'd':
		if (str_eq(key, STR("db.query.text")) || str_eq(key, STR("db.statement")))
			return RULE_QUERY;
		return str_starts(key, STR("db.query.parameter.")) ? RULE_PARAMETER : RULE_NONE;
	case 'u': return str_starts(key, STR("url.")) ? RULE_URL : RULE_NONE;
	case 'h':
		if (str_eq(key, STR("http.url")) || str_eq(key, STR("http.target")))
			return RULE_URL;
		return header_rule(key);
	case 'e': return str_eq(key, STR("exception.message")) ? RULE_MESSAGE : RULE_NONE;
	default: return RULE_NONE;
	}
}

static struct str mask_text(struct redact *r, enum rule rule, struct str text)
{
	if (!text.len)
		return text;
	switch (rule) {
	case RULE_QUERY:
		if (r->cfg.raw_queries)
			return text;
		if (system_of(r) == SYSTEM_REDIS)
			return redact_redis(r->scratch, text);
		return system_of(r) == SYSTEM_STANDARD_SQL ? redact_sql(r->scratch, text)
							   : redact_mysql(r->scratch, text);
	case RULE_PARAMETER: return r->cfg.raw_queries || text.p[0] == '?' ? text : STR("?");
	case RULE_URL: return redact_url(r->scratch, text);
	case RULE_HEADER:
		return memmem(text.p, text.len, "://", 3) ? redact_url(r->scratch, text) : text;
	case RULE_SECRET: return str_eq(text, STR("REDACTED")) ? text : STR("REDACTED");
	case RULE_MESSAGE:
		return system_of(r) == SYSTEM_NONE ? text : redact_message(r->scratch, text);
	default: return text;
	}
}

static bool mask_str(struct redact *r, enum rule rule, struct str *text)
{
	struct str masked = mask_text(r, rule, *text);
	bool same = masked.p == text->p && masked.len == text->len;

	*text = masked;
	return !same;
}

static void *scratch_copy(struct redact *r, const void *p, size_t size)
{
	void *copy = arena_alloc(r->scratch, size);

	r->used = true;
	if (copy)
		memcpy(copy, p, size);
	else
		r->failed = true;
	return copy;
}

/* A string, or a list of them as headers have it. True when *v is now another value. */
static bool mask_value(struct redact *r, enum rule rule, struct value *v)
{
	struct value *item = NULL;

	if (v->type == VALUE_STR)
		return mask_str(r, rule, &v->str);
	if (v->type != VALUE_ARRAY)
		return false;
	for (size_t i = 0; i < v->array.cnt; i++) {
		struct value one = v->array.item[i];

		if (one.type != VALUE_STR || !mask_str(r, rule, &one.str))
			continue;
		if (!item)
			item = scratch_copy(r, v->array.item, v->array.cnt * sizeof(*item));
		if (!item)
			return false;
		item[i] = one;
	}
	if (item)
		v->array.item = item;
	return item != NULL;
}

static bool mask_attrs(struct redact *r, struct attrs *attrs)
{
	struct attr *item = NULL;

	for (uint32_t i = 0; i < attrs->cnt; i++) {
		enum rule rule = rule_of(attrs->item[i].key);
		struct value v = attrs->item[i].value;

		if (rule == RULE_NONE || !mask_value(r, rule, &v))
			continue;
		if (!item)
			item = scratch_copy(r, attrs->item, attrs->cnt * sizeof(*item));
		if (!item)
			return false;
		item[i].value = v;
	}
	if (item) {
		attrs->item = item;
		attrs->size = attrs->cnt;
	}
	return item != NULL;
}

static bool mask_events(struct redact *r, struct span *s)
{
	struct span_event *events = NULL;

	for (uint32_t i = 0; i < s->event_cnt; i++) {
		struct attrs attrs = s->events[i].attrs;

		if (!mask_attrs(r, &attrs))
			continue;
		if (!events)
			events = scratch_copy(r, s->events, s->event_cnt * sizeof(*events));
		if (!events)
			return false;
		events[i].attrs = attrs;
	}
	if (events)
		s->events = events;
	return events != NULL;
}

static bool mask_links(struct redact *r, struct span *s)
{
	struct span_link *links = NULL;

	for (uint32_t i = 0; i < s->link_cnt; i++) {
		struct attrs attrs = s->links[i].attrs;

		if (!mask_attrs(r, &attrs))
			continue;
		if (!links)
			links = scratch_copy(r, s->links, s->link_cnt * sizeof(*links));
		if (!links)
			return false;
		links[i].attrs = attrs;
	}
	if (links)
		s->links = links;
	return links != NULL;
}

static double read_changed(void *ctx)
{
	return (double)book_read(ctx);
}

struct redact *redact_new(const struct redact_cfg *cfg, struct span_sink out)
{
	struct redact *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->scratch = arena_new(SCRATCH_MAX);
	if (!r->scratch) {
		free(r);
		return NULL;
	}
	r->cfg = *cfg;
	r->out = out;
	r->books = (struct books){ .stage = "redact", .unit = "span", .reason = { "no_memory" } };
	books_register(&r->books);
	r->changed_gauge = (struct gauge){ .name = "redact_changed_total",
					   .help = "spans in which something was masked",
					   .type = "counter",
					   .read = read_changed,
					   .ctx = &r->changed };
	gauges_register(&r->changed_gauge);
	return r;
}

void redact_push(struct redact *r, const struct span *s)
{
	struct span masked = *s;
	bool changed;

	book_add(&r->books.in, 1);
	r->failed = false;
	r->span = s;
	r->system = SYSTEM_UNASKED;
	changed = mask_attrs(r, &masked.attrs);
	changed |= mask_events(r, &masked);
	changed |= mask_links(r, &masked);
	changed |= mask_str(r, RULE_MESSAGE, &masked.status_message);
	book_add(&r->changed, changed);
	if (r->failed) {
		book_add(&r->books.dropped[0], 1);
	} else {
		r->out.push(r->out.ctx, changed ? &masked : s);
		book_add(&r->books.out, 1);
	}
	if (changed || r->used)
		arena_reset(r->scratch);
	r->used = false;
}

void redact_free(struct redact *r)
{
	if (!r)
		return;
	gauges_unregister(&r->changed_gauge);
	books_unregister(&r->books);
	arena_free(r->scratch);
	free(r);
}

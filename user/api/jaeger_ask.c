/* SPDX-License-Identifier: Apache-2.0 */
/* What Jaeger's two APIs ask in the same way. */
#include "api/jaeger_ask.h"

#include "api/body.h"

#define TAGS_MAX 64

/* ---- tags ---- */

/* Tags that Jaeger makes of OTLP's fields are looked for in those. False: an ordinary one. */
static bool ask_field(struct asked *a, struct str key, struct str value)
{
	enum span_kind kind;

	if (str_eq(key, STR("span.kind")) && span_kind_parse(value, &kind)) {
		asked_int(a, FIELD_KIND, CMP_EQ, kind);
	} else if (str_eq(key, STR("error")) && str_eq(value, STR("true"))) {
		asked_int(a, FIELD_STATUS, CMP_EQ, STATUS_ERROR);
	} else if (str_eq(key, STR("error")) && str_eq(value, STR("false"))) {
		asked_int(a, FIELD_STATUS, CMP_LT, STATUS_ERROR);
	} else if (str_eq(key, STR("otel.status_code"))) {
		asked_int(a, FIELD_STATUS, CMP_EQ,
			  str_eq(value, STR("ERROR")) ? STATUS_ERROR
			  : str_eq(value, STR("OK"))  ? STATUS_OK
						      : STATUS_UNSET);
	} else if (str_eq(key, STR("otel.status_description"))) {
		asked_str(a, FIELD_STATUS_MESSAGE, value);
	} else if (str_eq(key, STR("otel.scope.name")) || str_eq(key, STR("otel.library.name"))) {
		asked_str(a, FIELD_SCOPE_NAME, value);
	} else {
		return false;
	}
	return true;
}

static void ask_tag(struct asked *a, struct str key, struct str value)
{
	if (!ask_field(a, key, value))
		asked_and(a, cond_loose(a->mem, (struct field){ FIELD_ATTR, key }, value));
}

static bool ask_tags(struct call *c, const char *param, struct asked *a)
{
	struct str text = arg_text(c, param);
	char why[BODY_WHY_MAX] = "";
	const char *key;
	json_t *root, *v;
	bool fine = true;

	if (!text.len)
		return true;
	root = body_parse(text, why);
	if (!root || json_object_size(root) > TAGS_MAX) {
		json_decref(root);
		call_error(c, 400, "%s must be an object of at most %d strings", param, TAGS_MAX);
		return false;
	}
	json_object_foreach(root, key, v)
	{
		fine = fine && json_is_string(v);
		if (fine)
			ask_tag(a, arena_str(c->mem, str_of(key)),
				arena_str(c->mem, (struct str){ json_string_value(v),
								json_string_length(v) }));
	}
	json_decref(root);
	if (!fine)
		call_error(c, 400, "%s must be an object of strings", param);
	return fine;
}

static bool ask_pairs(struct call *c, const char *param, struct asked *a)
{
	for (const struct arg *p = param ? arg_get(c, param) : NULL; p; p = arg_next(c, p)) {
		ptrdiff_t colon = str_find(p->text, ':');

		if (colon <= 0) {
			call_error(c, 400, "%s must be key:value", param);
			return false;
		}
		ask_tag(a, (struct str){ p->text.p, (size_t)colon },
			str_from(p->text, (size_t)colon + 1));
	}
	return true;
}

/* ---- the search ---- */

bool jaeger_search(struct call *c, const struct jaeger_names *names, uint64_t lookback_ns,
		   uint32_t limit, struct search *ret)
{
	struct asked a = { .mem = c->mem };
	uint64_t shortest = arg_number(c, names->duration_min, 0);
	uint64_t longest = arg_number(c, names->duration_max, 0);
	uint64_t most = arg_number(c, names->limit, arg_number(c, "query.numTraces", limit));
	struct search q = { .limit = (uint32_t)MIN(most, (uint64_t)SEARCH_LIMIT_MAX) };

	if (!ask_range(c, names->start, names->end, lookback_ns, &q.range))
		return false;
	if (longest && longest < shortest) {
		call_error(c, 400, "%s must not be less than %s", names->duration_max,
			   names->duration_min);
		return false;
	}
	asked_str(&a, FIELD_SERVICE, arg_text(c, names->service));
	asked_str(&a, FIELD_NAME, arg_text(c, names->operation));
	asked_str(&a, FIELD_NAME, arg_text(c, "query.spanName")); /* so pages of 2026 call it */
	if (shortest)
		asked_int(&a, FIELD_DURATION, CMP_GE, (int64_t)shortest);
	if (longest)
		asked_int(&a, FIELD_DURATION, CMP_LE, (int64_t)longest);
	if (!ask_tags(c, names->tags, &a) || !ask_pairs(c, names->tag, &a))
		return false;
	if (a.failed) {
		call_error(c, 500, "no memory for this question");
		return false;
	}
	q.where = a.where;
	*ret = q;
	return true;
}

/* Spans without a kind are shown as internal ones, which come next. */
static bool internal_twice(const struct operation *before, const struct operation *o)
{
	return before->kind == SPAN_UNSPECIFIED && o->kind == SPAN_INTERNAL &&
	       str_eq(before->service, o->service) && str_eq(before->name, o->name);
}

uint64_t jaeger_operations(struct json *j, const struct operations *o, const char *kind)
{
	uint64_t cnt = 0;

	json_open(j, '[');
	for (size_t i = 0; i < o->cnt; i++) {
		enum span_kind shown = o->row[i].kind ? o->row[i].kind : SPAN_INTERNAL;
		const char *is = span_kind_name(shown);

		if (kind && !str_eq_nocase(str_of(kind), str_of(is)))
			continue;
		if (i && internal_twice(&o->row[i - 1], &o->row[i]))
			continue;
		json_open(j, '{');
		json_member_str(j, "name", o->row[i].name);
		json_member_str(j, "spanKind", str_of(is));
		json_close(j, '}');
		cnt++;
	}
	json_close(j, ']');
	return cnt;
}

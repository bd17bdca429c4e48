/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document against the server, both ways: every row is documented with its parameters and
 * limits and nothing else is; every documented parameter and status is exercised, the answers are
 * what their schemas say.
 */
#include <ctype.h>
#include <errno.h>

#include "unit/api/shop.h"

#include "api/live.h"
#include "api/sources.h"
#include "unit/api/schema.h"

static json_t *doc;
static struct sources *sources;
static struct store *store;
/* "GET /path 200" for each answer that came. */
static json_t *seen;

/* ---- what is documented ---- */

static json_t *operation_of(const struct endpoint *e)
{
	char method[8] = "";

	for (size_t i = 0; e->method[i] && i < sizeof(method) - 1; i++)
		method[i] = (char)(e->method[i] | 0x20);
	return json_object_get(json_object_get(json_object_get(doc, "paths"), e->path), method);
}

static json_t *parameter_of(const json_t *operation, const char *name)
{
	json_t *p;
	size_t i;

	json_array_foreach(
		json_object_get(operation, "parameters"), i,
		p) if (!strcmp(json_string_value(json_object_get(p, "name")), name)) return p;
	return NULL;
}

static void each_row(void (*visit)(const struct endpoint *e))
{
	for (size_t t = 0; t < endpoints_all_cnt; t++)
		for (size_t i = 0; i < endpoints_all[t]->cnt; i++)
			visit(&endpoints_all[t]->row[i]);
}

static bool is_in_path(const struct endpoint *e, const struct param *p)
{
	const char *at = e->path;
	size_t names = 0;

	for (; *at; at++)
		names += *at == '{';
	return (size_t)(p - e->params) < names;
}

static bool limits_agree(const struct param *p, const json_t *schema)
{
	char choices[512] = "";
	const json_t *one;
	size_t i;

	switch (p->type) {
	case PARAM_TEXT:
		return json_integer_value(json_object_get(schema, "maxLength")) ==
		       (json_int_t)p->max;
	case PARAM_UINT:
		return json_integer_value(json_object_get(schema, "minimum")) ==
			       (json_int_t)p->min &&
		       json_integer_value(json_object_get(schema, "maximum")) == (json_int_t)p->max;
	case PARAM_CHOICE:
		json_array_foreach(json_object_get(schema, "enum"), i, one)
		{
			strcat(choices, i ? "|" : "");
			strcat(choices, json_string_value(one));
		}
		return !strcmp(choices, p->choices);
	case PARAM_BOOL:
		return !strcmp(json_string_value(json_object_get(schema, "type")), "boolean");
	default: return json_object_get(schema, "type") != NULL;
	}
}

static void check_row(const struct endpoint *e)
{
	json_t *operation = operation_of(e);
	size_t documented = json_array_size(json_object_get(operation, "parameters"));

	if (!operation)
		fail_msg("%s %s is not documented", e->method, e->path);
	for (size_t i = 0; i < e->param_cnt; i++) {
		const struct param *p = &e->params[i];
		json_t *d = parameter_of(operation, p->name),
		       *schema = json_object_get(d, "schema");

		if (!d)
			fail_msg("%s %s: parameter %s is not documented", e->method, e->path,
				 p->name);
		if (p->repeated)
			schema = json_object_get(schema, "items");
		if (!schema || !limits_agree(p, schema))
			fail_msg("%s %s: the limits of %s differ", e->method, e->path, p->name);
		assert_int_equal(json_is_true(json_object_get(d, "required")), p->required);
		assert_string_equal(json_string_value(json_object_get(d, "in")),
				    is_in_path(e, p) ? "path" : "query");
	}
	/* a path of both Jaeger and Tempo is documented once, with the parameters of both */
	if (documented != e->param_cnt && strcmp(e->path, "/api/traces/{id}"))
		fail_msg("%s %s has %zu parameters, documented are %zu", e->method, e->path,
			 e->param_cnt, documented);
	assert_int_equal(json_object_get(operation, "requestBody") != NULL, e->body_max > 0);
}

static void rows_and_document_agree(void **state)
{
	json_t *operations, *operation;
	const char *path, *method;

	each_row(check_row);
	json_object_foreach(json_object_get(doc, "paths"), path, operations)
		json_object_foreach(operations, method, operation)
	{
		bool found = !strcmp(method, "servers");

		for (size_t t = 0; t < endpoints_all_cnt; t++)
			for (size_t i = 0; i < endpoints_all[t]->cnt; i++) {
				const struct endpoint *e = &endpoints_all[t]->row[i];

				found = found ||
					(!strcmp(e->path, path) && !strcasecmp(e->method, method));
			}
		if (!found)
			fail_msg("%s %s is documented, but not there", method, path);
	}
}

/* ---- answers ---- */

/* The last answer is one that is documented, and as it is documented. */
static void check_answer(const struct endpoint *e, const char *target)
{
	struct call *c = &shop_call;
	json_t *operation = operation_of(e), *response, *content, *page;
	char key[256], status[8], type[64];

	snprintf(status, sizeof(status), "%u", c->status);
	response = json_object_get(json_object_get(operation, "responses"), status);
	if (!response)
		fail_msg("%s %s: status %s is not documented: %s", e->method, target, status,
			 shop_page);
	snprintf(key, sizeof(key), "%s %s %s", e->method, e->path, status);
	json_object_set_new(seen, key, json_true());
	if (c->status == 204) {
		assert_string_equal(shop_page, "");
		return;
	}
	snprintf(type, sizeof(type), "%.*s", (int)strcspn(c->type, ";"), c->type);
	content = json_object_get(json_object_get(response, "content"), type);
	if (!content)
		fail_msg("%s %s %s: type %s is not documented", e->method, target, status, type);
	if (strcmp(type, "application/json"))
		return;
	page = shop_json();
	if (!schema_fits(doc, json_object_get(content, "schema"), page, "answer"))
		fail_msg("%s %s %s: %s\n%s", e->method, target, status, schema_why, shop_page);
	json_decref(page);
}

static void add_encoded(char *target, const char *text)
{
	size_t len = strlen(target);

	for (; *text; text++)
		len += (size_t)sprintf(target + len,
				       isalnum((unsigned char)*text) ? "%c" : "%%%02x",
				       (unsigned char)*text);
}

static const char *example_of(const json_t *p)
{
	static char number[32];
	const json_t *example = json_object_get(p, "example");

	if (json_is_string(example))
		return json_string_value(example);
	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(example));
	return number;
}

static bool is_source(const struct endpoint *e)
{
	return strstr(e->path, "/sources/{id}") != NULL;
}

static void first_source(void *ctx, const struct source *s)
{
	if (!*(char *)ctx)
		strcpy(ctx, s->id);
}

static void write_path(const struct endpoint *e, const char *id, char *target)
{
	const json_t *operation = operation_of(e);
	const struct param *p = e->params;
	const char *at = e->path;
	char source[SOURCE_ID_MAX] = "";

	if (is_source(e)) {
		sources_api(sources)->list(sources_api(sources)->ctx, first_source, source);
		id = id ? id : source;
	}
	/* where both have it, Jaeger's comes first */
	strcpy(target, e->family == FAMILY_TEMPO ? "/tempo" : "");
	for (; *at; at++) {
		if (*at != '{') {
			strncat(target, at, 1);
			continue;
		}
		add_encoded(target, id ? id : example_of(parameter_of(operation, p->name)));
		p++;
		at = strchr(at, '}');
	}
}

enum with { WITH_ALL, WITH_REQUIRED, WITH_NONE };

/* A request by the document's examples; 'but' has another value. */
static void write_target(const struct endpoint *e, enum with with, const struct param *but,
			 const char *value, char *target)
{
	const json_t *operation = operation_of(e);
	char mark = '?';

	write_path(e, but && is_in_path(e, but) ? value : NULL, target);
	for (const struct param *p = e->params; p < e->params + e->param_cnt; p++) {
		if (is_in_path(e, p) ||
		    (p != but && (with == WITH_NONE || (with == WITH_REQUIRED && !p->required))))
			continue;
		sprintf(target + strlen(target), "%c%s=", mark, p->name);
		add_encoded(target,
			    p == but ? value : example_of(parameter_of(operation, p->name)));
		mark = '&';
	}
}

static char *body_of(const struct endpoint *e)
{
	const json_t *body = json_object_get(operation_of(e), "requestBody");
	const json_t *content =
		json_object_get(json_object_get(body, "content"), "application/json");

	return content ? json_dumps(json_object_get(content, "example"), 0) : NULL;
}

static struct api_live *live;

/* Prepares what rows answer from; a follower is let go. */
static unsigned int ask_row(const struct endpoint *e, const char *target, const char *accept,
			    const char *body)
{
	live_leave(shop_call.follow);
	shop_call.follow = NULL;
	shop_live = live;
	return shop_ask_with(e->method, target, accept, body);
}

static void ask_good(const struct endpoint *e, enum with with)
{
	char target[8192], *body = body_of(e);

	write_target(e, with, NULL, NULL, target);
	if (ask_row(e, target, NULL, body) >= 300)
		fail_msg("%s %s: %u %s", e->method, target, shop_call.status, shop_page);
	check_answer(e, target);
	free(body);
}

static void ask_with_examples(const struct endpoint *e)
{
	/* a source that is deleted is there no more */
	if (!strcmp(e->method, "DELETE"))
		return;
	ask_good(e, WITH_ALL);
	/* by service or by ids */
	if (!e->body_max && strcmp(e->path, "/api/traces"))
		ask_good(e, WITH_REQUIRED);
}

static void examples_are_answered_as_documented(void **state)
{
	each_row(ask_with_examples);
}

/* ---- refusals ---- */

static const char *bad_value(const struct param *p)
{
	static char text[20000];

	if (p->type != PARAM_TEXT)
		return "%?x";
	memset(text, 'x', p->max + 1);
	text[p->max + 1] = 0;
	return text;
}

static void ask_bad(const struct endpoint *e)
{
	static char target[65536];
	char *body = body_of(e);

	for (const struct param *p = e->params; p < e->params + e->param_cnt; p++) {
		write_target(e, WITH_REQUIRED, p, bad_value(p), target);
		if (ask_row(e, target, NULL, body) != 400)
			fail_msg("%s: %s is not refused: %u", e->path, p->name, shop_call.status);
		check_answer(e, e->path);
		if (!p->required || is_in_path(e, p))
			continue;
		write_target(e, WITH_NONE, NULL, NULL, target);
		assert_int_equal(ask_row(e, target, NULL, body), 400);
	}
	free(body);
}

static void every_parameter_is_checked(void **state)
{
	each_row(ask_bad);
}

static void ask_bad_body(const struct endpoint *e)
{
	static char large[300000];
	char target[512];

	if (!e->body_max)
		return;
	write_path(e, NULL, target);
	assert_int_equal(ask_row(e, target, NULL, "{\"a\":"), 400);
	check_answer(e, target);
	assert_int_equal(ask_row(e, target, NULL, "{\"nonsense\":1}"), 400);
	check_answer(e, target);
	memset(large, ' ', sizeof(large) - 1);
	assert_int_equal(ask_row(e, target, NULL, large), 413);
	check_answer(e, target);
	assert_int_equal(ask_row(e, target, NULL, NULL), 415);
	check_answer(e, target);
}

static void bodies_are_checked(void **state)
{
	each_row(ask_bad_body);
}

static void ask_unknown(const struct endpoint *e)
{
	json_t *responses = json_object_get(operation_of(e), "responses");
	char target[8192], *body = body_of(e);

	if (!json_object_get(responses, "404") || !strchr(e->path, '{'))
		goto out;
	write_target(e, WITH_REQUIRED, e->params, "ffffffff", target);
	assert_int_equal(ask_row(e, target, NULL, body), 404);
	check_answer(e, target);
out:
	free(body);
}

static void what_is_not_there_is_a_404(void **state)
{
	static const char none[] = "/api/v3/traces?query.serviceName=nobody&"
				   "query.startTimeMin=1700000000&query.startTimeMax=1700000010";

	each_row(ask_unknown);
	assert_int_equal(shop_ask(none), 404);
	check_answer(shop_call.end, none);
}

static void ask_without_store(const struct endpoint *e)
{
	json_t *responses = json_object_get(operation_of(e), "responses");
	char target[8192], *body = body_of(e);

	write_target(e, WITH_REQUIRED, NULL, NULL, target);
	live = NULL;
	shop_cfg.sources = NULL;
	shop_cfg.store = NULL;
	ask_row(e, target, NULL, body);
	if (json_object_get(responses, "503") && e->family != FAMILY_OWN)
		assert_int_equal(shop_call.status, 503);
	check_answer(e, target);
	shop_cfg.store = store;
	free(body);
}

static bool is_well;

static void health(void *ctx, enum api_health kind,
		   void (*part)(void *part_ctx, const struct api_part *p), void *part_ctx)
{
	part(part_ctx, &(struct api_part){ "capture", is_well, "for a test" });
}

static void without_a_store_there_is_a_reason(void **state)
{
	struct api_live *was = live;

	is_well = false;
	each_row(ask_without_store);
	is_well = true;
	live = was;
	shop_cfg.sources = sources_api(sources);
}

static void the_rest_is_exercised_too(void **state)
{
	static const char *const protobuf[] = { "/traces/" TRACE_A, "/api/traces/" TRACE_A,
						"/tempo/api/traces/" TRACE_A,
						"/api/v2/traces/" TRACE_A };
	struct endpoint source = { .method = "POST", .path = "/traces/sources" };
	char *body, target[128];

	for (size_t i = 0; i < ARRAY_LEN(protobuf); i++) {
		shop_ask_with("GET", protobuf[i], "application/protobuf", NULL);
		assert_int_equal(shop_call.status, 200);
		check_answer(shop_call.end, protobuf[i]);
	}
	shop_ask_with("GET", "/metrics", "application/openmetrics-text", NULL);
	check_answer(shop_call.end, "/metrics");
	assert_int_equal(shop_ask("/tempo/api/traces/" TRACE_A), 200);
	check_answer(shop_call.end, "/tempo/api/traces");
	body = body_of(&source);
	ask_row(&source, source.path, NULL, body);
	assert_int_equal(ask_row(&source, source.path, NULL, body), 409);
	check_answer(shop_call.end, source.path);
	free(body);
	source = (struct endpoint){ .method = "PUT", .path = "/traces/sources/{id}" };
	assert_int_equal(ask_row(&source, "/traces/sources", NULL, NULL), 405);
	assert_int_equal(shop_ask_with("PUT", "/traces/" TRACE_A "/archive", NULL, NULL), 204);
	check_answer(shop_call.end, "archive");
	assert_int_equal(shop_ask("/traces/archive"), 200);
	shop_expect_traces("archive", "A");
	assert_int_equal(shop_ask_with("DELETE", "/traces/" TRACE_A "/archive", NULL, NULL), 204);
	check_answer(shop_call.end, "archive");
	for (int i = 0; i < 2; i++) {
		char id[SOURCE_ID_MAX] = "";

		sources_api(sources)->list(sources_api(sources)->ctx, first_source, id);
		snprintf(target, sizeof(target), "/traces/sources/%s", id);
		assert_int_equal(shop_ask_with("DELETE", target, NULL, NULL), 204);
		check_answer(shop_call.end, target);
	}
}

static bool conflict;

static int apply(void *ctx, const struct source *before, const struct source *after,
		 char why[SOURCE_WHY_MAX])
{
	return conflict ? -EBUSY : 0;
}

static void a_source_in_use_is_a_conflict(void **state)
{
	char id[SOURCE_ID_MAX] = "", target[128];

	assert_int_equal(
		shop_ask_with("POST", "/traces/sources", NULL, "{\"kind\":\"process\",\"pid\":7}"),
		201);
	sources_api(sources)->list(sources_api(sources)->ctx, first_source, id);
	snprintf(target, sizeof(target), "/traces/sources/%s", id);
	conflict = true;
	assert_int_equal(shop_ask_with("PUT", target, NULL, "{\"kind\":\"process\",\"pid\":8}"),
			 409);
	check_answer(shop_call.end, target);
	conflict = false;
}

/* Runs last: was everything that is documented seen? */
static void every_documented_status_came(void **state)
{
	json_t *operations, *operation, *response;
	const char *path, *method, *status;
	char key[256];

	json_object_foreach(json_object_get(doc, "paths"), path,
			    operations) json_object_foreach(operations, method, operation)
		json_object_foreach(json_object_get(operation, "responses"), status, response)
	{
		size_t len = strlen(method);

		if (!strcmp(status, "default"))
			continue;
		snprintf(key, sizeof(key), "%s %s %s", method, path, status);
		for (size_t i = 0; i < len; i++)
			key[i] = (char)(key[i] & ~0x20);
		if (!json_object_get(seen, key))
			fail_msg("%s is documented, but never came", key);
	}
}

static int open_all(void **state)
{
	const struct sources_cfg cfg = { .apply = apply };
	char why[SOURCE_WHY_MAX];

	if (shop_open(state) || sources_open(&cfg, &sources, why))
		return -1;
	store = shop_cfg.store;
	shop_cfg.sources = sources_api(sources);
	shop_cfg.health = health;
	is_well = true;
	live = live_new();
	seen = json_object();
	if (shop_ask("/openapi.json") != 200)
		return -1;
	doc = shop_json();
	return 0;
}

static int close_all(void **state)
{
	live_leave(shop_call.follow);
	shop_call.follow = NULL;
	shop_done();
	live_stop(live);
	live_free(live);
	sources_close(sources);
	json_decref(doc);
	json_decref(seen);
	return shop_close(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_and_document_agree),
		cmocka_unit_test(examples_are_answered_as_documented),
		cmocka_unit_test(every_parameter_is_checked),
		cmocka_unit_test(bodies_are_checked),
		cmocka_unit_test(what_is_not_there_is_a_404),
		cmocka_unit_test(without_a_store_there_is_a_reason),
		cmocka_unit_test(the_rest_is_exercised_too),
		cmocka_unit_test(a_source_in_use_is_a_conflict),
		cmocka_unit_test(every_documented_status_came),
	};

	return cmocka_run_group_tests_name("api/openapi", tests, open_all, close_all);
}

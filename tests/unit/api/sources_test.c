/* SPDX-License-Identifier: Apache-2.0 */
/* What is traced: kept, changed over HTTP's rows, written down. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "api/body.h"
#include "api/call.h"
#include "api/sources.h"

static char dir[] = "/tmp/telltale-sources-XXXXXX";
static char file[64], trail[64];
static struct sources *sources;
static struct api_cfg cfg;
static char page[8192];

/* What was applied, as text. */
static char applied[1024];
static int refuse;

static int apply(void *ctx, const struct source *before, const struct source *after,
		 char why[SOURCE_WHY_MAX])
{
	size_t len = strlen(applied);

	if (refuse) {
		snprintf(why, SOURCE_WHY_MAX, "not now");
		return refuse;
	}
	snprintf(applied + len, sizeof(applied) - len, "[%s>%s]", before ? before->name : "",
		 after ? after->name : "");
	return 0;
}

static void reopen(void)
{
	const struct sources_cfg with = { .file = file, .audit = trail, .apply = apply };
	char why[SOURCE_WHY_MAX];

	sources_close(sources);
	sources = NULL;
	applied[0] = 0;
	assert_int_equal(sources_open(&with, &sources, why), 0);
	cfg.sources = sources_api(sources);
}

static unsigned int ask(const char *method, const char *target, const char *body)
{
	struct call c;

	assert_true(call_init(&c, &cfg));
	c.req.method = str_of(method);
	c.req.target = str_of(target);
	c.req.body_type = STR("application/json; charset=utf-8");
	c.req.body = str_of(body);
	strcpy(c.req.peer, "127.0.0.1");
	if (call_route(&c))
		call_answer(&c);
	snprintf(page, sizeof(page), "%.*s", (int)c.page.len, c.page.p ? c.page.p : "");
	call_fini(&c);
	return c.status;
}

static void the_id_of_page(char *id)
{
	json_t *root = json_loads(page, 0, NULL);

	assert_non_null(root);
	strcpy(id, json_string_value(json_object_get(root, "id")));
	json_decref(root);
}

static size_t lines_of(const char *path, const char *with)
{
	FILE *f = fopen(path, "r");
	char line[4096];
	size_t cnt = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		cnt += strstr(line, with) != NULL;
	fclose(f);
	return cnt;
}

static void sources_are_added_changed_and_removed(void **state)
{
	char target[128], id[SOURCE_ID_MAX];
	struct stat st;

	reopen();
	assert_int_equal(ask("GET", "/traces/sources", NULL), 200);
	assert_string_equal(page, "{\"sources\":[]}\n");
	assert_int_equal(ask("POST", "/traces/sources",
			     "{\"kind\":\"process\",\"name\":\"nginx*\",\"port\":80}"),
			 201);
	the_id_of_page(id);
	assert_string_equal(applied, "[>nginx*]");
	assert_int_equal(ask("POST", "/traces/sources",
			     "{\"kind\":\"process\",\"name\":\"nginx*\",\"port\":80}"),
			 409);
	snprintf(target, sizeof(target), "/traces/sources/%s", id);
	assert_int_equal(ask("PUT", target, "{\"kind\":\"process\",\"name\":\"node\"}"), 200);
	assert_string_equal(applied, "[>nginx*][nginx*>node]");
	reopen();
	assert_string_equal(applied, "[>node]");
	assert_int_equal(ask("GET", "/traces/sources", NULL), 200);
	assert_non_null(strstr(page, "\"name\":\"node\""));
	assert_int_equal(ask("PUT", target,
			     "{\"kind\":\"process\",\"name\":\"node\","
			     "\"enabled\":false}"),
			 200);
	assert_string_equal(applied, "[>node][node>]");
	assert_int_equal(ask("DELETE", target, NULL), 204);
	assert_string_equal(applied, "[>node][node>]");
	assert_int_equal(ask("DELETE", target, NULL), 404);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(lines_of(trail, "\"peer\":\"127.0.0.1\",\"what\":\"add\""), 1);
	assert_int_equal(lines_of(trail, "\"what\":\"change\""), 2);
	assert_int_equal(lines_of(trail, "\"what\":\"remove\""), 1);
	assert_int_equal(lines_of(trail, "\"after\":null}"), 1);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"kind\":\"process\"}",
		"{\"kind\":\"thing\",\"pid\":1}",
		"{\"kind\":\"process\",\"pid\":-1}",
		"{\"kind\":\"process\",\"pid\":99999999999}",
		"{\"kind\":\"process\",\"pid\":\"1\"}",
		"{\"kind\":\"process\",\"port\":65536}",
		"{\"kind\":\"process\",\"name\":\"/bin/sh\"}",
		"{\"kind\":\"process\",\"name\":\"a\\u0001b\"}",
		"{\"kind\":\"process\",\"name\":\"a\\u0000b\"}",
		"{\"kind\":\"process\",\"cgroup\":\"a\"}",
		"{\"kind\":\"process\",\"cgroup\":\"/a/../b\"}",
		"{\"kind\":\"process\",\"pid\":1,\"listen\":\"127.0.0.1:1\"}",
		"{\"kind\":\"process\",\"pid\":1,\"colour\":\"red\"}",
		"{\"kind\":\"process\",\"pid\":1,\"id\":\"mine\"}",
		"{\"kind\":\"receiver\",\"protocol\":\"otlp-http\"}",
		"{\"kind\":\"receiver\",\"protocol\":\"smtp\",\"listen\":\"127.0.0.1:25\"}",
		"{\"kind\":\"receiver\",\"protocol\":\"zipkin\",\"listen\":\"127.0.0.1:0\"}",
		"{\"kind\":\"receiver\",\"protocol\":\"zipkin\",\"listen\":\"127.0.0.1:9411\","
		"\"pid\":1}",
	};

	reopen();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ask("POST", "/traces/sources", bad[i]), 400);
	assert_string_equal(applied, "");
}

static void what_cannot_be_applied_or_kept_is_not_listed(void **state)
{
	const struct sources_cfg nowhere = { .file = "/nowhere/at/all", .apply = apply };
	static const char *const one = "{\"kind\":\"process\",\"pid\":1}";
	struct sources *other = NULL;
	char why[SOURCE_WHY_MAX];

	reopen();
	refuse = -EBUSY;
	assert_int_equal(ask("POST", "/traces/sources", one), 409);
	assert_non_null(strstr(page, "not now"));
	refuse = 0;
	assert_int_equal(ask("GET", "/traces/sources", NULL), 200);
	assert_string_equal(page, "{\"sources\":[]}\n");
	assert_int_equal(sources_open(&nowhere, &other, why), 0);
	cfg.sources = sources_api(other);
	assert_int_equal(ask("POST", "/traces/sources", one), 500);
	assert_string_equal(applied, "[>][>]");
	assert_int_equal(ask("GET", "/traces/sources", NULL), 200);
	assert_string_equal(page, "{\"sources\":[]}\n");
	sources_close(other);
	cfg.sources = NULL;
	assert_int_equal(ask("GET", "/traces/sources", NULL), 503);
}

/* A port that was taken for once does not switch a receiver off for ever. */
static void what_fails_at_one_start_is_tried_at_the_next(void **state)
{
	reopen();
	assert_int_equal(ask("POST", "/traces/sources", "{\"kind\":\"process\",\"name\":\"a\"}"),
			 201);
	refuse = -EBUSY;
	reopen();
	refuse = 0;
	assert_int_equal(ask("GET", "/traces/sources", NULL), 200);
	assert_non_null(strstr(page, "\"enabled\":false"));
	assert_int_equal(ask("POST", "/traces/sources", "{\"kind\":\"process\",\"name\":\"b\"}"),
			 201);
	assert_string_equal(applied, "[>b]");
	reopen();
	assert_string_equal(applied, "[>a][>b]");
	assert_int_equal(ask("GET", "/traces/sources", NULL), 200);
	assert_null(strstr(page, "\"enabled\":false"));
	unlink(file);
}

static void there_is_a_limit(void **state)
{
	char body[64];

	reopen();
	for (int i = 1; i <= SOURCES_MAX; i++) {
		snprintf(body, sizeof(body), "{\"kind\":\"process\",\"pid\":%d}", i);
		assert_int_equal(ask("POST", "/traces/sources", body), 201);
	}
	assert_int_equal(ask("POST", "/traces/sources", "{\"kind\":\"process\",\"port\":1}"), 507);
}

static void a_file_that_is_none_is_said(void **state)
{
	static const char *const bad[] = { "x", "{}", "{\"sources\":[{\"kind\":\"process\"}]}",
					   "{\"sources\":[{\"kind\":\"process\",\"pid\":1}]}" };
	struct sources *other = NULL;
	char why[SOURCE_WHY_MAX];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		FILE *f = fopen(file, "w");

		fputs(bad[i], f);
		fclose(f);
		assert_int_equal(sources_open(&(struct sources_cfg){ .file = file }, &other, why),
				 -EBADMSG);
		assert_non_null(strstr(why, "/sources.json: "));
	}
	assert_null(other);
	sources_close(NULL);
}

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/sources.json", dir);
	snprintf(trail, sizeof(trail), "%s/audit.jsonl", dir);
	return 0;
}

static int teardown(void **state)
{
	sources_close(sources);
	unlink(file);
	unlink(trail);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sources_are_added_changed_and_removed),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(what_cannot_be_applied_or_kept_is_not_listed),
		cmocka_unit_test(what_fails_at_one_start_is_tried_at_the_next),
		cmocka_unit_test(there_is_a_limit),
		cmocka_unit_test(a_file_that_is_none_is_said),
	};

	return cmocka_run_group_tests_name("api/sources", tests, setup, teardown);
}

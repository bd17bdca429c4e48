/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile requests: any method, path, query, header and body gets an answer with a status that HTTP
 * has and, where it is JSON, one that parses. The store is there and empty, so that questions go
 * all the way. Input: "METHOD target\naccept\nbody".
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/call.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct api_cfg cfg = { .deadline_ms = 2000 };
static char dir[] = "/tmp/telltale-fuzz-XXXXXX";

static void remove_store(void)
{
	char command[128];

	store_close(cfg.store);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		fprintf(stderr, "%s stays\n", dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char why[STORE_WHY_MAX];

	if (!mkdtemp(dir) || store_open(&(struct store_cfg){ .where = dir }, &cfg.store, why))
		abort();
	atexit(remove_store);
	return 0;
}

static struct str take_until_char(struct str *s, char c)
{
	ptrdiff_t end = str_find(*s, c);
	struct str part = { s->p, end < 0 ? s->len : (size_t)end };

	*s = str_from(*s, part.len + 1);
	return part;
}

static void check_page(const struct call *c)
{
	json_t *root;

	if (c->status < 200 || c->status > 599 || !c->type)
		abort();
	if (strcmp(c->type, "application/json") || c->status == 204)
		return;
	root = json_loadb(c->page.p, c->page.len, JSON_ALLOW_NUL, NULL);
	if (!root)
		abort();
	json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str left = { (const char *)data, size };
	struct call c;

	if (!call_init(&c, &cfg))
		return 0;
	c.req.method = take_until_char(&left, ' ');
	c.req.target = take_until_char(&left, '\n');
	c.req.accept = take_until_char(&left, '\n');
	c.req.host = STR("localhost");
	c.req.body_type = STR("application/json");
	c.req.body = left;
	if (call_route(&c))
		call_answer(&c);
	check_page(&c);
	call_fini(&c);
	return 0;
}

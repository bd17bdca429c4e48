/* SPDX-License-Identifier: Apache-2.0 */
/* /traces/sources: what is traced, seen and changed over HTTP. */
#include <errno.h>
#include <stdio.h>

#include "api/call.h"
#include "api/source_json.h"

#define SOURCE_BODY_MAX (16u << 10)

static void source_failed(struct call *c, int err, const char *why)
{
	unsigned int status;

	switch (-err) {
	case EINVAL: status = 400; break;
	case ENOENT: status = 404; break;
	case EEXIST:
	case EBUSY: status = 409; break;
	case ENOSPC: status = 507; break;
	default: status = 500; break;
	}
	call_error(c, status, "%s", why[0] ? why : strerror(-err));
}

static bool has_sources(struct call *c)
{
	if (!c->cfg->sources)
		call_error(c, 503, "what is traced cannot be changed here");
	return c->cfg->sources != NULL;
}

static bool read_source(struct call *c, struct source *ret)
{
	char why[BODY_WHY_MAX] = "";
	json_t *root = body_parse(c->body, why);
	bool fine = root && !source_read(root, ret, why);

	json_decref(root);
	if (!fine)
		call_error(c, 400, "%s", why);
	return fine;
}

static void write_row(void *ctx, const struct source *s)
{
	source_write(ctx, s);
}

static void get_sources(struct call *c)
{
	struct json j = call_json(c);

	if (!has_sources(c))
		return;
	json_open(&j, '{');
	json_key(&j, "sources");
	json_open(&j, '[');
	c->cfg->sources->list(c->cfg->sources->ctx, write_row, &j);
	json_close(&j, ']');
	json_close(&j, '}');
	buf_add_char(&c->page, '\n');
}

static void write_source(struct call *c, const struct source *s)
{
	struct json j = call_json(c);

	source_write(&j, s);
	buf_add_char(&c->page, '\n');
}

static void post_source(struct call *c)
{
	char why[SOURCE_WHY_MAX] = "";
	struct source s;
	int err;

	if (!has_sources(c) || !read_source(c, &s))
		return;
	if (s.id[0]) {
		call_error(c, 400, "id is given by the server");
		return;
	}
	err = c->cfg->sources->add(c->cfg->sources->ctx, &s, c->req.peer, why);
	if (err) {
		source_failed(c, err, why);
		return;
	}
	c->status = 201;
	write_source(c, &s);
}

static void put_source(struct call *c)
{
	struct str id = arg_text(c, "id");
	char why[SOURCE_WHY_MAX] = "";
	struct source s;
	int err;

	if (!has_sources(c) || !read_source(c, &s))
		return;
	if (s.id[0] && !str_eq(str_of(s.id), id)) {
		call_error(c, 400, "the body has another id than the path");
		return;
	}
	memcpy(s.id, id.p, id.len);
	s.id[id.len] = 0;
	err = c->cfg->sources->change(c->cfg->sources->ctx, &s, c->req.peer, why);
	if (err)
		source_failed(c, err, why);
	else
		write_source(c, &s);
}

static void delete_source(struct call *c)
{
	char why[SOURCE_WHY_MAX] = "";
	int err;

	if (!has_sources(c))
		return;
	err = c->cfg->sources->remove(c->cfg->sources->ctx, arg_text(c, "id").p, c->req.peer, why);
	if (err)
		source_failed(c, err, why);
	else
		c->status = 204;
}

static const struct param id[] = {
	{ "id", PARAM_TEXT, .required = true, .min = 1, .max = SOURCE_ID_MAX - 1 },
};

/* A change may attach or detach programs: it is not for the thread that answers /health. */
static const struct endpoint rows[] = {
	{ .method = "GET", .path = "/traces/sources", .answer = get_sources },
	{ "POST", "/traces/sources", post_source, .slow = true, .body_max = SOURCE_BODY_MAX },
	{ "PUT", "/traces/sources/{id}", put_source, .slow = true, .body_max = SOURCE_BODY_MAX,
	  PARAMS(id) },
	{ "DELETE", "/traces/sources/{id}", delete_source, .slow = true, PARAMS(id) },
};

const struct endpoints endpoints_sources = { rows, ARRAY_LEN(rows) };

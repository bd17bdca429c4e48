/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to the row that answers it: paths, parameters, bodies, errors. */
#include "api/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/call.h"
#include "core/clock.h"
#include "core/utf8.h"

#define TARGET_MAX  (24u << 10)
#define MESSAGE_MAX 512
#define DEADLINE_MS 30000u

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; charset=utf-8"

/* In order of search: where two families have one path, the first that wants the request. */
const struct endpoints *const endpoints_all[] = {
	&endpoints_self,	  &endpoints_newest,  &endpoints_sources, &endpoints_find,
	&endpoints_chains,	  &endpoints_traces,  &endpoints_jaeger,  &endpoints_jaeger_metrics,
	&endpoints_dependencies,  &endpoints_jaeger3, &endpoints_tempo,	  &endpoints_tempo_tags,
	&endpoints_tempo_metrics,
};
const size_t endpoints_all_cnt = ARRAY_LEN(endpoints_all);

bool call_init(struct call *c, const struct api_cfg *cfg)
{
	*c = (struct call){ .cfg = cfg,
			    .status = 200,
			    .type = TYPE_JSON,
			    .page = { .cap = PAGE_BYTES_MAX },
			    .mem = arena_new(CALL_MEMORY) };
	return c->mem != NULL;
}

void call_fini(struct call *c)
{
	buf_fini(&c->page);
	patterns_free(&c->patterns);
	arena_free(c->mem);
	c->mem = NULL;
}

/* ---- errors ---- */

static void error_own(struct call *c, struct json *j, const char *text)
{
	ptrdiff_t end = str_find(c->req.target, '?');

	json_open(j, '{');
	json_key(j, "error");
	json_open(j, '{');
	json_member_u64(j, "status", c->status);
	json_member_str(j, "message", str_of(text));
	json_member_str(j, "path",
			(struct str){ c->req.target.p, end < 0 ? c->req.target.len : (size_t)end });
	json_close(j, '}');
	json_close(j, '}');
}

static void error_jaeger(struct call *c, struct json *j, const char *text)
{
	buf_add_str(&c->page,
		    STR("{\"data\":null,\"total\":0,\"limit\":0,\"offset\":0,\"errors\":["));
	json_open(j, '{');
	json_member_u64(j, "code", c->status);
	json_member_str(j, "msg", str_of(text));
	json_close(j, '}');
	buf_add_str(&c->page, STR("]}"));
}

static void error_jaeger3(struct call *c, struct json *j, const char *text)
{
	json_open(j, '{');
	json_key(j, "error");
	json_open(j, '{');
	json_member_u64(j, "httpCode", c->status);
	json_member_str(j, "message", str_of(text));
	json_close(j, '}');
	json_close(j, '}');
}

void call_error(struct call *c, unsigned int status, const char *fmt, ...)
{
	struct json j = { .out = &c->page };
	char text[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_clear(&c->page);
	c->status = status;
	c->type = TYPE_JSON;
	switch (c->family) {
	case FAMILY_OWN: error_own(c, &j, text); break;
	case FAMILY_JAEGER: error_jaeger(c, &j, text); break;
	case FAMILY_JAEGER3: error_jaeger3(c, &j, text); break;
	case FAMILY_TEMPO:
		c->type = TYPE_TEXT;
		buf_add_str(&c->page, str_of(text));
		break;
	}
	buf_add_char(&c->page, '\n');
}

void call_failed(struct call *c, int err, const char *what)
{
	switch (-err) {
	case ENOENT: call_error(c, 404, "%s not found", what); break;
	case EINVAL: call_error(c, 400, "%s: not a valid question", what); break;
	case ETIMEDOUT:
		call_error(c, 504,
			   "%s: took longer than the limit for one question; ask for a "
			   "shorter time or a narrower condition",
			   what);
		break;
	case ENOBUFS:
	case E2BIG:
		call_error(c, 500, "%s: that is more than one answer holds; ask for less", what);
		break;
	case EAGAIN: call_error(c, 503, "%s: the store is busy; try again", what); break;
	case EIO:
		call_error(c, 503, "%s: the store cannot be read now; the log says why", what);
		break;
	case ENOSPC: call_error(c, 503, "%s: no room on the disk; nothing was kept", what); break;
	default: call_error(c, 500, "%s: %s", what, strerror(-err)); break;
	}
}

struct json call_json(struct call *c)
{
	return (struct json){ .out = &c->page };
}

bool call_accepts(const struct call *c, const char *type)
{
	struct str left = c->req.accept, want = str_of(type);

	while (left.len) {
		ptrdiff_t comma = str_find(left, ',');
		struct str one = { left.p, comma < 0 ? left.len : (size_t)comma };
		ptrdiff_t semicolon;

		left = str_from(left, one.len + 1);
		semicolon = str_find(one, ';');
		one.len = semicolon < 0 ? one.len : (size_t)semicolon;
		one = str_trim(one);
		if (str_eq_nocase(one, want))
			return true;
		if (str_eq_nocase(one, STR(TYPE_JSON)))
			return false;
	}
	return false;
}

/* ---- paths ---- */

static struct str take_segment(struct str *path)
{
	ptrdiff_t slash = str_find(*path, '/');
	struct str s = { path->p, slash < 0 ? path->len : (size_t)slash };

	*path = slash < 0 ? (struct str){ path->p + path->len, 0 } : str_from(*path, s.len + 1);
	return s;
}

/* Compares segment by segment; what stands for names goes to ret_names. */
static bool path_matches(const char *pattern, struct str path, struct str *ret_names)
{
	struct str want = str_from(str_of(pattern), 1);
	size_t names = 0;

	if (!path.len || path.p[0] != '/')
		return false;
	path = str_from(path, 1);
	while (want.len) {
		struct str w = take_segment(&want), got;

		if (!path.len)
			return false;
		got = take_segment(&path);
		/* "/a" is not "/a/" */
		if (!want.len && !path.len && got.p + got.len != path.p)
			return false;
		if (w.p[0] == '{' && got.len && names < 4)
			ret_names[names++] = got;
		else if (!str_eq(w, got))
			return false;
	}
	return !path.len;
}

/* Takes "/jaeger" or "/tempo" off a path: then only that family is looked at. */
static bool take_prefix(struct str *path, const char *prefix)
{
	struct str p = str_of(prefix);

	if (!str_starts(*path, p) || path->len <= p.len || path->p[p.len] != '/')
		return false;
	*path = str_from(*path, p.len);
	return true;
}

/* Grafana and Tempo's own clients ask for protobuf or name a tenant; the page of Jaeger does
 * neither. */
static bool asks_tempo(const struct call *c)
{
	return c->req.tenant.len || call_accepts(c, "application/protobuf");
}

struct lookup {
	struct str path;
	bool jaeger, tempo; /* asked for by prefix */
	bool like_tempo;
};

static bool is_wanted(const struct lookup *s, enum family f)
{
	if (s->jaeger)
		return f == FAMILY_JAEGER || f == FAMILY_JAEGER3;
	if (s->tempo)
		return f == FAMILY_TEMPO;
	return true;
}

static void note_method(struct buf *allow, const char *method)
{
	if (!allow->len || !memmem(allow->p, allow->len, method, strlen(method)))
		buf_printf(allow, "%s%s", allow->len ? ", " : "", method);
}

/* The row; NULL when there is none, or none of that method: then *ret_allow lists them. */
static const struct endpoint *find_row(const struct lookup *s, struct str method,
				       struct str *ret_names, struct call *c, struct buf *ret_allow)
{
	const struct endpoint *found = NULL;
	bool literal = false; /* a path without names was met: it is not one with names as well */

	if (str_eq(method, STR("HEAD")))
		method = STR("GET");
	for (size_t t = 0; t < endpoints_all_cnt; t++)
		for (size_t i = 0; i < endpoints_all[t]->cnt; i++) {
			const struct endpoint *e = &endpoints_all[t]->row[i];
			struct str names[4];

			if (!is_wanted(s, e->family) || (literal && strchr(e->path, '{')) ||
			    !path_matches(e->path, s->path, names))
				continue;
			literal = literal || !strchr(e->path, '{');
			if (!found)
				c->family = e->family;
			if (!str_eq(str_of(e->method), method)) {
				note_method(ret_allow, e->method);
				continue;
			}
			if (found && !(s->like_tempo && e->family == FAMILY_TEMPO))
				continue;
			found = e;
			c->family = e->family;
			memcpy(ret_names, names, sizeof(names));
		}
	return found;
}

/* ---- parameters ---- */

static const struct param *find_param(const struct endpoint *e, struct str name)
{
	for (size_t i = 0; i < e->param_cnt; i++)
		if (str_eq(str_of(e->params[i].name), name) ||
		    (e->params[i].alias && str_eq(str_of(e->params[i].alias), name)))
			return &e->params[i];
	return NULL;
}

static bool add_arg(struct call *c, const struct param *p, struct str text)
{
	char why[PARAM_WHY_MAX];

	/* forms of other tools' pages send what was left empty */
	if (!text.len && c->family != FAMILY_OWN)
		return true;
	if (c->arg_cnt == ARGS_MAX) {
		call_error(c, 400, "more than %d parameters", ARGS_MAX);
		return false;
	}
	if (!p->repeated && arg_get(c, p->name)) {
		call_error(c, 400, "%s comes twice", p->name);
		return false;
	}
	if (param_read(p, text, &c->args[c->arg_cnt], why)) {
		call_error(c, 400, "%s", why);
		return false;
	}
	c->arg_cnt++;
	return true;
}

static size_t names_in(const char *path)
{
	size_t cnt = 0;

	for (; *path; path++)
		cnt += *path == '{';
	return cnt;
}

static bool read_path_args(struct call *c, const struct str *names)
{
	size_t cnt = names_in(c->end->path);

	for (size_t i = 0; i < cnt; i++) {
		struct str text;

		if (!uri_decode(c->mem, names[i], false, &text)) {
			call_error(c, 400, "%s is not percent-encoded UTF-8",
				   c->end->params[i].name);
			return false;
		}
		if (!add_arg(c, &c->end->params[i], text))
			return false;
	}
	return true;
}

/* Other tools send parameters of their newer versions: those are passed over. Ours are all known,
 * and a misspelt one must not widen a search silently. */
static bool read_query(struct call *c, struct str query)
{
	size_t in_path = names_in(c->end->path);
	struct str raw_name, raw_value, name, value;

	while (uri_take_pair(&query, &raw_name, &raw_value)) {
		const struct param *p;

		if (!uri_decode(c->mem, raw_name, true, &name) ||
		    !uri_decode(c->mem, raw_value, true, &value)) {
			call_error(c, 400, "the query is not percent-encoded UTF-8");
			return false;
		}
		p = find_param(c->end, name);
		if (p && (size_t)(p - c->end->params) < in_path)
			p = NULL;
		if (!p && c->family == FAMILY_OWN) {
			call_error(c, 400, "there is no parameter " STR_FMT,
				   (int)MIN(name.len, (size_t)64), name.p);
			return false;
		}
		if (p && !add_arg(c, p, value))
			return false;
	}
	for (size_t i = 0; i < c->end->param_cnt; i++)
		if (c->end->params[i].required && !arg_get(c, c->end->params[i].name)) {
			call_error(c, 400, "parameter %s is required", c->end->params[i].name);
			return false;
		}
	return true;
}

const struct arg *arg_get(const struct call *c, const char *name)
{
	for (size_t i = 0; i < c->arg_cnt; i++)
		if (!strcmp(c->args[i].param->name, name))
			return &c->args[i];
	return NULL;
}

const struct arg *arg_next(const struct call *c, const struct arg *after)
{
	for (size_t i = (size_t)(after - c->args) + 1; i < c->arg_cnt; i++)
		if (c->args[i].param == after->param)
			return &c->args[i];
	return NULL;
}

struct str arg_text(const struct call *c, const char *name)
{
	const struct arg *a = arg_get(c, name);

	return a ? a->text : (struct str){ NULL, 0 };
}

uint64_t arg_number(const struct call *c, const char *name, uint64_t otherwise)
{
	const struct arg *a = arg_get(c, name);

	return a ? a->number : otherwise;
}

/* ---- the whole ---- */

/* Digits and dots: an address. */
static bool is_numbers(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
	return true;
}

bool host_is_local(struct str s)
{
	static const struct str name = { "localhost", 9 };
	ptrdiff_t colon;

	if (!s.len || s.p[0] == '[')
		return true;
	colon = str_find(s, ':');
	if (colon >= 0)
		s.len = (size_t)colon;
	if (is_numbers(s))
		return true;
	if (s.len < name.len || !str_eq_nocase(str_from(s, s.len - name.len), name))
		return false;
	return s.len == name.len || s.p[s.len - name.len - 1] == '.';
}

/* A page of another origin may send, though not read; nothing it sends is taken. */
static bool is_welcome(struct call *c)
{
	struct str host = c->req.host, origin = c->req.origin;

	if (c->loopback && !host_is_local(host)) {
		call_error(c, 403,
			   "this server listens on a loopback address; call it by localhost or by "
			   "an address");
		return false;
	}
	if (str_eq(c->req.method, STR("GET")) || str_eq(c->req.method, STR("HEAD")) || !origin.len)
		return true;
	if (str_starts(origin, STR("http://")))
		origin = str_from(origin, 7);
	if (!str_eq_nocase(origin, host)) {
		call_error(c, 403, "a page of another origin may not change anything here");
		return false;
	}
	return true;
}

bool call_route(struct call *c)
{
	ptrdiff_t mark = str_find(c->req.target, '?');
	struct lookup s = { .path = { c->req.target.p,
				      mark < 0 ? c->req.target.len : (size_t)mark } };
	struct buf allow = { .cap = 128 };
	struct str names[4];

	if (!is_welcome(c))
		return false;
	if (c->req.target.len > TARGET_MAX) {
		call_error(c, 414, "the address is longer than %u bytes", TARGET_MAX);
		return false;
	}
	s.jaeger = take_prefix(&s.path, "/jaeger");
	s.tempo = !s.jaeger && take_prefix(&s.path, "/tempo");
	s.like_tempo = asks_tempo(c);
	c->end = find_row(&s, c->req.method, names, c, &allow);
	if (!c->end && allow.len) {
		if (memmem(allow.p, allow.len, "GET", 3))
			buf_add_str(&allow, STR(", HEAD"));
		call_error(c, 405, "only " STR_FMT " are allowed", STR_ARG(buf_str(&allow)));
		c->allow = arena_str(c->mem, buf_str(&allow)).p;
	} else if (!c->end) {
		call_error(c, 404, "there is no such page; /openapi.json lists all");
	}
	buf_fini(&allow);
	return c->end && read_path_args(c, names) &&
	       read_query(c, mark < 0 ? (struct str){ NULL, 0 }
				      : str_from(c->req.target, (size_t)mark + 1));
}

static bool body_is_fine(struct call *c)
{
	struct str type = c->req.body_type;
	ptrdiff_t semicolon = str_find(type, ';');

	type.len = semicolon < 0 ? type.len : (size_t)semicolon;
	if (!c->end->body_max)
		return true;
	if (!str_eq_nocase(str_trim(type), STR(TYPE_JSON)))
		call_error(c, 415, "the body must be application/json");
	else if (c->req.body.len > c->end->body_max)
		call_error(c, 413, "the body has more than %zu bytes", c->end->body_max);
	else if (!utf8_valid(c->req.body))
		call_error(c, 400, "the body is not UTF-8");
	else
		return true;
	return false;
}

void call_answer(struct call *c)
{
	uint32_t ms = c->cfg->deadline_ms ? c->cfg->deadline_ms : DEADLINE_MS;

	if (!body_is_fine(c))
		return;
	c->body = c->req.body;
	c->deadline_ns = clock_mono_ns() + ms * NS_PER_MS;
	if (c->end->stored && !c->cfg->store) {
		call_error(c, 503, "no store is open here%s%s", c->cfg->no_store ? ": " : "",
			   c->cfg->no_store ? c->cfg->no_store : "");
		return;
	}
	c->end->answer(c);
	if (c->page.failed)
		call_failed(c, -ENOBUFS, "answer");
}

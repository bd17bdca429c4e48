/* SPDX-License-Identifier: Apache-2.0 */
/* The YAML file: one mapping of option names to a value or a list of values. */
#include "config/internal.h"
#include "core/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define FILE_MAX_LEN (1u << 20)

struct reader {
	struct config *c;
	const char *path;
	char *why;
	yaml_parser_t parser;
};

static int fail_at(struct reader *r, yaml_mark_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail_at(struct reader *r, yaml_mark_t at, const char *fmt, ...)
{
	char text[CONFIG_WHY_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* the path may be long; what is wrong must still fit */
	snprintf(r->why, CONFIG_WHY_MAX, "%.200s:%zu:%zu: %.280s", r->path, at.line + 1,
		 at.column + 1, text);
	return -EINVAL;
}

/* Takes the next event; the caller deletes it. */
static int next_event(struct reader *r, yaml_event_t *ret)
{
	if (yaml_parser_parse(&r->parser, ret))
		return 0;
	if (r->parser.error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (r->parser.error == YAML_READER_ERROR) {
		snprintf(r->why, CONFIG_WHY_MAX, "%.200s: byte %zu: %s", r->path,
			 r->parser.problem_offset,
			 r->parser.problem ? r->parser.problem : "not UTF-8 text");
		return -EINVAL;
	}
	return fail_at(r, r->parser.problem_mark, "not valid YAML: %s",
		       r->parser.problem ? r->parser.problem : "cannot be read");
}

static int fail_kind(struct reader *r, const yaml_event_t *e, const char *expected)
{
	const char *found = "the end of the file";

	if (e->type == YAML_MAPPING_START_EVENT)
		found = "a mapping";
	else if (e->type == YAML_SEQUENCE_START_EVENT)
		found = "a list";
	else if (e->type == YAML_ALIAS_EVENT)
		found = "an alias";
	else if (e->type == YAML_SCALAR_EVENT)
		found = "a single value";
	else if (e->type == YAML_DOCUMENT_START_EVENT)
		found = "a second document";
	return fail_at(r, e->start_mark, "expected %s, found %s", expected, found);
}

static struct str scalar(const yaml_event_t *e)
{
	return (struct str){ (const char *)e->data.scalar.value, e->data.scalar.length };
}

static int set_scalar(struct reader *r, const struct option *o, const yaml_event_t *e)
{
	struct source src = { .rank = RANK_FILE };
	yaml_mark_t at = e->start_mark;

	src.where = arena_printf(r->c->private->mem, "%.200s:%zu:%zu", r->path, at.line + 1,
				 at.column + 1)
			    .p;
	return src.where ? option_set(r->c, o, &src, scalar(e), r->why) : -ENOMEM;
}

static bool takes_many(const struct option *o)
{
	return o->type == OPT_LIST || o->type == OPT_PIDS || o->type == OPT_PORTS ||
	       (o->type == OPT_WORDS && o->max > 1);
}

static int read_list(struct reader *r, const struct option *o)
{
	yaml_event_t e;
	bool more = true;
	int err;

	while (more) {
		err = next_event(r, &e);
		if (err)
			return err;
		if (e.type == YAML_SEQUENCE_END_EVENT)
			more = false;
		else if (e.type == YAML_SCALAR_EVENT)
			err = set_scalar(r, o, &e);
		else
			err = fail_kind(r, &e, "a value");
		yaml_event_delete(&e);
		if (err)
			return err;
	}
	return 0;
}

static int read_value(struct reader *r, const struct option *o)
{
	yaml_event_t e;
	int err = next_event(r, &e);

	if (err)
		return err;
	if (e.type == YAML_SCALAR_EVENT)
		err = set_scalar(r, o, &e);
	else if (e.type == YAML_SEQUENCE_START_EVENT && takes_many(o))
		err = read_list(r, o);
	else
		err = fail_kind(r, &e, takes_many(o) ? "a value or a list of values" : "a value");
	yaml_event_delete(&e);
	return err;
}

static int read_key(struct reader *r, const yaml_event_t *e)
{
	const struct option *o = option_find(scalar(e));
	char hint[NAME_MAX_LEN + 32];
	struct suggest s;

	if (!o || o->flags & (OPTION_FLAG_ONLY | OPTION_NOT_FILE)) {
		s = suggest_option(scalar(e), COMMAND_NONE);
		return fail_at(r, e->start_mark, "unknown key \"%.64s\"%s",
			       (const char *)e->data.scalar.value,
			       o ? "" : suggest_text(&s, "", hint));
	}
	if (r->c->private->rank[o - config_table] == RANK_FILE)
		return fail_at(r, e->start_mark, "%s is given twice, first at %s", o->name,
			       r->c->private->origin[o - config_table]);
	return read_value(r, o);
}

static int read_mapping(struct reader *r)
{
	yaml_event_t e;
	bool more = true;
	int err;

	while (more) {
		err = next_event(r, &e);
		if (err)
			return err;
		if (e.type == YAML_MAPPING_END_EVENT)
			more = false;
		else if (e.type == YAML_SCALAR_EVENT)
			err = read_key(r, &e);
		else
			err = fail_kind(r, &e, "an option's name");
		yaml_event_delete(&e);
		if (err)
			return err;
	}
	return 0;
}

/* An empty file, or one of comments only, sets nothing. */
static int read_stream(struct reader *r)
{
	bool seen = false;

	for (;;) {
		yaml_event_t e;
		int err = next_event(r, &e);
		bool end;

		if (err)
			return err;
		end = e.type == YAML_STREAM_END_EVENT;
		if (e.type == YAML_MAPPING_START_EVENT && !seen) {
			seen = true;
			err = read_mapping(r);
		} else if (e.type == YAML_DOCUMENT_START_EVENT && seen) {
			err = fail_kind(r, &e, "one document");
		} else if (e.type == YAML_SCALAR_EVENT && !e.data.scalar.length) {
			seen = true; /* "---" alone */
		} else if (e.type == YAML_SCALAR_EVENT || e.type == YAML_SEQUENCE_START_EVENT ||
			   e.type == YAML_ALIAS_EVENT) {
			err = fail_kind(r, &e, "options as \"name: value\"");
		}
		yaml_event_delete(&e);
		if (err || end)
			return err;
	}
}

int config_read_yaml(struct config *c, const char *path, struct str text, char why[CONFIG_WHY_MAX])
{
	struct reader r = { .c = c, .path = path, .why = why };
	int err;

	if (!yaml_parser_initialize(&r.parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.len);
	err = read_stream(&r);
	yaml_parser_delete(&r.parser);
	return err;
}

static int read_all(int fd, struct buf *out)
{
	for (;;) {
		ssize_t n;
		int err = buf_reserve(out, 4096);

		if (err)
			return err == -ENOBUFS ? -EFBIG : err;
		n = read(fd, out->p + out->len, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		out->len += (size_t)n;
	}
}

int config_read_file(struct config *c, const char *path, char why[CONFIG_WHY_MAX])
{
	struct buf text = { .cap = FILE_MAX_LEN };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? -errno : read_all(fd, &text);

	if (err)
		snprintf(why, CONFIG_WHY_MAX, "cannot read the configuration file %.200s: %s", path,
			 strerror(-err));
	else
		err = config_read_yaml(c, path, buf_str(&text), why);
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Files of trees or OTLP/JSON lines, and which traces go into them. */
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/glob.h"
#include "export/export.h"

struct output {
	const char *service; /* of the configuration */
	uint64_t min_duration_ns;
	bool errors;
	bool json;
	struct otlp_file *otlp;
	FILE *file; /* of trees */
	struct tree_opts tree;
	struct buf text;
	int err;
};

static bool is_json(const struct config *c, const char *path)
{
	const char *origin = config_origin(c, "format");
	const char *dot = path ? strrchr(path, '.') : NULL;

	/* the name of the file decides only where nobody else did */
	if (c->format == CONFIG_FORMAT_OTLP_JSON || !origin || strcmp(origin, "default") != 0)
		return c->format == CONFIG_FORMAT_OTLP_JSON;
	return dot && (!strcmp(dot, ".json") || !strcmp(dot, ".jsonl"));
}

static bool wants(const struct output *o, const struct span *s)
{
	return (!o->service || glob_match(o->service, s->resource->service)) &&
	       s->end_ns - s->start_ns >= o->min_duration_ns &&
	       (!o->errors || s->status == STATUS_ERROR);
}

static bool filters(const struct output *o)
{
	return o->service || o->min_duration_ns || o->errors;
}

static void set_error(struct output *o, int err)
{
	if (!o->err)
		o->err = err;
}

static void write_tree(struct output *o, const struct trace *t)
{
	int err;

	buf_clear(&o->text);
	err = tree_print(t, &o->tree, &o->text);
	if (err)
		set_error(o, err);
	else if (fwrite(o->text.p, 1, o->text.len, o->file) != o->text.len || fflush(o->file))
		set_error(o, -errno);
	o->tree.labels = false;
}

static void push_trace(void *ctx, const struct trace *t)
{
	struct output *o = ctx;
	bool wanted = !filters(o);

	for (uint32_t i = 0; i < t->span_cnt && !wanted; i++)
		wanted = wants(o, t->spans[i]);
	if (!wanted || o->err)
		return;
	if (!o->json) {
		write_tree(o, t);
		return;
	}
	for (uint32_t i = 0; i < t->span_cnt; i++)
		otlp_file_push(o->otlp, t->spans[i]);
}

static void push_span(void *ctx, const struct span *s)
{
	otlp_file_push(((struct output *)ctx)->otlp, s);
}

static void tick(void *ctx, uint64_t now_ns)
{
	struct output *o = ctx;

	if (o->otlp && !o->err)
		set_error(o, otlp_file_flush(o->otlp));
}

int output_open(const struct config *c, const char *path, struct output **ret_output)
{
	static const char *const color_modes[] = { "auto", "always", "never" };
	struct output *o = calloc(1, sizeof(*o));
	int err = 0;

	if (!o)
		return -ENOMEM;
	o->service = c->service;
	o->min_duration_ns = c->min_duration_ns;
	o->errors = c->errors;
	o->json = is_json(c, path);
	if (o->json) {
		err = otlp_file_open(path ? path : "/dev/stderr", &o->otlp);
	} else {
		o->file = !path ? stderr : !strcmp(path, "-") ? stdout : fopen(path, "we");
		err = o->file ? 0 : -errno;
	}
	if (err) {
		fprintf(stderr, "telltale: cannot write to %s: %s\n", path, strerror(-err));
		output_free(o);
		return err;
	}
	if (o->file)
		o->tree.term = term_of(fileno(o->file), color_modes[c->color]);
	o->tree.labels = true;
	*ret_output = o;
	return 0;
}

void output_connect(struct output *o, struct pipe_cfg *cfg)
{
	if (o->json && !filters(o))
		cfg->spans[0] = (struct span_sink){ o, push_span };
	else
		cfg->traces = (struct trace_sink){ o, push_trace };
	cfg->tick = tick;
	cfg->tick_ctx = o;
}

int output_error(void *output)
{
	return ((struct output *)output)->err;
}

int output_flush(void *output)
{
	struct output *o = output;
	int err = 0;

	if (o->otlp) {
		err = otlp_file_close(o->otlp);
		o->otlp = NULL;
	} else if (o->file && o->file != stderr && o->file != stdout) {
		err = fclose(o->file) ? -errno : 0;
		o->file = NULL;
	} else if (o->file && fflush(o->file)) {
		err = -errno;
	}
	if (err)
		set_error(o, err);
	return o->err;
}

void output_free(struct output *o)
{
	if (!o)
		return;
	output_flush(o);
	buf_fini(&o->text);
	free(o);
}

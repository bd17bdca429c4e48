/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, and the order of all sources. */
#include "config/config.h"
#include "config/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* One flag of the command line, kept until the weaker sources have been read. */
struct flag {
	const struct option *o;
	struct str text;
	const char *where;
};

struct line {
	struct config *c;
	char *const *argv;
	int argc, at;
	struct flag *flags;
	size_t flag_cnt;
	char *why;
};

static int fail(char why[CONFIG_WHY_MAX], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int fail(char why[CONFIG_WHY_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONFIG_WHY_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static enum command command_find(struct str name)
{
	for (int i = COMMAND_RUN; i < COMMAND_MAX; i++) {
		if (str_eq(str_of(config_commands[i].name), name))
			return (enum command)i;
	}
	return COMMAND_NONE;
}

static int fail_command(struct str name, char why[CONFIG_WHY_MAX])
{
	struct suggest s = suggest_for(name);
	char hint[NAME_MAX_LEN + 32];

	for (int i = COMMAND_RUN; i < COMMAND_MAX; i++)
		suggest_offer(&s, str_of(config_commands[i].name));
	return fail(why, "%.64s: unknown command%s; see telltale --help", name.p,
		    suggest_text(&s, "", hint));
}

/* A flag that no row of this command fits. */
static int fail_flag(struct line *l, struct str name, const char *dashes)
{
	const char *command = config_command_name(l->c->command);
	const struct option *o = dashes[1] ? option_find(name) : NULL;
	struct suggest s = suggest_option(name, l->c->command);
	char hint[NAME_MAX_LEN + 32];

	if (o)
		return fail(l->why, "--%s: not an option of telltale %s; see telltale %s --help",
			    o->name, command, command);
	return fail(l->why, "%s%.*s: unknown option%s; see telltale %s --help", dashes,
		    (int)MIN(name.len, (size_t)64), name.p,
		    dashes[1] ? suggest_text(&s, "--", hint) : "", command);
}

static int flag_add(struct line *l, const struct option *o, struct str text, const char *where)
{
	l->flags[l->flag_cnt++] = (struct flag){ o, text, where };
	return where ? 0 : -ENOMEM;
}

static int flag_action(struct line *l, const struct option *o)
{
	if (o->letter == 'h') {
		l->c->help_topic = l->c->command;
		l->c->command = COMMAND_HELP;
	} else {
		l->c->command = COMMAND_VERSION;
	}
	return 0;
}

static int flag_value(struct line *l, const struct option *o, struct str *ret)
{
	if (l->at + 1 >= l->argc)
		return fail(l->why, "--%s: expected %s after it; see telltale %s --help", o->name,
			    o->arg ? o->arg : "a value", config_command_name(l->c->command));
	*ret = str_of(l->argv[++l->at]);
	return 0;
}

/* --name VALUE, --name=VALUE, --name, --no-name */
static int long_flag(struct line *l, struct str name)
{
	struct arena *mem = l->c->private->mem;
	ptrdiff_t eq = str_find(name, '=');
	struct str value = eq < 0 ? (struct str){ NULL, 0 } : str_from(name, (size_t)eq + 1);
	bool has_value = eq >= 0, no = false;
	const struct option *o;
	int err = 0;

	if (has_value)
		name.len = (size_t)eq;
	o = option_find(name);
	if (!o && str_starts(name, STR("no-"))) {
		o = option_find(str_from(name, 3));
		no = o && o->type == OPT_BOOL;
	}
	if (!o || !option_belongs(o, l->c->command) || (str_starts(name, STR("no-")) && !no))
		return fail_flag(l, name, "--");
	if (o->type == OPT_ACTION || no) {
		if (has_value)
			return fail(l->why, "--" STR_FMT ": takes no value", STR_ARG(name));
		if (o->type == OPT_ACTION)
			return flag_action(l, o);
	}
	if (o->type == OPT_BOOL && !has_value)
		value = no ? STR("false") : STR("true");
	else if (!has_value)
		err = flag_value(l, o, &value);
	if (err)
		return err;
	return flag_add(l, o, value, arena_printf(mem, "--" STR_FMT, STR_ARG(name)).p);
}

static const struct option *letter_find(char letter, enum command command)
{
	for (size_t i = 0; i < config_table_cnt; i++) {
		if (letter && config_table[i].letter == letter &&
		    option_belongs(&config_table[i], command))
			return &config_table[i];
	}
	return NULL;
}

/* -p12, -p 12, -qh */
static int short_flags(struct line *l, struct str letters)
{
	for (; letters.len; letters = str_from(letters, 1)) {
		const struct option *o = letter_find(letters.p[0], l->c->command);
		struct str value = str_from(letters, 1);
		const char *where;
		int err = 0;

		if (!o)
			return fail_flag(l, (struct str){ letters.p, 1 }, "-");
		if (o->type == OPT_ACTION)
			return flag_action(l, o);
		where = arena_printf(l->c->private->mem, "-%c", o->letter).p;
		if (o->type == OPT_BOOL) {
			err = flag_add(l, o, STR("true"), where);
			if (err)
				return err;
			continue;
		}
		if (!value.len)
			err = flag_value(l, o, &value);
		return err ? err : flag_add(l, o, value, where);
	}
	return 0;
}

static bool line_ended(const struct config *c)
{
	return (c->command == COMMAND_HELP && c->help_topic != COMMAND_NONE) ||
	       c->command == COMMAND_VERSION;
}

static int check_args(struct line *l, const struct command_info *info)
{
	struct config *c = l->c;

	if (c->argc < info->args_min)
		return fail(l->why, "%s: expected %s; see telltale %s --help", info->name,
			    info->args_name, info->name);
	if (c->argc > info->args_max)
		return fail(l->why, "%s: %.64s is one argument too many; see telltale %s --help",
			    info->name, c->argv[info->args_max], info->name);
	return 0;
}

/* All that is left is positional. */
static int rest_args(struct line *l, const struct command_info *info)
{
	struct config *c = l->c;
	char **words = (char **)c->argv;

	for (; l->at < l->argc; l->at++)
		words[c->argc++] = l->argv[l->at];
	return check_args(l, info);
}

/* Flags and at most info->args_max positional arguments, in any order unless info->rest. */
static int read_line(struct line *l)
{
	struct config *c = l->c;
	const struct command_info *info = &config_commands[c->command];
	char **words = arena_alloc(c->private->mem, ((size_t)l->argc + 1) * sizeof(*words));
	int err = words ? 0 : -ENOMEM;

	c->argv = words;
	for (; !err && l->at < l->argc && !line_ended(c); l->at++) {
		struct str arg = str_of(l->argv[l->at]);
		bool option = arg.len > 1 && arg.p[0] == '-';

		if (str_eq(arg, STR("--")) || (!option && info->rest)) {
			l->at += option ? 1 : 0;
			return rest_args(l, info);
		}
		if (!option) {
			words[c->argc++] = l->argv[l->at];
		} else if (arg.p[1] == '-') {
			err = long_flag(l, str_from(arg, 2));
		} else {
			err = short_flags(l, str_from(arg, 1));
		}
	}
	return err || line_ended(c) ? err : check_args(l, info);
}

static int read_command(struct line *l)
{
	struct str name;

	if (l->argc < 2)
		return 0;
	name = str_of(l->argv[1]);
	if (str_eq(name, STR("--help")) || str_eq(name, STR("-h"))) {
		l->c->command = COMMAND_HELP;
		return 0;
	}
	if (str_eq(name, STR("--version")) || str_eq(name, STR("-V"))) {
		l->c->command = COMMAND_VERSION;
		return 0;
	}
	if (name.len && name.p[0] == '-')
		return fail(l->why,
			    "%.64s: expected a command first, as in telltale run; see "
			    "telltale --help",
			    name.p);
	l->c->command = command_find(name);
	if (l->c->command == COMMAND_NONE)
		return fail_command(name, l->why);
	l->at = 2;
	return read_line(l);
}

static int help_topic(struct config *c, char why[CONFIG_WHY_MAX])
{
	if (c->command != COMMAND_HELP || c->help_topic != COMMAND_NONE || c->argc == 0)
		return 0;
	c->help_topic = command_find(str_of(c->argv[0]));
	return c->help_topic == COMMAND_NONE ? fail_command(str_of(c->argv[0]), why) : 0;
}

static int read_defaults(struct config *c, char why[CONFIG_WHY_MAX])
{
	struct source src = { RANK_DEFAULT, "default" };

	for (const struct option *o = config_table; o < config_table + config_table_cnt; o++) {
		int err;

		c->private->origin[o - config_table] = src.where;
		if (!o->fallback)
			continue;
		err = option_set(c, o, &src, str_of(o->fallback), why);
		if (err)
			return err;
	}
	return 0;
}

/* The file's name may come from a flag or a variable, both read after the file itself. */
static const char *config_path(const struct line *l, char *const *env)
{
	const char *path = NULL;

	for (; env && *env; env++) {
		if (strncmp(*env, "TELLTALE_CONFIG=", 16) == 0 && (*env)[16])
			path = *env + 16;
	}
	for (size_t i = 0; i < l->flag_cnt; i++) {
		if (strcmp(l->flags[i].o->name, "config") == 0)
			path = l->flags[i].text.p;
	}
	return path;
}

static int read_sources(struct line *l, char *const *env)
{
	struct config *c = l->c;
	const char *path = config_path(l, env);
	int err = read_defaults(c, l->why);

	if (!err)
		err = config_read_otel(c, env, l->why);
	if (!err && path)
		err = config_read_file(c, path, l->why);
	if (!err)
		err = config_read_env(c, env, l->why);
	for (size_t i = 0; !err && i < l->flag_cnt; i++) {
		struct source src = { RANK_FLAG, l->flags[i].where };
		err = option_set(c, l->flags[i].o, &src, l->flags[i].text, l->why);
	}
	return err;
}

static enum rank rank_of(const struct config *c, const char *name)
{
	return (enum rank)c->private->rank[option_find(str_of(name)) - config_table];
}

/* OTLP/HTTP, "Endpoint URLs for OTLP/HTTP": the base gets the signal's path, with one slash. */
static const char *whole_url(const struct config *c, const char *endpoint)
{
	bool standard = rank_of(c, "otlp-endpoint") == RANK_OTEL;
	struct arena *mem = c->private->mem;
	struct str base = str_of(endpoint), query;
	ptrdiff_t at = str_find(base, '?');

	if (c->otlp_protocol == CONFIG_GRPC)
		return endpoint;
	if (c->private->endpoint_whole && standard)
		return str_find(str_from(base, 8), '/') >= 0 || str_find(base, '?') >= 0
			       ? endpoint
			       : arena_printf(mem, STR_FMT "/", STR_ARG(base)).p;
	query = str_from(base, at < 0 ? base.len : (size_t)at);
	base.len -= query.len;
	if (!standard && text_ends(base, "/v1/traces"))
		return endpoint;
	while (base.len && base.p[base.len - 1] == '/')
		base.len--;
	return arena_printf(mem, STR_FMT "/v1/traces" STR_FMT, STR_ARG(base), STR_ARG(query)).p;
}

/* HOST:PORT says enough for gRPC alone. */
static int refuse_bare(struct config *c, const char *endpoint, char why[CONFIG_WHY_MAX])
{
	const char *origin = config_origin(c, "otlp-endpoint");

	if (rank_of(c, "otlp-endpoint") == RANK_OTEL)
		return config_warn(c, "%s: expected a URL such as http://%.200s; ignored", origin,
				   endpoint);
	return fail(why, "%s: expected a URL such as http://%.200s, or --otlp-protocol grpc",
		    origin, endpoint);
}

static int finish_urls(struct config *c, char why[CONFIG_WHY_MAX])
{
	struct config_list *urls = &c->otlp_urls;

	urls->v = arena_alloc(c->private->mem, (c->otlp_endpoint.cnt + 1) * sizeof(*urls->v));
	if (!urls->v)
		return -ENOMEM;
	if (c->private->otlp_unwanted && rank_of(c, "otlp-endpoint") == RANK_OTEL)
		return 0;
	/* the standard's default is the port on which we receive ourselves */
	if (c->private->otlp_wanted && !c->otlp_endpoint.cnt)
		return config_warn(c, "OTEL_TRACES_EXPORTER: otlp needs an endpoint: set "
				      "OTEL_EXPORTER_OTLP_ENDPOINT; nothing is exported");
	for (uint32_t i = 0; i < c->otlp_endpoint.cnt; i++) {
		if (c->otlp_protocol != CONFIG_GRPC && !strstr(c->otlp_endpoint.v[i], "://"))
			return refuse_bare(c, c->otlp_endpoint.v[i], why);
		urls->v[i] = whole_url(c, c->otlp_endpoint.v[i]);
		if (!urls->v[i])
			return -ENOMEM;
		urls->cnt++;
	}
	return 0;
}

static void none_is_null(const char **field, const char *none)
{
	if (*field && strcmp(*field, none) == 0)
		*field = NULL;
}

static int fail_pair(const char *exporter, char why[CONFIG_WHY_MAX])
{
	return fail(why, "%s-client-key and %s-client-certificate: expected both or neither",
		    exporter, exporter);
}

/* What depends on more than one option. */
static int finish(struct config *c, char why[CONFIG_WHY_MAX])
{
	none_is_null(&c->store, "none");
	none_is_null(&c->otlp_http, "off");
	none_is_null(&c->otlp_grpc, "off");
	if (rank_of(c, "log-level") == RANK_DEFAULT &&
	    (c->command == COMMAND_RUN || c->command == COMMAND_GATEWAY))
		c->log_level = "info";
	if (c->quiet)
		c->log_level = "error";
	if (rank_of(c, "address") == RANK_DEFAULT)
		c->address = c->listen;
	if (rank_of(c, "format") == RANK_DEFAULT &&
	    (text_ends(str_of(c->output), ".json") || text_ends(str_of(c->output), ".jsonl")))
		c->format = CONFIG_FORMAT_OTLP_JSON;
	if (c->command == COMMAND_RECORD && !c->output)
		return fail(why, "telltale record: expected -o FILE; see telltale record --help");
	if (!c->otlp_client_key != !c->otlp_client_certificate)
		return fail_pair("otlp", why);
	if (!c->zipkin_client_key != !c->zipkin_client_certificate)
		return fail_pair("zipkin", why);
	if (c->private->zipkin_unwanted && rank_of(c, "zipkin-endpoint") == RANK_OTEL)
		c->zipkin_endpoint.cnt = 0;
	/* what waits on disk is there for outages that are long */
	if (c->export_spool && rank_of(c, "export-give-up") == RANK_DEFAULT)
		c->export_give_up_ns = 0;
	return finish_urls(c, why);
}

static struct config *config_alloc(void)
{
	struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->private = calloc(1, sizeof(*c->private));
	if (c->private)
		c->private->mem = arena_new(CONFIG_MEMORY);
	if (c->private && c->private->mem)
		return c;
	config_free(c);
	return NULL;
}

int config_new(int argc, char *const *argv, char *const *env, struct config **ret_config,
	       char why[CONFIG_WHY_MAX])
{
	struct line l = { .c = config_alloc(), .argv = argv, .argc = argc, .why = why };
	int err = -ENOMEM;

	snprintf(why, CONFIG_WHY_MAX, "out of memory");
	if (!l.c)
		goto out;
	l.c->private->argc = argc;
	l.c->private->argv = argv;
	l.c->private->env = env;
	/* "-qqq" holds a flag per byte */
	for (int i = 0; i < argc; i++)
		l.flag_cnt += strlen(argv[i]) + 1;
	l.flags = calloc(l.flag_cnt + 1, sizeof(*l.flags));
	l.flag_cnt = 0;
	if (!l.flags)
		goto out;
	err = read_command(&l);
	if (!err)
		err = help_topic(l.c, why);
	if (!err && l.c->command != COMMAND_HELP && l.c->command != COMMAND_VERSION &&
	    l.c->command != COMMAND_NONE) {
		err = read_sources(&l, env);
		if (!err)
			err = finish(l.c, why);
	}
	if (!err) {
		*ret_config = l.c;
		l.c = NULL;
	}
out:
	free(l.flags);
	config_free(l.c);
	return err;
}

int config_again(const struct config *c, struct config **ret_config, char why[CONFIG_WHY_MAX])
{
	const struct config_private *p = c->private;

	return config_new(p->argc, p->argv, p->env, ret_config, why);
}

const char *config_next_change(const struct config *a, const struct config *b, size_t *at)
{
	struct arena *mem = arena_new(CONFIG_MEMORY);
	const char *name = NULL;

	for (; mem && !name && *at < config_table_cnt; ++*at) {
		const struct option *o = &config_table[*at];

		if (!(o->flags & OPTION_FLAG_ONLY) && o->commands & 1u << a->command &&
		    !str_eq(option_text(a, o, mem), option_text(b, o, mem)))
			name = o->name;
	}
	arena_free(mem);
	return name;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	if (c->private)
		arena_free(c->private->mem);
	free(c->private);
	free(c);
}

const char *config_origin(const struct config *c, const char *option)
{
	const struct option *o = option_find(str_of(option));
	return o ? c->private->origin[o - config_table] : NULL;
}

const char *config_command_name(enum command command)
{
	return command < COMMAND_MAX ? config_commands[command].name : "?";
}

/* SPDX-License-Identifier: Apache-2.0 */
/* --help, the reference, and the list of values: the option table read aloud. */
#include "config/internal.h"

#include <ctype.h>
#include <stdio.h>

#define NAME_COLUMN 38 /* width of the flags before the explanation */
#define SHOWN_MAX   4096

static bool is_shown(const struct option *o, enum command command)
{
	/* of a store nothing is rare: its key decides whether it can be read at all */
	return option_belongs(o, command) &&
	       (!(o->flags & OPTION_RARE) || command == COMMAND_STORE) &&
	       (command != COMMAND_OPTIONS || o->flags & OPTION_FLAG_ONLY ||
		strcmp(o->name, "config") == 0);
}

static bool is_negated(const struct option *o)
{
	return o->type == OPT_BOOL && o->fallback && strcmp(o->fallback, "true") == 0;
}

static const char *fallback_text(const struct option *o)
{
	if (o->fallback_note)
		return o->fallback_note;
	return o->type == OPT_BOOL || o->type == OPT_ACTION ? NULL : o->fallback;
}

static void print_option(FILE *out, const struct option *o)
{
	char text[NAME_MAX_LEN * 2], letter[8] = "    ";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(text, sizeof(text), "%s--%s%s%s%s", letter, is_negated(o) ? "no-" : "", o->name,
		 o->arg ? " " : "", o->arg ? o->arg : "");
	fprintf(out, "  %-*s %s", NAME_COLUMN - 2, text, o->help);
	if (fallback_text(o))
		fprintf(out, " [%s]", fallback_text(o));
	fputc('\n', out);
}

static void print_commands(FILE *out)
{
	fprintf(out, "\nCommands:\n");
	for (int i = COMMAND_RUN; i < COMMAND_MAX; i++)
		fprintf(out, "  %-10s %s\n", config_commands[i].name, config_commands[i].summary);
	fprintf(out,
		"\nOptions may also stand in a YAML file (--config FILE, `name: value`) and in\n"
		"variables (TELLTALE_NAME); a flag goes before a variable, that before the file.\n"
		"`telltale COMMAND --help` shows a command's options.\n");
}

void config_help(FILE *out, enum command command)
{
	const struct command_info *info = &config_commands[command];
	const char *program = command == COMMAND_NONE ? "" : "telltale ";
	bool rare = false;

	fprintf(out, "Usage: %s%s%s%s\n%s\n", program, info->name, info->usage[0] ? " " : "",
		info->usage, info->summary);
	if (command == COMMAND_NONE) {
		print_commands(out);
	} else if (command != COMMAND_HELP && command != COMMAND_VERSION) {
		fputc('\n', out);
		for (size_t i = 0; i < config_table_cnt; i++) {
			if (is_shown(&config_table[i], command))
				print_option(out, &config_table[i]);
			rare |= option_belongs(&config_table[i], command) &&
				config_table[i].flags & OPTION_RARE && command != COMMAND_OPTIONS &&
				command != COMMAND_STORE;
		}
		if (rare)
			fprintf(out, "  more: telltale options --markdown\n");
	}
	fprintf(out, "\nExample:\n");
	for (size_t i = 0; i < ARRAY_LEN(info->examples) && info->examples[i]; i++)
		fprintf(out, "  %s\n", info->examples[i]);
}

static void print_variable(FILE *out, const struct option *o)
{
	fprintf(out, "`TELLTALE_");
	for (const char *p = o->name; *p; p++)
		fputc(*p == '-' ? '_' : toupper((unsigned char)*p), out);
	fputc('`', out);
}

static void print_row(FILE *out, const struct option *o)
{
	const char *sep = "";

	fprintf(out, "| `");
	if (o->letter)
		fprintf(out, "-%c`, `", o->letter);
	fprintf(out, "--%s%s%s%s` | ", is_negated(o) ? "no-" : "", o->name, o->arg ? " " : "",
		o->arg ? o->arg : "");
	if (o->flags & OPTION_FLAG_ONLY)
		fprintf(out, "-");
	else if (o->flags & OPTION_NOT_FILE)
		print_variable(out, o);
	else {
		fprintf(out, "`%s:`, ", o->name);
		print_variable(out, o);
	}
	fprintf(out, " | %s | ", fallback_text(o) ? fallback_text(o) : is_negated(o) ? "true" : "");
	for (int i = COMMAND_RUN; i < COMMAND_MAX; i++) {
		if (o->commands & 1u << i) {
			fprintf(out, "%s%s", sep, config_commands[i].name);
			sep = ", ";
		}
	}
	fprintf(out, " | %s", o->help);
	if (o->otel[0])
		fprintf(out, " (also `%s`)", o->otel[1] ? o->otel[1] : o->otel[0]);
	fprintf(out, " |\n");
}

void config_markdown(FILE *out)
{
	fprintf(out, "| flag | file and variable | default | commands | meaning |\n"
		     "|---|---|---|---|---|\n");
	for (size_t i = 0; i < config_table_cnt; i++)
		print_row(out, &config_table[i]);
}

/* One item of a list. Past the last @, whatever stands before it: passwords hold odd characters. */
static struct str show_url(struct str url, char *out, size_t size)
{
	const char *scheme = memmem(url.p, url.len, "://", 3);
	struct str rest = scheme ? str_from(url, (size_t)(scheme + 3 - url.p)) : url;
	const char *at = memrchr(rest.p, '@', rest.len);
	ptrdiff_t query;
	int head;

	if (at && !scheme && !memchr(url.p, ':', (size_t)(at - url.p)))
		at = NULL; /* a path */
	head = scheme ? (int)(scheme + 3 - url.p) : 0;
	if (at)
		rest = str_from(rest, (size_t)(at - rest.p));
	query = scheme ? str_find(rest, '?') : -1;
	if (query >= 0)
		rest.len = (size_t)query;
	snprintf(out, size, "%.*s%s" STR_FMT "%s", head, url.p, at ? "***" : "", STR_ARG(rest),
		 query >= 0 ? "?***" : "");
	return str_of(out);
}

void config_show_urls(struct str text, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	while (text.len && len + 1 < size) {
		ptrdiff_t comma = str_find(text, ',');
		struct str one = comma < 0 ? text : (struct str){ text.p, (size_t)comma };

		len += show_url(one, out + len, size - len).len;
		text = comma < 0 ? str_from(text, text.len) : str_from(text, (size_t)comma + 1);
		if (comma >= 0 && len + 1 < size)
			len += (size_t)snprintf(out + len, size - len, ",");
	}
}

void config_print(const struct config *c, FILE *out)
{
	struct arena *mem = arena_new(CONFIG_MEMORY);

	if (!mem)
		return;
	for (size_t i = 0; i < config_table_cnt; i++) {
		const struct option *o = &config_table[i];
		char shown[SHOWN_MAX];
		struct str text;

		if (o->flags & OPTION_FLAG_ONLY)
			continue;
		text = option_text(c, o, mem);
		if (o->flags & OPTION_SECRET && text.len)
			text = STR("(hidden)");
		if (o->flags & OPTION_URLS && text.len) {
			config_show_urls(text, shown, sizeof(shown));
			text = str_of(shown);
		}
		fprintf(out, "%-24s " STR_FMT "%s  (%s)\n", o->name, STR_ARG(text),
			text.len ? "" : "-", c->private->origin[i]);
	}
	arena_free(mem);
}

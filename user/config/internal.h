/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the config room only. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config/config.h"
#include "core/arena.h"

#define OPTIONS_MAX   128
#define NAME_MAX_LEN  64
#define CONFIG_MEMORY (4u << 20) /* all strings and lists of one configuration */

enum option_type {
	OPT_ACTION,   /* --help, --version: no value */
	OPT_BOOL,     /* bool */
	OPT_SIZE,     /* uint32_t or uint64_t, bytes; 64K, 16M, 1G, also a plain number */
	OPT_DURATION, /* uint64_t, nanoseconds; 100ms, 5s, 2m, 0 */
	OPT_RATIO,    /* double, 0 to 1 */
	OPT_STRING,   /* const char * */
	OPT_ENUM,     /* int: index into choices */
	OPT_WORDS,    /* const char *: comma-separated, each one of choices; at most max of them */
	OPT_LIST,     /* struct config_list */
	OPT_PIDS,     /* struct config_pids */
	OPT_PORTS,    /* struct config_ports */
};

enum option_flags {
	OPTION_FLAG_ONLY = 1 << 0, /* not in the file, no variable */
	OPTION_NOT_FILE = 1 << 1,
	OPTION_SECRET = 1 << 2,	 /* its value is not shown */
	OPTION_OTEL_MS = 1 << 3, /* its OTEL_* variable is a plain number of milliseconds */
	OPTION_RARE = 1 << 4,	 /* not in --help, which stays a page; in the reference */
	OPTION_WHOLE = 1 << 5,	 /* a list whose items may hold commas: one a flag */
	OPTION_URLS = 1 << 6,	 /* may hold user:password@, which is not shown */
};

struct option {
	const char *name;	   /* --name, name:, TELLTALE_NAME */
	char letter;		   /* 0: none */
	uint8_t type;		   /* enum option_type */
	uint8_t flags;		   /* enum option_flags */
	uint16_t commands;	   /* a bit for each enum command */
	uint16_t offset;	   /* in struct config */
	uint16_t width;		   /* bytes of the field */
	uint64_t min, max;	   /* of a value; lists: max items */
	const char *choices;	   /* "a|b|c" */
	const char *fallback;	   /* default, in the form a user would write; NULL: none */
	const char *fallback_note; /* told instead of it in help; NULL: itself */
	const char *arg;	   /* "FILE" in help */
	const char *expects;	   /* what 'check' wants, for messages */
	bool (*check)(struct str text);
	const char *otel[2]; /* standard variables, the stronger one first */
	const char *help;    /* of --no-NAME where the default is true */
};

/* Weakest first. */
enum rank { RANK_DEFAULT, RANK_OTEL, RANK_FILE, RANK_ENV, RANK_FLAG };

struct source {
	enum rank rank;
	const char *where; /* shown; lives in the arena or for ever */
};

struct config_private {
	struct arena *mem;
	int argc; /* as config_new() got them */
	char *const *argv, *const *env;
	const char *origin[OPTIONS_MAX];
	uint8_t rank[OPTIONS_MAX];
	bool endpoint_whole; /* otlp_endpoint needs no path added */
	/* OTEL_TRACES_EXPORTER names others, or OTEL_SDK_DISABLED is set: the standard endpoint
	 * does not count */
	bool otlp_unwanted, zipkin_unwanted;
	bool otlp_wanted; /* named there */
};

struct command_info {
	const char *name;
	const char *usage; /* after the name */
	const char *summary;
	const char *examples[3];
	int args_min, args_max; /* positional ones */
	bool rest;		/* the first positional one ends the options */
	const char *args_name;
};

/* table.c */
extern const struct option config_table[];
extern const size_t config_table_cnt;
extern const struct command_info config_commands[COMMAND_MAX];
const struct option *option_find(struct str name);
static inline bool option_belongs(const struct option *o, enum command command)
{
	return o->commands & 1u << command || command == COMMAND_OPTIONS;
}

static inline bool text_ends(struct str s, const char *end)
{
	size_t len = strlen(end);
	return s.len >= len && memcmp(s.p + s.len - len, end, len) == 0;
}

/* value.c: reads text into the option's field. 0, -EINVAL (why says what was expected), -ENOMEM;
 * the field is untouched on failure. Sources must come weakest first; a stronger one replaces,
 * the same one adds to lists. */
int option_set(struct config *c, const struct option *o, const struct source *src, struct str text,
	       char why[CONFIG_WHY_MAX]);
/* The value as a user would write it. */
struct str option_text(const struct config *c, const struct option *o, struct arena *mem);
struct str choice_next(struct str *choices); /* takes one of "a|b|c" */

/* suggest.c: the closest of the names offered so far, for "did you mean". */
struct suggest {
	struct str wanted;
	char best[NAME_MAX_LEN];
	unsigned int distance;
};
struct suggest suggest_for(struct str wanted);
void suggest_offer(struct suggest *s, struct str name);
/* "; did you mean X?" with prefix before X, or "". */
const char *suggest_text(const struct suggest *s, const char *prefix, char out[NAME_MAX_LEN + 32]);
/* The unknown option's nearest relative among the table's rows. */
struct suggest suggest_option(struct str wanted, enum command command);

/* env.c */
int config_read_env(struct config *c, char *const *env, char why[CONFIG_WHY_MAX]);
int config_read_otel(struct config *c, char *const *env, char why[CONFIG_WHY_MAX]);
int config_warn(struct config *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* yaml.c: text of a file; path is for messages. 0, -EINVAL, -ENOMEM. */
int config_read_yaml(struct config *c, const char *path, struct str text, char why[CONFIG_WHY_MAX]);
int config_read_file(struct config *c, const char *path, char why[CONFIG_WHY_MAX]);

/* check.c */
bool check_url(struct str s);
bool check_endpoint(struct str s);
bool check_headers(struct str s);
bool check_ring_size(struct str s);
bool check_name(struct str s);
bool check_receiver(struct str s);
bool check_store(struct str s);
bool check_redact_rule(struct str s);
bool check_sampling_service(struct str s);

#endif

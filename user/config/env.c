/* SPDX-License-Identifier: Apache-2.0 */
/* The environment: TELLTALE_* as strict as flags, standard OTEL_* as fallbacks that only warn. */
#include "config/internal.h"
#include "core/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define WARNINGS_MAX 32

static const struct str prefix = { "TELLTALE_", 9 };

int config_warn(struct config *c, const char *fmt, ...)
{
	char line[CONFIG_WHY_MAX];
	struct str copy;
	va_list ap;

	if (c->warnings.cnt == WARNINGS_MAX)
		return 0;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (!c->warnings.v)
		c->warnings.v = arena_alloc(c->private->mem, WARNINGS_MAX * sizeof(*c->warnings.v));
	copy = arena_str(c->private->mem, str_of(line));
	if (!c->warnings.v || !copy.p)
		return -ENOMEM;
	c->warnings.v[c->warnings.cnt++] = copy.p;
	return 0;
}

/*
 * Kubernetes describes each Service of the namespace to every pod, in variables such as
 * TELLTALE_SERVICE_HOST and TELLTALE_PORT=tcp://10.0.0.1:8009 where a Service is called telltale.
 * They are no options of ours.
 */
static bool is_service_link(struct str name, struct str value)
{
	char text[NAME_MAX_LEN * 2];
	const char *at;

	if (name.len >= sizeof(text))
		return false;
	memcpy(text, name.p, name.len);
	text[name.len] = '\0';
	if (text_ends(name, "_SERVICE_HOST") || strstr(text, "_SERVICE_PORT"))
		return true;
	at = strstr(text, "_PORT_");
	if (at && isdigit((unsigned char)at[6]))
		return true;
	return text_ends(name, "_PORT") &&
	       (str_starts(value, STR("tcp://")) || str_starts(value, STR("udp://")) ||
		str_starts(value, STR("sctp://")));
}

/* "TELLTALE_CAPTURE_BYTES" to "capture-bytes". */
static struct str option_name(struct str variable, char out[NAME_MAX_LEN])
{
	struct str rest = str_from(variable, prefix.len);

	rest.len = MIN(rest.len, (size_t)NAME_MAX_LEN - 1);
	for (size_t i = 0; i < rest.len; i++)
		out[i] = rest.p[i] == '_' ? '-' : (char)tolower((unsigned char)rest.p[i]);
	return (struct str){ out, rest.len };
}

static int refuse_variable(struct str variable, struct str name, char why[CONFIG_WHY_MAX])
{
	struct suggest s = suggest_option(name, COMMAND_NONE);
	char hint[NAME_MAX_LEN + 32];

	for (size_t i = 0; s.best[i]; i++)
		s.best[i] = s.best[i] == '-' ? '_' : (char)toupper((unsigned char)s.best[i]);
	snprintf(why, CONFIG_WHY_MAX,
		 "%.*s: unknown variable%s; `telltale options` lists what there is",
		 (int)MIN(variable.len, (size_t)100), variable.p,
		 suggest_text(&s, "TELLTALE_", hint));
	return -EINVAL;
}

int config_read_env(struct config *c, char *const *env, char why[CONFIG_WHY_MAX])
{
	for (; env && *env; env++) {
		struct str line = str_of(*env), variable, value, name;
		ptrdiff_t eq = str_find(line, '=');
		char text[NAME_MAX_LEN];
		const struct option *o;
		struct source src = { .rank = RANK_ENV };
		int err;

		if (eq < 0 || !str_starts(line, prefix))
			continue;
		variable = (struct str){ line.p, (size_t)eq };
		value = str_from(line, (size_t)eq + 1);
		if (!value.len || is_service_link(variable, value))
			continue;
		name = option_name(variable, text);
		o = option_find(name);
		if (!o || o->flags & OPTION_FLAG_ONLY)
			return refuse_variable(variable, name, why);
		src.where = arena_str(c->private->mem, variable).p;
		err = src.where ? option_set(c, o, &src, value, why) : -ENOMEM;
		if (err)
			return err;
	}
	return 0;
}

static struct str env_get(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; env && *env; env++) {
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return str_of(*env + len + 1);
	}
	return (struct str){ NULL, 0 };
}

/* The forms of the specification turned into ours: milliseconds, of which zero is no limit (so the
 * longest there is), and words in any case. */
static struct str otel_value(struct config *c, const struct option *o, struct str value)
{
	char *lower;
	uint64_t n;

	value = str_trim(value);
	if (o->flags & OPTION_OTEL_MS) {
		if (!str_to_u64(value, &n))
			return value;
		n = n || !o->min ? n : o->max / NS_PER_MS;
		return arena_printf(c->private->mem, "%llums", (unsigned long long)n);
	}
	if (!o->choices && o->type != OPT_BOOL)
		return value;
	lower = (char *)arena_str(c->private->mem, value).p;
	for (size_t i = 0; lower && i < value.len; i++)
		lower[i] = (char)tolower((unsigned char)lower[i]);
	return lower ? (struct str){ lower, value.len } : value;
}

struct standard {
	const char *value;  /* of the OTEL_* variable */
	const char *option; /* and what it means here */
	const char *text;
};

/* Sets every option that the variable's value stands for; an unknown value warns. */
static int otel_word(struct config *c, struct str value, struct source src,
		     const struct standard *rows, size_t cnt, char why[CONFIG_WHY_MAX])
{
	bool known = !value.len;
	int err = 0;

	for (size_t i = 0; i < cnt && value.len && !err; i++) {
		if (!str_eq_nocase(value, str_of(rows[i].value)))
			continue;
		known = true;
		if (rows[i].option)
			err = option_set(c, option_find(str_of(rows[i].option)), &src,
					 str_of(rows[i].text), why);
	}
	if (!known)
		err = config_warn(c, "%s: \"%.*s\" is not known; ignored", src.where,
				  (int)MIN(value.len, (size_t)64), value.p);
	return err;
}

/* Environment Variable Specification, "General SDK Configuration" and "Exporter Selection". */
static int otel_samplers(struct config *c, char *const *env, char why[CONFIG_WHY_MAX])
{
	static const struct standard rows[] = {
		{ "always_on", "sampling", "always" },
		{ "always_on", "sampling-parent", "false" },
		{ "always_off", "sampling", "never" },
		{ "always_off", "sampling-parent", "false" },
		{ "traceidratio", "sampling", "ratio" },
		{ "traceidratio", "sampling-parent", "false" },
		{ "parentbased_always_on", "sampling", "always" },
		{ "parentbased_always_off", "sampling", "never" },
		{ "parentbased_traceidratio", "sampling", "ratio" },
	};

	return otel_word(c, str_trim(env_get(env, "OTEL_TRACES_SAMPLER")),
			 (struct source){ RANK_OTEL, "OTEL_TRACES_SAMPLER" }, rows, ARRAY_LEN(rows),
			 why);
}

/* A limit that nobody asked to be kept to is one by rate; tail sampling has another use for it. */
static int sampler_of_rate(struct config *c, char why[CONFIG_WHY_MAX])
{
	const struct option *rate = option_find(STR("max-traces-per-second"));
	const struct option *sampling = option_find(STR("sampling"));
	const struct source src = { RANK_OTEL, "MAX_TRACES_PER_SECOND" };

	if (c->private->rank[rate - config_table] != RANK_OTEL ||
	    c->private->rank[sampling - config_table] != RANK_DEFAULT)
		return 0;
	return option_set(c, sampling, &src, STR("rate"), why);
}

/* Takes one of "otlp,console". */
static struct str item_next(struct str *left)
{
	ptrdiff_t comma = str_find(*left, ',');
	struct str one = comma < 0 ? *left : (struct str){ left->p, (size_t)comma };

	*left = comma < 0 ? str_from(*left, left->len) : str_from(*left, (size_t)comma + 1);
	return str_trim(one);
}

static int otel_exporters(struct config *c, char *const *env, char why[CONFIG_WHY_MAX])
{
	static const struct standard rows[] = {
		{ "otlp", NULL, NULL },
		{ "zipkin", "zipkin-endpoint", "http://localhost:9411/api/v2/spans" },
		{ "console", "export-stdout", "true" },
		{ "none", NULL, NULL },
	};
	static const struct standard switches[] = { { "true", NULL, NULL },
						    { "false", NULL, NULL } };
	/* gives way to the exporter's own variable */
	const struct source src = { RANK_DEFAULT, "OTEL_TRACES_EXPORTER" };
	const struct source off = { RANK_OTEL, "OTEL_SDK_DISABLED" };
	struct str word = str_trim(env_get(env, "OTEL_SDK_DISABLED"));
	bool disabled = str_eq_nocase(word, STR("true"));
	struct str left = disabled ? STR("") : env_get(env, "OTEL_TRACES_EXPORTER"), one;
	bool named = left.len, otlp = false, zipkin = false;
	int err = otel_word(c, word, off, switches, ARRAY_LEN(switches), why);

	while (left.len && !err) {
		one = item_next(&left);
		otlp |= str_eq_nocase(one, STR("otlp"));
		zipkin |= str_eq_nocase(one, STR("zipkin"));
		err = otel_word(c, one, src, rows, ARRAY_LEN(rows), why);
	}
	c->private->otlp_wanted = otlp;
	c->private->otlp_unwanted = disabled || (named && !otlp);
	c->private->zipkin_unwanted = disabled || (named && !zipkin);
	return err;
}

int config_read_otel(struct config *c, char *const *env, char why[CONFIG_WHY_MAX])
{
	int failed = otel_exporters(c, env, why);

	if (failed)
		return failed;
	for (const struct option *o = config_table; o < config_table + config_table_cnt; o++) {
		for (size_t i = 0; i < ARRAY_LEN(o->otel) && o->otel[i]; i++) {
			struct source src = { RANK_OTEL, o->otel[i] };
			struct str value = env_get(env, o->otel[i]);
			int err;

			if (!value.len)
				continue;
			err = option_set(c, o, &src, otel_value(c, o, value), why);
			if (err == -EINVAL)
				err = config_warn(c, "%s; ignored", why);
			else if (!err && i == 0 && strstr(o->otel[i], "_TRACES_ENDPOINT"))
				c->private->endpoint_whole = true;
			if (err)
				return err;
			if (c->private->rank[o - config_table] == RANK_OTEL)
				break;
		}
	}
	failed = otel_samplers(c, env, why);
	return failed ? failed : sampler_of_rate(c, why);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration read anew: what of it is applied, what is only told. */
#include "reload.h"

#include <string.h>

#include "core/log.h"

#define NAMES_MAX 512

static bool changes_here(const char *option)
{
	static const char *const here[] = { "process", "cgroup", "port", "log-level" };

	for (size_t i = 0; i < ARRAY_LEN(here); i++)
		if (!strcmp(option, here[i]))
			return true;
	return false;
}

/* Options that differ, those that change here or the others: "a, b". Returns how many. */
static int changed(const struct config *a, const struct config *b, bool here, char names[NAMES_MAX])
{
	const char *name;
	size_t at = 0, len = 0;
	int cnt = 0;

	names[0] = '\0';
	while ((name = config_next_change(a, b, &at))) {
		if (changes_here(name) != here)
			continue;
		if (len < NAMES_MAX)
			len += (size_t)snprintf(names + len, NAMES_MAX - len, "%s%s",
						cnt ? ", " : "", name);
		cnt++;
	}
	return cnt;
}

static int apply(struct reload *r, const struct config *c, char why[CONFIG_WHY_MAX])
{
	const struct probe_filter f = { .names = c->process.v,
					.name_cnt = c->process.cnt,
					.cgroups = c->cgroup.v,
					.cgroup_cnt = c->cgroup.cnt,
					.ports = c->port.v,
					.port_cnt = c->port.cnt };
	char cause[SOURCE_WHY_MAX] = "";
	int err = c->command == COMMAND_RUN ? sourcing_options(r->sourcing, &f, cause) : 0;

	if (err)
		snprintf(why, CONFIG_WHY_MAX, "%s", cause);
	return err;
}

void reload_hangup(struct reload *r)
{
	const struct config *was = r->now ? r->now : r->start;
	char why[CONFIG_WHY_MAX], names[NAMES_MAX];
	enum log_level level = log_level();
	struct config *new = NULL;
	int err = config_again(r->start, &new, why);

	if (!err)
		err = apply(r, new, why);
	if (err) {
		log_error("SIGHUP: %s; nothing changes", why);
		config_free(new);
		return;
	}
	if (new->log_level)
		log_level_parse(new->log_level, &level);
	log_set_level(MAX(level, log_level())); /* what follows is told by either */
	log_info("SIGHUP: the configuration is read anew; changed: %s",
		 changed(was, new, true, names) ? names : "nothing");
	if (changed(r->start, new, false, names))
		log_warn("SIGHUP: changed, but in force only after a restart: %s", names);
	log_set_level(level);
	config_free(r->now);
	r->now = new;
}

void reload_fini(struct reload *r)
{
	config_free(r->now);
	r->now = NULL;
}

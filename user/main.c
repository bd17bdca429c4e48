/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the options and hands over to the command they name. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "command.h"
#include "config/config.h"
#include "core/log.h"

#ifndef TELLTALE_VERSION
#define TELLTALE_VERSION "unknown"
#endif

extern char **environ;

static int show_version(void)
{
	printf("telltale %s\n", TELLTALE_VERSION);
	return 0;
}

static int show_options(const struct config *c)
{
	if (c->markdown)
		config_markdown(stdout);
	else
		config_print(c, stdout);
	return 0;
}

static int dispatch(const struct config *c)
{
	switch (c->command) {
	case COMMAND_RUN: return command_run(c);
	case COMMAND_GATEWAY: return command_gateway(c);
	case COMMAND_STORE: return command_store(c);
	case COMMAND_TRACE: return command_trace(c);
	case COMMAND_RECORD: return command_record(c);
	case COMMAND_REPLAY: return command_replay(c);
	case COMMAND_STATUS: return status_show(c->address, c->json);
	case COMMAND_DOCTOR: return command_doctor(c);
	case COMMAND_OPTIONS: return show_options(c);
	case COMMAND_VERSION: return show_version();
	case COMMAND_HELP: config_help(stdout, c->help_topic); return 0;
	case COMMAND_NONE:
	case COMMAND_MAX: break;
	}
	config_help(stderr, COMMAND_NONE);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct config *c = NULL;
	enum log_level level;
	char why[CONFIG_WHY_MAX];
	int status;

	/* of a dozen threads most allocate little and seldom: what one freed serves the next */
	mallopt(M_ARENA_MAX, 2);
	/* a reader that has gone is an error of writing, reported once */
	signal(SIGPIPE, SIG_IGN);
	/* so is a file that may not grow */
	signal(SIGXFSZ, SIG_IGN);
	if (config_new(argc, argv, environ, &c, why)) {
		fprintf(stderr, "telltale: %s\n", why);
		return EXIT_USAGE;
	}
	if (c->log_level && !log_level_parse(c->log_level, &level))
		log_set_level(level);
	for (uint32_t i = 0; i < c->warnings.cnt; i++)
		log_warn("%s", c->warnings.v[i]);
	status = dispatch(c);
	if (fflush(stdout) && status == 0)
		status = EXIT_FAILED;
	config_free(c);
	return status;
}

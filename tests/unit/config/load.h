/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations from words. */
#ifndef TESTS_CONFIG_LOAD_H
#define TESTS_CONFIG_LOAD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#define ARGS_MAX 16

static char why[CONFIG_WHY_MAX];

/* args: words with single spaces between them. */
static int load(const char *args, char *const *env, struct config **ret)
{
	static char text[1024];
	char *argv[ARGS_MAX + 1] = { (char *)"telltale" };
	static char *kept[ARGS_MAX + 1];
	int argc = 1;

	snprintf(text, sizeof(text), "%s", args);
	for (char *w = strtok(text, " "); w && argc < ARGS_MAX; w = strtok(NULL, " "))
		argv[argc++] = w;
	memcpy(kept, argv, sizeof(kept));
	why[0] = '\0';
	return config_new(argc, kept, env, ret, why);
}

static struct config *good(const char *args, char *const *env)
{
	struct config *c = NULL;
	int err = load(args, env, &c);

	if (err)
		fail_msg("%s: %s", args, why);
	return c;
}

static void refused(const char *args, char *const *env, const char *message)
{
	struct config *c = NULL;
	int err = load(args, env, &c);

	config_free(c);
	assert_int_equal(err, -EINVAL);
	if (!strstr(why, message))
		fail_msg("%s: \"%s\" is not in \"%s\"", args, message, why);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Manners towards terminals: colour, width, character set; and name globs. */
#include "cli/cli.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool env_set(const char *name)
{
	const char *v = getenv(name);

	return v && *v;
}

static bool wants_color(bool tty, const char *mode)
{
	const char *term = getenv("TERM"), *force = getenv("CLICOLOR_FORCE");

	if (mode && !strcmp(mode, "always"))
		return true;
	if ((mode && !strcmp(mode, "never")) || env_set("NO_COLOR"))
		return false;
	if (force && *force && strcmp(force, "0") != 0)
		return true;
	return tty && term && *term && strcmp(term, "dumb") != 0;
}

/* The first of the three that is set decides, as in setlocale(3). */
static bool wants_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *v = getenv(names[i]);

		if (v && *v)
			return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
	}
	return false;
}

static unsigned int columns(int fd, bool tty)
{
	const char *v = getenv("COLUMNS");
	struct winsize size;
	uint64_t n;

	if (v && str_to_u64(str_of(v), &n) && n >= 40 && n <= 100000)
		return (unsigned int)n;
	if (tty && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
		return size.ws_col;
	return 0;
}

struct term term_of(int fd, const char *mode)
{
	bool tty = isatty(fd) == 1;

	return (struct term){
		.width = columns(fd, tty),
		.color = wants_color(tty, mode),
		.utf8 = wants_utf8(),
		.tty = tty,
	};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the terminal shows: trees of traces, the state of a running agent. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "core/buf.h"
#include "trace/trace.h"

/* How to write for one file descriptor. */
struct term {
	unsigned int width; /* columns; 0: no limit */
	bool color;	    /* ECMA-48 escapes, 16 colours */
	bool utf8;	    /* else ASCII only */
	bool tty;
};

/*
 * mode: "always", "never", or "auto" (NULL too): colour on a terminal that is not dumb, unless
 * NO_COLOR is set (no-color.org); CLICOLOR_FORCE asks for it elsewhere too. The width is COLUMNS
 * or the terminal's. UTF-8 as LC_ALL, LC_CTYPE, LANG say.
 */
struct term term_of(int fd, const char *mode);

struct tree_opts {
	struct term term;
	bool labels; /* a line naming the columns comes first */
};

/*
 * One trace as lines of text, a span each, appended to out. A pure function of its arguments.
 * Text from the wire loses its control characters. 0, or -ENOMEM, -ENOBUFS.
 */
int tree_print(const struct trace *t, const struct tree_opts *opts, struct buf *out);

/* 12300000 becomes "12.3 ms": three digits and a unit, at most 8 columns. */
void duration_text(uint64_t ns, bool utf8, char out[16]);

/*
 * Asks the agent at "host:port" for /status and prints it to standard output: a table, or the
 * JSON as it came. The exit status: 0, or 1 with a line on standard error.
 */
int status_show(const char *listen, bool json);

#endif

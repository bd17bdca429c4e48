/* SPDX-License-Identifier: Apache-2.0 */
/* replay: a recording through the whole chain; its ticks are the only clock. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "output.h"
#include "setup.h"

/* One line for what ended it, 0 when nothing did. */
static int report(const struct config *c, int err, uint64_t offset, int write_err)
{
	if (err == -EBADMSG)
		fprintf(stderr,
			"telltale: %s: no recording, or cut short or spoilt at byte %" PRIu64
			"%s\n",
			c->argv[0], (uint64_t)offset,
			offset > 0 ? "; what came before it was used" : "");
	else if (err)
		fprintf(stderr, "telltale: cannot read %s: %s\n", c->argv[0], strerror(-err));
	else if (write_err && write_err != -EPIPE)
		fprintf(stderr, "telltale: cannot write to %s: %s\n",
			c->output ? c->output : "standard output", strerror(-write_err));
	return err || write_err ? EXIT_FAILED : 0;
}

int command_replay(const struct config *c)
{
	struct pipe_cfg cfg;
	struct output *out = NULL;
	struct pipe *pipe = NULL;
	uint64_t offset = 0;
	int status = EXIT_FAILED, err;

	if (output_open(c, c->output ? c->output : "-", &out))
		return EXIT_FAILED;
	setup_pipe(c, &cfg);
	output_connect(out, &cfg);
	if (pipe_new(&cfg, &pipe))
		goto out;
	err = pipe_replay(pipe, c->argv[0], &offset);
	pipe_flush(pipe);
	status = report(c, err, offset, output_flush(out));
out:
	pipe_free(pipe);
	output_free(out);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* trace: runs a program, or watches running ones, and writes their traces. */
#include "command.h"
#include "output.h"
#include "setup.h"

int command_trace(const struct config *c)
{
	struct pipe_cfg cfg;
	struct setup_run run = { .config = c,
				 .health = output_error,
				 .close = output_flush,
				 .what = c->output ? NULL : "tracing" };
	struct output *out = NULL;
	struct pipe *pipe = NULL;
	struct agent_result result = { .end = END_ERROR };
	sigset_t before;
	int status = EXIT_OURS, wait_status = 0;

	agent_block_signals(&before);
	if (output_open(c, c->output, &out))
		return EXIT_OURS;
	setup_pipe(c, &cfg);
	output_connect(out, &cfg);
	if (pipe_new(&cfg, &pipe))
		goto out;
	run.pipe = pipe;
	run.ctx = out;
	status = setup_run(&run, &before, &result, &wait_status);
	setup_warn_missed();
	if (result.end != END_ERROR && !c->output && !c->quiet)
		setup_summary(pipe_spans(pipe), &result);
out:
	pipe_free(pipe);
	output_free(out);
	if (wait_status)
		child_die_alike(wait_status);
	return status;
}

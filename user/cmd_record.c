/* SPDX-License-Identifier: Apache-2.0 */
/* record: writes every record that passes the gate to a file, for replay. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "setup.h"

struct tee {
	struct recorder *recorder;
	int err;
};

static void push(void *ctx, const struct event_hdr *rec)
{
	struct tee *t = ctx;
	int err = t->err ? t->err : recorder_write(t->recorder, rec);

	t->err = err;
}

static int health(void *ctx)
{
	return ((struct tee *)ctx)->err;
}

static int close_file(void *ctx)
{
	struct tee *t = ctx;
	int err = recorder_close(t->recorder);

	t->recorder = NULL;
	return t->err ? t->err : err;
}

int command_record(const struct config *c)
{
	struct pipe_cfg cfg;
	struct tee tee = { 0 };
	struct setup_run run = {
		.config = c, .health = health, .close = close_file, .ctx = &tee, .what = "recording"
	};
	struct agent_result result = { .end = END_ERROR };
	struct pipe *pipe = NULL;
	sigset_t before;
	int status = EXIT_OURS, wait_status = 0, err;

	if (!c->output) {
		fprintf(stderr, "telltale: record needs a file to write to: -o FILE\n");
		return EXIT_USAGE;
	}
	agent_block_signals(&before);
	err = recorder_open(c->output, &tee.recorder);
	if (err) {
		fprintf(stderr, "telltale: cannot write to %s: %s\n", c->output, strerror(-err));
		return EXIT_OURS;
	}
	setup_pipe(c, &cfg);
	cfg.taps_only = true;
	if (pipe_new(&cfg, &pipe) || pipe_tap(pipe, (struct event_sink){ &tee, push }))
		goto out;
	run.pipe = pipe;
	status = setup_run(&run, &before, &result, &wait_status);
out:
	pipe_free(pipe);
	recorder_close(tee.recorder);
	if (wait_status)
		child_die_alike(wait_status);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of rooms put together: gate -> stream -> protos -> correlate -> redact -> the sinks.
 *
 * Every record, of the kernel or of user space, live or replayed, goes in at one place. Time is
 * what EVENT_TICK records say, nothing else, so equal records give equal spans. One thread.
 */
#ifndef TELLTALE_PIPE_H
#define TELLTALE_PIPE_H

#include "proto/proto.h"
#include "redact/redact.h"
#include "ring/ring.h"
#include "span/correlate.h"
#include "stream/stream.h"
#include "trace/trace.h"

#define PIPE_TAPS  4
#define PIPE_SINKS 4

/* A zeroed struct of a room means its defaults. */
struct pipe_cfg {
	struct stream_cfg stream;
	struct proto_cfg proto;
	struct correlate_cfg correlate;
	struct redact_cfg redact;
	struct assemble_cfg assemble;
	struct span_sink
		spans[PIPE_SINKS]; /* each redacted span; those without a push are skipped */
	struct trace_sink traces;  /* each assembled trace; push NULL: nothing is assembled */
	bool taps_only;		   /* records go to the gate and the taps and no further */
	/* Called last at each tick; may be NULL. */
	void (*tick)(void *ctx, uint64_t now_ns);
	void *tick_ctx;
};

struct pipe;
/* 0 or -ENOMEM. */
int pipe_new(const struct pipe_cfg *cfg, struct pipe **ret_pipe);
/* From now on also hands every record that passed the gate to out, before the chain sees it.
 * 0, or -ENOSPC past PIPE_TAPS. */
int pipe_tap(struct pipe *p, struct event_sink out);
/* A record, of at most len bytes. */
void pipe_push(struct pipe *p, const void *rec, size_t len);
/* The same from a file; as replay_file() of the ring room. */
int pipe_replay(struct pipe *p, const char *path, uint64_t *ret_offset);
/* The end: pushes out what every room still holds, in the order of the chain. */
void pipe_flush(struct pipe *p);
/* Spans that left redaction so far. */
uint64_t pipe_spans(const struct pipe *p);
void pipe_free(struct pipe *p);

#endif

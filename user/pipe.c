/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of rooms: built from its end, taken down from its beginning. */
#include "pipe.h"

#include <errno.h>
#include <stdlib.h>

#include "kernel_books.h"

struct pipe {
	struct pipe_cfg cfg;
	struct event_sink taps[PIPE_TAPS];
	unsigned int tap_cnt;
	uint64_t spans;
	struct kernel_books kernel;
	struct gate *gate;
	struct stream *stream;
	struct protos *protos;
	struct correlate *correlate;
	struct redact *redact;
	struct assemble *assemble;
};

/* ---- the joints, from the gate on ---- */

static void push_tick(struct pipe *p, uint64_t now_ns)
{
	stream_tick(p->stream, now_ns);
	correlate_tick(p->correlate, now_ns);
	if (p->assemble)
		assemble_tick(p->assemble, now_ns);
	if (p->cfg.tick)
		p->cfg.tick(p->cfg.tick_ctx, now_ns);
}

static void push_record(void *ctx, const struct event_hdr *rec)
{
	struct pipe *p = ctx;

	for (unsigned int i = 0; i < p->tap_cnt; i++)
		p->taps[i].push(p->taps[i].ctx, rec);
	if (rec->kind == EVENT_BOOKS)
		kernel_books_update(&p->kernel, (const struct event_books *)rec);
	if (p->cfg.taps_only)
		return;
	correlate_record(p->correlate, rec);
	stream_push(p->stream, rec);
	if (rec->kind == EVENT_TICK)
		push_tick(p, rec->ts_ns);
}

static void push_chunk(void *ctx, const struct chunk *c)
{
	protos_push(((struct pipe *)ctx)->protos, c);
}

static void push_msg(void *ctx, const struct msg *m)
{
	correlate_msg(((struct pipe *)ctx)->correlate, m);
}

static void push_mark(void *ctx, const struct chunk *c)
{
	correlate_mark(((struct pipe *)ctx)->correlate, c);
}

static void push_raw_span(void *ctx, const struct span *s)
{
	redact_push(((struct pipe *)ctx)->redact, s);
}

static void push_span(void *ctx, const struct span *s)
{
	struct pipe *p = ctx;

	p->spans++;
	for (unsigned int i = 0; i < PIPE_SINKS; i++)
		if (p->cfg.spans[i].push)
			p->cfg.spans[i].push(p->cfg.spans[i].ctx, s);
	if (p->assemble)
		assemble_push(p->assemble, s);
}

/* ---- public ---- */

int pipe_new(const struct pipe_cfg *cfg, struct pipe **ret_pipe)
{
	struct pipe *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->cfg = *cfg;
	kernel_books_register(&p->kernel);
	if (cfg->traces.push)
		p->assemble = assemble_new(&cfg->assemble, cfg->traces);
	p->redact = redact_new(&cfg->redact, (struct span_sink){ p, push_span });
	p->correlate = correlate_new(&cfg->correlate, (struct span_sink){ p, push_raw_span });
	p->protos = protos_new(&cfg->proto, (struct msg_sink){ p, push_msg, push_mark });
	p->stream = stream_new(&cfg->stream, (struct chunk_sink){ p, push_chunk });
	p->gate = gate_new((struct event_sink){ p, push_record });
	if ((cfg->traces.push && !p->assemble) || !p->redact || !p->correlate || !p->protos ||
	    !p->stream || !p->gate) {
		pipe_free(p);
		return -ENOMEM;
	}
	*ret_pipe = p;
	return 0;
}

int pipe_tap(struct pipe *p, struct event_sink out)
{
	if (p->tap_cnt == PIPE_TAPS)
		return -ENOSPC;
	p->taps[p->tap_cnt++] = out;
	return 0;
}

void pipe_push(struct pipe *p, const void *rec, size_t len)
{
	gate_push(p->gate, rec, len);
}

int pipe_replay(struct pipe *p, const char *path, uint64_t *ret_offset)
{
	return replay_file(path, p->gate, ret_offset);
}

void pipe_flush(struct pipe *p)
{
	stream_flush(p->stream);
	correlate_flush(p->correlate);
	if (p->assemble)
		assemble_flush(p->assemble);
}

uint64_t pipe_spans(const struct pipe *p)
{
	return p->spans;
}

void pipe_free(struct pipe *p)
{
	if (!p)
		return;
	gate_free(p->gate);
	stream_free(p->stream);
	protos_free(p->protos);
	correlate_free(p->correlate);
	redact_free(p->redact);
	assemble_free(p->assemble);
	kernel_books_unregister(&p->kernel);
	free(p);
}

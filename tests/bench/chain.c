/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording through everything that `telltale run` does with it: the pipe, span metrics and the
 * service graph, the sampler, a durable store. For a profiler, or for the processor time alone.
 *
 *	chain RECORDING STORE		STORE: a directory, made when absent; none: nothing is kept
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "analyze/analyze.h"
#include "pipe.h"
#include "store/store.h"
#include "trace/sample.h"

struct chain {
	struct analyze *analyze;
	struct sampler *sampler;
	struct store_writer *writer; /* NULL: nothing is kept */
};

static void keep(void *ctx, const struct span *s)
{
	struct chain *c = ctx;

	if (c->writer)
		store_writer_push(c->writer, s);
}

static void push(void *ctx, const struct span *s)
{
	struct chain *c = ctx;

	analyze_push(c->analyze, s);
	sampler_push(c->sampler, s, (struct span_sink){ c, keep });
}

static void tick(void *ctx, uint64_t now_ns)
{
	struct chain *c = ctx;

	analyze_tick(c->analyze, now_ns);
	sampler_tick(c->sampler, now_ns);
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int run(struct chain *c, const char *recording, struct store *store)
{
	const struct pipe_cfg cfg = { .spans = { { c, push } }, .tick = tick, .tick_ctx = c };
	struct pipe *pipe;
	uint64_t offset, spans;
	double begin_us = cpu_us();
	int err = pipe_new(&cfg, &pipe);

	if (err)
		return err;
	err = pipe_replay(pipe, recording, &offset);
	pipe_flush(pipe);
	spans = pipe_spans(pipe);
	pipe_free(pipe);
	store_writer_free(c->writer);
	c->writer = NULL;
	store_close(store);
	printf("%llu spans, %.2f us each\n", (unsigned long long)spans,
	       (cpu_us() - begin_us) / (double)MAX(spans, 1u));
	return err;
}

int main(int argc, char **argv)
{
	const struct store_cfg store_cfg = { .where = argc > 2 ? argv[2] : NULL };
	struct chain c = { .analyze = analyze_new(&(struct analyze_cfg){ 0 }),
			   .sampler = sampler_new(&(struct sample_cfg){ .how = SAMPLE_ALWAYS },
						  (struct span_sink){ &c, keep }) };
	struct store *store = NULL;
	char why[STORE_WHY_MAX];
	int err;

	if (argc < 3) {
		fprintf(stderr, "usage: chain RECORDING STORE|none\n");
		return 2;
	}
	if (strcmp(argv[2], "none") != 0) {
		err = store_open(&store_cfg, &store, why);
		if (err) {
			fprintf(stderr, "chain: %s\n", why);
			return 1;
		}
		c.writer = store_writer_new(store);
	}
	err = run(&c, argv[1], store);
	sampler_free(c.sampler);
	analyze_free(c.analyze);
	return err ? 1 : 0;
}

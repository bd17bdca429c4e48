/* SPDX-License-Identifier: Apache-2.0 */
/* What reading OTLP costs: microseconds a span, protobuf and JSON, from one body in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "export/export.h"
#include "receive/decode.h"
#include "unit/export/span_gen.h"

#define SPANS  5000
#define ROUNDS 40

static uint64_t seen;

static void take_span(void *ctx, const struct span *s)
{
	seen += s->attrs.cnt;
}

static void measure(const char *name, int (*decode)(struct decoder *d, struct str body),
		    struct str body)
{
	struct decoder *d = decoder_new((struct span_sink){ NULL, take_span });
	uint64_t best = UINT64_MAX, sum = 0;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t begin = clock_read(CLOCK_THREAD_CPUTIME_ID), took;

		if (!d || decode(d, body) || d->intake.accepted != SPANS) {
			fprintf(stderr, "%s: %s\n", name, d ? d->intake.why : "no memory");
			exit(1);
		}
		took = clock_read(CLOCK_THREAD_CPUTIME_ID) - begin;
		best = MIN(best, took);
		sum += took;
	}
	printf("%-14s %.3f us/span (best %.3f), %.0f bytes/span\n", name,
	       (double)sum / ROUNDS / SPANS / 1e3, (double)best / SPANS / 1e3,
	       (double)body.len / SPANS);
	decoder_free(d);
}

int main(void)
{
	struct gen g = { .state = 88172645463325252ull, .mem = arena_new(0) };
	const struct span **spans = calloc(SPANS, sizeof(*spans));
	struct resource *resource[10];
	struct buf body = { 0 };

	for (uint32_t i = 0; i < ARRAY_LEN(resource); i++)
		resource[i] = gen_resource(&g, i);
	for (size_t i = 0; i < SPANS; i++)
		spans[i] = gen_http_span(&g, resource[i * ARRAY_LEN(resource) / SPANS]);
	if (otlp_encode(spans, SPANS, &body))
		return 1;
	measure("otlp protobuf", decode_otlp, buf_str(&body));
	buf_clear(&body);
	if (otlp_encode_json(spans, SPANS, &body))
		return 1;
	measure("otlp json", decode_otlp_json, buf_str(&body));
	buf_fini(&body);
	for (size_t i = 0; i < ARRAY_LEN(resource); i++)
		resource_put(resource[i]);
	arena_free(g.mem);
	free(spans);
	return 0;
}

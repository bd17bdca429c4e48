/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From messages to spans: pairs request and response, decides the parent from the kernel's
 * evidence, names the span and puts its attributes together.
 *
 * An exchange is one request with its response. It is known by (connection, direction, position of
 * the request's first byte); its span id is the keyed hash of the same (include/span_id.h). A
 * finished exchange settles for cfg.settle_ns before its span is pushed, so that the other end's
 * records, the process's identity and late evidence have arrived; and it is remembered for
 * cfg.remember_ns so that later children find it.
 *
 * Parents: see context.h for the rules. A parent that is certain or well measured becomes the
 * parent, with telltale.parent.method and telltale.parent.confidence; an ambiguous one becomes a
 * link with the same two attributes.
 *
 * Full: at most cfg.max_exchanges, a quarter of them finished and remembered; past that the oldest
 * remembered one is forgotten, else the oldest unanswered one is pushed as it is, counted.
 *
 * A span that is pushed before its end (full, flush, messages lost) has telltale.unfinished and no
 * error. Books: in is requests, failed connects and responses without a request.
 */
#ifndef SPAN_CORRELATE_H
#define SPAN_CORRELATE_H

#include "proto/proto.h"
#include "span/span.h"

struct correlate_cfg {
	uint32_t max_exchanges; /* default 131072 */
	uint64_t settle_ns;	/* default 100 ms */
	uint64_t remember_ns;	/* default 5 s */
	uint64_t unanswered_ns; /* a request without a response for so long ends; default 60 s */
};

struct correlate;
struct correlate *correlate_new(const struct correlate_cfg *cfg, struct span_sink out);
/* EVENT_KEY, EVENT_CLOCK, EVENT_HOST, EVENT_PROC, EVENT_EXEC, EVENT_FORK, EVENT_EXIT, EVENT_BOOKS
 * (losses), EVENT_CONN and EVENT_DATA (event_thread.seq: lost records, which make parents
 * uncertain); others are ignored. To be pushed before the chain's rooms see the same record. */
void correlate_record(struct correlate *c, const struct event_hdr *rec);
/* As struct msg_sink: */
void correlate_msg(struct correlate *c, const struct msg *m);
void correlate_mark(struct correlate *c, const struct chunk *ch);
/* Time passes: settles, expires the unanswered. */
void correlate_tick(struct correlate *c, uint64_t now_ns);
/* Pushes every span that is settled or not, unanswered requests included. */
void correlate_flush(struct correlate *c);
void correlate_free(struct correlate *c);

#endif

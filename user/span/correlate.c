/* SPDX-License-Identifier: Apache-2.0 */
/* The room's door: records, messages and ticks come in, spans go out. */
#include "span/internal.h"

#include <stdlib.h>

#define EXCHANGES_DEFAULT  131072
#define SETTLE_DEFAULT	   (100 * NS_PER_MS)
#define REMEMBER_DEFAULT   (5 * NS_PER_S)
#define UNANSWERED_DEFAULT (60 * NS_PER_S)
#define SCRATCH_BYTES	   (512 * 1024)

static const char *const counter_name[] = {
#define X(name, help) "span_" #name "_total",
	SPAN_COUNTERS(X)
#undef X
};
static const char *const counter_help[] = {
#define X(name, help) help,
	SPAN_COUNTERS(X)
#undef X
};

static double read_counter(void *ctx)
{
	return (double)book_read(ctx);
}

struct correlate *correlate_new(const struct correlate_cfg *cfg, struct span_sink out)
{
	struct correlate *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->cfg = *cfg;
	c->cfg.max_exchanges = cfg->max_exchanges ? MAX(cfg->max_exchanges, 4) : EXCHANGES_DEFAULT;
	c->cfg.settle_ns = cfg->settle_ns ? cfg->settle_ns : SETTLE_DEFAULT;
	c->cfg.remember_ns = cfg->remember_ns ? cfg->remember_ns : REMEMBER_DEFAULT;
	c->cfg.unanswered_ns = cfg->unanswered_ns ? cfg->unanswered_ns : UNANSWERED_DEFAULT;
	c->out = out;
	c->scratch = arena_new(SCRATCH_BYTES);
	c->templates = templates_new();
	if (!c->scratch || !c->templates) {
		arena_free(c->scratch);
		templates_free(c->templates);
		free(c);
		return NULL;
	}
	c->books = (struct books){ .stage = "span",
				   .unit = "span",
				   .reason = { [DROP_INTERNAL] = "internal",
					       [DROP_NO_REQUEST] = "response_without_request",
					       [DROP_NO_MEMORY] = "no_memory" } };
	books_register(&c->books);
	for (int i = 0; i < COUNTER_MAX; i++) {
		c->gauges[i] = (struct gauge){ .name = counter_name[i],
					       .help = counter_help[i],
					       .type = "counter",
					       .read = read_counter,
					       .ctx = &c->counters[i] };
		gauges_register(&c->gauges[i]);
	}
	return c;
}

/* ---- records -------------------------------------------------------------------------------- */

static void take_key(struct correlate *c, const struct event_key *rec)
{
	for (int half = 0; half < 2; half++) {
		c->key[half] = 0;
		for (int i = 7; i >= 0; i--) /* little-endian, as SipHash reads its key */
			c->key[half] = c->key[half] << 8 | rec->key[half * 8 + i];
	}
	c->start_ns = rec->h.ts_ns;
}

/* The kernel lost records between two of these: whose, nobody knows. */
static void take_books(struct correlate *c, const struct event_books *rec)
{
	uint64_t lost = rec->drops[DROP_ring_full] + rec->drops[DROP_conn_table_full] +
			rec->drops[DROP_thread_table_full];

	if (lost > c->books_lost) {
		c->loss_from_ns = c->books_ns;
		c->loss_to_ns = rec->h.ts_ns + TAINT_NS;
	}
	c->books_lost = lost;
	c->books_ns = rec->h.ts_ns;
}

static void take_data(struct correlate *c, const struct event_data *rec)
{
	struct link *l;

	thread_record(c, &rec->thread, rec->h.tgid, rec->h.ts_ns);
	if (!c->dials || rec->dir != DIR_IN || !rec->len)
		return;
	/* bytes on a dialled connection, of whatever protocol: who waited for it may run */
	l = link_find(c, rec->conn);
	if (l)
		link_dial_over(c, l, rec->h.ts_ns);
}

void correlate_record(struct correlate *c, const struct event_hdr *rec)
{
	c->now_ns = MAX(c->now_ns, rec->ts_ns);
	switch (rec->kind) {
	case EVENT_KEY: take_key(c, (const struct event_key *)rec); break;
	case EVENT_CLOCK: c->clock_offset = ((const struct event_clock *)rec)->offset_ns; break;
	case EVENT_HOST: {
		const char *name = ((const struct event_host *)rec)->name;
		memcpy(c->host, name, sizeof(c->host));
		c->host[sizeof(c->host) - 1] = 0;
		break;
	}
	case EVENT_BOOKS: take_books(c, (const struct event_books *)rec); break;
	case EVENT_DATA: take_data(c, (const struct event_data *)rec); break;
	case EVENT_CONN:
		process_was_serving(c, (const struct event_conn *)rec);
		thread_record(c, &((const struct event_conn *)rec)->thread, rec->tgid, rec->ts_ns);
		break;
	case EVENT_PROC:
	case EVENT_EXEC:
	case EVENT_FORK:
	case EVENT_EXIT: process_record(c, rec); break;
	}
}

/* ---- messages ------------------------------------------------------------------------------- */

void correlate_msg(struct correlate *c, const struct msg *m)
{
	struct link *l = link_of(c, m->conn);

	if (!l) {
		if (m->type == MSG_REQUEST) {
			book_add(&c->books.in, 1);
			book_add(&c->books.dropped[DROP_NO_MEMORY], 1);
		}
		return;
	}
	c->now_ns = MAX(c->now_ns, m->flags & MSG_END ? m->end_ns : m->start_ns);
	if (m->type == MSG_REQUEST)
		pair_request(c, l, m);
	else
		pair_response(c, l, m);
}

void correlate_mark(struct correlate *c, const struct chunk *ch)
{
	struct link *l = ch->kind == CHUNK_CLOSE ? ch->conn->above[1] : NULL;

	c->now_ns = MAX(c->now_ns, ch->ts_ns);
	if (ch->kind == CHUNK_OPEN || (ch->kind == CHUNK_CLOSE && !l))
		l = link_of(c, ch->conn);
	if (!l)
		return;
	if (ch->kind == CHUNK_OPEN) {
		link_update(c, l);
	} else if (ch->kind == CHUNK_CLOSE) {
		link_update(c, l);
		link_close(c, l, ch->err, ch->ts_ns ? ch->ts_ns : c->now_ns);
	}
}

void correlate_tick(struct correlate *c, uint64_t now_ns)
{
	c->now_ns = MAX(c->now_ns, now_ns);
	orphans_expire(c);
	settle_tick(c);
	processes_tick(c);
}

void correlate_flush(struct correlate *c)
{
	orphans_drop_all(c);
	settle_flush(c);
}

void correlate_free(struct correlate *c)
{
	struct exchange *x, *next;

	if (!c)
		return;
	orphans_drop_all(c);
	HASH_ITER (hh, c->exchanges, x, next) {
		exchange_discard(c, x);
	}
	links_free(c);
	threads_free(c);
	processes_free(c);
	drafts_free(c);
	arena_free(c->scratch);
	templates_free(c->templates);
	books_unregister(&c->books);
	for (int i = 0; i < COUNTER_MAX; i++)
		gauges_unregister(&c->gauges[i]);
	free(c);
}

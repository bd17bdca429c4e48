/* SPDX-License-Identifier: Apache-2.0 */
/* Spans wait here for the rest of their trace; the tick's clock says when it is all there. */
#include "trace/trace.h"

#include "core/books.h"
#include "core/clock.h"

#include <stdlib.h>
#include <xxhash.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#define DEFAULT_QUIET_NS    (300 * NS_PER_MS)
#define DEFAULT_MAX_WAIT_NS (5 * NS_PER_S)
#define DEFAULT_MAX_BYTES   (32u << 20)
#define DONE_SLOTS	    16384 /* ids of traces that have gone, the latest of each slot */

enum { DROPPED_NO_ID, DROPPED_NO_MEMORY };

struct pending {
	struct trace_id id;
	struct trace *trace; /* in order of arrival */
	uint64_t first_ns; /* when its root came, the first span until then; on the tick's clock */
	uint64_t last_ns;
	size_t bytes;
	bool rooted; /* its root has ended: in the list 'quiet' */
	bool late;
	struct pending *prev, *next;		 /* all, by first_ns */
	struct pending *quiet_prev, *quiet_next; /* the one longest without a span first */
	UT_hash_handle hh;
};

#define TRACE_COUNTS(X)                                                        \
	X(traces, "traces given on")                                           \
	X(incomplete, "traces given on early, for lack of room or at the end") \
	X(late, "further parts of traces given on before")                     \
	X(orphans, "spans whose parent never came")

#define X(name, help) COUNTED_##name,
enum { TRACE_COUNTS(X) COUNTED_MAX };
#undef X

struct assemble {
	struct assemble_cfg cfg;
	struct trace_sink out;
	struct pending *by_id;
	struct pending *all;
	struct pending *quiet;
	uint64_t now_ns; /* of the last tick; 0: none yet */
	size_t bytes;
	struct trace_id done[DONE_SLOTS];
	struct books books;
	uint64_t count[COUNTED_MAX];
	struct gauge gauge[COUNTED_MAX + 1];
};

static struct trace_id *done_slot(struct assemble *a, const struct trace_id *id)
{
	return &a->done[XXH3_64bits(id->b, sizeof(id->b)) % DONE_SLOTS];
}

static void pending_free(struct pending *p)
{
	if (!p)
		return;
	trace_put(p->trace);
	free(p);
}

static void set_bytes(struct assemble *a, struct pending *p)
{
	size_t bytes = sizeof(*p) + trace_bytes(p->trace);

	__atomic_store_n(&a->bytes, a->bytes - p->bytes + bytes, __ATOMIC_RELAXED);
	p->bytes = bytes;
}

/* Gives a trace on and forgets it. */
static void give(struct assemble *a, struct pending *p, bool complete)
{
	struct trace *t = p->trace;
	uint32_t orphans = 0;

	t->complete = complete;
	t->late = p->late;
	HASH_DEL(a->by_id, p);
	DL_DELETE(a->all, p);
	if (p->rooted)
		DL_DELETE2(a->quiet, p, quiet_prev, quiet_next);
	__atomic_store_n(&a->bytes, a->bytes - p->bytes, __ATOMIC_RELAXED);
	*done_slot(a, &p->id) = p->id;
	book_add(&a->books.held, -(uint64_t)t->span_cnt);
	if (trace_order(t, &orphans)) {
		book_add(&a->books.dropped[DROPPED_NO_MEMORY], t->span_cnt);
	} else {
		a->out.push(a->out.ctx, t);
		book_add(&a->books.out, t->span_cnt);
		book_add(&a->count[COUNTED_traces], 1);
		book_add(&a->count[COUNTED_incomplete], !complete);
		book_add(&a->count[COUNTED_late], p->late);
		/* the parents of late spans went before them */
		book_add(&a->count[COUNTED_orphans], p->late ? 0 : orphans);
	}
	pending_free(p);
}

static struct pending *begin_trace(struct assemble *a, const struct trace_id *id)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->id = *id;
	p->trace = trace_new(id);
	if (!p->trace)
		goto fail;
	HASH_ADD(hh, a->by_id, id, sizeof(p->id), p);
	if (!p->hh.tbl)
		goto fail;
	p->first_ns = p->last_ns = a->now_ns;
	p->late = memcmp(done_slot(a, id), id, sizeof(*id)) == 0;
	DL_APPEND(a->all, p);
	return p;
fail:
	pending_free(p);
	return NULL;
}

/* The root's end begins the wait anew. A late part waits for no root: it went before. */
static void note_root(struct assemble *a, struct pending *p)
{
	p->rooted = true;
	p->first_ns = p->last_ns = a->now_ns;
	DL_DELETE(a->all, p);
	DL_APPEND(a->all, p);
	DL_APPEND2(a->quiet, p, quiet_prev, quiet_next);
}

static void note_activity(struct assemble *a, struct pending *p, const struct span *s)
{
	if (!p->rooted && (p->late || !span_id_is_set(&s->parent_id))) {
		note_root(a, p);
		return;
	}
	p->last_ns = a->now_ns;
	if (!p->rooted)
		return;
	DL_DELETE2(a->quiet, p, quiet_prev, quiet_next);
	DL_APPEND2(a->quiet, p, quiet_prev, quiet_next);
}

static double read_count(void *ctx)
{
	return (double)book_read(ctx);
}

static double read_bytes(void *ctx)
{
	return (double)__atomic_load_n((size_t *)ctx, __ATOMIC_RELAXED);
}

static void register_figures(struct assemble *a)
{
#define X(figure, text) \
	{ .name = "trace_" #figure "_total", .help = text, .type = "counter", .read = read_count },
	static const struct gauge figures[] = { TRACE_COUNTS(X) };
#undef X

	for (int i = 0; i < COUNTED_MAX; i++) {
		a->gauge[i] = figures[i];
		a->gauge[i].ctx = &a->count[i];
	}
	a->gauge[COUNTED_MAX] = (struct gauge){ .name = "trace_pending_bytes",
						.help = "memory of traces that are not complete",
						.type = "gauge",
						.read = read_bytes,
						.ctx = &a->bytes };
	for (int i = 0; i <= COUNTED_MAX; i++)
		gauges_register(&a->gauge[i]);
	a->books = (struct books){
		.stage = "trace",
		.unit = "span",
		.reason = { [DROPPED_NO_ID] = "no_trace_id", [DROPPED_NO_MEMORY] = "no_memory" },
	};
	books_register(&a->books);
}

struct assemble *assemble_new(const struct assemble_cfg *cfg, struct trace_sink out)
{
	struct assemble *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->cfg = *cfg;
	a->out = out;
	if (!a->cfg.quiet_ns)
		a->cfg.quiet_ns = DEFAULT_QUIET_NS;
	if (!a->cfg.max_wait_ns)
		a->cfg.max_wait_ns = DEFAULT_MAX_WAIT_NS;
	if (!a->cfg.max_bytes)
		a->cfg.max_bytes = DEFAULT_MAX_BYTES;
	register_figures(a);
	return a;
}

void assemble_push(struct assemble *a, const struct span *s)
{
	struct pending *p;

	book_add(&a->books.in, 1);
	if (!trace_id_is_set(&s->trace_id)) {
		book_add(&a->books.dropped[DROPPED_NO_ID], 1);
		return;
	}
	HASH_FIND(hh, a->by_id, &s->trace_id, sizeof(s->trace_id), p);
	if (!p)
		p = begin_trace(a, &s->trace_id);
	if (!p) {
		book_add(&a->books.dropped[DROPPED_NO_MEMORY], 1);
		return;
	}
	if (trace_add(p->trace, s)) {
		book_add(&a->books.held, 1);
		note_activity(a, p, s);
	} else {
		book_add(&a->books.dropped[DROPPED_NO_MEMORY], 1);
	}
	set_bytes(a, p);
	while (a->all && a->bytes > a->cfg.max_bytes)
		give(a, a->all, false);
}

void assemble_tick(struct assemble *a, uint64_t now_ns)
{
	struct pending *p;

	if (!a->now_ns) /* what came before the clock was known waits from now on */
		DL_FOREACH (a->all, p)
			p->first_ns = p->last_ns = now_ns;
	a->now_ns = MAX(a->now_ns, now_ns);
	while ((p = a->quiet) && a->now_ns - p->last_ns >= a->cfg.quiet_ns)
		give(a, p, true);
	while ((p = a->all) && a->now_ns - p->first_ns >= a->cfg.max_wait_ns)
		give(a, p, true);
}

void assemble_flush(struct assemble *a)
{
	while (a->all)
		give(a, a->all, a->all->rooted);
}

void assemble_free(struct assemble *a)
{
	if (!a)
		return;
	while (a->all) {
		struct pending *p = a->all;

		HASH_DEL(a->by_id, p);
		DL_DELETE(a->all, p);
		pending_free(p);
	}
	for (int i = 0; i <= COUNTED_MAX; i++)
		gauges_unregister(&a->gauge[i]);
	books_unregister(&a->books);
	free(a);
}

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

/* A resource that waiting spans hold. */
struct holding {
	struct resource *resource; /* the spans' reference */
	size_t bytes;
	uint64_t spans;
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
	struct holding *holdings;
	uint64_t now_ns; /* of the last tick; 0: none yet */
	size_t waiting;	 /* bytes of traces and resources */
	size_t bytes;	 /* with the tables */
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

/* ---- memory --------------------------------------------------------------------------------- */

static size_t table_bytes(const UT_hash_table *t)
{
	return t ? malloc_footprint(sizeof(*t)) +
			       malloc_footprint(t->num_buckets * sizeof(*t->buckets))
		 : 0;
}

/* One of the parts now takes so much. */
static void set_bytes(struct assemble *a, size_t *part, size_t bytes)
{
	size_t tables = table_bytes(a->by_id ? a->by_id->hh.tbl : NULL) +
			table_bytes(a->holdings ? a->holdings->hh.tbl : NULL);

	a->waiting += bytes - *part;
	*part = bytes;
	__atomic_store_n(&a->bytes, a->waiting + tables, __ATOMIC_RELAXED);
}

/* One more span holds it. Its arena may have grown since: a scope lives there too, and is made by
 * the thread that pushes. False without memory. */
static bool hold(struct assemble *a, struct resource *r)
{
	struct holding *h;

	HASH_FIND_PTR(a->holdings, &r, h);
	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return false;
		h->resource = r;
		HASH_ADD_PTR(a->holdings, resource, h);
		if (!h->hh.tbl) {
			free(h);
			return false;
		}
	}
	h->spans++;
	set_bytes(a, &h->bytes, malloc_footprint(sizeof(*h)) + arena_footprint(r->arena));
	return true;
}

static void let_go(struct assemble *a, struct resource *r)
{
	struct holding *h;

	HASH_FIND_PTR(a->holdings, &r, h);
	if (!h || --h->spans)
		return;
	HASH_DEL(a->holdings, h);
	set_bytes(a, &h->bytes, 0);
	free(h);
}

/* Out of the books of memory, and out of the way of what comes for the same id. */
static void unlink_pending(struct assemble *a, struct pending *p)
{
	HASH_DEL(a->by_id, p);
	DL_DELETE(a->all, p);
	if (p->rooted)
		DL_DELETE2(a->quiet, p, quiet_prev, quiet_next);
	for (uint32_t i = 0; i < p->trace->span_cnt; i++)
		let_go(a, p->trace->spans[i]->resource);
	set_bytes(a, &p->bytes, 0);
}

/* Gives a trace on and forgets it. */
static void give(struct assemble *a, struct pending *p, bool complete)
{
	struct trace *t = p->trace;
	uint32_t orphans = 0;

	t->complete = complete;
	t->late = p->late;
	unlink_pending(a, p);
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

static bool add_span(struct assemble *a, struct pending *p, const struct span *s)
{
	if (!hold(a, s->resource))
		return false;
	if (trace_add(p->trace, s))
		return true;
	let_go(a, s->resource);
	return false;
}

static double read_count(void *ctx)
{
	return (double)book_read(ctx);
}

static double read_bytes(void *ctx)
{
	return (double)assemble_bytes(ctx);
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
						.help = "memory of traces that are not complete, "
							"with their resources",
						.type = "gauge",
						.read = read_bytes,
						.ctx = a };
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
	if (add_span(a, p, s)) {
		book_add(&a->books.held, 1);
		note_activity(a, p, s);
	} else {
		book_add(&a->books.dropped[DROPPED_NO_MEMORY], 1);
	}
	if (!p->trace->span_cnt) { /* who decides on traces looks at their first span */
		unlink_pending(a, p);
		pending_free(p);
		return;
	}
	set_bytes(a, &p->bytes, malloc_footprint(sizeof(*p)) + trace_bytes(p->trace));
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

size_t assemble_bytes(const struct assemble *a)
{
	return __atomic_load_n(&a->bytes, __ATOMIC_RELAXED);
}

void assemble_free(struct assemble *a)
{
	if (!a)
		return;
	while (a->all) {
		struct pending *p = a->all;

		unlink_pending(a, p);
		pending_free(p);
	}
	for (int i = 0; i <= COUNTED_MAX; i++)
		gauges_unregister(&a->gauge[i]);
	books_unregister(&a->books);
	free(a);
}

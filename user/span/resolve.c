/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parents and trace ids, once and for all. A span's trace id is its root's, so pushing one span
 * settles every ancestor, those that are still open included.
 */
#include "span/internal.h"

#include "span_id.h"

bool exchange_ready(struct correlate *c, struct exchange *x)
{
	struct exchange *y = x;

	if (c->now_ns >= x->finish_ns + c->cfg.settle_ns + IDENTITY_WAIT_NS)
		return true;
	if (!process_is_known(x->process))
		return false;
	/* an ancestor whose context cannot be decided yet would be decided too early */
	for (int depth = 0; depth < PARENT_DEPTH; depth++) {
		y = y->server ? y->joined : y->context;
		if (!y || y->final)
			return true;
		if (!y->server && !process_is_known(y->process))
			return false;
	}
	return true;
}

static void set_parent(struct exchange *x, struct exchange *parent, enum method method)
{
	x->parent = exchange_get(parent);
	x->method = (uint8_t)method;
}

static bool same_trace(const struct exchange *x, const struct trace_id *id)
{
	return memcmp(&x->trace, id, sizeof(*id)) == 0;
}

static void resolve_at(struct correlate *c, struct exchange *x, int depth);

/* The nearest that will be a span: a connection's set-up is none. */
static struct exchange *visible(struct correlate *c, struct exchange *x, int depth)
{
	for (int i = 0; x && i < PARENT_DEPTH; i++) {
		resolve_at(c, x, depth);
		if (!x->internal)
			return x;
		x = x->parent;
	}
	return NULL;
}

/* Whether y may be the parent of x at all: nothing begins before what caused it. */
static bool may_cause(const struct exchange *y, const struct exchange *x, uint64_t skew_ns)
{
	return y && y != x && y->final && y->start_ns <= x->start_ns + skew_ns;
}

static void take_header(struct exchange *x)
{
	x->remote_parent = true;
	x->parent_id = x->header.span;
}

static void resolve_server(struct correlate *c, struct exchange *x, int depth)
{
	struct exchange *y;

	join_by_time(c, x);
	y = visible(c, x->joined, depth);
	if (may_cause(y, x, SKEW_POSITION_NS) &&
	    (!x->header.set || same_trace(y, &x->header.trace)))
		set_parent(x, y, METHOD_SOCKET);
	else if (x->header.set)
		take_header(x);
	exchange_put(x->joined);
	x->joined = NULL;
}

/* Links are to spans: their trace ids have to stand. */
static void keep_links(struct correlate *c, struct exchange *x, const struct decision *d, int depth)
{
	struct decision *to = &x->draft->links;

	if (d->method != METHOD_AMBIGUOUS)
		return;
	count(c, COUNTER_ambiguous);
	to->method = d->method;
	for (uint32_t i = 0; i < d->link_cnt; i++) {
		resolve_at(c, d->link[i], depth);
		if (d->link[i]->final)
			to->link[to->link_cnt++] = exchange_get(d->link[i]);
	}
}

static bool was_loss(const struct correlate *c, uint64_t at_ns)
{
	return at_ns >= c->loss_from_ns && at_ns < c->loss_to_ns;
}

/* What has become known since: losses, and what the thread is like. */
static void evidence_doubt(struct correlate *c, struct evidence *ev)
{
	ev->tainted |= was_loss(c, ev->at_ns);
	ev->habits |= thread_habits(c, ev);
}

static void resolve_client(struct correlate *c, struct exchange *x, int depth)
{
	const struct runtime_traits *traits = &runtime_table[process_runtime(x->process)];
	struct draft *d = x->draft;
	struct decision found;
	struct exchange *y;
	bool handed_on;

	if (!d)
		return;
	evidence_doubt(c, &d->evidence);
	if (d->dial)
		evidence_doubt(c, d->dial);
	found = context_of(c, x, traits);
	y = visible(c, found.parent, depth);
	if (!may_cause(y, x, SKEW_NS))
		y = NULL;
	exchange_put(x->context);
	x->context = exchange_get(y);
	handed_on = y && y->header.set &&
		    memcmp(&y->header.trace, &x->header.trace, sizeof(x->header.trace)) == 0 &&
		    memcmp(&y->header.span, &x->header.span, sizeof(x->header.span)) == 0;
	if (x->header.set && !handed_on) {
		take_header(x); /* the program's own tracer made it */
	} else if (y) {
		set_parent(x, y, found.method);
		count(c, COUNTER_parented);
	} else {
		keep_links(c, x, &found, depth);
	}
}

static void derive_trace(struct correlate *c, struct exchange *x)
{
	for (int half = 0; half < 2; half++) {
		uint64_t id =
			trace_id_derive(c->key[0], c->key[1], x->key.conn, x->pos, (uint64_t)half);
		for (int i = 0; i < 8; i++)
			x->trace.b[half * 8 + i] = (uint8_t)(id >> (56 - 8 * i));
	}
	x->trace_flags = 1; /* sampled */
}

static void resolve_at(struct correlate *c, struct exchange *x, int depth)
{
	if (!x || x->final || x->resolving || depth > PARENT_DEPTH)
		return;
	x->resolving = true;
	if (x->server)
		resolve_server(c, x, depth + 1);
	else
		resolve_client(c, x, depth + 1);
	if (x->parent) {
		x->trace = x->parent->trace;
		x->trace_flags = x->parent->trace_flags;
	} else if (x->remote_parent) {
		x->trace = x->header.trace;
		x->trace_flags = x->header.flags;
	} else {
		derive_trace(c, x);
	}
	x->resolving = false;
	x->final = true;
}

void exchange_resolve(struct correlate *c, struct exchange *x)
{
	resolve_at(c, x, 0);
}

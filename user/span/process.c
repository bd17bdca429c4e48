/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a process is, over its life: made at fork or exec or first sight, named by EVENT_PROC, kept
 * a while after its exit. Exchanges hold on to the process of their moment, so that a reused pid
 * cannot rename them.
 */
#include "span/internal.h"

#include <stdlib.h>

#define FORK_DEPTH  8
#define SDK_VERSION "0.1.0"
#define SCHEMA_URL  "https://opentelemetry.io/schemas/1.44.0"

static struct process *process_in_table(struct correlate *c, uint32_t tgid)
{
	struct process *p;

	HASH_FIND(hh, c->processes, &tgid, sizeof(tgid), p);
	return p;
}

void process_put(struct process *p)
{
	while (p && --p->refs == 0) {
		struct process *from = p->from;

		resource_put(p->resource);
		free(p);
		p = from;
	}
}

static void process_remove(struct correlate *c, struct process *p)
{
	HASH_DEL(c->processes, p);
	c->process_cnt--;
	if (p->exit_ns)
		DL_DELETE(c->exited, p);
	p->in_table = false;
	process_put(p);
}

/* The one that replaces what the table has for this tgid. NULL when full. Not counted for the
 * caller. */
static struct process *process_begin(struct correlate *c, uint32_t tgid)
{
	struct process *old = process_in_table(c, tgid), *p;

	if (old)
		process_remove(c, old);
	if (c->process_cnt >= PROCESSES_MAX && c->exited)
		process_remove(c, c->exited);
	p = c->process_cnt < PROCESSES_MAX ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		count(c, COUNTER_processes_full);
		return NULL;
	}
	p->tgid = tgid;
	p->refs = 1;
	p->in_table = true;
	HASH_ADD(hh, c->processes, tgid, sizeof(p->tgid), p);
	c->process_cnt++;
	return p;
}

struct process *process_get(struct correlate *c, uint32_t tgid, uint64_t ts_ns)
{
	struct process *p = process_in_table(c, tgid);

	if (!p || (p->exit_ns && p->exit_ns < ts_ns))
		p = process_begin(c, tgid);
	if (p)
		p->refs++;
	return p;
}

/* Itself where it is known, or the nearest it was forked from; NULL: unknown. */
static const struct process *process_origin(const struct process *p)
{
	for (int depth = 0; p && depth < FORK_DEPTH; depth++, p = p->from)
		if (p->known)
			return p;
	return NULL;
}

bool process_is_known(const struct process *p)
{
	return process_origin(p) != NULL;
}

enum runtime process_runtime(const struct process *p)
{
	const struct process *origin = process_origin(p);

	return origin ? origin->runtime : RUNTIME_UNKNOWN;
}

/* ---- resources ------------------------------------------------------------------------------ */

static void resource_add(struct resource *r, const char *key, struct str value)
{
	if (!attrs_find(&r->attrs, str_of(key)))
		attrs_add_str(&r->attrs, r->arena, key, value);
}

static void resource_finish(struct correlate *c, struct resource *r)
{
	if (c->host[0])
		resource_add(r, "host.name", arena_str(r->arena, str_of(c->host)));
	resource_add(r, "telemetry.sdk.name", STR("telltale"));
	resource_add(r, "telemetry.sdk.language", STR("c"));
	resource_add(r, "telemetry.sdk.version", STR(SDK_VERSION));
	r->schema_url = STR(SCHEMA_URL);
	resource_seal(r);
}

/* Numbers of the semantic conventions; all else is text. */
static struct value resource_value(struct str key, struct str text)
{
	uint64_t n;

	if ((str_eq(key, STR("process.pid")) || str_eq(key, STR("process.parent_pid"))) &&
	    str_to_u64(text, &n) && n <= INT32_MAX)
		return (struct value){ .type = VALUE_INT, .i = (int64_t)n };
	return (struct value){ .type = VALUE_STR, .str = text };
}

static struct resource *resource_from_record(struct correlate *c, const struct event_proc *rec)
{
	struct resource *r = resource_new();
	struct cursor cur = cursor_of(rec->text, rec->text_len);

	if (!r)
		return NULL;
	while (cursor_left(&cur)) {
		struct str key = take_until(&cur, 0), text = take_until(&cur, 0);

		if (cur.bad)
			break;
		if (!key.len || !text.len || attrs_find(&r->attrs, key))
			continue;
		key = arena_str(r->arena, key);
		text = arena_str(r->arena, text);
		if (key.p && text.p)
			attrs_add(&r->attrs, r->arena, key, resource_value(key, text));
	}
	resource_finish(c, r);
	return r;
}

/* A forked child that never was told apart: its parent's identity with its own pid. */
static struct resource *resource_inherited(struct correlate *c, const struct process *origin,
					   uint32_t tgid)
{
	struct resource *r = resource_new();

	if (!r)
		return NULL;
	for (uint32_t i = 0; i < origin->resource->attrs.cnt; i++) {
		const struct attr *at = &origin->resource->attrs.item[i];
		struct value v = at->value;

		if (str_eq(at->key, STR("process.parent_pid")))
			continue;
		if (str_eq(at->key, STR("process.pid")))
			v = (struct value){ .type = VALUE_INT, .i = tgid };
		else if (v.type == VALUE_STR)
			v.str = arena_str(r->arena, v.str);
		attrs_add(&r->attrs, r->arena, arena_str(r->arena, at->key), v);
	}
	resource_finish(c, r);
	return r;
}

static struct resource *resource_unknown(struct correlate *c, uint32_t tgid, const char *comm)
{
	struct resource *r = resource_new();

	if (!r)
		return NULL;
	if (comm[0])
		attrs_add_str(&r->attrs, r->arena, "service.name",
			      arena_str(r->arena, str_of(comm)));
	attrs_add_int(&r->attrs, r->arena, "process.pid", tgid);
	resource_finish(c, r);
	return r;
}

struct resource *process_resource(struct correlate *c, struct process *p, uint32_t tgid,
				  const char *comm, struct resource **ret_owned)
{
	const struct process *origin = process_origin(p);
	struct resource *r;

	*ret_owned = NULL;
	if (p && p->resource && (p->known || p->provisional_known == (origin != NULL)))
		return p->resource;
	if (origin && origin != p && origin->resource)
		r = resource_inherited(c, origin, tgid);
	else
		r = resource_unknown(c, tgid, comm);
	if (!p) {
		*ret_owned = r;
		return r;
	}
	if (r) {
		resource_put(p->resource);
		p->resource = r;
		p->provisional_known = origin != NULL;
	}
	return r;
}

/* ---- records -------------------------------------------------------------------------------- */

static void process_identified(struct correlate *c, const struct event_proc *rec)
{
	struct process *p = process_in_table(c, rec->h.tgid);
	struct resource *r = resource_from_record(c, rec);

	if (!p)
		p = process_begin(c, rec->h.tgid);
	if (!p || !r) {
		resource_put(r);
		return;
	}
	resource_put(p->resource);
	p->resource = r;
	p->known = true;
	p->runtime = rec->runtime < RUNTIME_MAX ? (enum runtime)rec->runtime : RUNTIME_UNKNOWN;
	process_put(p->from);
	p->from = NULL;
}

static void process_forked(struct correlate *c, const struct event_fork *rec)
{
	struct process *from = process_in_table(c, rec->h.tgid), *child;

	if (from)
		from->refs++;
	child = rec->child == rec->h.tgid ? NULL : process_begin(c, rec->child);
	if (!child) {
		process_put(from);
		return;
	}
	child->seen_start = true;
	child->from = from;
}

static void process_exited(struct correlate *c, const struct event_hdr *h)
{
	struct process *p = process_in_table(c, h->tgid);

	if (!p || p->exit_ns)
		return;
	p->exit_ns = h->ts_ns ? h->ts_ns : 1;
	DL_APPEND(c->exited, p);
}

void process_record(struct correlate *c, const struct event_hdr *rec)
{
	struct process *p;

	switch (rec->kind) {
	case EVENT_PROC: process_identified(c, (const struct event_proc *)rec); break;
	case EVENT_FORK: process_forked(c, (const struct event_fork *)rec); break;
	case EVENT_EXIT: process_exited(c, rec); break;
	case EVENT_EXEC:
		/* another program: what was known of the process does not hold for it */
		p = process_begin(c, rec->tgid);
		if (p)
			p->seen_start = true;
		break;
	}
}

void process_was_serving(struct correlate *c, const struct event_conn *rec)
{
	struct process *p;

	if (!(rec->flags & CONN_F_MIDSTREAM) || rec->role != ROLE_ACCEPTED)
		return;
	p = process_get(c, rec->h.tgid, rec->h.ts_ns);
	if (p)
		p->serving_ns = c->serving_ns = rec->h.ts_ns;
	process_put(p);
}

/* The walk over open sockets ends before the key is made: until then it may not have come by. */
bool process_may_owe(struct correlate *c, uint32_t tgid, uint64_t ts_ns, uint64_t new_ns)
{
	const struct process *p;

	if (ts_ns >= c->serving_ns + START_NS && ts_ns >= c->start_ns)
		return false;
	p = process_in_table(c, tgid);
	if (ts_ns < c->start_ns)
		return !new_ns && !(p && p->seen_start);
	return p && p->serving_ns > new_ns && ts_ns < p->serving_ns + START_NS;
}

void processes_tick(struct correlate *c)
{
	while (c->exited && c->exited->exit_ns + c->cfg.remember_ns < c->now_ns)
		process_remove(c, c->exited);
}

void processes_free(struct correlate *c)
{
	struct process *p, *next;

	HASH_ITER (hh, c->processes, p, next) {
		process_remove(c, p);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The same call, told by an SDK and seen by capture. */
#include "trace/internal.h"

static bool is_ours(const struct span *s)
{
	return str_eq(s->scope->name, scope_capture.name);
}

/* The integer of that key, or -1. */
static int64_t number(const struct attrs *a, const char *key)
{
	struct attr *at = attrs_find(a, str_of(key));
	return at && at->value.type == VALUE_INT ? at->value.i : -1;
}

/* Both have it and it is the same. */
static bool same_text(const struct attrs *a, const struct attrs *b, const char *key)
{
	struct str x = attrs_str(a, key);
	return x.len && str_eq(x, attrs_str(b, key));
}

/* Both have it and it differs. */
static bool differ(const struct attrs *a, const struct attrs *b, const char *key)
{
	struct str x = attrs_str(a, key), y = attrs_str(b, key);
	return x.len && y.len && !str_eq(x, y);
}

static bool one_process(const struct resource *a, const struct resource *b)
{
	int64_t pid = number(&a->attrs, "process.pid");

	if (differ(&a->attrs, &b->attrs, "host.name") || differ(&a->attrs, &b->attrs, "host.id") ||
	    differ(&a->attrs, &b->attrs, "container.id"))
		return false;
	/* a process in a container has another number inside */
	return same_text(&a->attrs, &b->attrs, "container.id") ||
	       (pid >= 0 && pid == number(&b->attrs, "process.pid"));
}

static bool same_id(const struct span_id *a, const struct span_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* A server's span has the context that came in as its parent, both times; what a client sent out
 * names the SDK's own span. */
static bool same_context(const struct span *ours, const struct span *theirs)
{
	if (!span_id_is_set(&ours->parent_id))
		return false;
	return ours->kind == SPAN_SERVER || ours->kind == SPAN_CONSUMER
		       ? same_id(&ours->parent_id, &theirs->parent_id)
		       : same_id(&ours->parent_id, &theirs->span_id);
}

static bool same_peer(const struct span *a, const struct span *b)
{
	static const char *const keys[] = { "server.address", "network.peer.address" };
	static const char *const ports[] = { "server.port", "network.peer.port" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (same_text(&a->attrs, &b->attrs, keys[i]) &&
		    number(&a->attrs, ports[i]) == number(&b->attrs, ports[i]))
			return true;
	}
	return false;
}

static bool same_operation(const struct span *a, const struct span *b)
{
	static const char *const keys[] = { "http.request.method", "db.operation.name",
					    "rpc.method" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (same_text(&a->attrs, &b->attrs, keys[i]))
			return true;
		if (differ(&a->attrs, &b->attrs, keys[i]))
			return false;
	}
	return str_eq(a->name, b->name);
}

/* 95 % of the longer one. */
static bool same_time(const struct span *a, const struct span *b)
{
	uint64_t from = MAX(a->start_ns, b->start_ns), to = MIN(a->end_ns, b->end_ns);
	uint64_t longer = MAX(a->end_ns - a->start_ns, b->end_ns - b->start_ns);

	return to >= from && (double)(to - from) >= 0.95 * (double)longer;
}

/* The one span that tells of the same call, or NULL: none, or more than one. */
static const struct span *twin_of(const struct trace *t, const struct span *ours)
{
	const struct span *by_context = NULL, *by_time = NULL;
	uint32_t contexts = 0, times = 0;

	for (uint32_t i = 0; i < t->span_cnt; i++) {
		const struct span *s = t->spans[i];

		if (s->kind != ours->kind || is_ours(s) ||
		    !one_process(ours->resource, s->resource))
			continue;
		if (same_context(ours, s)) {
			by_context = s;
			contexts++;
		} else if (same_time(ours, s) && same_peer(ours, s) && same_operation(ours, s)) {
			by_time = s;
			times++;
		}
	}
	if (contexts)
		return contexts == 1 ? by_context : NULL;
	return times == 1 ? by_time : NULL;
}

bool trace_has_both(const struct trace *t)
{
	uint32_t ours = 0;

	for (uint32_t i = 0; i < t->span_cnt; i++)
		ours += is_ours(t->spans[i]);
	return ours && ours < t->span_cnt && t->span_cnt <= COMPARED_MAX;
}

uint32_t trace_mark_duplicates(struct trace *t)
{
	uint32_t marked = 0;

	if (!trace_has_both(t))
		return 0;
	for (uint32_t i = 0; i < t->span_cnt; i++) {
		const struct span *twin = is_ours(t->spans[i]) ? twin_of(t, t->spans[i]) : NULL;
		struct str hex;
		char id[17];

		if (!twin)
			continue;
		span_id_hex(&twin->span_id, id);
		hex = arena_str(t->arena, str_of(id));
		if (!hex.p)
			continue;
		attrs_add_str(&t->spans[i]->attrs, t->arena, "telltale.duplicate_of", hex);
		marked++;
	}
	return marked;
}

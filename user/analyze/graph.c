/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls whom: a call's two ends brought together. */
#include "analyze/internal.h"

#include <xxhash.h>

/* Of a chain, the newest first: of very many that name one parent the older ones stay unpaired. */
#define LOOKED_AT_MAX 64

/* The client's span is what both ends can name: its own id, the server's parent. */
static uint64_t key_of(const struct trace_id *trace, const struct span_id *span)
{
	uint64_t h = XXH3_64bits_withSeed(trace->b, sizeof(trace->b),
					  XXH3_64bits(span->b, sizeof(span->b)));
	return h ? h : 1;
}

static struct edge *edge_of(struct analyze *a, const char *client, const char *server,
			    enum connection connection)
{
	uint64_t hash = XXH3_64bits_withSeed(
		server, strlen(server), XXH3_64bits(client, strlen(client)) + (uint64_t)connection);
	struct edge *e = (struct edge *)rows_get(&a->edges, hash, sizeof(*e));

	if (!e)
		return a->other_edge;
	if (!e->client) {
		e->client = analyze_strdup(str_of(client));
		e->server = analyze_strdup(str_of(server));
		e->connection = connection;
	}
	return e;
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

/* ---- waiting ---- */

static uint32_t *chain_of(struct analyze *a, uint64_t key)
{
	return &a->slot[key & a->slot_mask];
}

/* Out of its chain; the place in the ring is passed over later. */
static void take(struct analyze *a, struct waiting *w)
{
	*(w->prev ? &a->ring[w->prev - 1].next : chain_of(a, w->key)) = w->next;
	if (w->next)
		a->ring[w->next - 1].prev = w->prev;
	w->key = 0;
}

static struct waiting *take_other(struct analyze *a, uint64_t key, bool client)
{
	uint32_t at = *chain_of(a, key);

	for (int i = 0; at && i < LOOKED_AT_MAX; i++, at = a->ring[at - 1].next) {
		struct waiting *w = &a->ring[at - 1];

		if (w->key != key || w->client != client)
			continue;
		take(a, w);
		return w;
	}
	return NULL;
}

static void unpaired(struct analyze *a, const struct waiting *w)
{
	uint64_t hash = XXH3_64bits_withSeed(w->service, strlen(w->service), w->client);
	struct unpaired *u = (struct unpaired *)rows_get(&a->unpaired, hash, sizeof(*u));

	if (!u) {
		a->dropped += w->count;
		return;
	}
	if (!u->client) {
		u->client = analyze_strdup(str_of(w->client ? w->service : ""));
		u->server = analyze_strdup(str_of(w->client ? "" : w->service));
	}
	u->spans += w->count;
}

/* Nobody came: a client called something that is not traced, if it says what. */
static void expire(struct analyze *a, const struct waiting *w)
{
	struct edge *e;

	if (!w->client || !w->peer[0]) {
		unpaired(a, w);
		return;
	}
	e = edge_of(a, w->service, w->peer, w->connection);
	e->calls += w->count;
	e->failed += w->failed ? w->count : 0;
	histogram_add(&e->seen_by_client, &w->trace_id, &w->span_id, seconds(w->duration_ns),
		      w->count, 0);
}

static void pass_over(struct analyze *a)
{
	a->first = (a->first + 1) % a->cfg.waiting_max;
	a->used--;
}

void graph_tick(struct analyze *a)
{
	while (a->used) {
		struct waiting *w = &a->ring[a->first];

		if (w->key && a->now_ns - w->since_ns < a->cfg.wait_ns)
			return;
		if (w->key) {
			take(a, w);
			expire(a, w);
		}
		pass_over(a);
	}
}

static void name_copy(char to[WAITING_NAME], struct str s)
{
	s = label_cut(s, WAITING_NAME - 1);
	if (s.len)
		memcpy(to, s.p, s.len);
	to[s.len] = 0;
}

static void set_peer(struct waiting *w, const struct span *s)
{
	static const struct {
		const char *key;
		enum connection connection;
	} names[] = {
		{ "service.peer.name", CONNECTION_VIRTUAL },
		{ "peer.service", CONNECTION_VIRTUAL },
		{ "db.namespace", CONNECTION_DATABASE },
		{ "db.system.name", CONNECTION_DATABASE },
		{ "db.system", CONNECTION_DATABASE },
		{ "messaging.system", CONNECTION_MESSAGING },
		{ "server.address", CONNECTION_VIRTUAL },
		{ "network.peer.address", CONNECTION_VIRTUAL },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str v = attrs_str(&s->attrs, names[i].key);

		if (!v.len)
			continue;
		name_copy(w->peer, v);
		w->connection = names[i].connection;
		return;
	}
}

static void wait_for_other(struct analyze *a, const struct span *s, uint64_t key, bool client)
{
	uint32_t at = (a->first + a->used) % a->cfg.waiting_max, *chain = chain_of(a, key);
	struct waiting *w = &a->ring[at];

	if (a->used == a->cfg.waiting_max) {
		/* what is taken is given back in order only */
		if (a->ring[a->first].key) {
			a->dropped += span_adjusted_count(s);
			return;
		}
		pass_over(a);
	}
	*w = (struct waiting){ .key = key,
			       .since_ns = a->now_ns,
			       .duration_ns = s->end_ns - s->start_ns,
			       .count = span_adjusted_count(s),
			       .trace_id = s->trace_id,
			       .span_id = s->span_id,
			       .client = client,
			       .failed = s->status == STATUS_ERROR,
			       .next = *chain };
	if (w->next)
		a->ring[w->next - 1].prev = at + 1;
	name_copy(w->service, s->resource->service);
	if (client)
		set_peer(w, s);
	*chain = at + 1;
	a->used++;
}

/* ---- a span ---- */

static void called_by_user(struct analyze *a, const struct span *s)
{
	char service[WAITING_NAME];
	double count = span_adjusted_count(s);
	struct edge *e;

	name_copy(service, s->resource->service);
	e = edge_of(a, "user", service, CONNECTION_VIRTUAL);
	e->calls += count;
	e->failed += s->status == STATUS_ERROR ? count : 0;
	histogram_add(&e->seen_by_server, &s->trace_id, &s->span_id,
		      seconds(s->end_ns - s->start_ns), count, s->end_ns);
}

static void pair(struct analyze *a, const struct span *s, const struct waiting *other)
{
	bool messaging = s->kind == SPAN_PRODUCER || s->kind == SPAN_CONSUMER;
	char service[WAITING_NAME];
	struct edge *e;

	name_copy(service, s->resource->service);
	e = edge_of(a, other->client ? other->service : service,
		    other->client ? service : other->service,
		    messaging ? CONNECTION_MESSAGING : CONNECTION_NONE);
	e->calls += other->count;
	e->failed += other->failed || s->status == STATUS_ERROR ? other->count : 0;
	histogram_add(other->client ? &e->seen_by_server : &e->seen_by_client, &s->trace_id,
		      &s->span_id, seconds(s->end_ns - s->start_ns), other->count, s->end_ns);
	histogram_add(other->client ? &e->seen_by_client : &e->seen_by_server, &s->trace_id,
		      &other->span_id, seconds(other->duration_ns), other->count, s->end_ns);
}

void graph_push(struct analyze *a, const struct span *s)
{
	bool client = s->kind == SPAN_CLIENT || s->kind == SPAN_PRODUCER;
	struct waiting *other;
	uint64_t key;

	if (!client && s->kind != SPAN_SERVER && s->kind != SPAN_CONSUMER)
		return;
	if (!client && !span_id_is_set(&s->parent_id)) {
		called_by_user(a, s);
		return;
	}
	key = key_of(&s->trace_id, client ? &s->span_id : &s->parent_id);
	other = take_other(a, key, !client);
	if (other)
		pair(a, s, other);
	else
		wait_for_other(a, s, key, client);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of a connection on one machine: found by addresses (TCP, UDP, TLS) or socket identities
 * (UNIX), then the same request at both by its position in the stream.
 */
#include "span/internal.h"

#include <stdlib.h>

/* How much earlier than the other end's first sight an end may have closed. */
#define CLOSED_TCP_NS  (100 * NS_PER_MS)
#define CLOSED_UNIX_NS (5 * NS_PER_MS) /* the kernel reuses socket addresses at once */

/* All links with the same ends, newest last: namespaces, and connections one after another. */
struct join_slot {
	struct ends ends;
	struct link *links;
	UT_hash_handle hh;
};

static struct join_slot *slot_find(struct correlate *c, const struct ends *ends)
{
	struct join_slot *s;

	HASH_FIND(hh, c->slots, ends, sizeof(*ends), s);
	return s;
}

static bool has_ends(const struct ends *e)
{
	if (e->transport == TRANSPORT_UNIX)
		return e->sock && e->peer_sock;
	return e->local.port && e->remote.port;
}

static bool may_pair(const struct link *a, const struct link *b)
{
	uint64_t slack = a->transport == TRANSPORT_UNIX ? CLOSED_UNIX_NS : CLOSED_TCP_NS;

	if (a == b || b->peer || (a->role && a->role == b->role))
		return false;
	/* the same addresses in two namespaces may be two machines in one: not on loopback */
	if (a->transport != TRANSPORT_UNIX && a->netns != b->netns && ends_are_loopback(&a->ends))
		return false;
	if (b->close_ns && a->open_ns > b->close_ns + slack)
		return false;
	return true;
}

static void pair_up(struct correlate *c, struct link *l)
{
	struct ends other = { .local = l->ends.remote,
			      .remote = l->ends.local,
			      .sock = l->ends.peer_sock,
			      .peer_sock = l->ends.sock,
			      .transport = l->ends.transport };
	struct join_slot *s = slot_find(c, &other);
	struct link *o, *best = NULL;

	if (!s)
		return;
	DL_FOREACH2(s->links, o, same_next)
	{
		if (!may_pair(l, o))
			continue;
		if (!best || best->close_ns || !o->close_ns)
			best = o;
	}
	if (best) {
		best->peer = l;
		l->peer = best;
	}
}

void join_add(struct correlate *c, struct link *l)
{
	struct join_slot *s;

	if (!has_ends(&l->ends))
		return;
	s = slot_find(c, &l->ends);
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return;
		s->ends = l->ends;
		HASH_ADD(hh, c->slots, ends, sizeof(s->ends), s);
	}
	DL_APPEND2(s->links, l, same_prev, same_next);
	l->listed = true;
	pair_up(c, l);
}

void join_remove(struct correlate *c, struct link *l)
{
	struct join_slot *s;

	if (!l->listed)
		return;
	if (l->peer)
		l->peer->peer = NULL;
	l->peer = NULL;
	l->listed = false;
	s = slot_find(c, &l->ends);
	if (!s)
		return;
	DL_DELETE2(s->links, l, same_prev, same_next);
	if (!s->links) {
		HASH_DEL(c->slots, s);
		free(s);
	}
}

/* A request is sent before it is read, and read before the sender gave up or had its answer. */
static bool times_fit(const struct exchange *client, const struct exchange *server,
		      uint64_t skew_ns)
{
	if (client->start_ns > server->start_ns + skew_ns)
		return false;
	if (client->end_ns && client->end_ns + skew_ns < server->start_ns)
		return client->end == END_NONE || client->end == END_TIMEOUT;
	return true;
}

static bool positions_compare(const struct link *a, const struct link *b)
{
	if (a->transport == TRANSPORT_TCP)
		return true;
	return a->transport != TRANSPORT_UDP && !((a->flags | b->flags) & CONN_F_MIDSTREAM);
}

static void join_pair(struct correlate *c, struct exchange *client, struct exchange *server,
		      uint64_t skew_ns)
{
	if (server->joined || server->final || !times_fit(client, server, skew_ns))
		return;
	server->joined = exchange_get(client);
	count(c, COUNTER_joined);
}

void join_exchange(struct correlate *c, struct exchange *x)
{
	struct link *peer = x->link->peer;
	struct exchange *o;

	if (!peer || !positions_compare(x->link, peer))
		return;
	o = exchange_find(c, peer->id, !x->key.dir, x->key.pos);
	if (!o || o->end == END_CONNECT)
		return;
	if (x->server)
		join_pair(c, o, x, SKEW_POSITION_NS);
	else
		join_pair(c, x, o, SKEW_POSITION_NS);
}

void join_by_time(struct correlate *c, struct exchange *x)
{
	struct link *peer = x->link ? x->link->peer : NULL;
	struct exchange *o, *only = NULL;

	if (x->joined || !peer)
		return;
	join_exchange(c, x);
	if (x->joined || positions_compare(x->link, peer))
		return;
	o = peer->all ? peer->all->all_prev : NULL;
	for (int i = 0; o && i < WALK_MAX; i++) {
		bool over = o->end_ns && o->end_ns + SKEW_NS < x->end_ns;

		if (!o->server && o->stream_id == x->stream_id && !over &&
		    times_fit(o, x, SKEW_NS)) {
			if (only)
				return; /* two at once: which is not known */
			only = o;
		}
		o = o == peer->all ? NULL : o->all_prev;
	}
	if (only)
		join_pair(c, only, x, SKEW_NS);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of connections. */
#include "span/internal.h"

#include <stdlib.h>

struct link *link_find(struct correlate *c, uint64_t conn_id)
{
	struct link *l;

	HASH_FIND(hh, c->links, &conn_id, sizeof(conn_id), l);
	return l;
}

bool ends_are_loopback(const struct ends *e)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	static const uint8_t one[16] = { [15] = 1 };
	const uint8_t *a[2] = { e->local.addr, e->remote.addr };

	for (int i = 0; i < 2; i++)
		if ((memcmp(a[i], mapped, 12) == 0 && a[i][12] == 127) ||
		    memcmp(a[i], one, 16) == 0)
			return true;
	return false;
}

struct link *link_dialled(struct correlate *c, struct link *l)
{
	struct link *below = l->dial || !l->carrier ? NULL : link_find(c, l->carrier);

	return below ? below : l;
}

/* connect() in the context of a request: the request waits for it. */
static void link_dial(struct correlate *c, struct link *l)
{
	static const struct runtime_traits any = { .thread_context = true };
	const struct conn *conn = l->conn;
	struct decision d;

	if (l->dial_seen || l->used || conn->role != ROLE_DIALLED || !conn->dial_thread.tid ||
	    !conn->dial_ns || (conn->flags & CONN_F_MIDSTREAM))
		return;
	l->dial_seen = true;
	l->dial = malloc(sizeof(*l->dial));
	if (!l->dial)
		return;
	evidence_capture(c, l->dial, &conn->dial_thread, conn->tgid, conn->dial_ns);
	d = context_decide(l->dial, &any);
	if (!d.parent)
		return;
	l->dial_for = exchange_get(d.parent);
	c->dials++;
	thread_waits(d.parent, conn->dial_ns);
}

void link_dial_over(struct correlate *c, struct link *l, uint64_t ts_ns)
{
	struct exchange *x = l->dial_for;

	if (!x)
		return;
	l->dial_for = NULL;
	c->dials--;
	thread_done(x);
	if (ts_ns)
		thread_wakes(x, ts_ns);
	exchange_put(x);
}

void link_update(struct correlate *c, struct link *l)
{
	const struct conn *conn = l->conn;
	struct ends ends = { .local = conn->local,
			     .remote = conn->remote,
			     .transport = conn->transport };

	if (conn->transport == TRANSPORT_UNIX) {
		memset(&ends.local, 0, sizeof(ends.local));
		memset(&ends.remote, 0, sizeof(ends.remote));
		ends.sock = conn->sock;
		ends.peer_sock = conn->peer_sock;
	}
	l->netns = conn->netns;
	l->tgid = conn->tgid;
	l->flags = conn->flags;
	l->family = conn->family;
	l->transport = conn->transport;
	l->role = conn->role;
	l->carrier = conn->carrier;
	l->dial_ns = conn->dial_ns;
	l->open_ns = conn->open_ns;
	memcpy(l->comm, conn->comm, sizeof(l->comm));
	if (!l->path && conn->path[0])
		l->path = strdup(conn->path);
	if (!l->listed || memcmp(&ends, &l->ends, sizeof(ends)) != 0) {
		join_remove(c, l);
		l->ends = ends;
		l->local_text[0] = l->remote_text[0] = 0;
		join_add(c, l);
	}
	link_dial(c, l);
}

struct link *link_of(struct correlate *c, struct conn *conn)
{
	struct link *l = conn->above[1];

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->id = conn->id;
	l->refs = 1;
	l->conn = conn;
	conn->above[1] = l;
	HASH_ADD(hh, c->links, id, sizeof(l->id), l);
	link_update(c, l);
	return l;
}

void link_put(struct correlate *c, struct link *l)
{
	if (--l->refs)
		return;
	join_remove(c, l);
	HASH_DEL(c->links, l);
	link_dial_over(c, l, 0);
	if (l->dial)
		evidence_clear(l->dial);
	free(l->dial);
	free(l->path);
	free(l);
}

/* A connection that was dialled, was never open and carried nothing: the dialling is the span. */
static struct exchange *failed_dial(struct correlate *c, struct link *l, uint32_t err,
				    uint64_t ts_ns)
{
	struct msg m = { .type = MSG_REQUEST,
			 .conn = l->conn,
			 .dir = DIR_OUT,
			 .start_ns = l->dial_ns,
			 .tgid = l->tgid,
			 .body_size = UINT64_MAX };

	if (l->used || l->role != ROLE_DIALLED || !l->dial_ns || l->open_ns ||
	    l->transport == TRANSPORT_UDP || (l->flags & (CONN_F_ESTABLISHED | CONN_F_MIDSTREAM)))
		return NULL;
	/* given up soon and without an error: a race of addresses (RFC 8305, 5), a closed tab */
	if (!err && ts_ns < l->dial_ns + CONNECT_PATIENCE_NS)
		return NULL;
	if (err == ECANCELED)
		return NULL;
	if (l->dial)
		m.thread = l->dial->thread;
	return exchange_new(c, l, &m);
}

void link_close(struct correlate *c, struct link *l, uint32_t err, uint64_t ts_ns)
{
	struct exchange *x = failed_dial(c, l, err, ts_ns);

	if (x) {
		if (l->dial) {
			x->draft->evidence = *l->dial;
			free(l->dial);
			l->dial = NULL;
		}
		x->draft->err = err;
		exchange_finish(c, x, ts_ns, END_CONNECT);
	}
	while ((x = l->open)) {
		if (!x->draft->err)
			x->draft->err = err;
		exchange_finish(c, x, ts_ns, exchange_end_of(err));
	}
	link_dial_over(c, l, ts_ns);
	orphans_drop(c, l);
	l->close_ns = ts_ns;
	l->conn->above[1] = NULL;
	l->conn = NULL;
	link_put(c, l);
}

void links_free(struct correlate *c)
{
	struct link *l, *next;

	HASH_ITER (hh, c->links, l, next) {
		/* conn is not touched: it may be gone already */
		l->conn = NULL;
		link_put(c, l);
	}
}

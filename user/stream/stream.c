/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: made, completed, given up. What happens to their bytes is in bytes.c. */
#include "stream/internal.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define DEFAULT_MAX_CONNS   65536
#define DEFAULT_IDLE_NS	    (60 * NS_PER_S)
#define DEFAULT_IDLE_TCP_NS (3600 * NS_PER_S)

/* TLS plaintext outlives its connection by so much: its last records may come after the close. */
#define CLOSING_NS (1 * NS_PER_S)

static uint64_t patience(const struct stream *s, enum idle_list list)
{
	switch (list) {
	case IDLE_TCP: return s->cfg.idle_tcp_ns;
	case IDLE_SHORT: return s->cfg.idle_ns;
	default: return CLOSING_NS;
	}
}

static enum idle_list list_of(const struct conn *c)
{
	return c->transport == TRANSPORT_UNIX || c->transport == TRANSPORT_UDP ? IDLE_SHORT
									       : IDLE_TCP;
}

static void touch(struct stream *s, struct entry *e)
{
	/* once its carrier has gone, a TLS connection has no more than a moment */
	table_touch(&s->table, e, e->list == IDLE_CLOSING ? IDLE_CLOSING : list_of(&e->conn),
		    s->now_ns);
}

static void see_time(struct stream *s, uint64_t ns)
{
	if (ns > s->now_ns)
		s->now_ns = ns;
}

void stream_emit(struct stream *s, const struct chunk *c)
{
	book_add(&s->count[COUNTED_chunks], 1);
	s->out.push(s->out.ctx, c);
}

static void close_conn(struct stream *s, struct entry *e, uint64_t ts_ns, uint32_t tgid,
		       uint32_t err)
{
	struct chunk c = {
		.kind = CHUNK_CLOSE, .conn = &e->conn, .err = err, .tgid = tgid, .ts_ns = ts_ns
	};
	struct entry *rider = e->rider ? table_find(&s->table, e->rider) : NULL;

	if (rider) {
		rider->carrier_err = err;
		table_touch(&s->table, rider, IDLE_CLOSING, s->now_ns);
	}
	stream_emit(s, &c);
	table_remove(&s->table, e);
}

static struct entry *make_conn(struct stream *s, const struct event_hdr *h, uint64_t id)
{
	struct entry *e;

	if (s->table.cnt >= s->cfg.max_conns) {
		struct entry *oldest = table_oldest(&s->table);

		book_add(&s->count[COUNTED_evicted], 1);
		close_conn(s, oldest, s->now_ns, oldest->conn.tgid, ETIME);
	}
	e = table_add(&s->table, id, IDLE_TCP);
	if (e) {
		e->conn.tgid = h->tgid;
		e->used_ns = s->now_ns;
	}
	return e;
}

static void open_chunk(struct stream *s, struct entry *e, const struct event_hdr *h,
		       const struct event_thread *thread)
{
	struct chunk c = { .kind = CHUNK_OPEN,
			   .conn = &e->conn,
			   .tgid = h->tgid,
			   .ts_ns = h->ts_ns,
			   .thread = *thread };

	stream_emit(s, &c);
}

/* A TLS connection is known by the one below it. */
static void copy_carrier(struct stream *s, struct entry *e)
{
	struct entry *below = table_find(&s->table, e->conn.carrier);
	struct conn *to = &e->conn, *from;

	if (!below)
		return;
	below->rider = to->id;
	from = &below->conn;
	if (!to->family) {
		to->family = from->family;
		to->local = from->local;
		to->remote = from->remote;
		to->netns = from->netns;
		memcpy(to->path, from->path, sizeof(to->path));
	}
	if (!to->role)
		to->role = from->role;
	if (!to->sock)
		to->sock = from->sock;
	if (!to->peer_sock)
		to->peer_sock = from->peer_sock;
	if (!to->cgroup)
		to->cgroup = from->cgroup;
	if (!to->comm[0])
		memcpy(to->comm, from->comm, sizeof(to->comm));
	if (!to->dial_ns) {
		to->dial_ns = from->dial_ns;
		to->dial_thread = from->dial_thread;
	}
	if (!to->open_ns)
		to->open_ns = from->open_ns;
}

static void complete_addresses(struct conn *c, const struct event_conn *rec)
{
	if (!rec->family)
		return;
	c->family = rec->family;
	memcpy(c->local.addr, rec->laddr, sizeof(c->local.addr));
	memcpy(c->remote.addr, rec->raddr, sizeof(c->remote.addr));
	c->local.port = rec->lport;
	c->remote.port = rec->rport;
	if (rec->path[0])
		memcpy(c->path, rec->path, UNIX_PATH_LEN);
}

/* Later records complete earlier ones: what they do not know stays. */
static void complete_conn(struct conn *c, const struct event_conn *rec)
{
	c->carrier = rec->carrier ? rec->carrier : c->carrier;
	c->sock = rec->sock ? rec->sock : c->sock;
	c->peer_sock = rec->peer_sock ? rec->peer_sock : c->peer_sock;
	c->dial_ns = rec->dial_ns ? rec->dial_ns : c->dial_ns;
	c->open_ns = rec->open_ns ? rec->open_ns : c->open_ns;
	c->cgroup = rec->cgroup ? rec->cgroup : c->cgroup;
	c->netns = rec->netns ? rec->netns : c->netns;
	c->transport = rec->transport;
	c->role = rec->role ? rec->role : c->role;
	c->flags = rec->flags;
	complete_addresses(c, rec);
	if (rec->comm[0])
		memcpy(c->comm, rec->comm, COMM_LEN);
	if (rec->dial_ns && rec->role == ROLE_DIALLED && !c->dial_thread.tid)
		c->dial_thread = rec->thread;
}

static int take_conn(struct stream *s, const struct event_conn *rec)
{
	struct entry *e = table_find(&s->table, rec->conn);
	bool fresh = !e;

	if (!e)
		e = make_conn(s, &rec->h, rec->conn);
	if (!e)
		return DROPPED_NO_MEMORY;
	complete_conn(&e->conn, rec);
	if (e->conn.carrier)
		copy_carrier(s, e);
	/* only TCP begins anywhere; elsewhere a first position above 0 is a loss */
	if (fresh && rec->transport != TRANSPORT_TCP)
		e->dir[DIR_IN].known = e->dir[DIR_OUT].known = true;
	touch(s, e);
	open_chunk(s, e, &rec->h, &rec->thread);
	return -1;
}

static int take_data(struct stream *s, const struct event_data *rec)
{
	struct entry *e = table_find(&s->table, rec->conn);

	if (!e) {
		e = make_conn(s, &rec->h, rec->conn);
		if (!e)
			return DROPPED_NO_MEMORY;
		e->conn.flags = CONN_F_MIDSTREAM;
		open_chunk(s, e, &rec->h, &rec->thread);
	}
	touch(s, e);
	return bytes_data(s, e, rec);
}

static int take_close(struct stream *s, const struct event_close *rec)
{
	struct entry *e = table_find(&s->table, rec->conn);

	if (!e)
		return DROPPED_NO_CONN;
	e->conn.retransmits = MAX(e->conn.retransmits, rec->retransmits);
	bytes_close(s, e, rec);
	close_conn(s, e, rec->h.ts_ns, rec->h.tgid, rec->err);
	return -1;
}

static int take_retransmit(struct stream *s, const struct event_mark *rec)
{
	struct entry *e = table_find(&s->table, rec->conn);
	struct chunk c = { .kind = CHUNK_RETRANSMIT, .tgid = rec->h.tgid, .ts_ns = rec->h.ts_ns };

	if (!e)
		return DROPPED_NO_CONN;
	e->conn.retransmits++;
	c.conn = &e->conn;
	touch(s, e);
	stream_emit(s, &c);
	return -1;
}

static double read_count(void *ctx)
{
	return (double)book_read(ctx);
}

static double read_conns(void *ctx)
{
	return __atomic_load_n((uint32_t *)ctx, __ATOMIC_RELAXED);
}

static void register_figures(struct stream *s)
{
#define X(figure, text) \
	{ .name = "stream_" #figure "_total", .help = text, .type = "counter", .read = read_count },
	static const struct gauge figures[] = { STREAM_COUNTS(X) };
#undef X

	for (int i = 0; i < COUNTED_MAX; i++) {
		s->gauge[i] = figures[i];
		s->gauge[i].ctx = &s->count[i];
	}
	s->gauge[COUNTED_MAX] = (struct gauge){ .name = "stream_connections",
						.help = "open connections",
						.type = "gauge",
						.read = read_conns,
						.ctx = &s->table.cnt };
	for (int i = 0; i <= COUNTED_MAX; i++)
		gauges_register(&s->gauge[i]);
	s->books = (struct books){
		.stage = "stream",
		.unit = "record",
		.reason = { [DROPPED_OLD] = "old_bytes",
			    [DROPPED_ENDED] = "after_end",
			    [DROPPED_NO_CONN] = "no_connection",
			    [DROPPED_NO_MEMORY] = "no_memory" },
	};
	books_register(&s->books);
}

struct stream *stream_new(const struct stream_cfg *cfg, struct chunk_sink out)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->out = out;
	s->cfg = *cfg;
	if (!s->cfg.max_conns)
		s->cfg.max_conns = DEFAULT_MAX_CONNS;
	if (!s->cfg.idle_ns)
		s->cfg.idle_ns = DEFAULT_IDLE_NS;
	if (!s->cfg.idle_tcp_ns)
		s->cfg.idle_tcp_ns = DEFAULT_IDLE_TCP_NS;
	register_figures(s);
	return s;
}

void stream_push(struct stream *s, const struct event_hdr *rec)
{
	int dropped;

	if (rec->kind < EVENT_CONN || rec->kind > EVENT_RETRANSMIT)
		return;
	see_time(s, rec->ts_ns);
	switch (rec->kind) {
	case EVENT_CONN: dropped = take_conn(s, (const void *)rec); break;
	case EVENT_DATA: dropped = take_data(s, (const void *)rec); break;
	case EVENT_CLOSE: dropped = take_close(s, (const void *)rec); break;
	default: dropped = take_retransmit(s, (const void *)rec); break;
	}
	book_add(&s->books.in, 1);
	book_add(dropped < 0 ? &s->books.out : &s->books.dropped[dropped], 1);
}

void stream_tick(struct stream *s, uint64_t now_ns)
{
	see_time(s, now_ns);
	for (int list = 0; list < IDLE_LISTS; list++) {
		struct entry *e;

		while ((e = s->table.idle[list]) &&
		       s->now_ns - e->used_ns >= patience(s, (enum idle_list)list)) {
			/* TLS plaintext ends as the connection below it has */
			bool idle = list != IDLE_CLOSING;

			book_add(&s->count[COUNTED_idle_closed], idle);
			close_conn(s, e, s->now_ns, e->conn.tgid, idle ? ETIME : e->carrier_err);
		}
	}
}

void stream_flush(struct stream *s)
{
	struct entry *e, *next;

	HASH_ITER (hh, s->table.by_id, e, next)
		close_conn(s, e, s->now_ns, e->conn.tgid,
			   e->conn.transport == TRANSPORT_UDP ? 0 : ECANCELED);
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	for (int i = 0; i <= COUNTED_MAX; i++)
		gauges_unregister(&s->gauge[i]);
	books_unregister(&s->books);
	table_fini(&s->table);
	free(s);
}

struct conn *stream_find(struct stream *s, uint64_t id)
{
	struct entry *e = table_find(&s->table, id);

	return e ? &e->conn : NULL;
}

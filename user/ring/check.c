/* SPDX-License-Identifier: Apache-2.0 */
/* What a well-formed record of each kind looks like. Everything here may come from a hostile file.
 */
#include "ring/ring.h"

#include <errno.h>
#include <sys/socket.h>

/* Later rooms add offsets to times: keeping them below this spares them every overflow check. */
#define TIME_MAX_NS ((__u64)1 << 62)

static bool time_ok(__u64 ns)
{
	return ns < TIME_MAX_NS;
}

static bool conn_ok(const struct event_conn *e)
{
	switch (e->family) {
	case 0: /* not known: TLS above a connection that was never seen */
	case AF_INET:
	case AF_INET6:
	case AF_UNIX: break;
	default: return false;
	}
	return e->conn && e->carrier != e->conn && e->transport >= TRANSPORT_TCP &&
	       e->transport <= TRANSPORT_TLS && e->role <= ROLE_ACCEPTED && time_ok(e->dial_ns) &&
	       time_ok(e->open_ns);
}

static bool data_ok(const struct event_data *e)
{
	return e->conn && e->dir <= DIR_OUT && e->cap <= e->len &&
	       e->h.size >= sizeof(*e) + e->cap && e->pos <= UINT64_MAX - e->len &&
	       time_ok(e->other_ns);
}

static bool close_ok(const struct event_close *e)
{
	return e->conn && time_ok(e->last_ns[DIR_IN]) && time_ok(e->last_ns[DIR_OUT]);
}

static bool exec_ok(const struct event_exec *e)
{
	return e->args_len <= EXEC_ARGS_LEN && e->env_len <= EXEC_ENV_LEN && time_ok(e->start_ns);
}

/* key, NUL, value, NUL, ...: no empty key, nothing left over. */
static bool proc_ok(const struct event_proc *e)
{
	const char *p = e->text, *end = e->text + e->text_len;

	if (e->runtime >= RUNTIME_MAX || e->text_len > PROC_TEXT_MAX ||
	    e->h.size < sizeof(*e) + e->text_len)
		return false;
	while (p < end) {
		const char *key_end = memchr(p, 0, (size_t)(end - p));
		const char *value_end =
			key_end ? memchr(key_end + 1, 0, (size_t)(end - key_end - 1)) : NULL;

		if (!value_end || key_end == p)
			return false;
		p = value_end + 1;
	}
	return true;
}

static bool clock_ok(const struct event_clock *e)
{
	return e->offset_ns > -(__s64)TIME_MAX_NS && e->offset_ns < (__s64)TIME_MAX_NS;
}

/* The size a kind has: exactly, or at least where a payload follows. 0: no such kind. */
static size_t kind_size(__u16 kind, bool *ret_exact)
{
	*ret_exact = kind != EVENT_DATA && kind != EVENT_PROC;
	switch (kind) {
	case EVENT_CONN: return sizeof(struct event_conn);
	case EVENT_DATA: return sizeof(struct event_data);
	case EVENT_CLOSE: return sizeof(struct event_close);
	case EVENT_RETRANSMIT: return sizeof(struct event_mark);
	case EVENT_EXEC: return sizeof(struct event_exec);
	case EVENT_FORK: return sizeof(struct event_fork);
	case EVENT_EXIT: return sizeof(struct event_exit);
	case EVENT_PROC: return sizeof(struct event_proc);
	case EVENT_CLOCK: return sizeof(struct event_clock);
	case EVENT_KEY: return sizeof(struct event_key);
	case EVENT_BOOKS: return sizeof(struct event_books);
	case EVENT_TICK: return sizeof(struct event_hdr);
	case EVENT_HOST: return sizeof(struct event_host);
	default: return 0;
	}
}

static bool inside_ok(const struct event_hdr *h)
{
	const void *rec = h;

	switch (h->kind) {
	case EVENT_CONN: return conn_ok(rec);
	case EVENT_DATA: return data_ok(rec);
	case EVENT_CLOSE: return close_ok(rec);
	case EVENT_RETRANSMIT: return ((const struct event_mark *)rec)->conn != 0;
	case EVENT_EXEC: return exec_ok(rec);
	case EVENT_PROC: return proc_ok(rec);
	case EVENT_CLOCK: return clock_ok(rec);
	case EVENT_HOST: {
		const struct event_host *host = rec;
		return memchr(host->name, 0, sizeof(host->name)) != NULL;
	}
	default: return true;
	}
}

int event_check(const void *rec, size_t len)
{
	const struct event_hdr *h = rec;
	size_t size;
	bool exact;

	if ((uintptr_t)rec % _Alignof(struct event_hdr) || len < sizeof(*h) ||
	    h->size < sizeof(*h) || h->size > len || !time_ok(h->ts_ns))
		return -EBADMSG;
	size = kind_size(h->kind, &exact);
	if (!size)
		return -ENOTSUP;
	if (h->size < size || (exact && h->size != size))
		return -EBADMSG;
	return inside_ok(h) ? 0 : -EBADMSG;
}

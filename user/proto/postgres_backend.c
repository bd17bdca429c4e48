/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL, what the server sends: one message a call. */
#include "proto/postgres_internal.h"

#include <ctype.h>

#define ERROR_WANTED 1024 /* bytes of an ErrorResponse that hold what matters */

static void reply_begin(struct parser *ps, struct pg_state *st)
{
	if (st->reply_open)
		return;
	st->reply = parser_begin(ps, MSG_RESPONSE, 0, 0);
	st->reply_open = true;
	st->row_results = 0;
	st->rows = 0;
}

static void reply_end(struct parser *ps, struct pg_state *st, size_t at)
{
	if (st->reply && st->row_results == 1)
		attrs_add_int(&st->reply->attrs, parser_mem(ps), "db.response.returned_rows",
			      st->rows);
	parser_end(ps, st->reply, at);
	st->reply = NULL;
	st->reply_open = false;
}

static void reply_drop(struct parser *ps, struct pg_state *st)
{
	parser_drop(ps, st->reply);
	st->reply = NULL;
	st->reply_open = false;
}

/* "SELECT 5" tells of rows that were returned; "INSERT 0 5" of rows that were not. */
static void count_rows(struct pg_state *st, struct str tag)
{
	static const struct str returning[] = { { "SELECT ", 7 }, { "FETCH ", 6 } };
	uint64_t rows;

	for (size_t i = 0; i < ARRAY_LEN(returning); i++) {
		if (!str_starts(tag, returning[i]) ||
		    !str_to_u64(str_from(tag, returning[i].len), &rows) || rows > INT64_MAX)
			continue;
		st->row_results++;
		st->rows = (int64_t)rows;
	}
}

struct failure {
	struct str severity, code, message;
};

/* Fields of an ErrorResponse, as far as they are at hand. */
static struct failure take_failure(struct cursor c)
{
	struct failure f = { .code = { NULL, 0 } };

	for (;;) {
		uint8_t field = take_u8(&c);
		struct str value;
		if (!field)
			return f;
		value = take_until(&c, 0);
		if (c.bad)
			return f;
		if (field == 'V' || (field == 'S' && !f.severity.len))
			f.severity = value;
		else if (field == 'C' && value.len == 5)
			f.code = value;
		else if (field == 'M')
			f.message = value;
	}
}

/* What the message is about: the exchange at the head of the queue. A silent head means that only
 * ReadyForQuery was awaited, and this is something else: that one was missed. */
static int current(struct pg_state *st)
{
	int head = pg_queue_head(st);

	while (head >= 0 && (head & PG_END_KIND) == PG_END_SYNC) {
		pg_queue_pop(st);
		head = pg_queue_head(st);
	}
	return head;
}

/* True when this response belongs to a request that is known, or to one that is yet to come. */
static bool has_owner(const struct pg_state *st, int head)
{
	return head >= 0 || (st->in_step && !st->unsure && !st->lost_syncs);
}

/* After a hole: does the message end one of several exchanges, nobody knows which? */
static bool ambiguous(const struct pg_state *st)
{
	return st->missing || (st->unsure && !pg_queue_single(st));
}

/* An exchange ended by something other than ReadyForQuery. */
static void exchange_end(struct parser *ps, struct pg_state *st, size_t at)
{
	reply_end(ps, st, at);
	pg_queue_done(st);
}

static void on_failure(struct parser *ps, struct pg_state *st, struct cursor body, size_t at)
{
	struct failure f = take_failure(body);
	bool fatal = str_eq(f.severity, STR("FATAL")) || str_eq(f.severity, STR("PANIC"));
	int head = current(st);

	/* the server says so when it ends an idle connection */
	if (head < 0 && (fatal || !has_owner(st, head)))
		return;
	st->aborted = true;
	if (ambiguous(st))
		return;
	reply_begin(ps, st);
	sql_fail(ps, st->reply, f.code, f.message);
	if (fatal || (head >= 0 && (head & PG_END_KIND) != PG_END_READY))
		exchange_end(ps, st, at);
}

static void on_complete(struct parser *ps, struct pg_state *st, struct str tag, size_t at)
{
	int head = current(st);

	if (!has_owner(st, head) || ambiguous(st))
		return;
	reply_begin(ps, st);
	count_rows(st, tag);
	if (head >= 0 && (head & PG_END_KIND) == PG_END_EXECUTE)
		exchange_end(ps, st, at);
}

/* Anything that belongs to a response; end: the exchange that this message ends. */
static void on_part(struct parser *ps, struct pg_state *st, enum pg_end end, size_t at)
{
	int head = current(st);

	if (!has_owner(st, head) || ambiguous(st))
		return;
	reply_begin(ps, st);
	if (head >= 0 && end != PG_END_SYNC && (head & PG_END_KIND) == (int)end)
		exchange_end(ps, st, at);
}

/* The response to an exchange that has had none of its own when its ReadyForQuery came. */
static void end_at_ready(struct parser *ps, struct pg_state *st, int head, size_t at)
{
	bool skipped = st->aborted && !st->unsure && !st->missing && !st->reply_open;

	/* right after a hole one message stands for all that wait: the last one's response */
	if (!st->reply_open && parser_had_gap(ps) && st->queue_cnt > 1)
		return;
	reply_begin(ps, st);
	/* with several statements and a hole the rows of the others are unknown */
	if (st->unsure && head & PG_SEVERAL)
		st->row_results = 0;
	if (st->reply && skipped) {
		st->reply->status = STATUS_ERROR;
		st->reply->error_type = STR("pipeline_aborted");
	}
	if (ambiguous(st) || (st->unsure && (head & PG_END_KIND) != PG_END_READY))
		parser_flag(st->reply, MSG_TRUNCATED);
	reply_end(ps, st, at);
}

static void on_ready(struct parser *ps, struct pg_state *st, size_t at, bool last)
{
	/* where a hole may have held other ReadyForQuery, the one at the turn's end is for all */
	bool all = (st->unsure || st->missing) && last;
	int head = pg_queue_head(st);

	if (head < 0 && st->lost_syncs)
		st->lost_syncs--;
	else if (head < 0 && st->reply_open && has_owner(st, head)) {
		st->debt++;
		st->debt_ns = st->reply ? st->reply->start_ns : 0;
		reply_end(ps, st, at);
	}
	while (head >= 0 && (all || !st->missing)) {
		if ((head & PG_END_KIND) != PG_END_SYNC)
			end_at_ready(ps, st, head, at);
		pg_queue_pop(st);
		if (head & PG_SYNC && !all)
			break;
		head = pg_queue_head(st);
	}
	if (st->reply_open)
		reply_drop(ps, st);
	st->aborted = false;
	st->unsure = st->unsure && st->queue_cnt;
	st->missing = st->missing && !last;
	st->placed = true;
	st->starting = false;
}

static void on_message(struct parser *ps, struct pg_state *st, const struct pg_header *h,
		       struct cursor body, bool last)
{
	switch (h->type) {
	case 'Z': on_ready(ps, st, h->avail, last); break;
	case 'C': on_complete(ps, st, take_until(&body, 0), h->avail); break;
	case 'I':
	case 's': on_complete(ps, st, STR(""), h->avail); break;
	case 'E': on_failure(ps, st, body, h->avail); break;
	case '1': on_part(ps, st, PG_END_PARSE, h->avail); break;
	case 'T':
	case 'n': on_part(ps, st, PG_END_DESCRIBE, h->avail); break;
	case 'N':
	case 'S':
	case 'A':
	case 'K':
	case 'v': break;		     /* may come at any time and belong to nothing */
	case 'W': parser_give_up(ps); break; /* replication: no requests any more */
	default: on_part(ps, st, PG_END_SYNC, h->avail); break;
	}
}

/* The answer to SSLRequest and GSSENCRequest is one byte. */
static enum parse parse_tls_answer(struct parser *ps, struct pg_state *st, struct cursor *c)
{
	st->tls_asked = false;
	if (*c->p == 'E') /* a server that knows neither */
		return pg_parse_backend(ps, st, c);
	if (*c->p != 'N')
		parser_give_up(ps);
	c->p++;
	return PARSE_OK;
}

enum parse pg_parse_backend(struct parser *ps, struct pg_state *st, struct cursor *c)
{
	struct pg_header h;
	size_t wanted = 0;
	enum parse result;

	if (c->p == c->end)
		return PARSE_MORE;
	if (st->tls_asked)
		return parse_tls_answer(ps, st, c);
	result = pg_take_header(SIDE_RESPONSE, c, &h);
	if (result != PARSE_OK)
		return result;
	if (h.type == 'C' || h.type == 'Z')
		wanted = h.whole;
	else if (h.type == 'E')
		wanted = MIN(h.whole, ERROR_WANTED);
	if (h.avail < wanted && !(h.type == 'E' && parser_cut(ps)))
		return PARSE_MORE;
	on_message(ps, st, &h, cursor_of(c->p + PG_HEADER_LEN, h.avail - PG_HEADER_LEN),
		   c->p + h.whole == c->end);
	c->p += h.avail;
	if (h.whole > h.avail)
		parser_skip(ps, h.whole - h.avail);
	return PARSE_OK;
}

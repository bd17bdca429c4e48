/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/books.h"
#include "core/clock.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define TRACE_MAX 65536

/* What came out, as text: "OPEN DATA:out@10+5=hello GAP:in@3+7/lost" and so on. */
static char trace[TRACE_MAX];
static size_t trace_len;
static struct stream *s;
static struct chunk last;
static struct conn last_conn;

static void note(void *ctx, const struct chunk *c)
{
	static const char *const kinds[] = { "OPEN", "DATA", "GAP", "EOF", "CLOSE", "RETRANSMIT" };
	static const char *const gaps[] = { "", "budget", "no_bytes", "fault", "lost" };
	const char *dir = c->dir ? "out" : "in";
	char *p = trace + trace_len;
	size_t left = sizeof(trace) - trace_len;
	int n = 0;

	last = *c;
	last_conn = *c->conn;
	switch (c->kind) {
	case CHUNK_DATA:
		n = snprintf(p, left, "DATA:%s@%lu=%.*s ", dir, c->pos, (int)c->len,
			     (const char *)c->data);
		break;
	case CHUNK_GAP:
		assert_null(c->data);
		n = snprintf(p, left, "GAP:%s@%lu+%lu/%s ", dir, c->pos, c->len, gaps[c->gap]);
		break;
	case CHUNK_EOF: n = snprintf(p, left, "EOF:%s/%u ", dir, c->err); break;
	case CHUNK_CLOSE: n = snprintf(p, left, "CLOSE/%u ", c->err); break;
	default: n = snprintf(p, left, "%s ", kinds[c->kind]);
	}
	trace_len += (size_t)n;
}

#define CAME(expected)                                \
	do {                                          \
		assert_string_equal(trace, expected); \
		trace_len = 0;                        \
		trace[0] = 0;                         \
	} while (0)

static int setup(void **state)
{
	struct stream_cfg cfg = { .max_conns = 4 };

	s = stream_new(&cfg, (struct chunk_sink){ .push = note });
	trace_len = 0;
	trace[0] = 0;
	return s ? 0 : -1;
}

static const struct books *books;

static void find_books(void *ctx, const struct books *b)
{
	if (strcmp(b->stage, "stream") == 0)
		books = b;
}

static int teardown(void **state)
{
	uint64_t dropped = 0;

	books_each(find_books, NULL);
	for (int i = 0; i < BOOKS_REASONS; i++)
		dropped += books->dropped[i];
	assert_int_equal(books->in, books->out + books->held + dropped);
	stream_free(s);
	return 0;
}

static void push_conn(uint64_t id, uint8_t transport, uint64_t ts)
{
	struct event_conn e = { .h = { ts, 7, EVENT_CONN, sizeof(e) },
				.conn = id,
				.transport = transport,
				.family = transport == TRANSPORT_UNIX ? AF_UNIX : AF_INET,
				.role = ROLE_ACCEPTED,
				.lport = 80 };

	stream_push(s, &e.h);
}

static struct {
	struct event_data d;
	uint8_t bytes[4096];
} rec;

/* The next record to push, at a position, with some bytes of which all are captured. */
static struct event_data *data(uint64_t id, uint8_t dir, uint64_t pos, const char *bytes)
{
	memset(&rec.d, 0, sizeof(rec.d));
	rec.d.h = (struct event_hdr){ 1000, 7, EVENT_DATA, sizeof(rec.d) };
	rec.d.conn = id;
	rec.d.dir = dir;
	rec.d.pos = pos;
	rec.d.len = rec.d.cap = (uint32_t)strlen(bytes);
	rec.d.thread.tid = 9;
	memcpy(rec.bytes, bytes, strlen(bytes) + 1);
	return &rec.d;
}

static void push(void)
{
	stream_push(s, &rec.d.h);
}

static void push_close(uint64_t id, uint64_t in, uint64_t in_ns, uint64_t out, uint64_t out_ns,
		       uint32_t err)
{
	struct event_close e = { .h = { 5000, 7, EVENT_CLOSE, sizeof(e) },
				 .conn = id,
				 .pos = { in, out },
				 .last_ns = { in_ns, out_ns },
				 .err = err };

	stream_push(s, &e.h);
}

static void bytes_come_out_as_they_went_in(void **state)
{
	push_conn(1, TRANSPORT_TCP, 10);
	assert_int_equal(last_conn.local.port, 80);
	assert_int_equal(last_conn.role, ROLE_ACCEPTED);
	data(1, DIR_IN, 100, "GET ");
	push();
	assert_int_equal(last.thread.tid, 9);
	assert_int_equal(last.ts_ns, 1000);
	data(1, DIR_IN, 104, "/");
	push();
	data(1, DIR_OUT, 900, "200");
	push();
	push_close(1, 105, 1000, 903, 1000, 0);
	CAME("OPEN DATA:in@100=GET  DATA:in@104=/ DATA:out@900=200 CLOSE/0 ");
	assert_null(stream_find(s, 1));
}

static void an_unknown_connection_is_made_from_its_data(void **state)
{
	data(5, DIR_OUT, 77, "x");
	push();
	CAME("OPEN DATA:out@77=x ");
	assert_int_equal(last_conn.role, ROLE_UNKNOWN);
	assert_int_equal(last_conn.flags, CONN_F_MIDSTREAM);
	push_conn(5, TRANSPORT_TCP, 10); /* its record was only late */
	assert_int_equal(stream_find(s, 5)->role, ROLE_ACCEPTED);
	assert_int_equal(stream_find(s, 5)->flags, 0);
}

static void bytes_left_out_become_gaps_with_their_reason(void **state)
{
	push_conn(1, TRANSPORT_TCP, 10);
	data(1, DIR_IN, 0, "abc")->len = 10;
	rec.d.flags = DATA_F_BUDGET;
	push();
	data(1, DIR_IN, 10, "d")->len = 3;
	rec.d.flags = DATA_F_FAULT;
	push();
	data(1, DIR_IN, 13, "")->len = 5;
	rec.d.flags = DATA_F_NO_BYTES;
	push();
	data(1, DIR_IN, 18, "e")->len = 2;
	push();
	data(1, DIR_IN, 25, "f");
	push();
	CAME("OPEN DATA:in@0=abc GAP:in@3+7/budget DATA:in@10=d GAP:in@11+2/fault "
	     "GAP:in@13+5/no_bytes DATA:in@18=e GAP:in@19+1/lost GAP:in@20+5/lost DATA:in@25=f ");
}

static void the_other_directions_end_is_told_before_the_data(void **state)
{
	push_conn(1, TRANSPORT_TCP, 10);
	data(1, DIR_OUT, 50, "resp")->flags = DATA_F_BUDGET;
	rec.d.len = 6;
	push();
	data(1, DIR_IN, 200, "next");
	rec.d.other_pos = 80;
	rec.d.other_ns = 400;
	push();
	CAME("OPEN DATA:out@50=resp GAP:out@54+2/budget GAP:out@56+24/budget DATA:in@200=next ");
	data(1, DIR_OUT, 80, "r2"); /* says nothing of the other side: no time */
	rec.d.other_pos = 999;
	push();
	CAME("DATA:out@80=r2 ");
	data(1, DIR_OUT, 82, "");
	rec.d.other_pos = 206;
	rec.d.other_ns = 500;
	push();
	CAME("GAP:in@204+2/lost ");
	data(1, DIR_OUT, 82, "")->flags = DATA_F_OTHER;
	rec.d.other_pos = 216;
	rec.d.other_ns = 500;
	push();
	CAME("GAP:in@206+10/no_bytes ");
	assert_int_equal(last.ts_ns, 500);
	assert_int_equal(last.thread.tid, 0);
}

static void a_tail_comes_after_the_gap_before_it(void **state)
{
	push_conn(1, TRANSPORT_TCP, 10);
	data(1, DIR_OUT, 0, "begin");
	push();
	data(1, DIR_OUT, 95, "(5)\r\n")->flags = DATA_F_TAIL;
	push();
	CAME("OPEN DATA:out@0=begin GAP:out@5+90/budget DATA:out@95=(5)\r\n ");
	data(1, DIR_OUT, 97, "()\r\nZ")->flags = DATA_F_TAIL; /* overlaps what was given */
	push();
	CAME("DATA:out@100=\nZ ");
}

static void repeats_and_overlaps_are_cut(void **state)
{
	push_conn(1, TRANSPORT_TCP, 10);
	data(1, DIR_IN, 10, "abcdef");
	push();
	data(1, DIR_IN, 10, "abcdef");
	push();
	data(1, DIR_IN, 4, "zzzzzzab");
	push();
	data(1, DIR_IN, 14, "efgh");
	push();
	data(1, DIR_IN, 12, "cd")->len = 12; /* what is new of it was not captured */
	push();
	CAME("OPEN DATA:in@10=abcdef DATA:in@16=gh GAP:in@18+6/lost ");
}

static void unix_and_tls_begin_at_zero_so_a_lost_start_is_a_gap(void **state)
{
	push_conn(1, TRANSPORT_UNIX, 10);
	data(1, DIR_OUT, 6, "x");
	rec.d.other_pos = 3;
	rec.d.other_ns = 4;
	push();
	CAME("OPEN GAP:in@0+3/lost GAP:out@0+6/lost DATA:out@6=x ");
}

static void an_end_comes_once(void **state)
{
	push_conn(1, TRANSPORT_TCP, 10);
	data(1, DIR_IN, 10, "a");
	push();
	data(1, DIR_IN, 11, "")->flags = DATA_F_EOF;
	push();
	push();
	data(1, DIR_IN, 11, "b");
	push();
	data(1, DIR_OUT, 20, "")->flags = DATA_F_RESET;
	rec.d.other_pos = 12; /* the FIN counts as a byte there */
	rec.d.other_ns = 900;
	push();
	push_close(1, 12, 900, 20, 0, ECONNRESET);
	CAME("OPEN DATA:in@10=a EOF:in/0 EOF:out/104 CLOSE/104 ");
}

static void close_tells_what_is_missing_in_the_order_of_time(void **state)
{
	push_conn(1, TRANSPORT_TCP, 10);
	data(1, DIR_IN, 10, "a");
	push();
	data(1, DIR_OUT, 50, "b");
	push();
	push_close(1, 12, 3000, 60, 2000, 0);
	CAME("OPEN DATA:in@10=a DATA:out@50=b GAP:out@51+9/lost GAP:in@11+1/lost CLOSE/0 ");
	push_close(1, 12, 3000, 60, 2000, 0);
	CAME("");
}

static void positions_pass_2_to_the_32(void **state)
{
	uint64_t start = (2ull << 32) - 3;

	push_conn(1, TRANSPORT_TCP, 10);
	data(1, DIR_IN, start, "abcdef");
	push();
	data(1, DIR_IN, start + 6, "gh");
	push();
	data(1, DIR_IN, start + 4, "ef"); /* 1 past the wrap: old */
	push();
	CAME("OPEN DATA:in@8589934589=abcdef DATA:in@8589934595=gh ");
}

static void retransmits_are_counted_and_passed_on(void **state)
{
	struct event_mark m = { .h = { 20, 7, EVENT_RETRANSMIT, sizeof(m) }, .conn = 1 };

	stream_push(s, &m.h);
	push_conn(1, TRANSPORT_TCP, 10);
	stream_push(s, &m.h);
	CAME("OPEN RETRANSMIT ");
	assert_int_equal(last_conn.retransmits, 1);
}

static void later_records_complete_a_connection_and_blank_nothing(void **state)
{
	struct event_conn e = { .h = { 10, 7, EVENT_CONN, sizeof(e) },
				.conn = 3,
				.transport = TRANSPORT_TCP,
				.role = ROLE_DIALLED,
				.dial_ns = 9,
				.flags = CONN_F_CONNECTING,
				.family = AF_INET,
				.rport = 5432,
				.thread.tid = 70,
				.comm = "0123456789abcdef" };

	stream_push(s, &e.h);
	e.flags = CONN_F_ESTABLISHED;
	e.open_ns = 12;
	e.dial_ns = 0;
	e.role = 0;
	e.family = 0;
	e.rport = 0;
	e.comm[0] = 0;
	e.thread.tid = 0;
	stream_push(s, &e.h);
	CAME("OPEN OPEN ");
	assert_int_equal(last_conn.dial_ns, 9);
	assert_int_equal(last_conn.open_ns, 12);
	assert_int_equal(last_conn.role, ROLE_DIALLED);
	assert_int_equal(last_conn.remote.port, 5432);
	assert_int_equal(last_conn.flags, CONN_F_ESTABLISHED);
	assert_int_equal(last_conn.dial_thread.tid, 70);
	assert_string_equal(last_conn.comm, "0123456789abcdef");
}

static void tls_takes_from_its_carrier_and_outlives_it_a_moment(void **state)
{
	struct event_conn e = { .h = { 10, 7, EVENT_CONN, sizeof(e) },
				.conn = 2,
				.carrier = 1,
				.transport = TRANSPORT_TLS };

	push_conn(1, TRANSPORT_TCP, 10);
	stream_push(s, &e.h);
	assert_int_equal(last_conn.local.port, 80);
	assert_int_equal(last_conn.role, ROLE_ACCEPTED);
	assert_int_equal(last_conn.family, AF_INET);
	push_close(1, 0, 0, 0, 0, ECONNRESET);
	data(2, DIR_IN, 0, "late");
	rec.d.h.ts_ns = 5000;
	push();
	CAME("OPEN OPEN CLOSE/104 DATA:in@0=late ");
	stream_tick(s, 5000 + NS_PER_S - 1);
	CAME("");
	stream_tick(s, 5000 + NS_PER_S);
	CAME("CLOSE/104 ");
}

static void idle_connections_are_closed_each_by_its_patience(void **state)
{
	push_conn(1, TRANSPORT_TCP, NS_PER_S);
	push_conn(2, TRANSPORT_UDP, NS_PER_S);
	push_conn(3, TRANSPORT_UNIX, NS_PER_S);
	data(3, DIR_IN, 0, "");
	rec.d.h.ts_ns = 31 * NS_PER_S;
	push();
	CAME("OPEN OPEN OPEN ");
	stream_tick(s, 61 * NS_PER_S - 1);
	CAME("");
	stream_tick(s, 61 * NS_PER_S);
	CAME("CLOSE/62 ");
	assert_int_equal(last_conn.id, 2);
	stream_tick(s, 100 * NS_PER_S);
	CAME("CLOSE/62 ");
	stream_tick(s, 3600 * NS_PER_S);
	assert_non_null(stream_find(s, 1));
	stream_tick(s, 3601 * NS_PER_S);
	assert_null(stream_find(s, 1));
}

static void past_the_cap_the_one_idle_longest_goes(void **state)
{
	for (uint64_t id = 1; id <= 4; id++)
		push_conn(id, id == 2 ? TRANSPORT_UDP : TRANSPORT_TCP, id);
	data(1, DIR_IN, 0, "x");
	rec.d.h.ts_ns = 20;
	push();
	CAME("OPEN OPEN OPEN OPEN DATA:in@0=x ");
	push_conn(5, TRANSPORT_TCP, 21);
	CAME("CLOSE/62 OPEN ");
	assert_null(stream_find(s, 2));
	assert_non_null(stream_find(s, 1));
	push_conn(6, TRANSPORT_TCP, 22);
	assert_null(stream_find(s, 3));
}

static void flush_closes_all_in_order_of_appearance(void **state)
{
	push_conn(3, TRANSPORT_TCP, 1);
	push_conn(2, TRANSPORT_UDP, 2);
	push_conn(1, TRANSPORT_TCP, 2);
	trace_len = 0;
	stream_flush(s);
	CAME("CLOSE/125 CLOSE/0 CLOSE/125 ");
	assert_int_equal(last_conn.id, 1);
	stream_flush(s);
	CAME("");
}

static void other_kinds_are_ignored(void **state)
{
	struct event_hdr tick = { 9, 0, EVENT_TICK, sizeof(tick) };

	stream_push(s, &tick);
	CAME("");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(bytes_come_out_as_they_went_in),
		T(an_unknown_connection_is_made_from_its_data),
		T(bytes_left_out_become_gaps_with_their_reason),
		T(the_other_directions_end_is_told_before_the_data),
		T(a_tail_comes_after_the_gap_before_it),
		T(repeats_and_overlaps_are_cut),
		T(unix_and_tls_begin_at_zero_so_a_lost_start_is_a_gap),
		T(an_end_comes_once),
		T(close_tells_what_is_missing_in_the_order_of_time),
		T(positions_pass_2_to_the_32),
		T(retransmits_are_counted_and_passed_on),
		T(later_records_complete_a_connection_and_blank_nothing),
		T(tls_takes_from_its_carrier_and_outlives_it_a_moment),
		T(idle_connections_are_closed_each_by_its_patience),
		T(past_the_cap_the_one_idle_longest_goes),
		T(flush_closes_all_in_order_of_appearance),
		T(other_kinds_are_ignored),
	};
	return cmocka_run_group_tests_name("stream/stream", tests, NULL, NULL);
}

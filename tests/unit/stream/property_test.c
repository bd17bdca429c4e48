/* SPDX-License-Identifier: Apache-2.0 */
/*
 * However the same two byte streams are cut into records - with overlaps, repeats, jumps, budget
 * cuts, other_pos - the chunks touch, hold the right bytes, and equal what a byte-by-byte model
 * of the records says. And a million records over many connections leak and cross nothing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/clock.h"
#include "stream/stream.h"

#include <stdio.h>
#include <stdlib.h>

#define SPAN 3000 /* bytes of a direction */
enum { UNSEEN, GAP, DATA };

struct side {
	uint64_t start;	     /* position of the stream's first byte */
	uint64_t next;	     /* model: the next byte */
	uint8_t model[SPAN]; /* what each byte should have become */
	uint8_t came[SPAN];
	uint64_t end; /* of the chunks so far */
	bool known;
};

static struct side side[2];

static uint8_t byte_at(uint8_t dir, uint64_t offset)
{
	return (uint8_t)(offset * 131 + (offset >> 8) * 7 + dir * 57);
}

static void check_chunk(void *ctx, const struct chunk *c)
{
	struct side *d = &side[c->dir];

	if (c->kind != CHUNK_DATA && c->kind != CHUNK_GAP)
		return;
	assert_true(c->len > 0);
	if (d->known)
		assert_int_equal(c->pos, d->end);
	d->known = true;
	d->end = c->pos + c->len;
	for (uint64_t i = 0; i < c->len; i++) {
		uint64_t offset = c->pos - d->start + i;

		assert_true(offset < SPAN);
		assert_int_equal(d->came[offset], UNSEEN);
		d->came[offset] = c->kind == CHUNK_DATA ? DATA : GAP;
		if (c->kind == CHUNK_DATA)
			assert_int_equal(c->data[i], byte_at(c->dir, offset));
	}
}

static void model_run(struct side *d, uint64_t from, uint64_t to, uint8_t kind)
{
	for (uint64_t p = MAX(from, d->next); p < to; p++) {
		/* a byte that is passed over was never seen */
		while (d->next < p)
			d->model[d->next++ - d->start] = GAP;
		d->model[p - d->start] = kind;
		d->next = p + 1;
	}
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)rand() % n;
}

static void push_random_record(struct stream *s)
{
	static struct {
		struct event_data d;
		uint8_t bytes[512];
	} r;
	uint8_t dir = (uint8_t)below(2);
	struct side *d = &side[dir], *o = &side[!dir];
	uint64_t at = d->next - d->start;
	uint32_t kind = below(10), back = below(300), len = below(200);

	memset(&r.d, 0, sizeof(r.d));
	if (kind == 0) /* back */
		at -= MIN(at, back);
	else if (kind == 1) /* forward */
		at += below(100);
	at = MIN(at, SPAN - 1);
	r.d.h = (struct event_hdr){ 100, 1, EVENT_DATA, sizeof(r.d) };
	r.d.conn = 1;
	r.d.dir = dir;
	r.d.pos = d->start + at;
	r.d.len = (uint32_t)MIN(len, SPAN - at);
	r.d.cap = below(3) ? MIN(r.d.len, 150) : below(r.d.len + 1);
	r.d.flags = (uint8_t)(below(4) ? 0 : DATA_F_TAIL);
	for (uint32_t i = 0; i < r.d.cap; i++)
		r.bytes[i] = byte_at(dir, at + i);
	if (below(2)) {
		r.d.other_pos = o->next + (below(4) ? 0 : below(50));
		r.d.other_pos = MIN(r.d.other_pos, o->start + SPAN);
		r.d.other_ns = 90;
		model_run(o, o->next, r.d.other_pos, GAP);
	}
	if (r.d.len) {
		model_run(d, r.d.pos, r.d.pos + r.d.cap, DATA);
		model_run(d, r.d.pos + r.d.cap, r.d.pos + r.d.len, GAP);
	} else {
		model_run(d, d->next, r.d.pos, GAP);
	}
	stream_push(s, &r.d.h);
}

static void any_cut_into_records_gives_the_same_bytes(void **state)
{
	struct stream_cfg cfg = { 0 };

	for (unsigned int seed = 0; seed < 400; seed++) {
		struct stream *s = stream_new(&cfg, (struct chunk_sink){ .push = check_chunk });
		struct event_conn conn = { .h = { 1, 1, EVENT_CONN, sizeof(conn) },
					   .conn = 1,
					   .transport = TRANSPORT_TCP };
		uint64_t starts[2] = { (1ull << 32) + 17, (2ull << 32) - 1000 };
		struct event_data first = { .h = { 2, 1, EVENT_DATA, sizeof(first) }, .conn = 1 };

		srand(seed);
		memset(side, 0, sizeof(side));
		stream_push(s, &conn.h);
		for (uint8_t dir = 0; dir < 2; dir++) {
			side[dir].start = side[dir].next = first.pos = starts[dir];
			first.dir = dir;
			stream_push(s, &first.h); /* an empty record sets the position */
		}
		for (int i = 0; i < 60; i++)
			push_random_record(s);
		for (int dir = 0; dir < 2; dir++) {
			assert_memory_equal(side[dir].came, side[dir].model, SPAN);
			if (side[dir].known)
				assert_int_equal(side[dir].end, side[dir].next);
		}
		stream_free(s);
	}
}

static uint64_t opened, closed;

static void count_chunk(void *ctx, const struct chunk *c)
{
	opened += c->kind == CHUNK_OPEN;
	closed += c->kind == CHUNK_CLOSE;
	if (c->kind == CHUNK_OPEN) {
		assert_null(c->conn->above[0]);
		c->conn->above[0] = (void *)(uintptr_t)c->conn->id;
	} else {
		assert_ptr_equal(c->conn->above[0], (void *)(uintptr_t)c->conn->id);
	}
}

static void many_connections_do_not_mix(void **state)
{
	struct stream_cfg cfg = { .max_conns = 1000 };
	struct stream *s = stream_new(&cfg, (struct chunk_sink){ .push = count_chunk });
	const int cnt = getenv("STREAM_RECORDS") ? atoi(getenv("STREAM_RECORDS")) : 300000;
	uint64_t began;

	srand(7);
	began = clock_mono_ns();
	for (int i = 0; i < cnt; i++) {
		struct event_data d = { .h = { (uint64_t)i, 1, EVENT_DATA, sizeof(d) },
					.conn = 1 + (uint64_t)i / 300 + below(900),
					.pos = (uint64_t)i,
					.len = 1 };
		struct event_close c = { .h = { (uint64_t)i, 1, EVENT_CLOSE, sizeof(c) },
					 .conn = d.conn };

		stream_push(s, i % 50 == 0 ? &c.h : &d.h);
	}
	print_message("%.0f ns a record, the test's own work included\n",
		      (double)(clock_mono_ns() - began) / cnt);
	stream_flush(s);
	assert_int_equal(opened, closed);
	stream_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_cut_into_records_gives_the_same_bytes),
		cmocka_unit_test(many_connections_do_not_mix),
	};
	return cmocka_run_group_tests_name("stream/property", tests, NULL, NULL);
}

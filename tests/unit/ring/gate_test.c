/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/ring/records.h"
#include "core/books.h"

#include <errno.h>
#include <stdlib.h>

static union any_record r;

static int check(void)
{
	return event_check(&r, r.h.size);
}

static void a_good_record_of_each_kind_passes(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(record_kinds); i++) {
		record_make(&r, record_kinds[i]);
		assert_int_equal(check(), 0);
	}
}

static void no_kind_passes_when_shorter_than_its_size(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(record_kinds); i++) {
		record_make(&r, record_kinds[i]);
		/* the buffer is shorter than the record says */
		assert_int_equal(event_check(&r, r.h.size - 1u), -EBADMSG);
		/* the record says less than it needs */
		r.h.size--;
		assert_int_equal(check(), -EBADMSG);
	}
}

static void fixed_kinds_are_refused_when_longer(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(record_kinds); i++) {
		if (record_kinds[i] == EVENT_DATA || record_kinds[i] == EVENT_PROC)
			continue;
		record_make(&r, record_kinds[i]);
		r.h.size += 8;
		assert_int_equal(check(), -EBADMSG);
	}
}

static void data_may_come_in_a_larger_size_class(void **state)
{
	record_make(&r, EVENT_DATA);
	r.h.size = sizeof(r.data) + PAYLOAD_TINY;
	assert_int_equal(check(), 0);
}

static void unknown_kinds_are_told_apart_from_bad_ones(void **state)
{
	record_make(&r, EVENT_TICK);
	r.h.kind = 99;
	assert_int_equal(check(), -ENOTSUP);
	r.h.kind = 0;
	assert_int_equal(check(), -ENOTSUP);
	r.h.size = 15;
	assert_int_equal(check(), -EBADMSG);
	assert_int_equal(event_check(&r, 0), -EBADMSG);
	r.h.size = 16;
	assert_int_equal(event_check(r.bytes + 4, 100), -EBADMSG); /* not aligned */
}

#define REFUSED(record_kind, spoil)                  \
	do {                                         \
		record_make(&r, record_kind);        \
		assert_int_equal(check(), 0);        \
		spoil;                               \
		assert_int_equal(check(), -EBADMSG); \
	} while (0)

static void inner_lengths_and_values_are_checked(void **state)
{
	REFUSED(EVENT_DATA, r.data.dir = 2);
	REFUSED(EVENT_DATA, r.data.cap = 6);
	REFUSED(EVENT_DATA, r.data.cap = 21; r.h.size = 1000);
	REFUSED(EVENT_DATA, r.data.cap = UINT32_MAX; r.data.len = UINT32_MAX);
	REFUSED(EVENT_DATA, r.data.pos = UINT64_MAX - 19);
	REFUSED(EVENT_DATA, r.data.conn = 0);
	REFUSED(EVENT_DATA, r.data.other_ns = UINT64_MAX);
	REFUSED(EVENT_CONN, r.conn.conn = 0);
	REFUSED(EVENT_CONN, r.conn.carrier = r.conn.conn);
	REFUSED(EVENT_CONN, r.conn.transport = 0);
	REFUSED(EVENT_CONN, r.conn.transport = 5);
	REFUSED(EVENT_CONN, r.conn.role = 3);
	REFUSED(EVENT_CONN, r.conn.family = 77);
	REFUSED(EVENT_CONN, r.conn.open_ns = UINT64_MAX);
	REFUSED(EVENT_CLOSE, r.close.conn = 0);
	REFUSED(EVENT_CLOSE, r.close.last_ns[1] = UINT64_MAX);
	REFUSED(EVENT_RETRANSMIT, r.mark.conn = 0);
	REFUSED(EVENT_EXEC, r.exec.args_len = EXEC_ARGS_LEN + 1);
	REFUSED(EVENT_EXEC, r.exec.env_len = EXEC_ENV_LEN + 1);
	REFUSED(EVENT_HOST, memset(r.host.name, 'x', sizeof(r.host.name)));
	REFUSED(EVENT_CLOCK, r.clock.offset_ns = INT64_MIN);
	REFUSED(EVENT_TICK, r.h.ts_ns = UINT64_MAX);
}

static void process_text_must_be_pairs(void **state)
{
	REFUSED(EVENT_PROC, r.proc.runtime = RUNTIME_MAX);
	REFUSED(EVENT_PROC, r.proc.text_len += 1);
	REFUSED(EVENT_PROC, r.proc.text_len -= 1);  /* value without its NUL */
	REFUSED(EVENT_PROC, r.proc.text_len -= 2);  /* key without a value */
	REFUSED(EVENT_PROC, r.proc.text[0] = 0);    /* empty key */
	REFUSED(EVENT_PROC, r.proc.text[12] = '.'); /* an odd number of strings */
	REFUSED(EVENT_PROC, r.proc.text_len = PROC_TEXT_MAX + 1; r.h.size = 65000);
	record_make(&r, EVENT_PROC);
	r.proc.text_len = 0;
	assert_int_equal(check(), 0);
	memcpy(r.proc.text, "k\0", 3); /* an empty value is fine */
	r.proc.text_len = 3;
	assert_int_equal(check(), 0);
}

static void random_bytes_never_read_past_the_record(void **state)
{
	srand(1);
	for (int i = 0; i < 20000; i++) {
		size_t len = (size_t)rand() % 400;
		uint64_t *p = malloc(len + 1); /* exact, so that ASan sees one byte too many */
		uint8_t *b = (uint8_t *)p;

		for (size_t j = 0; j < len; j++)
			b[j] = (uint8_t)(rand() % 4 ? 0 : rand());
		if (len >= 16) {
			struct event_hdr h = { .kind = record_kinds[i % 13],
					       .size = (uint16_t)((size_t)rand() % (len + 8)) };
			memcpy(b, &h, sizeof(h));
		}
		event_check(p, len);
		free(p);
	}
}

static unsigned int pushed;

static void count_push(void *ctx, const struct event_hdr *rec)
{
	assert_int_equal(rec->kind, EVENT_TICK);
	pushed++;
}

static const struct books *ring_books;

static void find_books(void *ctx, const struct books *b)
{
	if (strcmp(b->stage, "ring") == 0)
		ring_books = b;
}

static void the_gate_passes_good_records_and_its_books_balance(void **state)
{
	struct gate *g = gate_new((struct event_sink){ .push = count_push });

	assert_non_null(g);
	pushed = 0;
	books_each(find_books, NULL);
	assert_non_null(ring_books);
	record_make(&r, EVENT_TICK);
	for (int i = 0; i < 5; i++)
		gate_push(g, &r, r.h.size);
	gate_push(g, &r, 8);
	r.h.kind = 50;
	gate_push(g, &r, r.h.size);
	gate_push(g, &r, r.h.size);
	assert_int_equal(pushed, 5);
	assert_int_equal(ring_books->in, 8);
	assert_int_equal(ring_books->out, 5);
	assert_string_equal(ring_books->reason[0], "bad_record");
	assert_int_equal(ring_books->dropped[0], 1);
	assert_int_equal(ring_books->dropped[1], 2);
	gate_free(g);
	ring_books = NULL;
	books_each(find_books, NULL);
	assert_null(ring_books);
	gate_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_record_of_each_kind_passes),
		cmocka_unit_test(no_kind_passes_when_shorter_than_its_size),
		cmocka_unit_test(fixed_kinds_are_refused_when_longer),
		cmocka_unit_test(data_may_come_in_a_larger_size_class),
		cmocka_unit_test(unknown_kinds_are_told_apart_from_bad_ones),
		cmocka_unit_test(inner_lengths_and_values_are_checked),
		cmocka_unit_test(process_text_must_be_pairs),
		cmocka_unit_test(random_bytes_never_read_past_the_record),
		cmocka_unit_test(the_gate_passes_good_records_and_its_books_balance),
	};
	return cmocka_run_group_tests_name("ring/gate", tests, NULL, NULL);
}

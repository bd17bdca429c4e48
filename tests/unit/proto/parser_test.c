/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framework, by a small protocol of its own: "Q name len\n" and len bytes is a request,
 * "A name len\n" a response; len * is up to the end, + makes the parser end it by itself, ! gives
 * up. A head longer than 512 bytes is cut.
 */
#include "feed.h"
#include "proto/parser.h"

struct toy {
	struct msg *open[2];
};

static enum detect toy_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram)
{
	if (p[0] != 'Q' && p[0] != 'A')
		return DETECT_NO;
	if (len < 2)
		return DETECT_MORE;
	if (p[1] != ' ')
		return DETECT_NO;
	return p[0] == 'Q' ? DETECT_REQUEST : DETECT_RESPONSE;
}

static void toy_head(struct parser *ps, struct msg *m, struct str line)
{
	ptrdiff_t sp;

	if (!m)
		return;
	line = str_from(line, 2);
	sp = str_find(line, ' ');
	m->operation = sp < 0 ? line : (struct str){ line.p, (size_t)sp };
	attrs_add_str(&m->attrs, parser_mem(ps), "toy.name", m->operation);
}

static enum parse toy_parse(struct parser *ps, enum side side, struct cursor *c)
{
	enum msg_type type = side == SIDE_REQUEST ? MSG_REQUEST : MSG_RESPONSE;
	struct toy *t = parser_state(ps);
	const uint8_t *from = c->p;
	struct str line, size;
	struct msg *m;
	uint64_t n = 0;

	if (t->open[side]) {
		parser_end(ps, t->open[side], 0);
		t->open[side] = NULL;
		return PARSE_OK;
	}
	if (c->p == c->end)
		return PARSE_MORE;
	if (*c->p != (side == SIDE_REQUEST ? 'Q' : 'A'))
		return PARSE_BAD;
	line = take_until(c, '\n');
	if (c->bad && !parser_cut(ps))
		return PARSE_MORE;
	m = parser_begin(ps, type, 0, 0);
	if (c->bad) {
		line = (struct str){ (const char *)from, (size_t)(c->end - from) };
		toy_head(ps, m, line);
		parser_flag(m, MSG_TRUNCATED);
		parser_end(ps, m, line.len);
		c->p = c->end;
		return PARSE_OK;
	}
	toy_head(ps, m, line);
	size = str_from(line, 3 + (m ? m->operation.len : 0));
	if (str_eq(size, STR("!"))) {
		parser_end(ps, m, (size_t)(c->p - from));
		parser_give_up(ps);
	} else if (str_eq(size, STR("*"))) {
		parser_skip_to_end(ps, m, UINT64_MAX);
	} else if (size.len && size.p[0] == '+') {
		str_to_u64(str_from(size, 1), &n);
		t->open[side] = m;
		parser_skip(ps, n);
	} else {
		str_to_u64(size, &n);
		parser_skip_to_end(ps, m, n);
	}
	return PARSE_OK;
}

static ptrdiff_t toy_resync(struct parser *ps, enum side side, const uint8_t *p, size_t len)
{
	char mark[4] = { '\n', side == SIDE_REQUEST ? 'Q' : 'A', ' ', 0 };
	ptrdiff_t turn = parser_turn(ps);
	const uint8_t *at;

	if (turn >= 0)
		return turn;
	at = memmem(p, len, mark, 3);
	return at ? at + 1 - p : -1;
}

static const struct proto toy = { .name = "toy",
				  .state_size = sizeof(struct toy),
				  .detect = toy_detect,
				  .parse = toy_parse,
				  .resync = toy_resync };

/* A protocol that claims what begins with Z and then never understands it. */
static enum detect wrong_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram)
{
	return p[0] == 'Z' ? DETECT_REQUEST : DETECT_NO;
}

static enum parse wrong_parse(struct parser *ps, enum side side, struct cursor *c)
{
	return PARSE_BAD;
}

static const struct proto wrong = { .name = "wrong", .detect = wrong_detect, .parse = wrong_parse };

/* stands in for the room's own */
const struct proto *const proto_registry[] = { &wrong, &toy, NULL };

static void takes_a_request_and_its_response(void **state)
{
	const struct step s[] = { IN("Q get 4\nbody"), OUT("A get 3\nyes"), END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=12 time=1-1 get {toy.name=get}\n"
		    "response out pos=1000 size=11 time=2-2 get {toy.name=get}\n");
}

static void takes_several_from_one_chunk(void **state)
{
	const struct step s[] = { IN("Q a 0\nQ b 1\nxQ c +2\nyy"), OUT("A a 0\nA b 0\n"), END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=6 time=1-1 a {toy.name=a}\n"
		    "request in pos=1006 size=7 time=1-1 b {toy.name=b}\n"
		    "request in pos=1013 size=9 time=1-1 c {toy.name=c}\n"
		    "response out pos=1000 size=6 time=2-2 a {toy.name=a}\n"
		    "response out pos=1006 size=6 time=2-2 b {toy.name=b}\n");
}

static void times_are_those_of_the_first_and_the_last_byte(void **state)
{
	const struct step s[] = { IN("Q"), IN(" ge"), IN("t 4\nbo"), IN("dyQ x"), IN(" 0\n"), END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=12 time=1-4 get {toy.name=get}\n"
		    "request in pos=1012 size=6 time=4-5 x {toy.name=x}\n");
}

static void a_message_may_begin_in_many_small_chunks(void **state)
{
	struct feed *f = feed_new(NULL, 0);
	char *got;

	for (int i = 0; i < 2; i++) {
		const struct step start = IN("Q "), more = IN("n"), end = IN(" 0\n");

		feed_step(f, &start, 0);
		for (int k = 0; k < 100; k++)
			feed_step(f, &more, 0);
		feed_step(f, &end, 0);
	}
	assert_int_equal(f->cnt, 2);
	assert_int_equal(f->msg[0].start, 1);
	assert_int_equal(f->msg[0].end, 102);
	assert_int_equal(f->msg[1].start, 103);
	assert_int_equal(f->msg[1].end, 204);
	got = feed_finish(f);
	free(got);
}

static void a_hole_in_a_skipped_body_does_no_harm(void **state)
{
	const struct step s[] = { IN("Q get 10\nab"), GAP_IN(6),     IN("cd"), IN("Q n +5\n"),
				  GAP_IN(5),	      IN("Q m 0\n"), END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=19 time=1-3 get {toy.name=get}\n"
		    "request in pos=1019 size=12 time=4-5 n {toy.name=n}\n"
		    "request in pos=1031 size=6 time=6-6 m {toy.name=m}\n");
}

static void a_hole_in_a_head_cuts_the_message_and_the_next_is_found(void **state)
{
	const struct step s[] = { IN("Q ge"), GAP_IN(8), IN("rest\nQ next 0\n"), END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=4 time=1-1 ge {toy.name=ge} [truncated]\n"
		    "request in pos=1017 size=9 time=3-3 next {toy.name=next} [after-gap]\n");
}

static void a_lost_message_leaves_a_flag_on_the_next(void **state)
{
	const struct step s[] = { IN("Q a 0\n"),  OUT("A a 0\n"), GAP_IN(6),
				  OUT("A b 0\n"), IN("Q c 0\n"),  END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=6 time=1-1 a {toy.name=a}\n"
		    "response out pos=1000 size=6 time=2-2 a {toy.name=a}\n"
		    "response out pos=1006 size=6 time=4-4 b {toy.name=b}\n"
		    "request in pos=1012 size=6 time=5-5 c {toy.name=c} [after-gap]\n");
}

static void joins_in_the_middle_of_a_body(void **state)
{
	const struct step s[] = { OUT("half a body..."), IN("Q a 0\n"), OUT("A a 2\nok"), END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=6 time=2-2 a {toy.name=a}\n"
		    "response out pos=1014 size=8 time=3-3 a {toy.name=a} [after-gap]\n");
}

static void a_response_seen_first_tells_the_direction(void **state)
{
	const struct step s[] = { IN("A a 2\nok"), OUT("Q b 0\n"), END };

	feed_expect(NULL, s,
		    "response in pos=1000 size=8 time=1-1 a {toy.name=a}\n"
		    "request out pos=1000 size=6 time=2-2 b {toy.name=b}\n");
}

static void the_end_of_the_stream_ends_what_goes_on_until_then(void **state)
{
	const struct step s[] = { IN("Q a 0\n"), OUT("A a *\nall of it"),
				  OUT("more"),	 EOF_OUT,
				  CLOSE(0),	 END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=6 time=1-1 a {toy.name=a}\n"
		    "response out pos=1000 size=19 time=2-3 a {toy.name=a}\n");
}

static void a_close_aborts_what_is_open(void **state)
{
	const struct step s[] = { IN("Q a 10\nxx"), CLOSE(ECONNRESET), END };

	feed_expect(NULL, s, "request in pos=1000 size=9 time=1-1 a {toy.name=a} [aborted]\n");
}

static void garbage_between_messages_is_passed_over(void **state)
{
	const struct step s[] = { IN("Q a 0\n%%%%%% no message\nQ b 0\n"), END };

	feed_expect(NULL, s,
		    "request in pos=1000 size=6 time=1-1 a {toy.name=a}\n"
		    "request in pos=1024 size=6 time=1-1 b {toy.name=b} [after-gap]\n");
}

static void a_wrong_detection_is_taken_back(void **state)
{
	const struct step s[] = { IN("Zzz"), OUT("junk"), IN("Q a 0\n"), END };
	struct feed *f = feed_new(NULL, 0);
	char *got;

	f->conn.flags = CONN_F_MIDSTREAM;
	for (size_t i = 0; s[i].kind; i++)
		feed_step(f, &s[i], 0);
	got = feed_finish(f);
	assert_string_equal(got, "request in pos=3 size=6 time=3-3 a {toy.name=a} [after-gap]\n");
	free(got);
}

static uint64_t dropped_chunks;

static void find_dropped(void *ctx, const struct books *b)
{
	for (int i = 0; i < BOOKS_REASONS && strcmp(b->stage, "proto") == 0 && b->reason[i]; i++)
		if (strcmp(b->reason[i], ctx) == 0)
			dropped_chunks = b->dropped[i];
}

static void an_unknown_connection_is_ignored_and_counted(void **state)
{
	struct feed *f = feed_new(NULL, 0);
	const struct step in = IN("?????"), out = OUT("!!!!!");

	for (int i = 0; i < 10; i++) {
		feed_step(f, &in, 0);
		feed_step(f, &out, 0);
	}
	books_each(find_dropped, (char *)"no_protocol");
	assert_int_equal(dropped_chunks, 20);
	assert_true(f->conn.above[0] != NULL);
	free(feed_finish(f));
}

static void a_parser_that_gives_up_is_left_alone(void **state)
{
	const struct step s[] = { IN("Q a !\n"), IN("Q b 0\n"), OUT("A c 0\n"), CLOSE(0), END };

	feed_expect(NULL, s, "request in pos=1000 size=6 time=1-1 a {toy.name=a}\n");
}

static void a_head_beyond_the_buffer_is_cut(void **state)
{
	static char big[40000];
	const struct step s[] = {
		{ STEP_DATA, DIR_IN, big, sizeof(big) }, OUT("A x 0\n"), IN("Q next 0\n"), END
	};
	size_t pieces[] = { 0, 1000, 4096 };

	memset(big, 'x', sizeof(big));
	memcpy(big, "Q ", 2);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		char *got = feed_run(NULL, s, pieces[i]);

		assert_non_null(strstr(got, "request in pos=1000 size=20480 time=1-1 xxxx"));
		assert_non_null(strstr(got, "[truncated]\n"));
		assert_non_null(strstr(got, "next {toy.name=next} [after-gap]\n"));
		free(got);
	}
}

static void take_nothing(void *ctx, const struct msg *m)
{
}

static void what_is_kept_in_all_is_bounded(void **state)
{
	enum { CONNS = 3000 };
	static struct conn conns[CONNS];
	static char part[8000];
	struct proto_cfg cfg = { 0 };
	struct protos *p = protos_new(&cfg, (struct msg_sink){ NULL, take_nothing, NULL });

	memset(part, 'x', sizeof(part));
	memcpy(part, "Q ", 2);
	for (uint64_t round = 0; round < 2; round++) {
		for (int i = 0; i < CONNS; i++) {
			struct chunk c = { .kind = CHUNK_DATA,
					   .conn = &conns[i],
					   .pos = round * sizeof(part),
					   .len = sizeof(part),
					   .data = (uint8_t *)part };
			protos_push(p, &c);
		}
	}
	books_each(find_dropped, (char *)"buffers_full");
	feed_books_balance();
	protos_free(p);
	assert_true(dropped_chunks > 0);
}

static void a_repeated_chunk_is_taken_once(void **state)
{
	struct feed *f = feed_new(NULL, 0);
	const struct step s = IN("Q a 0\n"), next = IN("Q b 0\n");
	char *got;

	feed_step(f, &s, 0);
	f->pos[0] = 0;
	feed_step(f, &s, 0);
	feed_step(f, &next, 0);
	assert_int_equal(f->cnt, 2);
	got = feed_finish(f);
	free(got);
}

static void holes_never_invent(void **state)
{
	const struct step s[] = { IN("Q alpha 12\n Q fake 3\nab"),
				  OUT("A alpha 2\nok"),
				  IN("Q beta +4\nabcd"),
				  OUT("A beta 0\n"),
				  IN("Q gamma 0\n"),
				  OUT("A gamma *\nto the end"),
				  EOF_OUT,
				  CLOSE(0),
				  END };

	feed_holes(NULL, s);
}

static void marks_are_passed_on(void **state)
{
	struct feed *f = feed_new(NULL, 0);

	feed_chunk(f, CHUNK_OPEN, 0, NULL, 0, 0);
	feed_chunk(f, CHUNK_RETRANSMIT, 0, NULL, 0, 0);
	feed_chunk(f, CHUNK_CLOSE, 0, NULL, 0, 0);
	assert_int_equal(f->marks, 3);
	free(feed_finish(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_request_and_its_response),
		cmocka_unit_test(takes_several_from_one_chunk),
		cmocka_unit_test(times_are_those_of_the_first_and_the_last_byte),
		cmocka_unit_test(a_message_may_begin_in_many_small_chunks),
		cmocka_unit_test(a_hole_in_a_skipped_body_does_no_harm),
		cmocka_unit_test(a_hole_in_a_head_cuts_the_message_and_the_next_is_found),
		cmocka_unit_test(a_lost_message_leaves_a_flag_on_the_next),
		cmocka_unit_test(joins_in_the_middle_of_a_body),
		cmocka_unit_test(a_response_seen_first_tells_the_direction),
		cmocka_unit_test(the_end_of_the_stream_ends_what_goes_on_until_then),
		cmocka_unit_test(a_close_aborts_what_is_open),
		cmocka_unit_test(garbage_between_messages_is_passed_over),
		cmocka_unit_test(a_wrong_detection_is_taken_back),
		cmocka_unit_test(an_unknown_connection_is_ignored_and_counted),
		cmocka_unit_test(a_parser_that_gives_up_is_left_alone),
		cmocka_unit_test(a_head_beyond_the_buffer_is_cut),
		cmocka_unit_test(what_is_kept_in_all_is_bounded),
		cmocka_unit_test(a_repeated_chunk_is_taken_once),
		cmocka_unit_test(holes_never_invent),
		cmocka_unit_test(marks_are_passed_on),
	};

	return cmocka_run_group_tests_name("proto framework", tests, NULL, NULL);
}

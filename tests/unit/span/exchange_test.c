/* SPDX-License-Identifier: Apache-2.0 */
/* Pairing, ends of every kind, and what a span says. */
#include "unit/span/play.h"

#define SVC 100

static struct play p;
static struct actor a;
static struct conn in, out;

static int setup(void **state)
{
	static const uint8_t here[4] = { 10, 0, 0, 1 }, there[4] = { 10, 0, 0, 2 };

	play_begin(&p, NULL);
	play_proc(&p, SVC, RUNTIME_NATIVE, "svc");
	a = play_actor(SVC, SVC);
	in = play_conn(1, ROLE_ACCEPTED, 80, 5001);
	out = play_conn(2, ROLE_DIALLED, 6001, 8080);
	memcpy(in.local.addr + 12, here, 4);
	memcpy(in.remote.addr + 12, there, 4);
	memcpy(out.local.addr + 12, here, 4);
	memcpy(out.remote.addr + 12, there, 4);
	play_open(&p, &in);
	play_open(&p, &out);
	return 0;
}

static int teardown(void **state)
{
	play_end(&p);
	return 0;
}

static int64_t span_int(const struct span *s, const char *key)
{
	const struct attr *at = attrs_find(&s->attrs, str_of(key));

	assert_non_null(at);
	assert_int_equal(at->value.type, VALUE_INT);
	return at->value.i;
}

static struct msg request(struct conn *c, uint8_t dir, uint64_t pos)
{
	p.now += 1000;
	return play_msg(&p, &a, c, MSG_REQUEST, dir, pos);
}

static struct msg response(struct conn *c, uint8_t dir, uint64_t pos)
{
	p.now += 1000;
	return play_msg(&p, &a, c, MSG_RESPONSE, dir, pos);
}

static void a_served_request_says_who_asked_whom(void **state)
{
	struct msg m = request(&in, DIR_IN, 0);
	const struct span *s;
	uint64_t start = p.now;

	m.path = STR("/users/42");
	correlate_msg(p.c, &m);
	m = response(&in, DIR_OUT, 0);
	m.end_ns += 500;
	m.size = 900;
	correlate_msg(p.c, &m);
	play_settle(&p);
	assert_int_equal(p.cnt, 1);
	s = p.span[0];
	assert_int_equal(s->kind, SPAN_SERVER);
	assert_str(s->name, "GET /users/{id}");
	assert_str(span_str(s, "url.template"), "/users/{id}");
	assert_int_equal(s->start_ns, start + OFFSET);
	assert_int_equal(s->end_ns - s->start_ns, 1500);
	assert_str(span_str(s, "server.address"), "10.0.0.1");
	assert_int_equal(span_int(s, "server.port"), 80);
	assert_str(span_str(s, "client.address"), "10.0.0.2");
	assert_int_equal(span_int(s, "client.port"), 5001);
	assert_str(span_str(s, "network.peer.address"), "10.0.0.2");
	assert_str(span_str(s, "network.transport"), "tcp");
	assert_str(span_str(s, "network.type"), "ipv4");
	assert_int_equal(span_int(s, "http.request.size"), 100);
	assert_int_equal(span_int(s, "http.response.size"), 900);
	assert_int_equal(s->event_cnt, 1);
	assert_str(s->events[0].name, "first byte");
	assert_int_equal(s->events[0].time_ns, start + 1000 + OFFSET);
	assert_str(s->resource->service, "svc");
	assert_str(attrs_str(&s->resource->attrs, "telemetry.sdk.name"), "telltale");
}

static void a_client_keeps_what_the_protocol_named(void **state)
{
	struct attr named = { STR("server.address"),
			      { .type = VALUE_STR, .str = STR("db.local") } };
	struct msg m = request(&out, DIR_OUT, 0);

	m.path = STR("/x?a=1");
	m.attrs = (struct attrs){ .item = &named, .cnt = 1 };
	correlate_msg(p.c, &m);
	m = response(&out, DIR_IN, 0);
	m.status = STATUS_ERROR;
	m.error_type = STR("404");
	correlate_msg(p.c, &m);
	play_settle(&p);
	assert_int_equal(p.span[0]->kind, SPAN_CLIENT);
	assert_str(span_str(p.span[0], "server.address"), "db.local");
	assert_int_equal(span_int(p.span[0], "server.port"), 8080);
	assert_str(span_str(p.span[0], "network.peer.address"), "10.0.0.2");
	assert_str(span_str(p.span[0], "url.full"), "http://db.local:8080/x?a=1");
	assert_str(span_str(p.span[0], "error.type"), "404");
	assert_int_equal(p.span[0]->status, STATUS_ERROR);
}

static void a_clients_error_is_not_the_servers(void **state)
{
	struct msg m;

	serve(&p, &a, &in, 0);
	m = response(&in, DIR_OUT, 0);
	m.status = STATUS_ERROR;
	m.error_type = STR("404");
	correlate_msg(p.c, &m);
	play_settle(&p);
	assert_int_equal(p.span[0]->status, STATUS_UNSET);
	assert_str(span_str(p.span[0], "error.type"), "");
}

static void names_of_other_protocols_are_operation_and_target(void **state)
{
	static const struct {
		struct str operation, target;
		const char *name;
	} row[] = {
		{ STR("SELECT"), STR("users"), "SELECT users" },
		{ STR("GET"), { NULL, 0 }, "GET" },
		{ { NULL, 0 }, STR("users"), "users" },
		{ { NULL, 0 }, { NULL, 0 }, "redis" },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct msg m = request(&out, DIR_OUT, i * 100);

		m.proto = &play_redis;
		m.path = (struct str){ NULL, 0 };
		m.operation = row[i].operation;
		m.target = row[i].target;
		correlate_msg(p.c, &m);
		hear(&p, &a, &out, i * 100);
		play_settle(&p);
		assert_str(p.span[i]->name, row[i].name);
		assert_int_equal(span_int(p.span[i], "telltale.request.size"), 100);
	}
}

static void an_unknown_method_is_named_http(void **state)
{
	struct msg m = request(&in, DIR_IN, 0);

	m.operation = STR("_OTHER");
	correlate_msg(p.c, &m);
	answer(&p, &a, &in, 0);
	play_settle(&p);
	assert_str(p.span[0]->name, "HTTP /");
}

static void pipelined_requests_pair_in_order(void **state)
{
	for (uint64_t i = 0; i < 5; i++)
		serve(&p, &a, &in, i * 100);
	for (uint64_t i = 0; i < 5; i++)
		answer(&p, &a, &in, i * 10);
	play_settle(&p);
	assert_int_equal(p.cnt, 5);
	for (unsigned int i = 0; i < 5; i++) {
		assert_non_null(play_find(&p, 1, DIR_IN, i * 100));
		assert_int_equal(p.span[i]->end_ns - p.span[i]->start_ns, 5000);
	}
}

static void a_response_may_come_before_its_request(void **state)
{
	struct msg late = request(&out, DIR_OUT, 0), m;
	struct actor other = play_actor(SVC, SVC + 1);

	p.now += 50000;
	m = play_msg(&p, &other, &out, MSG_RESPONSE, DIR_IN, 0);
	correlate_msg(p.c, &m);
	late.start_ns = late.end_ns = p.now + 20000;
	correlate_msg(p.c, &late);
	play_settle(&p);
	assert_int_equal(p.cnt, 1);
	assert_int_equal(p.span[0]->status, STATUS_UNSET);
	assert_int_equal(p.c->books.dropped[DROP_NO_REQUEST], 0);
}

static void a_response_to_an_unseen_request_is_dropped(void **state)
{
	hear(&p, &a, &out, 0);
	p.now += 10 * MS;
	ask(&p, &a, &out, 0);
	hear(&p, &a, &out, 100);
	play_settle(&p);
	assert_int_equal(p.cnt, 1);
	assert_int_equal(p.span[0]->end_ns - p.span[0]->start_ns, 1000);
	assert_int_equal(p.c->books.dropped[DROP_NO_REQUEST], 1);
}

static void a_gap_before_a_response_gives_up_those_that_waited(void **state)
{
	struct msg m;

	serve(&p, &a, &in, 0);
	p.now += MS;
	serve(&p, &a, &in, 100);
	m = response(&in, DIR_OUT, 50);
	m.flags |= MSG_AFTER_GAP;
	correlate_msg(p.c, &m);
	play_settle(&p);
	assert_int_equal(p.cnt, 2);
	assert_non_null(
		attrs_find(&play_find(&p, 1, DIR_IN, 0)->attrs, STR("telltale.unfinished")));
	assert_null(attrs_find(&play_find(&p, 1, DIR_IN, 100)->attrs, STR("telltale.unfinished")));
}

static void an_end_before_the_response_is_an_error(void **state)
{
	static const struct {
		uint32_t err;
		const char *type;
	} row[] = { { 0, "no_response" },
		    { ECONNRESET, "ECONNRESET" },
		    { ETIMEDOUT, "ETIMEDOUT" } };

	for (unsigned int i = 0; i < ARRAY_LEN(row); i++) {
		struct conn c = play_conn(50 + i, ROLE_DIALLED, (uint16_t)(7000 + i), 80);

		play_open(&p, &c);
		ask(&p, &a, &c, 0);
		p.now += 1000;
		play_close(&p, &c, row[i].err);
		play_settle(&p);
		assert_int_equal(p.cnt, i + 1);
		assert_int_equal(p.span[i]->status, STATUS_ERROR);
		assert_str(span_str(p.span[i], "error.type"), row[i].type);
		assert_true(p.span[i]->status_message.len > 0);
	}
}

static void an_aborted_response_is_an_error(void **state)
{
	struct msg m;

	ask(&p, &a, &out, 0);
	m = response(&out, DIR_IN, 0);
	m.flags |= MSG_ABORTED | MSG_TRUNCATED;
	m.err = ECONNRESET;
	correlate_msg(p.c, &m);
	play_settle(&p);
	assert_str(span_str(p.span[0], "error.type"), "ECONNRESET");
	assert_non_null(attrs_find(&p.span[0]->attrs, STR("telltale.truncated")));
}

static void a_request_without_an_answer_times_out(void **state)
{
	ask(&p, &a, &out, 0);
	play_pass(&p, 59 * NS_PER_S);
	assert_int_equal(p.cnt, 0);
	play_pass(&p, 3 * NS_PER_S);
	assert_int_equal(p.cnt, 1);
	assert_str(span_str(p.span[0], "error.type"), "timeout");
	assert_int_equal(p.span[0]->end_ns - p.span[0]->start_ns, 60 * NS_PER_S);
}

static void a_long_answer_does_not_time_out(void **state)
{
	struct msg m;

	ask(&p, &a, &out, 0);
	m = response(&out, DIR_IN, 0);
	m.flags = MSG_BEGIN;
	correlate_msg(p.c, &m);
	play_pass(&p, 100 * NS_PER_S);
	assert_int_equal(p.cnt, 0);
	m.flags = MSG_END;
	m.end_ns = p.now;
	correlate_msg(p.c, &m);
	play_settle(&p);
	assert_int_equal(p.cnt, 1);
	assert_int_equal(p.span[0]->status, STATUS_UNSET);
}

static void one_way_requests_are_spans_at_once(void **state)
{
	struct msg m = request(&out, DIR_OUT, 0);

	m.flags |= MSG_ONE_WAY;
	correlate_msg(p.c, &m);
	ask(&p, &a, &out, 100);
	hear(&p, &a, &out, 0);
	play_settle(&p);
	assert_int_equal(p.cnt, 2);
	assert_int_equal(p.span[0]->end_ns, p.span[0]->start_ns);
	assert_int_equal(p.span[1]->status, STATUS_UNSET);
}

static void a_connections_set_up_is_a_span_only_when_it_failed(void **state)
{
	for (int fails = 0; fails < 2; fails++) {
		uint64_t pos = (uint64_t)fails * 100;
		struct msg m = request(&out, DIR_OUT, pos);

		m.flags |= MSG_INTERNAL;
		correlate_msg(p.c, &m);
		m = response(&out, DIR_IN, pos);
		m.status = fails ? STATUS_ERROR : STATUS_UNSET;
		correlate_msg(p.c, &m);
		play_settle(&p);
		assert_int_equal(p.cnt, fails);
	}
	assert_int_equal(p.c->books.dropped[DROP_INTERNAL], 1);
}

static void a_dial_given_up_is_an_error_only_when_it_took_long(void **state)
{
	for (int slow = 0; slow < 2; slow++) {
		struct conn c = play_conn(60 + (uint64_t)slow, ROLE_DIALLED, 7000, 80);

		c.flags = CONN_F_CONNECTING;
		c.dial_ns = p.now;
		c.tgid = SVC;
		play_open(&p, &c);
		p.now += slow ? 3 * NS_PER_S : 10 * MS;
		play_close(&p, &c, 0);
		play_settle(&p);
		assert_int_equal(p.cnt, slow);
	}
	assert_str(p.span[0]->name, "connect");
	assert_str(span_str(p.span[0], "error.type"), "timeout");
	assert_str(span_str(p.span[0], "server.address"), "127.0.0.1");
}

static void retransmits_are_an_event(void **state)
{
	ask(&p, &a, &out, 0);
	out.retransmits = 3;
	hear(&p, &a, &out, 0);
	play_settle(&p);
	assert_int_equal(p.span[0]->event_cnt, 2);
	assert_str(p.span[0]->events[1].name, "retransmit");
}

static void what_is_looked_at_no_more_is_no_error(void **state)
{
	struct msg m;

	serve(&p, &a, &in, 0);
	m = response(&in, DIR_OUT, 0);
	m.flags = MSG_BEGIN;
	correlate_msg(p.c, &m);
	m.flags = MSG_END | MSG_ABORTED;
	m.err = ECANCELED;
	correlate_msg(p.c, &m);
	ask(&p, &a, &out, 0);
	play_close(&p, &in, ECANCELED);
	play_close(&p, &out, ECANCELED);
	play_settle(&p);
	assert_int_equal(p.cnt, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(p.span[i]->status, STATUS_UNSET);
		assert_null(attrs_find(&p.span[i]->attrs, STR("error.type")));
		assert_non_null(attrs_find(&p.span[i]->attrs, STR("telltale.unfinished")));
	}
}

static void a_flush_pushes_what_is_open(void **state)
{
	serve(&p, &a, &in, 0);
	ask(&p, &a, &out, 0);
	correlate_flush(p.c);
	assert_int_equal(p.cnt, 2);
	assert_int_equal(p.span[0]->status, STATUS_UNSET);
	assert_non_null(attrs_find(&p.span[0]->attrs, STR("telltale.unfinished")));
	assert_int_equal(p.c->books.held, 0);
}

static void a_full_table_pushes_the_oldest_unanswered(void **state)
{
	struct correlate_cfg cfg = { .max_exchanges = 8 };

	teardown(state);
	setup(state);
	p.c->cfg.max_exchanges = cfg.max_exchanges;
	for (uint64_t i = 0; i < 20; i++)
		ask(&p, &a, &out, i * 100);
	assert_int_equal(p.cnt, 12);
	assert_non_null(play_find(&p, 2, DIR_OUT, 0));
	assert_int_equal(p.c->counters[COUNTER_evicted], 12);
	assert_int_equal(p.c->exchange_cnt, 8);
}

static void remembered_exchanges_are_forgotten(void **state)
{
	for (uint64_t i = 0; i < 50; i++) {
		serve(&p, &a, &in, i * 100);
		answer(&p, &a, &in, i * 100);
	}
	play_settle(&p);
	assert_int_equal(p.c->remembered_cnt, 50);
	play_pass(&p, 6 * NS_PER_S);
	assert_int_equal(p.c->remembered_cnt, 0);
	assert_int_equal(p.c->exchange_cnt, 0);
	play_close(&p, &in, 0);
	assert_null(link_find(p.c, 1));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_served_request_says_who_asked_whom),
		TEST(a_client_keeps_what_the_protocol_named),
		TEST(a_clients_error_is_not_the_servers),
		TEST(names_of_other_protocols_are_operation_and_target),
		TEST(an_unknown_method_is_named_http),
		TEST(pipelined_requests_pair_in_order),
		TEST(a_response_may_come_before_its_request),
		TEST(a_response_to_an_unseen_request_is_dropped),
		TEST(a_gap_before_a_response_gives_up_those_that_waited),
		TEST(an_end_before_the_response_is_an_error),
		TEST(an_aborted_response_is_an_error),
		TEST(a_request_without_an_answer_times_out),
		TEST(a_long_answer_does_not_time_out),
		TEST(one_way_requests_are_spans_at_once),
		TEST(a_connections_set_up_is_a_span_only_when_it_failed),
		TEST(a_dial_given_up_is_an_error_only_when_it_took_long),
		TEST(retransmits_are_an_event),
		TEST(what_is_looked_at_no_more_is_no_error),
		TEST(a_flush_pushes_what_is_open),
		TEST(a_full_table_pushes_the_oldest_unanswered),
		TEST(remembered_exchanges_are_forgotten),
	};

	return cmocka_run_group_tests_name("span exchange", tests, NULL, NULL);
}

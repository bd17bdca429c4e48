/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a connection, and the headers that programs send themselves. */
#include "unit/span/play.h"

#define CLIENT 200
#define SERVER 300
#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define HEADER "00-" TRACE "-b7ad6b7169203331-01"

static struct play p;
static struct actor client, server;
static struct conn near, far; /* the same connection, as the client and the server have it */

static int setup(void **state)
{
	play_begin(&p, NULL);
	client = play_actor(CLIENT, CLIENT);
	server = play_actor(SERVER, SERVER);
	play_proc(&p, CLIENT, RUNTIME_NATIVE, "client");
	play_proc(&p, SERVER, RUNTIME_GO, "server");
	near = play_conn(1, ROLE_DIALLED, 5001, 80);
	far = play_conn(2, ROLE_ACCEPTED, 80, 5001);
	return 0;
}

static int teardown(void **state)
{
	play_end(&p);
	return 0;
}

static struct span *asked(uint64_t pos)
{
	return play_find(&p, near.id, DIR_OUT, pos);
}

static struct span *served(uint64_t pos)
{
	return play_find(&p, far.id, DIR_IN, pos);
}

static void round_trip(uint64_t pos)
{
	ask(&p, &client, &near, pos);
	serve(&p, &server, &far, pos);
	answer(&p, &server, &far, pos);
	hear(&p, &client, &near, pos);
}

static bool joined(uint64_t pos)
{
	return is_child(served(pos), asked(pos));
}

static void open_both(void)
{
	play_open(&p, &near);
	play_open(&p, &far);
}

static void the_clients_span_is_the_servers_parent(void **state)
{
	open_both();
	round_trip(0);
	round_trip(100);
	play_settle(&p);
	assert_true(joined(0) && joined(100));
	assert_str(span_str(served(0), "telltale.parent.method"), "socket");
	assert_int_equal(served(0)->flags, 0x301);
	assert_memory_not_equal(&asked(0)->trace_id, &asked(100)->trace_id, 16);
}

static void the_servers_records_may_come_first(void **state)
{
	struct msg m;

	play_open(&p, &far);
	serve(&p, &server, &far, 0);
	answer(&p, &server, &far, 0);
	play_open(&p, &near);
	m = play_msg(&p, &client, &near, MSG_REQUEST, DIR_OUT, 0);
	m.start_ns -= 2020;
	m.end_ns -= 2020;
	correlate_msg(p.c, &m);
	hear(&p, &client, &near, 0);
	play_settle(&p);
	assert_true(joined(0));
}

static void positions_join_by_their_low_32_bits(void **state)
{
	uint64_t high = 1ull << 32;

	open_both();
	ask(&p, &client, &near, 500 + high);
	serve(&p, &server, &far, 500);
	answer(&p, &server, &far, 0);
	hear(&p, &client, &near, 0);
	play_settle(&p);
	assert_true(is_child(served(500), asked(500 + high)));
}

static void another_position_is_another_request(void **state)
{
	open_both();
	ask(&p, &client, &near, 0);
	serve(&p, &server, &far, 100);
	play_settle(&p);
	correlate_flush(p.c);
	assert_true(is_root(served(100)));
}

static void loopback_joins_within_a_namespace_only(void **state)
{
	far.netns = 2;
	open_both();
	round_trip(0);
	play_settle(&p);
	assert_true(is_root(served(0)));
}

static void other_addresses_join_across_namespaces(void **state)
{
	static const uint8_t a[4] = { 10, 0, 0, 1 }, b[4] = { 10, 0, 0, 2 };

	memcpy(near.local.addr + 12, a, 4);
	memcpy(near.remote.addr + 12, b, 4);
	memcpy(far.local.addr + 12, b, 4);
	memcpy(far.remote.addr + 12, a, 4);
	far.netns = 2;
	open_both();
	round_trip(0);
	play_settle(&p);
	assert_true(joined(0));
}

static void two_dialled_ends_are_not_one_connection(void **state)
{
	far.role = ROLE_DIALLED;
	open_both();
	round_trip(0);
	play_settle(&p);
	assert_true(is_root(served(0)));
}

static void a_port_used_again_joins_the_new_connection(void **state)
{
	struct conn near2 = play_conn(3, ROLE_DIALLED, 5001, 80);
	struct conn far2 = play_conn(4, ROLE_ACCEPTED, 80, 5001);

	open_both();
	round_trip(0);
	play_close(&p, &near, 0);
	play_close(&p, &far, 0);
	p.now += 300 * MS;
	play_open(&p, &near2);
	play_open(&p, &far2);
	ask(&p, &client, &near2, 0);
	serve(&p, &server, &far2, 0);
	answer(&p, &server, &far2, 0);
	hear(&p, &client, &near2, 0);
	play_settle(&p);
	assert_true(is_child(play_find(&p, 4, DIR_IN, 0), play_find(&p, 3, DIR_OUT, 0)));
	assert_true(joined(0));
}

static void unix_sockets_join_by_their_identities(void **state)
{
	near.transport = far.transport = TRANSPORT_UNIX;
	near.sock = far.peer_sock = 0xa0;
	near.peer_sock = far.sock = 0xb0;
	open_both();
	round_trip(0);
	round_trip(100);
	play_settle(&p);
	assert_true(joined(0) && joined(100));
	assert_str(span_str(served(0), "network.transport"), "unix");
}

static void unix_sockets_seen_late_join_by_time(void **state)
{
	near.transport = far.transport = TRANSPORT_UNIX;
	near.sock = far.peer_sock = 0xa0;
	near.peer_sock = far.sock = 0xb0;
	near.flags = far.flags = CONN_F_MIDSTREAM;
	open_both();
	for (uint64_t pos = 0; pos < 300; pos += 100) {
		ask(&p, &client, &near, pos);
		serve(&p, &server, &far, pos + 100); /* off by one request */
		p.now += 2 * MS;
		answer(&p, &server, &far, pos);
		hear(&p, &client, &near, pos);
		p.now += 5 * MS;
	}
	play_settle(&p);
	for (uint64_t pos = 0; pos < 300; pos += 100)
		assert_true(is_child(served(pos + 100), asked(pos)));
}

static void two_at_once_do_not_join_by_time(void **state)
{
	near.transport = far.transport = TRANSPORT_UNIX;
	near.sock = far.peer_sock = 0xa0;
	near.peer_sock = far.sock = 0xb0;
	near.flags = CONN_F_MIDSTREAM;
	open_both();
	ask(&p, &client, &near, 0);
	ask(&p, &client, &near, 100);
	serve(&p, &server, &far, 50);
	answer(&p, &server, &far, 0);
	hear(&p, &client, &near, 0);
	hear(&p, &client, &near, 100);
	play_settle(&p);
	assert_true(is_root(served(50)));
}

static void datagrams_join_by_their_stream(void **state)
{
	struct msg m;

	near.transport = far.transport = TRANSPORT_UDP;
	open_both();
	for (int i = 0; i < 4; i++) {
		bool back = i >= 2;
		bool here = i == 0 || i == 3;

		p.now += 1000;
		m = play_msg(&p, here ? &client : &server, here ? &near : &far,
			     back ? MSG_RESPONSE : MSG_REQUEST, here != back ? DIR_OUT : DIR_IN,
			     here ? 0 : 77);
		m.stream_id = 4711;
		correlate_msg(p.c, &m);
	}
	play_settle(&p);
	assert_true(is_child(served(77), asked(0)));
	assert_str(span_str(asked(0), "network.transport"), "udp");
}

/* ---- traceparent ---------------------------------------------------------------------------- */

static void pass_header(struct actor *a, struct conn *c, uint8_t dir, uint64_t pos,
			const char *header)
{
	struct msg m;

	p.now += 1000;
	m = play_msg(&p, a, c, MSG_REQUEST, dir, pos);
	m.traceparent = str_of(header);
	m.tracestate = STR("vendor=1");
	correlate_msg(p.c, &m);
}

static void assert_header(const struct span *s)
{
	char hex[33];

	assert_non_null(s);
	trace_id_hex(&s->trace_id, hex);
	assert_string_equal(hex, TRACE);
	span_id_hex(&s->parent_id, hex);
	assert_string_equal(hex, "b7ad6b7169203331");
	assert_str(span_str(s, "telltale.parent.method"), "");
}

static void an_incoming_header_is_the_parent(void **state)
{
	play_open(&p, &far);
	pass_header(&server, &far, DIR_IN, 0, HEADER);
	answer(&p, &server, &far, 0);
	play_settle(&p);
	assert_header(served(0));
	assert_str(served(0)->trace_state, "vendor=1");
	assert_int_equal(served(0)->flags, 0x301);
}

static void an_invalid_header_is_nothing(void **state)
{
	play_open(&p, &far);
	pass_header(&server, &far, DIR_IN, 0, "00-" TRACE "-0000000000000000-01");
	answer(&p, &server, &far, 0);
	play_settle(&p);
	assert_true(is_root(served(0)));
}

static void a_header_between_two_ends_keeps_both(void **state)
{
	open_both();
	pass_header(&client, &near, DIR_OUT, 0, HEADER);
	pass_header(&server, &far, DIR_IN, 0, HEADER);
	answer(&p, &server, &far, 0);
	hear(&p, &client, &near, 0);
	play_settle(&p);
	assert_header(asked(0)); /* a tracer in the program made it */
	assert_true(joined(0));
}

static void a_header_handed_on_by_a_proxy_keeps_the_proxy(void **state)
{
	struct conn in = play_conn(9, ROLE_ACCEPTED, 8080, 5009);

	play_open(&p, &in);
	open_both();
	pass_header(&client, &in, DIR_IN, 0, HEADER);
	pass_header(&client, &near, DIR_OUT, 0, HEADER);
	hear(&p, &client, &near, 0);
	answer(&p, &client, &in, 0);
	play_settle(&p);
	assert_header(play_find(&p, in.id, DIR_IN, 0));
	assert_true(is_child(asked(0), play_find(&p, in.id, DIR_IN, 0)));
}

static void a_header_tells_two_candidates_apart(void **state)
{
	struct conn in1 = play_conn(8, ROLE_ACCEPTED, 8080, 5008);
	struct conn in2 = play_conn(9, ROLE_ACCEPTED, 8080, 5009);

	play_open(&p, &in1);
	play_open(&p, &in2);
	open_both();
	pass_header(&client, &in1, DIR_IN, 0, HEADER);
	serve(&p, &client, &in2, 0);
	pass_header(&client, &near, DIR_OUT, 0, HEADER);
	hear(&p, &client, &near, 0);
	answer(&p, &client, &in1, 0);
	answer(&p, &client, &in2, 0);
	play_settle(&p);
	assert_true(is_child(asked(0), play_find(&p, in1.id, DIR_IN, 0)));
	assert_str(span_str(asked(0), "telltale.parent.method"), "traceparent");
}

static void a_header_of_the_programs_own_goes_before_the_context(void **state)
{
	struct conn in = play_conn(9, ROLE_ACCEPTED, 8080, 5009);

	play_open(&p, &in);
	play_open(&p, &near);
	serve(&p, &client, &in, 0);
	pass_header(&client, &near, DIR_OUT, 0, HEADER);
	hear(&p, &client, &near, 0);
	answer(&p, &client, &in, 0);
	play_settle(&p);
	assert_header(asked(0));
	assert_true(is_root(play_find(&p, in.id, DIR_IN, 0)));
}

static void a_chain_of_services_is_one_trace(void **state)
{
	struct conn in = play_conn(9, ROLE_ACCEPTED, 8080, 5009);
	struct span *root;

	play_open(&p, &in);
	open_both();
	serve(&p, &client, &in, 0);
	ask(&p, &client, &near, 0);
	serve(&p, &server, &far, 0);
	answer(&p, &server, &far, 0);
	/* the inner ones are pushed while the outermost is still open */
	hear(&p, &client, &near, 0);
	play_settle(&p);
	assert_int_equal(p.cnt, 2);
	answer(&p, &client, &in, 0);
	play_settle(&p);
	root = play_find(&p, in.id, DIR_IN, 0);
	assert_true(is_root(root));
	assert_true(is_child(asked(0), root));
	assert_true(joined(0));
	assert_memory_equal(&served(0)->trace_id, &root->trace_id, 16);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_clients_span_is_the_servers_parent),
		TEST(the_servers_records_may_come_first),
		TEST(positions_join_by_their_low_32_bits),
		TEST(another_position_is_another_request),
		TEST(loopback_joins_within_a_namespace_only),
		TEST(other_addresses_join_across_namespaces),
		TEST(two_dialled_ends_are_not_one_connection),
		TEST(a_port_used_again_joins_the_new_connection),
		TEST(unix_sockets_join_by_their_identities),
		TEST(unix_sockets_seen_late_join_by_time),
		TEST(two_at_once_do_not_join_by_time),
		TEST(datagrams_join_by_their_stream),
		TEST(an_incoming_header_is_the_parent),
		TEST(an_invalid_header_is_nothing),
		TEST(a_header_between_two_ends_keeps_both),
		TEST(a_header_handed_on_by_a_proxy_keeps_the_proxy),
		TEST(a_header_tells_two_candidates_apart),
		TEST(a_header_of_the_programs_own_goes_before_the_context),
		TEST(a_chain_of_services_is_one_trace),
	};

	return cmocka_run_group_tests_name("span join", tests, NULL, NULL);
}

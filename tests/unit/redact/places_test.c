/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that no name announces: in command lines, statements under any key, integers, tracestate.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "redact/redact.h"

static struct arena *mem;
static struct resource *resource;
static struct redact *room;
static struct span span, *copy;

static void take_span(void *ctx, const struct span *s)
{
	span_release(copy);
	copy = span_copy(s, mem);
}

static int begin_with(const struct redact_rule_cfg *rules, size_t cnt)
{
	const struct redact_rules_cfg cfg = { .rules = rules, .rule_cnt = cnt };
	struct redact_cfg gate = { 0 };
	char why[REDACT_WHY_MAX];

	if (redact_rules_new(&cfg, &gate.rules, why))
		fail_msg("%s", why);
	room = redact_new(&gate, (struct span_sink){ .push = take_span });
	redact_rules_put(gate.rules);
	span = (struct span){ .name = STR("x"), .resource = resource, .scope = &scope_capture };
	return room ? 0 : -1;
}

static int begin(void **state)
{
	return begin_with(NULL, 0);
}

static int finish(void **state)
{
	span_release(copy);
	copy = NULL;
	redact_free(room);
	return 0;
}

/* Twice: what was learnt of the first must not let the second through. */
static struct value push_value(const char *key, struct value v)
{
	for (int i = 0; i < 2; i++) {
		span.attrs = (struct attrs){ 0 };
		attrs_add(&span.attrs, mem, arena_str(mem, str_of(key)), v);
		redact_push(room, &span);
	}
	assert_int_equal(copy->attrs.cnt, 1);
	return copy->attrs.item[0].value;
}

static void becomes(const char *key, const char *text, const char *want)
{
	struct value got =
		push_value(key, (struct value){ .type = VALUE_STR, .str = str_of(text) });

	if (!str_eq(got.str, str_of(want)))
		fail_msg("%s %s: '%.*s'", key, text, STR_ARG(got.str));
}

static void stays(const char *key, const char *text)
{
	becomes(key, text, text);
}

/* Arguments parted by |. */
static void arguments(const char *text, const char *want)
{
	struct value item[16], got;
	struct str rest = str_of(text);
	char joined[256] = "";
	size_t cnt = 0;

	for (; rest.len; cnt++) {
		ptrdiff_t bar = str_find(rest, '|');
		size_t len = bar < 0 ? rest.len : (size_t)bar;

		item[cnt] = (struct value){ .type = VALUE_STR, .str = { rest.p, len } };
		rest = str_from(rest, len + 1);
	}
	got = push_value("process.command_args",
			 (struct value){ .type = VALUE_ARRAY, .array = { item, cnt } });
	for (size_t i = 0; i < got.array.cnt; i++) {
		strcat(joined, i ? "|" : "");
		strncat(joined, got.array.item[i].str.p, got.array.item[i].str.len);
	}
	assert_string_equal(joined, want);
}

static void command_lines_lose_their_passwords(void **state)
{
	const char *key = "process.command_line";

	becomes(key, "mysql -u root -phunter2 shop", "mysql -u root -pREDACTED shop");
	becomes(key, "/usr/bin/mysqldump -p'my word' --all",
		"/usr/bin/mysqldump -p'REDACTED' --all");
	becomes(key, "mariadb --password hunter2 shop", "mariadb --password REDACTED shop");
	becomes(key, "curl -sSu bob:hunter2 http://shop/", "curl -sSu bob:REDACTED http://shop/");
	becomes(key, "curl --user=bob:hunter2 http://shop/",
		"curl --user=bob:REDACTED http://shop/");
	becomes(key, "curl -u 'bob:my word' http://shop/", "curl -u 'bob:REDACTED' http://shop/");
	becomes(key, "curl -ubob:hunter2 http://shop/", "curl -ubob:REDACTED http://shop/");
	becomes(key, "sudo sshpass -p hunter2 ssh host", "sudo sshpass -p REDACTED ssh host");
	becomes(key, "redis-cli -h db -a hunter2 PING", "redis-cli -h db -a REDACTED PING");
	becomes(key, "docker login -u bob -p hunter2 hub", "docker login -u bob -p REDACTED hub");
	becomes(key, "sh -c 'mysql -phunter2' && curl -u \"a:b\" x",
		"sh -c 'mysql -pREDACTED' && curl -u \"a:REDACTED\" x");
	becomes(key, "smbclient -U bob%hunter2 //host/x", "smbclient -U bob%REDACTED //host/x");
	becomes(key, "openssl rsa -passin pass:hunter2", "openssl rsa -passin pass:REDACTED");
	becomes("process.cmdline", "mysql -phunter2", "mysql -pREDACTED");
	becomes(key, "mysql -p'cut short", "mysql -p'REDACTED");
}

static void other_flags_stay(void **state)
{
	const char *key = "process.command_line";

	stays(key, "docker run -p 8080:80 nginx");
	stays(key, "mysql -u root -p shop");
	stays(key, "ssh -p 2222 host");
	stays(key, "mkdir -p /var/lib/mysql");
	stays(key, "curl -u bob http://shop/");
	stays(key, "python3 -u app.py 'a b' \"c\"");
	stays(key, "mysqld_safe --port 3306 --user=mysql");
	stays(key, "'''\" \" ''");
	stays("note", "mysql -phunter2"); /* prose is left to the rules */
	arguments("mkdir|-p|/srv/x", "mkdir|-p|/srv/x");
}

static void arguments_lose_their_passwords(void **state)
{
	arguments("mysql|-phunter2|shop", "mysql|-pREDACTED|shop");
	arguments("mysql|-pmy word|shop", "mysql|-pREDACTED|shop");
	arguments("mysql|--password|hunter2", "mysql|--password|REDACTED");
	arguments("curl|-s|-u|bob:my word|http://x", "curl|-s|-u|bob:REDACTED|http://x");
	arguments("redis-cli|-a|hunter2", "redis-cli|-a|REDACTED");
	arguments("sh|-c|mysql -phunter2 shop", "sh|-c|mysql -pREDACTED shop");
	/* the same words mean nothing to another program */
	arguments("ssh|-phunter2", "ssh|-phunter2");
}

static void a_command_may_be_dropped(void **state)
{
	const struct redact_rule_cfg drop = { .name = STR("password"), .action = REDACT_DROP };

	finish(state);
	begin_with(&drop, 1);
	attrs_add_str(&span.attrs, mem, "process.command_line", STR("mysql -phunter2"));
	attrs_add_str(&span.attrs, mem, "process.cmdline", STR("mysql -u root"));
	redact_push(room, &span);
	assert_int_equal(copy->attrs.cnt, 1);
	assert_int_equal(copy->attrs.dropped, 1);
}

static void statements_are_known_under_any_key(void **state)
{
	static const char *const keys[] = {
		"sql",		"sql.query",	      "db.sql", "Statement", "mybatis.sql",
		"db.query.raw", "cassandra.statement"
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		becomes(keys[i], "SELECT * FROM users WHERE name = 'bob' AND age > 42",
			"SELECT * FROM users WHERE name = ? AND age > ?");
		becomes(keys[i], " /* app */ (with x as (select 1) select 'a')",
			"  (with x as (select ?) select ?)");
		becomes(keys[i], "insert\tinto t values ('x')", "insert\tinto t values (?)");
		becomes(keys[i], "-- who\nUPDATE t SET a = 'x'", "\nUPDATE t SET a = ?");
		stays(keys[i], "selection of 42 'best'");
		stays(keys[i], "{ shop(id: 42) { name } }");
		stays(keys[i], "SELECT");
		becomes(keys[i], "mail bob@example.com", "mail REDACTED"); /* the rules, still */
	}
	stays("db.query.summary", "SELECT users");
	stays("note", "SELECT 42 FROM menu");
}

static void raw_queries_stay_under_any_key(void **state)
{
	finish(state);
	room = redact_new(&(struct redact_cfg){ .raw_queries = true },
			  (struct span_sink){ .push = take_span });
	stays("sql.query", "SELECT 'bob'");
}

static void number(const char *key, int64_t n, bool masked)
{
	struct value got = push_value(key, (struct value){ .type = VALUE_INT, .i = n });

	if (got.type != (masked ? VALUE_STR : VALUE_INT))
		fail_msg("%s %lld", key, (long long)n);
	if (masked)
		assert_true(str_eq(got.str, STR("REDACTED")));
}

static void card_numbers_may_be_integers(void **state)
{
	number("payment.card", 4111111111111111, true);
	number("payment.card", 5555555555554444, true);
	number("payment.card", 378282246310005, true);
	number("payment.card", 30569309025904, true);
	number("payment.card", 4111111111111112, false); /* Luhn */
	number("payment.card", 9111111111111117, false); /* no network */
	number("payment.card", -4111111111111111, false);
	number("payment.card", 4222222222222, false);	    /* 13 digits: not given out */
	number("payment.card", 4000000000000000006, false); /* 19: ids */
	for (int64_t ns = 1700000000000000000; ns < 1700000000000000000 + 1000; ns++)
		number("x", ns, false);
	for (int64_t us = 1700000000000000; us < 1700000000000000 + 1000; us++)
		number("x", us, false);
	for (int64_t day = 20240101000000; day < 20240101000000 + 1000; day++)
		number("x", day, false);
	number("order.id", 4111111111111111, false);
	number("orderId", 4111111111111111, false);
	number("process.start_time", 4111111111111111, false);
	number("memory.bytes", 4111111111111111, false);
}

static void a_number_in_a_list_is_found(void **state)
{
	struct value item[] = { { .type = VALUE_INT, .i = 7 },
				{ .type = VALUE_INT, .i = 4111111111111111 } };
	struct value got =
		push_value("cards", (struct value){ .type = VALUE_ARRAY, .array = { item, 2 } });

	assert_int_equal(got.array.item[0].type, VALUE_INT);
	assert_int_equal(got.array.item[1].type, VALUE_STR);
}

static void state_becomes(const char *text, const char *want)
{
	struct span_link link = { .trace_state = str_of(text) };

	span.links = &link;
	span.link_cnt = 1;
	span.trace_state = str_of(text);
	redact_push(room, &span);
	if (!str_eq(copy->trace_state, str_of(want)))
		fail_msg("%s: '%.*s'", text, STR_ARG(copy->trace_state));
	assert_true(str_eq(copy->links[0].trace_state, str_of(want)));
}

static void members_of_tracestate_with_secrets_go(void **state)
{
	state_becomes("ot=th:8,user=bob@example.com,dd=s:1;o:rum", "ot=th:8,dd=s:1;o:rum");
	state_becomes("pay=4111111111111111", "");
	state_becomes("a=1, jwt=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl,ot=th:c",
		      "a=1,ot=th:c");
	state_becomes("token=0123456789abcdef,x=1", "x=1");
	state_becomes("ot=th:8;rv:41111111111111", "ot=th:8;rv:41111111111111");
	state_becomes(
		"33@nr=0-0-33-2827902-7d3efb1b173fecfb-e8b91a159289ff74-1-1.23-1518469636035",
		"33@nr=0-0-33-2827902-7d3efb1b173fecfb-e8b91a159289ff74-1-1.23-1518469636035");
	state_becomes("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
		      "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
	state_becomes("", "");
}

static int set_up(void **state)
{
	mem = arena_new(0);
	resource = resource_new();
	resource_seal(resource);
	return 0;
}

static int tear_down(void **state)
{
	int refs = (int)resource->refs;

	resource_put(resource);
	arena_free(mem);
	return refs == 1 ? 0 : -1;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, finish)
	const struct CMUnitTest tests[] = {
		T(command_lines_lose_their_passwords),	  T(other_flags_stay),
		T(arguments_lose_their_passwords),	  T(a_command_may_be_dropped),
		T(statements_are_known_under_any_key),	  T(raw_queries_stay_under_any_key),
		T(card_numbers_may_be_integers),	  T(a_number_in_a_list_is_found),
		T(members_of_tracestate_with_secrets_go),
	};

	return cmocka_run_group_tests_name("redact/places", tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Spans through a gate with rules: every place that has text, the user's lists, each action. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/books.h"
#include "redact/redact.h"

#include <stdlib.h>

#define CARD "4111111111111111"
#define MAIL "bob@example.com"

static const uint8_t hash_key[REDACT_HASH_KEY_LEN] = "a key of tests, of thirty-two b";
static struct arena *mem;
static struct span span;
static struct resource *resource;
static struct redact *room;
static const struct span *came;
static struct span *copy; /* of what came, to look at after the call */

static void take_span(void *ctx, const struct span *s)
{
	span_release(copy);
	came = s;
	copy = span_copy(s, mem);
}

static void clear(void)
{
	memset(&span, 0, sizeof(span));
	span.name = STR("x");
	span.resource = resource;
	span.scope = &scope_capture;
}

static void begin(struct redact_rules_cfg *cfg)
{
	struct redact_cfg gate = { 0 };
	char why[REDACT_WHY_MAX];

	cfg->hash_key = hash_key;
	if (redact_rules_new(cfg, &gate.rules, why))
		fail_msg("%s", why);
	room = redact_new(&gate, (struct span_sink){ .push = take_span });
	assert_non_null(room);
	redact_rules_put(gate.rules);
	clear();
}

static void finish(void)
{
	span_release(copy);
	copy = NULL;
	redact_free(room);
}

static void push(void)
{
	came = NULL;
	redact_push(room, &span);
	assert_non_null(came);
}

static void add(const char *key, const char *value)
{
	attrs_add_str(&span.attrs, mem, key, str_of(value));
}

static void assert_str(struct str got, const char *want)
{
	if (!str_eq(got, str_of(want)))
		fail_msg("'%.*s', not '%s'", STR_ARG(got), want);
}

static void assert_attr(const struct attrs *attrs, const char *key, const char *value)
{
	assert_str(attrs_str(attrs, key), value);
}

static struct value text_value(const char *text)
{
	return (struct value){ .type = VALUE_STR, .str = str_of(text) };
}

/* Alike at both ends and in length, in turns and often: what was learned of one is not the other's.
 */
static void keys_that_look_alike_are_told_apart(void **state)
{
	static const struct redact_key_cfg deny[] = { { { "app.name.two.of.user", 20 },
							REDACT_MASK } };
	struct redact_rules_cfg cfg = { .deny = deny, .deny_cnt = 1 };

	begin(&cfg);
	for (int i = 0; i < 8; i++) {
		clear();
		add("app.name.one.of.user", "plain");
		add("app.name.two.of.user", "plain"); /* clean elsewhere */
		add("app.name.six.of.user", i % 2 ? "plain" : CARD);
		add("short", "plain");
		add("a.key.of.more.than.thirty-two.bytes", "plain");
		push();
		assert_attr(&copy->attrs, "app.name.one.of.user", "plain");
		assert_attr(&copy->attrs, "app.name.two.of.user", "REDACTED");
		assert_attr(&copy->attrs, "app.name.six.of.user", i % 2 ? "plain" : "REDACTED");
		assert_attr(&copy->attrs, "short", "plain");
		assert_attr(&copy->attrs, "a.key.of.more.than.thirty-two.bytes", "plain");
	}
	finish();
}

static void texts_are_found_wherever_they_are(void **state)
{
	struct redact_rules_cfg cfg = { 0 };
	struct span_event event = { .name = STR("sent to " MAIL) };
	struct span_link link = { .trace_state = STR("a=" CARD) };

	begin(&cfg);
	span.name = STR("pay " CARD);
	span.status_message = STR("no such user " MAIL);
	span.trace_state = STR("v=" CARD ",w=1");
	add("note", "card " CARD);
	attrs_add(&span.attrs, mem, STR("bytes"),
		  (struct value){ .type = VALUE_BYTES, .str = STR(MAIL) });
	attrs_add_str(&event.attrs, mem, "note", STR(MAIL));
	attrs_add_str(&link.attrs, mem, "note", STR(MAIL));
	span.events = &event;
	span.links = &link;
	span.event_cnt = span.link_cnt = 1;
	push();
	assert_str(copy->name, "pay REDACTED");
	assert_str(copy->status_message, "no such user REDACTED");
	assert_str(copy->trace_state, "w=1");
	assert_attr(&copy->attrs, "note", "card REDACTED");
	assert_str(attrs_find(&copy->attrs, STR("bytes"))->value.str, "REDACTED");
	assert_str(copy->events[0].name, "sent to REDACTED");
	assert_attr(&copy->events[0].attrs, "note", "REDACTED");
	assert_attr(&copy->links[0].attrs, "note", "REDACTED");
	assert_str(copy->links[0].trace_state, "");
	/* the producer's span is untouched */
	assert_str(span.name, "pay " CARD);
	assert_str(event.name, "sent to " MAIL);
	assert_attr(&link.attrs, "note", MAIL);
	finish();
}

static void nested_values_are_looked_at_to_the_ground(void **state)
{
	struct redact_rules_cfg cfg = { 0 };
	struct value leaf = text_value(MAIL), list[2] = { text_value("plain"), leaf };
	struct attr pairs[3] = {
		{ STR("password"), text_value("x") },
		{ STR("list"), { .type = VALUE_ARRAY, .array = { list, 2 } } },
		{ STR("plain"), text_value("y") },
	};
	struct value map = { .type = VALUE_KVLIST, .kvlist = { pairs, 3 } };
	struct value nests[VALUE_DEPTH_MAX + 2];
	const struct value *got;

	begin(&cfg);
	attrs_add(&span.attrs, mem, STR("body"), map);
	push();
	got = &copy->attrs.item[0].value;
	assert_str(got->kvlist.item[0].value.str, "REDACTED");
	assert_str(got->kvlist.item[1].value.array.item[0].str, "plain");
	assert_str(got->kvlist.item[1].value.array.item[1].str, "REDACTED");
	assert_str(got->kvlist.item[2].value.str, "y");
	assert_str(list[1].str, MAIL);
	/* as deep as producers may nest, and one too deep */
	nests[0] = leaf;
	for (size_t i = 1; i < ARRAY_LEN(nests); i++)
		nests[i] = (struct value){ .type = VALUE_ARRAY, .array = { &nests[i - 1], 1 } };
	clear();
	attrs_add(&span.attrs, mem, STR("deep"), nests[VALUE_DEPTH_MAX]);
	attrs_add(&span.attrs, mem, STR("too.deep"), nests[VALUE_DEPTH_MAX + 1]);
	push();
	got = &copy->attrs.item[0].value;
	while (got->type == VALUE_ARRAY)
		got = got->array.item;
	assert_str(got->str, "REDACTED");
	got = &copy->attrs.item[1].value;
	while (got->type == VALUE_ARRAY)
		got = got->array.item;
	assert_str(got->str, "REDACTED");
	finish();
}

static void a_span_without_secrets_is_not_copied(void **state)
{
	struct redact_rules_cfg cfg = { 0 };

	begin(&cfg);
	add("trace_id", "41111111111111114111111111111111");
	add("parent.span_id", CARD);
	add("k8s.pod.uid", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
	add("container.id", "3d8a1b0f8c4e4a5b9f3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a");
	add("time", "2026-11-21T06:42:38.123456789Z");
	add("network.peer.address", "10.42.3.17");
	add("url.path", "/users/123456789012/orders/42");
	add("url.full", "http://cart:8080/api/cart/12345");
	add("db.system.name", "redis");
	add("db.query.text", "GET session:00000f3a2b1c0d9e");
	add("session.id", "0a1b2c3d");
	add("messaging.message.key", "order-5");
	attrs_add_int(&span.attrs, mem, "order.id", 4111111111111111);
	span.trace_state = STR("ot=th:8,dd=s:1;o:rum");
	attrs_add_bool(&span.attrs, mem, "has_password", true);
	for (int i = 0; i < 3; i++) {
		push();
		assert_ptr_equal(came, &span);
	}
	finish();
}

static void credentials_are_known_by_their_keys(void **state)
{
	static const char *const keys[] = {
		"http.request.header.authorization",
		"http.request.header.Cookie",
		"http.response.header.set_cookie",
		"http.request.header.x-auth-token",
		"rpc.grpc.request.metadata.authorization",
		"db.password",
		"clientSecret",
		"process.environment_variable.DB_PASSWORD",
		"headers[x-api-key]",
	};
	static const char *const others[] = { "token_count", "message.key", "code",
					      "session.id",  "secretary",   "cookie_count" };
	struct redact_rules_cfg cfg = { 0 };

	begin(&cfg);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		add(keys[i], "abc");
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		add(others[i], "abc");
	push();
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_attr(&copy->attrs, keys[i], "REDACTED");
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_attr(&copy->attrs, others[i], "abc");
	finish();
}

static void arguments_behind_secret_flags_are_masked(void **state)
{
	struct redact_rules_cfg cfg = { 0 };
	struct value args[5] = { text_value("mysql"), text_value("--password"), text_value("abc"),
				 text_value("--host"), text_value("db") };
	const struct value *got;

	begin(&cfg);
	attrs_add(&span.attrs, mem, STR("process.command_args"),
		  (struct value){ .type = VALUE_ARRAY, .array = { args, 5 } });
	add("process.command_line", "mysql --password abc --host db");
	push();
	got = copy->attrs.item[0].value.array.item;
	assert_str(got[1].str, "--password");
	assert_str(got[2].str, "REDACTED");
	assert_str(got[4].str, "db");
	assert_attr(&copy->attrs, "process.command_line", "mysql --password REDACTED --host db");
	finish();
}

static void keys_may_hold_secrets_too(void **state)
{
	struct redact_rules_cfg cfg = { 0 };

	begin(&cfg);
	add("user." MAIL, "x");
	for (int i = 0; i < 2; i++) {
		push();
		assert_attr(&copy->attrs, "REDACTED", "x");
	}
	finish();
}

static void resource_and_scope_are_masked_once(void **state)
{
	struct redact_rules_cfg cfg = { 0 };
	struct resource *dirty = resource_new();
	struct scope *scope = arena_alloc(dirty->arena, sizeof(*scope));
	struct resource *got;

	attrs_add_str(&dirty->attrs, dirty->arena, "service.name", STR("shop"));
	attrs_add_str(&dirty->attrs, dirty->arena, "owner", STR(MAIL));
	resource_seal(dirty);
	scope->name = STR("lib");
	begin(&cfg);
	span.resource = dirty;
	span.scope = scope;
	push();
	got = copy->resource;
	assert_ptr_not_equal(got, dirty);
	assert_attr(&got->attrs, "owner", "REDACTED");
	assert_attr(&got->attrs, "service.name", "shop");
	assert_str(got->service, "shop");
	assert_int_not_equal(got->hash, dirty->hash);
	/* the scope goes with the resource that owns it */
	assert_ptr_not_equal(copy->scope, scope);
	assert_str(copy->scope->name, "lib");
	push();
	assert_ptr_equal(copy->resource, got);
	/* a resource without secrets, a scope with one */
	span.resource = resource;
	scope->version = STR(MAIL);
	scope->schema_url = STR("https://u:p@schemas.example/1.44.0");
	attrs_add_str(&scope->attrs, dirty->arena, "mail", STR(MAIL));
	push();
	assert_ptr_not_equal(copy->resource, resource);
	assert_str(copy->scope->version, "REDACTED");
	assert_str(copy->scope->schema_url, "https://REDACTED:REDACTED@schemas.example/1.44.0");
	assert_attr(&copy->scope->attrs, "mail", "REDACTED");
	/* copies keep what they need when the gate has gone */
	redact_free(room);
	resource_put(dirty);
	assert_str(copy->scope->version, "REDACTED");
	span_release(copy);
	copy = NULL;
}

static void many_resources_pass_in_bounded_memory(void **state)
{
	struct redact_rules_cfg cfg = { 0 };
	char *big = malloc(200 << 10);

	memset(big, 'x', 200 << 10);
	begin(&cfg);
	for (int i = 0; i < 300; i++) {
		struct resource *r = resource_new();

		attrs_add_str(&r->attrs, r->arena, "owner", STR(MAIL));
		attrs_add_str(&r->attrs, r->arena, "big",
			      arena_str(r->arena, (struct str){ big, 200 << 10 }));
		resource_seal(r);
		span.resource = r;
		redact_push(room, &span);
		assert_attr(&copy->resource->attrs, "owner", "REDACTED");
		resource_put(r);
		span_release(copy);
		copy = NULL;
		arena_reset(mem);
	}
	finish();
	free(big);
}

static void hashes_are_stable_and_depend_on_the_key(void **state)
{
	static const struct redact_rule_cfg rules[] = { { { "email", 5 }, { 0 }, REDACT_HASH },
							{ { "card", 4 }, { 0 }, REDACT_HASH } };
	static const struct redact_key_cfg deny[] = { { { "user.id", 7 }, REDACT_HASH },
						      { { "num", 3 }, REDACT_HASH } };
	struct redact_rules_cfg cfg = {
		.rules = rules, .rule_cnt = 2, .deny = deny, .deny_cnt = 2
	};
	struct str first, second;

	for (int round = 0; round < 2; round++) {
		begin(&cfg);
		add("a", "from " MAIL);
		add("b", MAIL);
		add("c", CARD);
		add("d", "4111 1111-1111 1111");
		add("e", "4111-1111-1111-1111");
		add("f", "4111\u00a01111\u00a01111\u00a01111");
		add("user.id", MAIL);
		attrs_add_int(&span.attrs, mem, "num", 5);
		push();
		first = attrs_str(&copy->attrs, "b");
		assert_int_equal(first.len, 37);
		assert_true(str_starts(first, STR("hash:")));
		assert_true(str_eq(str_from(attrs_str(&copy->attrs, "a"), 5), first));
		assert_true(str_eq(attrs_str(&copy->attrs, "user.id"), first));
		assert_true(str_eq(attrs_str(&copy->attrs, "c"), attrs_str(&copy->attrs, "e")));
		assert_true(str_eq(attrs_str(&copy->attrs, "c"), attrs_str(&copy->attrs, "f")));
		assert_false(str_eq(attrs_str(&copy->attrs, "c"), first));
		assert_attr(&copy->attrs, "d", "4111 1111-1111 1111");
		assert_int_equal(attrs_str(&copy->attrs, "num").len, 37);
		if (round)
			assert_true(str_eq(first, second));
		second = arena_str(mem, first);
		/* what is hashed already stays, at the next gate too */
		clear();
		attrs_add_str(&span.attrs, mem, "b", second);
		attrs_add_str(&span.attrs, mem, "user.id", second);
		push();
		assert_ptr_equal(came, &span);
		finish();
	}
	/* known from outside: BLAKE2b-128 of the address with this key */
	assert_str(second, "hash:548de4cd3251ea083b52a69473c3b14d");
}

static void dropping_takes_the_whole_attribute(void **state)
{
	static const struct redact_rule_cfg rules[] = { { { "email", 5 }, { 0 }, REDACT_DROP } };
	static const struct redact_key_cfg deny[] = { { { "gone", 4 }, REDACT_DROP } };
	struct redact_rules_cfg cfg = {
		.rules = rules, .rule_cnt = 1, .deny = deny, .deny_cnt = 1
	};
	struct value list[2] = { text_value("plain"), text_value(MAIL) };

	begin(&cfg);
	span.name = STR("send " MAIL);
	add("first", "1");
	attrs_add(&span.attrs, mem, STR("list"),
		  (struct value){ .type = VALUE_ARRAY, .array = { list, 2 } });
	add("gone", "x");
	add("last", "2");
	span.attrs.dropped = 3;
	push();
	assert_int_equal(copy->attrs.cnt, 2);
	assert_int_equal(copy->attrs.dropped, 5);
	assert_attr(&copy->attrs, "first", "1");
	assert_attr(&copy->attrs, "last", "2");
	assert_str(copy->name, "REDACTED");
	finish();
}

static void lists_say_what_is_left_and_what_goes(void **state)
{
	static const struct redact_key_cfg deny[] = { { { "http.request.header.*", 21 },
							REDACT_MASK },
						      { { "user.?d", 7 }, REDACT_MASK },
						      { { "both", 4 }, REDACT_MASK } };
	static const struct redact_key_cfg allow[] = { { { "http.request.header.accept", 26 },
							 REDACT_MASK },
						       { { "raw.*", 5 }, REDACT_MASK },
						       { { "both", 4 }, REDACT_MASK } };
	struct redact_rules_cfg cfg = {
		.deny = deny, .deny_cnt = 3, .allow = allow, .allow_cnt = 3
	};
	struct attr pair = { STR("password"), text_value("x") };

	begin(&cfg);
	add("http.request.header.accept", "text/html " MAIL);
	add("http.request.header.host", "shop");
	add("user.id", "5");
	add("user.uid", "5");
	add("raw.mail", MAIL);
	add("both", "x");
	attrs_add(&span.attrs, mem, STR("raw.body"),
		  (struct value){ .type = VALUE_KVLIST, .kvlist = { &pair, 1 } });
	push();
	assert_attr(&copy->attrs, "http.request.header.accept", "text/html " MAIL);
	assert_attr(&copy->attrs, "http.request.header.host", "REDACTED");
	assert_attr(&copy->attrs, "user.id", "REDACTED");
	assert_attr(&copy->attrs, "user.uid", "5");
	assert_attr(&copy->attrs, "raw.mail", MAIL);
	assert_attr(&copy->attrs, "both", "REDACTED");
	assert_str(copy->attrs.item[6].value.kvlist.item[0].value.str, "x");
	finish();
}

static void rules_of_the_user_find_their_first_group(void **state)
{
	static const struct redact_rule_cfg rules[] = {
		{ { "order", 5 }, { "ORD-\\d+", 7 }, REDACT_MASK },
		{ { "seat", 4 }, { "seat (\\w+)", 10 }, REDACT_MASK },
		{ { "word", 4 }, { "gr\xc3\xbc.e", 6 }, REDACT_MASK },
	};
	struct redact_rules_cfg cfg = { .rules = rules, .rule_cnt = 3 };
	char *text = malloc(9001);

	begin(&cfg);
	add("a", "ORD-1 and ORD-22, seat 5b");
	add("b", "gr\xc3\xbc\xc3\x9f"
		 "e, \xff gr\xc3\xbc"
		 "ne");
	/* at every place of a text that is longer than one piece */
	memset(text, '.', 9000);
	text[9000] = 0;
	for (int at = 4080; at < 4104; at += 8)
		memcpy(text + at, "ORD-123", 7);
	add("c", text);
	push();
	assert_attr(&copy->attrs, "a", "REDACTED and REDACTED, seat REDACTED");
	assert_attr(&copy->attrs, "b", "REDACTED, \xff REDACTED");
	assert_null(memmem(attrs_str(&copy->attrs, "c").p, 9003, "ORD", 3));
	assert_int_equal(attrs_str(&copy->attrs, "c").len, 9003);
	finish();
	free(text);
}

static double figure;

static void find_gave_up(void *ctx, const struct gauge *g, double value)
{
	if (strcmp(g->name, "redact_gave_up_total") == 0)
		figure = value;
}

static void a_rule_that_takes_too_long_masks_the_text(void **state)
{
	static const struct redact_rule_cfg rules[] = {
		{ { "slow", 4 }, { "(?:a|a|aa)+[bc]", 15 }, REDACT_MASK }
	};
	struct redact_rules_cfg cfg = { .rules = rules, .rule_cnt = 1 };
	char text[2001];

	memset(text, 'a', 2000);
	text[2000] = 0;
	begin(&cfg);
	add("long", text);
	add("short", "xaab");
	push();
	assert_attr(&copy->attrs, "long", "REDACTED");
	assert_attr(&copy->attrs, "short", "xREDACTED");
	gauges_each(find_gave_up, NULL);
	assert_true(figure == 1);
	finish();
}

static void gates_share_their_rules(void **state)
{
	static const struct redact_rules_cfg cfg;
	struct redact_cfg gate = { 0 };
	struct redact *gates[3];
	char why[REDACT_WHY_MAX];

	assert_int_equal(redact_rules_new(&cfg, &gate.rules, why), 0);
	for (int i = 0; i < 3; i++)
		gates[i] = redact_new(&gate, (struct span_sink){ .push = take_span });
	redact_rules_put(gate.rules);
	clear();
	add("note", MAIL);
	for (int i = 0; i < 3; i++) {
		redact_push(gates[i], &span);
		assert_attr(&copy->attrs, "note", "REDACTED");
		redact_free(gates[i]);
	}
	span_release(copy);
	copy = NULL;
	redact_rules_put(NULL);
}

static int make(void **state)
{
	mem = arena_new(0);
	resource = resource_new();
	resource_seal(resource);
	return mem ? 0 : -1;
}

static int end(void **state)
{
	resource_put(resource);
	arena_free(mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_that_look_alike_are_told_apart),
		cmocka_unit_test(texts_are_found_wherever_they_are),
		cmocka_unit_test(nested_values_are_looked_at_to_the_ground),
		cmocka_unit_test(a_span_without_secrets_is_not_copied),
		cmocka_unit_test(credentials_are_known_by_their_keys),
		cmocka_unit_test(arguments_behind_secret_flags_are_masked),
		cmocka_unit_test(keys_may_hold_secrets_too),
		cmocka_unit_test(resource_and_scope_are_masked_once),
		cmocka_unit_test(many_resources_pass_in_bounded_memory),
		cmocka_unit_test(hashes_are_stable_and_depend_on_the_key),
		cmocka_unit_test(dropping_takes_the_whole_attribute),
		cmocka_unit_test(lists_say_what_is_left_and_what_goes),
		cmocka_unit_test(rules_of_the_user_find_their_first_group),
		cmocka_unit_test(a_rule_that_takes_too_long_masks_the_text),
		cmocka_unit_test(gates_share_their_rules),
	};
	return cmocka_run_group_tests_name("redact/gate", tests, make, end);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "redact/internal.h"
#include "redact/redis_keys.c"

#include <stdio.h>

static struct arena *mem;

#define SAME NULL

typedef struct str (*rule)(struct arena *mem, struct str text);

struct pair {
	const char *text, *expected; /* expected SAME: passes as it is, the very same bytes */
};

static void check_pairs(rule f, const struct pair *p, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++, p++) {
		struct str text = str_of(p->text), got = f(mem, text), again;
		const char *expected = p->expected ? p->expected : p->text;

		if (got.len != strlen(expected) || memcmp(got.p, expected, got.len) != 0)
			fail_msg("\n  %s\ngave\n  %.*s\nnot\n  %s", p->text, STR_ARG(got),
				 expected);
		if (!p->expected)
			assert_ptr_equal(got.p, text.p);
		again = f(mem, got);
		if (!str_eq(again, got))
			fail_msg("%.*s changes again: %.*s", STR_ARG(got), STR_ARG(again));
		assert_ptr_equal(again.p, got.p);
	}
}

#define CHECK(f, ...)                                               \
	do {                                                        \
		static const struct pair pairs[] = { __VA_ARGS__ }; \
		check_pairs(f, pairs, ARRAY_LEN(pairs));            \
	} while (0)

static void standard_sql_loses_its_literals(void **state)
{
	CHECK(redact_sql,
	      { "SELECT a, b FROM t WHERE c = $1 AND d = :name AND e = ? AND f = ?3", SAME },
	      { "", SAME }, { "SELECT * FROM t WHERE ok = TRUE AND x IS NULL", SAME },
	      { "SELECT 'it''s', 5, -1.5e-3, .5, 0x1F", "SELECT ?, ?, -?, ?, ?" },
	      { "SELECT E'a\\'b', N'x', X'1F', B'01', U&'d\\0061'", "SELECT ?, ?, ?, ?, ?" },
	      { "select e'\\\\', 'x\\', 7", "select ?, ?, ?" },
	      { "SELECT $$a 'b' c$$, $tag$ $$ 'x' $tag$, $1", "SELECT ?, ?, $1" },
	      { "SELECT q'[it's]', nq'{a'b}', q'!x!'", "SELECT ?, ?, ?" },
	      { "SELECT \"a 'b' 5\", t1.c2 FROM \"x\"\"y\"", SAME },
	      { "SELECT x::int, 'a'::text, a[1:2]", "SELECT x::int, ?::text, a[?:?]" },
	      { "SELECT a--secret\nFROM t /* 5 /* nested */ 'x' */ WHERE b=1",
		"SELECT a\nFROM t  WHERE b=?" },
	      { "SELECT a/*x*/b", "SELECT a b" }, { "SELECT 1--", "SELECT ?" },
	      { "SELECT a -- the end", "SELECT a " },
	      { "LIMIT 10 OFFSET 1_000", "LIMIT ? OFFSET ?" },
	      { "INSERT INTO t VALUES ('a', 1), ('b', 2)", "INSERT INTO t VALUES (?, ?), (?, ?)" },
	      { "SELECT DATE '2020-01-01', tab1, 1e5x", "SELECT DATE ?, tab1, ?" });
}

static void text_cut_inside_a_literal_is_masked_to_its_end(void **state)
{
	CHECK(redact_sql, { "SELECT 'secr", "SELECT ?" }, { "SELECT 'it''", "SELECT ?" },
	      { "SELECT $a$ secret $", "SELECT ?" }, { "SELECT /* secret", "SELECT " },
	      { "SELECT E'x\\", "SELECT ?" }, { "SELECT q'[secret]", "SELECT ?" },
	      { "SELECT \"secr", "SELECT ?" }, { "SELECT q'", "SELECT ?" });
	CHECK(redact_mysql, { "SELECT \"secr", "SELECT ?" }, { "SELECT 'x\\'", "SELECT ?" },
	      { "SELECT `secr", "SELECT ?" });
}

static void lists_are_folded(void **state)
{
	CHECK(redact_sql, { "a IN (?)", SAME }, { "a IN (1)", "a IN (?)" },
	      { "a IN (1, 2,3 ) AND b in('x','y')", "a IN (?) AND b in(?)" },
	      { "a IN (?, ?)", "a IN (?)" }, { "a IN (-1, +2)", "a IN (?)" },
	      { "a NOT IN (1,\n\t2)", "a NOT IN (?)" }, { "a IN (1, 2", "a IN (?" },
	      { "a IN (1, ", "a IN (?" }, { "a IN (", "a IN (" },
	      { "a IN (SELECT b FROM c WHERE d IN (1,2))",
		"a IN (SELECT b FROM c WHERE d IN (?))" },
	      { "a IN ($1, $2)", SAME }, { "a IN ((1, 2), (3, 4))", "a IN ((?, ?), (?, ?))" },
	      { "in (1) , in (2,3)", "in (?) , in (?)" }, { "f(1, 2)", "f(?, ?)" });
}

static void mysql_has_its_own_quotes_and_comments(void **state)
{
	CHECK(redact_mysql, { "SELECT `a 5` FROM `t``x` WHERE b = ?", SAME },
	      { "SELECT \"it's\", 'say \\'hi\\' 5', \"a\\\"b\"", "SELECT ?, ?, ?" },
	      { "SELECT 1 # secret 'x\nFROM t", "SELECT ? \nFROM t" },
	      { "SELECT 5--1, a -- secret", "SELECT ?--?, a " },
	      { "SELECT _utf8'abc', x'4D', @v, @@global.x", "SELECT _utf8?, ?, @v, @@global.x" },
	      { "SELECT /*!50000 5 */ a /* b /* c */ d", "SELECT  a  d" },
	      { "CREATE USER 'bob'@'%' IDENTIFIED BY 'pw'", "CREATE USER ?@? IDENTIFIED BY ?" },
	      { "{\"find\": \"users\", \"filter\": {\"mail\": \"a@b\"}}", "{?: ?, ?: {?: ?}}" });
}

static void messages_lose_what_is_quoted(void **state)
{
	CHECK(redact_message, { "connection doesn't exist", SAME }, { "deadlock detected", SAME },
	      { "Duplicate entry 'a@b' for key 'users.mail'", "Duplicate entry ?" },
	      { "invalid input syntax for type integer: \"abc\"",
		"invalid input syntax for type integer: ?" },
	      { "value 99 too long -- see #5", "value ? too long -- see #?" },
	      { "near 'don't tell' at line 3", "near ? at line ?" }, { "only 'one", "only ?" });
}

static void redis_keeps_commands_and_keys(void **state)
{
	CHECK(redact_redis, { "GET user:1", SAME }, { "PING", SAME }, { "", SAME },
	      { "MGET a b c", SAME }, { "set user:1 secret EX 60", "set user:1 ? ? ?" },
	      { "SET \"a key\" \"a \\\"quoted\\\" value\"", "SET \"a key\" ?" },
	      { "MSET k1 v1 k2 v2", "MSET k1 ? k2 ?" }, { "HSET h f v", "HSET h ? ?" },
	      { "BLPOP a b 5", "BLPOP a b ?" }, { "DEL a b", SAME },
	      { "AUTH user password", "AUTH ? ?" }, { "HELLO 3 AUTH u p", "HELLO ? ? ? ?" },
	      { "CONFIG SET requirepass x", "CONFIG SET ? ?" },
	      { "CONFIG \"x y\" z", "CONFIG ? ?" },
	      { "MIGRATE host 6379 key 0 5 AUTH pw", "MIGRATE ? ? ? ? ? ? ?" },
	      { "NOSUCH a b", "NOSUCH ? ?" }, { "\\x16\\x03 a", "? ?" },
	      { "EVAL \"return 1\" 2 k1 k2 arg", "EVAL ? 2 k1 k2 ?" },
	      { "EVAL s 0 arg", "EVAL ? 0 ?" }, { "EVAL s 99999 arg", "EVAL ? ? ?" },
	      { "ZUNIONSTORE dst 2 a b WEIGHTS 1 2", "ZUNIONSTORE dst 2 a b ? ? ?" },
	      { "XREAD COUNT 2 STREAMS s1 s2 0 0-1", "XREAD ? ? STREAMS s1 s2 ? ?" },
	      { "OBJECT ENCODING k", SAME }, { "XGROUP CREATE s g $", "XGROUP CREATE s ? ?" },
	      { "BITOP AND d a b", SAME }, { "GET \"cut", "GET ?" },
	      { "SORT l BY w_*", "SORT l ? ?" }, { "  GET  k ", SAME });
}

static void redis_commands_are_sorted_and_found_in_any_case(void **state)
{
	for (size_t i = 1; i < ARRAY_LEN(commands); i++)
		assert_true(strcmp(commands[i - 1].name, commands[i].name) < 0);
	assert_ptr_equal(redis_command_find(STR("zunionSTORE")),
			 redis_command_find(STR("ZUNIONSTORE")));
	assert_null(redis_command_find(STR("ZUNIONSTOREZUNIONSTOREZUNIONSTORE")));
}

static void urls_lose_credentials_and_secrets(void **state)
{
	CHECK(redact_url, { "http://host/path?a=1&b=2#c", SAME }, { "/users/@me?x=1", SAME },
	      { "", SAME }, { "https://u:p@host:80/x@y", "https://REDACTED:REDACTED@host:80/x@y" },
	      { "https://u@host", "https://REDACTED:REDACTED@host" },
	      { "https://u:p@ss@host/", "https://REDACTED:REDACTED@host/" },
	      { "/cb?code=abc&state=1", "/cb?code=REDACTED&state=1" },
	      { "token=abc/d=?e;f&x=1", "token=REDACTED&x=1" }, { "a=1&b=2", SAME },
	      { "a=1?b&password=x", "a=1?b&password=REDACTED" },
	      { "password=x?y", "password=REDACTED" }, { "/p?password=&token", SAME },
	      { "/p?PassWord=1&API_KEY=2&user[pass%77ord]=3&my.secret=4",
		"/p?PassWord=REDACTED&API_KEY=REDACTED&user[pass%77ord]=REDACTED&"
		"my.secret=REDACTED" },
	      { "/o?AWSAccessKeyId=1&Signature=2&sig=3&X-Goog-Signature=4&X-Amz-Signature=5&"
		"X-Amz-Credential=6&X-Amz-Security-Token=7",
		"/o?AWSAccessKeyId=REDACTED&Signature=REDACTED&sig=REDACTED&"
		"X-Goog-Signature=REDACTED&X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&"
		"X-Amz-Security-Token=REDACTED" },
	      { "/a;jsessionid=77?x=1", "/a;jsessionid=REDACTED?x=1" },
	      { "http://u;v:p&q@h/", "http://REDACTED:REDACTED@h/" },
	      { "/a#access_token=7&b=1", "/a#access_token=REDACTED&b=1" },
	      { "/r?to=http://u:p@h/&b=1", "/r?to=http://REDACTED:REDACTED@h/&b=1" },
	      { "/a=b/c?monkey=1&keyboard=2&passage=3", SAME });
}

/* Statements put together from parts whose literals are known: none of them may come through. */
static void no_literal_comes_through_any_statement(void **state)
{
	static const char *const plain[] = { "SELECT", "a",  "FROM", "(",  ")",	 ",",	"=",
					     "IN",     "$1", ":n",   "::", "\n", "?",	"-",
					     "/",      "*",  "é",    ".",  "\t", "NULL" };
	static const char *const literal[] = { "'SECRET'",     "'SEC''RET'", "'SECRET 5 -- '",
					       "77077",	       "7.7077e+7",  "'/* SECRET'",
					       "E'SEC\\'RET'", "'SECRET\n'", "'\"SECRET'" };
	char text[4096];

	srand(3);
	for (int round = 0; round < 20000; round++) {
		size_t len = 0;
		struct str got, again;
		rule f = round % 2 ? redact_sql : redact_mysql;

		for (int i = rand() % 30; i-- > 0;) {
			const char *part = rand() % 3
						   ? plain[(size_t)rand() % ARRAY_LEN(plain)]
						   : literal[(size_t)rand() % ARRAY_LEN(literal)];
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", part,
						rand() % 4 ? " " : "");
			/* what follows a name or ? at once would be a part of it; -- and slash-star
			 * would begin comments that reach into literals */
			if (!strchr(" \n\t'()*=:,.", text[len - 1]))
				text[len++] = ' ';
		}
		text[len] = 0;
		if (rand() % 4 == 0 && len)
			len = (size_t)rand() % len; /* cut short */
		got = f(mem, (struct str){ text, len });
		assert_true(got.len <= len);
		if (memmem(got.p, got.len, "SEC", 3) || memmem(got.p, got.len, "RET", 3) ||
		    memmem(got.p, got.len, "77", 2))
			fail_msg("%.*s\ngave %.*s", (int)len, text, STR_ARG(got));
		again = f(mem, got);
		if (!str_eq(got, again))
			fail_msg("%.*s\nthen %.*s", STR_ARG(got), STR_ARG(again));
		arena_reset(mem);
	}
}

static void without_memory_nothing_of_the_text_is_shown(void **state)
{
	struct arena *tiny = arena_new(8);
	char text[100] = "SELECT 'secret' FROM a_table_with_a_long_name";

	assert_true(str_eq(redact_sql(tiny, str_of(text)), STR("?")));
	assert_true(str_eq(redact_redis(tiny, STR("SET a secret value")), STR("?")));
	assert_true(str_eq(redact_url(tiny, STR("http://u:p@h/")), STR("?")));
	assert_true(str_eq(redact_message(tiny, STR("a message of 'x'")), STR("?")));
	arena_free(tiny);
}

static int make(void **state)
{
	mem = arena_new(0);
	return mem ? 0 : -1;
}

static int end(void **state)
{
	arena_free(mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(standard_sql_loses_its_literals),
		cmocka_unit_test(text_cut_inside_a_literal_is_masked_to_its_end),
		cmocka_unit_test(lists_are_folded),
		cmocka_unit_test(mysql_has_its_own_quotes_and_comments),
		cmocka_unit_test(messages_lose_what_is_quoted),
		cmocka_unit_test(redis_keeps_commands_and_keys),
		cmocka_unit_test(redis_commands_are_sorted_and_found_in_any_case),
		cmocka_unit_test(urls_lose_credentials_and_secrets),
		cmocka_unit_test(no_literal_comes_through_any_statement),
		cmocka_unit_test(without_memory_nothing_of_the_text_is_shown),
	};
	return cmocka_run_group_tests_name("redact/rules", tests, make, end);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of a statement, and what is kept of a server's message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "proto/sql.h"

struct sample {
	const char *text, *operation, *table;
	uint32_t flags;
};

static void check(const struct sample *s)
{
	struct sql_summary sum;

	sql_summarize(str_of(s->text), s->flags, &sum);
	if (!str_eq(sum.operation, str_of(s->operation)) ||
	    !str_eq(sum.procedure.len ? sum.procedure : sum.collection, str_of(s->table)))
		fail_msg("%s: %.*s %.*s", s->text, STR_ARG(sum.operation), STR_ARG(sum.collection));
}

static void operation_and_single_table_are_found(void **state)
{
	static const struct sample samples[] = {
		{ "select * from users where id = 1", "SELECT", "users", 0 },
		{ " /* a /* b */ */ -- c\n SELECT 1 FROM s.t AS x", "SELECT", "s.t", 0 },
		{ "SELECT a FROM \"My Table\" WHERE b IN (1, 2)", "SELECT", "My Table", 0 },
		{ "SELECT `a`,`b` FROM `db`.`t` ORDER BY 1, 2", "SELECT", "t", SQL_MYSQL },
		{ "(SELECT 1 FROM t)", "SELECT", "t", 0 },
		{ "SELECT extract(year FROM d) FROM t", "SELECT", "t", 0 },
		{ "SELECT a IS DISTINCT FROM b FROM t", "SELECT", "t", 0 },
		{ "SELECT 'x from y', \"from\" FROM t", "SELECT", "t", 0 },
		{ "SELECT $$ from q $$, E'\\' from r' FROM t", "SELECT", "t", 0 },
		{ "SELECT '\\' from r' FROM t", "SELECT", "t", SQL_MYSQL },
		{ "SELECT 1 # from q\nFROM t", "SELECT", "t", SQL_MYSQL },
		{ "INSERT INTO t (a, b) VALUES (1, 2), (3, 4)", "INSERT", "t", 0 },
		{ "insert ignore t set a = 1, b = 2", "INSERT", "t", SQL_MYSQL },
		{ "UPDATE ONLY t SET a = 1, b = 2 WHERE c", "UPDATE", "t", 0 },
		{ "DELETE FROM t WHERE a RETURNING b, c", "DELETE", "t", 0 },
		{ "CREATE TABLE IF NOT EXISTS t (a int, b int)", "CREATE", "t", 0 },
		{ "DROP TABLE t;", "DROP", "t", 0 },
		{ "ALTER TABLE t ADD a int, ADD b int", "ALTER", "t", 0 },
		{ "TRUNCATE TABLE t", "TRUNCATE", "t", 0 },
		{ "COPY t (a, b) FROM STDIN", "COPY", "t", 0 },
		{ "CALL restock(1, 'x')", "CALL", "restock", 0 },
		{ "begin", "BEGIN", "", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		check(&samples[i]);
}

static void no_table_is_named_where_there_may_be_another(void **state)
{
	static const struct sample samples[] = {
		{ "SELECT 1", "SELECT", "", 0 },
		{ "SELECT * FROM a, b", "SELECT", "", 0 },
		{ "SELECT * FROM a x JOIN b ON 1", "SELECT", "", 0 },
		{ "SELECT * FROM (SELECT 1 FROM a) x", "SELECT", "", 0 },
		{ "SELECT * FROM a WHERE b = (SELECT max(b) FROM c)", "SELECT", "", 0 },
		{ "SELECT 1 FROM a UNION SELECT 1 FROM b", "SELECT", "", 0 },
		{ "SELECT * FROM generate_series(1, 3)", "SELECT", "", 0 },
		{ "INSERT INTO a SELECT * FROM b", "INSERT", "", 0 },
		{ "UPDATE a SET x = b.x FROM b", "UPDATE", "", 0 },
		{ "DELETE FROM a USING b WHERE a.x = b.x", "DELETE", "", 0 },
		{ "WITH x AS (DELETE FROM a) SELECT * FROM x", "SELECT", "", 0 },
		{ "CREATE INDEX i ON t (a)", "CREATE", "", 0 },
		{ "DROP TABLE a, b", "DROP", "", 0 },
		{ "UPDATE a SET x = 1; UPDATE b SET x = 1", "UPDATE", "", 0 },
		{ "COPY (SELECT 1 FROM a) TO STDOUT", "COPY", "", 0 },
		{ "EXPLAIN SELECT * FROM a", "EXPLAIN", "", 0 },
		{ "hunter2 FROM a", "", "", 0 },
		{ "", "", "", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		check(&samples[i]);
}

static void a_text_cut_anywhere_names_nothing_else(void **state)
{
	static const char text[] = "INSERT INTO orders (a, b) VALUES ('it''s', $q$x$q$) "
				   "ON CONFLICT DO UPDATE SET a = 1";
	struct sql_summary sum;

	for (size_t n = 0; n < sizeof(text); n++) {
		sql_summarize((struct str){ text, n }, SQL_CUT, &sum);
		assert_true(!sum.operation.len || str_eq(sum.operation, STR("INSERT")));
		assert_true(!sum.collection.len || str_eq(sum.collection, STR("orders")));
	}
	/* a table further on cannot be ruled out */
	sql_summarize(STR("SELECT * FROM a WHERE b IN (1, 2"), SQL_CUT, &sum);
	assert_int_equal(sum.collection.len, 0);
}

static void messages_lose_what_may_be_data(void **state)
{
	static const char *const samples[][2] = {
		{ "division by zero", "division by zero" },
		{ "relation \"users\" does not exist", "relation '?' does not exist" },
		{ "Duplicate entry 'a'b' for key 'PRIMARY'", "Duplicate entry '?'" },
		{ "Table 'a.b' doesn't exist", "Table '?' doesn't exist" },
		{ "near 'secret", "near '?" },
		{ "relation \302\273x\302\253 existiert nicht", "" },
	};
	struct arena *mem = arena_new(0);

	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		struct str got = sql_clean_message(mem, str_of(samples[i][0]));
		if (!str_eq(got, str_of(samples[i][1])))
			fail_msg("%s: %.*s", samples[i][0], STR_ARG(got));
	}
	arena_free(mem);
}

static void statements_unused_longest_are_forgotten(void **state)
{
	struct stmts s = { NULL };
	struct str text;
	uint32_t flags, meta;
	char key[16], big[SQL_TEXT_MAX + 10];

	for (int i = 0; i < STMTS_MAX + 1; i++) {
		snprintf(key, sizeof(key), "s%d", i);
		stmts_put(&s, str_of(key), STR("SELECT 1"), 0, 7);
		assert_true(stmts_get(&s, STR("s0"), &text, &flags, &meta));
	}
	assert_int_equal(s.cnt, STMTS_MAX);
	assert_false(stmts_get(&s, STR("s1"), &text, &flags, &meta));
	assert_true(str_eq(text, STR("SELECT 1")) && meta == 7);

	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 32; i++) {
		snprintf(key, sizeof(key), "b%d", i);
		stmts_put(&s, str_of(key), (struct str){ big, sizeof(big) }, 0, 0);
		assert_true(s.bytes <= STMTS_BYTES);
	}
	assert_true(stmts_get(&s, STR("b31"), &text, &flags, &meta));
	assert_true(text.len == SQL_TEXT_MAX && flags == SQL_CUT);
	stmts_fini(&s);
	assert_int_equal(s.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operation_and_single_table_are_found),
		cmocka_unit_test(no_table_is_named_where_there_may_be_another),
		cmocka_unit_test(a_text_cut_anywhere_names_nothing_else),
		cmocka_unit_test(messages_lose_what_may_be_data),
		cmocka_unit_test(statements_unused_longest_are_forgotten),
	};

	return cmocka_run_group_tests_name("proto/sql", tests, NULL, NULL);
}

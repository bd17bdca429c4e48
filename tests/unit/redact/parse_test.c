/* SPDX-License-Identifier: Apache-2.0 */
/* What users write: rules, keys, the hash key; and what is refused, with a line that says why. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "redact/redact.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char why[REDACT_WHY_MAX];

static void rules_are_read(void **state)
{
	struct redact_rule_cfg rule;

	assert_int_equal(redact_rule_parse(STR("order=hash:ORD=(\\d+):x"), &rule, why), 0);
	assert_true(str_eq(rule.name, STR("order")));
	assert_true(str_eq(rule.pattern, STR("ORD=(\\d+):x")));
	assert_int_equal(rule.action, REDACT_HASH);
	assert_int_equal(redact_rule_parse(STR("email=drop"), &rule, why), 0);
	assert_int_equal(rule.pattern.len, 0);
	assert_int_equal(rule.action, REDACT_DROP);
	assert_int_equal(redact_rule_parse(STR("email"), &rule, why), -EINVAL);
	assert_non_null(strstr(why, "expected NAME=ACTION:PATTERN"));
	assert_int_equal(redact_rule_parse(STR("=mask:x"), &rule, why), -EINVAL);
	assert_int_equal(redact_rule_parse(STR(""), &rule, why), -EINVAL);
	assert_int_equal(redact_rule_parse(STR("email=burn:x"), &rule, why), -EINVAL);
	assert_non_null(strstr(why, "email: its action is none"));
	assert_int_equal(redact_rule_parse(STR("email=mask:"), &rule, why), -EINVAL);
	assert_non_null(strstr(why, "its pattern is empty"));
}

static void keys_are_read(void **state)
{
	struct redact_key_cfg key;

	assert_int_equal(redact_key_parse(STR("user.*"), &key, why), 0);
	assert_true(str_eq(key.key, STR("user.*")));
	assert_int_equal(key.action, REDACT_MASK);
	assert_int_equal(redact_key_parse(STR("a=b=drop"), &key, why), 0);
	assert_true(str_eq(key.key, STR("a=b")));
	assert_int_equal(key.action, REDACT_DROP);
	assert_int_equal(redact_key_parse(STR("a=b"), &key, why), 0);
	assert_true(str_eq(key.key, STR("a=b")));
	assert_int_equal(redact_key_parse(STR(""), &key, why), -EINVAL);
	assert_int_equal(redact_key_parse(STR("=hash"), &key, why), -EINVAL);
}

static int refusal(const char *name, const char *pattern, enum redact_action action)
{
	struct redact_rule_cfg rule = { str_of(name), str_of(pattern), action };
	struct redact_rules_cfg cfg = { .rules = &rule, .rule_cnt = 1 };
	struct redact_rules *rules = NULL;
	int err = redact_rules_new(&cfg, &rules, why);

	redact_rules_put(rules);
	return err;
}

static void bad_rules_are_refused_by_name(void **state)
{
	static const struct {
		const char *name, *pattern, *why;
		enum redact_action action;
	} cases[] = {
		{ "x", "a(b", "x: missing closing parenthesis at byte 3", REDACT_MASK },
		{ "x", "(*UTF)a*", "empty text", REDACT_MASK },
		{ "x", "a*", "x: its pattern matches the empty text", REDACT_MASK },
		{ "x", "\\C", "x:", REDACT_MASK },
		{ "x", "", "x: it has no pattern and is no built-in rule", REDACT_MASK },
		{ "x", "a", "x: hashing needs a key", REDACT_HASH },
		{ "card", "a", "card: there is one of that name already", REDACT_MASK },
		{ "X y", "a", "'X y': a name has", REDACT_MASK },
		{ "", "a", "a name has", REDACT_MASK },
		{ "x", "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((a",
		  "x:", REDACT_MASK },
		{ "x", "(?:a{1000}){1000}{1000}", "x:", REDACT_MASK },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(refusal(cases[i].name, cases[i].pattern, cases[i].action),
				 -EINVAL);
		if (!strstr(why, cases[i].why))
			fail_msg("'%s' does not say '%s'", why, cases[i].why);
	}
	assert_int_equal(refusal("card", "", REDACT_DROP), 0);
	assert_int_equal(refusal("x", "a+", REDACT_MASK), 0);
}

static void there_are_only_so_many(void **state)
{
	static struct redact_rule_cfg rules[REDACT_RULES_MAX + 1];
	static struct redact_key_cfg keys[REDACT_KEYS_MAX + 1];
	static char names[REDACT_RULES_MAX + 1][8];
	static char text[REDACT_PATTERN_MAX + 2];
	struct redact_rules_cfg cfg = { .rules = rules, .deny = keys };
	struct redact_rules *got = NULL;

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		snprintf(names[i], sizeof(names[i]), "r%zu", i);
		rules[i] =
			(struct redact_rule_cfg){ .name = str_of(names[i]), .pattern = STR("a") };
	}
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		keys[i].key = STR("k");
	cfg.rule_cnt = REDACT_RULES_MAX;
	cfg.deny_cnt = REDACT_KEYS_MAX;
	assert_int_equal(redact_rules_new(&cfg, &got, why), 0);
	redact_rules_put(got);
	cfg.rule_cnt++;
	assert_int_equal(redact_rules_new(&cfg, &got, why), -E2BIG);
	assert_non_null(strstr(why, "at most 32 rules"));
	cfg.rule_cnt = 0;
	cfg.deny_cnt++;
	assert_int_equal(redact_rules_new(&cfg, &got, why), -E2BIG);
	memset(text, 'a', sizeof(text) - 1);
	assert_int_equal(refusal("x", text, REDACT_MASK), -E2BIG);
	assert_non_null(strstr(why, "longer than 1024 bytes"));
}

static int read_key(const char *text, size_t len, uint8_t key[REDACT_HASH_KEY_LEN])
{
	char path[] = "/tmp/redact-key-XXXXXX";
	int fd = mkstemp(path), err;

	assert_true(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	close(fd);
	err = redact_hash_key_read(path, key, why);
	unlink(path);
	return err;
}

static void the_hash_key_comes_from_a_file(void **state)
{
	uint8_t a[REDACT_HASH_KEY_LEN], b[REDACT_HASH_KEY_LEN];
	char *big = calloc(1, 5000);

	assert_int_equal(read_key("0123456789abcdef", 16, a), 0);
	assert_int_equal(read_key("0123456789abcdef\n", 17, b), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(read_key("0123456789abcdeg", 16, b), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(read_key("short", 5, a), -EINVAL);
	assert_non_null(strstr(why, "expected 16 to 4096 bytes"));
	assert_int_equal(read_key(big, 5000, a), -EINVAL);
	assert_int_equal(redact_hash_key_read("/nonexistent", a, why), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent: No such file"));
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_are_read),
		cmocka_unit_test(keys_are_read),
		cmocka_unit_test(bad_rules_are_refused_by_name),
		cmocka_unit_test(there_are_only_so_many),
		cmocka_unit_test(the_hash_key_comes_from_a_file),
	};
	return cmocka_run_group_tests_name("redact/parse", tests, NULL, NULL);
}

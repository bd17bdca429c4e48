/* SPDX-License-Identifier: Apache-2.0 */
/* Rules from the built-in ones and the user's: checked, compiled once, shared. */
#include "redact/internal.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_LEN 32
#define PARENS_MAX   50
/* Bytes that one of the user's patterns sees at a time: twice the time for half as much text. */
#define USER_PIECE 4096

static __attribute__((format(printf, 2, 3))) int refuse(char why[REDACT_WHY_MAX], const char *fmt,
							...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, REDACT_WHY_MAX, fmt, args);
	va_end(args);
	return -EINVAL;
}

static bool is_name(struct str name)
{
	if (!name.len || name.len > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
	}
	return true;
}

static struct rule *rule_find(struct redact_rules *rules, struct str name)
{
	for (uint32_t i = 0; i < rules->cnt; i++)
		if (str_eq(rules->rule[i].name, name))
			return &rules->rule[i];
	return NULL;
}

/* The user's text is UTF-8 where it can be, so that no character is cut; (*UTF) and the like
 * cannot be asked for in a pattern. */
static int rule_compile(struct rule *rule, struct str pattern, uint32_t options,
			char why[REDACT_WHY_MAX])
{
	pcre2_compile_context *limits = pcre2_compile_context_create(NULL);
	int code = 0;
	size_t at = 0;

	if (!limits)
		return -ENOMEM;
	pcre2_set_parens_nest_limit(limits, PARENS_MAX);
	rule->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.len,
				   options | PCRE2_NEVER_BACKSLASH_C, &code, &at, limits);
	pcre2_compile_context_free(limits);
	if (!rule->code) {
		char said[128];

		pcre2_get_error_message(code, (PCRE2_UCHAR *)said, sizeof(said));
		return refuse(why, "redaction rule %.*s: %s at byte %zu of its pattern",
			      STR_ARG(rule->name), said, at);
	}
	/* without it, where memory may not be made executable, matching is slower, not different */
	pcre2_jit_compile(rule->code, PCRE2_JIT_COMPLETE);
	pcre2_pattern_info(rule->code, PCRE2_INFO_MINLENGTH, &rule->min_len);
	return 0;
}

static int add_builtin(struct redact_rules *rules, char why[REDACT_WHY_MAX])
{
	for (; rules->cnt < RULE_BUILTIN; rules->cnt++) {
		const struct builtin_rule *from = &builtin_rules[rules->cnt];
		struct rule *rule = &rules->rule[rules->cnt];
		int err;

		*rule = (struct rule){ .name = str_of(from->name),
				       .group = from->group,
				       .piece = SIZE_MAX,
				       .compact = from->compact,
				       .check = from->check };
		if (!from->pattern)
			continue;
		err = rule_compile(rule, str_of(from->pattern), PCRE2_NEVER_UTF, why);
		if (err)
			return err;
		rules->min_len = MIN(rules->min_len, rule->min_len);
	}
	return 0;
}

static int add_user(struct redact_rules *rules, const struct redact_rule_cfg *from,
		    char why[REDACT_WHY_MAX])
{
	struct rule *rule = &rules->rule[rules->cnt];
	uint32_t groups = 0, empty = 0;
	int err;

	if (from->pattern.len > REDACT_PATTERN_MAX) {
		refuse(why, "redaction rule %.*s: its pattern is longer than %d bytes",
		       STR_ARG(from->name), REDACT_PATTERN_MAX);
		return -E2BIG;
	}
	if (rules->cnt == ARRAY_LEN(rules->rule)) {
		refuse(why, "redaction rule %.*s: at most %d rules can be added",
		       STR_ARG(from->name), REDACT_RULES_MAX);
		return -E2BIG;
	}
	*rule = (struct rule){ .name = arena_str(rules->mem, from->name),
			       .action = from->action,
			       .piece = USER_PIECE };
	if (!rule->name.p)
		return -ENOMEM;
	err = rule_compile(rule, from->pattern, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, why);
	if (err)
		return err;
	rules->users |= BIT(rules->cnt++);
	pcre2_pattern_info(rule->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	pcre2_pattern_info(rule->code, PCRE2_INFO_MATCHEMPTY, &empty);
	if (empty)
		return refuse(why, "redaction rule %.*s: its pattern matches the empty text",
			      STR_ARG(rule->name));
	rule->group = groups > 0;
	rules->min_len = MIN(rules->min_len, rule->min_len);
	return 0;
}

static int add_rules(struct redact_rules *rules, const struct redact_rules_cfg *cfg,
		     char why[REDACT_WHY_MAX])
{
	for (size_t i = 0; i < cfg->rule_cnt; i++) {
		const struct redact_rule_cfg *from = &cfg->rules[i];
		struct rule *known = rule_find(rules, from->name);
		int err = 0;

		if (!is_name(from->name))
			return refuse(
				why,
				"redaction rule '%.*s': a name has 1 to %d of a-z, 0-9, - and _",
				(int)MIN(from->name.len, 64), from->name.p, NAME_MAX_LEN);
		if (from->action == REDACT_HASH && !rules->can_hash)
			return refuse(why, "redaction rule %.*s: hashing needs a key",
				      STR_ARG(from->name));
		if (!from->pattern.len && !known)
			return refuse(
				why,
				"redaction rule %.*s: it has no pattern and is no built-in rule",
				STR_ARG(from->name));
		if (from->pattern.len && known)
			return refuse(why, "redaction rule %.*s: there is one of that name already",
				      STR_ARG(from->name));
		if (known)
			known->action = from->action;
		else
			err = add_user(rules, from, why);
		if (err)
			return err;
	}
	return 0;
}

static int add_keys(struct redact_rules *rules, struct key_list *list,
		    const struct redact_key_cfg *from, size_t cnt, char why[REDACT_WHY_MAX])
{
	if (cnt > REDACT_KEYS_MAX) {
		refuse(why, "redaction: at most %d attributes can be listed", REDACT_KEYS_MAX);
		return -E2BIG;
	}
	if (!cnt)
		return 0;
	list->item = arena_alloc(rules->mem, cnt * sizeof(*list->item));
	if (!list->item)
		return -ENOMEM;
	for (; list->cnt < cnt; list->cnt++, from++) {
		struct key_entry *to = &list->item[list->cnt];

		if (!from->key.len || from->key.len > REDACT_PATTERN_MAX)
			return refuse(why, "redaction: an attribute's key has 1 to %d bytes",
				      REDACT_PATTERN_MAX);
		if (from->action == REDACT_HASH && !rules->can_hash)
			return refuse(why, "redaction of %.*s: hashing needs a key",
				      (int)MIN(from->key.len, 128), from->key.p);
		to->key = arena_str(rules->mem, from->key);
		if (!to->key.p)
			return -ENOMEM;
		to->action = from->action;
		to->is_glob =
			memchr(to->key.p, '*', to->key.len) || memchr(to->key.p, '?', to->key.len);
	}
	return 0;
}

static double read_figure(void *ctx)
{
	return (double)book_read(ctx);
}

static void register_figures(struct redact_rules *rules)
{
	rules->changed_gauge = (struct gauge){ .name = "redact_changed_total",
					       .help = "spans in which something was masked",
					       .type = "counter",
					       .read = read_figure,
					       .ctx = &rules->changed };
	rules->gave_up_gauge = (struct gauge){ .name = "redact_gave_up_total",
					       .help = "texts masked whole: a rule took too long",
					       .type = "counter",
					       .read = read_figure,
					       .ctx = &rules->gave_up };
	gauges_register(&rules->changed_gauge);
	gauges_register(&rules->gave_up_gauge);
}

void rules_count(struct redact_rules *rules, uint64_t changed, uint64_t gave_up)
{
	if (changed)
		__atomic_add_fetch(&rules->changed, changed, __ATOMIC_RELAXED);
	if (gave_up)
		__atomic_add_fetch(&rules->gave_up, gave_up, __ATOMIC_RELAXED);
}

int redact_rules_new(const struct redact_rules_cfg *cfg, struct redact_rules **ret_rules,
		     char why[REDACT_WHY_MAX])
{
	struct redact_rules *rules = calloc(1, sizeof(*rules));
	int err = -ENOMEM;

	snprintf(why, REDACT_WHY_MAX, "redaction rules: out of memory");
	if (!rules || sodium_init() < 0)
		goto out;
	rules->refs = 1;
	rules->min_len = UINT32_MAX;
	rules->mem = arena_new(0);
	if (!rules->mem)
		goto out;
	rules->can_hash = cfg->hash_key;
	if (cfg->hash_key)
		memcpy(rules->hash_key, cfg->hash_key, sizeof(rules->hash_key));
	sight_init(rules->trigger);
	err = add_builtin(rules, why);
	if (!err)
		err = add_rules(rules, cfg, why);
	if (!err)
		err = add_keys(rules, &rules->allow, cfg->allow, cfg->allow_cnt, why);
	if (!err)
		err = add_keys(rules, &rules->deny, cfg->deny, cfg->deny_cnt, why);
out:
	if (err) {
		redact_rules_put(rules);
		return err;
	}
	register_figures(rules);
	*ret_rules = rules;
	return 0;
}

struct redact_rules *redact_rules_get(struct redact_rules *rules)
{
	__atomic_add_fetch(&rules->refs, 1, __ATOMIC_RELAXED);
	return rules;
}

void redact_rules_put(struct redact_rules *rules)
{
	if (!rules || __atomic_sub_fetch(&rules->refs, 1, __ATOMIC_ACQ_REL))
		return;
	gauges_unregister(&rules->gave_up_gauge);
	gauges_unregister(&rules->changed_gauge);
	for (size_t i = 0; i < ARRAY_LEN(rules->rule); i++)
		pcre2_code_free(rules->rule[i].code);
	sodium_memzero(rules->hash_key, sizeof(rules->hash_key));
	arena_free(rules->mem);
	free(rules);
}

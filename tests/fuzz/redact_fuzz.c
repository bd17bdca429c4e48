/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte chooses. Any text through one of the rules for queries and URLs: masking twice
 * must be masking once, SQL and Redis text never grow, and without memory nothing but ? comes out.
 * Any text through all rules, twice, with each action: none may give up; a span made of it through
 * two gates; any pattern, compiled and applied; any option.
 */
#include "redact/internal.h"

#include <stdlib.h>

#define SINGLE	  5
#define ATTRS_MAX 20

static struct str redact_sql_message(struct arena *mem, struct str text)
{
	return redact_message(mem, text);
}

/* A copy of its own, so that a byte read too far is seen. */
static struct str own(struct str text)
{
	char *p = malloc(text.len ? text.len : 1);

	if (text.len)
		memcpy(p, text.p, text.len);
	return (struct str){ p, text.len };
}

static void fuzz_single(struct arena *mem, size_t which, struct str text)
{
	static struct str (*const rules[SINGLE])(struct arena *, struct str) = {
		redact_sql, redact_mysql, redact_redis, redact_sql_message, redact_url
	};
	struct str once = rules[which](mem, text), twice = rules[which](mem, once);

	if (which < 4 && once.len > text.len)
		abort();
	if (!str_eq(once, twice))
		abort();
	if (once.p != text.p) {
		struct arena *none = arena_new(1);

		if (!none || !str_eq(rules[which](none, text), STR("?")))
			abort();
		arena_free(none);
	}
}

static struct redact_rules *rules_with(enum redact_action action)
{
	static const uint8_t key[REDACT_HASH_KEY_LEN];
	struct redact_rule_cfg all[RULE_BUILTIN];
	struct redact_rules_cfg cfg = { .rules = all, .rule_cnt = RULE_BUILTIN, .hash_key = key };
	struct redact_rules *rules;
	char why[REDACT_WHY_MAX];

	for (size_t i = 0; i < RULE_BUILTIN; i++)
		all[i] = (struct redact_rule_cfg){ .name = str_of(builtin_rules[i].name),
						   .action = action };
	if (redact_rules_new(&cfg, &rules, why))
		abort();
	return rules;
}

static void fuzz_text(struct arena *mem, enum redact_action action, struct str text)
{
	static struct redact_rules *rules[3];
	struct scanner s;
	struct str once;
	bool drop = false;

	if (!rules[action])
		rules[action] = rules_with(action);
	if (scanner_init(&s, rules[action]))
		return;
	once = scanner_apply(&s, mem, sight(rules[action], text), text, &drop);
	scanner_apply(&s, mem, sight(rules[action], once), once, &drop);
	if (s.gave_up)
		abort(); /* no built-in rule may */
	scanner_fini(&s);
}

static void push_on(void *ctx, const struct span *s)
{
	redact_push(ctx, s);
}

static void see(void *ctx, const struct span *s)
{
	*(const struct span **)ctx = s;
}

/* A text of its own: up to the next line's end. */
static struct str next_line(struct str *text)
{
	const char *end = text->len ? memchr(text->p, '\n', text->len) : NULL;
	struct str line = { text->p, end ? (size_t)(end - text->p) : text->len };

	*text = str_from(*text, line.len + 1);
	return line;
}

/* Lines in turn are keys and values; a value that begins with [ is an array, with { a kvlist. */
static void fuzz_span(struct arena *mem, struct str text)
{
	static struct redact_rules *rules;
	struct redact *first, *second;
	const struct span *seen = NULL;
	struct resource *resource = resource_new();
	struct span span = { .scope = &scope_capture, .resource = resource };

	if (!rules)
		rules = rules_with(REDACT_MASK);
	second = redact_new(&(struct redact_cfg){ .rules = rules },
			    (struct span_sink){ &seen, see });
	first = redact_new(&(struct redact_cfg){ .rules = rules },
			   (struct span_sink){ second, push_on });
	span.name = next_line(&text);
	span.status_message = span.trace_state = next_line(&text);
	attrs_add(&resource->attrs, resource->arena, STR("owner"),
		  (struct value){ .type = VALUE_STR,
				  .str = arena_str(resource->arena, next_line(&text)) });
	resource_seal(resource);
	while (text.len && span.attrs.cnt < ATTRS_MAX) {
		struct str key = next_line(&text), value = next_line(&text);
		struct attr *pair = arena_alloc(mem, sizeof(*pair));
		struct value v = { .type = VALUE_STR, .str = value };

		*pair = (struct attr){ key, v };
		if (value.len && value.p[0] == '[')
			v = (struct value){ .type = VALUE_ARRAY, .array = { &pair->value, 1 } };
		else if (value.len && value.p[0] == '{')
			v = (struct value){ .type = VALUE_KVLIST, .kvlist = { pair, 1 } };
		attrs_add(&span.attrs, mem, key, v);
	}
	redact_push(first, &span);
	if (!seen)
		abort();
	redact_free(first);
	redact_free(second);
	resource_put(resource);
}

/* A pattern up to the line's end, then the text; and the same as an option. */
static void fuzz_pattern(struct arena *mem, struct str text)
{
	struct redact_rule_cfg rule = { .name = STR("fuzz"), .pattern = next_line(&text) };
	struct redact_rules_cfg cfg = { .rules = &rule, .rule_cnt = 1 };
	struct redact_key_cfg key = { .key = STR("x") };
	struct redact_rules *rules;
	char why[REDACT_WHY_MAX];
	struct scanner s;
	bool drop = false;

	redact_rule_parse(text, &rule, why);
	rule.name = STR("fuzz");
	rule.action = REDACT_MASK;
	redact_key_parse(text, &key, why);
	key_matches(key.key, rule.pattern);
	if (redact_rules_new(&cfg, &rules, why))
		return;
	if (!scanner_init(&s, rules)) {
		scanner_apply(&s, mem, rules->users, text, &drop);
		scanner_fini(&s);
	}
	redact_rules_put(rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *mem = arena_new(0);
	struct str text;
	size_t which;

	if (!size || !mem)
		goto out;
	/* compiling patterns takes long: it is one in 64 */
	which = data[0] % 64;
	if (which > SINGLE + 4)
		which %= SINGLE + 4;
	text = own((struct str){ (const char *)data + 1, size - 1 });
	if (which < SINGLE)
		fuzz_single(mem, which, text);
	else if (which < SINGLE + 3)
		fuzz_text(mem, (enum redact_action)(which - SINGLE), text);
	else if (which == SINGLE + 3)
		fuzz_span(mem, text);
	else
		fuzz_pattern(mem, text);
	free((void *)(uintptr_t)text.p);
out:
	arena_free(mem);
	return 0;
}

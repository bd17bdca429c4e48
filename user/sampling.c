/* SPDX-License-Identifier: Apache-2.0 */
/* The options' texts turned into rules of sampling and redaction. */
#include "sampling.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define RULES_MAX 64 /* of --sampling-service, as the option table has it */

/* "GLOB=always", "GLOB=never", "GLOB=0.1"; checked when the options were read. */
static struct sample_rule rule_parse(const char *text, char *glob, size_t size)
{
	const char *how = strrchr(text, '=') + 1;

	snprintf(glob, size, "%.*s", (int)(how - 1 - text), text);
	return (struct sample_rule){ .service = glob,
				     .ratio = !strcmp(how, "always")  ? 1
					      : !strcmp(how, "never") ? 0
								      : strtod(how, NULL) };
}

struct sampler *sampling_new(const struct config *c, struct span_sink tail)
{
	/* the sampler borrows the globs for its life, which is the process's */
	static char globs[RULES_MAX][256];
	static struct sample_rule rules[RULES_MAX];
	const struct sample_cfg cfg = { .how = (enum sample_how)c->sampling,
					.ratio = c->sampling_ratio,
					.traces_per_s = c->max_traces_per_second,
					.follow_parent = c->sampling_parent,
					.rules = rules,
					.rule_cnt = c->sampling_service.cnt,
					.tail_bytes = (size_t)c->tail_buffer,
					.max_wait_ns = c->tail_wait_ns };

	for (uint32_t i = 0; i < c->sampling_service.cnt; i++)
		rules[i] = rule_parse(c->sampling_service.v[i], globs[i], sizeof(globs[i]));
	return sampler_new(&cfg, tail);
}

/* ---- redaction ---- */

struct lists {
	struct redact_rule_cfg rule[REDACT_RULES_MAX];
	struct redact_key_cfg allow[REDACT_KEYS_MAX];
	struct redact_key_cfg deny[REDACT_KEYS_MAX];
	uint8_t hash_key[REDACT_HASH_KEY_LEN];
	struct redact_rules_cfg cfg;
};

static int parse_keys(const struct config_list *from, struct redact_key_cfg *to,
		      char why[REDACT_WHY_MAX])
{
	int err = 0;

	for (uint32_t i = 0; i < from->cnt && !err; i++)
		err = redact_key_parse(str_of(from->v[i]), &to[i], why);
	return err;
}

static int parse_lists(const struct config *c, struct lists *l, char why[REDACT_WHY_MAX])
{
	int err = parse_keys(&c->redact_allow, l->allow, why);

	if (!err)
		err = parse_keys(&c->redact_deny, l->deny, why);
	for (uint32_t i = 0; i < c->redact_rule.cnt && !err; i++)
		err = redact_rule_parse(str_of(c->redact_rule.v[i]), &l->rule[i], why);
	if (!err && c->redact_hash_key_file)
		err = redact_hash_key_read(c->redact_hash_key_file, l->hash_key, why);
	l->cfg = (struct redact_rules_cfg){ .rules = l->rule,
					    .rule_cnt = c->redact_rule.cnt,
					    .allow = l->allow,
					    .allow_cnt = c->redact_allow.cnt,
					    .deny = l->deny,
					    .deny_cnt = c->redact_deny.cnt,
					    .hash_key =
						    c->redact_hash_key_file ? l->hash_key : NULL };
	return err;
}

int sampling_rules(const struct config *c, struct redact_rules **ret_rules)
{
	char why[REDACT_WHY_MAX] = "out of memory";
	struct lists *l = calloc(1, sizeof(*l));
	int err = l ? parse_lists(c, l, why) : -ENOMEM;

	if (!err)
		err = redact_rules_new(&l->cfg, ret_rules, why);
	if (err)
		fprintf(stderr, "telltale: %s\n", why);
	free(l);
	return err;
}

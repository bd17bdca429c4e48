/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one gate: no span from capture or from OTLP goes on unredacted. SQL literals and values in
 * Redis commands become ?, secrets and personal data become REDACTED, or what the user chose.
 *
 * Looked at is every text of a span: attributes with all that is nested in them, events, links,
 * name, status message, tracestate, resource and scope. Not ids, enumerations, and numbers but for
 * integers of 14 to 16 digits, which may be a card's (not under keys that end as ids, times and
 * amounts do; 13 and 17 to 19 digits are ids far more often). Spans that need no change are passed
 * on as they came, without a copy.
 *
 * Rules for any text: private-key, jwt, token (well-known forms of API tokens), bearer, header
 * (authorization and cookie lines), password (name=value and the like), email, card (Luhn), iban
 * (mod 97). By the attribute's key: credential (authorization, cookies, passwords, tokens). A
 * value under a key with sql, query or statement in it that begins as SQL is a query; in command
 * lines the flags are known with which mysql, curl and others take passwords; a member of
 * tracestate in which something is found goes, but for 'ot'.
 */
#ifndef REDACT_REDACT_H
#define REDACT_REDACT_H

#include "span/span.h"

#define REDACT_RULES_MAX    32	 /* the user's rules */
#define REDACT_KEYS_MAX	    256	 /* allowed and denied keys, each */
#define REDACT_PATTERN_MAX  1024 /* bytes of a pattern or key */
#define REDACT_HASH_KEY_LEN 32
#define REDACT_WHY_MAX	    256

enum redact_action {
	REDACT_MASK, /* REDACTED stands where it stood */
	REDACT_HASH, /* hash: and 32 hex digits, the same for equal values; needs a key */
	REDACT_DROP, /* the attribute goes, counted as dropped; other texts are masked whole */
};

struct redact_rule_cfg {
	struct str name;    /* a-z, 0-9, - and _ */
	struct str pattern; /* PCRE2, finds its first group or all of it; empty: name is one of the
			       rules above, whose action this is */
	enum redact_action action;
};

struct redact_key_cfg {
	struct str key;		   /* whole, or a glob of * and ? */
	enum redact_action action; /* not for allowed keys */
};

/* Allowed attributes are left as they are, denied ones redacted whatever they hold. Where both
 * say something, a whole key is stronger than a glob, then denying. Strings are copied. */
struct redact_rules_cfg {
	const struct redact_rule_cfg *rules;
	size_t rule_cnt;
	const struct redact_key_cfg *allow;
	size_t allow_cnt;
	const struct redact_key_cfg *deny;
	size_t deny_cnt;
	const uint8_t *hash_key; /* REDACT_HASH_KEY_LEN bytes; NULL: none, and no REDACT_HASH */
};

/* Compiled, counted, shared by the gates of all threads: one set for the process, whose figures it
 * keeps. 0; -EINVAL, -E2BIG (too many, too long), -ENOMEM: why is one line that names the rule. */
struct redact_rules;
int redact_rules_new(const struct redact_rules_cfg *cfg, struct redact_rules **ret_rules,
		     char why[REDACT_WHY_MAX]);
struct redact_rules *redact_rules_get(struct redact_rules *rules);
void redact_rules_put(struct redact_rules *rules); /* NULL is fine; frees with the last */

/* As options are written: NAME=ACTION:PATTERN or NAME=ACTION; KEY or KEY=ACTION (mask when none is
 * said). ACTION is mask, hash or drop. 0 or -EINVAL; results point into text. */
int redact_rule_parse(struct str text, struct redact_rule_cfg *ret_rule, char why[REDACT_WHY_MAX]);
int redact_key_parse(struct str text, struct redact_key_cfg *ret_key, char why[REDACT_WHY_MAX]);
/* A key from a file of 16 to 4096 bytes of any kind; white space around it does not count. */
int redact_hash_key_read(const char *path, uint8_t ret_key[REDACT_HASH_KEY_LEN],
			 char why[REDACT_WHY_MAX]);

struct redact_cfg {
	bool raw_queries;	    /* leave query texts as they are: an explicit choice */
	struct redact_rules *rules; /* gets counted; NULL: the built-in ones */
};

/* One gate belongs to one thread. */
struct redact;
struct redact *redact_new(const struct redact_cfg *cfg, struct span_sink out);
void redact_push(struct redact *r, const struct span *s);
void redact_free(struct redact *r);

/* Single rules, each on its own. Result in mem, or text itself when nothing had to change.
 * Text that cannot be understood (cut short inside a literal) is masked to its end. */
struct str redact_sql(struct arena *mem, struct str text); /* "x" is a name */
/* "x" is a literal, backslash escapes, # comments; also the safe choice for unknown systems */
struct str redact_mysql(struct arena *mem, struct str text);
struct str redact_redis(struct arena *mem, struct str text);
struct str redact_url(struct arena *mem, struct str url); /* full URL, or path?query, or a query */

#endif

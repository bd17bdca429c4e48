/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text through the rules that its key and its bytes ask for, and all texts of a list of
 * attributes, however deep. Lists are copied for as far as something changed in them.
 */
#include "redact/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

/* Rules for statements whose literals are gone: name = ? and name = other_name are no secrets. */
#define NOT_IN_QUERIES (BIT(RULE_PASSWORD) | BIT(RULE_HEADER) | BIT(RULE_BEARER))

/* Systems in which "x" is a name; in all others it may be a literal. */
static const char *const standard_sql[] = {
	"postgresql", "oracle.db",   "oracle",	 "microsoft.sql_server", "mssql",
	"sqlite",     "ibm.db2",     "db2",	 "cockroachdb",		 "aws.redshift",
	"redshift",   "firebirdsql", "hsqldb",	 "h2database",		 "derby",
	"trino",      "cassandra",   "sap.hana",
};

static enum system find_system(const struct span *s)
{
	struct str name = attrs_str(&s->attrs, "db.system.name");

	if (!name.len)
		name = attrs_str(&s->attrs, "db.system");
	if (!name.len)
		return SYSTEM_NONE;
	if (str_eq(name, STR("redis")) || str_eq(name, STR("valkey")) ||
	    str_eq(name, STR("memcached")))
		return SYSTEM_REDIS;
	for (size_t i = 0; i < ARRAY_LEN(standard_sql); i++)
		if (str_eq_nocase(name, str_of(standard_sql[i])))
			return SYSTEM_STANDARD_SQL;
	return SYSTEM_OTHER;
}

static enum system system_of(struct redact *r)
{
	if (r->system == SYSTEM_UNASKED)
		r->system = find_system(r->span);
	return r->system;
}

/* ---- a text ---- */

static bool has_host(struct str text)
{
	return memmem(text.p, text.len, "://", 3);
}

/* What is known of the values of such keys. */
static struct str mask_by_key(struct redact *r, enum key_kind kind, struct str text)
{
	switch (kind) {
	case KEY_QUERY:
		if (system_of(r) == SYSTEM_REDIS)
			return redact_redis(r->scratch, text);
		return system_of(r) == SYSTEM_STANDARD_SQL ? redact_sql(r->scratch, text)
							   : redact_mysql(r->scratch, text);
	case KEY_PARAMETER: return text.p[0] == '?' ? text : STR("?");
	case KEY_URL: return redact_url(r->scratch, text);
	case KEY_HEADER: return has_host(text) ? redact_url(r->scratch, text) : text;
	case KEY_COMMAND: return mask_command(r, &(struct command){ 0 }, text);
	case KEY_MESSAGE:
		return system_of(r) == SYSTEM_NONE ? text : redact_message(r->scratch, text);
	default: return text;
	}
}

static struct str mask_by_sight(struct redact *r, enum key_kind kind, struct str text)
{
	uint64_t which = sight(r->rules, text);

	if (kind == KEY_QUERY)
		which &= ~NOT_IN_QUERIES;
	if (which & BIT(RULE_EMAIL) && has_host(text))
		text = redact_userinfo(r->scratch, text);
	return which ? scanner_apply(&r->scanner, r->scratch, which, text, &r->drop) : text;
}

static bool is_left_alone(const struct redact *r, enum key_kind kind, struct str text)
{
	switch (kind) {
	case KEY_ALLOWED:
	case KEY_SAFE: return true;
	case KEY_TEXT: return text.len < r->rules->min_len;
	case KEY_QUERY:
	case KEY_PARAMETER: return r->cfg.raw_queries || !text.len;
	default: return !text.len;
	}
}

/* What the key leaves open. */
static enum key_kind kind_of(enum key_kind kind, struct str text)
{
	return kind != KEY_STATEMENT ? kind : sql_begins(text) ? KEY_QUERY : KEY_TEXT;
}

static uint64_t hash_key(const struct redact *r, struct str key)
{
	return XXH3_64bits_withSeed(key.p, key.len, ~r->seed);
}

static uint64_t hash_text(struct redact *r, enum key_kind kind, struct str text)
{
	/* what a text becomes depends on these, too */
	uint64_t seed = r->seed + (uint64_t)kind * 64;

	if (kind == KEY_QUERY || kind == KEY_MESSAGE)
		seed += system_of(r);
	return XXH3_64bits_withSeed(text.p, text.len, seed);
}

static bool is_clean(const struct redact *r, uint64_t hash)
{
	const uint64_t *pair = r->clean[hash % TEXTS_KNOWN];

	return pair[0] == hash || pair[1] == hash;
}

static void learn_clean(struct redact *r, uint64_t hash)
{
	uint64_t *pair = r->clean[hash % TEXTS_KNOWN];

	pair[1] = pair[0];
	pair[0] = hash;
}

/* NULL: not seen, or driven out since. */
static const struct known_key *find_key(const struct redact *r, uint64_t hash)
{
	const struct known_key *pair = r->keys[hash % KEYS_KNOWN];

	return pair[0].hash == hash ? pair : pair[1].hash == hash ? pair + 1 : NULL;
}

static void learn_key(struct redact *r, uint64_t hash, struct verdict verdict)
{
	struct known_key *pair = r->keys[hash % KEYS_KNOWN];

	pair[1] = pair[0];
	pair[0] = (struct known_key){ hash, verdict };
}

bool mask_text(struct redact *r, enum key_kind kind, struct str *text)
{
	struct str masked;
	uint64_t hash;

	kind = kind_of(kind, *text);
	if (is_left_alone(r, kind, *text))
		return false;
	hash = hash_text(r, kind, *text);
	if (is_clean(r, hash))
		return false;
	masked = mask_by_sight(r, kind, mask_by_key(r, kind, *text));
	if (masked.p == text->p && masked.len == text->len && !r->drop) {
		learn_clean(r, hash);
		return false;
	}
	r->used = true;
	*text = masked;
	return true;
}

bool mask_plain(struct redact *r, enum key_kind kind, struct str *text)
{
	bool changed = mask_text(r, kind, text);

	if (r->drop)
		*text = MASKED;
	r->drop = false;
	return changed;
}

static bool mask_secret(struct redact *r, enum redact_action action, struct str *text)
{
	struct str masked = mask_whole(r->rules, r->scratch, action, *text, &r->drop);
	bool same = masked.p == text->p;

	r->used |= !same;
	*text = masked;
	return !same;
}

/* ---- values ---- */

static bool mask_value(struct redact *r, struct verdict key, struct value *v, int depth);
static bool mask_pair(struct redact *r, const struct verdict *above, struct attr *at, int depth);

void *scratch_copy(struct redact *r, const void *p, size_t size)
{
	void *copy = arena_alloc_raw(r->scratch, size);

	r->used = true;
	if (copy)
		memcpy(copy, p, size);
	else
		r->failed = true;
	return copy;
}

static bool may_be_card(struct verdict key, const struct value *v)
{
	return v->type == VALUE_INT && v->i >= CARD_INT_MIN && v->i <= CARD_INT_MAX && key.cards;
}

/* A denied number or truth value, or a card's number, as text. */
static bool mask_scalar(struct redact *r, struct verdict key, struct value *v)
{
	char text[64];
	int len;

	if (key.kind != KEY_DENIED) {
		if (!may_be_card(key, v) || !is_card_int(v->i))
			return false;
		key.action = (uint8_t)r->rules->rule[RULE_CARD].action;
	}
	switch (v->type) {
	case VALUE_INT: len = snprintf(text, sizeof(text), "%" PRId64, v->i); break;
	case VALUE_DOUBLE: len = snprintf(text, sizeof(text), "%.17g", v->d); break;
	case VALUE_BOOL: len = snprintf(text, sizeof(text), "%s", v->b ? "true" : "false"); break;
	default: return false;
	}
	v->type = VALUE_STR;
	v->str = (struct str){ text, (size_t)len };
	return mask_secret(r, key.action, &v->str);
}

/* Arguments of a command: what follows --password is one. */
static bool is_flag(const struct value *v)
{
	return v->type == VALUE_STR && v->str.len > 2 && v->str.p[0] == '-' &&
	       str_find(v->str, '=') < 0 && name_is_secret(v->str);
}

static bool mask_array(struct redact *r, struct verdict key, struct value *v, int depth)
{
	struct value *item = NULL;
	struct command command = { 0 };

	for (size_t i = 0; i < v->array.cnt; i++) {
		struct value one = v->array.item[i];
		struct verdict of = key;
		bool changed;

		if (i && (key.kind == KEY_TEXT || key.kind == KEY_COMMAND) &&
		    is_flag(&v->array.item[i - 1]))
			of = (struct verdict){
				.kind = KEY_SECRET,
				.action = (uint8_t)r->rules->rule[RULE_CREDENTIAL].action
			};
		else if (key.kind == KEY_COMMAND && one.type == VALUE_STR)
			one.str = mask_argument(r, &command, one.str);
		/* both, whatever the first says: a pair's user may be an address */
		changed = one.type == VALUE_STR && one.str.p != v->array.item[i].str.p;
		r->used |= changed;
		if (!mask_value(r, of, &one, depth) && !changed)
			continue;
		if (!item)
			item = scratch_copy(r, v->array.item, v->array.cnt * sizeof(*item));
		if (!item)
			return false;
		item[i] = one;
	}
	if (item)
		v->array.item = item;
	return item;
}

static bool mask_kvlist(struct redact *r, struct verdict key, struct value *v, int depth)
{
	const struct verdict *above = key.kind >= KEY_SECRET ? &key : NULL;
	struct attr *item = NULL;

	for (size_t i = 0; i < v->kvlist.cnt; i++) {
		struct attr one = v->kvlist.item[i];

		if (!mask_pair(r, above, &one, depth))
			continue;
		if (!item)
			item = scratch_copy(r, v->kvlist.item, v->kvlist.cnt * sizeof(*item));
		if (!item)
			return false;
		item[i] = one;
	}
	if (item)
		v->kvlist.item = item;
	return item;
}

static bool mask_value(struct redact *r, struct verdict key, struct value *v, int depth)
{
	if (key.kind == KEY_ALLOWED)
		return false;
	/* deeper than producers may nest: not looked at, and no other room would take it */
	if (depth == VALUE_DEPTH_MAX && (v->type == VALUE_ARRAY || v->type == VALUE_KVLIST)) {
		*v = (struct value){ .type = VALUE_STR, .str = MASKED };
		return true;
	}
	switch (v->type) {
	case VALUE_STR:
	case VALUE_BYTES:
		return key.kind >= KEY_SECRET ? mask_secret(r, key.action, &v->str)
					      : mask_text(r, key.kind, &v->str);
	case VALUE_ARRAY: return mask_array(r, key, v, depth + 1);
	case VALUE_KVLIST: return mask_kvlist(r, key, v, depth + 1);
	default: return mask_scalar(r, key, v);
	}
}

/* ---- attributes ---- */

/* A key may itself hold what must not be shown: then 'masked' is set and its rules run each time.
 */
static struct verdict verdict_of(struct redact *r, struct str key, bool *ret_masked)
{
	uint64_t hash = hash_key(r, key);
	const struct known_key *known = find_key(r, hash);
	struct verdict found;
	struct str text = key;

	if (known)
		return known->verdict;
	found = key_verdict(r->rules, key);
	if (found.kind != KEY_ALLOWED && key.len >= r->rules->min_len) {
		bool drop = r->drop;

		*ret_masked = mask_text(r, KEY_TEXT, &text);
		r->drop = drop;
	}
	if (!*ret_masked)
		learn_key(r, hash, found);
	return found;
}

static bool mask_pair(struct redact *r, const struct verdict *above, struct attr *at, int depth)
{
	bool masked_key = false;
	struct verdict own = verdict_of(r, at->key, &masked_key);
	bool changed =
		mask_value(r, above && own.kind != KEY_ALLOWED ? *above : own, &at->value, depth);

	if (masked_key)
		mask_text(r, KEY_TEXT, &at->key);
	return changed || masked_key;
}

static struct usual_key *usual_key(struct redact *r, struct str key)
{
	uint64_t first, last;

	memcpy(&first, key.p, sizeof(first));
	memcpy(&last, key.p + key.len - sizeof(last), sizeof(last));
	return &r->usual[(first + 3 * last) * 0x9e3779b97f4a7c15u >> 56];
}

static const struct verdict *find_verdict(struct redact *r, struct str key)
{
	bool short_enough = key.len >= USUAL_KEY_MIN && key.len <= sizeof(r->usual->text);
	struct usual_key *usual = short_enough ? usual_key(r, key) : NULL;
	const struct known_key *known;

	if (usual && str_eq((struct str){ usual->text, usual->len }, key))
		return &usual->verdict;
	known = find_key(r, hash_key(r, key));
	if (!known)
		return NULL;
	if (usual) {
		usual->verdict = known->verdict;
		usual->len = (uint8_t)key.len;
		memcpy(usual->text, key.p, key.len);
	}
	return &known->verdict;
}

/* Most attributes by far: a key that was seen before, with a number or a text that is left alone or
 * was seen, too. False where more has to be asked. */
static bool is_known_clean(struct redact *r, const struct attr *at)
{
	const struct verdict *key = find_verdict(r, at->key);
	enum key_kind kind;

	if (!key)
		return false;
	kind = key->kind;
	switch (at->value.type) {
	case VALUE_ARRAY:
	case VALUE_KVLIST:
	case VALUE_BYTES: return false;
	case VALUE_STR: break;
	default: return kind != KEY_DENIED && !may_be_card(*key, &at->value);
	}
	if (kind >= KEY_SECRET)
		return false;
	kind = kind_of(kind, at->value.str);
	if (is_left_alone(r, kind, at->value.str))
		return true;
	return is_clean(r, hash_text(r, kind, at->value.str));
}

bool mask_attrs(struct redact *r, struct attrs *attrs)
{
	struct attr *item = NULL;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < attrs->cnt; i++) {
		struct attr at;
		bool changed, drop;

		if (is_known_clean(r, &attrs->item[i])) {
			if (item)
				item[kept] = attrs->item[i];
			kept++;
			continue;
		}
		at = attrs->item[i];
		r->drop = false;
		changed = mask_pair(r, NULL, &at, 0);
		drop = r->drop;
		if ((changed || drop) && !item)
			item = scratch_copy(r, attrs->item, attrs->cnt * sizeof(*item));
		if (r->failed)
			break;
		if (item && !drop)
			item[kept] = at;
		kept += !drop;
	}
	r->drop = false;
	if (!item || r->failed)
		return false;
	attrs->dropped += attrs->cnt - kept;
	attrs->item = item;
	attrs->size = attrs->cnt;
	attrs->cnt = kept;
	return true;
}

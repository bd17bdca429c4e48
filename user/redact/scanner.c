/* SPDX-License-Identifier: Apache-2.0 */
/* Rules applied to a text: what they find is replaced. In doubt the whole text goes. */
#include "redact/internal.h"

#include <errno.h>
#include <sodium.h>

#define HASH_LEN    16
#define HASH_PREFIX "hash:"
#define HASH_TEXT   (sizeof(HASH_PREFIX) - 1 + 2 * HASH_LEN)
#define MATCH_LIMIT 20000 /* steps from one start */
#define HEAP_LIMIT  1024  /* KiB */
#define OVERLAP	    512	  /* of two pieces: the longest match that is surely found */
#define WORK_KEPT   (64u << 10)

int scanner_init(struct scanner *s, const struct redact_rules *rules)
{
	*s = (struct scanner){ .rules = rules, .work.cap = SCRATCH_MAX };
	s->match = pcre2_match_data_create(2, NULL); /* the match and its first group */
	s->limits = pcre2_match_context_create(NULL);
	if (!s->match || !s->limits) {
		scanner_fini(s);
		return -ENOMEM;
	}
	pcre2_set_match_limit(s->limits, MATCH_LIMIT);
	pcre2_set_depth_limit(s->limits, MATCH_LIMIT);
	pcre2_set_heap_limit(s->limits, HEAP_LIMIT);
	return 0;
}

void scanner_fini(struct scanner *s)
{
	pcre2_match_data_free(s->match);
	pcre2_match_context_free(s->limits);
	buf_fini(&s->work);
}

/* ---- what stands for a text ---- */

static bool is_masked(struct str text)
{
	if (text.len != HASH_TEXT || !str_starts(text, STR(HASH_PREFIX)))
		return str_eq(text, MASKED);
	for (size_t i = sizeof(HASH_PREFIX) - 1; i < text.len; i++)
		if (!(text.p[i] >= '0' && text.p[i] <= '9') &&
		    !(text.p[i] >= 'a' && text.p[i] <= 'f'))
			return false;
	return true;
}

/* out takes HASH_TEXT bytes and a NUL. */
static void hash_text(const struct redact_rules *rules, struct str text, bool compact, char *out)
{
	crypto_generichash_state state;
	uint8_t hash[HASH_LEN];

	crypto_generichash_init(&state, rules->hash_key, sizeof(rules->hash_key), sizeof(hash));
	for (size_t len; text.len; text = str_from(text, len)) {
		size_t gap = compact ? gap_len(text) : 0;

		len = gap ? gap : compact ? 1 : text.len;
		if (!gap)
			crypto_generichash_update(&state, (const uint8_t *)text.p, len);
	}
	crypto_generichash_final(&state, hash, sizeof(hash));
	memcpy(out, HASH_PREFIX, sizeof(HASH_PREFIX) - 1);
	sodium_bin2hex(out + sizeof(HASH_PREFIX) - 1, 2 * HASH_LEN + 1, hash, sizeof(hash));
}

struct str mask_whole(const struct redact_rules *rules, struct arena *mem,
		      enum redact_action action, struct str text, bool *ret_drop)
{
	char *hash;

	if (!text.len || is_masked(text))
		return text;
	*ret_drop |= action == REDACT_DROP;
	if (action != REDACT_HASH)
		return MASKED;
	hash = arena_alloc_raw(mem, HASH_TEXT + 1);
	if (!hash)
		return MASKED;
	hash_text(rules, text, false, hash);
	return (struct str){ hash, HASH_TEXT };
}

/* ---- one rule ---- */

/* Where a rule is in a text. */
struct course {
	const struct rule *rule;
	struct str text;
	size_t at;   /* matches begin here or later */
	size_t done; /* what is before was copied to work, if anything was */
	bool changed;
	bool drop;
	bool gave_up;
};

static void add_replaced(struct scanner *s, struct course *c, struct str found)
{
	size_t begin = (size_t)(found.p - c->text.p);
	char hash[HASH_TEXT + 1];

	buf_add(&s->work, c->text.p + c->done, begin - c->done);
	if (c->rule->action == REDACT_HASH) {
		hash_text(s->rules, found, c->rule->compact, hash);
		buf_add(&s->work, hash, HASH_TEXT);
	} else {
		buf_add_str(&s->work, MASKED);
	}
	c->drop |= c->rule->action == REDACT_DROP;
	c->done = begin + found.len;
	c->changed = true;
}

/* What the rule found, in *ret; the match as a whole ends at *ret_end. */
static struct str found_of(const struct scanner *s, const struct course *c, size_t *ret_end)
{
	const size_t *at = pcre2_get_ovector_pointer(s->match);
	const size_t *part = at;

	if (c->rule->group && at[2] != PCRE2_UNSET && at[3] > at[2])
		part = at + 2;
	*ret_end = MAX(at[1], part[1]);
	if (part[0] < c->done) /* looked behind itself: what is replaced stays so */
		return (struct str){ c->text.p + c->done, MAX(part[1], c->done) - c->done };
	return (struct str){ c->text.p + part[0], part[1] - part[0] };
}

/* The next match within the piece that ends at 'end'. False when there is none. */
static bool step(struct scanner *s, struct course *c, size_t end)
{
	size_t begin, match_end;
	struct str found;
	int rc = pcre2_match(c->rule->code, (PCRE2_SPTR)c->text.p, end, c->at, PCRE2_NOTEMPTY,
			     s->match, s->limits);

	if (rc == PCRE2_ERROR_NOMATCH)
		return false;
	if (rc < 0) {
		c->gave_up = true;
		return false;
	}
	begin = pcre2_get_ovector_pointer(s->match)[0];
	found = found_of(s, c, &match_end);
	if (match_end == end && end < c->text.len && begin > c->at) {
		c->at = begin; /* it may go on behind the piece */
		return true;
	}
	if (c->rule->check && !c->rule->check(&found)) {
		c->at = begin + 1;
		return true;
	}
	if (found.len && !is_masked(found))
		add_replaced(s, c, found);
	c->at = c->rule->check ? MAX(c->done, begin + 1) : MAX(match_end, c->at + 1);
	return true;
}

static bool within_char(struct str text, size_t at)
{
	return at < text.len && (text.p[at] & 0xc0) == 0x80;
}

/* Both ends of a piece stand between two characters. */
static size_t piece_end(struct course *c)
{
	size_t end;

	if (c->rule->piece >= c->text.len)
		return c->text.len;
	while (within_char(c->text, c->at))
		c->at++;
	end = c->at + MIN(c->text.len - c->at, c->rule->piece);
	for (int i = 0; i < 3 && within_char(c->text, end); i++)
		end--;
	return end;
}

static struct str apply_rule(struct scanner *s, struct arena *mem, struct course *c)
{
	char *copy;

	buf_clear(&s->work);
	while (c->at < c->text.len && !c->gave_up) {
		size_t end = piece_end(c);

		if (step(s, c, end))
			continue;
		if (end == c->text.len)
			break;
		c->at = end - OVERLAP;
	}
	s->gave_up += c->gave_up;
	if (c->gave_up)
		return MASKED;
	if (!c->changed)
		return c->text;
	buf_add(&s->work, c->text.p + c->done, c->text.len - c->done);
	copy = s->work.failed ? NULL : arena_alloc_raw(mem, s->work.len + 1);
	if (!copy)
		return MASKED;
	memcpy(copy, s->work.p, s->work.len);
	copy[s->work.len] = 0;
	return (struct str){ copy, s->work.len };
}

struct str scanner_apply(struct scanner *s, struct arena *mem, uint64_t which, struct str text,
			 bool *ret_drop)
{
	for (; which; which &= which - 1) {
		const struct rule *rule = &s->rules->rule[__builtin_ctzll(which)];
		struct course c = { .rule = rule, .text = text };

		if (text.len < rule->min_len)
			continue;
		text = apply_rule(s, mem, &c);
		*ret_drop |= c.drop;
	}
	if (s->work.size > WORK_KEPT) {
		buf_fini(&s->work);
		s->work = (struct buf){ .cap = SCRATCH_MAX };
	}
	return text;
}

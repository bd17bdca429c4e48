/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rules could match a text: one pass over its bytes, so that the patterns need not be tried
 * on the many texts that hold nothing. May say yes too often, never no.
 *
 * Seen are: an @ or % (e-mail), the longest run of digits with blanks and dashes in it (cards,
 * IBAN), capitals (IBAN), and three letters in a row out of each word that a rule needs.
 */
#include "redact/internal.h"

#define FOLD(n)	 (n) /* bits 0-4: letter without case, digit, or one of _ - . : */
#define FOLDS	 0x1f
#define IS_DIGIT (1 << 5)
#define KEEPS	 (1 << 6) /* does not end a run of digits */
#define IS_AT	 (1 << 7)
#define IS_UPPER (1 << 8)

#define CARD_DIGITS 13
#define IBAN_DIGITS 5 /* in one run: the fewest that any country's have, check digits included */
#define IBAN_LEN    15

#define LETTER(lower, upper, n) [lower] = FOLD(n), [upper] = FOLD(n) | IS_UPPER
#define DIGIT_CLASS		(FOLD(29) | IS_DIGIT | KEEPS)

static const uint16_t classes[256] = {
	LETTER('a', 'A', 1),
	LETTER('b', 'B', 2),
	LETTER('c', 'C', 3),
	LETTER('d', 'D', 4),
	LETTER('e', 'E', 5),
	LETTER('f', 'F', 6),
	LETTER('g', 'G', 7),
	LETTER('h', 'H', 8),
	LETTER('i', 'I', 9),
	LETTER('j', 'J', 10),
	LETTER('k', 'K', 11),
	LETTER('l', 'L', 12),
	LETTER('m', 'M', 13),
	LETTER('n', 'N', 14),
	LETTER('o', 'O', 15),
	LETTER('p', 'P', 16),
	LETTER('q', 'Q', 17),
	LETTER('r', 'R', 18),
	LETTER('s', 'S', 19),
	LETTER('t', 'T', 20),
	LETTER('u', 'U', 21),
	LETTER('v', 'V', 22),
	LETTER('w', 'W', 23),
	LETTER('x', 'X', 24),
	LETTER('y', 'Y', 25),
	LETTER('z', 'Z', 26),
	['0' ... '9'] = DIGIT_CLASS,
	['_'] = FOLD(27),
	['-'] = FOLD(28) | KEEPS,
	['.'] = FOLD(30),
	[':'] = FOLD(31),
	[' '] = KEEPS,
	['+'] = KEEPS,
	/* of blanks and dashes of more bytes */
	[0x80] = KEEPS,
	[0x87 ... 0x95] = KEEPS,
	[0xa0] = KEEPS,
	[0xaf] = KEEPS,
	[0xc2] = KEEPS,
	[0xe2] = KEEPS,
	['@'] = IS_AT,
	['%'] = IS_AT | KEEPS,
};

/* Three characters of each word without which a rule cannot match; 0 is any digit. */
static const struct {
	uint8_t rule;
	const char *text;
} triggers[] = {
	{ RULE_PRIVATE_KEY, "--b" },
	{ RULE_JWT, "eyj" },
	{ RULE_TOKEN, "kia" /* AKIA */ },
	{ RULE_TOKEN, "sia" /* ASIA */ },
	{ RULE_TOKEN, "hp_" /* ghp_ */ },
	{ RULE_TOKEN, "ho_" },
	{ RULE_TOKEN, "hu_" },
	{ RULE_TOKEN, "hs_" },
	{ RULE_TOKEN, "hr_" },
	{ RULE_TOKEN, "b_p" /* github_pat_ */ },
	{ RULE_TOKEN, "glp" /* glpat-, glptt- */ },
	{ RULE_TOKEN, "gld" },
	{ RULE_TOKEN, "glr" },
	{ RULE_TOKEN, "xox" },
	{ RULE_TOKEN, "xap" /* xapp- */ },
	{ RULE_TOKEN, "ks." /* hooks.slack.com */ },
	{ RULE_TOKEN, "iza" /* AIza */ },
	{ RULE_TOKEN, "ya0" /* ya29. */ },
	{ RULE_TOKEN, "spx" /* GOCSPX- */ },
	{ RULE_TOKEN, "k_l" /* sk_live_ */ },
	{ RULE_TOKEN, "k_t" /* sk_test_ */ },
	{ RULE_TOKEN, "hse" /* whsec_ */ },
	{ RULE_TOKEN, "sk-" },
	{ RULE_TOKEN, "sg." },
	{ RULE_TOKEN, "pm_" /* npm_ */ },
	{ RULE_TOKEN, "ypi" /* pypi- */ },
	{ RULE_TOKEN, "_v0" /* dop_v1_ */ },
	{ RULE_TOKEN, "hvs" },
	{ RULE_TOKEN, "hvb" },
	{ RULE_TOKEN, "hvr" },
	{ RULE_TOKEN, "hf_" },
	{ RULE_TOKEN, ":aa" /* 12345678:AA */ },
	{ RULE_TOKEN, "shp" /* shpat_ */ },
	{ RULE_TOKEN, "ey-" /* key- */ },
	{ RULE_TOKEN, "dap" /* dapi */ },
	{ RULE_TOKEN, "rak" /* NRAK- */ },
	{ RULE_TOKEN, "lsa" /* glsa_ */ },
	{ RULE_TOKEN, "lc_" /* glc_ */ },
	{ RULE_TOKEN, "ckr" /* dckr_ */ },
	{ RULE_BEARER, "rer" },
	{ RULE_BEARER, "sic" /* basic */ },
	{ RULE_HEADER, "riz" /* authorization */ },
	{ RULE_HEADER, "oki" /* cookie */ },
	{ RULE_PASSWORD, "ssw" /* password, passwd */ },
	{ RULE_PASSWORD, "ssp" /* passphrase */ },
	{ RULE_PASSWORD, "pwd" },
	{ RULE_PASSWORD, "ecr" /* secret */ },
	{ RULE_PASSWORD, "oke" /* token */ },
	{ RULE_PASSWORD, "key" },
	{ RULE_PASSWORD, "ede" /* credential */ },
};

void sight_init(uint8_t trigger[TRIGGERS])
{
	for (size_t i = 0; i < ARRAY_LEN(triggers); i++) {
		unsigned int at = 0;

		for (const char *c = triggers[i].text; *c; c++)
			at = at << 5 | (classes[(unsigned char)*c] & FOLDS);
		trigger[at] |= (uint8_t)(1 << triggers[i].rule);
	}
}

uint64_t sight(const struct redact_rules *rules, struct str text)
{
	const unsigned char *p = (const unsigned char *)text.p, *end = p + text.len;
	unsigned int seen = 0, words = 0, last = 0, run = 0, longest = 0;
	uint64_t which;

	for (; p < end; p++) {
		unsigned int class = classes[*p];

		seen |= class;
		last = (last << 5 | (class & FOLDS)) & (TRIGGERS - 1);
		words |= rules->trigger[last];
		run = class & KEEPS ? run + (class & IS_DIGIT ? 1 : 0) : 0;
		longest = MAX(longest, run);
	}
	which = words | rules->users;
	if (seen & IS_AT)
		which |= BIT(RULE_EMAIL);
	if (longest >= CARD_DIGITS)
		which |= BIT(RULE_CARD);
	if (longest >= IBAN_DIGITS && seen & IS_UPPER && text.len >= IBAN_LEN)
		which |= BIT(RULE_IBAN);
	return which;
}

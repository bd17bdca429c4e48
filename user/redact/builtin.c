/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules that are always there. Patterns see bytes, not characters, and none can backtrack far:
 * what a pattern cannot say (Luhn's sum, mod 97) is checked on what it found.
 */
#include "redact/internal.h"

#include <inttypes.h>
#include <stdio.h>

/* Not within a longer word or number. */
#define BEGIN "(?<![A-Za-z0-9])"
#define END   "(?![A-Za-z0-9])"

#define PRIVATE_KEY                                                                          \
	"-----BEGIN(?: [A-Z]{2,12}){0,3} PRIVATE KEY(?: BLOCK)?-----(?s:.*?(?:-----END[A-Z " \
	"]*+-----|\\z))"

#define JWT BEGIN "eyJ[\\w-]{8,}+(?:\\.[\\w-]*+){2,4}"

/* Forms that their issuers publish so that scanners find them. */
#define TOKEN                                                                                      \
	BEGIN                                                                                      \
	"(?:A[KS]IA[A-Z0-9]{16}" END					       /* AWS */           \
	"|gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_\\w{22,}+"		       /* GitHub */        \
	"|gl(?:pat|ptt|dt|rt)-[\\w-]{20,}+"				       /* GitLab */        \
	"|xox[abceoprs]-[\\w-]{10,}+|xapp-\\d-[\\w-]{10,}+"		       /* Slack */         \
	"|AIza[\\w-]{35,}+|ya29\\.[\\w-]{20,}+|GOCSPX-[\\w-]{20,}+"	       /* Google */        \
	"|[sr]k_(?:live|test)_\\w{10,}+|whsec_[\\w+/=]{20,}+"		       /* Stripe */        \
	"|sk-(?:(?:proj|ant|svcacct|admin|or)-[\\w-]{20,}+|[A-Za-z0-9]{32,}+)" /* AI services */   \
	"|SG\\.[\\w-]{16,}+\\.[\\w-]{16,}+"				       /* SendGrid */      \
	"|npm_[A-Za-z0-9]{36,}+|pypi-[\\w-]{50,}+|dckr_pat_[\\w-]{20,}+"       /* registries */    \
	"|do[opr]_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"	       /* clouds, shops */ \
	"|hv[sbr]\\.[\\w-]{24,}+|hf_[A-Za-z0-9]{30,}+|\\d{8,10}:AA[\\w-]{33,}+"                    \
	"|key-[0-9a-f]{32}" END "|dapi[0-9a-f]{32}|NRAK-[A-Z0-9]{27}|glsa_\\w{30,}+"               \
	"|glc_[\\w+/=]{32,}+)"                                                                     \
	"|(?<=hooks\\.slack\\.com/services/)[\\w/]{20,}+"

/* What follows must not look like prose: a digit, a capital inside a word, or great length. */
#define UNLIKE_PROSE "(?=[^\\s\"',;]*[0-9=]|[^\\s\"',;]*(?-i:[a-z][A-Z])|[^\\s\"',;]{20})"
#define GAP	     "(?:[ \\t]|%20|\\+)++"
#define BEARER                                                           \
	"(?i)" BEGIN "(?|bearer" GAP UNLIKE_PROSE "([\\w.~+/-]{6,}+=*+)" \
	"|basic" GAP UNLIKE_PROSE "([A-Za-z0-9+/]{6,}+=*+))"

/* name: value or "name": "value", to the end of the line or the closing quote */
#define SAYS "\\\\?[\"']?\\s*+(?:=>?|:)\\s*+\\[?\\\\?[\"']?"
#define HEADER                                                                                   \
	"(?i)" BEGIN "(?|authorization" SAYS                                                     \
	"(?|(?:bearer|basic|digest|negotiate|ntlm|token|apikey|hawk|ssws|aws4-hmac-sha256)\\s++" \
	"([^\\r\\n\"'\\\\]++)|([^\\s\"'\\\\]{16,}+))"                                            \
	"|cookie2?" SAYS "((?=[^\\s=;,\"']++=)[^\\r\\n\"'\\\\]++))"

#define SECRET_NAME                                                                  \
	"(?:passw(?:or)?d|passphrase|(?<![a-z])pwd(?!=/)|secret|token|api[_. -]?key" \
	"|(?:access|account|secret|private|encryption|shared)[_-]?key|credentials?)"
/* An unquoted value. A comma ends it only before a space or another name. */
#define BARE "(?:[^\\s\"'&;,]|,(?!\\s|[\\w.-]*+=|$))++"
/* Not what stands for a value: ?, $1, %s, {x}, <x>, ***, null; nor the second = of a comparison. */
#define NO_STANDIN                                                                               \
	"(?!=|(?:\\?|\\*+|%[sdvq]|\\$\\d+|(?-i:\\$[A-Z_][A-Z0-9_]*)|\\$?\\{+[\\w. ]*\\}+|<[\\w " \
	"-]*>"                                                                                   \
	"|:[a-z_]\\w*|null|nil|none|true|false|undefined)(?![^\\s\"'&;,)\\]]))"
/* One group in each alternative; all have the number 1. */
#define VALUE_OF(bare)                                                                           \
	"(?|\\\\\"((?:[^\"\\\\]|\\\\[^\"])++)|\"((?:[^\"\\\\]|\\\\.)++)|'((?:[^'\\\\]|\\\\.)++)" \
	"|" NO_STANDIN bare ")"
/* name=value; "name": value; name: a value with digits, as prose has none; --name value */
#define PASSWORD                                                                                   \
	"(?i)(?|" SECRET_NAME                                                                      \
	"(?|\\s*+=>?\\s*+" VALUE_OF("(" BARE ")") "|\\\\?[\"']\\s*+(?::|=>?)\\s*+" VALUE_OF(       \
		"([^"                                                                              \
		"\\s"                                                                              \
		"\"',"                                                                             \
		";}"                                                                               \
		"\\]]"                                                                             \
		"++)") "|:\\s++" VALUE_OF("((?=[^\\s\"',;]*\\d)[^\\s\"',;]{6,}+)") ")"             \
										   "|(?<![\\w-])-" \
										   "-?[\\w-]*"     \
										   "?" SECRET_NAME \
										   "\\s+"          \
										   "+" VALUE_OF(   \
											   "(?!-)" \
											   "([^"   \
											   "\\s\"" \
											   "']++"  \
											   ")") ")"

/* The domain's end is no unit of an init system and no file of an icon in two sizes. */
#define EMAIL                                                                                      \
	"(?:\\G|(?<=%[0-9A-Fa-f]{2})|(?<![A-Za-z0-9._+%\\x80-\\xff-]))(?!REDACTED[@%]|git@)"       \
	"[A-Za-z0-9._+\\x80-\\xff-]{1,256}+(?:@|%40)(?![1-9]x\\.)"                                 \
	"(?:[A-Za-z0-9\\x80-\\xff](?:[A-Za-z0-9\\x80-\\xff-]{0,62})\\.){1,16}"                     \
	"(?!(?:service|socket|timer|slice|scope|mount|target|path|device|swap)" END ")"            \
	"(?:[A-Za-z]{2,24}+|[\\x80-\\xff]{4,60}+|xn--[A-Za-z0-9-]{2,59}+)(?![0-9-]|\\.[A-Za-z0-9]" \
	")"

/* Between groups of digits: a blank, also in a URL, of no width for breaking, or thin; a dash of
 * any length. gap_len() knows the same. */
#define DIGIT_GAP "(?:[ +-]|%20|\\xc2\\xa0|\\xe2\\x80[\\x87-\\x95\\xaf])"
/* As BEGIN, or behind what a URL has as %20. */
#define BEGIN_NUMBER "(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2}))"

/* In the groups that are printed on cards, with one kind of separator, or in none. Not behind a
 * point (a fraction), not beside a group of a UUID. */
#define CARD                                                                                   \
	BEGIN_NUMBER "(?<![0-9]\\.)(?<![0-9A-Fa-f]{4}-)"                                       \
		     "(?:[2-6]\\d{3}(" DIGIT_GAP ")\\d{4}\\1\\d{4}\\1\\d{1,4}(?:\\1\\d{1,3})?" \
		     "|3[47]\\d{2}(" DIGIT_GAP ")\\d{6}\\2\\d{5}|3[0689]\\d{2}(" DIGIT_GAP     \
		     ")\\d{6}\\3\\d{4}"                                                        \
		     "|[2-6]\\d{12,18})" END "(?!\\.\\d|-[0-9A-Fa-f]{4})"

#define IBAN                                                                         \
	BEGIN_NUMBER "[A-Z]{2}\\d{2}(?:" DIGIT_GAP "?[A-Z0-9]{4}){2,7}(?:" DIGIT_GAP \
		     "?[A-Z0-9]{1,3})?+" END

#define CARD_MAX 19
#define IBAN_MAX 34

/* First digits and lengths of the networks' numbers. */
static const struct {
	uint16_t from, to; /* of the first four digits */
	uint8_t len[3];
} networks[] = {
	{ 2221, 2720, { 16 } },		/* Mastercard */
	{ 3000, 3059, { 14 } },		/* Diners Club */
	{ 3400, 3499, { 15 } },		/* American Express */
	{ 3528, 3589, { 16 } },		/* JCB */
	{ 3600, 3699, { 14 } },		/* Diners Club */
	{ 3700, 3799, { 15 } },		/* American Express */
	{ 3800, 3999, { 14 } },		/* Diners Club */
	{ 4000, 4999, { 13, 16, 19 } }, /* Visa */
	{ 5018, 5018, { 16, 19 } },	/* Maestro, as the single ones below */
	{ 5020, 5020, { 16, 19 } },	{ 5038, 5038, { 16, 19 } },
	{ 5100, 5599, { 16 } },					/* Mastercard */
	{ 5893, 5893, { 16, 19 } },	{ 6011, 6011, { 16 } }, /* Discover */
	{ 6200, 6299, { 16, 19 } },				/* UnionPay */
	{ 6304, 6304, { 16, 19 } },	{ 6440, 6599, { 16 } }, /* Discover */
	{ 6759, 6763, { 16, 19 } },
};

size_t gap_len(struct str text)
{
	const unsigned char *p = (const unsigned char *)text.p;

	if (text.len && (p[0] == ' ' || p[0] == '-' || p[0] == '+'))
		return 1;
	if (text.len >= 2 && p[0] == 0xc2 && p[1] == 0xa0)
		return 2;
	if (str_starts(text, STR("%20")))
		return 3;
	return text.len >= 3 && p[0] == 0xe2 && p[1] == 0x80 ? 3 : 0;
}

/* The next letter or digit that is not of a gap; 0: there is none. */
static char take_sign(struct str *text)
{
	char c;

	*text = str_from(*text, gap_len(*text));
	if (!text->len)
		return 0;
	c = text->p[0];
	*text = str_from(*text, 1);
	return c;
}

static bool is_card(struct str *found)
{
	unsigned int digit[CARD_MAX], cnt = 0, first, sum = 0;
	struct str rest = *found;
	char c;

	while ((c = take_sign(&rest))) {
		if (cnt == CARD_MAX)
			return false;
		digit[cnt++] = (unsigned int)(c - '0');
	}
	if (cnt < 13)
		return false;
	for (unsigned int i = 0; i < cnt; i++) {
		unsigned int d = digit[cnt - 1 - i] << (i & 1);

		sum += d > 9 ? d - 9 : d;
	}
	if (sum % 10)
		return false;
	first = digit[0] * 1000 + digit[1] * 100 + digit[2] * 10 + digit[3];
	for (size_t i = 0; i < ARRAY_LEN(networks); i++)
		if (first >= networks[i].from && first <= networks[i].to &&
		    memchr(networks[i].len, (int)cnt, sizeof(networks[i].len)))
			return true;
	return false;
}

bool is_card_int(int64_t number)
{
	char text[24];
	struct str digits = { text, 0 };

	if (number < CARD_INT_MIN || number > CARD_INT_MAX)
		return false;
	digits.len = (size_t)snprintf(text, sizeof(text), "%" PRId64, number);
	return is_card(&digits);
}

/* Country and length, from the registry of ISO 13616; sorted. */
static const char iban_countries[] =
	"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29"
	"ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20"
	"LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29"
	"PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20"
	"YE30";

static size_t iban_len(struct str found)
{
	for (const char *c = iban_countries; *c; c += 4)
		if (memcmp(c, found.p, 2) == 0)
			return (size_t)((c[2] - '0') * 10 + c[3] - '0');
	return 0;
}

/* Words behind it look like one more group of it: its country's length tells where it ends. */
static bool is_iban(struct str *found)
{
	char text[IBAN_MAX];
	size_t len = iban_len(*found), cnt = 0;
	struct str behind = *found;
	unsigned int rest = 0;

	while (cnt < len && (text[cnt] = take_sign(&behind)))
		cnt++;
	if (!len || cnt < len || (behind.len && !gap_len(behind)))
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[(i + 4) % len];

		rest = c <= '9' ? rest * 10 + (unsigned int)(c - '0')
				: rest * 100 + (unsigned int)(c - 'A') + 10;
		rest %= 97;
	}
	found->len -= behind.len;
	return rest == 1;
}

const struct builtin_rule builtin_rules[RULE_BUILTIN] = {
	[RULE_PRIVATE_KEY] = { .name = "private-key", .pattern = PRIVATE_KEY },
	[RULE_JWT] = { .name = "jwt", .pattern = JWT },
	[RULE_TOKEN] = { .name = "token", .pattern = TOKEN },
	[RULE_BEARER] = { .name = "bearer", .pattern = BEARER, .group = 1 },
	[RULE_HEADER] = { .name = "header", .pattern = HEADER, .group = 1 },
	[RULE_PASSWORD] = { .name = "password", .pattern = PASSWORD, .group = 1 },
	[RULE_EMAIL] = { .name = "email", .pattern = EMAIL },
	[RULE_CARD] = { .name = "card", .pattern = CARD, .compact = true, .check = is_card },
	[RULE_IBAN] = { .name = "iban", .pattern = IBAN, .compact = true, .check = is_iban },
	[RULE_CREDENTIAL] = { .name = "credential", .pattern = NULL },
};

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#ifndef REDACT_INTERNAL_H
#define REDACT_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include "core/books.h"
#include "core/buf.h"
#include "redact/redact.h"

#include <pcre2.h>

/* What one span's masked texts may take; past it they are masked whole. */
#define SCRATCH_MAX (4u << 20)
#define MASKED	    STR("REDACTED")
#define BIT(n)	    (UINT64_C(1) << (n))

enum sql_dialect {
	SQL_STANDARD = 0,
	SQL_BACKSLASH = 1 << 0,	     /* \ escapes in literals */
	SQL_DOUBLE_LITERAL = 1 << 1, /* "x" is a literal, not a name */
	SQL_HASH_COMMENT = 1 << 2,
	SQL_DOLLAR_QUOTE = 1 << 3,
	SQL_ORACLE_QUOTE = 1 << 4, /* q'[x]' */
	SQL_PROSE = 1 << 5,	   /* a message, not a statement: no comments in it */
};

#define DIALECT_STANDARD (SQL_DOLLAR_QUOTE | SQL_ORACLE_QUOTE)
#define DIALECT_MYSQL	 (SQL_BACKSLASH | SQL_DOUBLE_LITERAL | SQL_HASH_COMMENT)

struct str redact_sql_dialect(struct arena *mem, struct str text, unsigned int dialect);
/* A keyword that begins a statement, behind white space, comments and parentheses? */
bool sql_begins(struct str text);

/* A server's error message: quoted parts, from the first quote to the last, and numbers. */
struct str redact_message(struct arena *mem, struct str text);

/* User and password before each host in any text. */
struct str redact_userinfo(struct arena *mem, struct str text);

/* ---- rules ---- */

/* Their order is the order they are tried in: what holds others comes first. */
enum builtin {
	RULE_PRIVATE_KEY,
	RULE_JWT,
	RULE_TOKEN,
	RULE_BEARER,
	RULE_HEADER,
	RULE_PASSWORD,
	RULE_WORDS, /* the rules up to here begin with words: sight.c */
	RULE_EMAIL = RULE_WORDS,
	RULE_CARD,
	RULE_IBAN,
	RULE_CREDENTIAL, /* by the key alone */
	RULE_BUILTIN,	 /* the user's come from here on */
};

struct rule {
	struct str name;
	pcre2_code *code; /* NULL: none */
	uint32_t group;	  /* the part that is what it finds; 0: all */
	uint32_t min_len; /* shortest text it can match */
	size_t piece;	  /* bytes looked at in one go: bounds what a slow pattern costs */
	enum redact_action action;
	bool compact; /* hashed without the gaps between its groups */
	/* Is it one? May cut its end. NULL: always. */
	bool (*check)(struct str *found);
};

#define TRIGGERS (1u << 15)

struct key_entry {
	struct str key;
	enum redact_action action;
	bool is_glob;
};

struct key_list {
	struct key_entry *item;
	size_t cnt;
};

struct redact_rules {
	uint32_t refs;
	struct arena *mem;
	struct rule rule[RULE_BUILTIN + REDACT_RULES_MAX];
	uint32_t cnt;
	uint64_t users;	  /* bits of the user's rules */
	uint32_t min_len; /* shortest text that any rule can match */
	struct key_list allow, deny;
	bool can_hash;
	uint8_t hash_key[REDACT_HASH_KEY_LEN];
	uint8_t trigger[TRIGGERS]; /* three folded bytes -> bits of the rules they can begin */
	/* of all gates that share these rules */
	uint64_t changed, gave_up;
	struct gauge changed_gauge, gave_up_gauge;
};

/* From any thread. */
void rules_count(struct redact_rules *rules, uint64_t changed, uint64_t gave_up);

struct builtin_rule {
	const char *name;
	const char *pattern;
	uint32_t group;
	bool compact;
	bool (*check)(struct str *found);
};
extern const struct builtin_rule builtin_rules[RULE_BUILTIN];

/* Is the number a card's? For 14 to 16 digits; longer ones are ids far more often, and so are those
 * of 13, which no network gives out any more. */
#define CARD_INT_MIN 30000000000000 /* the first of Diners Club's */
#define CARD_INT_MAX 6999999999999999
bool is_card_int(int64_t number);
/* Bytes of a blank or dash that a number's groups may have between them, at the text's begin. */
size_t gap_len(struct str text);

void sight_init(uint8_t trigger[TRIGGERS]);
/* Bits of the rules that could match: one pass, no false no. */
uint64_t sight(const struct redact_rules *rules, struct str text);

/* ---- keys ---- */

enum key_kind {
	KEY_TEXT,    /* nothing known about it */
	KEY_ALLOWED, /* by the user, with all that is nested in it */
	KEY_SAFE,    /* not looked at: ids, enumerations */
	KEY_QUERY,
	KEY_PARAMETER,
	KEY_URL,
	KEY_HEADER,
	KEY_MESSAGE,
	KEY_STATEMENT, /* a query if it begins as SQL, else any text */
	KEY_COMMAND,   /* a command line or its arguments */
	KEY_SECRET,    /* texts in it go */
	KEY_DENIED,    /* all goes, numbers too */
};

struct verdict {
	uint8_t kind;	/* enum key_kind */
	uint8_t action; /* enum redact_action, of secret and denied ones */
	bool cards;	/* integers may be card numbers: the name says nothing else */
};

struct verdict key_verdict(const struct redact_rules *rules, struct str key);
/* Whether what carries this name is a secret: db.password, X-Api-Key, --token. */
bool name_is_secret(struct str name);
bool key_matches(struct str glob, struct str text);

/* ---- applying them ---- */

/* What matching needs; of one thread. */
struct scanner {
	const struct redact_rules *rules;
	pcre2_match_data *match;
	pcre2_match_context *limits;
	struct buf work;
	uint64_t gave_up; /* texts masked whole because a rule reached its limits */
};

int scanner_init(struct scanner *s, const struct redact_rules *rules);
void scanner_fini(struct scanner *s);
/* The text after the rules in 'which'. *ret_drop is set when a rule drops what holds it. */
struct str scanner_apply(struct scanner *s, struct arena *mem, uint64_t which, struct str text,
			 bool *ret_drop);
/* What stands for a whole text; the text itself when it is empty or masked already. */
struct str mask_whole(const struct redact_rules *rules, struct arena *mem,
		      enum redact_action action, struct str text, bool *ret_drop);

/* ---- the gate ---- */

enum system { SYSTEM_UNASKED, SYSTEM_NONE, SYSTEM_STANDARD_SQL, SYSTEM_OTHER, SYSTEM_REDIS };

#define KEYS_KNOWN  512
#define TEXTS_KNOWN 2048
#define RESOURCES   64

struct known_key {
	uint64_t hash;
	struct verdict verdict;
};

/* The same of the keys that come with every span, by the key itself: sooner than its hash. */
struct usual_key {
	struct verdict verdict;
	uint8_t len; /* 0: none */
	char text[32];
};
#define USUAL_KEYS    256u
#define USUAL_KEY_MIN 8u

/* What was read of a command line. */
struct command_flag;
struct command {
	struct str program;
	const struct command_flag *waits; /* the next word is this one's value */
};

/* What a span's resource and scope became; the references keep both resources as they are. */
struct dressed {
	struct resource *from;
	const struct scope *from_scope;
	struct resource *to;	      /* NULL: nothing in them had to change */
	const struct scope *to_scope; /* in to's arena */
	size_t bytes;
};

struct redact {
	struct redact_cfg cfg;
	struct span_sink out;
	struct redact_rules *rules;
	struct scanner scanner;
	struct arena *scratch;	 /* of one push */
	bool used;		 /* scratch holds something */
	bool failed;		 /* no room for a list: the span cannot be shown */
	bool drop;		 /* a rule drops the attribute in hand */
	const struct span *span; /* in hand */
	enum system system;	 /* its system, once somebody asked */
	/* Seen before, by hashes with a seed that nobody knows: what a key says, and which texts
	 * need no change. Places are pairs: the newer is the first, so that two that fall on the
	 * same place and come in turns do not drive each other out. */
	uint64_t seed;
	struct known_key keys[KEYS_KNOWN][2];
	struct usual_key usual[USUAL_KEYS];
	uint64_t clean[TEXTS_KNOWN][2];
	struct dressed dressed[RESOURCES];
	size_t dressed_bytes;
	struct books books;
};

/* A copy of a list of which something changes; NULL, and 'failed', without room. */
void *scratch_copy(struct redact *r, const void *p, size_t size);

/* Each masks in place what it is given; true when something is different now. */
bool mask_text(struct redact *r, enum key_kind kind, struct str *text);
/* A command line, or one of its arguments, without the passwords that flags of its program give. */
struct str mask_command(struct redact *r, struct command *c, struct str text);
struct str mask_argument(struct redact *r, struct command *c, struct str text);
/* A text that has no attribute to be dropped with. */
bool mask_plain(struct redact *r, enum key_kind kind, struct str *text);
bool mask_attrs(struct redact *r, struct attrs *attrs);
/* Sets both to what may be shown. */
bool mask_resource(struct redact *r, struct resource **resource, const struct scope **scope);
void resources_forget(struct redact *r);

/* ---- output: a prefix of the source for as long as they agree, then a copy ---- */

struct out {
	struct arena *mem;
	struct str src;
	char *p; /* NULL: the output is the first len bytes of src */
	size_t len;
	size_t size; /* most the output may take */
	bool failed; /* no memory: nothing of the text may be shown */
};

static inline struct out out_of(struct arena *mem, struct str src, size_t size)
{
	return (struct out){ .mem = mem, .src = src, .size = size };
}

void out_add(struct out *o, const char *p, size_t len);
/* A part of src, replaced by text: no copy where they are the same. */
void out_replace(struct out *o, const char *from, size_t len, struct str text);
/* Back to a length, to go on with other bytes than src has there. */
void out_cut(struct out *o, size_t len);
char out_last(const struct out *o); /* the last byte, a space when there is none */
/* The result; "?" alone when there was no memory. */
struct str out_end(const struct out *o);

#endif

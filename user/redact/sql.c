/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL without its literals. A lexer, no parser: it only has to know where literals begin and end,
 * in every dialect, and when in doubt it masks. The output is never longer than the text.
 */
#include "redact/internal.h"

#define NO_FOLD SIZE_MAX

struct lexer {
	const char *p;
	const char *end;
	unsigned int dialect; /* enum sql_dialect */
	struct out out;
	/* IN (?, ?, ?) is folded to IN (?) */
	bool after_in;	 /* the last token was IN */
	bool after_item; /* inside: the last token was ?, not a comma or the parenthesis */
	bool any_item;
	size_t fold_at; /* offset in the output of the parenthesis; NO_FOLD: not inside */
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
}

static bool is_word(char c)
{
	return is_letter(c) || is_digit(c) || c == '$';
}

static char at(const struct lexer *l, const char *p)
{
	return p < l->end ? *p : 0;
}

static void copy_to(struct lexer *l, const char *to)
{
	out_add(&l->out, l->p, (size_t)(to - l->p));
	l->p = to;
}

/* ---- folding ---- */

static void fold_end(struct lexer *l, struct str with)
{
	if (l->out.len - l->fold_at != with.len) {
		out_cut(&l->out, l->fold_at);
		out_add(&l->out, with.p, with.len);
	}
	l->fold_at = NO_FOLD;
}

/* A token other than white space was put out: '?' for a value, a word, or a single sign. */
static void fold_token(struct lexer *l, char token)
{
	bool was_in = l->after_in;

	l->after_in = false;
	if (token == '(' && was_in) {
		l->fold_at = l->out.len - 1;
		l->after_item = l->any_item = false;
	} else if (l->fold_at == NO_FOLD) {
		return;
	} else if (token == '?' && !l->after_item) {
		l->after_item = l->any_item = true;
	} else if (token == ',' && l->after_item) {
		l->after_item = false;
	} else if (token == ')' && l->after_item) {
		fold_end(l, STR("(?)"));
	} else if ((token != '-' && token != '+') || l->after_item) {
		l->fold_at = NO_FOLD;
	}
}

static void mask_to(struct lexer *l, const char *to)
{
	out_replace(&l->out, l->p, (size_t)(to - l->p), STR("?"));
	l->p = to;
	fold_token(l, '?');
}

/* ---- where tokens end ---- */

/* Past the closing quote of a literal or name that begins at p; the text's end when it is cut. */
static const char *quoted_end(const struct lexer *l, const char *p, bool backslash, bool *ret_cut)
{
	char quote = *p++;

	for (; p < l->end; p++) {
		if (*p == '\\' && backslash)
			p++;
		else if (*p == quote && at(l, p + 1) == quote)
			p++;
		else if (*p == quote)
			return p + 1;
	}
	*ret_cut = true;
	return l->end;
}

static const char *number_end(const struct lexer *l)
{
	const char *p = l->p;
	bool hex = *p == '0' && (at(l, p + 1) | 0x20) == 'x';

	for (; p < l->end; p++) {
		bool exponent = (*p | 0x20) == 'e' && !hex;

		if (exponent && (at(l, p + 1) == '-' || at(l, p + 1) == '+') &&
		    is_digit(at(l, p + 2)))
			p++;
		else if (*p == '\'' && (l->dialect & SQL_PROSE))
			continue; /* an apostrophe would be a quote without its word */
		else if ((!is_word(*p) && *p != '.') || *p == '$')
			break; /* $ may begin a quote */
	}
	return p;
}

/* $tag$ ... $tag$ from p on; NULL when no such quote begins there. */
static const char *dollar_end(const struct lexer *l)
{
	const char *p = l->p + 1;
	size_t tag;

	if (!(l->dialect & SQL_DOLLAR_QUOTE))
		return NULL;
	while (p < l->end && (is_letter(*p) || (is_digit(*p) && p > l->p + 1)))
		p++;
	if (at(l, p) != '$')
		return NULL;
	tag = (size_t)(++p - l->p);
	p = memmem(p, (size_t)(l->end - p), l->p, tag);
	return p ? p + tag : l->end;
}

/* q'[ ... ]' where p is at the quote. */
static const char *oracle_end(const struct lexer *l, const char *p)
{
	static const char open[] = "[{(<", close[] = "]})>";
	char end[2] = { at(l, p + 1), '\'' };
	const char *pair = end[0] ? strchr(open, end[0]) : NULL;

	if (pair)
		end[0] = close[pair - open];
	p = p + 2 < l->end ? memmem(p + 2, (size_t)(l->end - p - 2), end, 2) : NULL;
	return p ? p + 2 : l->end;
}

/* Does -- begin a comment here? MySQL asks for white space after it, lest 5--1 be cut. */
static bool is_dash_comment(const struct lexer *l)
{
	const char *p = l->p;

	if (p[0] != '-' || at(l, p + 1) != '-')
		return false;
	if (!(l->dialect & SQL_HASH_COMMENT))
		return true;
	while (p < l->end && *p == '-')
		p++;
	return p == l->end || !*p || !(is_word(*p) || strchr("'\"`(.@?+:", *p));
}

/* Past a comment that begins here, or NULL. */
static const char *comment_end(const struct lexer *l)
{
	const char *p = l->p;
	char next = at(l, p + 1);
	int depth = 1;

	if (l->dialect & SQL_PROSE)
		return NULL;
	if (is_dash_comment(l) || (*p == '#' && (l->dialect & SQL_HASH_COMMENT))) {
		p = memchr(p, '\n', (size_t)(l->end - p));
		return p ? p : l->end;
	}
	if (*p != '/' || next != '*')
		return NULL;
	for (p += 2; p < l->end && depth; p++) {
		if (*p == '*' && at(l, p + 1) == '/') {
			depth--;
			p++;
		} else if (*p == '/' && at(l, p + 1) == '*' && !(l->dialect & SQL_BACKSLASH)) {
			depth++; /* comments nest in the standard, not in MySQL */
			p++;
		}
	}
	return MIN(p, l->end);
}

/* ---- one token each ---- */

static void take_comment(struct lexer *l, const char *to)
{
	/* the words on either side must not grow together */
	if (!is_space(out_last(&l->out)) && to < l->end && !is_space(*to))
		out_add(&l->out, " ", 1);
	l->p = to;
}

/* The end of a literal whose prefix is the word up to p: E'x', N'x', U&'x', q'[x]'; or NULL. */
static const char *prefixed_end(const struct lexer *l, const char *p)
{
	char first = (char)(*l->p | 0x20);
	size_t len = (size_t)(p - l->p);
	bool cut;

	if (len > 2 || (l->dialect & SQL_PROSE))
		return NULL;
	if (len == 1 && first == 'u' && at(l, p) == '&' && at(l, p + 1) == '\'')
		return quoted_end(l, p + 1, false, &cut);
	if (at(l, p) != '\'')
		return NULL;
	if (len == 1 && strchr("ebxn", first))
		return quoted_end(l, p, first == 'e' || (l->dialect & SQL_BACKSLASH), &cut);
	if ((l->dialect & SQL_ORACLE_QUOTE) &&
	    (len == 1 ? first == 'q' : first == 'n' && (l->p[1] | 0x20) == 'q'))
		return oracle_end(l, p);
	return NULL;
}

static void take_word(struct lexer *l)
{
	const char *p = l->p, *literal_end;
	bool in;

	while (p < l->end && (is_word(*p) || *p == '@'))
		p++;
	literal_end = prefixed_end(l, p);
	if (literal_end) {
		mask_to(l, literal_end);
		return;
	}
	in = p - l->p == 2 && (l->p[0] | 0x20) == 'i' && (l->p[1] | 0x20) == 'n';
	copy_to(l, p);
	fold_token(l, 'w');
	l->after_in = in;
}

static void take_quoted(struct lexer *l)
{
	bool literal = *l->p == '\'' || (*l->p == '"' && (l->dialect & SQL_DOUBLE_LITERAL));
	bool cut = false;
	const char *to = quoted_end(l, l->p, literal && (l->dialect & SQL_BACKSLASH), &cut);

	if (literal || cut) {
		mask_to(l, to);
		return;
	}
	copy_to(l, to);
	fold_token(l, 'w');
}

/* ?, ?1, $1, :name and the operators that look like them. */
static void take_param(struct lexer *l)
{
	const char *p = l->p + 1;
	char token = *l->p;

	if (token == '$' && !is_digit(at(l, p))) {
		const char *to = dollar_end(l);
		if (to) {
			mask_to(l, to);
			return;
		}
	} else if (token == '?' || token == '$') {
		while (p < l->end && is_digit(*p))
			p++;
	} else if (token == ':' && at(l, p) == ':') {
		p++;
	} else if (token == ':' && is_letter(at(l, p))) {
		while (p < l->end && is_word(*p))
			p++;
	}
	token = token == '?' && p == l->p + 1 ? '?' : 'w';
	copy_to(l, p);
	fold_token(l, token);
}

static void take_token(struct lexer *l)
{
	const char *comment, *p = l->p;
	char c = *p, next = at(l, p + 1);

	if (is_space(c)) {
		while (p < l->end && is_space(*p))
			p++;
		copy_to(l, p);
	} else if (is_letter(c) || (c == '@' && (is_letter(next) || next == '@'))) {
		take_word(l);
	} else if (is_digit(c) || (c == '.' && is_digit(next))) {
		mask_to(l, number_end(l));
	} else if ((c == '\'' || c == '"' || c == '`') && !(l->dialect & SQL_PROSE)) {
		take_quoted(l);
	} else if (c == '?' || c == '$' || c == ':') {
		take_param(l);
	} else if ((c == '-' || c == '/' || c == '#') && (comment = comment_end(l))) {
		take_comment(l, comment);
	} else {
		copy_to(l, p + 1);
		fold_token(l, c);
	}
}

struct str redact_sql_dialect(struct arena *mem, struct str text, unsigned int dialect)
{
	struct lexer l = {
		.p = text.p,
		.end = text.p + text.len,
		.dialect = dialect,
		.out = out_of(mem, text, text.len),
		.fold_at = NO_FOLD,
	};

	if (!text.len)
		return text;
	while (l.p < l.end && !l.out.failed)
		take_token(&l);
	/* a list that was cut short */
	if (l.fold_at != NO_FOLD && l.any_item && !l.out.failed)
		fold_end(&l, STR("(?"));
	return out_end(&l.out);
}

/* Past white space, comments and parentheses. */
static struct str first_word(struct str text)
{
	struct lexer l = { .p = text.p, .end = text.p + text.len };
	const char *to = text.p, *end;

	while (to && l.p < l.end) {
		to = is_space(*l.p) || *l.p == '(' ? l.p + 1 : comment_end(&l);
		l.p = to ? to : l.p;
	}
	for (end = l.p; end < l.end && is_letter(*end);)
		end++;
	return (struct str){ l.p, end < l.end && is_space(*end) ? (size_t)(end - l.p) : 0 };
}

bool sql_begins(struct str text)
{
	static const char *const keywords[] = {
		"select", "insert",  "update",	"delete",  "with",   "replace",	 "merge", "upsert",
		"call",	  "exec",    "execute", "set",	   "create", "alter",	 "drop",  "grant",
		"values", "explain", "copy",	"declare", "begin",  "truncate", "do",	  "use",
	};
	struct str word;

	if (!text.len)
		return false;
	word = first_word(text);
	for (size_t i = 0; word.len && i < ARRAY_LEN(keywords); i++)
		if (str_eq_nocase(word, str_of(keywords[i])))
			return true;
	return false;
}

struct str redact_sql(struct arena *mem, struct str text)
{
	return redact_sql_dialect(mem, text, DIALECT_STANDARD);
}

struct str redact_mysql(struct arena *mem, struct str text)
{
	return redact_sql_dialect(mem, text, DIALECT_MYSQL);
}

struct str redact_message(struct arena *mem, struct str text)
{
	const char *end = text.p + text.len, *first = NULL, *last = NULL;
	struct out o = out_of(mem, text, text.len);

	for (const char *p = text.p; p < end; p++) {
		/* the apostrophe of "doesn't" quotes nothing */
		bool apostrophe = *p == '\'' && p > text.p && p[-1] == 'n' && p + 1 < end &&
				  p[1] == 't' && (p + 2 == end || !is_word(p[2]));

		if (apostrophe || !strchr("'\"`", *p) || !*p)
			continue;
		first = first ? first : p;
		last = p;
	}
	if (!first)
		return redact_sql_dialect(mem, text, SQL_PROSE);
	out_add(&o, text.p, (size_t)(first - text.p));
	out_add(&o, "?", 1);
	if (last > first)
		out_add(&o, last + 1, (size_t)(end - last - 1));
	return redact_sql_dialect(mem, out_end(&o), SQL_PROSE);
}

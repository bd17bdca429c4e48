/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads SQL just as far as a span's name needs: the verb, and the table where there is exactly
 * one. Whatever is not plain leaves the field empty: no name is better than a wrong one.
 */
#include "proto/sql.h"

#include <ctype.h>

#define DEPTH_MAX 31

enum verb_class {
	VERB_PLAIN,  /* no table is looked for */
	VERB_QUERY,  /* SELECT: FROM name */
	VERB_DELETE, /* DELETE [FROM] name */
	VERB_INTO,   /* INSERT [INTO] name, MERGE */
	VERB_TARGET, /* UPDATE name, TRUNCATE [TABLE] name */
	VERB_COPY,   /* COPY name */
	VERB_DEFINE, /* CREATE TABLE name */
	VERB_LOAD,   /* LOAD DATA ... INTO TABLE name */
	VERB_CALL,   /* CALL procedure */
	VERB_WITH,   /* the verb after the common table expressions counts */
};

struct verb {
	struct str word;
	enum verb_class class;
};

#define VERB(word, class)                         \
	{                                         \
		{ word, sizeof(word) - 1 }, class \
	}
static const struct verb verbs[] = {
	VERB("SELECT", VERB_QUERY),   VERB("INSERT", VERB_INTO),
	VERB("UPDATE", VERB_TARGET),  VERB("DELETE", VERB_DELETE),
	VERB("BEGIN", VERB_PLAIN),    VERB("COMMIT", VERB_PLAIN),
	VERB("ROLLBACK", VERB_PLAIN), VERB("SET", VERB_PLAIN),
	VERB("SHOW", VERB_PLAIN),     VERB("WITH", VERB_WITH),
	VERB("REPLACE", VERB_INTO),   VERB("MERGE", VERB_INTO),
	VERB("CALL", VERB_CALL),      VERB("COPY", VERB_COPY),
	VERB("START", VERB_PLAIN),    VERB("END", VERB_PLAIN),
	VERB("ABORT", VERB_PLAIN),    VERB("SAVEPOINT", VERB_PLAIN),
	VERB("RELEASE", VERB_PLAIN),  VERB("EXPLAIN", VERB_PLAIN),
	VERB("ANALYZE", VERB_PLAIN),  VERB("VACUUM", VERB_PLAIN),
	VERB("CREATE", VERB_DEFINE),  VERB("ALTER", VERB_DEFINE),
	VERB("DROP", VERB_DEFINE),    VERB("TRUNCATE", VERB_TARGET),
	VERB("GRANT", VERB_PLAIN),    VERB("REVOKE", VERB_PLAIN),
	VERB("LISTEN", VERB_PLAIN),   VERB("NOTIFY", VERB_PLAIN),
	VERB("UNLISTEN", VERB_PLAIN), VERB("PREPARE", VERB_PLAIN),
	VERB("EXECUTE", VERB_PLAIN),  VERB("DEALLOCATE", VERB_PLAIN),
	VERB("DECLARE", VERB_PLAIN),  VERB("FETCH", VERB_PLAIN),
	VERB("MOVE", VERB_PLAIN),     VERB("CLOSE", VERB_PLAIN),
	VERB("DISCARD", VERB_PLAIN),  VERB("RESET", VERB_PLAIN),
	VERB("LOCK", VERB_PLAIN),     VERB("UNLOCK", VERB_PLAIN),
	VERB("VALUES", VERB_PLAIN),   VERB("TABLE", VERB_PLAIN),
	VERB("DO", VERB_PLAIN),	      VERB("COMMENT", VERB_PLAIN),
	VERB("REINDEX", VERB_PLAIN),  VERB("CLUSTER", VERB_PLAIN),
	VERB("REFRESH", VERB_PLAIN),  VERB("CHECKPOINT", VERB_PLAIN),
	VERB("LOAD", VERB_LOAD),      VERB("USE", VERB_PLAIN),
	VERB("DESCRIBE", VERB_PLAIN), VERB("DESC", VERB_PLAIN),
	VERB("HANDLER", VERB_PLAIN),  VERB("KILL", VERB_PLAIN),
	VERB("FLUSH", VERB_PLAIN),    VERB("OPTIMIZE", VERB_PLAIN),
	VERB("REPAIR", VERB_PLAIN),   VERB("CHECK", VERB_PLAIN),
	VERB("RENAME", VERB_PLAIN),   VERB("CHANGE", VERB_PLAIN),
	VERB("PURGE", VERB_PLAIN),    VERB("STOP", VERB_PLAIN),
	VERB("XA", VERB_PLAIN),	      VERB("REASSIGN", VERB_PLAIN),
	VERB("INSTALL", VERB_PLAIN),  VERB("UNINSTALL", VERB_PLAIN),
	VERB("SIGNAL", VERB_PLAIN),   VERB("HELP", VERB_PLAIN),
	VERB("CHECKSUM", VERB_PLAIN), VERB("CACHE", VERB_PLAIN),
};

enum token { TOKEN_END, TOKEN_WORD, TOKEN_QUOTED, TOKEN_LITERAL, TOKEN_MARK };

struct scan {
	const char *p;
	const char *end;
	bool mysql;
	enum token token;
	struct str word; /* identifiers without their quotes; a mark is one byte */
};

static bool word_byte(unsigned char b)
{
	return isalnum(b) || b == '_' || b == '$' || b >= 0x80;
}

/* Past the closing quote; a doubled quote belongs to the text. */
static const char *quoted_end(const char *p, const char *end, char quote, bool backslash)
{
	while (p < end) {
		if (*p == '\\' && backslash)
			p++;
		else if (*p == quote && p + 1 < end && p[1] == quote)
			p++;
		else if (*p == quote)
			return p + 1;
		p++;
	}
	return end;
}

/* Past a $tag$ ... $tag$ text that begins at p, or NULL when none begins there. */
static const char *dollar_end(const char *p, const char *end)
{
	const char *tag_end = p + 1;
	size_t tag_len;
	const char *at;

	while (tag_end < end && *tag_end != '$' && word_byte((unsigned char)*tag_end))
		tag_end++;
	if (tag_end == end || *tag_end != '$' || isdigit((unsigned char)p[1]))
		return NULL;
	tag_len = (size_t)(tag_end + 1 - p);
	at = memmem(tag_end + 1, (size_t)(end - tag_end - 1), p, tag_len);
	return at ? at + tag_len : end;
}

/* Past a comment that begins at p, or NULL. */
static const char *comment_end(const char *p, const char *end, bool mysql)
{
	size_t left = (size_t)(end - p);
	const char *at;
	int depth = 0;

	if ((p[0] == '#' && mysql) || (left >= 2 && p[0] == '-' && p[1] == '-' &&
				       (!mysql || left == 2 || isspace((unsigned char)p[2])))) {
		at = memchr(p, '\n', left);
		return at ? at + 1 : end;
	}
	if (left < 2 || p[0] != '/' || p[1] != '*')
		return NULL;
	for (; p + 1 < end; p++) {
		if (p[0] == '/' && p[1] == '*' && (!mysql || depth == 0)) {
			depth++;
			p++;
		} else if (p[0] == '*' && p[1] == '/') {
			p++;
			if (--depth == 0)
				return p + 1;
		}
	}
	return end;
}

static void scan_word(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && word_byte((unsigned char)*s->p))
		s->p++;
	s->word = (struct str){ from, (size_t)(s->p - from) };
	s->token = TOKEN_WORD;
	/* PostgreSQL: E'...' takes backslashes */
	if (!s->mysql && s->word.len == 1 && (*from == 'E' || *from == 'e') && s->p < s->end &&
	    *s->p == '\'') {
		s->p = quoted_end(s->p + 1, s->end, '\'', true);
		s->token = TOKEN_LITERAL;
	}
}

static void scan_quoted(struct scan *s, char quote)
{
	const char *from = s->p + 1;

	s->p = quoted_end(from, s->end, quote, s->mysql && quote != '`');
	s->token = quote == '\'' ? TOKEN_LITERAL : TOKEN_QUOTED;
	s->word = (struct str){ from, s->p > from ? (size_t)(s->p - 1 - from) : 0 };
}

static void scan_next(struct scan *s)
{
	const char *after;

	for (;;) {
		while (s->p < s->end && isspace((unsigned char)*s->p))
			s->p++;
		if (s->p == s->end) {
			s->token = TOKEN_END;
			return;
		}
		after = comment_end(s->p, s->end, s->mysql);
		if (!after)
			break;
		s->p = after;
	}
	if (*s->p == '\'' || *s->p == '"' || *s->p == '`') {
		scan_quoted(s, *s->p);
		return;
	}
	if (isdigit((unsigned char)*s->p)) {
		scan_word(s);
		s->token = TOKEN_LITERAL;
		return;
	}
	after = *s->p == '$' && !s->mysql && s->p + 1 < s->end ? dollar_end(s->p, s->end) : NULL;
	if (after) {
		s->p = after;
		s->token = TOKEN_LITERAL;
	} else if (word_byte((unsigned char)*s->p)) {
		scan_word(s);
	} else {
		s->word = (struct str){ s->p, 1 };
		s->token = TOKEN_MARK;
		s->p++;
	}
}

static bool is_word(const struct scan *s, const char *word)
{
	return s->token == TOKEN_WORD && str_eq_nocase(s->word, str_of(word));
}

static bool is_one_of(const struct scan *s, const char *const *words)
{
	for (; *words; words++)
		if (is_word(s, *words))
			return true;
	return false;
}

static bool is_mark(const struct scan *s, char mark)
{
	return s->token == TOKEN_MARK && s->word.p[0] == mark;
}

static const struct verb *find_verb(const struct scan *s)
{
	if (s->token != TOKEN_WORD)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (str_eq_nocase(s->word, verbs[i].word))
			return &verbs[i];
	return NULL;
}

/* From WITH on to the verb of the statement itself. */
static const struct verb *main_verb(struct scan *s)
{
	static const char *const main_verbs[] = { "SELECT", "INSERT", "UPDATE",
						  "DELETE", "MERGE",  NULL };
	int depth = 0;

	for (scan_next(s); s->token != TOKEN_END; scan_next(s)) {
		if (is_mark(s, '('))
			depth++;
		else if (is_mark(s, ')'))
			depth--;
		else if (depth == 0 && is_one_of(s, main_verbs))
			return find_verb(s);
	}
	return NULL;
}

/* Looks for the tables of a statement. */
struct search {
	struct scan scan;
	enum verb_class class;
	struct str table;
	uint32_t tables;  /* found; 2 stands for "not just one" */
	uint32_t selects; /* bit per depth: a SELECT was seen there */
	int depth;
	bool expect; /* the next name is a table's */
	bool listed; /* in a list of tables, where a comma brings another */
	int list_depth;
	bool cut;	     /* the text's last word may be half a word */
	bool after_distinct; /* IS DISTINCT FROM names no table */
};

static void search_depth(struct search *f, int step)
{
	f->depth += step;
	if (f->depth < 0) { /* of parentheses around the whole */
		f->depth = 0;
	} else if (f->depth > DEPTH_MAX) {
		f->depth = 0;
		f->tables = 2;
	}
	if (step > 0)
		f->selects &= ~(1u << f->depth);
}

/* A dotted name begins at the current token; leaves the scan after it. */
static void search_name(struct search *f)
{
	struct scan *s = &f->scan;
	const char *from = s->word.p;
	bool quoted = s->token == TOKEN_QUOTED;
	struct str name = s->word;

	scan_next(s);
	while (is_mark(s, '.')) {
		scan_next(s);
		if (s->token != TOKEN_WORD && s->token != TOKEN_QUOTED)
			break;
		/* schema.table stays as it is written; with quotes only the last part does */
		quoted = quoted || s->token == TOKEN_QUOTED;
		name = quoted ? s->word
			      : (struct str){ from, (size_t)(s->word.p + s->word.len - from) };
		scan_next(s);
	}
	f->expect = false;
	f->listed = f->class != VERB_DEFINE;
	f->list_depth = f->depth;
	f->tables++;
	/* FROM f(...) is a function, INSERT INTO t (...) a table */
	if (is_mark(s, '(') && (f->class == VERB_QUERY || f->class == VERB_DELETE))
		f->tables = 2;
	/* DROP TABLE a, b; but ALTER TABLE a ADD b, ADD c */
	if (f->class == VERB_DEFINE && is_mark(s, ','))
		f->tables = 2;
	if (name.len > SQL_NAME_MAX || !name.len || (f->cut && s->token == TOKEN_END))
		f->tables = 2;
	f->table = name;
}

static void search_keyword(struct search *f)
{
	static const char *const list_ends[] = { "WHERE", "SET",   "VALUES",	"VALUE",
						 "ORDER", "GROUP", "LIMIT",	"HAVING",
						 "FOR",	  "ON",	   "RETURNING", NULL };
	static const char *const several[] = {
		"JOIN", "UNION", "INTERSECT", "EXCEPT", "USING", NULL
	};
	struct scan *s = &f->scan;

	if (is_one_of(s, list_ends)) {
		f->listed = false;
	} else if (is_one_of(s, several)) {
		f->tables = 2;
	} else if (is_word(s, "SELECT")) {
		f->selects |= 1u << f->depth;
		f->listed = false;
	} else if (is_word(s, "FROM") && !f->after_distinct) {
		bool deletes = f->class == VERB_DELETE && f->depth == 0;
		bool updates = f->class == VERB_TARGET && f->depth == 0;
		if (deletes || updates || f->selects & 1u << f->depth)
			f->expect = true;
	} else if (is_word(s, "INTO")) {
		if (f->class == VERB_LOAD)
			f->expect = true;
		else if (f->class == VERB_QUERY)
			f->tables = 2;
	}
	f->after_distinct = is_word(s, "DISTINCT");
}

static void search_mark(struct search *f)
{
	struct scan *s = &f->scan;

	if (is_mark(s, '(')) {
		if (f->expect)
			f->tables = 2;
		f->expect = false;
		search_depth(f, 1);
	} else if (is_mark(s, ')')) {
		search_depth(f, -1);
	} else if (is_mark(s, ',') && f->listed && f->depth == f->list_depth) {
		f->tables = 2;
	}
}

/* Words that may stand between the verb and the table's name. */
static bool search_modifier(const struct search *f)
{
	static const char *const modifiers[] = { "ONLY",   "INTO",	   "TABLE",
						 "IF",	   "NOT",	   "EXISTS",
						 "IGNORE", "LOW_PRIORITY", "HIGH_PRIORITY",
						 "QUICK",  "DELAYED",	   NULL };

	if (f->class == VERB_QUERY || f->class == VERB_DELETE)
		return is_word(&f->scan, "ONLY");
	return is_one_of(&f->scan, modifiers);
}

/* The scan stands on the verb. */
static void search_tables(struct search *f)
{
	struct scan *s = &f->scan;

	f->expect = f->class == VERB_INTO || f->class == VERB_TARGET || f->class == VERB_COPY ||
		    f->class == VERB_CALL;
	f->selects = f->class == VERB_QUERY;
	scan_next(s);
	while (s->token != TOKEN_END && f->tables < 2) {
		if (is_mark(s, ';')) {
			scan_next(s);
			if (s->token != TOKEN_END && !is_mark(s, ';'))
				f->tables = 2;
			continue;
		}
		if (f->class == VERB_DEFINE && !f->tables && is_word(s, "TABLE"))
			f->expect = true;
		if (s->token == TOKEN_MARK) {
			search_mark(f);
		} else if (f->expect && s->token != TOKEN_LITERAL && !search_modifier(f)) {
			search_name(f);
			continue;
		} else if (s->token == TOKEN_WORD) {
			search_keyword(f);
		}
		scan_next(s);
	}
}

/* CREATE TABLE and its like say TABLE within their first words; CREATE INDEX ... does not. */
static bool defines_table(struct scan s)
{
	static const char *const before[] = { "TEMP",	 "TEMPORARY", "UNLOGGED", "GLOBAL", "LOCAL",
					      "FOREIGN", "OR",	      "REPLACE",  NULL };

	do
		scan_next(&s);
	while (is_one_of(&s, before));
	return is_word(&s, "TABLE");
}

void sql_summarize(struct str text, uint32_t flags, struct sql_summary *ret)
{
	struct search f = { .cut = flags & SQL_CUT };
	const struct verb *verb;

	*ret = (struct sql_summary){ .operation = { NULL, 0 } };
	if (!text.len)
		return;
	f.scan = (struct scan){ .p = text.p, .end = text.p + text.len, .mysql = flags & SQL_MYSQL };
	do
		scan_next(&f.scan);
	while (is_mark(&f.scan, '(') || is_mark(&f.scan, ';'));
	verb = find_verb(&f.scan);
	if (verb && verb->class == VERB_WITH) {
		verb = main_verb(&f.scan);
		ret->operation =
			verb && !(f.cut && f.scan.p == f.scan.end) ? verb->word : STR("WITH");
		return;
	}
	if (!verb || (f.cut && f.scan.p == f.scan.end))
		return;
	ret->operation = verb->word;
	f.class = verb->class;
	if (f.class == VERB_PLAIN || (f.class == VERB_DEFINE && !defines_table(f.scan)))
		return;
	search_tables(&f);
	if (f.tables != 1 || (f.cut && f.class == VERB_QUERY))
		return;
	if (f.class == VERB_CALL)
		ret->procedure = f.table;
	else
		ret->collection = f.table;
}

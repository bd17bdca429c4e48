/* SPDX-License-Identifier: Apache-2.0 */
/* TraceQL's words. */
#include "api/traceql_ast.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* Longest first where one begins another. */
static const struct {
	const char *text;
	enum op op;
} operators[] = {
	{ "!>>", OP_NOT_DESC },
	{ "!<<", OP_NOT_ANCE },
	{ "&>>", OP_UNION_DESC },
	{ "&<<", OP_UNION_ANCE },
	{ "&&", OP_AND },
	{ "||", OP_OR },
	{ "!=", OP_NE },
	{ "!~", OP_NRE },
	{ "!>", OP_NOT_CHILD },
	{ "!<", OP_NOT_PARENT },
	{ "=~", OP_RE },
	{ ">=", OP_GE },
	{ "<=", OP_LE },
	{ ">>", OP_DESC },
	{ "<<", OP_ANCE },
	{ "&>", OP_UNION_CHILD },
	{ "&<", OP_UNION_PARENT },
	{ "&~", OP_UNION_SIBLING },
	{ "=", OP_EQ },
	{ "<", OP_LT },
	{ ">", OP_GT },
	{ "~", OP_SIBLING },
	{ "+", OP_ADD },
	{ "-", OP_SUB },
	{ "*", OP_MUL },
	{ "/", OP_DIV },
	{ "%", OP_MOD },
	{ "^", OP_POW },
	{ "!", OP_NOT },
};

static const struct {
	const char *name;
	enum field_kind kind;
} scopes[] = {
	{ "span", FIELD_SPAN_ATTR },   { "resource", FIELD_RESOURCE_ATTR },
	{ "event", FIELD_EVENT_ATTR }, { "instrumentation", FIELD_SCOPE_ATTR },
	{ "link", FIELD_LINK_ATTR },
};

static const struct {
	const char *unit;
	double ns;
} units[] = {
	{ "ns", 1 },   { "us", 1e3 },	{ "\xc2\xb5s", 1e3 }, { "ms", 1e6 },	 { "s", 1e9 },
	{ "m", 6e10 }, { "h", 3600e9 }, { "d", 86400e9 },     { "w", 604800e9 },
};

#define FIELD(k, t)                                                 \
	{                                                           \
		.ask = ASK_FIELD, .field = { .kind = k }, .type = t \
	}
#define PLACE(a, t)                 \
	{                           \
		.ask = a, .type = t \
	}

static const struct {
	const char *scope, *name;
	struct tql_field field;
} intrinsics[] = {
	{ "", "duration", FIELD(FIELD_DURATION, TYPE_DURATION) },
	{ "", "name", FIELD(FIELD_NAME, TYPE_STRING) },
	{ "", "status", FIELD(FIELD_STATUS, TYPE_STATUS) },
	{ "", "statusMessage", FIELD(FIELD_STATUS_MESSAGE, TYPE_STRING) },
	{ "", "kind", FIELD(FIELD_KIND, TYPE_KIND) },
	{ "", "parent", PLACE(ASK_PARENT, TYPE_ANY) },
	{ "", "childCount", PLACE(ASK_CHILDREN, TYPE_NUMBER) },
	{ "", "rootName", PLACE(ASK_ROOT_NAME, TYPE_STRING) },
	{ "", "rootServiceName", PLACE(ASK_ROOT_SERVICE, TYPE_STRING) },
	{ "", "traceDuration", PLACE(ASK_TRACE_DURATION, TYPE_DURATION) },
	{ "", "nestedSetLeft", PLACE(ASK_SET_LEFT, TYPE_NUMBER) },
	{ "", "nestedSetRight", PLACE(ASK_SET_RIGHT, TYPE_NUMBER) },
	{ "", "nestedSetParent", PLACE(ASK_SET_PARENT, TYPE_NUMBER) },
	{ "span", "duration", FIELD(FIELD_DURATION, TYPE_DURATION) },
	{ "span", "name", FIELD(FIELD_NAME, TYPE_STRING) },
	{ "span", "status", FIELD(FIELD_STATUS, TYPE_STATUS) },
	{ "span", "statusMessage", FIELD(FIELD_STATUS_MESSAGE, TYPE_STRING) },
	{ "span", "kind", FIELD(FIELD_KIND, TYPE_KIND) },
	{ "span", "id", FIELD(FIELD_SPAN_ID, TYPE_STRING) },
	{ "span", "parentID", FIELD(FIELD_PARENT_ID, TYPE_STRING) },
	{ "span", "childCount", PLACE(ASK_CHILDREN, TYPE_NUMBER) },
	{ "trace", "duration", PLACE(ASK_TRACE_DURATION, TYPE_DURATION) },
	{ "trace", "rootName", PLACE(ASK_ROOT_NAME, TYPE_STRING) },
	{ "trace", "rootService", PLACE(ASK_ROOT_SERVICE, TYPE_STRING) },
	{ "trace", "id", FIELD(FIELD_TRACE_ID, TYPE_STRING) },
	{ "event", "name", FIELD(FIELD_EVENT_NAME, TYPE_STRING) },
	{ "event", "timeSinceStart", PLACE(ASK_EVENT_SINCE_START, TYPE_DURATION) },
	{ "link", "traceID", PLACE(ASK_LINK_TRACE_ID, TYPE_STRING) },
	{ "link", "spanID", PLACE(ASK_LINK_SPAN_ID, TYPE_STRING) },
	{ "instrumentation", "name", FIELD(FIELD_SCOPE_NAME, TYPE_STRING) },
	{ "instrumentation", "version", FIELD(FIELD_SCOPE_VERSION, TYPE_STRING) },
};

const struct tql_field *intrinsic_find(struct str scope, struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(intrinsics); i++)
		if (str_eq(str_of(intrinsics[i].scope), scope) &&
		    str_eq(str_of(intrinsics[i].name), name))
			return &intrinsics[i].field;
	return NULL;
}

/* A lexer reads the parser's text from 'pos' on. */
struct lexer {
	struct parser *p;
	uint32_t pos;
	char *out; /* what is unescaped, never more than the text */
	size_t out_len;
};

static int peek(const struct lexer *l, uint32_t ahead)
{
	const struct str *text = &l->p->text;

	return l->pos + ahead < text->len ? (unsigned char)text->p[l->pos + ahead] : 0;
}

static bool at_end(const struct lexer *l)
{
	return l->pos >= l->p->text.len;
}

/* False in a comment that does not end. */
static bool skip_blank(struct lexer *l)
{
	while (!at_end(l)) {
		uint32_t begin = l->pos;

		if (isspace(peek(l, 0))) {
			l->pos++;
		} else if (peek(l, 0) == '/' && peek(l, 1) == '/') {
			while (!at_end(l) && peek(l, 0) != '\n')
				l->pos++;
		} else if (peek(l, 0) == '/' && peek(l, 1) == '*') {
			for (l->pos += 2; peek(l, 0) != '*' || peek(l, 1) != '/'; l->pos++)
				if (at_end(l))
					return parser_fail(l->p, TRACEQL_SYNTAX, begin,
							   "the comment does not end");
			l->pos += 2;
		} else {
			break;
		}
	}
	return true;
}

/* The character after a backslash; -1: none that is known. */
static int unescape(int c)
{
	switch (c) {
	case 'n': return '\n';
	case 't': return '\t';
	case 'r': return '\r';
	case '"':
	case '\\': return c;
	default: return -1;
	}
}

/* What is between two quotes, to out. */
static bool take_quoted(struct lexer *l)
{
	uint32_t begin = l->pos++;

	for (; !at_end(l) && peek(l, 0) != '"'; l->pos++) {
		int c = peek(l, 0);

		if (c == '\\') {
			c = unescape(peek(l, 1));
			if (c < 0)
				return parser_fail(
					l->p, TRACEQL_SYNTAX, l->pos,
					"unknown escape; \\\" \\\\ \\n \\r \\t are known");
			l->pos++;
		}
		l->out[l->out_len++] = (char)c;
	}
	if (at_end(l))
		return parser_fail(l->p, TRACEQL_SYNTAX, begin, "the string does not end");
	l->pos++;
	return true;
}

static bool lex_string(struct lexer *l, struct word *w)
{
	size_t begin = l->out_len;

	w->type = WORD_STR;
	if (!take_quoted(l))
		return false;
	w->str = (struct str){ l->out + begin, l->out_len - begin };
	return true;
}

static bool lex_raw_string(struct lexer *l, struct word *w)
{
	struct str rest = str_from(l->p->text, l->pos + 1);
	ptrdiff_t len = str_find(rest, '`');

	if (len < 0)
		return parser_fail(l->p, TRACEQL_SYNTAX, l->pos, "the string does not end");
	w->type = WORD_STR;
	w->str = (struct str){ rest.p, (size_t)len };
	l->pos += (uint32_t)len + 2;
	return true;
}

static double take_unit(struct lexer *l)
{
	struct str rest = str_from(l->p->text, l->pos), found = { NULL, 0 };
	double ns = 0;

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		struct str unit = str_of(units[i].unit);

		if (unit.len > found.len && str_starts(rest, unit)) {
			found = unit;
			ns = units[i].ns;
		}
	}
	l->pos += (uint32_t)found.len;
	return ns;
}

/* Digits, perhaps a fraction. False: no digits. */
static bool take_number(struct lexer *l, double *ret, struct str *ret_text, bool *ret_whole)
{
	uint32_t begin = l->pos;
	char text[64];

	while (isdigit(peek(l, 0)))
		l->pos++;
	*ret_whole = true;
	if (peek(l, 0) == '.' && isdigit(peek(l, 1))) {
		*ret_whole = false;
		for (l->pos++; isdigit(peek(l, 0));)
			l->pos++;
	}
	*ret_text = (struct str){ l->p->text.p + begin, l->pos - begin };
	if (!ret_text->len || ret_text->len >= sizeof(text))
		return false;
	memcpy(text, ret_text->p, ret_text->len);
	text[ret_text->len] = 0;
	*ret = strtod(text, NULL);
	return true;
}

static bool lex_number(struct lexer *l, struct word *w)
{
	double sum = 0, v, ns;
	struct str text;
	uint64_t u;
	bool whole;

	w->type = WORD_DURATION;
	while (take_number(l, &v, &text, &whole)) {
		ns = take_unit(l);
		if (ns == 0 && w->type == WORD_DURATION && sum == 0)
			w->type = WORD_NUMBER;
		else if (ns == 0)
			return parser_fail(l->p, TRACEQL_SYNTAX, l->pos, "expected a unit of time");
		sum += ns == 0 ? v : v * ns;
		if (w->type == WORD_NUMBER)
			break;
	}
	if (l->pos == w->at || isalnum(peek(l, 0)) || peek(l, 0) == '_')
		return parser_fail(l->p, TRACEQL_SYNTAX, w->at, "this is not a number");
	if (w->type == WORD_DURATION && sum > 9.2e18)
		return parser_fail(l->p, TRACEQL_SYNTAX, w->at, "this duration is too long");
	if (w->type == WORD_DURATION)
		w->number = (struct value){ .type = VALUE_INT, .i = (int64_t)(sum + 0.5) };
	else if (whole && str_to_u64(text, &u) && u <= INT64_MAX)
		w->number = (struct value){ .type = VALUE_INT, .i = (int64_t)u };
	else
		w->number = (struct value){ .type = VALUE_DOUBLE, .d = sum };
	return true;
}

static bool in_key(int c)
{
	return c && !isspace(c) && !strchr("{}()=~!<>&|^,", c);
}

/* The name of an attribute: parts of it may be quoted. */
static bool take_key(struct lexer *l, struct str *ret_key)
{
	size_t begin = l->out_len;
	int first = peek(l, 0);

	if (!in_key(first) || isdigit(first) || strchr(".-/\\", first))
		return parser_fail(l->p, TRACEQL_SYNTAX, l->pos,
				   "expected the name of an attribute");
	while (in_key(peek(l, 0))) {
		if (peek(l, 0) != '"')
			l->out[l->out_len++] = l->p->text.p[l->pos++];
		else if (!take_quoted(l))
			return false;
	}
	*ret_key = (struct str){ l->out + begin, l->out_len - begin };
	return true;
}

/* Whether 'scope' and a dot are next; they are taken then. */
static bool take_scope(struct lexer *l, const char *scope)
{
	struct str rest = str_from(l->p->text, l->pos), name = str_of(scope);

	if (!str_starts(rest, name) || rest.len == name.len || rest.p[name.len] != '.')
		return false;
	l->pos += (uint32_t)name.len + 1;
	return true;
}

static bool take_any_scope(struct lexer *l, struct tql_field *f)
{
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		if (take_scope(l, scopes[i].name)) {
			f->field.kind = scopes[i].kind;
			return true;
		}
	}
	return false;
}

static bool finish_field(struct lexer *l, struct word *w, struct tql_field *f)
{
	struct traceql *q = l->p->q;

	w->type = WORD_FIELD;
	w->field = f;
	f->text = (struct str){ l->p->text.p + w->at, l->pos - w->at };
	if (q->field_cnt < ARRAY_LEN(q->fields))
		q->fields[q->field_cnt++] = f;
	return true;
}

/* .key, scope.key, parent.key, parent.scope.key; 0 when it is none of them, -1 when it is wrong. */
static int lex_attribute(struct lexer *l, struct word *w)
{
	struct tql_field f = { .ask = ASK_FIELD, .field = { .kind = FIELD_ATTR } }, *copy;

	if (peek(l, 0) == '.') {
		l->pos++;
	} else if (take_scope(l, "parent")) {
		f.of_parent = true;
		take_any_scope(l, &f);
	} else if (!take_any_scope(l, &f)) {
		return 0;
	}
	if (!take_key(l, &f.field.key))
		return -1;
	if (f.field.kind == FIELD_RESOURCE_ATTR && str_eq(f.field.key, STR("service.name")))
		f.field = (struct field){ .kind = FIELD_SERVICE };
	copy = parser_alloc(l->p, sizeof(*copy));
	if (!copy)
		return -1;
	*copy = f;
	return finish_field(l, w, copy) ? 1 : -1;
}

static struct str take_name(struct lexer *l)
{
	uint32_t begin = l->pos;

	while (isalnum(peek(l, 0)) || peek(l, 0) == '_')
		l->pos++;
	return (struct str){ l->p->text.p + begin, l->pos - begin };
}

/* A keyword, or an intrinsic field with or without its scope. */
static bool lex_name(struct lexer *l, struct word *w)
{
	struct str scope = { NULL, 0 }, name = take_name(l);
	const struct tql_field *known;
	struct tql_field *copy;

	w->type = WORD_NAME;
	w->str = name;
	if (peek(l, 0) == ':' && isalpha(peek(l, 1))) {
		l->pos++;
		scope = name;
		name = take_name(l);
	}
	known = intrinsic_find(scope, name);
	if (!known && scope.p)
		return parser_fail(l->p, TRACEQL_SYNTAX, w->at, "there is no " STR_FMT ":" STR_FMT,
				   STR_ARG(scope), STR_ARG(name));
	if (!known)
		return true;
	copy = parser_alloc(l->p, sizeof(*copy));
	if (!copy)
		return false;
	*copy = *known;
	return finish_field(l, w, copy);
}

static bool lex_operator(struct lexer *l, struct word *w)
{
	struct str rest = str_from(l->p->text, l->pos);

	for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
		struct str text = str_of(operators[i].text);

		if (!str_starts(rest, text))
			continue;
		w->type = WORD_OP;
		w->op = operators[i].op;
		l->pos += (uint32_t)text.len;
		return true;
	}
	return parser_fail(l->p, TRACEQL_SYNTAX, l->pos, "this character has no meaning here");
}

static bool lex_word(struct lexer *l, struct word *w)
{
	int c = peek(l, 0), attribute;

	w->at = l->pos;
	if (at_end(l)) {
		w->type = WORD_END;
		return true;
	}
	if (isdigit(c) || (c == '.' && isdigit(peek(l, 1))))
		return lex_number(l, w);
	attribute = c == '.' || isalpha(c) ? lex_attribute(l, w) : 0;
	if (attribute)
		return attribute > 0;
	if (isalpha(c) || c == '_')
		return lex_name(l, w);
	if (c == '"')
		return lex_string(l, w);
	if (c == '`')
		return lex_raw_string(l, w);
	if (c == '$') {
		while (in_key(peek(l, 0)) || peek(l, 0) == '{' || peek(l, 0) == '}')
			l->pos++;
		w->type = WORD_VARIABLE;
		return true;
	}
	if ((c && strchr("{}(),", c)) || (c == '|' && peek(l, 1) != '|')) {
		w->type = WORD_MARK;
		w->mark = (char)c;
		l->pos++;
		return true;
	}
	return lex_operator(l, w);
}

bool lex(struct parser *p)
{
	struct lexer l = { .p = p };

	p->word = parser_alloc(p, MIN(TRACEQL_WORDS_MAX, p->text.len + 1) * sizeof(*p->word));
	l.out = parser_alloc(p, p->text.len + 1);
	if (!p->word || !l.out)
		return false;
	for (;;) {
		struct word *w = &p->word[p->word_cnt];

		if (!skip_blank(&l) || !lex_word(&l, w))
			return false;
		w->end = l.pos;
		p->word_cnt++;
		if (w->type == WORD_END)
			return true;
		if (p->word_cnt == TRACEQL_WORDS_MAX)
			return parser_fail(p, TRACEQL_SYNTAX, l.pos, "more than %u words",
					   TRACEQL_WORDS_MAX);
	}
}

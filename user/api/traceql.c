/* SPDX-License-Identifier: Apache-2.0 */
/* A TraceQL query's life, and how its faults are told. */
#include "api/traceql_ast.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* What one parsed query may take. */
#define QUERY_BYTES_MAX (4u << 20)

static void find_position(struct str text, uint32_t at, uint32_t *ret_line, uint32_t *ret_column)
{
	*ret_line = *ret_column = 1;
	for (uint32_t i = 0; i < at && i < text.len; i++) {
		if (text.p[i] == '\n') {
			++*ret_line;
			*ret_column = 1;
		} else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
			++*ret_column; /* bytes that go on with a character do not count */
		}
	}
}

void *parser_fail(struct parser *p, enum traceql_fault fault, uint32_t at, const char *fmt, ...)
{
	struct traceql_error *e = p->error;
	va_list args;
	int len;

	if (p->err)
		return NULL;
	p->err = fault == TRACEQL_UNSUPPORTED ? -EOPNOTSUPP : -EINVAL;
	e->fault = fault;
	find_position(p->text, at, &e->line, &e->column);
	len = snprintf(e->text, sizeof(e->text), "line %u, column %u: ", e->line, e->column);
	va_start(args, fmt);
	vsnprintf(e->text + len, sizeof(e->text) - (size_t)len, fmt, args);
	va_end(args);
	/* one line of printable text, whatever the query held */
	for (char *c = e->text; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
			*c = '?';
	return NULL;
}

void *parser_expected(struct parser *p, const char *what)
{
	const struct word *w = word_now(p);
	int len = (int)MIN(w->end - w->at, 24u);

	if (w->type == WORD_END)
		return parser_fail(p, TRACEQL_SYNTAX, w->at, "expected %s, not the end", what);
	if (w->type == WORD_VARIABLE)
		return parser_fail(
			p, TRACEQL_UNSUPPORTED, w->at,
			"not supported: the variable %.*s, which a dashboard is to fill in", len,
			p->text.p + w->at);
	return parser_fail(p, TRACEQL_SYNTAX, w->at, "expected %s, not %.*s", what, len,
			   p->text.p + w->at);
}

void *parser_alloc(struct parser *p, size_t size)
{
	void *mem = arena_alloc(p->mem, size);

	if (!mem && !p->err)
		p->err = -ENOMEM;
	return mem;
}

bool parser_enter(struct parser *p)
{
	if (p->depth == TRACEQL_DEPTH_MAX)
		return parser_fail(p, TRACEQL_SYNTAX, word_now(p)->at, "nested more than %u deep",
				   TRACEQL_DEPTH_MAX);
	p->depth++;
	return true;
}

bool parse_mark(struct parser *p, char mark)
{
	char what[2] = { mark, 0 };

	if (!word_is_mark(word_now(p), mark))
		return parser_expected(p, what);
	p->at++;
	return true;
}

int traceql_parse(struct str text, struct traceql **ret_query, struct traceql_error *ret_error)
{
	struct traceql *q = calloc(1, sizeof(*q));
	struct parser p = { .q = q, .error = ret_error };

	memset(ret_error, 0, sizeof(*ret_error));
	if (q)
		q->mem = p.mem = arena_new(QUERY_BYTES_MAX);
	if (!q || !q->mem) {
		p.err = -ENOMEM;
		goto out;
	}
	if (text.len > TRACEQL_TEXT_MAX) {
		parser_fail(&p, TRACEQL_SYNTAX, 0, "the query is longer than %u bytes",
			    TRACEQL_TEXT_MAX);
		goto out;
	}
	p.text = arena_str(q->mem, text);
	if (!p.text.p)
		p.err = -ENOMEM;
	else if (lex(&p))
		parse_query(&p);
out:
	if (p.err) {
		traceql_free(q);
		return p.err;
	}
	*ret_query = q;
	return 0;
}

void traceql_free(struct traceql *q)
{
	if (!q)
		return;
	patterns_free(&q->patterns);
	arena_free(q->mem);
	free(q);
}

bool traceql_is_metrics(const struct traceql *q)
{
	return q->metric;
}

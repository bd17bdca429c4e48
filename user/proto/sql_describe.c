/* SPDX-License-Identifier: Apache-2.0 */
/* A statement, or its failure, as attributes: OpenTelemetry semantic conventions, database. */
#include "proto/sql.h"

#include <ctype.h>

/* At most max bytes, no character of UTF-8 cut in two. */
static struct str cut_text(struct str s, size_t max)
{
	if (s.len <= max)
		return s;
	while (max && ((unsigned char)s.p[max] & 0xc0) == 0x80)
		max--;
	return (struct str){ s.p, max };
}

void sql_describe_setup(struct parser *ps, struct msg *m, struct str system, struct str db)
{
	if (!m)
		return;
	attrs_add_str(&m->attrs, parser_mem(ps), "db.system.name", system);
	if (db.len)
		attrs_add_str(&m->attrs, parser_mem(ps), "db.namespace", db);
	m->operation = STR("CONNECT");
	m->target = db;
	parser_flag(m, MSG_INTERNAL);
}

void sql_describe(struct parser *ps, struct msg *m, struct str system, struct str db,
		  struct str text, struct str command, uint32_t flags)
{
	struct sql_summary sum;
	struct arena *mem;
	struct str target;

	if (!m)
		return;
	mem = parser_mem(ps);
	if (text.len > SQL_TEXT_MAX)
		flags |= SQL_CUT;
	text = cut_text(text, SQL_TEXT_MAX);
	sql_summarize(text, flags, &sum);
	if (command.len)
		sum.operation = command;
	target = sum.procedure.len ? sum.procedure : sum.collection;

	attrs_add_str(&m->attrs, mem, "db.system.name", system);
	if (db.len)
		attrs_add_str(&m->attrs, mem, "db.namespace", db);
	if (sum.operation.len) {
		struct str summary = sum.operation;
		if (target.len)
			summary = arena_printf(mem, STR_FMT " " STR_FMT, STR_ARG(sum.operation),
					       STR_ARG(target));
		attrs_add_str(&m->attrs, mem, "db.operation.name", sum.operation);
		if (summary.p)
			attrs_add_str(&m->attrs, mem, "db.query.summary", summary);
	}
	if (sum.collection.len)
		attrs_add_str(&m->attrs, mem, "db.collection.name", sum.collection);
	if (sum.procedure.len)
		attrs_add_str(&m->attrs, mem, "db.stored_procedure.name", sum.procedure);
	if (text.len)
		attrs_add_str(&m->attrs, mem, "db.query.text", text);
	m->operation = sum.operation;
	m->target = target.len ? target : db;
}

/* An apostrophe inside a word ("doesn't") quotes nothing. */
static bool is_quote(struct str s, size_t i)
{
	if (s.p[i] == '"' || s.p[i] == '`')
		return true;
	return s.p[i] == '\'' &&
	       !(i && i + 1 < s.len && isalpha((unsigned char)s.p[i - 1]) && s.p[i + 1] == 't');
}

struct str sql_clean_message(struct arena *mem, struct str message)
{
	struct str none = { NULL, 0 };
	size_t first = message.len, last = message.len;
	struct str clean;

	for (size_t i = 0; i < message.len; i++) {
		/* another language, with quotes of its own, or data */
		if ((unsigned char)message.p[i] >= 0x80 || iscntrl((unsigned char)message.p[i]))
			return none;
		if (!is_quote(message, i))
			continue;
		if (first == message.len)
			first = i;
		last = i;
	}
	if (first == message.len)
		clean = message;
	else if (last == first) /* one that never closes */
		clean = arena_printf(mem, STR_FMT "'?", (int)first, message.p);
	else
		clean = arena_printf(mem, STR_FMT "'?'" STR_FMT, (int)first, message.p,
				     (int)(message.len - last - 1), message.p + last + 1);
	return clean.p ? arena_str(mem, cut_text(clean, SQL_MESSAGE_MAX)) : none;
}

void sql_fail(struct parser *ps, struct msg *m, struct str code, struct str message)
{
	struct arena *mem;

	if (!m)
		return;
	mem = parser_mem(ps);
	m->status = STATUS_ERROR;
	m->server_status = STATUS_ERROR;
	m->error_type = STR("_OTHER");
	if (code.len) {
		code = arena_str(mem, code);
		if (code.p) {
			attrs_add_str(&m->attrs, mem, "db.response.status_code", code);
			m->error_type = code;
		}
	}
	m->status_message = sql_clean_message(mem, message);
}

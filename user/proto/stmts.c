/* SPDX-License-Identifier: Apache-2.0 */
/* The prepared statements of one connection, by name or number; the latest used are kept. */
#include "proto/sql.h"

#include <stdlib.h>
#include <utlist.h>

#define KEY_MAX 64 /* a PostgreSQL identifier has at most 63 bytes; longer keys are not kept */

struct stmt {
	struct stmt *prev, *next;
	uint32_t flags;
	uint32_t meta;
	uint16_t key_len;
	uint16_t text_len;
	char data[]; /* key, text */
};

static struct str stmt_key(const struct stmt *st)
{
	return (struct str){ st->data, st->key_len };
}

static uint32_t stmt_size(const struct stmt *st)
{
	return (uint32_t)(sizeof(*st) + st->key_len + st->text_len);
}

static struct stmt *stmt_find(const struct stmts *s, struct str key)
{
	struct stmt *st;

	DL_FOREACH (s->list, st)
		if (str_eq(stmt_key(st), key))
			return st;
	return NULL;
}

static void stmt_forget(struct stmts *s, struct stmt *st)
{
	DL_DELETE(s->list, st);
	s->cnt--;
	s->bytes -= stmt_size(st);
	free(st);
}

void stmts_put(struct stmts *s, struct str key, struct str text, uint32_t flags, uint32_t meta)
{
	struct stmt *st;

	stmts_del(s, key);
	if (key.len > KEY_MAX)
		return;
	if (text.len > SQL_TEXT_MAX) {
		text.len = SQL_TEXT_MAX;
		flags |= SQL_CUT;
	}
	st = malloc(sizeof(*st) + key.len + text.len);
	if (!st)
		return;
	*st = (struct stmt){ .flags = flags,
			     .meta = meta,
			     .key_len = (uint16_t)key.len,
			     .text_len = (uint16_t)text.len };
	if (key.len)
		memcpy(st->data, key.p, key.len);
	if (text.len)
		memcpy(st->data + key.len, text.p, text.len);
	while (s->list && (s->cnt >= STMTS_MAX || s->bytes + stmt_size(st) > STMTS_BYTES))
		stmt_forget(s, s->list->prev);
	DL_PREPEND(s->list, st);
	s->cnt++;
	s->bytes += stmt_size(st);
}

bool stmts_get(struct stmts *s, struct str key, struct str *ret_text, uint32_t *ret_flags,
	       uint32_t *ret_meta)
{
	struct stmt *st = stmt_find(s, key);

	if (!st)
		return false;
	if (st != s->list) {
		DL_DELETE(s->list, st);
		DL_PREPEND(s->list, st);
	}
	*ret_text = (struct str){ st->data + st->key_len, st->text_len };
	*ret_flags = st->flags;
	*ret_meta = st->meta;
	return true;
}

void stmts_del(struct stmts *s, struct str key)
{
	struct stmt *st = stmt_find(s, key);

	if (st)
		stmt_forget(s, st);
}

void stmts_fini(struct stmts *s)
{
	while (s->list)
		stmt_forget(s, s->list);
}

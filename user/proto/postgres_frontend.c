/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL, what the client sends: one message a call. */
#include "proto/postgres_internal.h"

#define DEBT_MAX_NS 100000 /* a response that came before its request is at most so much older */

static void name_set(struct pg_name *name, struct str s)
{
	name->known = s.len < sizeof(name->p);
	name->len = name->known ? (uint8_t)s.len : 0;
	if (name->len)
		memcpy(name->p, s.p, s.len);
}

static struct str name_str(const struct pg_name *name)
{
	return (struct str){ name->p, name->len };
}

/* NULL also when the response has passed already. */
static struct msg *request_begin(struct parser *ps, struct pg_state *st)
{
	if (st->stale)
		return NULL;
	if (parser_had_gap(ps)) {
		/* the message tells that earlier requests wait for nothing any more */
		st->queue_cnt = 0;
		parser_drop(ps, st->reply);
		st->reply = NULL;
		st->reply_open = false;
	}
	return parser_begin(ps, MSG_REQUEST, 0, 0);
}

/* Queues what ends the exchange of m. False: no response will be found for it. */
static bool enqueue(struct pg_state *st, const struct msg *m, uint8_t end)
{
	if (st->debt && m && m->start_ns > st->debt_ns + DEBT_MAX_NS)
		st->debt = 0;
	if (st->debt) {
		/* should that be wrong, it is so once */
		st->in_step = false;
		if (end & PG_SYNC)
			st->debt--;
		return true;
	}
	if (!st->queue_cnt && !st->reply_open)
		st->in_step = true;
	return pg_queue_push(st, end);
}

/* The request is complete 'at' bytes into this call, or 'rest' bytes later. */
static void finish(struct parser *ps, struct pg_state *st, struct msg *m, uint8_t end, size_t at,
		   uint64_t rest)
{
	if (st->stale || !enqueue(st, m, end)) {
		parser_drop(ps, m);
		if (rest)
			parser_skip(ps, rest);
	} else if (rest) {
		parser_skip_to_end(ps, m, rest);
	} else {
		parser_end(ps, m, at);
	}
}

/* ---- the extended protocol: messages gather in a group up to Execute or Sync ---- */

static void group_begin(struct parser *ps, struct pg_state *st)
{
	if (st->group_open)
		return;
	st->group = request_begin(ps, st);
	st->group_open = true;
	st->group_parses = false;
}

static void group_take(struct parser *ps, struct pg_state *st, uint8_t end, size_t at,
		       uint64_t rest)
{
	struct msg *m = st->group;

	st->group = NULL;
	st->group_open = false;
	finish(ps, st, m, end, at, rest);
}

/* A group that executes nothing: statements being prepared are work of the server's, the rest
 * (Describe, Close) is upkeep. It ends 'at' bytes into this call. */
static void group_close(struct parser *ps, struct pg_state *st, uint8_t end, size_t at)
{
	struct str text = { NULL, 0 };
	uint32_t flags = 0, meta;

	if (!st->group_open)
		return;
	if (st->group_parses) {
		if (st->parsed.known)
			stmts_get(&st->statements, name_str(&st->parsed), &text, &flags, &meta);
		sql_describe(ps, st->group, PG_SYSTEM, pg_db(st), text, STR("PREPARE"), flags);
	} else {
		sql_describe_setup(ps, st->group, PG_SYSTEM, pg_db(st));
		if (st->group)
			st->group->operation = STR("DESCRIBE");
	}
	group_take(ps, st, end, at, 0);
}

static void on_parse(struct parser *ps, struct pg_state *st, struct cursor body, bool cut)
{
	struct str name = take_until(&body, 0), text;
	struct cursor at = body;

	/* each Parse is a statement; several before one Sync are several exchanges */
	if (st->group_open && st->group_parses)
		group_close(ps, st, st->group_end, 0);
	group_begin(ps, st);
	st->group_parses = true;
	st->group_end = PG_END_PARSE;
	if (body.bad) {
		st->parsed.known = false;
		stmts_del(&st->statements, STR(""));
		return;
	}
	text = take_until(&at, 0);
	if (at.bad) {
		text = (struct str){ (const char *)body.p, cursor_left(&body) };
		cut = true;
	}
	name_set(&st->parsed, name);
	stmts_put(&st->statements, name, text, cut ? SQL_CUT : 0, 0);
}

static void on_bind(struct parser *ps, struct pg_state *st, struct cursor body)
{
	struct str portal = take_until(&body, 0), name = take_until(&body, 0), text;
	uint32_t flags, meta;

	group_begin(ps, st);
	if (body.bad) {
		st->bound.known = false;
		return;
	}
	if (!portal.len)
		name_set(&st->bound, name);
	else if (stmts_get(&st->statements, name, &text, &flags, &meta))
		stmts_put(&st->portals, portal, text, flags, 0);
	else
		stmts_del(&st->portals, portal);
}

static void on_close(struct parser *ps, struct pg_state *st, struct cursor body)
{
	uint8_t kind = take_u8(&body);
	struct str name = take_until(&body, 0);

	group_begin(ps, st);
	if (!body.bad)
		stmts_del(kind == 'S' ? &st->statements : &st->portals, name);
}

static void on_execute(struct parser *ps, struct pg_state *st, struct cursor body, size_t at,
		       uint64_t rest)
{
	struct str portal = take_until(&body, 0), text = { NULL, 0 };
	uint32_t flags = 0, meta;
	bool known = false;

	group_begin(ps, st);
	if (!body.bad && portal.len)
		known = stmts_get(&st->portals, portal, &text, &flags, &meta);
	else if (!body.bad && st->bound.known)
		known = stmts_get(&st->statements, name_str(&st->bound), &text, &flags, &meta);
	sql_describe(ps, st->group, PG_SYSTEM, pg_db(st), text, known ? STR("") : STR("EXECUTE"),
		     flags);
	group_take(ps, st, PG_END_EXECUTE, at, rest);
}

/* ---- the others ---- */

/* May the text hold several statements? Then one ReadyForQuery ends several results. */
static bool has_several(struct str text)
{
	ptrdiff_t semicolon = str_find(text, ';');

	return semicolon >= 0 && str_trim(str_from(text, (size_t)semicolon + 1)).len;
}

static void on_query(struct parser *ps, struct pg_state *st, struct cursor body, bool cut,
		     size_t at, uint64_t rest)
{
	struct cursor c = body;
	struct str text = take_until(&c, 0);
	struct msg *m;
	uint8_t end = PG_END_READY | PG_SYNC;

	group_close(ps, st, st->group_end, 0);
	m = request_begin(ps, st);
	if (c.bad) {
		text = (struct str){ (const char *)body.p, cursor_left(&body) };
		cut = true;
	}
	if (cut)
		parser_flag(m, MSG_TRUNCATED);
	if (cut || has_several(text))
		end |= PG_SEVERAL;
	sql_describe(ps, m, PG_SYSTEM, pg_db(st), text, STR(""), cut ? SQL_CUT : 0);
	finish(ps, st, m, end, at, rest);
}

static void on_function(struct parser *ps, struct pg_state *st, size_t at, uint64_t rest)
{
	struct msg *m;

	group_close(ps, st, st->group_end, 0);
	m = request_begin(ps, st);
	sql_describe(ps, m, PG_SYSTEM, pg_db(st), STR(""), STR("FUNCTION CALL"), 0);
	finish(ps, st, m, PG_END_READY | PG_SYNC, at, rest);
}

static void on_sync(struct parser *ps, struct pg_state *st, size_t at)
{
	if (st->group_open)
		group_close(ps, st, PG_END_READY | PG_SYNC, at);
	else if (st->debt)
		st->debt--;
	else if (!st->stale)
		pg_queue_sync(st);
}

static void on_message(struct parser *ps, struct pg_state *st, const struct pg_header *h,
		       struct cursor body, bool cut)
{
	size_t at = h->avail;
	uint64_t rest = h->whole - h->avail;

	switch (h->type) {
	case 'Q': on_query(ps, st, body, cut, at, rest); return;
	case 'F': on_function(ps, st, at, rest); return;
	case 'S': on_sync(ps, st, at); return;
	case 'E': on_execute(ps, st, body, at, rest); return;
	case 'H':
		if (st->group_open && st->group_parses)
			group_close(ps, st, st->group_end, at);
		return;
	case 'P': on_parse(ps, st, body, cut); break;
	case 'B': on_bind(ps, st, body); break;
	case 'C': on_close(ps, st, body); break;
	case 'D':
		group_begin(ps, st);
		st->group_end = PG_END_DESCRIBE;
		break;
	default: break; /* COPY data, passwords, Terminate: nothing is kept of them */
	}
	if (rest)
		parser_skip(ps, rest);
}

/* Bytes of a body that are worth waiting for. */
static size_t body_wanted(const struct pg_header *h)
{
	switch (h->type) {
	case 'Q':
	case 'P': return MIN(h->whole - PG_HEADER_LEN, PG_BODY_WANTED);
	case 'B':
	case 'C':
	case 'E': return MIN(h->whole - PG_HEADER_LEN, 4 * PG_NAME_LEN);
	default: return 0;
	}
}

/* ---- the packets that begin a connection ---- */

static void on_startup(struct parser *ps, struct pg_state *st, struct cursor c, size_t size)
{
	struct msg *m = request_begin(ps, st);
	struct str user = { NULL, 0 }, db = { NULL, 0 };

	while (!c.bad && c.p < c.end && *c.p) {
		struct str key = take_until(&c, 0), value = take_until(&c, 0);
		if (c.bad)
			break;
		if (str_eq(key, STR("user")))
			user = value;
		else if (str_eq(key, STR("database")))
			db = value;
		else if (str_eq(key, STR("replication")) && !str_eq(value, STR("database")) &&
			 !str_eq(value, STR("false")) && !str_eq(value, STR("0")) &&
			 !str_eq(value, STR("off")) && !str_eq(value, STR("no"))) {
			/* physical replication streams and never answers a request */
			parser_drop(ps, m);
			parser_give_up(ps);
			return;
		}
	}
	if (!db.len) /* defaults to the user's name */
		db = user;
	st->db_len = (uint8_t)MIN(db.len, sizeof(st->db));
	if (st->db_len)
		memcpy(st->db, db.p, st->db_len);
	sql_describe_setup(ps, m, PG_SYSTEM, pg_db(st));
	st->placed = true;
	st->starting = true;
	finish(ps, st, m, PG_END_READY | PG_SYNC, size, 0);
}

static enum parse parse_start(struct parser *ps, struct pg_state *st, struct cursor *c)
{
	struct cursor at = *c;
	uint32_t size = take_u32be(&at), code = take_u32be(&at);
	struct msg *m;

	if (at.bad)
		return PARSE_MORE;
	if (size < 8 || size > PG_START_MAX)
		return PARSE_BAD;
	if (cursor_left(c) < size)
		return PARSE_MORE;
	if (code == PG_CODE_SSL || code == PG_CODE_GSS) {
		st->tls_asked = true;
	} else if (code == PG_CODE_CANCEL) {
		m = parser_begin(ps, MSG_REQUEST, 0, 0);
		sql_describe(ps, m, PG_SYSTEM, STR(""), STR(""), STR("CANCEL"), 0);
		parser_flag(m, MSG_ONE_WAY);
		parser_end(ps, m, size);
	} else if (code >> 16 == PG_MAJOR) {
		at.end = c->p + size;
		on_startup(ps, st, at, size);
	} else {
		return PARSE_BAD;
	}
	c->p += size;
	return PARSE_OK;
}

enum parse pg_parse_frontend(struct parser *ps, struct pg_state *st, struct cursor *c)
{
	struct pg_header h;
	enum parse result;
	bool cut;

	if (c->p == c->end)
		return PARSE_MORE;
	if (*c->p == 0)
		return parse_start(ps, st, c);
	result = pg_take_header(SIDE_REQUEST, c, &h);
	if (result != PARSE_OK)
		return result;
	if (h.type == 'p' && !st->starting)
		return PARSE_BAD;
	cut = h.avail - PG_HEADER_LEN < body_wanted(&h);
	if (cut && !parser_cut(ps))
		return PARSE_MORE;
	if (st->group_lost) {
		parser_drop(ps, st->group);
		st->group = NULL;
		st->group_open = st->group_lost = false;
	}
	if (!st->placed) /* joined in the middle: requests that were not seen come first */
		st->missing = true;
	st->placed = true;
	/* after a hole, messages may be found only when those of a later turn are there */
	st->stale = parser_turn(ps) >= (ptrdiff_t)h.whole;
	on_message(ps, st, &h, cursor_of(c->p + PG_HEADER_LEN, h.avail - PG_HEADER_LEN), cut);
	c->p += h.avail;
	return PARSE_OK;
}

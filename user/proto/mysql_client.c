/* SPDX-License-Identifier: Apache-2.0 */
/* MySQL, what the client sends: one packet a call. */
#include "proto/mysql_internal.h"

#define DEBT_MAX_NS 100000 /* a reply that came before its command is at most so much older */

static void set_db(char *to, uint8_t *len, struct str db)
{
	*len = (uint8_t)MIN(db.len, MY_DB_LEN);
	if (*len)
		memcpy(to, db.p, *len);
}

/* False when no reply will be found for it: full, or its reply has passed already. */
static bool enqueue(struct my_state *st, const struct msg *m, uint8_t command)
{
	if (st->debt) {
		bool late = m && m->start_ns <= st->debt_ns + DEBT_MAX_NS;
		st->debt = 0;
		st->in_step = false; /* should that be wrong, it is so once */
		if (late)
			return false;
	}
	if (st->queue_cnt == MY_QUEUE_MAX) {
		/* so many in a row without a reply: what was believed of it is wrong */
		st->queue_cnt = 0;
		st->in_step = false;
		return false;
	}
	if (!st->queue_cnt && !st->reply_open)
		st->in_step = true;
	st->queue[(st->queue_head + st->queue_cnt++) % MY_QUEUE_MAX] = command;
	return true;
}

/* After a hole: the next message tells that earlier commands wait for nothing any more. */
static void forget_waiting(struct parser *ps, struct my_state *st)
{
	st->queue_cnt = 0;
	parser_drop(ps, st->reply);
	st->reply = NULL;
	st->reply_open = false;
}

/* ---- texts ---- */

/* The value of a query attribute, in the binary encoding of its type; false: an unknown type. */
static bool skip_value(struct cursor *c, uint8_t type)
{
	switch (type) {
	case 0x06: return true; /* NULL */
	case 0x01: take(c, 1); return true;
	case 0x02:
	case 0x0d: take(c, 2); return true;
	case 0x03:
	case 0x09:
	case 0x04: take(c, 4); return true;
	case 0x08:
	case 0x05: take(c, 8); return true;
	case 0x07:
	case 0x0a:
	case 0x0b:
	case 0x0c: take(c, take_u8(c)); return true; /* times */
	case 0x0f:
	case 0x10:
	case 0xf5:
	case 0xf6:
	case 0xf7:
	case 0xf8:
	case 0xf9:
	case 0xfa:
	case 0xfb:
	case 0xfc:
	case 0xfd:
	case 0xfe: take(c, my_take_lenenc(c)); return true;
	default: return false;
	}
}

static bool skip_attributes(struct cursor *c)
{
	uint64_t cnt = my_take_lenenc(c);
	uint8_t types[64];
	const uint8_t *nulls;

	my_take_lenenc(c); /* sets of them, always 1 */
	if (c->bad || cnt > sizeof(types))
		return false;
	if (!cnt)
		return true;
	nulls = take(c, (cnt + 7) / 8);
	if (take_u8(c) != 1)
		return false;
	for (uint64_t i = 0; i < cnt && !c->bad; i++) {
		types[i] = take_u8(c);
		take_u8(c); /* signed or not */
		take(c, my_take_lenenc(c));
	}
	for (uint64_t i = 0; i < cnt && !c->bad; i++)
		if (!(nulls[i / 8] >> (i % 8) & 1) && !skip_value(c, types[i]))
			return false;
	return !c->bad;
}

bool my_query_text(const struct my_state *st, struct cursor body, struct str *ret)
{
	/* without the handshake: no SQL has the number of attribute sets, 1, for its second byte */
	bool attributes = st && st->caps_known
				  ? st->caps & CLIENT_QUERY_ATTRIBUTES && !st->mariadb
				  : cursor_left(&body) >= 2 && body.p[0] < 9 && body.p[1] == 1;

	if (attributes && !skip_attributes(&body))
		return false;
	*ret = (struct str){ (const char *)body.p, cursor_left(&body) };
	return true;
}

/* The database that "USE name" will choose. */
static void note_use(struct my_state *st, struct str text)
{
	struct str name = str_trim(text);

	if (name.len < 4 || strncasecmp(name.p, "use", 3) != 0 || !strchr(" \t\r\n`", name.p[3]))
		return;
	name = str_trim(str_from(name, 3));
	while (name.len && (name.p[name.len - 1] == ';' || name.p[name.len - 1] == ' '))
		name.len--;
	if (name.len > 2 && name.p[0] == '`' && name.p[name.len - 1] == '`')
		name = (struct str){ name.p + 1, name.len - 2 };
	set_db(st->next_db, &st->next_db_len, name);
}

/* ---- commands ---- */

struct command {
	struct my_state *st;
	struct msg *m;
	struct cursor body; /* after the command byte, as far as it is at hand */
	bool cut;	    /* the body's end is not at hand */
	uint8_t code;
};

static void describe(struct parser *ps, const struct command *cmd, struct str text,
		     const char *word, uint32_t flags)
{
	flags |= SQL_MYSQL;
	if (flags & SQL_CUT)
		parser_flag(cmd->m, MSG_TRUNCATED);
	sql_describe(ps, cmd->m, my_system(cmd->st), my_db(cmd->st), text, str_of(word), flags);
}

static void describe_query(struct parser *ps, const struct command *cmd)
{
	struct str text = { NULL, 0 };

	my_query_text(cmd->st, cmd->body, &text);
	note_use(cmd->st, text);
	describe(ps, cmd, text, "", cmd->cut ? SQL_CUT : 0);
}

static void describe_prepare(struct parser *ps, const struct command *cmd)
{
	struct str text = { (const char *)cmd->body.p, cursor_left(&cmd->body) };
	uint32_t flags = cmd->cut ? SQL_CUT : 0;

	/* until the reply tells its number */
	stmts_put(&cmd->st->statements, STR(""), text, flags, 0);
	describe(ps, cmd, text, "PREPARE", flags);
}

/* EXECUTE and FETCH name a statement by its number. */
static void describe_statement(struct parser *ps, const struct command *cmd, const char *word)
{
	struct cursor c = cmd->body;
	struct str id = take_str(&c, 4), text = { NULL, 0 };
	uint32_t flags = 0, meta;
	bool known = false;

	if (id.p) {
		static const uint8_t newest[4] = { 0xff, 0xff, 0xff, 0xff };
		if (!memcmp(id.p, newest, sizeof(newest)))
			id = STR("");
		known = stmts_get(&cmd->st->statements, id, &text, &flags, &meta);
	}
	describe(ps, cmd, text, known && !strcmp(word, "EXECUTE") ? "" : word, flags);
}

static void describe_init_db(struct parser *ps, const struct command *cmd)
{
	struct my_state *st = cmd->st;

	set_db(st->next_db, &st->next_db_len,
	       (struct str){ (const char *)cmd->body.p, cursor_left(&cmd->body) });
	sql_describe(ps, cmd->m, my_system(st), (struct str){ st->next_db, st->next_db_len },
		     STR(""), STR("USE"), SQL_MYSQL);
}

static void describe_upkeep(struct parser *ps, const struct command *cmd, const char *word)
{
	sql_describe_setup(ps, cmd->m, my_system(cmd->st), my_db(cmd->st));
	if (cmd->m)
		cmd->m->operation = str_of(word);
}

static void describe_command(struct parser *ps, const struct command *cmd)
{
	switch (cmd->code) {
	case COM_QUERY: describe_query(ps, cmd); break;
	case COM_STMT_PREPARE: describe_prepare(ps, cmd); break;
	case COM_STMT_EXECUTE:
	case COM_STMT_BULK_EXECUTE: describe_statement(ps, cmd, "EXECUTE"); break;
	case COM_STMT_FETCH: describe_statement(ps, cmd, "FETCH"); break;
	case COM_INIT_DB: describe_init_db(ps, cmd); break;
	case COM_PING: describe(ps, cmd, STR(""), "PING", 0); break;
	case COM_STATISTICS: describe(ps, cmd, STR(""), "STATISTICS", 0); break;
	case COM_PROCESS_INFO: describe(ps, cmd, STR(""), "PROCESS INFO", 0); break;
	case COM_PROCESS_KILL: describe(ps, cmd, STR(""), "KILL", 0); break;
	case COM_CREATE_DB: describe(ps, cmd, STR(""), "CREATE", 0); break;
	case COM_DROP_DB: describe(ps, cmd, STR(""), "DROP", 0); break;
	case COM_REFRESH: describe(ps, cmd, STR(""), "FLUSH", 0); break;
	case COM_SHUTDOWN: describe(ps, cmd, STR(""), "SHUTDOWN", 0); break;
	case COM_CHANGE_USER: describe_upkeep(ps, cmd, "CONNECT"); break;
	case COM_FIELD_LIST: describe_upkeep(ps, cmd, "FIELD LIST"); break;
	default: describe_upkeep(ps, cmd, "RESET"); break;
	}
}

/* Commands that no reply follows, and that are no request to speak of. */
static bool is_silent(uint8_t code)
{
	return code == COM_QUIT || code == COM_STMT_CLOSE || code == COM_STMT_SEND_LONG_DATA;
}

static bool is_command(uint8_t code)
{
	return (code >= COM_QUIT && code <= COM_RESET_CONNECTION) || code == COM_STMT_BULK_EXECUTE;
}

static enum parse on_command(struct parser *ps, struct my_state *st, struct cursor *c, uint32_t len,
			     size_t avail)
{
	struct command cmd = { .st = st, .body = cursor_of(c->p + MY_HEADER_LEN, avail) };
	uint64_t rest = len - avail;
	bool known = false;

	cmd.code = take_u8(&cmd.body);
	cmd.cut = rest || len == MY_PACKET_MAX;
	if (cmd.code == COM_BINLOG_DUMP || cmd.code == COM_BINLOG_DUMP_GTID) {
		parser_give_up(ps); /* replication: a stream without requests */
		c->p = c->end;
		return PARSE_OK;
	}
	if (cmd.code == COM_STMT_CLOSE && cursor_left(&cmd.body) >= 4)
		stmts_del(&st->statements, take_str(&cmd.body, 4));
	if (cmd.code == COM_RESET_CONNECTION || cmd.code == COM_CHANGE_USER)
		stmts_fini(&st->statements);
	c->p += MY_HEADER_LEN + avail;
	if (is_silent(cmd.code)) {
		if (rest)
			parser_skip(ps, rest);
		return PARSE_OK;
	}
	/* after a hole a command may be found so late that its reply has passed */
	if (parser_turn(ps) < (ptrdiff_t)(MY_HEADER_LEN + len)) {
		if (parser_had_gap(ps))
			forget_waiting(ps, st);
		cmd.m = parser_begin(ps, MSG_REQUEST, 0, 0);
		if (st->next_db_len) { /* whether the last USE succeeded was not seen */
			st->db_len = 0;
			st->next_db_len = 0;
		}
		describe_command(ps, &cmd);
		known = enqueue(st, cmd.m, cmd.code);
	}
	if (!known)
		parser_drop(ps, cmd.m);
	if (known && rest)
		parser_skip_to_end(ps, cmd.m, rest);
	else if (known)
		parser_end(ps, cmd.m, MY_HEADER_LEN + avail);
	else if (rest)
		parser_skip(ps, rest);
	return PARSE_OK;
}

/* ---- the handshake ---- */

/* HandshakeResponse41. Names are read, the password's hash is passed over. */
static void on_login(struct parser *ps, struct my_state *st, struct cursor c, size_t whole)
{
	struct msg *m = parser_begin(ps, MSG_REQUEST, 0, 0);
	uint32_t caps = take_u32le(&c);
	struct str db = { NULL, 0 };

	take(&c, 4 + 1 + 23); /* packet size, character set, reserved */
	take_until(&c, 0);
	if (caps & CLIENT_PLUGIN_AUTH_LENENC)
		take(&c, my_take_lenenc(&c));
	else if (caps & CLIENT_SECURE_CONNECTION)
		take(&c, take_u8(&c));
	else
		take_until(&c, 0);
	if (caps & CLIENT_CONNECT_WITH_DB)
		db = take_until(&c, 0);
	if (c.bad)
		db.len = 0;
	st->caps = st->greeted ? caps & st->caps_server : caps;
	st->caps_known = true;
	st->eof_known = true;
	st->no_eof = st->caps & CLIENT_DEPRECATE_EOF;
	set_db(st->db, &st->db_len, db);
	sql_describe_setup(ps, m, my_system(st), my_db(st));
	st->in_step = true;
	if (enqueue(st, m, COM_LOGIN))
		parser_end(ps, m, whole);
	else
		parser_drop(ps, m);
}

static enum parse on_handshake(struct parser *ps, struct my_state *st, struct cursor *c,
			       uint32_t len)
{
	struct cursor body = cursor_of(c->p + MY_HEADER_LEN, len), peek = body;
	uint32_t caps = take_u32le(&peek);

	c->p += MY_HEADER_LEN + len;
	/* SSLRequest is the same packet cut off after the reserved bytes */
	if (!(caps & CLIENT_PROTOCOL_41) || (caps & CLIENT_SSL && len == 32)) {
		parser_give_up(ps);
		return PARSE_OK;
	}
	on_login(ps, st, body, MY_HEADER_LEN + len);
	return PARSE_OK;
}

bool my_plausible_login(const uint8_t *body, size_t len)
{
	static const uint8_t reserved[19]; /* zero; the last 4 of 23 are MariaDB's */
	struct cursor c = cursor_of(body, len);
	uint32_t caps = take_u32le(&c);
	const uint8_t *zero;

	take(&c, 4 + 1);
	zero = take(&c, sizeof(reserved));
	return caps & CLIENT_PROTOCOL_41 && zero && !memcmp(zero, reserved, sizeof(reserved)) &&
	       len >= 32;
}

/* Is this the handshake's answer? Inside TLS it is the first packet that is seen. */
static bool is_login(const struct my_state *st, const uint8_t *body, size_t len, uint8_t seq)
{
	if (st->caps_known || st->request_goes_on || st->infile || (seq != 1 && seq != 2))
		return false;
	return st->greeted || (!st->in_step && my_plausible_login(body, len));
}

enum parse my_parse_client(struct parser *ps, struct my_state *st, struct cursor *c)
{
	struct cursor at = *c;
	uint32_t len = take_u24le(&at);
	uint8_t seq = take_u8(&at);
	size_t avail = MIN(len, cursor_left(&at)), wanted;
	bool login, goes_on;

	if (at.bad)
		return PARSE_MORE;
	login = is_login(st, at.p, avail, seq);
	goes_on = st->request_goes_on || st->infile || seq != 0;
	if (!goes_on && !len)
		return PARSE_BAD;
	if (!goes_on && avail && !is_command(*at.p))
		return PARSE_BAD;
	wanted = login	   ? len
		 : goes_on ? 0
			   : MIN(len, avail && my_has_text(*at.p) ? MY_TEXT_WANTED : 128);
	if (login && (len < 32 || len > MY_TEXT_WANTED))
		return PARSE_BAD;
	if (avail < wanted && (login || !avail || !parser_cut(ps)))
		return PARSE_MORE;
	st->request_seq = seq;
	st->request_goes_on = len == MY_PACKET_MAX;
	if (login)
		return on_handshake(ps, st, c, len);
	if (!goes_on)
		return on_command(ps, st, c, len, avail);
	if (!len)
		st->infile = false;
	c->p += MY_HEADER_LEN + avail;
	if (len > avail)
		parser_skip(ps, len - avail);
	return PARSE_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* MySQL, what the server sends: one packet a call. */
#include "proto/mysql_internal.h"

#define MARK_OK	    0x00
#define MARK_INFILE 0xfb
#define MARK_EOF    0xfe
#define MARK_ERR    0xff

#define EOF_LEN	   5 /* mark, warnings, status */
#define OK_LEN_MIN 7

#define STATUS_MORE_RESULTS  0x0008
#define STATUS_CURSOR_EXISTS 0x0040
#define STATUS_STATE_CHANGED 0x4000
#define TRACK_SCHEMA	     1
#define ERR_PROGRESS	     0xffff /* MariaDB: a progress report, no error */

struct packet {
	uint32_t len;
	uint8_t seq;
	uint8_t mark;	    /* first byte; 0 when there is none */
	struct cursor body; /* with the mark, as far as it is at hand */
	size_t at;	    /* end of what is at hand, from the call's first byte */
	bool last;	    /* the bytes at hand end with it */
};

static uint8_t queue_head(const struct my_state *st)
{
	return st->queue[st->queue_head];
}

static void queue_pop(struct my_state *st)
{
	if (!st->queue_cnt)
		return;
	st->queue_head = (uint8_t)((st->queue_head + 1) % MY_QUEUE_MAX);
	st->queue_cnt--;
}

static void reply_begin(struct parser *ps, struct my_state *st)
{
	st->reply = parser_begin(ps, MSG_RESPONSE, 0, 0);
	st->reply_open = true;
	st->step = queue_head(st) == COM_STMT_FETCH ? STEP_ROWS : STEP_FIRST;
	st->rows = 0;
	st->row_results = queue_head(st) == COM_STMT_FETCH;
	st->row_goes_on = false;
	st->cut_rows = false;
}

static void reply_end(struct parser *ps, struct my_state *st, size_t at)
{
	if (st->reply && st->row_results == 1 && !st->cut_rows)
		attrs_add_int(&st->reply->attrs, parser_mem(ps), "db.response.returned_rows",
			      (int64_t)st->rows);
	parser_end(ps, st->reply, at);
	st->reply = NULL;
	st->reply_open = false;
	st->unsure = false;
	queue_pop(st);
}

/* A reply whose end was in a hole: it was over when the client spoke again. */
static void reply_lost(struct parser *ps, struct my_state *st)
{
	if (!st->reply_open && parser_had_gap(ps)) {
		/* the next message tells that earlier commands wait for nothing any more */
		queue_pop(st);
		return;
	}
	if (!st->reply_open)
		reply_begin(ps, st);
	st->cut_rows = true;
	parser_flag(st->reply, MSG_TRUNCATED);
	reply_end(ps, st, 0);
}

/* ---- OK and ERR packets ---- */

/* The session's new database, where the server tells of it. False when it does not. */
static bool take_schema(struct my_state *st, struct cursor c)
{
	uint64_t len;
	struct str changes;

	take(&c, my_take_lenenc(&c)); /* text for people */
	len = my_take_lenenc(&c);
	changes = take_str(&c, len);
	if (c.bad || !len)
		return false;
	c = cursor_of(changes.p, changes.len);
	while (c.p < c.end && !c.bad) {
		uint8_t type = take_u8(&c);
		struct str change = take_str(&c, my_take_lenenc(&c));
		struct cursor name = cursor_of(change.p, change.len);
		struct str db;
		if (c.bad || type != TRACK_SCHEMA)
			continue;
		db = take_str(&name, my_take_lenenc(&name));
		if (name.bad)
			return false;
		st->db_len = (uint8_t)MIN(db.len, sizeof(st->db));
		if (st->db_len)
			memcpy(st->db, db.p, st->db_len);
		return true;
	}
	return false;
}

/* Status flags of an OK packet, or of an EOF packet in either form; 0 where cut short. */
static uint16_t take_status(struct my_state *st, const struct packet *pk)
{
	struct cursor c = pk->body;
	uint16_t status;

	take_u8(&c);
	if (pk->mark == MARK_EOF && pk->len == EOF_LEN) {
		take_u16le(&c);
		return take_u16le(&c);
	}
	my_take_lenenc(&c); /* rows affected */
	my_take_lenenc(&c); /* last insert id */
	status = take_u16le(&c);
	take_u16le(&c); /* warnings */
	if (c.bad)
		return 0;
	if (status & STATUS_STATE_CHANGED && st->caps & CLIENT_SESSION_TRACK && take_schema(st, c))
		st->next_db_len = 0;
	return status;
}

static void on_error(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	struct cursor c = pk->body;
	struct str state = { NULL, 0 }, message;
	uint16_t code;

	take_u8(&c);
	code = take_u16le(&c);
	if (cursor_left(&c) >= 6 && *c.p == '#') {
		take_u8(&c);
		state = take_str(&c, 5);
	}
	message = take_str(&c, cursor_left(&c));
	st->next_db_len = 0;
	sql_fail(ps, st->reply, arena_printf(parser_mem(ps), "%u", code), message);
	if (st->reply && state.len) {
		struct arena *mem = parser_mem(ps);
		state = arena_str(mem, state);
		if (state.p) /* the conventions know one code only */
			attrs_add_str(&st->reply->attrs, mem, "telltale.db.sqlstate", state);
	}
	reply_end(ps, st, pk->at);
}

/* A command, or one result of it, has succeeded. */
static void on_ok(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	uint8_t command = queue_head(st);
	uint16_t status = take_status(st, pk);

	if (status & STATUS_MORE_RESULTS && command != COM_LOGIN) {
		st->step = STEP_FIRST;
		return;
	}
	if (st->next_db_len) {
		memcpy(st->db, st->next_db, st->next_db_len);
		st->db_len = st->next_db_len;
		st->next_db_len = 0;
	}
	reply_end(ps, st, pk->at);
	if (command == COM_LOGIN && st->caps & (CLIENT_COMPRESS | CLIENT_ZSTD))
		parser_give_up(ps); /* what follows is compressed */
}

static bool is_eof(const struct packet *pk)
{
	return pk->mark == MARK_EOF && pk->len == EOF_LEN;
}

/* An OK packet in the place of EOF. A row that begins so is longer than a packet. */
static bool is_ok_eof(const struct packet *pk)
{
	return pk->mark == MARK_EOF && pk->len >= OK_LEN_MIN && pk->len < MY_PACKET_MAX;
}

static bool is_progress(const struct packet *pk)
{
	struct cursor c = pk->body;

	take_u8(&c);
	return pk->mark == MARK_ERR && take_u16le(&c) == ERR_PROGRESS;
}

static void see_eof(struct my_state *st, bool no_eof)
{
	st->eof_known = true;
	st->no_eof = no_eof;
}

/* ---- results ---- */

/* The number of columns, and whether their definitions follow. */
static bool on_column_count(struct my_state *st, const struct packet *pk)
{
	struct cursor c = pk->body;
	bool optional = st->caps_known && !st->mariadb && st->caps & CLIENT_OPTIONAL_METADATA;
	uint8_t defined = optional ? take_u8(&c) : 1;
	uint64_t cnt = my_take_lenenc(&c);

	if (c.bad || !cnt || cnt > 65535)
		return false;
	if (!optional && c.p < c.end) /* MariaDB, with cached definitions */
		defined = take_u8(&c);
	if (c.p != c.end || defined > 1)
		return false;
	st->left = (uint32_t)cnt;
	st->step = defined ? STEP_COLUMNS : STEP_ROWS_BEGIN;
	st->row_results++;
	return true;
}

static enum parse on_first(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	switch (pk->mark) {
	case MARK_OK:
		if (pk->len < OK_LEN_MIN)
			return PARSE_BAD;
		on_ok(ps, st, pk);
		return PARSE_OK;
	case MARK_ERR: on_error(ps, st, pk); return PARSE_OK;
	case MARK_INFILE: st->infile = true; return PARSE_OK;
	case MARK_EOF: return PARSE_BAD;
	default: return on_column_count(st, pk) ? PARSE_OK : PARSE_BAD;
	}
}

static void on_row(struct my_state *st, const struct packet *pk)
{
	if (!st->row_goes_on)
		st->rows++;
	st->row_goes_on = pk->len == MY_PACKET_MAX;
}

static enum parse on_rows(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	bool begin = st->step == STEP_ROWS_BEGIN;

	if (st->row_goes_on) {
		on_row(st, pk);
	} else if (pk->mark == MARK_ERR) {
		on_error(ps, st, pk);
	} else if (st->unsure && !pk->last && (is_eof(pk) || is_ok_eof(pk))) {
		st->step = STEP_ROWS; /* after a hole: the end of rows, or of definitions? */
	} else if (is_eof(pk) && begin && !(take_status(st, pk) & STATUS_CURSOR_EXISTS)) {
		see_eof(st, false);
		st->step = STEP_ROWS;
	} else if (is_eof(pk) || is_ok_eof(pk)) {
		if (is_ok_eof(pk))
			see_eof(st, true);
		/* with a cursor the rows are fetched later */
		if (begin && take_status(st, pk) & STATUS_CURSOR_EXISTS)
			st->cut_rows = true;
		on_ok(ps, st, pk);
	} else {
		st->step = STEP_ROWS;
		on_row(st, pk);
	}
	return PARSE_OK;
}

/* ---- prepared statements ---- */

static enum parse on_prepared(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	struct cursor c = pk->body;
	struct str id, text;
	uint32_t flags, meta, columns, params;

	if (pk->mark == MARK_ERR) {
		on_error(ps, st, pk);
		return PARSE_OK;
	}
	take_u8(&c);
	id = take_str(&c, 4);
	columns = take_u16le(&c);
	params = take_u16le(&c);
	if (c.bad || pk->mark != MARK_OK)
		return PARSE_BAD;
	if (stmts_get(&st->statements, STR(""), &text, &flags, &meta)) {
		char copy[SQL_TEXT_MAX];
		memcpy(copy, text.p, text.len);
		stmts_put(&st->statements, id, (struct str){ copy, text.len }, flags, 0);
	}
	st->left = params ? params : columns;
	st->left_columns = params ? columns : 0;
	st->step = STEP_PREPARED;
	if (!st->left)
		reply_end(ps, st, pk->at);
	return PARSE_OK;
}

/* Definitions of the parameters, EOF, definitions of the columns, EOF. Without knowing whether the
 * server sends EOF packets, the last definition ends the reply and a stray EOF is passed over. */
static enum parse on_definition(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	if (pk->mark == MARK_ERR) {
		on_error(ps, st, pk);
		return PARSE_OK;
	}
	if (is_eof(pk)) {
		see_eof(st, false);
		if (!st->left && !st->left_columns)
			reply_end(ps, st, pk->at);
		return PARSE_OK;
	}
	if (!st->left) {
		st->left = st->left_columns;
		st->left_columns = 0;
	}
	if (!st->left)
		return PARSE_BAD;
	st->left--;
	if (!st->left && !st->left_columns && (st->no_eof || !st->eof_known))
		reply_end(ps, st, pk->at);
	return PARSE_OK;
}

/* ---- replies ---- */

static enum parse on_simple(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	if (pk->mark == MARK_ERR)
		on_error(ps, st, pk);
	else if ((pk->mark == MARK_OK && pk->len >= OK_LEN_MIN) || is_eof(pk) || is_ok_eof(pk))
		on_ok(ps, st, pk);
	else
		return PARSE_BAD;
	return PARSE_OK;
}

/* Between the login and its OK: challenges, whose content is nobody's business. */
static enum parse on_login_reply(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	if (pk->mark == MARK_ERR)
		on_error(ps, st, pk);
	else if (pk->mark == MARK_OK && pk->len >= OK_LEN_MIN)
		on_ok(ps, st, pk);
	return PARSE_OK;
}

static enum parse on_result(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	switch (st->step) {
	case STEP_FIRST: return on_first(ps, st, pk);
	case STEP_COLUMNS:
		if (is_eof(pk))
			return PARSE_BAD;
		if (--st->left == 0)
			st->step = STEP_ROWS_BEGIN;
		return PARSE_OK;
	default: return on_rows(ps, st, pk);
	}
}

static enum parse on_reply(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	if (is_progress(pk))
		return PARSE_OK;
	switch (queue_head(st)) {
	case COM_LOGIN:
	case COM_CHANGE_USER: return on_login_reply(ps, st, pk);
	case COM_QUERY:
	case COM_STMT_EXECUTE:
	case COM_STMT_BULK_EXECUTE:
	case COM_PROCESS_INFO: return on_result(ps, st, pk);
	case COM_STMT_FETCH: return on_rows(ps, st, pk);
	case COM_STMT_PREPARE:
		return st->step == STEP_FIRST ? on_prepared(ps, st, pk) : on_definition(ps, st, pk);
	case COM_FIELD_LIST:
		if (pk->mark == MARK_ERR || is_eof(pk) || is_ok_eof(pk))
			return on_simple(ps, st, pk);
		return PARSE_OK;
	case COM_STATISTICS:
		if (pk->mark == MARK_ERR)
			on_error(ps, st, pk);
		else
			reply_end(ps, st, pk->at);
		return PARSE_OK;
	default: return on_simple(ps, st, pk);
	}
}

/* The server's first packet. */
static void on_greeting(struct parser *ps, struct my_state *st, struct cursor c)
{
	struct str version;
	uint32_t low, high;

	take_u8(&c); /* protocol 10 */
	version = take_until(&c, 0);
	take(&c, 4 + 8 + 1); /* thread, scramble, filler */
	low = take_u16le(&c);
	take(&c, 1 + 2); /* character set, status */
	high = take_u16le(&c);
	if (c.bad)
		return;
	st->greeted = true;
	st->caps_server = low | high << 16;
	st->mariadb = memmem(version.p, version.len, "MariaDB", 7) != NULL;
}

/* After a hole: what comes belongs to the newest command, since clients seldom send one before they
 * have the last one's reply. The first packet of a reply tells that no more of it is missing. */
static void find_place(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	bool several = st->queue_cnt > 1;

	while (st->queue_cnt > 1)
		reply_lost(ps, st);
	st->unsure = true;
	if (pk->seq != (uint8_t)(st->request_seq + 1) || (!several && parser_turn(ps) != 0))
		return;
	if (st->reply_open) {
		parser_drop(ps, st->reply);
		st->reply = NULL;
		st->reply_open = false;
	}
	st->unsure = false;
}

/* Is the packet the next one of the reply under way, or the first of a new one? */
static bool in_sequence(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	uint8_t command = queue_head(st);

	if (st->unsure)
		find_place(ps, st, pk);
	if (st->unsure || command == COM_LOGIN || command == COM_CHANGE_USER)
		return true;
	if (st->reply_open && !st->infile && pk->seq == (uint8_t)(st->reply_seq + 1))
		return true;
	return pk->seq == (uint8_t)(st->request_seq + 1) || (!st->reply_open && pk->seq == 1);
}

/* No command is known to have asked for this. */
static void on_orphan(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	struct msg *m;

	if (pk->seq == 0 && pk->mark == 10 && !st->greeted && !st->caps_known) {
		on_greeting(ps, st, pk->body);
	} else if (st->in_step && pk->seq == 1) {
		/* every command is known, so this one's record is still on its way */
		m = parser_begin(ps, MSG_RESPONSE, 0, 0);
		if (m) {
			st->debt = 1;
			st->debt_ns = m->start_ns;
			parser_drop(ps, m);
		}
	}
}

static enum parse on_packet(struct parser *ps, struct my_state *st, const struct packet *pk)
{
	if (!st->queue_cnt) {
		on_orphan(ps, st, pk);
		return PARSE_OK;
	}
	if (!in_sequence(ps, st, pk)) {
		/* before the first packet: what is left of an earlier reply */
		return st->reply_open ? PARSE_BAD : PARSE_OK;
	}
	if (!st->reply_open) {
		reply_begin(ps, st);
		if (st->unsure) {
			st->step = STEP_ROWS;
			st->cut_rows = true;
		}
	}
	st->reply_seq = pk->seq;
	return on_reply(ps, st, pk);
}

enum parse my_parse_server(struct parser *ps, struct my_state *st, struct cursor *c)
{
	struct cursor at = *c;
	struct packet pk = { .len = take_u24le(&at), .seq = take_u8(&at) };
	size_t avail = MIN(pk.len, cursor_left(&at)), wanted;
	enum parse result;

	if (at.bad || (pk.len && !avail))
		return PARSE_MORE;
	pk.mark = avail ? *at.p : 0;
	wanted = MIN(pk.len, 16);
	if (pk.mark == MARK_OK || pk.mark >= MARK_EOF || pk.mark == 10)
		wanted = MIN(pk.len, MY_REPLY_WANTED);
	if (avail < wanted && !(avail >= 9 && parser_cut(ps)))
		return PARSE_MORE;
	pk.body = cursor_of(at.p, avail);
	pk.at = MY_HEADER_LEN + avail;
	pk.last = at.p + pk.len == c->end;
	result = on_packet(ps, st, &pk);
	if (result != PARSE_OK)
		return result;
	c->p += pk.at;
	if (pk.len > avail)
		parser_skip(ps, pk.len - avail);
	return PARSE_OK;
}

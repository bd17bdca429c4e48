/* SPDX-License-Identifier: Apache-2.0 */
/* MySQL and MariaDB: recognising them, from the greeting or in the middle of a connection. */
#include "proto/mysql_internal.h"

#include <ctype.h>

#define GREETING_LEN_MIN 45
#define PROTOCOL_VERSION 10
#define MYSQL_PORT	 3306

static bool is_printable(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < 0x20 || p[i] == 0x7f)
			return false;
	return n > 0;
}

/* One packet as far as it is at hand. */
struct view {
	uint32_t len;
	uint8_t seq;
	struct cursor body;
	bool whole;
};

static bool take_view(struct cursor *c, struct view *v)
{
	size_t avail;

	v->len = take_u24le(c);
	v->seq = take_u8(c);
	if (c->bad)
		return false;
	avail = MIN(v->len, cursor_left(c));
	v->body = cursor_of(c->p, avail);
	v->whole = avail == v->len;
	c->p += avail;
	return true;
}

static bool is_greeting(const struct view *v)
{
	struct cursor c = v->body;
	struct str version;

	if (v->seq != 0 || v->len < GREETING_LEN_MIN || v->len > 512 ||
	    take_u8(&c) != PROTOCOL_VERSION)
		return false;
	version = take_until(&c, 0);
	take(&c, 4 + 8); /* thread, scramble */
	return !take_u8(&c) && !c.bad && isdigit((unsigned char)version.p[0]) &&
	       is_printable((const uint8_t *)version.p, version.len);
}

static bool is_sql(const struct view *v)
{
	struct cursor c = v->body;
	struct sql_summary sum;
	struct str text;
	uint8_t code = take_u8(&c);

	if (code == COM_STMT_PREPARE)
		text = (struct str){ (const char *)c.p, cursor_left(&c) };
	else if (code != COM_QUERY || !my_query_text(NULL, c, &text))
		return false;
	for (size_t i = 0; i < text.len; i++)
		if ((uint8_t)text.p[i] < 0x20 && !isspace((uint8_t)text.p[i]))
			return false;
	sql_summarize(text, SQL_MYSQL, &sum);
	return sum.operation.len && (v->whole || text.len >= 16);
}

enum likeness { LIKE_NOT, LIKE_WEAK, LIKE_STRONG };

/* A command, by its byte and the length that belongs to it. */
static enum likeness like_command(const struct view *v)
{
	struct cursor c = v->body;
	uint8_t code = take_u8(&c), flags;
	bool fits = false;

	if (v->seq != 0 || c.bad || !v->len)
		return LIKE_NOT;
	switch (code) {
	case COM_QUERY:
	case COM_STMT_PREPARE: return is_sql(v) ? LIKE_STRONG : LIKE_NOT;
	case COM_STMT_EXECUTE:
		take(&c, 4);
		flags = take_u8(&c);
		if (v->len < 10 || c.bad || flags > 0x0f || take_u32le(&c) != 1 || c.bad)
			return LIKE_NOT;
		return LIKE_STRONG;
	case COM_QUIT:
	case COM_STATISTICS:
	case COM_PROCESS_INFO:
	case COM_DEBUG:
	case COM_PING:
	case COM_RESET_CONNECTION: fits = v->len == 1; break;
	case COM_STMT_CLOSE:
	case COM_STMT_RESET: fits = v->len == 5; break;
	case COM_STMT_FETCH: fits = v->len == 9; break;
	case COM_SET_OPTION: fits = v->len == 3; break;
	case COM_INIT_DB: fits = v->len <= 256 && is_printable(c.p, cursor_left(&c)); break;
	case COM_FIELD_LIST: fits = v->len <= 512; break;
	case COM_STMT_SEND_LONG_DATA:
	case COM_STMT_BULK_EXECUTE: fits = v->len >= 7; break;
	default: break;
	}
	return fits ? LIKE_WEAK : LIKE_NOT;
}

static bool is_error(const struct view *v)
{
	struct cursor c = v->body;

	if (take_u8(&c) != 0xff)
		return false;
	take_u16le(&c);
	return take_u8(&c) == '#' && !c.bad && is_printable(c.p, MIN(cursor_left(&c), 5));
}

static bool is_end_of_rows(const struct view *v)
{
	struct cursor c = v->body;
	uint16_t status;

	if (take_u8(&c) != 0xfe || !v->whole)
		return false;
	if (v->len == 5) {
		take_u16le(&c);
		return take_u16le(&c) < 0x8000;
	}
	if (v->len < 7 || v->len > MY_REPLY_WANTED)
		return false;
	my_take_lenenc(&c);
	my_take_lenenc(&c);
	status = take_u16le(&c);
	take_u16le(&c);
	return !c.bad && status < 0x8000;
}

/* A short OK: rows affected, insert id, status, warnings and nothing else. */
static bool is_ok(const struct view *v)
{
	struct cursor c = v->body;
	uint16_t status;

	if (take_u8(&c) != 0 || !v->whole)
		return false;
	my_take_lenenc(&c);
	my_take_lenenc(&c);
	status = take_u16le(&c);
	take_u16le(&c);
	return !c.bad && status < 0x8000 &&
	       (c.p == c.end || is_printable(c.p + 1, cursor_left(&c) - 1));
}

/* The definition of a column begins with the catalog, always "def". */
static bool is_definition(const struct view *v)
{
	return cursor_left(&v->body) >= 4 && memcmp(v->body.p, "\3def", 4) == 0;
}

/* Packets with consecutive numbers that fill the bytes exactly and end a reply. */
static bool ends_reply(const uint8_t *p, size_t len)
{
	struct cursor c = cursor_of(p, len);
	struct view v;
	uint32_t cnt = 0;
	uint8_t seq = 0;

	while (cursor_left(&c)) {
		if (!take_view(&c, &v) || !v.whole || !v.len ||
		    (cnt && v.seq != (uint8_t)(seq + 1)))
			return false;
		seq = v.seq;
		cnt++;
	}
	return cnt && (is_end_of_rows(&v) || is_error(&v) || (cnt == 1 && seq == 1 && is_ok(&v)));
}

/* The first packets of a result. */
static bool begins_result(const uint8_t *p, size_t len)
{
	struct cursor c = cursor_of(p, len);
	struct view count, column;

	return take_view(&c, &count) && count.seq == 1 && count.whole && count.len >= 1 &&
	       count.len <= 4 && take_view(&c, &column) && column.seq == 2 &&
	       is_definition(&column);
}

/* The first packet is not all here, and what is here could be one of ours. */
static bool may_become(const struct view *v, size_t len)
{
	uint8_t first = *v->body.p;

	if (v->whole || len >= DETECT_MAX)
		return false;
	if (v->seq == 0 && first == PROTOCOL_VERSION)
		return v->len >= GREETING_LEN_MIN && v->len <= 512;
	if (v->seq == 0)
		return first == COM_INIT_DB || (my_has_text(first) && cursor_left(&v->body) < 24) ||
		       first == COM_STMT_EXECUTE;
	return v->len <= 4096;
}

/* Bytes that begin with packet number 1. */
static enum detect detect_reply(const uint8_t *p, size_t len)
{
	struct cursor c = cursor_of(p, len);
	struct view v, next;

	take_view(&c, &v);
	if (begins_result(p, len) || (v.whole && is_error(&v)))
		return DETECT_RESPONSE;
	/* rows and their end */
	if (ends_reply(p, len))
		return cursor_left(&c) ? DETECT_RESPONSE : DETECT_MORE;
	/* OK alone is but 7 bytes; another reply after it makes it sure */
	if (is_ok(&v) && take_view(&c, &next) && next.seq == 1 &&
	    (is_ok(&next) || is_error(&next) || next.len <= 4))
		return DETECT_RESPONSE;
	return DETECT_NO;
}

static enum detect my_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram)
{
	struct cursor c = cursor_of(p, len);
	struct view v;
	uint32_t weak = 0;

	if (datagram)
		return DETECT_NO;
	if (len < MY_HEADER_LEN + 1)
		return len < MY_HEADER_LEN || p[3] <= 2 ? DETECT_MORE : DETECT_NO;
	take_view(&c, &v);
	if (is_greeting(&v))
		return DETECT_RESPONSE;
	if ((v.seq == 1 || v.seq == 2) && my_plausible_login(v.body.p, cursor_left(&v.body)))
		return DETECT_REQUEST;
	if (v.seq <= 2 && may_become(&v, len))
		return is_sql(&v) ? DETECT_REQUEST : DETECT_MORE;
	if (v.seq == 1)
		return detect_reply(p, len);
	c = cursor_of(p, len);
	while (take_view(&c, &v) && (v.whole || v.len == 0 || cursor_left(&v.body))) {
		enum likeness like = like_command(&v);
		if (like == LIKE_STRONG)
			return DETECT_REQUEST;
		if (like == LIKE_NOT)
			return DETECT_NO;
		weak++;
	}
	if (weak >= 3 && port == MYSQL_PORT)
		return DETECT_REQUEST;
	return DETECT_MORE;
}

static enum parse my_parse(struct parser *ps, enum side side, struct cursor *c)
{
	struct my_state *st = parser_state(ps);

	return side == SIDE_REQUEST ? my_parse_client(ps, st, c) : my_parse_server(ps, st, c);
}

static bool is_command_at(const uint8_t *p, size_t len)
{
	struct cursor c = cursor_of(p, len);
	struct view v;
	enum likeness like;

	if (!take_view(&c, &v))
		return false;
	like = like_command(&v);
	return like == LIKE_STRONG || (like == LIKE_WEAK && v.whole && c.p == c.end);
}

static ptrdiff_t my_resync(struct parser *ps, enum side side, const uint8_t *p, size_t len)
{
	struct my_state *st = parser_state(ps);

	for (size_t at = 0; at + MY_HEADER_LEN < len; at++) {
		if (side == SIDE_REQUEST
			    ? !is_command_at(p + at, len - at)
			    : !ends_reply(p + at, len - at) && !begins_result(p + at, len - at))
			continue;
		if (side == SIDE_REQUEST) {
			st->in_step = false;
			/* the newest statement and the database may be others by now */
			stmts_del(&st->statements, STR(""));
			st->db_len = 0;
			st->request_goes_on = false;
			st->infile = false;
		} else {
			st->unsure = true;
			st->cut_rows = true;
			st->row_goes_on = false;
			if (st->step == STEP_COLUMNS || st->step == STEP_ROWS_BEGIN)
				st->step = STEP_ROWS;
		}
		return (ptrdiff_t)at;
	}
	return -1;
}

static void my_fini(void *state)
{
	struct my_state *st = state;

	stmts_fini(&st->statements);
}

extern const struct proto proto_mysql;
const struct proto proto_mysql = {
	.name = "mysql",
	.state_size = sizeof(struct my_state),
	.detect = my_detect,
	.parse = my_parse,
	.resync = my_resync,
	.fini = my_fini,
};

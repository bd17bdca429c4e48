/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL: recognising it, from the start or in the middle of a connection. */
#include "proto/postgres_internal.h"

#include <ctype.h>
#include <stdlib.h>

#define COLUMNS_MAX 1664       /* MaxTupleAttributeNumber */
#define PART_MAX    (16 << 20) /* a message that is believed to be so long unseen */
#define TEXT_MAX    (1 << 20)  /* bytes of a message to people; far more than there are */

/* Text that a client or server would send: no control bytes but white space. */
static bool is_text(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < 0x20 && !isspace(p[i]))
			return false;
	return true;
}

/* A NUL-terminated text of at most max bytes; when the bytes end before, that is no fault. */
static bool plausible_cstr(struct cursor *c, size_t max)
{
	struct cursor at = *c;
	struct str s = take_until(&at, 0);

	if (at.bad) {
		s = (struct str){ (const char *)c->p, cursor_left(c) };
		c->p = c->end;
		c->bad = true;
	} else {
		*c = at;
	}
	return s.len <= max && is_text((const uint8_t *)s.p, s.len);
}

/* One or two texts and 'extra' bytes that fill the body exactly. */
static bool plausible_texts(struct cursor c, uint32_t body, int cnt, size_t max, uint32_t extra)
{
	const uint8_t *from = c.p;

	while (cnt--) {
		if (!plausible_cstr(&c, max))
			return false;
		if (c.bad) /* not all here */
			return true;
	}
	return (size_t)(c.p - from) + extra == body;
}

/* The columns of a row fill it exactly; as far as they are at hand. */
static bool plausible_row(struct cursor c, uint32_t body)
{
	uint32_t cnt = take_u16be(&c), used = 2;

	if (cnt > COLUMNS_MAX)
		return false;
	while (cnt-- && !c.bad) {
		uint32_t len = take_u32be(&c);
		used += 4;
		if (c.bad || len == UINT32_MAX)
			continue;
		if (len > body || used + len > body)
			return false;
		used += len;
		take(&c, len);
	}
	return c.bad || used == body;
}

/* Name, table, column, type, size, modifier, format: 18 bytes after the name. */
static bool plausible_columns(struct cursor c, uint32_t body)
{
	const uint8_t *from = c.p;
	uint32_t cnt = take_u16be(&c);

	if (cnt > COLUMNS_MAX)
		return false;
	while (cnt-- && !c.bad) {
		if (!plausible_cstr(&c, 4 * PG_NAME_LEN))
			return false;
		take(&c, 18);
	}
	return c.bad || (size_t)(c.p - from) == body;
}

/* Fields of a letter and a text each, ended by a zero byte. */
static bool plausible_fields(struct cursor c, uint32_t body)
{
	const uint8_t *from = c.p;

	for (;;) {
		uint8_t field = take_u8(&c);
		if (c.bad)
			return true;
		if (!field)
			return (size_t)(c.p - from) == body;
		if (!isalpha(field) || !plausible_cstr(&c, SIZE_MAX))
			return false;
	}
}

static bool plausible_frontend(uint8_t type, uint32_t body, struct cursor c)
{
	switch (type) {
	case 'Q': return body > 0 && plausible_texts(c, body, 1, SIZE_MAX, 0);
	case 'P':
		return body >= 4 && plausible_cstr(&c, 256) &&
		       (c.bad || plausible_cstr(&c, SIZE_MAX));
	case 'B': return body >= 8 && plausible_cstr(&c, 256) && (c.bad || plausible_cstr(&c, 256));
	case 'D':
	case 'C': {
		uint8_t kind = take_u8(&c);
		if (c.bad)
			return body >= 2 && body <= 258;
		return (kind == 'S' || kind == 'P') && plausible_texts(c, body - 1, 1, 256, 0);
	}
	case 'E': return body >= 5 && body <= 261 && plausible_texts(c, body, 1, 256, 4);
	case 'S':
	case 'H':
	case 'X':
	case 'c': return body == 0;
	case 'f': return body > 0 && plausible_texts(c, body, 1, SIZE_MAX, 0);
	case 'F': return body >= 10;
	case 'p': return body <= 65536;
	case 'd': return true;
	default: return false;
	}
}

static bool plausible_backend(uint8_t type, uint32_t body, struct cursor c)
{
	uint8_t first = c.p < c.end ? *c.p : 0;
	bool seen = c.p < c.end;

	switch (type) {
	case 'Z': return body == 1 && (!seen || first == 'I' || first == 'T' || first == 'E');
	case 'C':
		return body > 1 && body <= 256 && (!seen || isupper(first)) &&
		       plausible_texts(c, body, 1, 255, 0);
	case 'E':
	case 'N': return body > 2 && body <= TEXT_MAX && plausible_fields(c, body);
	case 'T': return body >= 2 && body <= COLUMNS_MAX * 150 && plausible_columns(c, body);
	case 'D': return body >= 2 && plausible_row(c, body);
	case '1':
	case '2':
	case '3':
	case 'n':
	case 's':
	case 'I':
	case 'c': return body == 0;
	case 't': return body >= 2 && body <= 2 + 4 * 65535 && body % 4 == 2;
	case 'S': return body >= 2 && body <= TEXT_MAX && plausible_texts(c, body, 2, SIZE_MAX, 0);
	case 'K': return body >= 8 && body <= 260;
	case 'R': return body >= 4 && body <= 65536;
	case 'A':
		take(&c, 4);
		return body >= 6 && body <= TEXT_MAX &&
		       (c.bad || plausible_texts(c, body - 4, 2, SIZE_MAX, 0));
	case 'G':
	case 'H':
	case 'W': return body >= 3 && body <= 3 + 2 * COLUMNS_MAX && body % 2 == 1 && first <= 1;
	case 'v':
	case 'V': return body >= 4;
	case 'd': return true;
	default: return false;
	}
}

bool pg_plausible(enum side side, uint8_t type, uint32_t len, const uint8_t *body, size_t n)
{
	struct cursor c = cursor_of(body, n);

	if (len < 4 || len > PG_LEN_MAX)
		return false;
	return side == SIDE_REQUEST ? plausible_frontend(type, len - 4, c)
				    : plausible_backend(type, len - 4, c);
}

enum parse pg_take_header(enum side side, const struct cursor *c, struct pg_header *ret)
{
	struct cursor at = *c;
	struct pg_header h = { .type = take_u8(&at), .len = take_u32be(&at) };

	if (at.bad)
		return PARSE_MORE;
	h.whole = (size_t)h.len + 1;
	h.avail = MIN(h.whole, cursor_left(c));
	/* only what is cheap to check; a body is looked at where it is used */
	if (!pg_plausible(side, h.type, h.len, NULL, 0))
		return PARSE_BAD;
	*ret = h;
	return PARSE_OK;
}

/* Messages that follow each other up to the end of some bytes. */
struct chain {
	uint32_t cnt;
	uint8_t first, last;
	bool exact; /* the last one ends with the bytes */
	bool bad;
};

static struct chain follow(enum side side, const uint8_t *p, size_t len)
{
	struct chain ch = { .cnt = 0 };
	struct cursor c = cursor_of(p, len);

	while (cursor_left(&c) >= PG_HEADER_LEN) {
		uint8_t type = take_u8(&c);
		uint32_t size = take_u32be(&c);
		size_t body = size >= 4 ? MIN((size_t)size - 4, cursor_left(&c)) : 0;
		/* a length alone, of a type that holds anything, proves nothing */
		bool part = size >= 4 && body < (size_t)size - 4;
		if (!pg_plausible(side, type, size, c.p, body) ||
		    (part && (size > PART_MAX || (!ch.cnt && strchr("dpFV", type))))) {
			ch.bad = true;
			return ch;
		}
		ch.first = ch.cnt ? ch.first : type;
		ch.last = type;
		ch.cnt++;
		ch.exact = body == (size_t)size - 4;
		c.p += body;
	}
	ch.exact = ch.exact && c.p == c.end;
	return ch;
}

/* The chain's beginning is a query in words that SQL knows. */
static bool begins_query(const uint8_t *p, size_t len)
{
	struct cursor c = cursor_of(p, len);
	struct sql_summary sum;
	uint8_t type = take_u8(&c);
	const uint8_t *nul;

	take_u32be(&c);
	if (type == 'P')
		take_until(&c, 0);
	if (c.bad || (type != 'Q' && type != 'P'))
		return false;
	nul = memchr(c.p, 0, cursor_left(&c));
	sql_summarize((struct str){ (const char *)c.p, (size_t)((nul ? nul : c.end) - c.p) }, 0,
		      &sum);
	return sum.operation.len > 0;
}

static bool is_request(const uint8_t *p, size_t len, const struct chain *ch)
{
	if (ch->bad || !ch->cnt)
		return false;
	if (begins_query(p, len))
		return ch->exact || len >= 16;
	/* the extended protocol on statements known before */
	return ch->exact && ch->cnt >= 3 && (ch->last == 'S' || ch->last == 'H') &&
	       strchr("PBDEC", ch->first);
}

static bool is_response(const struct chain *ch)
{
	if (ch->bad || !ch->cnt)
		return false;
	if (ch->exact && ch->last == 'Z')
		return true;
	return (ch->first == 'T' && ch->cnt >= 3) || (ch->first == 'R' && ch->cnt >= 3) ||
	       (ch->first == 'E' && ch->exact);
}

/* The packets that begin a connection have no type byte. */
static enum detect detect_start(const uint8_t *p, size_t len)
{
	struct cursor c = cursor_of(p, len);
	uint32_t size = take_u32be(&c), code = take_u32be(&c);
	struct str key;

	if (size < 8 || size > PG_START_MAX)
		return len >= 4 ? DETECT_NO : DETECT_MORE;
	if (c.bad)
		return DETECT_MORE;
	if (code == PG_CODE_SSL || code == PG_CODE_GSS)
		return size == 8 && len == 8 ? DETECT_REQUEST : DETECT_NO;
	if (code == PG_CODE_CANCEL)
		return size >= 16 && len <= size ? DETECT_REQUEST : DETECT_NO;
	if (code >> 16 != PG_MAJOR || (code & 0xffff) > 99)
		return DETECT_NO;
	key = take_until(&c, 0);
	if (c.bad)
		return len < size ? DETECT_MORE : DETECT_NO;
	return key.len && is_text((const uint8_t *)key.p, key.len) ? DETECT_REQUEST : DETECT_NO;
}

static enum detect pg_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram)
{
	struct chain ask, answer;

	if (datagram)
		return DETECT_NO;
	if (!len)
		return DETECT_MORE;
	if (p[0] == 0)
		return detect_start(p, len);
	if (len < PG_HEADER_LEN)
		return isalnum(p[0]) ? DETECT_MORE : DETECT_NO;
	ask = follow(SIDE_REQUEST, p, len);
	answer = follow(SIDE_RESPONSE, p, len);
	if (is_request(p, len, &ask))
		return DETECT_REQUEST;
	if (is_response(&answer))
		return DETECT_RESPONSE;
	return ask.bad && answer.bad ? DETECT_NO : DETECT_MORE;
}

static enum parse pg_parse(struct parser *ps, enum side side, struct cursor *c)
{
	struct pg_state *st = parser_state(ps);

	return side == SIDE_REQUEST ? pg_parse_frontend(ps, st, c) : pg_parse_backend(ps, st, c);
}

/* The end of a response is kept even of a large one, so the way back in is a chain of messages
 * that ends with the bytes, in ReadyForQuery. */
static ptrdiff_t pg_resync(struct parser *ps, enum side side, const uint8_t *p, size_t len)
{
	struct pg_state *st = parser_state(ps);

	for (size_t at = 0; at + PG_HEADER_LEN <= len; at++) {
		struct chain ch = follow(side, p + at, len - at);
		if (ch.bad || !ch.cnt)
			continue;
		if (side == SIDE_RESPONSE ? is_response(&ch) : is_request(p + at, len - at, &ch)) {
			if (side == SIDE_RESPONSE) {
				st->unsure = true;
			} else {
				st->in_step = false;
				st->missing = true;
				st->group_lost = st->group_open;
				/* may be another by now; names are hardly used twice */
				stmts_del(&st->statements, STR(""));
				st->bound.known = false;
			}
			return (ptrdiff_t)at;
		}
	}
	return -1;
}

static void pg_fini(void *state)
{
	struct pg_state *st = state;

	stmts_fini(&st->statements);
	stmts_fini(&st->portals);
	free(st->queue);
}

extern const struct proto proto_postgres;
const struct proto proto_postgres = {
	.name = "postgres",
	.state_size = sizeof(struct pg_state),
	.detect = pg_detect,
	.parse = pg_parse,
	.resync = pg_resync,
	.fini = pg_fini,
};

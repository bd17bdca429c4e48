/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.0 and HTTP/1.1 (RFC 9112): heads whole, bodies skipped. Where a message ends follows
 * RFC 9112, 6.3. After a hole the next head is taken only where the connection has turned, since
 * bodies may well hold text that looks like a head.
 */
#include "proto/http_head.h"

#define EXPECT_MAX	64   /* requests that wait for their response */
#define CHUNK_LINE_MAX	4096 /* a chunk's size with its extensions */
#define FIRST_LINE_TEST 16   /* bytes that tell a response's beginning */

enum phase { PHASE_HEAD, PHASE_CHUNK_SIZE, PHASE_CHUNK_END, PHASE_TRAILERS };

/* What the request was, as far as its response's end depends on it. */
enum expect { EXPECT_BODY, EXPECT_HEAD, EXPECT_TUNNEL };

struct http_side {
	struct msg *m;	  /* whose chunked body is under way */
	uint64_t body;	  /* bytes of it so far */
	uint32_t scanned; /* bytes of the head that hold no end of it */
	uint8_t phase;	  /* enum phase */
};

struct http {
	struct http_side side[2];
	uint8_t expect[EXPECT_MAX]; /* enum expect; a ring */
	uint8_t first;
	uint8_t cnt;
};

/* ---- detection ---- */

/* The length of a request's method at p, 0 when there is none. */
static size_t method_len(const uint8_t *p, size_t len)
{
	size_t n = 0;

	while (n < len && n <= 32 && ((p[n] >= 'A' && p[n] <= 'Z') || p[n] == '-' || p[n] == '_'))
		n++;
	return n > 32 ? 0 : n;
}

/* The method, and the first byte of a target where there is one. */
static bool begins_request(const uint8_t *p, size_t len, size_t n)
{
	if (!n || (n < len && (n < 3 || p[n] != ' ')))
		return false;
	return n + 1 >= len || p[n + 1] == '/' || p[n + 1] == '*' || (p[n + 1] | 32) == 'h' ||
	       (n == 7 && memcmp(p, "CONNECT", 7) == 0);
}

/* DETECT_MORE while these bytes may become "METHOD target HTTP/1.x". */
static enum detect detect_request(const uint8_t *p, size_t len, bool *ret_known)
{
	size_t n = method_len(p, len);
	const uint8_t *lf = memchr(p, '\n', len);
	struct http_head h = { .code = 0 };
	struct str line;

	if (!begins_request(p, len, n))
		return DETECT_NO;
	*ret_known = n < len && http_is_known_method((struct str){ (const char *)p, n });
	if (!lf)
		return DETECT_MORE;
	line = (struct str){ (const char *)p, (size_t)(lf - p) };
	if (line.len && line.p[line.len - 1] == '\r')
		line.len--;
	return http_request_line(line, &h) ? DETECT_REQUEST : DETECT_NO;
}

static enum detect detect_response(const uint8_t *p, size_t len)
{
	static const char pattern[] = "HTTP/1.v ddd";
	size_t n = MIN(len, sizeof(pattern) - 1);

	for (size_t i = 0; i < n; i++) {
		bool ok = pattern[i] == 'v'   ? p[i] == '0' || p[i] == '1'
			  : pattern[i] == 'd' ? p[i] >= (i == 9 ? '1' : '0') && p[i] <= '9'
					      : p[i] == (uint8_t)pattern[i];
		if (!ok)
			return DETECT_NO;
	}
	return n == sizeof(pattern) - 1 ? DETECT_RESPONSE : DETECT_MORE;
}

static enum detect http_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram)
{
	bool known = false;
	enum detect d;

	if (datagram || !len)
		return DETECT_NO;
	d = detect_response(p, len);
	if (d != DETECT_NO)
		return d;
	d = detect_request(p, len, &known);
	/* a long target: what is seen must do */
	return d == DETECT_MORE && len >= DETECT_MAX ? (known ? DETECT_REQUEST : DETECT_NO) : d;
}

/* ---- what responses depend on ---- */

static void expect_push(struct http *s, enum expect e)
{
	if (s->cnt == EXPECT_MAX) {
		s->first = (uint8_t)((s->first + 1) % EXPECT_MAX);
		s->cnt--;
	}
	s->expect[(s->first + s->cnt) % EXPECT_MAX] = (uint8_t)e;
	s->cnt++;
}

static enum expect expect_pop(struct http *s)
{
	enum expect e = EXPECT_BODY;

	if (s->cnt) {
		e = (enum expect)s->expect[s->first];
		s->first = (uint8_t)((s->first + 1) % EXPECT_MAX);
		s->cnt--;
	}
	return e;
}

/* Responses were lost: the next one answers the newest request at the earliest. */
static void expect_newest(struct http *s)
{
	while (s->cnt > 1)
		expect_pop(s);
}

/* ---- heads ---- */

/* One line without its end; false when there is no end yet. */
static bool take_line(struct cursor *c, struct str *ret_line)
{
	const uint8_t *lf = memchr(c->p, '\n', cursor_left(c));
	struct str line = { (const char *)c->p, 0 };

	if (!lf)
		return false;
	line.len = (size_t)(lf - c->p);
	if (line.len && line.p[line.len - 1] == '\r')
		line.len--;
	c->p = lf + 1;
	*ret_line = line;
	return true;
}

/* The empty line is there, looked for from where the last call stopped. */
static bool head_is_whole(struct http_side *hs, const struct cursor *c)
{
	const uint8_t *p = c->p + MIN((size_t)hs->scanned, cursor_left(c));

	/* of a head alone it is the end */
	if (cursor_left(c) >= 4 && memcmp(c->end - 4, "\r\n\r\n", 4) == 0)
		return true;
	while (p < c->end && (p = memchr(p, '\n', (size_t)(c->end - p)))) {
		if (c->end - p > 1 && p[1] == '\n')
			return true;
		if (c->end - p > 2 && p[1] == '\r' && p[2] == '\n')
			return true;
		if (c->end - p <= 2)
			break;
		p++;
	}
	hs->scanned = (uint32_t)(cursor_left(c) > 2 ? cursor_left(c) - 2 : 0);
	return false;
}

static enum parse request_end(struct parser *ps, struct http *s, struct msg *m,
			      const struct http_head *h, size_t taken)
{
	struct http_side *hs = &s->side[SIDE_REQUEST];

	expect_push(s, str_eq(h->method, STR("HEAD"))	   ? EXPECT_HEAD
		       : str_eq(h->method, STR("CONNECT")) ? EXPECT_TUNNEL
							   : EXPECT_BODY);
	http_fill_request(ps, m, h);
	if (h->chunked) {
		parser_publish(ps, m);
		hs->m = m;
		hs->body = 0;
		hs->phase = PHASE_CHUNK_SIZE;
	} else if (h->has_length && h->length) {
		parser_skip_to_end(ps, m, h->length);
	} else {
		parser_end(ps, m, taken);
	}
	return PARSE_OK;
}

static enum parse response_end(struct parser *ps, struct http *s, struct msg *m,
			       struct http_head *h, size_t taken)
{
	struct http_side *hs = &s->side[SIDE_RESPONSE];
	enum expect e = expect_pop(s);
	bool tunnel = h->code == 101 || (e == EXPECT_TUNNEL && h->code / 100 == 2);
	bool empty = e == EXPECT_HEAD || h->code == 204 || h->code == 304;

	/* what a body would have measured is not this message's size */
	if (empty)
		h->has_length = false;
	http_fill_response(ps, m, h);
	if (tunnel || empty || (!h->has_te && h->has_length && !h->length)) {
		parser_end(ps, m, taken);
		if (tunnel)
			parser_give_up(ps);
	} else if (h->chunked) {
		parser_publish(ps, m);
		hs->m = m;
		hs->body = 0;
		hs->phase = PHASE_CHUNK_SIZE;
	} else {
		parser_skip_to_end(ps, m, h->has_length && !h->has_te ? h->length : UINT64_MAX);
	}
	return PARSE_OK;
}

static enum parse parse_head(struct parser *ps, struct http *s, enum side side, struct cursor *c,
			     bool whole)
{
	struct http_side *hs = &s->side[side];
	const uint8_t *from = c->p;
	struct http_head h = { .code = 0 };
	struct str line;
	struct msg *m;

	if (!whole && !parser_cut(ps))
		return PARSE_MORE;
	hs->scanned = 0;
	/* cut short, with the first line whole: what is known counts */
	if (!take_line(c, &line) ||
	    !(side == SIDE_REQUEST ? http_request_line(line, &h) : http_status_line(line, &h)))
		return PARSE_BAD;
	while (take_line(c, &line) && line.len)
		http_header(line, &h);
	/* several lengths, or a request whose end nobody can know, are an attack or not HTTP */
	if (!h.has_te && h.bad_length)
		return PARSE_BAD;
	if (side == SIDE_REQUEST && h.has_te && !h.chunked)
		return PARSE_BAD;
	/* 100 Continue and the like are not the response */
	if (side == SIDE_RESPONSE && h.code / 100 == 1 && h.code != 101)
		return PARSE_OK;
	m = parser_begin(ps, side == SIDE_REQUEST ? MSG_REQUEST : MSG_RESPONSE, 0, 0);
	if (!whole) {
		parser_flag(m, MSG_TRUNCATED);
		c->p = c->end;
		h.has_te = h.chunked = h.has_length = false;
		h.length = 0;
		if (side == SIDE_RESPONSE)
			h.has_length = true;
	}
	if (side == SIDE_REQUEST)
		return request_end(ps, s, m, &h, (size_t)(c->p - from));
	return response_end(ps, s, m, &h, (size_t)(c->p - from));
}

/* Tells early, by few bytes, that this is no head; the first line of one that is whole is read
 * anyway. */
static bool may_be_head(enum side side, const struct cursor *c, bool whole)
{
	size_t left = cursor_left(c);
	bool known;

	if (side == SIDE_RESPONSE)
		return whole || detect_response(c->p, left) != DETECT_NO;
	if (whole)
		return begins_request(c->p, left, method_len(c->p, left));
	return detect_request(c->p, left, &known) != DETECT_NO;
}

/* ---- chunked bodies (RFC 9112, 7.1) ---- */

static enum parse parse_chunk_size(struct parser *ps, struct http_side *hs, struct cursor *c)
{
	uint64_t size = 0;
	size_t digits = 0;
	struct str line;

	if (!take_line(c, &line))
		return cursor_left(c) > CHUNK_LINE_MAX ? PARSE_BAD : PARSE_MORE;
	for (; digits < line.len; digits++) {
		char ch = line.p[digits];
		unsigned int v = ch >= '0' && ch <= '9'			? (unsigned int)(ch - '0')
				 : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10u
									: 16;
		if (v == 16)
			break;
		if (size >> 59)
			return PARSE_BAD;
		size = size << 4 | v;
	}
	if (!digits || (digits < line.len && !strchr("; \t", line.p[digits])))
		return PARSE_BAD;
	hs->phase = size ? PHASE_CHUNK_END : PHASE_TRAILERS;
	hs->body += size;
	if (size)
		parser_skip(ps, size);
	return PARSE_OK;
}

static enum parse parse_chunk_end(struct http_side *hs, struct cursor *c)
{
	struct str line;

	if (c->p == c->end || (*c->p == '\r' && cursor_left(c) == 1))
		return PARSE_MORE;
	if (!take_line(c, &line) || line.len)
		return PARSE_BAD;
	hs->phase = PHASE_CHUNK_SIZE;
	return PARSE_OK;
}

static enum parse parse_trailers(struct parser *ps, struct http_side *hs, struct cursor *c)
{
	const uint8_t *from = c->p;
	struct str line;

	if (!take_line(c, &line))
		return PARSE_MORE;
	if (line.len)
		return PARSE_OK;
	if (hs->m) {
		hs->m->body_size = hs->body;
		parser_end(ps, hs->m, (size_t)(c->p - from));
	}
	hs->m = NULL;
	hs->phase = PHASE_HEAD;
	return PARSE_OK;
}

/* ---- the protocol ---- */

static enum parse http_parse(struct parser *ps, enum side side, struct cursor *c)
{
	struct http *s = parser_state(ps);
	struct http_side *hs = &s->side[side];
	bool first, whole;

	if (c->p == c->end)
		return PARSE_MORE;
	switch ((enum phase)hs->phase) {
	case PHASE_CHUNK_SIZE: return parse_chunk_size(ps, hs, c);
	case PHASE_CHUNK_END: return parse_chunk_end(hs, c);
	case PHASE_TRAILERS: return parse_trailers(ps, hs, c);
	case PHASE_HEAD: break;
	}
	if (!hs->scanned && (*c->p == '\r' || *c->p == '\n')) {
		/* empty lines before a head are to be passed over (RFC 9112, 2.2) */
		c->p++;
		return PARSE_OK;
	}
	first = !hs->scanned;
	whole = head_is_whole(hs, c);
	if (first && !may_be_head(side, c, whole)) {
		hs->scanned = 0;
		return PARSE_BAD;
	}
	return parse_head(ps, s, side, c, whole);
}

/* What begins here looks like a head: 1 yes, 0 no, -1 too few bytes. */
static int is_head(enum side side, const uint8_t *p, size_t len)
{
	enum detect d;
	bool known = false;

	if (side == SIDE_RESPONSE)
		d = detect_response(p, len);
	else
		d = detect_request(p, len, &known);
	if (d == DETECT_NO)
		return 0;
	return d != DETECT_MORE || (known && len > FIRST_LINE_TEST) ? 1 : -1;
}

static ptrdiff_t http_resync(struct parser *ps, enum side side, const uint8_t *p, size_t len)
{
	static const char last_chunk[] = "\r\n0\r\n\r\n";
	struct http *s = parser_state(ps);
	struct http_side *hs = &s->side[side];
	ptrdiff_t turn = parser_turn(ps);
	size_t before = turn >= 0 ? (size_t)turn : len;
	const uint8_t *end = NULL;

	hs->scanned = 0;
	if (hs->phase != PHASE_HEAD)
		end = memmem(p, before, last_chunk, sizeof(last_chunk) - 1);
	if (end) {
		/* chunks were lost, the end was not; how long the body was is not known */
		hs->phase = PHASE_CHUNK_SIZE;
		hs->body = UINT64_MAX;
		return end + 2 - p;
	}
	if (turn < 0 || is_head(side, p + turn, len - (size_t)turn) != 1)
		return -1;
	if (hs->m)
		parser_end(ps, hs->m, (size_t)turn);
	hs->m = NULL;
	hs->phase = PHASE_HEAD;
	if (side == SIDE_RESPONSE)
		expect_newest(s);
	return turn;
}

const struct proto proto_http = {
	.name = "http",
	.state_size = sizeof(struct http),
	.detect = http_detect,
	.parse = http_parse,
	.resync = http_resync,
};

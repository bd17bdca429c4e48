/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis: RESP2 and RESP3 (the Redis serialization protocol specification) and inline commands.
 * Requests are read as far as their text goes, replies as far as their first line; the rest of
 * long strings is skipped. What the server says by itself (messages of subscriptions, push
 * frames) is no reply.
 */
#include "proto/redis_internal.h"

#include <stdio.h>

#define ARGS_MAX    (1u << 20) /* as the server's own limit */
#define BULK_MAX    (1ull << 32)
#define DEPTH_MAX   16 /* of nested replies */
#define LINE_MAX_IN 16384
#define ERROR_MAX   200 /* bytes of an error's text */
#define WAITING_MAX 16	/* commands out of the ordinary that wait for their reply */

/* A command whose reply is not simply the next one. */
struct waiting {
	uint64_t seq; /* number of the request */
	uint32_t replies;
};

struct redis {
	/* requests */
	struct msg *request; /* whose arguments are being skipped */
	uint32_t args_left;
	uint32_t queued; /* commands since MULTI */
	bool multi;
	bool silent;   /* CLIENT REPLY OFF */
	uint8_t skips; /* CLIENT REPLY SKIP: requests without a reply */
	bool has_db;
	char db[12];
	/* replies */
	struct msg *reply;
	bool in_reply; /* inside an aggregate; reply may be NULL: nobody's */
	uint8_t depth;
	uint64_t left[DEPTH_MAX]; /* elements yet to come, a level */
	/* which reply belongs to which request */
	uint64_t sent, answered;
	uint32_t confirms; /* of a subscription, after the first */
	bool subscribed;
	uint8_t waiting_cnt;
	struct waiting waiting[WAITING_MAX];
};

/* ---- requests ---- */

static void request_attrs(struct parser *ps, struct redis *s, struct msg *m,
			  const struct redis_command *cmd)
{
	struct arena *mem = parser_mem(ps);

	m->operation = cmd->word[1][0] ? arena_printf(mem, "%s %s", cmd->word[0], cmd->word[1])
				       : arena_str(mem, str_of(cmd->word[0]));
	attrs_add_str(&m->attrs, mem, "db.system.name", STR("redis"));
	attrs_add_str(&m->attrs, mem, "db.operation.name", m->operation);
	attrs_add_str(&m->attrs, mem, "db.query.text",
		      arena_str(mem, (struct str){ cmd->text, cmd->len }));
	if (s->has_db)
		attrs_add_str(&m->attrs, mem, "db.namespace", arena_str(mem, str_of(s->db)));
	if (cmd->effect == REDIS_EXEC && s->multi && s->queued > 1)
		attrs_add_int(&m->attrs, mem, "db.operation.batch.size", s->queued);
	if (cmd->effect == REDIS_SETUP || cmd->effect == REDIS_SELECT)
		parser_flag(m, MSG_INTERNAL);
}

/* CLIENT REPLY ON|OFF|SKIP; true when this command itself has no reply. */
static bool client_reply(struct redis *s, const struct redis_command *cmd)
{
	s->silent = str_eq_nocase(cmd->arg, STR("OFF"));
	if (str_eq_nocase(cmd->arg, STR("SKIP")))
		s->skips = 2;
	return s->silent || s->skips;
}

/* What the command changes for those after it; true when no reply will come. */
static bool request_effect(struct parser *ps, struct redis *s, const struct redis_command *cmd,
			   uint32_t args)
{
	bool silent = s->silent;

	switch (cmd->effect) {
	case REDIS_SELECT:
		if (cmd->arg.len < sizeof(s->db) && cmd->arg.len) {
			snprintf(s->db, sizeof(s->db), STR_FMT, STR_ARG(cmd->arg));
			s->has_db = strspn(s->db, "0123456789") == cmd->arg.len;
		}
		break;
	case REDIS_REPLY: silent = client_reply(s, cmd); break;
	case REDIS_SUBSCRIBE:
		if (s->waiting_cnt < WAITING_MAX)
			s->waiting[s->waiting_cnt++] =
				(struct waiting){ s->sent, args > 1 ? args - 1 : 1 };
		break;
	case REDIS_STREAM: parser_give_up(ps); return true;
	default: break;
	}
	s->queued++;
	if (cmd->effect == REDIS_MULTI || cmd->effect == REDIS_EXEC || cmd->effect == REDIS_DISCARD)
		s->multi = cmd->effect == REDIS_MULTI;
	if (cmd->effect == REDIS_MULTI)
		s->queued = 0;
	if (s->skips) {
		s->skips--;
		silent = true;
	}
	if (!silent)
		s->sent++;
	return silent;
}

static void request_known(struct parser *ps, struct redis *s, struct msg *m,
			  const struct redis_command *cmd, uint32_t args)
{
	if (m)
		request_attrs(ps, s, m, cmd);
	if (request_effect(ps, s, cmd, args))
		parser_flag(m, MSG_ONE_WAY);
}

static enum parse parse_inline(struct parser *ps, struct redis *s, struct cursor *c)
{
	const uint8_t *from = c->p, *lf = memchr(c->p, '\n', cursor_left(c));
	struct redis_command cmd = { .len = 0 };
	struct str line = { (const char *)from, 0 };
	uint32_t cnt;
	struct msg *m;

	if (!lf) {
		line.len = MIN(cursor_left(c), (size_t)REDIS_WORD_MAX);
		for (size_t i = 0; i < line.len && line.p[i] != ' ' && line.p[i] != '\r'; i++)
			if (!redis_is_word((struct str){ line.p, i + 1 }))
				return PARSE_BAD;
		return cursor_left(c) > LINE_MAX_IN ? PARSE_BAD : PARSE_MORE;
	}
	line.len = (size_t)(lf - from);
	if (line.len && line.p[line.len - 1] == '\r')
		line.len--;
	c->p = lf + 1;
	if (!line.len)
		return PARSE_OK; /* the server passes over empty lines */
	if (!redis_add_inline(&cmd, line, &cnt))
		return PARSE_BAD;
	m = parser_begin(ps, MSG_REQUEST, 0, 0);
	request_known(ps, s, m, &cmd, cnt);
	parser_end(ps, m, (size_t)(c->p - from));
	return PARSE_OK;
}

/* The arguments beyond the text: one a call. */
static enum parse parse_rest(struct parser *ps, struct redis *s, struct cursor *c)
{
	struct msg *m = s->request;
	uint64_t len;
	bool none;
	enum parse r = redis_take_header(c, '$', &len, &none);

	if (r != PARSE_OK)
		return r;
	if (none || len > BULK_MAX)
		return PARSE_BAD;
	if (--s->args_left) {
		parser_skip(ps, len + 2);
	} else {
		s->request = NULL;
		parser_skip_to_end(ps, m, len + 2);
	}
	return PARSE_OK;
}

/* What a command's arguments have come to. */
struct progress {
	uint64_t skip;	/* bytes of the last argument yet to come */
	bool truncated; /* a hole follows, and they would have been shown */
};

static enum parse take_arg(struct parser *ps, struct cursor *c, struct redis_command *cmd,
			   uint32_t i, struct progress *ret)
{
	size_t room = redis_room(cmd), have;
	struct str arg;
	uint64_t len;
	bool none, enough;
	enum parse r = redis_take_header(c, '$', &len, &none);

	if (r != PARSE_OK)
		return r;
	if (none || len > BULK_MAX || (i == 0 && len >= REDIS_WORD_MAX))
		return PARSE_BAD;
	have = cursor_left(c);
	/* the text's share of a long argument is enough */
	enough = have >= len + 2 || (i > 0 && len > room && have >= room);
	if (!enough && (i == 0 || !parser_cut(ps)))
		return PARSE_MORE;
	arg = (struct str){ (const char *)c->p, MIN(len, (uint64_t)have) };
	if (!redis_add_arg(cmd, i, arg, len))
		return PARSE_BAD;
	if (have >= len + 2) {
		c->p += len + 2;
		return c->p[-2] == '\r' && c->p[-1] == '\n' ? PARSE_OK : PARSE_BAD;
	}
	ret->skip = len + 2 - have;
	ret->truncated = !enough && have < len;
	c->p = c->end;
	return PARSE_OK;
}

/* The command is known; what of it is yet to come is skipped. */
static void request_ends(struct parser *ps, struct redis *s, struct msg *m, uint32_t args_left,
			 uint64_t skip, size_t at)
{
	if (args_left) {
		parser_publish(ps, m);
		s->request = m;
		s->args_left = args_left;
		parser_skip(ps, skip);
	} else if (skip) {
		parser_skip_to_end(ps, m, skip);
	} else {
		parser_end(ps, m, at);
	}
}

static enum parse parse_command(struct parser *ps, struct redis *s, struct cursor *c)
{
	struct redis_command cmd = { .len = 0 };
	struct progress got = { .skip = 0 };
	const uint8_t *from = c->p;
	uint64_t cnt;
	uint32_t i = 0;
	bool none;
	struct msg *m;
	enum parse r = redis_take_header(c, '*', &cnt, &none);

	if (r != PARSE_OK)
		return r;
	if (none || !cnt)
		return PARSE_OK;
	if (cnt > ARGS_MAX)
		return PARSE_BAD;
	for (; i < cnt && !got.skip && !cmd.full; i++) {
		r = take_arg(ps, c, &cmd, i, &got);
		if (r == PARSE_MORE && i && parser_cut(ps)) {
			/* how long the rest is was in the hole */
			got.truncated = true;
			c->p = c->end;
			cnt = i;
			break;
		}
		if (r != PARSE_OK)
			return r;
	}
	m = parser_begin(ps, MSG_REQUEST, 0, 0);
	request_known(ps, s, m, &cmd, (uint32_t)cnt);
	if (got.truncated || (i < cnt && !cmd.full))
		parser_flag(m, MSG_TRUNCATED);
	request_ends(ps, s, m, (uint32_t)cnt - i, got.skip, (size_t)(c->p - from));
	return PARSE_OK;
}

/* ---- replies ---- */

static void reply_error(struct parser *ps, struct msg *m, struct str text)
{
	struct str word = text;
	size_t n = 0;

	if (!m)
		return;
	word.len = 0;
	while (word.len < text.len && text.p[word.len] >= 'A' && text.p[word.len] <= 'Z')
		word.len++;
	if (!word.len)
		word = STR("ERR");
	/* errors quote what the client sent: that part stays out */
	while (n < text.len && n < ERROR_MAX && !strchr("'\"`", text.p[n]) && text.p[n] >= ' ' &&
	       text.p[n] <= '~')
		n++;
	m->status = m->server_status = STATUS_ERROR;
	m->error_type = word;
	m->status_message = str_trim((struct str){ text.p, n });
	attrs_add_str(&m->attrs, parser_mem(ps), "db.response.status_code", word);
}

/* The first word of an aggregate, when it is a short string; MORE until that is known. */
static enum parse first_word(struct cursor c, struct str *ret_word)
{
	uint64_t len = 0;
	bool none = false;
	enum parse r;

	*ret_word = (struct str){ NULL, 0 };
	if (c.p == c.end)
		return PARSE_MORE;
	r = redis_take_header(&c, '$', &len, &none);
	if (r != PARSE_OK)
		return r == PARSE_MORE ? r : PARSE_OK;
	if (none || len > REDIS_WORD_MAX)
		return PARSE_OK;
	if (cursor_left(&c) < len)
		return PARSE_MORE;
	*ret_word = (struct str){ (const char *)c.p, (size_t)len };
	return PARSE_OK;
}

static bool ends_in(struct str s, struct str end)
{
	return s.len >= end.len && str_eq(str_from(s, s.len - end.len), end);
}

/* Says whether an aggregate that may be the server's own is the reply to a request. */
static bool is_reply(struct redis *s, char type, struct str word)
{
	bool awaited = s->waiting_cnt && s->waiting[0].seq == s->answered;

	if (ends_in(word, STR("subscribe"))) {
		if (s->confirms) {
			s->confirms--;
			return false;
		}
		if (!awaited)
			return s->sent > s->answered && type == '*' && !s->subscribed;
		s->confirms = s->waiting[0].replies - 1;
		s->subscribed = true;
		memmove(s->waiting, s->waiting + 1, --s->waiting_cnt * sizeof(s->waiting[0]));
		return true;
	}
	if (type == '>')
		return false;
	if (ends_in(word, STR("message")) && (s->subscribed || s->sent == s->answered))
		return false;
	return true;
}

static void answered(struct redis *s)
{
	if (s->answered < s->sent)
		s->answered++;
}

/* One element has gone by; closes the levels it ends. True when the reply is over. */
static bool element_done(struct redis *s)
{
	while (s->depth && --s->left[s->depth - 1] == 0)
		s->depth--;
	return s->depth == 0;
}

static uint64_t elements(char type, uint64_t n)
{
	return type == '%' || type == '|' ? n * 2 : n;
}

/* One line of a reply, and what of a string's bytes is there. *ret_skip: those yet to come. */
static enum parse take_element(struct redis *s, struct cursor *c, struct str *ret_line,
			       uint64_t *ret_skip)
{
	const uint8_t *lf;
	char type = (char)*c->p;
	uint64_t n = 0, took;
	bool none = false;
	enum parse r;

	*ret_skip = 0;
	if (!type || !strchr(redis_types, type))
		return PARSE_BAD;
	if (strchr("$!=*%~>|", type)) {
		r = redis_take_header(c, type, &n, &none);
		if (r != PARSE_OK)
			return r;
		if (n > BULK_MAX)
			return PARSE_BAD;
		/* an error's text is wanted */
		if (type == '!' && cursor_left(c) < MIN(n, (uint64_t)ERROR_MAX))
			return PARSE_MORE;
		if (none)
			n = 0;
		if (strchr("$!=", type) && !none) {
			*ret_line = (struct str){ (const char *)c->p, MIN(n, cursor_left(c)) };
			took = MIN(n + 2, (uint64_t)cursor_left(c));
			c->p += took;
			*ret_skip = n + 2 - took;
			element_done(s);
			return PARSE_OK;
		}
		if (n && s->depth == DEPTH_MAX)
			return PARSE_BAD;
		if (n)
			s->left[s->depth++] = elements(type, n);
		else
			element_done(s);
		return PARSE_OK;
	}
	lf = memchr(c->p, '\n', cursor_left(c));
	if (!lf)
		return cursor_left(c) > LINE_MAX_IN ? PARSE_BAD : PARSE_MORE;
	if (lf - c->p < 2 || lf[-1] != '\r')
		return PARSE_BAD;
	*ret_line = (struct str){ (const char *)c->p + 1, (size_t)(lf - c->p) - 2 };
	c->p = lf + 1;
	element_done(s);
	return PARSE_OK;
}

/* The reply, or what the server said by itself, has ended but for 'skip' bytes. */
static void reply_done(struct parser *ps, struct redis *s, size_t at, uint64_t skip)
{
	struct msg *m = s->reply;

	s->reply = NULL;
	s->in_reply = false;
	if (skip)
		parser_skip_to_end(ps, m, skip);
	else
		parser_end(ps, m, at);
}

static enum parse parse_reply(struct parser *ps, struct redis *s, struct cursor *c)
{
	const uint8_t *from = c->p, *before;
	char type = (char)*c->p;
	bool begins = !s->in_reply;
	struct str word, line = { NULL, 0 };
	struct cursor peek = *c;
	uint64_t n, skip = 0;
	bool none, mine = true;
	enum parse r;

	if (begins && (type == '*' || type == '>')) {
		r = redis_take_header(&peek, type, &n, &none);
		if (r == PARSE_OK && !none && n)
			r = first_word(peek, &word);
		else
			word = (struct str){ NULL, 0 };
		if (r != PARSE_OK)
			return r;
		mine = is_reply(s, type, word);
	}
	if (begins)
		s->depth = 0;
	do {
		before = c->p;
		r = take_element(s, c, &line, &skip);
		if (r == PARSE_MORE && before > from) {
			c->p = before;
			return PARSE_OK;
		}
		if (r != PARSE_OK)
			return r;
		if (begins && mine && type != '|') {
			s->reply = parser_begin(ps, MSG_RESPONSE, 0, 0);
			if (type == '-' || type == '!')
				reply_error(ps, s->reply, line);
			answered(s);
		}
		begins = false;
		s->in_reply = true;
	} while (s->depth && !skip && c->p < c->end);
	if (!s->depth)
		reply_done(ps, s, (size_t)(c->p - from), skip);
	else if (skip)
		parser_skip(ps, skip);
	if (s->reply && s->depth)
		parser_publish(ps, s->reply);
	return PARSE_OK;
}

/* ---- the protocol ---- */

static enum parse redis_parse(struct parser *ps, enum side side, struct cursor *c)
{
	struct redis *s = parser_state(ps);

	if (c->p == c->end)
		return PARSE_MORE;
	if (side == SIDE_RESPONSE)
		return parse_reply(ps, s, c);
	if (s->args_left)
		return parse_rest(ps, s, c);
	return *c->p == '*' ? parse_command(ps, s, c) : parse_inline(ps, s, c);
}

static ptrdiff_t redis_resync(struct parser *ps, enum side side, const uint8_t *p, size_t len)
{
	struct redis *s = parser_state(ps);
	ptrdiff_t turn = parser_turn(ps);
	struct msg **m = side == SIDE_REQUEST ? &s->request : &s->reply;
	enum detect d;

	if (turn < 0)
		return -1;
	p += turn;
	len -= (size_t)turn;
	if (p[0] == '*')
		d = redis_detect_array(p, len, false);
	else if (side == SIDE_REQUEST)
		d = redis_detect_inline(p, len) == DETECT_NO ? DETECT_NO : DETECT_REQUEST;
	else
		d = redis_detect_reply(p, len, false);
	/* an array of strings may be a reply as well as a request */
	if (d == DETECT_NO || d == DETECT_MORE || (side == SIDE_REQUEST && d != DETECT_REQUEST))
		return -1;
	parser_end(ps, *m, (size_t)turn);
	*m = NULL;
	s->waiting_cnt = 0;
	if (side == SIDE_REQUEST) {
		s->args_left = 0;
		s->multi = s->silent = false;
		s->skips = 0;
	} else {
		s->in_reply = false;
		s->depth = 0;
		s->confirms = 0;
		/* the next reply is the newest request's */
		s->answered = s->sent ? s->sent - 1 : 0;
	}
	return turn;
}

const struct proto proto_redis = {
	.name = "redis",
	.state_size = sizeof(struct redis),
	.detect = redis_detect,
	.parse = redis_parse,
	.resync = redis_resync,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS over UDP: RFC 1035 section 4, EDNS of RFC 6891. Each datagram is a message of its own; the
 * DNS id is the stream. Multicast DNS, LLMNR, NetBIOS names, update and notify are not ours.
 */
#include "proto/parser.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <xxhash.h>

#define HEADER_LEN    12
#define FLAG_RESPONSE 0x8000
#define OPCODE_MASK   0x7800
#define FLAG_ZERO     0x0040 /* reserved, always 0 */
#define RCODE_MASK    0x000f

#define NAME_MAX_WIRE 255
#define NAME_MAX_TEXT (NAME_MAX_WIRE * 4 + 2) /* every byte as \DDD */
#define POINTERS_MAX  64
#define ANSWERS_MAX   16
#define RECORDS_MAX   256
#define FLIGHT_MAX    16

#define TYPE_A	   1
#define TYPE_CNAME 5
#define TYPE_AAAA  28
#define TYPE_OPT   41

#define PORT_NETBIOS 137
#define PORT_MDNS    5353
#define PORT_LLMNR   5355

/* A question that was asked; a repeated one is the same exchange, and so is a repeated answer. */
struct flight {
	uint16_t id;
	bool used;
	bool answered;
	uint32_t hash;
};

struct dns_state {
	struct flight flight[FLIGHT_MAX];
	uint32_t next;
};

struct header {
	uint16_t id, flags, questions, answers, authorities, additionals;
};

struct question {
	char name[NAME_MAX_TEXT];
	size_t len;
	uint16_t type, class;
};

struct record {
	uint16_t type, class;
	uint32_t ttl;
	const uint8_t *data;
	size_t len;
};

static bool take_header(struct cursor *c, struct header *h)
{
	h->id = take_u16be(c);
	h->flags = take_u16be(c);
	h->questions = take_u16be(c);
	h->answers = take_u16be(c);
	h->authorities = take_u16be(c);
	h->additionals = take_u16be(c);
	return !c->bad;
}

/* Lower case, since DNS knows no case; bytes that are no text as RFC 1035 5.1 writes them. */
static size_t label_text(char *out, const uint8_t *p, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (p[i] == '.' || p[i] == '\\') {
			out[n++] = '\\';
			out[n++] = (char)p[i];
		} else if (p[i] > 0x20 && p[i] < 0x7f) {
			out[n++] = (char)tolower(p[i]);
		} else {
			n += (size_t)sprintf(out + n, "\\%03u", p[i]);
		}
	}
	return n;
}

/*
 * A name at the cursor, which is left after it. Pointers must lead backwards and are bounded; msg
 * is the whole datagram they count from. out: NAME_MAX_TEXT bytes. False on bad bytes.
 */
static bool take_name(struct cursor *c, struct cursor msg, char *out, size_t *ret_len)
{
	struct cursor at = *c;
	size_t wire = 1, len = 0;
	bool jumped = false;

	for (int hops = 0; hops < POINTERS_MAX;) {
		size_t here = (size_t)(at.p - msg.p);
		uint8_t n = take_u8(&at);
		const uint8_t *label;
		if (at.bad)
			return false;
		if ((n & 0xc0) == 0xc0) {
			size_t to = (size_t)(n & 0x3f) << 8 | take_u8(&at);
			if (at.bad || to >= here || to < HEADER_LEN)
				return false;
			if (!jumped)
				c->p = at.p;
			jumped = true;
			hops++;
			at.p = msg.p + to;
			continue;
		}
		if (n == 0) {
			if (!jumped)
				c->p = at.p;
			if (!len)
				out[len++] = '.';
			*ret_len = len;
			return true;
		}
		label = take(&at, n);
		wire += 1u + n;
		if (n & 0xc0 || !label || wire > NAME_MAX_WIRE)
			return false;
		if (len)
			out[len++] = '.';
		len += label_text(out + len, label, n);
	}
	return false;
}

static bool take_question(struct cursor *c, struct cursor msg, struct question *q)
{
	if (!take_name(c, msg, q->name, &q->len))
		return false;
	q->type = take_u16be(c);
	q->class = take_u16be(c);
	return !c->bad;
}

static bool take_record(struct cursor *c, struct cursor msg, struct record *r)
{
	char name[NAME_MAX_TEXT];
	size_t len;

	if (!take_name(c, msg, name, &len))
		return false;
	r->type = take_u16be(c);
	r->class = take_u16be(c);
	r->ttl = take_u32be(c);
	r->len = take_u16be(c);
	r->data = take(c, r->len);
	return !c->bad;
}

static bool plausible_header(const struct header *h)
{
	if (h->flags & (OPCODE_MASK | FLAG_ZERO) || h->questions > 1)
		return false;
	if (h->answers + h->authorities + h->additionals > RECORDS_MAX)
		return false;
	/* a query carries no answers, and at most EDNS and a signature */
	if (!(h->flags & FLAG_RESPONSE))
		return h->questions == 1 && !(h->flags & RCODE_MASK) && !h->answers &&
		       !h->authorities && h->additionals <= 2;
	/* an answer leaves the question out only to refuse it */
	return h->questions == 1 || (h->flags & RCODE_MASK && !h->answers);
}

static bool plausible_class(uint16_t class)
{
	return class == 1 || class == 3 || class == 4 || class == 255;
}

static enum detect dns_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram)
{
	struct cursor msg = cursor_of(p, len), c = msg;
	struct header h;
	struct question q;
	struct record r;
	uint32_t records;

	if (!datagram || port == PORT_MDNS || port == PORT_LLMNR || port == PORT_NETBIOS)
		return DETECT_NO;
	if (!take_header(&c, &h) || !plausible_header(&h) || h.questions != 1)
		return DETECT_NO;
	if (!take_question(&c, msg, &q) || !plausible_class(q.class) || !q.type)
		return DETECT_NO;
	records = (uint32_t)h.answers + h.authorities + h.additionals;
	for (uint32_t i = 0; i < records; i++) {
		if (take_record(&c, msg, &r))
			continue;
		/* no more of a long datagram is shown; whatever is longer must fill it exactly */
		if (len < DETECT_MAX)
			return DETECT_NO;
		c.p = c.end;
		break;
	}
	if (c.p != c.end)
		return DETECT_NO;
	return h.flags & FLAG_RESPONSE ? DETECT_RESPONSE : DETECT_REQUEST;
}

static struct str type_name(struct arena *mem, uint16_t type)
{
	static const struct {
		uint16_t type;
		const char *name;
	} names[] = {
		{ 1, "A" },	 { 2, "NS" },	  { 5, "CNAME" },  { 6, "SOA" },
		{ 12, "PTR" },	 { 13, "HINFO" }, { 15, "MX" },	   { 16, "TXT" },
		{ 28, "AAAA" },	 { 33, "SRV" },	  { 35, "NAPTR" }, { 43, "DS" },
		{ 44, "SSHFP" }, { 46, "RRSIG" }, { 47, "NSEC" },  { 48, "DNSKEY" },
		{ 50, "NSEC3" }, { 52, "TLSA" },  { 64, "SVCB" },  { 65, "HTTPS" },
		{ 251, "IXFR" }, { 252, "AXFR" }, { 255, "ANY" },  { 257, "CAA" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].type == type)
			return str_of(names[i].name);
	return arena_printf(mem, "TYPE%u", type); /* RFC 3597 */
}

static struct str rcode_name(struct arena *mem, uint32_t rcode)
{
	static const char *const names[] = {
		[0] = "NOERROR", [1] = "FORMERR",  [2] = "SERVFAIL",  [3] = "NXDOMAIN",
		[4] = "NOTIMP",	 [5] = "REFUSED",  [6] = "YXDOMAIN",  [7] = "YXRRSET",
		[8] = "NXRRSET", [9] = "NOTAUTH",  [10] = "NOTZONE",  [16] = "BADVERS",
		[17] = "BADKEY", [18] = "BADTIME", [22] = "BADTRUNC", [23] = "BADCOOKIE",
	};

	if (rcode < ARRAY_LEN(names) && names[rcode])
		return str_of(names[rcode]);
	return arena_printf(mem, "RCODE%u", rcode);
}

static uint32_t question_hash(const struct question *q)
{
	return (uint32_t)XXH3_64bits_withSeed(q->name, q->len, q->type);
}

static struct flight *find_flight(struct dns_state *st, uint16_t id, uint32_t hash)
{
	for (size_t i = 0; i < FLIGHT_MAX; i++)
		if (st->flight[i].used && st->flight[i].id == id && st->flight[i].hash == hash)
			return &st->flight[i];
	return NULL;
}

/* False when the same question is under way: sent again. */
static bool flight_asked(struct dns_state *st, uint16_t id, const struct question *q)
{
	uint32_t hash = question_hash(q);
	struct flight *f = find_flight(st, id, hash);

	if (f && !f->answered)
		return false;
	if (!f)
		f = &st->flight[st->next++ % FLIGHT_MAX];
	*f = (struct flight){ .id = id, .used = true, .hash = hash };
	return true;
}

/* False when it was answered before. */
static bool flight_answered(struct dns_state *st, uint16_t id, const struct question *q)
{
	struct flight *f = find_flight(st, id, question_hash(q));

	if (f && f->answered)
		return false;
	if (f)
		f->answered = true;
	return true;
}

static void push_request(struct parser *ps, const struct header *h, const struct question *q,
			 size_t len)
{
	struct msg *m = parser_begin(ps, MSG_REQUEST, h->id, 0);
	struct arena *mem = parser_mem(ps);
	struct str name;

	if (!m)
		return;
	name = arena_str(mem, (struct str){ q->name, q->len });
	if (name.p)
		attrs_add_str(&m->attrs, mem, "dns.question.name", name);
	m->operation = STR("DNS");
	m->target = type_name(mem, q->type);
	parser_end(ps, m, len);
}

/* Appends what an answer record resolves to: an address, or the name it is an alias of. */
static void add_answer(struct arena *mem, struct value *list, const struct record *r,
		       struct cursor msg)
{
	char text[NAME_MAX_TEXT];
	struct cursor c = { .p = r->data, .end = r->data + r->len };
	struct str answer = { text, 0 };

	if (r->class != 1 || list->array.cnt >= ANSWERS_MAX)
		return;
	if ((r->type == TYPE_A && r->len == 4) || (r->type == TYPE_AAAA && r->len == 16)) {
		if (!inet_ntop(r->type == TYPE_A ? AF_INET : AF_INET6, r->data, text, sizeof(text)))
			return;
		answer.len = strlen(text);
	} else if (r->type != TYPE_CNAME || !take_name(&c, msg, text, &answer.len)) {
		return;
	}
	answer = arena_str(mem, answer);
	if (answer.p)
		list->array.item[list->array.cnt++] =
			(struct value){ .type = VALUE_STR, .str = answer };
}

/* Adds the addresses; returns the response code, with the upper bits that EDNS gives. */
static uint32_t read_records(struct msg *m, struct arena *mem, struct cursor c, struct cursor msg,
			     const struct header *h)
{
	uint32_t cnt = (uint32_t)h->answers + h->authorities + h->additionals;
	uint32_t rcode = h->flags & RCODE_MASK;
	struct value list = { .type = VALUE_ARRAY };
	struct record r;

	list.array.item = arena_alloc(mem, ANSWERS_MAX * sizeof(struct value));
	for (uint32_t i = 0; i < cnt; i++) {
		if (!take_record(&c, msg, &r)) {
			parser_flag(m, MSG_TRUNCATED);
			break;
		}
		if (i < h->answers && list.array.item)
			add_answer(mem, &list, &r, msg);
		if (i >= (uint32_t)h->answers + h->authorities && r.type == TYPE_OPT)
			rcode |= r.ttl >> 24 << 4;
	}
	if (list.array.cnt)
		attrs_add(&m->attrs, mem, STR("dns.answers"), list);
	return rcode;
}

static void push_response(struct parser *ps, const struct header *h, struct cursor records,
			  struct cursor msg)
{
	struct msg *m = parser_begin(ps, MSG_RESPONSE, h->id, 0);
	struct arena *mem = parser_mem(ps);
	uint32_t rcode;

	if (!m)
		return;
	rcode = read_records(m, mem, records, msg, h);
	/* the conventions name no attribute for it */
	attrs_add_str(&m->attrs, mem, "telltale.dns.response_code", rcode_name(mem, rcode));
	if (rcode) {
		m->status = STATUS_ERROR;
		/* a name that does not exist is no failure of the server that says so */
		if (rcode == 2 || rcode == 4)
			m->server_status = STATUS_ERROR;
		m->error_type = rcode_name(mem, rcode);
	}
	parser_end(ps, m, cursor_left(&msg));
}

static enum parse dns_parse(struct parser *ps, enum side side, struct cursor *c)
{
	struct dns_state *st = parser_state(ps);
	struct cursor msg = *c, at = *c;
	struct header h;
	struct question q = { .len = 0 };

	c->p = c->end;
	if (!take_header(&at, &h))
		return PARSE_BAD;
	/* update, notify, multicast: passed over */
	if (!plausible_header(&h) || !!(h.flags & FLAG_RESPONSE) != (side == SIDE_RESPONSE))
		return PARSE_OK;
	if (h.questions && (!take_question(&at, msg, &q) || !plausible_class(q.class)))
		return PARSE_OK;
	if (side == SIDE_REQUEST) {
		if (flight_asked(st, h.id, &q))
			push_request(ps, &h, &q, cursor_left(&msg));
	} else if (!h.questions || flight_answered(st, h.id, &q)) {
		push_response(ps, &h, at, msg);
	}
	return PARSE_OK;
}

/* Every datagram begins a message. */
static ptrdiff_t dns_resync(struct parser *ps, enum side side, const uint8_t *p, size_t len)
{
	return 0;
}

extern const struct proto proto_dns;
const struct proto proto_dns = {
	.name = "dns",
	.state_size = sizeof(struct dns_state),
	.detect = dns_detect,
	.parse = dns_parse,
	.resync = dns_resync,
};

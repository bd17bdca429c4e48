/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.x heads: lines to fields, fields to attributes (semantic conventions for HTTP 1.44), and
 * the trace contexts of others (B3, Jaeger) in the form of a traceparent.
 */
#include "proto/http_head.h"

#include <arpa/inet.h>

#define METHOD_MAX 32

/* The methods of RFC 9110 and RFC 5789, which the conventions call known. */
static const char *const known_methods[] = { "GET",	"POST",	 "PUT",	    "DELETE", "HEAD",
					     "OPTIONS", "PATCH", "CONNECT", "TRACE" };

static bool is_method(struct str s)
{
	if (!s.len || s.len > METHOD_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!((s.p[i] >= 'A' && s.p[i] <= 'Z') || s.p[i] == '-' || s.p[i] == '_'))
			return false;
	return true;
}

bool http_is_known_method(struct str method)
{
	for (size_t i = 0; i < ARRAY_LEN(known_methods); i++)
		if (str_eq(method, str_of(known_methods[i])))
			return true;
	return false;
}

static bool version(struct str s, struct http_head *h)
{
	if (s.len != 8 || memcmp(s.p, "HTTP/1.", 7) != 0 || (s.p[7] != '0' && s.p[7] != '1'))
		return false;
	h->v10 = s.p[7] == '0';
	return true;
}

bool http_request_line(struct str line, struct http_head *h)
{
	ptrdiff_t sp = str_find(line, ' ');
	const char *last = line.len ? memrchr(line.p, ' ', line.len) : NULL;

	if (sp < 0 || last == line.p + sp)
		return false;
	h->method = (struct str){ line.p, (size_t)sp };
	h->target = (struct str){ line.p + sp + 1, (size_t)(last - line.p - sp - 1) };
	for (size_t i = 0; i < h->target.len; i++)
		if ((unsigned char)h->target.p[i] < ' ')
			return false;
	return is_method(h->method) && h->target.len &&
	       version(str_from(line, (size_t)(last + 1 - line.p)), h);
}

bool http_status_line(struct str line, struct http_head *h)
{
	unsigned int code = 0;

	if (line.len < 12 || !version((struct str){ line.p, 8 }, h) || line.p[8] != ' ' ||
	    (line.len > 12 && line.p[12] != ' '))
		return false;
	for (int i = 9; i < 12; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return false;
		code = code * 10 + (unsigned int)(line.p[i] - '0');
	}
	h->code = code;
	h->code_text = (struct str){ line.p + 9, 3 };
	return code >= 100;
}

/* One value, or a list of the same (RFC 9112, 6.3). */
static void content_length(struct str value, struct http_head *h)
{
	while (value.len || !h->has_length) {
		ptrdiff_t comma = str_find(value, ',');
		struct str one = comma < 0 ? value : (struct str){ value.p, (size_t)comma };
		uint64_t n;

		if (!str_to_u64(str_trim(one), &n) || n == UINT64_MAX ||
		    (h->has_length && n != h->length)) {
			h->bad_length = true;
			return;
		}
		h->has_length = true;
		h->length = n;
		value = str_from(value, one.len + 1);
	}
}

static void transfer_encoding(struct str value, struct http_head *h)
{
	const char *comma = value.len ? memrchr(value.p, ',', value.len) : NULL;

	if (comma)
		value = str_trim(str_from(value, (size_t)(comma + 1 - value.p)));
	h->has_te = true;
	h->chunked = str_eq_nocase(value, STR("chunked"));
}

/* Headers of which the first is kept as it is. Nothing else may be: never credentials. */
#define FIELD(name, member)                                                \
	{                                                                  \
		name, sizeof(name) - 1, offsetof(struct http_head, member) \
	}
static const struct {
	char name[16];
	uint8_t len;
	uint8_t offset; /* of the struct str */
} fields[] = {
	FIELD("host", host),
	FIELD("user-agent", user_agent),
	FIELD("traceparent", traceparent),
	FIELD("tracestate", tracestate),
	FIELD("x-request-id", request_id),
	FIELD("x-correlation-id", correlation_id),
	FIELD("x-trace-id", foreign_trace_id),
	FIELD("b3", b3),
	FIELD("x-b3-traceid", b3_trace),
	FIELD("x-b3-spanid", b3_span),
	FIELD("x-b3-sampled", b3_sampled),
	FIELD("uber-trace-id", uber),
};

/* Letters that the names above begin with, of either case; most headers begin with another. */
#define LETTER(c) (1u << ((c)&31))
#define INITIALS  (LETTER('b') | LETTER('c') | LETTER('h') | LETTER('t') | LETTER('u') | LETTER('x'))

void http_header(struct str line, struct http_head *h)
{
	ptrdiff_t colon = line.len && INITIALS & LETTER(line.p[0]) ? str_find(line, ':') : -1;
	struct str name, value;

	if (colon <= 0)
		return;
	name = (struct str){ line.p, (size_t)colon };
	value = str_from(line, name.len + 1);
	if (name.len == 14 && str_eq_nocase(name, STR("content-length"))) {
		content_length(str_trim(value), h);
		return;
	}
	if (name.len == 17 && str_eq_nocase(name, STR("transfer-encoding"))) {
		transfer_encoding(str_trim(value), h);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		struct str *to = (struct str *)((char *)h + fields[i].offset);

		if (name.len != fields[i].len || (name.p[0] | 32) != fields[i].name[0] ||
		    strncasecmp(name.p, fields[i].name, name.len) != 0)
			continue;
		if (!to->len)
			*to = str_trim(value);
		return;
	}
}

/* ---- trace contexts ---- */

static bool is_hex(struct str s)
{
	bool any = false;

	for (size_t i = 0; i < s.len; i++) {
		if (!((s.p[i] >= '0' && s.p[i] <= '9') ||
		      ((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'f')))
			return false;
		any |= s.p[i] != '0';
	}
	return any;
}

/* Puts 00-<trace>-<span>-<flags> together, ids filled up with zeros on the left. */
static struct str make_traceparent(struct arena *mem, struct str trace, struct str span,
				   bool sampled)
{
	struct str out = { NULL, 0 };
	char *p;

	if (trace.len > 32 || span.len > 16 || !is_hex(trace) || !is_hex(span))
		return out;
	p = arena_alloc(mem, 56);
	if (!p)
		return out;
	memset(p, '0', 55);
	p[2] = p[35] = p[52] = '-';
	memcpy(p + 35 - trace.len, trace.p, trace.len);
	memcpy(p + 52 - span.len, span.p, span.len);
	for (int i = 0; i < 52; i++)
		p[i] = p[i] >= 'A' && p[i] <= 'F' ? (char)(p[i] | 32) : p[i];
	p[54] = sampled ? '1' : '0';
	return (struct str){ p, 55 };
}

/* The part up to the separator, which goes too. */
static struct str part(struct str *s, char sep)
{
	ptrdiff_t at = str_find(*s, sep);
	struct str head = at < 0 ? *s : (struct str){ s->p, (size_t)at };

	*s = str_from(*s, head.len + 1);
	return head;
}

static struct str traceparent(struct arena *mem, const struct http_head *h)
{
	struct str rest, trace, span, flags;

	if (h->traceparent.len)
		return h->traceparent;
	if (h->b3.len > 1) {
		rest = h->b3;
		trace = part(&rest, '-');
		span = part(&rest, '-');
		flags = part(&rest, '-');
		return make_traceparent(mem, trace, span, !str_eq(flags, STR("0")));
	}
	if (h->b3_trace.len)
		return make_traceparent(mem, h->b3_trace, h->b3_span,
					!str_eq(h->b3_sampled, STR("0")));
	if (h->uber.len) {
		rest = h->uber;
		trace = part(&rest, ':');
		span = part(&rest, ':');
		part(&rest, ':');
		return make_traceparent(mem, trace, span, rest.len && (rest.p[rest.len - 1] & 1));
	}
	return (struct str){ NULL, 0 };
}

/* ---- attributes ---- */

/* host, host:port, [v6], [v6]:port; a user's name before it is not kept. */
static void server_address(struct parser *ps, struct msg *m, struct str authority)
{
	const char *at = authority.len ? memrchr(authority.p, '@', authority.len) : NULL;
	struct str host, port = { NULL, 0 };
	uint64_t n;

	if (at)
		authority = str_from(authority, (size_t)(at + 1 - authority.p));
	if (authority.len && authority.p[0] == '[') {
		ptrdiff_t end = str_find(authority, ']');

		if (end < 0)
			return;
		host = (struct str){ authority.p + 1, (size_t)end - 1 };
		port = str_from(authority, (size_t)end + 2);
	} else {
		ptrdiff_t colon = str_find(authority, ':');

		host = colon < 0 ? authority : (struct str){ authority.p, (size_t)colon };
		port = str_from(authority, host.len + 1);
	}
	if (!host.len)
		return;
	attrs_add_str(&m->attrs, parser_mem(ps), "server.address", host);
	if (str_to_u64(port, &n) && n && n <= 65535)
		attrs_add_int(&m->attrs, parser_mem(ps), "server.port", (int64_t)n);
}

/* The other end's address as it stands in a URL, for requests without a Host. */
static struct str remote_authority(struct parser *ps)
{
	const struct conn *conn = parser_conn(ps);
	char text[INET6_ADDRSTRLEN];
	bool v4 = conn->family == AF_INET;

	if ((!v4 && conn->family != AF_INET6) ||
	    !inet_ntop(conn->family, conn->remote.addr + (v4 ? 12 : 0), text, sizeof(text)))
		return (struct str){ NULL, 0 };
	return arena_printf(parser_mem(ps), v4 ? "%s:%u" : "[%s]:%u", text, conn->remote.port);
}

static void fill_url(struct parser *ps, struct msg *m, const struct http_head *h)
{
	struct str scheme =
		parser_conn(ps)->transport == TRANSPORT_TLS ? STR("https") : STR("http");
	struct str authority = h->host, target = h->target, full;
	bool connect = str_eq(h->method, STR("CONNECT"));
	ptrdiff_t q, slash, colon = str_find(target, ':');

	if (connect) {
		server_address(ps, m, target);
		return;
	}
	if (colon > 0 && target.p[0] != '/' &&
	    str_starts(str_from(target, (size_t)colon), STR("://"))) {
		/* absolute form, as proxies get it */
		scheme = (struct str){ target.p, (size_t)colon };
		target = str_from(target, (size_t)colon + 3);
		slash = str_find(target, '/');
		q = str_find(target, '?');
		if (q >= 0 && (slash < 0 || q < slash))
			slash = q;
		authority = slash < 0 ? target : (struct str){ target.p, (size_t)slash };
		target = str_from(target, authority.len);
	}
	q = str_find(target, '?');
	m->path = q < 0 ? target : (struct str){ target.p, (size_t)q };
	if (!m->path.len)
		m->path = STR("/");
	if (m->dir == DIR_OUT) {
		struct str at = authority.len ? authority : remote_authority(ps);

		full = at.len ? arena_printf(parser_mem(ps), STR_FMT "://" STR_FMT STR_FMT,
					     STR_ARG(scheme), STR_ARG(at), STR_ARG(target))
			      : (struct str){ NULL, 0 };
		if (full.len)
			attrs_add_str(&m->attrs, parser_mem(ps), "url.full", full);
	} else {
		attrs_add_str(&m->attrs, parser_mem(ps), "url.path", m->path);
		if (q >= 0 && (size_t)q + 1 < target.len)
			attrs_add_str(&m->attrs, parser_mem(ps), "url.query",
				      str_from(target, (size_t)q + 1));
		attrs_add_str(&m->attrs, parser_mem(ps), "url.scheme", scheme);
	}
	if (authority.len)
		server_address(ps, m, authority);
}

/* Attributes of headers are lists of values (semantic conventions, HTTP). */
static void add_id(struct msg *m, struct arena *mem, struct str key, struct str value)
{
	struct value *id = value.len ? arena_alloc(mem, sizeof(*id)) : NULL;

	if (!id)
		return;
	*id = (struct value){ .type = VALUE_STR, .str = value };
	attrs_add(&m->attrs, mem, key, (struct value){ .type = VALUE_ARRAY, .array = { id, 1 } });
}

void http_fill_request(struct parser *ps, struct msg *m, const struct http_head *h)
{
	struct arena *mem = parser_mem(ps);

	if (!m)
		return;
	if (http_is_known_method(h->method)) {
		m->operation = h->method;
		attrs_add_str(&m->attrs, mem, "http.request.method", h->method);
	} else {
		m->operation = STR("HTTP");
		attrs_add_str(&m->attrs, mem, "http.request.method", STR("_OTHER"));
		attrs_add_str(&m->attrs, mem, "http.request.method_original", h->method);
	}
	fill_url(ps, m, h);
	if (h->user_agent.len)
		attrs_add_str(&m->attrs, mem, "user_agent.original", h->user_agent);
	attrs_add_str(&m->attrs, mem, "network.protocol.version", h->v10 ? STR("1.0") : STR("1.1"));
	if (h->has_length && !h->has_te) {
		m->body_size = h->length;
		attrs_add_int(&m->attrs, mem, "http.request.body.size", (int64_t)h->length);
	}
	add_id(m, mem, STR("http.request.header.x-request-id"), h->request_id);
	add_id(m, mem, STR("http.request.header.x-correlation-id"), h->correlation_id);
	add_id(m, mem, STR("http.request.header.x-trace-id"), h->foreign_trace_id);
	m->traceparent = traceparent(mem, h);
	if (h->traceparent.len)
		m->tracestate = h->tracestate;
}

void http_fill_response(struct parser *ps, struct msg *m, const struct http_head *h)
{
	if (!m)
		return;
	attrs_add_int(&m->attrs, parser_mem(ps), "http.response.status_code", h->code);
	if (h->has_length && !h->has_te) {
		m->body_size = h->length;
		attrs_add_int(&m->attrs, parser_mem(ps), "http.response.body.size",
			      (int64_t)h->length);
	}
	if (h->code >= 400) {
		m->status = STATUS_ERROR;
		m->error_type = h->code_text;
	}
	if (h->code >= 500)
		m->server_status = STATUS_ERROR;
}

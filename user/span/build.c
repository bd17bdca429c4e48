/* SPDX-License-Identifier: Apache-2.0 */
/* From a resolved exchange to its span: name, status, attributes, events, links. */
#include "span/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

/* Span.flags of trace.proto: whether it is known that the parent is remote, and whether it is. */
#define FLAG_REMOTE_KNOWN 0x100
#define FLAG_REMOTE	  0x200
#define ATTRS_ROOM	  40 /* more than most spans have */

struct build {
	struct correlate *c;
	struct exchange *x;
	struct draft *d;
	struct arena *mem;
	struct span *s;
	struct resource *owned; /* put after the push */
};

static uint64_t unix_time(const struct correlate *c, uint64_t mono_ns)
{
	return mono_ns + (uint64_t)c->clock_offset;
}

/* ---- attributes ----------------------------------------------------------------------------- */

static inline bool has(const struct build *b, const char *key)
{
	return attrs_find(&b->s->attrs, str_of(key)) != NULL;
}

/* Inline, so that a literal key's length is known when compiling. */
static inline void add_str(struct build *b, const char *key, struct str value)
{
	if (value.len && !has(b, key))
		attrs_add_str(&b->s->attrs, b->mem, key, value);
}

/* What no parser sets needs no look. */
static inline void add_own_str(struct build *b, const char *key, struct str value)
{
	if (value.len)
		attrs_add_str(&b->s->attrs, b->mem, key, value);
}

static inline void add_own_int(struct build *b, const char *key, int64_t value)
{
	attrs_add_int(&b->s->attrs, b->mem, key, value);
}

static inline void add_int(struct build *b, const char *key, int64_t value)
{
	if (!has(b, key))
		attrs_add_int(&b->s->attrs, b->mem, key, value);
}

static void add_all(struct build *b, const struct attrs *from)
{
	struct attrs *to = &b->s->attrs;

	if (!to->cnt && from->cnt && from->cnt <= to->size) {
		memcpy(to->item, from->item, from->cnt * sizeof(*to->item));
		to->cnt = from->cnt;
	} else {
		for (uint32_t i = 0; i < from->cnt; i++)
			if (!attrs_find(to, from->item[i].key))
				attrs_add(to, b->mem, from->item[i].key, from->item[i].value);
	}
	to->dropped += from->dropped;
}

static bool is_mapped(const uint8_t addr[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

/* Formatted once a connection. */
static struct str address(char text[INET6_ADDRSTRLEN], const struct endpoint *e)
{
	bool v4 = is_mapped(e->addr);

	if (!text[0] &&
	    !inet_ntop(v4 ? AF_INET : AF_INET6, e->addr + (v4 ? 12 : 0), text, INET6_ADDRSTRLEN))
		return (struct str){ NULL, 0 };
	return str_of(text);
}

static void add_inet(struct build *b, struct link *l)
{
	const struct endpoint *local = &l->ends.local, *remote = &l->ends.remote;
	struct str peer = address(l->remote_text, remote), here = address(l->local_text, local);

	if (!remote->port && !local->port)
		return; /* its record was lost */
	add_own_str(b, "network.peer.address", peer);
	if (remote->port)
		add_own_int(b, "network.peer.port", remote->port);
	add_own_str(b, "network.type", is_mapped(remote->addr) ? STR("ipv4") : STR("ipv6"));
	if (!b->x->server) {
		bool named = has(b, "server.address");
		add_str(b, "server.address", peer);
		if (remote->port && (!named || !has(b, "server.port")))
			add_int(b, "server.port", remote->port);
		return;
	}
	add_str(b, "server.address", here);
	if (local->port)
		add_int(b, "server.port", local->port);
	add_own_str(b, "client.address", peer);
	if (remote->port)
		add_own_int(b, "client.port", remote->port);
}

static void add_network(struct build *b)
{
	struct link *l = b->x->link;

	switch (l->transport) {
	case TRANSPORT_UNIX:
		add_own_str(b, "network.transport", STR("unix"));
		if (l->path) {
			struct str path = str_of(l->path);
			add_own_str(b, "network.peer.address", path);
			add_str(b, "server.address", path);
		}
		break;
	case TRANSPORT_UDP:
		add_own_str(b, "network.transport", STR("udp"));
		add_inet(b, l);
		break;
	case TRANSPORT_TCP:
	case TRANSPORT_TLS:
		add_own_str(b, "network.transport", STR("tcp"));
		add_inet(b, l);
		break;
	}
}

static struct str concat(struct arena *mem, const struct str *part, size_t cnt)
{
	size_t len = 0, at = 0;
	char *p;

	for (size_t i = 0; i < cnt; i++)
		len += part[i].len;
	p = arena_alloc(mem, len + 1);
	if (!p)
		return (struct str){ NULL, 0 };
	for (size_t i = 0; i < cnt; i++) {
		if (part[i].len)
			memcpy(p + at, part[i].p, part[i].len);
		at += part[i].len;
	}
	return (struct str){ p, len };
}

/* url.full of a client, which the conventions require: from the parts that the request named. */
static void add_url(struct build *b)
{
	const struct attrs *a = &b->s->attrs;
	struct str scheme = attrs_str(a, "url.scheme"), host = attrs_str(a, "server.address");
	struct str path = b->d->path, query = attrs_str(a, "url.query");
	const struct attr *port = attrs_find(a, STR("server.port"));
	int64_t n = port && port->value.type == VALUE_INT ? port->value.i : 0;
	bool v6 = str_find(host, ':') >= 0, tls = b->x->link->transport == TRANSPORT_TLS;
	char port_text[24] = "";

	if (!path.len || !host.len || path.p[0] != '/' || has(b, "url.full"))
		return;
	if (!scheme.len)
		scheme = tls ? STR("https") : STR("http");
	if (b->x->link->transport == TRANSPORT_UNIX)
		host = STR("localhost");
	else if (n && n != (str_eq(scheme, STR("https")) ? 443 : 80))
		snprintf(port_text, sizeof(port_text), ":%d", (int)n);
	if (str_find(path, '?') >= 0)
		query.len = 0;
	add_str(b, "url.full",
		concat(b->mem,
		       (struct str[]){ scheme, STR("://"), v6 ? STR("[") : STR(""), host,
				       v6 ? STR("]") : STR(""), str_of(port_text), path,
				       query.len ? STR("?") : STR(""), query },
		       9));
}

static void add_sizes(struct build *b, bool http)
{
	if (b->d->request_size != UINT64_MAX)
		add_own_int(b, http ? "http.request.size" : "telltale.request.size",
			    (int64_t)b->d->request_size);
	if (b->d->response_size != UINT64_MAX)
		add_own_int(b, http ? "http.response.size" : "telltale.response.size",
			    (int64_t)b->d->response_size);
	/* of chunks, which no head declared */
	if (http && b->d->request_body != UINT64_MAX)
		add_int(b, "http.request.body.size", (int64_t)b->d->request_body);
	if (http && b->d->response_body != UINT64_MAX)
		add_int(b, "http.response.body.size", (int64_t)b->d->response_body);
	if (b->d->truncated)
		attrs_add_bool(&b->s->attrs, b->mem, "telltale.truncated", true);
	if (b->x->end == END_OPEN || b->x->end == END_LOST)
		attrs_add_bool(&b->s->attrs, b->mem, "telltale.unfinished", true);
}

/* ---- name and status ------------------------------------------------------------------------ */

static void set_name(struct build *b, bool http)
{
	struct str op = b->d->operation, target = b->d->target;

	if (b->x->end == END_CONNECT) {
		b->s->name = STR("connect");
		return;
	}
	if (http) {
		if (!op.len || str_eq(op, STR("_OTHER")))
			op = STR("HTTP");
		target = templates_get(b->c->templates, b->s->resource->service, b->d->path);
		add_own_str(b, "url.template", target);
	}
	if (!op.len && !target.len)
		op = b->d->proto ? str_of(b->d->proto) : STR("request");
	if (op.len && target.len)
		b->s->name = concat(b->mem, (struct str[]){ op, STR(" "), target }, 3);
	else
		b->s->name = op.len ? op : target;
	if (!b->s->name.len)
		b->s->name = STR("request");
}

static struct str errno_name(uint32_t err)
{
	const char *name = strerrorname_np((int)err);

	return name ? str_of(name) : STR("_OTHER");
}

static void set_failure(struct build *b, struct str type, struct str message)
{
	struct attr *at = attrs_find(&b->s->attrs, STR("error.type"));

	b->s->status = STATUS_ERROR;
	b->s->status_message = message;
	if (at)
		at->value = (struct value){ .type = VALUE_STR, .str = type };
	else
		add_str(b, "error.type", type);
}

static void set_status(struct build *b)
{
	const struct exchange *x = b->x;
	const struct draft *d = b->d;

	b->s->status = x->server ? d->server_status : d->status;
	if (b->s->status == STATUS_ERROR) {
		b->s->status_message = d->status_message;
		add_str(b, "error.type", d->error_type.len ? d->error_type : STR("_OTHER"));
	}
	switch (x->end) {
	case END_CONNECT:
		if (d->err)
			set_failure(b, errno_name(d->err), STR("the connection was not made"));
		else
			set_failure(b, STR("timeout"), STR("connecting was given up"));
		break;
	case END_TIMEOUT: set_failure(b, STR("timeout"), STR("no response came in time")); break;
	case END_NONE:
		if (d->err == ETIME) /* closed by us for idleness */
			set_failure(b, STR("timeout"), STR("no response came in time"));
		else if (!x->attached)
			set_failure(b, d->err ? errno_name(d->err) : STR("no_response"),
				    STR("the connection ended without a response"));
		else
			set_failure(b, d->err ? errno_name(d->err) : STR("incomplete_response"),
				    STR("the connection ended within the response"));
		break;
	}
}

/* ---- events and links ----------------------------------------------------------------------- */

static struct span_event *add_event(struct build *b, const char *name, uint64_t mono_ns)
{
	struct span_event *e = &b->s->events[b->s->event_cnt++];

	e->name = str_of(name);
	e->time_ns = unix_time(b->c, mono_ns);
	return e;
}

static void add_events(struct build *b)
{
	const struct exchange *x = b->x;
	const struct link *l = x->link;
	uint32_t retransmits = b->d->retransmits_end - b->d->retransmits;

	b->s->events = arena_alloc(b->mem, 3 * sizeof(*b->s->events));
	if (!b->s->events)
		return;
	if (b->d->first && l->open_ns >= l->dial_ns && l->dial_ns) {
		struct span_event *e = add_event(b, "connect", l->open_ns);
		attrs_add_double(&e->attrs, b->mem, "telltale.connect.duration_ms",
				 (double)(l->open_ns - l->dial_ns) / 1e6);
	}
	if (x->attached)
		add_event(b, "first byte", x->response_ns);
	if (retransmits && retransmits <= INT32_MAX) {
		struct span_event *e = add_event(b, "retransmit", x->end_ns);
		attrs_add_int(&e->attrs, b->mem, "telltale.retransmit.count", retransmits);
	}
}

static void add_method(struct attrs *a, struct arena *mem, enum method method)
{
	attrs_add_str(a, mem, "telltale.parent.method", str_of(method_table[method].name));
	attrs_add_double(a, mem, "telltale.parent.confidence", method_table[method].confidence);
}

static void add_links(struct build *b)
{
	const struct decision *d = &b->d->links;
	struct span_link *link;

	if (!d->link_cnt)
		return;
	link = arena_alloc(b->mem, d->link_cnt * sizeof(*link));
	if (!link) {
		b->s->dropped_links = d->link_cnt;
		return;
	}
	b->s->links = link;
	for (uint32_t i = 0; i < d->link_cnt; i++, link++) {
		link->trace_id = d->link[i]->trace;
		link->span_id = d->link[i]->id;
		link->flags = d->link[i]->trace_flags | FLAG_REMOTE_KNOWN;
		add_method(&link->attrs, b->mem, d->method);
	}
	b->s->link_cnt = d->link_cnt;
}

static void set_parent(struct build *b)
{
	const struct exchange *x = b->x;
	struct span *s = b->s;

	s->trace_id = x->trace;
	s->span_id = x->id;
	s->flags = x->trace_flags;
	s->trace_state = b->d->trace_state;
	if (x->parent) {
		s->parent_id = x->parent->id;
		add_method(&s->attrs, b->mem, (enum method)x->method);
	} else if (x->remote_parent) {
		s->parent_id = x->parent_id;
	} else {
		return;
	}
	/* a server's parent is another process's, a client's its own */
	s->flags |= FLAG_REMOTE_KNOWN | (x->server ? FLAG_REMOTE : 0);
}

/* A parser's error.type is for the client's view: a 404 is no error of the server. */
static void remove_error_type(struct attrs *a)
{
	struct attr *at = attrs_find(a, STR("error.type"));

	if (at)
		*at = a->item[--a->cnt];
}

bool span_build(struct correlate *c, struct exchange *x)
{
	struct span s = { .kind = x->server ? SPAN_SERVER : SPAN_CLIENT, .scope = &scope_capture };
	struct build b = { .c = c, .x = x, .d = x->draft, .mem = c->scratch, .s = &s };
	bool http = b.d->path.len || (b.d->proto && strcmp(b.d->proto, "http") == 0);

	arena_reset(c->scratch);
	s.resource = process_resource(c, x->process, x->tgid, x->link->comm, &b.owned);
	if (!s.resource)
		return false;
	s.start_ns = unix_time(c, x->start_ns);
	s.end_ns = unix_time(c, x->end_ns);
	s.attrs.item = arena_alloc_raw(b.mem, ATTRS_ROOM * sizeof(*s.attrs.item));
	s.attrs.size = s.attrs.item ? ATTRS_ROOM : 0;
	add_all(&b, &b.d->request);
	add_all(&b, &b.d->response);
	if (b.d->response_began && x->server && b.d->server_status != STATUS_ERROR)
		remove_error_type(&s.attrs);
	add_network(&b);
	if (http && !x->server)
		add_url(&b);
	set_name(&b, http);
	set_status(&b);
	add_sizes(&b, http);
	set_parent(&b);
	add_events(&b);
	add_links(&b);
	c->out.push(c->out.ctx, &s);
	resource_put(b.owned);
	return true;
}

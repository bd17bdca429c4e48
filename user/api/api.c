/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server: where it listens, what it refuses, which path gives which page. */
#include "api/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/json.h"
#include "core/log.h"

#define CONNECTIONS_MAX 64
#define REQUEST_BYTES	(32u << 10) /* a connection's memory in libmicrohttpd */
#define TIMEOUT_S	10u
#define BACKLOG		64
#define PAGE_BYTES_MAX	(64u << 20)
#define LIMIT_DEFAULT	20
#define LIMIT_MAX	1000

#define TYPE_JSON	 "application/json"
#define TYPE_TEXT	 "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct api {
	struct api_cfg cfg;
	struct MHD_Daemon *daemon;
	int fd; /* until the daemon owns it */
	uint16_t port;
	bool loopback;
};

/* One request and what is answered to it. */
struct call {
	struct api *api;
	struct MHD_Connection *conn;
	const char *path;
	unsigned int status;
	const char *type;
	struct buf page;
};

/* ---- pages ---- */

static void set_error(struct call *c, unsigned int status, const char *message)
{
	struct json j = { .out = &c->page };

	buf_clear(&c->page);
	c->status = status;
	c->type = TYPE_JSON;
	json_open(&j, '{');
	json_key(&j, "error");
	json_open(&j, '{');
	json_key(&j, "status");
	json_u64(&j, status);
	json_key(&j, "message");
	json_str(&j, str_of(message));
	json_key(&j, "path");
	json_str(&j, str_of(c->path));
	json_close(&j, '}');
	json_close(&j, '}');
	buf_add_char(&c->page, '\n');
}

static void get_metrics(struct call *c)
{
	const char *accept = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Accept");
	bool openmetrics = accept_openmetrics(accept);

	c->type = openmetrics ? TYPE_OPENMETRICS : TYPE_TEXT;
	page_metrics(&c->page, openmetrics);
}

static void get_status(struct call *c)
{
	page_status(&c->api->cfg, &c->page);
}

static void get_live(struct call *c)
{
	if (!page_health(&c->api->cfg, API_LIVE, &c->page))
		c->status = MHD_HTTP_SERVICE_UNAVAILABLE;
}

static void get_ready(struct call *c)
{
	if (!page_health(&c->api->cfg, API_READY, &c->page))
		c->status = MHD_HTTP_SERVICE_UNAVAILABLE;
}

static void get_recent(struct call *c)
{
	const char *arg = MHD_lookup_connection_value(c->conn, MHD_GET_ARGUMENT_KIND, "limit");
	uint64_t limit = LIMIT_DEFAULT;
	int err;

	if (arg && (!str_to_u64(str_of(arg), &limit) || !limit || limit > LIMIT_MAX)) {
		set_error(c, MHD_HTTP_BAD_REQUEST, "limit must be a number from 1 to 1000");
		return;
	}
	if (!c->api->cfg.recent) {
		set_error(c, MHD_HTTP_SERVICE_UNAVAILABLE, "no traces are kept here");
		return;
	}
	err = c->api->cfg.recent(c->api->cfg.ctx, (uint32_t)limit, &c->page);
	if (err == -ENOBUFS)
		set_error(c, MHD_HTTP_INTERNAL_SERVER_ERROR,
			  "that is more than one answer holds; ask for fewer traces");
	else if (err)
		set_error(c, MHD_HTTP_INTERNAL_SERVER_ERROR, strerror(-err));
}

static const struct {
	const char *path;
	void (*get)(struct call *c);
} routes[] = {
	{ "/metrics", get_metrics },	  { "/status", get_status },
	{ "/health/live", get_live },	  { "/health/ready", get_ready },
	{ "/traces/recent", get_recent },
};

static void route(struct call *c, const char *method)
{
	const char *host = MHD_lookup_connection_value(c->conn, MHD_HEADER_KIND, "Host");
	size_t i = 0;

	if (c->api->loopback && !host_is_local(host)) {
		set_error(c, MHD_HTTP_FORBIDDEN,
			  "this server listens on a loopback address; call it by localhost or by "
			  "an address");
		return;
	}
	while (i < ARRAY_LEN(routes) && strcmp(routes[i].path, c->path))
		i++;
	if (i == ARRAY_LEN(routes))
		set_error(c, MHD_HTTP_NOT_FOUND,
			  "there is /metrics, /status, /health/live, /health/ready and "
			  "/traces/recent");
	else if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		set_error(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are allowed");
	else
		routes[i].get(c);
	if (c->page.failed)
		set_error(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "no room for the answer");
}

/* ---- requests ---- */

static enum MHD_Result send_page(struct call *c)
{
	struct MHD_Response *r;
	enum MHD_Result sent = MHD_NO;

	if (c->page.failed)
		goto out;
	r = MHD_create_response_from_buffer(c->page.len, c->page.p, MHD_RESPMEM_MUST_FREE);
	if (!r)
		goto out;
	c->page = (struct buf){ 0 };
	MHD_add_response_header(r, "Content-Type", c->type);
	MHD_add_response_header(r, "Cache-Control", "no-store");
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	if (c->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET, HEAD");
	sent = MHD_queue_response(c->conn, c->status, r);
	MHD_destroy_response(r);
out:
	buf_fini(&c->page);
	return sent;
}

/* Bodies are never read: the answer is queued when the headers are there. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *path,
				  const char *method, const char *version, const char *body,
				  size_t *body_len, void **req)
{
	struct call c = { .api = ctx,
			  .conn = conn,
			  .path = path,
			  .status = MHD_HTTP_OK,
			  .type = TYPE_JSON,
			  .page = { .cap = PAGE_BYTES_MAX } };

	route(&c, method);
	return send_page(&c);
}

static void on_log(void *ctx, const char *fmt, va_list ap)
{
	char line[256];

	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = 0;
	log_debug("api: %s", line);
}

bool host_is_local(const char *host)
{
	static const struct str name = { "localhost", 9 };
	struct str s = str_of(host);
	ptrdiff_t colon;

	if (!s.len || s.p[0] == '[')
		return true;
	colon = str_find(s, ':');
	if (colon >= 0)
		s.len = (size_t)colon;
	if (strspn(s.p, "0123456789.") >= s.len)
		return true;
	if (s.len < name.len || !str_eq_nocase(str_from(s, s.len - name.len), name))
		return false;
	return s.len == name.len || s.p[s.len - name.len - 1] == '.';
}

/* ---- listening ---- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* "ADDR:PORT" or "[ADDR]:PORT"; no name server is asked. */
static int parse_listen(const char *listen, union address *ret)
{
	const char *colon = strrchr(listen, ':');
	union address a = { 0 };
	char host[INET6_ADDRSTRLEN];
	size_t len = colon ? (size_t)(colon - listen) : 0;
	bool v6 = len >= 2 && listen[0] == '[' && listen[len - 1] == ']';
	uint64_t port;

	if (!colon || !str_to_u64(str_of(colon + 1), &port) || port > UINT16_MAX)
		return -EINVAL;
	len -= v6 ? 2 : 0;
	if (len >= sizeof(host))
		return -EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)len, listen + v6);
	if (v6) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) != 1)
			return -EINVAL;
	} else {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, strcasecmp(host, "localhost") ? host : "127.0.0.1",
			      &a.v4.sin_addr) != 1)
			return -EINVAL;
	}
	*ret = a;
	return 0;
}

static bool is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->v4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

static int open_socket(struct api *a, union address *addr)
{
	socklen_t len = sizeof(*addr);
	int on = 1;

	a->loopback = is_loopback(addr);
	a->fd = socket(addr->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0 || setsockopt(a->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(a->fd, &addr->any,
		 addr->any.sa_family == AF_INET ? sizeof(addr->v4) : sizeof(addr->v6)) ||
	    listen(a->fd, BACKLOG) || getsockname(a->fd, &addr->any, &len))
		return -errno;
	a->port = ntohs(addr->any.sa_family == AF_INET ? addr->v4.sin_port : addr->v6.sin6_port);
	return 0;
}

static int start_daemon(struct api *a)
{
	sigset_t all, was;

	/* Signals are for the thread that runs the program. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	a->daemon =
		MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0,
				 NULL, NULL, on_request, a, MHD_OPTION_EXTERNAL_LOGGER, on_log,
				 NULL, MHD_OPTION_LISTEN_SOCKET, a->fd, MHD_OPTION_CONNECTION_LIMIT,
				 CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				 (size_t)REQUEST_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
				 MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (!a->daemon)
		return -ENOMEM;
	a->fd = -1;
	return 0;
}

int api_new(const struct api_cfg *cfg, struct api **ret_api)
{
	union address addr;
	struct api *a;
	int err = parse_listen(cfg->listen ? cfg->listen : API_LISTEN_DEFAULT, &addr);

	if (err)
		return err;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->cfg = *cfg;
	a->fd = -1;
	err = open_socket(a, &addr);
	if (!err)
		err = start_daemon(a);
	if (err) {
		api_free(a);
		return err;
	}
	*ret_api = a;
	return 0;
}

uint16_t api_port(const struct api *a)
{
	return a->port;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	if (a->daemon)
		MHD_stop_daemon(a->daemon);
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

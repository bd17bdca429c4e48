/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 server. About itself it says /metrics, /status and /health; of the traces in a store
 * it answers our own REST under /traces, Jaeger's query API (classic and v3) and Tempo's, each of
 * the latter also under /jaeger and /tempo. Every path, parameter and reply is described by
 * /openapi.json, which a test compares with the running server.
 *
 * Questions are checked before they are asked: a parameter of the wrong form is a 400 that names
 * it. What reads the store runs on a few workers of its own, so that /health and /metrics always
 * answer; when all are busy and their queue is full the answer is a 503. Every search has a
 * deadline, every answer a largest size, and all that wait for their clients together. A client
 * has 20 s for a question's headers, 30 s for its body and 120 s to take the answer; past the
 * largest number of connections the idlest is closed.
 *
 * There is no authentication. While it listens on a loopback address it answers only requests
 * whose Host is localhost or an address, so that no web page can reach it through a name of its
 * own; a body must be application/json, and no CORS header is ever sent.
 */
#ifndef API_API_H
#define API_API_H

#include "core/buf.h"
#include "span/span.h"

#define API_LISTEN_DEFAULT "127.0.0.1:8009"

struct api_probe {
	const char *program;
	const char *group;
	bool loaded, attached;
	const char *reason; /* why not; NULL */
};

struct api_part {
	const char *name;
	bool ok;
	const char *reason; /* what was found; NULL when there is nothing to say */
};

enum api_health { API_LIVE, API_READY };

struct api_sources; /* api/sources.h */

/*
 * Callbacks run on threads of the server; each may be NULL. They and what they hand out must
 * stay until api_free() returns; strings handed to row and part need to last for that call only.
 */
struct api_cfg {
	const char *listen; /* ADDR:PORT or [ADDR]:PORT; a number or localhost; port 0: any free;
			       NULL: default */
	void *ctx;	    /* for every callback */
	/* The capture backend's name; static. */
	const char *(*backend)(void *ctx);
	void (*probes)(void *ctx, void (*row)(void *row_ctx, const struct api_probe *p),
		       void *row_ctx);
	/* All parts ok: 200. Live: does the loop turn. Ready: degraded parts are still ok, and
	 * their reasons say what is wrong. */
	void (*health)(void *ctx, enum api_health kind,
		       void (*part)(void *part_ctx, const struct api_part *p), void *part_ctx);
	/* Appends further families to /metrics. */
	void (*metrics)(void *ctx, bool openmetrics, struct buf *out);
	struct store *store;		   /* NULL: what asks for stored traces answers 503 */
	const char *no_store;		   /* why there is none; NULL: nothing to say */
	const struct api_sources *sources; /* what is traced; NULL: cannot be changed here */
	uint32_t workers;		   /* threads that read the store; default 3 */
	uint32_t deadline_ms;		   /* of one question; default 30000 */
};

struct api;
/* 0; -EINVAL for an address that cannot be; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -ENOMEM, ... */
int api_new(const struct api_cfg *cfg, struct api **ret_api);
/* The port it listens on. */
uint16_t api_port(const struct api *a);
/* For those who follow /traces/live. Any thread; never waits for a client: one that does not keep
 * up is dropped and counted. Costs an atomic read while nobody follows. */
void api_live_push(struct api *a, const struct span *s);
void api_free(struct api *a);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent says about itself over HTTP/1.1, read-only:
 *
 *   /metrics              Prometheus text, or OpenMetrics when Accept prefers it
 *   /status               JSON: version, uptime, capture backend, every stage's books, probes
 *   /health/live, /health/ready   200 or 503, JSON with a reason for each part
 *   /traces/recent?limit=N        the newest traces as OTLP/JSON; N from 1 to 1000, default 20
 *
 * Everything else is an error in JSON: {"error":{"status":404,"message":"..."}}. A stage's books
 * are read again, for a few milliseconds at most, while its owner is in the middle of a push.
 *
 * There is no authentication. While it listens on a loopback address it answers only requests
 * whose Host is localhost or an address, so that no web page can reach it through a name of its
 * own; no CORS header is ever sent. At most 64 connections (more wait), 32 KiB a request,
 * 10 s of silence.
 */
#ifndef API_API_H
#define API_API_H

#include "core/buf.h"

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

/*
 * Callbacks run on the server's own thread; each may be NULL. They and what they hand out must
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
	/* All parts ok: 200. Live: does the loop turn. Ready: degraded parts are still ok. */
	void (*health)(void *ctx, enum api_health kind,
		       void (*part)(void *part_ctx, const struct api_part *p), void *part_ctx);
	/* Appends one OTLP/JSON request of at most limit traces, newest first. 0 or -errno. */
	int (*recent)(void *ctx, uint32_t limit, struct buf *out);
};

struct api;
/* 0; -EINVAL for an address that cannot be; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -ENOMEM, ... */
int api_new(const struct api_cfg *cfg, struct api **ret_api);
/* The port it listens on. */
uint16_t api_port(const struct api *a);
void api_free(struct api *a);

#endif

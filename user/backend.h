/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What run and gateway share: where spans go once they were captured or received.
 *
 *   capture ── redact ─┐
 *   receive ── redact ─┴─▶ analyze, sampler ─▶ store, exporters, live tail
 *
 * Each thread that brings spans has a producer of its own. Everything behind it takes pushes from
 * any thread and never waits.
 */
#ifndef TELLTALE_BACKEND_H
#define TELLTALE_BACKEND_H

#include "api/api.h"
#include "config/config.h"
#include "redact/redact.h"
#include "store/store.h"

struct backend;
/* Opens store, sampler and exporters. 0, or -errno after a line on standard error. */
int backend_open(const struct config *c, struct backend **ret_backend);
/* Begins to receive. 0, or -errno after a line on standard error. */
int backend_receive(struct backend *b);
/* A further receiver under a name of its own, while it runs; one of http and grpc is an address.
 * -ENOSPC: there are too many; or as receive_new(). From one thread at a time. */
int backend_receiver_add(struct backend *b, const char *id, const char *http, const char *grpc,
			 char *why, size_t size);
void backend_receiver_remove(struct backend *b, const char *id);
/* Rules for the gate of who captures; the backend's. */
struct redact_rules *backend_rules(const struct backend *b);
struct store *backend_store(const struct backend *b); /* NULL: none is kept */
/*
 * Parts for /health/ready, each with its reason. Only a store that takes nothing makes it unready.
 * An exporter that cannot send has a part that is ok and says what is wrong: receiving goes on
 * without it, and to be taken out of service would lose what senders hold.
 */
void backend_health(struct backend *b, void (*part)(void *ctx, const struct api_part *p),
		    void *ctx);
/* As api_cfg.metrics. */
void backend_metrics(struct backend *b, bool openmetrics, struct buf *out);
/* Those who follow /traces/live; NULL before and after. */
void backend_set_live(struct backend *b, struct api *live);
/* About ten times a second, from one thread; now_ns monotonic. */
void backend_tick(struct backend *b, uint64_t now_ns);
/* Receives no more, answers what is under way. Before the API goes, which live spans go to. */
void backend_quiet(struct backend *b);
/* Quiet, then decides and writes what waits; sends what is queued
 * for a few seconds. Producers are freed before. NULL is fine. */
void backend_close(struct backend *b);

struct producer;
struct producer *producer_new(struct backend *b);
/* Takes a redacted span; as span_sink.push. */
void producer_push(void *producer, const struct span *s);
void producer_free(struct producer *p);

#endif

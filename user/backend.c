/* SPDX-License-Identifier: Apache-2.0 */
/* Store, sampler, exporters and receivers put together. */
#include "backend.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/analyze.h"
#include "core/clock.h"
#include "core/listen.h"
#include "core/log.h"
#include "exporters.h"
#include "receive/receive.h"
#include "sampling.h"

#define RECEIVERS_MAX 16

/* A receiver that came while it ran. */
struct further {
	char *id; /* NULL: free */
	struct receive *receive;
};

struct backend {
	const struct config *config;
	struct redact_rules *rules;
	struct store *store; /* NULL: nothing is kept */
	struct exporters *exporters;
	struct analyze *analyze;
	struct sampler *sampler;
	struct producer *tail; /* what the sampler decides late */
	struct receive *receive;
	char receives[160]; /* what and where; set before anybody asks */
	pthread_mutex_t further_lock;
	struct further further[RECEIVERS_MAX];
	bool quiet; /* no further ones any more */
	struct api *live;
};

struct producer {
	struct backend *backend;
	struct redact *redact; /* of a receiver's thread; NULL: redacted already */
	struct store_writer *writer;
};

/* ---- producers ---- */

/* What the sampler lets through. */
static void keep(void *ctx, const struct span *s)
{
	struct producer *p = ctx;
	struct api *live = __atomic_load_n(&p->backend->live, __ATOMIC_ACQUIRE);

	if (p->writer)
		store_writer_push(p->writer, s);
	exporters_push(p->backend->exporters, s);
	if (live)
		api_live_push(live, s);
}

struct producer *producer_new(struct backend *b)
{
	struct producer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->backend = b;
	if (b->store)
		p->writer = store_writer_new(b->store);
	if (b->store && !p->writer) {
		free(p);
		return NULL;
	}
	return p;
}

void producer_push(void *producer, const struct span *s)
{
	struct producer *p = producer;

	analyze_push(p->backend->analyze, s);
	sampler_push(p->backend->sampler, s, (struct span_sink){ p, keep });
}

void producer_free(struct producer *p)
{
	if (!p)
		return;
	redact_free(p->redact);
	store_writer_free(p->writer);
	free(p);
}

/* ---- receiving ---- */

static void push_received(void *ctx, const struct span *s)
{
	redact_push(((struct producer *)ctx)->redact, s);
}

static void sync_received(void *ctx, struct receive_ack ack)
{
	struct producer *p = ctx;

	if (p->writer)
		store_writer_sync(p->writer, (struct store_ack){ ack.done, ack.ctx });
	else
		ack.done(ack.ctx, 0);
}

static int admits_received(void *ctx)
{
	struct backend *b = ((struct producer *)ctx)->backend;

	return b->store ? store_admits(b->store) : 0;
}

static int make_producer(void *ctx, struct receive_producer *ret)
{
	struct backend *b = ctx;
	const struct redact_cfg cfg = { .raw_queries = b->config->raw_queries, .rules = b->rules };
	struct producer *p = producer_new(b);

	if (!p)
		return -ENOMEM;
	p->redact = redact_new(&cfg, (struct span_sink){ p, producer_push });
	if (!p->redact) {
		producer_free(p);
		return -ENOMEM;
	}
	*ret = (struct receive_producer){ .out = { p, push_received },
					  .sync = sync_received,
					  .admits = admits_received,
					  .ctx = p };
	return 0;
}

static void free_producer(void *ctx, struct receive_producer *rp)
{
	producer_free(rp->ctx);
}

static bool by_default(const struct config *c, const char *option)
{
	return strcmp(config_origin(c, option), "default") == 0;
}

static struct receive_cfg receive_cfg_of(struct backend *b, const char *http, const char *grpc)
{
	const struct config *c = b->config;
	uint32_t threads = c->receive_threads;

	return (struct receive_cfg){
		.http = http,
		.grpc = grpc,
		.make = make_producer,
		.free = free_producer,
		.ctx = b,
		.http_threads = threads,
		.grpc_threads = threads,
		.connections_max = (c->receive_connections + threads - 1) / threads,
		.idle_s = (uint32_t)((c->receive_idle_ns + NS_PER_S - 1) / NS_PER_S),
		.body_max = (size_t)c->receive_max_body,
		.bytes_per_s = c->receive_max_rate,
		.requests_per_s = c->receive_max_requests
	};
}

/* A port that nobody asked for and somebody has is left to them: a collector, most likely. */
static int open_receivers(struct backend *b, const char *http, const char *grpc)
{
	const struct config *c = b->config;
	const struct receive_cfg cfg = receive_cfg_of(b, http, grpc);
	char why[RECEIVE_WHY_MAX];
	int err = http || grpc ? receive_new(&cfg, &b->receive, why) : 0;

	if (err == -EADDRINUSE && http && by_default(c, "otlp-http") && c->command == COMMAND_RUN) {
		log_warn("%s; OTLP/HTTP is not received", why);
		return open_receivers(b, NULL, grpc);
	}
	if (err == -EADDRINUSE && grpc && by_default(c, "otlp-grpc") && c->command == COMMAND_RUN) {
		log_warn("%s; OTLP/gRPC is not received", why);
		return open_receivers(b, http, NULL);
	}
	if (err)
		fprintf(stderr, "telltale: %s\n", why);
	return err;
}

int backend_receive(struct backend *b)
{
	const struct config *c = b->config;
	uint16_t http, grpc;
	int err = open_receivers(b, c->otlp_http, c->otlp_grpc);

	snprintf(b->receives, sizeof(b->receives), "off");
	if (err || !b->receive)
		return err;
	http = receive_http_port(b->receive);
	grpc = receive_grpc_port(b->receive);
	err = exporters_check_loop(c, http ? c->otlp_http : NULL, http, grpc ? c->otlp_grpc : NULL,
				   grpc);
	snprintf(b->receives, sizeof(b->receives), "OTLP/HTTP and Zipkin %s%s, OTLP/gRPC %s%s",
		 http ? "on " : "off", http ? c->otlp_http : "", grpc ? "on " : "off",
		 grpc ? c->otlp_grpc : "");
	if (!err && http)
		log_info("receiving OTLP/HTTP and Zipkin on %s%s", c->otlp_http,
			 listen_reach(c->otlp_http));
	if (!err && grpc)
		log_info("receiving OTLP/gRPC on %s%s", c->otlp_grpc, listen_reach(c->otlp_grpc));
	return err;
}

int backend_receiver_add(struct backend *b, const char *id, const char *http, const char *grpc,
			 char *why, size_t size)
{
	const struct receive_cfg cfg = receive_cfg_of(b, http, grpc);
	struct further one = { .id = strdup(id) }, *f = b->further;
	char text[RECEIVE_WHY_MAX] = "too many receivers";
	int err = one.id ? 0 : -ENOMEM;

	pthread_mutex_lock(&b->further_lock);
	while (f < b->further + RECEIVERS_MAX && f->id)
		f++;
	if (!err)
		err = b->quiet || f == b->further + RECEIVERS_MAX
			      ? -ENOSPC
			      : receive_new(&cfg, &one.receive, text);
	if (!err && exporters_check_loop(b->config, http, receive_http_port(one.receive), grpc,
					 receive_grpc_port(one.receive))) {
		receive_free(one.receive);
		snprintf(text, sizeof(text), "spans are exported to that address");
		err = -EINVAL;
	}
	if (err) {
		snprintf(why, size, "%s", text);
		free(one.id);
	} else {
		*f = one;
	}
	pthread_mutex_unlock(&b->further_lock);
	return err;
}

static void further_close(struct further *f)
{
	receive_free(f->receive);
	free(f->id);
	*f = (struct further){ 0 };
}

void backend_receiver_remove(struct backend *b, const char *id)
{
	pthread_mutex_lock(&b->further_lock);
	for (struct further *f = b->further; f < b->further + RECEIVERS_MAX; f++)
		if (f->id && strcmp(f->id, id) == 0)
			further_close(f);
	pthread_mutex_unlock(&b->further_lock);
}

void backend_quiet(struct backend *b)
{
	if (!b)
		return;
	receive_free(b->receive);
	b->receive = NULL;
	pthread_mutex_lock(&b->further_lock);
	b->quiet = true;
	for (struct further *f = b->further; f < b->further + RECEIVERS_MAX; f++)
		further_close(f);
	pthread_mutex_unlock(&b->further_lock);
}

/* ---- public ---- */

static int open_store(struct backend *b)
{
	const struct config *c = b->config;
	const struct store_cfg cfg = { .where = c->store,
				       .retention_ns = c->retention_ns,
				       .max_bytes = c->store_max_bytes,
				       .rollup_ns = c->rollup_ns,
				       .key_file = c->store_key_file,
				       .key = c->store_key,
				       .ca_file = c->store_certificate,
				       .client_cert_file = c->store_client_certificate,
				       .client_key_file = c->store_client_key };
	char why[STORE_WHY_MAX];
	int err = c->store ? store_open(&cfg, &b->store, why) : 0;

	if (err)
		fprintf(stderr, "telltale: %s%s\n", why,
			err == -EACCES	 ? "; run as root, or keep it elsewhere: --store DIR"
			: err == -ENOSPC ? "; make room, or keep it elsewhere: --store DIR"
					 : "");
	return err;
}

int backend_open(const struct config *c, struct backend **ret_backend)
{
	struct backend *b = calloc(1, sizeof(*b));
	int err = b ? 0 : -ENOMEM;

	if (!err) {
		b->config = c;
		pthread_mutex_init(&b->further_lock, NULL);
		err = sampling_rules(c, &b->rules);
	}
	if (!err)
		err = open_store(b);
	if (!err)
		err = exporters_open(c, &b->exporters);
	if (!err) {
		b->analyze = analyze_new(&(struct analyze_cfg){ .series_max = c->metrics_series });
		b->tail = producer_new(b);
		b->sampler = b->tail ? sampling_new(c, (struct span_sink){ b->tail, keep }) : NULL;
		err = b->sampler && b->analyze ? 0 : -ENOMEM;
	}
	if (err) {
		backend_close(b);
		return err;
	}
	*ret_backend = b;
	return 0;
}

struct redact_rules *backend_rules(const struct backend *b)
{
	return b->rules;
}

struct store *backend_store(const struct backend *b)
{
	return b->store;
}

struct parts {
	void (*part)(void *ctx, const struct api_part *p);
	void *ctx;
};

static void exporter_part(void *ctx, const char *name, const char *text)
{
	struct parts *p = ctx;

	p->part(p->ctx, &(struct api_part){ name, true, text });
}

void backend_health(struct backend *b, void (*part)(void *ctx, const struct api_part *p), void *ctx)
{
	int err = b->store ? store_admits(b->store) : 0;

	part(ctx, &(struct api_part){ "store", !err,
				      !b->store ? "none is kept: --store none"
				      : err	? strerror(-err)
						: "ready" });
	part(ctx, &(struct api_part){ "receive", true, b->receives });
	exporters_states(b->exporters, exporter_part, &(struct parts){ part, ctx });
}

void backend_metrics(struct backend *b, bool openmetrics, struct buf *out)
{
	analyze_write(b->analyze, openmetrics, out);
}

void backend_set_live(struct backend *b, struct api *live)
{
	__atomic_store_n(&b->live, live, __ATOMIC_RELEASE);
}

void backend_tick(struct backend *b, uint64_t now_ns)
{
	analyze_tick(b->analyze, now_ns);
	sampler_tick(b->sampler, now_ns);
	exporters_tick(b->exporters, now_ns);
}

void backend_close(struct backend *b)
{
	if (!b)
		return;
	backend_quiet(b);
	if (b->sampler)
		sampler_flush(b->sampler);
	sampler_free(b->sampler);
	producer_free(b->tail);
	analyze_free(b->analyze);
	exporters_free(b->exporters);
	store_close(b->store);
	redact_rules_put(b->rules);
	pthread_mutex_destroy(&b->further_lock);
	free(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Exporters from options; trees on standard output. */
#include "exporters.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/clock.h"
#include "export/export.h"
#include "trace/trace.h"

#define EXPORTERS_MAX 4
#define PATH_BYTES    4096
/* For what is queued when it ends, of all together. */
#define END_MS 5000

/* Traces as trees on standard output. */
struct trees {
	pthread_mutex_t lock;
	struct assemble *assemble;
	struct tree_opts opts;
	struct buf text;
};

struct exporters {
	struct exporter *v[EXPORTERS_MAX];
	size_t cnt;
	struct trees *trees;
};

/* ---- trees ---- */

static void print_trace(void *ctx, const struct trace *t)
{
	struct trees *tr = ctx;

	buf_clear(&tr->text);
	if (!tree_print(t, &tr->opts, &tr->text)) {
		fwrite(tr->text.p, 1, tr->text.len, stdout);
		fflush(stdout);
	}
	tr->opts.labels = false;
}

static void trees_free(struct trees *t)
{
	if (!t)
		return;
	if (t->assemble)
		assemble_flush(t->assemble);
	assemble_free(t->assemble);
	pthread_mutex_destroy(&t->lock);
	buf_fini(&t->text);
	free(t);
}

static struct trees *trees_new(void)
{
	struct trees *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	t->opts.term = term_of(STDOUT_FILENO, "auto");
	t->opts.labels = true;
	t->assemble =
		assemble_new(&(struct assemble_cfg){ 0 }, (struct trace_sink){ t, print_trace });
	if (t->assemble)
		return t;
	trees_free(t);
	return NULL;
}

/* ---- public ---- */

/* A folder of its own in --export-spool. 0, or -errno and why. */
static int spool_path(const char *dir, const char *name, char out[PATH_BYTES],
		      char why[EXPORTER_WHY_MAX])
{
	int err = mkdir(dir, 0700) && errno != EEXIST ? -errno : 0;

	if (!err && snprintf(out, PATH_BYTES, "%s/%s", dir, name) >= PATH_BYTES)
		err = -ENAMETOOLONG;
	if (err)
		snprintf(why, EXPORTER_WHY_MAX, "--export-spool %s: %s", dir, strerror(-err));
	return err;
}

/* spool: what its folder is called; NULL: what it is sent to is a disk itself. */
static int add(struct exporters *e, const struct config *c, struct exporter_cfg cfg,
	       const char *spool)
{
	char why[EXPORTER_WHY_MAX], path[PATH_BYTES];
	int err = 0;

	cfg.delay_ms = (uint32_t)MAX(c->export_delay_ns / NS_PER_MS, 1);
	cfg.give_up_ms = (uint32_t)(c->export_give_up_ns / NS_PER_MS);
	cfg.batch_spans = c->export_batch;
	cfg.queue_spans = c->export_spans;
	cfg.queue_bytes = (size_t)c->queue_size;
	if (c->export_spool && spool) {
		err = spool_path(c->export_spool, spool, path, why);
		cfg.spool_dir = path;
		cfg.spool_bytes = c->export_spool_bytes;
	}
	if (!err)
		err = exporter_new(&cfg, &e->v[e->cnt], why);
	if (err)
		fprintf(stderr, "telltale: %s\n", why);
	else
		e->cnt++;
	return err;
}

static int add_otlp(struct exporters *e, const struct config *c)
{
	static const char *const kinds[] = { "otlp_grpc", "otlp_http", "otlp_http_json" };
	const struct exporter_cfg cfg = {
		.kind = kinds[c->otlp_protocol],
		.endpoints = c->otlp_urls.v,
		.endpoint_cnt = c->otlp_urls.cnt,
		.headers = c->otlp_headers,
		.gzip = c->otlp_compression == CONFIG_COMPRESSION_GZIP,
		.insecure = c->otlp_insecure,
		.ca_file = c->otlp_certificate,
		.cert_file = c->otlp_client_certificate,
		.key_file = c->otlp_client_key,
		.timeout_ms = (uint32_t)(c->otlp_timeout_ns / NS_PER_MS),
	};

	return c->otlp_urls.cnt ? add(e, c, cfg, "otlp") : 0;
}

static int add_zipkin(struct exporters *e, const struct config *c)
{
	const struct exporter_cfg cfg = {
		.kind = "zipkin",
		.endpoints = c->zipkin_endpoint.v,
		.endpoint_cnt = c->zipkin_endpoint.cnt,
		.headers = c->zipkin_headers,
		.ca_file = c->zipkin_certificate,
		.cert_file = c->zipkin_client_certificate,
		.key_file = c->zipkin_client_key,
		.timeout_ms = (uint32_t)(c->zipkin_timeout_ns / NS_PER_MS),
	};

	return c->zipkin_endpoint.cnt ? add(e, c, cfg, "zipkin") : 0;
}

static int add_others(struct exporters *e, const struct config *c)
{
	const struct exporter_cfg file = { .kind = "otlp_file",
					   .endpoints = &c->export_file,
					   .endpoint_cnt = 1,
					   .rotate_bytes = c->export_file_size,
					   .rotate_age_s = (c->export_file_age_ns + NS_PER_S - 1) /
							   NS_PER_S,
					   .rotate_keep = c->export_file_keep };
	const struct exporter_cfg kafka = { .kind = "kafka",
					    .endpoints = c->kafka_brokers.v,
					    .endpoint_cnt = c->kafka_brokers.cnt,
					    .topic = c->kafka_topic,
					    .kafka_settings = c->kafka_settings };
	int err = c->export_file ? add(e, c, file, NULL) : 0;

	if (!err)
		err = add_zipkin(e, c);
	if (!err && c->kafka_brokers.cnt)
		err = add(e, c, kafka, "kafka");
	return err;
}

int exporters_open(const struct config *c, struct exporters **ret_exporters)
{
	struct exporters *e = calloc(1, sizeof(*e));
	int err = e ? add_otlp(e, c) : -ENOMEM;

	if (!err)
		err = add_others(e, c);
	if (!err && c->export_stdout) {
		e->trees = trees_new();
		err = e->trees ? 0 : -ENOMEM;
	}
	if (err) {
		exporters_free(e);
		return err;
	}
	*ret_exporters = e;
	return 0;
}

/* "127.0.0.1:4318", "[::1]:4318", "localhost:4318": the host alone. */
static void host_of(const char *address, char out[64])
{
	const char *end = strrchr(address, ':');

	if (address[0] == '[') {
		address++;
		end--;
	}
	snprintf(out, 64, "%.*s", (int)(end - address), address);
	if (!strcasecmp(out, "localhost"))
		snprintf(out, 64, "127.0.0.1");
}

/* 0, or -ELOOP after a line on standard error that says what would come of it. */
static int refuse_own(const struct config *c, const char *option, const struct config_list *to,
		      const struct own_address *own, size_t cnt, const char *what)
{
	char shown[256];

	for (uint32_t i = 0; i < to->cnt; i++) {
		if (exporter_is_own(to->v[i], own, cnt) != 1)
			continue;
		config_show_urls(str_of(to->v[i]), shown, sizeof(shown));
		fprintf(stderr,
			"telltale: %s: %s is our own receiver: %s; name another endpoint, or "
			"--otlp-http off and --otlp-grpc off\n",
			config_origin(c, option), shown, what);
		return -ELOOP;
	}
	return 0;
}

int exporters_check_loop(const struct config *c, const char *http, uint16_t http_port,
			 const char *grpc, uint16_t grpc_port)
{
	struct own_address own[2];
	char host[2][64];
	size_t cnt = 0;
	int err;

	if (http) {
		host_of(http, host[cnt]);
		own[cnt] = (struct own_address){ host[cnt], http_port };
		cnt++;
	}
	if (grpc) {
		host_of(grpc, host[cnt]);
		own[cnt] = (struct own_address){ host[cnt], grpc_port };
		cnt++;
	}
	err = refuse_own(c, "otlp-endpoint", &c->otlp_urls, own, cnt,
			 "spans would go round for ever");
	if (!err)
		err = refuse_own(c, "zipkin-endpoint", &c->zipkin_endpoint, own, cnt,
				 "spans would go round for ever");
	if (!err)
		err = refuse_own(c, "kafka-brokers", &c->kafka_brokers, own, cnt,
				 "it does not speak Kafka");
	return err;
}

void exporters_push(struct exporters *e, const struct span *s)
{
	for (size_t i = 0; i < e->cnt; i++)
		exporter_push(e->v[i], s);
	if (!e->trees)
		return;
	pthread_mutex_lock(&e->trees->lock);
	assemble_push(e->trees->assemble, s);
	pthread_mutex_unlock(&e->trees->lock);
}

void exporters_tick(struct exporters *e, uint64_t now_ns)
{
	if (!e->trees)
		return;
	pthread_mutex_lock(&e->trees->lock);
	assemble_tick(e->trees->assemble, now_ns);
	pthread_mutex_unlock(&e->trees->lock);
}

void exporters_states(struct exporters *e,
		      void (*each)(void *ctx, const char *name, const char *text), void *ctx)
{
	struct buf text = { 0 };

	for (size_t i = 0; i < e->cnt; i++) {
		const char *name;

		buf_clear(&text);
		name = exporter_state(e->v[i], &text);
		if (!buf_add_char(&text, '\0'))
			each(ctx, name, text.p);
	}
	buf_fini(&text);
}

void exporters_free(struct exporters *e)
{
	uint64_t end_ns = clock_mono_ns() + END_MS * NS_PER_MS;

	if (!e)
		return;
	/* all at once: one that hangs leaves the others their time */
	for (size_t i = 0; i < e->cnt; i++)
		exporter_stop(e->v[i], END_MS);
	for (size_t i = 0; i < e->cnt; i++) {
		uint64_t now_ns = clock_mono_ns();

		exporter_free(e->v[i],
			      now_ns < end_ns ? (uint32_t)((end_ns - now_ns) / NS_PER_MS) : 1);
	}
	trees_free(e->trees);
	free(e);
}

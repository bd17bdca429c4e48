/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka by librdkafka, which finds brokers, keeps connections and tries again within timeout_ms.
 * A batch is delivered when all its messages are; if some are not, the whole is sent again later,
 * so a consumer may see a trace's spans twice, as it may with any producer.
 */
#include "export/kafka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef HAVE_RDKAFKA
#include <librdkafka/rdkafka.h>

#include "core/clock.h"

#define TOPIC_DEFAULT "otlp_spans"
#define POLL_MS	      100

struct kafka {
	rd_kafka_t *producer;
	char *topic;

	/* the body that is being sent */
	uint32_t waiting;  /* messages without an answer */
	uint64_t rejected; /* spans that no try will bring in */
	rd_kafka_resp_err_t failed;
};

/* ---- sending ---- */

/* What depends on the message itself: another try would end the same way. */
static bool is_final(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
	       err == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE || err == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

static void note(struct kafka *k, rd_kafka_resp_err_t err, uint64_t spans)
{
	if (is_final(err))
		k->rejected += spans;
	else if (err)
		k->failed = err;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *ctx)
{
	struct kafka *k = ctx;

	k->waiting--;
	note(k, m->err, (uintptr_t)m->_private);
}

static void produce(struct kafka *k, const struct kafka_message *m)
{
	rd_kafka_resp_err_t err = rd_kafka_producev(
		k->producer, RD_KAFKA_V_TOPIC(k->topic), RD_KAFKA_V_KEY(m->key, strlen(m->key)),
		RD_KAFKA_V_VALUE((void *)m->payload.p, m->payload.len),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_OPAQUE((void *)(uintptr_t)m->spans), RD_KAFKA_V_END);

	if (err)
		note(k, err, m->spans);
	else
		k->waiting++;
}

/* Until every message has its answer; librdkafka gives one to each after message.timeout.ms. */
static void await_answers(struct kafka *k, const uint64_t *stop_ns)
{
	while (k->waiting) {
		uint64_t stop = __atomic_load_n(stop_ns, __ATOMIC_ACQUIRE);

		if (stop && clock_mono_ns() >= stop)
			rd_kafka_purge(k->producer,
				       RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		rd_kafka_poll(k->producer, POLL_MS);
	}
}

static void send_body(void *conn, struct str body, const uint64_t *stop_ns, struct verdict *ret)
{
	struct cursor c = cursor_of(body.p, body.len);
	struct kafka *k = conn;
	struct kafka_message m;

	k->waiting = 0;
	k->rejected = 0;
	k->failed = 0;
	while (!k->failed && kafka_message_next(&c, &m)) {
		produce(k, &m);
		rd_kafka_poll(k->producer, 0);
	}
	await_answers(k, stop_ns);
	ret->what = k->failed ? VERDICT_RETRY : VERDICT_DONE;
	ret->rejected = k->rejected;
	if (k->failed)
		snprintf(ret->text, sizeof(ret->text), "%s", rd_kafka_err2str(k->failed));
	else if (k->rejected)
		snprintf(ret->text, sizeof(ret->text), "messages are too long for the broker");
}

/* ---- setting up ---- */

/* librdkafka's log lines repeat what the answers say. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value,
	       char why[EXPORTER_WHY_MAX])
{
	char text[160];

	if (!value || !rd_kafka_conf_set(conf, name, value, text, sizeof(text)))
		return 0;
	return refuse(why, -EINVAL, "%s", text);
}

struct settings {
	rd_kafka_conf_t *conf;
	char *why;
};

static int add_setting(void *ctx, const char *name, const char *value)
{
	struct settings *s = ctx;

	return set(s->conf, name, value, s->why);
}

static int configure(rd_kafka_conf_t *conf, const struct exporter_cfg *cfg, const char *brokers,
		     char why[EXPORTER_WHY_MAX])
{
	bool secure = cfg->ca_file || cfg->cert_file;
	struct settings s = { conf, why };
	char timeout[16], queue_kib[16];
	const struct {
		const char *name, *value;
	} row[] = {
		{ "bootstrap.servers", brokers },
		{ "message.timeout.ms", timeout },
		{ "queue.buffering.max.kbytes", queue_kib },
		{ "queue.buffering.max.messages", "1000000" },
		/* one batch is sent at a time, so there is nothing to wait for */
		{ "linger.ms", "1" },
		{ "client.id", "telltale" },
		{ "partitioner", "murmur2_random" }, /* as the Java client's */
		{ "compression.codec", cfg->gzip ? "gzip" : NULL },
		{ "security.protocol", secure ? "ssl" : NULL },
		{ "ssl.ca.location", cfg->ca_file },
		{ "ssl.certificate.location", cfg->cert_file },
		{ "ssl.key.location", cfg->key_file },
	};
	int err = 0;

	snprintf(timeout, sizeof(timeout), "%u", cfg->timeout_ms);
	snprintf(queue_kib, sizeof(queue_kib), "%u", 1u << 20);
	for (size_t i = 0; !err && i < ARRAY_LEN(row); i++)
		err = set(conf, row[i].name, row[i].value, why);
	if (!err) {
		err = headers_each(cfg->kafka_settings, add_setting, &s);
		if (err == -EBADMSG)
			refuse(why, err, "kafka settings: expected NAME=VALUE[,NAME=VALUE...]");
	}
	return err;
}

static void close_conn(void *conn)
{
	struct kafka *k = conn;

	if (k->producer)
		rd_kafka_destroy(k->producer);
	free(k->topic);
	free(k);
}

static int open_conn(const struct exporter_cfg *cfg, const char *endpoint, void **ret_conn,
		     char why[EXPORTER_WHY_MAX])
{
	struct kafka *k = calloc(1, sizeof(*k));
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[160];
	int err;

	if (!k || !(k->topic = strdup(cfg->topic ? cfg->topic : TOPIC_DEFAULT))) {
		rd_kafka_conf_destroy(conf);
		free(k);
		return refuse(why, -ENOMEM, "no memory");
	}
	err = cfg->headers ? refuse(why, -EINVAL, "kafka has no headers to set")
			   : configure(conf, cfg, endpoint, why);
	if (!err) {
		rd_kafka_conf_set_dr_msg_cb(conf, on_report);
		rd_kafka_conf_set_log_cb(conf, on_log);
		rd_kafka_conf_set_opaque(conf, k);
		k->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
		if (k->producer)
			conf = NULL; /* the producer's now */
		else
			err = refuse(why, -EINVAL, "%s", text);
	}
	if (conf)
		rd_kafka_conf_destroy(conf);
	if (err) {
		close_conn(k);
		return err;
	}
	*ret_conn = k;
	return 0;
}

#else

static int open_conn(const struct exporter_cfg *cfg, const char *endpoint, void **ret_conn,
		     char why[EXPORTER_WHY_MAX])
{
	return refuse(why, -ENOTSUP, "this program was built without librdkafka");
}

static void send_body(void *conn, struct str body, const uint64_t *stop_ns, struct verdict *ret)
{
	ret->what = VERDICT_REFUSED;
}

static void close_conn(void *conn)
{
}

#endif

const struct kind kind_kafka = { "kafka",   &format_kafka, true,      open_conn,
				 send_body, NULL,	   close_conn };

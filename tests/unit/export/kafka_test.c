/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka against the brokers that librdkafka mocks inside the process. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "export/kafka.h"
#include "otlp.pb-c.h"
#include "rig.h"

#define STAGE "export_kafka"

static void messages_are_read_back(void **state)
{
	struct packer scratch = { 0 };
	struct gen g = { 5, arena_new(0) };
	struct buf bytes = { 0 }, body = { 0 };
	struct item items[20];
	struct kafka_message m;
	uint64_t spans = 0;
	struct cursor c;
	char last[33] = "";

	for (int i = 0; i < 20; i++) {
		struct span *s = gen_http_span(&g, rig_resource[i % 3]);

		memset(&s->trace_id, i % 4 + 1, sizeof(s->trace_id));
		items[i] = (struct item){ .resource = s->resource,
					  .scope = s->scope,
					  .off = bytes.len,
					  .trace_id = s->trace_id };
		assert_int_equal(format_kafka.add_span(&scratch, s, &bytes), 0);
		items[i].len = bytes.len - items[i].off;
	}
	assert_int_equal(format_kafka.add_body(&scratch, items, 20, bytes.p, &body), 0);
	c = cursor_of(body.p, body.len);
	while (kafka_message_next(&c, &m)) {
		Otlp__ExportTraceRequest *r = otlp__export_trace_request__unpack(
			NULL, m.payload.len, (const uint8_t *)m.payload.p);

		assert_non_null(r);
		assert_int_equal(m.spans, 5);
		assert_true(strcmp(last, m.key) < 0);
		memcpy(last, m.key, sizeof(last));
		spans += m.spans;
		otlp__export_trace_request__free_unpacked(r, NULL);
	}
	assert_false(c.bad);
	assert_int_equal(spans, 20);
	c = cursor_of(body.p, body.len - 1);
	while (kafka_message_next(&c, &m))
		;
	assert_true(c.bad);
	buf_fini(&bytes);
	buf_fini(&body);
	pack_fini(&scratch);
	arena_free(g.mem);
}

#ifdef HAVE_RDKAFKA
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

static rd_kafka_t *host;
static rd_kafka_mock_cluster_t *cluster;

static void begin(void)
{
	char text[256];

	host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text));
	assert_non_null(host);
	cluster = rd_kafka_mock_cluster_new(host, 3);
	assert_non_null(cluster);
	assert_int_equal(rd_kafka_mock_topic_create(cluster, "otlp_spans", 4, 1), 0);
}

static void end(void)
{
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(host);
}

static size_t spans_of(const rd_kafka_message_t *m)
{
	Otlp__ExportTraceRequest *r =
		otlp__export_trace_request__unpack(NULL, m->len, (const uint8_t *)m->payload);
	size_t sum = 0;

	assert_non_null(r);
	for (size_t i = 0; i < r->n_resource_spans; i++)
		for (size_t k = 0; k < r->resource_spans[i]->n_scope_spans; k++)
			for (size_t n = 0; n < r->resource_spans[i]->scope_spans[k]->n_spans; n++) {
				const ProtobufCBinaryData *id =
					&r->resource_spans[i]->scope_spans[k]->spans[n]->trace_id;
				char hex[33];

				trace_id_hex((const struct trace_id *)id->data, hex);
				assert_int_equal(m->key_len, 32);
				assert_memory_equal(m->key, hex, 32);
				sum++;
			}
	otlp__export_trace_request__free_unpacked(r, NULL);
	return sum;
}

/* Reads the topic from its start until it has seen so many spans, for at most 20 s. */
static size_t consume(size_t spans)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(4);
	uint64_t until = clock_mono_ns() + 20 * NS_PER_S;
	rd_kafka_t *consumer;
	size_t seen = 0;
	char text[256];

	rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster),
			  text, sizeof(text));
	rd_kafka_conf_set(conf, "group.id", "test", text, sizeof(text));
	consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
	assert_non_null(consumer);
	for (int i = 0; i < 4; i++)
		rd_kafka_topic_partition_list_add(parts, "otlp_spans", i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	assert_int_equal(rd_kafka_assign(consumer, parts), 0);
	while (seen < spans && clock_mono_ns() < until) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 100);

		if (m && !m->err)
			seen += spans_of(m);
		if (m)
			rd_kafka_message_destroy(m);
	}
	rd_kafka_topic_partition_list_destroy(parts);
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	return seen;
}

static void each_trace_is_a_message_with_its_key(void **state)
{
	struct exporter *e;

	begin();
	e = rig_start((struct exporter_cfg){ .kind = "kafka", .batch_spans = 20 },
		      rd_kafka_mock_cluster_bootstraps(cluster));
	rig_push(e, 60);
	assert_int_equal(rig_settle(STAGE).out, 60);
	assert_int_equal(consume(60), 60);
	exporter_free(e, 0);
	end();
}

static void a_broker_that_stumbles_is_tried_again(void **state)
{
	struct exporter *e;

	begin();
	rd_kafka_mock_push_request_errors(cluster, 0 /* Produce */, 2,
					  RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
					  RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
	e = rig_start((struct exporter_cfg){ .kind = "kafka", .gzip = true },
		      rd_kafka_mock_cluster_bootstraps(cluster));
	rig_push(e, 10);
	assert_int_equal(rig_settle(STAGE).out, 10);
	assert_true(consume(10) >= 10);
	exporter_free(e, 0);
	end();
}

static void what_is_too_long_is_counted(void **state)
{
	static char text[5000];
	struct gen g = { 5, arena_new(0) };
	struct exporter *e;
	struct span *s;
	struct books b;

	memset(text, 'x', sizeof(text));
	begin();
	e = rig_start((struct exporter_cfg){ .kind = "kafka",
					     .kafka_settings = "message.max.bytes=3000" },
		      rd_kafka_mock_cluster_bootstraps(cluster));
	rig_push(e, 3);
	s = gen_http_span(&g, rig_resource[0]);
	s->status_message = (struct str){ text, sizeof(text) };
	exporter_push(e, s);
	b = rig_settle(STAGE);
	assert_int_equal(b.out, 3);
	assert_int_equal(rig_lost(&b, "rejected"), 1);
	exporter_free(e, 0);
	end();
	arena_free(g.mem);
}

/* The many spans of one trace are more than a broker takes at once; they keep their key. */
static void a_large_trace_goes_in_several_messages(void **state)
{
	static char text[1000];
	struct gen g = { 5, arena_new(0) };
	struct exporter *e;
	struct span *s = gen_http_span(&g, rig_resource[0]);

	memset(text, 'x', sizeof(text));
	s->status_message = (struct str){ text, sizeof(text) };
	begin();
	e = rig_start((struct exporter_cfg){ .kind = "kafka" },
		      rd_kafka_mock_cluster_bootstraps(cluster));
	for (int i = 0; i < 2000; i++)
		exporter_push(e, s);
	assert_int_equal(rig_settle(STAGE).out, 2000);
	assert_int_equal(consume(2000), 2000);
	exporter_free(e, 0);
	end();
	arena_free(g.mem);
}

static void brokers_that_are_away_are_given_up(void **state)
{
	struct exporter *e;
	struct books b;

	e = rig_start(
		(struct exporter_cfg){ .kind = "kafka", .timeout_ms = 100, .give_up_ms = 300 },
		"127.0.0.1:1");
	rig_push(e, 10);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "gave_up"), 10);
	rig_push(e, 10);
	exporter_free(e, 0);
}

static void settings_are_checked(void **state)
{
	struct exporter_cfg cfg = { .kind = "kafka", .kafka_settings = "no.such.thing=1" };

	assert_int_equal(rig_refused(cfg, "127.0.0.1:1", "no.such.thing"), -EINVAL);
	cfg.kafka_settings = "novalue";
	assert_int_equal(rig_refused(cfg, "127.0.0.1:1", "kafka settings"), -EBADMSG);
	cfg.kafka_settings = NULL;
	cfg.headers = "a=b";
	assert_int_equal(rig_refused(cfg, "127.0.0.1:1", "headers"), -EINVAL);
}
#else

static void without_librdkafka_it_says_so(void **state)
{
	assert_int_equal(rig_refused((struct exporter_cfg){ .kind = "kafka" }, "127.0.0.1:1",
				     "built without librdkafka"),
			 -ENOTSUP);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_read_back),
#ifdef HAVE_RDKAFKA
		cmocka_unit_test(each_trace_is_a_message_with_its_key),
		cmocka_unit_test(a_broker_that_stumbles_is_tried_again),
		cmocka_unit_test(what_is_too_long_is_counted),
		cmocka_unit_test(a_large_trace_goes_in_several_messages),
		cmocka_unit_test(brokers_that_are_away_are_given_up),
		cmocka_unit_test(settings_are_checked),
#else
		cmocka_unit_test(without_librdkafka_it_says_so),
#endif
	};
	return cmocka_run_group_tests_name("export/kafka", tests, rig_setup, rig_teardown);
}

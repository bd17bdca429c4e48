/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the backend: receivers, store, sampling, redaction, exporters. */
#include "unit/config/load.h"

static void samplers_and_exporters_of_the_standard_are_understood(void **state)
{
	char *ratio[] = { (char *)"OTEL_TRACES_SAMPLER=TraceIdRatio",
			  (char *)"OTEL_TRACES_SAMPLER_ARG=0.25", NULL };
	char *parent[] = { (char *)"OTEL_TRACES_SAMPLER=parentbased_always_off",
			   (char *)"MAX_TRACES_PER_SECOND=7", NULL };
	char *console[] = { (char *)"OTEL_TRACES_EXPORTER=console",
			    (char *)"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:1", NULL };
	char *zipkin[] = { (char *)"OTEL_TRACES_EXPORTER=zipkin",
			   (char *)"OTEL_EXPORTER_ZIPKIN_ENDPOINT=http://z:9411/api/v2/spans",
			   NULL };
	char *both[] = { (char *)"OTEL_TRACES_EXPORTER=otlp, console",
			 (char *)"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:1",
			 (char *)"OTEL_EXPORTER_ZIPKIN_ENDPOINT=http://z:9411/", NULL };
	char *none[] = { (char *)"OTEL_TRACES_EXPORTER=none", both[1], both[2], NULL };
	char *odd[] = { (char *)"OTEL_TRACES_SAMPLER=dice", (char *)"OTEL_TRACES_SAMPLER_ARG=2",
			NULL };
	struct config *c = good("run", ratio);

	assert_int_equal(c->sampling, CONFIG_SAMPLING_RATIO);
	assert_true(c->sampling_ratio == 0.25);
	assert_false(c->sampling_parent);
	config_free(c);
	c = good("gateway", parent);
	assert_int_equal(c->sampling, CONFIG_SAMPLING_NEVER);
	assert_true(c->sampling_parent);
	assert_int_equal(c->max_traces_per_second, 7);
	config_free(c);
	c = good("run", console);
	assert_true(c->export_stdout);
	assert_int_equal(c->otlp_urls.cnt, 0);
	config_free(c);
	c = good("run --otlp-endpoint http://asked:1", console);
	assert_int_equal(c->otlp_urls.cnt, 1);
	config_free(c);
	c = good("run", zipkin);
	assert_int_equal(c->zipkin_endpoint.cnt, 1);
	assert_string_equal(c->zipkin_endpoint.v[0], "http://z:9411/api/v2/spans");
	config_free(c);
	c = good("run", both);
	assert_true(c->export_stdout);
	assert_int_equal(c->otlp_urls.cnt, 1);
	assert_int_equal(c->zipkin_endpoint.cnt, 0);
	config_free(c);
	c = good("run", none);
	assert_int_equal(c->otlp_urls.cnt, 0);
	assert_int_equal(c->zipkin_endpoint.cnt, 0);
	config_free(c);
	c = good("run", odd);
	assert_int_equal(c->warnings.cnt, 2);
	assert_int_equal(c->sampling, CONFIG_SAMPLING_ALWAYS);
	config_free(c);
}

static void a_limit_alone_asks_for_sampling_by_rate(void **state)
{
	char *limit[] = { (char *)"MAX_TRACES_PER_SECOND=7", NULL };
	struct config *c = good("gateway", limit);

	assert_int_equal(c->sampling, CONFIG_SAMPLING_RATE);
	assert_string_equal(config_origin(c, "sampling"), "MAX_TRACES_PER_SECOND");
	config_free(c);
	c = good("gateway --sampling tail", limit);
	assert_int_equal(c->sampling, CONFIG_SAMPLING_TAIL);
	assert_int_equal(c->max_traces_per_second, 7);
	config_free(c);
	c = good("gateway --max-traces-per-second 9", NULL); /* of whatever is asked for */
	assert_int_equal(c->sampling, CONFIG_SAMPLING_ALWAYS);
	config_free(c);
}

static void a_backend_takes_its_options(void **state)
{
	struct config *c = good("gateway --store ./t --retention 30d --otlp-grpc off "
				"--otlp-endpoint http://a:1,http://b:2 --redact-rule "
				"id=mask:[0-9]{2,3} --redact-rule n=drop:a,b --sampling-service "
				"shop*=0.5,db=never",
				NULL);

	assert_string_equal(c->store, "./t");
	assert_true(c->retention_ns == 30ull * 86400 * 1000000000);
	assert_null(c->otlp_grpc);
	assert_int_equal(c->otlp_urls.cnt, 2);
	assert_string_equal(c->otlp_urls.v[1], "http://b:2/v1/traces");
	assert_int_equal(c->redact_rule.cnt, 2);
	assert_string_equal(c->redact_rule.v[0], "id=mask:[0-9]{2,3}");
	assert_int_equal(c->sampling_service.cnt, 2);
	assert_string_equal(c->log_level, "info");
	config_free(c);
	c = good("gateway --store none --otlp-protocol grpc --otlp-endpoint https://c:4317", NULL);
	assert_null(c->store);
	assert_true(c->tail_wait_ns == 4000000000ull);
	assert_string_equal(c->otlp_urls.v[0], "https://c:4317");
	config_free(c);
	c = good("gateway --sampling tail --tail-buffer 64M --tail-wait 12s", NULL);
	assert_int_equal(c->tail_buffer, 64 << 20);
	assert_true(c->tail_wait_ns == 12000000000ull);
	config_free(c);
	c = good("store stats --json ./t", NULL);
	assert_int_equal(c->argc, 2);
	assert_string_equal(c->argv[0], "stats");
	assert_string_equal(c->argv[1], "./t");
	assert_null(c->argv[2]);
	assert_true(c->json);
	config_free(c);
	refused("gateway --sampling-ratio 1.5", NULL, "a ratio from 0 to 1");
	refused("gateway --sampling-service x=2", NULL, "GLOB=RATIO");
	refused("gateway --tail-wait 10ms", NULL, "a time from 100ms to 1h");
	refused("gateway --redact-rule x=shred:y", NULL, "NAME=mask:PATTERN");
	refused("gateway --store clickhouse+ftp://x", NULL, "clickhouse+http://");
	refused("gateway --otlp-http 4318", NULL, "or off");
	refused("gateway --capture auto", NULL, "--capture");
	refused("store stats", NULL, "DIR");
}

static void what_bounds_the_exporters_can_be_set(void **state)
{
	char *bsp[] = { (char *)"OTEL_BSP_EXPORT_TIMEOUT=30000",
			(char *)"OTEL_BSP_MAX_EXPORT_BATCH_SIZE=256",
			(char *)"OTEL_BSP_MAX_QUEUE_SIZE=1000",
			(char *)"OTEL_BSP_SCHEDULE_DELAY=200", NULL };
	struct config *c = good("gateway", NULL);

	assert_int_equal(c->export_batch, 4096);
	assert_true(c->export_give_up_ns == 300000000000);
	assert_true(c->export_spool_bytes == 1ull << 30);
	assert_true(c->receive_max_requests == 0);
	assert_int_equal(c->receive_connections, 2000);
	assert_null(c->kafka_settings);
	config_free(c);
	c = good("gateway --export-spool ./s --export-spool-bytes 2M --kafka-settings "
		 "sasl.username=a,sasl.password=b%2Cc --receive-max-requests 5 "
		 "--receive-connections 7",
		 NULL);
	assert_true(c->export_give_up_ns == 0); /* never: that is what the spool is for */
	assert_true(c->export_spool_bytes == 2 << 20);
	assert_string_equal(c->kafka_settings, "sasl.username=a,sasl.password=b%2Cc");
	assert_true(c->receive_max_requests == 5);
	assert_int_equal(c->receive_connections, 7);
	config_free(c);
	c = good("gateway --export-spool ./s", bsp);
	assert_true(c->export_give_up_ns == 30000000000);
	assert_int_equal(c->export_batch, 256);
	assert_int_equal(c->export_spans, 1000);
	assert_true(c->export_delay_ns == 200000000);
	config_free(c);
	refused("gateway --kafka-settings secret", NULL, "expected K=V");
	assert_null(strstr(why, "secret"));
	c = good("gateway --receive-threads 4 --receive-idle 5m", NULL);
	assert_int_equal(c->receive_threads, 4);
	assert_true(c->receive_idle_ns == 300000000000);
	config_free(c);
	refused("gateway --receive-threads 17", NULL, "from 1 to 16");
	refused("gateway --receive-idle 10ms", NULL, "from 1s to 1d");
	refused("gateway --export-file-keep 0", NULL, "from 1 to 1000");
	refused("gateway --receive-connections 0", NULL, "from 1 to 1000000");
}

static void zipkin_is_told_what_otlp_is_told(void **state)
{
	char *zipkin[] = { (char *)"OTEL_TRACES_EXPORTER=zipkin", NULL };
	struct config *c = good("gateway --zipkin-endpoint https://a:1/x,https://b:2/x "
				"--zipkin-endpoint https://c:3/x --zipkin-headers k=a%20b "
				"--zipkin-certificate ca --zipkin-client-key k "
				"--zipkin-client-certificate c",
				NULL);

	assert_int_equal(c->zipkin_endpoint.cnt, 3);
	assert_string_equal(c->zipkin_endpoint.v[2], "https://c:3/x");
	assert_string_equal(c->zipkin_headers, "k=a%20b");
	assert_string_equal(c->zipkin_certificate, "ca");
	assert_string_equal(c->zipkin_client_key, "k");
	assert_string_equal(c->zipkin_client_certificate, "c");
	config_free(c);
	c = good("run", zipkin);
	assert_int_equal(c->zipkin_endpoint.cnt, 1);
	assert_string_equal(c->zipkin_endpoint.v[0], "http://localhost:9411/api/v2/spans");
	config_free(c);
	c = good("run --zipkin-endpoint http://y:1/", zipkin);
	assert_int_equal(c->zipkin_endpoint.cnt, 1);
	assert_string_equal(c->zipkin_endpoint.v[0], "http://y:1/");
	config_free(c);
	refused("gateway --zipkin-client-key k", NULL, "zipkin-client-certificate: expected both");
	refused("gateway --otlp-client-key k", NULL, "otlp-client-certificate: expected both");
	refused("gateway --zipkin-endpoint a:9411", NULL, "a URL such as");
	refused("gateway --zipkin-headers s3cret", NULL, "expected K=V");
	assert_null(strstr(why, "s3cret"));
}

static void variables_are_read_as_the_standard_says(void **state)
{
	char *forms[] = { (char *)"OTEL_EXPORTER_OTLP_INSECURE=TRUE",
			  (char *)"OTEL_EXPORTER_OTLP_TIMEOUT=0",
			  (char *)"OTEL_EXPORTER_ZIPKIN_TIMEOUT= 250 ",
			  (char *)"OTEL_BSP_EXPORT_TIMEOUT=0",
			  (char *)"OTEL_BSP_SCHEDULE_DELAY=0",
			  (char *)"OTEL_EXPORTER_OTLP_PROTOCOL=GRPC",
			  NULL };
	char *off[] = { (char *)"OTEL_SDK_DISABLED=True",
			(char *)"OTEL_TRACES_EXPORTER=otlp,zipkin,console",
			(char *)"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:1", NULL };
	char *bare[] = { (char *)"OTEL_TRACES_EXPORTER=otlp", NULL };
	char *one[] = { (char *)"OTEL_SDK_DISABLED=1",
			(char *)"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:1", NULL };
	struct config *c = good("gateway", forms);

	assert_int_equal(c->warnings.cnt, 0);
	assert_true(c->otlp_insecure);
	assert_true(c->otlp_timeout_ns == 3600ull * 1000000000); /* 0: no limit */
	assert_true(c->zipkin_timeout_ns == 250000000);
	assert_true(c->export_give_up_ns == 30ull * 86400 * 1000000000);
	assert_true(c->export_delay_ns == 0);
	assert_int_equal(c->otlp_protocol, CONFIG_GRPC);
	config_free(c);
	c = good("gateway", off);
	assert_int_equal(c->otlp_urls.cnt + c->zipkin_endpoint.cnt, 0);
	assert_false(c->export_stdout);
	assert_int_equal(c->warnings.cnt, 0);
	config_free(c);
	c = good("gateway --otlp-endpoint http://asked:1", off);
	assert_int_equal(c->otlp_urls.cnt, 1);
	config_free(c);
	c = good("gateway", one); /* true alone is true */
	assert_int_equal(c->otlp_urls.cnt, 1);
	assert_int_equal(c->warnings.cnt, 1);
	assert_non_null(strstr(c->warnings.v[0], "OTEL_SDK_DISABLED: \"1\" is not known"));
	config_free(c);
	c = good("gateway", bare);
	assert_int_equal(c->warnings.cnt, 1);
	assert_non_null(strstr(c->warnings.v[0], "nothing is exported"));
	config_free(c);
	c = good("gateway --otlp-endpoint http://asked:1", bare);
	assert_int_equal(c->warnings.cnt, 0);
	config_free(c);
}

static void a_bare_host_is_enough_for_grpc(void **state)
{
	char *grpc[] = { (char *)"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317",
			 (char *)"OTEL_EXPORTER_OTLP_INSECURE=true",
			 (char *)"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", NULL };
	char *http[] = { grpc[0], NULL };
	struct config *c = good("run", grpc);

	assert_int_equal(c->otlp_urls.cnt, 1);
	assert_string_equal(c->otlp_urls.v[0], "collector:4317");
	assert_true(c->otlp_insecure);
	config_free(c);
	c = good("run", http);
	assert_int_equal(c->otlp_urls.cnt, 0);
	assert_int_equal(c->warnings.cnt, 1);
	config_free(c);
	refused("run --otlp-endpoint [::1]:4318", NULL, "or --otlp-protocol grpc");
	refused("run --otlp-endpoint collector", NULL, "a URL such as");
	refused("run --otlp-endpoint a:b:c --otlp-protocol grpc", NULL, "a URL such as");
}

static void addresses_are_shown_without_their_secrets(void **state)
{
	static const char *const rows[][2] = {
		{ "http://a:4318/v1/traces", "http://a:4318/v1/traces" },
		{ "https://u:p@a:4318/v1/traces?key=k", "https://***@a:4318/v1/traces?***" },
		{ "http://u:p@a,http://b", "http://***@a,http://b" },
		{ "http://u:p/@q@a", "http://***@a" },
		{ "clickhouse+http://u:p@h:8123/d", "clickhouse+http://***@h:8123/d" },
		{ "u:p@h:1", "***@h:1" },
		{ "/var/lib/tell@tale", "/var/lib/tell@tale" },
		{ "", "" },
	};
	struct config *c = good("run --otlp-endpoint http://user:s3cret@h:1", NULL);
	char shown[64], text[8192] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		config_show_urls(str_of(rows[i][0]), shown, sizeof(shown));
		assert_string_equal(shown, rows[i][1]);
	}
	config_show_urls(str_of(rows[0][0]), shown, 8);
	assert_string_equal(shown, "http://");
	config_print(c, out);
	fclose(out);
	assert_non_null(strstr(text, "http://***@h:1"));
	assert_null(strstr(text, "s3cret"));
	config_free(c);
	refused("run --otlp-endpoint http://user:s3cret@h:x", NULL, "***@h:x");
	assert_null(strstr(why, "s3cret"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samplers_and_exporters_of_the_standard_are_understood),
		cmocka_unit_test(a_limit_alone_asks_for_sampling_by_rate),
		cmocka_unit_test(a_backend_takes_its_options),
		cmocka_unit_test(what_bounds_the_exporters_can_be_set),
		cmocka_unit_test(zipkin_is_told_what_otlp_is_told),
		cmocka_unit_test(variables_are_read_as_the_standard_says),
		cmocka_unit_test(a_bare_host_is_enough_for_grpc),
		cmocka_unit_test(addresses_are_shown_without_their_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

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
	assert_string_equal(c->zipkin_endpoint, "http://z:9411/api/v2/spans");
	config_free(c);
	c = good("run", odd);
	assert_int_equal(c->warnings.cnt, 2);
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
	assert_string_equal(c->otlp_urls.v[0], "https://c:4317");
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
	refused("gateway --redact-rule x=shred:y", NULL, "NAME=mask:PATTERN");
	refused("gateway --store clickhouse+ftp://x", NULL, "clickhouse+http://");
	refused("gateway --otlp-http 4318", NULL, "or off");
	refused("gateway --capture auto", NULL, "--capture");
	refused("store stats", NULL, "DIR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samplers_and_exporters_of_the_standard_are_understood),
		cmocka_unit_test(a_backend_takes_its_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

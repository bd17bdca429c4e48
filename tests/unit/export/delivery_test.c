/* SPDX-License-Identifier: Apache-2.0 */
/* Several endpoints, several threads, several exporters; which addresses are our own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "endpoint.h"
#include "export/queue.h"
#include "otlp.pb-c.h"
#include "rig.h"

#define STAGE "export_otlp_http"
#define PROTO "Content-Type: application/x-protobuf\r\n"

static const struct str ok[] = { STR("HTTP/1.1 200 OK\r\n" PROTO "Content-Length: 0\r\n\r\n"), {} };
static const struct str later[] = { STR("HTTP/1.1 503 x\r\nRetry-After: 3600\r\n"
					"Content-Length: 0\r\n\r\n"),
				    {} };
static struct endpoint end[3];

static struct exporter *start(struct exporter_cfg cfg, size_t cnt)
{
	static char text[3][64];
	const char *url[3];

	for (size_t i = 0; i < cnt; i++) {
		snprintf(text[i], sizeof(text[i]), "http://127.0.0.1:%u/v1/traces", end[i].port);
		url[i] = text[i];
	}
	cfg.kind = "otlp_http";
	cfg.endpoints = url;
	cfg.endpoint_cnt = cnt;
	return rig_start(cfg, NULL);
}

static void endpoints_take_turns(void **state)
{
	struct exporter *e;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(endpoint_bind(&end[i]), 0);
		assert_int_equal(endpoint_start(&end[i], ok), 0);
	}
	e = start((struct exporter_cfg){ .batch_spans = 5 }, 3);
	rig_push(e, 60);
	assert_int_equal(rig_settle(STAGE).out, 60);
	for (int i = 0; i < 3; i++)
		assert_int_equal(end[i].cnt, 4);
	exporter_free(e, 0);
	for (int i = 0; i < 3; i++)
		endpoint_stop(&end[i]);
}

static double gauge;

static void find_gauge(void *ctx, const struct gauge *g, double value)
{
	if (!strcmp(g->name, ctx))
		gauge = value;
}

static double read_gauge(const char *name)
{
	gauge = -1;
	gauges_each(find_gauge, (void *)name);
	return gauge;
}

static struct buf state_text;

/* How it does; 20 s to come to say that. */
static void says(struct exporter *e, const char *want)
{
	for (int i = 0; i < 4000; i++) {
		buf_clear(&state_text);
		assert_string_equal(exporter_state(e, &state_text), STAGE);
		assert_int_equal(buf_add_char(&state_text, '\0'), 0);
		if (strstr(state_text.p, want))
			return;
		usleep(5000);
	}
	fail_msg("\"%s\" does not say \"%s\"", state_text.p, want);
}

static void it_says_what_keeps_it_from_sending(void **state)
{
	static const struct str refuses[] = {
		STR("HTTP/1.1 400 x\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\n"
		    "a\x1b\nbad "),
		{}
	};
	struct exporter *e;

	assert_int_equal(endpoint_bind(&end[0]), 0);
	e = start((struct exporter_cfg){ .batch_spans = 5, .queue_spans = 10, .delay_ms = 1 }, 1);
	says(e, "ready");
	rig_push(e, 5);
	says(e, "/v1/traces fails since ");
	assert_non_null(strstr(state_text.p, " s: Couldn't connect"));
	assert_null(strstr(state_text.p, "queue"));
	rig_push(e, 30);
	says(e, "; its queue is full and spans are dropped");
	assert_int_equal(endpoint_start(&end[0], refuses), 0);
	rig_settle(STAGE);
	says(e, "refuses spans for good since ");
	assert_non_null(strstr(state_text.p, " s: HTTP status 400, a??bad"));
	assert_null(strstr(state_text.p, "queue"));
	exporter_free(e, 0);
	endpoint_stop(&end[0]);
	buf_fini(&state_text);
}

static void one_that_fails_is_put_aside_and_comes_back(void **state)
{
	struct exporter *e;

	for (int i = 0; i < 2; i++)
		assert_int_equal(endpoint_bind(&end[i]), 0);
	assert_int_equal(endpoint_start(&end[1], ok), 0);
	e = start((struct exporter_cfg){ .batch_spans = 5 }, 2);
	rig_push(e, 20);
	assert_int_equal(rig_settle(STAGE).out, 20);
	assert_int_equal(end[1].cnt, 4);
	assert_true(read_gauge(STAGE "_endpoints_down") == 1);
	says(e, "; 1 of 2 endpoints are so");
	assert_int_equal(endpoint_start(&end[0], ok), 0);
	for (int i = 0; i < 200 && !__atomic_load_n(&end[0].cnt, __ATOMIC_ACQUIRE); i++) {
		rig_push(e, 5);
		usleep(20000);
	}
	rig_settle(STAGE);
	assert_true(end[0].cnt > 0);
	assert_true(read_gauge(STAGE "_endpoints_down") == 0);
	assert_true(read_gauge(STAGE "_retries_total") >= 1);
	says(e, "ready");
	buf_fini(&state_text);
	exporter_free(e, 0);
	for (int i = 0; i < 2; i++)
		endpoint_stop(&end[i]);
}

static void one_that_asks_for_time_gets_it(void **state)
{
	struct exporter *e;

	for (int i = 0; i < 2; i++)
		assert_int_equal(endpoint_bind(&end[i]), 0);
	assert_int_equal(endpoint_start(&end[0], later), 0);
	assert_int_equal(endpoint_start(&end[1], ok), 0);
	e = start((struct exporter_cfg){ .batch_spans = 5 }, 2);
	rig_push(e, 50);
	assert_int_equal(rig_settle(STAGE).out, 50);
	assert_int_equal(end[0].cnt, 1);
	assert_int_equal(end[1].cnt, 10);
	exporter_free(e, 0);
	for (int i = 0; i < 2; i++)
		endpoint_stop(&end[i]);
}

static const struct str unauthorized[] = { STR("HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n"), {} };

/* What one refuses for good goes to the others; only what all refuse is dropped. */
static void what_one_refuses_another_takes(void **state)
{
	struct exporter *e;
	struct books b;

	for (int i = 0; i < 3; i++)
		assert_int_equal(endpoint_bind(&end[i]), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(endpoint_start(&end[i], i == 2 ? ok : unauthorized), 0);
	e = start((struct exporter_cfg){ .batch_spans = 5 }, 3);
	rig_push(e, 60);
	b = rig_settle(STAGE);
	assert_int_equal(b.out, 60);
	assert_int_equal(end[2].cnt, 12);
	assert_true(end[0].cnt > 0 && end[1].cnt > 0);
	assert_true(read_gauge(STAGE "_endpoints_down") == 0);
	says(e, "/v1/traces refuses spans for good since ");
	exporter_free(e, 0);
	e = start((struct exporter_cfg){ .batch_spans = 5 }, 2);
	rig_push(e, 20);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "refused"), 20);
	assert_true(read_gauge(STAGE "_tries_total") == 8);
	exporter_free(e, 0);
	for (int i = 0; i < 3; i++)
		endpoint_stop(&end[i]);
	buf_fini(&state_text);
}

/* Another that does not answer now is not waited for with what was refused. */
static void what_is_refused_waits_for_nobody(void **state)
{
	struct exporter *e;
	struct books b;

	for (int i = 0; i < 2; i++)
		assert_int_equal(endpoint_bind(&end[i]), 0);
	assert_int_equal(endpoint_start(&end[0], unauthorized), 0);
	assert_int_equal(endpoint_start(&end[1], later), 0);
	e = start((struct exporter_cfg){ .batch_spans = 5 }, 2);
	rig_push(e, 20);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "refused"), 20);
	assert_int_equal(end[1].cnt, 1);
	exporter_free(e, 0);
	for (int i = 0; i < 2; i++)
		endpoint_stop(&end[i]);
}

static void *push_many(void *e)
{
	rig_push(e, 2000);
	return NULL;
}

static void several_threads_push(void **state)
{
	pthread_t thread[4];
	struct exporter *e;

	assert_int_equal(endpoint_bind(&end[0]), 0);
	assert_int_equal(endpoint_start(&end[0], ok), 0);
	e = start((struct exporter_cfg){ .batch_spans = 1000 }, 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, push_many, e), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(rig_settle(STAGE).out, 8000);
	exporter_free(e, 0);
	endpoint_stop(&end[0]);
}

static void the_queue_holds_as_many_spans_as_configured(void **state)
{
	struct exporter *e;
	struct books b;

	assert_int_equal(endpoint_bind(&end[0]), 0);
	e = start((struct exporter_cfg){ .queue_spans = 20, .batch_spans = 8, .delay_ms = 60000 },
		  1);
	rig_push(e, 50);
	b = rig_books(STAGE);
	assert_int_equal(b.held, 20);
	assert_int_equal(rig_lost(&b, "queue_full"), 30);
	exporter_free(e, 0);
	close(end[0].fd);
}

/* Servers refuse messages of more than 4 MiB: a large span is not what makes a batch so long. */
static void large_spans_have_batches_of_their_own(void **state)
{
	static const size_t size[] = { 100, 2000000, 100, 1500000, 100, 6000000, 100 };
	struct gen g = { 11, arena_new(0) };
	struct span large = *gen_http_span(&g, rig_resource[0]);
	struct exporter *e;
	uint32_t longest = 0;

	assert_int_equal(endpoint_bind(&end[0]), 0);
	assert_int_equal(endpoint_start(&end[0], ok), 0);
	e = start((struct exporter_cfg){ .delay_ms = 1000 }, 1);
	large.name.p = test_calloc(6000000, 1);
	memset((char *)large.name.p, 'x', 6000000);
	for (size_t i = 0; i < ARRAY_LEN(size); i++) {
		large.name.len = size[i];
		exporter_push(e, &large);
	}
	assert_int_equal(rig_settle(STAGE).out, ARRAY_LEN(size));
	assert_int_equal(end[0].cnt, 4);
	for (uint32_t i = 0; i < end[0].cnt; i++)
		longest += end[0].request[i].body.len > 3u << 20;
	assert_int_equal(longest, 1);
	exporter_free(e, 0);
	endpoint_stop(&end[0]);
	test_free((char *)large.name.p);
	arena_free(g.mem);
}

static void names_tell_exporters_apart(void **state)
{
	struct exporter_cfg cfg = { .kind = "otlp_http" };
	struct exporter *e, *other;

	assert_int_equal(endpoint_bind(&end[0]), 0);
	e = start(cfg, 1);
	assert_int_equal(rig_refused(cfg, "http://127.0.0.1:1/", "named otlp_http already"),
			 -EEXIST);
	cfg.name = "second";
	other = start(cfg, 1);
	assert_string_equal(rig_books("export_second").stage, "export_second");
	assert_true(read_gauge("export_second_queue_bytes") == 0);
	exporter_free(other, 0);
	exporter_free(e, 0);
	close(end[0].fd);
	cfg.name = "No Name";
	assert_int_equal(rig_refused(cfg, "http://127.0.0.1:1/", "name: expected"), -EINVAL);
}

/* ---- JSON answers ---- */

static void json_is_posted_and_its_answers_are_read(void **state)
{
	static const struct str script[] = {
		STR("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60\r\n"
		    "\r\n{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"no\"}}"),
		STR("HTTP/1.1 400 x\r\nContent-Type: application/json\r\nContent-Length: 28\r\n"
		    "\r\n{\"code\":3,\"message\":\"oh no\"}"),
		STR("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n"
		    "\r\n{"),
		{},
	};
	struct gen g = { 11, arena_new(0) };
	const struct span *spans[5];
	struct buf want = { 0 };
	struct exporter *e;
	struct books b;
	char url[64];

	assert_int_equal(endpoint_bind(&end[0]), 0);
	assert_int_equal(endpoint_start(&end[0], script), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/traces", end[0].port);
	e = rig_start((struct exporter_cfg){ .kind = "otlp_http_json", .batch_spans = 5 }, url);
	for (uint32_t i = 0; i < 5; i++)
		spans[i] = gen_http_span(&g, rig_resource[i % 3]);
	assert_int_equal(otlp_encode_json(spans, 5, &want), 0);
	rig_push(e, 15);
	b = rig_settle("export_otlp_http_json");
	assert_int_equal(rig_lost(&b, "rejected"), 2);
	assert_int_equal(rig_lost(&b, "refused"), 5);
	assert_int_equal(b.out, 8);
	assert_non_null(strstr(end[0].request[0].head, "Content-Type: application/json\r\n"));
	assert_int_equal(end[0].request[0].body.len, want.len);
	assert_memory_equal(end[0].request[0].body.p, want.p, want.len);
	exporter_free(e, 0);
	endpoint_stop(&end[0]);
	buf_fini(&want);
	arena_free(g.mem);
}

/* ---- our own ---- */

static void our_own_receivers_are_known(void **state)
{
	static const struct own_address own[] = { { "127.0.0.1", 4318 }, { "::1", 4317 } };
	static const struct own_address any[] = { { "0.0.0.0", 4318 }, { "::", 4317 } };

	assert_int_equal(exporter_is_own("http://127.0.0.1:4318/v1/traces", own, 2), 1);
	assert_int_equal(exporter_is_own("http://localhost:4318/v1/traces", own, 2), 1);
	assert_int_equal(exporter_is_own("http://localhost:4317/", own, 2), 1);
	assert_int_equal(exporter_is_own("http://Collector.LocalHost:4318/", own, 2), 1);
	assert_int_equal(exporter_is_own("localhost.:4317", own, 2), 1);
	assert_int_equal(exporter_is_own("http://localhost:4319/", own, 2), 0);
	assert_int_equal(exporter_is_own("http://0.0.0.0:4318/", own, 2), 1);
	assert_int_equal(exporter_is_own("http://[::ffff:127.0.0.1]:4318/", own, 2), 1);
	assert_int_equal(exporter_is_own("http://[::1]:4317", own, 2), 1);
	assert_int_equal(exporter_is_own("[::1]:4317", own, 2), 1);
	assert_int_equal(exporter_is_own("127.0.0.1:4318", own, 2), 1);
	assert_int_equal(exporter_is_own("http://127.0.0.1:4319/", own, 2), 0);
	assert_int_equal(exporter_is_own("http://127.0.0.1/", own, 2), 0);
	assert_int_equal(exporter_is_own("http://127.0.0.2:4318/", own, 2), 0);
	assert_int_equal(exporter_is_own("http://192.0.2.1:4318/", own, 2), 0);

	assert_int_equal(exporter_is_own("http://127.0.0.2:4318/", any, 2), 1);
	assert_int_equal(exporter_is_own("http://127.0.0.1:4317", any, 2), 1);
	assert_int_equal(exporter_is_own("http://192.0.2.1:4318/", any, 2), 0);
	assert_int_equal(exporter_is_own("http://192.0.2.1:80/", any, 2), 0);
	assert_int_equal(exporter_is_own("http://", any, 2), -EINVAL);
	assert_int_equal(exporter_is_own("http://127.0.0.1:1/", NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoints_take_turns),
		cmocka_unit_test(it_says_what_keeps_it_from_sending),
		cmocka_unit_test(one_that_fails_is_put_aside_and_comes_back),
		cmocka_unit_test(one_that_asks_for_time_gets_it),
		cmocka_unit_test(what_one_refuses_another_takes),
		cmocka_unit_test(what_is_refused_waits_for_nobody),
		cmocka_unit_test(several_threads_push),
		cmocka_unit_test(the_queue_holds_as_many_spans_as_configured),
		cmocka_unit_test(large_spans_have_batches_of_their_own),
		cmocka_unit_test(names_tell_exporters_apart),
		cmocka_unit_test(json_is_posted_and_its_answers_are_read),
		cmocka_unit_test(our_own_receivers_are_known),
	};
	return cmocka_run_group_tests_name("export/delivery", tests, rig_setup, rig_teardown);
}

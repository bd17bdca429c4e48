/* SPDX-License-Identifier: Apache-2.0 */
/* Span metrics and the service graph, as they are scraped. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "analyze/analyze.h"
#include "core/clock.h"
#include "core/utf8.h"

#define T0 (1700000000 * NS_PER_S)

static struct resource *service(const char *name)
{
	struct resource *r = resource_new();

	attrs_add_str(&r->attrs, r->arena, "service.name", str_of(name));
	resource_seal(r);
	return r;
}

static void push(struct analyze *a, uint8_t id, uint8_t parent, enum span_kind kind,
		 struct resource *r, uint64_t us, enum span_status status, struct attrs attrs)
{
	struct span s = { .trace_id = { { 7 } },
			  .span_id = { { id } },
			  .parent_id = { { parent } },
			  .kind = kind,
			  .name = STR("GET \"x\""),
			  .start_ns = T0,
			  .end_ns = T0 + us * NS_PER_US,
			  .status = status,
			  .attrs = attrs,
			  .resource = r,
			  .scope = &scope_capture };

	analyze_push(a, &s);
}

static char *scrape(struct analyze *a, bool openmetrics)
{
	struct buf out = { 0 };

	analyze_write(a, openmetrics, &out);
	buf_add_char(&out, '\0');
	assert_false(out.failed);
	return out.p;
}

static void expect(struct analyze *a, const char *line)
{
	char *text = scrape(a, false);

	if (!strstr(text, line))
		fail_msg("no line \"%s\" in:\n%s", line, text);
	free(text);
}

static size_t field(size_t len)
{
	return len + (len < 128 ? 2 : 3);
}

/* Where lengths begin to take a second byte. */
static void sizes_are_those_of_protobuf(void **state)
{
	static char value[140];
	struct resource *shop = service("shop");
	char line[128];

	for (size_t len = 90; len < sizeof(value); len++) {
		struct analyze *a = analyze_new(&(struct analyze_cfg){ 0 });
		struct attr at = { STR("key"), { .type = VALUE_STR, .str = { value, len } } };

		push(a, 1, 9, SPAN_SERVER, shop, 7000, STATUS_UNSET,
		     (struct attrs){ .item = &at, .cnt = 1 });
		snprintf(line, sizeof(line), "status_code=\"STATUS_CODE_UNSET\"} %zu\n",
			 67 + field(field(3) + field(field(len))));
		expect(a, line);
		analyze_free(a);
	}
	resource_put(shop);
}

static void operations_are_counted_with_what_they_took(void **state)
{
	struct analyze *a = analyze_new(&(struct analyze_cfg){ 0 });
	struct resource *shop = service("shop");
	char *text;

	push(a, 1, 9, SPAN_SERVER, shop, 7000, STATUS_UNSET, (struct attrs){ 0 });
	push(a, 2, 9, SPAN_SERVER, shop, 80000, STATUS_UNSET, (struct attrs){ 0 });
	push(a, 3, 9, SPAN_SERVER, shop, 11000000, STATUS_ERROR, (struct attrs){ 0 });
#define LABELS(status)                       \
	"{service=\"shop\",span_name=\"GET " \
	"\\\"x\\\"\",span_kind=\"SPAN_KIND_SERVER\",status_code=\"" status
	expect(a, "traces_spanmetrics_calls_total" LABELS("STATUS_CODE_UNSET\"} 2\n"));
	expect(a, "traces_spanmetrics_calls_total" LABELS("STATUS_CODE_ERROR\"} 1\n"));
	/* ids 18, 10 and 10, name 9, kind 2, times 18; twice. A status is 4 more */
	expect(a, "traces_spanmetrics_size_total" LABELS("STATUS_CODE_UNSET\"} 134\n"));
	expect(a, "traces_spanmetrics_size_total" LABELS("STATUS_CODE_ERROR\"} 71\n"));
	expect(a,
	       "traces_spanmetrics_latency_bucket" LABELS("STATUS_CODE_UNSET\",le=\"0.005\"} 0\n"));
	expect(a,
	       "traces_spanmetrics_latency_bucket" LABELS("STATUS_CODE_UNSET\",le=\"0.01\"} 1\n"));
	expect(a,
	       "traces_spanmetrics_latency_bucket" LABELS("STATUS_CODE_UNSET\",le=\"+Inf\"} 2\n"));
	expect(a, "traces_spanmetrics_latency_sum" LABELS("STATUS_CODE_UNSET\"} 0.087\n"));
	expect(a, "traces_spanmetrics_latency_count" LABELS("STATUS_CODE_ERROR\"} 1\n"));
	text = scrape(a, true);
	assert_non_null(strstr(text, "# TYPE traces_spanmetrics_calls counter\n"));
	assert_non_null(strstr(text, "# {trace_id=\"07000000000000000000000000000000\","
				     "span_id=\"0300000000000000\"} 11 17"));
	free(text);
	text = scrape(a, false);
	assert_null(strstr(text, "trace_id"));
	free(text);
	resource_put(shop);
	analyze_free(a);
}

static void a_sampled_span_counts_for_all_it_stands_for(void **state)
{
	struct analyze *a = analyze_new(&(struct analyze_cfg){ 0 });
	struct resource *shop = service("shop");
	struct span s = { .trace_id = { { 7 } },
			  .name = STR("job"),
			  .kind = SPAN_INTERNAL,
			  .trace_state = STR("ot=th:c"),
			  .resource = shop,
			  .scope = &scope_capture };

	analyze_push(a, &s);
	expect(a, "span_kind=\"SPAN_KIND_INTERNAL\",status_code=\"STATUS_CODE_UNSET\"} 4\n");
	resource_put(shop);
	analyze_free(a);
}

static void both_ends_of_a_call_make_one_edge(void **state)
{
	struct analyze *a = analyze_new(&(struct analyze_cfg){ 0 });
	struct resource *shop = service("shop"), *bank = service("bank");

	analyze_tick(a, NS_PER_S);
	push(a, 1, 0, SPAN_SERVER, shop, 100, STATUS_UNSET, (struct attrs){ 0 });
	push(a, 2, 1, SPAN_CLIENT, shop, 90, STATUS_UNSET, (struct attrs){ 0 });
	push(a, 3, 2, SPAN_SERVER, bank, 50, STATUS_ERROR, (struct attrs){ 0 });
	/* the other order */
	push(a, 5, 4, SPAN_SERVER, bank, 50, STATUS_UNSET, (struct attrs){ 0 });
	push(a, 4, 1, SPAN_CLIENT, shop, 90, STATUS_UNSET, (struct attrs){ 0 });
	expect(a, "traces_service_graph_request_total{client=\"shop\",server=\"bank\","
		  "connection_type=\"\"} 2\n");
	expect(a, "traces_service_graph_request_failed_total{client=\"shop\",server=\"bank\","
		  "connection_type=\"\"} 1\n");
	expect(a, "traces_service_graph_request_total{client=\"user\",server=\"shop\","
		  "connection_type=\"virtual_node\"} 1\n");
	expect(a, "traces_service_graph_request_server_seconds_count{client=\"shop\","
		  "server=\"bank\",connection_type=\"\"} 2\n");
	analyze_tick(a, 20 * NS_PER_S);
	expect(a, "traces_service_graph_request_total{client=\"shop\",server=\"bank\","
		  "connection_type=\"\"} 2\n");
	resource_put(shop);
	resource_put(bank);
	analyze_free(a);
}

static void who_waits_in_vain_is_told_of(void **state)
{
	struct analyze *a = analyze_new(&(struct analyze_cfg){ 0 });
	struct resource *shop = service("shop");
	char *text;
	struct attr db[] = { { STR("db.system.name"),
			       { .type = VALUE_STR, .str = STR("redis") } } };

	analyze_tick(a, NS_PER_S);
	push(a, 1, 9, SPAN_CLIENT, shop, 100, STATUS_UNSET,
	     (struct attrs){ .item = db, .cnt = 1, .size = 1 });
	push(a, 2, 9, SPAN_CLIENT, shop, 100, STATUS_UNSET, (struct attrs){ 0 });
	push(a, 3, 8, SPAN_SERVER, shop, 100, STATUS_UNSET, (struct attrs){ 0 });
	analyze_tick(a, 5 * NS_PER_S);
	text = scrape(a, false);
	assert_null(strstr(text, "redis"));
	free(text);
	analyze_tick(a, 7 * NS_PER_S);
	expect(a, "traces_service_graph_request_total{client=\"shop\",server=\"redis\","
		  "connection_type=\"database\"} 1\n");
	expect(a, "traces_service_graph_unpaired_spans_total{client=\"shop\",server=\"\"} 1\n");
	expect(a, "traces_service_graph_unpaired_spans_total{client=\"\",server=\"shop\"} 1\n");
	resource_put(shop);
	analyze_free(a);
}

/* Several calls that name one parent, as of a batch that was sent twice: each is told of once, and
 * what takes their places finds its own. */
static void calls_of_one_parent_wait_on_their_own(void **state)
{
	const struct analyze_cfg cfg = { .waiting_max = 4 };
	struct analyze *a = analyze_new(&cfg);
	struct resource *shop = service("shop"), *bank = service("bank");
	uint64_t now = NS_PER_S;

	alarm(60); /* it went round in a circle */
	for (int round = 0; round < 50; round++) {
		analyze_tick(a, now += 10 * NS_PER_S);
		for (uint8_t i = 0; i < 3; i++)
			push(a, (uint8_t)(10 + i), 8, SPAN_SERVER, shop, 100, STATUS_UNSET,
			     (struct attrs){ 0 });
		analyze_tick(a, now + NS_PER_S);
		push(a, 30, 40, SPAN_SERVER, bank, 100, STATUS_UNSET, (struct attrs){ 0 });
		push(a, 40, 9, SPAN_CLIENT, shop, 100, STATUS_UNSET, (struct attrs){ 0 });
	}
	analyze_tick(a, now + 10 * NS_PER_S);
	alarm(0);
	expect(a, "traces_service_graph_unpaired_spans_total{client=\"\",server=\"shop\"} 150\n");
	expect(a, "traces_service_graph_request_total{client=\"shop\",server=\"bank\","
		  "connection_type=\"\"} 50\n");
	expect(a, "traces_service_graph_dropped_spans_total 0\n");
	resource_put(shop);
	resource_put(bank);
	analyze_free(a);
}

static void full_tables_are_said(void **state)
{
	const struct analyze_cfg cfg = { .series_max = 2, .waiting_max = 4 };
	struct analyze *a = analyze_new(&cfg);

	analyze_tick(a, NS_PER_S);
	for (int i = 0; i < 10; i++) {
		char name[16];
		struct resource *r;

		snprintf(name, sizeof(name), "s%d", i);
		r = service(name);
		push(a, (uint8_t)(i + 1), 99, SPAN_CLIENT, r, 100, STATUS_UNSET,
		     (struct attrs){ 0 });
		resource_put(r);
	}
	expect(a, "traces_spanmetrics_calls_total{service=\"(other)\",span_name=\"(other)\","
		  "span_kind=\"SPAN_KIND_UNSPECIFIED\",status_code=\"STATUS_CODE_UNSET\"} 8\n");
	expect(a, "traces_service_graph_dropped_spans_total 6\n");
	analyze_tick(a, 100 * NS_PER_S);
	analyze_free(a);
}

static size_t cnt_of(struct analyze *a, const char *what)
{
	char *text = scrape(a, true);
	size_t cnt = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		cnt++;
	free(text);
	return cnt;
}

/* Whatever a name is, no label is cut within a character and no series comes twice. */
static void hostile_names_are_cut(void **state)
{
	struct analyze *a = analyze_new(&(struct analyze_cfg){ 0 });
	char name[400], *text;
	struct resource *r;

	analyze_tick(a, NS_PER_S);
	/* 2 bytes, then 3 a character: 63 and 256 bytes end within one */
	memcpy(name, "xy", 2);
	for (size_t i = 2; i + 2 < sizeof(name); i += 3)
		memcpy(name + i, "\xe2\x82\xac", 3);
	for (int i = 0; i < 4; i++) {
		snprintf(name + 389, 9, "%d", i);
		r = service(name);
		push(a, (uint8_t)(i + 1), 0, SPAN_SERVER, r, 100, STATUS_UNSET,
		     (struct attrs){ 0 });
		resource_put(r);
		r = resource_new();
		attrs_add_str(&r->attrs, r->arena, "service.name",
			      (struct str){ "a\0bcdef", (size_t)(2 + i) });
		resource_seal(r);
		push(a, (uint8_t)(i + 1), 0, SPAN_SERVER, r, 100, STATUS_UNSET,
		     (struct attrs){ 0 });
		resource_put(r);
	}
	text = scrape(a, true);
	assert_true(utf8_valid(str_of(text)));
	free(text);
	assert_int_equal(cnt_of(a, "\ntraces_spanmetrics_calls_total{"), 2);
	assert_int_equal(cnt_of(a, "\ntraces_service_graph_request_total{"), 2);
	assert_int_equal(cnt_of(a, "\ntraces_target_info{"), 2);
	analyze_free(a);
}

static void targets_have_their_attributes(void **state)
{
	struct analyze *a = analyze_new(&(struct analyze_cfg){ 0 });

	analyze_tick(a, NS_PER_S);
	for (int i = 0; i < 3; i++) {
		struct resource *r = service("shop");

		attrs_add_str(&r->attrs, r->arena, "service.namespace", STR("eu"));
		attrs_add_str(&r->attrs, r->arena, "service.instance.id", STR("i\"7"));
		attrs_add_int(&r->attrs, r->arena, i == 1 ? "b.pid" : "host.pid", 42);
		attrs_add_str(&r->attrs, r->arena, "host.name", STR("h1"));
		attrs_add_str(&r->attrs, r->arena, "job", STR("not this"));
		/* no label: the third is the first again */
		attrs_add_str(&r->attrs, r->arena, i == 2 ? "9" : "__x", STR("?"));
		resource_seal(r);
		push(a, (uint8_t)(i + 1), 99, SPAN_CLIENT, r, 100, STATUS_UNSET,
		     (struct attrs){ 0 });
		resource_put(r);
	}
	expect(a, "# TYPE traces_target_info gauge\ntraces_target_info{service=\"shop\","
		  "job=\"eu/shop\",instance=\"i\\\"7\",host_name=\"h1\",host_pid=\"42\"} 1\n"
		  "traces_target_info{service=\"shop\",job=\"eu/shop\",instance=\"i\\\"7\","
		  "b_pid=\"42\",host_name=\"h1\"} 1\n");
	assert_int_equal(cnt_of(a, "# TYPE traces_target info\n"), 1);
	assert_int_equal(cnt_of(a, "\ntraces_target_info{"), 2);
	analyze_tick(a, 800 * NS_PER_S);
	assert_int_equal(cnt_of(a, "\ntraces_target_info{"), 2);
	analyze_tick(a, 1000 * NS_PER_S);
	assert_int_equal(cnt_of(a, "\ntraces_target_info{"), 0);
	analyze_free(a);
}

static void targets_have_a_cap(void **state)
{
	struct analyze *a = analyze_new(&(struct analyze_cfg){ 0 });
	char name[16];

	analyze_tick(a, NS_PER_S);
	for (int i = 0; i < 3000; i++) {
		struct resource *r;

		if (i == 2000)
			analyze_tick(a, 2000 * NS_PER_S);
		snprintf(name, sizeof(name), "s%d", i);
		r = service(name);
		push(a, 1, 99, SPAN_INTERNAL, r, 100, STATUS_UNSET, (struct attrs){ 0 });
		resource_put(r);
	}
	assert_int_equal(cnt_of(a, "\ntraces_target_info{"), 1000);
	assert_int_equal(cnt_of(a, "\ntraces_target_info{service=\"s2999\""), 1);
	analyze_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_those_of_protobuf),
		cmocka_unit_test(operations_are_counted_with_what_they_took),
		cmocka_unit_test(a_sampled_span_counts_for_all_it_stands_for),
		cmocka_unit_test(both_ends_of_a_call_make_one_edge),
		cmocka_unit_test(who_waits_in_vain_is_told_of),
		cmocka_unit_test(calls_of_one_parent_wait_on_their_own),
		cmocka_unit_test(full_tables_are_said),
		cmocka_unit_test(hostile_names_are_cut),
		cmocka_unit_test(targets_have_their_attributes),
		cmocka_unit_test(targets_have_a_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

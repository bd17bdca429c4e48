/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling: alike on every host, rates that stay true, and what the tail never loses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdlib.h>

#include "core/clock.h"
#include "trace/sample.h"

struct got {
	uint64_t spans, errors;
	double adjusted;
	uint8_t last[16];
	struct str name;
};

static struct resource *shop, *bank;

static void count(void *ctx, const struct span *s)
{
	struct got *g = ctx;

	g->spans++;
	g->errors += s->status == STATUS_ERROR;
	g->adjusted += span_adjusted_count(s);
	memcpy(g->last, s->trace_id.b, 16);
}

static struct resource *service(const char *name)
{
	struct resource *r = resource_new();

	attrs_add_str(&r->attrs, r->arena, "service.name", str_of(name));
	resource_seal(r);
	return r;
}

static int set_up(void **state)
{
	shop = service("shop");
	bank = service("bank");
	return 0;
}

static int tear_down(void **state)
{
	resource_put(shop);
	resource_put(bank);
	return 0;
}

/* A trace's number spread over the id's random part. */
static struct span span_of(uint64_t n, const char *name, uint64_t duration_ns)
{
	struct span s = { .kind = SPAN_SERVER,
			  .name = str_of(name),
			  .start_ns = 1700000000 * NS_PER_S,
			  .flags = 1,
			  .resource = shop,
			  .scope = &scope_capture };
	uint64_t r = n * 0x9e3779b97f4a7c15ull;

	r ^= r >> 29;
	r *= 0xbf58476d1ce4e5b9ull;
	s.end_ns = s.start_ns + duration_ns;
	memcpy(s.trace_id.b, &n, 8);
	memcpy(s.trace_id.b + 8, &r, 8);
	s.trace_id.b[0] |= 0x80;
	memcpy(s.span_id.b, &r, 8);
	s.span_id.b[0] |= 1;
	return s;
}

static void a_ratio_keeps_its_share_and_counts_stay_true(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_RATIO, .ratio = 0.1 };
	struct got got = { 0 }, again = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ 0 });
	struct sampler *other = sampler_new(&cfg, (struct span_sink){ 0 });

	for (uint64_t i = 0; i < 20000; i++) {
		struct span sp = span_of(i, "GET /", 1000);
		uint64_t before = got.spans;

		sampler_push(s, &sp, (struct span_sink){ &got, count });
		sampler_push(other, &sp, (struct span_sink){ &again, count });
		assert_int_equal(got.spans, again.spans);
		assert_true(got.spans - before <= 1);
	}
	assert_in_range(got.spans, 1800, 2200);
	assert_in_range((uint64_t)got.adjusted, 18000, 22000);
	sampler_free(s);
	sampler_free(other);
}

static void what_others_rejected_is_not_forgotten(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_RATIO, .ratio = 0.5 };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ 0 });

	for (uint64_t i = 0; i < 4000; i++) {
		struct span sp = span_of(i, "GET /", 1000);

		sp.trace_state = STR("ot=th:c"); /* a quarter was kept before us */
		if (trace_randomness(&sp.trace_id, STR("")) < THRESHOLD_ALL / 4 * 3)
			continue;
		sampler_push(s, &sp, (struct span_sink){ &got, count });
	}
	assert_in_range((uint64_t)got.adjusted, 3400, 4600);
	sampler_free(s);
}

/* By a sampler that goes by something else, a trace id may be one that its threshold rejects. */
static void always_is_always(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_ALWAYS };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ 0 });

	for (uint64_t i = 0; i < 100; i++) {
		struct span sp = span_of(i, "GET /", 1000);

		sp.trace_state = STR("ot=th:8,other=1");
		sampler_push(s, &sp, (struct span_sink){ &got, count });
	}
	assert_int_equal(got.spans, 100);
	assert_int_equal(got.adjusted, 200);
	sampler_free(s);
}

static void never_and_an_unsampled_caller_are_a_no(void **state)
{
	const struct sample_cfg never = { .how = SAMPLE_NEVER };
	const struct sample_cfg follow = { .how = SAMPLE_ALWAYS, .follow_parent = true };
	struct got got = { 0 };
	struct span sp = span_of(1, "GET /", 1000);
	struct sampler *s = sampler_new(&never, (struct span_sink){ 0 });

	sampler_push(s, &sp, (struct span_sink){ &got, count });
	sampler_free(s);
	assert_int_equal(got.spans, 0);
	s = sampler_new(&follow, (struct span_sink){ 0 });
	sampler_push(s, &sp, (struct span_sink){ &got, count });
	sp.flags = 0x300;
	sampler_push(s, &sp, (struct span_sink){ &got, count });
	assert_int_equal(got.spans, 1);
	sp.flags = 0; /* nothing is known of the caller */
	sampler_push(s, &sp, (struct span_sink){ &got, count });
	assert_int_equal(got.spans, 2);
	/* an SDK's, of which many leave the sampled flag out: it was sampled, or would not be here
	 */
	sp.flags = 0x300;
	sp.scope = &(const struct scope){ .name = STR("go.opentelemetry.io/http") };
	sampler_push(s, &sp, (struct span_sink){ &got, count });
	assert_int_equal(got.spans, 3);
	sampler_free(s);
}

static void a_rule_for_a_service_goes_first(void **state)
{
	const struct sample_rule rules[] = { { "ba*", 1 } };
	const struct sample_cfg cfg = { .how = SAMPLE_NEVER, .rules = rules, .rule_cnt = 1 };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ 0 });
	struct span sp = span_of(1, "GET /", 1000);

	sampler_push(s, &sp, (struct span_sink){ &got, count });
	assert_int_equal(got.spans, 0);
	sp.resource = bank;
	sampler_push(s, &sp, (struct span_sink){ &got, count });
	assert_int_equal(got.spans, 1);
	sampler_free(s);
}

static void a_rate_is_a_hard_limit_and_traces_stay_whole(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_RATE, .traces_per_s = 50 };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ 0 });

	sampler_tick(s, NS_PER_S);
	for (uint64_t second = 0; second < 10; second++) {
		uint64_t before = got.spans;

		for (uint64_t i = 0; i < 1000; i++) {
			struct span sp = span_of(second * 1000 + i, "GET /", 1000);
			uint64_t one = got.spans;

			sampler_push(s, &sp, (struct span_sink){ &got, count });
			one = got.spans - one;
			sp.span_id.b[1] ^= 0xff;
			sampler_push(s, &sp, (struct span_sink){ &got, count });
			assert_true(got.spans - before <= 100);
			assert_true(one == 0 || (got.spans - before) % 2 == 0);
		}
		sampler_tick(s, (second + 2) * NS_PER_S);
	}
	assert_in_range(got.spans, 400, 1000);
	/* after the first second the ratio fits the traffic */
	assert_in_range((uint64_t)got.adjusted, 12000, 22000);
	sampler_free(s);
}

/* 300 traces a second against 50, told the time a little late: the first second's alone are more
 * than the kept ones stand for. */
static void what_a_rate_keeps_stands_for_all(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_RATE, .traces_per_s = 50 };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ 0 });
	uint64_t second = 0, kept = 0, told_ns = NS_PER_S;

	sampler_tick(s, told_ns);
	for (uint64_t i = 0; i < 60 * 300; i++) {
		struct span sp = span_of(20000 + i, "GET /", 1000);
		uint64_t now_ns = NS_PER_S + i * NS_PER_S / 300;

		if (now_ns - told_ns > 230 * NS_PER_MS) {
			told_ns = now_ns;
			sampler_tick(s, told_ns);
		}
		if (now_ns / NS_PER_S != second) {
			assert_true(got.spans - kept <= 2 * 50); /* a second's, and what was left */
			second = now_ns / NS_PER_S;
			kept = got.spans;
		}
		sampler_push(s, &sp, (struct span_sink){ &got, count });
	}
	assert_true(got.spans <= 61 * 50);
	assert_in_range((uint64_t)got.adjusted, 17100, 18500); /* of 17,700 after that second */
	sampler_free(s);
}

/* Seconds of traffic: 300 traces each of two operations and 2 of a rare one. */
static void traffic(struct sampler *s, uint64_t from_s, uint64_t to_s)
{
	const struct span_sink none = { 0 };

	for (uint64_t t = from_s; t < to_s; t++) {
		for (uint64_t i = 0; i < 602; i++) {
			uint64_t n = t * 1000 + i;
			struct span sp = span_of(n,
						 i < 300   ? "GET /"
						 : i < 600 ? "POST /cart"
							   : "GET /admin",
						 (1000 + n * 7919 % 1000) * NS_PER_US);

			sampler_push(s, &sp, none);
		}
		sampler_tick(s, (t + 1) * NS_PER_S);
	}
}

static void the_tail_keeps_errors_slow_ones_and_fair_shares(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_TAIL,
					.traces_per_s = 60,
					.quiet_ns = NS_PER_S };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ &got, count });
	uint64_t before;

	sampler_tick(s, NS_PER_S / 2);
	traffic(s, 1, 30);
	before = got.spans;
	got.adjusted = 0;
	traffic(s, 30, 60);
	/* 60 a second, a few by chance above the 99 %, out of 602 */
	assert_in_range(got.spans - before, 30 * 45, 30 * 80);
	assert_in_range((uint64_t)got.adjusted, 30 * 480, 30 * 720);

	before = got.spans;
	for (uint64_t i = 0; i < 20; i++) {
		struct span sp = span_of(900000 + i, "GET /", NS_PER_MS);

		sp.status = STATUS_ERROR;
		sampler_push(s, &sp, (struct span_sink){ 0 });
	}
	for (uint64_t i = 0; i < 2; i++) {
		struct span sp = span_of(910000 + i, "GET /", NS_PER_S);

		sampler_push(s, &sp, (struct span_sink){ 0 });
	}
	sampler_flush(s);
	assert_int_equal(got.errors, 20);
	assert_true(got.spans - before >= 22);
	sampler_free(s);
}

/* A second span of trace n, which comes late. */
static struct span late_span(uint64_t n, enum span_status status)
{
	struct span sp = span_of(n, "GET /", NS_PER_MS);

	sp.parent_id = sp.span_id;
	sp.span_id.b[0] ^= 2;
	sp.status = status;
	return sp;
}

static void late_spans_follow_one_of_many_decisions(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_TAIL, .traces_per_s = 1000 };
	const struct span_sink none = { 0 };
	struct got got = { 0 }, late = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ &got, count });
	uint64_t kept = 0, kept_late, failed = 0;

	/* 10,000 traces a second; of those of 3 s to 10 s ago something comes late */
	for (uint64_t t = 1; t < 15; t++) {
		for (uint64_t i = 0; i < 10000; i++) {
			struct span sp = span_of(t * 10000 + i, "GET /", NS_PER_MS);

			sampler_push(s, &sp, none);
		}
		sampler_tick(s, t * NS_PER_S);
		if (t == 4)
			kept = got.spans;
	}
	kept_late = got.spans - kept;
	kept = got.spans;
	for (uint64_t n = 40000; n < 140000; n++) {
		struct span sp = late_span(n, STATUS_UNSET);

		sampler_push(s, &sp, (struct span_sink){ &late, count });
	}
	assert_in_range(late.spans, kept_late * 99 / 100, kept_late);
	/* a failure opens the rest of its trace */
	for (uint64_t n = 100000; n < 100100; n++) {
		struct span sp = late_span(n, STATUS_UNSET);

		late.spans = 0;
		sampler_push(s, &sp, (struct span_sink){ &late, count });
		if (late.spans)
			continue;
		failed++;
		sp.status = STATUS_ERROR;
		sampler_push(s, &sp, (struct span_sink){ &late, count });
		sp.status = STATUS_UNSET;
		sampler_push(s, &sp, (struct span_sink){ &late, count });
		assert_int_equal(late.spans, 2);
	}
	assert_true(failed > 10);
	sampler_free(s);
}

static void a_late_root_begins_the_wait_anew(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_TAIL };
	const struct span_sink none = { 0 };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ &got, count });
	struct span root = span_of(5, "GET /", NS_PER_MS), child = late_span(5, STATUS_UNSET);

	sampler_tick(s, 10 * NS_PER_S);
	sampler_push(s, &child, none);
	sampler_tick(s, 13 * NS_PER_S);
	sampler_push(s, &root, none);
	sampler_tick(s, 14 * NS_PER_S + NS_PER_S / 2);
	assert_int_equal(got.spans, 0);
	for (uint64_t i = 0; i < 3; i++) { /* what keeps coming does not keep it for ever */
		child.span_id.b[1]++;
		sampler_push(s, &child, none);
		sampler_tick(s, (15 + i) * NS_PER_S);
	}
	assert_int_equal(got.spans, 5);
	sampler_free(s);
}

static void the_wait_may_be_longer(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_TAIL, .max_wait_ns = 12 * NS_PER_S };
	const struct span_sink none = { 0 };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ &got, count });
	struct span root = span_of(5, "GET /", NS_PER_MS), child = late_span(5, STATUS_UNSET);
	struct span alone = late_span(6, STATUS_UNSET);

	sampler_tick(s, 10 * NS_PER_S);
	sampler_push(s, &root, none);
	sampler_push(s, &alone, none);
	sampler_tick(s, 15 * NS_PER_S + NS_PER_S / 2); /* what an SDK sends every 5 s */
	sampler_push(s, &child, none);
	sampler_tick(s, 21 * NS_PER_S);
	assert_int_equal(got.spans, 0);
	sampler_tick(s, 22 * NS_PER_S); /* quiet for 6 s; no root in 12 */
	assert_int_equal(got.spans, 3);
	sampler_free(s);
}

/* Spans of many traces pass; memory stays as it was. */
static void without_the_tail_nothing_is_kept_of_a_trace(void **state)
{
	static const enum sample_how hows[] = { SAMPLE_ALWAYS, SAMPLE_NEVER, SAMPLE_RATIO,
						SAMPLE_RATE };

	for (size_t h = 0; h < ARRAY_LEN(hows); h++) {
		const struct sample_cfg cfg = { .how = hows[h], .ratio = 0.5 };
		struct got got = { 0 };
		struct sampler *s = sampler_new(&cfg, (struct span_sink){ 0 });
		size_t before = mallinfo2().uordblks;

		for (uint64_t i = 0; i < 100000; i++) {
			struct span sp = span_of(i, "GET /", 1000);

			sampler_push(s, &sp, (struct span_sink){ &got, count });
			if (i % 1000 == 0)
				sampler_tick(s, i * NS_PER_MS);
		}
		assert_int_equal(mallinfo2().uordblks, before);
		assert_int_equal(shop->refs, 1);
		assert_true((hows[h] == SAMPLE_NEVER) == (got.spans == 0));
		sampler_free(s);
	}
}

static void late_spans_follow_the_decision(void **state)
{
	const struct sample_cfg cfg = { .how = SAMPLE_TAIL,
					.traces_per_s = 1,
					.quiet_ns = NS_PER_S };
	struct got got = { 0 };
	struct sampler *s = sampler_new(&cfg, (struct span_sink){ &got, count });
	struct span sp = span_of(77, "GET /new", NS_PER_MS);

	sampler_tick(s, NS_PER_S);
	sampler_push(s, &sp, (struct span_sink){ 0 });
	sampler_tick(s, 3 * NS_PER_S);
	assert_int_equal(got.spans, 1); /* the first of its kind */
	sp.parent_id = sp.span_id;
	sp.span_id.b[0] ^= 2;
	sampler_push(s, &sp, (struct span_sink){ &got, count });
	assert_int_equal(got.spans, 2);
	sampler_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ratio_keeps_its_share_and_counts_stay_true),
		cmocka_unit_test(what_others_rejected_is_not_forgotten),
		cmocka_unit_test(always_is_always),
		cmocka_unit_test(never_and_an_unsampled_caller_are_a_no),
		cmocka_unit_test(a_rule_for_a_service_goes_first),
		cmocka_unit_test(a_rate_is_a_hard_limit_and_traces_stay_whole),
		cmocka_unit_test(what_a_rate_keeps_stands_for_all),
		cmocka_unit_test(the_tail_keeps_errors_slow_ones_and_fair_shares),
		cmocka_unit_test(late_spans_follow_the_decision),
		cmocka_unit_test(late_spans_follow_one_of_many_decisions),
		cmocka_unit_test(a_late_root_begins_the_wait_anew),
		cmocka_unit_test(the_wait_may_be_longer),
		cmocka_unit_test(without_the_tail_nothing_is_kept_of_a_trace),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

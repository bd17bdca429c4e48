/* SPDX-License-Identifier: Apache-2.0 */
/* The ClickHouse engine on a real one. */
#include "unit/store/clickhouse_spans.h"

static void traces_come_back(void **state)
{
	struct trace_id none = { { 1, 2, 3 } };
	struct store *s;
	struct trace *t;

	NEED_FRONT();
	s = open_store("round");
	assert_int_equal(put(s, 0, SPANS), 0);
	assert_int_equal(put(s, 0, 3), 0); /* a batch that comes again: each once in its trace */
	for (uint32_t i = 0; i < SPANS; i += 3) {
		assert_int_equal(store_trace(s, &span[i]->trace_id, &t), 0);
		assert_int_equal(t->span_cnt, 3);
		for (uint32_t k = 0; k < 3; k++)
			assert_span(span[i + 2 - k], t->spans[k]); /* made newest first */
		trace_put(t);
	}
	assert_int_equal(store_trace(s, &none, &t), -ENOENT);
	assert_int_equal(spans_in(s), SPANS + 3);
	assert_int_equal(store_check(s, NULL, NULL), 0);
	assert_int_equal(store_archive(s, &none, true), -EOPNOTSUPP);
	store_close(s);
}

/* ---- conditions: what is found is what cond_match() says of the spans that were stored ----------
 */

struct found {
	bool is[SPANS];
	uint32_t cnt;
	uint64_t last_ns;
};

static bool note_found(void *ctx, const struct span *sp)
{
	struct found *f = ctx;

	assert_true(sp->start_ns <= f->last_ns);
	f->last_ns = sp->start_ns;
	f->is[sp->span_id.b[7] - 1] = true;
	f->cnt++;
	return true;
}

static uint32_t assert_found(struct store *s, const struct cond *where, struct time_range r)
{
	const struct scan q = { .range = r, .where = where };
	struct found f = { .last_ns = UINT64_MAX };
	uint32_t cnt = 0;

	assert_non_null(where);
	assert_int_equal(store_scan(s, &q, note_found, &f), 0);
	for (uint32_t i = 0; i < SPANS; i++) {
		bool want = cond_match(where, span[i]) && span[i]->start_ns >= r.from_ns &&
			    (!r.to_ns || span[i]->start_ns < r.to_ns);

		if (f.is[i] != want)
			fail_msg("span %u: %d; field %d, comparison %d, type %d", i, f.is[i],
				 where->field.kind, where->cmp, where->value.type);
		cnt += want;
	}
	assert_int_equal(f.cnt, cnt);
	return cnt;
}

static const struct field fields[] = {
	{ FIELD_ATTR, STR("code") },	     { FIELD_ATTR, STR("zone") },
	{ FIELD_SPAN_ATTR, STR("ratio") },   { FIELD_SPAN_ATTR, STR("cached") },
	{ FIELD_SPAN_ATTR, STR("big") },     { FIELD_RESOURCE_ATTR, STR("process.pid") },
	{ FIELD_EVENT_ATTR, STR("n") },	     { FIELD_LINK_ATTR, STR("why") },
	{ FIELD_EVENT_NAME, STR("") },	     { FIELD_NAME, STR("") },
	{ FIELD_SERVICE, STR("") },	     { FIELD_KIND, STR("") },
	{ FIELD_STATUS, STR("") },	     { FIELD_STATUS_MESSAGE, STR("") },
	{ FIELD_DURATION, STR("") },	     { FIELD_START, STR("") },
	{ FIELD_TRACE_ID, STR("") },	     { FIELD_SPAN_ID, STR("") },
	{ FIELD_PARENT_ID, STR("") },	     { FIELD_SCOPE_NAME, STR("") },
	{ FIELD_SCOPE_ATTR, STR("code") },   { FIELD_SPAN_ATTR, STR("text") },
	{ FIELD_SPAN_ATTR, STR("absent'") }, { FIELD_ATTR, STR("list") },
};

static void conditions_find_what_they_should(void **state)
{
	const struct value values[] = {
		{ .type = VALUE_STR, .str = STR("500") },
		{ .type = VALUE_STR, .str = STR("op 3") },
		{ .type = VALUE_STR, .str = STR("GET") },
		{ .type = VALUE_STR, .str = STR("boom'") },
		{ .type = VALUE_STR, .str = STR("") },
		{ .type = VALUE_STR, .str = STR("unknown_service") },
		{ .type = VALUE_INT, .i = 500 },
		{ .type = VALUE_INT, .i = 2 },
		{ .type = VALUE_INT, .i = -1 },
		{ .type = VALUE_INT, .i = INT64_MAX },
		{ .type = VALUE_INT, .i = (INT64_C(1) << 53) + 1 },
		{ .type = VALUE_INT, .i = (int64_t)(base_ns - 600 * NS_PER_S) },
		{ .type = VALUE_INT, .i = 10 * (int64_t)NS_PER_MS },
		{ .type = VALUE_DOUBLE, .d = 1.375 },
		{ .type = VALUE_DOUBLE, .d = 2.0 },
		{ .type = VALUE_DOUBLE, .d = 1e300 },
		{ .type = VALUE_BOOL, .b = true },
		{ .type = VALUE_BOOL, .b = false },
		{ .type = VALUE_BYTES, .str = { (char *)span[8]->span_id.b, 8 } },
		{ .type = VALUE_BYTES, .str = { (char *)span[9]->trace_id.b, 16 } },
	};
	static const enum cmp cmps[] = {
		CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_EXISTS
	};
	struct time_range all = { .from_ns = base_ns - 7200 * NS_PER_S };
	uint32_t hits = 0, tried = 0;
	struct store *s;

	NEED_FRONT();
	s = open_store("conditions");
	assert_int_equal(put(s, 0, SPANS), 0);
	for (size_t f = 0; f < ARRAY_LEN(fields); f++)
		for (size_t k = 0; k < ARRAY_LEN(cmps); k++)
			for (size_t v = 0; v < ARRAY_LEN(values); v++) {
				const struct cond *c = cond_cmp(mem, fields[f], cmps[k], values[v]);

				if (tried++ % 7) /* each costs a few queries */
					continue;
				if (tried % 4 == 0)
					c = cond_not(mem, c);
				hits += assert_found(s, c, all);
			}
	assert_true(hits > 500);
	store_close(s);
}

static void hostile_texts_stay_texts(void **state)
{
	struct time_range all = { .from_ns = base_ns - 7200 * NS_PER_S },
			  some = { base_ns - 1200 * NS_PER_S, base_ns - 300 * NS_PER_S };
	struct store *s;

	NEED_FRONT();
	s = open_store("conditions");
	for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
		struct value v = { .type = VALUE_STR, .str = str_of(hostile[i]) };
		struct field text = { FIELD_SPAN_ATTR, STR("text") }, key = { FIELD_ATTR, v.str };
		const struct cond *a = cond_cmp(mem, text, CMP_EQ, v),
				  *b = cond_cmp(mem, key, CMP_EXISTS, v);

		assert_int_equal(assert_found(s, a, all), SPANS / ARRAY_LEN(hostile));
		assert_int_equal(assert_found(s, b, all), SPANS / ARRAY_LEN(hostile));
		assert_found(s, cond_or(mem, cond_and(mem, a, cond_not(mem, b)), b), some);
		assert_found(s, cond_cmp(mem, (struct field){ .kind = FIELD_SERVICE }, CMP_EQ, v),
			     some);
	}
	assert_int_equal(spans_in(s), SPANS);
	store_close(s);
}

static void patterns_match_as_ours_do(void **state)
{
	static const char *const texts[] = {
		"op [0-2]", "op (1|2)",	  "o.*",    ".*",      "(?i)OP 1",     "op \\d",
		"op 1$",    "^op 1",	  "op",	    "x' OR.*", "tab.new.line", "(?s)tab.new.line",
		"[^a]*",    "(\\w)\\1.*", "5|true", ""
	};
	struct patterns patterns = { 0 };
	struct time_range all = { .from_ns = base_ns - 7200 * NS_PER_S };
	struct store *s;
	char why[128];

	NEED_FRONT();
	s = open_store("conditions");
	for (size_t i = 0; i < 4 * ARRAY_LEN(texts); i++) {
		struct field f = i % 2 ? (struct field){ FIELD_SPAN_ATTR, STR("text") }
				       : (struct field){ .kind = FIELD_NAME };
		const struct cond *c;

		assert_int_equal(
			cond_regex(mem, &patterns, f, i % 4 >= 2, str_of(texts[i / 4]), &c, why),
			0);
		assert_found(s, c, all);
	}
	patterns_free(&patterns);
	store_close(s);
}

/* ---- names ------------------------------------------------------------------------------------
 */

static void add_name(void *ctx, struct str s)
{
	buf_add_str(ctx, s);
	buf_add_char(ctx, '|');
}

static void add_operation(void *ctx, struct str service, struct str name, enum span_kind kind)
{
	buf_printf(ctx, STR_FMT "/%d|", STR_ARG(name), kind);
}

static void add_tag(void *ctx, enum field_kind kind, struct str key)
{
	buf_printf(ctx, "%d:" STR_FMT "|", kind, STR_ARG(key));
}

static void add_value(void *ctx, const struct value *v)
{
	buf_printf(ctx, "%d:", v->type);
	value_write(ctx, v);
	buf_add_char(ctx, '|');
}

static void names_are_listed(void **state)
{
	const struct value bad = { .type = VALUE_INT, .i = STATUS_ERROR };
	const struct field status = { .kind = FIELD_STATUS },
			   pid = { FIELD_ATTR, STR("process.pid") }, name = { .kind = FIELD_NAME };
	struct time_range all = { 0 }, none = { 1, 2 };
	struct buf out = { 0 };
	struct store *s;

	NEED_FRONT();
	s = open_store("conditions");
	assert_int_equal(store_services(s, all, add_name, &out), 0);
	buf_add_char(&out, 0);
	assert_string_equal(out.p, "pay' OR '1'='1|shop|unknown_service|");
	buf_clear(&out);
	assert_int_equal(store_services(s, none, add_name, &out), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(store_operations(s, STR("pay' OR '1'='1"), all, add_operation, &out), 0);
	buf_add_char(&out, 0);
	assert_string_equal(out.p, "op 0/1|op 0/4|op 1/1|op 1/4|op 2/1|op 2/4|op 3/1|op 3/4|"
				   "op 4/1|op 4/4|");
	buf_clear(&out);
	assert_int_equal(store_tags(s, all, add_tag, &out), 0);
	buf_add_char(&out, 0);
	assert_non_null(strstr(out.p, "1:code|"));
	assert_non_null(strstr(out.p, "2:process.pid|"));
	assert_non_null(strstr(out.p, "4:n|"));
	assert_non_null(strstr(out.p, "5:why|"));
	assert_null(strstr(out.p, CH_TYPES_KEY));
	buf_clear(&out);
	assert_int_equal(store_values(s, &pid, NULL, all, 2, add_value, &out), 0);
	assert_int_equal(store_values(s, &status, NULL, all, 10, add_value, &out), 0);
	assert_int_equal(
		store_values(s, &name, cond_cmp(mem, status, CMP_EQ, bad), all, 2, add_value, &out),
		0);
	buf_add_char(&out, 0);
	assert_string_equal(out.p, "3:0|3:1|3:2|3:1|3:0|1:op 0|1:op 1|");
	buf_fini(&out);
	store_close(s);
}

/* ---- what others write -------------------------------------------------------------------------
 */

static void rows_of_others_are_read(void **state)
{
	static const char insert[] =
		"INSERT INTO otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, SpanName, "
		"SpanKind,"
		" ServiceName, ResourceAttributes, SpanAttributes, Duration, StatusCode) VALUES"
		" (now64(9), '000000000000000000000000000000aa', '00000000000000bb', '',"
		" 'GET', 'SPAN_KIND_SERVER', 'theirs', map('service.name', 'theirs'),"
		" map('http.response.status_code', '500', 'user.id', '12'), 5, "
		"'STATUS_CODE_ERROR'),"
		" (now64(9), 'not an id', 'x', '', 'GET', '', '', map(), map(), 5, '')";
	struct trace_id id = { { [15] = 0xaa } };
	struct ch_result r;
	struct store *s;
	struct trace *t;

	NEED_FRONT();
	s = open_store("theirs");
	http_ask((struct clickhouse *)s, &(struct ch_request){ .sql = STR(insert) }, &r);
	assert_int_equal(r.err, 0);
	assert_int_equal(store_trace(s, &id, &t), 0);
	assert_int_equal(t->span_cnt, 1);
	assert_int_equal(t->spans[0]->kind, SPAN_SERVER);
	assert_int_equal(t->spans[0]->status, STATUS_ERROR);
	assert_int_equal(attrs_find(&t->spans[0]->attrs, STR("http.response.status_code"))->value.i,
			 500);
	assert_true(str_eq(attrs_str(&t->spans[0]->attrs, "user.id"), STR("12")));
	trace_put(t);
	store_close(s);
}

/* ---- trouble ----------------------------------------------------------------------------------
 */

static void a_batch_is_sent_again_and_kept_once(void **state)
{
	struct store *s;

	NEED_FRONT();
	s = open_store("again");
	front_told(s, "fail?status=503&count=2");
	assert_int_equal(put(s, 0, 10), 0);
	assert_int_equal(spans_in(s), 10);
	front_told(s, "lose?count=2"); /* it is there, but nobody said so */
	assert_int_equal(put(s, 10, 20), 0);
	assert_int_equal(spans_in(s), 20);
	front_told(s, "fail?status=400&count=1");
	assert_int_equal(put(s, 20, 30), -EIO);
	assert_int_equal(put(s, 30, 40), 0);
	assert_int_equal(spans_in(s), 30);
	store_close(s);
}

static void a_server_that_was_away_gets_everything(void **state)
{
	struct acked a = ACKED;
	struct store_writer *w;
	struct trace *t;
	struct store *s;

	NEED_FRONT();
	s = open_store("away");
	front_stop();
	w = store_writer_new(s);
	for (uint32_t i = 0; i < SPANS; i++)
		store_writer_push(w, span[i]);
	store_writer_sync(w, (struct store_ack){ on_ack, &a });
	assert_int_equal(store_trace(s, &span[0]->trace_id, &t), -EIO);
	front_start();
	assert_int_equal(acked_wait(&a), 0);
	assert_int_equal(spans_in(s), SPANS);
	store_writer_free(w);
	store_close(s);
}

static void a_full_queue_is_told(void **state)
{
	const struct store_cfg cfg = { .queue_bytes = 4096, .commit_ms = 20 };
	char why[STORE_WHY_MAX];
	struct store *s;

	NEED_FRONT();
	assert_int_equal(open_at("me:p%3A%40%2F%20w", "full", cfg, &s, why), 0);
	assert_int_equal(put(s, 0, SPANS), -EAGAIN);
	while (put(s, 0, 2)) /* taken when what came before is there */
		usleep(10000);
	assert_int_equal(store_admits(s), 0);
	store_close(s);
}

static void what_cannot_be_opened_is_explained(void **state)
{
	static const char *const bad[] = { "clickhouse+http://127.0.0.1:1/", "clickhouse+ftp://x/y",
					   "clickhouse+http://", "clickhouse+http://h/a/b",
					   "clickhouse+http://u:secret@h/" };
	const struct store_cfg ours = { 0 }, reading = { .read_only = true };
	char why[STORE_WHY_MAX], where[64];
	struct store *s = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(store_open(&(struct store_cfg){ .where = bad[i] }, &s, why),
				 -EINVAL);
		assert_non_null(strstr(why, "DATABASE"));
		assert_null(strstr(why, "secret"));
	}
	snprintf(where, sizeof(where), "clickhouse+http://u:secret@127.0.0.1:%u/db", free_port());
	assert_int_equal(store_open(&(struct store_cfg){ .where = where }, &s, why), -ECONNREFUSED);
	assert_non_null(strstr(why, "cannot connect"));
	assert_null(strstr(why, "secret"));
	NEED_FRONT();
	assert_int_equal(open_at("me:wrong", "db", ours, &s, why), -EKEYREJECTED);
	assert_non_null(strstr(why, "wrong user or password"));
	assert_null(strstr(why, "me:"));
	assert_int_equal(open_at("me:p%3A%40%2F%20w", "nowhere", reading, &s, why), -ENOENT);
	assert_int_equal(open_at("me:p%3A%40%2F%20w", "odd%60name%27", ours, &s, why), 0);
	store_close(s);
	assert_null(strchr(why, '\n'));
}

/* ---- main -------------------------------------------------------------------------------------
 */

static int begin(void **state)
{
	mem = arena_new(0);
	base_ns = clock_real_ns();
	make_resources();
	for (uint32_t i = 0; i < SPANS; i++)
		span[i] = make_span(i);
	missing = front_prepare();
	if (!missing)
		front_start();
	return 0;
}

static int end(void **state)
{
	front_remove();
	for (size_t i = 0; i < ARRAY_LEN(resource); i++)
		resource_put(resource[i]);
	arena_free(mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(traces_come_back),
		cmocka_unit_test(conditions_find_what_they_should),
		cmocka_unit_test(hostile_texts_stay_texts),
		cmocka_unit_test(patterns_match_as_ours_do),
		cmocka_unit_test(names_are_listed),
		cmocka_unit_test(rows_of_others_are_read),
		cmocka_unit_test(a_batch_is_sent_again_and_kept_once),
		cmocka_unit_test(a_server_that_was_away_gets_everything),
		cmocka_unit_test(a_full_queue_is_told),
		cmocka_unit_test(what_cannot_be_opened_is_explained),
	};

	return cmocka_run_group_tests(tests, begin, end);
}

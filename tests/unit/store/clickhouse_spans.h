/* SPDX-License-Identifier: Apache-2.0 */
/* Spans for the ClickHouse engine, stores to put them into, and how they are compared. */
#ifndef TESTS_CLICKHOUSE_SPANS_H
#define TESTS_CLICKHOUSE_SPANS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "core/clock.h"
#include "store/clickhouse.h"
#include "unit/store/front.h"

#define SPANS 60

static const char *missing; /* why nothing can be tried */
static struct arena *mem;
static struct resource *resource[3];
static const struct scope scope = { .name = STR("lib"), .version = STR("1.2") };
static struct span *span[SPANS];
static uint64_t base_ns;

#define NEED_FRONT()                                   \
	do {                                           \
		if (missing) {                         \
			printf("SKIP: %s\n", missing); \
			skip();                        \
		}                                      \
	} while (0)

/* ---- spans ------------------------------------------------------------------------------------
 */

/* Texts that try to leave their quotes, and other hard ones. */
static const char *const hostile[] = { "x' OR 1=1 --",
				       "\\' OR ''='",
				       "a\\",
				       "');DROP TABLE otel_traces;--",
				       "\xff\xfe",
				       "tab\tnew\nline",
				       "{p:String}",
				       "`",
				       "%27",
				       "/* */",
				       "5",
				       "true",
				       "[1]",
				       "",
				       "grüße" };

static void make_resources(void)
{
	static const char *const name[] = { "shop", "pay' OR '1'='1", "" };

	for (size_t i = 0; i < ARRAY_LEN(resource); i++) {
		resource[i] = resource_new();
		if (name[i][0])
			attrs_add_str(&resource[i]->attrs, resource[i]->arena, "service.name",
				      str_of(name[i]));
		attrs_add_int(&resource[i]->attrs, resource[i]->arena, "process.pid", (int)i);
		attrs_add_str(&resource[i]->attrs, resource[i]->arena, "zone", STR("5"));
		resource_seal(resource[i]);
	}
}

static void add_attrs(struct span *s, uint32_t i)
{
	static struct value items[2] = { { .type = VALUE_STR, .str = { "GET", 3 } },
					 { .type = VALUE_INT, .i = 500 } };

	attrs_add_str(&s->attrs, mem, "text", str_of(hostile[i % ARRAY_LEN(hostile)]));
	attrs_add_str(&s->attrs, mem, hostile[(i + 3) % ARRAY_LEN(hostile)], STR("key"));
	if (i % 3 == 0)
		attrs_add_int(&s->attrs, mem, "code", 200 + 100 * (i % 5));
	if (i % 3 == 1)
		attrs_add_str(&s->attrs, mem, "code", STR("500"));
	if (i % 7 == 0)
		attrs_add(&s->attrs, mem, STR("list"),
			  (struct value){ .type = VALUE_ARRAY, .array = { items, 2 } });
	if (i % 4 == 0)
		attrs_add_bool(&s->attrs, mem, "cached", i % 8 == 0);
	attrs_add_double(&s->attrs, mem, "ratio", i / 8.0);
	if (i % 10 == 0)
		attrs_add_int(&s->attrs, mem, "zone", 5);
	attrs_add_int(&s->attrs, mem, "big", (INT64_C(1) << 53) + i % 3);
}

static struct span *make_span(uint32_t i)
{
	struct span *s = arena_alloc(mem, sizeof(*s));

	s->trace_id.b[0] = 7;
	s->trace_id.b[15] = (uint8_t)(1 + i / 3);
	s->span_id.b[7] = (uint8_t)(1 + i);
	if (i % 3)
		s->parent_id.b[7] = (uint8_t)(1 + i - i % 3);
	s->trace_state = STR("a=1");
	s->kind = i % 6;
	s->status = i % 3;
	s->name = arena_printf(mem, "op %u", i % 5);
	s->status_message = i % 3 == 2 ? STR("it's bad") : STR("");
	s->start_ns = base_ns - i * 60 * NS_PER_S;
	s->end_ns = s->start_ns + i * NS_PER_MS;
	s->resource = resource[i % ARRAY_LEN(resource)];
	s->scope = &scope;
	add_attrs(s, i);
	if (i % 5 == 0) {
		s->event_cnt = s->link_cnt = 1;
		s->events = arena_alloc(mem, sizeof(*s->events));
		s->events[0] = (struct span_event){ .time_ns = s->start_ns, .name = STR("boom'") };
		attrs_add_int(&s->events[0].attrs, mem, "n", i);
		s->links = arena_alloc(mem, sizeof(*s->links));
		s->links[0] = (struct span_link){ .trace_id = { { 9 } }, .span_id = { { 9 } } };
		attrs_add_str(&s->links[0].attrs, mem, "why", STR("follows"));
	}
	return s;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

struct acked {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
	int err;
};

static void on_ack(void *ctx, int err)
{
	struct acked *a = ctx;

	pthread_mutex_lock(&a->lock);
	a->done = true;
	a->err = err;
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->lock);
}

static int acked_wait(struct acked *a)
{
	pthread_mutex_lock(&a->lock);
	while (!a->done)
		pthread_cond_wait(&a->wake, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return a->err;
}

#define ACKED                                                                       \
	{                                                                           \
		.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER \
	}

static int put(struct store *s, uint32_t from, uint32_t to)
{
	struct store_writer *w = store_writer_new(s);
	struct acked a = ACKED;
	int err;

	assert_non_null(w);
	for (uint32_t i = from; i < to; i++)
		store_writer_push(w, span[i]);
	store_writer_sync(w, (struct store_ack){ on_ack, &a });
	err = acked_wait(&a);
	store_writer_free(w);
	return err;
}

/* ---- stores -----------------------------------------------------------------------------------
 */

static int open_at(const char *user, const char *database, struct store_cfg cfg, struct store **ret,
		   char why[STORE_WHY_MAX])
{
	char where[256];

	snprintf(where, sizeof(where), "clickhouse+http://%s@127.0.0.1:%u/%s", user, front_port,
		 database);
	cfg.where = where;
	return store_open(&cfg, ret, why);
}

static struct store *open_store(const char *database)
{
	const struct store_cfg cfg = { .retention_ns = 7 * 24 * 3600 * NS_PER_S };
	char why[STORE_WHY_MAX];
	struct store *s = NULL;
	int err = open_at("me:p%3A%40%2F%20w", database, cfg, &s, why);

	if (err)
		fail_msg("%s", why);
	return s;
}

static void front_told(struct store *s, const char *path)
{
	struct clickhouse *c = (struct clickhouse *)s, other = *c;
	struct ch_result r;
	char url[128];

	pthread_mutex_init(&other.pool_lock, NULL);
	other.idle_cnt = 0;
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/test/%s&x=", front_port, path);
	other.url = url;
	http_ask(&other, &(struct ch_request){ .sql = STR("x") }, &r);
	assert_int_equal(r.err, 0);
	while (other.idle_cnt)
		curl_easy_cleanup(other.idle[--other.idle_cnt]);
}

static uint64_t spans_in(struct store *s)
{
	struct store_stats st;

	assert_int_equal(store_stats(s, &st), 0);
	return st.spans;
}

/* ---- round trip -------------------------------------------------------------------------------
 */

static void assert_attrs(const struct attrs *a, const struct attrs *b)
{
	assert_int_equal(a->cnt, b->cnt);
	for (uint32_t i = 0; i < a->cnt; i++) {
		assert_true(str_eq(a->item[i].key, b->item[i].key));
		assert_int_equal(a->item[i].value.type, b->item[i].value.type);
		if (a->item[i].value.type == VALUE_STR)
			assert_true(str_eq(a->item[i].value.str, b->item[i].value.str));
		else if (a->item[i].value.type == VALUE_BOOL)
			assert_int_equal(a->item[i].value.b, b->item[i].value.b);
		else if (a->item[i].value.type == VALUE_ARRAY)
			assert_int_equal(a->item[i].value.array.cnt, b->item[i].value.array.cnt);
		else
			assert_int_equal(a->item[i].value.i, b->item[i].value.i);
	}
}

static void assert_span(const struct span *a, const struct span *b)
{
	assert_memory_equal(&a->span_id, &b->span_id, 8);
	assert_memory_equal(&a->parent_id, &b->parent_id, 8);
	assert_true(str_eq(a->name, b->name));
	assert_true(str_eq(a->trace_state, b->trace_state));
	assert_true(str_eq(a->status_message, b->status_message));
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->start_ns, b->start_ns);
	assert_int_equal(a->end_ns, b->end_ns);
	assert_true(str_eq(a->scope->version, b->scope->version));
	assert_attrs(&a->attrs, &b->attrs);
	assert_attrs(&a->resource->attrs, &b->resource->attrs);
	assert_int_equal(a->event_cnt, b->event_cnt);
	for (uint32_t i = 0; i < a->event_cnt; i++) {
		assert_int_equal(a->events[i].time_ns, b->events[i].time_ns);
		assert_true(str_eq(a->events[i].name, b->events[i].name));
		assert_attrs(&a->events[i].attrs, &b->events[i].attrs);
	}
	assert_int_equal(a->link_cnt, b->link_cnt);
	for (uint32_t i = 0; i < a->link_cnt; i++) {
		assert_memory_equal(&a->links[i].trace_id, &b->links[i].trace_id, 16);
		assert_attrs(&a->links[i].attrs, &b->links[i].attrs);
	}
}

#endif

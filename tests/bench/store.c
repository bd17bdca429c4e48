/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the embedded store costs: CPU to push and make durable, bytes on disk, time to find things.
 *     store [SPANS] [DIRECTORY]
 * The directory must not be there; it stays, for `telltale store stats`.
 */
#include "bench/spans.h"

#include "core/clock.h"
#include "store/store.h"

#include <pthread.h>
#include <unistd.h>

#define BATCH_TRACES 50
#define UNDER_WAY    32 /* batches that wait for their acknowledgement */
#define IDS	     500
#define TIMES_MAX    500
#define HITS	     20 /* traces that a search wants */

struct bench {
	struct store *store;
	uint64_t spans;
	pthread_mutex_t lock;
	pthread_cond_t come;
	uint32_t under_way;
	uint64_t acked, failed;
	struct trace_id ids[IDS];
	uint32_t id_cnt;
};

static uint64_t cpu_ns(void)
{
	return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

static void note_ack(void *ctx, int err)
{
	struct bench *b = ctx;

	pthread_mutex_lock(&b->lock);
	b->under_way--;
	b->acked += !err;
	b->failed += err != 0;
	pthread_cond_signal(&b->come);
	pthread_mutex_unlock(&b->lock);
}

static void wait_for_room(struct bench *b, uint32_t at_most)
{
	pthread_mutex_lock(&b->lock);
	while (b->under_way > at_most)
		pthread_cond_wait(&b->come, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

/* Returns the CPU that making the spans took, which is not the store's. */
static uint64_t fill(struct bench *b)
{
	struct store_writer *w = store_writer_new(b->store);
	uint64_t batches = b->spans / BATCH_TRACES / TRACE_SPANS, making_ns = 0;
	struct span(*traces)[TRACE_SPANS] = calloc(BATCH_TRACES, sizeof(*traces));
	struct arena *mem = arena_new(0);
	struct shop shop;

	shop_init(&shop, 1);
	for (uint64_t i = 0; i < batches; i++) {
		uint64_t before = clock_read(CLOCK_THREAD_CPUTIME_ID);

		arena_reset(mem);
		for (int t = 0; t < BATCH_TRACES; t++)
			shop_trace(&shop, mem, traces[t]);
		making_ns += clock_read(CLOCK_THREAD_CPUTIME_ID) - before;
		if (i * IDS / batches >= b->id_cnt && b->id_cnt < IDS)
			b->ids[b->id_cnt++] = traces[0][0].trace_id;
		for (int t = 0; t < BATCH_TRACES; t++)
			for (int s = 0; s < TRACE_SPANS; s++)
				store_writer_push(w, &traces[t][s]);
		wait_for_room(b, UNDER_WAY - 1);
		pthread_mutex_lock(&b->lock);
		b->under_way++;
		pthread_mutex_unlock(&b->lock);
		store_writer_sync(w, (struct store_ack){ note_ack, b });
	}
	wait_for_room(b, 0);
	shop_fini(&shop);
	arena_free(mem);
	free(traces);
	store_writer_free(w);
	return making_ns;
}

static void print_memory(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "VmHWM", 5) == 0 || strncmp(line, "VmRSS", 5) == 0)
			printf("  %s", line);
	if (f)
		fclose(f);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void print_times(const char *what, double *ms, uint32_t cnt, uint64_t hits)
{
	qsort(ms, cnt, sizeof(*ms), by_size);
	printf("  %-44s p50 %7.2f  p99 %7.2f  max %7.2f ms  %llu found\n", what, ms[cnt / 2],
	       ms[cnt * 99 / 100], ms[cnt - 1], (unsigned long long)hits);
}

static double ms_since(uint64_t from_ns)
{
	return (double)(clock_mono_ns() - from_ns) / 1e6;
}

static void find_ids(struct bench *b)
{
	double ms[TIMES_MAX];
	uint64_t spans = 0;

	for (uint32_t i = 0; i < b->id_cnt; i++) {
		/* in an order that has nothing to do with time */
		const struct trace_id *id = &b->ids[i * 7919 % b->id_cnt];
		uint64_t from = clock_mono_ns();
		struct trace *t;

		if (!store_trace(b->store, id, &t)) {
			spans += t->span_cnt;
			trace_put(t);
		}
		ms[i] = ms_since(from);
	}
	print_times("trace by id", ms, b->id_cnt, spans);
}

struct search {
	struct trace_id found[HITS];
	uint32_t cnt;
};

static bool note_hit(void *ctx, const struct span *s)
{
	struct search *h = ctx;

	for (uint32_t i = 0; i < h->cnt; i++)
		if (memcmp(&h->found[i], &s->trace_id, sizeof(s->trace_id)) == 0)
			return true;
	h->found[h->cnt++] = s->trace_id;
	return h->cnt < HITS;
}

static void search(struct bench *b, const char *what, const struct cond *where)
{
	const struct scan q = { .where = where };
	double ms[10];
	uint64_t hits = 0;

	for (int i = 0; i < 10; i++) {
		uint64_t from = clock_mono_ns();
		struct search h = { .cnt = 0 };

		store_scan(b->store, &q, note_hit, &h);
		ms[i] = ms_since(from);
		hits += h.cnt;
	}
	print_times(what, ms, 10, hits);
}

static const struct cond *is(struct arena *mem, enum field_kind kind, const char *key, enum cmp cmp,
			     const char *text, int64_t number)
{
	struct field f = { kind, str_of(key) };
	struct value v = { .type = VALUE_INT, .i = number };

	if (text)
		v = (struct value){ .type = VALUE_STR, .str = str_of(text) };
	return cond_cmp(mem, f, cmp, v);
}

static void search_all(struct bench *b)
{
	struct arena *m = arena_new(0);
	struct patterns patterns = { NULL };
	struct field url = { FIELD_ATTR, STR("url.full") };
	const struct cond *cart = is(m, FIELD_SERVICE, "", CMP_EQ, "cart", 0), *c;
	char why[128];

	search(b, "all", NULL);
	search(b, "service", cart);
	search(b, "service and operation",
	       cond_and(m, cart, is(m, FIELD_NAME, "", CMP_EQ, "SELECT rates", 0)));
	search(b, "service and error", cond_and(m, cart, is(m, FIELD_STATUS, "", CMP_EQ, NULL, 2)));
	search(b, "status code 500",
	       is(m, FIELD_ATTR, "http.response.status_code", CMP_EQ, NULL, 500));
	search(b, "one user", is(m, FIELD_ATTR, "enduser.id", CMP_EQ, "user-4711", 0));
	search(b, "longer than 1 s",
	       is(m, FIELD_DURATION, "", CMP_GT, NULL, 1000 * (int64_t)NS_PER_MS));
	if (!cond_regex(m, &patterns, url, false, STR(".*payment:8080.*42$"), &c, why))
		search(b, "url matches", c);
	search(b, "none: a user that is not there",
	       is(m, FIELD_ATTR, "enduser.id", CMP_EQ, "user-999999999", 0));
	search(b, "none: a status code that is not there",
	       is(m, FIELD_ATTR, "http.response.status_code", CMP_EQ, NULL, 418));
	search(b, "none: longer than 1 h",
	       is(m, FIELD_DURATION, "", CMP_GT, NULL, 3600 * (int64_t)NS_PER_S));
	search(b, "none: longer than 2 s of one operation",
	       cond_and(m, is(m, FIELD_NAME, "", CMP_EQ, "SELECT rates", 0),
			is(m, FIELD_DURATION, "", CMP_GT, NULL, 2 * (int64_t)NS_PER_S)));
	search(b, "none: a size past all",
	       is(m, FIELD_ATTR, "http.response.body.size", CMP_GT, NULL, 1000000));
	if (!cond_regex(m, &patterns, url, false, STR(".*nowhere.*"), &c, why))
		search(b, "none: no url matches", c);
	patterns_free(&patterns);
	arena_free(m);
}

static void count_name(void *ctx, struct str service, struct str name, enum span_kind kind)
{
	++*(uint64_t *)ctx;
}

static void list_names(struct bench *b)
{
	uint64_t from = clock_mono_ns(), cnt = 0;
	double ms;

	store_operations(b->store, STR(""), (struct time_range){ 0 }, count_name, &cnt);
	ms = ms_since(from);
	print_times("operations", &ms, 1, cnt);
}

int main(int argc, char **argv)
{
	struct bench b = { .spans = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000,
			   .lock = PTHREAD_MUTEX_INITIALIZER,
			   .come = PTHREAD_COND_INITIALIZER };
	const struct store_cfg cfg = { .where = argc > 2 ? argv[2] : "build/bench-engine" };
	uint64_t from, cpu, making;
	char why[STORE_WHY_MAX];
	struct store_stats s;

	if (store_open(&cfg, &b.store, why)) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	from = clock_mono_ns();
	cpu = cpu_ns();
	making = fill(&b);
	cpu = cpu_ns() - cpu - making;
	printf("%llu spans in %.1f s; %llu batches acknowledged, %llu not\n",
	       (unsigned long long)b.spans, ms_since(from) / 1000, (unsigned long long)b.acked,
	       (unsigned long long)b.failed);
	printf("  push to durable: %.0f spans/s per core, %.2f us CPU/span\n",
	       (double)b.spans * 1e9 / (double)cpu, (double)cpu / 1000 / (double)b.spans);
	print_memory();
	from = cpu_ns();
	store_close(b.store);
	if (store_open(&cfg, &b.store, why) || store_stats(b.store, &s))
		return 1;
	printf("  closing and opening: %.2f s of CPU\n", (double)(cpu_ns() - from) / 1e9);
	printf("  %llu spans, %llu traces, %llu blocks: %.2f B/span\n", (unsigned long long)s.spans,
	       (unsigned long long)s.traces, (unsigned long long)s.blocks,
	       (double)s.bytes / (double)s.spans);
	find_ids(&b);
	search_all(&b);
	list_names(&b);
	print_memory();
	store_close(b.store);
	return 0;
}

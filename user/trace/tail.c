/* SPDX-License-Identifier: Apache-2.0 */
/* Tail sampling: what an operation usually takes, what was seen before, and fair shares. */
#include "trace/tail.h"

#include "core/clock.h"

#include <stdlib.h>
#include <xxhash.h>

#define OPERATIONS_MAX 4096  /* power of two; the table has twice as many slots */
#define SEEN_MAX       65536 /* power of two, likewise */
#define BUCKETS	       240   /* 8 a doubling, from 1 us on: up to 2^30 us */
#define SLOW_AFTER     100   /* durations before an operation knows what is slow */
#define FADE_NS	       (60 * NS_PER_S)
#define IDLE_SECONDS   600

struct operation {
	uint64_t hash; /* 0: free */
	uint32_t bucket[BUCKETS];
	uint32_t durations;
	uint32_t traces;    /* in this second */
	uint32_t idle_s;    /* seconds without a trace */
	double per_s;	    /* traces, smoothed */
	uint64_t threshold; /* of its share */
};

struct tail {
	double traces_per_s;
	uint64_t tick_ns, fade_ns;
	uint64_t crowded;
	uint32_t operation_cnt, seen_cnt;
	struct operation *operation[OPERATIONS_MAX * 2];
	struct operation crowd; /* of those without a row */
	uint64_t seen[SEEN_MAX * 2];
};

/* ---- operations --------------------------------------------------------------------------- */

static uint64_t operation_hash(const struct span *s)
{
	uint64_t h = XXH3_64bits(s->resource->service.p, s->resource->service.len);

	h = XXH3_64bits_withSeed(s->name.p, s->name.len, h ^ (uint64_t)s->kind);
	return h ? h : 1;
}

static struct operation *operation_of(struct tail *t, const struct span *s)
{
	uint64_t hash = operation_hash(s), mask = ARRAY_LEN(t->operation) - 1, at = hash & mask;

	for (; t->operation[at]; at = (at + 1) & mask) {
		if (t->operation[at]->hash == hash)
			return t->operation[at];
	}
	if (t->operation_cnt < OPERATIONS_MAX)
		t->operation[at] = calloc(1, sizeof(*t->operation[at]));
	if (!t->operation[at]) {
		t->crowded++;
		return &t->crowd;
	}
	t->operation_cnt++;
	t->operation[at]->hash = hash;
	return t->operation[at];
}

/* 8 buckets a doubling: 9 % apart. */
static unsigned int bucket_of(uint64_t duration_ns)
{
	uint64_t us = duration_ns / NS_PER_US;
	unsigned int log;

	if (us < 8)
		return (unsigned int)us;
	log = 63 - (unsigned int)__builtin_clzll(us);
	return MIN((log - 2) * 8 + (unsigned int)(us >> (log - 3) & 7), BUCKETS - 1u);
}

/* Is it above 99 % of what this operation took before? Then remembers it. */
static bool is_slow(struct operation *o, const struct span *s)
{
	unsigned int at = bucket_of(s->end_ns - s->start_ns);
	uint64_t above = 0;

	for (unsigned int i = at; i < BUCKETS; i++)
		above += o->bucket[i];
	o->bucket[at]++;
	o->durations++;
	return o->durations > SLOW_AFTER && above * 100 < o->durations;
}

static void fade(struct operation *o)
{
	o->durations = 0;
	for (unsigned int i = 0; i < BUCKETS; i++) {
		o->bucket[i] -= o->bucket[i] / 2;
		/* a single one would never go */
		o->bucket[i] -= o->bucket[i] == 1;
		o->durations += o->bucket[i];
	}
}

/* ---- what was never seen ------------------------------------------------------------------ */

static uint64_t kind_hash(const struct span *s)
{
	static const char *const keys[] = { "error.type", "db.response.status_code" };
	struct attr *status = attrs_find(&s->attrs, STR("http.response.status_code"));
	uint64_t h = operation_hash(s) ^ (uint64_t)s->status << 56;

	if (status && status->value.type == VALUE_INT)
		h = XXH3_64bits_withSeed(&status->value.i, sizeof(status->value.i), h);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct str v = attrs_str(&s->attrs, keys[i]);

		if (v.len)
			h = XXH3_64bits_withSeed(v.p, v.len, h + i);
	}
	return h ? h : 1;
}

static bool is_new(struct tail *t, const struct span *s)
{
	uint64_t hash = kind_hash(s), mask = ARRAY_LEN(t->seen) - 1, at = hash & mask;

	for (; t->seen[at]; at = (at + 1) & mask) {
		if (t->seen[at] == hash)
			return false;
	}
	if (t->seen_cnt == SEEN_MAX) {
		t->crowded++;
		return false;
	}
	t->seen_cnt++;
	t->seen[at] = hash;
	return true;
}

/* ---- shares ------------------------------------------------------------------------------- */

static int by_rate(const void *a, const void *b)
{
	double x = (*(struct operation *const *)a)->per_s,
	       y = (*(struct operation *const *)b)->per_s;
	return (x > y) - (x < y);
}

/* Water filling: the rare ones in full, what they leave is parted among the others. */
static void share_out(struct tail *t, struct operation **sorted, size_t cnt)
{
	double left = t->traces_per_s;

	qsort(sorted, cnt, sizeof(struct operation *), by_rate);
	for (size_t i = 0; i < cnt; i++) {
		struct operation *o = sorted[i];
		double part = left / (double)(cnt - i);

		o->threshold =
			o->per_s <= part ? 0 : (uint64_t)((1 - part / o->per_s) * THRESHOLD_ALL);
		left -= MIN(o->per_s, part);
	}
}

static void measure(struct operation *o, double seconds)
{
	double now = o->traces / seconds;

	/* up at once, so that a burst is met; down slowly */
	o->per_s = now > o->per_s ? now : o->per_s * 0.8 + now * 0.2;
	o->idle_s = o->traces ? 0 : o->idle_s + 1;
	o->traces = 0;
}

/* Open addressing: those after a freed slot are put again. */
static void forget_idle(struct tail *t)
{
	struct operation *keep[OPERATIONS_MAX];
	uint64_t mask = ARRAY_LEN(t->operation) - 1;
	size_t cnt = 0;

	for (size_t i = 0; i < ARRAY_LEN(t->operation); i++) {
		if (t->operation[i] && t->operation[i]->idle_s < IDLE_SECONDS)
			keep[cnt++] = t->operation[i];
		else
			free(t->operation[i]);
		t->operation[i] = NULL;
	}
	t->operation_cnt = (uint32_t)cnt;
	for (size_t i = 0; i < cnt; i++) {
		uint64_t at = keep[i]->hash & mask;

		while (t->operation[at])
			at = (at + 1) & mask;
		t->operation[at] = keep[i];
	}
}

/* ---- public ------------------------------------------------------------------------------- */

struct tail *tail_new(double traces_per_s)
{
	struct tail *t = calloc(1, sizeof(*t));

	if (t)
		t->traces_per_s = traces_per_s;
	return t;
}

enum tail_why tail_decide(struct tail *t, const struct trace *tr, uint64_t *ret_threshold)
{
	bool error = false, slow = false, fresh = false;
	const struct span *first = tr->spans[tr->root >= 0 ? tr->root : 0];
	struct operation *o = operation_of(t, first);

	*ret_threshold = 0;
	for (uint32_t i = 0; i < tr->span_cnt; i++) {
		const struct span *s = tr->spans[i];

		error |= s->status == STATUS_ERROR;
		fresh |= is_new(t, s);
		if (s == first || s->kind == SPAN_SERVER || s->kind == SPAN_CONSUMER)
			slow |= is_slow(s == first ? o : operation_of(t, s), s);
	}
	o->traces++;
	if (error)
		return TAIL_ERROR;
	if (slow)
		return TAIL_SLOW;
	if (fresh)
		return TAIL_NEW;
	if (trace_randomness(&tr->id, first->trace_state) < o->threshold)
		return TAIL_REJECTED;
	*ret_threshold = o->threshold;
	return TAIL_SHARE;
}

void tail_tick(struct tail *t, uint64_t now_ns)
{
	struct operation *active[OPERATIONS_MAX + 1];
	double seconds = (double)(now_ns - t->tick_ns) / NS_PER_S;
	bool idle = false, fades;
	size_t cnt = 0;

	if (!t->tick_ns)
		t->tick_ns = t->fade_ns = now_ns;
	if (now_ns - t->tick_ns < NS_PER_S)
		return;
	fades = now_ns - t->fade_ns >= FADE_NS;
	for (size_t i = 0; i < ARRAY_LEN(t->operation); i++) {
		struct operation *o = t->operation[i];

		if (!o)
			continue;
		measure(o, seconds);
		if (fades)
			fade(o);
		idle |= o->idle_s >= IDLE_SECONDS;
		if (o->per_s > 0)
			active[cnt++] = o;
	}
	measure(&t->crowd, seconds);
	active[cnt++] = &t->crowd;
	share_out(t, active, cnt);
	if (idle)
		forget_idle(t);
	t->tick_ns = now_ns;
	if (fades)
		t->fade_ns = now_ns;
}

uint64_t tail_crowded(const struct tail *t)
{
	return t->crowded;
}

void tail_free(struct tail *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < ARRAY_LEN(t->operation); i++)
		free(t->operation[i]);
	free(t);
}

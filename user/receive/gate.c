/* SPDX-License-Identifier: Apache-2.0 */
/* Limits that all server threads share: rate, memory; and what requests came to. */
#include "receive/server.h"

#include "core/clock.h"

#define BODY_MAX_DEFAULT    (64u << 20)
#define MEMORY_MAX_DEFAULT  (256u << 20)
#define CONNECTIONS_DEFAULT 2000
#define SECONDS_DEFAULT	    60

static double read_count(void *ctx)
{
	return (double)book_read(ctx);
}

/* Defaults stand for zeros. */
static void set_cfg(struct receive_cfg *to, const struct receive_cfg *from)
{
	*to = *from;
	to->http_threads = to->http_threads ? to->http_threads : 1;
	to->grpc_threads = to->grpc_threads ? to->grpc_threads : 1;
	to->connections_max = to->connections_max ? to->connections_max : CONNECTIONS_DEFAULT;
	to->idle_s = to->idle_s ? to->idle_s : SECONDS_DEFAULT;
	to->request_s = to->request_s ? to->request_s : SECONDS_DEFAULT;
	to->body_max = to->body_max ? to->body_max : BODY_MAX_DEFAULT;
	to->memory_max = to->memory_max ? to->memory_max : MEMORY_MAX_DEFAULT;
	to->memory_max = MAX(to->memory_max, 2 * to->body_max);
}

static void bucket_init(struct bucket *b, uint64_t rate)
{
	*b = (struct bucket){ .rate = rate, .level = (double)rate, .filled_ns = clock_mono_ns() };
}

void gate_init(struct gate *g, const struct receive_cfg *cfg)
{
	static const struct gauge gauges[GATE_GAUGES] = {
		[OUTCOME_ACCEPTED] = { "receive_requests_accepted_total",
				       "Requests whose spans were all kept.", "counter" },
		[OUTCOME_PARTIAL] = { "receive_requests_partial_total",
				      "Requests of which some spans were rejected.", "counter" },
		[OUTCOME_INVALID] = { "receive_requests_invalid_total",
				      "Requests that could not be understood or were too large.",
				      "counter" },
		[OUTCOME_THROTTLED] = { "receive_requests_throttled_total",
					"Requests refused for their rate.", "counter" },
		[OUTCOME_UNAVAILABLE] = { "receive_requests_unavailable_total",
					  "Requests that could not be kept now.", "counter" },
		[OUTCOME_CNT] = { "receive_held_bytes", "Memory of requests being received.",
				  "gauge" },
		[OUTCOME_CNT + 1] = { "receive_grpc_connections", "Open gRPC connections.",
				      "gauge" },
		[OUTCOME_CNT + 2] = { "receive_late_total",
				      "Connections and calls ended: too slow in sending a request "
				      "or in taking its answer.",
				      "counter" },
	};
	uint64_t *figure[] = { &g->held, &g->connections, &g->late };

	memset(g, 0, sizeof(*g));
	set_cfg(&g->cfg, cfg);
	pthread_mutex_init(&g->lock, NULL);
	bucket_init(&g->requests, cfg->requests_per_s);
	bucket_init(&g->bytes, cfg->bytes_per_s);
	for (size_t i = 0; i < GATE_GAUGES; i++) {
		g->gauge[i] = gauges[i];
		g->gauge[i].read = read_count;
		g->gauge[i].ctx = i < OUTCOME_CNT ? &g->cnt[i] : figure[i - OUTCOME_CNT];
		/* without room in the registry they are not shown */
		gauges_register(&g->gauge[i]);
	}
}

void gate_fini(struct gate *g)
{
	for (size_t i = 0; i < GATE_GAUGES; i++)
		gauges_unregister(&g->gauge[i]);
	pthread_mutex_destroy(&g->lock);
}

/* Seconds until the bucket is even; 0: it is. */
static uint32_t bucket_wait(struct bucket *b, uint64_t now_ns)
{
	double rate = (double)b->rate;

	if (!b->rate)
		return 0;
	b->level += (double)(now_ns - b->filled_ns) / NS_PER_S * rate;
	b->level = MIN(b->level, rate);
	b->filled_ns = now_ns;
	return b->level > 0 ? 0 : 1 + (uint32_t)MIN(-b->level / rate, 3600.0);
}

uint32_t gate_admit(struct gate *g)
{
	uint64_t now_ns;
	uint32_t wait_s, other_s;

	if (!g->requests.rate && !g->bytes.rate)
		return 0;
	pthread_mutex_lock(&g->lock);
	now_ns = clock_mono_ns();
	wait_s = bucket_wait(&g->requests, now_ns);
	other_s = bucket_wait(&g->bytes, now_ns);
	wait_s = MAX(wait_s, other_s);
	if (!wait_s)
		g->requests.level -= 1;
	pthread_mutex_unlock(&g->lock);
	return wait_s;
}

void gate_charge(struct gate *g, size_t bytes)
{
	if (!g->bytes.rate)
		return;
	pthread_mutex_lock(&g->lock);
	g->bytes.level -= (double)bytes;
	pthread_mutex_unlock(&g->lock);
}

bool gate_hold(struct gate *g, size_t bytes)
{
	if (__atomic_add_fetch(&g->held, bytes, __ATOMIC_RELAXED) <= g->cfg.memory_max)
		return true;
	gate_release(g, bytes);
	return false;
}

void gate_release(struct gate *g, size_t bytes)
{
	__atomic_sub_fetch(&g->held, bytes, __ATOMIC_RELAXED);
}

void gate_count(struct gate *g, enum outcome o)
{
	__atomic_add_fetch(&g->cnt[o], 1, __ATOMIC_RELAXED);
}

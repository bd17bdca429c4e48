/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling: the head's decisions here, the tail's in tail.c on what assemble.c puts together. */
#include "trace/sample.h"

#include "core/books.h"
#include "core/clock.h"
#include "core/glob.h"
#include "trace/tail.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

#define DEFAULT_TRACES_PER_S 100
#define DEFAULT_TAIL_BYTES   ((size_t)256 << 20)
#define DEFAULT_MAX_WAIT_NS  (4 * NS_PER_S)
#define DECISIONS	     (1u << 18) /* traces remembered, 16 bytes each */
#define DECISION_WAYS	     8		/* the latest of those whose hash is alike */

/* Flags of trace.proto. */
#define FLAG_SAMPLED	  0x001u
#define FLAG_REMOTE_KNOWN 0x100u

enum { DROPPED_NEVER, DROPPED_RATIO, DROPPED_RATE, DROPPED_PARENT, DROPPED_LATE };
enum { DROPPED_TAIL };

/* What was decided for a trace; rejected is THRESHOLD_ALL. */
struct decision {
	uint64_t hash;
	uint64_t threshold;
};

struct sampler {
	struct sample_cfg cfg;
	struct span_sink tail_out;
	pthread_mutex_t lock;
	uint64_t threshold; /* of SAMPLE_RATIO; of SAMPLE_RATE as the traffic wants it */
	uint64_t now_ns;
	uint64_t second_ns;	    /* SAMPLE_RATE: when this second began */
	uint64_t traces;	    /* in it */
	double per_s;		    /* traces, smoothed */
	double left;		    /* that may be kept now: at most a second's */
	struct decision *decisions; /* SAMPLE_RATE, SAMPLE_TAIL */
	struct assemble *assemble;  /* SAMPLE_TAIL */
	struct tail *tail;
	uint64_t late;
	uint64_t kept_by[TAIL_WHYS];
	struct books books;
	struct books tail_books; /* after the trace room's own, of what waits */
	struct gauge gauge[TAIL_WHYS + 1];
};

static uint64_t threshold_of(double ratio)
{
	return ratio >= 1   ? 0
	       : ratio <= 0 ? THRESHOLD_ALL
			    : (uint64_t)((1 - ratio) * THRESHOLD_ALL);
}

/* ---- decisions remembered ----------------------------------------------------------------- */

static uint64_t id_hash(const struct trace_id *id)
{
	uint64_t h = XXH3_64bits(id->b, sizeof(id->b));
	return h ? h : 1;
}

/* The newest is the first of its set. */
static struct decision *decision_set(struct sampler *s, uint64_t hash)
{
	return &s->decisions[(hash & (DECISIONS / DECISION_WAYS - 1)) * DECISION_WAYS];
}

/* NULL: none is remembered. */
static struct decision *decision_find(struct sampler *s, uint64_t hash)
{
	struct decision *set = decision_set(s, hash);

	for (int i = 0; i < DECISION_WAYS; i++)
		if (set[i].hash == hash)
			return &set[i];
	return NULL;
}

static struct decision *decision_add(struct sampler *s, uint64_t hash, uint64_t threshold)
{
	struct decision *set = decision_set(s, hash);

	memmove(set + 1, set, (DECISION_WAYS - 1) * sizeof(*set));
	set[0] = (struct decision){ hash, threshold };
	return set;
}

/* ---- the head ----------------------------------------------------------------------------- */

/* As many a second as are wanted: a ratio that fits the last second, and a hard limit, whose
 * rejects no span stands for. */
static uint64_t rate_threshold(struct sampler *s, const struct span *sp)
{
	uint64_t hash = id_hash(&sp->trace_id);
	struct decision *d = decision_find(s, hash);

	if (d)
		return d->threshold;
	s->traces++;
	d = decision_add(s, hash, s->threshold);
	if (trace_randomness(&sp->trace_id, sp->trace_state) < s->threshold)
		return d->threshold;
	if (s->left < 1)
		d->threshold = THRESHOLD_ALL;
	else
		s->left--;
	return d->threshold;
}

/* So far below the limit that chance alone seldom reaches it: by one standard deviation. */
static double rate_aim(double limit)
{
	return MAX(limit - sqrt(limit), limit / 2);
}

static void rate_tick(struct sampler *s, uint64_t before_ns)
{
	double seconds = (double)(s->now_ns - s->second_ns) / NS_PER_S, now;

	s->left = MIN(s->left + s->cfg.traces_per_s * (double)(s->now_ns - before_ns) / NS_PER_S,
		      MAX(s->cfg.traces_per_s, 1));
	if (seconds < 1)
		return;
	now = (double)s->traces / seconds;
	s->per_s = now > s->per_s ? now : s->per_s * 0.8 + now * 0.2;
	s->threshold = s->per_s > 0 ? threshold_of(rate_aim(s->cfg.traces_per_s) / s->per_s) : 0;
	s->traces = 0;
	s->second_ns = s->now_ns;
}

static const struct sample_rule *rule_of(const struct sampler *s, const struct span *sp)
{
	for (uint32_t i = 0; i < s->cfg.rule_cnt; i++) {
		if (glob_match(s->cfg.rules[i].service, sp->resource->service))
			return &s->cfg.rules[i];
	}
	return NULL;
}

/* The threshold that decides the span; ret_reason: if it is rejected by that. */
static uint64_t head_threshold(struct sampler *s, const struct span *sp,
			       const struct sample_rule *rule, int *ret_reason)
{
	*ret_reason = DROPPED_RATIO;
	if (rule)
		return threshold_of(rule->ratio);
	switch (s->cfg.how) {
	case SAMPLE_NEVER: *ret_reason = DROPPED_NEVER; return THRESHOLD_ALL;
	case SAMPLE_RATE: *ret_reason = DROPPED_RATE; return rate_threshold(s, sp);
	case SAMPLE_RATIO: return s->threshold;
	case SAMPLE_ALWAYS:
	case SAMPLE_TAIL: break;
	}
	return 0;
}

/* Passes on with the threshold in its tracestate, where that is above what it says already. */
static void pass_on(const struct span *sp, uint64_t threshold, struct span_sink out)
{
	char buf[TRACESTATE_MAX];
	struct span copy;

	if (threshold && threshold > tracestate_threshold(sp->trace_state)) {
		copy = *sp;
		copy.trace_state = tracestate_with_threshold(sp->trace_state, threshold, buf);
		sp = &copy;
		if (!copy.trace_state.len)
			copy.trace_state = tracestate_with_threshold(STR(""), threshold, buf);
	}
	out.push(out.ctx, sp);
}

/* ---- the tail ----------------------------------------------------------------------------- */

static void decide_trace(void *ctx, const struct trace *t)
{
	struct sampler *s = ctx;
	uint64_t threshold;
	enum tail_why why = tail_decide(s->tail, t, &threshold);

	decision_add(s, id_hash(&t->id), why == TAIL_REJECTED ? THRESHOLD_ALL : threshold);
	book_add(&s->kept_by[why], 1);
	book_add(&s->tail_books.in, t->span_cnt);
	if (why == TAIL_REJECTED) {
		book_add(&s->tail_books.dropped[DROPPED_TAIL], t->span_cnt);
		return;
	}
	for (uint32_t i = 0; i < t->span_cnt; i++)
		pass_on(t->spans[i], threshold, s->tail_out);
	book_add(&s->tail_books.out, t->span_cnt);
}

/* Keeps it for its trace's decision, or goes by that: a failed one is kept, and what comes of its
 * trace from then on. */
static bool admit_tail(struct sampler *s, const struct span *sp, uint64_t *threshold)
{
	struct decision *d = decision_find(s, id_hash(&sp->trace_id));

	if (!d) {
		assemble_push(s->assemble, sp);
		book_add(&s->books.out, 1);
		return false;
	}
	book_add(&s->late, 1);
	if (d->threshold == THRESHOLD_ALL && sp->status == STATUS_ERROR)
		d->threshold = 0;
	if (d->threshold == THRESHOLD_ALL) {
		book_add(&s->books.dropped[DROPPED_LATE], 1);
		return false;
	}
	*threshold = MAX(*threshold, d->threshold);
	book_add(&s->books.out, 1);
	return true;
}

/* ---- public ------------------------------------------------------------------------------- */

static double read_count(void *ctx)
{
	return (double)book_read(ctx);
}

static void register_figures(struct sampler *s)
{
	static const struct gauge figures[] = {
		{ "sample_tail_rejected_total", "traces not kept", "counter", read_count, NULL },
		{ "sample_tail_error_total", "traces kept for a failure", "counter", read_count,
		  NULL },
		{ "sample_tail_slow_total", "traces kept for their duration", "counter", read_count,
		  NULL },
		{ "sample_tail_new_total", "traces kept as the first of a kind", "counter",
		  read_count, NULL },
		{ "sample_tail_share_total", "traces kept as their operation's share", "counter",
		  read_count, NULL },
		{ "sample_tail_late_total", "spans that came after their trace's decision",
		  "counter", read_count, NULL },
	};

	s->books = (struct books){
		.stage = "sample",
		.unit = "span",
		.reason = { [DROPPED_NEVER] = "never",
			    [DROPPED_RATIO] = "ratio",
			    [DROPPED_RATE] = "rate",
			    [DROPPED_PARENT] = "parent_not_sampled",
			    [DROPPED_LATE] = "late" },
	};
	books_register(&s->books);
	s->tail_books = (struct books){ .stage = "sample_tail",
					.unit = "span",
					.reason = { [DROPPED_TAIL] = "tail" } };
	if (s->tail)
		books_register(&s->tail_books);
	for (int i = 0; s->tail && i <= TAIL_WHYS; i++) {
		s->gauge[i] = figures[i];
		s->gauge[i].ctx = i < TAIL_WHYS ? &s->kept_by[i] : &s->late;
		gauges_register(&s->gauge[i]);
	}
}

static int tail_open(struct sampler *s)
{
	const struct assemble_cfg cfg = { .quiet_ns = s->cfg.quiet_ns,
					  .max_wait_ns = s->cfg.max_wait_ns,
					  .max_bytes = s->cfg.tail_bytes };

	s->tail = tail_new(s->cfg.traces_per_s);
	s->assemble = assemble_new(&cfg, (struct trace_sink){ s, decide_trace });
	return s->tail && s->assemble ? 0 : -1;
}

struct sampler *sampler_new(const struct sample_cfg *cfg, struct span_sink tail)
{
	struct sampler *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->cfg = *cfg;
	s->tail_out = tail;
	pthread_mutex_init(&s->lock, NULL);
	if (s->cfg.traces_per_s <= 0)
		s->cfg.traces_per_s = DEFAULT_TRACES_PER_S;
	s->left = MAX(s->cfg.traces_per_s, 1);
	if (!s->cfg.tail_bytes)
		s->cfg.tail_bytes = DEFAULT_TAIL_BYTES;
	if (!s->cfg.max_wait_ns)
		s->cfg.max_wait_ns = DEFAULT_MAX_WAIT_NS;
	if (!s->cfg.quiet_ns)
		s->cfg.quiet_ns = s->cfg.max_wait_ns / 2;
	if (s->cfg.how == SAMPLE_RATIO)
		s->threshold = threshold_of(s->cfg.ratio);
	if (s->cfg.how == SAMPLE_RATE || s->cfg.how == SAMPLE_TAIL)
		s->decisions = calloc(DECISIONS, sizeof(*s->decisions));
	if ((!s->decisions && (s->cfg.how == SAMPLE_RATE || s->cfg.how == SAMPLE_TAIL)) ||
	    (s->cfg.how == SAMPLE_TAIL && tail_open(s))) {
		sampler_free(s);
		return NULL;
	}
	register_figures(s);
	return s;
}

/* Of captured spans alone: an SDK that sends a span has heard its caller already, and many leave
 * the sampled flag out of what they send. */
static bool caller_said_no(const struct span *sp)
{
	return (sp->flags & (FLAG_REMOTE_KNOWN | FLAG_SAMPLED)) == FLAG_REMOTE_KNOWN &&
	       str_eq(sp->scope->name, scope_capture.name);
}

/* What a sampler before ours rejected. One that let through what it says to have rejected did not
 * go by these digits: it decides nothing here. */
static uint64_t threshold_before(const struct span *sp, uint64_t randomness)
{
	uint64_t threshold = tracestate_threshold(sp->trace_state);

	return threshold <= randomness ? threshold : 0;
}

/* Whether it goes on now, and by which threshold. Under the lock. */
static bool admit(struct sampler *s, const struct span *sp, uint64_t *ret_threshold)
{
	uint64_t randomness = trace_randomness(&sp->trace_id, sp->trace_state);
	const struct sample_rule *rule = rule_of(s, sp);
	int reason;

	book_add(&s->books.in, 1);
	if (s->cfg.follow_parent && caller_said_no(sp)) {
		book_add(&s->books.dropped[DROPPED_PARENT], 1);
		return false;
	}
	*ret_threshold =
		MAX(head_threshold(s, sp, rule, &reason), threshold_before(sp, randomness));
	if (*ret_threshold >= THRESHOLD_ALL || randomness < *ret_threshold) {
		book_add(&s->books.dropped[reason], 1);
		return false;
	}
	if (s->cfg.how == SAMPLE_TAIL && !rule)
		return admit_tail(s, sp, ret_threshold);
	book_add(&s->books.out, 1);
	return true;
}

void sampler_push(struct sampler *s, const struct span *sp, struct span_sink out)
{
	uint64_t threshold = 0;
	bool now;

	pthread_mutex_lock(&s->lock);
	now = admit(s, sp, &threshold);
	pthread_mutex_unlock(&s->lock);
	if (now)
		pass_on(sp, threshold, out);
}

void sampler_tick(struct sampler *s, uint64_t now_ns)
{
	uint64_t before_ns;

	pthread_mutex_lock(&s->lock);
	before_ns = s->now_ns ? s->now_ns : now_ns;
	s->now_ns = now_ns;
	if (!s->second_ns)
		s->second_ns = now_ns;
	if (s->cfg.how == SAMPLE_RATE)
		rate_tick(s, before_ns);
	if (s->assemble) {
		assemble_tick(s->assemble, now_ns);
		tail_tick(s->tail, now_ns);
	}
	pthread_mutex_unlock(&s->lock);
}

void sampler_flush(struct sampler *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->assemble)
		assemble_flush(s->assemble);
	pthread_mutex_unlock(&s->lock);
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	if (s->books.stage)
		books_unregister(&s->books);
	if (s->tail_books.stage)
		books_unregister(&s->tail_books);
	for (int i = 0; i <= TAIL_WHYS; i++)
		if (s->gauge[i].name)
			gauges_unregister(&s->gauge[i]);
	assemble_free(s->assemble);
	tail_free(s->tail);
	free(s->decisions);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints in turn, put aside while they fail. */
#include "export/delivery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/clock.h"
#include "core/log.h"

/* ---- states ---- */

static const char *what_follows(const struct delivery *d, enum endpoint_state state)
{
	switch (state) {
	case ENDPOINT_FINE: return "works again";
	case ENDPOINT_DOWN: return "spans are held and sent again";
	case ENDPOINT_REFUSES:
		return d->cnt > 1 ? "refused for good; the other endpoints are tried"
				  : "refused for good, its spans are dropped";
	default: return "it took a part only, or warns";
	}
}

static void set_state(struct delivery *d, struct endpoint *ep, enum endpoint_state state,
		      const char *text)
{
	enum endpoint_state was = ep->state;

	pthread_mutex_lock(&d->queue->lock);
	ep->state = state;
	if (state != was)
		ep->since_ns = clock_mono_ns();
	snprintf(ep->text, sizeof(ep->text), "%s", text);
	pthread_mutex_unlock(&d->queue->lock);
	if (state == was)
		return;
	if ((state == ENDPOINT_DOWN) != (was == ENDPOINT_DOWN))
		__atomic_add_fetch(&d->down, state == ENDPOINT_DOWN ? 1 : -1, __ATOMIC_RELAXED);
	if (state == ENDPOINT_FINE)
		log_info("export %s to %s: %s", d->name, ep->shown, what_follows(d, state));
	else
		log_warn("export %s to %s: %s; %s", d->name, ep->shown, text,
			 what_follows(d, state));
}

/* ms: what it asked for; 0: nothing. */
static void put_aside(struct delivery *d, struct endpoint *ep, uint64_t ms)
{
	uint32_t chance;

	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != sizeof(chance))
		chance = UINT32_MAX / 2;
	ep->fails++;
	ep->asked = ms > 0;
	if (!ep->asked)
		ms = retry_delay_ms(&d->policy, ep->fails, chance);
	ep->aside_ns = clock_mono_ns() + ms * NS_PER_MS;
}

/* What another took was not the body's fault. */
static void put_refusing_aside(struct delivery *d, uint64_t refused)
{
	for (size_t i = 0; i < d->cnt; i++)
		if (refused >> i & 1)
			put_aside(d, &d->endpoint[i], 0);
}

/* An answer that ends the matter for this endpoint, one way or the other. */
static struct outcome judge(struct delivery *d, struct endpoint *ep, const struct verdict *v,
			    uint64_t cnt)
{
	uint64_t lost = v->what == VERDICT_REFUSED ? cnt : MIN(v->rejected, cnt);

	if (v->what != VERDICT_REFUSED)
		ep->fails = 0;
	ep->aside_ns = 0;
	d->gave_up = false;
	if (v->what == VERDICT_REFUSED)
		set_state(d, ep, ENDPOINT_REFUSES, v->text);
	else if (lost || v->text[0])
		set_state(d, ep, ENDPOINT_PARTIAL, v->text[0] ? v->text : "rejected spans");
	else
		set_state(d, ep, ENDPOINT_FINE, "");
	return (struct outcome){ lost, v->what == VERDICT_REFUSED ? DROP_REFUSED : DROP_REJECTED };
}

/* ---- choosing and waiting ---- */

/* The next in turn that is not aside, else the one that comes back first. A body that some have
 * refused, by their places, is not waited with: NULL when no other works now. */
static struct endpoint *choose(struct delivery *d, uint64_t refused)
{
	uint64_t now = clock_mono_ns();
	size_t best = d->next;
	bool works = false;

	for (size_t i = 0; i < d->cnt && !works; i++) {
		size_t at = (d->next + i) % d->cnt;

		if (refused >> at & 1)
			continue;
		works = d->endpoint[at].aside_ns <= now;
		if (works || d->endpoint[at].aside_ns < d->endpoint[best].aside_ns)
			best = at;
	}
	if (refused && !works)
		return NULL;
	d->next = (best + 1) % d->cnt;
	return &d->endpoint[best];
}

/*
 * Waits until the endpoint may be tried, but not past 'until'. False when its time would come
 * after the end. A wait of our own choosing is cut short when the end is announced; one that the
 * endpoint asked for is not.
 */
static bool wait_for(struct delivery *d, const struct endpoint *ep, uint64_t until)
{
	struct queue *q = d->queue;
	bool ok = true, announced;

	until = MIN(until, ep->aside_ns);
	pthread_mutex_lock(&q->lock);
	announced = q->stop;
	while (ok && clock_mono_ns() < until) {
		if (q->stop && !ep->asked && !announced)
			break;
		ok = !q->stop || until < q->stop_ns;
		if (ok)
			queue_wait_until(q, until);
	}
	pthread_mutex_unlock(&q->lock);
	return ok && !queue_past_end(q);
}

static struct outcome give_up_on(struct delivery *d, uint64_t cnt)
{
	if (!d->gave_up)
		log_warn("export %s: no endpoint takes spans; the oldest are given up", d->name);
	d->gave_up = true;
	return (struct outcome){ cnt, DROP_GAVE_UP };
}

struct outcome deliver(struct delivery *d, struct str body, uint64_t cnt)
{
	uint64_t give_up = d->give_up_ns ? clock_mono_ns() + d->give_up_ns : UINT64_MAX;
	uint64_t refused = 0; /* by whom: a bit of each place */
	struct outcome o = { cnt, DROP_REFUSED };

	for (bool again = false;; again = true) {
		struct endpoint *ep = choose(d, refused);
		struct verdict v = { 0 };

		if (!ep)
			return o;
		if (!wait_for(d, ep, give_up))
			return (struct outcome){ cnt, DROP_END };
		if (clock_mono_ns() >= give_up)
			return give_up_on(d, cnt);
		__atomic_add_fetch(&d->tries, 1, __ATOMIC_RELAXED);
		if (again)
			__atomic_add_fetch(&d->retries, 1, __ATOMIC_RELAXED);
		d->kind->send(ep->conn, body, &d->queue->stop_ns, &v);
		if (v.what == VERDICT_RETRY) {
			put_aside(d, ep, v.wait_ms);
			set_state(d, ep, ENDPOINT_DOWN, v.text);
			continue;
		}
		o = judge(d, ep, &v, cnt);
		if (v.what == VERDICT_DONE) {
			put_refusing_aside(d, refused);
			return o;
		}
		refused |= 1ull << (ep - d->endpoint);
	}
}

void delivery_wake(struct delivery *d)
{
	for (size_t i = 0; i < d->cnt; i++)
		if (d->kind->wake)
			d->kind->wake(d->endpoint[i].conn);
}

void delivery_tell(struct delivery *d, struct buf *out)
{
	static const char *const what[] = { [ENDPOINT_DOWN] = "fails",
					    [ENDPOINT_REFUSES] = "refuses spans for good",
					    [ENDPOINT_PARTIAL] = "takes a part only, or warns" };
	uint64_t now = clock_mono_ns();
	const struct endpoint *first = NULL;
	size_t bad = 0;

	pthread_mutex_lock(&d->queue->lock);
	for (size_t i = 0; i < d->cnt; i++) {
		const struct endpoint *ep = &d->endpoint[i];

		bad += ep->state != ENDPOINT_FINE;
		if (ep->state != ENDPOINT_FINE && !first)
			first = ep;
	}
	if (first)
		buf_printf(out, "%s %s since %llu s: %s", first->shown, what[first->state],
			   (unsigned long long)((now - MIN(now, first->since_ns)) / NS_PER_S),
			   first->text);
	pthread_mutex_unlock(&d->queue->lock);
	if (first && d->cnt > 1)
		buf_printf(out, "; %zu of %zu endpoints are so", bad, d->cnt);
}

/* ---- life ---- */

static int add_endpoint(struct delivery *d, const struct exporter_cfg *cfg, const char *endpoint,
			char why[EXPORTER_WHY_MAX])
{
	struct endpoint *ep = &d->endpoint[d->cnt];
	int err = d->kind->open(cfg, endpoint, &ep->conn, why);

	if (err)
		return err;
	/* A path or a list of brokers is no URL, and holds no secret. */
	if (strstr(endpoint, "://"))
		err = url_without_secrets(endpoint, &ep->shown);
	else
		ep->shown = strdup(endpoint);
	d->cnt++; /* to be closed, whatever comes */
	if (err || !ep->shown)
		return refuse(why, err ? err : -ENOMEM, "an endpoint cannot be shown");
	return 0;
}

static int add_whole(struct delivery *d, const struct exporter_cfg *cfg, char why[EXPORTER_WHY_MAX])
{
	struct buf list = { 0 };
	int err = 0;

	for (size_t i = 0; i < cfg->endpoint_cnt; i++)
		err |= buf_printf(&list, "%s%s", i ? "," : "", cfg->endpoints[i]);
	err = err ? refuse(why, -ENOMEM, "no memory") : add_endpoint(d, cfg, list.p, why);
	buf_fini(&list);
	return err;
}

int delivery_init(struct delivery *d, const struct exporter_cfg *cfg, char why[EXPORTER_WHY_MAX])
{
	int err = 0;

	if (!cfg->endpoint_cnt)
		return refuse(why, -EINVAL, "no endpoint");
	if (cfg->endpoint_cnt > ENDPOINTS_MAX)
		return refuse(why, -E2BIG, "more than %d endpoints", ENDPOINTS_MAX);
	if (d->kind->whole)
		return add_whole(d, cfg, why);
	for (size_t i = 0; !err && i < cfg->endpoint_cnt; i++)
		err = add_endpoint(d, cfg, cfg->endpoints[i], why);
	return err;
}

void delivery_fini(struct delivery *d)
{
	for (size_t i = 0; i < d->cnt; i++) {
		d->kind->close(d->endpoint[i].conn);
		free(d->endpoint[i].shown);
	}
}

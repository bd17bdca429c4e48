/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A proxy on one event loop, simulated with everything that happens to be ready in random order:
 * each request asks one to three times before it is answered, sometimes later than at once, over a
 * pool of connections. The truth is known, so: every parent that is given must be the right one.
 * How many are given is printed.
 */
#include "unit/span/play.h"

#define PROXY	 100
#define REQUESTS 1500
#define LANES	 32 /* most requests at once */
#define POOL	 64

enum step { IDLE, READ, RUNNABLE, ASKED, HEARD };

struct lane {
	struct conn in;
	enum step step;
	uint64_t pos;
	int asks_left;
	int out; /* index of the connection in use */
};

/* How a program takes its events: what it does with one before it looks at the next. */
struct style {
	const char *name;
	enum runtime runtime;
	bool at_once;  /* handles an event as soon as it is read; else reads all, then runs */
	int deferred;  /* of 100 requests, how many go on later, as after a timer */
	int turn_ends; /* of 100 rounds, how many block */
};

struct truth {
	uint64_t in_conn, in_pos, out_conn, out_pos;
};

static struct play p;
static struct actor loop;
static struct lane lane[LANES];
static struct conn out[POOL];
static bool out_used[POOL];
static uint64_t out_pos[POOL];
static struct truth truth[REQUESTS * 4];
static unsigned int truth_cnt, begun;
static uint64_t seed;

static unsigned int dice(unsigned int n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)(seed % n);
}

static void ask_for(struct lane *l)
{
	int o = (int)dice(POOL);

	while (out_used[o])
		o = (o + 1) % POOL;
	out_used[o] = true;
	l->out = o;
	out_pos[o] += 100;
	truth[truth_cnt++] = (struct truth){ l->in.id, l->pos, out[o].id, out_pos[o] };
	ask(&p, &loop, &out[o], out_pos[o]);
	l->asks_left--;
	l->step = ASKED;
}

static void go_on(struct lane *l)
{
	if (l->asks_left) {
		ask_for(l);
		return;
	}
	answer(&p, &loop, &l->in, l->pos);
	l->step = IDLE;
}

/* One ready event is read. */
static void read_event(struct lane *l, const struct style *s)
{
	if (l->step == IDLE) {
		if (begun == REQUESTS)
			return;
		begun++;
		l->pos += 100;
		l->asks_left = 1 + (int)dice(3);
		serve(&p, &loop, &l->in, l->pos);
	} else {
		hear(&p, &loop, &out[l->out], out_pos[l->out]);
		out_used[l->out] = false;
	}
	l->step = RUNNABLE;
	if (s->at_once && (int)dice(100) >= s->deferred)
		go_on(l);
}

static void one_round(const struct style *s, unsigned int active)
{
	unsigned int first = dice(active);

	if ((int)dice(100) < s->turn_ends)
		loop.th.turn++;
	for (unsigned int i = 0; i < active; i++) {
		struct lane *l = &lane[(first + i) % active];

		if ((l->step == IDLE || l->step == ASKED) && dice(3) == 0)
			read_event(l, s);
	}
	/* tasks and timers run in an order of their own */
	for (unsigned int i = 0; i < active; i++) {
		struct lane *l = &lane[(first + i * 7) % active];

		if (l->step == RUNNABLE && (!s->at_once || dice(4) == 0))
			go_on(l);
	}
	p.now += 20000;
	correlate_tick(p.c, p.now);
}

static void measure(const struct style *s, unsigned int active)
{
	unsigned int right = 0, wrong = 0;

	for (unsigned int i = 0; i < truth_cnt; i++) {
		const struct truth *t = &truth[i];
		struct span *child = play_find(&p, t->out_conn, DIR_OUT, t->out_pos);
		struct span *parent = play_find(&p, t->in_conn, DIR_IN, t->in_pos);

		assert_non_null(child);
		assert_non_null(parent);
		if (is_child(child, parent))
			right++;
		else if (!is_root(child))
			wrong++;
	}
	printf("# %s, %u at once: %u egresses, recall %.1f %%, wrong %u\n", s->name, active,
	       truth_cnt, 100.0 * right / truth_cnt, wrong);
	assert_int_equal(wrong, 0);
	assert_true(active > 1 || right == truth_cnt);
}

static void simulate(const struct style *s, unsigned int active)
{
	play_begin(&p, NULL);
	play_proc(&p, PROXY, s->runtime, "proxy");
	loop = play_actor(PROXY, PROXY);
	memset(lane, 0, sizeof(lane));
	memset(out_used, 0, sizeof(out_used));
	memset(out_pos, 0, sizeof(out_pos));
	truth_cnt = begun = 0;
	seed = 88172645463325252ull;
	for (unsigned int i = 0; i < LANES; i++) {
		lane[i].in = play_conn(1000 + i, ROLE_ACCEPTED, 80, (uint16_t)(5000 + i));
		play_open(&p, &lane[i].in);
	}
	for (unsigned int i = 0; i < POOL; i++) {
		out[i] = play_conn(2000 + i, ROLE_DIALLED, (uint16_t)(6000 + i), 8080);
		play_open(&p, &out[i]);
	}
	for (bool busy = true; busy || begun < REQUESTS;) {
		one_round(s, active);
		busy = false;
		for (unsigned int i = 0; i < active; i++)
			busy |= lane[i].step != IDLE;
	}
	play_settle(&p);
	measure(s, active);
	play_end(&p);
}

static void every_parent_given_is_right(void **state)
{
	static const struct style styles[] = {
		{ "nginx-like", RUNTIME_NATIVE, true, 0, 80 },
		{ "nginx-like, never idle", RUNTIME_NATIVE, true, 0, 0 },
		{ "node-like", RUNTIME_NODE, true, 0, 80 },
		{ "node-like, some deferred", RUNTIME_NODE, true, 10, 80 },
		{ "node-like, half deferred", RUNTIME_NODE, true, 50, 80 },
		{ "asyncio-like", RUNTIME_PYTHON, false, 0, 80 },
	};

	for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
		static const unsigned int active[] = { 1, 2, 4, 20 };

		for (size_t k = 0; k < ARRAY_LEN(active); k++)
			simulate(&styles[i], active[k]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_parent_given_is_right),
	};

	return cmocka_run_group_tests_name("span simulation", tests, NULL, NULL);
}

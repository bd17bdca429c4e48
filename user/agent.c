/* SPDX-License-Identifier: Apache-2.0 */
/* The loop around the probe: drains at intervals, adds records of its own, knows when to end. */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "procs.h"

/* Between passes and ticks while records come: short turns, since a traced program waits for its
 * processor until ours ends. */
#define DRAIN_NS  (4 * NS_PER_MS)
#define QUIET_NS  (50 * NS_PER_MS) /* and while none do; a ring that fills up wakes the loop */
#define TICK_NS	  (100 * NS_PER_MS)
#define SECOND_NS NS_PER_S
/* After the traced programs have gone: their last turns become idle, identities arrive. */
#define SETTLE_NS (400 * NS_PER_MS)
/* After a signal: the last turns become idle. */
#define LAST_TURNS_NS (60 * NS_PER_MS)
/* What a child that was sent a signal gets to end by it. */
#define GRACE_NS   (2 * NS_PER_S)
#define ANSWERS_NS (300 * NS_PER_MS)

struct agent {
	struct agent_cfg cfg;
	struct pipe *pipe;
	struct probe *probe;
	struct procs *procs;
	int epoll_fd, signal_fd;
	int *pidfds;
	uint32_t pids_left;
	uint64_t begin_ns, cpu_begin_ns;
	uint64_t next_idle_ns, next_tick_ns, next_second_ns;
	uint64_t end_at_ns; /* 0: not known yet */
	uint64_t last_pass_ns;
	bool busy; /* the last pass found records */
	struct agent_result result;
};

enum source { SOURCE_RING, SOURCE_SIGNAL, SOURCE_CHILD, SOURCE_PID };

static void push(void *ctx, const void *rec, size_t len)
{
	pipe_push(((struct agent *)ctx)->pipe, rec, len);
}

/* ---- records of our own ---- */

static struct event_hdr header(uint64_t now_ns, uint16_t kind, size_t size)
{
	return (struct event_hdr){ .ts_ns = now_ns, .kind = kind, .size = (uint16_t)size };
}

static void push_clock(struct agent *a, uint64_t now_ns)
{
	struct event_clock e = { .h = header(now_ns, EVENT_CLOCK, sizeof(e)),
				 .offset_ns = clock_offset_ns() };

	push(a, &e, sizeof(e));
}

static void push_books(struct agent *a, uint64_t now_ns)
{
	struct event_books e = { 0 };

	probe_books(a->probe, &e);
	e.h = header(now_ns, EVENT_BOOKS, sizeof(e));
	push(a, &e, sizeof(e));
}

static int push_first(struct agent *a)
{
	uint64_t now_ns = clock_mono_ns();
	struct event_key key = { .h = header(now_ns, EVENT_KEY, sizeof(key)) };
	struct event_host host = { .h = header(now_ns, EVENT_HOST, sizeof(host)) };

	if (getrandom(key.key, sizeof(key.key), 0) != (ssize_t)sizeof(key.key))
		return -errno;
	gethostname(host.name, sizeof(host.name) - 1);
	push(a, &key, sizeof(key));
	push(a, &host, sizeof(host));
	push_clock(a, now_ns);
	return 0;
}

/* ---- libraries ---- */

static void add_library(void *ctx, const struct library *lib)
{
	struct agent *a = ctx;
	int err = probe_add_library(a->probe, lib->path, lib->dev, lib->inode);

	if (err && err != -EALREADY)
		log_warn("attach to %s: %s; continuing without its plaintext", lib->path,
			 strerror(-err));
}

/* ---- one pass ---- */

/* The earliest end wins: a child that ends by a signal it was sent counts as having ended. */
static void end_with(struct agent *a, enum agent_end end, uint64_t at_ns)
{
	if (a->end_at_ns && a->end_at_ns <= at_ns)
		return;
	a->result.end = end;
	a->end_at_ns = at_ns;
}

static void drain(struct agent *a)
{
	int n = probe_drain(a->probe, push, a);

	if (n < 0 && n != -EINTR && n != -EAGAIN && !a->result.err) {
		a->result.err = n;
		end_with(a, END_ERROR, clock_mono_ns());
	}
	procs_drain(a->procs, push, a);
	a->busy = n > 0;
}

/* What is due at a time. A tick comes after the drain that began at its time, so that records after
 * it are younger than it. */
static void pass(struct agent *a)
{
	uint64_t now_ns = clock_mono_ns();

	__atomic_store_n(&a->last_pass_ns, now_ns, __ATOMIC_RELAXED);
	if (now_ns >= a->next_idle_ns) {
		probe_flush_idle(a->probe);
		a->next_idle_ns = now_ns + probe_flush_every_ns(a->probe);
	}
	drain(a);
	if (now_ns >= a->next_second_ns) {
		push_clock(a, now_ns);
		push_books(a, now_ns);
		a->next_second_ns = now_ns + SECOND_NS;
	}
	if (now_ns >= a->next_tick_ns) {
		struct event_hdr tick = header(now_ns, EVENT_TICK, sizeof(tick));

		push(a, &tick, sizeof(tick));
		a->next_tick_ns = now_ns + (a->busy ? DRAIN_NS : TICK_NS);
	}
	if (a->cfg.health && !a->result.err) {
		a->result.err = a->cfg.health(a->cfg.ctx);
		if (a->result.err)
			end_with(a, END_ERROR, now_ns);
	}
}

/* ---- what may end it ---- */

static void on_signal(struct agent *a)
{
	struct signalfd_siginfo info;
	struct child *c = a->cfg.child;

	if (read(a->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP && a->cfg.hangup) {
		a->cfg.hangup(a->cfg.ctx);
		return;
	}
	if (a->result.signal) { /* the second time: at once */
		a->end_at_ns = clock_mono_ns();
		return;
	}
	a->result.signal = (int)info.ssi_signo;
	if (!c || c->ended) {
		end_with(a, END_SIGNAL, clock_mono_ns() + LAST_TURNS_NS);
		return;
	}
	/* a terminal has sent it to the whole foreground group */
	if (info.ssi_code != SI_KERNEL)
		kill(c->pid, (int)info.ssi_signo);
	end_with(a, END_SIGNAL, clock_mono_ns() + GRACE_NS);
}

static void on_child(struct agent *a)
{
	struct child *c = a->cfg.child;

	if (!child_poll(c))
		return;
	epoll_ctl(a->epoll_fd, EPOLL_CTL_DEL, c->pidfd, NULL);
	end_with(a, END_CHILD, clock_mono_ns() + SETTLE_NS);
}

static void on_pid(struct agent *a, uint32_t i)
{
	epoll_ctl(a->epoll_fd, EPOLL_CTL_DEL, a->pidfds[i], NULL);
	if (--a->pids_left == 0)
		end_with(a, END_PIDS, clock_mono_ns() + SETTLE_NS);
}

static void on_event(struct agent *a, const struct epoll_event *ev)
{
	switch ((enum source)(ev->data.u64 >> 32)) {
	case SOURCE_RING: break; /* drained at every pass */
	case SOURCE_SIGNAL: on_signal(a); break;
	case SOURCE_CHILD: on_child(a); break;
	case SOURCE_PID: on_pid(a, (uint32_t)ev->data.u64); break;
	}
}

static int timeout_ms(const struct agent *a)
{
	uint64_t now_ns = clock_mono_ns(), wait_ns = a->busy ? DRAIN_NS : QUIET_NS;

	if (a->end_at_ns)
		wait_ns = MIN(wait_ns, a->end_at_ns > now_ns ? a->end_at_ns - now_ns : 0);
	return (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS);
}

static void wait_and_pass(struct agent *a, int wait_ms)
{
	struct epoll_event ev[16];
	int n = epoll_wait(a->epoll_fd, ev, ARRAY_LEN(ev), wait_ms);

	for (int i = 0; i < n; i++)
		on_event(a, &ev[i]);
	pass(a);
}

/* ---- setting up ---- */

static int watch(struct agent *a, int fd, enum source source, uint32_t index)
{
	/* of the ring wake-ups alone count: it is hardly ever found empty */
	struct epoll_event ev = { .events = source == SOURCE_RING ? EPOLLIN | EPOLLET : EPOLLIN,
				  .data.u64 = (uint64_t)source << 32 | index };

	return fd < 0 || epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static void handled_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

void agent_block_signals(sigset_t *ret_before)
{
	sigset_t set;

	handled_signals(&set);
	sigprocmask(SIG_BLOCK, &set, ret_before);
}

static int watch_pids(struct agent *a, char why[AGENT_WHY_MAX])
{
	a->pidfds = calloc(a->cfg.pid_cnt + 1u, sizeof(*a->pidfds));
	if (!a->pidfds)
		return -ENOMEM;
	for (uint32_t i = 0; i < a->cfg.pid_cnt; i++) {
		uint32_t pid = a->cfg.pids[i];
		int err;

		a->pidfds[i] = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
		err = watch(a, a->pidfds[i], SOURCE_PID, i);
		if (err) {
			snprintf(why, AGENT_WHY_MAX, "process %u: %s", pid,
				 err == -ESRCH	  ? "there is none; it has ended, or never was"
				 : err == -EINVAL ? "that is a thread; give its process's pid"
						  : strerror(-err));
			return err;
		}
		a->pids_left++;
	}
	return 0;
}

static int open_sources(struct agent *a)
{
	sigset_t set;
	int err;

	handled_signals(&set);
	a->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->signal_fd < 0)
		return -errno;
	err = watch(a, a->signal_fd, SOURCE_SIGNAL, 0);
	if (!err && a->cfg.child)
		err = watch(a, a->cfg.child->pidfd, SOURCE_CHILD, 0);
	return err;
}

static uint64_t cpu_ns(void)
{
	return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

static int attach(struct agent *a, char why[AGENT_WHY_MAX])
{
	struct procs_cfg procs = { .library = a->cfg.probe.tls ? add_library : NULL, .ctx = a };
	const char *probe_why = NULL;
	int err = probe_new(&a->cfg.probe, &a->probe, &probe_why);

	if (err) {
		snprintf(why, AGENT_WHY_MAX, "%s", probe_why ? probe_why : strerror(-err));
		return err;
	}
	if (!probe_reads_processes())
		log_warn("without CAP_SYS_PTRACE other users' programs cannot be read: services "
			 "bear their thread's name, TLS is not seen");
	err = watch(a, probe_fd(a->probe), SOURCE_RING, 0);
	if (!err)
		err = procs_new(&procs, &a->procs);
	if (!err)
		err = pipe_tap(a->pipe, (struct event_sink){ a->procs, procs_record });
	if (!err)
		err = push_first(a);
	if (err)
		return err;
	for (uint32_t i = 0; i < a->cfg.pid_cnt; i++)
		procs_ask(a->procs, a->cfg.pids[i]);
	return 0;
}

int agent_new(const struct agent_cfg *cfg, struct pipe *pipe, struct agent **ret_agent,
	      char why[AGENT_WHY_MAX])
{
	struct agent *a = calloc(1, sizeof(*a));
	int err = -ENOMEM;

	why[0] = '\0';
	if (!a)
		goto out;
	a->cfg = *cfg;
	if (a->cfg.child && !a->cfg.child->pid)
		a->cfg.child = NULL;
	a->pipe = pipe;
	a->signal_fd = -1;
	a->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (a->epoll_fd < 0) {
		err = -errno;
		goto out;
	}
	err = watch_pids(a, why);
	if (!err)
		err = open_sources(a);
	if (!err)
		err = attach(a, why);
	if (err)
		goto out;
	a->begin_ns = a->last_pass_ns = clock_mono_ns();
	a->cpu_begin_ns = cpu_ns();
	if (cfg->attached)
		cfg->attached(cfg->ctx);
	*ret_agent = a;
	return 0;
out:
	if (!why[0])
		snprintf(why, AGENT_WHY_MAX, "setting up: %s", strerror(-err));
	agent_free(a);
	return err;
}

/* ---- the run ---- */

/* What is still on its way when the loop has ended: last turns, answers about processes. */
static void finish(struct agent *a)
{
	uint64_t until_ns = clock_mono_ns() + ANSWERS_NS;

	while (procs_outstanding(a->procs) && clock_mono_ns() < until_ns && !a->result.err)
		wait_and_pass(a, (int)(DRAIN_NS / NS_PER_MS));
	probe_flush_idle(a->probe);
	a->next_tick_ns = a->next_second_ns = 0;
	pass(a);
	pipe_flush(a->pipe);
}

static bool release_child(struct agent *a, char why[AGENT_WHY_MAX])
{
	if (!a->cfg.child)
		return true;
	a->result.err = child_release(a->cfg.child, why);
	if (!a->result.err)
		return true;
	a->result.end = END_ERROR;
	a->result.exec_failed = true;
	return false;
}

void agent_loop(struct agent *a, struct agent_result *ret, char why[AGENT_WHY_MAX])
{
	uint64_t now_ns = clock_mono_ns();

	why[0] = '\0';
	pass(a);
	if (a->cfg.duration_ns)
		end_with(a, END_DURATION, now_ns + a->cfg.duration_ns);
	if (release_child(a, why)) {
		while (!a->end_at_ns || clock_mono_ns() < a->end_at_ns)
			wait_and_pass(a, timeout_ms(a));
		finish(a);
	}
	now_ns = clock_mono_ns();
	a->result.cpu_percent = now_ns > a->begin_ns ? (double)(cpu_ns() - a->cpu_begin_ns) * 100 /
							       (double)(now_ns - a->begin_ns)
						     : 0;
	if (a->result.err && !why[0])
		snprintf(why, AGENT_WHY_MAX, "%s", strerror(-a->result.err));
	*ret = a->result;
}

const struct probe *agent_probe(const struct agent *a)
{
	return a->probe;
}

int agent_set_filter(struct agent *a, const struct probe_filter *f, char why[PROBE_WHY_MAX])
{
	return probe_set_filter(a->probe, f, why);
}

uint64_t agent_last_pass_ns(const struct agent *a)
{
	return __atomic_load_n(&a->last_pass_ns, __ATOMIC_RELAXED);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	procs_free(a->procs); /* its thread uses the probe */
	probe_free(a->probe);
	for (uint32_t i = 0; a->pidfds && i < a->cfg.pid_cnt; i++)
		if (a->pidfds[i] > 0)
			close(a->pidfds[i]);
	free(a->pidfds);
	close_fd(a->signal_fd);
	close_fd(a->epoll_fd);
	free(a);
}

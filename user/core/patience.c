/* SPDX-License-Identifier: Apache-2.0 */
#include "core/patience.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/clock.h"

#define TICK_NS (NS_PER_S / 2)

static const char too_late[] = "HTTP/1.1 408 Request Timeout\r\n"
			       "Content-Type: text/plain\r\n"
			       "Content-Length: 26\r\n"
			       "Connection: close\r\n\r\n"
			       "the request took too long\n";

struct patience_client {
	struct patience *home;
	struct patience_client *prev, *next;
	int fd;
	enum patience_for what;
	uint64_t since_ns, until_ns;
	bool shut;
};

struct patience {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	struct patience_client *clients;
	unsigned int cnt, max; /* cnt: without those that are shut */
	uint64_t *late;
	bool ending;
};

/* ---- under the lock: no fd is closed meanwhile, as its client has not left ---- */

static void shut(struct patience_client *c)
{
	c->shut = true;
	c->home->cnt--;
	shutdown(c->fd, SHUT_RDWR);
}

static void shut_late(struct patience_client *c)
{
	/* the answer is a courtesy: who does not read it is shut out all the same */
	if (c->what != PATIENCE_ANSWER)
		(void)!send(c->fd, too_late, sizeof(too_late) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	__atomic_add_fetch(c->home->late, 1, __ATOMIC_RELAXED);
	shut(c);
}

static void shut_idlest(struct patience *p)
{
	struct patience_client *idlest = NULL;

	for (struct patience_client *c = p->clients; c; c = c->next)
		if (!c->shut && c->what == PATIENCE_IDLE &&
		    (!idlest || c->since_ns < idlest->since_ns))
			idlest = c;
	if (idlest)
		shut(idlest);
}

static void set(struct patience_client *c, enum patience_for what, uint32_t seconds)
{
	c->what = what;
	c->since_ns = clock_mono_ns();
	c->until_ns = c->since_ns + seconds * NS_PER_S;
}

/* ---- the thread ---- */

static void *run(void *arg)
{
	struct patience *p = arg;
	struct timespec at;
	uint64_t now_ns;

	pthread_mutex_lock(&p->lock);
	while (!p->ending) {
		now_ns = clock_mono_ns();
		for (struct patience_client *c = p->clients; c; c = c->next)
			if (!c->shut && c->what != PATIENCE_OURS && now_ns > c->until_ns)
				shut_late(c);
		now_ns += TICK_NS;
		at = (struct timespec){ (time_t)(now_ns / NS_PER_S), (long)(now_ns % NS_PER_S) };
		pthread_cond_timedwait(&p->wake, &p->lock, &at);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int patience_new(unsigned int max, uint64_t *late, struct patience **ret)
{
	struct patience *p = calloc(1, sizeof(*p));
	pthread_condattr_t attr;
	sigset_t all, was;
	int err;

	if (!p)
		return -ENOMEM;
	p->max = max;
	p->late = late;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	/* signals are for the thread that runs the program */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = -pthread_create(&p->thread, NULL, run, p);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (!err) {
		*ret = p;
		return 0;
	}
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return err;
}

void patience_free(struct patience *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- clients ---- */

struct patience_client *patience_join(struct patience *p, int fd, uint32_t seconds)
{
	struct patience_client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->home = p;
	c->fd = fd;
	set(c, PATIENCE_IDLE, seconds);
	pthread_mutex_lock(&p->lock);
	if (p->cnt >= p->max)
		shut_idlest(p);
	c->next = p->clients;
	if (c->next)
		c->next->prev = c;
	p->clients = c;
	p->cnt++;
	pthread_mutex_unlock(&p->lock);
	return c;
}

void patience_wait(struct patience_client *c, enum patience_for what, uint32_t seconds)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->home->lock);
	set(c, what, seconds);
	pthread_mutex_unlock(&c->home->lock);
}

void patience_leave(struct patience_client *c)
{
	struct patience *p;

	if (!c)
		return;
	p = c->home;
	pthread_mutex_lock(&p->lock);
	if (c->prev)
		c->prev->next = c->next;
	else
		p->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	p->cnt -= !c->shut;
	pthread_mutex_unlock(&p->lock);
	free(c);
}

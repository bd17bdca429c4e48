/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until what a writer pushed is durable. */
#ifndef TESTS_STORE_SYNC_H
#define TESTS_STORE_SYNC_H

#include <pthread.h>

#include "store/store.h"

struct answer {
	pthread_mutex_t lock;
	pthread_cond_t come;
	bool done;
	int err;
};

static inline void answer_come(void *ctx, int err)
{
	struct answer *a = ctx;

	pthread_mutex_lock(&a->lock);
	a->done = true;
	a->err = err;
	pthread_cond_signal(&a->come);
	pthread_mutex_unlock(&a->lock);
}

static inline int sync_writer(struct store_writer *w)
{
	struct answer a = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0 };

	store_writer_sync(w, (struct store_ack){ answer_come, &a });
	pthread_mutex_lock(&a.lock);
	while (!a.done)
		pthread_cond_wait(&a.come, &a.lock);
	pthread_mutex_unlock(&a.lock);
	return a.err;
}

#endif

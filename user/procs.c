/* SPDX-License-Identifier: Apache-2.0 */
#include "procs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "core/books.h"

#define MAX_DEFAULT	    65536
#define QUEUE_BYTES_DEFAULT (4u << 20)

struct known {
	uint32_t tgid;
	bool connected; /* asked about since it has a connection */
	bool answered;
	UT_hash_handle hh;
};

struct answer {
	struct answer *next;
	uint64_t rec[]; /* struct event_proc */
};

struct procs {
	struct procs_cfg cfg;
	struct discover *discover;
	struct known *known; /* oldest first */
	uint32_t outstanding;
	uint64_t forgotten;
	struct gauge forgotten_gauge;

	pthread_mutex_t lock; /* of all below */
	struct answer *head;
	struct answer *tail;
	size_t bytes;
	struct books books;
};

/* ---- answers: discover's thread puts, ours takes ---- */

static void answer_put(void *ctx, const struct event_proc *proc)
{
	struct procs *p = ctx;
	struct answer *a = NULL;

	pthread_mutex_lock(&p->lock);
	book_add(&p->books.in, 1);
	if (p->bytes + proc->h.size <= p->cfg.queue_bytes)
		a = malloc(sizeof(*a) + proc->h.size);
	if (a) {
		memcpy(a->rec, proc, proc->h.size);
		a->next = NULL;
		if (p->tail)
			p->tail->next = a;
		else
			p->head = a;
		p->tail = a;
		p->bytes += proc->h.size;
		book_add(&p->books.held, 1);
	} else {
		book_add(&p->books.dropped[0], 1);
	}
	pthread_mutex_unlock(&p->lock);
}

/* discover has one context for both of its calls */
static void pass_library(void *ctx, const struct library *lib)
{
	struct procs *p = ctx;

	if (p->cfg.library)
		p->cfg.library(p->cfg.ctx, lib);
}

static void note_answer(struct procs *p, uint32_t tgid)
{
	struct known *k;

	HASH_FIND(hh, p->known, &tgid, sizeof(tgid), k);
	if (!k || k->answered)
		return;
	k->answered = true;
	p->outstanding--;
}

void procs_drain(struct procs *p, void (*push)(void *ctx, const void *rec, size_t len), void *ctx)
{
	struct answer *list, *next;
	uint64_t cnt = 0;

	pthread_mutex_lock(&p->lock);
	list = p->head;
	p->head = p->tail = NULL;
	p->bytes = 0;
	pthread_mutex_unlock(&p->lock);
	for (; list; list = next) {
		const struct event_hdr *h = (const struct event_hdr *)list->rec;

		next = list->next;
		note_answer(p, h->tgid);
		push(ctx, h, h->size);
		free(list);
		cnt++;
	}
	if (!cnt)
		return;
	pthread_mutex_lock(&p->lock);
	book_add(&p->books.held, -cnt);
	book_add(&p->books.out, cnt);
	pthread_mutex_unlock(&p->lock);
}

/* ---- questions ---- */

static void forget(struct procs *p, struct known *k)
{
	if (!k->answered)
		p->outstanding--;
	HASH_DEL(p->known, k);
	free(k);
}

static struct known *known_get(struct procs *p, uint32_t tgid, bool *ret_new)
{
	struct known *k;

	*ret_new = false;
	HASH_FIND(hh, p->known, &tgid, sizeof(tgid), k);
	if (k)
		return k;
	if (HASH_COUNT(p->known) >= p->cfg.max) {
		forget(p, p->known);
		book_add(&p->forgotten, 1);
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->tgid = tgid;
	p->outstanding++;
	HASH_ADD(hh, p->known, tgid, sizeof(k->tgid), k);
	*ret_new = true;
	return k;
}

static void see(struct procs *p, uint32_t tgid)
{
	struct known *k;
	bool new;

	if (!tgid)
		return;
	k = known_get(p, tgid, &new);
	if (!k || k->connected)
		return;
	k->connected = true;
	discover_ask(p->discover, tgid, NULL);
}

static void see_exec(struct procs *p, const struct event_exec *e)
{
	struct known *k;
	bool new;

	k = known_get(p, e->h.tgid, &new);
	if (!k)
		return;
	if (k->answered)
		p->outstanding++;
	k->answered = false;
	k->connected = false;
	discover_ask(p->discover, e->h.tgid, e);
}

void procs_ask(struct procs *p, uint32_t tgid)
{
	bool new;

	if (known_get(p, tgid, &new) && new)
		discover_ask(p->discover, tgid, NULL);
}

void procs_record(void *ctx, const struct event_hdr *rec)
{
	struct procs *p = ctx;
	struct known *k;

	switch (rec->kind) {
	case EVENT_CONN:
	case EVENT_DATA: see(p, rec->tgid); break;
	case EVENT_EXEC: see_exec(p, (const struct event_exec *)rec); break;
	case EVENT_EXIT:
		HASH_FIND(hh, p->known, &rec->tgid, sizeof(rec->tgid), k);
		if (k)
			forget(p, k);
		break;
	default: break;
	}
}

/* ---- the whole ---- */

static double read_forgotten(void *ctx)
{
	return (double)book_read(ctx);
}

int procs_new(const struct procs_cfg *cfg, struct procs **ret_procs)
{
	struct procs *p = calloc(1, sizeof(*p));
	struct discover_cfg ask = { .found = answer_put, .library = pass_library };
	int err;

	if (!p)
		return -ENOMEM;
	p->cfg = *cfg;
	p->cfg.max = cfg->max ? cfg->max : MAX_DEFAULT;
	p->cfg.queue_bytes = cfg->queue_bytes ? cfg->queue_bytes : QUEUE_BYTES_DEFAULT;
	p->books =
		(struct books){ .stage = "process", .unit = "record", .reason = { "queue_full" } };
	p->forgotten_gauge = (struct gauge){
		.name = "processes_forgotten_total",
		.help = "Processes no longer remembered because too many were.",
		.type = "counter",
		.read = read_forgotten,
		.ctx = &p->forgotten,
	};
	pthread_mutex_init(&p->lock, NULL);
	books_register(&p->books);
	gauges_register(&p->forgotten_gauge);
	ask.ctx = p;
	err = discover_new(&ask, &p->discover);
	if (err) {
		procs_free(p);
		return err;
	}
	*ret_procs = p;
	return 0;
}

uint32_t procs_outstanding(const struct procs *p)
{
	return p->outstanding;
}

static void drop(void *ctx, const void *rec, size_t len)
{
}

void procs_free(struct procs *p)
{
	struct known *k, *tmp;

	if (!p)
		return;
	discover_free(p->discover); /* its thread has ended after this */
	procs_drain(p, drop, NULL);
	HASH_ITER (hh, p->known, k, tmp)
		forget(p, k);
	books_unregister(&p->books);
	gauges_unregister(&p->forgotten_gauge);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

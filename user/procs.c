/* SPDX-License-Identifier: Apache-2.0 */
/* The list of processes that records spoke of, and the queue of answers about them. */
#include "procs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "core/books.h"

#define MAX_DEFAULT	    65536
#define HINTS_DEFAULT	    1024
#define QUEUE_BYTES_DEFAULT (4u << 20)

struct known {
	uint32_t tgid;
	bool asked;		   /* since it is what it is */
	bool answered;		   /* with asked */
	struct event_exec *hint;   /* NULL: none, or used, or too old */
	struct known *prev, *next; /* among those with a hint, oldest first */
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
	struct known *hinted;
	uint32_t hint_cnt;
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
	if (!k || !k->asked || k->answered)
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

static void drop_hint(struct procs *p, struct known *k)
{
	if (!k->hint)
		return;
	DL_DELETE(p->hinted, k);
	p->hint_cnt--;
	free(k->hint);
	k->hint = NULL;
}

static void forget(struct procs *p, struct known *k)
{
	if (k->asked && !k->answered)
		p->outstanding--;
	drop_hint(p, k);
	HASH_DEL(p->known, k);
	free(k);
}

static struct known *known_get(struct procs *p, uint32_t tgid)
{
	struct known *k;

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
	HASH_ADD(hh, p->known, tgid, sizeof(k->tgid), k);
	return k;
}

void procs_ask(struct procs *p, uint32_t tgid)
{
	struct known *k = tgid ? known_get(p, tgid) : NULL;

	if (!k || k->asked)
		return;
	k->asked = true;
	k->answered = false;
	p->outstanding++;
	discover_ask(p->discover, tgid, k->hint);
	drop_hint(p, k);
}

static void see_exec(struct procs *p, const struct event_exec *e)
{
	struct known *k = known_get(p, e->h.tgid);

	if (!k)
		return;
	if (k->asked && !k->answered)
		p->outstanding--;
	k->asked = false;
	drop_hint(p, k);
	k->hint = malloc(sizeof(*e));
	if (!k->hint)
		return;
	*k->hint = *e;
	DL_APPEND(p->hinted, k);
	if (++p->hint_cnt > p->cfg.max_hints)
		drop_hint(p, p->hinted);
}

void procs_record(void *ctx, const struct event_hdr *rec)
{
	struct procs *p = ctx;
	struct known *k;

	switch (rec->kind) {
	case EVENT_CONN:
	case EVENT_DATA: procs_ask(p, rec->tgid); break;
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
	p->cfg.max_hints = cfg->max_hints ? cfg->max_hints : HINTS_DEFAULT;
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

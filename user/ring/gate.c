/* SPDX-License-Identifier: Apache-2.0 */
/* The one way into the chain: nothing unchecked or uncounted passes. */
#include "ring/ring.h"

#include "core/books.h"

#include <errno.h>
#include <stdlib.h>

enum { DROPPED_BAD, DROPPED_UNKNOWN };

struct gate {
	struct event_sink out;
	struct books books;
};

struct gate *gate_new(struct event_sink out)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->out = out;
	g->books = (struct books){
		.stage = "ring",
		.unit = "record",
		.reason = { [DROPPED_BAD] = "bad_record", [DROPPED_UNKNOWN] = "unknown_kind" },
	};
	books_register(&g->books);
	return g;
}

void gate_push(struct gate *g, const void *rec, size_t len)
{
	int err = event_check(rec, len);

	book_add(&g->books.in, 1);
	if (err) {
		book_add(&g->books.dropped[err == -ENOTSUP ? DROPPED_UNKNOWN : DROPPED_BAD], 1);
		return;
	}
	g->out.push(g->out.ctx, rec);
	book_add(&g->books.out, 1);
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	books_unregister(&g->books);
	free(g);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* EVENT_BOOKS to a stage's books. */
#include "kernel_books.h"

#include <math.h>

#include "core/str.h"

static double read_counter(void *ctx)
{
	return (double)book_read(ctx);
}

/* What a kernel does not tell is no number, never a reassuring zero. */
static double read_missed(void *ctx)
{
	uint64_t missed = book_read(ctx);

	return missed == UINT64_MAX ? NAN : (double)missed;
}

void kernel_books_register(struct kernel_books *k)
{
#define X(name) "kernel_" #name "_total",
	static const char *const drop_names[] = { KERNEL_DROPS(X) };
#undef X

	k->books = (struct books){ .stage = "kernel", .unit = "record", .reason = { "ring_full" } };
	k->missed = UINT64_MAX;
	books_register(&k->books);
	for (int i = 0; i < DROP_MAX; i++) {
		if (i == DROP_ring_full)
			continue;
		k->drop_gauges[i] = (struct gauge){
			.name = drop_names[i],
			.help = "Times the kernel side had to let something go for this reason.",
			.type = "counter",
			.read = read_counter,
			.ctx = &k->drops[i],
		};
		gauges_register(&k->drop_gauges[i]);
	}
	k->tails_gauge = (struct gauge){
		.name = "kernel_tails_pending",
		.help = "Connections with bytes at the end of a turn that were not told of yet.",
		.type = "gauge",
		.read = read_counter,
		.ctx = &k->tails,
	};
	k->missed_gauge = (struct gauge){
		.name = "kernel_missed_runs_total",
		.help = "Program runs that the kernel skipped; NaN where it does not tell.",
		.type = "counter",
		.read = read_missed,
		.ctx = &k->missed,
	};
	gauges_register(&k->tails_gauge);
	gauges_register(&k->missed_gauge);
}

static void set(uint64_t *field, uint64_t v)
{
	__atomic_store_n(field, v, __ATOMIC_RELAXED);
}

/* The counters of all processors are not read in one moment: a record counted as tried and not yet
 * as submitted is on its way, thus held. */
void kernel_books_update(struct kernel_books *k, const struct event_books *e)
{
	uint64_t out = e->counts[COUNT_submitted], full = e->drops[DROP_ring_full];
	uint64_t in = MAX(e->counts[COUNT_records], out + full);

	set(&k->books.in, in);
	set(&k->books.out, out);
	set(&k->books.dropped[0], full);
	set(&k->books.held, in - out - full);
	for (int i = 0; i < DROP_MAX; i++)
		set(&k->drops[i], e->drops[i]);
	set(&k->tails, e->counts[COUNT_tails_pending]);
	set(&k->missed, e->missed);
}

void kernel_books_unregister(struct kernel_books *k)
{
	books_unregister(&k->books);
	for (int i = 0; i < DROP_MAX; i++)
		if (k->drop_gauges[i].read)
			gauges_unregister(&k->drop_gauges[i]);
	gauges_unregister(&k->tails_gauge);
	gauges_unregister(&k->missed_gauge);
}

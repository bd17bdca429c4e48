/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel side's counters, as EVENT_BOOKS brings them, shown as a stage's books and gauges. */
#ifndef TELLTALE_KERNEL_BOOKS_H
#define TELLTALE_KERNEL_BOOKS_H

#include "core/books.h"
#include "ring/ring.h"

/* ring_full is in the books; the other drops are no records and get gauges, as do the counts that
 * are not books and the programs the kernel skipped. */
struct kernel_books {
	struct books books;
	uint64_t drops[DROP_MAX];
	uint64_t tails, missed;
	struct gauge drop_gauges[DROP_MAX];
	struct gauge tails_gauge, missed_gauge;
};

void kernel_books_register(struct kernel_books *k);
void kernel_books_update(struct kernel_books *k, const struct event_books *e);
void kernel_books_unregister(struct kernel_books *k);

#endif

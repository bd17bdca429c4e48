/* SPDX-License-Identifier: Apache-2.0 */
/* Which spans of a batch stand together: OTLP nests spans in scopes in resources. */
#include "export/internal.h"

#include <errno.h>
#include <stdlib.h>

/* The place of p in the order of first appearance. The newest are looked at first: neighbours
 * mostly share theirs, and a batch has few. */
static uint64_t rank_of(const void **seen, uint64_t *cnt, const void *p)
{
	for (uint64_t i = *cnt; i-- > 0;)
		if (seen[i] == p)
			return i;
	seen[*cnt] = p;
	return (*cnt)++;
}

static int by_rank(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

int items_group(struct item *items, size_t cnt)
{
	const void **seen = cnt ? calloc(2 * cnt, sizeof(*seen)) : NULL;
	uint64_t resources = 0, scopes = 0;
	bool sorted = true;

	if (cnt && !seen)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		items[i].rank = rank_of(seen, &resources, items[i].resource) << 32 |
				rank_of(seen + cnt, &scopes, items[i].scope);
		items[i].seq = (uint32_t)i;
		sorted = sorted && (!i || items[i - 1].rank <= items[i].rank);
	}
	if (!sorted)
		qsort(items, cnt, sizeof(*items), by_rank);
	free(seen);
	return 0;
}

int items_of(const struct span *const *spans, size_t cnt, struct item **ret_items)
{
	struct item *items = calloc(cnt ? cnt : 1, sizeof(*items));
	int err;

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++)
		items[i] = (struct item){ .resource = spans[i]->resource,
					  .scope = spans[i]->scope,
					  .span = spans[i] };
	err = items_group(items, cnt);
	if (err) {
		free(items);
		return err;
	}
	*ret_items = items;
	return 0;
}

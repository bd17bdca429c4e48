/* SPDX-License-Identifier: Apache-2.0 */
/* Services, operations and attribute keys: from the filters, no spans read. */
#include "store/engine.h"

#include <errno.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define NAMES_MAX 200000u /* what is past it is not listed */

struct name {
	struct str service, name;
	int kind;
	UT_hash_handle hh;
	char key[];
};

struct naming {
	struct name *set;
	struct arena *mem;
	struct buf key;
	struct str service; /* the only one wanted; empty: all */
	bool services_only;
	bool tags;
	int err;
};

static void add(struct naming *n, struct str service, struct str name, int kind)
{
	uint32_t head[2] = { (uint32_t)kind, (uint32_t)service.len };
	struct name *row;

	buf_clear(&n->key);
	buf_add(&n->key, head, sizeof(head));
	buf_add_str(&n->key, service);
	buf_add_str(&n->key, name);
	if (n->key.failed) {
		n->err = -ENOMEM;
		return;
	}
	HASH_FIND(hh, n->set, n->key.p, n->key.len, row);
	if (row || HASH_COUNT(n->set) >= NAMES_MAX)
		return;
	row = arena_alloc(n->mem, sizeof(*row) + n->key.len);
	if (!row) {
		n->err = -ENOMEM;
		return;
	}
	memcpy(row->key, n->key.p, n->key.len);
	row->service = (struct str){ row->key + sizeof(head), service.len };
	row->name = (struct str){ row->service.p + service.len, name.len };
	row->kind = kind;
	HASH_ADD_KEYPTR(hh, n->set, row->key, n->key.len, row);
	if (!row->hh.tbl)
		n->err = -ENOMEM;
}

static void add_operation(void *ctx, struct str service, struct str name, enum span_kind kind)
{
	struct naming *n = ctx;

	if (n->services_only)
		add(n, service, STR(""), 0);
	else if (!n->service.len || str_eq(n->service, service))
		add(n, service, name, kind);
}

static void add_tag(void *ctx, enum field_kind kind, struct str key)
{
	add(ctx, STR(""), key, kind);
}

static int name_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct naming *n = ctx;
	struct filter *f;
	struct str data;
	int err = view_filter(v, row, &f);

	if (err)
		return err;
	data = (struct str){ f->data, f->len };
	if (n->tags)
		block_tags(data, add_tag, n);
	else
		block_operations(data, add_operation, n);
	filter_release(f);
	return n->err;
}

static int compare_str(struct str a, struct str b)
{
	size_t len = MIN(a.len, b.len);
	int order = len ? memcmp(a.p, b.p, len) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const struct name *a, const struct name *b)
{
	int order = compare_str(a->service, b->service);

	if (!order)
		order = compare_str(a->name, b->name);
	return order ? order : (a->kind > b->kind) - (a->kind < b->kind);
}

static int collect(struct store *s, struct time_range r, struct naming *n)
{
	int err;

	n->mem = arena_new(0);
	if (!n->mem)
		return -ENOMEM;
	err = engine_each((struct engine *)s, r, name_block, n);
	if (!err)
		HASH_SORT(n->set, by_name);
	return err;
}

static void naming_fini(struct naming *n)
{
	HASH_CLEAR(hh, n->set);
	arena_free(n->mem);
	buf_fini(&n->key);
}

int engine_services(struct store *s, struct time_range r,
		    void (*visit)(void *ctx, struct str service), void *ctx)
{
	struct naming n = { .services_only = true };
	int err = collect(s, r, &n);

	for (struct name *row = err ? NULL : n.set; row; row = row->hh.next)
		visit(ctx, row->service);
	naming_fini(&n);
	return err;
}

int engine_operations(struct store *s, struct str service, struct time_range r,
		      void (*visit)(void *ctx, struct str service, struct str name,
				    enum span_kind kind),
		      void *ctx)
{
	struct naming n = { .service = service };
	int err = collect(s, r, &n);

	for (struct name *row = err ? NULL : n.set; row; row = row->hh.next)
		visit(ctx, row->service, row->name, (enum span_kind)row->kind);
	naming_fini(&n);
	return err;
}

int engine_tags(struct store *s, struct time_range r,
		void (*visit)(void *ctx, enum field_kind kind, struct str key), void *ctx)
{
	struct naming n = { .tags = true };
	int err = collect(s, r, &n);

	for (struct name *row = err ? NULL : n.set; row; row = row->hh.next)
		visit(ctx, (enum field_kind)row->kind, row->name);
	naming_fini(&n);
	return err;
}

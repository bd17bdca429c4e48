/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resources and scopes by the bytes that they were read from, so that equal ones are one pointer. A
 * direct-mapped table: a miss replaces what is in its place. A scope lives in the arena of its
 * resource: a copy of a span counts the resource and shares the scope.
 */
#include "receive/decode.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#define TABLE_BYTES_MAX	  (8u << 20)
#define ORIGIN_MEMORY_MAX (1u << 20) /* past it scopes go into a fresh one */
#define SCOPES_MAX	  64

struct scope_entry {
	struct scope scope; /* with its schema_url */
	struct str bytes;
	struct scope_entry *next;
};

struct origin {
	uint64_t hash;
	const struct form *form;
	struct str bytes;
	struct resource *resource;
	struct scope_entry *scopes;
	uint32_t scope_cnt;
};

static void origin_free(struct origin *o)
{
	if (o)
		resource_put(o->resource);
	free(o);
}

void origins_clear(struct decoder *d)
{
	for (size_t i = 0; i < ORIGINS_MAX; i++) {
		origin_free(d->origin[i]);
		d->origin[i] = NULL;
	}
	d->origin_bytes = 0;
}

static int origin_new(const struct origin_key *key, uint64_t hash, struct origin **ret)
{
	struct origin *o = calloc(1, sizeof(*o));
	struct reading r = { .refused = REJECT_none };
	int err = -ENOMEM;

	if (!o)
		return err;
	o->hash = hash;
	o->form = key->form;
	o->resource = resource_new();
	if (!o->resource)
		goto fail;
	r.mem = o->resource->arena;
	o->bytes = arena_str(r.mem, key->resource);
	o->resource->schema_url = reading_text(&r, arena_str(r.mem, key->resource_schema));
	if (!o->bytes.p || (key->resource_schema.len && !o->resource->schema_url.p))
		goto fail;
	if (!key->form->resource(&r, o->bytes, o->resource)) {
		err = -EBADMSG;
		goto fail;
	}
	if (r.refused != REJECT_none) {
		err = -E2BIG;
		goto fail;
	}
	resource_seal(o->resource);
	*ret = o;
	return 0;
fail:
	origin_free(o);
	return err;
}

static int scope_new(struct origin *o, const struct origin_key *key, struct scope_entry **ret)
{
	struct reading r = { .mem = o->resource->arena, .refused = REJECT_none };
	struct scope_entry *e = arena_alloc(r.mem, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->bytes = arena_str(r.mem, key->scope);
	e->scope.schema_url = reading_text(&r, arena_str(r.mem, key->scope_schema));
	if (!e->bytes.p || (key->scope_schema.len && !e->scope.schema_url.p))
		return -ENOMEM;
	if (!key->form->scope(&r, e->bytes, &e->scope))
		return -EBADMSG;
	if (r.refused != REJECT_none)
		return -E2BIG;
	e->next = o->scopes;
	o->scopes = e;
	o->scope_cnt++;
	*ret = e;
	return 0;
}

static struct scope_entry *scope_find(const struct origin *o, const struct origin_key *key)
{
	struct scope_entry *e = o->scopes;

	while (e &&
	       !(str_eq(e->bytes, key->scope) && str_eq(e->scope.schema_url, key->scope_schema)))
		e = e->next;
	return e;
}

static bool is_same(const struct origin *o, const struct origin_key *key, uint64_t hash)
{
	return o && o->hash == hash && o->form == key->form && str_eq(o->bytes, key->resource) &&
	       str_eq(o->resource->schema_url, key->resource_schema);
}

static bool is_full(const struct origin *o)
{
	return o->scope_cnt == SCOPES_MAX || arena_size(o->resource->arena) > ORIGIN_MEMORY_MAX;
}

static size_t origin_size(const struct origin *o)
{
	return o ? sizeof(*o) + arena_size(o->resource->arena) : 0;
}

/* Puts a fresh one into its place. */
static int origin_replace(struct decoder *d, const struct origin_key *key, uint64_t hash,
			  struct origin **ret)
{
	struct origin **at = &d->origin[hash % ORIGINS_MAX], *fresh;
	int err = origin_new(key, hash, &fresh);

	if (err)
		return err;
	if (d->origin_bytes > TABLE_BYTES_MAX)
		origins_clear(d);
	d->origin_bytes -= origin_size(*at);
	origin_free(*at);
	*ret = *at = fresh;
	d->origin_bytes += origin_size(fresh);
	return 0;
}

int origin_find(struct decoder *d, const struct origin_key *key, struct resource **ret_resource,
		const struct scope **ret_scope)
{
	uint64_t hash = key->resource.len ? XXH3_64bits(key->resource.p, key->resource.len) : 0;
	struct origin *o = d->origin[hash % ORIGINS_MAX];
	struct scope_entry *e = NULL;
	size_t before;
	int err;

	if (key->resource.len + key->resource_schema.len > ORIGIN_BYTES_MAX ||
	    key->scope.len + key->scope_schema.len > ORIGIN_BYTES_MAX)
		return -E2BIG;
	if (is_same(o, key, hash))
		e = scope_find(o, key);
	if (!is_same(o, key, hash) || (!e && is_full(o))) {
		err = origin_replace(d, key, hash, &o);
		if (err)
			return err;
	}
	if (!e) {
		before = origin_size(o);
		err = scope_new(o, key, &e);
		d->origin_bytes += origin_size(o) - before;
		if (err)
			return err;
	}
	*ret_resource = o->resource;
	*ret_scope = &e->scope;
	return 0;
}

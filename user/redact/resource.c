/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource and scope are shared by many spans: looked at once, the result kept for the next. A
 * scope lives as long as the resource that it came with, so that both are replaced together.
 */
#include "redact/internal.h"

#define KEPT_MAX (8u << 20) /* bytes that kept resources may hold; past it all are let go */

static struct dressed *place_of(struct redact *r, const struct resource *from,
				const struct scope *scope)
{
	uint64_t mixed = ((uintptr_t)from ^ ((uintptr_t)scope << 1)) * 0x9e3779b97f4a7c15ull;

	return &r->dressed[mixed >> 58];
}

static void forget(struct redact *r, struct dressed *d)
{
	r->dressed_bytes -= d->bytes;
	resource_put(d->from);
	resource_put(d->to);
	*d = (struct dressed){ 0 };
}

void resources_forget(struct redact *r)
{
	for (size_t i = 0; i < RESOURCES; i++)
		forget(r, &r->dressed[i]);
}

/* Copies of what was masked, in one arena. False without memory. */
static bool dress(struct dressed *d, const struct attrs *attrs, struct str schema_url,
		  const struct scope *scope)
{
	struct resource *to = resource_new();
	struct scope *copy = to ? arena_alloc(to->arena, sizeof(*copy)) : NULL;

	if (!copy || !attrs_copy(attrs, to->arena, &to->attrs) ||
	    !attrs_copy(&scope->attrs, to->arena, &copy->attrs)) {
		resource_put(to);
		return false;
	}
	to->schema_url = arena_str(to->arena, schema_url);
	copy->name = arena_str(to->arena, scope->name);
	copy->version = arena_str(to->arena, scope->version);
	copy->schema_url = arena_str(to->arena, scope->schema_url);
	resource_seal(to);
	d->to = to;
	d->to_scope = copy;
	return true;
}

/* A new look at both. False without memory: the span cannot be shown. */
static bool look(struct redact *r, struct dressed *d)
{
	struct attrs attrs = d->from->attrs;
	struct str schema_url = d->from->schema_url;
	struct scope scope = *d->from_scope;
	bool changed = mask_attrs(r, &attrs);

	changed |= mask_attrs(r, &scope.attrs);
	changed |= mask_plain(r, KEY_TEXT, &scope.name);
	changed |= mask_plain(r, KEY_TEXT, &scope.version);
	changed |= mask_plain(r, KEY_URL, &scope.schema_url);
	changed |= mask_plain(r, KEY_URL, &schema_url);
	if (r->failed)
		return false;
	return !changed || dress(d, &attrs, schema_url, &scope);
}

static struct dressed *dressed_new(struct redact *r, struct resource *from,
				   const struct scope *scope)
{
	struct dressed d = { .from = from, .from_scope = scope }, *place;

	if (!look(r, &d)) {
		r->failed = true;
		return NULL;
	}
	d.bytes = arena_size(from->arena) + (d.to ? arena_size(d.to->arena) : 0);
	if (r->dressed_bytes + d.bytes > KEPT_MAX)
		resources_forget(r);
	place = place_of(r, from, scope);
	forget(r, place);
	resource_get(from);
	r->dressed_bytes += d.bytes;
	*place = d;
	return place;
}

bool mask_resource(struct redact *r, struct resource **resource, const struct scope **scope)
{
	struct dressed *d = place_of(r, *resource, *scope);

	if (d->from != *resource || d->from_scope != *scope)
		d = dressed_new(r, *resource, *scope);
	if (!d || !d->to)
		return false;
	*resource = d->to;
	*scope = d->to_scope;
	return true;
}

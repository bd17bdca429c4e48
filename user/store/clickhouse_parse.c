/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of an answer, in the format RowBinary, as spans. */
#include "store/clickhouse.h"

#include <errno.h>

#define SCOPES_MAX 64 /* then the next row begins a resource of its own */

struct known_scope {
	struct scope scope;
	struct known_scope *next;
};

/* ---- parts of the format -----------------------------------------------------------------------
 */

/* Nothing is before 1970 here. */
static uint64_t take_time(struct cursor *c)
{
	uint64_t ns = take_u64le(c);

	return ns > INT64_MAX ? 0 : ns;
}

/* Of a list whose items take at least so many bytes each. */
static uint64_t take_count(struct cursor *c, size_t least)
{
	uint64_t cnt = take_varint(c);

	if (cnt > cursor_left(c) / least)
		c->bad = true;
	return c->bad ? 0 : cnt;
}

/* What has come so far may end inside a row: nothing is kept of one before it was passed once. */
static void skip_texts(struct cursor *c, uint64_t cnt)
{
	for (uint64_t i = 0; i < cnt && !c->bad; i++)
		take_text(c);
}

static void skip_map(struct cursor *c)
{
	skip_texts(c, 2 * take_count(c, 2));
}

static void skip_maps(struct cursor *c)
{
	uint64_t cnt = take_count(c, 1);

	for (uint64_t i = 0; i < cnt && !c->bad; i++)
		skip_map(c);
}

static void skip_row(struct cursor *c)
{
	take_text(c);
	take(c, 8);
	skip_texts(c, 6);
	skip_map(c);
	skip_texts(c, 2);
	skip_map(c);
	take(c, 8);
	take_text(c);
	take(c, 8 * take_count(c, 8));
	skip_texts(c, take_count(c, 1));
	skip_maps(c);
	for (int i = 0; i < 3; i++)
		skip_texts(c, take_count(c, 1));
	skip_maps(c);
	take_text(c);
}

/* ---- words: those of this exporter, and of its older versions
 * ------------------------------------- */

enum span_kind row_kind(struct str s)
{
	enum span_kind kind = SPAN_UNSPECIFIED;

	span_kind_parse(s, &kind);
	return kind;
}

enum span_status row_status(struct str s)
{
	enum span_status status = STATUS_UNSET;

	span_status_parse(s, &status);
	return status;
}

/* ---- attributes -------------------------------------------------------------------------------
 */

/* "s7:user.id": a letter, the length of the key, the key; and so on. */
static bool told_type(struct str types, struct str key, enum value_type *ret)
{
	while (types.len) {
		ptrdiff_t colon = str_find(types, ':');
		uint64_t len;

		if (colon < 2 ||
		    !str_to_u64((struct str){ types.p + 1, (size_t)colon - 1 }, &len) ||
		    len > types.len - (size_t)colon - 1)
			return false;
		if (str_eq((struct str){ types.p + colon + 1, len }, key))
			return type_of_letter(types.p[0], ret);
		types = str_from(types, (size_t)colon + 1 + len);
	}
	return false;
}

static int take_map(struct cursor *c, struct arena *mem, struct attrs *ret)
{
	uint64_t cnt = take_count(c, 2);
	struct attr *item = arena_alloc(mem, (cnt + 1) * sizeof(*item));
	struct str types = { NULL, 0 };
	uint32_t kept = 0;

	if (!item)
		return -ENOMEM;
	for (uint64_t i = 0; i < cnt; i++) {
		struct str key = take_text(c), text = take_text(c);

		if (str_eq(key, STR(CH_TYPES_KEY)))
			types = text;
		else
			item[kept++] = (struct attr){ key, { .type = VALUE_STR, .str = text } };
	}
	for (uint32_t i = 0; i < kept; i++) {
		struct value *v = &item[i].value;
		enum value_type type;

		if (!told_type(types, item[i].key, &type))
			type = value_guess(item[i].key, v->str);
		*v = value_parse(type, v->str, mem);
	}
	*ret = (struct attrs){ .item = kept ? item : NULL, .cnt = kept, .size = kept };
	return 0;
}

static int make_resource(struct row_reader *r, struct str text, struct str service)
{
	struct cursor c = cursor_of(text.p, text.len);
	struct resource *res = resource_new();
	struct attrs found;
	int err = res ? take_map(&c, r->mem, &found) : -ENOMEM;

	if (!err && !attrs_copy(&found, res->arena, &res->attrs))
		err = -ENOMEM;
	if (err) {
		resource_put(res);
		return err;
	}
	/* a column of its own; others may have left the attribute out */
	if (service.len && !attrs_find(&res->attrs, STR("service.name")))
		attrs_add_str(&res->attrs, res->arena, "service.name",
			      arena_str(res->arena, service));
	resource_seal(res);
	resource_put(r->resource);
	r->resource = res;
	r->scopes = NULL;
	r->scope_cnt = 0;
	return 0;
}

/* A scope lives in the memory of its resource: copies of spans share it. */
static int share_scope(struct row_reader *r, struct str name, struct str version,
		       const struct scope **ret)
{
	struct arena *mem = r->resource->arena;
	struct known_scope *k = r->scopes;

	while (k && !(str_eq(k->scope.name, name) && str_eq(k->scope.version, version)))
		k = k->next;
	if (!k) {
		k = arena_alloc(mem, sizeof(*k));
		if (!k)
			return -ENOMEM;
		k->scope.name = arena_str(mem, name);
		k->scope.version = arena_str(mem, version);
		if (!k->scope.name.p || !k->scope.version.p)
			return -ENOMEM;
		k->next = r->scopes;
		r->scopes = k;
		r->scope_cnt++;
	}
	*ret = &k->scope;
	return 0;
}

/* Most rows have the resource of the row before. */
static int share_resource(struct row_reader *r, struct str service, struct cursor *c)
{
	const uint8_t *from = c->p;
	struct str text;
	int err;

	skip_map(c);
	text = (struct str){ (const char *)from, (size_t)(c->p - from) };
	if (r->resource && r->scope_cnt < SCOPES_MAX && str_eq(r->resource->service, service) &&
	    str_eq(text, buf_str(&r->resource_text)))
		return 0;
	buf_clear(&r->resource_text);
	err = make_resource(r, text, service);
	return err ? err : buf_add_str(&r->resource_text, text);
}

/* ---- events and links
 * ---------------------------------------------------------------------------- */

static int take_events(struct row_reader *r, struct cursor *c)
{
	struct span *s = &r->span;
	uint64_t cnt = take_count(c, 8);
	int err = 0;

	s->events = arena_alloc(r->mem, (cnt + 1) * sizeof(*s->events));
	if (!s->events)
		return -ENOMEM;
	s->event_cnt = (uint32_t)cnt;
	for (uint64_t i = 0; i < cnt; i++)
		s->events[i].time_ns = take_time(c);
	if (take_varint(c) != cnt)
		return -EBADMSG;
	for (uint64_t i = 0; i < cnt; i++)
		s->events[i].name = take_text(c);
	if (take_varint(c) != cnt)
		return -EBADMSG;
	for (uint64_t i = 0; i < cnt && !err; i++)
		err = take_map(c, r->mem, &s->events[i].attrs);
	return err;
}

static int take_links(struct row_reader *r, struct cursor *c)
{
	struct span *s = &r->span;
	uint64_t cnt = take_count(c, 1);
	int err = 0;

	s->links = arena_alloc(r->mem, (cnt + 1) * sizeof(*s->links));
	if (!s->links)
		return -ENOMEM;
	s->link_cnt = (uint32_t)cnt;
	for (uint64_t i = 0; i < cnt; i++)
		trace_id_parse(take_text(c), &s->links[i].trace_id);
	if (take_varint(c) != cnt)
		return -EBADMSG;
	for (uint64_t i = 0; i < cnt; i++)
		span_id_parse(take_text(c), &s->links[i].span_id);
	if (take_varint(c) != cnt)
		return -EBADMSG;
	for (uint64_t i = 0; i < cnt; i++)
		s->links[i].trace_state = take_text(c);
	if (take_varint(c) != cnt)
		return -EBADMSG;
	for (uint64_t i = 0; i < cnt && !err; i++)
		err = take_map(c, r->mem, &s->links[i].attrs);
	return err;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

int reader_init(struct row_reader *r)
{
	*r = (struct row_reader){ .mem = arena_new(0) };
	return r->mem ? 0 : -ENOMEM;
}

void reader_fini(struct row_reader *r)
{
	resource_put(r->resource);
	buf_fini(&r->resource_text);
	arena_free(r->mem);
}

static int take_span(struct row_reader *r, struct cursor *c)
{
	struct span *s = &r->span;
	struct str service, name;
	bool named;
	int err;

	s->status = row_status(take_text(c));
	s->start_ns = take_time(c);
	named = trace_id_parse(take_text(c), &s->trace_id);
	named = span_id_parse(take_text(c), &s->span_id) && named;
	span_id_parse(take_text(c), &s->parent_id);
	s->trace_state = take_text(c);
	s->name = take_text(c);
	service = take_text(c);
	err = share_resource(r, service, c);
	if (err)
		return err;
	s->resource = r->resource;
	name = take_text(c);
	err = share_scope(r, name, take_text(c), &s->scope);
	if (!err)
		err = take_map(c, r->mem, &s->attrs);
	if (err)
		return err;
	s->end_ns = s->start_ns + take_time(c);
	s->status_message = take_text(c);
	err = take_events(r, c);
	if (!err)
		err = take_links(r, c);
	s->kind = row_kind(take_text(c));
	return err ? err : c->bad ? -EBADMSG : !named;
}

int reader_take(struct row_reader *r, struct cursor *c)
{
	struct cursor ahead = *c;

	skip_row(&ahead);
	if (ahead.bad) {
		c->bad = true;
		return 0;
	}
	arena_reset(r->mem);
	r->span = (struct span){ 0 };
	return take_span(r, c);
}

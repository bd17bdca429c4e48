/* SPDX-License-Identifier: Apache-2.0 */
/* Adding spans to a block: what repeats becomes a number, at once. */
#include "store/block_build.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

/* A block of more than one span is full past this; growing tables may take half as much again. */
#define BUILDER_FULL_BYTES (BLOCK_BYTES_MAX * 5 / 8)

/* ---- dictionaries ---- */

static bool dict_grow(struct dict *d, struct dict_home *home)
{
	uint32_t size = d->size ? d->size * 2 : 16;
	struct dict_entry *entry = realloc(d->entry, size * sizeof(*entry));
	uint32_t *slot;

	if (!entry)
		return false;
	d->entry = entry;
	slot = calloc(size * 2, sizeof(*slot));
	if (!slot)
		return false;
	free(d->slot);
	d->slot = slot;
	home->held += (size - d->size) * (sizeof(*entry) + 2 * sizeof(*slot));
	d->shift = 63 - (uint32_t)__builtin_ctz(size);
	d->size = size;
	for (uint32_t i = 0; i < d->cnt; i++) {
		uint32_t at = (uint32_t)(d->entry[i].hash * home->salt >> d->shift);

		while (slot[at])
			at = (at + 1) & (2 * size - 1);
		slot[at] = i + 1;
	}
	return true;
}

uint32_t dict_add(struct dict *d, struct dict_home *home, struct str s)
{
	uint64_t hash = text_hash(s);
	uint32_t at;
	char *copy;

	if (d->cnt == d->size && !dict_grow(d, home))
		return DICT_NONE;
	at = (uint32_t)(hash * home->salt >> d->shift);
	for (; d->slot[at]; at = (at + 1) & (2 * d->size - 1)) {
		const struct dict_entry *e = &d->entry[d->slot[at] - 1];

		if (e->hash == hash && e->len == s.len && bytes_eq(e->p, s.p, s.len))
			return d->slot[at] - 1;
	}
	copy = arena_alloc_raw(home->text, s.len);
	if (!copy)
		return DICT_NONE;
	if (s.len)
		memcpy(copy, s.p, s.len);
	d->entry[d->cnt] = (struct dict_entry){ hash, copy, (uint32_t)s.len };
	d->slot[at] = d->cnt + 1;
	return d->cnt++;
}

void dict_fini(struct dict *d)
{
	free(d->entry);
	free(d->slot);
	*d = (struct dict){ 0 };
}

bool builder_grow(struct block_builder *b, void *items, uint32_t cnt, uint32_t more, uint32_t *size,
		  size_t item_size)
{
	uint32_t to = MAX(*size + *size / 2 + 16, cnt + more);
	void **at = items, *p;

	if (more <= *size - cnt)
		return true;
	p = realloc(*at, to * item_size);
	if (!p)
		return false;
	*at = p;
	b->home.held += (to - *size) * item_size;
	*size = to;
	return true;
}

/* ---- how much a span takes ---- */

static size_t pairs_extent(const struct attr *item, size_t cnt, int depth);
static size_t array_extent(const struct value *item, size_t cnt, int depth);

/* Nearly all values are no lists. */
static inline size_t value_extent(const struct value *v, int depth)
{
	switch (v->type) {
	case VALUE_STR:
	case VALUE_BYTES: return v->str.len;
	case VALUE_ARRAY: return array_extent(v->array.item, v->array.cnt, depth + 1);
	case VALUE_KVLIST: return pairs_extent(v->kvlist.item, v->kvlist.cnt, depth + 1);
	default: return 0;
	}
}

/* What lies too deep is too large. */
static size_t array_extent(const struct value *item, size_t cnt, int depth)
{
	size_t sum = depth > VALUE_DEPTH_MAX && cnt ? BLOCK_SPAN_BYTES_MAX + 1 : 0;

	for (size_t i = 0; i < cnt && sum <= BLOCK_SPAN_BYTES_MAX; i++)
		sum += sizeof(*item) + value_extent(&item[i], depth);
	return sum;
}

static size_t pairs_extent(const struct attr *item, size_t cnt, int depth)
{
	size_t sum = depth > VALUE_DEPTH_MAX && cnt ? BLOCK_SPAN_BYTES_MAX + 1 : 0;

	for (size_t i = 0; i < cnt && sum <= BLOCK_SPAN_BYTES_MAX; i++)
		sum += sizeof(*item) + item[i].key.len + value_extent(&item[i].value, depth);
	return sum;
}

static size_t span_extent(const struct span *s)
{
	size_t sum = sizeof(*s) + s->name.len + s->trace_state.len + s->status_message.len +
		     pairs_extent(s->attrs.item, s->attrs.cnt, 0);

	for (uint32_t i = 0; i < s->event_cnt && sum <= BLOCK_SPAN_BYTES_MAX; i++)
		sum += sizeof(*s->events) + s->events[i].name.len +
		       pairs_extent(s->events[i].attrs.item, s->events[i].attrs.cnt, 0);
	for (uint32_t i = 0; i < s->link_cnt && sum <= BLOCK_SPAN_BYTES_MAX; i++)
		sum += sizeof(*s->links) + s->links[i].trace_state.len +
		       pairs_extent(s->links[i].attrs.item, s->links[i].attrs.cnt, 0);
	return sum;
}

static size_t scope_extent(const struct scope *s)
{
	return pairs_extent(s->attrs.item, s->attrs.cnt, 0) + s->name.len + s->version.len +
	       s->schema_url.len;
}

static struct resource_memo *memo_of(struct block_builder *b, const struct resource *r)
{
	return &b->memo[(uint64_t)(uintptr_t)r * 0x9e3779b97f4a7c15u >> 58];
}

/* A freed resource's address may come again: equal contents, not the address, decide. */
static bool memo_holds(const struct resource_memo *m, const struct resource *r)
{
	return m->resource == r && m->hash == r->hash && m->attrs == r->attrs.cnt &&
	       m->dropped == r->attrs.dropped && str_eq(m->schema_url, r->schema_url);
}

/* One that the block has already takes no more. */
static size_t resource_extent(struct block_builder *b, const struct resource *r)
{
	if (memo_holds(memo_of(b, r), r))
		return 0;
	return pairs_extent(r->attrs.item, r->attrs.cnt, 0) + r->schema_url.len + r->service.len;
}

/* ---- what spans share ---- */

static struct str scratch_str(struct block_builder *b)
{
	return buf_str(&b->scratch);
}

/* A key of a scope, an event or a link, for the list of tags. */
static int add_tag(struct block_builder *b, enum field_kind kind, struct str key)
{
	buf_clear(&b->scratch);
	buf_add_char(&b->scratch, (char)kind);
	buf_add_str(&b->scratch, key);
	if (b->scratch.failed || dict_add(&b->tags, &b->home, scratch_str(b)) == DICT_NONE)
		return -ENOMEM;
	return 0;
}

static int add_tags(struct block_builder *b, enum field_kind kind, const struct attrs *a)
{
	int err = 0;

	for (uint32_t i = 0; i < a->cnt && !err; i++)
		err = add_tag(b, kind, a->item[i].key);
	return err;
}

static uint32_t add_resource(struct block_builder *b, const struct resource *r)
{
	struct resource_memo *m = memo_of(b, r);
	uint32_t number;

	if (memo_holds(m, r))
		return m->number;
	buf_clear(&b->scratch);
	put_resource(&b->scratch, r);
	if (b->scratch.failed)
		return DICT_NONE;
	number = dict_add(&b->resources, &b->home, scratch_str(b));
	if (number == DICT_NONE)
		return number;
	/* its text stands first in what was encoded; the length's bytes are in front of it */
	*m =
		(struct resource_memo){ r,	     r->hash, r->attrs.cnt, r->attrs.dropped,
					{ NULL, 0 }, number };
	if (r->schema_url.len) {
		struct cursor c =
			cursor_of(b->resources.entry[number].p, b->resources.entry[number].len);
		m->schema_url = take_text(&c);
	}
	return number;
}

static uint32_t add_scope(struct block_builder *b, const struct scope *s)
{
	bool plain = !s->attrs.cnt && !s->attrs.dropped;
	uint32_t number;
	struct cursor c;

	if (plain && b->scope_last != DICT_NONE && str_eq(s->name, b->scope_name) &&
	    str_eq(s->version, b->scope_version) && str_eq(s->schema_url, b->scope_schema))
		return b->scope_last;
	if (add_tags(b, FIELD_SCOPE_ATTR, &s->attrs))
		return DICT_NONE;
	buf_clear(&b->scratch);
	put_scope(&b->scratch, s);
	number = b->scratch.failed ? DICT_NONE : dict_add(&b->scopes, &b->home, scratch_str(b));
	if (!plain || number == DICT_NONE)
		return number;
	c = cursor_of(b->scopes.entry[number].p, b->scopes.entry[number].len);
	b->scope_name = take_text(&c);
	b->scope_version = take_text(&c);
	b->scope_schema = take_text(&c);
	b->scope_last = number;
	return number;
}

/* ---- attributes ---- */

static uint32_t add_column(struct block_builder *b, const struct attr *a)
{
	uint32_t known = b->columns.cnt, number;

	buf_clear(&b->scratch);
	buf_add_char(&b->scratch, (char)a->value.type);
	buf_add_str(&b->scratch, a->key);
	if (b->scratch.failed ||
	    !builder_grow(b, &b->column, known, 1, &b->column_size, sizeof(*b->column)))
		return DICT_NONE;
	number = dict_add(&b->columns, &b->home, scratch_str(b));
	if (b->columns.cnt > known)
		b->column[number] =
			(struct column){ .key = str_from(dict_str(&b->columns, number), 1),
					 .type = a->value.type };
	return number;
}

/* The node one attribute further, made when it is new; 0 without memory (the root is no child). */
static uint32_t add_step(struct block_builder *b, uint32_t from, const struct attr *a)
{
	uint32_t column = add_column(b, a);
	uint64_t step = (uint64_t)from << 32 | column;
	uint32_t known = b->steps.cnt, number;
	struct shape_node *n;

	if (column == DICT_NONE ||
	    !builder_grow(b, &b->node, known + 1, 1, &b->node_size, sizeof(*b->node)))
		return 0;
	number = dict_add(&b->steps, &b->home, (struct str){ (char *)&step, sizeof(step) });
	if (number == DICT_NONE)
		return 0;
	number++;
	n = b->node;
	if (b->steps.cnt > known)
		n[number] = (struct shape_node){ .column = column,
						 .parent = from,
						 .depth = n[from].depth + 1,
						 .last = DICT_NONE };
	n[from].recent[n[from].turn++ & 3] = number;
	return number;
}

static inline uint32_t find_step(struct block_builder *b, uint32_t from, const struct attr *a)
{
	for (int i = 0; i < 4; i++) {
		uint32_t at = b->node[from].recent[i];
		const struct column *c = &b->column[b->node[at].column];

		if (!at)
			break;
		if (c->type == a->value.type && str_eq(c->key, a->key))
			return at;
	}
	return add_step(b, from, a);
}

static bool add_text(struct block_builder *b, struct shape_node *n, const struct value *v,
		     uint64_t *ret)
{
	struct dict *d = &b->column[n->column].dict;
	struct str s = v->str;

	if (v->type == VALUE_ARRAY || v->type == VALUE_KVLIST) {
		buf_clear(&b->scratch);
		put_list(&b->scratch, v);
		if (b->scratch.failed)
			return false;
		s = scratch_str(b);
	}
	if (n->last == DICT_NONE || !str_eq(dict_str(d, n->last), s))
		n->last = dict_add(d, &b->home, s);
	*ret = n->last;
	return n->last != DICT_NONE;
}

/* Appends the attributes' values past the end of b->value, and finds the shape. */
static bool add_attrs(struct block_builder *b, const struct attrs *a, uint32_t *ret_shape)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < a->cnt; i++) {
		const struct value *v = &a->item[i].value;
		uint64_t *to = &b->value[b->value_cnt + i];

		at = find_step(b, at, &a->item[i]);
		if (!at)
			return false;
		*to = v->type == VALUE_BOOL ? v->b : (uint64_t)v->i;
		if (type_is_text(v->type) && !add_text(b, &b->node[at], v, to))
			return false;
	}
	if (!b->node[at].shape) {
		if (!builder_grow(b, &b->shape, b->shape_cnt, 1, &b->shape_size, sizeof(*b->shape)))
			return false;
		b->shape[b->shape_cnt++] = at;
		b->node[at].shape = b->shape_cnt;
	}
	*ret_shape = b->node[at].shape - 1;
	return true;
}

void shape_columns(const struct block_builder *b, uint32_t shape, uint32_t *ret_columns,
		   uint32_t *ret_cnt)
{
	uint32_t at = b->shape[shape];

	*ret_cnt = b->node[at].depth;
	for (; at; at = b->node[at].parent)
		ret_columns[b->node[at].depth - 1] = b->node[at].column;
}

/* ---- spans ---- */

static int add_details(struct block_builder *b, const struct span *s, struct row *r)
{
	int err = 0;

	r->detail = (uint32_t)b->detail.len;
	if (!has_details(s))
		return 0;
	for (uint32_t i = 0; i < s->event_cnt && !err; i++)
		err = add_tags(b, FIELD_EVENT_ATTR, &s->events[i].attrs);
	for (uint32_t i = 0; i < s->link_cnt && !err; i++)
		err = add_tags(b, FIELD_LINK_ATTR, &s->links[i].attrs);
	put_details(&b->detail, s);
	if (err || b->detail.failed) {
		b->detail.len = r->detail;
		b->detail.failed = false;
		return -ENOMEM;
	}
	r->detail_len = (uint32_t)(b->detail.len - r->detail);
	return 0;
}

static uint32_t add_name(struct block_builder *b, struct str name)
{
	if (b->name_last == DICT_NONE || !str_eq(dict_str(&b->names, b->name_last), name))
		b->name_last = dict_add(&b->names, &b->home, name);
	return b->name_last;
}

static int admit(struct block_builder *b, const struct span *s)
{
	size_t extent = span_extent(s);
	size_t owners = resource_extent(b, s->resource) + scope_extent(s->scope);

	if (extent > BLOCK_SPAN_BYTES_MAX || owners > BLOCK_SPAN_BYTES_MAX / 2 ||
	    s->attrs.cnt > COLUMNS_MAX)
		return -E2BIG;
	if (!b->row_cnt)
		return 0;
	if (b->row_cnt == BLOCK_SPANS_MAX || b->columns.cnt + s->attrs.cnt > COLUMNS_MAX ||
	    block_memory(b) + extent + owners > BUILDER_FULL_BYTES)
		return -ENOSPC;
	return 0;
}

/* For one more span. What grows from nothing is copied several times: blocks are much alike. */
static bool make_room(struct block_builder *b, uint32_t attrs)
{
	uint32_t rows = b->row_cnt ? 1 : MAX(b->rows_before, 1u);
	uint32_t values = b->row_cnt ? attrs : MAX(b->values_before, attrs);

	return builder_grow(b, &b->row, b->row_cnt, rows, &b->row_size, sizeof(*b->row)) &&
	       builder_grow(b, &b->value, b->value_cnt, values, &b->value_size, sizeof(*b->value));
}

int block_add(struct block_builder *b, const struct span *s)
{
	struct row r = { .id = s->span_id,
			 .parent = s->parent_id,
			 .start_ns = s->start_ns,
			 .end_ns = s->end_ns,
			 .kind = s->kind,
			 .status = s->status,
			 .flags = s->flags,
			 .value = b->value_cnt };
	int err = admit(b, s);

	if (err)
		return err;
	/* the last reset may have been short of memory */
	if (!b->column_size && !builder_reset(b))
		return -ENOMEM;
	if (!make_room(b, s->attrs.cnt))
		return -ENOMEM;
	r.trace = dict_add(&b->traces, &b->home,
			   (struct str){ (const char *)s->trace_id.b, sizeof(s->trace_id.b) });
	r.name = add_name(b, s->name);
	r.resource = add_resource(b, s->resource);
	r.scope = add_scope(b, s->scope);
	if (r.trace == DICT_NONE || r.name == DICT_NONE || r.resource == DICT_NONE ||
	    r.scope == DICT_NONE || !add_attrs(b, &s->attrs, &r.shape))
		return -ENOMEM;
	err = add_details(b, s, &r);
	if (err)
		return err;
	b->value_cnt += s->attrs.cnt;
	b->row[b->row_cnt++] = r;
	return 0;
}

uint32_t block_spans(const struct block_builder *b)
{
	return b->row_cnt;
}

size_t block_memory(const struct block_builder *b)
{
	return b->home.held + (b->home.text ? arena_size(b->home.text) : 0) + b->detail.size +
	       b->scratch.size;
}

/* ---- beginning and end ---- */

/* Everything but what a new block is begun with. */
static void builder_fini(struct block_builder *b)
{
	struct dict *const dicts[] = { &b->traces,  &b->names, &b->resources, &b->scopes,
				       &b->columns, &b->steps, &b->tags };

	for (uint32_t i = 0; i < b->columns.cnt; i++)
		dict_fini(&b->column[i].dict);
	for (size_t i = 0; i < ARRAY_LEN(dicts); i++)
		dict_fini(dicts[i]);
	free(b->row);
	free(b->value);
	free(b->column);
	free(b->node);
	free(b->shape);
	buf_fini(&b->detail);
	buf_fini(&b->scratch);
	arena_free(b->home.text);
}

bool builder_reset(struct block_builder *b)
{
	ZSTD_CCtx *zstd = b->zstd;
	uint64_t salt = b->home.salt;

	builder_fini(b);
	*b = (struct block_builder){ .zstd = zstd,
				     .rows_before = b->row_cnt,
				     .values_before = b->value_cnt,
				     .scope_last = DICT_NONE,
				     .name_last = DICT_NONE };
	b->home.salt = salt;
	b->home.text = arena_new(0);
	if (!b->home.text || !builder_grow(b, &b->node, 0, 1, &b->node_size, sizeof(*b->node)) ||
	    !builder_grow(b, &b->column, 0, 1, &b->column_size, sizeof(*b->column)))
		return false;
	b->node[0] = (struct shape_node){ .last = DICT_NONE };
	b->column[0] = (struct column){ 0 };
	return true;
}

struct block_builder *block_builder_new(void)
{
	struct block_builder *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	if (getrandom(&b->home.salt, sizeof(b->home.salt), 0) < 0)
		b->home.salt = (uint64_t)(uintptr_t)b;
	b->home.salt |= 1;
	b->zstd = ZSTD_createCCtx();
	if (!b->zstd || !builder_reset(b)) {
		block_builder_free(b);
		return NULL;
	}
	return b;
}

void block_builder_free(struct block_builder *b)
{
	if (!b)
		return;
	if (b->home.text)
		builder_fini(b);
	ZSTD_freeCCtx(b->zstd);
	free(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept beside a body: which traces, operations, keys and values are in it. */
#include "store/block_build.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#define BITS_PER_PAIR 10
/* A span's share of the pairs: keys with the most values are left out past it. */
#define PAIR_BITS_PER_SPAN 24
#define PAIRS_SPARE	   512

/* Pairs that are all in the filter or not at all: of a column, or of all resources. */
struct pair_group {
	uint32_t tag; /* DICT_NONE: resources */
	enum value_type type;
	uint32_t first, cnt;
};

/* A trace in one number, so that they are sorted quickly: its mark, its spans, whether one of them
 * has no parent. */
#define ENTRY_MARK_SHIFT  24
#define ENTRY_SPANS_SHIFT 1
#define ENTRY_TOP	  1u

struct indexer {
	struct block_builder *b;
	struct dict services, operations;
	uint8_t *types, *indexed; /* of a tag: bits 1 << enum value_type */
	uint64_t *pair;
	uint32_t pair_cnt, pair_size;
	struct pair_group *group;
	uint32_t group_cnt;
	uint64_t *seen;	 /* scratch: a set of values, emptied by who uses it */
	uint32_t chosen; /* groups in the filter */
	uint32_t chosen_pairs;
	uint64_t *trace;		  /* entries by their marks; as much room behind them */
	uint64_t longest_ns, heaviest_ns; /* of the traces */
};

/* ---- names ---- */

static int add_operations(struct indexer *x)
{
	struct block_builder *b = x->b;
	uint32_t *service = calloc(b->resources.cnt + 1, sizeof(*service)), at = 0;
	bool *top = calloc(b->row_cnt + 1, sizeof(*top));
	int err = service && top ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < b->resources.cnt && !err; i++) {
		struct cursor c = cursor_of(b->resources.entry[i].p, b->resources.entry[i].len);

		take_text(&c); /* the schema's URL */
		service[i] = dict_add(&x->services, &b->home, take_text(&c));
		err = service[i] == DICT_NONE ? -ENOMEM : 0;
	}
	for (uint32_t i = 0; i < b->row_cnt && !err; i++) {
		const struct row *r = &b->row[i];
		const uint32_t op[3] = { service[r->resource], r->kind, r->name };
		struct str key = { (const char *)op, sizeof(op) };

		at = dict_add(&x->operations, &b->home, key);
		err = at == DICT_NONE ? -ENOMEM : 0;
		if (!err)
			top[at] = top[at] || !span_id_is_set(&r->parent);
	}
	/* nothing is looked up in it any more */
	for (uint32_t i = 0; i < x->operations.cnt && !err; i++)
		x->operations.entry[i].hash = top[i];
	free(top);
	free(service);
	return err;
}

static int by_service(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, ((const struct dict_entry *)a)->p, sizeof(x));
	memcpy(&y, ((const struct dict_entry *)b)->p, sizeof(y));
	return (x > y) - (x < y);
}

static void put_operations(struct indexer *x, struct buf *to)
{
	struct dict *d = &x->operations;

	put_varint(to, x->services.cnt);
	for (uint32_t i = 0; i < x->services.cnt; i++)
		put_text(to, dict_str(&x->services, i));
	put_varint(to, d->cnt);
	if (d->cnt)
		qsort(d->entry, d->cnt, sizeof(*d->entry), by_service);
	for (uint32_t i = 0; i < d->cnt; i++) {
		uint32_t op[3];

		memcpy(op, d->entry[i].p, sizeof(op));
		put_varint(to, op[0]);
		put_varint(to, (uint64_t)op[1] << 1 | d->entry[i].hash);
		put_text(to, dict_str(&x->b->names, op[2]));
	}
}

/* ---- keys and values ---- */

static uint32_t tag_number(struct indexer *x, enum field_kind kind, struct str key)
{
	struct block_builder *b = x->b;

	buf_clear(&b->scratch);
	buf_add_char(&b->scratch, (char)kind);
	buf_add_str(&b->scratch, key);
	return b->scratch.failed ? DICT_NONE : dict_add(&b->tags, &b->home, buf_str(&b->scratch));
}

static bool add_pair(struct indexer *x, uint64_t h)
{
	if (!builder_grow(x->b, &x->pair, x->pair_cnt, 1, &x->pair_size, sizeof(*x->pair)))
		return false;
	x->pair[x->pair_cnt++] = h;
	return true;
}

/* Each value of an integer column once. */
static bool add_ints(struct indexer *x, const uint64_t *v, uint32_t cnt, uint64_t key)
{
	uint32_t slots = 16, at;

	while (slots < 2 * cnt)
		slots *= 2;
	memset(x->seen, 0, slots * sizeof(*x->seen));
	for (uint32_t i = 0; i < cnt; i++) {
		uint64_t h = pair_hash(key, v[i]) | 1; /* 0 is a free slot */

		for (at = (uint32_t)(h * x->b->home.salt >> 32) & (slots - 1); x->seen[at];
		     at = (at + 1) & (slots - 1))
			if (x->seen[at] == h)
				break;
		if (x->seen[at])
			continue;
		x->seen[at] = h;
		if (!add_pair(x, h))
			return false;
	}
	return true;
}

static bool add_column_pairs(struct indexer *x, const struct sorted *s, const struct column *c)
{
	uint64_t key = pair_key(FIELD_SPAN_ATTR, c->key, c->type);

	if (c->type == VALUE_INT || c->type == VALUE_BOOL)
		return add_ints(x, s->value + c->first, c->cnt, key);
	if (c->type != VALUE_STR)
		return true;
	for (uint32_t i = 0; i < c->dict.cnt; i++)
		if (!add_pair(x, pair_hash(key, c->dict.entry[i].hash) | 1))
			return false;
	return true;
}

static bool add_columns(struct indexer *x, const struct sorted *s)
{
	for (uint32_t i = 0; i < x->b->columns.cnt; i++) {
		const struct column *c = &x->b->column[i];
		struct pair_group *g = &x->group[x->group_cnt++];

		*g = (struct pair_group){ .tag = tag_number(x, FIELD_SPAN_ATTR, c->key),
					  .type = c->type,
					  .first = x->pair_cnt };
		if (g->tag == DICT_NONE || !add_column_pairs(x, s, c))
			return false;
		g->cnt = x->pair_cnt - g->first;
	}
	return true;
}

static bool add_resource_attr(struct indexer *x, const struct attr *a, bool keys_only)
{
	uint32_t tag = tag_number(x, FIELD_RESOURCE_ATTR, a->key);
	uint64_t h;

	if (tag == DICT_NONE || keys_only)
		return tag != DICT_NONE;
	x->types[tag] |= (uint8_t)(1u << a->value.type);
	return !value_pair(FIELD_RESOURCE_ATTR, a->key, &a->value, &h) || add_pair(x, h);
}

/* Called twice: the keys must all be known before there is room for their types. */
static bool add_resources(struct indexer *x, bool keys_only)
{
	const struct dict *d = &x->b->resources;
	struct pair_group *g = &x->group[x->group_cnt];
	struct arena *mem = arena_new(0);
	struct resource r;
	bool ok = mem;

	*g = (struct pair_group){ .tag = DICT_NONE, .first = x->pair_cnt };
	for (uint32_t i = 0; i < d->cnt && ok; i++) {
		struct cursor c = cursor_of(d->entry[i].p, d->entry[i].len);

		take_resource(&c, mem, &r);
		ok = !c.bad;
		for (uint32_t k = 0; k < r.attrs.cnt && ok; k++)
			ok = add_resource_attr(x, &r.attrs.item[k], keys_only);
		arena_reset(mem);
	}
	arena_free(mem);
	if (keys_only)
		return ok;
	/* most are the same in all of them */
	g->cnt = x->pair_cnt - g->first;
	x->group_cnt++;
	return ok;
}

static int by_cnt(const void *a, const void *b)
{
	const struct pair_group *x = a, *y = b;

	return (x->cnt > y->cnt) - (x->cnt < y->cnt);
}

/* Keys with few values first: as many as their share of bits allows. */
static void choose(struct indexer *x)
{
	uint64_t most = (uint64_t)x->b->row_cnt * PAIR_BITS_PER_SPAN / BITS_PER_PAIR + PAIRS_SPARE;

	qsort(x->group, x->group_cnt, sizeof(*x->group), by_cnt);
	for (; x->chosen < x->group_cnt; x->chosen++) {
		const struct pair_group *g = &x->group[x->chosen];

		if (x->chosen_pairs + g->cnt > most)
			break;
		x->chosen_pairs += g->cnt;
		if (g->tag != DICT_NONE)
			x->indexed[g->tag] |= (uint8_t)(1u << g->type);
		else
			for (uint32_t t = 0; t < x->b->tags.cnt; t++)
				if (x->b->tags.entry[t].p[0] == FIELD_RESOURCE_ATTR)
					x->indexed[t] = INDEXED_TYPES;
	}
}

static int add_pairs(struct indexer *x, const struct sorted *s)
{
	struct block_builder *b = x->b;
	uint32_t tags;

	x->group = calloc(b->columns.cnt + 2, sizeof(*x->group));
	x->seen = malloc((4 * (size_t)b->value_cnt + 16) * sizeof(*x->seen));
	if (!x->group || !x->seen || !add_columns(x, s) || !add_resources(x, true))
		return -ENOMEM;
	tags = b->tags.cnt;
	x->types = calloc(tags + 1, 1);
	x->indexed = calloc(tags + 1, 1);
	if (!x->types || !x->indexed)
		return -ENOMEM;
	for (uint32_t t = 0; t < tags; t++) {
		char kind = b->tags.entry[t].p[0];

		if (kind != FIELD_SPAN_ATTR && kind != FIELD_RESOURCE_ATTR)
			x->types[t] = 0xff; /* not looked at */
	}
	for (uint32_t i = 0; i < x->group_cnt; i++)
		x->types[x->group[i].tag] |= (uint8_t)(1u << x->group[i].type);
	if (!add_resources(x, false))
		return -ENOMEM;
	choose(x);
	return 0;
}

static void put_tags(struct indexer *x, struct buf *to)
{
	const struct dict *d = &x->b->tags;

	put_varint(to, d->cnt);
	for (uint32_t i = 0; i < d->cnt; i++) {
		buf_add_char(to, d->entry[i].p[0]);
		buf_add_char(to, (char)x->types[i]);
		buf_add_char(to, (char)x->indexed[i]);
		put_text(to, str_from(dict_str(d, i), 1));
	}
}

/* ---- blooms ---- */

static uint8_t *put_bloom(struct buf *to, size_t bytes)
{
	uint8_t *at;

	if (buf_reserve(to, bytes))
		return NULL;
	at = memset(to->p + to->len, 0, bytes);
	to->len += bytes;
	return at;
}

static void bloom_add(uint8_t *bits, uint32_t bytes, uint64_t h)
{
	for (uint32_t i = 0; i < BLOOM_HASHES; i++) {
		uint32_t bit = bloom_bit(h, i, bytes);

		bits[bit / 8] |= (uint8_t)(1u << bit % 8);
	}
}

/* How many bytes. */
static uint32_t put_pairs(struct indexer *x, struct buf *to)
{
	uint32_t bytes = (x->chosen_pairs * BITS_PER_PAIR + 7) / 8;
	uint8_t *bits = put_bloom(to, bytes);

	for (uint32_t i = 0; bits && i < x->chosen; i++)
		for (uint32_t k = 0; k < x->group[i].cnt; k++)
			bloom_add(bits, bytes, x->pair[x->group[i].first + k]);
	return bytes;
}

static int list_traces(struct indexer *x, const struct sorted *s)
{
	const struct dict *traces = &x->b->traces;

	x->trace = malloc((2 * (size_t)traces->cnt + 1) * sizeof(*x->trace));
	if (!x->trace)
		return -ENOMEM;
	for (uint32_t t = 0, row = 0; t < traces->cnt; t++) {
		uint64_t mark = trace_long_mark(traces->entry[t].hash), end_ns = 0;
		double lasts_ns = 0;
		uint32_t end = row + s->trace_rows[t];
		bool top = false;

		for (; row < end; row++) {
			const struct row *r = &x->b->row[s->order[row]];

			top = top || !s->parent[row];
			end_ns = MAX(end_ns, r->end_ns);
			lasts_ns += (double)(r->end_ns - r->start_ns);
		}
		if (end_ns > s->trace_start[t])
			x->longest_ns = MAX(x->longest_ns, end_ns - s->trace_start[t]);
		/* where it is rounded or does not fit, it may be more, but not less */
		lasts_ns += lasts_ns * 1e-9 + 1;
		if (lasts_ns > (double)x->heaviest_ns)
			x->heaviest_ns = lasts_ns < 1.8e19 ? (uint64_t)lasts_ns : UINT64_MAX;
		x->trace[t] = mark << ENTRY_MARK_SHIFT |
			      MIN(s->trace_rows[t], WHOLE_MANY) << ENTRY_SPANS_SHIFT |
			      (top ? ENTRY_TOP : 0);
	}
	sort_numbers(x->trace, x->trace + traces->cnt, traces->cnt, ENTRY_MARK_SHIFT, 64);
	return 0;
}

/*
 * 32 bits of each trace's hash, in order. Several traces are looked for in all blocks at once, and
 * a block that is opened in vain costs what thousands of these comparisons do: so no bloom.
 */
static uint32_t put_traces(struct indexer *x, struct buf *to)
{
	uint32_t cnt = x->b->traces.cnt;

	for (uint32_t i = 0; i < cnt; i++)
		put_u32(to, (uint32_t)(x->trace[i] >> 32));
	return cnt * (uint32_t)sizeof(uint32_t);
}

static uint32_t put_whole(struct indexer *x, const struct sorted *s, struct buf *to)
{
	uint32_t cnt = x->b->traces.cnt, before = 0;
	size_t at = to->len;

	put_varint(to, x->longest_ns);
	put_varint(to, x->heaviest_ns);
	put_varint(to, s->doubled ? WHOLE_DOUBLED : 0);
	for (uint32_t i = 0; i < cnt; i++)
		buf_add_char(to, (char)(x->trace[i] >> ENTRY_MARK_SHIFT));
	for (uint32_t i = 0; i < cnt; i++)
		buf_add_char(to, (char)(x->trace[i] >> ENTRY_SPANS_SHIFT));
	for (uint32_t i = 0; i < cnt; i++) {
		if (x->trace[i] & ENTRY_TOP)
			continue;
		put_varint(to, i - before);
		before = i;
	}
	return (uint32_t)(to->len - at);
}

/* ---- all of it ---- */

static int put_filter(struct indexer *x, const struct sorted *s, struct buf *to)
{
	uint32_t part[FILTER_PARTS], check;
	size_t at;

	for (size_t i = 0; i < FILTER_HEAD_LEN / 4; i++)
		put_u32(to, 0);
	at = to->len;
	put_operations(x, to);
	part[0] = (uint32_t)(to->len - at);
	at = to->len;
	put_tags(x, to);
	part[1] = (uint32_t)(to->len - at);
	part[2] = put_traces(x, to);
	part[3] = put_pairs(x, to);
	part[4] = put_whole(x, s, to);
	if (to->failed)
		return -ENOMEM;
	to->len = 0;
	put_u32(to, FILTER_MAGIC);
	put_u32(to, 0);
	for (size_t i = 0; i < FILTER_PARTS; i++)
		put_u32(to, part[i]);
	to->len = FILTER_HEAD_LEN + part[0] + part[1] + part[2] + part[3] + part[4];
	check = htole32(body_check(to->p + 8, to->len - 8));
	memcpy(to->p + 4, &check, sizeof(check));
	return 0;
}

static void sum_up(const struct block_builder *b, struct block_index *ret)
{
	ret->spans = b->row_cnt;
	ret->traces = b->traces.cnt;
	ret->start_min_ns = b->row_cnt ? UINT64_MAX : 0;
	for (uint32_t i = 0; i < b->row_cnt; i++) {
		const struct row *r = &b->row[i];

		ret->errors += r->status == STATUS_ERROR;
		ret->start_min_ns = MIN(ret->start_min_ns, r->start_ns);
		ret->start_max_ns = MAX(ret->start_max_ns, r->start_ns);
		ret->duration_max_ns = MAX(ret->duration_max_ns, r->end_ns - r->start_ns);
	}
}

int filter_build(struct block_builder *b, const struct sorted *s, struct block_index *ret_index)
{
	struct indexer x = { .b = b };
	int err = add_operations(&x);

	if (!err)
		err = add_pairs(&x, s);
	if (!err)
		err = list_traces(&x, s);
	if (!err)
		err = put_filter(&x, s, &ret_index->filter);
	sum_up(b, ret_index);
	dict_fini(&x.services);
	dict_fini(&x.operations);
	free(x.types);
	free(x.indexed);
	free(x.pair);
	free(x.group);
	free(x.seen);
	free(x.trace);
	return err;
}

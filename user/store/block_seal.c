/* SPDX-License-Identifier: Apache-2.0 */
/* From rows to a body: sorted by trace, turned into columns, each compressed on its own. */
#include "store/block_build.h"

#include <errno.h>
#include <stdlib.h>

/* Compressing less than this gains less than it costs to read back. */
#define COMPRESS_MIN 64u

/* A body on its way. */
struct writer {
	struct block_builder *b;
	struct buf *body;    /* sections */
	struct buf columns;  /* of the directory: what stands where */
	struct buf sections; /* of the directory: lengths and checksums */
	uint32_t section_cnt;
	struct buf raw;	  /* of the section being made */
	uint64_t *gather; /* room for a column */
	int level;
};

static void list_section(struct writer *w, size_t stored, const void *p, size_t len)
{
	w->section_cnt++;
	put_varint(&w->sections, stored);
	put_varint(&w->sections, len);
	put_u32(&w->sections, body_check(p, len));
}

static void write_raw_section(struct writer *w, const void *p, size_t len)
{
	buf_add(w->body, p, len);
	list_section(w, len, p, len);
}

static void write_section(struct writer *w, const void *p, size_t len)
{
	struct buf *to = w->body;
	size_t bound = ZSTD_compressBound(len), n;

	if (len < COMPRESS_MIN) {
		write_raw_section(w, p, len);
		return;
	}
	if (buf_reserve(to, bound))
		return;
	n = ZSTD_compressCCtx(w->b->zstd, to->p + to->len, bound, p, len, w->level);
	/* what hardly shrinks is quicker to read as it is */
	if (ZSTD_isError(n) || n >= len - len / 16) {
		write_raw_section(w, p, len);
		return;
	}
	to->len += n;
	list_section(w, n, p, len);
}

/* ---- integers ---- */

struct ints_shape {
	uint64_t base;
	uint32_t bits, width; /* of each; bytes */
};

/* flip: of the sign, so that small negative numbers are near small positive ones. */
static struct ints_shape measure(const uint64_t *v, uint32_t cnt, uint64_t flip)
{
	uint64_t low = UINT64_MAX, high = 0;
	struct ints_shape s = { 0 };

	for (uint32_t i = 0; i < cnt; i++) {
		low = MIN(low, v[i] ^ flip);
		high = MAX(high, v[i] ^ flip);
	}
	if (!cnt)
		return s;
	s.base = low ^ flip;
	s.bits = high == low ? 0 : 64 - (uint32_t)__builtin_clzll(high - low);
	s.width = (s.bits + 7) / 8;
	return s;
}

static void put_ints(struct buf *to, const uint64_t *v, uint32_t cnt, struct ints_shape s)
{
	char *p;

	/* each store writes eight bytes */
	if (buf_reserve(to, (size_t)cnt * s.width + 8))
		return;
	p = to->p + to->len;
	for (uint32_t i = 0; i < cnt; i++, p += s.width) {
		uint64_t x = htole64(v[i] - s.base);

		memcpy(p, &x, sizeof(x));
	}
	to->len += (size_t)cnt * s.width;
}

/* Packed, instead of what was written from body_len on, if that costs little: it is read at once.
 */
static bool write_packed(struct writer *w, size_t body_len, size_t list_len, const uint64_t *v,
			 uint32_t cnt, struct ints_shape s)
{
	size_t len = ((size_t)cnt * s.bits + 7) / 8, written = w->body->len - body_len;

	if (s.bits > INTS_PACKED_MAX || s.bits % 8 == 0 || len > written + written / 4)
		return false;
	buf_clear(&w->raw);
	if (buf_reserve(&w->raw, len + 8))
		return false;
	memset(w->raw.p, 0, len + 8);
	for (uint32_t i = 0; i < cnt; i++) {
		size_t bit = (size_t)i * s.bits;
		uint64_t x = load_u64(w->raw.p + bit / 8) | (v[i] - s.base) << bit % 8;

		x = htole64(x);
		memcpy(w->raw.p + bit / 8, &x, sizeof(x));
	}
	w->body->len = body_len;
	w->sections.len = list_len;
	w->section_cnt--;
	write_raw_section(w, w->raw.p, len);
	return true;
}

static void write_ints(struct writer *w, const uint64_t *v, uint32_t cnt, uint64_t flip)
{
	struct ints_shape s = measure(v, cnt, flip);
	size_t body_len = w->body->len, list_len = w->sections.len;
	uint32_t width = s.bits ? 8 * s.width : 0;

	if (s.bits) {
		buf_clear(&w->raw);
		put_ints(&w->raw, v, cnt, s);
		write_section(w, w->raw.p, w->raw.len);
		if (write_packed(w, body_len, list_len, v, cnt, s))
			width = s.bits;
	}
	put_varint(&w->columns, cnt);
	put_varint(&w->columns, width);
	put_u64(&w->columns, s.base);
}

/* ---- texts ---- */

/* Strings listed: their lengths, then the bytes; one section. */
static void write_strings(struct writer *w, const struct dict *d, const uint32_t *number,
			  uint64_t *lens, uint32_t cnt)
{
	struct ints_shape s;

	for (uint32_t i = 0; i < cnt; i++)
		lens[i] = d->entry[number[i]].len;
	s = measure(lens, cnt, 0);
	put_varint(&w->columns, cnt);
	put_varint(&w->columns, 8 * s.width);
	put_u64(&w->columns, s.base);
	buf_clear(&w->raw);
	put_ints(&w->raw, lens, cnt, s);
	for (uint32_t i = 0; i < cnt; i++)
		buf_add_str(&w->raw, dict_str(d, number[i]));
	write_section(w, w->raw.p, w->raw.len);
}

/* Worth it where most differ; but a long string is not written many times. */
static bool is_plain(const struct dict *d, const uint64_t *v, uint32_t cnt, uint32_t distinct)
{
	uint64_t all = 0, once = 0;

	if (cnt < 16 || distinct < cnt / 2)
		return false;
	for (uint32_t i = 0; i < cnt; i++)
		all += d->entry[v[i]].len;
	for (uint32_t i = 0; i < d->cnt; i++)
		once += d->entry[i].len;
	return all <= 2 * once;
}

/* Numbers become those of first use in the final order; v is changed. */
static int write_texts(struct writer *w, const struct dict *d, uint64_t *v, uint32_t cnt)
{
	uint32_t *order = malloc((size_t)MAX(cnt, d->cnt) * sizeof(*order) + 1);
	uint32_t *renumber = malloc((size_t)d->cnt * sizeof(*renumber) + 1);
	uint64_t *lens = malloc((size_t)MAX(cnt, d->cnt) * sizeof(*lens) + 1);
	uint32_t distinct = 0;
	bool plain;

	if (!order || !renumber || !lens)
		goto out;
	memset(renumber, 0xff, (size_t)d->cnt * sizeof(*renumber));
	for (uint32_t i = 0; i < cnt; i++)
		if (renumber[v[i]] == UINT32_MAX) {
			order[distinct] = (uint32_t)v[i];
			renumber[v[i]] = distinct++;
		}
	plain = is_plain(d, v, cnt, distinct);
	put_varint(&w->columns, plain);
	if (plain) {
		for (uint32_t i = 0; i < cnt; i++)
			order[i] = (uint32_t)v[i];
		write_strings(w, d, order, lens, cnt);
	} else {
		write_strings(w, d, order, lens, distinct);
		for (uint32_t i = 0; i < cnt; i++)
			v[i] = renumber[v[i]];
		write_ints(w, v, cnt, 0);
	}
out:
	free(order);
	free(renumber);
	free(lens);
	return order && renumber && lens ? 0 : -ENOMEM;
}

/* ---- sorting ---- */

static void sort_rows(const struct block_builder *b, struct sorted *s)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < b->row_cnt; i++) {
		const struct row *r = &b->row[i];

		if (!s->trace_rows[r->trace]++ || r->start_ns < s->trace_start[r->trace])
			s->trace_start[r->trace] = r->start_ns;
	}
	/* counts become places, and places counts again */
	for (uint32_t t = 0; t < b->traces.cnt; t++) {
		uint32_t rows = s->trace_rows[t];

		s->trace_rows[t] = at;
		at += rows;
	}
	for (uint32_t i = 0; i < b->row_cnt; i++)
		s->order[s->trace_rows[b->row[i].trace]++] = i;
	for (uint32_t t = b->traces.cnt; t-- > 1;)
		s->trace_rows[t] -= s->trace_rows[t - 1];
}

/* Values of rows go to their columns, in the final order. */
static void sort_values(struct block_builder *b, struct sorted *s)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < b->row_cnt; i++) {
		uint32_t shape = b->row[i].shape;

		for (uint32_t k = s->shape_first[shape]; k < s->shape_first[shape + 1]; k++)
			b->column[s->shape_column[k]].cnt++;
	}
	for (uint32_t c = 0; c < b->columns.cnt; c++) {
		b->column[c].first = at;
		at += b->column[c].cnt;
	}
	for (uint32_t i = 0; i < b->row_cnt; i++) {
		const struct row *r = &b->row[s->order[i]];
		const uint64_t *v = &b->value[r->value];

		for (uint32_t k = s->shape_first[r->shape]; k < s->shape_first[r->shape + 1]; k++)
			s->value[b->column[s->shape_column[k]].first++] = *v++;
	}
	for (uint32_t c = 0; c < b->columns.cnt; c++)
		b->column[c].first -= b->column[c].cnt;
}

static void sorted_fini(struct sorted *s)
{
	free(s->order);
	free(s->trace_rows);
	free(s->trace_start);
	free(s->value);
	free(s->shape_first);
	free(s->shape_column);
	free(s->parent);
}

static int sort_block(struct block_builder *b, struct sorted *s)
{
	size_t steps = 0;

	for (uint32_t i = 0; i < b->shape_cnt; i++)
		steps += b->node[b->shape[i]].depth;
	s->order = calloc(b->row_cnt + 1, sizeof(*s->order));
	s->trace_rows = calloc(b->traces.cnt + 1, sizeof(*s->trace_rows));
	s->trace_start = calloc(b->traces.cnt + 1, sizeof(*s->trace_start));
	s->value = calloc(b->value_cnt + 1, sizeof(*s->value));
	s->shape_first = calloc(b->shape_cnt + 1, sizeof(*s->shape_first));
	s->shape_column = calloc(steps + 1, sizeof(*s->shape_column));
	if (!s->order || !s->trace_rows || !s->trace_start || !s->value || !s->shape_first ||
	    !s->shape_column)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->shape_cnt; i++) {
		uint32_t cnt;

		shape_columns(b, i, s->shape_column + s->shape_first[i], &cnt);
		s->shape_first[i + 1] = s->shape_first[i] + cnt;
	}
	sort_rows(b, s);
	sort_values(b, s);
	return 0;
}

/* ---- parents ---- */

static uint64_t parent_slot(const struct block_builder *b, uint32_t trace, uint64_t id)
{
	return ((id ^ trace * 0x9e3779b97f4a7c15u) * b->home.salt) >> 32;
}

static uint64_t id_bits(const struct span_id *id)
{
	return load_u64(id->b);
}

/* Fills s->parent; the ids of parents outside the block are appended to ret_outside. */
static int find_parents(const struct block_builder *b, struct sorted *s, struct buf *ret_outside)
{
	uint32_t mask = 15, *slot, first = 0;
	uint64_t *code = s->parent = calloc(b->row_cnt + 1, sizeof(*code));

	while (mask < 2 * b->row_cnt)
		mask = 2 * mask + 1;
	slot = calloc(mask + 1, sizeof(*slot));
	if (!slot || !code) {
		free(slot);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < b->row_cnt; i++) {
		const struct row *r = &b->row[s->order[i]], *o;
		uint64_t at = parent_slot(b, r->trace, id_bits(&r->id)) & mask;

		for (; slot[at]; at = (at + 1) & mask) {
			o = &b->row[s->order[slot[at] - 1]];
			if (o->trace == r->trace && id_bits(&o->id) == id_bits(&r->id))
				break;
		}
		s->doubled = s->doubled || slot[at];
		if (!slot[at])
			slot[at] = i + 1;
	}
	for (uint32_t i = 0; i < b->row_cnt; i++) {
		const struct row *r = &b->row[s->order[i]], *o;
		uint64_t at = parent_slot(b, r->trace, id_bits(&r->parent)) & mask;

		if (i && b->row[s->order[i - 1]].trace != r->trace)
			first = i;
		if (!span_id_is_set(&r->parent))
			continue;
		code[i] = 1;
		for (; slot[at]; at = (at + 1) & mask) {
			o = &b->row[s->order[slot[at] - 1]];
			if (o->trace == r->trace && id_bits(&o->id) == id_bits(&r->parent)) {
				code[i] = 2 + slot[at] - 1 - first;
				break;
			}
		}
		if (code[i] == 1)
			buf_add(ret_outside, r->parent.b, sizeof(r->parent.b));
	}
	free(slot);
	return ret_outside->failed ? -ENOMEM : 0;
}

/* ---- columns ---- */

static void write_rows_column(struct writer *w, const struct sorted *s, enum body_ints which)
{
	const struct block_builder *b = w->b;
	uint64_t *v = w->gather;

	for (uint32_t i = 0; i < b->row_cnt; i++) {
		const struct row *r = &b->row[s->order[i]];

		switch (which) {
		case INTS_START: v[i] = r->start_ns - s->trace_start[r->trace]; break;
		case INTS_DURATION: v[i] = r->end_ns - r->start_ns; break;
		case INTS_KIND: v[i] = r->kind; break;
		case INTS_STATUS: v[i] = r->status; break;
		case INTS_FLAGS: v[i] = r->flags; break;
		case INTS_RESOURCE: v[i] = r->resource; break;
		case INTS_SCOPE: v[i] = r->scope; break;
		case INTS_SHAPE: v[i] = r->shape; break;
		default: v[i] = r->detail_len; break;
		}
	}
	write_ints(w, v, b->row_cnt, 0);
}

static void write_integers(struct writer *w, const struct sorted *s)
{
	const struct block_builder *b = w->b;

	for (uint32_t t = 0; t < b->traces.cnt; t++)
		w->gather[t] = s->trace_rows[t];
	write_ints(w, w->gather, b->traces.cnt, 0);
	write_ints(w, s->trace_start, b->traces.cnt, 0);
	write_rows_column(w, s, INTS_START);
	write_rows_column(w, s, INTS_DURATION);
	write_ints(w, s->parent, b->row_cnt, 0);
	for (enum body_ints i = INTS_KIND; i < INTS_CNT; i++)
		write_rows_column(w, s, i);
}

/* A table's entries one after the other, as many as the directory says. */
static void write_table(struct writer *w, const struct dict *d)
{
	buf_clear(&w->raw);
	for (uint32_t i = 0; i < d->cnt; i++)
		buf_add_str(&w->raw, dict_str(d, i));
	put_varint(&w->columns, d->cnt);
	write_section(w, w->raw.p, w->raw.len);
}

static void write_shapes(struct writer *w, const struct sorted *s)
{
	buf_clear(&w->raw);
	for (uint32_t i = 0; i < w->b->shape_cnt; i++) {
		put_varint(&w->raw, s->shape_first[i + 1] - s->shape_first[i]);
		for (uint32_t k = s->shape_first[i]; k < s->shape_first[i + 1]; k++)
			put_varint(&w->raw, s->shape_column[k]);
	}
	put_varint(&w->columns, w->b->shape_cnt);
	write_section(w, w->raw.p, w->raw.len);
}

/* The sections of enum body_bytes, in its order. */
static void write_bytes(struct writer *w, const struct sorted *s, const struct buf *outside)
{
	const struct block_builder *b = w->b;

	buf_clear(&w->raw);
	for (uint32_t t = 0; t < b->traces.cnt; t++)
		buf_add_str(&w->raw, dict_str(&b->traces, t));
	write_section(w, w->raw.p, w->raw.len);
	buf_clear(&w->raw);
	for (uint32_t i = 0; i < b->row_cnt; i++)
		buf_add(&w->raw, b->row[s->order[i]].id.b, sizeof(b->row->id.b));
	write_section(w, w->raw.p, w->raw.len);
	write_section(w, outside->p, outside->len);
	write_table(w, &b->resources);
	write_table(w, &b->scopes);
	write_shapes(w, s);
	buf_clear(&w->raw);
	for (uint32_t i = 0; i < b->row_cnt; i++) {
		const struct row *r = &b->row[s->order[i]];

		if (r->detail_len)
			buf_add(&w->raw, b->detail.p + r->detail, r->detail_len);
	}
	write_section(w, w->raw.p, w->raw.len);
}

static int write_attributes(struct writer *w, const struct sorted *s)
{
	struct block_builder *b = w->b;
	int err = 0;

	for (uint32_t i = 0; i < b->row_cnt; i++)
		w->gather[i] = b->row[s->order[i]].name;
	err = write_texts(w, &b->names, w->gather, b->row_cnt);
	put_varint(&w->columns, b->columns.cnt);
	for (uint32_t i = 0; i < b->columns.cnt && !err; i++) {
		struct column *c = &b->column[i];

		put_varint(&w->columns, c->type);
		put_text(&w->columns, c->key);
		if (type_is_text(c->type))
			err = write_texts(w, &c->dict, s->value + c->first, c->cnt);
		else if (type_is_int(c->type))
			write_ints(w, s->value + c->first, c->cnt,
				   c->type == VALUE_INT ? 1ull << 63 : 0);
		else
			put_varint(&w->columns, c->cnt);
	}
	return err;
}

/* ---- the body ---- */

static int write_sections(struct writer *w, const struct sorted *s, const struct buf *outside)
{
	put_varint(&w->columns, w->b->row_cnt);
	put_varint(&w->columns, w->b->traces.cnt);
	write_integers(w, s);
	write_bytes(w, s, outside);
	return write_attributes(w, s);
}

/* Head and directory, then what was written. */
static int finish(struct writer *w, struct buf *ret_body)
{
	struct buf *dir = &w->columns;
	size_t at = ret_body->len, bound, n;

	put_varint(dir, w->section_cnt);
	buf_add_str(dir, buf_str(&w->sections));
	if (dir->failed || w->sections.failed || w->raw.failed || w->body->failed)
		return -ENOMEM;
	bound = ZSTD_compressBound(dir->len);
	if (buf_reserve(ret_body, BODY_HEAD_LEN + bound + w->body->len))
		return -ENOMEM;
	n = ZSTD_compressCCtx(w->b->zstd, ret_body->p + at + BODY_HEAD_LEN, bound, dir->p, dir->len,
			      w->level);
	if (ZSTD_isError(n))
		return -ENOMEM;
	put_u32(ret_body, BODY_MAGIC);
	put_u32(ret_body, (uint32_t)n);
	put_u32(ret_body, (uint32_t)dir->len);
	put_u32(ret_body, body_check(dir->p, dir->len));
	ret_body->len += n;
	return buf_add_str(ret_body, buf_str(w->body));
}

int block_seal(struct block_builder *b, int level, struct buf *ret_body,
	       struct block_index *ret_index)
{
	struct buf body = { 0 }, outside = { 0 };
	struct writer w = { .b = b, .body = &body, .level = level };
	struct sorted s = { 0 };
	int err = -ENOMEM;

	*ret_index = (struct block_index){ 0 };
	w.gather = calloc(MAX(b->row_cnt, b->traces.cnt) + 1, sizeof(*w.gather));
	if (w.gather)
		err = sort_block(b, &s);
	if (!err)
		err = find_parents(b, &s, &outside);
	/* the filter first: writing renumbers texts */
	if (!err)
		err = filter_build(b, &s, ret_index);
	if (!err)
		err = write_sections(&w, &s, &outside);
	if (!err)
		err = finish(&w, ret_body);
	if (err)
		buf_fini(&ret_index->filter);
	else
		builder_reset(b);
	sorted_fini(&s);
	free(w.gather);
	buf_fini(&body);
	buf_fini(&outside);
	buf_fini(&w.columns);
	buf_fini(&w.sections);
	buf_fini(&w.raw);
	return err;
}

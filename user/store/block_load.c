/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a block and what is derived by row: made when first needed, checked once. */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

/* ---- tables ---- */

static int table(struct block *b, enum body_bytes which, uint32_t cnt, struct cursor *ret)
{
	uint32_t section = b->bytes[which];
	const uint8_t *data;
	int err = load_section(b, section, &data);

	if (err)
		return err;
	*ret = cursor_of(data, b->section[section].raw);
	return cnt <= b->section[section].raw ? 0 : -EBADMSG;
}

int load_resources(struct block *b)
{
	struct resource *r;
	struct str *text;
	struct cursor c;
	int err;

	if (b->resource)
		return 0;
	err = table(b, BYTES_RESOURCES, b->resource_cnt, &c);
	if (err)
		return err;
	r = arena_alloc(b->mem, ((size_t)b->resource_cnt + 1) * sizeof(*r));
	text = arena_alloc(b->mem, ((size_t)b->resource_cnt + 1) * sizeof(*text));
	b->owner = arena_alloc(b->mem, ((size_t)b->resource_cnt + 1) * sizeof(struct resource *));
	if (!r || !text || !b->owner)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->resource_cnt; i++) {
		text[i].p = (const char *)c.p;
		take_resource(&c, b->mem, &r[i]);
		text[i].len = (size_t)((const char *)c.p - text[i].p);
	}
	if (c.bad)
		return -EBADMSG;
	b->resource_text = text;
	b->resource = r;
	return 0;
}

int load_scopes(struct block *b)
{
	struct scope *scope;
	struct cursor c;
	int err;

	if (b->scope)
		return 0;
	err = table(b, BYTES_SCOPES, b->scope_cnt, &c);
	if (!err)
		err = load_ints(b, &b->ints[INTS_SCOPE]);
	if (err)
		return err;
	scope = arena_alloc(b->mem, ((size_t)b->scope_cnt + 1) * sizeof(*scope));
	if (!scope)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->scope_cnt; i++)
		take_scope(&c, b->mem, &scope[i]);
	if (c.bad)
		return -EBADMSG;
	b->scope = scope;
	return 0;
}

/* Every row has a shape that is there, and the shapes' columns hold as many values as they use. */
static int check_shapes(struct block *b, const struct read_shape *shape, const uint32_t *columns)
{
	uint32_t *rows = calloc((size_t)b->shape_cnt + 1, sizeof(*rows));
	uint64_t *values = calloc((size_t)b->column_cnt + 1, sizeof(*values));
	const struct ints *of = &b->ints[INTS_SHAPE];
	int err = rows && values ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < b->rows && !err; i++) {
		uint64_t s = ints_at(of, i);

		if (s < b->shape_cnt)
			rows[s]++;
		else
			err = -EBADMSG;
	}
	for (uint32_t i = 0; i < b->shape_cnt && !err; i++)
		for (uint32_t k = 0; k < shape[i].cnt; k++)
			values[columns[shape[i].first + k]] += rows[i];
	for (uint32_t i = 0; i < b->column_cnt && !err; i++)
		if (values[i] != b->column[i].cnt)
			err = -EBADMSG;
	free(rows);
	free(values);
	return err;
}

int load_shapes(struct block *b)
{
	struct read_shape *shape;
	uint32_t *columns, at = 0;
	struct cursor c;
	int err;

	if (b->shape)
		return 0;
	err = table(b, BYTES_SHAPES, b->shape_cnt, &c);
	if (!err)
		err = load_ints(b, &b->ints[INTS_SHAPE]);
	if (err)
		return err;
	shape = arena_alloc(b->mem, ((size_t)b->shape_cnt + 1) * sizeof(*shape));
	columns = arena_alloc(b->mem, (cursor_left(&c) + 1) * sizeof(*columns));
	if (!shape || !columns)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->shape_cnt && !c.bad; i++) {
		uint64_t cnt = take_varint(&c);

		if (c.bad || cnt > cursor_left(&c))
			return -EBADMSG;
		shape[i] = (struct read_shape){ at, (uint32_t)cnt };
		b->shape_most = MAX(b->shape_most, shape[i].cnt);
		for (uint64_t k = 0; k < cnt; k++, at++) {
			uint64_t column = take_varint(&c);

			c.bad |= column >= b->column_cnt;
			columns[at] = (uint32_t)column;
		}
	}
	err = c.bad ? -EBADMSG : check_shapes(b, shape, columns);
	if (err)
		return err;
	b->shape_column = columns;
	b->shape = shape;
	return 0;
}

/* ---- by row ---- */

int load_traces(struct block *b)
{
	uint32_t *first;
	uint64_t at = 0;
	int err;

	if (b->trace_first)
		return 0;
	err = load_ints(b, &b->ints[INTS_TRACE_ROWS]);
	if (err)
		return err;
	first = arena_alloc_raw(b->mem, ((size_t)b->traces + 1) * sizeof(*first));
	if (!first)
		return -ENOMEM;
	for (uint32_t t = 0; t < b->traces; t++) {
		uint64_t rows = ints_at(&b->ints[INTS_TRACE_ROWS], t);

		first[t] = (uint32_t)at;
		if (rows > b->rows - at)
			return -EBADMSG;
		at += rows;
	}
	first[b->traces] = b->rows;
	if (at != b->rows)
		return -EBADMSG;
	b->trace_first = first;
	return 0;
}

int load_starts(struct block *b)
{
	const struct ints *base = &b->ints[INTS_TRACE_START], *after = &b->ints[INTS_START];
	uint64_t *start;
	int err = b->start ? 0 : load_traces(b);

	if (b->start)
		return 0;
	if (!err)
		err = load_ints(b, &b->ints[INTS_TRACE_START]);
	if (!err)
		err = load_ints(b, &b->ints[INTS_START]);
	if (err)
		return err;
	start = arena_alloc_raw(b->mem, ((size_t)b->rows + 1) * sizeof(*start));
	if (!start)
		return -ENOMEM;
	for (uint32_t t = 0; t < b->traces; t++) {
		uint64_t from = ints_at(base, t);

		for (uint32_t i = b->trace_first[t]; i < b->trace_first[t + 1]; i++)
			start[i] = from + ints_at(after, i);
	}
	b->start = start;
	return 0;
}

int load_details(struct block *b)
{
	const struct ints *lens = &b->ints[INTS_DETAIL];
	uint32_t section = b->bytes[BYTES_DETAILS], *off;
	const uint8_t *data;
	uint64_t at = 0;
	int err;

	if (b->detail_off || (!lens->width && !lens->base))
		return 0;
	err = load_ints(b, &b->ints[INTS_DETAIL]);
	if (!err)
		err = load_section(b, section, &data);
	if (err)
		return err;
	off = arena_alloc_raw(b->mem, ((size_t)b->rows + 1) * sizeof(*off));
	if (!off)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->rows; i++) {
		uint64_t len = ints_at(lens, i);

		off[i] = (uint32_t)at;
		if (len > b->section[section].raw - at)
			return -EBADMSG;
		at += len;
	}
	off[b->rows] = (uint32_t)at;
	b->detail_off = off;
	return 0;
}

struct str row_details(const struct block *b, uint32_t row)
{
	const char *p = (const char *)b->section[b->bytes[BYTES_DETAILS]].data;

	if (!b->detail_off)
		return (struct str){ NULL, 0 };
	return (struct str){ p + b->detail_off[row], b->detail_off[row + 1] - b->detail_off[row] };
}

/* How many parents outside the block stand before each row. */
static int load_parents(struct block *b)
{
	uint32_t cnt = 0, *outside;
	const uint8_t *data;
	int err = load_ints(b, &b->ints[INTS_PARENT]);

	if (err || b->outside || !b->section[b->bytes[BYTES_PARENTS]].raw)
		return err;
	err = load_section(b, b->bytes[BYTES_PARENTS], &data);
	if (err)
		return err;
	outside = arena_alloc_raw(b->mem, ((size_t)b->rows + 1) * sizeof(*outside));
	if (!outside)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->rows; i++) {
		outside[i] = cnt;
		cnt += ints_at(&b->ints[INTS_PARENT], i) == 1;
	}
	b->outside = outside;
	return 0;
}

int load_ids(struct block *b)
{
	const uint8_t *data;
	int err = load_traces(b);

	if (!err)
		err = load_section(b, b->bytes[BYTES_TRACE_IDS], &data);
	if (!err)
		err = load_section(b, b->bytes[BYTES_SPAN_IDS], &data);
	return err ? err : load_parents(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A body's directory and sections: what is where, fetched and checked on demand. */
#include "store/block_read.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>

/* Read with the head: most directories are in it. */
#define HEAD_READ	  4096u
#define DIRECTORY_RAW_MAX (16u << 20)
/* A column has at most so many values: more do not fit a builder. */
#define VALUES_MAX (4u << 20)
/* Memory of one row's lists. */
#define ROW_MEM_MAX (256u << 20)
/* Of all that is kept while a block is open. */
#define BLOCK_MEM_MAX (512u << 20)

/* ---- decompression: a context costs more to make than a section to read ---- */

static pthread_key_t context_key;
static pthread_once_t context_once = PTHREAD_ONCE_INIT;

static void context_free(void *p)
{
	ZSTD_freeDCtx(p);
}

static void context_init(void)
{
	pthread_key_create(&context_key, context_free);
}

/* This thread's; freed with the thread. */
static ZSTD_DCtx *context(void)
{
	ZSTD_DCtx *c;

	pthread_once(&context_once, context_init);
	c = pthread_getspecific(context_key);
	if (!c) {
		c = ZSTD_createDCtx();
		pthread_setspecific(context_key, c);
	}
	return c;
}

static int decompress(void *to, size_t raw, const void *from, size_t stored)
{
	ZSTD_DCtx *c = context();

	if (!c)
		return -ENOMEM;
	return ZSTD_decompressDCtx(c, to, raw, from, stored) == raw ? 0 : -EBADMSG;
}

/* ---- sections ---- */

int load_section(struct block *b, uint32_t i, const uint8_t **ret_data)
{
	struct section *s = &b->section[i];
	uint8_t *raw, *stored;
	int err;

	if (s->data) {
		*ret_data = s->data;
		return 0;
	}
	raw = arena_alloc_raw(b->mem, (size_t)s->raw + 8);
	stored = s->stored == s->raw ? raw : malloc(s->stored + 1);
	if (!raw || !stored) {
		err = -ENOMEM;
		goto out;
	}
	memset(raw + s->raw, 0, 8);
	err = s->stored ? b->from.read(b->from.ctx, s->off, stored, s->stored) : 0;
	if (!err && stored != raw)
		err = decompress(raw, s->raw, stored, s->stored);
	if (!err && body_check(raw, s->raw) != s->check)
		err = -EBADMSG;
	if (!err)
		*ret_data = s->data = raw;
out:
	if (stored != raw)
		free(stored);
	return err;
}

int load_ints(struct block *b, struct ints *x)
{
	static const uint8_t none[8];

	if (x->p)
		return 0;
	x->mask = x->width ? UINT64_MAX >> (64 - x->width) : 0;
	if (x->section != SECTION_NONE)
		return load_section(b, x->section, &x->p);
	x->p = none;
	return 0;
}

int load_strings(struct block *b, struct texts *t, uint32_t cnt)
{
	uint32_t strings = t->lens.cnt, *off;
	const uint8_t *data;
	uint64_t at = 0, bytes;
	int err;

	if (t->off)
		return 0;
	if ((t->plain ? strings : t->ids.cnt) != cnt)
		return -EBADMSG;
	err = load_section(b, t->section, &data);
	if (err)
		return err;
	off = arena_alloc_raw(b->mem, ((size_t)strings + 1) * sizeof(*off));
	if (!off)
		return -ENOMEM;
	bytes = b->section[t->section].raw - ints_size(&t->lens);
	t->lens.p = data;
	t->lens.mask = t->lens.width ? UINT64_MAX >> (64 - t->lens.width) : 0;
	for (uint32_t i = 0; i < strings; i++) {
		uint64_t len = ints_at(&t->lens, i);

		off[i] = (uint32_t)at;
		if (len > bytes - at)
			return -EBADMSG;
		at += len;
	}
	if (at != bytes)
		return -EBADMSG;
	off[strings] = (uint32_t)at;
	t->bytes = (const char *)data + ints_size(&t->lens);
	t->off = off;
	return 0;
}

int load_texts(struct block *b, struct texts *t, uint32_t cnt)
{
	int err = load_strings(b, t, cnt);

	return err || t->plain ? err : load_ints(b, &t->ids);
}

int load_column(struct block *b, struct read_column *c)
{
	int err = 0;

	if (c->loaded)
		return 0;
	if (type_is_text(c->type))
		err = load_texts(b, &c->texts, c->cnt);
	else if (type_is_int(c->type))
		err = load_ints(b, &c->ints);
	c->loaded = !err;
	return err;
}

/* ---- the directory ---- */

/* Sections are numbered in the order in which the directory speaks of them. */
struct directory {
	struct cursor c;
	uint32_t sections;
};

static uint32_t take_cnt(struct directory *d, uint32_t most)
{
	uint64_t cnt = take_varint(&d->c);

	if (cnt > most)
		d->c.bad = true;
	return d->c.bad ? 0 : (uint32_t)cnt;
}

static void take_ints_head(struct directory *d, struct ints *x)
{
	*x = (struct ints){ .cnt = take_cnt(d, VALUES_MAX), .width = take_cnt(d, 64) };
	if (x->width > INTS_PACKED_MAX && x->width % 8)
		d->c.bad = true;
	x->base = take_u64le(&d->c);
	x->section = SECTION_NONE;
}

static void take_ints(struct directory *d, struct ints *x)
{
	take_ints_head(d, x);
	if (x->width)
		x->section = d->sections++;
}

static void take_texts(struct directory *d, struct texts *t)
{
	*t = (struct texts){ .plain = take_cnt(d, 1) };
	take_ints_head(d, &t->lens);
	t->section = d->sections++;
	if (!t->plain)
		take_ints(d, &t->ids);
}

static void take_bytes(struct directory *d, struct block *b)
{
	for (enum body_bytes i = 0; i < BYTES_CNT; i++) {
		b->bytes[i] = d->sections++;
		if (i == BYTES_RESOURCES)
			b->resource_cnt = take_cnt(d, VALUES_MAX);
		else if (i == BYTES_SCOPES)
			b->scope_cnt = take_cnt(d, VALUES_MAX);
		else if (i == BYTES_SHAPES)
			b->shape_cnt = take_cnt(d, 2 * BLOCK_SPANS_MAX);
	}
}

static int take_columns(struct directory *d, struct block *b)
{
	b->column_cnt = take_cnt(d, 2 * COLUMNS_MAX);
	b->column = arena_alloc(b->mem, ((size_t)b->column_cnt + 1) * sizeof(*b->column));
	if (!b->column)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->column_cnt && !d->c.bad; i++) {
		struct read_column *c = &b->column[i];

		c->type = take_cnt(d, VALUE_KVLIST);
		c->key = take_text(&d->c);
		if (type_is_text(c->type)) {
			take_texts(d, &c->texts);
			c->cnt = c->texts.plain ? c->texts.lens.cnt : c->texts.ids.cnt;
		} else if (type_is_int(c->type)) {
			take_ints(d, &c->ints);
			c->cnt = c->ints.cnt;
		} else {
			c->cnt = take_cnt(d, VALUES_MAX);
		}
	}
	return 0;
}

static int take_sections(struct directory *d, struct block *b, uint64_t off)
{
	uint64_t raw = 0;

	b->section_cnt = take_cnt(d, UINT32_MAX / 2);
	if (d->c.bad || b->section_cnt != d->sections || b->section_cnt > cursor_left(&d->c))
		return -EBADMSG;
	b->section = arena_alloc(b->mem, ((size_t)b->section_cnt + 1) * sizeof(*b->section));
	if (!b->section)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->section_cnt; i++) {
		struct section *s = &b->section[i];

		s->off = off;
		s->stored = take_cnt(d, SECTION_RAW_MAX);
		s->raw = take_cnt(d, SECTION_RAW_MAX);
		s->check = take_u32le(&d->c);
		off += s->stored;
		raw += s->raw;
		if (s->stored > s->raw)
			return -EBADMSG;
	}
	return d->c.bad || d->c.p != d->c.end || off != b->from.size || raw > BODY_RAW_MAX
		       ? -EBADMSG
		       : 0;
}

static bool ints_fit(const struct block *b, const struct ints *x)
{
	return x->section == SECTION_NONE || b->section[x->section].raw == ints_size(x);
}

static bool texts_fit(const struct block *b, const struct texts *t)
{
	return ints_size(&t->lens) <= b->section[t->section].raw &&
	       (t->plain || ints_fit(b, &t->ids));
}

/* Do the sections have the lengths that the columns need? */
static bool all_fits(const struct block *b)
{
	bool fits = texts_fit(b, &b->names);

	for (enum body_ints i = 0; i < INTS_CNT && fits; i++)
		fits = ints_fit(b, &b->ints[i]) &&
		       b->ints[i].cnt == (i <= INTS_TRACE_START ? b->traces : b->rows);
	for (uint32_t i = 0; i < b->column_cnt && fits; i++) {
		const struct read_column *c = &b->column[i];

		if (type_is_text(c->type))
			fits = texts_fit(b, &c->texts);
		else if (type_is_int(c->type))
			fits = ints_fit(b, &c->ints);
	}
	return fits &&
	       b->section[b->bytes[BYTES_TRACE_IDS]].raw == sizeof(struct trace_id) * b->traces &&
	       b->section[b->bytes[BYTES_SPAN_IDS]].raw == sizeof(struct span_id) * b->rows;
}

static int parse_directory(struct block *b, const uint8_t *p, size_t len, uint64_t end)
{
	struct directory d = { .c = cursor_of(p, len) };
	int err;

	b->rows = take_cnt(&d, BLOCK_SPANS_MAX);
	b->traces = take_cnt(&d, VALUES_MAX);
	for (enum body_ints i = 0; i < INTS_CNT; i++)
		take_ints(&d, &b->ints[i]);
	take_bytes(&d, b);
	take_texts(&d, &b->names);
	err = take_columns(&d, b);
	if (!err)
		err = take_sections(&d, b, end);
	if (!err && !all_fits(b))
		err = -EBADMSG;
	return err;
}

static int read_directory(struct block *b)
{
	uint8_t head[HEAD_READ], *stored = head, *raw;
	size_t have = MIN(b->from.size, sizeof(head));
	struct cursor c;
	uint32_t magic, len, raw_len, check;
	int err = b->from.read(b->from.ctx, 0, head, have);

	if (err)
		return err;
	c = cursor_of(head, have);
	magic = take_u32le(&c);
	len = take_u32le(&c);
	raw_len = take_u32le(&c);
	check = take_u32le(&c);
	if (c.bad || magic != BODY_MAGIC || len > b->from.size - BODY_HEAD_LEN ||
	    raw_len > DIRECTORY_RAW_MAX)
		return -EBADMSG;
	raw = arena_alloc_raw(b->mem, raw_len + 1);
	if (len > have - BODY_HEAD_LEN) {
		stored = malloc(len);
		if (stored)
			err = b->from.read(b->from.ctx, BODY_HEAD_LEN, stored, len);
	} else {
		stored = head + BODY_HEAD_LEN;
	}
	if (!raw || !stored)
		err = -ENOMEM;
	if (!err)
		err = decompress(raw, raw_len, stored, len);
	if (!err && body_check(raw, raw_len) != check)
		err = -EBADMSG;
	if (!err)
		err = parse_directory(b, raw, raw_len, (uint64_t)BODY_HEAD_LEN + len);
	if (stored < head || stored >= head + sizeof(head))
		free(stored);
	return err;
}

int block_open(const struct block_source *from, struct block **ret_block)
{
	struct block *b = calloc(1, sizeof(*b));
	int err = -ENOMEM;

	if (!b)
		return err;
	b->from = *from;
	b->mem = arena_new(BLOCK_MEM_MAX);
	b->line = arena_new(ROW_MEM_MAX);
	if (b->mem && b->line)
		err = read_directory(b);
	if (err)
		block_close(b);
	else
		*ret_block = b;
	return err;
}

void block_close(struct block *b)
{
	if (!b)
		return;
	for (uint32_t i = 0; b->owner && i < b->resource_cnt; i++)
		resource_put(b->owner[i]);
	if (b->mem)
		arena_free(b->mem);
	if (b->line)
		arena_free(b->line);
	free(b);
}

size_t block_held(const struct block *b)
{
	return arena_size(b->mem) + arena_size(b->line);
}

int block_verify(struct block *b)
{
	const uint8_t *data;
	int err = 0;

	for (uint32_t i = 0; i < b->section_cnt && !err; i++)
		err = load_section(b, i, &data);
	return err;
}

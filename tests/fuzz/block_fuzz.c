/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies and filters as a disk may give them back. The first byte chooses: the input as it is, or a
 * good block with the input written over parts of what a checksum covers, the checksums made right
 * again, so that what is behind them is reached.
 */
#include "store/block_read.h"

#include "bench/spans.h"

#include <zstd.h>

static struct buf good;
static struct block_index index_;
static struct arena *conds;
static const struct cond *cond[6];
static struct field fields[6];
static struct patterns patterns;

static int memory_read(void *ctx, uint64_t off, void *to, size_t len)
{
	const struct str *from = ctx;

	if (off > from->len || len > from->len - off)
		return -1;
	memcpy(to, from->p + off, len);
	return 0;
}

static void make_conditions(void)
{
	static const enum field_kind kinds[] = { FIELD_ATTR,	   FIELD_EVENT_ATTR, FIELD_NAME,
						 FIELD_SCOPE_NAME, FIELD_PARENT_ID,  FIELD_START };
	char why[128];

	conds = arena_new(0);
	for (size_t i = 0; i < ARRAY_LEN(cond); i++) {
		struct value v = { .type = VALUE_INT, .i = 200 };

		fields[i] = (struct field){ kinds[i], STR("http.response.status_code") };
		cond[i] = cond_cmp(conds, fields[i], CMP_GE, v);
	}
	if (cond_regex(conds, &patterns, (struct field){ FIELD_ATTR, STR("url.path") }, false,
		       STR(".*/cart.*"), &cond[3], why))
		abort();
}

/* Every kind of section: lists, events, links, parents elsewhere. */
static void make_good(void)
{
	static struct span sp[2 * TRACE_SPANS];
	struct block_builder *b = block_builder_new();
	struct arena *mem = arena_new(0);
	struct value item[2] = { { .type = VALUE_INT, .i = 1 }, { .type = VALUE_EMPTY } };
	struct value list = { .type = VALUE_ARRAY, .array = { item, 2 } };
	struct span_event event = { .time_ns = 1, .name = STR("exception") };
	struct span_link link = { .flags = 1 };
	struct shop shop;

	shop_init(&shop, 1);
	shop_trace(&shop, mem, sp);
	shop_trace(&shop, mem, sp + TRACE_SPANS);
	attrs_add(&sp[0].attrs, mem, STR("list"), list);
	attrs_add_bool(&sp[0].attrs, mem, "bool", true);
	attrs_add_double(&sp[0].attrs, mem, "double", 0.5);
	attrs_add(&event.attrs, mem, STR("list"), list);
	sp[3].events = &event;
	sp[3].event_cnt = 1;
	sp[4].links = &link;
	sp[4].link_cnt = 1;
	sp[5].parent_id.b[0] ^= 1;
	for (size_t i = 0; i < ARRAY_LEN(sp); i++)
		if (block_add(b, &sp[i]))
			abort();
	if (block_seal(b, 1, &good, &index_))
		abort();
	block_builder_free(b);
	arena_free(mem);
	shop_fini(&shop);
	make_conditions();
}

static size_t touch(const struct value *v)
{
	size_t sum = v->type;

	if (v->type == VALUE_STR || v->type == VALUE_BYTES)
		for (size_t i = 0; i < v->str.len; i++)
			sum += (uint8_t)v->str.p[i];
	return sum;
}

static volatile size_t touched;

static bool visit_span(void *ctx, const struct span *s)
{
	for (uint32_t i = 0; i < s->attrs.cnt; i++)
		touched += touch(&s->attrs.item[i].value) + s->attrs.item[i].key.len;
	for (uint32_t i = 0; i < s->event_cnt; i++)
		touched += s->events[i].attrs.cnt + s->events[i].name.len;
	touched += s->name.len + s->resource->attrs.cnt + s->scope->name.len;
	return true;
}

static bool visit_value(void *ctx, const struct value *v)
{
	touched += touch(v);
	return true;
}

/* Each kind of need on its own, over what the conditions select. */
static void sift_body(struct block *b, const struct cond *where)
{
	static uint8_t parts = 2;
	static bool passes;
	const struct need of = { .op = NEED_SPANS, .where = where };
	struct need need = { .left = &of, .right = &of, .where = where, .least = 2 };
	struct apart apart;
	struct sieve sieve = { .need = &need, .apart = &apart, .passes = &passes };
	struct scan q = { .sieve = &sieve };

	if (apart_begin(&apart, 0, 1))
		abort();
	apart.mark[0] = 0;
	apart_ready(&apart);
	for (need.op = NEED_SPANS; need.op <= NEED_BESIDE; need.op++) {
		struct stitch *s;

		apart.cnt = 0;
		block_scan_sifted(b, &q, need.op & 1, visit_span, NULL);
		apart.cnt = 1; /* every trace: no bit of a mark is known */
		apart.parts = &parts;
		passes = true;
		s = stitch_new(&need, &apart, &passes, 4 * BLOCK_SPANS_MAX);
		if (s && !block_stitch(b, s, 0) && !block_stitch(b, s, 0))
			touched += !stitch_judge(s, true) && passes;
		stitch_free(s);
	}
	apart.parts = NULL;
	apart_end(&apart);
}

static void read_body(struct str body)
{
	struct block_source from = { &body, memory_read, body.len };
	static const struct trace_id ids[2];
	struct block *b;

	for (size_t i = 0; i < ARRAY_LEN(cond); i++) {
		struct scan q = {
			.where = cond[i], .whole = i & 1, .fields = fields, .field_cnt = 2
		};

		if (block_open(&from, &b))
			return;
		block_scan(b, &q, visit_span, NULL);
		block_values(b, &fields[i], NULL, (struct time_range){ 1, 0 }, visit_value, NULL);
		block_trace_fields(b, ids, 2, fields, 2, visit_span, NULL);
		block_traces(b, ids, 2, visit_span, NULL);
		sift_body(b, cond[i]);
		q.where = NULL;
		block_scan(b, &q, visit_span, NULL);
		block_verify(b);
		block_close(b);
	}
}

static void visit_operation(void *ctx, struct str service, struct str name, enum span_kind kind)
{
	touched += service.len + name.len + kind;
}

static void visit_tag(void *ctx, enum field_kind kind, struct str key)
{
	touched += key.len + kind;
}

static void read_filter(struct str filter)
{
	static const struct trace_id id;
	struct block_index x = index_;
	uint64_t marks[64] = { 0 };
	uint32_t cnt;
	struct trace_set set;
	struct apart apart;
	uint8_t parts = 0;

	if (block_filter_check(filter))
		return;
	block_operations(filter, visit_operation, NULL);
	block_tags(filter, visit_tag, NULL);
	touched += block_marks(filter, marks, &cnt, ARRAY_LEN(marks));
	touched += block_may_have_trace(filter, &id);
	if (!trace_set_init(&set, &id, 1))
		touched += block_may_have_traces(filter, &set, &cnt);
	trace_set_fini(&set);
	if (apart_begin(&apart, UINT64_MAX, 1))
		abort();
	apart.mark[0] = marks[0];
	apart_ready(&apart);
	apart.parts = &parts;
	apart_note(&apart, filter);
	apart.parts = NULL;
	for (size_t i = 0; i < ARRAY_LEN(cond); i++) {
		const struct need root = { .op = NEED_ROOT, .where = cond[i] };
		bool passes = true, doubled;
		struct part_sum sum = { 0 };
		struct sieve s = {
			.need = &root, .apart = &apart, .passes = &passes, .sum = &sum, .any = true
		};

		touched += block_may_match(&x, filter, cond[i]);
		touched += block_may_need(&x, filter, &s, &doubled);
		touched += block_has_apart(filter, &s);
		block_sum_most(&x, filter, &s);
	}
	apart_end(&apart);
}

/* Pairs of (offset, byte) are written over p. */
static void scribble(char *p, size_t len, struct cursor *c)
{
	while (len && cursor_left(c) >= 3) {
		uint16_t off = take_u16le(c);

		p[off % len] = (char)take_u8(c);
	}
}

/* The good block taken apart: its directory without the list of sections, its sections unpacked. */
static struct buf plain_directory, plain_sections;
static uint32_t section_raw[256], section_cnt;

static void take_apart(void)
{
	struct str text = buf_str(&good);
	struct block_source from = { &text, memory_read, good.len };
	struct cursor head = cursor_of(good.p + 4, 8);
	uint32_t stored = take_u32le(&head), raw = take_u32le(&head);
	struct buf list = { 0 };
	const uint8_t *data;
	struct block *b;

	if (block_open(&from, &b) || b->section_cnt > ARRAY_LEN(section_raw))
		abort();
	section_cnt = b->section_cnt;
	put_varint(&list, section_cnt);
	for (uint32_t i = 0; i < section_cnt; i++) {
		section_raw[i] = b->section[i].raw;
		put_varint(&list, b->section[i].stored);
		put_varint(&list, b->section[i].raw);
		put_u32(&list, b->section[i].check);
		if (load_section(b, i, &data))
			abort();
		buf_add(&plain_sections, data, section_raw[i]);
	}
	buf_reserve(&plain_directory, raw);
	if (ZSTD_decompress(plain_directory.p, raw, good.p + BODY_HEAD_LEN, stored) != raw)
		abort();
	plain_directory.len = raw - list.len;
	buf_fini(&list);
	block_close(b);
}

/* The block again, nothing of it compressed, with some bytes changed and the right checksums. */
static void read_scribbled(struct cursor *c, bool directory)
{
	struct buf dir = { 0 }, sections = { 0 }, body = { 0 };
	size_t at = 0, n;

	buf_add_str(&dir, buf_str(&plain_directory));
	buf_add_str(&sections, buf_str(&plain_sections));
	scribble(directory ? dir.p : sections.p, directory ? dir.len : sections.len, c);
	put_varint(&dir, section_cnt);
	for (uint32_t i = 0; i < section_cnt; at += section_raw[i++]) {
		put_varint(&dir, section_raw[i]);
		put_varint(&dir, section_raw[i]);
		put_u32(&dir, body_check(sections.p + at, section_raw[i]));
	}
	buf_reserve(&body, BODY_HEAD_LEN + ZSTD_compressBound(dir.len));
	n = ZSTD_compress(body.p + BODY_HEAD_LEN, body.size - BODY_HEAD_LEN, dir.p, dir.len, 1);
	put_u32(&body, BODY_MAGIC);
	put_u32(&body, (uint32_t)n);
	put_u32(&body, (uint32_t)dir.len);
	put_u32(&body, body_check(dir.p, dir.len));
	body.len += n;
	buf_add_str(&body, buf_str(&sections));
	read_body(buf_str(&body));
	buf_fini(&body);
	buf_fini(&dir);
	buf_fini(&sections);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(data + 1, size ? size - 1 : 0);
	struct buf copy = { 0 };
	uint32_t check;

	if (!good.len) {
		make_good();
		take_apart();
	}
	if (!size)
		return 0;
	switch (data[0] % 5) {
	case 0: read_body((struct str){ (const char *)data + 1, size - 1 }); break;
	case 1: read_scribbled(&c, true); break;
	case 2: read_scribbled(&c, false); break;
	case 3: read_filter((struct str){ (const char *)data + 1, size - 1 }); break;
	default:
		buf_add_str(&copy, buf_str(&index_.filter));
		scribble(copy.p, copy.len, &c);
		check = htole32(body_check(copy.p + 8, copy.len - 8));
		memcpy(copy.p + 4, &check, sizeof(check));
		read_filter(buf_str(&copy));
		buf_fini(&copy);
	}
	return 0;
}

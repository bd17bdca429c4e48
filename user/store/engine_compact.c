/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction: small blocks of a partition become larger ones. Blocks have levels by size; sixteen
 * of one level, or enough for a full block, are merged into one of a higher, so that a span is
 * rewritten at most LEVEL_FULL times.
 */
#include "store/engine.h"

#include <errno.h>
#include <stdlib.h>

#define MERGE_CNT   16u
#define MERGE_SPANS (BLOCK_SPANS_MAX / 4 * 3)
#define INPUTS_MAX  512u
#define OUTPUTS_MAX 8u
#define SHRINK	    "PRAGMA incremental_vacuum(256)" /* 4 MB of pages, a commit each */
#define ZSTD_LEVEL  3 /* off the path of what comes in: smaller for longer */

struct merge {
	struct engine *e;
	struct block_builder *builder;
	struct sealed out[OUTPUTS_MAX];
	size_t out_cnt;
	struct block_row in[INPUTS_MAX];
	size_t in_cnt;
	uint64_t received_ns;
	uint32_t level;	 /* of what comes out, at least */
	uint32_t traces; /* of all inputs */
	int err;
};

static int by_id(const void *a, const void *b)
{
	const struct block_row *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* The blocks of levels [from, to], in the order of their ids, as many as fill a block. */
static void choose(struct merge *m, struct view *v, uint32_t from, uint32_t to)
{
	struct block_row *rows = malloc(v->list->cnt * sizeof(*rows) + 1);
	uint32_t cnt = 0, spans = 0;

	m->in_cnt = 0;
	m->level = MIN(to + 1, LEVEL_FULL);
	m->traces = 0;
	m->received_ns = 0;
	for (uint32_t i = 0; i < v->list->cnt && rows; i++) {
		const struct block_row *row = &v->list->row[i];

		if (row->level >= from && row->level <= to && !part_is_bad(v->part, row->id))
			rows[cnt++] = *row;
	}
	if (cnt)
		qsort(rows, cnt, sizeof(*rows), by_id);
	for (uint32_t i = 0; i < cnt && m->in_cnt < INPUTS_MAX; i++) {
		if (spans + rows[i].spans > BLOCK_SPANS_MAX && m->in_cnt)
			break;
		spans += rows[i].spans;
		m->traces += rows[i].traces;
		m->received_ns = MAX(m->received_ns, rows[i].received_ns);
		m->in[m->in_cnt++] = rows[i];
	}
	free(rows);
}

/* Enough of one level; or, for a partition that is not written any more, whatever is small. */
static bool find_work(struct merge *m, struct view *v, bool all)
{
	uint32_t cnt[LEVEL_FULL] = { 0 }, spans[LEVEL_FULL] = { 0 };

	if (all) {
		choose(m, v, 0, LEVEL_FULL - 1);
		return m->in_cnt >= 2;
	}
	for (uint32_t i = 0; i < v->list->cnt; i++) {
		const struct block_row *row = &v->list->row[i];

		if (row->level >= LEVEL_FULL)
			continue;
		cnt[row->level]++;
		spans[row->level] += row->spans;
	}
	for (uint32_t l = 0; l < LEVEL_FULL; l++) {
		if (cnt[l] < MERGE_CNT && (spans[l] < MERGE_SPANS || cnt[l] < 2))
			continue;
		choose(m, v, l, l);
		if (m->in_cnt >= 2)
			return true;
	}
	return false;
}

static int seal_part(struct merge *m)
{
	struct sealed *s = &m->out[m->out_cnt];
	uint32_t spans = block_spans(m->builder);
	int err;

	if (m->out_cnt == OUTPUTS_MAX)
		return -E2BIG;
	err = seal_builder(m->builder, ZSTD_LEVEL, m->received_ns, m->traces, s);
	if (err)
		return err;
	s->row.level = spans >= BLOCK_SPANS_MAX / 4 || m->out_cnt ? LEVEL_FULL : m->level;
	m->traces = 0; /* counted with the first */
	m->out_cnt++;
	return 0;
}

static bool add_span(void *ctx, const struct span *s)
{
	struct merge *m = ctx;

	m->err = block_add(m->builder, s);
	if (m->err == -ENOSPC && block_spans(m->builder)) {
		m->err = seal_part(m);
		if (!m->err)
			m->err = block_add(m->builder, s);
	}
	return !m->err;
}

static int read_input(struct merge *m, struct view *v, const struct block_row *row)
{
	const struct scan everything = { .whole = true };
	struct body b;
	int err = view_body(v, row, &b);

	if (!err) {
		err = MIN(block_scan(b.block, &everything, add_span, m), 0);
		body_close(&b);
	}
	if (err == -EBADMSG || err == -EIO) {
		/* what came of it is in the builder already: begin again without it */
		return part_note_bad(v->part, row->id, err) ? -EAGAIN : err;
	}
	return m->err ? m->err : err;
}

static int merge(struct merge *m, struct view *v)
{
	uint64_t drop[INPUTS_MAX];
	int err = 0;

	m->builder = block_builder_new();
	if (!m->builder)
		return -ENOMEM;
	for (size_t i = 0; i < m->in_cnt && !err; i++) {
		err = __atomic_load_n(&m->e->stop, __ATOMIC_RELAXED) ? -EINTR
								     : read_input(m, v, &m->in[i]);
		drop[i] = m->in[i].id;
	}
	if (!err && block_spans(m->builder))
		err = seal_part(m);
	if (!err)
		err = part_commit(v->part, m->out, m->out_cnt, drop, m->in_cnt);
	return err;
}

int part_shrink(struct part *p)
{
	uint64_t before, unused = UINT64_MAX;
	int err;

	do {
		before = unused;
		err = part_begin(p);
		if (err)
			return err;
		err = part_end(p, sql_exec(p->writer->db, SHRINK));
		if (err)
			return err;
		part_checkpoint(p, false);
		pthread_mutex_lock(&p->write_lock);
		err = p->writer ? sql_number(p->writer->db, "PRAGMA freelist_count", &unused) : 0;
		pthread_mutex_unlock(&p->write_lock);
	} while (!err && unused && unused < before &&
		 !__atomic_load_n(&p->engine->stop, __ATOMIC_RELAXED));
	return err;
}

int part_compact(struct part *p, bool all)
{
	struct merge *m = calloc(1, sizeof(*m));
	struct view v;
	int err = m ? view_open(p, &v) : -ENOMEM;

	if (err) {
		free(m);
		return err;
	}
	m->e = p->engine;
	if (find_work(m, &v, all)) {
		err = merge(m, &v);
		if (!err || err == -EAGAIN)
			err = 1;
	}
	view_close(&v);
	block_builder_free(m->builder);
	for (size_t i = 0; i < m->out_cnt; i++)
		sealed_fini(&m->out[i]);
	free(m);
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces by what each block has of them: first the blocks of the range, then, for who asks, the
 * others. Compaction may merge blocks between the two looks at a partition; one that is new then
 * is looked at whatever its times, so nothing is passed over, and some may come twice.
 */
#include "store/engine.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

#define MARKS 256u

struct extending {
	const struct extents *q;
	bool (*visit)(void *ctx, const struct trace_extent *x, uint32_t cnt, bool beyond);
	void *ctx;
	bool beyond;
	uint64_t top; /* of the partition, at the first look */
};

static bool in_range(const struct block_row *row, struct time_range r)
{
	return row->start_max_ns >= r.from_ns && (!r.to_ns || row->start_min_ns < r.to_ns);
}

static bool is_loose(const struct extents *q, const struct block_row *row)
{
	uint64_t end = row->start_max_ns + row->duration_max_ns;

	return q->loose_ns && end >= row->start_max_ns && end - row->start_min_ns <= q->loose_ns;
}

/* From the filter's marks alone. */
static int visit_loosely(struct extending *e, const struct block_row *row, struct str filter)
{
	struct trace_extent batch[MARKS];
	uint32_t marks[MARKS], cnt, kept;

	for (uint32_t at = 0; (cnt = block_marks(filter, at, marks, MARKS)); at += cnt) {
		kept = 0;
		for (uint32_t i = 0; i < cnt; i++) {
			if (e->q->wants && !e->q->wants(e->ctx, marks[i], e->beyond))
				continue;
			batch[kept++] = (struct trace_extent){
				.mark = marks[i],
				.loose = true,
				.start_ns = row->start_min_ns,
				.end_ns = row->start_max_ns + row->duration_max_ns,
			};
		}
		if (kept && !e->visit(e->ctx, batch, kept, e->beyond))
			return 1;
	}
	return 0;
}

static bool any_wanted(const struct extending *e, struct str filter)
{
	uint32_t marks[MARKS], cnt;

	if (!e->q->wants)
		return true;
	for (uint32_t at = 0; (cnt = block_marks(filter, at, marks, MARKS)); at += cnt)
		for (uint32_t i = 0; i < cnt; i++)
			if (e->q->wants(e->ctx, marks[i], e->beyond))
				return true;
	return false;
}

static int visit_exactly(struct extending *e, struct view *v, const struct block_row *row)
{
	struct body b;
	int err = view_body(v, row, &b);

	if (err)
		return err;
	err = block_extents(b.block, e->q, e->beyond, e->visit, e->ctx);
	body_close(&b);
	return err;
}

static int extend_block(void *ctx, struct view *v, const struct block_row *row)
{
	struct extending *e = ctx;
	struct filter *f;
	struct str marks;
	int err;

	if (e->q->deadline_ns && clock_mono_ns() >= e->q->deadline_ns)
		return -ETIMEDOUT;
	if (e->beyond && row->id <= e->top && in_range(row, e->q->range))
		return 0;
	if (e->q->floor_ns && row->start_max_ns < *e->q->floor_ns)
		return 0;
	err = view_filter(v, row, &f);
	if (err)
		return err;
	marks = (struct str){ f->data, f->len };
	if (is_loose(e->q, row))
		err = visit_loosely(e, row, marks);
	else if (any_wanted(e, marks))
		err = visit_exactly(e, v, row);
	filter_release(f);
	return err;
}

static int extend_part(struct extending *e, struct part *p, uint64_t *top)
{
	const struct time_range every = { 0 };
	struct view v;
	int err;

	if (part_is_aside(p))
		return 0;
	err = view_open(p, &v);
	if (err == -EBADMSG || err == -EIO || err == -ENOENT) {
		part_set_aside(p, err);
		return 0;
	}
	if (err)
		return err;
	if (!e->beyond)
		*top = v.list->top;
	e->top = *top;
	err = view_each(&v, e->beyond ? every : e->q->range, extend_block, e);
	view_close(&v);
	return err;
}

int engine_extents(struct store *s, const struct extents *q,
		   bool (*visit)(void *ctx, const struct trace_extent *x, uint32_t cnt,
				 bool beyond),
		   void *ctx)
{
	struct extending e = { .q = q, .visit = visit, .ctx = ctx };
	struct part **parts;
	uint64_t *top;
	size_t cnt;
	int err = engine_parts((struct engine *)s, &parts, &cnt);

	if (err)
		return err;
	top = calloc(cnt + 1, sizeof(*top));
	err = top ? 0 : -ENOMEM;
	for (size_t i = 0; i < cnt && !err; i++)
		err = extend_part(&e, parts[i], &top[i]);
	e.beyond = true;
	for (size_t i = 0; i < cnt && !err && q->beyond; i++)
		err = extend_part(&e, parts[i], &top[i]);
	free(top);
	engine_parts_put(parts, cnt);
	return MIN(err, 0);
}

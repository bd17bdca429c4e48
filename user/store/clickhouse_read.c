/* SPDX-License-Identifier: Apache-2.0 */
/* Spans read: whole traces by id, and scans that go back in time. */
#include "store/clickhouse.h"

#include "core/clock.h"

#include <errno.h>

#define IDS_MAX 256 /* of one query */
/* A scan asks for the newest span of time first, and for more of it each time it goes further
 * back: the server sorts what it finds in one of them before the first row comes. */
#define SLICE_NS     (900 * NS_PER_S)
#define SLICE_FACTOR 4
#define SLICE_MAX_NS (7 * 24 * 3600 * NS_PER_S) /* the next one is all the rest */

/* ---- traces -----------------------------------------------------------------------------------
 */

struct gathering {
	struct row_reader reader;
	struct gather *gather;
};

static int gather_row(void *ctx, struct cursor *c)
{
	struct gathering *g = ctx;
	int rc = reader_take(&g->reader, c);

	if (c->bad || rc < 0)
		return rc;
	return rc ? 0 : gather_add(g->gather, &g->reader.span);
}

static int add_ids(struct buf *sql, const struct trace_id *ids, size_t cnt)
{
	char hex[33];
	int err = 0;

	for (size_t i = 0; i < cnt && !err; i++) {
		trace_id_hex(&ids[i], hex);
		err = buf_printf(sql, "%s'%s'", i ? ", " : "", hex);
	}
	return err;
}

/* The time of a trace is looked up first: the spans are not ordered by their ids. */
static int traces_sql(struct buf *sql, const struct trace_id *ids, size_t cnt)
{
	int err = buf_printf(sql, "WITH (SELECT (min(Start), max(End)) FROM otel_traces_trace_id_ts"
				  " WHERE TraceId IN (");

	if (!err)
		err = add_ids(sql, ids, cnt);
	if (!err)
		err = buf_printf(sql, ")) AS bounds ");
	if (!err)
		err = row_select(sql, (struct ch_columns){ true, true, true, true });
	if (!err)
		err = buf_printf(sql, "Timestamp >= bounds.1 AND"
				      " Timestamp <= addSeconds(bounds.2, 1) AND TraceId IN (");
	if (!err)
		err = add_ids(sql, ids, cnt);
	return err ? err : buf_printf(sql, ") FORMAT RowBinary");
}

int ch_traces(struct store *s, const struct trace_id *ids, size_t cnt, struct trace_sink out)
{
	struct gathering g = { .gather = gather_new(ids, cnt) };
	struct buf sql = { 0 };
	int err = reader_init(&g.reader);

	if (!g.gather)
		err = -ENOMEM;
	for (size_t at = 0; at < cnt && !err; at += IDS_MAX) {
		struct ch_request q = { .row = gather_row, .ctx = &g };

		buf_clear(&sql);
		err = traces_sql(&sql, ids + at, MIN(cnt - at, IDS_MAX));
		q.sql = buf_str(&sql);
		if (!err)
			err = http_read((struct clickhouse *)s, &q);
	}
	if (!err)
		err = gather_finish(g.gather, out);
	gather_free(g.gather);
	reader_fini(&g.reader);
	buf_fini(&sql);
	return err;
}

/* ---- scans ------------------------------------------------------------------------------------
 */

struct scanning {
	struct row_reader reader;
	const struct scan *scan;
	struct ch_columns columns;
	bool (*visit)(void *ctx, const struct span *sp);
	void *ctx;
	bool stopped;
};

static int scan_row(void *ctx, struct cursor *c)
{
	struct scanning *s = ctx;
	int rc = reader_take(&s->reader, c);

	if (c->bad || rc)
		return rc < 0 ? rc : 0;
	/* newest first: what follows is further back still */
	if (s->scan->floor_ns && s->reader.span.start_ns < *s->scan->floor_ns) {
		s->stopped = true;
		return -ECANCELED;
	}
	if (!cond_match(s->scan->where, &s->reader.span))
		return 0;
	s->stopped = !s->visit(s->ctx, &s->reader.span);
	return s->stopped ? -ECANCELED : 0;
}

static void need_field(struct ch_columns *what, enum field_kind kind)
{
	what->attrs = what->attrs || kind == FIELD_ATTR || kind == FIELD_SPAN_ATTR;
	what->resource = what->resource || kind == FIELD_ATTR || kind == FIELD_RESOURCE_ATTR;
	what->events = what->events || kind == FIELD_EVENT_ATTR || kind == FIELD_EVENT_NAME;
	what->links = what->links || kind == FIELD_LINK_ATTR;
}

static void need_cond(struct ch_columns *what, const struct cond *c)
{
	if (!c)
		return;
	if (c->op == COND_CMP)
		need_field(what, c->field.kind);
	need_cond(what, c->left);
	need_cond(what, c->right);
}

static struct ch_columns columns_of(const struct scan *q)
{
	struct ch_columns what = { q->whole, q->whole, q->whole, q->whole };

	for (size_t i = 0; i < q->field_cnt; i++)
		need_field(&what, q->fields[i].kind);
	need_cond(&what, q->where);
	return what;
}

static int scan_slice(struct clickhouse *c, struct scanning *s, struct time_range r)
{
	struct ch_request q = { .deadline_ns = s->scan->deadline_ns, .row = scan_row, .ctx = s };
	struct buf sql = { 0 };
	int err = row_select(&sql, s->columns);

	if (!err)
		err = sql_range(&sql, r);
	if (!err)
		err = buf_printf(&sql, " AND ");
	if (!err)
		err = sql_cond(&sql, s->scan->where);
	if (!err)
		err = buf_printf(&sql, " ORDER BY Timestamp DESC FORMAT RowBinary");
	q.sql = buf_str(&sql);
	if (!err)
		err = http_read(c, &q);
	buf_fini(&sql);
	return err;
}

int ch_scan(struct store *st, const struct scan *q, bool (*visit)(void *ctx, const struct span *sp),
	    void *ctx)
{
	struct scanning s = { .scan = q, .columns = columns_of(q), .visit = visit, .ctx = ctx };
	uint64_t width = SLICE_NS, now = clock_real_ns();
	struct time_range slice = { .to_ns = q->range.to_ns };
	int err = reader_init(&s.reader);

	/* what lies ahead of the clock comes with the first one */
	slice.from_ns = slice.to_ns ? MIN(slice.to_ns, now) : now;
	while (!err && !s.stopped) {
		if (width > SLICE_MAX_NS)
			width = slice.from_ns;
		slice.from_ns = slice.from_ns > width ? slice.from_ns - width : 0;
		slice.from_ns = MAX(slice.from_ns, q->range.from_ns);
		err = scan_slice((struct clickhouse *)st, &s, slice);
		if (slice.from_ns <= q->range.from_ns)
			break;
		slice.to_ns = slice.from_ns;
		width *= SLICE_FACTOR;
	}
	reader_fini(&s.reader);
	return err;
}

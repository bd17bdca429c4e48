/* SPDX-License-Identifier: Apache-2.0 */
/* What occurs in the tables: services, operations, keys, values, figures. */
#include "store/clickhouse.h"

#include <errno.h>
#include <stdio.h>

#define NAMES_MAX 100000 /* of one answer */

static int ask(struct store *s, struct buf *sql, int (*row)(void *ctx, struct cursor *c), void *ctx)
{
	const struct ch_request q = { .sql = buf_str(sql), .row = row, .ctx = ctx };
	int err = http_read((struct clickhouse *)s, &q);

	buf_fini(sql);
	return err;
}

/* ---- names ------------------------------------------------------------------------------------
 */

struct names {
	void (*service)(void *ctx, struct str service);
	void (*operation)(void *ctx, struct str service, struct str name, enum span_kind kind);
	void (*tag)(void *ctx, enum field_kind kind, struct str key);
	void *ctx;
};

static struct str name_or_unknown(struct str service)
{
	return service.len ? service : STR("unknown_service");
}

static int service_row(void *ctx, struct cursor *c)
{
	const struct names *n = ctx;
	struct str service = take_text(c);

	if (!c->bad)
		n->service(n->ctx, name_or_unknown(service));
	return 0;
}

int ch_services(struct store *s, struct time_range r, void (*visit)(void *ctx, struct str service),
		void *ctx)
{
	struct names n = { .service = visit, .ctx = ctx };
	struct buf sql = { 0 };
	int err = buf_printf(&sql, "SELECT " CH_MARK ", ServiceName FROM otel_traces WHERE ");

	if (!err)
		err = sql_range(&sql, r);
	if (!err)
		err = buf_printf(&sql,
				 " GROUP BY ServiceName ORDER BY ServiceName LIMIT %d"
				 " FORMAT RowBinary",
				 NAMES_MAX);
	return err ? err : ask(s, &sql, service_row, &n);
}

static int operation_row(void *ctx, struct cursor *c)
{
	const struct names *n = ctx;
	struct str service = take_text(c), name = take_text(c), kind = take_text(c);

	if (!c->bad)
		n->operation(n->ctx, name_or_unknown(service), name, row_kind(kind));
	return 0;
}

int ch_operations(struct store *s, struct str service, struct time_range r,
		  void (*visit)(void *ctx, struct str service, struct str name,
				enum span_kind kind),
		  void *ctx)
{
	struct names n = { .operation = visit, .ctx = ctx };
	struct buf sql = { 0 };
	int err = buf_printf(&sql, "SELECT " CH_MARK ", ServiceName, SpanName, SpanKind"
				   " FROM otel_traces WHERE ");

	if (!err)
		err = sql_range(&sql, r);
	if (!err && service.len) {
		err = buf_printf(&sql, " AND ServiceName = ");
		if (!err)
			err = sql_text(&sql, service);
	}
	if (!err)
		err = buf_printf(&sql,
				 " GROUP BY ServiceName, SpanName, SpanKind"
				 " ORDER BY ServiceName, SpanName, SpanKind LIMIT %d"
				 " FORMAT RowBinary",
				 NAMES_MAX);
	return err ? err : ask(s, &sql, operation_row, &n);
}

static int tag_row(void *ctx, struct cursor *c)
{
	const struct names *n = ctx;
	uint8_t kind = take_u8(c);
	struct str key = take_text(c);

	if (!c->bad && !str_eq(key, STR(CH_TYPES_KEY)))
		n->tag(n->ctx, (enum field_kind)kind, key);
	return 0;
}

int ch_tags(struct store *s, struct time_range r,
	    void (*visit)(void *ctx, enum field_kind kind, struct str key), void *ctx)
{
	static const struct {
		enum field_kind kind;
		const char *keys;
	} from[] = {
		{ FIELD_SPAN_ATTR, "mapKeys(SpanAttributes)" },
		{ FIELD_RESOURCE_ATTR, "mapKeys(ResourceAttributes)" },
		{ FIELD_EVENT_ATTR, "arrayFlatten(arrayMap(m -> mapKeys(m), Events.Attributes))" },
		{ FIELD_LINK_ATTR, "arrayFlatten(arrayMap(m -> mapKeys(m), Links.Attributes))" },
	};
	struct names n = { .tag = visit, .ctx = ctx };
	struct buf sql = { 0 };
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(from) && !err; i++) {
		err = buf_printf(&sql,
				 "%sSELECT " CH_MARK ", toUInt8(%d), toString(arrayJoin(%s)) AS k"
				 " FROM otel_traces WHERE ",
				 i ? " UNION ALL " : "", from[i].kind, from[i].keys);
		if (!err)
			err = sql_range(&sql, r);
		if (!err)
			err = buf_printf(&sql, " GROUP BY k ORDER BY k LIMIT %d", NAMES_MAX);
	}
	if (!err)
		err = buf_printf(&sql, " FORMAT RowBinary");
	return err ? err : ask(s, &sql, tag_row, &n);
}

/* ---- values -----------------------------------------------------------------------------------
 */

struct values {
	const struct field *field;
	struct arena *mem;
	void (*visit)(void *ctx, const struct value *v);
	void *ctx;
};

static struct value id_value(struct str text, struct arena *mem)
{
	uint8_t *b = arena_alloc(mem, sizeof(struct trace_id));
	struct trace_id trace;
	struct span_id span;

	if (b && text.len == 32 && trace_id_parse(text, &trace)) {
		memcpy(b, trace.b, sizeof(trace.b));
		return (struct value){ .type = VALUE_BYTES, .str = { (char *)b, 16 } };
	}
	if (b && span_id_parse(text, &span)) {
		memcpy(b, span.b, sizeof(span.b));
		return (struct value){ .type = VALUE_BYTES, .str = { (char *)b, 8 } };
	}
	return (struct value){ .type = VALUE_EMPTY };
}

static struct value value_of(const struct field *f, struct str text, struct arena *mem)
{
	switch (f->kind) {
	case FIELD_ATTR:
	case FIELD_SPAN_ATTR:
	case FIELD_RESOURCE_ATTR:
	case FIELD_SCOPE_ATTR:
	case FIELD_EVENT_ATTR:
	case FIELD_LINK_ATTR: return value_parse(value_guess(f->key, text), text, mem);
	case FIELD_KIND: return (struct value){ .type = VALUE_INT, .i = row_kind(text) };
	case FIELD_STATUS: return (struct value){ .type = VALUE_INT, .i = row_status(text) };
	case FIELD_DURATION:
	case FIELD_START: return value_parse(VALUE_INT, text, mem);
	case FIELD_TRACE_ID:
	case FIELD_SPAN_ID:
	case FIELD_PARENT_ID: return id_value(text, mem);
	case FIELD_SERVICE: text = name_or_unknown(text); break;
	default: break;
	}
	return (struct value){ .type = VALUE_STR, .str = text };
}

static int value_row(void *ctx, struct cursor *c)
{
	const struct values *vs = ctx;
	struct str text = take_text(c);
	struct value v;

	if (c->bad)
		return 0;
	arena_reset(vs->mem);
	v = value_of(vs->field, text, vs->mem);
	if (v.type != VALUE_EMPTY)
		vs->visit(vs->ctx, &v);
	return 0;
}

/* The condition is asked as SQL alone: types are not looked at here, so that a value may come of
 * spans in which a number is compared with text. */
int ch_values(struct store *s, const struct field *f, const struct cond *where, struct time_range r,
	      uint32_t limit, void (*visit)(void *ctx, const struct value *v), void *ctx)
{
	struct values vs = { .field = f, .visit = visit, .ctx = ctx };
	struct buf sql = { 0 };
	int err;

	if (f->kind == FIELD_SCOPE_ATTR)
		return 0;
	vs.mem = arena_new(0);
	err = vs.mem ? buf_printf(&sql, "SELECT " CH_MARK ", toString(arrayJoin(") : -ENOMEM;
	if (!err)
		err = sql_values(&sql, f);
	if (!err)
		err = buf_printf(&sql, ")) AS v FROM otel_traces WHERE ");
	if (!err)
		err = sql_range(&sql, r);
	if (!err)
		err = buf_printf(&sql, " AND ");
	if (!err)
		err = sql_cond(&sql, where);
	if (!err)
		err = buf_printf(&sql, " GROUP BY v ORDER BY v LIMIT %u FORMAT RowBinary", limit);
	if (!err)
		err = ask(s, &sql, value_row, &vs);
	buf_fini(&sql);
	arena_free(vs.mem);
	return err;
}

/* ---- figures ----------------------------------------------------------------------------------
 */

static int stats_row(void *ctx, struct cursor *c)
{
	uint64_t v[7];

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = take_u64le(c);
	if (!c->bad)
		*(struct store_stats *)ctx = (struct store_stats){ .spans = v[0],
								   .traces = v[1],
								   .oldest_ns = v[2],
								   .newest_ns = v[3],
								   .bytes = v[4],
								   .partitions = v[5],
								   .blocks = v[6] };
	return 0;
}

int ch_stats(struct store *s, struct store_stats *ret)
{
	struct store_stats st = { 0 };
	struct buf sql = { 0 };
	int err = buf_printf(&sql,
			     "WITH (SELECT (toUInt64(sum(bytes_on_disk)), "
			     "toUInt64(uniqExactIf(partition, table ="
			     " 'otel_traces')), toUInt64(countIf(table = 'otel_traces'))) FROM "
			     "system.parts WHERE"
			     " active AND database = currentDatabase() AND table IN ('otel_traces',"
			     " 'otel_traces_trace_id_ts')) AS parts"
			     " SELECT " CH_MARK ", toUInt64(count()), toUInt64(uniq(TraceId)),"
			     " toUInt64(greatest(toUnixTimestamp64Nano(min(Timestamp)), 0)),"
			     " toUInt64(greatest(toUnixTimestamp64Nano(max(Timestamp)), 0)),"
			     " ifNull(parts.1, 0), ifNull(parts.2, 0), ifNull(parts.3, 0) FROM "
			     "otel_traces FORMAT RowBinary");

	if (!err)
		err = ask(s, &sql, stats_row, &st);
	if (!err)
		*ret = st;
	return err;
}

struct checking {
	void (*report)(void *ctx, const char *line);
	void *ctx;
	int64_t bad;
};

static int check_row(void *ctx, struct cursor *c)
{
	struct checking *k = ctx;
	struct str part = take_text(c);
	uint8_t passed = take_u8(c);
	struct str said = take_text(c);
	char line[512];

	if (c->bad || passed)
		return 0;
	k->bad++;
	snprintf(line, sizeof(line), "part %.*s: %.*s", (int)MIN(part.len, 200), part.p,
		 (int)MIN(said.len, 200), said.p);
	k->report(k->ctx, line);
	return 0;
}

int64_t ch_check(struct store *s, void (*report)(void *ctx, const char *line), void *ctx)
{
	struct checking k = { .report = report, .ctx = ctx };
	const struct ch_request q = { .sql = STR("CHECK TABLE otel_traces SETTINGS"
						 " check_query_single_value_result = 0"
						 " FORMAT RowBinary"),
				      .unmarked = true,
				      .row = check_row,
				      .ctx = &k };
	int err = http_read((struct clickhouse *)s, &q);

	return err ? err : k.bad;
}

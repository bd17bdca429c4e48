/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions as SQL. An expression may hold for more spans than its condition, never for fewer:
 * types are looked at when the span is there (cond_match). Where the two are the same it is
 * 'exact', and only that may stand under a NOT.
 */
#include "store/clickhouse.h"

#include <errno.h>
#include <math.h>

#define EXACT_INT_MAX ((int64_t)1 << 53) /* beyond it doubles skip ints */

/* ---- literals ---------------------------------------------------------------------------------
 */

int sql_text(struct buf *sql, struct str s)
{
	static const char plain[] = " .,:;_-/=@+#";
	int err = buf_add_char(sql, '\'');

	for (size_t i = 0; i < s.len && !err; i++) {
		char b = s.p[i];
		bool letter =
			(b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');

		if (letter || (b && strchr(plain, b)))
			err = buf_add_char(sql, b);
		else
			err = buf_printf(sql, "\\x%02X", (uint8_t)b);
	}
	return err ? err : buf_add_char(sql, '\'');
}

static int sql_hex(struct buf *sql, struct str bytes)
{
	int err = buf_add_char(sql, '\'');

	for (size_t i = 0; i < bytes.len && !err; i++)
		err = buf_printf(sql, "%02x", (uint8_t)bytes.p[i]);
	return err ? err : buf_add_char(sql, '\'');
}

int sql_range(struct buf *sql, struct time_range r)
{
	uint64_t from = MIN(r.from_ns, (uint64_t)INT64_MAX), to = r.to_ns;
	int err = buf_printf(sql, "Timestamp >= fromUnixTimestamp64Nano(toInt64(%llu))",
			     (unsigned long long)from);

	if (!err && to && to <= INT64_MAX)
		err = buf_printf(sql, " AND Timestamp < fromUnixTimestamp64Nano(toInt64(%llu))",
				 (unsigned long long)to);
	return err;
}

/* ---- columns ----------------------------------------------------------------------------------
 */

int row_select(struct buf *sql, struct ch_columns what)
{
	static const char none[] = "CAST(map() AS Map(String, String))";
	static const char no_events[] = "CAST([] AS Array(Int64)), CAST([] AS Array(String)),"
					" CAST([] AS Array(Map(String, String)))";
	static const char no_links[] = "CAST([] AS Array(String)), CAST([] AS Array(String)),"
				       " CAST([] AS Array(String)),"
				       " CAST([] AS Array(Map(String, String)))";

	return buf_printf(
		sql,
		"SELECT " CH_MARK ", StatusCode, toUnixTimestamp64Nano(Timestamp), TraceId, SpanId,"
		" ParentSpanId, TraceState, SpanName, ServiceName, %s, ScopeName, ScopeVersion, %s,"
		" toUInt64(Duration), StatusMessage, %s, %s, SpanKind FROM otel_traces WHERE ",
		what.resource ? "ResourceAttributes" : none, what.attrs ? "SpanAttributes" : none,
		what.events ? "arrayMap(t -> toUnixTimestamp64Nano(t), Events.Timestamp),"
			      " Events.Name, Events.Attributes"
			    : no_events,
		what.links ? "Links.TraceId, Links.SpanId, Links.TraceState, Links.Attributes"
			   : no_links);
}

/* ---- comparisons ------------------------------------------------------------------------------
 */

static const char *const operator[] = { [CMP_EQ] = "=",	 [CMP_NE] = "!=", [CMP_LT] = "<",
					[CMP_LE] = "<=", [CMP_GT] = ">",  [CMP_GE] = ">=" };

static bool is_ordering(enum cmp cmp)
{
	return cmp <= CMP_GE;
}

/*
 * Does RE2 surely match all that PCRE2 does? Letters, digits, sets of them, dots, groups, choices
 * and simple repetition mean the same to both; the rest is left to cond_match().
 */
static bool is_common_pattern(struct str p)
{
	static const char plain[] = " _-/:,@%=&#~<>!;\"'^$.";
	bool item = false; /* what may be repeated came last */
	bool set = false;

	for (size_t i = 0; i < p.len; i++) {
		char b = p.p[i], next = i + 1 < p.len ? p.p[i + 1] : 0;
		bool letter =
			(b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');

		if (b == '\\') {
			if (set || !next || !strchr(".-/_+*?()[]{}|^$dw", next))
				return false;
			i++;
			item = true;
		} else if (set) {
			if (!letter && b != ']' && b != '_' && b != '-')
				return false;
			set = b != ']';
			item = true;
		} else if (b == '[') {
			set = true;
			if (next == '^')
				i++;
			if (i + 1 >= p.len || p.p[i + 1] == ']')
				return false;
		} else if (b == '*' || b == '+' || b == '?') {
			if (!item)
				return false;
			item = false;
		} else if (b == '(' || b == '|') {
			item = false;
		} else if (b == ')' || letter || (b && strchr(plain, b))) {
			item = b != '^' && b != '$';
		} else {
			return false;
		}
	}
	return !set;
}

/* expr is there and a string to us. */
static int compare_text(struct buf *sql, const char *expr, const struct cond *c, bool *ret_exact)
{
	int err;

	*ret_exact = false;
	if (c->cmp == CMP_RE && is_common_pattern(c->value.str)) {
		err = buf_printf(sql, "match(%s, concat('^(?:', ", expr);
		if (!err)
			err = sql_text(sql, c->value.str);
		return err ? err : buf_printf(sql, ", ')$'))");
	}
	if (c->cmp == CMP_RE || c->cmp == CMP_NRE)
		return buf_printf(sql, "1");
	*ret_exact = true;
	if (c->cmp == CMP_EXISTS)
		return buf_printf(sql, "1");
	if (c->value.type != VALUE_STR)
		return buf_printf(sql, "0");
	err = buf_printf(sql, "%s %s ", expr, operator[c->cmp]);
	return err ? err : sql_text(sql, c->value.str);
}

/* A number that SQL has exactly, of a condition on one. */
static int compare_number(struct buf *sql, const char *expr, const struct cond *c, bool *ret_exact)
{
	const struct value *v = &c->value;

	*ret_exact = true;
	if (c->cmp == CMP_EXISTS)
		return buf_printf(sql, "1");
	if (!is_ordering(c->cmp) || (v->type != VALUE_INT && v->type != VALUE_DOUBLE))
		return buf_printf(sql, "0");
	if (v->type == VALUE_INT)
		return buf_printf(sql, "%s %s toInt64(%lld)", expr, operator[c->cmp],
				  (long long)v->i);
	*ret_exact = false;
	return buf_printf(sql, "1");
}

/* A number within a text, or within some of its elements. */
static int compare_stored_number(struct buf *sql, const char *expr, const struct cond *c)
{
	const struct value *v = &c->value;
	double d = v->type == VALUE_INT ? (double)v->i : v->d;
	double slack = v->type == VALUE_INT ? 0 : fabs(d) * 1e-9;

	if (!isfinite(d) || fabs(d) >= (double)EXACT_INT_MAX ||
	    (c->cmp == CMP_NE && v->type != VALUE_INT))
		return buf_printf(sql, "1");
	switch (c->cmp) {
	case CMP_EQ:
		return buf_printf(sql, "ifNull(toFloat64OrNull(%s) BETWEEN %.17g AND %.17g, 0)",
				  expr, d - slack, d + slack);
	case CMP_NE: return buf_printf(sql, "ifNull(toFloat64OrNull(%s) != %.17g, 0)", expr, d);
	case CMP_LT:
	case CMP_LE:
		return buf_printf(sql, "ifNull(toFloat64OrNull(%s) <%s %.17g, 0)", expr,
				  c->cmp == CMP_LT && !slack ? "" : "=", d + slack);
	default:
		return buf_printf(sql, "ifNull(toFloat64OrNull(%s) >%s %.17g, 0)", expr,
				  c->cmp == CMP_GT && !slack ? "" : "=", d - slack);
	}
}

/* A map has the key and its text may be such a value; an array may have it as an element. (Not
 * mapContains(): up to 26.7 it does not find the empty key.) */
static int compare_attr(struct buf *sql, const char *map, const struct cond *c)
{
	struct buf at = { 0 };
	bool exact;
	int err = buf_printf(&at, "%s[", map);

	if (!err)
		err = sql_text(&at, c->field.key);
	if (!err)
		err = buf_printf(&at, "]%c", 0);
	if (!err)
		err = buf_printf(sql, "(has(mapKeys(%s), ", map);
	if (!err)
		err = sql_text(sql, c->field.key);
	if (!err)
		err = buf_printf(sql, ") AND (startsWith(%s, '[') OR ", at.p);
	if (err)
		goto out;
	if (c->value.type == VALUE_INT || c->value.type == VALUE_DOUBLE)
		err = is_ordering(c->cmp) ? compare_stored_number(sql, at.p, c)
					  : buf_printf(sql, "1");
	else if (c->value.type == VALUE_STR)
		err = compare_text(sql, at.p, c, &exact);
	else if (c->value.type == VALUE_BOOL && (c->cmp == CMP_EQ || c->cmp == CMP_NE))
		err = buf_printf(sql, "%s = '%s'", at.p,
				 c->value.b == (c->cmp == CMP_EQ) ? "true" : "false");
	else
		err = buf_printf(sql, "1");
	if (!err)
		err = buf_printf(sql, "))");
out:
	buf_fini(&at);
	return err;
}

/* Those of the words whose numbers satisfy it. */
static int compare_word(struct buf *sql, const struct cond *c)
{
	bool kind = c->field.kind == FIELD_KIND;
	unsigned int cnt = kind ? SPAN_CONSUMER + 1 : STATUS_ERROR + 1;
	int err = buf_printf(sql, "upper(%s) IN (''", kind ? "SpanKind" : "StatusCode");

	for (unsigned int i = 0; i < cnt && !err; i++) {
		struct value v = { .type = VALUE_INT, .i = i };

		if (cond_compare(c, &v))
			err = buf_printf(sql, ", upper('%s'), '%s'",
					 kind ? span_kind_name(i) : span_status_name(i),
					 kind ? span_kind_otlp(i) : span_status_otlp(i));
	}
	return err ? err : buf_printf(sql, ")");
}

static int compare_id(struct buf *sql, const char *column, size_t len, const struct cond *c,
		      bool *ret_exact)
{
	int err;

	*ret_exact = true;
	if (c->cmp == CMP_EXISTS)
		return buf_printf(sql, "%s != ''", column);
	if (c->value.type != VALUE_BYTES || !is_ordering(c->cmp))
		return buf_printf(sql, "0");
	*ret_exact = c->value.str.len == len;
	if (!*ret_exact)
		return buf_printf(sql, "1");
	/* hex is ordered as the bytes are */
	err = buf_printf(sql, "(%s != '' AND %s %s ", column, column, operator[c->cmp]);
	if (!err)
		err = sql_hex(sql, c->value.str);
	return err ? err : buf_printf(sql, ")");
}

static int compare_either(struct buf *sql, const struct cond *c)
{
	int err = buf_printf(sql, "(");

	if (!err)
		err = compare_attr(sql, "SpanAttributes", c);
	if (!err)
		err = buf_printf(sql, " OR ");
	if (!err)
		err = compare_attr(sql, "ResourceAttributes", c);
	return err ? err : buf_printf(sql, ")");
}

/* Any event, any link. */
static int compare_any(struct buf *sql, const char *column, const struct cond *c)
{
	bool exact;
	int err = buf_printf(sql, "arrayExists(x -> ");

	if (!err)
		err = c->field.kind == FIELD_EVENT_NAME ? compare_text(sql, "x", c, &exact)
							: compare_attr(sql, "x", c);
	return err ? err : buf_printf(sql, ", %s)", column);
}

/* Where nothing is said the reader finds a name. */
static int compare_service(struct buf *sql, const struct cond *c)
{
	bool exact;
	int err = buf_printf(sql, "(ServiceName = '' OR ");

	if (!err)
		err = compare_text(sql, "ServiceName", c, &exact);
	return err ? err : buf_printf(sql, ")");
}

static int sql_leaf(struct buf *sql, const struct cond *c, bool *ret_exact)
{
	*ret_exact = false;
	switch (c->field.kind) {
	case FIELD_ATTR: return compare_either(sql, c);
	case FIELD_SPAN_ATTR: return compare_attr(sql, "SpanAttributes", c);
	case FIELD_RESOURCE_ATTR: return compare_attr(sql, "ResourceAttributes", c);
	case FIELD_EVENT_ATTR: return compare_any(sql, "Events.Attributes", c);
	case FIELD_LINK_ATTR: return compare_any(sql, "Links.Attributes", c);
	case FIELD_EVENT_NAME: return compare_any(sql, "Events.Name", c);
	case FIELD_NAME: return compare_text(sql, "SpanName", c, ret_exact);
	case FIELD_STATUS_MESSAGE: return compare_text(sql, "StatusMessage", c, ret_exact);
	case FIELD_SCOPE_NAME: return compare_text(sql, "ScopeName", c, ret_exact);
	case FIELD_SCOPE_VERSION: return compare_text(sql, "ScopeVersion", c, ret_exact);
	case FIELD_SERVICE: return compare_service(sql, c);
	case FIELD_KIND:
	case FIELD_STATUS: return compare_word(sql, c);
	case FIELD_DURATION: return compare_number(sql, "Duration", c, ret_exact);
	case FIELD_START:
		return compare_number(sql, "toUnixTimestamp64Nano(Timestamp)", c, ret_exact);
	case FIELD_TRACE_ID: return compare_id(sql, "TraceId", 16, c, ret_exact);
	case FIELD_SPAN_ID: return compare_id(sql, "SpanId", 8, c, ret_exact);
	case FIELD_PARENT_ID: return compare_id(sql, "ParentSpanId", 8, c, ret_exact);
	case FIELD_SCOPE_ATTR: *ret_exact = true; break; /* there are none */
	}
	return buf_printf(sql, "0");
}

static int sql_tree(struct buf *sql, const struct cond *c, bool *ret_exact)
{
	size_t at = sql->len;
	bool left = true, right = true;
	int err = 0;

	switch (c->op) {
	case COND_TRUE:
	case COND_FALSE: err = buf_printf(sql, "%d", c->op == COND_TRUE); break;
	case COND_CMP: err = sql_leaf(sql, c, &left); break;
	case COND_AND:
	case COND_OR:
		err = buf_printf(sql, "(");
		if (!err)
			err = sql_tree(sql, c->left, &left);
		if (!err)
			err = buf_printf(sql, c->op == COND_AND ? " AND " : " OR ");
		if (!err)
			err = sql_tree(sql, c->right, &right);
		if (!err)
			err = buf_printf(sql, ")");
		break;
	case COND_NOT:
		err = buf_printf(sql, "NOT (");
		if (!err)
			err = sql_tree(sql, c->left, &left);
		if (!err)
			err = buf_printf(sql, ")");
		if (!err && !left) {
			sql->len = at;
			err = buf_printf(sql, "1");
		}
		break;
	}
	*ret_exact = left && right;
	return err;
}

int sql_cond(struct buf *sql, const struct cond *c)
{
	size_t at = sql->len;
	bool exact;
	int err = c ? sql_tree(sql, c, &exact) : buf_printf(sql, "1");

	/* what is too long for one query is asked without it */
	if (!err && sql->len - at > CH_SQL_MAX) {
		sql->len = at;
		err = buf_printf(sql, "1");
	}
	return err;
}

/* ---- distinct values --------------------------------------------------------------------------
 */

static int values_of_maps(struct buf *sql, const char *maps, struct str key)
{
	int err = buf_printf(sql, "arrayMap(m -> m[");

	if (!err)
		err = sql_text(sql, key);
	if (!err)
		err = buf_printf(sql, "], arrayFilter(m -> has(mapKeys(m), ");
	if (!err)
		err = sql_text(sql, key);
	return err ? err : buf_printf(sql, "), %s))", maps);
}

int sql_values(struct buf *sql, const struct field *f)
{
	switch (f->kind) {
	case FIELD_ATTR: return values_of_maps(sql, "[SpanAttributes, ResourceAttributes]", f->key);
	case FIELD_SPAN_ATTR: return values_of_maps(sql, "[SpanAttributes]", f->key);
	case FIELD_RESOURCE_ATTR: return values_of_maps(sql, "[ResourceAttributes]", f->key);
	case FIELD_EVENT_ATTR: return values_of_maps(sql, "Events.Attributes", f->key);
	case FIELD_LINK_ATTR: return values_of_maps(sql, "Links.Attributes", f->key);
	case FIELD_EVENT_NAME: return buf_printf(sql, "Events.Name");
	case FIELD_NAME: return buf_printf(sql, "[SpanName]");
	case FIELD_SERVICE: return buf_printf(sql, "[ServiceName]");
	case FIELD_KIND: return buf_printf(sql, "[SpanKind]");
	case FIELD_STATUS: return buf_printf(sql, "[StatusCode]");
	case FIELD_STATUS_MESSAGE: return buf_printf(sql, "[StatusMessage]");
	case FIELD_SCOPE_NAME: return buf_printf(sql, "[ScopeName]");
	case FIELD_SCOPE_VERSION: return buf_printf(sql, "[ScopeVersion]");
	case FIELD_DURATION: return buf_printf(sql, "[toString(Duration)]");
	case FIELD_START: return buf_printf(sql, "[toString(toUnixTimestamp64Nano(Timestamp))]");
	case FIELD_TRACE_ID: return buf_printf(sql, "[TraceId]");
	case FIELD_SPAN_ID: return buf_printf(sql, "[SpanId]");
	case FIELD_PARENT_ID: return buf_printf(sql, "[ParentSpanId]");
	case FIELD_SCOPE_ATTR: break;
	}
	return -EOPNOTSUPP;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Questions that several rows put to the store. */
#include "api/ask.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "core/clock.h"
#include "trace/adjust.h"

#define OPERATIONS_MAX 100000u

/* ---- traces ---- */

/* Jaeger's word for clocks as they were sent, and calls told of twice unmarked. */
static bool is_raw(const struct call *c)
{
	return arg_number(c, "raw", 0) || arg_number(c, "rawTraces", 0) ||
	       arg_number(c, "query.rawTraces", 0);
}

/* As it is stored where there is nothing to correct. */
static struct trace *show_trace(const struct call *c, const struct trace *found)
{
	struct adjusted done;
	struct trace *t;

	if (is_raw(c) || !trace_adjustable(found))
		return trace_get(found);
	t = trace_new(&found->id);
	for (uint32_t i = 0; t && i < found->span_cnt; i++)
		if (!trace_add(t, found->spans[i])) {
			trace_put(t);
			return NULL;
		}
	if (!t)
		return NULL;
	t->root = found->root;
	t->complete = found->complete;
	t->late = found->late;
	if (trace_adjust(t, &done)) {
		trace_put(t);
		return NULL;
	}
	return t;
}

int api_trace_load(struct call *c, const struct trace_id *id, struct trace **ret_trace)
{
	struct trace *stored, *shown;
	int err = store_trace(c->cfg->store, id, &stored);

	if (err)
		return err;
	shown = show_trace(c, stored);
	trace_put(stored);
	if (!shown)
		return -ENOMEM;
	*ret_trace = shown;
	return 0;
}

bool ask_trace(struct call *c, const char *param, struct trace **ret)
{
	int err = api_trace_load(c, &arg_get(c, param)->id, ret);

	if (err)
		call_failed(c, err, "trace");
	return !err;
}

/* ---- conditions ---- */

void asked_and(struct asked *a, const struct cond *c)
{
	if (!c)
		a->failed = true;
	else if (!a->where)
		a->where = c;
	else if (!(a->where = cond_and(a->mem, a->where, c)))
		a->failed = true;
}

void asked_str(struct asked *a, enum field_kind kind, struct str text)
{
	if (text.len)
		asked_and(a, cond_cmp(a->mem, (struct field){ .kind = kind }, CMP_EQ,
				      (struct value){ .type = VALUE_STR, .str = text }));
}

void asked_int(struct asked *a, enum field_kind kind, enum cmp cmp, int64_t v)
{
	asked_and(a, cond_cmp(a->mem, (struct field){ .kind = kind }, cmp,
			      (struct value){ .type = VALUE_INT, .i = v }));
}

/* The number that all of a text is; text is NUL-terminated, as all arguments are. */
static bool number_of(struct str text, double *ret)
{
	char copy[64], *end;

	if (!text.len || text.len >= sizeof(copy) || strchr(" \t\n\r+xXnNiI", text.p[0]))
		return false;
	memcpy(copy, text.p, text.len);
	copy[text.len] = 0;
	*ret = strtod(copy, &end);
	return end == copy + text.len && isfinite(*ret);
}

/* Exactly: a double has no room for every number of 64 bits. */
static bool integer_of(struct str text, int64_t *ret)
{
	bool minus = text.len && text.p[0] == '-';
	uint64_t u;

	if (!str_to_u64(str_from(text, minus), &u) || u > (uint64_t)INT64_MAX + minus)
		return false;
	*ret = minus ? (int64_t)(0 - u) : (int64_t)u;
	return true;
}

const struct cond *cond_loose(struct arena *mem, struct field f, struct str text)
{
	const struct cond *c =
		cond_cmp(mem, f, CMP_EQ, (struct value){ .type = VALUE_STR, .str = text });
	const struct cond *also = NULL;
	struct value v = { .type = VALUE_INT };
	double number;

	if (str_eq(text, STR("true")) || str_eq(text, STR("false")))
		also = cond_cmp(mem, f, CMP_EQ,
				(struct value){ .type = VALUE_BOOL, .b = text.len == 4 });
	else if (integer_of(text, &v.i))
		also = cond_cmp(mem, f, CMP_EQ, v);
	else if (number_of(text, &number))
		also = cond_cmp(mem, f, CMP_EQ,
				number == rint(number) && fabs(number) < 9e15
					? (struct value){ .type = VALUE_INT, .i = (int64_t)number }
					: (struct value){ .type = VALUE_DOUBLE, .d = number });
	else
		return c;
	return c && also ? cond_or(mem, c, also) : NULL;
}

/* ---- ranges ---- */

bool ask_range(struct call *c, const char *start, const char *end, uint64_t lookback_ns,
	       struct time_range *ret)
{
	struct time_range r = { .to_ns = arg_number(c, end, 0) };
	uint64_t now = r.to_ns ? r.to_ns : clock_real_ns();

	r.from_ns = arg_number(c, start, lookback_ns && lookback_ns < now ? now - lookback_ns : 0);
	if (r.to_ns && r.to_ns <= r.from_ns) {
		call_error(c, 400, "%s must be before %s", start, end);
		return false;
	}
	*ret = r;
	return true;
}

/* ---- searches ---- */

struct page {
	struct call *call;
	bool (*row)(void *ctx, const struct search_trace *t);
	void *ctx;
	uint32_t cnt;
	bool failed;
};

static bool write_row(void *ctx, const struct search_trace *found)
{
	struct page *p = ctx;
	struct trace *whole = show_trace(p->call, found->trace);
	struct search_trace shown = *found;
	bool more;

	p->failed = !whole;
	if (p->failed)
		return false;
	shown.trace = whole;
	for (uint32_t i = 0; i < whole->span_cnt && whole != found->trace; i++) {
		shown.start_ns = MIN(i ? shown.start_ns : UINT64_MAX, whole->spans[i]->start_ns);
		shown.end_ns = MAX(i ? shown.end_ns : 0, whole->spans[i]->end_ns);
	}
	p->cnt++;
	more = p->row(p->ctx, &shown) && !p->call->page.failed;
	trace_put(whole);
	return more;
}

bool ask_traceql(struct call *c, bool metrics, struct traceql **ret)
{
	struct traceql_error fault;
	int err = traceql_parse(arg_text(c, "q"), ret, &fault);

	if (err == -EINVAL || err == -EOPNOTSUPP)
		call_error(c, 400, "invalid TraceQL query: %s", fault.text);
	else if (err)
		call_failed(c, err, "query");
	else if (metrics && !traceql_is_metrics(*ret))
		call_error(c, 400, "not a metrics query: it must end in rate() or the like");
	else if (!metrics && traceql_is_metrics(*ret))
		call_error(c, 400, "a metrics query: ask /api/metrics/query_range");
	else
		return true;
	return false;
}

bool ask_search(struct call *c, struct search *q,
		bool (*row)(void *ctx, const struct search_trace *t), void *ctx,
		struct search_end *ret_end, bool *ret_late)
{
	struct page p = { .call = c, .row = row, .ctx = ctx };
	int err;

	q->deadline_ns = c->deadline_ns;
	*ret_end = (struct search_end){ .traces = 0 };
	err = search_run(c->cfg->store, q, write_row, &p, ret_end);
	if (p.failed)
		err = -ENOMEM;
	*ret_late = err == -ETIMEDOUT;
	/* what came until the deadline is worth showing */
	if (err && !(*ret_late && p.cnt)) {
		call_failed(c, err, "search");
		return false;
	}
	return true;
}

/* ---- names ---- */

struct name_list {
	struct json *j;
	uint32_t cnt;
};

static void write_name(void *ctx, struct str name)
{
	struct name_list *l = ctx;

	json_str(l->j, name);
	l->cnt++;
}

int ask_services(struct call *c, struct time_range r, struct json *j, uint32_t *ret_cnt)
{
	struct name_list l = { j, 0 };
	int err;

	json_open(j, '[');
	err = store_services(c->cfg->store, r, write_name, &l);
	json_close(j, ']');
	*ret_cnt = l.cnt;
	return err;
}

static void keep_operation(void *ctx, struct str service, struct str name, enum span_kind kind)
{
	struct operations *o = ctx;
	struct operation *row;

	if (o->failed || o->cnt == OPERATIONS_MAX)
		return;
	if (o->cnt == o->size) {
		o->size = o->size ? 2 * o->size : 64;
		row = arena_alloc_raw(o->mem, o->size * sizeof(*row));
		o->failed = !row;
		if (o->failed)
			return;
		if (o->cnt)
			memcpy(row, o->row, o->cnt * sizeof(*row));
		o->row = row;
	}
	row = &o->row[o->cnt++];
	*row = (struct operation){ arena_str(o->mem, service), arena_str(o->mem, name), kind };
	o->failed = !row->service.p || !row->name.p;
}

static int order_of(struct str a, struct str b)
{
	int order = memcmp(a.p, b.p, MIN(a.len, b.len));

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const void *a, const void *b)
{
	const struct operation *x = a, *y = b;
	int order = order_of(x->service, y->service);

	if (!order)
		order = order_of(x->name, y->name);
	return order ? order : (int)x->kind - (int)y->kind;
}

int ask_operations(struct call *c, struct str service, struct time_range r, struct operations *ret)
{
	struct operations o = { .mem = c->mem };
	int err = store_operations(c->cfg->store, service, r, keep_operation, &o);

	if (!err && o.failed)
		err = -ENOMEM;
	if (err)
		return err;
	if (o.cnt)
		qsort(o.row, o.cnt, sizeof(*o.row), by_name);
	*ret = o;
	return 0;
}

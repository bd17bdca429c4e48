/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One comparison on all rows of a block. What repeats is compared once: a column's strings,
 * resources, scopes, traces. Where none of them holds, no row is looked at.
 */
#include "store/block_read.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* ---- whole numbers ---- */

/* A comparison with a whole number as a range; else each value is compared by cond_compare(). */
struct int_test {
	const struct cond *c; /* NULL: the range decides */
	int64_t low, high;
	bool negate;
};

static struct int_test int_test(const struct cond *c)
{
	struct int_test t = { .low = INT64_MIN, .high = INT64_MAX };
	int64_t v = c->value.i;

	if (c->value.type != VALUE_INT || c->cmp > CMP_GE)
		return (struct int_test){ .c = c };
	switch (c->cmp) {
	case CMP_EQ: t.low = t.high = v; break;
	case CMP_NE:
		t.low = t.high = v;
		t.negate = true;
		break;
	case CMP_LE: t.high = v; break;
	case CMP_GE: t.low = v; break;
	case CMP_LT: /* not at least */
		t.low = v;
		t.negate = true;
		break;
	default: /* not at most */
		t.high = v;
		t.negate = true;
		break;
	}
	return t;
}

static inline bool test_int(const struct int_test *t, int64_t i)
{
	struct value v = { .type = VALUE_INT, .i = i };

	if (t->c)
		return cond_compare(t->c, &v);
	return (i >= t->low && i <= t->high) != t->negate;
}

static int match_ints(struct block *b, const struct cond *c, struct ints *x, const uint8_t *in,
		      uint8_t *out)
{
	struct int_test t = int_test(c);
	uint64_t range = (uint64_t)t.high - (uint64_t)t.low;
	int err = load_ints(b, x);

	if (err)
		return err;
	/* without a branch, as many rows are looked at */
	for (uint32_t i = 0; i < b->rows && !t.c; i++)
		out[i] = in[i] & ((ints_at(x, i) - (uint64_t)t.low <= range) ^ t.negate);
	for (uint32_t i = 0; i < b->rows && t.c; i++)
		out[i] = in[i] && test_int(&t, (int64_t)ints_at(x, i));
	return 0;
}

static int match_starts(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	struct int_test t = int_test(c);
	int err = load_starts(b);

	for (uint32_t i = 0; i < b->rows && !err; i++)
		out[i] = in[i] && test_int(&t, (int64_t)b->start[i]);
	return err;
}

/* ---- things that rows share ---- */

/* Rows take the verdict of the thing that x numbers; of none, where a bad body says so. */
static int spread(struct block *b, struct ints *x, const uint8_t *verdict, uint32_t cnt,
		  const uint8_t *in, uint8_t *out)
{
	int err;

	if (!memchr(verdict, 1, cnt)) {
		memset(out, 0, b->rows);
		return 0;
	}
	err = load_ints(b, x);
	for (uint32_t i = 0; i < b->rows && !err; i++) {
		uint64_t thing = ints_at(x, i);

		out[i] = in[i] & verdict[MIN(thing, cnt)];
	}
	return err;
}

static uint8_t *verdicts_new(uint32_t cnt)
{
	return calloc((size_t)cnt + 1, 1);
}

/* Of each resource, as if it were the resource of an empty span. */
static int match_resources(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	struct span probe = { .scope = &scope_capture };
	uint8_t *verdict;
	int err = load_resources(b);

	if (err)
		return err;
	verdict = verdicts_new(b->resource_cnt);
	if (!verdict)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->resource_cnt; i++) {
		probe.resource = &b->resource[i];
		verdict[i] = cond_match(c, &probe);
	}
	err = spread(b, &b->ints[INTS_RESOURCE], verdict, b->resource_cnt, in, out);
	free(verdict);
	return err;
}

static int match_scopes(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	struct span probe = { 0 };
	uint8_t *verdict;
	int err = load_scopes(b);

	if (err)
		return err;
	verdict = verdicts_new(b->scope_cnt);
	if (!verdict)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->scope_cnt; i++) {
		probe.scope = &b->scope[i];
		verdict[i] = cond_match(c, &probe);
	}
	err = spread(b, &b->ints[INTS_SCOPE], verdict, b->scope_cnt, in, out);
	free(verdict);
	return err;
}

static int match_traces(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	uint32_t section = b->bytes[BYTES_TRACE_IDS];
	struct span probe = { 0 };
	const uint8_t *ids;
	int err = load_traces(b);

	if (!err)
		err = load_section(b, section, &ids);
	for (uint32_t t = 0; t < b->traces && !err; t++) {
		uint32_t first = b->trace_first[t], cnt = b->trace_first[t + 1] - first;

		memcpy(probe.trace_id.b, ids + (size_t)t * sizeof(probe.trace_id),
		       sizeof(probe.trace_id));
		if (cond_match(c, &probe))
			memcpy(out + first, in + first, cnt);
		else
			memset(out + first, 0, cnt);
	}
	return err;
}

/* Whether there is a parent is known without its id. */
static int match_parents(struct block *b, const uint8_t *in, uint8_t *out)
{
	int err = load_ints(b, &b->ints[INTS_PARENT]);

	for (uint32_t i = 0; i < b->rows && !err; i++)
		out[i] = in[i] && ints_at(&b->ints[INTS_PARENT], i);
	return err;
}

static int match_ids(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	struct span probe = { 0 };
	int err;

	if (c->cmp == CMP_EXISTS && c->field.kind == FIELD_PARENT_ID)
		return match_parents(b, in, out);
	err = load_ids(b);
	for (uint32_t i = 0; i < b->rows && !err; i++) {
		out[i] = 0;
		if (!in[i])
			continue;
		probe.parent_id = (struct span_id){ 0 };
		err = read_ids(b, i, &probe);
		out[i] = cond_match(c, &probe);
	}
	return err;
}

/* Events, links, status messages: most rows have none of them. */
static int match_details(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	const struct span none = { 0 };
	bool without = cond_match(c, &none);
	int err = load_details(b);

	for (uint32_t i = 0; i < b->rows && !err; i++) {
		struct span probe = { 0 };

		out[i] = in[i] && without;
		if (!in[i] || !row_details(b, i).len)
			continue;
		arena_reset(b->line);
		if (!take_details(row_details(b, i), b->line, &probe))
			err = -EBADMSG;
		else
			out[i] = cond_match(c, &probe);
	}
	return err;
}

/* ---- texts ---- */

static bool is_literal(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("/_- :%=&,@~;<>!", c));
}

/* The longest run of letters that every match of a regular expression holds; empty where it is not
 * made of letters, escaped punctuation and dots alone. */
static struct str sure_part(struct str re)
{
	const struct str none = { NULL, 0 };
	struct str best = none;
	size_t i = 0, from = 0;

	for (;;) {
		while (i < re.len && is_literal(re.p[i]))
			i++;
		if (i - from > best.len)
			best = (struct str){ re.p + from, i - from };
		if (i >= re.len)
			return best;
		if (re.p[i] == '.')
			for (i++; i < re.len && memchr("*+?", re.p[i], 3);)
				i++;
		else if (re.p[i] == '\\' && i + 1 < re.len && ispunct((unsigned char)re.p[i + 1]))
			i += 2;
		else
			return none;
		from = i;
	}
}

static bool holds_part(struct str s, struct str part)
{
	return !part.len || memmem(s.p, s.len, part.p, part.len);
}

/* Of every string; false when none holds. */
static bool judge_strings(const struct cond *c, const struct texts *t, uint8_t *verdict)
{
	struct str part = { NULL, 0 };
	struct value v = { .type = VALUE_STR };
	uint8_t any = 0;

	if (c->cmp == CMP_RE)
		part = sure_part(c->value.str);
	/* all strings at once: finding bytes is a hundred times quicker than matching */
	if (!holds_part((struct str){ t->bytes, t->off[t->lens.cnt] }, part))
		return false;
	for (uint32_t i = 0; i < t->lens.cnt; i++) {
		v.str = texts_str(t, i);
		verdict[i] = holds_part(v.str, part) && cond_compare(c, &v);
		any |= verdict[i];
	}
	return any;
}

static int match_names(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	struct texts *t = &b->names;
	uint8_t *verdict;
	int err = load_strings(b, t, b->rows);

	if (err)
		return err;
	verdict = verdicts_new(t->lens.cnt);
	if (!verdict)
		return -ENOMEM;
	memset(out, 0, b->rows);
	if (judge_strings(c, t, verdict)) {
		err = load_texts(b, t, b->rows);
		for (uint32_t i = 0; i < b->rows && !err; i++)
			out[i] = in[i] & verdict[texts_id(t, i)];
	}
	free(verdict);
	return err;
}

/* ---- attributes ---- */

/* Of every value of a column; *ret_any: does some hold? */
static int judge_column(struct block *b, const struct cond *c, struct read_column *col,
			uint8_t *verdict, bool *ret_any)
{
	struct int_test t = int_test(c);
	struct value v;
	uint8_t any = 0;
	int err;

	if (col->type == VALUE_STR) {
		err = load_strings(b, &col->texts, col->cnt);
		*ret_any = !err && judge_strings(c, &col->texts, verdict);
		return err;
	}
	err = load_column(b, col);
	for (uint32_t i = 0; i < col->cnt && !err; i++) {
		if (col->type == VALUE_INT) {
			verdict[i] = test_int(&t, (int64_t)ints_at(&col->ints, i));
		} else {
			arena_reset(b->line);
			err = read_value(b, col, i, &v);
			verdict[i] = !err && cond_compare(c, &v);
		}
		any |= verdict[i];
	}
	*ret_any = any;
	return err;
}

static inline uint8_t verdict_of(const struct read_column *c, const uint8_t *verdict, uint32_t at)
{
	return verdict[c->type == VALUE_STR ? texts_id(&c->texts, at) : at];
}

/* Rows whose span has the attribute take its verdict, the others keep what is in out. */
static int spread_values(struct block *b, struct str key, struct attr_field *f, uint8_t **verdict,
			 const uint8_t *in, uint8_t *out)
{
	int err = 0;

	for (uint32_t i = 0; i < f->cnt && !err; i++)
		err = load_column(b, f->column[i]);
	if (!err)
		err = field_locate(b, key, f);
	for (uint32_t row = 0; row < b->rows && !err; row++) {
		uint32_t which = f->which[row];

		if (which < FIELD_TYPES_MAX)
			out[row] =
				in[row] & verdict_of(f->column[which], verdict[which], f->at[row]);
	}
	field_fini(f);
	return err;
}

static int match_attr(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	uint8_t *verdict[FIELD_TYPES_MAX] = { NULL };
	struct attr_field f;
	bool any = false;
	int err = 0;

	field_columns(b, c->field.key, &f);
	for (uint32_t i = 0; i < f.cnt && !err; i++) {
		struct read_column *col = f.column[i];
		bool some = false;

		verdict[i] = verdicts_new(col->type == VALUE_STR ? col->texts.lens.cnt : col->cnt);
		err = verdict[i] ? judge_column(b, c, col, verdict[i], &some) : -ENOMEM;
		any |= some;
	}
	if (!err && c->field.kind == FIELD_ATTR)
		err = match_resources(b, c, in, out);
	else
		memset(out, 0, b->rows);
	/* a span's own attribute hides the resource's, also where it does not hold */
	if (!err && f.cnt && (any || memchr(out, 1, b->rows)))
		err = spread_values(b, c->field.key, &f, verdict, in, out);
	for (uint32_t i = 0; i < FIELD_TYPES_MAX; i++)
		free(verdict[i]);
	return err;
}

int match_leaf(struct block *b, const struct cond *c, const uint8_t *in, uint8_t *out)
{
	switch (c->field.kind) {
	case FIELD_ATTR:
	case FIELD_SPAN_ATTR: return match_attr(b, c, in, out);
	case FIELD_RESOURCE_ATTR:
	case FIELD_SERVICE: return match_resources(b, c, in, out);
	case FIELD_SCOPE_ATTR:
	case FIELD_SCOPE_NAME:
	case FIELD_SCOPE_VERSION: return match_scopes(b, c, in, out);
	case FIELD_EVENT_ATTR:
	case FIELD_EVENT_NAME:
	case FIELD_LINK_ATTR:
	case FIELD_STATUS_MESSAGE: return match_details(b, c, in, out);
	case FIELD_NAME: return match_names(b, c, in, out);
	case FIELD_KIND: return match_ints(b, c, &b->ints[INTS_KIND], in, out);
	case FIELD_STATUS: return match_ints(b, c, &b->ints[INTS_STATUS], in, out);
	case FIELD_DURATION: return match_ints(b, c, &b->ints[INTS_DURATION], in, out);
	case FIELD_START: return match_starts(b, c, in, out);
	case FIELD_TRACE_ID: return match_traces(b, c, in, out);
	case FIELD_SPAN_ID:
	case FIELD_PARENT_ID: return match_ids(b, c, in, out);
	}
	return -EINVAL;
}

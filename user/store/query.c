/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions over one span: built in an arena, evaluated one span at a time. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "store/query.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

/* Steps of backtracking before a match is given up: about 5 ms of one CPU. */
#define MATCH_STEPS_MAX 250000u
/* What backtracking may take beside the stack, KiB. */
#define MATCH_HEAP_MAX_KIB 2048u

struct pattern {
	struct pattern *next;
	pcre2_code *code;
	pcre2_match_context *limits;
	pcre2_match_data *spare; /* of whichever thread takes it first */
};

static const struct cond cond_all = { .op = COND_TRUE };
static const struct cond cond_none = { .op = COND_FALSE };

/* ---- comparing ------------------------------------------------------------------------------ */

static bool pattern_matches(const struct pattern *shared, struct str s)
{
	struct pattern *p = (struct pattern *)(uintptr_t)shared; /* its spare alone changes */
	pcre2_match_data *data = __atomic_exchange_n(&p->spare, NULL, __ATOMIC_ACQ_REL);
	int rc;

	if (!data)
		data = pcre2_match_data_create(1, NULL);
	if (!data)
		return false;
	rc = pcre2_match(p->code, (PCRE2_SPTR)(s.len ? s.p : ""), s.len, 0, 0, data, p->limits);
	pcre2_match_data_free(__atomic_exchange_n(&p->spare, data, __ATOMIC_ACQ_REL));
	return rc >= 0;
}

static bool holds(enum cmp cmp, int order)
{
	switch (cmp) {
	case CMP_EQ: return order == 0;
	case CMP_NE: return order != 0;
	case CMP_LT: return order < 0;
	case CMP_LE: return order <= 0;
	case CMP_GT: return order > 0;
	case CMP_GE: return order >= 0;
	default: return false;
	}
}

static bool compare_doubles(enum cmp cmp, double a, double b)
{
	if (a != a || b != b) /* not a number: nothing holds but that they differ */
		return cmp == CMP_NE;
	return holds(cmp, (a > b) - (a < b));
}

static int str_order(struct str a, struct str b)
{
	size_t len = MIN(a.len, b.len);
	int order = len ? memcmp(a.p, b.p, len) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static double as_double(const struct value *v)
{
	return v->type == VALUE_INT ? (double)v->i : v->d;
}

static bool compare_scalar(const struct cond *c, const struct value *v)
{
	const struct value *with = &c->value;
	bool number = v->type == VALUE_INT || v->type == VALUE_DOUBLE;

	if (c->cmp == CMP_RE || c->cmp == CMP_NRE)
		return v->type == VALUE_STR &&
		       pattern_matches(c->pattern, v->str) == (c->cmp == CMP_RE);
	if (number && (with->type == VALUE_INT || with->type == VALUE_DOUBLE)) {
		if (v->type == VALUE_INT && with->type == VALUE_INT)
			return holds(c->cmp, (v->i > with->i) - (v->i < with->i));
		return compare_doubles(c->cmp, as_double(v), as_double(with));
	}
	if (v->type != with->type)
		return false;
	switch (v->type) {
	case VALUE_STR:
	case VALUE_BYTES: return holds(c->cmp, str_order(v->str, with->str));
	case VALUE_BOOL:
		return (c->cmp == CMP_EQ || c->cmp == CMP_NE) && holds(c->cmp, v->b != with->b);
	default: return false;
	}
}

bool cond_compare(const struct cond *c, const struct value *v)
{
	bool every = c->cmp == CMP_NE || c->cmp == CMP_NRE;

	if (c->cmp == CMP_EXISTS)
		return v->type != VALUE_EMPTY;
	if (v->type != VALUE_ARRAY)
		return compare_scalar(c, v);
	for (size_t i = 0; i < v->array.cnt; i++)
		if (compare_scalar(c, &v->array.item[i]) != every)
			return !every;
	return every && v->array.cnt;
}

/* ---- a span's fields ------------------------------------------------------------------------ */

static struct value value_str(struct str s)
{
	return (struct value){ .type = VALUE_STR, .str = s };
}

static struct value value_int(int64_t i)
{
	return (struct value){ .type = VALUE_INT, .i = i };
}

static struct value value_bytes(const uint8_t *p, size_t len)
{
	return (struct value){ .type = VALUE_BYTES, .str = { (const char *)p, len } };
}

static struct value value_attr(const struct attrs *attrs, struct str key)
{
	const struct attr *a = attrs_find(attrs, key);

	return a ? a->value : (struct value){ .type = VALUE_EMPTY };
}

uint32_t field_values(const struct field *f, const struct span *s)
{
	if (f->kind == FIELD_EVENT_ATTR || f->kind == FIELD_EVENT_NAME)
		return s->event_cnt;
	return f->kind == FIELD_LINK_ATTR ? s->link_cnt : 1;
}

struct value field_value_at(const struct field *f, const struct span *s, uint32_t i)
{
	struct value v = { .type = VALUE_EMPTY };

	switch (f->kind) {
	case FIELD_ATTR:
		v = value_attr(&s->attrs, f->key);
		return v.type ? v : value_attr(&s->resource->attrs, f->key);
	case FIELD_SPAN_ATTR: return value_attr(&s->attrs, f->key);
	case FIELD_RESOURCE_ATTR: return value_attr(&s->resource->attrs, f->key);
	case FIELD_SCOPE_ATTR: return value_attr(&s->scope->attrs, f->key);
	case FIELD_EVENT_ATTR: return value_attr(&s->events[i].attrs, f->key);
	case FIELD_LINK_ATTR: return value_attr(&s->links[i].attrs, f->key);
	case FIELD_NAME: return value_str(s->name);
	case FIELD_SERVICE: return value_str(s->resource->service);
	case FIELD_KIND: return value_int(s->kind);
	case FIELD_STATUS: return value_int(s->status);
	case FIELD_STATUS_MESSAGE: return value_str(s->status_message);
	case FIELD_DURATION: return value_int((int64_t)(s->end_ns - s->start_ns));
	case FIELD_START: return value_int((int64_t)s->start_ns);
	case FIELD_TRACE_ID: return value_bytes(s->trace_id.b, sizeof(s->trace_id.b));
	case FIELD_SPAN_ID: return value_bytes(s->span_id.b, sizeof(s->span_id.b));
	case FIELD_PARENT_ID:
		return span_id_is_set(&s->parent_id)
			       ? value_bytes(s->parent_id.b, sizeof(s->parent_id.b))
			       : v;
	case FIELD_SCOPE_NAME: return value_str(s->scope->name);
	case FIELD_SCOPE_VERSION: return value_str(s->scope->version);
	case FIELD_EVENT_NAME: return value_str(s->events[i].name);
	}
	return v;
}

struct value field_value(const struct field *f, const struct span *s)
{
	struct value v = { .type = VALUE_EMPTY };

	for (uint32_t i = 0; v.type == VALUE_EMPTY && i < field_values(f, s); i++)
		v = field_value_at(f, s, i);
	return v;
}

static bool match_field(const struct cond *c, const struct span *s)
{
	for (uint32_t i = 0; i < field_values(&c->field, s); i++) {
		struct value v = field_value_at(&c->field, s, i);

		if (cond_compare(c, &v))
			return true;
	}
	return false;
}

bool cond_match(const struct cond *c, const struct span *s)
{
	if (!c)
		return true;
	switch (c->op) {
	case COND_TRUE: return true;
	case COND_FALSE: return false;
	case COND_AND: return cond_match(c->left, s) && cond_match(c->right, s);
	case COND_OR: return cond_match(c->left, s) || cond_match(c->right, s);
	case COND_NOT: return !cond_match(c->left, s);
	case COND_CMP: return match_field(c, s);
	}
	return false;
}

/* ---- building ------------------------------------------------------------------------------- */

static const struct cond *join(struct arena *mem, enum cond_op op, const struct cond *a,
			       const struct cond *b)
{
	uint32_t depth = 1 + MAX(a->depth, b->depth);
	struct cond *c = depth <= COND_DEPTH_MAX ? arena_alloc(mem, sizeof(*c)) : NULL;

	if (c)
		*c = (struct cond){ .op = op, .left = a, .right = b, .depth = depth };
	return c;
}

const struct cond *cond_and(struct arena *mem, const struct cond *a, const struct cond *b)
{
	if (!a || !b)
		return NULL;
	if (a->op == COND_TRUE || b->op == COND_FALSE)
		return b;
	if (b->op == COND_TRUE || a->op == COND_FALSE)
		return a;
	return join(mem, COND_AND, a, b);
}

const struct cond *cond_or(struct arena *mem, const struct cond *a, const struct cond *b)
{
	if (!a || !b)
		return NULL;
	if (a->op == COND_FALSE || b->op == COND_TRUE)
		return b;
	if (b->op == COND_FALSE || a->op == COND_TRUE)
		return a;
	return join(mem, COND_OR, a, b);
}

const struct cond *cond_not(struct arena *mem, const struct cond *a)
{
	struct cond *c;

	if (!a)
		return NULL;
	if (a->op == COND_TRUE)
		return &cond_none;
	if (a->op == COND_FALSE)
		return &cond_all;
	if (a->op == COND_NOT)
		return a->left;
	c = a->depth < COND_DEPTH_MAX ? arena_alloc(mem, sizeof(*c)) : NULL;
	if (c)
		*c = (struct cond){ .op = COND_NOT, .left = a, .depth = a->depth + 1 };
	return c;
}

const struct cond *cond_cmp(struct arena *mem, struct field f, enum cmp cmp, struct value v)
{
	struct cond *c = arena_alloc(mem, sizeof(*c));

	if (c)
		*c = (struct cond){
			.op = COND_CMP, .field = f, .cmp = cmp, .value = v, .depth = 1
		};
	return c;
}

static void pattern_free(struct pattern *p)
{
	if (!p)
		return;
	pcre2_match_data_free(p->spare);
	pcre2_match_context_free(p->limits);
	pcre2_code_free(p->code);
	free(p);
}

static int pattern_compile(struct str text, struct pattern **ret_pattern, char why[128])
{
	const uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C |
				 PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY;
	struct pattern *p;
	PCRE2_SIZE at = 0;
	int code = 0;

	if (text.len > PATTERN_MAX) {
		snprintf(why, 128, "regular expression longer than %d bytes", PATTERN_MAX);
		return -EINVAL;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->code = pcre2_compile((PCRE2_SPTR)(text.len ? text.p : ""), text.len, options, &code, &at,
				NULL);
	if (!p->code) {
		char said[96] = "";

		pcre2_get_error_message(code, (PCRE2_UCHAR *)said, sizeof(said));
		snprintf(why, 128, "regular expression: %s at byte %zu", said, (size_t)at);
		pattern_free(p);
		return code == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -EINVAL;
	}
	p->limits = pcre2_match_context_create(NULL);
	if (!p->limits) {
		pattern_free(p);
		return -ENOMEM;
	}
	pcre2_set_match_limit(p->limits, MATCH_STEPS_MAX);
	pcre2_set_heap_limit(p->limits, MATCH_HEAP_MAX_KIB);
	/* where memory may not be made executable it is interpreted */
	pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
	*ret_pattern = p;
	return 0;
}

int cond_regex(struct arena *mem, struct patterns *patterns, struct field f, bool negate,
	       struct str text, const struct cond **ret_cond, char why[128])
{
	struct cond *c = arena_alloc(mem, sizeof(*c));
	struct pattern *p;
	int err;

	if (!c)
		return -ENOMEM;
	err = pattern_compile(text, &p, why);
	if (err)
		return err;
	p->next = patterns->first;
	patterns->first = p;
	*c = (struct cond){ .op = COND_CMP,
			    .field = f,
			    .cmp = negate ? CMP_NRE : CMP_RE,
			    .value = value_str(text), /* for engines that translate it */
			    .pattern = p,
			    .depth = 1 };
	*ret_cond = c;
	return 0;
}

void patterns_free(struct patterns *patterns)
{
	while (patterns->first) {
		struct pattern *p = patterns->first;

		patterns->first = p->next;
		pattern_free(p);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A found trace's summary, and the names of the fields that are shown of its spans. */
#include "api/search_parts.h"

#include <stdlib.h>

/* Services told apart in one trace; spans of further ones are in none. */
#define SERVICES_MAX 1024u
#define FIELDS_MAX   64u

static int by_name(const void *a, const void *b)
{
	const struct search_service *x = a, *y = b;
	size_t len = MIN(x->name.len, y->name.len);
	int order = len ? memcmp(x->name.p, y->name.p, len) : 0;

	return order ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

/* Neighbours in a trace are mostly of few services, so the last ones are looked at first. */
static struct search_service *service_of(struct search_service *list, uint32_t *cnt,
					 struct str name)
{
	for (uint32_t i = *cnt; i-- > 0;)
		if (str_eq(list[i].name, name))
			return &list[i];
	if (*cnt == SERVICES_MAX)
		return NULL;
	list[*cnt] = (struct search_service){ .name = name };
	return &list[(*cnt)++];
}

bool summarize(const struct spantree *tree, struct arena *mem, struct search_trace *ret)
{
	const struct trace *t = tree->trace;
	struct search_service *services =
		arena_alloc_raw(mem, MIN(SERVICES_MAX, t->span_cnt + 1) * sizeof(*services));

	if (!services)
		return false;
	ret->trace = t;
	ret->orphans = tree->orphans;
	ret->start_ns = UINT64_MAX;
	for (uint32_t i = 0; i < t->span_cnt; i++) {
		const struct span *s = t->spans[i];
		struct search_service *of =
			service_of(services, &ret->service_cnt, s->resource->service);

		ret->start_ns = MIN(ret->start_ns, s->start_ns);
		ret->end_ns = MAX(ret->end_ns, s->end_ns);
		ret->errors += s->status == STATUS_ERROR;
		if (of) {
			of->spans++;
			of->errors += s->status == STATUS_ERROR;
		}
	}
	qsort(services, ret->service_cnt, sizeof(*services), by_name);
	ret->services = services;
	if (t->root >= 0) {
		ret->root_service = t->spans[t->root]->resource->service;
		ret->root_name = t->spans[t->root]->name;
	}
	return true;
}

/* ---- fields --------------------------------------------------------------------------------- */

struct field_list {
	struct field *item;
	uint32_t cnt;
	bool cut; /* there were more */
};

static void add_field(struct field_list *l, const struct field *f)
{
	for (uint32_t i = 0; i < l->cnt; i++)
		if (l->item[i].kind == f->kind && str_eq(l->item[i].key, f->key))
			return;
	if (l->cnt < FIELDS_MAX)
		l->item[l->cnt++] = *f;
	else
		l->cut = true;
}

static void add_cond(struct field_list *l, const struct cond *c)
{
	if (!c)
		return;
	if (c->op == COND_CMP)
		add_field(l, &c->field);
	add_cond(l, c->left);
	add_cond(l, c->right);
}

uint32_t search_fields(const struct search *q, struct arena *mem, const struct field **ret_fields)
{
	struct field_list l = { .item = arena_alloc(mem, FIELDS_MAX * sizeof(*l.item)) };

	*ret_fields = l.item;
	if (!l.item)
		return 0;
	for (uint32_t i = 0; q->query && i < q->query->field_cnt; i++) {
		const struct tql_field *f = q->query->fields[i];

		if (f->ask == ASK_FIELD && !f->of_parent)
			add_field(&l, &f->field);
	}
	add_cond(&l, q->where);
	add_cond(&l, q->calls);
	return l.cnt;
}

/* Events and links are read one by one; spans that are read with one of their fields have them. */
static struct field field_read(const struct tql_field *f)
{
	if (f->ask == ASK_EVENT_SINCE_START || f->ask == ASK_LINK_TRACE_ID ||
	    f->ask == ASK_LINK_SPAN_ID)
		return (struct field){ .kind = FIELD_EVENT_NAME };
	return f->ask == ASK_FIELD ? f->field : (struct field){ .kind = FIELD_NAME };
}

const struct field *search_reads(const struct search *q, struct arena *mem, uint32_t *ret_cnt)
{
	struct field_list l = { .item = arena_alloc(mem, FIELDS_MAX * sizeof(*l.item)) };

	if (!l.item || q->whole || (q->query && q->query->field_cnt == ARRAY_LEN(q->query->fields)))
		return NULL;
	for (uint32_t i = 0; q->query && i < q->query->field_cnt; i++) {
		struct field f = field_read(q->query->fields[i]);

		add_field(&l, &f);
	}
	add_cond(&l, q->where);
	add_cond(&l, q->calls);
	*ret_cnt = l.cnt;
	return l.cut ? NULL : l.item;
}

void search_field_name(const struct field *f, struct buf *out)
{
	static const char *const names[] = {
		[FIELD_ATTR] = ".",
		[FIELD_SPAN_ATTR] = "span.",
		[FIELD_RESOURCE_ATTR] = "resource.",
		[FIELD_SCOPE_ATTR] = "instrumentation.",
		[FIELD_EVENT_ATTR] = "event.",
		[FIELD_LINK_ATTR] = "link.",
		[FIELD_NAME] = "name",
		[FIELD_SERVICE] = "resource.service.name",
		[FIELD_KIND] = "kind",
		[FIELD_STATUS] = "status",
		[FIELD_STATUS_MESSAGE] = "statusMessage",
		[FIELD_DURATION] = "duration",
		[FIELD_START] = "span:start",
		[FIELD_TRACE_ID] = "trace:id",
		[FIELD_SPAN_ID] = "span:id",
		[FIELD_PARENT_ID] = "span:parentID",
		[FIELD_SCOPE_NAME] = "instrumentation:name",
		[FIELD_SCOPE_VERSION] = "instrumentation:version",
		[FIELD_EVENT_NAME] = "event:name",
	};

	buf_add_str(out, str_of(names[f->kind]));
	buf_add_str(out, f->key);
}

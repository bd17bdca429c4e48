/* SPDX-License-Identifier: Apache-2.0 */
/* Who sends spans: the attributes of every resource, as one figure that is always 1. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "analyze/internal.h"
#include "core/clock.h"

#define LABELS_MAX	32
#define LABEL_NAME_MAX	64
#define LABEL_VALUE_MAX 256
#define SILENT_NS	(900 * NS_PER_S)
#define SWEEP_EVERY_NS	(60 * NS_PER_S)

struct label {
	char name[LABEL_NAME_MAX + 1];
	const struct value *value;
};

struct labels {
	struct label item[LABELS_MAX];
	size_t cnt;
};

/* ---- labels ---- */

static struct str attribute(const struct resource *r, const char *key)
{
	for (uint32_t i = 0; i < r->attrs.cnt; i++) {
		const struct attr *a = &r->attrs.item[i];

		if (str_eq(a->key, str_of(key)) && a->value.type == VALUE_STR)
			return a->value.str;
	}
	return (struct str){ 0 };
}

static bool set_name(char to[LABEL_NAME_MAX + 1], struct str key)
{
	size_t len = MIN(key.len, (size_t)LABEL_NAME_MAX);

	for (size_t i = 0; i < len; i++)
		to[i] = isalnum((unsigned char)key.p[i]) ? key.p[i] : '_';
	to[len] = 0;
	/* those in front with two are the scraper's own */
	return len && !isdigit((unsigned char)to[0]) && strncmp(to, "__", 2) != 0;
}

/* In the order of their names, the first of each; those of the identity are written by job and
 * instance. */
static void add_label(struct labels *l, const struct attr *a)
{
	static const char *const taken[] = {
		"service_name", "service_namespace", "service_instance_id", "service",
		"job",		"instance"
	};
	struct label new = { .value = &a->value };
	size_t at = l->cnt;

	if (a->value.type == VALUE_ARRAY || a->value.type == VALUE_KVLIST ||
	    a->value.type == VALUE_BYTES || a->value.type == VALUE_EMPTY || l->cnt == LABELS_MAX ||
	    !set_name(new.name, a->key))
		return;
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (!strcmp(new.name, taken[i]))
			return;
	for (size_t i = 0; i < l->cnt; i++)
		if (!strcmp(l->item[i].name, new.name))
			return;
	for (; at && strcmp(l->item[at - 1].name, new.name) > 0; at--)
		l->item[at] = l->item[at - 1];
	l->item[at] = new;
	l->cnt++;
}

static void write_value(struct buf *out, const struct label *l)
{
	char text[64];

	switch (l->value->type) {
	case VALUE_STR:
		label_write(out, l->name, label_cut(l->value->str, LABEL_VALUE_MAX), ",");
		return;
	case VALUE_BOOL: snprintf(text, sizeof(text), "%s", l->value->b ? "true" : "false"); break;
	case VALUE_INT: snprintf(text, sizeof(text), "%lld", (long long)l->value->i); break;
	default: snprintf(text, sizeof(text), "%.15g", l->value->d); break;
	}
	label_write(out, l->name, str_of(text), ",");
}

/* A new string; NULL without memory. */
static char *make_labels(const struct resource *r)
{
	struct str service = label_cut(r->service, LABEL_VALUE_MAX);
	struct str space = label_cut(attribute(r, "service.namespace"), LABEL_VALUE_MAX);
	struct str instance = label_cut(attribute(r, "service.instance.id"), LABEL_VALUE_MAX);
	struct buf out = { 0 }, job = { 0 };
	struct labels l = { .cnt = 0 };

	for (uint32_t i = 0; i < r->attrs.cnt; i++)
		add_label(&l, &r->attrs.item[i]);
	if (space.len)
		buf_printf(&job, STR_FMT "/", STR_ARG(space));
	buf_add_str(&job, service);
	label_write(&out, "service", service, "{");
	label_write(&out, "job", buf_str(&job), ",");
	if (instance.len)
		label_write(&out, "instance", instance, ",");
	for (size_t i = 0; i < l.cnt; i++)
		write_value(&out, &l.item[i]);
	buf_add_str(&out, STR("}"));
	buf_add_char(&out, 0);
	out.failed |= job.failed;
	buf_fini(&job);
	if (!out.failed)
		return out.p;
	buf_fini(&out);
	return NULL;
}

/* ---- the table ---- */

/* Resources that differ in what is no label are one target. */
static bool has_twin(const struct table *t, const struct target *of)
{
	for (uint32_t i = 0; i < t->cnt; i++) {
		const struct target *other = (const struct target *)t->row[i];

		if (other != of && !other->twin && other->labels_hash == of->labels_hash)
			return true;
	}
	return false;
}

void target_push(struct analyze *a, const struct resource *r)
{
	struct target *t = (struct target *)rows_get(&a->targets, r->hash, sizeof(*t));

	if (!t)
		return;
	t->seen_ns = a->now_ns;
	if (t->labels)
		return;
	t->labels = make_labels(r);
	if (!t->labels)
		return;
	t->labels_hash = XXH3_64bits(t->labels, strlen(t->labels));
	t->twin = has_twin(&a->targets, t);
}

/* What fell silent goes, so that there is room for those who come. */
void target_tick(struct analyze *a)
{
	struct table *t = &a->targets;
	uint32_t cnt = 0;

	if (a->now_ns - a->swept_ns < SWEEP_EVERY_NS)
		return;
	a->swept_ns = a->now_ns;
	for (uint32_t i = 0; i < t->cnt; i++) {
		struct target *target = (struct target *)t->row[i];

		if (a->now_ns - target->seen_ns > SILENT_NS)
			target_free(&target->row);
		else
			t->row[cnt++] = &target->row;
	}
	if (cnt == t->cnt)
		return;
	t->cnt = cnt;
	memset(t->slot, 0, (t->mask + 1) * sizeof(struct row *));
	for (uint32_t i = 0, at; i < cnt; i++) {
		for (at = (uint32_t)t->row[i]->hash & t->mask; t->slot[at]; at = (at + 1) & t->mask)
			;
		t->slot[at] = t->row[i];
	}
	/* one whose twin went stands for itself */
	for (uint32_t i = 0; i < cnt; i++) {
		struct target *target = (struct target *)t->row[i];

		target->twin = target->twin && has_twin(t, target);
	}
}

void target_free(struct row *r)
{
	struct target *t = (struct target *)r;

	free(t->labels);
	free(t);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zipkin's shared spans: both halves of a call have one id there, which is also what the server
 * calls its children's parent. The receiver gives the server's half an id of its own, below the
 * client's; whose child a span is can be told by its service, once both halves are here.
 */
#include "trace/internal.h"

static bool same_id(const struct span_id *a, const struct span_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool is_shared(const struct span *s)
{
	const struct attr *a =
		s->kind == SPAN_SERVER ? attrs_find(&s->attrs, STR("zipkin.shared")) : NULL;

	return a && a->value.type == VALUE_BOOL && a->value.b && span_id_is_set(&s->parent_id);
}

static bool same_service(const struct span *a, const struct span *b)
{
	return str_eq(a->resource->service, b->resource->service);
}

/* The server's half whose service tells of this child, or NULL: none, or more than one, or the
 * client's half could have made it as well. */
static const struct span *parent_of(const struct trace *t, const struct span *child)
{
	const struct span *server = NULL;

	for (uint32_t i = 0; i < t->span_cnt; i++) {
		const struct span *s = t->spans[i];
		bool client = same_id(&s->span_id, &child->parent_id);
		bool half = same_id(&s->parent_id, &child->parent_id) && is_shared(s);

		if (s == child || !(client || half) || !same_service(s, child))
			continue;
		if (client || server)
			return NULL;
		server = s;
	}
	return server;
}

bool trace_has_shared(const struct trace *t)
{
	for (uint32_t i = 0; i < t->span_cnt && t->span_cnt <= COMPARED_MAX; i++)
		if (is_shared(t->spans[i]))
			return true;
	return false;
}

uint32_t trace_hang_shared(struct trace *t)
{
	uint32_t moved = 0;

	if (!trace_has_shared(t))
		return 0;
	for (uint32_t i = 0; i < t->span_cnt; i++) {
		struct span *s = t->spans[i];
		const struct span *server = NULL;

		if (span_id_is_set(&s->parent_id) && !is_shared(s) &&
		    !same_id(&s->span_id, &s->parent_id))
			server = parent_of(t, s);
		if (!server)
			continue;
		s->parent_id = server->span_id;
		attrs_add_str(&s->attrs, t->arena, "telltale.parent.method", STR("zipkin-shared"));
		attrs_add_double(&s->attrs, t->arena, "telltale.parent.confidence", 1);
		moved++;
	}
	return moved;
}

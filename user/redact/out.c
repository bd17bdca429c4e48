/* SPDX-License-Identifier: Apache-2.0 */
/* A text that is only copied once it differs from its source. */
#include "redact/internal.h"

static void detach(struct out *o)
{
	if (o->p || o->failed)
		return;
	o->p = arena_alloc(o->mem, o->size + 1);
	if (!o->p)
		o->failed = true;
	else if (o->len)
		memcpy(o->p, o->src.p, o->len);
}

void out_add(struct out *o, const char *p, size_t len)
{
	if (!len)
		return;
	if (!o->p && p == o->src.p + o->len) {
		o->len += len;
		return;
	}
	detach(o);
	if (o->failed || len > o->size - o->len) {
		o->failed = true;
		return;
	}
	memcpy(o->p + o->len, p, len);
	o->len += len;
}

void out_replace(struct out *o, const char *from, size_t len, struct str text)
{
	bool same = str_eq((struct str){ from, len }, text);

	out_add(o, same ? from : text.p, text.len);
}

void out_cut(struct out *o, size_t len)
{
	o->len = MIN(o->len, len);
	detach(o);
}

char out_last(const struct out *o)
{
	if (!o->len || o->failed)
		return ' ';
	return o->p ? o->p[o->len - 1] : o->src.p[o->len - 1];
}

struct str out_end(const struct out *o)
{
	if (o->failed)
		return STR("?");
	return (struct str){ o->p ? o->p : o->src.p, o->len };
}

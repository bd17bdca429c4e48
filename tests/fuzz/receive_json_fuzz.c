/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP and Zipkin in JSON, any bytes; and what jansson reads, our reader walks through, too. */
#include <jansson.h>
#include <stdlib.h>

#include "core/utf8.h"
#include "receive/jread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const struct value *v)
{
	if (v->type == VALUE_STR && !utf8_valid(v->str))
		abort();
	for (size_t i = 0; v->type == VALUE_ARRAY && i < v->array.cnt; i++)
		check_value(&v->array.item[i]);
}

static void check_span(void *ctx, const struct span *s)
{
	if (!utf8_valid(s->name) || s->end_ns < s->start_ns || !trace_id_is_set(&s->trace_id) ||
	    !span_id_is_set(&s->span_id) || !s->resource->service.len || !s->scope)
		abort();
	for (uint32_t i = 0; i < s->attrs.cnt; i++)
		check_value(&s->attrs.item[i].value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decoder *d;
	struct str text = { (const char *)data, size };
	struct jread j = jread_of(text);
	json_t *tree;

	if (!d)
		d = decoder_new((struct span_sink){ NULL, check_span });
	decode_otlp_json(d, text);
	decode_zipkin(d, text);
	jread_skip(&j);
	jread_end(&j);
	if (!j.bad)
		return 0;
	tree = json_loadb(text.p, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (tree && strcmp(j.bad, "less nesting"))
		abort();
	json_decref(tree);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Values of attributes as JSON: plain, and as OTLP has them. Below VALUE_DEPTH_MAX, which producers
 * keep to, a value is empty. */
#include "span/span.h"

#include <math.h>

#include "core/json.h"

/* ---- plain ---- */

static void add_plain(struct json *j, const struct value *v, struct str empty, int depth)
{
	switch (depth <= VALUE_DEPTH_MAX ? v->type : VALUE_EMPTY) {
	case VALUE_STR: json_str(j, v->str); break;
	case VALUE_BOOL: json_bool(j, v->b); break;
	case VALUE_INT: json_i64(j, v->i); break;
	case VALUE_DOUBLE: json_double(j, v->d); break;
	case VALUE_BYTES: json_base64(j, v->str); break;
	case VALUE_ARRAY:
		json_open(j, '[');
		for (size_t i = 0; i < v->array.cnt; i++)
			add_plain(j, &v->array.item[i], empty, depth + 1);
		json_close(j, ']');
		break;
	case VALUE_KVLIST:
		json_open(j, '{');
		for (size_t i = 0; i < v->kvlist.cnt; i++) {
			json_key_str(j, v->kvlist.item[i].key);
			add_plain(j, &v->kvlist.item[i].value, empty, depth + 1);
		}
		json_close(j, '}');
		break;
	case VALUE_EMPTY: json_raw(j, empty); break;
	}
}

void value_json(struct json *j, const struct value *v, struct str empty)
{
	add_plain(j, v, empty, 0);
}

struct str value_json_text(const struct value *v, struct arena *mem)
{
	struct buf text = { 0 };
	struct json j = { .out = &text };
	struct str s;

	value_json(&j, v, STR("\"\""));
	s = arena_str(mem, buf_str(&text));
	buf_fini(&text);
	return s.p ? s : STR("");
}

/* ---- OTLP ---- */

/* Text that is the same every time goes in as one piece: its commas are written out, and whether
 * one comes next is said. */
#define add_text(j, text, then_comma)                        \
	do {                                                 \
		buf_add((j)->out, (text), sizeof(text) - 1); \
		(j)->comma = (then_comma);                   \
	} while (0)

static void add_pairs(struct json *j, const struct attr *item, size_t cnt, int depth);

static void add_list(struct json *j, const struct value *v, int depth);

/* What the reader of j knows of a type: what is empty or no number may have to be text. */
static enum value_type type_for(const struct json *j, const struct value *v, int depth)
{
	enum value_type type = depth <= VALUE_DEPTH_MAX ? v->type : VALUE_EMPTY;

	if (j->strict && (type == VALUE_EMPTY || (type == VALUE_DOUBLE && !isfinite(v->d))))
		return VALUE_STR;
	return type;
}

static void add_text_value(struct json *j, const struct value *v)
{
	add_text(j, "{\"stringValue\":", false);
	if (v->type == VALUE_DOUBLE)
		json_double(j, v->d); /* in quotes: it is not finite */
	else
		json_str(j, v->type == VALUE_STR ? v->str : STR(""));
}

/* An AnyValue. */
static void add_value(struct json *j, const struct value *v, int depth)
{
	switch (type_for(j, v, depth)) {
	case VALUE_STR: add_text_value(j, v); break;
	case VALUE_BOOL:
		add_text(j, "{\"boolValue\":", false);
		json_bool(j, v->b);
		break;
	case VALUE_INT:
		add_text(j, "{\"intValue\":", false);
		json_i64_str(j, v->i);
		break;
	case VALUE_DOUBLE:
		add_text(j, "{\"doubleValue\":", false);
		json_double(j, v->d);
		break;
	case VALUE_BYTES:
		add_text(j, "{\"bytesValue\":", false);
		json_base64(j, v->str);
		break;
	case VALUE_ARRAY:
	case VALUE_KVLIST: add_list(j, v, depth); break;
	case VALUE_EMPTY: add_text(j, "{", false); break;
	}
	add_text(j, "}", true);
}

static void add_list(struct json *j, const struct value *v, int depth)
{
	if (v->type == VALUE_ARRAY) {
		add_text(j, "{\"arrayValue\":{\"values\":[", false);
		for (size_t i = 0; i < v->array.cnt; i++) {
			if (i)
				add_text(j, ",", false);
			add_value(j, &v->array.item[i], depth + 1);
		}
	} else {
		add_text(j, "{\"kvlistValue\":{\"values\":[", false);
		add_pairs(j, v->kvlist.item, v->kvlist.cnt, depth + 1);
	}
	add_text(j, "]}", true);
}

/* The content of a list. */
static void add_pairs(struct json *j, const struct attr *item, size_t cnt, int depth)
{
	for (size_t i = 0; i < cnt; i++) {
		if (i)
			add_text(j, ",{\"key\":", false);
		else
			add_text(j, "{\"key\":", false);
		json_str(j, item[i].key);
		add_text(j, ",\"value\":", false);
		add_value(j, &item[i].value, depth);
		add_text(j, "}", true);
	}
}

void value_json_otlp(struct json *j, const struct value *v)
{
	add_value(j, v, 0);
}

void attrs_json_otlp(struct json *j, const struct attrs *a)
{
	if (a->cnt) {
		json_key(j, "attributes");
		json_open(j, '[');
		add_pairs(j, a->item, a->cnt, 0);
		json_close(j, ']');
	}
	json_opt_u64(j, "droppedAttributesCount", a->dropped);
}

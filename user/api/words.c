/* SPDX-License-Identifier: Apache-2.0 */
/* Nested values as text, for shapes that have only scalars. */
#include "api/shape.h"

static void add_plain(struct json *j, const struct value *v, int depth)
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
			add_plain(j, &v->array.item[i], depth + 1);
		json_close(j, ']');
		break;
	case VALUE_KVLIST:
		json_open(j, '{');
		for (size_t i = 0; i < v->kvlist.cnt; i++) {
			json_str(j, v->kvlist.item[i].key);
			buf_add_char(j->out, ':');
			j->comma = false;
			add_plain(j, &v->kvlist.item[i].value, depth + 1);
		}
		json_close(j, '}');
		break;
	case VALUE_EMPTY: json_str(j, (struct str){ "", 0 }); break;
	}
}

struct str value_as_json(const struct value *v, struct arena *mem)
{
	struct buf text = { 0 };
	struct json j = { .out = &text };
	struct str s;

	add_plain(&j, v, 0);
	s = arena_str(mem, buf_str(&text));
	buf_fini(&text);
	return s.p ? s : (struct str){ "", 0 };
}

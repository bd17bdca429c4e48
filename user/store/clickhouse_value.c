/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values as text and back. What was not told is guessed: text that is written exactly as an int, a
 * double or a bool is one, JSON in brackets is an array or a list, all else a string, and so is
 * what stands under a key that names something (user.id, service.version).
 */
#include "store/clickhouse.h"

#include "core/json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- writing ------------------------------------------------------------------------------------
 */

int value_write(struct buf *out, const struct value *v)
{
	struct json j = { .out = out };
	size_t at = out->len;

	if (v->type == VALUE_EMPTY)
		return 0;
	if (v->type == VALUE_STR)
		return buf_add_str(out, v->str);
	value_json(&j, v, STR("null"));
	if (out->failed)
		return -ENOMEM;
	/* bytes, and doubles that are no numbers, come in quotes */
	if (out->len - at >= 2 && out->p[at] == '"') {
		memmove(out->p + at, out->p + at + 1, out->len - at - 2);
		out->len -= 2;
	}
	return 0;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

static bool names_something(struct str key)
{
	static const char *const end[] = { ".id", ".name", ".version", ".tag" };

	for (size_t i = 0; i < ARRAY_LEN(end); i++)
		if (str_ends(key, str_of(end[i])))
			return !str_eq(key, STR("thread.id"));
	return false;
}

static bool parse_int(struct str s, int64_t *ret)
{
	char text[24], *end;
	size_t sign = s.len && s.p[0] == '-';

	if (s.len <= sign || s.len >= sizeof(text) || (s.p[sign] == '0' && s.len > 1) ||
	    s.p[sign] < '0' || s.p[sign] > '9')
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = 0;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	return !errno && end == text + s.len;
}

/* Only text that would be written so again. */
static bool parse_double(struct str s, double *ret)
{
	struct value v = { .type = VALUE_DOUBLE };
	struct buf again = { 0 };
	char text[40], *end;
	bool same;

	if (!s.len || s.len >= sizeof(text) || !memchr("-0123456789NI", s.p[0], 13))
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = 0;
	v.d = strtod(text, &end);
	same = end == text + s.len && !value_write(&again, &v) && str_eq(buf_str(&again), s);
	buf_fini(&again);
	if (same)
		*ret = v.d;
	return same;
}

enum value_type value_guess(struct str key, struct str text)
{
	int64_t i;
	double d;

	if (!text.len || names_something(key))
		return VALUE_STR;
	switch (text.p[0]) {
	case 't':
	case 'f':
		return str_eq(text, STR("true")) || str_eq(text, STR("false")) ? VALUE_BOOL
									       : VALUE_STR;
	case '[': return VALUE_ARRAY;
	case '{': return VALUE_KVLIST;
	default:
		if (parse_int(text, &i))
			return VALUE_INT;
		return (text.p[0] == '-' || (text.p[0] >= '0' && text.p[0] <= '9')) &&
				       parse_double(text, &d)
			       ? VALUE_DOUBLE
			       : VALUE_STR;
	}
}

static bool from_json(const json_t *j, struct arena *mem, struct value *ret, int depth);

static bool array_from_json(const json_t *j, struct arena *mem, struct value *ret, int depth)
{
	size_t cnt = json_array_size(j);

	*ret = (struct value){ .type = VALUE_ARRAY, .array.cnt = cnt };
	ret->array.item = arena_alloc(mem, (cnt + 1) * sizeof(struct value));
	if (!ret->array.item)
		return false;
	for (size_t i = 0; i < cnt; i++)
		if (!from_json(json_array_get(j, i), mem, &ret->array.item[i], depth + 1))
			return false;
	return true;
}

static bool list_from_json(const json_t *object, struct arena *mem, struct value *ret, int depth)
{
	json_t *j = (json_t *)(uintptr_t)object; /* iterating asks for it, nothing is changed */
	size_t cnt = json_object_size(j), i = 0;

	*ret = (struct value){ .type = VALUE_KVLIST, .kvlist.cnt = cnt };
	ret->kvlist.item = arena_alloc(mem, (cnt + 1) * sizeof(struct attr));
	if (!ret->kvlist.item)
		return false;
	for (void *at = json_object_iter(j); at; at = json_object_iter_next(j, at), i++) {
		struct attr *a = &ret->kvlist.item[i];

		a->key = arena_str(mem, str_of(json_object_iter_key(at)));
		if (!a->key.p || !from_json(json_object_iter_value(at), mem, &a->value, depth + 1))
			return false;
	}
	return true;
}

static bool from_json(const json_t *j, struct arena *mem, struct value *ret, int depth)
{
	if (depth >= VALUE_DEPTH_MAX)
		return false;
	switch (json_typeof(j)) {
	case JSON_OBJECT: return list_from_json(j, mem, ret, depth);
	case JSON_ARRAY: return array_from_json(j, mem, ret, depth);
	case JSON_STRING:
		*ret = (struct value){ .type = VALUE_STR,
				       .str = arena_str(mem,
							(struct str){ json_string_value(j),
								      json_string_length(j) }) };
		return ret->str.p;
	case JSON_INTEGER:
		*ret = (struct value){ .type = VALUE_INT, .i = json_integer_value(j) };
		return true;
	case JSON_REAL:
		*ret = (struct value){ .type = VALUE_DOUBLE, .d = json_real_value(j) };
		return true;
	case JSON_TRUE:
	case JSON_FALSE:
		*ret = (struct value){ .type = VALUE_BOOL, .b = json_is_true(j) };
		return true;
	default: *ret = (struct value){ .type = VALUE_EMPTY }; return true;
	}
}

static bool parse_json(struct str text, enum value_type type, struct arena *mem, struct value *ret)
{
	json_t *j = json_loadb(text.p, text.len, JSON_ALLOW_NUL, NULL);
	bool ok = j && from_json(j, mem, ret, 0) && ret->type == type;

	json_decref(j);
	return ok;
}

/* RFC 4648 with padding. */
static bool parse_base64(struct str text, struct arena *mem, struct str *ret)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = text.len % 4 ? NULL : arena_alloc(mem, text.len / 4 * 3 + 1);
	size_t len = 0, pad = 0;

	if (!out)
		return false;
	while (pad < 2 && pad < text.len && text.p[text.len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < text.len; i += 4) {
		uint32_t bits = 0;

		for (size_t k = 0; k < 4; k++) {
			const char *at =
				i + k < text.len - pad ? memchr(digits, text.p[i + k], 64) : digits;

			if (!at)
				return false;
			bits = bits << 6 | (uint32_t)(at - digits);
		}
		out[len++] = (char)(bits >> 16);
		out[len++] = (char)(bits >> 8);
		out[len++] = (char)bits;
	}
	*ret = (struct str){ out, len - pad };
	return true;
}

struct value value_parse(enum value_type type, struct str text, struct arena *mem)
{
	struct value v = { .type = type };
	bool ok = false;

	switch (type) {
	case VALUE_EMPTY: ok = !text.len; break;
	case VALUE_STR: break;
	case VALUE_BOOL:
		v.b = str_eq(text, STR("true"));
		ok = v.b || str_eq(text, STR("false"));
		break;
	case VALUE_INT: ok = parse_int(text, &v.i); break;
	case VALUE_DOUBLE: ok = parse_double(text, &v.d); break;
	case VALUE_BYTES: ok = parse_base64(text, mem, &v.str); break;
	case VALUE_ARRAY:
	case VALUE_KVLIST: ok = parse_json(text, type, mem, &v); break;
	}
	return ok ? v : (struct value){ .type = VALUE_STR, .str = text };
}

static const char letters[] = "esbidyak"; /* in the order of enum value_type */

char type_letter(enum value_type type)
{
	return letters[type];
}

bool type_of_letter(char letter, enum value_type *ret)
{
	const char *at = letter ? strchr(letters, letter) : NULL;

	if (at)
		*ret = (enum value_type)(at - letters);
	return at;
}

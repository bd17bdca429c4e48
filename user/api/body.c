/* SPDX-License-Identifier: Apache-2.0 */
/* JSON that others write: bounded in depth before it is parsed, every key known. */
#include "api/body.h"

#include <errno.h>
#include <stdio.h>

/* The deepest nesting of brackets outside strings. */
static size_t depth_of(struct str s)
{
	size_t depth = 0, deepest = 0;
	bool text = false;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (text) {
			i += c == '\\';
			text = c != '"';
		} else if (c == '"') {
			text = true;
		} else if (c == '{' || c == '[') {
			deepest = MAX(deepest, ++depth);
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return deepest;
}

json_t *body_parse(struct str text, char why[BODY_WHY_MAX])
{
	json_error_t err;
	json_t *root;

	if (!text.len) {
		snprintf(why, BODY_WHY_MAX, "the body is empty");
		return NULL;
	}
	if (depth_of(text) > BODY_DEPTH_MAX) {
		snprintf(why, BODY_WHY_MAX, "the body is nested deeper than %d", BODY_DEPTH_MAX);
		return NULL;
	}
	root = json_loadb(text.p, text.len, JSON_REJECT_DUPLICATES, &err);
	if (!root) {
		snprintf(why, BODY_WHY_MAX, "the body is not JSON: line %d, column %d: %s",
			 err.line, err.column, err.text);
		return NULL;
	}
	if (!json_is_object(root)) {
		snprintf(why, BODY_WHY_MAX, "the body must be an object");
		json_decref(root);
		return NULL;
	}
	return root;
}

static const struct body_field *find_field(const struct body_field *fields, size_t cnt,
					   const char *name)
{
	for (size_t i = 0; i < cnt; i++)
		if (!strcmp(fields[i].name, name))
			return &fields[i];
	return NULL;
}

static bool set_uint(const struct body_field *f, const json_t *v, char *to)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || (uint64_t)n > f->max)
		return false;
	switch (f->size) {
	case 2: *(uint16_t *)(to + f->off) = (uint16_t)n; break;
	case 4: *(uint32_t *)(to + f->off) = (uint32_t)n; break;
	default: *(uint64_t *)(to + f->off) = (uint64_t)n; break;
	}
	return true;
}

static bool set_text(const struct body_field *f, const json_t *v, char *to)
{
	size_t len = json_string_length(v);

	if (!json_is_string(v) || len > f->max || memchr(json_string_value(v), 0, len))
		return false;
	memcpy(to + f->off, json_string_value(v), len + 1);
	return true;
}

static int set_field(const struct body_field *f, const json_t *v, char *to, char *why)
{
	switch (f->type) {
	case BODY_BOOL:
		if (json_is_boolean(v)) {
			*(bool *)(to + f->off) = json_is_true(v);
			return 0;
		}
		snprintf(why, BODY_WHY_MAX, "%s must be true or false", f->name);
		break;
	case BODY_UINT:
		if (set_uint(f, v, to))
			return 0;
		snprintf(why, BODY_WHY_MAX, "%s must be a number from 0 to %llu", f->name,
			 (unsigned long long)f->max);
		break;
	case BODY_TEXT:
		if (set_text(f, v, to))
			return 0;
		snprintf(why, BODY_WHY_MAX, "%s must be a string of at most %llu bytes", f->name,
			 (unsigned long long)f->max);
		break;
	}
	return -EINVAL;
}

int body_read(const json_t *object, const struct body_field *fields, size_t cnt, void *to,
	      char why[BODY_WHY_MAX])
{
	const char *key;
	json_t *v;

	/* jansson's iterator takes no const object, and changes none */
	json_object_foreach((json_t *)object, key, v)
	{
		const struct body_field *f = find_field(fields, cnt, key);
		int err;

		if (!f) {
			snprintf(why, BODY_WHY_MAX, "there is no member \"%.64s\"", key);
			return -EINVAL;
		}
		err = set_field(f, v, to, why);
		if (err)
			return err;
	}
	return 0;
}

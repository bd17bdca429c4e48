/* SPDX-License-Identifier: Apache-2.0 */
/* As much of JSON Schema as openapi.json uses: $ref, type, properties, required,
 * additionalProperties, items, enum, pattern, minimum, oneOf. */
#ifndef TESTS_API_SCHEMA_H
#define TESTS_API_SCHEMA_H

#include <jansson.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static char schema_why[512];

static bool schema_fails(const char *where, const char *what)
{
	snprintf(schema_why, sizeof(schema_why), "%s: %s", where, what);
	return false;
}

static bool schema_type_is(const json_t *v, const char *type)
{
	if (!strcmp(type, "integer"))
		return json_is_integer(v);
	return (!strcmp(type, "object") && json_is_object(v)) ||
	       (!strcmp(type, "array") && json_is_array(v)) ||
	       (!strcmp(type, "string") && json_is_string(v)) ||
	       (!strcmp(type, "number") && json_is_number(v)) ||
	       (!strcmp(type, "boolean") && json_is_boolean(v)) ||
	       (!strcmp(type, "null") && json_is_null(v));
}

static bool schema_type_fits(const json_t *type, const json_t *v)
{
	const json_t *one;
	size_t i;

	if (!type)
		return true;
	if (json_is_string(type))
		return schema_type_is(v, json_string_value(type));
	json_array_foreach(type, i, one) if (schema_type_is(v, json_string_value(one))) return true;
	return false;
}

static bool schema_pattern_fits(const json_t *pattern, const json_t *v)
{
	regex_t re;
	bool fits;

	if (!pattern || !json_is_string(v))
		return true;
	if (regcomp(&re, json_string_value(pattern), REG_EXTENDED | REG_NOSUB))
		return false;
	fits = !regexec(&re, json_string_value(v), 0, NULL, 0);
	regfree(&re);
	return fits;
}

static bool schema_enum_fits(const json_t *list, const json_t *v)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one) if (json_equal(one, v)) return true;
	return !list;
}

static bool schema_fits(const json_t *doc, const json_t *schema, json_t *v, const char *where);

static bool schema_object_fits(const json_t *doc, const json_t *schema, json_t *v,
			       const char *where)
{
	const json_t *properties = json_object_get(schema, "properties");
	const json_t *more = json_object_get(schema, "additionalProperties"), *name;
	char path[256];
	const char *key;
	json_t *member;
	size_t i;

	json_array_foreach(json_object_get(schema, "required"), i,
			   name) if (!json_object_get(v, json_string_value(name)))
	{
		snprintf(path, sizeof(path), "%s.%s", where, json_string_value(name));
		return schema_fails(path, "is missing");
	}
	json_object_foreach(v, key, member)
	{
		const json_t *of = json_object_get(properties, key);

		snprintf(path, sizeof(path), "%.200s.%.50s", where, key);
		if (!of && json_is_false(more))
			return schema_fails(path, "is not documented");
		if (!of)
			of = more;
		if (of && json_is_object(of) && !schema_fits(doc, of, member, path))
			return false;
	}
	return true;
}

static bool schema_any_fits(const json_t *doc, const json_t *list, json_t *v, const char *where)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one) if (schema_fits(doc, one, v, where)) return true;
	return false;
}

/* Whether v is what schema says; schema_why says why not. */
static bool schema_fits(const json_t *doc, const json_t *schema, json_t *v, const char *where)
{
	const char *name = json_string_value(json_object_get(schema, "$ref"));
	const json_t *least = json_object_get(schema, "minimum");
	json_t *item;
	char path[256];
	size_t i;

	if (name) {
		const json_t *all = json_object_get(json_object_get(doc, "components"), "schemas");

		schema = json_object_get(all, strrchr(name, '/') + 1);
		return schema ? schema_fits(doc, schema, v, where)
			      : schema_fails(where, "no such schema");
	}
	if (json_object_get(schema, "oneOf"))
		return schema_any_fits(doc, json_object_get(schema, "oneOf"), v, where);
	if (!schema_type_fits(json_object_get(schema, "type"), v))
		return schema_fails(where, "is of another type");
	if (!schema_pattern_fits(json_object_get(schema, "pattern"), v))
		return schema_fails(where, "does not match the pattern");
	if (!schema_enum_fits(json_object_get(schema, "enum"), v))
		return schema_fails(where, "is none of the documented values");
	if (least && json_is_integer(v) && json_integer_value(v) < json_integer_value(least))
		return schema_fails(where, "is less than the minimum");
	json_array_foreach(json_is_array(v) ? v : NULL, i, item)
	{
		const json_t *of = json_object_get(schema, "items");

		snprintf(path, sizeof(path), "%.200s[%zu]", where, i);
		if (of && !schema_fits(doc, of, item, path))
			return false;
	}
	return !json_is_object(v) || schema_object_fits(doc, schema, v, where);
}

#endif

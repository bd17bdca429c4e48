/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON (RFC 8259) straight into a buffer: no tree, no sorting, keys in the order of the
 * calls. Commas come by themselves; matching braces are the caller's. A failure is the buffer's:
 * check out->failed once, at the end.
 */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include "core/buf.h"

struct json {
	struct buf *out;
	bool comma;  /* the next key or value needs one before it */
	bool strict; /* for readers with a schema: no value without a type, doubles are numbers */
};

/* bracket: '{' or '[', '}' or ']'. */
void json_open(struct json *j, char bracket);
void json_close(struct json *j, char bracket);

/* A literal of ours: printable ASCII without quotes. */
void json_key_len(struct json *j, const char *key, size_t len);
static inline void json_key(struct json *j, const char *key)
{
	json_key_len(j, key, strlen(key)); /* known to the compiler */
}

/* Ill-formed UTF-8 becomes U+FFFD. */
void json_str(struct json *j, struct str s);
void json_u64(struct json *j, uint64_t v);
void json_i64(struct json *j, int64_t v);
/* The shortest form that reads back as the same double; "NaN", "Infinity" and "-Infinity" are
 * strings, as the protobuf JSON mapping has them. */
void json_double(struct json *j, double v);
void json_bool(struct json *j, bool v);
/* A value that is JSON already. */
void json_raw(struct json *j, struct str value);
/* A key that is not a literal. */
void json_key_str(struct json *j, struct str key);

/* Strings made of numbers and bytes: decimal digits, lower-case hex, padded base64 (RFC 4648). */
void json_u64_str(struct json *j, uint64_t v);
void json_i64_str(struct json *j, int64_t v);
void json_hex(struct json *j, const uint8_t *p, size_t len);
void json_base64(struct json *j, struct str bytes);

/* A key and its value; opt: neither where the value is empty or zero. */
static inline void json_member_str(struct json *j, const char *key, struct str s)
{
	json_key(j, key);
	json_str(j, s);
}

static inline void json_member_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static inline void json_member_u64_str(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64_str(j, v);
}

static inline void json_opt_str(struct json *j, const char *key, struct str s)
{
	if (s.len)
		json_member_str(j, key, s);
}

static inline void json_opt_u64(struct json *j, const char *key, uint64_t v)
{
	if (v)
		json_member_u64(j, key, v);
}

static inline void json_opt_u64_str(struct json *j, const char *key, uint64_t v)
{
	if (v)
		json_member_u64_str(j, key, v);
}

#endif

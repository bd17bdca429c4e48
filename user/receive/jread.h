/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads JSON (RFC 8259) where it lies: no tree, memory only for strings with escapes. The caller
 * walks it and knows what may come. The first thing that is wrong is kept in 'bad'; from then on
 * everything reads as absent, so that loops end: check once, at the end.
 *
 *	if (jread_open(j, '{'))
 *		while (jread_key(j, r, &key))
 *			if (str_eq(key, STR("name")))
 *				name = jread_string(j, r);
 *			else
 *				jread_skip(j);
 */
#ifndef RECEIVE_JREAD_H
#define RECEIVE_JREAD_H

#include "receive/decode.h"

#define JSON_DEPTH_MAX 256

struct jread {
	const char *begin, *p, *end;
	int depth;
	bool first;	 /* no comma before the next item */
	const char *bad; /* what was wanted at p; NULL: nothing is wrong */
};

struct jread jread_of(struct str text);
/* Into an object or array. */
bool jread_open(struct jread *j, char bracket);
/* The next key of an object, up to its value; false at its end. Keys whose value is null are passed
 * over: null means absent. r takes what has escapes; NULL: escapes stay as they are. */
bool jread_key(struct jread *j, struct reading *r, struct str *ret_key);
/* Is there another item of an array? */
bool jread_item(struct jread *j);
struct str jread_string(struct jread *j, struct reading *r);
bool jread_bool(struct jread *j);
/* Numbers, or strings that hold one. */
int64_t jread_i64(struct jread *j);
uint64_t jread_u64(struct jread *j);
double jread_double(struct jread *j);
/* A number, not a string; 0 when it does not fit. */
uint32_t jread_enum(struct jread *j);
/* Base64 of either alphabet, padded or not. */
struct str jread_base64(struct jread *j, struct reading *r);
/* Any value; returns its text. */
struct str jread_skip(struct jread *j);
/* Nothing but space may follow. */
void jread_end(struct jread *j);
void jread_why(const struct jread *j, char out[WHY_MAX]);

#endif

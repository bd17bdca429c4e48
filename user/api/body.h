/* SPDX-License-Identifier: Apache-2.0 */
/* JSON that others write, read through rows; private to the room. */
#ifndef API_BODY_H
#define API_BODY_H

#include <jansson.h>

#include "core/str.h"

#define BODY_WHY_MAX   256
#define BODY_DEPTH_MAX 32

/* One object, nested at most BODY_DEPTH_MAX deep, without doubled keys. NULL with one line in why.
 */
json_t *body_parse(struct str text, char why[BODY_WHY_MAX]);

enum body_type { BODY_BOOL, BODY_UINT, BODY_TEXT };

/* A member of an object that becomes a member of a struct. BODY_TEXT: a char array of size max + 1.
 * BODY_UINT: an integer of 'size' bytes. */
struct body_field {
	const char *name;
	enum body_type type;
	size_t off;
	size_t size;
	uint64_t max;
};

/* Sets what is there; the rest stays. 0; -EINVAL: an unknown key, or a value out of range. */
int body_read(const json_t *object, const struct body_field *fields, size_t cnt, void *to,
	      char why[BODY_WHY_MAX]);

#endif

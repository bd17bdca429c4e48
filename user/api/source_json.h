/* SPDX-License-Identifier: Apache-2.0 */
/* One source in JSON; private to the room. */
#ifndef API_SOURCE_JSON_H
#define API_SOURCE_JSON_H

#include "api/body.h"
#include "api/sources.h"
#include "core/json.h"

/* 0 or -EINVAL with one line in why. */
int source_read(const json_t *object, struct source *ret, char why[BODY_WHY_MAX]);
void source_write(struct json *j, const struct source *s);

#endif

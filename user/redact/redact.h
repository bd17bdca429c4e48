/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one gate: no span from capture or from OTLP goes on unredacted. SQL literals become ?,
 * values in Redis commands become ? (keys stay), secrets in URLs become REDACTED.
 *
 * Spans that need no change are passed on as they came, without a copy.
 */
#ifndef REDACT_REDACT_H
#define REDACT_REDACT_H

#include "span/span.h"

struct redact_cfg {
	bool raw_queries; /* leave db.query.text as it is: an explicit choice of the user */
};

struct redact;
struct redact *redact_new(const struct redact_cfg *cfg, struct span_sink out);
void redact_push(struct redact *r, const struct span *s);
void redact_free(struct redact *r);

/* The rules, each on its own. Result in mem, or text itself when nothing had to change.
 * Text that cannot be understood (cut short inside a literal) is masked to its end. */
struct str redact_sql(struct arena *mem, struct str text); /* "x" is a name */
/* "x" is a literal, backslash escapes, # comments; also the safe choice for unknown systems */
struct str redact_mysql(struct arena *mem, struct str text);
struct str redact_redis(struct arena *mem, struct str text);
struct str redact_url(struct arena *mem, struct str url); /* full URL, or path?query, or a query */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's /status as a table; private to the cli room. */
#ifndef CLI_STATUS_H
#define CLI_STATUS_H

#include "core/buf.h"

/* Appends the table. 0, or -EBADMSG when the text is no status. */
int status_table(struct str json, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Globs as users write them for names: * is any run of bytes, ? is any one byte; case counts. */
#ifndef CORE_GLOB_H
#define CORE_GLOB_H

#include "core/str.h"

/* True when all of text fits the glob. */
bool glob_match(const char *glob, struct str text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef CORE_UTF8_H
#define CORE_UTF8_H

#include "core/str.h"

/* What stands for bytes that are not UTF-8: U+FFFD. */
#define UTF8_REPLACEMENT "\xef\xbf\xbd"

/*
 * The sequence at the start of s, which is not empty. True: well-formed, of *ret_len bytes. False:
 * ill-formed; *ret_len is the run that one U+FFFD replaces (Unicode 15, section 3.9, "maximal
 * subpart").
 */
bool utf8_step(struct str s, size_t *ret_len);

/* Whether all of s is well-formed. */
bool utf8_valid(struct str s);

/* Bytes of s after replacement, and the replacing itself: out takes utf8_clean_len(s) bytes. */
size_t utf8_clean_len(struct str s);
void utf8_clean(struct str s, char *out);

#endif

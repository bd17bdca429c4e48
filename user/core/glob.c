/* SPDX-License-Identifier: Apache-2.0 */
/* Globs of * and ?. */
#include "core/glob.h"

/* Remembers the latest star only, which is enough: time is at most glob times text. */
bool glob_match(const char *glob, struct str text)
{
	const char *star = NULL;
	size_t at = 0, star_at = 0;

	while (at < text.len) {
		if (*glob == '*') {
			star = glob++;
			star_at = at;
		} else if (*glob == '?' || (*glob && *glob == text.p[at])) {
			glob++;
			at++;
		} else if (star) {
			glob = star + 1;
			at = ++star_at;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return !*glob;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text through each rule: the first byte chooses. Masking twice must be masking once, SQL and
 * Redis text never grow, and without memory nothing but ? comes out.
 */
#include "redact/internal.h"

#include <stdlib.h>

static struct str redact_sql_message(struct arena *mem, struct str text)
{
	return redact_message(mem, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct str (*const rules[])(struct arena *,
					   struct str) = { redact_sql, redact_mysql, redact_redis,
							   redact_sql_message, redact_url };
	struct arena *mem = arena_new(0), *none = arena_new(1);
	struct str text, once, twice;
	size_t which;

	if (!size || !mem || !none)
		goto out;
	which = data[0] % ARRAY_LEN(rules);
	/* a copy of its own, so that a byte read too far is seen */
	text = (struct str){ memcpy(malloc(size), data + 1, size - 1), size - 1 };
	once = rules[which](mem, text);
	if (which < 4 && once.len > text.len)
		abort();
	twice = rules[which](mem, once);
	if (!str_eq(once, twice))
		abort();
	if (once.p != text.p) {
		once = rules[which](none, text);
		if (!str_eq(once, STR("?")))
			abort();
	}
	free((void *)(uintptr_t)text.p);
out:
	arena_free(mem);
	arena_free(none);
	return 0;
}

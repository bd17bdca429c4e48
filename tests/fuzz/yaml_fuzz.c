/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile configuration files: refused with a message, or every value within its range. */
#include "config/internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c = { 0 };
	struct config_private private = { 0 };
	char why[CONFIG_WHY_MAX] = "";
	int err;

	private.mem = arena_new(CONFIG_MEMORY);
	if (!private.mem)
		return 0;
	c.private = &private;
	err = config_read_yaml(&c, "fuzz.yaml", (struct str){ (const char *)data, size }, why);
	if (err && !why[0])
		abort();
	if (c.capture_bytes > 16384 || c.process.cnt > 16 || c.ring_size & (c.ring_size - 1))
		abort();
	for (size_t i = 0; i < config_table_cnt; i++)
		option_text(&c, &config_table[i], private.mem);
	arena_free(private.mem);
	return 0;
}

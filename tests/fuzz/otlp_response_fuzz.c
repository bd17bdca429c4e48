/* SPDX-License-Identifier: Apache-2.0 */
/* What an endpoint may answer: any bytes, as the body of a success and of an error. */
#include <stdlib.h>

#include "export/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = { (const char *)data, size };
	struct answer a = { .message = "untouched" };

	if (answer_parse_success(body, &a) && strcmp(a.message, "untouched"))
		abort();
	if (!memchr(a.message, 0, sizeof(a.message)) || a.rejected > INT64_MAX)
		abort();
	answer_parse_error(body, &a);
	for (size_t i = 0; a.message[i]; i++)
		if (a.message[i] < ' ' || a.message[i] > '~')
			abort();
	return 0;
}

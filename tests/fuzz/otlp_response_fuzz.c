/* SPDX-License-Identifier: Apache-2.0 */
/* What an endpoint may answer: any bytes, as the body of a success and of an error, and as JSON. */
#include <stdlib.h>

#include "export/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char text[ANSWER_TEXT])
{
	if (!memchr(text, 0, ANSWER_TEXT))
		abort();
	for (size_t i = 0; text[i]; i++)
		if (text[i] < ' ' || text[i] > '~')
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body = { (const char *)data, size };
	struct answer a = { .message = "untouched" };

	if (answer_parse_success(body, &a) && strcmp(a.message, "untouched"))
		abort();
	if (!memchr(a.message, 0, sizeof(a.message)) || a.rejected > INT64_MAX)
		abort();
	answer_parse_error(body, &a);
	if (a.retry_ms > 25ull * 3600 * 1000)
		abort();
	check_text(a.message);
	answer_parse_json(body, &a);
	check_text(a.message);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a gRPC server may answer: lines "name: value" as headers and trailers, then any body. */
#include <sodium.h>
#include <stdlib.h>

#include "export/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct verdict *v)
{
	if (!memchr(v->text, 0, sizeof(v->text)))
		abort();
	for (size_t i = 0; v->text[i]; i++)
		if (v->text[i] < ' ' || v->text[i] > '~')
			abort();
	if (v->what != VERDICT_DONE && v->rejected)
		abort();
	if (v->wait_ms > 25ull * 3600 * 1000)
		abort();
}

/* A status in its binary form, so that the fuzzer need not find base64. */
static void read_plain(struct grpc_reply *r, struct str status)
{
	char text[4096];

	if (sodium_base64_encoded_len(status.len, sodium_base64_VARIANT_ORIGINAL) > sizeof(text))
		return;
	sodium_bin2base64(text, sizeof(text), (const unsigned char *)status.p, status.len,
			  sodium_base64_VARIANT_ORIGINAL);
	grpc_reply_header(r, STR("grpc-status-details-bin"), str_of(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = { (const char *)data, size };
	struct grpc_reply r = { .body.cap = REPLY_BYTES_MAX };
	struct verdict v = { 0 };
	ptrdiff_t end, colon;

	while ((end = str_find(in, '\n')) > 0) {
		struct str line = { in.p, (size_t)end };

		colon = str_find(str_from(line, 1), ':');
		if (colon >= 0)
			grpc_reply_header(&r, (struct str){ line.p, (size_t)colon + 1 },
					  str_trim(str_from(line, (size_t)colon + 2)));
		in = str_from(in, (size_t)end + 1);
	}
	read_plain(&r, in);
	buf_add_str(&r.body, str_from(in, end == 0));
	grpc_reply_judge(&r, &v);
	check(&v);
	buf_fini(&r.body);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP in protobuf, any bytes: what protobuf-c reads, our decoder reads to the same values. */
#include "unit/receive/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct oracle o;
	static struct decoder *d;
	uint64_t dropped = 0;

	if (!d)
		d = decoder_new((struct span_sink){ &o, oracle_push });
	oracle_compare(d, &o, (struct str){ (const char *)data, size });
	for (size_t i = 0; i < REJECT_CNT; i++)
		dropped += d->books.dropped[i];
	SAME(d->books.in == d->books.out + dropped);
	return 0;
}

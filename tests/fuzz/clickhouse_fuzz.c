/* SPDX-License-Identifier: Apache-2.0 */
/* What a ClickHouse server may answer: rows, one after the other. A span that is read can be
 * written and read again. */
#include <stdlib.h>

#include "store/clickhouse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct span *s)
{
	struct row_reader again;
	struct ch_writer w = { 0 };
	struct buf row = { 0 };
	struct cursor c;

	if (reader_init(&again) || row_write(&w, s, &row))
		abort();
	c = cursor_of(row.p, row.len);
	if (reader_take(&again, &c) || c.bad || cursor_left(&c))
		abort();
	if (memcmp(&again.span.span_id, &s->span_id, sizeof(s->span_id)) != 0 ||
	    again.span.start_ns != s->start_ns || again.span.end_ns != s->end_ns ||
	    !str_eq(again.span.name, s->name) || again.span.event_cnt != s->event_cnt ||
	    again.span.link_cnt != s->link_cnt ||
	    !str_eq(again.span.resource->service, s->resource->service))
		abort();
	resource_put(w.resource);
	buf_fini(&w.resource_text);
	buf_fini(&row);
	reader_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(data, size);
	struct row_reader reader;

	if (reader_init(&reader))
		return 0;
	while (cursor_left(&c) && !c.bad) {
		int rc = reader_take(&reader, &c);

		if (!c.bad && rc == 0)
			check_again(&reader.span);
		if (rc < 0)
			break;
	}
	reader_fini(&reader);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spans of a batch by trace, since Kafka keeps order and place by key: whoever reads one
 * partition sees whole traces. What of a trace is longer than brokers take goes in several messages
 * of one key. Each is framed by 16 bytes of trace id, the number of spans and the length (32 bits
 * each, little-endian).
 */
#include <errno.h>
#include <stdlib.h>

#include "export/kafka.h"

/* Of spans; with their resources that is less than the 1,000,000 bytes that librdkafka sends and
 * brokers take unless they are told otherwise. */
#define MESSAGE_BYTES (512u << 10)

static int by_trace(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int order = memcmp(&x->trace_id, &y->trace_id, sizeof(x->trace_id));

	return order ? order : (x->off > y->off) - (x->off < y->off);
}

static int add_message(struct packer *scratch, struct item *items, size_t cnt, const char *bytes,
		       struct buf *out)
{
	size_t at = out->len;
	uint32_t figure[2] = { (uint32_t)cnt, 0 };
	int err;

	err = buf_add(out, &items->trace_id, sizeof(items->trace_id));
	if (!err)
		err = buf_add(out, figure, sizeof(figure));
	if (!err)
		err = format_otlp_proto.add_body(scratch, items, cnt, bytes, out);
	if (err)
		return err;
	figure[1] = (uint32_t)(out->len - at - sizeof(items->trace_id) - sizeof(figure));
	memcpy(out->p + at + sizeof(items->trace_id), figure, sizeof(figure));
	return 0;
}

static int add_span(struct packer *scratch, const struct span *s, struct buf *out)
{
	return format_otlp_proto.add_span(scratch, s, out);
}

static int add_body(struct packer *scratch, struct item *items, size_t cnt, const char *bytes,
		    struct buf *out)
{
	size_t from = 0, len = 0;
	int err = 0;

	qsort(items, cnt, sizeof(*items), by_trace);
	for (size_t i = 0; !err && i < cnt; i++) {
		len += items[i].len;
		if (i + 1 < cnt && len + items[i + 1].len <= MESSAGE_BYTES &&
		    !memcmp(&items[i + 1].trace_id, &items[i].trace_id, sizeof(struct trace_id)))
			continue;
		err = add_message(scratch, items + from, i + 1 - from, bytes, out);
		from = i + 1;
		len = 0;
	}
	return err;
}

const struct format format_kafka = { "otlp_by_trace", add_span, add_body };

bool kafka_message_next(struct cursor *c, struct kafka_message *ret)
{
	struct trace_id id;
	const uint8_t *p;

	if (!cursor_left(c))
		return false;
	p = take(c, sizeof(id));
	if (p) {
		memcpy(&id, p, sizeof(id));
		trace_id_hex(&id, ret->key);
	}
	ret->spans = take_u32le(c);
	ret->payload = take_str(c, take_u32le(c));
	return !c->bad;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an endpoint answers. Its bytes are hostile: the declared messages nest two deep, and all
 * memory that protobuf-c asks for while it unpacks comes from one small arena, which also bounds
 * what unknown fields can cost.
 */
#include "export/internal.h"

#include <errno.h>

#include "otlp.pb-c.h"

#define ANSWER_MEMORY (256u << 10)

static void *from_arena(void *mem, size_t size)
{
	return arena_alloc(mem, size);
}

static void never(void *mem, void *p)
{
}

/* Log lines go to terminals: nothing but printable ASCII. */
static void copy_message(const char *from, char to[ANSWER_TEXT])
{
	size_t i = 0;

	for (; from[i] && i + 1 < ANSWER_TEXT; i++)
		to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	to[i] = 0;
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *type, struct str body,
				struct arena *mem)
{
	ProtobufCAllocator alloc = { from_arena, never, mem };

	if (!mem || body.len > REPLY_BYTES_MAX)
		return NULL;
	return protobuf_c_message_unpack(type, &alloc, body.len,
					 (const uint8_t *)(body.len ? body.p : ""));
}

int answer_parse_success(struct str body, struct answer *ret)
{
	struct arena *mem = arena_new(ANSWER_MEMORY);
	const Otlp__ExportTraceResponse *m =
		(void *)unpack(&otlp__export_trace_response__descriptor, body, mem);

	if (m) {
		*ret = (struct answer){ 0 };
		if (m->partial_success && m->partial_success->rejected_spans > 0)
			ret->rejected = (uint64_t)m->partial_success->rejected_spans;
		if (m->partial_success)
			copy_message(m->partial_success->error_message, ret->message);
	}
	arena_free(mem);
	return m ? 0 : -EBADMSG;
}

int answer_parse_error(struct str body, struct answer *ret)
{
	struct arena *mem = arena_new(ANSWER_MEMORY);
	const Otlp__RpcStatus *m = (void *)unpack(&otlp__rpc_status__descriptor, body, mem);

	if (m) {
		*ret = (struct answer){ 0 };
		copy_message(m->message, ret->message);
	}
	arena_free(mem);
	return m ? 0 : -EBADMSG;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an endpoint answers. Its bytes are hostile: the declared messages nest two deep, and all
 * memory that protobuf-c asks for while it unpacks comes from one small arena, which also bounds
 * what unknown fields can cost.
 */
#include "export/internal.h"

#include <errno.h>
#include <jansson.h>

#include "otlp.pb-c.h"

#define ANSWER_MEMORY (256u << 10)
/* jansson's tree costs tens of bytes for one of text: longer JSON is not read. */
#define JSON_BYTES_MAX (64u << 10)
#define RETRY_MS_MAX   (24ull * 3600 * 1000)

static void *from_arena(void *mem, size_t size)
{
	return arena_alloc(mem, size);
}

static void never(void *mem, void *p)
{
}

void answer_text(struct str from, char to[ANSWER_TEXT])
{
	size_t i = 0;

	for (; i < from.len && i + 1 < ANSWER_TEXT; i++)
		to[i] = from.p[i] >= ' ' && from.p[i] <= '~' ? from.p[i] : '?';
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
			answer_text(str_of(m->partial_success->error_message), ret->message);
	}
	arena_free(mem);
	return m ? 0 : -EBADMSG;
}

/* A RetryInfo, if that is what it is. */
static void read_detail(const Otlp__RpcAny *any, struct arena *mem, struct answer *ret)
{
	static const char type[] = "google.rpc.RetryInfo";
	const char *slash = strrchr(any->type_url, '/');
	const Otlp__RpcRetryInfo *m;
	const Otlp__RpcDuration *d;

	if (strcmp(slash ? slash + 1 : any->type_url, type) != 0)
		return;
	m = (void *)unpack(&otlp__rpc_retry_info__descriptor,
			   (struct str){ (const char *)any->value.data, any->value.len }, mem);
	if (!m)
		return;
	ret->retry = true;
	d = m->retry_delay;
	if (d && d->seconds >= 0 && d->nanos >= 0)
		ret->retry_ms = MIN((uint64_t)d->seconds, RETRY_MS_MAX / 1000) * 1000 +
				(uint64_t)d->nanos / 1000000;
}

int answer_parse_error(struct str body, struct answer *ret)
{
	struct arena *mem = arena_new(ANSWER_MEMORY);
	const Otlp__RpcStatus *m = (void *)unpack(&otlp__rpc_status__descriptor, body, mem);

	if (m) {
		*ret = (struct answer){ 0 };
		answer_text(str_of(m->message), ret->message);
		for (size_t i = 0; i < m->n_details; i++)
			read_detail(m->details[i], mem, ret);
	}
	arena_free(mem);
	return m ? 0 : -EBADMSG;
}

static void read_text(const json_t *text, char to[ANSWER_TEXT])
{
	if (json_is_string(text))
		answer_text((struct str){ json_string_value(text), json_string_length(text) }, to);
}

/* 64-bit integers may come as text. */
static uint64_t read_count(const json_t *v)
{
	uint64_t n = 0;

	if (json_is_integer(v) && json_integer_value(v) > 0)
		n = (uint64_t)json_integer_value(v);
	else if (json_is_string(v) &&
		 !str_to_u64((struct str){ json_string_value(v), json_string_length(v) }, &n))
		n = 0;
	return n;
}

int answer_parse_json(struct str body, struct answer *ret)
{
	json_t *root = NULL, *part;

	if (body.len && body.len <= JSON_BYTES_MAX)
		root = json_loadb(body.p, body.len, 0, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		return -EBADMSG;
	}
	*ret = (struct answer){ 0 };
	part = json_object_get(root, "partialSuccess");
	ret->rejected = read_count(json_object_get(part, "rejectedSpans"));
	read_text(json_object_get(part, "errorMessage"), ret->message);
	read_text(json_object_get(root, "message"), ret->message);
	json_decref(root);
	return 0;
}

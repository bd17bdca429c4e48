/* SPDX-License-Identifier: Apache-2.0 */
/* One call of TraceService/Export: its headers, its one framed message, its answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "receive/grpc.h"

#define EXPORT_PATH "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define TYPE_GRPC   "application/grpc"

/* ---- from begin to end ---- */

struct grpc_call *grpc_call_new(struct grpc_conn *c, int32_t stream)
{
	struct grpc_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->conn = c;
	call->server = c->server;
	call->stream = stream;
	call->begin_ns = clock_mono_ns();
	call->next = c->calls;
	if (c->calls)
		c->calls->prev = call;
	c->calls = call;
	c->call_cnt++;
	return call;
}

static void call_free(struct grpc_call *call)
{
	body_fini(&call->body);
	buf_fini(&call->reply);
	free(call);
}

void grpc_call_detach(struct grpc_call *call)
{
	struct grpc_conn *c = call->conn;

	if (call->prev)
		call->prev->next = call->next;
	else
		c->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	c->call_cnt--;
	call->conn = NULL;
	if (!call->waiting)
		call_free(call);
}

/* ---- the answer ---- */

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Without padding, as gRPC has it for binary metadata. */
static void put_base64(struct buf *out, struct str s)
{
	uint32_t bits = 0, have = 0;

	for (size_t i = 0; i < s.len; i++) {
		bits = bits << 8 | (uint8_t)s.p[i];
		for (have += 8; have >= 6; have -= 6)
			buf_add_char(out, base64_digits[bits >> (have - 6) & 63]);
	}
	if (have)
		buf_add_char(out, base64_digits[bits << (6 - have) & 63]);
}

/* Printable ASCII, the rest and % as %XX. */
static void put_message(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text >= ' ' && *text <= '~' && *text != '%')
			buf_add_char(out, *text);
		else
			buf_printf(out, "%%%02X", (uint8_t)*text);
	}
}

static nghttp2_nv field(const char *name, struct str value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value.p, strlen(name), value.len,
			     NGHTTP2_NV_FLAG_NONE };
}

static ssize_t read_reply(nghttp2_session *session, int32_t stream, uint8_t *to, size_t size,
			  uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct grpc_call *call = source->ptr;
	size_t len = MIN(size, call->reply.len - call->reply_sent);
	nghttp2_nv trailer = field("grpc-status", STR("0"));

	memcpy(to, call->reply.p + call->reply_sent, len);
	call->reply_sent += len;
	if (call->reply_sent == call->reply.len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, stream, &trailer, 1);
	}
	return (ssize_t)len;
}

/* Headers, one message, the status in trailers. */
static int submit_success(struct grpc_call *call)
{
	const nghttp2_nv head[] = { field(":status", STR("200")),
				    field("content-type", STR(TYPE_GRPC)) };
	nghttp2_data_provider data = { .source.ptr = call, .read_callback = read_reply };
	uint32_t len;

	buf_add(&call->reply, "\0\0\0\0", 5);
	answer_body(&call->answer, ENCODING_PROTOBUF, &call->reply);
	if (call->reply.failed)
		return -ENOMEM;
	len = __builtin_bswap32((uint32_t)call->reply.len - 5);
	memcpy(call->reply.p + 1, &len, sizeof(len));
	return nghttp2_submit_response(call->conn->session, call->stream, head, ARRAY_LEN(head),
				       &data);
}

/* The status alone, in the headers. */
static int submit_error(struct grpc_call *call)
{
	const struct answer *a = &call->answer;
	struct buf message = { 0 }, details = { 0 }, binary = { 0 };
	char status[16], http[16];
	nghttp2_nv head[6];
	size_t cnt = 0;
	int err = -ENOMEM;

	snprintf(status, sizeof(status), "%u", answer_code(a));
	/* what is no gRPC gets HTTP's own status, too */
	snprintf(http, sizeof(http), "%u", call->is_grpc && call->is_post ? 200 : a->http);
	put_message(&message, a->text);
	if (a->retry_s) {
		answer_details(a, &binary);
		put_base64(&details, buf_str(&binary));
	}
	if (message.failed || details.failed)
		goto out;
	head[cnt++] = field(":status", str_of(http));
	head[cnt++] = field("content-type", STR(TYPE_GRPC));
	head[cnt++] = field("grpc-status", str_of(status));
	head[cnt++] = field("grpc-message", buf_str(&message));
	if (details.len)
		head[cnt++] = field("grpc-status-details-bin", buf_str(&details));
	if (call->coding == CODING_UNKNOWN)
		head[cnt++] = field("grpc-accept-encoding", STR("identity,gzip"));
	err = nghttp2_submit_response(call->conn->session, call->stream, head, cnt, NULL);
out:
	buf_fini(&message);
	buf_fini(&details);
	buf_fini(&binary);
	return err;
}

void grpc_call_answer(struct grpc_call *call)
{
	if (call->answered || !call->conn)
		return;
	call->answered = true;
	gate_count(call->server->gate, answer_outcome(&call->answer));
	body_fini(&call->body);
	if (call->answer.http == 200 ? submit_success(call) : submit_error(call))
		nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->stream,
					  NGHTTP2_INTERNAL_ERROR);
}

static void refuse(struct grpc_call *call, int err, const char *why)
{
	answer_error(&call->answer, call->server->gate, err, why);
	grpc_call_answer(call);
}

/* ---- headers ---- */

void grpc_call_header(struct grpc_call *call, struct str name, struct str value)
{
	if (str_eq(name, STR(":method")))
		call->is_post = str_eq(value, STR("POST"));
	else if (str_eq(name, STR(":path")))
		call->is_export = str_eq(value, STR(EXPORT_PATH));
	else if (str_eq(name, STR("content-type")))
		call->is_grpc =
			str_eq(value, STR(TYPE_GRPC)) || str_eq(value, STR(TYPE_GRPC "+proto"));
	else if (str_eq(name, STR("grpc-encoding")))
		call->coding = coding_of(value);
}

void grpc_call_begin(struct grpc_call *call)
{
	struct grpc_server *s = call->server;
	struct answer *a = &call->answer;

	if (call->coding == CODING_ZSTD)
		call->coding = CODING_UNKNOWN; /* gRPC has no name for it */
	if (call->header_bytes > HEADER_BYTES_MAX)
		answer_set(a, 431, "the headers have more than %d bytes", HEADER_BYTES_MAX);
	else if (!call->is_post)
		answer_set(a, 405, "only POST is allowed");
	else if (!call->is_grpc)
		answer_set(a, 415, "content-type must be " TYPE_GRPC);
	else if (!call->is_export)
		answer_set(a, 404, "there is only " EXPORT_PATH);
	else if (call->coding == CODING_UNKNOWN)
		answer_set(a, 415, "grpc-encoding must be gzip or identity");
	else if (answer_admits(a, s->gate, &s->producer))
		return;
	grpc_call_answer(call);
}

/* ---- the message ---- */

/* Its five bytes of frame; false when more must come, or it was refused. */
static bool take_frame(struct grpc_call *call, const uint8_t **p, size_t *len)
{
	struct gate *g = call->server->gate;
	uint32_t size;

	while (call->frame_len < sizeof(call->frame) && *len) {
		call->frame[call->frame_len++] = *(*p)++;
		(*len)--;
	}
	if (call->frame_len < sizeof(call->frame))
		return false;
	memcpy(&size, call->frame + 1, sizeof(size));
	call->message_left = __builtin_bswap32(size);
	call->message_seen = true;
	if (call->frame[0] > 1 || (call->frame[0] == 1 && call->coding == CODING_IDENTITY)) {
		refuse(call, -EBADMSG, "a compressed message without grpc-encoding");
		return false;
	}
	if (call->message_left > g->cfg.body_max) {
		refuse(call, -EFBIG, "");
		return false;
	}
	body_init(&call->body, g, call->frame[0] ? call->coding : CODING_IDENTITY);
	return true;
}

void grpc_call_data(struct grpc_call *call, const uint8_t *p, size_t len)
{
	size_t piece;
	int err;

	if (call->answered)
		return;
	if (!call->message_seen && !take_frame(call, &p, &len))
		return;
	piece = MIN(len, (size_t)call->message_left);
	err = body_add(&call->body, p, piece);
	call->message_left -= (uint32_t)piece;
	if (err)
		refuse(call, err, "the message is not of the coding that grpc-encoding names");
	else if (len > piece)
		refuse(call, -EBADMSG, "more than one message in a call");
}

/* ---- decoding, and waiting until it is durable ---- */

/* From any thread: the loop does the rest. */
static void on_ack(void *ctx, int err)
{
	struct grpc_call *call = ctx;
	struct grpc_server *s = call->server;
	uint64_t one = 1;
	ssize_t woken = 0;

	pthread_mutex_lock(&s->lock);
	call->ack = err;
	call->next_done = s->done;
	s->done = call;
	/* inside the lock: the server waits for it before it closes the descriptor */
	if (s->event_fd >= 0)
		woken = write(s->event_fd, &one, sizeof(one));
	(void)woken; /* only a full counter fails, and that one wakes, too */
	pthread_mutex_unlock(&s->lock);
}

void grpc_call_end(struct grpc_call *call)
{
	struct grpc_server *s = call->server;
	struct decoder *d = s->decoder;
	int err;

	if (call->answered)
		return;
	if (!call->message_seen || call->message_left || body_end(&call->body)) {
		refuse(call, -EBADMSG, "the call ends before its message does");
		return;
	}
	err = decode_otlp(d, buf_str(&call->body.data));
	body_fini(&call->body);
	if (err) {
		refuse(call, err, d->intake.why);
		return;
	}
	answer_intake(&call->answer, &d->intake);
	if (!d->intake.accepted) {
		grpc_call_answer(call);
		return;
	}
	call->waiting = true;
	pthread_mutex_lock(&s->lock);
	s->pending++;
	pthread_mutex_unlock(&s->lock);
	s->producer.sync(s->producer.ctx, (struct receive_ack){ on_ack, call });
}

void grpc_calls_done(struct grpc_server *s)
{
	struct grpc_call *call, *next;

	pthread_mutex_lock(&s->lock);
	call = s->done;
	s->done = NULL;
	pthread_mutex_unlock(&s->lock);
	for (; call; call = next) {
		next = call->next_done;
		call->waiting = false;
		if (call->ack > 0)
			answer_not_kept(&call->answer, (unsigned int)call->ack);
		pthread_mutex_lock(&s->lock);
		s->pending--;
		pthread_mutex_unlock(&s->lock);
		if (!call->conn)
			call_free(call);
		else if (call->ack < 0)
			refuse(call, call->ack, "");
		else
			grpc_call_answer(call);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is answered: one result, written for HTTP and gRPC, in protobuf and JSON. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/json.h"
#include "receive/server.h"
#include "receive/wire.h"

#define RETRY_S 1u

/* google.rpc.Code of an HTTP status, as OTLP maps the two. */
static const struct {
	unsigned int http, code;
} codes[] = {
	{ 200, 0 }, { 400, 3 },	 { 404, 12 }, { 405, 12 }, { 408, 4 },
	{ 413, 8 }, { 415, 12 }, { 429, 8 },  { 431, 8 },  { 503, 14 },
};

unsigned int answer_code(const struct answer *a)
{
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].http == a->http)
			return codes[i].code;
	return 13; /* INTERNAL */
}

void answer_set(struct answer *a, unsigned int http, const char *fmt, ...)
{
	va_list ap;

	*a = (struct answer){ .http = http };
	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
	if (http == 429 || http == 503)
		a->retry_s = RETRY_S;
}

void answer_error(struct answer *a, const struct gate *g, int err, const char *why)
{
	switch (err) {
	case -EBADMSG: answer_set(a, 400, "%s", why); break;
	case -EFBIG:
		answer_set(a, 413,
			   "more than %zu bytes after decompression, or over 256 times "
			   "what was sent",
			   g->cfg.body_max);
		break;
	case -ENOSPC: answer_set(a, 503, "no room on the disk; nothing was kept"); break;
	case -EAGAIN: answer_set(a, 503, "too much is waiting to be kept; send it again"); break;
	case -ENOBUFS: answer_set(a, 503, "too much is being received; send it again"); break;
	default: answer_set(a, 503, "not kept: %s; send it again", strerror(-err));
	}
}

void answer_intake(struct answer *a, const struct intake *in)
{
	*a = (struct answer){ .http = 200, .rejected = intake_rejected(in) };
	intake_why(in, a->text);
}

void answer_not_kept(struct answer *a, unsigned int cnt)
{
	size_t len = strlen(a->text);

	a->rejected += cnt;
	snprintf(a->text + len, sizeof(a->text) - len, "%s%u span%s too large to be stored",
		 len ? "; " : "", cnt, cnt == 1 ? " is" : "s are");
}

bool answer_admits(struct answer *a, struct gate *g, const struct receive_producer *p)
{
	uint32_t wait_s = gate_admit(g);
	int err;

	if (wait_s) {
		answer_set(a, 429, "too many requests or bytes a second; come back in %u s",
			   wait_s);
		a->retry_s = wait_s;
		return false;
	}
	err = p->admits ? p->admits(p->ctx) : 0;
	if (err)
		answer_error(a, g, err, "");
	return !err;
}

enum outcome answer_outcome(const struct answer *a)
{
	if (a->http == 200)
		return a->rejected ? OUTCOME_PARTIAL : OUTCOME_ACCEPTED;
	if (a->http == 429)
		return OUTCOME_THROTTLED;
	return a->http >= 500 ? OUTCOME_UNAVAILABLE : OUTCOME_INVALID;
}

/* ---- protobuf, forwards: what is nested is written to a buffer of its own first ---- */

static void put_varint(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_add_char(b, (char)(v | 0x80));
	buf_add_char(b, (char)v);
}

static void put_number(struct buf *b, uint32_t field, uint64_t v)
{
	put_varint(b, field << 3 | WIRE_VARINT);
	put_varint(b, v);
}

static void put_bytes(struct buf *b, uint32_t field, struct str s)
{
	put_varint(b, field << 3 | WIRE_LEN);
	put_varint(b, s.len);
	buf_add_str(b, s);
}

static void put_success(const struct answer *a, struct buf *out)
{
	struct buf partial = { 0 };

	if (!a->rejected)
		return;
	put_number(&partial, 1, a->rejected);
	put_bytes(&partial, 2, str_of(a->text));
	put_bytes(out, 1, buf_str(&partial));
	buf_fini(&partial);
}

static void put_status(const struct answer *a, struct buf *out)
{
	put_number(out, 1, answer_code(a));
	put_bytes(out, 2, str_of(a->text));
}

void answer_details(const struct answer *a, struct buf *out)
{
	struct buf delay = { 0 }, info = { 0 }, any = { 0 };

	put_number(&delay, 1, a->retry_s);
	put_bytes(&info, 1, buf_str(&delay));
	put_bytes(&any, 1, STR("type.googleapis.com/google.rpc.RetryInfo"));
	put_bytes(&any, 2, buf_str(&info));
	put_status(a, out);
	put_bytes(out, 3, buf_str(&any));
	buf_fini(&delay);
	buf_fini(&info);
	buf_fini(&any);
}

/* ---- JSON ---- */

static void put_success_json(const struct answer *a, struct json *j)
{
	json_open(j, '{');
	if (a->rejected) {
		json_key(j, "partialSuccess");
		json_open(j, '{');
		json_key(j, "rejectedSpans");
		json_u64_str(j, a->rejected);
		json_key(j, "errorMessage");
		json_str(j, str_of(a->text));
		json_close(j, '}');
	}
	json_close(j, '}');
}

static void put_status_json(const struct answer *a, struct json *j)
{
	json_open(j, '{');
	json_key(j, "code");
	json_u64(j, answer_code(a));
	json_key(j, "message");
	json_str(j, str_of(a->text));
	json_close(j, '}');
}

void answer_body(const struct answer *a, enum encoding e, struct buf *out)
{
	struct json j = { .out = out };

	if (e == ENCODING_PROTOBUF && a->http == 200)
		put_success(a, out);
	else if (e == ENCODING_PROTOBUF)
		put_status(a, out);
	else if (a->http == 200)
		put_success_json(a, &j);
	else
		put_status_json(a, &j);
}

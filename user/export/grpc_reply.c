/* SPDX-License-Identifier: Apache-2.0 */
/* What a gRPC server answers; its bytes are hostile. */
#include <curl/curl.h>
#include <sodium.h>
#include <stdio.h>

#include "core/cursor.h"
#include "export/grpc.h"

#define DETAILS_BYTES_MAX 8192
#define CODE_UNKNOWN	  2
#define CODE_INTERNAL	  13

static void read_message(struct grpc_reply *r, struct str value)
{
	int len = 0;
	char *plain = curl_easy_unescape(NULL, value.p, (int)value.len, &len);

	if (plain)
		answer_text((struct str){ plain, (size_t)len }, r->message);
	curl_free(plain);
}

static void read_details(struct grpc_reply *r, struct str value)
{
	unsigned char plain[DETAILS_BYTES_MAX];
	size_t len = 0;

	while (value.len && value.p[value.len - 1] == '=')
		value.len--;
	if (!sodium_base642bin(plain, sizeof(plain), value.p, value.len, NULL, &len, NULL,
			       sodium_base64_VARIANT_ORIGINAL_NO_PADDING))
		answer_parse_error((struct str){ (const char *)plain, len }, &r->details);
}

void grpc_reply_header(struct grpc_reply *r, struct str name, struct str value)
{
	uint64_t n;

	if (str_eq(name, STR(":status")) && str_to_u64(value, &n))
		r->http_status = (uint32_t)MIN(n, 999);
	else if (str_eq(name, STR("grpc-status"))) {
		/* what is no number is an unknown error */
		r->status = str_to_u64(value, &n) ? (uint32_t)MIN(n, 999) : CODE_UNKNOWN;
		r->has_status = true;
	} else if (str_eq(name, STR("grpc-message")) && value.len) {
		read_message(r, value);
	} else if (str_eq(name, STR("grpc-status-details-bin"))) {
		read_details(r, value);
	}
}

static const char *code_name(uint32_t code)
{
	static const char *const name[] = {
		"OK",
		"CANCELLED",
		"UNKNOWN",
		"INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED",
		"NOT_FOUND",
		"ALREADY_EXISTS",
		"PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED",
		"FAILED_PRECONDITION",
		"ABORTED",
		"OUT_OF_RANGE",
		"UNIMPLEMENTED",
		"INTERNAL",
		"UNAVAILABLE",
		"DATA_LOSS",
		"UNAUTHENTICATED",
	};

	return code < ARRAY_LEN(name) ? name[code] : "status unknown";
}

/* gRPC over HTTP/2, "HTTP to gRPC Status Code Mapping": for answers of what is no gRPC server. */
static uint32_t code_of_http(uint32_t status)
{
	switch (status) {
	case 400: return CODE_INTERNAL;
	case 401: return 16; /* UNAUTHENTICATED */
	case 403: return 7;  /* PERMISSION_DENIED */
	case 404: return 12; /* UNIMPLEMENTED */
	case 429:
	case 502:
	case 503:
	case 504: return 14; /* UNAVAILABLE */
	default: return CODE_UNKNOWN;
	}
}

/* The first message of the body: a byte that says whether it is compressed, its length, itself. */
static void read_success(const struct grpc_reply *r, struct verdict *ret)
{
	struct cursor c = cursor_of(r->body.p, r->body.len);
	uint8_t compressed = take_u8(&c);
	struct str message = take_str(&c, take_u32be(&c));
	struct answer a = { 0 };

	if (c.bad || compressed || answer_parse_success(message, &a))
		return;
	ret->rejected = a.rejected;
	snprintf(ret->text, sizeof(ret->text), "%s", a.message);
}

void grpc_reply_judge(const struct grpc_reply *r, struct verdict *ret)
{
	uint32_t code = r->has_status ? r->status : code_of_http(r->http_status);

	if (r->has_status && !r->status) {
		ret->what = VERDICT_DONE;
		read_success(r, ret);
		return;
	}
	if (!r->has_status && (!r->http_status || r->http_status == 200)) {
		ret->what = VERDICT_RETRY;
		snprintf(ret->text, sizeof(ret->text), "the answer ended without a status");
		return;
	}
	ret->what = retry_grpc(code, r->details.retry) ? VERDICT_RETRY : VERDICT_REFUSED;
	ret->wait_ms = r->details.retry_ms;
	if (r->has_status)
		snprintf(ret->text, sizeof(ret->text), "gRPC status %u %s%s%.150s", code,
			 code_name(code), r->message[0] ? ", " : "", r->message);
	else
		snprintf(ret->text, sizeof(ret->text), "HTTP status %u", r->http_status);
}
